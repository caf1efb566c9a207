"""Sets of real numbers with known ends: unions, intersections, complements and inequalities in one variable, brought to
one form.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from acejax.verification.math.exact import Exact, Undefined, Unreachable
from acejax.verification.math.latex import Node
from acejax.verification.math.values import infinity, real_value, same_value, symbols

MIRROR = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}
MAX_PIECES = 64

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
    unlike = a.op == b.op == "group" and (a.value == "{}") != (b.value == "{}")  # [2, 2] and {2}
    if not (unlike or _is_composed(a) or _is_composed(b)):
        return None
    if {a.op, b.op} == {"list", "union"}:  # (0, 1) or (2, 3)
        a, b = (Node("union", node.args) if all(item.op == "group" for item in node.args) else node for node in (a, b))
    try:
        x, y = _read(a), _read(b)
    except _NoSet:
        return None
    if (x.name and y.name and x.name != y.name) or x.pieces != y.pieces:
        return False
    ends = {end[0] for piece in x.pieces for end in piece if isinstance(end[0], Fraction)}
    return all(x.nodes[end] == y.nodes[end] or same_value(x.nodes[end], y.nodes[end]) for end in ends)


def _is_composed(node: Node) -> bool:
    if node.op in ("union", "meet", "minus"):
        return True
    if node.op in ("rel", "list"):
        return _is_condition(node)
    return _is_built(node) or (node.op == "add" and _is_difference(node))


def _is_condition(node: Node) -> bool:
    if node.op == "list":  # one equation among inequalities adds a point
        return any(map(_is_condition, node.args)) and all(
            _is_condition(item) or item.value == "=" for item in node.args
        )
    return node.op == "rel" and set(str(node.value).split()) <= {"<", ">", "≤", "≥", "≠", "∈"}


def _is_built(node: Node) -> bool:
    """{x : x > 3}"""
    return (
        node.op == "group"
        and node.value == "{}"
        and bool(node.args)
        and node.args[0].op == "rel"
        and ":" in str(node.args[0].value)
    )


def _is_difference(node: Node) -> bool:
    r"""\mathbb{R} - \{0\}"""
    return (
        len(node.args) == 2
        and node.args[0].op == "group"
        and node.args[1].op == "neg"
        and node.args[1].args[0].op == "group"
    )


def _read(node: Node) -> RealSet:
    if node.op == "group" and len(node.args) == 2 and node.value in ("()", "[]", "(]", "[)"):
        return _interval(node.args[0], str(node.value)[0] == "[", node.args[1], str(node.value)[1] == "]")
    if node.op == "group" and node.value == "{}":
        if _is_built(node):
            return _built(node.args[0], node.args[1:])
        result = RealSet((), {})
        for item in node.args:
            result = _union(result, _interval(item, True, item, True))
        return result
    if node.op in ("union", "meet", "minus"):
        first, *rest = map(_read, node.args)
        for other in rest:
            if node.op == "minus":
                other = RealSet(_complement(other.pieces), other.nodes)
            first = _union(first, other) if node.op == "union" else _meet(first, other)
        return first
    if node.op == "add" and _is_difference(node):
        return _read(Node("minus", (node.args[0], node.args[1].args[0])))
    if node.op == "list" and _is_condition(node):
        return _conditions([_read(item) for item in node.args])
    if node.op == "rel":
        return _relation(node)
    raise _NoSet


def _conditions(parts: list[RealSet]) -> RealSet:
    """`or` between conditions, and what people write for it; `and` where `or` would leave nothing out: x > 3, x < 5."""
    either = both = parts[0]
    for part in parts[1:]:
        either, both = _union(either, part), _meet(both, part)
    return both if either.pieces == ALL else either


def _built(relation: Node, more: tuple[Node, ...]) -> RealSet:
    r"""{x : x > 3}, {x \in R : x > 3} and, with more conditions, {x : x < 1 or x > 3}."""
    operators = str(relation.value).split()
    at = operators.index(":") if ":" in operators else 0
    domain = operators[:at]
    if ":" not in operators or domain not in ([], ["∈"]) or relation.args[0].op != "sym":
        raise _NoSet
    condition = Node("rel", relation.args[at + 1 :], " ".join(operators[at + 1 :]))
    result = _conditions([_read(condition), *map(_read, more)])
    if result.name not in ("", str(relation.args[0].value)):
        raise _NoSet
    return _meet(result, _read(relation.args[1])) if domain else result


def _relation(node: Node) -> RealSet:
    operators, sides = str(node.value).split(), node.args
    if operators == ["∈"] and sides[0].op == "sym":
        inside = _read(sides[1])
        return RealSet(inside.pieces, inside.nodes, str(sides[0].value))
    if (
        set(operators) - {"<", ">", "≤", "≥", "≠", "="}
        or ("=" in operators and len(operators) > 1)
        or ("≠" in operators and len(operators) > 1)
    ):
        raise _NoSet
    names = set(symbols(node))
    if len(names) != 1:
        raise _NoSet
    name = names.pop()
    result = RealSet(ALL, {})
    for left, operator, right in zip(sides, operators, sides[1:], strict=False):
        result = _meet(result, _solved(left, operator, right, name))
    return RealSet(result.pieces, result.nodes, name)


def _solved(left: Node, operator: str, right: Node, name: str) -> RealSet:
    """The solutions of one comparison that is linear in its one variable, or an absolute value of that against a
    number.
    """
    if right.op == "fn" and right.value == "abs":
        left, operator, right = right, MIRROR.get(operator, operator), left
    if left.op == "fn" and left.value == "abs" and not set(symbols(right)):
        bound, opposite = real_value(right), Node("neg", (right,))
        if bound is None or bound < 0 or operator in ("=", "≠"):
            raise _NoSet
        above, below = (
            _solved(left.args[0], operator, right, name),
            _solved(left.args[0], MIRROR[operator], opposite, name),
        )
        return _meet(above, below) if operator in ("<", "≤") else _union(above, below)
    if right == Node("sym", value=name):
        left, operator, right = right, MIRROR.get(operator, operator), left
    if left == Node("sym", value=name) and not set(symbols(right)):
        bound_node = right
    else:
        difference = Node("add", (left, Node("neg", (right,))))
        try:
            at = [Exact({name: Fraction(x)}).value(difference) for x in (0, 1, 2, 17)]
        except (Unreachable, Undefined):
            raise _NoSet from None
        slope = at[1] - at[0]
        if not slope or at[2] - at[1] != slope or at[3] - at[0] != 17 * slope or _bends(difference):
            raise _NoSet
        operator = operator if slope > 0 else MIRROR.get(operator, operator)
        bound_node = Node("num", value=-at[0] / slope)
    infinite = Node("const", value="inf")
    if operator in ("=", "≠"):
        point = _interval(bound_node, True, bound_node, True)
        return point if operator == "=" else RealSet(_complement(point.pieces), point.nodes)
    if operator in ("<", "≤"):
        return _interval(Node("neg", (infinite,)), False, bound_node, operator == "≤")
    return _interval(bound_node, operator == "≥", infinite, False)


def _bends(node: Node) -> bool:
    """Whether a tree holds more than sums and products, so that four points do not prove it linear."""
    return node.op not in ("add", "neg", "mul", "div", "num", "sym") or any(map(_bends, node.args))


def _interval(low: Node, with_low: bool, high: Node, with_high: bool) -> RealSet:
    nodes: dict[Fraction, Node] = {}
    values: list[Fraction | float] = []
    for node in (low, high):
        value = infinity(node) * math.inf if infinity(node) else real_value(node)
        if value is None:
            raise _NoSet
        if isinstance(value, Fraction):
            nodes[value] = node
        values.append(value)
    start, end = (values[0], int(not with_low)), (values[1], int(with_high))
    if start >= end or (abs(values[0]) == math.inf and start[1] == 0) or (abs(values[1]) == math.inf and end[1] == 1):
        raise _NoSet  # (3, 2) is a pair, and nothing reaches infinity
    return RealSet(((start, end),), nodes)


def _union(a: RealSet, b: RealSet) -> RealSet:
    merged: list[Piece] = []
    for start, end in sorted(a.pieces + b.pieces):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return _combined(a, b, tuple(merged))


def _meet(a: RealSet, b: RealSet) -> RealSet:
    pieces = tuple(
        (max(x[0], y[0]), min(x[1], y[1])) for x in a.pieces for y in b.pieces if max(x[0], y[0]) < min(x[1], y[1])
    )
    return _combined(a, b, tuple(sorted(pieces)))


def _combined(a: RealSet, b: RealSet, pieces: tuple[Piece, ...]) -> RealSet:
    if len(pieces) > MAX_PIECES or (a.name and b.name and a.name != b.name):
        raise _NoSet
    return RealSet(pieces, a.nodes | b.nodes, a.name or b.name)


def _complement(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    def gaps() -> Iterator[Piece]:
        start = ALL[0][0]
        for low, high in pieces:
            if start < low:
                yield (start, low)
            start = high
        if start < ALL[0][1]:
            yield (start, ALL[0][1])

    return tuple(gaps())
