"""Whether what a program printed or returned is what a test expects."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

TOLERANCE = 1e-6  # relative, and absolute below 1; only where the expected number is written as a float
LARGEST_INTEGER = 1 << 1000  # no larger one is close to any float

_INTEGER = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?")
_NAN = {"nan", "+nan", "-nan"}


def outputs_match(expected: str, got: str) -> bool:
    """Compares printed text token by token within lines; spaces at line ends, CRLF and blank lines at the end do not
    count.
    """
    wanted = _lines(expected)
    printed = _lines(got)
    return len(wanted) == len(printed) and all(map(_lines_match, wanted, printed))


def _lines(text: str) -> list[list[str]]:
    lines = [line.split() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _lines_match(expected: list[str], got: list[str]) -> bool:
    return len(expected) == len(got) and all(map(_tokens_match, expected, got))


def _tokens_match(expected: str, got: str) -> bool:
    if expected.lower() in _NAN:
        return False
    if expected == got:
        return True
    if _FLOAT.fullmatch(expected) and (_FLOAT.fullmatch(got) or _INTEGER.fullmatch(got)):
        return _close(float(expected), float(got))
    return False


def _close(expected: float, got: float) -> bool:
    return math.isclose(expected, got, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def report_matches(expected: Any, report: str) -> bool:
    """Compares a result as its JSON text. What is not JSON, or too deep to read, is wrong."""
    try:
        return values_match(expected, json.loads(report))
    except (ValueError, RecursionError):
        return False


def values_match(expected: Any, got: Any) -> bool:
    """Compares plain JSON values by exact type: True is not 1, 5.0 is not 5; a float may differ by TOLERANCE; NaN
    equals nothing.

    Each level of lists or objects costs as few frames as can be: a value too deep for the interpreter is wrong.
    """
    if isinstance(expected, (list, tuple)):
        return type(got) is list and len(expected) == len(got) and all(map(values_match, expected, got))
    if isinstance(expected, Mapping):
        by_name = {str(key): value for key, value in expected.items()}
        if type(got) is not dict or got.keys() != by_name.keys():
            return False
        return all(values_match(value, got[name]) for name, value in by_name.items())
    if isinstance(expected, float):
        return _floats_match(expected, got)
    return type(got) is type(expected) and got == expected


def _floats_match(expected: float, got: Any) -> bool:
    if type(got) is int:
        return abs(got) <= LARGEST_INTEGER and _close(expected, got)
    return type(got) is float and _close(expected, got)
