"""Rows of a file as plain dicts, each with its place: JSON Lines, one JSON list or object, Parquet and CSV, the texts
perhaps packed with gzip.

The same row is the same dict from every format. What a format cannot say is told by the column: a cell of CSV is a
number where INTEGERS or NUMBERS names its column.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from acejax.errors import UserError, reason_of
from acejax.problems.formats.common import parsed_json

# Columns that hold JSON text in the Parquet files that we write: their values have no fixed type.
JSON_COLUMNS = ("tests", "answer", "meta")
JSON_MARK = b"acejax.json_columns"  # in the schema of such a file: the names of those columns
OWN_COLUMNS = ("id", "domain", "prompt", "source")
PARQUET_ROWS = 64  # read at a time: one row of LiveCodeBench can hold megabytes
LARGEST_CELL = (1 << 31) - 1  # bytes; the csv module's own limit is 128 KiB
KNOWN = ".jsonl, .ndjson, .json, .csv, .tsv (each also as .gz) or .parquet"

# What a cell of CSV cannot say of itself.
INTEGERS = {"id", "task_id", "question_id", "problem_id", "unique_id", "sample", "memory_limit_mb"}
NUMBERS = {"time_limit_s", "memory_limit_mb"}
_INTEGER = re.compile(r"0|-?[1-9]\d{0,17}")  # not 007, which is a name
_DECIMAL = re.compile(r"\d*\.?\d+")

Row = dict[str, Any]
Placed = tuple[str, Row]


def suffix_of(path: Path) -> str:
    """What the rows are written in, by the name: ".jsonl" of both x.jsonl and x.jsonl.gz."""
    if path.suffix == ".gz":
        return Path(path.stem).suffix
    return path.suffix


def stem_of(path: Path) -> str:
    """The file's name without what `suffix_of` and packing add to it."""
    return Path(path.stem).stem if path.suffix == ".gz" else path.stem


def read_rows(path: Path) -> Iterator[Placed]:
    """Each row with its place, "file:line" (except in JSON Lines the row's number, from 1). Raises UserError naming
    the place.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file; check the path")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file: {KNOWN}")
    if not path.is_file():
        raise UserError(f"{path}: is no regular file; save the rows in one first")
    reader = _READERS.get(suffix_of(path))
    if reader is None or path.name.endswith(".parquet.gz"):
        raise UserError(f"{path}: suffix {path.suffix!r} is not known; use {KNOWN}")
    return _packed_well(reader(path), path)


def _packed_well(rows: Iterator[Placed], path: Path) -> Iterator[Placed]:
    try:
        yield from rows
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a whole gzip file ({error}); get the file again") from None


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb")


def _json_lines(path: Path) -> Iterator[Placed]:
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            where = f"{path}:{number}"
            text = _text(line, where, number).strip()
            if not text:
                continue
            try:
                row = parsed_json(text)
            except ValueError as error:
                raise UserError(f"{where}: not valid JSON ({error}); write one JSON object per line") from None
            except RecursionError:
                raise UserError(f"{where}: JSON nested too deeply; write one flat object per line") from None
            if not isinstance(row, dict):
                raise UserError(f"{where}: found {type(row).__name__}, not an object; write one JSON object per line")
            yield where, row


def _text(line: bytes, where: str, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from None


def _json(path: Path) -> Iterator[Placed]:
    """One list of objects, one object over several lines, or an object a line."""
    first = _first_line(path)
    if first.startswith("["):
        return _json_array(path)
    if first.startswith("{") and not _is_whole(first):
        return _json_object(path)
    return _json_lines(path)


def _first_line(path: Path) -> str:
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace").strip()
            if text:
                return text
    return ""


def _is_whole(line: str) -> bool:
    """Whether the line is not merely the beginning of an object: "{", or "{" and a field with its comma."""
    return line != "{" and not line.endswith((",", "[", ": {"))


def _parsed(path: Path) -> Any:
    try:
        with _opened(path) as file:
            return parsed_json(file.read().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not valid JSON ({error}); write one list of objects, or one object per line"
        ) from None


def _json_array(path: Path) -> Iterator[Placed]:
    for number, row in enumerate(_parsed(path), 1):
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: found {type(row).__name__}, not an object; write a list of objects")
        yield f"{path}:{number}", row


def _json_object(path: Path) -> Iterator[Placed]:
    """A row over several lines, as each file of MATH's original release is."""
    yield f"{path}:1", _parsed(path)


def _parquet(path: Path) -> Iterator[Placed]:
    import pyarrow.parquet  # here, because it is slow to import and most runs read JSON Lines

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            marked = (file.schema_arrow.metadata or {}).get(JSON_MARK, b"").decode().split()
            number = 0
            for batch in file.iter_batches(batch_size=PARQUET_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    where = f"{path}:{number}"
                    yield where, _of_parquet(row, marked)
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}: not a readable Parquet file ({reason_of(error)}); write it again") from None


def _of_parquet(row: Row, marked: list[str]) -> Row:
    """The row with the JSON text that we wrote read back. A user's answer that looks like JSON is a text: "[0, 1]"."""
    if not marked and _is_of_earlier_version(row):
        marked = ["answer"]
    for name in marked:
        if isinstance(row.get(name), str):
            row[name] = parsed_json(row[name])
    return {name: _text_of_bytes(value) for name, value in row.items()}


def _text_of_bytes(value: Any) -> Any:
    """Some writers do not say that a column of texts is one."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _is_of_earlier_version(row: Row) -> bool:
    """Files that were written before the mark was: our columns, and an answer that is JSON text of strings."""
    answer = row.get("answer")
    if not isinstance(answer, str) or not all(isinstance(row.get(name), str) for name in OWN_COLUMNS):
        return False
    try:
        held = json.loads(answer)
    except (ValueError, RecursionError):
        return False
    several = held if isinstance(held, list) else [held]
    return bool(several) and all(isinstance(one, str) for one in several)


def _separated(path: Path) -> Iterator[Placed]:
    csv.field_size_limit(LARGEST_CELL)
    separator = "\t" if suffix_of(path) == ".tsv" else ","
    with _opened(path) as packed:
        lines = csv.DictReader(_decoded_lines(packed, path), delimiter=separator, strict=True)
        number = 0
        try:
            for cells in lines:
                number += 1
                where = f"{path}:{number}"
                yield where, _of_cells(cells, where)
        except csv.Error as error:
            raise UserError(f"{path}:{number + 1}: not readable as CSV ({error}); write it again") from None


def _decoded_lines(file: IO[bytes], path: Path) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        yield _text(line, f"{path}:{number}", number)


def _of_cells(cells: Mapping[Any, Any], where: str) -> Row:
    """The cells that hold something, by column."""
    if None in cells:
        raise UserError(f"{where}: more cells than the first line names columns; put quotes round text with separators")
    row = {}
    for name, cell in cells.items():
        if cell is not None and cell.strip():
            row[name] = _of_cell(name, cell)
    return row


def _of_cell(name: str, cell: str) -> Any:
    column = name.lower()
    if column in INTEGERS and _INTEGER.fullmatch(cell):
        return int(cell)
    if column in NUMBERS and _DECIMAL.fullmatch(cell):
        return float(cell)
    return cell


_READERS: Mapping[str, Callable[[Path], Iterator[Placed]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".parquet": _parquet,
    ".csv": _separated,
    ".tsv": _separated,
}
