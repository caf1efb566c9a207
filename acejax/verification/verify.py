"""Completions in, verdicts out: what `acejax verify` does, one record a line in the order of the completions.

Beside the verdicts stands a fingerprint of all that they follow from; verdicts of other inputs are never gone on with.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

from rich import box
from rich.table import Table

from acejax import __version__
from acejax.errors import UserError
from acejax.files import json_object, write_whole
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
    options: Mapping[str, Any] | None = None,
) -> tuple[Reasons, int]:
    """Judges every completion and appends its verdict to `output` (.jsonl); one that is there already is kept, so a cut
    file goes on.

    `weights` are those of `VerificationPool.submit`, and `options` what else decides verdicts, by name; `progress` is
    called with (done, total). Returns how many verdicts of each (verdict, reason) the file then holds, and how many of
    them it held before. Raises UserError, before anything is judged, where a completion is of no problem or comes
    twice, naming its line, and where `output` holds verdicts of other completions, problems, rewards or options.
    """
    if output.suffix != ".jsonl":
        raise UserError(f"--output {output}: suffix {output.suffix!r} cannot be appended to; use .jsonl")
    known = {problem.id: problem for problem in read_problems(problems)}
    keys = _keys(completions, known, problems)
    inputs = fingerprint(problems, completions, weights, options or {})
    counts: Reasons = Counter()
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("ab+") as file:
        done, end = _kept(file, output, keys, counts)
        _claim(output, inputs, done, file.seek(0, os.SEEK_END))
        # A half-written last line is judged again.
        file.truncate(end)
        file.seek(0, os.SEEK_END)
        progress(done, len(keys))
        rest = itertools.islice(read_completions(completions), done, None)
        tasks = ((known[one.problem_id], one.sample, one.response) for _, one in rest)
        for number, verdict in enumerate(verdicts(pool, tasks, workers, weights), done + 1):
            file.write(json.dumps(verdict.to_record()).encode() + b"\n")
            file.flush()
            counts[verdict.verdict, verdict.reason] += 1
            progress(number, len(keys))
    return counts, done


def fingerprint(
    problems: Path, completions: Path, weights: Mapping[str, float] | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """What verdicts follow from, by the name under which it is told: digests of the files and of the rewards' modules,
    the options and the version of acejax.
    """
    found: dict[str, Any] = {"problems": _digest(problems), "completions": _digest(completions), "acejax": __version__}
    for reward, weight in (weights or {}).items():
        module = _module_of(reward)
        found[f"reward {reward}"] = [weight, module and _digest(module)]
    return found | {name.replace("_", "-"): value for name, value in options.items()}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _module_of(reward: str) -> Path | None:
    """The file of the module in "module:function", looked for without importing it; None where it is no plain file."""
    relative = reward.partition(":")[0].replace(".", "/")
    for folder in ("", *sys.path):
        for name in (f"{relative}.py", f"{relative}/__init__.py"):
            path = Path(folder, name)
            if path.is_file():
                return path
    return None


def inputs_file(output: Path) -> Path:
    """Where the fingerprint of the inputs stands that the verdicts in `output` belong to."""
    return output.with_name(f"{output.name}.inputs.json")


def _claim(output: Path, inputs: Mapping[str, Any], done: int, size: int) -> None:
    """Writes the fingerprint beside an `output` that holds nothing yet. Raises UserError where it holds `done` verdicts
    of other inputs, or something that has no fingerprint (`size` in bytes).
    """
    beside = inputs_file(output)
    before = json_object(beside)
    if before is None and size:
        raise UserError(
            f"{output}: holds something already, and no {beside.name} says of which inputs; "
            "choose another --output, or remove the file"
        )
    if before is not None and done:
        names = dict.fromkeys([*inputs, *before])
        other = [name for name in names if before.get(name) != inputs.get(name)]
        if other:
            raise UserError(
                f"{output}: holds verdicts of other inputs (changed: {', '.join(other)}); "
                f"choose another --output, or remove it and {beside.name}"
            )
    if before != inputs:
        write_whole(beside, json.dumps(inputs, indent=1) + "\n")


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


def _kept(file: IO[bytes], output: Path, keys: list[tuple[str, int]], counts: Reasons) -> tuple[int, int]:
    """Counts the verdicts in `file`, which must be those of the first completions. Returns how many there are, and the
    byte where the last whole line of them ends.
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
    return done, end


def _record(line: bytes) -> dict[str, Any] | None:
    """A verdict's record, or None where the line holds none."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if isinstance(record, dict) and record.keys() >= {"problem_id", "sample", "verdict", "reason"}:
        return record
    return None
