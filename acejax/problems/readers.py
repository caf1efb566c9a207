"""Problems, completions and traces from files, and records back into JSON Lines or Parquet."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

from acejax.errors import UserError
from acejax.files import replacing
from acejax.problems.formats.answers import is_sentence
from acejax.problems.formats.common import shown
from acejax.problems.formats.detect import as_record
from acejax.problems.problem import Completion, Domain, Problem, Trace, checked_domain
from acejax.problems.rows import JSON_COLUMNS, JSON_MARK, read_rows, stem_of

log = logging.getLogger(__name__)


def _from_row(row: dict[str, Any], where: str, path: Path, domain: Domain) -> Problem:
    row = {key: value for key, value in row.items() if value is not None}
    number = where.rpartition(":")[2]
    stem = stem_of(path)
    record = as_record(row, where, domain)
    if not record.get("source"):
        record["source"] = stem
    identity = record.get("id", "")
    if isinstance(identity, float) and identity.is_integer():
        identity = int(identity)
    # A number alone would be the same in two files.
    if not (isinstance(identity, str) and identity):
        identity = f"{stem}/{number if identity == '' else identity}"
    record["id"] = identity
    return Problem.from_record(record, where)


def read_problems(path: str | Path, *, domain: Domain = "math", refused: list[str] | None = None) -> list[Problem]:
    """All problems of a file of any format that rows.py reads: our records, or rows of a dataset that
    formats/detect.py knows.

    `domain` is for rows that neither name theirs nor hold the field that another domain is judged by. Numbers become
    strings (27.0 gives "27"). A row without `id` gets "<file stem>/<row>", one with a number for it
    "<file stem>/<number>", one without `source` the file's stem. An id that comes again is numbered ("x", "x#2",
    "x#3"), which one warning in the log says; another names answers that are sentences. Raises UserError naming
    file:line and field for the first bad row; where `refused` is a list, the messages of bad rows go there instead.
    """
    path = Path(path)
    problems: list[Problem] = []
    first_seen: dict[str, str] = {}
    copies: Counter[str] = Counter()
    sentences: list[tuple[str, str]] = []
    for where, row in read_rows(path):
        try:
            problem = _from_row(row, where, path, domain)
        except UserError as error:
            if refused is None:
                raise
            refused.append(str(error))
            continue
        identity = problem.id
        while problem.id in first_seen:
            copies[identity] += 1
            problem = replace(problem, id=f"{identity}#{copies[identity] + 1}")
        first_seen[problem.id] = where
        problems.append(problem)
        if problem.answer and all(map(is_sentence, problem.answer)):
            sentences.append((where, problem.answer[0]))
    if not problems and not refused:
        raise UserError(f"{path}: holds no rows; give at least one problem")
    if copies:
        _say_repeated(path, copies, first_seen)
    if sentences:
        _say_out_of_reach(path, sentences)
    return problems


def _say_repeated(path: Path, copies: Counter[str], first_seen: Mapping[str, str]) -> None:
    first = next(iter(copies))
    renamed = f"the second {first!r} is {first + '#2'!r} (the first stands at {first_seen[first]})"
    log.warning("%s: %d rows repeat an id and were numbered: %s", path, copies.total(), renamed)


def _say_out_of_reach(path: Path, sentences: Sequence[tuple[str, str]]) -> None:
    where, answer = sentences[0]
    todo = "no response will match; give the bare answer"
    log.warning("%s: %d answers are sentences, first %s: %s; %s", path, len(sentences), where, shown(answer), todo)


def read_completions(path: str | Path) -> Iterator[tuple[str, Completion]]:
    """The completions of a file, one at a time, each with its place. Raises UserError naming
    file:line and field.
    """
    for where, row in read_rows(Path(path)):
        # In CSV an id of digits looks like a number.
        if isinstance(row.get("problem_id"), int):
            row["problem_id"] = str(row["problem_id"])
        yield where, Completion.from_record(row, where)


def read_traces(path: str | Path) -> list[Trace]:
    """All traces of a file: rows with `prompt` and `response`. Raises UserError naming file:line and
    field.
    """
    path = Path(path)
    traces = []
    for where, row in read_rows(path):
        for name in ("prompt", "response"):
            if not isinstance(row.get(name), str) or not row[name]:
                raise UserError(f"{where}: field '{name}' is {row.get(name)!r}; give a string that is not empty")
        domain = checked_domain(row.get("domain") or "math", where)
        number = where.rpartition(":")[2]
        traces.append(
            Trace(
                str(row.get("id") or f"{stem_of(path)}/{number}"),
                row["prompt"],
                row["response"],
                row.get("source") or stem_of(path),
                domain,
            )
        )
    if not traces:
        raise UserError(f"{path}: holds no rows; give at least one trace")
    return traces


def _record(item: Any) -> dict[str, Any]:
    if isinstance(item, Mapping):
        return dict(item)
    if hasattr(item, "to_record"):
        return item.to_record()
    if is_dataclass(item) and not isinstance(item, type):
        return asdict(item)
    raise TypeError(f"not a record: {type(item).__name__}")


def write_records(path: str | Path, records: Iterable[Any]) -> None:
    """Writes records (Problem, Completion, Trace, Verdict or dicts) as .jsonl or .parquet; the file appears whole or
    not at all.

    In Parquet, `tests`, `answer` and `meta` are JSON text. Raises UserError for another suffix.
    """
    path = Path(path)
    if path.suffix not in (".jsonl", ".parquet"):
        raise UserError(f"{path}: suffix {path.suffix!r} cannot be written; use .jsonl or .parquet")
    rows = [_record(item) for item in records]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        if path.suffix == ".parquet":
            _write_parquet(partial, rows)
        else:
            with partial.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    for row in rows:
        for name in JSON_COLUMNS:
            if row.get(name) is not None:
                row[name] = json.dumps(row[name], ensure_ascii=False)
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pyarrow.table({name: [row.get(name) for row in rows] for name in names})
    mark = {JSON_MARK: " ".join(JSON_COLUMNS).encode()}
    pyarrow.parquet.write_table(table.replace_schema_metadata(mark), path)
