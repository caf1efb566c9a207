r"""Congruences: `x \equiv 3 \pmod 7`, `3 (mod 7)`, `n \equiv 1 \bmod 4`, `17 \bmod 5`.

* Two are one if their moduli are, their residues are the same classes, and no two different names stand before them.
* A class is no number: `3 \pmod 7` is not 3. But `17 \bmod 5` without a name is the remainder, 2.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from acejax.verification.math.reading import prose, readings
from acejax.verification.math.values import rational_value

_MOD = re.compile(
    r"[\s,(]{0,4}(?:\\[pb]?mod(?![A-Za-z])|(?<![A-Za-z\\])modulo(?![A-Za-z])|(?<![A-Za-z\\])mod(?![A-Za-z]))"
)
_SPACES = re.compile(r"\\[,;:! ]|\\q?quad(?![A-Za-z])")
_MODULUS = re.compile(r"[A-Za-z0-9^]{1,12}")
_EQUIVALENT = re.compile(r"\\equiv(?![A-Za-z])|=")
_BETWEEN = re.compile(r"\s*(?:,|\bor\b|\band\b)\s*")

Equal = Callable[[str, str], bool]


class Congruence(NamedTuple):
    name: str
    residues: tuple[str, ...]
    modulus: str
    is_remainder: bool  # of a division, where no name and no parenthesis says otherwise


def congruence(text: str) -> Congruence | None:
    """The congruence that a cleaned answer is, or None."""
    if "mod" not in text:
        return None
    text = _SPACES.sub(" ", prose(text))
    found = list(_MOD.finditer(text))
    if len(found) != 1:
        return None
    before, sign, after = text[: found[0].start()], found[0][0], text[found[0].end() :]
    modulus = after.strip(" (){}")
    if not _MODULUS.fullmatch(modulus):
        return None
    *names, value = _EQUIVALENT.split(before)
    residues = tuple(part.strip() for part in _BETWEEN.split(value) if part.strip())
    if len(names) > 1 or not residues:
        return None
    name = names[0].replace(" ", "") if names else ""
    is_operator = "pmod" not in sign and "(" not in sign
    return Congruence(name, residues, modulus, is_operator and not names)


def same_congruence(a: str, b: str, equal: Equal) -> bool | None:
    """Whether two cleaned answers, one of them a congruence, are one answer; None if neither is. `equal` decides about
    their parts.
    """
    x, y = congruence(a), congruence(b)
    if x is None and y is None:
        return None
    if x is None:
        return y is not None and _is_remainder(y, a, equal)
    if y is None:
        return _is_remainder(x, b, equal)
    if x.name and y.name and x.name != y.name:
        return False
    if not equal(x.modulus, y.modulus):
        return False
    left, right = _classes(x), _classes(y)
    if left is None or right is None:
        return equal(", ".join(x.residues), ", ".join(y.residues))
    return left == right


def _is_remainder(one: Congruence, other: str, equal: Equal) -> bool:
    """Whether a division's remainder is the other answer."""
    classes = _classes(one) if one.is_remainder else None
    return classes is not None and len(classes) == 1 and equal(str(min(classes)), other)


def _classes(one: Congruence) -> set[int] | None:
    """The residues between 0 and the modulus, where all are whole numbers."""
    if not one.modulus.isdecimal() or not int(one.modulus):
        return None
    values = [_whole(residue) for residue in one.residues]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return {value % int(one.modulus) for value in known}


def _whole(text: str) -> int | None:
    """The whole number that a text is."""
    trees = readings(text)
    value = rational_value(trees[0]) if trees else None
    if value is None or value.denominator != 1:
        return None
    return value.numerator
