"""Five built-in families of mathematics problems, their worked solutions and the ways a bad method goes wrong on them.

A *spec* is a JSON-able dict that says what is asked, without the phrasing; `draw` makes one, everything else is a pure
function of it. Numbers stay within 0..24 and a working line holds one operation, so that a policy of a million
parameters can learn to work step by step. The constant 7 in the roles named by `is_unseen` is kept for held-out
problems.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from math import gcd
from typing import Any

Spec = dict[str, Any]
Lines = list[str]
UNSEEN = 7
LARGEST = 24
DIGITS = (2, 3, 4, 5, UNSEEN)  # what is multiplied by
FAMILIES = ("nested", "fractions", "linear", "mod_power", "word")

# The last phrasing of each family is held out; every word of it occurs in some other phrasing.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "nested": ("Compute {e}.", "What is {e}?", "Find the value of {e}.", "What is the value of {e}?"),
    "fractions": ("Compute {e}.", "What is {e}?", "Find {e}.", "Find the value of {e}."),
    "linear": ("Solve {e} for x.", "Find x if {e}.", "What is x if {e}?"),
    "mod_power": ("Compute {e}.", "Find {e}.", "What is {e}?"),
    "word": (
        "{e} How many {thing} now?",
        "{e} Find how many {thing} now.",
        "{e} What is the number of {thing}?",
        "{e} Find the number of {thing} now.",
    ),
}
NAMES = ("Ann", "Bob", "Eve", "Tom")
THINGS = ("nuts", "pens", "figs", "cups")


class Unfit(Exception):
    """A method that leaves the range of numbers this module works in; the caller tries another."""


class _Work:
    """Collects working lines; each operation appends one, such as "3+4=7", and returns its result."""

    def __init__(self) -> None:
        self.lines: Lines = []

    def op(self, a: int, sign: str, b: int) -> int:
        if sign == "/" and (b == 0 or a % b):
            raise Unfit
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a // (b or 1), "%": a % (b or 1)}[sign]
        if not 0 <= value <= LARGEST:
            raise Unfit
        self.lines.append(f"{a}{sign}{b}={value}")
        return value

    def reduce(self, top: int, bottom: int) -> Fraction:
        if bottom == 0:
            raise Unfit
        value = Fraction(top, bottom)
        if value.denominator != bottom:
            self.lines.append(f"{top}/{bottom}={value}")
        return value


Method = Callable[[Spec, _Work], Fraction | int]


# nested arithmetic: an expression is an int or a list [left, sign, right]


def _show(node: Any, parent: str = "", right: bool = False) -> str:
    if isinstance(node, int):
        return str(node)
    left_child, sign, right_child = node
    text = _show(left_child, sign) + sign + _show(right_child, sign, True)
    bracket = sign in "+-" and (parent == "*" or (parent == "-" and right)) if parent else False
    return f"({text})" if bracket or (sign == "*" and parent == "*" and right) else text


def _parse(text: str, precedence: bool) -> Any:
    """Reads an expression; without `precedence` all signs bind alike, from left to right."""
    at = 0

    def atom() -> Any:
        nonlocal at
        if text[at] == "(":
            at += 1
            node = chain(0)
            at += 1
            return node
        start = at
        while at < len(text) and text[at].isdigit():
            at += 1
        return int(text[start:at])

    def chain(level: int) -> Any:
        nonlocal at
        signs = ("+-", "*")[level] if precedence else "+-*"
        deeper = precedence and level == 0
        node = chain(1) if deeper else atom()
        while at < len(text) and text[at] in signs:
            sign = text[at]
            at += 1
            node = [node, sign, chain(1) if deeper else atom()]
        return node

    return chain(0)


def _reduce(node: Any, work: _Work) -> int:
    if isinstance(node, int):
        return node
    left = _reduce(node[0], work)
    right = _reduce(node[2], work)
    return work.op(left, node[1], right)


def _draw_nested(difficulty: int, rng: random.Random) -> Spec:
    def term(tree: Any = 0) -> int:
        return _other_than(_leaves(tree), rng)

    def digit() -> int:
        return rng.choice(DIGITS)

    sign = rng.choice("+-")
    tree: Any = rng.choice(
        (
            [[term(), sign, term()], "*", digit()],
            [digit(), "*", [term(), sign, term()]],
            [rng.randrange(2, 20), sign, [digit(), "*", digit()]],
            [rng.randrange(10, 25), "-", [term(), sign, term()]],
        )
    )
    for _ in range((0, 1, 2 + rng.randrange(2))[difficulty - 1]):
        tree = [tree, rng.choice("+-"), term(tree)]
    return {"tree": tree}


def _leaves(node: Any) -> list[int]:
    return [node] if isinstance(node, int) else _leaves(node[0]) + _leaves(node[2])


def _other_than(used: list[int], rng: random.Random) -> int:
    """A number from 1 to 9 that is not used yet: which number comes next in a chain then shows in the numbers before
    it.
    """
    return rng.choice([n for n in range(1, 10) if n not in used])


def _nested(spec: Spec, work: _Work) -> int:
    return _reduce(spec["tree"], work)


def _nested_without_precedence(spec: Spec, work: _Work) -> int:
    return _reduce(_parse(_show(spec["tree"]), False), work)


def _nested_without_brackets(spec: Spec, work: _Work) -> int:
    return _reduce(_parse(_show(spec["tree"]).replace("(", "").replace(")", ""), True), work)


def _factors(node: Any) -> list[int]:
    if isinstance(node, int):
        return []
    own = [child for child in (node[0], node[2]) if isinstance(child, int)] if node[1] == "*" else []
    return own + _factors(node[0]) + _factors(node[2])


# fractions: terms [top, bottom]; in difficulty 2 one bottom is a multiple of the other, difficulty 3 is (first sign
# second) * third with one bottom in the brackets


def _draw_fractions(difficulty: int, rng: random.Random) -> Spec:
    def term() -> list[int]:
        bottom = rng.choice(DIGITS)
        return [rng.choice([top for top in range(1, 6) if gcd(top, bottom) == 1]), bottom]

    sign = rng.choice("+-")
    if difficulty == 2:
        (top, bottom), times = term(), rng.choice((2, 3))
        return {"terms": [[top, bottom], [_other_than([], rng), bottom * times]], "sign": sign}
    if difficulty == 1 and rng.random() < 0.5:
        return {"terms": [term(), term()], "sign": "*"}
    bottom = rng.randrange(3, 10)
    terms = [[rng.randrange(1, bottom), bottom] for _ in range(2)]
    return {"terms": terms if difficulty == 1 else [*terms, term()], "sign": sign}


def _add_fractions(spec: Spec, work: _Work, how: str = "right") -> tuple[int, int]:
    (a, b), (c, d) = spec["terms"][:2]
    sign = spec["sign"]
    if how == "tops_and_bottoms":
        return work.op(a, sign, c), work.op(b, "+", d)
    if b == d:
        return work.op(a, sign, c), b
    if how == "tops_kept":
        return work.op(a, sign, c), d
    left = work.op(a, "*", work.op(d, "/", b))
    return work.op(left, sign, c), d


def _times_fractions(
    first: list[int] | tuple[int, int], second: list[int], work: _Work, how: str = "right"
) -> tuple[int, int]:
    (a, b), (c, d) = first, second
    if how == "crosswise":
        return work.op(a, "*", d), work.op(b, "*", c)
    return work.op(a, "*", c), work.op(b, "+" if how == "bottoms_added" else "*", d)


def _fractions_by(add: str = "right", times: str = "right") -> Method:
    def method(spec: Spec, work: _Work) -> Fraction:
        terms = spec["terms"]
        if spec["sign"] == "*":
            return work.reduce(*_times_fractions(terms[0], terms[1], work, times))
        top, bottom = _add_fractions(spec, work, add)
        if len(terms) == 3:
            top, bottom = _times_fractions((top, bottom), terms[2], work, times)
        return work.reduce(top, bottom)

    return method


# linear equations: a x + b = c, a x + b = c x + d, a(x + b) + c = d x + e


def _draw_linear(difficulty: int, rng: random.Random) -> Spec:
    x, a, b = rng.randrange(1, 10), rng.choice(DIGITS), rng.randrange(1, 10)
    if difficulty == 1:
        return {"a": a, "sign": rng.choice("+-"), "b": b, "x": x}
    c = rng.randrange(1, 10)
    if difficulty == 2:
        if c >= a:
            raise Unfit
        return {"a": a, "sign": "+", "b": b, "c": c, "x": x}
    d = rng.randrange(1, 10)
    if d >= a:
        raise Unfit
    return {"a": a, "sign": "+", "b": b, "c": c, "d": d, "x": x}


def _coefficient(k: int) -> str:
    return "x" if k == 1 else f"{k}x"


def _show_linear(spec: Spec) -> str:
    a, b, x, sign = spec["a"], spec["b"], spec["x"], spec["sign"]
    if "d" in spec:
        c, d = spec["c"], spec["d"]
        return f"{a}(x+{b})+{c}={_coefficient(d)}+{a * (x + b) + c - d * x}"
    if "c" in spec:
        return f"{a}x+{b}={_coefficient(spec['c'])}+{a * x + b - spec['c'] * x}"
    return f"{a}x{sign}{b}={a * x + b if sign == '+' else a * x - b}"


def _linear_by(how: str = "right") -> Method:
    def method(spec: Spec, work: _Work) -> int:
        a, b, x = spec["a"], spec["b"], spec["x"]
        flip = {"+": "-", "-": "+"}
        move = spec["sign"] if how == "sign_kept" else flip[spec["sign"]]
        if "d" in spec:
            c, d = spec["c"], spec["d"]
            total = a * (x + b) + c - d * x
            constant = work.op(b if how == "half_distributed" else work.op(a, "*", b), "+", c)
        elif "c" in spec:
            d, constant, total = spec["c"], b, a * x + b - spec["c"] * x
        else:
            if how in ("half_distributed", "coefficients_added"):
                raise Unfit
            d, constant, total = 0, b, a * x + b if spec["sign"] == "+" else a * x - b
        if total < 0 or total > LARGEST:
            raise Unfit
        left = work.op(a, "+" if how == "coefficients_added" else "-", d) if d else a
        rest = work.op(total, move, constant)
        return work.op(rest, "-" if how == "subtracts_coefficient" else "/", left)

    return method


# modular powers: c * b^e mod m by repeated multiplication, each product reduced at once


def _draw_mod_power(difficulty: int, rng: random.Random) -> Spec:
    exponent = rng.choice(((1,), (2,), (3, 4))[difficulty - 1])
    return {"c": rng.randrange(2, 10), "b": rng.choice(DIGITS), "e": exponent, "m": rng.randrange(3, 10)}


def _mod_power_by(how: str = "right") -> Method:
    def method(spec: Spec, work: _Work) -> int:
        value, base, modulus = spec["c"], spec["b"], spec["m"]
        if how == "base_times_exponent":
            value = work.op(value, "*", base)
            return work.op(work.op(value, "*", spec["e"]), "%", modulus)
        steps = spec["e"] - (how == "one_step_short")
        for step in range(steps):
            value = work.op(value, "*", base)
            if how == "last_not_reduced" and step == steps - 1:
                return value
            value = work.op(value, "%", modulus)
        return value

    return method


# word problems: a start (a number, or bags of things) and events


def _draw_word(difficulty: int, rng: random.Random) -> Spec:
    steps = (2, 3, 4 + rng.randrange(2))[difficulty - 1]
    bags = rng.random() < 0.6
    start = [rng.choice(DIGITS), rng.choice(DIGITS)] if bags else [rng.randrange(2, 20)]
    signs = "+--*" if difficulty < 3 else "++--"
    events: list[list[Any]] = []
    for _ in range(steps - bags):
        sign = rng.choice(signs)
        used = start + [k for _, k in events]
        events.append([sign, rng.randrange(2, 4) if sign == "*" else _other_than(used, rng)])
    return {"start": start, "events": events, "surface": {"name": rng.choice(NAMES), "thing": rng.choice(THINGS)}}


def _show_word(spec: Spec) -> str:
    name, thing = spec["surface"]["name"], spec["surface"]["thing"]
    start = spec["start"]
    said = [
        f"{name} has {start[0]} bags of {start[1]} {thing}." if len(start) == 2 else f"{name} has {start[0]} {thing}."
    ]
    for sign, k in spec["events"]:
        said.append({"+": f"Gets {k}.", "-": f"Loses {k}.", "*": f"Has {k} times as many."}[sign])
    return " ".join(said)


def _word_by(how: str = "right") -> Method:
    def method(spec: Spec, work: _Work) -> int:
        start, events = spec["start"], spec["events"]
        if how == "bags_added" and len(start) == 1:
            raise Unfit
        value = work.op(start[0], "+" if how == "bags_added" else "*", start[1]) if len(start) == 2 else start[0]
        for index, (sign, k) in enumerate(events):
            last = index == len(events) - 1
            if how == "last_forgotten" and last:
                break
            swapped = {"+": "-", "-": "+", "*": "+"}[sign]
            value = work.op(value, swapped if how == "last_swapped" and last else sign, k)
        return value

    return method


DRAW = {
    "nested": _draw_nested,
    "fractions": _draw_fractions,
    "linear": _draw_linear,
    "mod_power": _draw_mod_power,
    "word": _draw_word,
}
RIGHT: dict[str, Method] = {
    "nested": _nested,
    "fractions": _fractions_by(),
    "linear": _linear_by(),
    "mod_power": _mod_power_by(),
    "word": _word_by(),
}
WRONG: dict[str, dict[str, Method]] = {
    "nested": {"no_precedence": _nested_without_precedence, "no_brackets": _nested_without_brackets},
    "fractions": {
        "tops_and_bottoms": _fractions_by(add="tops_and_bottoms"),
        "tops_kept": _fractions_by(add="tops_kept"),
        "crosswise": _fractions_by(times="crosswise"),
        "bottoms_added": _fractions_by(times="bottoms_added"),
    },
    "linear": {
        how: _linear_by(how) for how in ("sign_kept", "subtracts_coefficient", "coefficients_added", "half_distributed")
    },
    "mod_power": {how: _mod_power_by(how) for how in ("last_not_reduced", "base_times_exponent", "one_step_short")},
    "word": {how: _word_by(how) for how in ("last_swapped", "bags_added", "last_forgotten")},
}


def draw(family: str, difficulty: int, rng: random.Random) -> Spec | None:
    """A random spec, or None where its solution leaves the range of numbers."""
    try:
        spec = {"family": family, "difficulty": difficulty, **DRAW[family](difficulty, rng)}
        RIGHT[family](spec, _Work())
    except Unfit:
        return None
    return spec


def is_unseen(spec: Spec) -> bool:
    """Whether 7 is a factor, a denominator, the leading coefficient, the base, or the size of a bag: held-out problems
    only.
    """
    family = spec["family"]
    if family == "nested":
        return UNSEEN in _factors(spec["tree"])
    if family == "fractions":
        return any(bottom == UNSEEN for _, bottom in spec["terms"])
    if family == "word":
        return len(spec["start"]) == 2 and spec["start"][1] == UNSEEN
    return spec["a" if family == "linear" else "b"] == UNSEEN


def phrase(spec: Spec, template: int) -> str:
    """The problem's text in phrasing `template`, an index into TEMPLATES[family]."""
    family = spec["family"]
    if family == "nested":
        said = _show(spec["tree"])
    elif family == "fractions":
        terms = [f"{top}/{bottom}" for top, bottom in spec["terms"]]
        said = spec["sign"].join(terms[:2])
        said = f"({said})*{terms[2]}" if len(terms) == 3 else said
    elif family == "linear":
        said = _show_linear(spec)
    elif family == "mod_power":
        power = f"{spec['b']}^{spec['e']}" if spec["e"] > 1 else spec["b"]
        said = f"{spec['c']}*{power} mod {spec['m']}"
    else:
        said = _show_word(spec)
    return TEMPLATES[family][template].format(e=said, thing=spec.get("surface", {}).get("thing"))


def _boxed(value: Fraction | int) -> str:
    value = Fraction(value)
    return str(value.numerator) if value.denominator == 1 else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def _response(lines: Lines, value: Fraction | int) -> str:
    return "".join(line + "\n" for line in lines) + f"</think>\n\\boxed{{{_boxed(value)}}}"


def answer(spec: Spec) -> str:
    """The right answer as it stands in the box."""
    return _boxed(RIGHT[spec["family"]](spec, _Work()))


def right(spec: Spec) -> str:
    """The right worked solution: the response after the opening of <think>."""
    work = _Work()
    value = RIGHT[spec["family"]](spec, work)
    return _response(work.lines, value)


def wrong(spec: Spec) -> dict[str, str]:
    """Worked solutions by each misconception that leads to another final answer here, by the misconception's name."""
    true = Fraction(RIGHT[spec["family"]](spec, _Work()))
    found = {}
    for name, method in WRONG[spec["family"]].items():
        work = _Work()
        try:
            value = method(spec, work)
        except Unfit:
            continue
        if Fraction(value) != true:
            found[name] = _response(work.lines, value)
    return found
