r"""Decides whether two trees are one answer, piece by piece, down to the scalars that `values.same_value` decides.

* A bare list is unordered and equals a set with the same members; tuples are ordered; brackets and cardinality must
match.
* Sets of reals are compared as sets, however they are written: x > 2 is (2, inf), and (0, 1) with {1} is (0, 1].
* A unit, a currency or the degree sign counts only if both sides carry one; there is no conversion between units.
* `x = 5` equals `5` if the left side is only a name. A ratio 3:4 may be written as a fraction. What a relation says
beside its answer, such as an approximation, is in statements.py.
* ± stands for both its signs, which move together, or independently where there are two.
"""

from __future__ import annotations

import itertools

from acejax.verification.math.matrices import as_matrix
from acejax.verification.math.sets import MIRROR, same_sets
from acejax.verification.math.signs import expansions, has_choice_of_sign, is_collection
from acejax.verification.math.statements import as_members, is_name, is_tuple, with_argument_of, without_remarks
from acejax.verification.math.tree import Node, difference, infinity, number, operators, product, symbol
from acejax.verification.math.units import may_be_left_out, same_unit
from acejax.verification.math.values import ratio_sign, rational_value, same_value
from acejax.verification.math.words import number_of

MAX_ITEMS = 64
MAX_SIDES = 8  # of a chain of equations
WITH_DEGREES = ("", "deg^1", "radian^1", "celsius^1", "fahrenheit^1")  # units that may stand against a bare degree sign
_ARITHMETIC = frozenset(("add", "mul", "neg", "div"))
_NO_SCALARS = frozenset(("group", "matrix", "list", "text", "unit", "pm"))
_COMPARISONS = frozenset("=<>≤≥≠")


def same_answer(a: Node, b: Node) -> bool:
    """Whether two trees are one answer, under any reading of their ±."""
    if a == b:
        return True
    a, b = without_remarks(a), without_remarks(b)
    if has_choice_of_sign(a) or has_choice_of_sign(b):
        pairs = itertools.product(expansions(a), expansions(b))
        return any(_same_without_signs(x, y) for x, y in pairs)
    return _same_without_signs(a, b)


def _same_without_signs(a: Node, b: Node) -> bool:
    """Sets of reals as sets; other bare lists and sets as multisets; anything else as one thing."""
    as_sets = same_sets(a, b)
    if as_sets is not None:
        return as_sets
    a, b = as_members(a, b), as_members(b, a)
    ops = {a.op, b.op}
    if ops == {"rel", "list"}:
        a, b = _equations_by_name(a), _equations_by_name(b)
    elif ops == {"group", "list"}:
        a, b = _coordinates(a), _coordinates(b)
    if a.op != "list" and b.op != "list":
        return _same_thing(a, b)
    if not is_collection(a) or not is_collection(b):
        return False
    return _same_members(_without_common_name(a.args), _without_common_name(b.args))


def _same_members(left: tuple[Node, ...], right: tuple[Node, ...]) -> bool:
    """Whether each member of one collection has its own equal in the other."""
    if len(left) != len(right) or len(left) > MAX_ITEMS:
        return False
    rest = list(right)
    for item in left:
        for i, other in enumerate(rest):
            if same_answer(item, other):
                del rest[i]
                break
        else:
            return False
    return True


def _same_in_order(left: tuple[Node, ...], right: tuple[Node, ...]) -> bool:
    return len(left) == len(right) and all(map(same_answer, left, right))


def _without_common_name(items: tuple[Node, ...]) -> tuple[Node, ...]:
    """`x=1, x=2` and `x=1, 2` are the list 1, 2; `x=1, y=2` stays as it is."""
    if not items or not _is_equation(items[0]):
        return items
    first, *rest = items
    name, value = first.args
    if is_name(name) and all(item.op != "rel" for item in rest):
        return (value, *rest)
    if not all(map(_is_equation, rest)):
        return items
    names = {item.args[0] for item in items}
    return tuple(item.args[1] for item in items) if len(names) == 1 else items


def _is_equation(node: Node) -> bool:
    return node.op == "rel" and node.value == "="


def _equations_by_name(node: Node) -> Node:
    """(x, y) = (1, 2) as the list x = 1, y = 2."""
    if not _is_equation(node) or not all(map(is_tuple, node.args)):
        return node
    names, values = node.args
    if len(names.args) != len(values.args):
        return node
    pairs = zip(names.args, values.args, strict=True)
    return Node("list", tuple(Node("rel", pair, "=") for pair in pairs))


def _coordinates(node: Node) -> Node:
    """x = 1, y = 2 as the pair (1, 2), where the names come in the order of the alphabet."""
    if node.op != "list" or not all(map(_is_equation, node.args)):
        return node
    if any(item.args[0].op != "sym" for item in node.args):
        return node
    names = [str(item.args[0].value) for item in node.args]
    if names != sorted(set(names)):
        return node
    return Node("group", tuple(item.args[1] for item in node.args), "()")


def _same_thing(a: Node, b: Node) -> bool:
    """Whether two trees that are no bare lists are one thing: a relation, a measure, a text, a tuple, a matrix, or else
    a scalar.
    """
    if a == b:
        return True
    ops = {a.op, b.op}
    if "rel" in ops:
        return _same_relation(a, b)
    if "unit" in ops:
        return _same_measure(a, b)
    if _same_but_for_degree_sign(a, b):
        return True
    if "text" in ops:
        return _same_text(a, b)
    if "group" in ops:
        return _same_group(a, b)
    if not ops.isdisjoint(("union", "meet", "row", "minus")):
        return _same_structure(a, b)
    if _holds_matrix(a) or _holds_matrix(b):
        return _same_matrix(as_matrix(a), as_matrix(b))
    if infinity(a) or infinity(b):
        return infinity(a) == infinity(b)
    return same_value(a, b)


def _same_measure(a: Node, b: Node) -> bool:
    if a.op == b.op:
        if not same_unit(str(a.value), str(b.value)):
            return False
        return same_answer(a.args[0], b.args[0])
    measure, other = (a, b) if a.op == "unit" else (b, a)
    if _has_degrees(other) and measure.value not in WITH_DEGREES:
        return False
    if may_be_left_out(str(measure.value)) and same_answer(measure.args[0], other):
        return True
    return same_value(_with_letters(measure), other)


def _with_letters(measure: Node) -> Node:
    """5 m/s as the product of letters that it is in `5m/s`, whose m and s nothing marks as units."""
    factors = list(measure.args)
    for unit in str(measure.value).split():
        name, power = unit.split("^")
        factors.append(Node("pow", (symbol(name), number(int(power)))))
    return product(*factors)


def _same_but_for_degree_sign(a: Node, b: Node) -> bool:
    """Whether one side alone has a degree sign, and they are the same without it. If not, the other side may be in
    radians already.
    """
    if _has_degrees(a) == _has_degrees(b):
        return False
    return _same_thing(_without_degrees(a), _without_degrees(b))


def _has_degrees(node: Node) -> bool:
    if node.op == "deg":
        return True
    return node.op in _ARITHMETIC and any(map(_has_degrees, node.args))


def _without_degrees(node: Node) -> Node:
    if not _has_degrees(node):
        return node
    if node.op == "deg":
        return node.args[0]
    return Node(node.op, tuple(map(_without_degrees, node.args)), node.value)


def _same_text(a: Node, b: Node) -> bool:
    if a.op == b.op:
        return str(a.value).strip(" .") == str(b.value).strip(" .")
    text, other = (a, b) if a.op == "text" else (b, a)
    spelled = number_of(str(text.value))
    if spelled is not None:
        return rational_value(other) == spelled
    if other.op not in ("sym", "const"):
        return False
    return str(other.value).lower() == text.value


def _same_group(a: Node, b: Node) -> bool:
    x, y = as_matrix(a), as_matrix(b)
    if x and y:
        return _same_thing(x, y)
    if a.op != b.op or a.value != b.value:
        return False
    if a.value == "{}":
        return _same_members(a.args, b.args)
    return _same_in_order(a.args, b.args)


def _same_structure(a: Node, b: Node) -> bool:
    if a.op != b.op:
        return False
    if a.op in ("union", "meet"):
        return _same_members(a.args, b.args)
    return _same_in_order(a.args, b.args)


def _holds_matrix(node: Node) -> bool:
    if node.op == "matrix":
        return node.value == ""
    return node.op in _ARITHMETIC and any(map(_holds_matrix, node.args))


def _same_matrix(a: Node | None, b: Node | None) -> bool:
    return a is not None and b is not None and _same_in_order(a.args, b.args)


def _same_relation(a: Node, b: Node) -> bool:
    if a.op != b.op:
        return _says_only(a, b) if a.op == "rel" else _says_only(b, a)
    b = with_argument_of(b, a)
    if len(a.args) != len(b.args):
        return False
    if _COMPARISONS.issuperset(operators(a)):
        return _same_inequality(a, b)
    if a.value != b.value:
        return False
    if _same_in_order(a.args, b.args):
        return True
    is_ratio = set(str(a.value)) <= {":", " "}
    return is_ratio and _proportional(a.args, b.args)


def _says_only(relation: Node, other: Node) -> bool:
    """Whether a relation says no more than one value: x = 5 is 5, x in A is A, and 3:4 is a fraction."""
    between = operators(relation)
    left, right = relation.args[0], relation.args[-1]
    if between == ["∈"] and is_name(left):
        return same_answer(right, other)
    if between == [":"]:  # 3:1 is not the number 3
        return other.op == "div" and _same_thing(Node("div", relation.args), other)
    if not {"=", "≈"}.issuperset(between):
        return False
    if len(between) == 1 and is_name(right) and not is_name(left):
        return same_answer(left, other)

    # x = 2 + 3 = 5 says one value after the name; 5 = 6 says none.
    sides = relation.args
    if len(sides) > MAX_SIDES:
        return False
    while len(sides) > 1 and is_name(sides[0]):
        sides = sides[1:]
    return all(same_answer(side, other) for side in sides)


def _proportional(a: tuple[Node, ...], b: tuple[Node, ...]) -> bool:
    sides = (*a, *b)
    if any(side.op in ("unit", "text", "group") for side in sides):
        return False
    first, other_first = a[0], b[0]
    pairs = zip(a[1:], b[1:], strict=True)
    return all(same_value(product(first, y), product(x, other_first)) for x, y in pairs)


def _same_inequality(a: Node, b: Node) -> bool:
    """Relations with one or two signs, either way round, and single ones up to a factor: 2x = 4 is x = 2, but 0 < x is
    not x < 1.
    """
    turned = _turned(b)
    ways = [other for other in (b, turned) if other.value == a.value]
    if any(_same_in_order(a.args, other.args) for other in ways):
        return True
    if not ways or len(a.args) != 2:
        return False
    sides = (*a.args, *b.args)
    if any(side.op in _NO_SCALARS or has_choice_of_sign(side) for side in sides):
        return False
    # The difference of the sides, turned round, has the other sign.
    sign = ratio_sign(difference(*a.args), difference(*b.args))
    return (sign == 1 and a.value == b.value) or (sign == -1 and a.value == turned.value)


def _turned(relation: Node) -> Node:
    """The relation read from its right to its left."""
    mirrored = [MIRROR.get(operator, operator) for operator in reversed(operators(relation))]
    return Node("rel", relation.args[::-1], " ".join(mirrored))
