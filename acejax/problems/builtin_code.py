"""Four built-in families of small programs, their solutions and the ways a bad method goes wrong on them.

A *spec* is a JSON-able dict: a `source` ("xs" a list, "range" the numbers 1..n, "n" a number, "s" a string), the
`steps` done to it, and the `form` (a function, or a program between stdin and stdout). The tests' outputs come from
`run`, which interprets the steps and never reads program text; `render` writes the program. A misconception is another
list of steps, kept only where `run` differs on the tests. The constant 7 in a threshold (and in a sum, a slice or a
repetition) is kept for held-out problems.
"""

from __future__ import annotations

import random
from typing import Any

Spec = dict[str, Any]
Step = list[Any]
UNSEEN = 7
FAMILIES = ("numbers", "lists", "strings", "stdin")
LETTERS = "abcde"
NAMES = "fgh"
MAX_TESTS = 5

# The last phrasing of each form is held out; every word of it occurs in some other phrasing.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "function": ("Write {head}: {steps}.", "{head} should {steps}.", "Write {head}, it should {steps}."),
    "stdin": (
        "Read {var}, then print: {steps}.",
        "Read {var} and {steps}. Print it.",
        "Read {var} and print: {steps}.",
    ),
}

FILTERS = ("even", "odd", ">", ">=", "<", "<=", "%")
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
AGGREGATES = ("sum", "count", "max", "min")
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


def _draw_filter(rng: random.Random) -> Step:
    kind = rng.choice(FILTERS)
    return [kind] if kind in ("even", "odd") else [kind, rng.randrange(3 if kind == "%" else 2, 10)]


def _draw_map(rng: random.Random, affine: bool = False) -> Step:
    kind = rng.choice(("*", "+", "-", "square") if affine else ("*", "+", "-", "square", "neg"))
    return [kind] if kind in ("square", "neg") else [kind, rng.randrange(2, 10)]


def _draw_text(rng: random.Random, last: bool) -> Step:
    kind = rng.choice(
        ("reverse", "upper", "remove", "first", "last", "repeat") + (("letters", "length") if last else ())
    )
    if kind in ("reverse", "upper", "length"):
        return [kind]
    return [kind, rng.choice(LETTERS) if kind in ("remove", "letters") else rng.randrange(2, 10)]


def _draw_steps(source: str, difficulty: int, rng: random.Random) -> list[Step]:
    if source == "n":
        return [_draw_map(rng, affine=True) for _ in range(difficulty)]
    if source == "s":
        steps = [_draw_text(rng, last=index == difficulty - 1) for index in range(difficulty)]
        return steps if len({step[0] for step in steps}) == difficulty else _draw_steps(source, difficulty, rng)
    kinds = rng.choice((("f", "m", "a"), ("fm", "mf", "fa", "ma", "fa"), ("fma", "mfa"))[difficulty - 1])
    return [
        _draw_filter(rng) if kind == "f" else _draw_map(rng) if kind == "m" else [rng.choice(AGGREGATES)]
        for kind in kinds
    ]


def draw(family: str, difficulty: int, rng: random.Random) -> Spec | None:
    """A random spec, or None where a number occurs twice: which step comes next would not show in what is written so
    far.
    """
    sources = {"numbers": ("n", "range"), "lists": ("xs",), "strings": ("s",), "stdin": ("n", "xs", "s")}
    source = rng.choice(sources[family])
    steps = _draw_steps(source, difficulty, rng)
    said = [step[1] for step in steps if len(step) > 1]
    if len(set(said)) < len(said):
        return None
    return {
        "family": family,
        "difficulty": difficulty,
        "source": source,
        "steps": steps,
        "surface": {"form": "stdin" if family == "stdin" else "function", "name": rng.choice(NAMES)},
    }


def is_unseen(spec: Spec) -> bool:
    """Whether 7 is a threshold or divisor of a filter, is added or subtracted on its own, or cuts or repeats a
    string.
    """
    roles = {"xs": FILTERS, "range": FILTERS, "n": ("+", "-"), "s": ("first", "last", "repeat")}[spec["source"]]
    return any(step[0] in roles and step[-1] == UNSEEN for step in spec["steps"])


def templates(spec: Spec) -> tuple[str, ...]:
    return TEMPLATES[spec["surface"]["form"]]


def phrase(spec: Spec, template: int) -> str:
    """The problem's text in phrasing `template`, an index into `templates(spec)`."""
    said = [SAID[step[0]].format(*step[1:]) for step in spec["steps"]]
    source = spec["source"]
    if source == "range":
        said.insert(0, "from 1 to n")
    var = "n" if source == "range" else source
    return templates(spec)[template].format(head=f"{spec['surface']['name']}({var})", var=var, steps=", ".join(said))


# what the steps mean


def _keeps(step: Step, x: int) -> bool:
    kind = step[0]
    if kind in ("even", "odd"):
        return x % 2 == (kind == "odd")
    k = step[1]
    return {">": x > k, ">=": x >= k, "<": x < k, "<=": x <= k, "%": x % k == 0, "not%": x % k != 0}[kind]


def _mapped(step: Step, x: int) -> int:
    kind = step[0]
    if kind in ("square", "neg", "double"):
        return {"square": x * x, "neg": -x, "double": x * 2}[kind]
    k = step[1]
    return {"*": x * k, "+": x + k, "-": x - k}[kind]


def _aggregated(kind: str, xs: list[int]) -> int | None:
    """None where the program would stop with an error."""
    if kind == "sum":
        return sum(xs)
    if kind == "count":
        return len(xs)
    if not xs:
        return None if kind.endswith("!") else 0
    return max(xs) if kind.startswith("max") else min(xs)


def _text_step(step: Step, s: str) -> str | int:
    kind = step[0]
    if kind in ("length", "letters"):
        return len(s) if kind == "length" else s.count(step[1])
    if kind in ("reverse", "upper", "lower"):
        return {"reverse": s[::-1], "upper": s.upper(), "lower": s.lower()}[kind]
    k = step[1]
    if kind in ("remove", "remove1"):
        return s.replace(k, "", 1 if kind == "remove1" else -1)
    return {"first": s[:k], "last": s[-k:], "repeat": s * k, "repeat+": s * (k + 1)}[kind]


def run(source: str, steps: list[Step], value: Any) -> Any:
    """What the program that does `steps` returns for the input `value`; None where it would stop with an error."""
    if source == "n":
        for step in steps:
            value = value * step[1] if step[0] == "*" else _mapped(step, value)
        return value
    if source == "s":
        for step in steps:
            value = _text_step(step, value)
        return value
    short = bool(steps) and steps[0] == ["short"]
    xs = list(range(1, value + (not short))) if source == "range" else list(value)
    for step in steps[short:]:
        kind = step[0]
        if kind in FILTERS or kind == "not%":
            xs = [x for x in xs if _keeps(step, x)]
        elif kind.rstrip("!") in AGGREGATES:
            return _aggregated(kind, xs)
        else:
            xs = [_mapped(step, x) for x in xs]
    return xs


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


# how the steps are written


def _atom(text: str, simple: str) -> str:
    return text if text == simple else f"({text})"


def _write_map(step: Step, cur: str, simple: str) -> str:
    kind = step[0]
    if kind in ("+", "-"):
        return f"{cur}{kind}{step[1]}"
    if kind == "neg":
        return f"-{cur}"
    held = _atom(cur, simple)
    return f"{held}**2" if kind == "square" else f"{held}*{2 if kind == 'double' else step[1]}"


def _write_filter(step: Step, cur: str) -> str:
    kind = step[0]
    if kind in ("even", "odd", "%", "not%"):
        held = f"({cur})" if "+" in cur or "-" in cur[1:] else cur
        if kind in ("even", "odd"):
            return f"{held}%2=={int(kind == 'odd')}"
        return f"{held}%{step[1]}{'==' if kind == '%' else '!='}0"
    return f"{cur}{kind}{step[1]}"


def _write_list(source: str, steps: list[Step]) -> str:
    short = bool(steps) and steps[0] == ["short"]
    over = ("range(1,n)" if short else "range(1,n+1)") if source == "range" else "xs"
    cur, tests, aggregate = "x", [], ""
    for step in steps[short:]:
        if step[0].rstrip("!") in AGGREGATES:
            aggregate = step[0]
        elif step[0] in FILTERS or step[0] == "not%":
            tests.append(_write_filter(step, cur))
        else:
            cur = _write_map(step, cur, "x")
    inner = f"[{cur} for x in {over}" + "".join(f" if {test}" for test in tests) + "]"
    if not aggregate:
        return inner
    default = ",default=0" if aggregate in ("max", "min") else ""
    return f"{'len' if aggregate == 'count' else aggregate.rstrip('!')}({inner}{default})"


def _write_text(steps: list[Step]) -> str:
    cur = "s"
    for index, step in enumerate(steps):
        kind = step[0]
        if index and steps[index - 1][0].startswith("repeat") and kind != "length":
            cur = f"({cur})"
        if kind in ("repeat", "repeat+"):
            cur = f"{cur}*{step[1] + (kind == 'repeat+')}"
            continue
        if kind == "length":
            cur = f"len({cur})"
        elif kind in ("first", "last"):
            cur += f"[:{step[1]}]" if kind == "first" else f"[-{step[1]}:]"
        elif kind in ("remove", "remove1"):
            cur += f'.replace("{step[1]}","")' if kind == "remove" else f'.replace("{step[1]}","",1)'
        else:
            cur += {"reverse": "[::-1]", "upper": ".upper()", "lower": ".lower()", "letters": f'.count("{step[-1]}")'}[
                kind
            ]
    return cur


def _expression(source: str, steps: list[Step]) -> str:
    if source == "n":
        cur = "n"
        for step in steps:
            cur = _write_map(step, cur, "n")
        return cur
    return _write_text(steps) if source == "s" else _write_list(source, steps)


def _plan(source: str, steps: list[Step]) -> list[str]:
    """One line per step, in the notation of the program."""
    lines = []
    for step in steps:
        kind = step[0]
        if kind == "short":
            lines.append("below n")
        elif source == "s":
            text = _write_text([step])
            lines.append("len" if kind == "length" else text[1:])
        elif kind.rstrip("!") in AGGREGATES:
            lines.append({"count": "len"}.get(kind, kind.rstrip("!") + (" or 0" if kind in ("max", "min") else "")))
        elif kind in FILTERS or kind == "not%":
            lines.append(_write_filter(step, "x"))
        else:
            lines.append(_write_map(step, "n" if source == "n" else "x", "n" if source == "n" else "x"))
    if source == "range" and ["short"] not in steps:
        lines.insert(0, "to n")
    return lines


def render(spec: Spec, steps: list[Step]) -> str:
    """The response that does `steps`: a plan, then the program in a fenced block."""
    source = spec["source"]
    expression = _expression(source, steps)
    var = "n" if source == "range" else source
    if spec["surface"]["form"] == "function":
        program = f"def {spec['surface']['name']}({var}):\n    return {expression}"
    else:
        read = {"n": "int(input())", "s": "input()", "xs": "list(map(int,input().split()))"}[var]
        program = f"{var}={read}\nprint({'*' if expression.startswith('[') else ''}{expression})"
    return "\n".join(_plan(source, steps)) + f"\n</think>\n```python\n{program}\n```"


# the misconceptions


def _variants(spec: Spec) -> dict[str, list[Step]]:
    steps: list[Step] = spec["steps"]
    found = {}
    for index, step in enumerate(steps):
        for other in CONFUSED[step[0]]:
            found[f"{step[0]}_as_{other}_{index}"] = steps[:index] + [[other, *step[1:]]] + steps[index + 1 :]
    if spec["source"] == "range":
        found["off_by_one"] = [["short"], *steps]
    last_is_free = steps[-1][0] not in AGGREGATES and steps[-1][0] not in ("letters", "length")
    if len(steps) > 1:
        found["last_forgotten" if last_is_free else "forgotten"] = (
            steps[:-1] if last_is_free else steps[:-2] + steps[-1:]
        )
        if len(steps) > 2 or last_is_free:
            found["swapped"] = [steps[1], steps[0], *steps[2:]]
    return found


def _wrong_steps(spec: Spec) -> dict[str, list[Step]]:
    source, inputs = spec["source"], _inputs(spec)
    true = [run(source, spec["steps"], value) for value in inputs]
    return {
        name: steps
        for name, steps in _variants(spec).items()
        if [run(source, steps, value) for value in inputs] != true
    }


def tests(spec: Spec) -> dict[str, Any]:
    """The test suite, in the record's form."""
    pairs = [(value, run(spec["source"], spec["steps"], value)) for value in _inputs(spec)][:MAX_TESTS]
    if spec["surface"]["form"] == "function":
        return {
            "kind": "function",
            "fn_name": spec["surface"]["name"],
            "cases": [{"args": [value], "output": out} for value, out in pairs],
        }

    def line(value: Any) -> str:
        return (" ".join(map(str, value)) if isinstance(value, list) else str(value)) + "\n"

    return {"kind": "stdin", "cases": [{"input": line(value), "output": line(out)} for value, out in pairs]}


def right(spec: Spec) -> str:
    """The right solution: the response after the opening of <think>."""
    return render(spec, spec["steps"])


def wrong(spec: Spec) -> dict[str, str]:
    """Solutions by each misconception that fails a test here, by the misconception's name."""
    return {name: render(spec, steps) for name, steps in _wrong_steps(spec).items()}
