"""A run folder as its page needs it: steps in order, the stages they name, and each domain's measurements."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acejax.errors import UserError
from acejax.files import json_object
from acejax.run.records import METRICS, read_metrics, read_summary

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """One stage as the log shows it. `first` and `last` are global steps; `number` counts from 1; `planned` may be
    unknown; `sampled`: it learned from completions of its own, which have a reward.
    """

    number: int
    name: str
    kind: str
    sampled: bool
    domain: str
    first: int
    last: int
    planned: int | None

    def of(self, steps: Sequence[Record]) -> list[Record]:
        """Those of `steps` that the stage made."""
        return [step for step in steps if step.get("stage") == self.name]


@dataclass(frozen=True)
class Run:
    """What the page needs of a run: records in order, the latest where a resumed run wrote one twice."""

    folder: Path
    steps: list[dict[str, Any]]
    evals: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    summary: list[dict[str, Any]]
    environment: Record
    stages: list[Stage]

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def domains(self) -> list[str]:
        records = (*self.summary, *self.evals)
        return list(dict.fromkeys(str(record.get("domain")) for record in records))

    @property
    def finished(self) -> bool:
        return any(entry.get("stage") == "end" for entry in self.summary)

    def measured(self, domain: str) -> list[Record]:
        """All measurements of one domain."""
        return [record for record in self.evals if str(record.get("domain")) == domain]

    def boundaries(self, domain: str) -> dict[str, Record]:
        """What a domain began with under "start" and its last measurement under "end": both, the first alone, or none.

        They are measurements on all held-out problems; on the small set only where there are no others.
        """
        measured = self.measured(domain)
        comparable = [record for record in measured if record.get("split") == "full"] or measured
        if not comparable:
            return {}
        start = self._start(comparable)
        end = comparable[-1]
        if end is start:
            return {"start": start}
        return {"start": start, "end": end}

    def _start(self, measured: Sequence[Record]) -> Record:
        """Stage "start" if one is named so, else the last measurement before the first reinforced step."""
        named = [record for record in measured if record.get("stage") == "start"]
        if named:
            return named[-1]
        begin = min((stage.first for stage in self.stages if stage.sampled), default=-math.inf)
        before = [record for record in measured if record["step"] < begin]
        if before:
            return before[-1]
        return measured[0]


def read_run(folder: Path) -> Run:
    """Reads all but the responses of a run folder. Raises UserError if it holds no run."""
    if not (folder / METRICS).is_file():
        raise UserError(f"{folder}: holds no {METRICS}; give the output folder of a run")
    records = read_metrics(folder)
    placed = [record for record in records if isinstance(record.get("step"), int)]

    # A later record of the same place replaces the earlier one.
    by_step = {record["step"]: record for record in placed if record.get("kind") == "step"}
    steps = [by_step[step] for step in sorted(by_step)]
    evals = {}
    for record in placed:
        if record.get("kind") == "eval":
            place = tuple(record.get(name) for name in ("stage", "step", "domain", "split"))
            evals[place] = record

    return Run(
        folder=folder,
        steps=steps,
        evals=sorted(evals.values(), key=lambda record: record["step"]),
        notes=[record for record in records if record.get("kind") == "note"],
        summary=read_summary(folder),
        environment=json_object(folder / "environment.json") or {},
        stages=_stages(steps),
    )


def number(record: Record, field: str) -> float:
    """The record's value as a float; NaN if it is absent, null or no number."""
    value = record.get(field)
    if isinstance(value, (int, float)):
        return float(value)
    return math.nan


def finite(records: Sequence[Record], field: str) -> list[float]:
    """The records' values of a field, without those that are absent or not finite."""
    values = [number(record, field) for record in records]
    return [value for value in values if math.isfinite(value)]


def _stages(steps: Sequence[Record]) -> list[Stage]:
    of_name: dict[Any, list[Record]] = {}
    for step in steps:
        of_name.setdefault(step.get("stage"), []).append(step)
    return [_stage(at, str(name), mine) for at, (name, mine) in enumerate(of_name.items(), 1)]


def _stage(at: int, name: str, steps: Sequence[Record]) -> Stage:
    last = steps[-1]
    return Stage(
        number=at,
        name=name,
        kind=str(last.get("stage_kind") or "grpo"),
        sampled=any("reward" in step for step in steps),
        domain=str(last.get("domain") or ""),
        first=steps[0]["step"],
        last=last["step"],
        planned=last.get("stage_steps"),
    )
