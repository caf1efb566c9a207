"""Five built-in families of mathematics problems, their worked solutions and the ways a bad method goes wrong on them.

A *spec* is a JSON-able dict that says what is asked, without the phrasing; `draw` makes one, everything else is a pure
function of it. The constant 7 in the roles named by `is_unseen` is kept for held-out problems. How each family draws,
writes and works is in `builtin_methods.py`.
"""

from __future__ import annotations

import random
from fractions import Fraction

from acejax.problems import builtin_methods as methods
from acejax.problems.builtin_work import UNSEEN, Lines, Method, Spec, Unfit, Work

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

DRAW = {
    "nested": methods.draw_nested,
    "fractions": methods.draw_fractions,
    "linear": methods.draw_linear,
    "mod_power": methods.draw_mod_power,
    "word": methods.draw_word,
}
SHOW = {
    "nested": methods.show_nested,
    "fractions": methods.show_fractions,
    "linear": methods.show_linear,
    "mod_power": methods.show_mod_power,
    "word": methods.show_word,
}
RIGHT: dict[str, Method] = {
    "nested": methods.nested,
    "fractions": methods.fractions_by(),
    "linear": methods.linear_by(),
    "mod_power": methods.mod_power_by(),
    "word": methods.word_by(),
}
WRONG: dict[str, dict[str, Method]] = {
    "nested": {"no_precedence": methods.nested_without_precedence, "no_brackets": methods.nested_without_brackets},
    "fractions": {
        "tops_and_bottoms": methods.fractions_by(add="tops_and_bottoms"),
        "tops_kept": methods.fractions_by(add="tops_kept"),
        "crosswise": methods.fractions_by(times="crosswise"),
        "bottoms_added": methods.fractions_by(times="bottoms_added"),
    },
    "linear": {
        how: methods.linear_by(how)
        for how in ("sign_kept", "subtracts_coefficient", "coefficients_added", "half_distributed")
    },
    "mod_power": {
        how: methods.mod_power_by(how) for how in ("last_not_reduced", "base_times_exponent", "one_step_short")
    },
    "word": {how: methods.word_by(how) for how in ("last_swapped", "bags_added", "last_forgotten")},
}


def draw(family: str, difficulty: int, rng: random.Random) -> Spec | None:
    """A random spec, or None where its solution leaves the range of numbers."""
    try:
        spec = {"family": family, "difficulty": difficulty, **DRAW[family](difficulty, rng)}
        RIGHT[family](spec, Work())
    except Unfit:
        return None
    return spec


def is_unseen(spec: Spec) -> bool:
    """Whether 7 is a factor, a denominator, the leading coefficient, the base, or the size of a bag: held-out problems
    only.
    """
    family = spec["family"]
    if family == "nested":
        return UNSEEN in methods.factors(spec["tree"])
    if family == "fractions":
        return any(bottom == UNSEEN for _, bottom in spec["terms"])
    if family == "word":
        return len(spec["start"]) == 2 and spec["start"][1] == UNSEEN
    if family == "linear":
        return spec["a"] == UNSEEN
    return spec["b"] == UNSEEN


def phrase(spec: Spec, template: int) -> str:
    """The problem's text in phrasing `template`, an index into TEMPLATES[family]."""
    family = spec["family"]
    thing = spec.get("surface", {}).get("thing")
    return TEMPLATES[family][template].format(e=SHOW[family](spec), thing=thing)


def _boxed(value: Fraction | int) -> str:
    value = Fraction(value)
    if value.denominator == 1:
        return str(value.numerator)
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def _response(lines: Lines, value: Fraction | int) -> str:
    return "\n".join([*lines, "</think>", f"\\boxed{{{_boxed(value)}}}"])


def answer(spec: Spec) -> str:
    """The right answer as it stands in the box."""
    return _boxed(RIGHT[spec["family"]](spec, Work()))


def right(spec: Spec) -> str:
    """The right worked solution: the response after the opening of <think>."""
    work = Work()
    value = RIGHT[spec["family"]](spec, work)
    return _response(work.lines, value)


def wrong(spec: Spec) -> dict[str, str]:
    """Worked solutions by each misconception that leads to another final answer here, by the misconception's name."""
    true = Fraction(RIGHT[spec["family"]](spec, Work()))
    found = {}
    for name, method in WRONG[spec["family"]].items():
        work = Work()
        try:
            value = method(spec, work)
        except Unfit:
            continue
        if Fraction(value) != true:
            found[name] = _response(work.lines, value)
    return found
