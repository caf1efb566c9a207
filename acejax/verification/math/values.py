"""Decides whether two scalar trees have one value, cheapest means first and each within stated bounds.

1. Exact: both are rational, or rational functions of their variables, compared at random exact points (Schwartz 1980,
Zippel 1979: two different rational functions of degree d agree at a point drawn from N values with probability at most
d/N).
2. Numeric: mpmath at a working precision that grows with the range of magnitudes met on the way, so that sqrt(2) +
10^-200 is not sqrt(2). Any difference refutes; agreement at every point, in 50 digits more than three times that range,
confirms.
3. Symbolic: sums and products with open ends, which no real point can value. Whole-number points refute; only induction
over the end confirms. (A computer algebra system's summation has no bound: 2^k 3^k k^12 (k+1)^12 kept sympy busy for
minutes.)

Variables stand for real numbers unless i occurs: points at which one side leaves the reals are passed over while real
ones exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from acejax.verification.math.exact import Exact, Undefined, Unreachable
from acejax.verification.math.integers import at_whole_numbers, whole_letters
from acejax.verification.math.numeric import Numeric
from acejax.verification.math.opaque import without_calls
from acejax.verification.math.points import agreement_at, exact_agreement, numeric_agreement, points
from acejax.verification.math.tree import (
    ONE,
    Node,
    difference,
    mentions,
    negated,
    number,
    product,
    size,
    substituted,
    symbol,
    symbols,
)

MAX_NODES = 120  # of two trees with open sums
ORDER_DIGITS = 40  # decimals by which the ends of sets are put in order
ORDER_SPAN = 20  # decimal magnitudes that those decimals allow for


def same_value(a: Node, b: Node) -> bool:
    """Whether two trees of numbers, variables and functions are equal wherever both are defined. Never raises on a
    parsed tree.
    """
    a, b = without_calls(a, b, same_value)
    names = _variables(a, b)
    rational = exact_agreement(a, b, names)
    if rational is not None:
        return rational
    if mentions(a, "sum") or mentions(b, "sum"):
        return _proved(a, b, names)
    if numeric_agreement(a, b, names, None):
        return True
    if _has_log_without_base(a) or _has_log_without_base(b):
        return bool(numeric_agreement(a, b, names, 10))
    return _same_at_whole_numbers(a, b)


def _same_at_whole_numbers(a: Node, b: Node) -> bool:
    letters = whole_letters(a) | whole_letters(b)
    if not letters:
        return False
    x, y = at_whole_numbers(a, letters), at_whole_numbers(b, letters)
    return (x, y) != (a, b) and same_value(x, y)


def ratio_sign(a: Node, b: Node) -> int:
    """1 or -1 if a = c b for one constant c of that sign and both vary, else 0: so that equations may differ by a
    factor.
    """
    a, b = without_calls(a, b, same_value)
    point = next(points(_variables(a, b), seed=1))
    try:
        at_a, at_b = Exact(point).value(a), Exact(point).value(b)
    except (Unreachable, Undefined):
        if same_value(a, b):
            return 1
        return -1 if same_value(a, negated(b)) else 0
    if not at_a or not at_b:
        return 0
    if not same_value(product(a, number(at_b)), product(b, number(at_a))):
        return 0
    return 1 if at_a / at_b > 0 else -1


def rational_value(node: Node) -> Fraction | None:
    """The value of a closed rational tree, or None."""
    try:
        return Exact({}).value(node)
    except (Unreachable, Undefined):
        return None


def real_value(node: Node) -> Fraction | None:
    """The value of a closed real tree, rounded to 40 decimals where it is not rational, or None: for putting ends in
    order.
    """
    value = rational_value(node)
    if value is not None or any(symbols(node)):
        return value
    numeric = Numeric({}, 2 * ORDER_DIGITS, None)
    try:
        result = numeric.value(node)
    except (Unreachable, Undefined):
        return None
    context = numeric.context
    if numeric.span > ORDER_SPAN or numeric.left_reals or not isinstance(result, context.mpf):
        return None
    scaled = context.nint(result * context.mpf(10) ** ORDER_DIGITS)
    return Fraction(int(scaled), 10**ORDER_DIGITS)


def _variables(a: Node, b: Node) -> list[str]:
    return sorted({*symbols(a), *symbols(b)})


def _has_log_without_base(node: Node) -> bool:
    if node.op == "fn" and node.value == "log" and len(node.args) == 1:
        return True
    return any(map(_has_log_without_base, node.args))


def _proved(a: Node, b: Node, names: list[str]) -> bool:
    """Whether two trees with sums whose ends are open are equal, by induction over the end.

    Whole-number points refute and serve as the base. Sums that are the same on both sides stand for one unknown. Where
    one sum S is left, and a - b is c S + r, the step shows that f = -r / c grows from one end to the next as S does.
    """
    numeric = numeric_agreement(a, b, names, None)
    if numeric is not None or size(a) + size(b) > MAX_NODES:
        return bool(numeric)
    if not _agree_at_whole_numbers(a, b, names):
        return False

    sums: list[Node] = []
    for node in (*_outermost_sums(a), *_outermost_sums(b)):
        if not any(_same_sum(node, other) for other in sums):
            sums.append(node)
    unknowns = [symbol(f"the sum {i}") for i in range(len(sums))]
    left = _with_unknowns(a, sums, unknowns)
    right = _with_unknowns(b, sums, unknowns)
    if same_value(left, right):
        return True
    return len(sums) == 1 and _step_holds(sums[0], left, right, unknowns[0])


def _agree_at_whole_numbers(a: Node, b: Node, names: list[str]) -> bool:
    for whole in (3, 4, 7, 12):
        point = {name: Fraction(whole + 5 * i) for i, name in enumerate(names)}
        try:
            agree, _ = agreement_at(a, b, point, None)
        except (Unreachable, Undefined):
            return False
        if not agree:
            return False
    return True


def _outermost_sums(node: Node) -> Iterator[Node]:
    if node.op == "sum":
        yield node
        return
    for child in node.args:
        yield from _outermost_sums(child)


def _same_sum(a: Node, b: Node) -> bool:
    if a == b:
        return True
    parts = (*a.args, *b.args)
    if a.value != b.value or any(mentions(part, "sum") for part in parts):
        return False
    index, low, high, body = a.args
    other_index, other_low, other_high, other_body = b.args
    renamed = substituted(other_body, other_index, index)
    return same_value(low, other_low) and same_value(high, other_high) and same_value(body, renamed)


def _with_unknowns(node: Node, sums: list[Node], unknowns: list[Node]) -> Node:
    if node.op == "sum":
        pairs = zip(sums, unknowns, strict=True)
        return next(unknown for known, unknown in pairs if _same_sum(node, known))
    args = tuple(_with_unknowns(child, sums, unknowns) for child in node.args)
    return Node(node.op, args, node.value)


def _step_holds(known: Node, left: Node, right: Node, unknown: Node) -> bool:
    index, low, high, body = known.args
    ends = set(symbols(high))
    free = set(symbols(body)) - {str(index.value)}
    if len(ends) != 1 or not ends.isdisjoint(free):
        return False
    if rational_value(low) is None or mentions(body, "sum") or mentions(high, "sum"):
        return False

    # The end grows by one where its variable does.
    end = symbol(ends.pop())
    after = Node("add", (end, ONE))
    next_high = Node("add", (high, ONE))
    if not same_value(substituted(high, end, after), next_high):
        return False

    # The difference is linear in the sum: c S + r.
    gap = difference(left, right)
    at_0, at_1, at_2 = [substituted(gap, unknown, number(i)) for i in range(3)]
    slope = difference(at_1, at_0)
    if not same_value(at_2, Node("add", (at_1, slope))):
        return False

    # What the sum would have to be takes the same step as the sum.
    found = negated(Node("div", (at_0, slope)))
    term = substituted(body, index, next_high)
    grown = Node("add" if known.value == "sum" else "mul", (found, term))
    return same_value(substituted(found, end, after), grown)
