"""The verifier of mathematics, as a worker holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acejax.verification.math.judge import extract_boxed, judge_answer
from acejax.verification.verifier import Finding, Settings


class MathJudge:
    """Compares the last box of a response with the accepted answers."""

    def __init__(self, settings: Settings) -> None:
        self._require_think_end = settings.require_think_end
        judge_answer(r"\sqrt{12}", [r"2\sqrt{3}"])  # loads what a symbolic check needs

    def extract(self, response: str) -> tuple[str | None, str]:
        return extract_boxed(response, self._require_think_end)

    def judge(self, task: Mapping[str, Any], answer: str, alone: bool) -> Finding:
        verdict, reason = judge_answer(answer, task["answer"])
        return Finding(verdict, reason)
