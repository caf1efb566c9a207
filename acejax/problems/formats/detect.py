"""Which dataset a row comes from, told by its columns, and the row as a record of ours.

`meta.format` names what was recognised and `meta.answer_format` how answers or tests were written; small columns that
have no place in our record (difficulty, dates, tags) stay in `meta` under their names. The prompt is the dataset's own
text.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from acejax.problems.formats.common import Record, Row, is_small, mapping
from acejax.problems.formats.converters import CONVERTERS, QUESTION_FIELDS

ID_FIELDS = ("id", "task_id", "question_id", "problem_id", "unique_id")
# What a record holds already, and what its question was made of, is not said twice.
TAKEN = {"meta", "attempts", "source", "answer", "tests", "solution", *QUESTION_FIELDS, *ID_FIELDS}


def as_record(row: Row, where: str) -> Record | None:
    """The row as a record without `source` and perhaps without `id`; None where it is a record of ours already.

    Raises UserError, naming the field, for a row that no format fits or that cannot be judged.
    """
    name = _recognise(row)
    if name is None:
        return None
    record, used, answer_format = CONVERTERS[name](row, where)
    record["meta"] = {
        **_small_columns(row, TAKEN.union(used)),
        **record.get("meta", {}),
        **mapping(row, "meta", where),
        "format": name,
        "answer_format": answer_format,
    }
    for field in ID_FIELDS:
        if _has(row, field):
            record.setdefault("id", row[field])
            break
    if isinstance(row.get("source"), str):
        record.setdefault("source", row["source"])
    if row.get("attempts"):
        record["attempts"] = row["attempts"]
    return record


def _small_columns(row: Row, taken: set[str]) -> Record:
    found = {}
    for name, value in row.items():
        if name in taken:
            continue
        if isinstance(value, datetime.date):
            value = value.isoformat()
        if is_small(value):
            found[name] = value
    return found


def _has(row: Row, *names: str) -> bool:
    return all(row.get(name) not in (None, "") for name in names)


def _recognise(row: Row) -> str | None:
    """The name of the first format whose columns are there; None for a record of ours."""
    if _has(row, "reward_model", "prompt") and isinstance(row["reward_model"], Mapping):
        return "verl"
    name = _known_for_tests(row)
    if name is not None:
        return name
    if isinstance(row.get("prompt"), str):
        return None
    if "tests" in row:
        check = isinstance(row["tests"], Mapping) and row["tests"].get("functional")
        return "leetcode" if check else "problem and tests"
    answer = row.get("answer")
    if answer is None:
        answer = row.get("solution")
    if isinstance(answer, str) and "####" in answer:
        return "gsm8k"
    return "problem and answer"


def _known_for_tests(row: Row) -> str | None:
    """A data set of programming problems with columns of its own; None where it is none of them."""
    if _has(row, "question_content", "public_test_cases"):
        return "livecodebench"
    if _has(row, "description", "input_format") or _has(row, "official_tests"):
        return "codeforces"
    if _has(row, "description") and _has_any(row, "public_tests", "private_tests", "generated_tests"):
        return "code_contests"
    if _has(row, "question") and "input_output" in row:
        return "apps"
    if _has(row, "test", "entry_point"):
        return "leetcode" if str(row["entry_point"]).startswith("Solution") else "humaneval"
    if _has(row, "test_list"):
        return "mbpp"
    return None


def _has_any(row: Row, *names: str) -> bool:
    return any(_has(row, name) for name in names)
