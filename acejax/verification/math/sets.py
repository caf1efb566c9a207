"""Sets of real numbers with known ends: unions, intersections, complements and inequalities in one variable, brought to
one form.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from acejax.verification.math.exact import Exact, Undefined, Unreachable
from acejax.verification.math.tree import (
    INFINITY,
    Node,
    difference,
    infinity,
    negated,
    number,
    operators,
    symbol,
    symbols,
)
from acejax.verification.math.values import real_value, same_value

MIRROR = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}
MAX_PIECES = 64
INTERVALS = frozenset(("()", "[]", "(]", "[)"))
INEQUALITIES = frozenset("<>≤≥≠")
_OF_CONDITIONS = INEQUALITIES.union("∈")
_OF_COMPARISONS = INEQUALITIES.union("=")
_ALONE = frozenset("=≠")  # a chain has one direction: these have none
_LINEAR = frozenset(("add", "neg", "mul", "div", "num", "sym"))

End = tuple[Fraction | float, int]  # where a piece ends, and 0 just before the point, 1 just after it
Piece = tuple[End, End]
ALL: tuple[Piece, ...] = (((-math.inf, 1), (math.inf, 0)),)


@dataclass(frozen=True)
class RealSet:
    """Disjoint pieces in order, the nodes that their ends came from, and the variable that spoke of it, if any."""

    pieces: tuple[Piece, ...]
    nodes: dict[Fraction, Node]
    name: str = ""


class _NoSet(Exception):
    """The tree is no set that this file reads."""


def same_sets(a: Node, b: Node) -> bool | None:
    """Whether two trees are one set of real numbers; None if one of them is no such set, or both only name their
    members plainly.
    """
    if not (_is_composed(a) or _is_composed(b) or _are_interval_and_members(a, b)):
        return None
    if {a.op, b.op} == {"list", "union"}:
        a, b = _as_union(a), _as_union(b)
    try:
        x, y = _read(a), _read(b)
    except _NoSet:
        return None
    if x.name and y.name and x.name != y.name:
        return False
    if x.pieces != y.pieces:
        return False

    # The pieces were put in order by rounded ends: the ends themselves decide.
    ends = {point for piece in x.pieces for point, _ in piece}
    return all(_same_end(x, y, end) for end in ends if isinstance(end, Fraction))


def _same_end(a: RealSet, b: RealSet, end: Fraction) -> bool:
    x, y = a.nodes[end], b.nodes[end]
    return x == y or same_value(x, y)


def _are_interval_and_members(a: Node, b: Node) -> bool:
    """[2, 2] and {2}"""
    return a.op == b.op == "group" and (a.value == "{}") != (b.value == "{}")


def _as_union(node: Node) -> Node:
    """(0, 1) or (2, 3)"""
    if all(item.op == "group" for item in node.args):
        return Node("union", node.args)
    return node


def _is_composed(node: Node) -> bool:
    if node.op in ("union", "meet", "minus"):
        return True
    if node.op in ("rel", "list"):
        return _is_condition(node)
    if node.op == "group":
        return _is_built(node)
    return node.op == "add" and _is_difference(node)


def _is_condition(node: Node) -> bool:
    if node.op == "rel":
        return _OF_CONDITIONS.issuperset(operators(node))
    if node.op != "list" or not any(map(_is_condition, node.args)):
        return False
    # One equation among inequalities adds a point.
    return all(item.value == "=" or _is_condition(item) for item in node.args)


def _is_built(node: Node) -> bool:
    """{x : x > 3}"""
    if node.op != "group" or node.value != "{}" or not node.args:
        return False
    first = node.args[0]
    return first.op == "rel" and ":" in str(first.value)


def _is_difference(node: Node) -> bool:
    r"""\mathbb{R} - \{0\}"""
    if len(node.args) != 2:
        return False
    left, right = node.args
    return left.op == "group" and right.op == "neg" and right.args[0].op == "group"


def _read(node: Node) -> RealSet:
    reader = _READERS.get(node.op)
    if reader is None:
        raise _NoSet
    return reader(node)


def _group(node: Node) -> RealSet:
    brackets = str(node.value)
    if len(node.args) == 2 and brackets in INTERVALS:
        low, high = node.args
        return _interval(low, brackets[0] == "[", high, brackets[1] == "]")
    if brackets != "{}":
        raise _NoSet
    if _is_built(node):
        return _built(node.args[0], node.args[1:])
    result = RealSet((), {})
    for item in node.args:
        result = _union(result, _interval(item, True, item, True))
    return result


def _operation(node: Node) -> RealSet:
    result, *rest = map(_read, node.args)
    for other in rest:
        if node.op == "union":
            result = _union(result, other)
        elif node.op == "meet":
            result = _meet(result, other)
        else:
            outside = RealSet(_complement(other.pieces), other.nodes)
            result = _meet(result, outside)
    return result


def _sum(node: Node) -> RealSet:
    if not _is_difference(node):
        raise _NoSet
    left, right = node.args
    return _read(Node("minus", (left, right.args[0])))


def _list(node: Node) -> RealSet:
    if not _is_condition(node):
        raise _NoSet
    return _conditions([_read(item) for item in node.args])


def _conditions(parts: list[RealSet]) -> RealSet:
    """`or` between conditions, and what people write for it; `and` where `or` would leave nothing out: x > 3, x < 5."""
    either = both = parts[0]
    for part in parts[1:]:
        either = _union(either, part)
        both = _meet(both, part)
    return both if either.pieces == ALL else either


def _built(relation: Node, more: tuple[Node, ...]) -> RealSet:
    r"""{x : x > 3}, {x \in R : x > 3} and, with more conditions, {x : x < 1 or x > 3}."""
    between, sides = operators(relation), relation.args
    if ":" not in between:
        raise _NoSet
    at = between.index(":")
    domain, after = between[:at], between[at + 1 :]
    if domain not in ([], ["∈"]) or sides[0].op != "sym":
        raise _NoSet
    condition = Node("rel", sides[at + 1 :], " ".join(after))
    result = _conditions([_read(condition), *map(_read, more)])
    if result.name not in ("", str(sides[0].value)):
        raise _NoSet
    if domain:
        result = _meet(result, _read(sides[1]))
    return RealSet(result.pieces, result.nodes)  # the name is bound: any other would do


def _relation(node: Node) -> RealSet:
    between, sides = operators(node), node.args
    if between == ["∈"] and sides[0].op == "sym":
        inside = _read(sides[1])
        return RealSet(inside.pieces, inside.nodes, str(sides[0].value))

    if not _OF_COMPARISONS.issuperset(between):
        raise _NoSet
    if len(between) > 1 and not _ALONE.isdisjoint(between):
        raise _NoSet
    names = set(symbols(node))
    if len(names) != 1:
        raise _NoSet
    name = names.pop()
    result = RealSet(ALL, {})
    for left, operator, right in zip(sides, between, sides[1:], strict=False):
        result = _meet(result, _solved(left, operator, right, name))
    return RealSet(result.pieces, result.nodes, name)


_READERS: dict[str, Callable[[Node], RealSet]] = {
    "group": _group,
    "union": _operation,
    "meet": _operation,
    "minus": _operation,
    "add": _sum,
    "list": _list,
    "rel": _relation,
}


def _solved(left: Node, operator: str, right: Node, name: str) -> RealSet:
    """The solutions of one comparison that is linear in its one variable, or an absolute value of that against a
    number.
    """
    if _is_absolute(right):
        left, operator, right = right, MIRROR.get(operator, operator), left
    if _is_absolute(left) and not any(symbols(right)):
        return _solved_absolute(left.args[0], operator, right, name)

    variable = symbol(name)
    if right == variable:
        left, operator, right = right, MIRROR.get(operator, operator), left
    if left == variable and not any(symbols(right)):
        return _against(operator, right)
    slope, root = _linear(difference(left, right), name)
    if slope < 0:
        operator = MIRROR.get(operator, operator)
    return _against(operator, number(root))


def _is_absolute(node: Node) -> bool:
    return node.op == "fn" and node.value == "abs"


def _solved_absolute(inside: Node, operator: str, bound: Node, name: str) -> RealSet:
    value = real_value(bound)
    if value is None or value < 0 or operator in ("=", "≠"):
        raise _NoSet
    above = _solved(inside, operator, bound, name)
    below = _solved(inside, MIRROR[operator], negated(bound), name)
    return _meet(above, below) if operator in ("<", "≤") else _union(above, below)


def _linear(node: Node, name: str) -> tuple[Fraction, Fraction]:
    """The slope and the root of a tree that is linear in its one variable."""
    try:
        at_0, at_1, at_2, at_17 = [_at(x, node, name) for x in (0, 1, 2, 17)]
    except (Unreachable, Undefined):
        raise _NoSet from None
    slope = at_1 - at_0
    if not slope or at_2 - at_1 != slope or at_17 - at_0 != 17 * slope or _bends(node):
        raise _NoSet
    return slope, -at_0 / slope


def _at(x: int, node: Node, name: str) -> Fraction:
    return Exact({name: Fraction(x)}).value(node)


def _bends(node: Node) -> bool:
    """Whether a tree holds more than sums and products, so that four points do not prove it linear."""
    return node.op not in _LINEAR or any(map(_bends, node.args))


def _against(operator: str, bound: Node) -> RealSet:
    """All numbers that compare so with a bound."""
    if operator in ("=", "≠"):
        point = _interval(bound, True, bound, True)
        return point if operator == "=" else RealSet(_complement(point.pieces), point.nodes)
    if operator in ("<", "≤"):
        return _interval(negated(INFINITY), False, bound, operator == "≤")
    return _interval(bound, operator == "≥", INFINITY, False)


def _interval(low: Node, with_low: bool, high: Node, with_high: bool) -> RealSet:
    nodes: dict[Fraction, Node] = {}
    low_value = _end(low, nodes)
    high_value = _end(high, nodes)
    start = (low_value, int(not with_low))
    end = (high_value, int(with_high))
    if start >= end:  # (3, 2) is a pair
        raise _NoSet
    if _reaches_infinity(low_value, with_low) or _reaches_infinity(high_value, with_high):
        raise _NoSet
    return RealSet(((start, end),), nodes)


def _reaches_infinity(value: Fraction | float, included: bool) -> bool:
    return included and abs(value) == math.inf


def _end(node: Node, nodes: dict[Fraction, Node]) -> Fraction | float:
    """The value of an end, noted with its node where it is finite."""
    sign = infinity(node)
    if sign:
        return sign * math.inf
    value = real_value(node)
    if value is None:
        raise _NoSet
    nodes[value] = node
    return value


def _union(a: RealSet, b: RealSet) -> RealSet:
    merged: list[Piece] = []
    for start, end in sorted(a.pieces + b.pieces):
        if merged and start <= merged[-1][1]:
            first, last = merged[-1]
            merged[-1] = (first, max(end, last))
        else:
            merged.append((start, end))
    return _combined(a, b, merged)


def _meet(a: RealSet, b: RealSet) -> RealSet:
    pieces = []
    for x_start, x_end in a.pieces:
        for y_start, y_end in b.pieces:
            start, end = max(x_start, y_start), min(x_end, y_end)
            if start < end:
                pieces.append((start, end))
    return _combined(a, b, sorted(pieces))


def _combined(a: RealSet, b: RealSet, pieces: list[Piece]) -> RealSet:
    if len(pieces) > MAX_PIECES or (a.name and b.name and a.name != b.name):
        raise _NoSet
    return RealSet(tuple(pieces), a.nodes | b.nodes, a.name or b.name)


def _complement(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    gaps = []
    ((start, last),) = ALL
    for low, high in pieces:
        if start < low:
            gaps.append((start, low))
        start = high
    if start < last:
        gaps.append((start, last))
    return tuple(gaps)
