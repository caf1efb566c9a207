"""Four built-in families of small programs, their solutions and the ways a bad method goes wrong on them.

A *spec* is a JSON-able dict: a `source` ("xs" a list, "range" the numbers 1..n, "n" a number, "s" a string), the
`steps` done to it, and the `form` (a function, or a program between stdin and stdout). The tests' outputs come from
`run`, which interprets the steps and never reads program text; `render` writes the program. A misconception is another
list of steps, kept only where `run` differs on the tests. The constant 7 in a threshold (and in a sum, a slice or a
repetition) is kept for held-out problems.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from acejax.problems.builtin_steps import AGGREGATES, FILTERS, SHORT, Step, expression, plan, run

Spec = dict[str, Any]
UNSEEN = 7
SOURCES = {"numbers": ("n", "range"), "lists": ("xs",), "strings": ("s",), "stdin": ("n", "xs", "s")}
FAMILIES = tuple(SOURCES)
LETTERS = "abcde"
NAMES = "fgh"
# How a program of form "stdin" reads its source.
READS = {"n": "int(input())", "s": "input()", "xs": "list(map(int,input().split()))"}
MAX_TESTS = 5
# The steps in which the constant is kept for held-out problems, by source.
UNSEEN_ROLES = {"xs": FILTERS, "range": FILTERS, "n": ("+", "-"), "s": ("first", "last", "repeat")}

# The last phrasing of each form is held out; every word of it occurs in some other phrasing.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "function": ("Write {head}: {steps}.", "{head} should {steps}.", "Write {head}, it should {steps}."),
    "stdin": (
        "Read {var}, then print: {steps}.",
        "Read {var} and {steps}. Print it.",
        "Read {var} and print: {steps}.",
    ),
}

SAID = {
    "even": "keep even",
    "odd": "keep odd",
    ">": "keep above {}",
    ">=": "keep at least {}",
    "<": "keep below {}",
    "<=": "keep at most {}",
    "%": "keep multiples of {}",
    "*": "times {}",
    "+": "plus {}",
    "-": "minus {}",
    "square": "square",
    "neg": "negate",
    "sum": "sum",
    "count": "count",
    "max": "largest or 0",
    "min": "smallest or 0",
    "reverse": "reverse",
    "upper": "upper",
    "remove": 'remove "{}"',
    "first": "first {}",
    "last": "last {}",
    "repeat": "repeat {}",
    "letters": 'count "{}"',
    "length": "length",
}
# What a confused reader does instead; "max!" and "min!" forget the empty list, "remove1" removes once.
CONFUSED = {
    "even": ("odd",),
    "odd": ("even",),
    ">": (">=", "<"),
    ">=": (">", "<="),
    "<": ("<=", ">"),
    "<=": ("<", ">="),
    "%": ("not%",),
    "*": ("+",),
    "+": ("-",),
    "-": ("+",),
    "square": ("double",),
    "neg": (),
    "sum": ("count",),
    "count": ("sum",),
    "max": ("max!", "min"),
    "min": ("min!", "max"),
    "reverse": (),
    "upper": ("lower",),
    "remove": ("remove1",),
    "first": ("last",),
    "last": ("first",),
    "repeat": ("repeat+",),
    "letters": ("length",),
    "length": (),
}


NUMBER_KINDS = ("*", "+", "-", "square")
MAP_KINDS = (*NUMBER_KINDS, "neg")
TEXT_KINDS = ("reverse", "upper", "remove", "first", "last", "repeat")
LAST_TEXT_KINDS = ("letters", "length")
# By difficulty, what is done to a list: filter, map, aggregate.
LIST_STEPS = {1: ("f", "m", "a"), 2: ("fm", "mf", "fa", "ma", "fa"), 3: ("fma", "mfa")}


def _draw_filter(rng: random.Random) -> Step:
    kind = rng.choice(FILTERS)
    if kind in ("even", "odd"):
        return [kind]
    smallest = 3 if kind == "%" else 2
    return [kind, rng.randrange(smallest, 10)]


def _draw_map(rng: random.Random, kinds: Sequence[str]) -> Step:
    kind = rng.choice(kinds)
    if kind in ("square", "neg"):
        return [kind]
    return [kind, rng.randrange(2, 10)]


def _draw_text(rng: random.Random, kinds: Sequence[str]) -> Step:
    kind = rng.choice(kinds)
    if kind in ("reverse", "upper", "length"):
        return [kind]
    if kind in ("remove", "letters"):
        return [kind, rng.choice(LETTERS)]
    return [kind, rng.randrange(2, 10)]


def _draw_texts(count: int, rng: random.Random) -> list[Step]:
    """Steps of different kinds, of which only the last may end in a number."""
    while True:
        steps = [_draw_text(rng, TEXT_KINDS) for _ in range(count - 1)]
        steps.append(_draw_text(rng, TEXT_KINDS + LAST_TEXT_KINDS))
        if len({step[0] for step in steps}) == count:
            return steps


def _draw_list_step(letter: str, rng: random.Random) -> Step:
    if letter == "f":
        return _draw_filter(rng)
    if letter == "m":
        return _draw_map(rng, MAP_KINDS)
    return [rng.choice(AGGREGATES)]


def _draw_steps(source: str, difficulty: int, rng: random.Random) -> list[Step]:
    if source == "n":
        return [_draw_map(rng, NUMBER_KINDS) for _ in range(difficulty)]
    if source == "s":
        return _draw_texts(difficulty, rng)
    return [_draw_list_step(letter, rng) for letter in rng.choice(LIST_STEPS[difficulty])]


def draw(family: str, difficulty: int, rng: random.Random) -> Spec | None:
    """A random spec, or None where a number occurs twice: which step comes next would not show in what is written so
    far.
    """
    source = rng.choice(SOURCES[family])
    steps = _draw_steps(source, difficulty, rng)
    said = [step[1] for step in steps if len(step) > 1]
    if len(set(said)) < len(said):
        return None
    form = "stdin" if family == "stdin" else "function"
    return {
        "family": family,
        "difficulty": difficulty,
        "source": source,
        "steps": steps,
        "surface": {"form": form, "name": rng.choice(NAMES)},
    }


def is_unseen(spec: Spec) -> bool:
    """Whether 7 is a threshold or divisor of a filter, is added or subtracted on its own, or cuts or repeats a
    string.
    """
    roles = UNSEEN_ROLES[spec["source"]]
    return any(step[0] in roles and step[-1] == UNSEEN for step in spec["steps"])


def _variable(source: str) -> str:
    return "n" if source == "range" else source


def templates(spec: Spec) -> tuple[str, ...]:
    return TEMPLATES[spec["surface"]["form"]]


def phrase(spec: Spec, template: int) -> str:
    """The problem's text in phrasing `template`, an index into `templates(spec)`."""
    said = [SAID[step[0]].format(*step[1:]) for step in spec["steps"]]
    source = spec["source"]
    if source == "range":
        said.insert(0, "from 1 to n")
    var = _variable(source)
    return templates(spec)[template].format(head=f"{spec['surface']['name']}({var})", var=var, steps=", ".join(said))


def _inputs(spec: Spec) -> list[Any]:
    """Inputs with the edges on which the misconceptions tell: nothing, zero, and the constants of the steps with their
    neighbours.
    """
    ks = [step[1] for step in spec["steps"] if len(step) == 2 and isinstance(step[1], int)]
    k = ks[0] if ks else 3
    source = spec["source"]
    if source == "n":
        return [0, 1, 5, 12, -3]
    if source == "range":
        return [0, 1, k, 2 * k, 12]
    if source == "xs":
        edges = [k - 1, k, k + 1]
        return [[], edges, [0, 4, 5, -6, 9], [2 * k, 1, 3 * k, 8], [-k, -1]]
    return ["", "a", "bananabread", "abcdeedcbaabc", "Deedcab"]


def render(spec: Spec, steps: list[Step]) -> str:
    """The response that does `steps`: a plan, then the program in a fenced block."""
    source = spec["source"]
    text = expression(source, steps)
    if spec["surface"]["form"] == "function":
        program = f"def {spec['surface']['name']}({_variable(source)}):\n    return {text}"
    else:
        star = "*" if text.startswith("[") else ""
        program = f"{source}={READS[source]}\nprint({star}{text})"
    return "\n".join(plan(source, steps)) + f"\n</think>\n```python\n{program}\n```"


# the misconceptions


def _variants(spec: Spec) -> dict[str, list[Step]]:
    steps: list[Step] = spec["steps"]
    found = {}
    for index, step in enumerate(steps):
        for other in CONFUSED[step[0]]:
            found[f"{step[0]}_as_{other}_{index}"] = [*steps[:index], [other, *step[1:]], *steps[index + 1 :]]
    if spec["source"] == "range":
        found["off_by_one"] = [SHORT, *steps]
    if len(steps) == 1:
        return found
    # A step that ends in a number stays the last one.
    if steps[-1][0] in AGGREGATES + LAST_TEXT_KINDS:
        found["forgotten"] = [*steps[:-2], steps[-1]]
        swappable = len(steps) > 2
    else:
        found["last_forgotten"] = steps[:-1]
        swappable = True
    if swappable:
        found["swapped"] = [steps[1], steps[0], *steps[2:]]
    return found


def _wrong_steps(spec: Spec) -> dict[str, list[Step]]:
    right_outputs = _outputs(spec, spec["steps"])
    return {name: steps for name, steps in _variants(spec).items() if _outputs(spec, steps) != right_outputs}


def _outputs(spec: Spec, steps: list[Step]) -> list[Any]:
    return [run(spec["source"], steps, value) for value in _inputs(spec)]


def tests(spec: Spec) -> dict[str, Any]:
    """The test suite, in the record's form."""
    pairs = list(zip(_inputs(spec), _outputs(spec, spec["steps"]), strict=True))[:MAX_TESTS]
    if spec["surface"]["form"] == "function":
        calls = [{"args": [value], "output": output} for value, output in pairs]
        return {"kind": "function", "fn_name": spec["surface"]["name"], "cases": calls}
    return {"kind": "stdin", "cases": [{"input": _line(value), "output": _line(output)} for value, output in pairs]}


def _line(value: Any) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text + "\n"


def right(spec: Spec) -> str:
    """The right solution: the response after the opening of <think>."""
    return render(spec, spec["steps"])


def wrong(spec: Spec) -> dict[str, str]:
    """Solutions by each misconception that fails a test here, by the misconception's name."""
    return {name: render(spec, steps) for name, steps in _wrong_steps(spec).items()}
