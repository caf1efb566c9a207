"""What an answer that is a relation says, and what it only remarks.

* `10/3 ≈ 3.33` is 10/3: a decimal after the exact value is dropped if it is that value, rounded or cut off. Else it
stays, and the answer equals nothing but itself. It never takes the place of the exact value: it is not 3.33.
* `k ∈ {1, 2, 3}` is the list of its members, and `a ∈ {5}` is 5.
* `f(t) = t^2` is `f(x) = x^2`: the letter of the argument is bound.
* `V_1 : V_2 = 11 : 21` is the ratio 11:21.
"""

from __future__ import annotations

import math
from fractions import Fraction

from acejax.verification.math.tree import MINUS_ONE, Node, mentions, operators, substituted, symbols
from acejax.verification.math.values import rational_value, real_value

MAX_NAMES = 6  # of a tuple before an equals sign
MAX_PLACES = 30  # decimals of an approximation


def without_remarks(node: Node) -> Node:
    """A relation without the approximations and the names that change nothing about its value."""
    if node.op != "rel":
        return node
    return _ratio_alone(_without_approximations(node))


def _without_approximations(node: Node) -> Node:
    between = operators(node)
    if "≈" not in between:
        return node
    at = between.index("≈")
    exact, *rough = node.args[at:]
    if set(between[at:]) - {"≈", "="} or not all(_approximates(side, exact) for side in rough):
        return node
    return Node("rel", node.args[: at + 1], " ".join(between[:at])) if at else exact


def _approximates(rough: Node, exact: Node) -> bool:
    """Whether a decimal is an exact value, rounded to its last digit or cut off there."""
    decimal = rational_value(_bare(rough))
    if decimal is None:
        return False
    if exact.op == "deg" and rough.op != "deg" and _rounds_to(decimal, exact):  # in radians
        return True
    return _rounds_to(decimal, _bare(exact))


def _rounds_to(decimal: Fraction, exact: Node) -> bool:
    value = real_value(exact)
    if value is None:
        return False
    place = _last_place(decimal)
    if place is None:
        return False
    scaled = abs(value) / place
    found = abs(decimal) / place
    if decimal and (decimal < 0) != (value < 0):
        return False
    return found in (math.floor(scaled), math.floor(scaled + Fraction(1, 2)))


def _bare(node: Node) -> Node:
    """A measure without its unit, degrees without their sign."""
    return node.args[0] if node.op in ("unit", "deg") else node


def _last_place(decimal: Fraction) -> Fraction | None:
    """The place of the last digit that is not 0; None for what no finite decimal is."""
    for places in range(MAX_PLACES):
        scaled = decimal * 10**places
        if scaled.denominator == 1:
            break
    else:
        return None
    if places or not scaled:
        return Fraction(1, 10**places)
    digits = str(abs(scaled.numerator))
    return Fraction(10 ** (len(digits) - len(digits.rstrip("0"))))


def _ratio_alone(node: Node) -> Node:
    """The ratio after the names of what it compares."""
    between = operators(node) if node.op == "rel" else []
    if between.count("=") != 1 or set(between) != {"=", ":"}:
        return node
    at = between.index("=")
    names, after = node.args[: at + 1], between[at + 1 :]
    if not after or not all(map(is_name, names)):
        return node
    return Node("rel", node.args[at + 1 :], " ".join(after))


def as_members(node: Node, other: Node) -> Node:
    """The members that a name is said to be among, where the other answer is a list or a single thing."""
    if node.op != "rel" or operators(node) != ["∈"]:
        return node
    name, group = node.args
    if group.op != "group" or group.value != "{}" or not is_name(name) or not group.args:
        return node
    if len(group.args) == 1 and other.op not in ("group", "list"):
        return group.args[0]
    return group


def with_argument_of(node: Node, like: Node) -> Node:
    """The definition of a function with its one argument called as in another definition of it."""
    old, new = _argument(node), _argument(like)
    if old is None or new is None or old == new:
        return node
    if node.args[0].args[0] != like.args[0].args[0] or str(new.value) in symbols(node):
        return node
    return substituted(node, old, new)


def _argument(node: Node) -> Node | None:
    """x, in f(x) = x^2."""
    if node.op != "rel" or node.value != "=" or mentions(node, "sum"):
        return None
    left = node.args[0]
    if left.op != "apply" or len(left.args) != 2 or left.args[1].op != "sym":
        return None
    return left.args[1]


def is_tuple(node: Node) -> bool:
    return node.op == "group" and node.value == "()"


def is_name(node: Node) -> bool:
    """A letter, letters such as AB, f(x), AB/CD, or a tuple of letters: what may stand before an equals sign without
    saying anything.
    """
    op, args = node.op, node.args
    if op in ("sym", "text"):
        return True
    if op == "const":
        return node.value in ("e", "i")
    if op == "fn":
        return node.value in ("abs", "max", "min") and all(map(is_name, args))
    if op == "apply":
        return all(map(_is_name_or_number, args))
    if op == "div":  # AB/CD, dy/dx
        return are_names(args)
    if op == "pow":  # the inverse of a function
        return args[0].op == "sym" and args[1] == MINUS_ONE
    if op == "mul":
        return _is_function_of_number(args) or are_names(args)
    return is_tuple(node) and are_names(args)


def _is_name_or_number(node: Node) -> bool:
    return node.op == "num" or is_name(node)


def _is_function_of_number(factors: tuple[Node, ...]) -> bool:
    """f(2)"""
    return [factor.op for factor in factors] == ["sym", "num"]


def are_names(nodes: tuple[Node, ...]) -> bool:
    return len(nodes) <= MAX_NAMES and all(map(is_name, nodes))
