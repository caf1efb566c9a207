"""Judging the responses of a past run again: a verifier that has changed since shows in the verdicts that flip."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from acejax.config import RunConfig
from acejax.config_files import load_saved
from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.problems.sources import gather_problems
from acejax.progress import progress_bar
from acejax.run.records import SAMPLES, read_samples
from acejax.verification.pool import VerificationPool, open_pool
from acejax.verification.verify import verdicts

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Flip:
    """A recorded response and what it is judged to be today; `record` is its line of samples.jsonl."""

    record: Record
    after: str
    reason: str

    def __str__(self) -> str:
        r = self.record
        before, after = f"{r['verdict']} ({r['reason']})", f"{self.after} ({self.reason})"
        return f"{r['problem_id']}  sample {r['sample']}  step {r['step']} ({r['stage']})  {before} -> {after}"


@dataclass
class Audit:
    """What became of the recorded responses; `not_judged` counts those without a new verdict by the reason."""

    agreed: int = 0
    flips: list[Flip] = field(default_factory=list)
    not_judged: Counter[str] = field(default_factory=Counter)


class Sources:
    """The problems of a run's stages and evaluation sets; `failed` says which source could not be read again
    and why.
    """

    def __init__(self, config: RunConfig) -> None:
        self.failed: list[str] = []
        self._by_id: dict[str, list[Problem]] = {}
        places = {f"stage '{name}'": getattr(stage, "problems", []) for name, stage in config.stages.items()}
        places |= {f"evaluation set '{name}'": one.problems for name, one in config.evaluation.sets.items()}
        for place, sources in places.items():
            for source in sources:
                try:
                    for problem in gather_problems([source], config.seed):
                        self._by_id.setdefault(problem.id, []).append(problem)
                except UserError as error:
                    self.failed.append(f"{place}: {error}")

    def problem(self, record: Record) -> Problem | None:
        """The problem that was asked; None where it is gone, or asks something else today. Two sources may use one
        id.
        """
        return next(
            (one for one in self._by_id.get(record["problem_id"], ()) if one.prompt.strip() in record["prompt"]), None
        )


def audit(samples: Iterator[Record], sources: Sources, pool: VerificationPool, workers: int) -> Audit:
    """Judges each recorded response again, with the problem that `sources` has for it."""
    result = Audit()
    asked: deque[Record] = deque()

    def tasks() -> Iterator[tuple[Problem, int, str]]:
        for record in samples:
            problem = sources.problem(record)
            if "score" in record:
                result.not_judged["a reward of the run's own gave the verdict"] += 1
            elif problem is None:
                result.not_judged["its problem is not found, or has another text today"] += 1
            else:
                asked.append(record)
                yield problem, record["sample"], record["response"]

    for verdict in verdicts(pool, tasks(), workers):
        record = asked.popleft()
        if verdict.verdict == "unjudged":
            result.not_judged[f"the verifier failed ({verdict.reason})"] += 1
        elif verdict.verdict != record["verdict"]:
            result.flips.append(Flip(record, verdict.verdict, verdict.reason))
        else:
            result.agreed += 1
    return result


def audit_run(run: Path, workers: int, console: Console) -> int:
    """Audits the samples.jsonl of a run's folder, prints flips and counts, and returns the number of flips.

    Problems come from the sources in the run's config.yaml; relative paths are taken from the working directory, as in
    training. Raises UserError where the folder holds no run, or no response could be judged again.
    """
    if not (run / "config.yaml").exists() or not (run / SAMPLES).exists():
        raise UserError(f"{run}: holds no config.yaml and {SAMPLES}; give the folder of a run")
    config = load_saved(run / "config.yaml", RunConfig)
    sources = Sources(config)
    total = sum(1 for _ in read_samples(run))
    with open_pool(config.verification, workers) as pool, progress_bar("audit") as progress:

        def counted() -> Iterator[Record]:
            for number, record in enumerate(read_samples(run), 1):
                progress(number, total)
                yield record

        result = audit(counted(), sources, pool, workers)
    for flip in result.flips:
        console.print(str(flip), markup=False, highlight=False, soft_wrap=True)
    kinds = Counter(f"{flip.record['verdict']} -> {flip.after}" for flip in result.flips)
    for text in (*sources.failed, *(f"{count:,} not judged again: {why}" for why, count in result.not_judged.items())):
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    flips = f"{len(result.flips):,} flips" + (
        f" ({', '.join(f'{kind}: {count:,}' for kind, count in kinds.items())})" if kinds else ""
    )
    console.print(
        f"{total:,} recorded responses: {result.agreed:,} verdicts as before, {flips}", highlight=False, soft_wrap=True
    )
    if total and not result.agreed and not result.flips:
        raise UserError(
            f"{run}: none of its {total:,} responses could be judged again; start where its problem files are found"
        )
    return len(result.flips)
