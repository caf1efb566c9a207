"""How the built-in mathematics problems are drawn, written and worked, family by family, in the right way and in bad
ones.

Each method takes a spec and the work so far, adds its lines, and returns the result.
"""

from __future__ import annotations

import random
from fractions import Fraction
from math import gcd
from typing import Any

from acejax.problems.builtin_work import LARGEST, UNSEEN, Method, Spec, Unfit, Work

DIGITS = (2, 3, 4, 5, UNSEEN)  # what is multiplied by
OPPOSITE = {"+": "-", "-": "+"}
NAMES = ("Ann", "Bob", "Eve", "Tom")
THINGS = ("nuts", "pens", "figs", "cups")
EVENTS = {"+": "Gets {}.", "-": "Loses {}.", "*": "Has {} times as many."}
SWAPPED = {"+": "-", "-": "+", "*": "+"}  # what one who mistakes an event does


# nested arithmetic: an expression is an int or a list [left, sign, right]


def show_nested(spec: Spec) -> str:
    return _show(spec["tree"])


def _show(node: Any, parent: str = "", right: bool = False) -> str:
    """An expression's text below the sign `parent`, where it is the `right` one of two."""
    if isinstance(node, int):
        return str(node)
    left_child, sign, right_child = node
    text = _show(left_child, sign) + sign + _show(right_child, sign, True)
    if _needs_brackets(sign, parent, right):
        return f"({text})"
    return text


def _needs_brackets(sign: str, parent: str, right: bool) -> bool:
    if sign == "*":
        return parent == "*" and right
    return parent == "*" or (parent == "-" and right)


class _Reader:
    """Reads an expression's text; without `precedence` all signs bind alike, from left to right."""

    def __init__(self, text: str, precedence: bool) -> None:
        self.text, self.at = text, 0
        # The signs of each level, the loosest first.
        self.levels = ("+-", "*") if precedence else ("+-*",)

    def chain(self, level: int = 0) -> Any:
        if level == len(self.levels):
            return self.atom()
        node = self.chain(level + 1)
        while self.next() in self.levels[level]:
            sign = self.take()
            node = [node, sign, self.chain(level + 1)]
        return node

    def atom(self) -> Any:
        if self.next() == "(":
            self.take()
            node = self.chain()
            self.take()
            return node
        digits = ""
        while self.next().isdigit():
            digits += self.take()
        return int(digits)

    def next(self) -> str:
        """The character that comes next; at the end one that nothing reads."""
        return self.text[self.at] if self.at < len(self.text) else ")"

    def take(self) -> str:
        self.at += 1
        return self.text[self.at - 1]


def _reduce(node: Any, work: Work) -> int:
    if isinstance(node, int):
        return node
    left = _reduce(node[0], work)
    right = _reduce(node[2], work)
    return work.op(left, node[1], right)


def draw_nested(difficulty: int, rng: random.Random) -> Spec:
    def term(tree: Any = 0) -> int:
        return _other_than(_leaves(tree), rng)

    def digit() -> int:
        return rng.choice(DIGITS)

    sign = rng.choice("+-")
    # All are drawn, whichever is taken.
    cores: tuple[Any, ...] = (
        [[term(), sign, term()], "*", digit()],
        [digit(), "*", [term(), sign, term()]],
        [rng.randrange(2, 20), sign, [digit(), "*", digit()]],
        [rng.randrange(10, 25), "-", [term(), sign, term()]],
    )
    tree = rng.choice(cores)
    further = (0, 1, 2 + rng.randrange(2))[difficulty - 1]
    for _ in range(further):
        tree = [tree, rng.choice("+-"), term(tree)]
    return {"tree": tree}


def _leaves(node: Any) -> list[int]:
    if isinstance(node, int):
        return [node]
    return _leaves(node[0]) + _leaves(node[2])


def _other_than(used: list[int], rng: random.Random) -> int:
    """A number from 1 to 9 that is not used yet: which number comes next in a chain then shows in the numbers before
    it.
    """
    return rng.choice([n for n in range(1, 10) if n not in used])


def nested(spec: Spec, work: Work) -> int:
    return _reduce(spec["tree"], work)


def nested_without_precedence(spec: Spec, work: Work) -> int:
    return _reduce(_Reader(show_nested(spec), precedence=False).chain(), work)


def nested_without_brackets(spec: Spec, work: Work) -> int:
    text = show_nested(spec).replace("(", "").replace(")", "")
    return _reduce(_Reader(text, precedence=True).chain(), work)


def factors(node: Any) -> list[int]:
    """The numbers of an expression that are multiplied by."""
    if isinstance(node, int):
        return []
    left, sign, right = node
    found = factors(left) + factors(right)
    if sign == "*":
        found += [child for child in (left, right) if isinstance(child, int)]
    return found


# fractions: terms [top, bottom]; in difficulty 2 one bottom is a multiple of the other, difficulty 3 is (first sign
# second) * third with one bottom in the brackets


def draw_fractions(difficulty: int, rng: random.Random) -> Spec:
    def term() -> list[int]:
        bottom = rng.choice(DIGITS)
        tops = [top for top in range(1, 6) if gcd(top, bottom) == 1]
        return [rng.choice(tops), bottom]

    sign = rng.choice("+-")
    if difficulty == 2:
        first = term()
        bottom = first[1] * rng.choice((2, 3))
        second = [_other_than([], rng), bottom]
        return {"terms": [first, second], "sign": sign}
    if difficulty == 1 and rng.random() < 0.5:
        return {"terms": [term(), term()], "sign": "*"}
    bottom = rng.randrange(3, 10)
    terms = [[rng.randrange(1, bottom), bottom] for _ in range(2)]
    if difficulty == 3:
        terms.append(term())
    return {"terms": terms, "sign": sign}


def show_fractions(spec: Spec) -> str:
    first, second, *third = (f"{top}/{bottom}" for top, bottom in spec["terms"])
    text = first + spec["sign"] + second
    if third:
        return f"({text})*{third[0]}"
    return text


def _add_fractions(spec: Spec, work: Work, how: str = "right") -> tuple[int, int]:
    (a, b), (c, d) = spec["terms"][:2]
    sign = spec["sign"]
    if how == "tops_and_bottoms":
        return work.op(a, sign, c), work.op(b, "+", d)
    if b == d:
        return work.op(a, sign, c), b
    if how == "tops_kept":
        return work.op(a, sign, c), d
    times = work.op(d, "/", b)
    left = work.op(a, "*", times)
    return work.op(left, sign, c), d


def _times_fractions(
    first: list[int] | tuple[int, int], second: list[int], work: Work, how: str = "right"
) -> tuple[int, int]:
    (a, b), (c, d) = first, second
    if how == "crosswise":
        return work.op(a, "*", d), work.op(b, "*", c)
    top = work.op(a, "*", c)
    if how == "bottoms_added":
        return top, work.op(b, "+", d)
    return top, work.op(b, "*", d)


def fractions_by(add: str = "right", times: str = "right") -> Method:
    def method(spec: Spec, work: Work) -> Fraction:
        terms = spec["terms"]
        if spec["sign"] == "*":
            return work.reduce(*_times_fractions(terms[0], terms[1], work, times))
        top, bottom = _add_fractions(spec, work, add)
        if len(terms) == 3:
            top, bottom = _times_fractions((top, bottom), terms[2], work, times)
        return work.reduce(top, bottom)

    return method


# linear equations: a x + b = c, a x + b = c x + d, a(x + b) + c = d x + e


def draw_linear(difficulty: int, rng: random.Random) -> Spec:
    x = rng.randrange(1, 10)
    a = rng.choice(DIGITS)
    b = rng.randrange(1, 10)
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


def _total(spec: Spec) -> int:
    """The constant on the right of the equation."""
    a, b, x = spec["a"], spec["b"], spec["x"]
    if "d" in spec:
        return a * (x + b) + spec["c"] - spec["d"] * x
    if "c" in spec:
        return a * x + b - spec["c"] * x
    if spec["sign"] == "+":
        return a * x + b
    return a * x - b


def show_linear(spec: Spec) -> str:
    a, b = spec["a"], spec["b"]
    total = _total(spec)
    if "d" in spec:
        return f"{a}(x+{b})+{spec['c']}={_times_x(_on_the_right(spec))}+{total}"
    if "c" in spec:
        return f"{a}x+{b}={_times_x(_on_the_right(spec))}+{total}"
    return f"{a}x{spec['sign']}{b}={total}"


def _on_the_right(spec: Spec) -> int:
    """The coefficient of x there."""
    if "d" in spec:
        return spec["d"]
    return spec.get("c", 0)


def _times_x(k: int) -> str:
    return "x" if k == 1 else f"{k}x"


def _constant(spec: Spec, work: Work, how: str) -> int:
    """The constant on the left, once the brackets are gone."""
    if "d" not in spec:
        return spec["b"]
    constant = spec["b"]
    if how != "half_distributed":
        constant = work.op(spec["a"], "*", constant)
    return work.op(constant, "+", spec["c"])


def linear_by(how: str = "right") -> Method:
    def method(spec: Spec, work: Work) -> int:
        on_the_right = _on_the_right(spec)
        if not on_the_right and how in ("half_distributed", "coefficients_added"):
            raise Unfit
        constant = _constant(spec, work, how)
        total = _total(spec)
        if total < 0 or total > LARGEST:
            raise Unfit
        left = spec["a"]
        if how == "coefficients_added":
            left = work.op(left, "+", on_the_right)
        elif on_the_right:
            left = work.op(left, "-", on_the_right)
        move = spec["sign"] if how == "sign_kept" else OPPOSITE[spec["sign"]]
        rest = work.op(total, move, constant)
        if how == "subtracts_coefficient":
            return work.op(rest, "-", left)
        return work.op(rest, "/", left)

    return method


# modular powers: c * b^e mod m by repeated multiplication, each product reduced at once


def draw_mod_power(difficulty: int, rng: random.Random) -> Spec:
    exponent = rng.choice(((1,), (2,), (3, 4))[difficulty - 1])
    return {
        "c": rng.randrange(2, 10),
        "b": rng.choice(DIGITS),
        "e": exponent,
        "m": rng.randrange(3, 10),
    }


def show_mod_power(spec: Spec) -> str:
    power = f"{spec['b']}^{spec['e']}" if spec["e"] > 1 else spec["b"]
    return f"{spec['c']}*{power} mod {spec['m']}"


def mod_power_by(how: str = "right") -> Method:
    def method(spec: Spec, work: Work) -> int:
        value, base, modulus = spec["c"], spec["b"], spec["m"]
        if how == "base_times_exponent":
            value = work.op(value, "*", base)
            value = work.op(value, "*", spec["e"])
            return work.op(value, "%", modulus)
        steps = spec["e"] - (how == "one_step_short")
        for step in range(steps):
            value = work.op(value, "*", base)
            if how == "last_not_reduced" and step == steps - 1:
                return value
            value = work.op(value, "%", modulus)
        return value

    return method


# word problems: a start (a number, or bags of things) and events


def draw_word(difficulty: int, rng: random.Random) -> Spec:
    steps = (2, 3, 4 + rng.randrange(2))[difficulty - 1]
    bags = rng.random() < 0.6
    start = [rng.choice(DIGITS), rng.choice(DIGITS)] if bags else [rng.randrange(2, 20)]
    signs = "+--*" if difficulty < 3 else "++--"
    events: list[list[Any]] = []
    for _ in range(steps - bags):
        sign = rng.choice(signs)
        used = start + [k for _, k in events]
        k = rng.randrange(2, 4) if sign == "*" else _other_than(used, rng)
        events.append([sign, k])
    surface = {"name": rng.choice(NAMES), "thing": rng.choice(THINGS)}
    return {"start": start, "events": events, "surface": surface}


def show_word(spec: Spec) -> str:
    surface = spec["surface"]
    has = " bags of ".join(map(str, spec["start"]))
    said = [f"{surface['name']} has {has} {surface['thing']}."]
    said += [EVENTS[sign].format(k) for sign, k in spec["events"]]
    return " ".join(said)


def word_by(how: str = "right") -> Method:
    def method(spec: Spec, work: Work) -> int:
        value, *bag = spec["start"]
        events = spec["events"]
        if how == "bags_added" and not bag:
            raise Unfit
        if how == "bags_added":
            value = work.op(value, "+", bag[0])
        elif bag:
            value = work.op(value, "*", bag[0])
        if how == "last_forgotten":
            events = events[:-1]
        elif how == "last_swapped":
            sign, k = events[-1]
            events = [*events[:-1], [SWAPPED[sign], k]]
        for sign, k in events:
            value = work.op(value, sign, k)
        return value

    return method
