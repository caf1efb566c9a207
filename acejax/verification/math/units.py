"""Names of units and currencies: one canonical name for each, and what in a trailing text is no unit at all.

* `5 cm` and `5 apples` are 5, since a known unit or a word of nouns.py follows; `5 gross` and `5 foo` are not.
* Number words are factors: 3 million, 2 lakh, 5 hundredths. Words that deny or change the number make it unreadable.
* After a currency, k, m, b and their like are number words that are not read: `\\$5 k` is neither 5 nor 5000.
"""

from __future__ import annotations

import re
from fractions import Fraction

from acejax.verification.math.nouns import LINKS, is_counted

_ALIASES = """cm centimeter centimetre;m meter metre;km kilometer kilometre;mm millimeter millimetre;inch in inches;
ft foot feet;yd yard;mi mile;s sec second;min minute;h hr hour;day;week wk;month;year yr;g gram;kg kilogram;
mg milligram;lb;pound;oz ounce;dollar usd buck;cent;euro eur;yen jpy;rupee inr;won;ruble;pound_sterling gbp;
deg degree;percent pct;l liter litre;ml milliliter millilitre;gallon gal;unit;n newton;j joule;w watt;v volt;pm;am;
hz hertz;pa pascal;acre;radian rad;mph;kph;celsius c degc centigrade;fahrenheit f degf;nm nanometer;kwh;mol mole;
th st nd rd"""
# Names that are units within a text alone: 2au is a product of letters.
_IN_TEXT = """kelvin;ampere amp;ohm;coulomb;tesla;farad;ev electronvolt;kev;mev;gev;calorie cal;
kilocalorie kcal;bit;byte;kb kilobyte;mb megabyte;gb gigabyte;db decibel;atm atmosphere;bar;torr;mmhg;
angstrom;um micrometer micron;ms millisecond;us microsecond;ns nanosecond;kj kilojoule;mj;kn;kw kilowatt;
mw megawatt;mv millivolt;kv kilovolt;ma milliamp;kpa kilopascal;mpa;khz kilohertz;mhz megahertz;ghz;rpm;cc;hectare ha;
tonne;ton;cup;pint pt;quart qt;teaspoon tsp;tablespoon tbsp;carat;knot;fathom;furlong;parsec pc;
lightyear ly;au;century centuries;decade;fortnight;millennium;arcsecond;arcminute;steradian;
dm decimeter decimetre;dl deciliter;cl centiliter;microgram mcg;wh;weber;henry;lumen;lux;candela;fps;bpm;
kph;peso;penny pence;nickel;dime;quid;franc;yuan rmb;krona;baht;rand;kilo"""


def _named(table: str) -> dict[str, str]:
    """Each name of a unit, in either number, with the canonical one."""
    found = {}
    for line in table.split(";"):
        first, *others = line.split()
        for name in (first, *others):
            found[name] = first
            if len(name) > 1:
                found[name + "s"] = first
    return found


UNITS = _named(_ALIASES)
_KNOWN = _named(_IN_TEXT) | UNITS
LINKING = frozenset(("per", "sq", "cu"))
DOLLAR = "\ue000"  # a dollar sign that is money, in a cleaned text
CURRENCY = {DOLLAR: "dollar", "€": "euro", "£": "pound_sterling", "¥": "yen", "₹": "rupee", "₩": "won", "₽": "ruble"}
MULTIPLES = {
    "dozen": Fraction(12),
    "hundred": Fraction(100),
    "thousand": Fraction(10**3),
    "million": Fraction(10**6),
    "billion": Fraction(10**9),
    "trillion": Fraction(10**12),
    "quadrillion": Fraction(10**15),
    "quintillion": Fraction(10**18),
    "sextillion": Fraction(10**21),
    "septillion": Fraction(10**24),
    "lakh": Fraction(10**5),
    "crore": Fraction(10**7),
    "tenth": Fraction(1, 10),
    "hundredth": Fraction(1, 100),
    "thousandth": Fraction(1, 1000),
    "millionth": Fraction(1, 10**6),
    "billionth": Fraction(1, 10**9),
}
# A text after a number that holds one of these says something about the number, so that it may not be dropped as a
# unit.
_DENIALS = """not or and more less least most than except wrong if but maybe about approx no is are incorrect
between either to negative"""
_OPERATIONS = """factorial plus minus times over root mod modulo base choose half halves third thirds quarter
quarters fourth fourths fifth fifths tenth tenths cube power
powers exponent triple quadruple"""
_NO_UNIT = frozenset(f"{_DENIALS} {_OPERATIONS}".split())
_NAMES_OF_UNITS = frozenset(_KNOWN.values())
SHORT_FOR_NUMBERS = frozenset(("k", "kelvin", "m", "mega", "b", "mm", "mn", "mil", "bn", "bil", "t", "tn"))
_ONE_NAME = ({"lb^1", "pound^1"}, {"pound_sterling^1", "pound^1"})  # the word alone says neither weight nor money
_DIMENSIONS = {"square": 2, "squared": 2, "sq": 2, "cubic": 3, "cubed": 3, "cu": 3}

_DEGREE_OF_SCALE = re.compile(r"deg(?:ree)?s? (?=[cf]\b|celsius|fahrenheit)")
_PART_OF_UNIT = re.compile(r"/|\^\s*-?\d|[a-z_]+")
_WORD = re.compile("[a-z]+")
_NUMBER_OF_ITS_OWN = re.compile(r"(?<![\^\d-])\s*\(?\b\d")


def canonical_unit(text: str) -> str:
    """One name for one unit: "square meters", "m^2" and "sq m" are "m^2"; "" for the word "units" alone."""
    text = text.lower().replace(".", "").replace("per cent", "percent")
    text = _DEGREE_OF_SCALE.sub("", text)
    text = text.replace("mph", "mi per h").replace("kph", "km per h").replace("°", "")

    powers: dict[str, int] = {}
    sign, dimension, last = 1, 1, ""
    for part in _PART_OF_UNIT.findall(text):
        if part in ("per", "/"):
            sign = -1
        elif part in _DIMENSIONS:
            dimension = _DIMENSIONS[part]
        elif part[0] != "^":
            last = _known_name(part)
            powers[last] = powers.get(last, 0) + sign * dimension
            dimension = 1
        elif last:
            powers[last] *= int(part[1:])
    if dimension != 1 and last:  # "cm squared"
        powers[last] *= dimension
    powers.pop("unit", None)
    return " ".join(f"{name}^{power}" for name, power in sorted(powers.items()))


def _known_name(word: str) -> str:
    known = _KNOWN.get(word)
    if known:
        return known
    is_plural = len(word) > 3 and word[-1] == "s" and word[-2] != "s"
    return word[:-1] if is_plural else word


def may_be_left_out(unit: str) -> bool:
    """Whether a canonical name is made of known units and of what is counted only, so that 5 alone may stand for 5 of
    it. Of all else, as in 5 gross, nobody knows what it makes of the number.
    """
    names = [power.partition("^")[0] for power in unit.split()]
    counted = [name for name in names if name not in LINKS]
    if "percent" in names or not counted:
        return False
    return all(name in _NAMES_OF_UNITS or is_counted(name) for name in counted)


def is_no_unit(text: str) -> bool:
    """Whether a text after a number holds a word, or a number of its own, that changes what the number says."""
    if not _NO_UNIT.isdisjoint(_WORD.findall(text)):
        return True
    return _NUMBER_OF_ITS_OWN.search(text.replace("^ ", "^")) is not None


def same_unit(a: str, b: str) -> bool:
    """Whether two canonical names are of one unit, or one of them leaves open which of the two it is."""
    return a == b or any({a, b} <= names for names in _ONE_NAME)
