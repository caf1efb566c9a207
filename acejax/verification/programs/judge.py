"""Judging programs: extraction, running in a sandbox, and comparison, which happens here, outside the sandbox.

Expected outputs never enter the process that runs the program, so it has nothing to read, walk to or forge.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from acejax.problems.problem import Problem
from acejax.verification.programs.sandbox import Program, Sandbox
from acejax.verification.verdict import Outcome

TOLERANCE = 1e-6  # relative, and absolute below 1; only where the expected number is written as a float

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<ticks>`{3,})[ \t]*(?P<info>[^`]*?)[ \t]*$")
_LATE_FENCE = re.compile(r"(?P<ticks>`{3,})(?P<info>python3?|py)[ \t]*$", re.IGNORECASE)
_PYTHON = {"", "py", "python", "python3"}
_INTEGER = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?")
_NAN = {"nan", "+nan", "-nan"}


def extract_code(response: str, require_think_end: bool = True) -> tuple[str | None, str]:
    """The last closed fenced Python (or unlabelled) block after the last `</think>`.

    Returns (program, "ok"), or (None, reason) with reason no_think_end or no_code.
    """
    before, mark, answer = response.rpartition("</think>")
    if not mark and require_think_end:
        return None, "no_think_end"
    found: str | None = None
    block: list[str] = []
    ticks, indent, wanted = 0, 0, False
    for line in answer.splitlines():
        fence = _FENCE.match(line)
        if ticks:
            if fence and not fence["info"] and len(fence["ticks"]) >= ticks:
                if wanted and any(text.strip() for text in block):
                    found = "\n".join(block) + "\n"
                ticks = 0
            else:
                margin = len(line) - len(line.lstrip(" \t"))
                block.append(line[min(indent, margin) :])
        elif fence or (fence := _LATE_FENCE.search(line)):
            label = fence["info"].split()
            ticks, block, wanted = len(fence["ticks"]), [], (label[0].lower() if label else "") in _PYTHON
            indent = len(fence.groupdict().get("indent") or "")
    return (found, "ok") if found is not None else (None, "no_code")


def judge_code(
    response: str, problem: Problem, sandbox: Sandbox, require_think_end: bool = True
) -> tuple[Outcome, str]:
    """Whether the response's program passes all of the problem's tests; it stops at the first that fails.

    Returns ("correct", "ok") or ("wrong", reason): no_think_end, no_code, wrong_output, runtime_error, timeout, memory
    or denied. Raises sandbox.InfraError when the sandbox failed, not the program.
    """
    source, reason = extract_code(response, require_think_end)
    if source is None:
        return "wrong", reason
    outcome, reason, _ = judge_program(source, problem, sandbox)
    return outcome, reason


def judge_program(source: str, problem: Problem, sandbox: Sandbox, strict: bool = False) -> tuple[Outcome, str, bool]:
    """The outcome and reason of a program, and whether it was a close call: another run might decide it otherwise.

    `strict`: the CPU limit is exact, and nothing is a close call. Raises sandbox.InfraError when the sandbox failed.
    """
    tests = problem.tests or {}
    kind = tests["kind"]
    if kind == "script":
        # The mark at the end tells a program that reached it from one that left early with status 0.
        source = f"{source}\n{tests['script']}\ncheck({tests['entry_point']})\nprint({_SCRIPT_END!r})\n"
    cases: Sequence[Mapping[str, Any]] = [{}] if kind == "script" else tests["cases"]
    with sandbox.program(
        source,
        kind,
        fn_name=tests.get("fn_name"),
        types=tests.get("types"),
        time_limit_s=problem.time_limit_s,
        memory_limit_mb=problem.memory_limit_mb,
        strict=strict,
    ) as program:
        for case in cases:
            reason = _run_case(program, kind, case)
            if reason != "ok":
                return "wrong", reason, program.near and reason == "timeout"
    return "correct", "ok", program.near


_SCRIPT_END = "acejax: the test program ran to its end"


def _run_case(program: Program, kind: str, case: Mapping[str, Any]) -> str:
    if kind == "function":
        result = program.run({"args": case.get("args") or [], "kwargs": case.get("kwargs") or {}})
        same = result.status == "ok" and _report_matches(case["output"], result.report)
    elif kind == "script":
        result = program.run({"input": ""})
        if result.status == "ok" and _SCRIPT_END not in result.stdout:
            return "runtime_error"
        same = True
    else:
        given = case["input"]
        result = program.run({"input": given if isinstance(given, str) else "\n".join(map(str, given))})
        same = result.status == "ok" and outputs_match(_text(case["output"]), result.stdout)
    if result.status != "ok":
        return result.status
    return "ok" if same else "wrong_output"


def _text(expected: Any) -> str:
    return (
        expected
        if isinstance(expected, str)
        else "\n".join(map(str, expected))
        if isinstance(expected, list)
        else str(expected)
    )


def outputs_match(expected: str, got: str) -> bool:
    """Compares printed text token by token within lines; spaces at line ends, CRLF and blank lines at the end do not
    count.
    """
    wanted, printed = _lines(expected), _lines(got)
    if len(wanted) != len(printed):
        return False
    return all(
        len(a) == len(b) and all(_tokens_match(x, y) for x, y in zip(a, b, strict=True))
        for a, b in zip(wanted, printed, strict=True)
    )


def _lines(text: str) -> list[list[str]]:
    lines = [line.split() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _tokens_match(expected: str, got: str) -> bool:
    if expected.lower() in _NAN:
        return False
    if expected == got:
        return True
    if not _FLOAT.fullmatch(expected) or not (_FLOAT.fullmatch(got) or _INTEGER.fullmatch(got)):
        return False
    return _close(float(expected), float(got))


def _close(expected: float, got: float) -> bool:
    return math.isclose(expected, got, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _report_matches(expected: Any, report: str) -> bool:
    try:
        return values_match(expected, json.loads(report))
    except (ValueError, RecursionError):
        return False


def values_match(expected: Any, got: Any) -> bool:
    """Compares plain JSON values by exact type: True is not 1, 5.0 is not 5; a float may differ by TOLERANCE; NaN
    equals nothing.
    """
    if isinstance(expected, (list, tuple)):
        return type(got) is list and len(got) == len(expected) and all(map(values_match, expected, got))
    if isinstance(expected, Mapping):
        keys = {str(key): value for key, value in expected.items()}
        return (
            type(got) is dict
            and got.keys() == keys.keys()
            and all(values_match(value, got[key]) for key, value in keys.items())
        )
    if isinstance(expected, float):
        if type(got) is int and abs(got) > 1 << 1000:
            return False
        return type(got) in (int, float) and _close(expected, got)
    return type(got) is type(expected) and got == expected
