"""The verifier of programs, as a worker holds it: one sandbox, started and tested before the first program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.verification.programs.judge import extract_code, judge_program
from acejax.verification.programs.sandbox import Sandbox
from acejax.verification.verifier import Finding, Settings


class ProgramJudge:
    """Runs the program in a response on the problem's tests.

    Raises UserError where the sandbox lets something out, unless the settings say unsafe.
    """

    def __init__(self, settings: Settings, notice: Callable[[str], None]) -> None:
        self._require_think_end = settings.require_think_end
        self._sandbox = Sandbox(settings.backend, settings.time_limit_s, settings.memory_limit_mb)
        leaks = self._sandbox.self_test()
        if self._sandbox.notice:
            notice(self._sandbox.notice)
        if leaks and not settings.unsafe:
            raise UserError(
                f"the {self._sandbox.backend} sandbox does not hold here ({', '.join(leaks)}): "
                "apt-get install bubblewrap, or unsafe: true"
            )

    def extract(self, response: str) -> tuple[str | None, str]:
        return extract_code(response, self._require_think_end)

    def judge(self, task: Mapping[str, Any], answer: str, alone: bool) -> Finding:
        problem = Problem(domain="code", prompt="", **task)
        verdict, reason, close_call = judge_program(answer, problem, self._sandbox, alone)
        return Finding(verdict, reason, close_call=close_call)
