"""Rational arithmetic on trees, with bounds on every number and on the work as a whole."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from acejax.verification.math.latex import Node

MAX_BITS = 50_000  # of any exact number on the way
WORK_BITS = 500_000  # of all of them together, counting STEP_BITS more for each operation
STEP_BITS = 32
MAX_FACTORIAL = 3000
MAX_ORDER = 5  # of a determinant
MAX_TERMS = 2000  # of a sum with known ends

Env = dict[str, Fraction]


class Unreachable(Exception):
    """This means cannot value this tree: not its kind, or beyond a bound."""


class Undefined(Exception):
    """The tree has no finite value here: division by zero, a pole, infinity."""


class Exact:
    """Rational arithmetic on a tree at a point, with bounds on the size of every number and on the whole work."""

    def __init__(self, env: Env):
        self.env = env
        self.work = 0

    def value(self, node: Node) -> Fraction:
        result = self._value(node)
        bits = result.numerator.bit_length() + result.denominator.bit_length()
        self.work += bits + STEP_BITS
        if bits > MAX_BITS or self.work > WORK_BITS:
            raise Unreachable
        return result

    def _value(self, node: Node) -> Fraction:
        op, args = node.op, node.args
        if op == "num":
            assert isinstance(node.value, Fraction)
            return node.value
        if op == "sym" and node.value in self.env:
            return self.env[str(node.value)]
        if op == "sum":
            return self._sum(node)
        if op == "matrix" and node.value == "det":
            return determinant([[self.value(cell) for cell in row.args] for row in node.args])
        if op not in ("add", "mul", "neg", "div", "pow", "root", "fn"):
            raise Unreachable
        values = [self.value(child) for child in args]
        if op == "add":
            return sum(values, Fraction(0))
        if op == "mul":
            product = Fraction(1)
            for value in values:
                product *= value
                if product.numerator.bit_length() > MAX_BITS:
                    raise Unreachable
            return product
        if op == "neg":
            return -values[0]
        if op == "div":
            if not values[1]:
                raise Undefined
            return values[0] / values[1]
        if op == "pow":
            return self._power(values[0], values[1])
        if op == "root":
            if not values[1]:
                raise Undefined
            return self._power(values[0], 1 / values[1])
        return self._function(str(node.value), values)

    def _power(self, base: Fraction, exponent: Fraction) -> Fraction:
        if not base:
            if exponent < 0:
                raise Undefined
            return Fraction(0 if exponent else 1)
        if exponent.denominator != 1:
            base = _root(base, exponent.denominator)
        power = exponent.numerator
        if abs(base) != 1 and abs(power) * (max(abs(base.numerator), base.denominator).bit_length() - 1) > MAX_BITS:
            raise Unreachable
        return base ** (power if abs(base) != 1 else power % 2)

    def _function(self, name: str, values: list[Fraction]) -> Fraction:
        if name == "abs":
            return abs(values[0])
        if name == "floor":
            return Fraction(math.floor(values[0]))
        if name == "ceil":
            return Fraction(math.ceil(values[0]))
        if name in ("max", "min"):
            return max(values) if name == "max" else min(values)
        if any(v.denominator != 1 for v in values):
            raise Unreachable
        whole = [int(v) for v in values]
        if name in ("gcd", "lcm"):
            return Fraction(math.gcd(*whole) if name == "gcd" else math.lcm(*whole))
        if name == "factorial" and 0 <= whole[0] <= MAX_FACTORIAL:
            return Fraction(math.factorial(whole[0]))
        if name == "double factorial" and 0 <= whole[0] <= MAX_FACTORIAL:
            return Fraction(math.prod(range(whole[0], 0, -2)))
        if name == "binomial" and 0 <= whole[0] <= MAX_FACTORIAL and whole[1] >= 0:
            return Fraction(math.comb(whole[0], whole[1]))
        raise Unreachable

    def _sum(self, node: Node) -> Fraction:
        index, low, high, body = node.args
        first, last = self.value(low), self.value(high)
        if first.denominator != 1 or last.denominator != 1 or last - first > MAX_TERMS:
            raise Unreachable
        total = Fraction(0 if node.value == "sum" else 1)
        outer = self.env
        for k in range(int(first), int(last) + 1):
            self.env = {**outer, str(index.value): Fraction(k)}
            term = self.value(body)
            total = total + term if node.value == "sum" else total * term
            if total.numerator.bit_length() > MAX_BITS:
                raise Unreachable
        self.env = outer
        return total


def determinant(rows: list[list[Any]]) -> Any:
    """Of a square matrix of numbers, by its first row; at most MAX_ORDER rows."""
    if not 0 < len(rows) <= MAX_ORDER or any(len(row) != len(rows) for row in rows):
        raise Unreachable
    if len(rows) == 1:
        return rows[0][0]
    minors = ([row[:i] + row[i + 1 :] for row in rows[1:]] for i in range(len(rows)))
    return sum(((-1) ** i * rows[0][i] * determinant(minor) for i, minor in enumerate(minors)), 0 * rows[0][0])


def _root(value: Fraction, degree: int) -> Fraction:
    """The exact real root, if it is rational."""
    if degree > 64 or (value < 0 and degree % 2 == 0):
        raise Unreachable
    parts = []
    for whole in (abs(value.numerator), value.denominator):
        if whole.bit_length() > 4096:
            raise Unreachable
        low, high = 0, 1 << (whole.bit_length() // degree + 1)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if middle**degree <= whole else (low, middle - 1)
        if low**degree != whole:
            raise Unreachable
        parts.append(low)
    return Fraction(parts[0] if value > 0 else -parts[0], parts[1])
