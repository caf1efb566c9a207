"""What the steps of the built-in programs mean, and how a program is written that does them.

A step is a list of a kind and at most one constant. `run` interprets steps and never reads program text; `expression`
and `plan` write them.
"""

from __future__ import annotations

from typing import Any

Step = list[Any]
FILTERS = ("even", "odd", ">", ">=", "<", "<=", "%")
AGGREGATES = ("sum", "count", "max", "min")
SHORT = ["short"]  # the first step of one who stops a range before its last number


def is_filter(kind: str) -> bool:
    return kind in FILTERS or kind == "not%"


def is_aggregate(kind: str) -> bool:
    return kind.rstrip("!") in AGGREGATES


def _is_short(steps: list[Step]) -> bool:
    return steps[:1] == [SHORT]


# what the steps mean


def _keeps(step: Step, x: int) -> bool:
    kind = step[0]
    if kind in ("even", "odd"):
        return x % 2 == (kind == "odd")
    k = step[1]
    return {
        ">": x > k,
        ">=": x >= k,
        "<": x < k,
        "<=": x <= k,
        "%": x % k == 0,
        "not%": x % k != 0,
    }[kind]


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
    if kind in ("max!", "min!") and not xs:
        return None
    if kind in ("max", "max!"):
        return max(xs, default=0)
    return min(xs, default=0)


def _text_step(step: Step, s: str) -> str | int:
    kind = step[0]
    if kind == "length":
        return len(s)
    if kind in ("reverse", "upper", "lower"):
        return {"reverse": s[::-1], "upper": s.upper(), "lower": s.lower()}[kind]
    k = step[1]
    if kind == "letters":
        return s.count(k)
    if kind == "remove":
        return s.replace(k, "")
    if kind == "remove1":
        return s.replace(k, "", 1)
    return {"first": s[:k], "last": s[-k:], "repeat": s * k, "repeat+": s * (k + 1)}[kind]


def run(source: str, steps: list[Step], value: Any) -> Any:
    """What the program that does `steps` returns for the input `value`; None where it would stop with an error."""
    if source == "n":
        for step in steps:
            value = _mapped(step, value)
        return value
    if source == "s":
        for step in steps:
            value = _text_step(step, value)
        return value
    short = _is_short(steps)
    if source == "range":
        value = range(1, value + (not short))
    return _run_list(steps[short:], list(value))


def _run_list(steps: list[Step], xs: list[int]) -> Any:
    for step in steps:
        kind = step[0]
        if is_filter(kind):
            xs = [x for x in xs if _keeps(step, x)]
        elif is_aggregate(kind):
            return _aggregated(kind, xs)
        else:
            xs = [_mapped(step, x) for x in xs]
    return xs


# how the steps are written


def _write_map(step: Step, cur: str, simple: str) -> str:
    """The text of a step on `cur`, which needs no brackets where it is `simple`."""
    kind = step[0]
    if kind in ("+", "-"):
        return f"{cur}{kind}{step[1]}"
    if kind == "neg":
        return f"-{cur}"
    held = cur if cur == simple else f"({cur})"
    if kind == "square":
        return f"{held}**2"
    if kind == "double":
        return f"{held}*2"
    return f"{held}*{step[1]}"


def _write_filter(step: Step, cur: str) -> str:
    kind = step[0]
    if kind in (">", ">=", "<", "<="):
        return f"{cur}{kind}{step[1]}"
    held = f"({cur})" if "+" in cur or "-" in cur[1:] else cur
    if kind == "even":
        return f"{held}%2==0"
    if kind == "odd":
        return f"{held}%2==1"
    if kind == "%":
        return f"{held}%{step[1]}==0"
    return f"{held}%{step[1]}!=0"


def _write_list(source: str, steps: list[Step]) -> str:
    over = "range(1,n+1)" if source == "range" else "xs"
    if _is_short(steps):
        over = "range(1,n)"
        steps = steps[1:]
    cur, tests, aggregate = "x", "", ""
    for step in steps:
        if is_aggregate(step[0]):
            aggregate = step[0]
        elif is_filter(step[0]):
            tests += f" if {_write_filter(step, cur)}"
        else:
            cur = _write_map(step, cur, "x")
    inner = f"[{cur} for x in {over}{tests}]"
    if not aggregate:
        return inner
    if aggregate == "count":
        return f"len({inner})"
    if aggregate in ("max", "min"):
        return f"{aggregate}({inner},default=0)"
    return f"{aggregate.rstrip('!')}({inner})"


def _write_text(steps: list[Step]) -> str:
    cur = "s"
    repeated = False
    for step in steps:
        kind = step[0]
        if repeated and kind != "length":
            cur = f"({cur})"
        cur = _write_text_step(step, cur)
        repeated = kind.startswith("repeat")
    return cur


def _write_text_step(step: Step, cur: str) -> str:
    kind, k = step[0], step[-1]
    if kind == "length":
        return f"len({cur})"
    if kind == "repeat+":
        return f"{cur}*{k + 1}"
    written = {
        "repeat": f"*{k}",
        "first": f"[:{k}]",
        "last": f"[-{k}:]",
        "remove": f'.replace("{k}","")',
        "remove1": f'.replace("{k}","",1)',
        "reverse": "[::-1]",
        "upper": ".upper()",
        "lower": ".lower()",
        "letters": f'.count("{k}")',
    }
    return cur + written[kind]


def expression(source: str, steps: list[Step]) -> str:
    if source == "s":
        return _write_text(steps)
    if source != "n":
        return _write_list(source, steps)
    cur = "n"
    for step in steps:
        cur = _write_map(step, cur, "n")
    return cur


def plan(source: str, steps: list[Step]) -> list[str]:
    """One line per step, in the notation of the program."""
    lines = [_plan_line(source, step) for step in steps]
    if source == "range" and SHORT not in steps:
        lines.insert(0, "to n")
    return lines


def _plan_line(source: str, step: Step) -> str:
    kind = step[0]
    if step == SHORT:
        return "below n"
    if kind in ("length", "count"):
        return "len"
    if source == "s":
        return _write_text_step(step, "")
    if kind in ("max", "min"):
        return f"{kind} or 0"
    if is_aggregate(kind):
        return kind.rstrip("!")
    if is_filter(kind):
        return _write_filter(step, "x")
    name = "n" if source == "n" else "x"
    return _write_map(step, name, name)
