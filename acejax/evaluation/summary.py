"""summary.json of a run: its full evaluations, in the order in which its stages were measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FIELDS = (
    "step",
    "domain",
    "k",
    "avg",
    "avg_low",
    "avg_high",
    "pass",
    "pass_low",
    "pass_high",
    "problems",
    "by_difficulty",
    "reasons",
)


def summary_of(records: Iterable[Mapping[str, Any]], measured: Sequence[str], ended: bool) -> list[dict[str, Any]]:
    """The latest full evaluation of each set after each boundary in `measured`, from the records of metrics.jsonl.

    If the run has `ended`, the last boundary is called "end".
    """
    latest = {}
    for record in records:
        if record.get("kind") == "eval" and record.get("split") == "full":
            latest[record["stage"], record["domain"]] = record
    found = {stage for stage, _ in latest}
    order = [stage for stage in measured if stage in found]
    last = order[-1] if ended and len(order) > 1 else None
    entries = []
    for stage in order:
        name = "end" if stage == last else stage
        mine = [record for (where, _), record in latest.items() if where == stage]
        entries += [{"stage": name, **{field: one[field] for field in FIELDS if field in one}} for one in mine]
    return entries
