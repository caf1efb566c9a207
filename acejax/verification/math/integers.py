r"""Letters that stand for whole numbers: where (-1)^n occurs, n is one, so that \cos n\pi is (-1)^n, \sin n\pi is 0."""

from __future__ import annotations

from fractions import Fraction

from acejax.verification.math.tree import MINUS_ONE, ONE, ZERO, Node, substituted, symbols

_LETTERS = frozenset("nkmj")
_PI = Node("const", value="pi")
_MINUS_ONES = (MINUS_ONE, Node("num", value=Fraction(-1)))


def whole_letters(node: Node) -> set[str]:
    """The letters n, k, m and j in the exponents of -1."""
    found: set[str] = set()
    if node.op == "pow" and node.args[0] in _MINUS_ONES:
        found |= _LETTERS.intersection(symbols(node.args[1]))
    for child in node.args:
        found |= whole_letters(child)
    return found


def at_whole_numbers(node: Node, letters: set[str]) -> Node:
    r"""The tree with (-1)^p for \cos p\pi and 0 for \sin p\pi, where p is a polynomial in these letters with whole
    coefficients.
    """
    args = tuple([at_whole_numbers(child, letters) for child in node.args])
    if node.op == "fn" and node.value in ("cos", "sin") and _turns(args[0], letters) == 1:
        return ZERO if node.value == "sin" else Node("pow", (MINUS_ONE, substituted(args[0], _PI, ONE)))
    return Node(node.op, args, node.value)


def _turns(node: Node, letters: set[str]) -> int | None:
    """The power of pi in each term of a polynomial with whole coefficients; None if it is no such polynomial."""
    if node == _PI:
        return 1
    if node.op == "num":
        return 0 if Fraction(node.value).denominator == 1 else None
    if node.op == "sym":
        return 0 if node.value in letters else None
    powers = [_turns(child, letters) for child in node.args]
    known = [power for power in powers if power is not None]
    if node.op not in ("add", "mul", "neg") or len(known) < len(powers):
        return None
    if node.op == "mul":
        return sum(known)
    return known[0] if len(set(known)) == 1 else None
