"""Problems, completions and traces from JSON Lines and Parquet, and records back into either."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from acejax.errors import UserError
from acejax.files import replacing
from acejax.problems.formats.answers import accepted
from acejax.problems.formats.common import decoded, refuse
from acejax.problems.formats.detect import as_record
from acejax.problems.problem import DOMAINS, Completion, Domain, Problem, Trace, checked_domain

# Columns that hold JSON text in Parquet: their values have no fixed type.
JSON_COLUMNS = ("tests", "answer", "meta")
PARQUET_ROWS = 64  # read at a time: one row of LiveCodeBench can hold megabytes
LINES_SUFFIXES = (".jsonl", ".json", ".ndjson")


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}:{number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                row = json.loads(text) if text else None
            except UnicodeDecodeError as error:
                raise UserError(f"{where}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from None
            except ValueError as error:
                raise UserError(f"{where}: not valid JSON ({error}); write one JSON object per line") from None
            except RecursionError:
                raise UserError(f"{where}: JSON nested too deeply; write one flat object per line") from None
            if not text:
                continue
            if not isinstance(row, dict):
                raise UserError(f"{where}: found {type(row).__name__}, not an object; write one JSON object per line")
            yield where, row


def _json_array(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of one JSON list; the place is the object's number, from 1."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not valid JSON ({error}); write one list of objects, or one object per line"
        ) from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: found {type(row).__name__}, not an object; write a list of objects")
        yield f"{path}:{number}", row


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow.parquet  # here, because it is slow to import and most runs read JSON Lines

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=PARQUET_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}:{number}", row
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}); write it again") from None


def _first_character(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return next((line.strip()[0] for line in file if line.strip()), "")


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row with its place, "file:line" (in Parquet and in a JSON list the row's number, from 1)."""
    if not path.exists():
        raise UserError(f"{path}: there is no such file; check the path")
    if not path.is_file():
        raise UserError(f"{path}: is a folder; name a .jsonl or .parquet file")
    if path.suffix == ".parquet":
        return _parquet(path)
    if path.suffix == ".json" and _first_character(path) == "[":
        return _json_array(path)
    if path.suffix in LINES_SUFFIXES:
        return _json_lines(path)
    raise UserError(f"{path}: suffix {path.suffix!r} is not known; use .jsonl or .parquet")


def _from_row(row: dict[str, Any], where: str, path: Path, domain: Domain) -> Problem:
    row = {key: value for key, value in row.items() if value is not None}
    number = where.rpartition(":")[2]
    record = as_record(row, where)
    if record is None:
        record = row
        record.setdefault("domain", domain)
        for name in ("tests", "meta"):
            if name in record:
                record[name] = decoded(record[name], where, name)
        if not isinstance(record.get("meta") or {}, Mapping):
            refuse(where, "meta", record["meta"], "give an object")
        if DOMAINS[checked_domain(record["domain"], where)].field == "answer":
            if path.suffix == ".parquet" and str(record.get("answer", "")).startswith(('"', "[")):
                record["answer"] = decoded(record["answer"], where, "answer")
            record["answer"] = accepted(record, where)[0]
    if not record.get("source"):
        record["source"] = path.stem
    identity = record.get("id", "")
    # A number alone would be the same in two files.
    if not (isinstance(identity, str) and identity):
        identity = f"{path.stem}/{number if identity == '' else identity}"
    record["id"] = identity
    return Problem.from_record(record, where)


def read_problems(path: str | Path, *, domain: Domain = "math", refused: list[str] | None = None) -> list[Problem]:
    """All problems of a .jsonl, .json (lines, or one list) or .parquet file: our records, or rows of a dataset
    formats/detect.py knows.

    `domain` is for records of ours that do not name theirs. Numbers become strings (27.0 gives "27"). A row without
    `id` gets "<file stem>/<row>", one with a number for it "<file stem>/<number>", one without `source` the file's
    stem. Raises UserError naming file:line and field for the first bad row; where `refused` is a list, the messages of
    bad rows go there instead.
    """
    path = Path(path)
    problems: list[Problem] = []
    first_seen: dict[str, str] = {}
    for where, row in _rows(path):
        try:
            problem = _from_row(row, where, path, domain)
            if problem.id in first_seen:
                raise UserError(
                    f"{where}: field 'id' is {problem.id!r}, as at {first_seen[problem.id]}; "
                    "give every problem its own id"
                )
        except UserError as error:
            if refused is None:
                raise
            refused.append(str(error))
            continue
        first_seen[problem.id] = where
        problems.append(problem)
    if not problems and not refused:
        raise UserError(f"{path}: holds no rows; give at least one problem")
    return problems


def read_completions(path: str | Path) -> Iterator[tuple[str, Completion]]:
    """The completions of a .jsonl or .parquet file, one at a time, each with its place. Raises UserError naming
    file:line and field.
    """
    for where, row in _rows(Path(path)):
        yield where, Completion.from_record(row, where)


def read_traces(path: str | Path) -> list[Trace]:
    """All traces of a .jsonl or .parquet file: rows with `prompt` and `response`. Raises UserError naming file:line and
    field.
    """
    path = Path(path)
    traces = []
    for where, row in _rows(path):
        for name in ("prompt", "response"):
            if not isinstance(row.get(name), str) or not row[name]:
                raise UserError(f"{where}: field '{name}' is {row.get(name)!r}; give a string that is not empty")
        domain = checked_domain(row.get("domain") or "math", where)
        number = where.rpartition(":")[2]
        traces.append(
            Trace(
                str(row.get("id") or f"{path.stem}/{number}"),
                row["prompt"],
                row["response"],
                row.get("source") or path.stem,
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
    pyarrow.parquet.write_table(pyarrow.table({name: [row.get(name) for row in rows] for name in names}), path)
