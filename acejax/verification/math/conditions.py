r"""Answers with a condition after them: `2k\pi, k \in \mathbb{Z}`, `cx for all x`, `x^2 + c where c is a constant`.

* The condition says what a letter of the answer ranges over, and the answer may go without it. It must name such a
letter, or begin with `for all`. It must decide nothing itself: one with = or <, `otherwise` or a second `for` stays,
but for `n \ge 1` and its like.
* Where both answers have a condition, their domains must not differ, and the one letter that each binds may be renamed.
* \{2k\pi : k \in \mathbb{Z}\} is 2k\pi with its condition.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from acejax.verification.math.reading import prose

_LETTERS = r"[A-Za-z](?:_\w)?(?:\s?,\s?[A-Za-z](?:_\w)?){0,3}"
_DOMAIN = r"\\mathbb\s?\{?\s?[ZNRQC]"
_MEMBER = rf"{_LETTERS}\s?\\in\s?{_DOMAIN}"
_ALL = "(?:all|any|every|each|some|arbitrary)"
_KINDS = "(?:integers?|reals?|positive|natural|constants?|nonnegative|rational|complex|whole)"
_STATED = rf"{_LETTERS} (?:(?:is|are|being|an?|any|some|arbitrary|real) ){{0,3}}{_KINDS}\b"
_COUNTED_FROM = r"(?<![A-Za-z\\])[nkmj]\s?(?:\\geq?(?![A-Za-z])|>=?)\s?\d{1,3}"
_SPACE = r"\s|\\q?quad(?![A-Za-z])|\\[,;:! ]"
_SEPARATOR = rf"(?:{_SPACE}|[,;(]){{1,6}}"
_PAUSE = rf"(?:{_SPACE}){{0,4}}(?:[,;(]|\\q?quad(?![A-Za-z]))(?:{_SPACE}|[,;(]){{0,6}}"  # before a bare n \in Z
_START = re.compile(
    rf"{_PAUSE}(?={_MEMBER}|{_STATED})|{_SEPARATOR}(?=for {_ALL}\b|for {_KINDS}\b|(?:for |where |with ){_MEMBER}"
    rf"|(?:for |where ){_COUNTED_FROM}|where\b|with [A-Za-z] |\\forall(?![A-Za-z]))"
)
_BUILT = re.compile(rf"\\\{{\s?([^{{}}|:]+|[^|:]+?)\s?(?::|\\mid|\|)\s?({_MEMBER}[^:|]{{0,20}}?)\s?\\\}}")
_MARK = re.compile(r"\\forall|\\in(?![A-Za-z])|\b(?:for|where|with|integers?|reals?|constants?)\b")
_DECIDES = re.compile(
    r"[=<>]|\\(?:leq?|geq?|neq?|lt|gt)(?![A-Za-z])"
    r"|\b(?:for|otherwise|else|odd|even|prime|except|unless|not|and \d)\b"
)
_POSITIVE = re.compile(r"(?:_|\^)\s?\{?\s?(?:\+|>\s?0|\\geq?\s?[01])\s?\}?")
_ARTICLE = re.compile(r"\ba (?=[a-z]{2})")
_LETTER = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_SETS = {"positive integer": "N", "natural": "N", "integer": "Z", "real": "R", "rational": "Q", "complex": "C"}


class Conditioned(NamedTuple):
    body: str
    letters: frozenset[str]  # of the condition, that occur in the answer
    domain: str  # "" where none is said


def may_hold_condition(text: str) -> bool:
    """A quick look that misses none."""
    return _MARK.search(text) is not None


def split(text: str) -> Conditioned | None:
    """A cleaned answer and the condition after it, or None where it has none that may be left out."""
    text = prose(text)
    built = _BUILT.fullmatch(text)
    if built and len(built[1].strip()) > 1:
        return _conditioned(built[1], built[2])
    start = _START.search(text)
    if not start or not start.start():
        return None
    return _conditioned(text[: start.start()], text[start.end() :])


def _conditioned(body: str, condition: str) -> Conditioned | None:
    domain = _domain(condition)
    condition = _POSITIVE.sub("", condition)
    rest = re.sub(_COUNTED_FROM, "", condition).removeprefix("for ")
    if _DECIDES.search(rest):
        return None
    named = frozenset(_LETTER.findall(_ARTICLE.sub("", condition)))
    letters = named & _letters(body)
    if not letters and not re.match(f"for {_ALL}|for {_KINDS}", condition):
        return None
    return Conditioned(body.strip(), letters, domain)


def _domain(condition: str) -> str:
    sign = re.search(_DOMAIN, condition)
    if sign:
        letter = sign[0][-1]
        return "N" if letter == "Z" and _POSITIVE.match(condition[sign.end() :].lstrip("} ")) else letter
    return next((name for word, name in _SETS.items() if word in condition), "")


def _letters(text: str) -> frozenset[str]:
    return frozenset(_COMMAND.sub(" ", text))


def bodies(a: str, b: str) -> tuple[str, str] | None:
    """What of two cleaned answers is to be compared without their conditions, or None where nothing is to be left
    out.
    """
    x, y = split(a), split(b)
    if x is None and y is None:
        return None
    if x is None or y is None:
        return (x.body if x else a), (y.body if y else b)
    if x.domain and y.domain and x.domain != y.domain:
        return None
    renamed = _renamed(y, x)
    return None if renamed is None else (x.body, renamed)


def _renamed(one: Conditioned, like: Conditioned) -> str | None:
    """The answer with its one bound letter called as in the other answer; None where that one is free in one of
    them.
    """
    if one.letters == like.letters or len(one.letters) != 1 or len(like.letters) != 1:
        return one.body
    (old,), (new,) = one.letters, like.letters
    if new in _letters(one.body) or old in _letters(like.body):
        return None
    return re.sub(rf"\\[A-Za-z]+|{old}", lambda match: new if match[0] == old else match[0], one.body)
