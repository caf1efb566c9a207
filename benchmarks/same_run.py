"""Whether two runs had the same results, bit for bit. Run: `python benchmarks/same_run.py A B`.

Compared are the step and evaluation rows of metrics.jsonl, samples.jsonl and summary.json, row by row and each key
exactly, and every array of every checkpoint that both runs have, by its path in the state; the last checkpoints must be
of one step. Left out are notes, and the keys of a row that tell of the machine (MACHINE). A key that only B has is
listed as new; whatever else one run has and the other lacks is a difference.

Exit code 0: the same; 3: different; 2: a folder is no run, or a file in it cannot be read.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"  # before JAX is imported: arrays are read as numpy's, no accelerator is held

import jax
import numpy as np
import orbax.checkpoint as ocp

from acejax.errors import UserError
from acejax.run.checkpoint import STATE, folder_of, steps
from acejax.run.records import METRICS, read_metrics, read_samples, read_summary

# Of a row's own keys only: `reasons` counts verdicts, and may well hold `timeout` or `memory`.
MACHINE = re.compile(r"^(seconds|time|verify_(retried|rerun|flipped))(_|$)|(^|_)(per_second|memory|mfu|idle)(_|$)")
NAMING = ("stage", "step", "domain", "problem_id")  # of a row, where a message names it
QUOTED = 60  # characters of a value that a message shows


@dataclass
class Finding:
    """What was compared, how many of it A and B have, the first difference if any, and keys that only B has."""

    what: str
    in_a: int = 0
    in_b: int = 0
    difference: str = ""
    new: set[str] = field(default_factory=set)


def rows(run: Path) -> dict[str, Iterable[dict[str, Any]]]:
    """The records of a run by what they are. Raises UserError for what is no run."""
    if not (run / METRICS).exists():
        raise UserError(f"{run}: no such run (there is no {METRICS}); name the folder that a run wrote")
    metrics = read_metrics(run)
    return {
        "step rows": [row for row in metrics if row.get("kind") == "step"],
        "evaluation rows": [row for row in metrics if row.get("kind") == "eval"],
        "samples": read_samples(run),
        "summary entries": read_summary(run),
    }


def flat(record: dict[str, Any], above: str = "") -> dict[str, str]:
    """Key paths joined by dots -> values as JSON, in which 1, 1.0 and true differ. Keys of the machine are left out."""
    out: dict[str, str] = {}
    for key, value in record.items():
        if not above and MACHINE.search(key):
            continue
        if isinstance(value, dict) and value:
            out |= flat(value, f"{above}{key}.")
        else:
            out[above + key] = json.dumps(value, sort_keys=True)
    return out


def first_difference(a: dict[str, str], b: dict[str, str]) -> str:
    """Of two flat records, in the order of A's keys: the first that B lacks or holds another value of, or nothing."""
    for key, value in a.items():
        other = b.get(key, "absent")  # no JSON
        if value != other:
            # Long texts are shown from shortly before they part.
            start = max(0, len(os.path.commonprefix([value, other])) - QUOTED // 2)
            return f"{key}: {value[start : start + QUOTED]} in A, {other[start : start + QUOTED]} in B"
    return ""


def compare_records(what: str, from_a: Iterable[dict[str, Any]], from_b: Iterable[dict[str, Any]]) -> Finding:
    """Rows by their place, so a row that is missing or there twice is a difference too."""
    found = Finding(what)
    nothing: dict[str, Any] = {}
    for number, (a, b) in enumerate(zip_longest(from_a, from_b, fillvalue=nothing), 1):
        found.in_a += a is not nothing
        found.in_b += b is not nothing
        flat_a, flat_b = flat(a), flat(b)
        difference = first_difference(flat_a, flat_b)
        if a is nothing or b is nothing:
            difference = "in one of them only"
        else:
            found.new |= flat_b.keys() - flat_a.keys()
        if difference and not found.difference:
            named = {key: value for key, value in (a or b).items() if key in NAMING}
            found.difference = f"row {number} {named}, {difference}"
    return found


def arrays(state: Path) -> dict[str, np.ndarray]:
    """Every array of an orbax state by its path in the tree, whatever policy or optimizer it is of."""
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            tree = checkpointer.metadata(state.absolute()).item_metadata.tree
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
            restored = checkpointer.restore(state.absolute(), args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{state}: not to be read; restore it from a copy, or run again ({error})") from None
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(restored)}


def array_difference(a: np.ndarray, b: np.ndarray) -> str:
    """Bit for bit: 0.0 and -0.0 differ, and a NaN equals itself."""
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return f"{a.dtype}{list(a.shape)} in A, {b.dtype}{list(b.shape)} in B"
    bytes_a, bytes_b = (np.frombuffer(x.tobytes(), np.uint8).reshape(x.size, x.itemsize) for x in (a, b))
    unequal = np.flatnonzero((bytes_a != bytes_b).any(axis=1))
    if not unequal.size:
        return ""
    first = tuple(int(i) for i in np.unravel_index(unequal[0], a.shape))
    return f"at {list(first)}: {a[first]!r} in A, {b[first]!r} in B; {unequal.size:,} of {a.size:,} elements differ"


def compare_arrays(what: str, a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> Finding:
    differences = [f"{path}: in one of them only" for path in a.keys() ^ b.keys()]
    for path in a.keys() & b.keys():
        difference = array_difference(a[path], b[path])
        if difference:
            differences.append(f"{path} {difference}")
    first = min(differences, default="")
    return Finding(what, len(a), len(b), first)


def compare_checkpoints(a: Path, b: Path) -> Iterator[Finding]:
    of_a, of_b = steps(a), steps(b)
    common = [step for step in of_a if step in of_b]
    found = Finding("checkpoints", len(of_a), len(of_b))
    if not common or of_a[-1] != of_b[-1]:
        last_a, last_b = ([folder_of(run, step).name for step in own[-1:]] for run, own in ((a, of_a), (b, of_b)))
        found.difference = f"the last is {last_a} in A, {last_b} in B"
    yield found
    for step in common:
        folders = [folder_of(run, step) for run in (a, b)]
        yield compare_arrays(f"arrays of {folders[0].name}", *[arrays(folder / STATE) for folder in folders])


def environment(run: Path) -> str:
    path = run / "environment.json"
    if not path.exists():
        return "no environment.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    return ", ".join(f"{key} {value}" for key, value in found.items())


def report(a: Path, b: Path) -> bool:
    """Prints what was compared; true if all of it is the same. Raises UserError for what is no run or is broken."""
    rows_a, rows_b = rows(a), rows(b)
    found = [compare_records(what, rows_a[what], rows_b[what]) for what in rows_a]
    found.extend(compare_checkpoints(a, b))
    print(f"A: {a}: {environment(a)}")
    print(f"B: {b}: {environment(b)}")
    print(f"{'what':<20}{'in A':>9}{'in B':>9}")
    for one in found:
        result = f"DIFFERENT: {one.difference}" if one.difference else "same"
        print(f"{one.what:<20}{one.in_a:>9,}{one.in_b:>9,}   {result}")
        if one.new:
            print(f"    only in B: {', '.join(sorted(one.new))}")
    return not any(one.difference for one in found)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="two folders, A and B")
    runs = parser.parse_args(arguments).runs
    if len(runs) != 2:
        print(f"same_run: nothing compared; name two runs, found {len(runs)}")
        return 2 if runs else 0  # none where every benchmark is run in turn
    try:
        same = report(*runs)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if same:
        print("the runs are the same")
        return 0
    print("the runs differ")
    return 3


if __name__ == "__main__":
    sys.exit(main())
