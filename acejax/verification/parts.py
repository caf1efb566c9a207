"""A completion on its way through the pool: its parts are judged apart, and the last to answer makes the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from acejax.defaults import OURS
from acejax.verification.verdict import Verdict, combined


@dataclass(eq=False)
class Asked:
    """A completion whose future waits for the verdicts of its parts: of our verifier, of rewards, or of several."""

    problem_id: str
    sample: int
    weights: Mapping[str, float] | None
    future: Future[Verdict] = field(default_factory=Future)
    parts: dict[str, Verdict] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)  # what happened to its parts: retried, rerun, flipped
    resolved: bool = False  # the future has its result, or is about to get it

    def add(self, part: str, message: Mapping[str, Any]) -> None:
        """Takes in what the supervisor says of one part."""
        self.parts[part] = Verdict(
            self.problem_id,
            self.sample,
            message["verdict"],
            message["reason"],
            message["seconds"],
            score=message.get("score"),
        )
        if message["failures"]:
            self.told.add("retried")
        if "flipped" in message:
            self.told.add("rerun")
        if message.get("flipped"):
            self.told.add("flipped")

    def verdict(self) -> Verdict | None:
        """The verdict, once all parts are there."""
        if self.weights is None:
            return self.parts.get(OURS)
        if len(self.parts) < len(self.weights):
            return None
        return combined(self.parts, self.weights)

    def failed(self) -> Verdict:
        """The verdict where the pool ended first."""
        return Verdict(self.problem_id, self.sample, "unjudged", "infra")


@dataclass(frozen=True)
class Pending:
    """One part that the supervisor has not answered yet."""

    asked: Asked
    part: str
    size: int  # bytes
