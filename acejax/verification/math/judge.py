r"""Judges mathematics: takes the last box of a response and decides whether it equals a reference.

Stages, cheapest first: the same text; plain numbers; words, choices and clock times; and trees from our own parser,
compared piece by piece. A response is never evaluated as code nor handed to a parser of somebody else's, and no parsed
object is printed: printing a tower of powers does not end.

Where answers are ambiguous, each stage says at its own head how it reads them: which box counts in boxes.py, text,
numbers and commas in reading.py, letters before brackets in applications.py, words after a number in units.py, lists,
sets, names and relations in comparing.py and statements.py, conditions after an answer in conditions.py, congruences in
congruences.py, cases and aligned rows in environments.py, letters for whole numbers in integers.py, scalars in
values.py. Here:
* `1,234` may be one number or two, and \log may have base e or 10 on both sides: one pair of readings that agrees is
enough.
* The letters of a name, a choice or a list of choices are no product. A choice with its value, `(B) 5`, is either.
* Words after a number that deny or change it (`5 or more`, `3 million`) are no unit.
* `2{,}5` is 2.5, but `2{,}500` is 2500; `v^2_0` is `v_0^2`; `2^6 3^5` is a product, while `3 5` is nothing.
* A command that lost the space after it is read where one letter follows: `\quadx`, `\lex`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from acejax.verification.math.applications import functions_in
from acejax.verification.math.boxes import extract_boxed
from acejax.verification.math.cleaning import TEXT, LatexError, normalise
from acejax.verification.math.comparing import same_answer
from acejax.verification.math.conditions import bodies, may_hold_condition
from acejax.verification.math.congruences import same_congruence
from acejax.verification.math.reading import prose, readings
from acejax.verification.math.words import is_choice_or_word, words

__all__ = ["equivalent", "extract_boxed", "judge_answer", "judge_math"]

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)")
_SPACE = re.compile(r"(?<!\d) +| +(?!\d)")  # all but those that part two numbers
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
_CHOICE_AND_VALUE = re.compile(
    r"(?:\\(?:text(?:bf)?|mathrm|mathbf)\s*\{\s*\(([A-H])\)\s*\}|\(([A-H])\)(?=[\\ ])|([A-H])[.)](?=[\\ ]))"
    r"(?:\\ |\\quad|\s)*(\S.*)"
)
_CHOICES = re.compile(r"\(?[A-H](?:[).]|$)|and |or |,")  # what follows a choice and makes it several
_WORD = re.compile(r"[A-Za-z]{3}|\b[aApP][mM]\b")
_INITIALS = re.compile(r"[A-Z]{3,}")
_NOTATION = frozenset("\\^_=")


def judge_math(
    response: str, answers: Sequence[str], require_think_end: bool = True
) -> tuple[Literal["correct", "wrong"], str]:
    """The verdict on a response against the accepted answers, and its reason: no_box, no_think_end, or those of
    `judge_answer`.
    """
    answer, reason = extract_boxed(response, require_think_end)
    if answer is None:
        return "wrong", reason
    return judge_answer(answer, answers)


def judge_answer(answer: str, answers: Sequence[str]) -> tuple[Literal["correct", "wrong"], str]:
    """The verdict on the content of a box, and its reason: ok, mismatch or parse_error.

    parse_error means that the boxed text is not readable as an answer (and is not literally an accepted one). Anything
    this raises is a fault of ours, for the pool to count as unjudged.
    """
    if any(equivalent(answer, reference) for reference in answers):
        return "correct", "ok"
    return "wrong", "mismatch" if _is_readable(answer) else "parse_error"


def _is_readable(text: str) -> bool:
    try:
        return bool(readings(normalise(text)))
    except LatexError:
        return False


def equivalent(answer: str, reference: str) -> bool:
    """Whether an answer equals a reference, under the reading that this file's head states. Text beyond the bounds
    equals nothing.
    """
    try:
        a, b = normalise(answer), normalise(reference)
    except LatexError:
        return answer.strip() == reference.strip() != ""
    if not a or not b:
        return False
    if _squeezed(a) == _squeezed(b):
        return True
    if _NUMBER.fullmatch(a) and _NUMBER.fullmatch(b):
        return Fraction(a) == Fraction(b)
    by_words = _same_as_words(a, b)
    if by_words is not None:
        return by_words
    by_modulus = same_congruence(a, b, equivalent)
    if by_modulus is not None:
        return by_modulus
    functions = functions_in(a, b)
    if any(same_answer(x, y) for x in readings(a, functions) for y in readings(b, functions)):
        return True
    if may_hold_condition(a) or may_hold_condition(b):
        without = bodies(a, b)
        return without is not None and equivalent(*without)
    return False


def _squeezed(text: str) -> str:
    """The text without what never changes a meaning."""
    text = _SPACE.sub("", text)
    return text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\!", "")


def _same_as_words(a: str, b: str) -> bool | None:
    """What the words alone decide: names, choices and their lists, whose letters are no product; clock times. None if
    nothing.
    """
    prose_a, prose_b = prose(a), prose(b)
    words_a, words_b = words(prose_a), words(prose_b)
    if words_a is not None and words_b is not None:
        if words_a == words_b and (TEXT.search(a) or TEXT.search(b) or is_choice_or_word(words_a)):
            return True
        if _INITIALS.fullmatch(prose_a) and _INITIALS.fullmatch(prose_b):
            return False  # an order of things, such as CAB
    elif prose_a.lower() == prose_b.lower() and _WORD.search(prose_a) and _NOTATION.isdisjoint(prose_a):
        return True  # May 5

    clock_a, clock_b = _CLOCK.fullmatch(prose_a), _CLOCK.fullmatch(prose_b)
    if clock_a and clock_b:
        return _clock_time(clock_a) == _clock_time(clock_b)
    by_choice = _same_as_choice(a, b)
    return _same_as_choice(b, a) if by_choice is None else by_choice


def _clock_time(clock: re.Match[str]) -> list[int]:
    """Hours, minutes and seconds."""
    return [int(part or 0) for part in clock.groups()]


def _same_as_choice(text: str, other: str) -> bool | None:
    """Whether one part of a choice with its value, `(B) 5`, is the other answer; None if the text is no such thing."""
    choice = _CHOICE_AND_VALUE.fullmatch(text)
    if not choice:
        return None
    letter, value = choice[1] or choice[2] or choice[3], choice[4]
    if _CHOICES.match(prose(value)):
        return None
    return equivalent(letter, other) or equivalent(value, other)
