"""The tree that a mathematical answer is read into. Nodes are immutable and compare by value. What each op holds:

num     value is a Fraction                         sym, const   value is a name (const: pi, e, i, inf)
add, mul (n-ary), div, pow, neg, root (x, n)        fn           value is the function's name
pm      (left, right), value "+-" or "-+"           sum          (index, low, high, body), value "sum" or "prod"
group   value is the brackets, "()", "[)", "{}" …   list         bare, separated by commas, "and" or "or"
rel     value is the operators joined by spaces     union, meet, minus   sets
apply   (letter, arguments): a function of which nothing is known
matrix  of rows; value "det" for its determinant    text, unit (x; value canonical), deg (x)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Node:
    op: str
    args: tuple[Node, ...] = ()
    value: str | Fraction = ""


def number(value: int | Fraction) -> Node:
    return Node("num", value=Fraction(value))


def symbol(name: str) -> Node:
    return Node("sym", value=name)


def negated(node: Node) -> Node:
    return Node("neg", (node,))


def difference(left: Node, right: Node) -> Node:
    return Node("add", (left, negated(right)))


def product(*factors: Node) -> Node:
    return Node("mul", factors)


def operators(relation: Node) -> list[str]:
    """The operators between the sides of a relation."""
    return str(relation.value).split()


ZERO = number(0)
ONE = number(1)
MINUS_ONE = negated(ONE)
HUNDREDTH = number(Fraction(1, 100))
INFINITY = Node("const", value="inf")
NOTHING = Node("group", (), "{}")
REALS = Node("group", (negated(INFINITY), INFINITY), "()")


def infinity(node: Node) -> int:
    """1 or -1 for plus or minus infinity, 0 for anything else."""
    if node.op == "neg":
        return -infinity(node.args[0])
    return int(node.op == "const" and node.value == "inf")


def symbols(node: Node) -> Iterator[str]:
    """The free variables of a tree, each as often as it occurs."""
    if node.op == "sym":
        yield str(node.value)
    if node.op != "sum":
        # The letter of a function is no variable.
        free = node.args[1:] if node.op == "apply" else node.args
        for child in free:
            yield from symbols(child)
        return
    # A sum binds its index, which is its first child.
    index = node.args[0].value
    for child in node.args[1:]:
        yield from (name for name in symbols(child) if name != index)


def mentions(node: Node, what: str) -> bool:
    """Whether an operation, a constant or a function of this name occurs."""
    if node.op == what:
        return True
    if node.value == what and node.op in ("const", "fn"):
        return True
    return any(mentions(child, what) for child in node.args)


def size(node: Node) -> int:
    """How many nodes a tree has."""
    return 1 + sum(map(size, node.args))


def substituted(node: Node, name: Node, put: Node) -> Node:
    """The tree with a variable replaced by another tree. It holds no sum, so that nothing is bound."""
    if node == name:
        return put
    args = tuple(substituted(child, name, put) for child in node.args)
    return Node(node.op, args, node.value)
