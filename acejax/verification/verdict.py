"""The three-valued result of verification, and how the parts of one completion make one result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from acejax.defaults import OURS

Outcome = Literal["correct", "wrong", "unjudged"]


@dataclass(frozen=True)
class Verdict:
    """What the verifier found. `unjudged` says that the verifier failed, not the policy: it is never a silent 0.

    `reason` is a short code: ok, mismatch, no_box, no_think_end, parse_error, no_code, wrong_output, runtime_error,
    timeout, memory, denied, infra; low_score where a reward decided. A reward that judged nothing is named in the
    reason: reward_error:MODULE:FUNCTION:EXCEPTION, no_score:MODULE:FUNCTION, timeout:MODULE:FUNCTION (it hung twice) or
    infra:MODULE:FUNCTION (its process died again and again). `seconds` is wall time spent on the check. `score` is what
    rewards gave, or the weighted sum where weights were given; None for our verifiers alone.
    """

    problem_id: str
    sample: int
    verdict: Outcome
    reason: str
    seconds: float = 0.0
    score: float | None = None

    @property
    def reward(self) -> float:
        """The number that advantages are made of: the score, or else 1 for correct and 0 for wrong.

        It is 0 for unjudged too, only so that arrays can be filled: such a completion enters no mean.
        """
        if self.verdict == "unjudged":
            return 0.0
        if self.score is not None:
            return self.score
        return float(self.verdict == "correct")

    def to_record(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def combined(parts: Mapping[str, Verdict], weights: Mapping[str, float]) -> Verdict:
    """One verdict of the verdicts that each name in `weights` (OURS, or a reward) gave on one completion.

    The score is the sum of weight times reward, in the order of `weights`. OURS says what is correct where it takes
    part, else the first reward. A part that is unjudged makes the whole unjudged, for its reason, and so does
    a score that is no finite number. `seconds` add up.
    """
    seconds = sum(part.seconds for part in parts.values())
    for name in weights:
        if parts[name].verdict == "unjudged":
            return replace(parts[name], seconds=seconds, score=None)
    leading = OURS if OURS in weights else next(iter(weights))
    terms = {name: weight * parts[name].reward for name, weight in weights.items()}
    score = sum(terms.values())
    if not math.isfinite(score):
        culprit = next((name for name, term in terms.items() if not math.isfinite(term)), leading)
        return replace(parts[culprit], verdict="unjudged", reason=f"no_score:{culprit}", seconds=seconds, score=None)
    return replace(parts[leading], seconds=seconds, score=float(score))
