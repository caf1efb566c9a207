"""Answers in words: names, choices, numbers that are spelled out, and phrases that name a set or an infinity."""

from __future__ import annotations

import re
from fractions import Fraction

_NAMES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES = {word: i for i, word in enumerate(_NAMES.split())}
_VALUES |= {word: 20 + 10 * i for i, word in enumerate(_TENS.split())}
_PARTS = {
    "half": 2,
    "halves": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "eighth": 8,
    "tenth": 10,
}

MAX_DIGITS = 9  # of a number that stands for itself
_WORDS = re.compile(r"(?:[A-Za-z]|\([A-Za-z]{1,4}\))[A-Za-z .,'()\-]*")
_APPLIED = re.compile(r"[A-Za-z]\(")  # f(x) is no word
_CALLED = re.compile(r"(?:option|choice|answer)\s+(?=\(?[a-z]\)?$)")
_PHRASES = {
    r"\emptyset": "no solution|no solutions|empty set|the empty set",
    r"\mathbb{R}": "all real numbers|all reals|real numbers|reals|the real numbers|the set of all real numbers",
    r"\infty": "infinity|positive infinity",
    r"-\infty": "negative infinity|minus infinity",
    "does not exist": "dne",
}
_MEANINGS = {phrase: said for said, phrases in _PHRASES.items() for phrase in phrases.split("|")}
_EXCEPT = re.compile(r"(?:all )?real(?: number)?s except ([^{}]{1,60})")
_BETWEEN_ITEMS = re.compile(r",| and | or ")
_PARENTHESES = re.compile(r"[()]")


def meaning(phrase: str) -> str:
    r"""What a lower-case phrase says in LaTeX: "no solution" is \emptyset. Anything else is returned as it is."""
    if match := _EXCEPT.fullmatch(phrase):
        return rf"\mathbb{{R}} \setminus \{{{match[1]}\}}"
    return _MEANINGS.get(phrase, phrase)


def number_of(text: str) -> Fraction | None:
    """The number that digits or English words spell, up to 999 and simple parts: 12, twenty-one, two thirds."""
    if text.isdecimal() and text.isascii():
        return Fraction(int(text)) if len(text) <= MAX_DIGITS else None
    *counts, last = text.lower().replace("-", " ").split() or [""]
    part = _PARTS.get(last) or _PARTS.get(last.removesuffix("s"))
    if part:
        return _parts(counts, part)
    return _count([*counts, last])


def _parts(counts: list[str], part: int) -> Fraction | None:
    """A third, two thirds."""
    if not counts:
        return Fraction(1, part)
    if len(counts) > 1:
        return None
    if counts[0] == "a":
        return Fraction(1, part)
    value = _VALUES.get(counts[0])
    return None if value is None else Fraction(value, part)


def _count(words: list[str]) -> Fraction | None:
    total, before = 0, 1000
    for word in words:
        if word == "hundred" and 0 < total < 10:
            total, before = 100 * total, 100
            continue
        # Each word stands for less than the one before leaves open: "forty two", not "two forty".
        value = _VALUES.get(word)
        if value is None or value >= before:
            return None
        if value == 0 and before < 1000:
            return None
        total += value
        before = 10 if value >= 20 else 0
    return Fraction(total)


def words(prose: str) -> tuple[str, ...] | None:
    """The sorted, lower-case items of an answer that is words only, such as a name, a choice (A), or several of
    them.
    """
    if not _WORDS.fullmatch(prose) or _APPLIED.search(prose):
        return None
    items = []
    for part in _BETWEEN_ITEMS.split(_CALLED.sub("", prose.lower())):
        item = _PARENTHESES.sub("", part).strip(" .,")
        if item:
            items.append(_MEANINGS.get(item, item))
    return tuple(sorted(items))


def is_choice_or_word(items: tuple[str, ...]) -> bool:
    """Whether each item is a letter that choices have, or long enough to be a word rather than a product of
    variables.
    """
    return all(map(_is_choice_or_word, items))


def _is_choice_or_word(item: str) -> bool:
    if len(item) == 1:
        return item <= "h"
    return len(item) >= 3
