"""Which dataset a row comes from, told by its columns, and the row as a record of ours.

A row with `tests` is code and one with an answer mathematics, whatever the column of its question is called. In a row
of a dataset, `meta.format` names what was recognised and `meta.answer_format` how answers or tests were written; small
columns that have no place in our record (difficulty, dates, tags) stay in `meta` under their names. The prompt is the
dataset's own text.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from acejax.problems.formats.answers import accepted
from acejax.problems.formats.choices import options_of
from acejax.problems.formats.columns import (
    ANSWER_FIELDS,
    BEFORE_QUESTION,
    CHAT_FIELDS,
    QUESTION_FIELDS,
    is_chat,
    is_text,
    spelled,
)
from acejax.problems.formats.common import Record, Row, decoded, is_small, listed, mapping
from acejax.problems.formats.converters import CONVERTERS
from acejax.problems.formats.suites import suite
from acejax.problems.problem import DOMAINS, Domain, checked_domain

ID_FIELDS = ("id", "task_id", "question_id", "problem_id", "unique_id")
# What a record holds already, and what its question was made of, is not said twice.
TAKEN = {"meta", "attempts", "source", "tests", "solution", "answer", *QUESTION_FIELDS, *ID_FIELDS}


def as_record(row: Row, where: str, domain: Domain) -> Record:
    """The row as a record, perhaps without `source` and `id`; `domain` is for a row that does not tell its own.

    Raises UserError, naming the field, for a row that no format fits or that cannot be judged.
    """
    row = _without_empty_tests(_with_structures(row))
    name = _recognise(row)
    if name in (None, *GENERAL):
        row = spelled(row)
        name = _recognise(row)
    if name is None:
        return _own(row, where, domain)
    record, used, answer_format = CONVERTERS[name](row, where)
    if name in GENERAL:
        record["domain"] = _general_domain(row, record["domain"], domain)
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


def _with_structures(row: Row) -> Record:
    """The row with the lists and objects that a table can only hold as text."""
    found = dict(row)
    for name in STRUCTURES:
        if name in row:
            found[name] = listed(row[name])
    for name in ("prompt", *CHAT_FIELDS):
        chat = listed(row.get(name))
        if is_chat(chat):
            found[name] = chat
    return found


def _without_empty_tests(row: Row) -> Record:
    """A row with an answer has no tests where it only has the column for them."""
    tests = row.get("tests")
    holds = isinstance(tests, (str, list, Mapping)) and tests
    if not holds and _has_any(row, *ANSWER_FIELDS):
        return {name: value for name, value in row.items() if name != "tests"}
    return dict(row)


def _own(row: Record, where: str, domain: Domain) -> Record:
    """A row whose `prompt` is a text and which names `answer` or `tests` as our records do."""
    record = dict(row)
    record.setdefault("domain", _domain_told(row, domain))
    if "tests" in record:
        record["tests"] = decoded(record["tests"], where, "tests")
    if "meta" in record:
        record["meta"] = mapping(record, "meta", where)
    field = DOMAINS[checked_domain(record["domain"], where)].field
    if field == "answer":
        record["answer"] = accepted(record, where)[0]
    elif field == "tests" and record.get("tests"):
        record["tests"] = suite(record["tests"], where, "tests", starter=str(record.get("starter_code") or ""))[0]
    return record


def _domain_told(row: Row, domain: Domain) -> Domain:
    """The domain of a row that names none: `domain`, unless the row holds what another one is judged by."""
    judged_by = DOMAINS[domain].field
    if "tests" in row:
        return domain if judged_by == "tests" else "code"
    if judged_by == "tests" and _has_any(row, *ANSWER_FIELDS):
        return "math"
    return domain


def _general_domain(row: Row, read_as: Domain, domain: Domain) -> Domain:
    """The domain of a question with an answer or tests: the row's, or the source's, if it is judged by the same."""
    for named in (row.get("domain"), domain):
        if isinstance(named, str) and named in DOMAINS and DOMAINS[named].field == DOMAINS[read_as].field:
            return named
    return read_as


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


# Columns that may be such a text, beside chats; tests, meta and extra_info are read where they are used.
STRUCTURES = ("choices", "options", "reward_model", "attempts", "test_list")
# Formats that name no dataset.
GENERAL = ("problem and tests", "problem and answer")


def _recognise(row: Row) -> str | None:
    """The name of the first format whose columns are there; None for a record of ours."""
    if _has(row, "reward_model", "prompt") and isinstance(row["reward_model"], Mapping):
        return "verl"
    name = _known_for_tests(row)
    if name is not None:
        return name
    if isinstance(row.get("prompt"), str) and not _is_general(row):
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


def _is_general(row: Row) -> bool:
    """Whether a row with a text `prompt` has more to its question, or its answer elsewhere, than a record of ours."""
    if "tests" in row:
        return False
    more = any(is_text(row.get(field)) for field in BEFORE_QUESTION)
    if more or options_of(row):
        return True
    return "domain" not in row and not _has_any(row, "answer", "solution")


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
