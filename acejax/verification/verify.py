"""Completions in, verdicts out: what `acejax verify` does, one record a line in the order of the completions."""

from __future__ import annotations

import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

from rich import box
from rich.table import Table

from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.problems.readers import read_completions, read_problems
from acejax.verification.pool import VerificationPool
from acejax.verification.verdict import Verdict

PENDING_PER_WORKER = 16

Reasons = Counter[tuple[str, str]]  # how many verdicts of each (verdict, reason)


def summary(counts: Reasons) -> Table:
    """How many verdicts there are of each reason, the most frequent first, with their share of all."""
    table = Table("verdict", "reason", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("count", justify="right")
    table.add_column("share", justify="right")
    total = sum(counts.values())
    for (verdict, reason), count in counts.most_common():
        table.add_row(verdict, reason, f"{count:,}", f"{count / total:.1%}")
    return table


def verdicts(
    pool: VerificationPool,
    tasks: Iterable[tuple[Problem, int, str]],
    workers: int,
    weights: Mapping[str, float] | None = None,
) -> Iterator[Verdict]:
    """The verdict of each (problem, sample, response), in order; a bounded number of tasks is with the pool at a
    time. `weights` are those of `VerificationPool.submit`.
    """
    pending: deque[Future[Verdict]] = deque()
    for problem, sample, response in tasks:
        if len(pending) >= PENDING_PER_WORKER * workers:
            yield pending.popleft().result()
        pending.append(pool.submit(problem, sample, response, weights))
    while pending:
        yield pending.popleft().result()


def verify(
    problems: Path,
    completions: Path,
    output: Path,
    pool: VerificationPool,
    workers: int,
    progress: Callable[[int, int], None],
    weights: Mapping[str, float] | None = None,
) -> tuple[Reasons, int]:
    """Judges every completion and appends its verdict to `output` (.jsonl); one that is there already is kept, so a cut
    file goes on.

    `weights` are those of `VerificationPool.submit`; `progress` is called with (done, total). Returns how many verdicts
    of each (verdict, reason) the file then holds, and how many of them it held before. Raises UserError, before
    anything is judged, where a completion is of no problem or comes twice, naming its line, and where `output` holds
    the verdicts of other completions.
    """
    if output.suffix != ".jsonl":
        raise UserError(f"--output {output}: suffix {output.suffix!r} cannot be appended to; use .jsonl")
    known = {problem.id: problem for problem in read_problems(problems)}
    keys = _keys(completions, known, problems)
    counts: Reasons = Counter()
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("ab+") as file:
        done = _kept(file, output, keys, counts)
        progress(done, len(keys))
        rest = (one for number, (_, one) in enumerate(read_completions(completions)) if number >= done)
        tasks = ((known[one.problem_id], one.sample, one.response) for one in rest)
        for number, verdict in enumerate(verdicts(pool, tasks, workers, weights), done + 1):
            file.write(json.dumps(verdict.to_record()).encode() + b"\n")
            file.flush()
            counts[verdict.verdict, verdict.reason] += 1
            progress(number, len(keys))
    return counts, done


def _keys(completions: Path, known: dict[str, Problem], problems: Path) -> list[tuple[str, int]]:
    """(problem, sample) of every completion; all of them are looked at before the first is judged."""
    seen: dict[tuple[str, int], str] = {}
    for where, one in read_completions(completions):
        if one.problem_id not in known:
            raise UserError(
                f"{where}: field 'problem_id' is {one.problem_id!r}, which {problems} does not hold; "
                "give its problem there"
            )
        key = (one.problem_id, one.sample)
        if key in seen:
            raise UserError(
                f"{where}: sample {one.sample} of {one.problem_id!r} stands at {seen[key]} too; "
                "number the samples apart"
            )
        seen[key] = where
    if not seen:
        raise UserError(f"{completions}: holds no rows; give at least one completion")
    return list(seen)


def _kept(file: IO[bytes], output: Path, keys: list[tuple[str, int]], counts: Reasons) -> int:
    """Counts the verdicts in `file`, which must be those of the first completions, and cuts a half-written last line
    off.
    """
    file.seek(0)
    done = end = 0
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            break
        record = _record(line)
        fits = record is not None and done < len(keys) and (record["problem_id"], record["sample"]) == keys[done]
        if record is None or not fits:
            raise UserError(
                f"{output}:{number}: not the verdict of completion {number}; "
                "choose another --output, or remove the file"
            )
        counts[record["verdict"], record["reason"]] += 1
        done, end = done + 1, end + len(line)
    file.truncate(end)
    file.seek(0, os.SEEK_END)
    return done


def _record(line: bytes) -> dict[str, Any] | None:
    """A verdict's record, or None where the line holds none."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if isinstance(record, dict) and record.keys() >= {"problem_id", "sample", "verdict", "reason"}:
        return record
    return None
