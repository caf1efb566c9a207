"""Whether what a program printed or returned is what a test expects.

Text is compared token by token within lines; spaces around tokens and empty lines at the end do not count, nor does an
empty line at the beginning that the expected text has. A token equals itself only, unless a real number is expected.

A real number is a token of ASCII digits with a decimal point or a signed exponent (`0.5`, `1e-07`). `7e2`, `0e1234` and
a whole number are one only where another line of the problem's expected outputs, of as many tokens, has a real number
in the same place; in JSON, where another result has one under the same names, in a list at any index.

What is expected, E with s digits, equals what is got, G, if one of these holds:

* |G - E| <= r |E|, where r is 10^(1 - s), but no less than 1e-9 and no more than 1e-6: relative to its own size, and to
  the digits that it shows (`100000000.5` shows ten)
* |G - E| <= 1e-6, where |E| is at least 0.001: six decimals are enough for those
* |G - E| <= 1e-6 and at most half a unit of the last digit that E shows (0.0 may be 1e-7, and 0.000012 0.0000123)
* G shows decimals and at least seven digits, and E rounded to as many is G.
"""

from __future__ import annotations

import decimal
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from itertools import repeat
from typing import Any

TOLERANCE = Decimal("1e-6")
FINEST = Decimal("1e-9")  # relative
SMALL = Decimal("1e-3")  # numbers below have to be right in relation to their own size
MANY_DIGITS = 7
LARGEST_INTEGER = 1 << 1000  # no larger one is close to any float

BLANK = " \t\r\f\v"
_SPACES = re.compile(f"[{BLANK}]+")
_NUMBER = re.compile(r"[+-]?([0-9]*)(\.[0-9]*)?(?:[eE]([+-]?[0-9]+))?")
_NAN = {"nan", "+nan", "-nan"}
# Wide enough for every exponent; what is no number in it is NaN, which is close to nothing.
_CONTEXT = decimal.Context(prec=50, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[])

# Where a number stands: among how many tokens of a line and at which, or the names and lists around it.
Place = tuple[Any, ...]


class Reals:
    """The places at which a problem expects real numbers, from all of its cases; read when first asked for."""

    def __init__(self, outputs: Sequence[Any]) -> None:
        self._outputs = outputs

    @cached_property
    def in_text(self) -> set[Place]:
        places: set[Place] = set()
        for output in self._outputs:
            for line in output.split("\n"):
                tokens = line.split()
                places.update((len(tokens), at) for at, token in enumerate(tokens) if _is_real(token))
        return places

    @cached_property
    def in_values(self) -> set[Place]:
        return {place for output in self._outputs for place in _real_places(output, ())}


NO_REALS = Reals(())


def _real_places(value: Any, place: Place) -> Iterator[Place]:
    if isinstance(value, float):
        yield place
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _real_places(item, (*place, None))
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _real_places(item, (*place, str(name)))


def outputs_match(expected: str, got: str, reals: Reals = NO_REALS) -> bool:
    """Whether printed text is the expected one, where `reals` are those of the problem."""
    wanted, printed = (text.replace("\r\n", "\n").rstrip(BLANK + "\n") for text in (expected, got))
    body = _without_empty_lines(wanted)
    if body != wanted:
        wanted, printed = body, _without_empty_lines(printed)
    if wanted == printed and "nan" not in wanted.lower():
        return True
    # A flood is counted, not split.
    if wanted.count("\n") != printed.count("\n"):
        return False
    return all(map(_lines_match, wanted.split("\n"), printed.split("\n"), repeat(reals)))


def _without_empty_lines(text: str) -> str:
    """A text from its first line that is not blank on."""
    start = len(text) - len(text.lstrip(BLANK + "\n"))
    return text[text.rfind("\n", 0, start) + 1 :]


def _lines_match(expected: str, got: str, reals: Reals) -> bool:
    if expected == got and "nan" not in expected.lower():
        return True
    wanted = expected.split()
    line = got.strip(BLANK)
    printed = _SPACES.split(line, maxsplit=len(wanted)) if line else []
    if len(wanted) != len(printed):
        return False
    for at, (one, other) in enumerate(zip(wanted, printed, strict=True)):
        if not _tokens_match(one, other, (len(wanted), at), reals):
            return False
    return True


def _tokens_match(expected: str, got: str, place: Place, reals: Reals) -> bool:
    if expected.lower() in _NAN:
        return False
    if expected == got:
        return True
    if not (_is_number(expected) and _is_number(got) and _close(expected, got)):
        return False
    return _is_real(expected) or place in reals.in_text


def _is_number(token: str) -> bool:
    match = _NUMBER.fullmatch(token)
    return match is not None and any("0" <= digit <= "9" for digit in (match[1] + (match[2] or ""))[:2])


def _is_real(token: str) -> bool:
    match = _NUMBER.fullmatch(token)
    if match is None or not _is_number(token):
        return False
    return match[2] is not None or (match[3] or "0")[0] in "+-"


def _close(expected: str, got: str) -> bool:
    """Whether two numbers, as their texts, are equal by the rule at the head of this file."""
    wanted, found = _CONTEXT.create_decimal(expected), _CONTEXT.create_decimal(got)
    if not (wanted.is_finite() and found.is_finite()):
        return False
    off = _CONTEXT.abs(_CONTEXT.subtract(found, wanted))
    size = _CONTEXT.abs(wanted)
    digits, half_unit = _shown(expected)
    relative = max(FINEST, min(TOLERANCE, _CONTEXT.power(10, 1 - digits)))
    if off <= _CONTEXT.multiply(relative, size):
        return True
    if off <= TOLERANCE and (size >= SMALL or off <= half_unit):
        return True
    digits, half_unit = _shown(got)
    return "." in got and digits >= MANY_DIGITS and off <= half_unit


def _shown(number: str) -> tuple[int, Decimal]:
    """How many significant digits a number's text shows, and half a unit of the last."""
    match = _NUMBER.fullmatch(number)
    assert match is not None
    fraction = (match[2] or ".")[1:]
    digits = len((match[1] + fraction).lstrip("0"))
    exponent = _CONTEXT.create_decimal(match[3] or "0")
    return digits, _CONTEXT.multiply(Decimal("0.5"), _CONTEXT.power(10, exponent - len(fraction)))


def report_matches(expected: Any, report: str, reals: Reals = NO_REALS) -> bool:
    """Compares a result as its JSON text. What is not JSON, or too deep to read, is wrong."""
    try:
        return values_match(expected, json.loads(report), reals)
    except (ValueError, RecursionError):
        return False


def values_match(expected: Any, got: Any, reals: Reals = NO_REALS, place: Place = ()) -> bool:
    """Compares plain JSON values by exact type: True is not 1, and 5.0 is not 5 unless a real number is expected; NaN
    equals nothing.

    Each level of lists or objects costs as few frames as can be; a value too deep for the interpreter raises
    RecursionError.
    """
    if isinstance(expected, (list, tuple)):
        if type(got) is not list or len(expected) != len(got):
            return False
        return all(map(values_match, expected, got, repeat(reals), repeat((*place, None))))
    if isinstance(expected, Mapping):
        by_name = {str(key): value for key, value in expected.items()}
        if type(got) is not dict or got.keys() != by_name.keys():
            return False
        return all(values_match(value, got[name], reals, (*place, name)) for name, value in by_name.items())
    if isinstance(expected, float):
        return _floats_match(expected, got)
    if type(expected) is int and type(got) is float:
        near = abs(expected) <= LARGEST_INTEGER and _floats_match(float(expected), got)
        return near and place in reals.in_values
    return type(got) is type(expected) and got == expected


def _floats_match(expected: float, got: Any) -> bool:
    if type(got) is int:
        return abs(got) <= LARGEST_INTEGER and _floats_match(expected, float(got))
    if type(got) is not float:
        return False
    if expected == got:
        return True
    return math.isfinite(expected) and math.isfinite(got) and _close(repr(expected), repr(got))
