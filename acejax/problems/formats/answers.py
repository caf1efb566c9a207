"""Reference answers of mathematics problems, in the forms in which datasets write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from acejax.problems.formats.columns import ANSWER_FIELDS
from acejax.problems.formats.common import listed, plain, refuse

_FINAL = re.compile(r"####\s*(\S.*?)\s*$")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# A number, and in brackets what it counts; not "2 (x)" or "3 (mod 7)".
_COUNT = r"-?\\?\$?(?:(?:\d+ )?[\d.,/]*\d|\\[dt]?frac\{\d+\}\{\d+\})%?"
_UNITS = r"(?:[a-z]{3,}|cm|mm|km|kg|mg|ml|lb|ft|in|oz|hr|mi|yd)[a-z .]*"
_COUNTED = re.compile(rf"({_COUNT})\s*\(({_UNITS})\)", re.IGNORECASE)
_BETWEEN_COUNTS = re.compile(r"\s*;\s*|(?<=\)),\s*")
_NO_UNIT = re.compile(r"\b(?:mod|base|binary|octal|hex|decimal)", re.IGNORECASE)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?![a-zA-Z])")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_TOKEN = re.compile(r"[^\s$,;\\{}]*[^\s$,;\\{}.]")
_FORMULA = re.compile(r"(?:\$\$?|\\\(|\\\[)([^$]+?)(?:\$\$?|\\\)|\\\])")
_WHOLE_ANSWER = re.compile(r"[-+]?(?:\d|[\\.(\[{]\S*\d)\S*")
_WORD = re.compile(r"[A-Za-z]{2,}")
_COMMAND = re.compile(r"\\[A-Za-z]+")
# "The answer is 5", "Answer: 5", "5 is the answer", "Therefore 5"; not SO(3).
_ANNOUNCED = re.compile(
    r"\b(?:[Aa]nswer|[Rr]esult|[Ss]olution)\**\s*(?:is|was|equals|=|:)|\bis the answer\b|"
    r"^\W*(?:[Tt]herefore|[Tt]hus|[Hh]ence|[Ss]o)[\s,]+\W*\w"
)
_TELLING = {"is", "are", "was", "were", "has", "have", "had", "will", "there", "they", "left", "gets", "costs", "needs"}
WORDS_OF_A_NAME = 4
BOXES_FROM_END = 20
_LISTED = re.compile(r"\s*\[\s*[\"']")


def text_of(value: Any) -> str | None:
    """An answer as a string, numbers without a needless ".0"; None where there is no answer."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return _text_of_float(value)
    if isinstance(value, Decimal):
        return _text_of_decimal(value)
    if isinstance(value, int):
        return plain(value)
    return None


def _text_of_decimal(value: Decimal) -> str | None:
    if not value.is_finite():
        return None
    digits = format(value, "f")  # without an exponent
    if "." in digits:
        return digits.rstrip("0").rstrip(".")
    return digits


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
    return found and _THOUSANDS.sub("", found[1])


def last_box(text: str) -> str | None:
    """What the last box of a worked solution holds (`\\boxed{5}`, `\\fbox{5}`, `\\boxed 5`); None where none closes."""
    for opened in reversed(list(_BOX.finditer(text))[-BOXES_FROM_END:]):
        found = _content(text, opened.end())
        if found and found.strip():
            return found.strip()
    return None


def _first(match: re.Match[str] | None) -> str | None:
    return match and match[0]


def _content(text: str, start: int) -> str | None:
    """A brace's content, or the one token that a box without braces takes."""
    if text[start : start + 1] != "{":
        return _first(_TOKEN.match(text, start))
    depth = 0
    for brace in _BRACE.finditer(text, start):
        if brace[0] == "{":
            depth += 1
        elif brace[0] == "}":
            depth -= 1
        if not depth:
            return text[start + 1 : brace.start()]
    return None


def accepted(row: Mapping[str, Any], where: str) -> tuple[list[str], str]:
    """The accepted answers of a row that states one (columns.ANSWER_FIELDS) or works one out (`solution`), and how they
    were written.
    """
    field = stated_field(row)
    raw = row.get(field)
    solution = row.get("solution")
    if isinstance(solution, str) and not is_stated(row.get("answer")):
        found = final(solution)
        if found:
            return [found], "####"
        if not is_stated(raw):
            found = last_box(solution) or _only_formula(solution)
        if found:
            return [found], "box"
    answers: list[str | None]
    if isinstance(raw, str) and "####" in raw:
        answers, form = [final(raw)], "####"
    else:
        answers, form = _several(raw)
        answers, form = _out_of_sentence(answers, form)
    todo = "give the answer there, or end field 'solution' with '#### answer' or \\boxed{answer}"
    return with_bare_numbers(_all_there(answers, raw, where, field, todo)), form


def stated_field(row: Mapping[str, Any]) -> str:
    """The first column that states an answer; "answer" where none does."""
    return next((name for name in ANSWER_FIELDS if is_stated(row.get(name), name)), "answer")


def is_stated(raw: Any, name: str = "answer") -> bool:
    """Whether a column says anything. Others than `answer` hold flags and objects too, which are no answers."""
    if isinstance(raw, str) and not raw.strip():
        return False
    if name == "answer":
        return raw is not None and raw != []
    several = raw if isinstance(raw, list) else [raw]
    return bool(several) and None not in map(text_of, several)


def _only_formula(solution: str) -> str | None:
    """TRL's `solution`: the answer alone, as "$5$" or one word with a digit or a command in it."""
    alone = solution.strip()
    formula = _FORMULA.fullmatch(alone)
    if formula:
        return formula[1].strip()
    if _WHOLE_ANSWER.fullmatch(alone):
        return alone
    return None


def _out_of_sentence(answers: list[str | None], form: str) -> tuple[list[str | None], str]:
    """A sentence with a box in it stands for what the box holds."""
    if len(answers) != 1 or answers[0] is None:
        return answers, form
    box = _BOX.search(answers[0])
    if box is None or len(_WORD.findall(answers[0][: box.start()])) < 2:
        return answers, form
    held = last_box(answers[0])
    if held is None:
        return answers, form
    return [held], "box"


def with_bare_numbers(answers: list[str]) -> list[str]:
    """ASDiv's "9 (apples)" is 9, and 9 apples."""
    found = []
    for answer in answers:
        parts = [_COUNTED.fullmatch(part.strip()) for part in _BETWEEN_COUNTS.split(answer)]
        counts = [part for part in parts if part and not _NO_UNIT.search(part[2])]
        if len(counts) == len(parts):
            found.append(", ".join(part[1] for part in counts))
            found.append(", ".join(f"{part[1]} {part[2].strip()}" for part in counts))
        else:
            found.append(answer)
    return found


def is_sentence(answer: str) -> bool:
    """Whether an answer is a sentence about a number, which no response puts in its box: "So he has 154 apples."."""
    if _ANNOUNCED.search(answer):
        return True
    words = _WORD.findall(_COMMAND.sub(" ", answer))
    if len(words) > WORDS_OF_A_NAME and ("\n" in answer.strip() or answer.rstrip().endswith(".")):
        return True
    tells = any(character.isdigit() for character in answer) and any(word.lower() in _TELLING for word in words)
    return tells and len(words) > 1


def ground_truth(raw: Any, where: str, field: str) -> tuple[list[str], str]:
    """The accepted answers of a verl row, and how they were written: one, several, or several listed inside a
    string.
    """
    answers, form = _several(_listed(raw))
    if isinstance(raw, str) and form == "list":
        form = "list in a string"
    todo = "give the answer, or a list of accepted strings"
    return with_bare_numbers(_all_there(answers, raw, where, field, todo)), form


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
    found = listed(raw) if isinstance(raw, str) and _LISTED.match(raw) else raw
    return found if isinstance(found, list) else raw
