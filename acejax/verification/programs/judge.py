"""Judging programs: extraction, running in a sandbox, and comparison, which happens here, outside the sandbox.

Expected outputs never enter the process that runs the program, so it has nothing to read, walk to or forge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from acejax.problems.problem import Problem
from acejax.verification.programs.compare import Reals, outputs_match, report_matches
from acejax.verification.programs.execute import SCRIPT_END
from acejax.verification.programs.extract import extract_code
from acejax.verification.programs.sandbox import Program, Sandbox
from acejax.verification.verdict import Outcome


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
    cases: Sequence[Mapping[str, Any]] = [{}] if kind == "script" else tests["cases"]
    reals = Reals([_text(case["output"]) if kind == "stdin" else case.get("output") for case in cases])
    with sandbox.program(
        source,
        kind,
        fn_name=tests.get("fn_name", tests.get("entry_point")),
        script=tests.get("script"),
        types=tests.get("types"),
        time_limit_s=problem.time_limit_s,
        memory_limit_mb=problem.memory_limit_mb,
        strict=strict,
    ) as program:
        for case in cases:
            reason = _RUNS[kind](program, case, reals)
            if reason != "ok":
                return "wrong", reason, program.close_call and reason == "timeout"
    return "correct", "ok", program.close_call


# Each runs one test and returns "ok" or the reason why it fails. `reals` are the real numbers of all tests.


def _run_function(program: Program, case: Mapping[str, Any], reals: Reals) -> str:
    result = program.run({"args": case.get("args") or [], "kwargs": case.get("kwargs") or {}})
    # A data set that wraps results in lists does not say whether this one was wrapped: then either is right.
    wanted = [case[name] for name in ("output", "or_output") if name in case]
    if result.status == "ok" and not any(report_matches(one, result.report, reals) for one in wanted):
        return "wrong_output"
    return result.status


def _run_script(program: Program, _: Mapping[str, Any], __: Reals) -> str:
    result = program.run({"input": ""})
    if result.status == "ok" and result.report != SCRIPT_END.decode():
        return "runtime_error"
    return result.status


def _run_stdin(program: Program, case: Mapping[str, Any], reals: Reals) -> str:
    given = case["input"]
    if not isinstance(given, str):
        given = "\n".join(map(str, given))
    result = program.run({"input": given})
    if result.status == "ok" and not outputs_match(_text(case["output"]), result.stdout, reals):
        return "wrong_output"
    return result.status


_RUNS = {"function": _run_function, "script": _run_script, "stdin": _run_stdin}


def _text(expected: Any) -> str:
    if isinstance(expected, list):
        return "\n".join(map(str, expected))
    return str(expected)
