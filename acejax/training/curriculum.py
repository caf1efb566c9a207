"""Stages: which problems a stage trains on, in which order, and when it ends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from statistics import fmean
from typing import Any

import numpy as np

from acejax.config import GrpoStage, RewardStop, StageBase, Stop
from acejax.errors import UserError
from acejax.problems.problem import Problem


@dataclass
class HostState:
    """Where a run stands: all of the host's state, saved with every checkpoint as a plain mapping.

    `generation` counts the batches that were sampled (or imitated): it keys the randomness and names RUN@STEP. `update`
    counts the optimizer's steps. `rates` holds for each problem (correct, judged) of its latest visit; `excluded` are
    the problems that the filter left out of the current epoch; `rewards` the stage's mean rewards so far; `accuracy`
    the latest small evaluation of each set.
    """

    generation: int = 0
    update: int = 0
    stage: str = ""
    stage_step: int = 0
    epoch: int = 0
    epoch_step: int = 0  # steps since the epoch began
    finished: dict[str, int] = field(default_factory=dict)  # each finished stage and the generation at its end
    measured: list[str] = field(default_factory=list)  # boundaries whose full evaluation is done
    measuring: list[str] = field(default_factory=list)  # what the evaluation now under way has measured
    evaluated: int = -1  # generation of the latest small evaluation
    rates: dict[str, list[int]] = field(default_factory=dict)
    excluded: list[str] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    accuracy: dict[str, float] = field(default_factory=dict)

    def to_mapping(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_mapping(cls, found: Mapping[str, Any]) -> HostState:
        """The state that `to_mapping` gave; entries of the mapping that are not the curriculum's are left out."""
        return cls(**{one.name: found[one.name] for one in fields(cls)})

    def enter(self, stage: str) -> None:
        """Begins a stage at its first step."""
        self.stage, self.stage_step, self.epoch, self.epoch_step = stage, 0, 0, 0
        self.excluded, self.rewards, self.accuracy = [], [], {}


def shuffled(count: int, seed: int, stage: str, epoch: int) -> np.ndarray:
    """The order of an epoch: a pure function of its arguments."""
    digest = hashlib.sha256(f"{seed}/{stage}/{epoch}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little"))).permutation(count)


def solve_rate(problem: Problem, rates: Mapping[str, Sequence[int]]) -> float | None:
    """Share of right attempts in this run's latest visit, else in the problem's own record; None if nobody tried."""
    correct, judged = rates.get(problem.id, (0, 0))
    if not judged:
        correct = sum(attempt["correct"] for attempt in problem.attempts)
        judged = sum(attempt["n"] for attempt in problem.attempts)
    return correct / judged if judged else None


def exclude(problems: Sequence[Problem], stage: GrpoStage, rates: Mapping[str, Sequence[int]]) -> list[str]:
    """Ids that the stage's filter leaves out. Problems never tried stay, and so do the hardest ones if a batch could
    not be filled.
    """
    tried = {problem.id: solve_rate(problem, rates) for problem in problems}
    known = {name: rate for name, rate in tried.items() if rate is not None}
    low, high = stage.filter.min_solve_rate, stage.filter.max_solve_rate
    out = [name for name, rate in known.items() if not low <= rate <= high]
    out.sort(key=lambda name: known[name], reverse=True)
    return out[: max(0, len(problems) - stage.prompts_per_step)]


@dataclass(frozen=True)
class Batch:
    """The problems of a step, as `indices`, and where the step stands: number `step` of `epoch`, without `excluded`."""

    indices: list[int]
    epoch: int
    step: int
    excluded: list[str]

    def note(self, host: HostState) -> None:
        """Records that the batch has been sampled."""
        host.epoch, host.epoch_step, host.excluded = self.epoch, self.step + 1, self.excluded


def next_batch(problems: Sequence[Problem], stage: GrpoStage, seed: int, host: HostState) -> Batch:
    """The batch of the coming step, a pure function of its arguments. Where an epoch begins, the filter is applied
    anew.

    An epoch ends where a whole batch no longer fits. Raises UserError where the stage has fewer problems than a batch.
    """
    size = stage.prompts_per_step
    if len(problems) < size:
        raise UserError(
            f"stage '{host.stage}': {len(problems)} problems for prompts_per_step={size}; "
            "lower it or give more problems"
        )
    epoch, step, excluded = host.epoch, host.epoch_step, host.excluded
    if host.stage_step == 0:
        epoch, step, excluded = 0, 0, exclude(problems, stage, host.rates)
    elif (step + 1) * size > len(problems) - len(excluded):
        epoch, step, excluded = epoch + 1, 0, exclude(problems, stage, host.rates)
    out = set(excluded)
    kept = [index for index, problem in enumerate(problems) if problem.id not in out]
    order = shuffled(len(kept), seed, host.stage, epoch)
    indices = [kept[place] for place in order[step * size : (step + 1) * size]]
    return Batch(indices, epoch, step, excluded)


def should_stop(rule: Stop, host: HostState) -> str:
    """Why the stage ends before its last step, or an empty string."""
    if rule.accuracy is not None and host.accuracy and min(host.accuracy.values()) >= rule.accuracy:
        return f"accuracy reached {rule.accuracy:.0%} in every domain"
    if not isinstance(rule, RewardStop) or rule.plateau_steps is None:
        return ""
    if len(host.rewards) < 2 * rule.plateau_steps:
        return ""
    recent = fmean(host.rewards[-rule.plateau_steps :])
    before = fmean(host.rewards[-2 * rule.plateau_steps : -rule.plateau_steps])
    if recent - before <= rule.plateau_gain:
        return f"reward rose by {recent - before:.3f} in {rule.plateau_steps} steps"
    return ""


def learning_rate(stage: StageBase, stage_step: int) -> float:
    """Linear warm-up, then constant or linear decay to zero at the stage's last step."""
    rate = stage.learning_rate * min(1.0, (stage_step + 1) / max(stage.warmup_steps, 1))
    if stage.decay == "linear":
        rate *= max(0.0, 1 - stage_step / stage.steps)
    return rate
