"""Sums, multiples and products of matrices, worked out cell by cell into one matrix of trees."""

from __future__ import annotations

from collections.abc import Callable

from acejax.verification.math.tree import Node, negated, product

MAX_CELLS = 256


def as_matrix(node: Node) -> Node | None:
    """The one matrix that a tree stands for: written as such, as rows in square brackets, or as a sum or multiple of
    matrices.

    Cells stay trees, nothing is evaluated. None if the tree is no matrix, or its shapes do not fit.
    """
    reader = _READERS.get(node.op)
    return reader(node) if reader else None


def _written(node: Node) -> Node | None:
    return node if node.value == "" else None


def _rows_in_brackets(node: Node) -> Node | None:
    if not all(_is_bracketed(group) for group in (node, *node.args)):
        return None
    widths = {len(row.args) for row in node.args}
    if len(widths) != 1:
        return None
    return Node("matrix", tuple(Node("row", row.args) for row in node.args))


def _is_bracketed(node: Node) -> bool:
    return node.op == "group" and node.value == "[]"


def _negative(node: Node) -> Node | None:
    return _changed(as_matrix(node.args[0]), negated)


def _quotient(node: Node) -> Node | None:
    top, bottom = node.args
    return _changed(as_matrix(top), lambda cell: Node("div", (cell, bottom)))


def _multiple(node: Node) -> Node | None:
    matrices, scalars = [], []
    for factor in node.args:
        matrix = as_matrix(factor)
        if matrix is None:
            scalars.append(factor)
        else:
            matrices.append(matrix)
    if len(matrices) != 1:
        return None
    return _changed(matrices[0], lambda cell: product(*scalars, cell))


def _sum(node: Node) -> Node | None:
    total = as_matrix(node.args[0])
    for term in node.args[1:]:
        total = _added(total, as_matrix(term))
    return total


_READERS: dict[str, Callable[[Node], Node | None]] = {
    "matrix": _written,
    "group": _rows_in_brackets,
    "neg": _negative,
    "div": _quotient,
    "mul": _multiple,
    "add": _sum,
}


def _changed(matrix: Node | None, change: Callable[[Node], Node]) -> Node | None:
    """The matrix with each of its cells changed."""
    if matrix is None or sum(_shape(matrix)) > MAX_CELLS:
        return None
    rows = []
    for row in matrix.args:
        cells = map(change, row.args)
        rows.append(Node("row", tuple(cells)))
    return Node("matrix", tuple(rows))


def _added(a: Node | None, b: Node | None) -> Node | None:
    if a is None or b is None or _shape(a) != _shape(b):
        return None
    rows = []
    for x, y in zip(a.args, b.args, strict=True):
        pairs = zip(x.args, y.args, strict=True)
        rows.append(Node("row", tuple(Node("add", pair) for pair in pairs)))
    return Node("matrix", tuple(rows))


def _shape(matrix: Node) -> list[int]:
    """The length of each row."""
    return [len(row.args) for row in matrix.args]
