"""Sums, multiples and products of matrices, worked out cell by cell into one matrix of trees."""

from __future__ import annotations

from acejax.verification.math.latex import Node

MAX_CELLS = 256


def as_matrix(node: Node) -> Node | None:
    """The one matrix that a tree stands for: written as such, as rows in square brackets, or as a sum or multiple of
    matrices.

    Cells stay trees, nothing is evaluated. None if the tree is no matrix, or its shapes do not fit.
    """
    if node.op == "matrix":
        return node if node.value == "" else None
    if node.op == "group" and node.value == "[]" and all(row.op == "group" and row.value == "[]" for row in node.args):
        widths = {len(row.args) for row in node.args}
        return Node("matrix", tuple(Node("row", row.args) for row in node.args)) if len(widths) == 1 else None
    if node.op == "neg":
        return _scaled(as_matrix(node.args[0]), lambda cell: Node("neg", (cell,)))
    if node.op == "div":
        return _scaled(as_matrix(node.args[0]), lambda cell: Node("div", (cell, node.args[1])))
    if node.op == "mul":
        read = [(arg, as_matrix(arg)) for arg in node.args]
        scalars = tuple(arg for arg, matrix in read if matrix is None)
        if len(scalars) != len(read) - 1:
            return None
        return _scaled(next(matrix for _, matrix in read if matrix), lambda cell: Node("mul", (*scalars, cell)))
    if node.op == "add":
        total = as_matrix(node.args[0])
        for arg in node.args[1:]:
            total = _added(total, as_matrix(arg))
        return total
    return None


def _scaled(matrix: Node | None, change) -> Node | None:  # type: ignore[no-untyped-def]
    if matrix is None or sum(len(row.args) for row in matrix.args) > MAX_CELLS:
        return None
    return Node("matrix", tuple(Node("row", tuple(map(change, row.args))) for row in matrix.args))


def _added(a: Node | None, b: Node | None) -> Node | None:
    if a is None or b is None or [len(row.args) for row in a.args] != [len(row.args) for row in b.args]:
        return None
    rows = (zip(x.args, y.args, strict=True) for x, y in zip(a.args, b.args, strict=True))
    return Node("matrix", tuple(Node("row", tuple(Node("add", pair) for pair in row)) for row in rows))
