"""Problems and traces from JSON Lines and Parquet, and records back into either."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from acejax.errors import UserError
from acejax.problems.problem import Domain, Problem, Trace

# Columns that hold JSON text in Parquet: their values have no fixed type.
JSON_COLUMNS = ("tests", "answer", "meta")
QUESTION_FIELDS = ("problem", "question")
LINES_SUFFIXES = (".jsonl", ".json", ".ndjson")
_FINAL = re.compile(r"####\s*(\S.*?)\s*$")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


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


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow.parquet  # here, because it is slow to import and most runs read JSON Lines

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}:{number}", row
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}); write it again") from None


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row with its place, "file:line" (in Parquet the row's number, from 1)."""
    if not path.exists():
        raise UserError(f"{path}: there is no such file; check the path")
    if not path.is_file():
        raise UserError(f"{path}: is a folder; name a .jsonl or .parquet file")
    if path.suffix == ".parquet":
        return _parquet(path)
    if path.suffix in LINES_SUFFIXES:
        return _json_lines(path)
    raise UserError(f"{path}: suffix {path.suffix!r} is not known; use .jsonl or .parquet")


def _text(value: Any) -> str | None:
    """An answer as a string, numbers without a needless ".0"; None where there is no answer."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def _final(text: str) -> str | None:
    """GSM8K's answer: what follows the last "####", without thousands commas; None where there is none."""
    found = _FINAL.search(text[text.rindex("####") :]) if "####" in text else None
    return _THOUSANDS.sub("", found[1]) if found else None


def _accepted(row: Mapping[str, Any], where: str) -> list[str]:
    raw = row.get("answer")
    if isinstance(raw, list):
        answers = [_text(value) for value in raw]
    else:
        text = _text(raw)
        if text is None and isinstance(row.get("solution"), str):
            text = _final(row["solution"])
        elif text is not None and "####" in text:
            text = _final(text)
        answers = [text]
    kept = [answer for answer in answers if answer is not None]
    if not kept or len(kept) < len(answers):
        raise UserError(f"{where}: field 'answer' is {raw!r}; give the answer there, or end field 'solution' with '#### answer'")
    return kept


def _decoded(row: dict[str, Any], name: str, where: str) -> Any:
    value = row.get(name)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except ValueError as error:
        raise UserError(f"{where}: field '{name}' is not valid JSON text ({error}); write it as JSON") from None


def _from_row(row: dict[str, Any], where: str, number: int, path: Path, domain: Domain) -> Problem:
    own = isinstance(row.get("prompt"), str)
    record = {key: value for key, value in row.items() if value is not None}
    if not own:
        name = next((name for name in QUESTION_FIELDS if isinstance(row.get(name), str) and row[name].strip()), None)
        if name is None:
            raise UserError(
                f"{where}: no question found; give field 'problem' or 'question' (or 'prompt'), it has {', '.join(row) or 'no fields'}"
            )
        record["prompt"] = row[name]
    record.setdefault("domain", domain)
    if not record.get("source"):
        record["source"] = path.stem
    record["id"] = str(record["id"]) if record.get("id", "") != "" else f"{path.stem}/{number}"
    for name in ("tests", "meta"):
        if name in record:
            record[name] = _decoded(record, name, where)
    if not isinstance(record.get("meta") or {}, Mapping):
        raise UserError(f"{where}: field 'meta' is {record['meta']!r}; give an object")
    if record["domain"] == "math":
        if own and path.suffix == ".parquet" and str(record.get("answer", "")).startswith(('"', "[")):
            record["answer"] = _decoded(record, "answer", where)
        record["answer"] = _accepted(record, where)
    return Problem.from_record(record, where)


def read_problems(path: str | Path, *, domain: Domain = "math") -> list[Problem]:
    """All problems of a .jsonl or .parquet file: our own records, or rows with `problem` or `question` and `answer`.

    `domain` is for rows that do not name theirs. GSM8K's "#### N" is understood at the end of `answer`, or of `solution` where `answer` is
    null. Numbers become strings (27.0 gives "27"). A row without `id` gets "<file stem>/<row>", one without `source` the file's stem.
    Raises UserError naming file:line and field.
    """
    path = Path(path)
    problems: list[Problem] = []
    first_seen: dict[str, str] = {}
    for where, row in _rows(path):
        problem = _from_row(row, where, int(where.rpartition(":")[2]), path, domain)
        if problem.id in first_seen:
            raise UserError(f"{where}: field 'id' is {problem.id!r}, as at {first_seen[problem.id]}; give every problem its own id")
        first_seen[problem.id] = where
        problems.append(problem)
    if not problems:
        raise UserError(f"{path}: holds no rows; give at least one problem")
    return problems


def read_traces(path: str | Path) -> list[Trace]:
    """All traces of a .jsonl or .parquet file: rows with `prompt` and `response`. Raises UserError naming file:line and field."""
    path = Path(path)
    traces = []
    for where, row in _rows(path):
        for name in ("prompt", "response"):
            if not isinstance(row.get(name), str) or not row[name]:
                raise UserError(f"{where}: field '{name}' is {row.get(name)!r}; give a string that is not empty")
        domain: Any = row.get("domain") or "math"
        if domain not in ("math", "code"):
            raise UserError(f'{where}: field \'domain\' is {domain!r}; use "math" or "code"')
        number = where.rpartition(":")[2]
        traces.append(
            Trace(str(row.get("id") or f"{path.stem}/{number}"), row["prompt"], row["response"], row.get("source") or path.stem, domain)
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
    """Writes records (Problem, Completion, Trace, Verdict or dicts) as .jsonl or .parquet; the file appears whole or not at all.

    In Parquet, `tests`, `answer` and `meta` are JSON text. Raises UserError for another suffix.
    """
    path = Path(path)
    if path.suffix not in (".jsonl", ".parquet"):
        raise UserError(f"{path}: suffix {path.suffix!r} cannot be written; use .jsonl or .parquet")
    rows = [_record(item) for item in records]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.suffix == ".parquet":
            _write_parquet(partial, rows)
        else:
            with partial.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    for row in rows:
        for name in JSON_COLUMNS:
            if row.get(name) is not None:
                row[name] = json.dumps(row[name], ensure_ascii=False)
    names = list(dict.fromkeys(name for row in rows for name in row))
    pyarrow.parquet.write_table(pyarrow.table({name: [row.get(name) for row in rows] for name in names}), path)
