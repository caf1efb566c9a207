"""Rational arithmetic on trees, with bounds on every number and on the work as a whole."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from acejax.verification.math.tree import Node

MAX_BITS = 50_000  # of any exact number on the way
WORK_BITS = 500_000  # of all of them together, counting STEP_BITS more for each operation
STEP_BITS = 32
MAX_FACTORIAL = 3000
MAX_ORDER = 5  # of a determinant
MAX_TERMS = 2000  # of a sum with known ends
MAX_ROOT = 64  # the degree of a root
MAX_ROOT_BITS = 4096  # of what a root is drawn from

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
        """The value of a tree. Raises Undefined, or Unreachable."""
        operation = _OPERATIONS.get(node.op)
        if operation is None:
            raise Unreachable
        result = operation(self, node)
        bits = result.numerator.bit_length() + result.denominator.bit_length()
        self.work += bits + STEP_BITS
        if bits > MAX_BITS or self.work > WORK_BITS:
            raise Unreachable
        return result

    def _number(self, node: Node) -> Fraction:
        assert isinstance(node.value, Fraction)
        return node.value

    def _symbol(self, node: Node) -> Fraction:
        value = self.env.get(str(node.value))
        if value is None:
            raise Unreachable
        return value

    def _add(self, node: Node) -> Fraction:
        return sum([self.value(child) for child in node.args], Fraction(0))

    def _multiply(self, node: Node) -> Fraction:
        values = [self.value(child) for child in node.args]
        product = Fraction(1)
        for value in values:
            product *= value
            _require_small(product)
        return product

    def _negate(self, node: Node) -> Fraction:
        return -self.value(node.args[0])

    def _divide(self, node: Node) -> Fraction:
        top, bottom = [self.value(child) for child in node.args]
        if not bottom:
            raise Undefined
        return top / bottom

    def _raise(self, node: Node) -> Fraction:
        base, exponent = [self.value(child) for child in node.args]
        return _power(base, exponent)

    def _draw_root(self, node: Node) -> Fraction:
        base, degree = [self.value(child) for child in node.args]
        if not degree:
            raise Undefined
        return _power(base, 1 / degree)

    def _apply(self, node: Node) -> Fraction:
        values = [self.value(child) for child in node.args]
        return _function(str(node.value), values)

    def _determinant(self, node: Node) -> Fraction:
        if node.value != "det":
            raise Unreachable
        rows = [[self.value(cell) for cell in row.args] for row in node.args]
        return determinant(rows)

    def _sum(self, node: Node) -> Fraction:
        index, low, high, body = node.args
        first, last = self.value(low), self.value(high)
        if first.denominator != 1 or last.denominator != 1 or last - first > MAX_TERMS:
            raise Unreachable

        adds = node.value == "sum"
        total = Fraction(0 if adds else 1)
        outer = self.env
        for k in range(int(first), int(last) + 1):
            self.env = {**outer, str(index.value): Fraction(k)}
            term = self.value(body)
            total = total + term if adds else total * term
            _require_small(total)
        self.env = outer
        return total


_OPERATIONS: dict[str, Callable[[Exact, Node], Fraction]] = {
    "num": Exact._number,
    "sym": Exact._symbol,
    "add": Exact._add,
    "mul": Exact._multiply,
    "neg": Exact._negate,
    "div": Exact._divide,
    "pow": Exact._raise,
    "root": Exact._draw_root,
    "fn": Exact._apply,
    "sum": Exact._sum,
    "matrix": Exact._determinant,
}
_OF_ONE: dict[str, Callable[[Fraction], Any]] = {"abs": abs, "floor": math.floor, "ceil": math.ceil}
_OF_MANY: dict[str, Callable[[list[Fraction]], Fraction]] = {"max": max, "min": min}
_OF_WHOLE: dict[str, Callable[..., int]] = {"gcd": math.gcd, "lcm": math.lcm}


def determinant(rows: list[list[Any]]) -> Any:
    """Of a square matrix of numbers, by its first row; at most MAX_ORDER rows."""
    if not 0 < len(rows) <= MAX_ORDER or any(len(row) != len(rows) for row in rows):
        raise Unreachable
    first, *others = rows
    if not others:
        return first[0]
    total = 0 * first[0]
    for i, cell in enumerate(first):
        minor = [row[:i] + row[i + 1 :] for row in others]
        total += (-1) ** i * cell * determinant(minor)
    return total


def _require_small(value: Fraction) -> None:
    if value.numerator.bit_length() > MAX_BITS:
        raise Unreachable


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if not base:
        if exponent < 0:
            raise Undefined
        return Fraction(0 if exponent else 1)
    if exponent.denominator != 1:
        base = _root(base, exponent.denominator)

    power = exponent.numerator
    if abs(base) == 1:
        return base ** (power % 2)
    bits = max(abs(base.numerator), base.denominator).bit_length() - 1
    if abs(power) * bits > MAX_BITS:
        raise Unreachable
    return base**power


def _root(value: Fraction, degree: int) -> Fraction:
    """The exact real root, if it is rational."""
    if degree > MAX_ROOT or (value < 0 and degree % 2 == 0):
        raise Unreachable
    top = _whole_root(abs(value.numerator), degree)
    bottom = _whole_root(value.denominator, degree)
    return Fraction(top if value > 0 else -top, bottom)


def _whole_root(whole: int, degree: int) -> int:
    if whole.bit_length() > MAX_ROOT_BITS:
        raise Unreachable
    low, high = 0, 1 << (whole.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if middle**degree <= whole:
            low = middle
        else:
            high = middle - 1
    if low**degree != whole:
        raise Unreachable
    return low


def _function(name: str, values: list[Fraction]) -> Fraction:
    if name in _OF_ONE:
        return Fraction(_OF_ONE[name](values[0]))
    if name in _OF_MANY:
        return _OF_MANY[name](values)

    # All others take whole numbers.
    if any(value.denominator != 1 for value in values):
        raise Unreachable
    whole = [int(value) for value in values]
    if name in _OF_WHOLE:
        return Fraction(_OF_WHOLE[name](*whole))
    if not 0 <= whole[0] <= MAX_FACTORIAL:
        raise Unreachable
    if name == "gamma" and whole[0]:
        return Fraction(math.factorial(whole[0] - 1))
    if name == "factorial":
        return Fraction(math.factorial(whole[0]))
    if name == "double factorial":
        return Fraction(math.prod(range(whole[0], 0, -2)))
    if name == "binomial" and whole[1] >= 0:
        return Fraction(math.comb(whole[0], whole[1]))
    raise Unreachable
