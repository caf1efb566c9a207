"""Reference answers of mathematics problems, in the forms in which datasets write them."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from acejax.problems.formats.common import refuse

_FINAL = re.compile(r"####\s*(\S.*?)\s*$")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LISTED = re.compile(r"\s*\[\s*[\"']")


def text_of(value: Any) -> str | None:
    """An answer as a string, numbers without a needless ".0"; None where there is no answer."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return _text_of_float(value)
    return str(value) if isinstance(value, int) else None


def _text_of_float(value: float) -> str | None:
    if not math.isfinite(value):
        return None
    if value.is_integer():
        return str(int(value))
    return repr(value)


def final(text: str) -> str | None:
    """GSM8K's answer: what follows the last "####", without thousands commas; None where there is none."""
    if "####" not in text:
        return None
    found = _FINAL.search(text[text.rindex("####") :])
    return _THOUSANDS.sub("", found[1]) if found else None


def accepted(row: Mapping[str, Any], where: str) -> tuple[list[str], str]:
    """The accepted answers of a row with `answer` (or GSM8K's `solution`), and how they were written."""
    raw = row.get("answer")
    solution = row.get("solution")
    if raw is None and isinstance(solution, str):
        found = final(solution)
        if found:
            return [found], "####"
    if isinstance(raw, str) and "####" in raw:
        answers, form = [final(raw)], "####"
    else:
        answers, form = _several(raw)
    todo = "give the answer there, or end field 'solution' with '#### answer'"
    return _all_there(answers, raw, where, "answer", todo), form


def ground_truth(raw: Any, where: str, field: str) -> tuple[list[str], str]:
    """The accepted answers of a verl row, and how they were written: one, several, or several listed inside a
    string.
    """
    answers, form = _several(_listed(raw))
    if isinstance(raw, str) and form == "list":
        form = "list in a string"
    return _all_there(answers, raw, where, field, "give the answer, or a list of accepted strings"), form


def _all_there(answers: list[str | None], raw: Any, where: str, field: str, todo: str) -> list[str]:
    """The answers, of which there must be one, and none may be missing."""
    kept = [answer for answer in answers if answer is not None]
    if not kept or len(kept) < len(answers):
        refuse(where, field, raw, todo)
    return kept


def _several(raw: Any) -> tuple[list[str | None], str]:
    if isinstance(raw, (list, tuple)):
        return [text_of(value) for value in raw], "list"
    return [text_of(raw)], "text" if isinstance(raw, str) else "number"


def _listed(raw: Any) -> Any:
    """The list that a string such as '["1/2", "0.5"]' holds. An interval such as "[0, 1]" begins with no string: it
    stays as it is.
    """
    if not isinstance(raw, str) or not _LISTED.match(raw):
        return raw
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(raw.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list):
            return found
    return raw
