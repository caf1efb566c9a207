"""Trees with ± and ∓: every reading of their signs, as lists of trees without."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat

from acejax.verification.math.tree import Node, mentions, negated


def has_choice_of_sign(node: Node) -> bool:
    return mentions(node, "pm")


def is_collection(node: Node) -> bool:
    """Whether the order of a tree's members says nothing: a bare list, or a set."""
    return node.op == "list" or (node.op == "group" and node.value == "{}")


def expansions(node: Node) -> list[Node]:
    """Trees without ±: signs that move together, and signs that move independently. Matrices and tuples with ± stay
    apart.
    """
    if not has_choice_of_sign(node):
        return [node]
    if is_collection(node):
        members = chain.from_iterable(map(_upper_and_lower, node.args))
        return [Node(node.op, tuple(members), node.value)]

    results = [node] if node.op == "group" else []
    results.append(Node("list", tuple(_upper_and_lower(node))))
    if _count_signs(node) == 2:
        # The first sign is held still while the other one moves.
        held_up = _upper_and_lower(node, first=1)
        held_down = _upper_and_lower(node, first=-1)
        results.append(Node("list", (*held_up, *held_down)))
    return results


def _count_signs(node: Node) -> int:
    inside = sum(map(_count_signs, node.args))
    return inside + (node.op == "pm")


def _upper_and_lower(node: Node, first: int | None = None) -> list[Node]:
    """The tree with every ± read as its upper, then as its lower sign; `first` holds the first one still."""
    if not has_choice_of_sign(node):
        return [node]
    held = [] if first is None else [first]
    upper = _with_signs(node, chain(held, repeat(1)))
    lower = _with_signs(node, chain(held, repeat(-1)))
    return [upper, lower]


def _with_signs(node: Node, signs: Iterator[int]) -> Node:
    """The tree with each ± read by the next sign: 1 for the upper one, -1 for the lower."""
    args = tuple([_with_signs(child, signs) for child in node.args])
    if node.op != "pm":
        return Node(node.op, args, node.value)
    left, right = args
    is_upper = next(signs) == 1
    is_plus = is_upper == (node.value == "+-")
    return Node("add", (left, right if is_plus else negated(right)))
