"""Functions of which nothing is known: each value that they take becomes an unknown of its own."""

from __future__ import annotations

from collections.abc import Callable

from acejax.verification.math.tree import Node, mentions, symbol

MAX_CALLS = 8  # different ones in two trees

Same = Callable[[Node, Node], bool]


def without_calls(a: Node, b: Node, same: Same) -> tuple[Node, Node]:
    """Two trees with an unknown for each application of a letter, the same one where `same` finds all arguments equal.

    What stands in a sum stays, since there one call has many values. Beyond MAX_CALLS the rest stay too.
    """
    if not mentions(a, "apply") and not mentions(b, "apply"):
        return a, b
    known: list[tuple[Node, Node]] = []
    return _replaced(a, known, same), _replaced(b, known, same)


def _replaced(node: Node, known: list[tuple[Node, Node]], same: Same) -> Node:
    if node.op == "sum":
        return node
    args = tuple([_replaced(child, known, same) for child in node.args])
    node = Node(node.op, args, node.value)
    if node.op != "apply":
        return node
    for call, unknown in known:
        if _same_call(call, node, same):
            return unknown
    if len(known) >= MAX_CALLS:
        return node
    unknown = symbol(f"the call {len(known)}")
    known.append((node, unknown))
    return unknown


def _same_call(a: Node, b: Node, same: Same) -> bool:
    (head, *values), (other_head, *others) = a.args, b.args
    if head != other_head or len(values) != len(others):
        return False
    return all(x == y or same(x, y) for x, y in zip(values, others, strict=True))
