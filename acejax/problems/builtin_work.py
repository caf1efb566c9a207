"""Working lines of a mathematics problem.

Numbers stay within 0..24 and a line holds one operation, so that a policy of a million parameters can learn to work
step by step.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

Spec = dict[str, Any]
Lines = list[str]
UNSEEN = 7
LARGEST = 24

OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
    "%": operator.mod,
}


class Unfit(Exception):
    """A method that leaves the range of numbers this module works in; the caller tries another."""


class Work:
    """Collects working lines; each operation appends one, such as "3+4=7", and returns its result."""

    def __init__(self) -> None:
        self.lines: Lines = []

    def op(self, a: int, sign: str, b: int) -> int:
        if sign == "/" and (b == 0 or a % b):
            raise Unfit
        value = OPERATIONS[sign](a, b)
        if not 0 <= value <= LARGEST:
            raise Unfit
        self.lines.append(f"{a}{sign}{b}={value}")
        return value

    def reduce(self, top: int, bottom: int) -> Fraction:
        if bottom == 0:
            raise Unfit
        value = Fraction(top, bottom)
        if value.denominator != bottom:
            self.lines.append(f"{top}/{bottom}={value}")
        return value


Method = Callable[[Spec, Work], Fraction | int]
