"""Names of units and currencies: one canonical name for each, and what in a trailing text is no unit at all."""

from __future__ import annotations

import re
from fractions import Fraction

_ALIASES = """cm centimeter centimetre;m meter metre;km kilometer kilometre;mm millimeter millimetre;inch in inches;ft foot feet;yd yard;
mi mile;s sec second;min minute;h hr hour;day;week wk;month;year yr;g gram;kg kilogram;mg milligram;lb;pound;oz ounce;dollar usd buck;cent;
euro eur;yen jpy;rupee inr;won;ruble;pound_sterling gbp;deg degree;percent;l liter litre;ml milliliter millilitre;gallon gal;unit;n newton;
j joule;w watt;v volt;pm;am;hz hertz;pa pascal;acre;radian rad;mph;kph;celsius c degc centigrade;fahrenheit f degf;nm nanometer;kwh;
mol mole;th st nd rd"""
UNITS: dict[str, str] = {}
for _line in _ALIASES.replace("\n", "").split(";"):
    for _name in _line.split():
        UNITS[_name] = _line.split()[0]
        if len(_name) > 1:
            UNITS[_name + "s"] = _line.split()[0]
LINKING = frozenset(("per", "sq", "cu"))
CURRENCY = {"\ue000": "dollar", "€": "euro", "£": "pound_sterling", "¥": "yen", "₹": "rupee", "₩": "won", "₽": "ruble"}
MULTIPLES = {
    name: Fraction(value)
    for name, value in {
        "dozen": 12,
        "hundred": 100,
        "thousand": 10**3,
        "million": 10**6,
        "billion": 10**9,
        "trillion": 10**12,
    }.items()
}
# A text after a number that holds one of these says something about the number, so that it may not be dropped as a
# unit.
_DENIALS = "not or and more less least most than except wrong if but maybe about approx no is are incorrect between either to negative"
_OPERATIONS = """factorial plus minus times over root mod modulo base choose half halves third thirds quarter quarters fourth fourths fifth
fifths tenth tenths"""
_NO_UNIT = frozenset(f"{_DENIALS} {_OPERATIONS}".split())
_ONE_NAME = ({"lb^1", "pound^1"}, {"pound_sterling^1", "pound^1"})  # the word alone says neither weight nor money


def canonical_unit(text: str) -> str:
    """One name for one unit: "square meters", "m^2" and "sq m" are "m^2"; "" for the word "units" alone."""
    text = re.sub(
        r"deg(?:ree)?s? (?=[cf]\b|celsius|fahrenheit)", "", text.lower().replace(".", "").replace("per cent", "percent")
    )
    powers: dict[str, int] = {}
    sign, boost = 1, 1
    words: list[str] = re.findall(
        r"/|\^\s*-?\d|[a-z_]+", text.replace("mph", "mi per h").replace("kph", "km per h").replace("°", "")
    )
    last = ""
    for word in words:
        if word in ("per", "/"):
            sign = -1
        elif word in ("square", "squared", "sq"):
            boost = 2
        elif word in ("cubic", "cubed", "cu"):
            boost = 3
        elif word[0] == "^":
            if last:
                powers[last] *= int(word[1:])
        else:
            last = UNITS.get(word) or (word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] != "s" else word)
            powers[last] = powers.get(last, 0) + sign * boost
            boost = 1
    if boost != 1 and last:  # "cm squared"
        powers[last] *= boost
    powers.pop("unit", None)
    return " ".join(f"{name}^{power}" for name, power in sorted(powers.items()))


def is_no_unit(text: str) -> bool:
    """Whether a text after a number holds a word, or a number of its own, that changes what the number says."""
    return (
        not _NO_UNIT.isdisjoint(re.findall("[a-z]+", text))
        or re.search(r"(?<![\^\d-])\s*\(?\b\d", text.replace("^ ", "^")) is not None
    )


def same_unit(a: str, b: str) -> bool:
    return a == b or any({a, b} <= names for names in _ONE_NAME)
