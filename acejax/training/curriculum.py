"""Stages: which problems a stage trains on, in which order, and when it ends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean

import numpy as np

from acejax.config import ProblemSource, Stage, TraceSource
from acejax.errors import UserError
from acejax.problems import builtin
from acejax.problems.problem import Problem, Trace
from acejax.problems.readers import read_problems, read_traces


@dataclass
class Progress:
    """Where a run stands: all of the host's state, saved with every checkpoint.

    `rates` holds for each problem (correct, judged) of its latest visit; `excluded` are the problems that the filter
    left out of the current epoch; `rewards` the stage's mean rewards so far; `accuracy` the latest small evaluation of
    each domain.
    """

    step: int = 0
    stage: str = ""
    stage_step: int = 0
    epoch: int = 0
    epoch_step: int = 0  # steps since the epoch began
    finished: dict[str, int] = field(default_factory=dict)  # each finished stage and the step at its end
    measured: list[str] = field(default_factory=list)  # boundaries whose full evaluation is done
    evaluated: int = -1  # step of the latest small evaluation
    rates: dict[str, list[int]] = field(default_factory=dict)
    excluded: list[str] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    accuracy: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Progress:
        return cls(**json.loads(text))

    def enter(self, stage: str) -> None:
        """Begins a stage at its first step."""
        self.stage, self.stage_step, self.epoch, self.epoch_step = stage, 0, 0, 0
        self.excluded, self.rewards, self.accuracy = [], [], {}


def gather_problems(sources: Sequence[ProblemSource], seed: int) -> list[Problem]:
    """All problems of a stage or an evaluation set. Raises UserError where two share an id."""
    problems: list[Problem] = []
    for source in sources:
        if source.path is not None:
            found = read_problems(source.path, domain=source.domain)
            problems += found[: source.count]
        else:
            assert source.builtin is not None
            problems += builtin.generate(
                source.builtin, source.split, source.count or 1000, seed, source.difficulties, source.families
            )
    seen = set()
    for problem in problems:
        if problem.id in seen:
            raise UserError(f"problem id '{problem.id}' comes from two sources; give every problem its own id")
        seen.add(problem.id)
    return problems


def gather_traces(sources: Sequence[TraceSource], seed: int) -> tuple[list[Trace], int]:
    """All worked solutions of a supervised stage, and how many of them the built-in teacher is known to have got
    wrong.
    """
    traces: list[Trace] = []
    wrong = 0
    for source in sources:
        if source.path is not None:
            traces += read_traces(source.path)[: source.count]
            continue
        assert source.builtin is not None
        for problem in builtin.generate(source.builtin, "warm", source.count, seed, source.difficulties):
            trace, right = builtin.solve(problem, source.error_rate, seed)
            traces.append(trace)
            wrong += not right
    return traces, wrong


def shuffled(count: int, seed: int, stage: str, epoch: int) -> np.ndarray:
    """The order of an epoch: a pure function of its arguments."""
    digest = hashlib.sha256(f"{seed}/{stage}/{epoch}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little"))).permutation(count)


def solve_rate(problem: Problem, rates: Mapping[str, Sequence[int]]) -> float | None:
    """Share of right attempts in this run's latest visit, else in the problem's own record; None if nobody tried."""
    correct, judged = rates.get(problem.id, (0, 0))
    if not judged:
        correct, judged = sum(a["correct"] for a in problem.attempts), sum(a["n"] for a in problem.attempts)
    return correct / judged if judged else None


def exclude(problems: Sequence[Problem], stage: Stage, rates: Mapping[str, Sequence[int]]) -> list[str]:
    """Ids that the stage's filter leaves out. Problems never tried stay, and so do the hardest ones if a batch could
    not be filled.
    """
    known = {p.id: rate for p in problems if (rate := solve_rate(p, rates)) is not None}
    out = [
        name for name, rate in known.items() if not stage.filter.min_solve_rate <= rate <= stage.filter.max_solve_rate
    ]
    out.sort(key=lambda name: known[name], reverse=True)
    return out[: max(0, len(problems) - stage.prompts_per_step)]


def batch_at(problems: Sequence[Problem], stage: Stage, seed: int, progress: Progress) -> list[int]:
    """Indices of the problems of the coming step. Where an epoch begins, the filter is applied anew and noted in
    `progress`.

    An epoch ends where a whole batch no longer fits. Raises UserError where the stage has fewer problems than a batch.
    """
    size = stage.prompts_per_step
    if len(problems) < size:
        raise UserError(
            f"stage '{progress.stage}': {len(problems)} problems for prompts_per_step={size}; lower it or give more problems"
        )
    over = (progress.epoch_step + 1) * size > len(problems) - len(progress.excluded)
    if progress.stage_step == 0 or over:
        progress.epoch = 0 if progress.stage_step == 0 else progress.epoch + 1
        progress.epoch_step = 0
        progress.excluded = exclude(problems, stage, progress.rates)
    out = set(progress.excluded)
    kept = [index for index, problem in enumerate(problems) if problem.id not in out]
    order = shuffled(len(kept), seed, progress.stage, progress.epoch)
    start = progress.epoch_step * size
    return [kept[i] for i in order[start : start + size]]


def should_stop(stage: Stage, progress: Progress) -> str:
    """Why the stage ends before its last step, or an empty string."""
    rule = stage.stop
    if rule.accuracy is not None and progress.accuracy and min(progress.accuracy.values()) >= rule.accuracy:
        return f"accuracy reached {rule.accuracy:.0%} in every domain"
    if rule.plateau_steps is not None and len(progress.rewards) >= 2 * rule.plateau_steps:
        recent = fmean(progress.rewards[-rule.plateau_steps :])
        before = fmean(progress.rewards[-2 * rule.plateau_steps : -rule.plateau_steps])
        if recent - before <= rule.plateau_gain:
            return f"reward rose by {recent - before:.3f} in {rule.plateau_steps} steps"
    return ""


def learning_rate(stage: Stage, stage_step: int) -> float:
    """Linear warm-up, then constant or linear decay to zero at the stage's last step."""
    rate = stage.learning_rate * min(1.0, (stage_step + 1) / max(stage.warmup_steps, 1))
    if stage.decay == "linear":
        rate *= max(0.0, 1 - stage_step / stage.steps)
    return rate
