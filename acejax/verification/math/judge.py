r"""Judges mathematics: takes the last box of a response and decides whether it equals a reference.

Stages, cheapest first: the same text; plain numbers; trees from our own parser, compared piece by piece (lists, tuples,
intervals, sets, matrices, relations, units); and scalars by `values.same_value`. A response is never evaluated as code
nor handed to a parser of somebody else's, and no parsed object is printed: printing a tower of powers does not end.

The reading, where answers are ambiguous:
* A bare list is unordered and equals a set with the same members; tuples are ordered; brackets and cardinality must
match.
* A percent sign is a hundredth. Decimals are exact: 0.3333 is not 1/3. A subscripted numeral is its value in that base.
* A unit, a currency or the degree sign counts only if both sides carry one; there is no conversion between units.
* `x = 5` equals `5` if the left side is only a name.  `1,234` may be one number or two. \log may have base e or 10 on
both sides.
* Sets of reals are compared as sets, however they are written: x > 2 is (2, inf), and (0, 1) with {1} is (0, 1]. A
ratio 3:4 may be
  written as a fraction. Words after a number that deny or change it (`5 or more`, `3 million`) are no unit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from acejax.verification.math.cleaning import TEXT, LatexError, normalise
from acejax.verification.math.latex import parse
from acejax.verification.math.matrices import as_matrix
from acejax.verification.math.sets import MIRROR, same_sets
from acejax.verification.math.tree import Node, infinity
from acejax.verification.math.units import same_unit
from acejax.verification.math.values import ratio_sign, rational_value, same_value
from acejax.verification.math.words import is_choice_or_word, meaning, number_of, words

MAX_ITEMS = 64
MAX_SIDES = 8  # of a chain of equations
BOXES_FROM_END = 4  # boxes that are tried from the end, before the text is walked from its start
WITH_DEGREES = ("", "deg^1", "radian^1", "celsius^1", "fahrenheit^1")  # units that may stand against a bare degree sign

_AMBIGUOUS_COMMA = re.compile(r"\d,\d{3}(?!\d)")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)")
_SPACE = re.compile(r"(?<!\d) +| +(?!\d)")  # all but those that part two numbers
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
_CHOICE_AND_VALUE = re.compile(
    r"(?:\\(?:text(?:bf)?|mathrm|mathbf)\s*\{\s*\(([A-H])\)\s*\}|\(([A-H])\)(?=[\\ ])|([A-H])[.)](?=[\\ ]))"
    r"(?:\\ |\\quad|\s)*(\S.*)"
)
_CHOICES = re.compile(r"\(?[A-H](?:[).]|$)|and |or |,")  # what follows a choice and makes it several
_WORD = re.compile(r"[A-Za-z]{3}|\b[aApP][mM]\b")
_INITIALS = re.compile(r"[A-Z]{3,}")


def extract_boxed(response: str, require_think_end: bool) -> tuple[str | None, str]:
    r"""The content of the last balanced \boxed{} or \fbox{} after the last `</think>`, and why there is none.

    The reason is "ok", "no_think_end" (one is required and none is there) or "no_box". One pass over the text.
    """
    end = response.rfind("</think>")
    if end < 0 and require_think_end:
        return None, "no_think_end"
    start = end + len("</think>") if end >= 0 else 0
    stop = len(response)
    for _ in range(BOXES_FROM_END):
        stop = max(response.rfind("\\boxed", start, stop), response.rfind("\\fbox", start, stop))
        if stop < 0:
            return None, "no_box"
        if (opener := _BOX.match(response, stop)) and (close := _close_of(response, opener.end())) is not None:
            return response[opener.end() : close].strip(), "ok"
    box = _last_closed(response, start)
    return (response[box[0] : box[1]].strip(), "ok") if box else (None, "no_box")


def _close_of(text: str, start: int) -> int | None:
    """Where the brace closes that opened just before `start`, or None if it does not."""
    depth = 1
    for match in _BRACES.finditer(text, start):
        if match[0] == "}":
            depth -= 1
            if not depth:
                return match.start()
        elif match[0][-1] == "{" and match[0] != "\\{":
            depth += 1
    return None


def _last_closed(text: str, start: int) -> tuple[int, int] | None:
    """The content of the last box that closes, in one pass over the whole text."""
    open_braces: list[int] = []  # where a box's content starts, or -1 for an ordinary brace
    best: tuple[int, int] | None = None
    for match in _BRACES.finditer(text, start):
        brace = match[0]
        if brace == "}":
            content = open_braces.pop() if open_braces else -1
            if content >= 0 and (best is None or content > best[0]):
                best = (content, match.start())
        elif brace == "{":
            open_braces.append(-1)
        elif brace[-1] == "{" and len(brace) > 2:
            open_braces.append(match.end())
    return best


def judge_math(
    response: str, answers: Sequence[str], require_think_end: bool = True
) -> tuple[Literal["correct", "wrong"], str]:
    """The verdict on a response against the accepted answers, and its reason: no_box, no_think_end, or those of
    `judge_answer`.
    """
    answer, reason = extract_boxed(response, require_think_end)
    return ("wrong", reason) if answer is None else judge_answer(answer, answers)


def judge_answer(answer: str, answers: Sequence[str]) -> tuple[Literal["correct", "wrong"], str]:
    """The verdict on the content of a box, and its reason: ok, mismatch or parse_error.

    parse_error means that the boxed text is not readable as an answer (and is not literally an accepted one). Anything
    this raises is a fault of ours, for the pool to count as unjudged.
    """
    if any(equivalent(answer, reference) for reference in answers):
        return "correct", "ok"
    return "wrong", "mismatch" if _readable(answer) else "parse_error"


def equivalent(answer: str, reference: str) -> bool:
    """Whether an answer equals a reference, under the reading that this file's head states. Text beyond the bounds
    equals nothing.
    """
    try:
        a, b = normalise(answer), normalise(reference)
    except LatexError:
        return answer.strip() == reference.strip() != ""
    if not a or not b:
        return False
    if _squeezed(a) == _squeezed(b):
        return True
    if _NUMBER.fullmatch(a) and _NUMBER.fullmatch(b):
        return Fraction(a) == Fraction(b)
    by_text = _same_as_text(a, b)
    if by_text is not None:
        return by_text
    return any(_same(x, y) for x in _readings(a) for y in _readings(b))


def _squeezed(text: str) -> str:
    return _SPACE.sub("", text).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\!", "")


def _plain(text: str) -> str:
    return " ".join(TEXT.sub(r" \1 ", text).replace("\\ ", " ").split()) if "\\" in text else text


def _same_as_text(a: str, b: str) -> bool | None:
    """What the words alone decide: names, choices and their lists, whose letters are no product; clock times. None if
    nothing.
    """
    plain_a, plain_b = _plain(a), _plain(b)
    first, second = words(plain_a), words(plain_b)
    if first is not None and second is not None:
        if first == second and (TEXT.search(a) or TEXT.search(b) or is_choice_or_word(first)):
            return True
        if _INITIALS.fullmatch(plain_a) and _INITIALS.fullmatch(plain_b):
            return False  # an order of things, such as CAB
    elif plain_a.lower() == plain_b.lower() and not set(plain_a) & set("\\^_=") and _WORD.search(plain_a):
        return True  # May 5
    clocks = _CLOCK.fullmatch(plain_a), _CLOCK.fullmatch(plain_b)
    if clocks[0] and clocks[1]:
        return [int(x or 0) for x in clocks[0].groups()] == [int(x or 0) for x in clocks[1].groups()]
    for text, other in ((a, b), (b, a)):
        choice = _CHOICE_AND_VALUE.fullmatch(text)
        if choice and not _CHOICES.match(_plain(choice[4])):
            return equivalent(choice[1] or choice[2] or choice[3], other) or equivalent(choice[4], other)
    return None


@lru_cache(maxsize=8192)
def _readings(text: str) -> tuple[Node, ...]:
    """The tree, or two where a comma may separate thousands or items; none if the text is not readable."""
    phrase = _plain(text).lower()
    number = number_of(phrase) if phrase[:1].isalpha() else None
    if number is not None:
        return (Node("num", value=number),)
    said = meaning(phrase)
    text = text if said == phrase else said
    trees = []
    for comma_is_list in (False, True) if _AMBIGUOUS_COMMA.search(text) else (False,):
        try:
            trees.append(parse(text, comma_is_list))
        except LatexError:
            continue
    return tuple(trees)


def _readable(text: str) -> bool:
    try:
        return bool(_readings(normalise(text)))
    except LatexError:
        return False


def _same(a: Node, b: Node) -> bool:
    if a == b:
        return True
    if _has_choice_of_sign(a) or _has_choice_of_sign(b):
        return any(_same_items(x, y) for x in _expansions(a) for y in _expansions(b))
    return _same_items(a, b)


def _same_items(a: Node, b: Node) -> bool:
    """Sets of reals as sets; other bare lists and sets as multisets; anything else as itself."""
    as_sets = same_sets(a, b)
    if as_sets is not None:
        return as_sets
    if {a.op, b.op} == {"rel", "list"}:
        a, b = _by_name(a), _by_name(b)
    if {a.op, b.op} == {"group", "list"}:
        a, b = _coordinates(a), _coordinates(b)
    if a.op == "list" or b.op == "list":
        if not _is_collection(a) or not _is_collection(b):
            return False
        left, right = _without_common_name(a.args), _without_common_name(b.args)
        return _matched(left, right)
    return _same_item(a, b)


def _is_collection(node: Node) -> bool:
    return node.op == "list" or (node.op == "group" and node.value == "{}")


def _without_common_name(items: tuple[Node, ...]) -> tuple[Node, ...]:
    """`x=1, x=2` and `x=1, 2` are the list 1, 2; `x=1, y=2` stays as it is."""
    first, *rest = items or (Node("list"),)
    if first.op == "rel" and first.value == "=" and _is_name(first.args[0]) and all(item.op != "rel" for item in rest):
        return (first.args[1], *rest)
    names = {item.args[0] if item.op == "rel" and item.value == "=" else None for item in items}
    return tuple(item.args[1] for item in items) if len(names) == 1 and None not in names else items


def _by_name(node: Node) -> Node:
    """(x, y) = (1, 2) as the list x = 1, y = 2."""
    if node.op != "rel" or node.value != "=" or any(side.op != "group" or side.value != "()" for side in node.args):
        return node
    names, values = node.args
    pairs = zip(names.args, values.args, strict=False)
    return (
        Node("list", tuple(Node("rel", pair, "=") for pair in pairs)) if len(names.args) == len(values.args) else node
    )


def _coordinates(node: Node) -> Node:
    """x = 1, y = 2 as the pair (1, 2), where the names come in the order of the alphabet."""
    if node.op != "list" or any(
        item.op != "rel" or item.value != "=" or item.args[0].op != "sym" for item in node.args
    ):
        return node
    names = [str(item.args[0].value) for item in node.args]
    in_order = names == sorted(set(names))
    return Node("group", tuple(item.args[1] for item in node.args), "()") if in_order else node


def _matched(left: tuple[Node, ...], right: tuple[Node, ...]) -> bool:
    if len(left) != len(right) or len(left) > MAX_ITEMS:
        return False
    rest = list(right)
    for item in left:
        found = next((i for i, other in enumerate(rest) if _same(item, other)), None)
        if found is None:
            return False
        rest.pop(found)
    return True


def _has_choice_of_sign(node: Node) -> bool:
    return node.op == "pm" or any(_has_choice_of_sign(child) for child in node.args)


def _expansions(node: Node) -> list[Node]:
    """Trees without ±: signs that move together, and signs that move independently. Matrices and tuples with ± stay
    apart.
    """
    if not _has_choice_of_sign(node):
        return [node]
    if node.op in ("list", "group"):
        linked = tuple(alternative for item in node.args for alternative in _signs(item))
        if _is_collection(node):
            return [Node(node.op, linked, node.value)]
    both = [node] if node.op == "group" else []
    both.append(Node("list", tuple(_signs(node))))
    if _count_signs(node) == 2:
        upper, lower = _signs(node, first=1), _signs(node, first=-1)
        both.append(Node("list", (*upper, *lower)))
    return both


def _count_signs(node: Node) -> int:
    return (node.op == "pm") + sum(map(_count_signs, node.args))


def _signs(node: Node, first: int = 0) -> list[Node]:
    """The tree with every ± read as its upper, then as its lower sign; `first` holds the first one still."""
    if not _has_choice_of_sign(node):
        return [node]
    results = []
    for choice in (1, -1):
        seen = [0]

        def chosen(node: Node, choice: int = choice, seen: list[int] = seen) -> Node:
            args = [chosen(child) for child in node.args]
            if node.op != "pm":
                return Node(node.op, tuple(args), node.value)
            seen[0] += 1
            sign = first if first and seen[0] == 1 else choice
            positive = (sign == 1) == (node.value == "+-")
            return Node("add", (args[0], args[1] if positive else Node("neg", (args[1],))))

        results.append(chosen(node))
    return results


def _same_item(a: Node, b: Node) -> bool:
    if a == b:
        return True
    if a.op == "rel" or b.op == "rel":
        return _same_relation(a, b)
    if a.op == "unit" and b.op == "unit":
        return same_unit(str(a.value), str(b.value)) and _same(a.args[0], b.args[0])
    if "unit" in (a.op, b.op):
        measured, other = (a, b) if a.op == "unit" else (b, a)
        if _has_degrees(other) and measured.value not in WITH_DEGREES:
            return False
        return _same(measured.args[0], other) or same_value(_with_letters(measured), other)
    if _has_degrees(a) != _has_degrees(b) and _same_item(_without_degrees(a), _without_degrees(b)):
        return True  # a unit left out; else the other side may be in radians already
    if a.op == "text" or b.op == "text":
        return _same_text(a, b)
    if a.op == "group" or b.op == "group":
        if as_matrix(a) and as_matrix(b):
            return _same_item(as_matrix(a) or a, as_matrix(b) or b)
        if a.op != b.op or a.value != b.value or len(a.args) != len(b.args):
            return False
        if a.value == "{}":
            return _matched(a.args, b.args)
        return all(_same(x, y) for x, y in zip(a.args, b.args, strict=True))
    if a.op in ("union", "meet") or b.op in ("union", "meet"):
        return a.op == b.op and _matched(a.args, b.args)
    if a.op in ("row", "minus") or b.op in ("row", "minus"):
        return a.op == b.op and len(a.args) == len(b.args) and all(map(_same, a.args, b.args))
    if _holds_matrix(a) or _holds_matrix(b):
        x, y = as_matrix(a), as_matrix(b)
        return x is not None and y is not None and len(x.args) == len(y.args) and all(map(_same, x.args, y.args))
    if infinity(a) or infinity(b):
        return infinity(a) == infinity(b)
    return same_value(a, b)


def _with_letters(measured: Node) -> Node:
    """5 m/s as the product of letters that it is in `5m/s`, whose m and s nothing marks as units."""
    factors = (name.split("^") for name in str(measured.value).split())
    powers = (Node("pow", (Node("sym", value=name), Node("num", value=Fraction(power)))) for name, power in factors)
    return Node("mul", (*measured.args, *powers))


def _has_degrees(node: Node) -> bool:
    return node.op == "deg" or (node.op in ("add", "mul", "neg", "div") and any(map(_has_degrees, node.args)))


def _without_degrees(node: Node) -> Node:
    if not _has_degrees(node):
        return node
    return node.args[0] if node.op == "deg" else Node(node.op, tuple(map(_without_degrees, node.args)), node.value)


def _holds_matrix(node: Node) -> bool:
    return (node.op == "matrix" and node.value == "") or (
        node.op in ("add", "neg", "mul", "div") and any(map(_holds_matrix, node.args))
    )


def _same_text(a: Node, b: Node) -> bool:
    if a.op == b.op:
        return str(a.value).strip(" .") == str(b.value).strip(" .")
    text, other = (a, b) if a.op == "text" else (b, a)
    number = number_of(str(text.value))
    if number is not None:
        return rational_value(other) == number
    return other.op in ("sym", "const") and str(other.value).lower() == text.value


def _is_name(node: Node) -> bool:
    """A letter, letters such as AB, f(x), or a tuple of letters: what may stand before an equals sign without saying
    anything.
    """
    if node.op == "sym":
        return True
    if node.op == "const":
        return node.value in ("e", "i")
    if node.op == "text" or (node.op == "fn" and node.value == "abs"):
        return node.op == "text" or _is_name(node.args[0])
    if node.op == "mul" and len(node.args) == 2 and node.args[0].op == "sym" and node.args[1].op == "num":  # f(2)
        return True
    if node.op == "pow":  # the inverse of a function
        return node.args[0].op == "sym" and node.args[1] == Node("neg", (Node("num", value=Fraction(1)),))
    return (
        (node.op == "mul" or (node.op == "group" and node.value == "()"))
        and len(node.args) <= 6
        and all(map(_is_name, node.args))
    )


def _same_relation(a: Node, b: Node) -> bool:
    if a.op == b.op:
        if _same_inequality(a, b):
            return True
        if a.value != b.value or len(a.args) != len(b.args):
            return False
        return all(map(_same, a.args, b.args)) or (set(str(a.value)) <= {":", " "} and _proportional(a.args, b.args))
    relation, other = (a, b) if a.op == "rel" else (b, a)
    operators = str(relation.value).split()
    left, right = relation.args[0], relation.args[-1]
    if operators == ["∈"] and _is_name(left):
        return _same(right, other)
    if operators == [":"]:  # 3:4 may be written as a fraction, 3:1 is not the number 3
        return other.op == "div" and _same_item(Node("div", relation.args), other)
    if not set(operators) <= {"=", "≈"}:
        return False
    if len(operators) == 1 and _is_name(right) and not _is_name(left):
        return _same(left, other)
    sides = list(relation.args)
    if len(sides) > MAX_SIDES:
        return False
    while len(sides) > 1 and _is_name(sides[0]):
        del sides[0]
    return all(_same(side, other) for side in sides)  # x = 2 + 3 = 5 says one value after the name; 5 = 6 says none


def _proportional(a: tuple[Node, ...], b: tuple[Node, ...]) -> bool:
    if any(side.op in ("unit", "text", "group") for side in (*a, *b)):
        return False
    return all(same_value(Node("mul", (a[0], y)), Node("mul", (x, b[0]))) for x, y in zip(a[1:], b[1:], strict=True))


def _same_inequality(a: Node, b: Node) -> bool:
    """Relations with one or two signs, either way round, and single ones up to a factor: 2x = 4 is x = 2, but 0 < x is
    not x < 1.
    """
    turned = Node("rel", tuple(reversed(b.args)), " ".join(MIRROR.get(op, op) for op in reversed(str(b.value).split())))
    for other in (b, turned):
        if (
            a.value != other.value
            or len(a.args) != len(other.args)
            or set(str(a.value).split()) - {"=", "<", ">", "≤", "≥", "≠"}
        ):
            continue
        if all(map(_same, a.args, other.args)):
            return True
        scalars = not any(
            side.op in ("group", "matrix", "list", "text", "unit", "pm") for side in (*a.args, *other.args)
        )
        if len(a.args) == 2 and scalars and not any(_has_choice_of_sign(side) for side in (*a.args, *other.args)):
            sign = ratio_sign(_difference(a), _difference(other))
            if sign == 1 or (sign == -1 and a.value in ("=", "≠")):
                return True
    return False


def _difference(relation: Node) -> Node:
    return Node("add", (relation.args[0], Node("neg", (relation.args[1],))))
