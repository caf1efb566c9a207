"""The three-valued result of verification."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["correct", "wrong", "unjudged"]


@dataclass(frozen=True)
class Verdict:
    """What the verifier found. `unjudged` says that the verifier failed, not the policy: it is never a silent 0.

    `reason` is a short code: ok, mismatch, no_box, no_think_end, parse_error, no_code, wrong_output, runtime_error,
    timeout, memory, denied, infra. `seconds` is wall time spent on the check. `score` is what a plug-in reward gave,
    None for our verifiers.
    """

    problem_id: str
    sample: int
    verdict: Outcome
    reason: str
    seconds: float = 0.0
    score: float | None = None

    def to_record(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def reward(self) -> float:
        return float(self.verdict == "correct") if self.score is None else self.score
