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
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def final(text: str) -> str | None:
    """GSM8K's answer: what follows the last "####", without thousands commas; None where there is none."""
    found = _FINAL.search(text[text.rindex("####") :]) if "####" in text else None
    return _THOUSANDS.sub("", found[1]) if found else None


def accepted(row: Mapping[str, Any], where: str) -> tuple[list[str], str]:
    """The accepted answers of a row with `answer` (or GSM8K's `solution`), and how they were written."""
    raw = row.get("answer")
    if raw is None and isinstance(row.get("solution"), str) and (found := final(row["solution"])):
        return [found], "####"
    if isinstance(raw, str) and "####" in raw:
        answers, form = [final(raw)], "####"
    else:
        answers, form = _several(raw)
    kept = [answer for answer in answers if answer is not None]
    if not kept or len(kept) < len(answers):
        refuse(where, "answer", raw, "give the answer there, or end field 'solution' with '#### answer'")
    return kept, form


def ground_truth(raw: Any, where: str, field: str) -> tuple[list[str], str]:
    """The accepted answers of a verl row, and how they were written: one, several, or several listed inside a
    string.
    """
    answers, form = _several(_listed(raw))
    kept = [answer for answer in answers if answer is not None]
    if not kept or len(kept) < len(answers):
        refuse(where, field, raw, "give the answer, or a list of accepted strings")
    return kept, "list in a string" if isinstance(raw, str) and form == "list" else form


def _several(raw: Any) -> tuple[list[str | None], str]:
    if isinstance(raw, (list, tuple)):
        return [text_of(value) for value in raw], "list"
    return [text_of(raw)], "text" if isinstance(raw, str) else "number"


def _listed(raw: Any) -> Any:
    """The list that a string such as '["1/2", "0.5"]' holds. An interval such as "[0, 1]" begins with no string: it
    stays as it is.
    """
    if isinstance(raw, str) and _LISTED.match(raw):
        for read in (json.loads, ast.literal_eval):
            try:
                found = read(raw.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            if isinstance(found, list):
                return found
    return raw
