r"""Cleans the text of a mathematical answer and cuts it into tokens, LaTeX and plain infix alike, in linear time."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

MAX_CHARS = 2000
MAX_TOKENS = 800
MAX_EXPONENT = 3000  # of a decimal literal such as 1e400


class LatexError(ValueError):
    """The text is no answer that the parser reads, or it passes a bound."""


class Token(NamedTuple):
    kind: str  # num, sym, fn, text, end, or the operator itself
    text: str = ""
    value: Fraction = Fraction(0)


CURRENCY = {"\ue000": "dollar", "€": "euro", "£": "pound_sterling", "¥": "yen"}
_SIGNS = r"""π \pi θ \theta α \alpha β \beta ∞ \infty √ \sqrt ∪ \cup ∩ \cap ± \pm ∓ \mp × \times · \cdot ⋅ \cdot ÷ \div
≤ \le ≥ \ge ≠ \ne ≈ \approx ∈ \in ∅ \emptyset ℝ \mathbb{R} ⟨ \langle ⟩ \rangle"""
_FRACTIONS = "½ 1 2 ⅓ 1 3 ⅔ 2 3 ¼ 1 4 ¾ 3 4 ⅕ 1 5 ⅛ 1 8"


def _groups(text: str, size: int) -> list[list[str]]:
    words = text.split()
    return [words[i : i + size] for i in range(0, len(words), size)]


_TRANSLATE = str.maketrans(
    {
        **{sign: f" {command} " for sign, command in _groups(_SIGNS, 2)},
        **{sign: rf"\frac{{{a}}}{{{b}}}" for sign, a, b in _groups(_FRACTIONS, 3)},
        **{sign: "-" for sign in "−–—‐‑"},
        **{sign: f"^{{{i}}}" for i, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
        **{sign: f"_{{{i}}}" for i, sign in enumerate("₀₁₂₃₄₅₆₇₈₉")},
        **{"°": r"^{\circ}", "′": "'", "∗": "*", "∕": "/", "，": ",", "（": "(", "）": ")", "％": "%", "\u200b": " "},
    }
)

_PLAIN_FUNCTIONS = "sin cos tan cot sec csc sinh cosh tanh exp ln log lg floor ceil gcd lcm max min cis abs"
_INVERTIBLE = "sin cos tan cot sec csc sinh cosh tanh"
FUNCTIONS = {name: name for name in _PLAIN_FUNCTIONS.split()}
FUNCTIONS |= {prefix + name: "a" + name for prefix in ("arc", "a", "ar") for name in _INVERTIBLE.split()}
_COMMANDS = r"""cdot * times * ast * div / pm +- mp -+ cup ∪ cap ∩ setminus ∖ le ≤ leq ≤ leqslant ≤ ge ≥ geq ≥ geqslant ≥
lt < gt > ne ≠ neq ≠ approx ≈ equiv ≡ in ∈ colon : sim ~ to → rightarrow → mid | vert | lor , vee , land , wedge , prime '
lbrace \{ rbrace \} lparen ( rparen ) lbrack [ rbrack ] langle ⟨ rangle ⟩ lvert lv rvert rv lfloor lf rfloor rf lceil lc rceil rc"""
_OPERATORS = dict(_groups(_COMMANDS, 2))
_INVISIBLE = "quad qquad displaystyle textstyle limits nolimits thinspace enspace space hfill nonumber"
_SPACES = set(_INVISIBLE.split())
_NAMED = r"pi \pi infinity \infty infty \infty inf \infty sqrt \sqrt cbrt \cbrt and , or ,"
_WORDS = dict(_groups(_NAMED, 2))
_LETTERS = "alpha beta gamma delta theta lambda mu sigma phi omega"
_GREEK = set(_LETTERS.split())
RELATIONS = frozenset("=<>≤≥≠≈≡∈:~→")

_TEXT_COMMAND = r"\\(?:text(?:bf|it|rm|normal|tt|sf|sc)?|mbox|hbox|mathrm|operatorname\*?|mathsf|mathtt)\s*"
TEXT = re.compile(_TEXT_COMMAND + r"\{([^{}]*)\}")
_CLEAN = re.compile(r"\\(?:left|right|[bB]igg?[lr]?|middle)(?![A-Za-z])\.?|(?<!\\)\\[()\[\]]|\\phantom\s*(?:\{[^{}]*\}|.)")
_HEAD = re.compile(r"(?:\s|=|\\approx(?![A-Za-z])|\\[ ,;!])+")
_TAIL = re.compile(r"(?:\s|(?<!\\)[.,;]|\\[ ,;!:]|(?<=\d)\\\\)+$")
_DELIMITER = re.compile(r"(?<!\\)\$")
_SURE = r"(?:\{,\}\s*(?:\\!)?|,\s*\\!\s*|\\[, ]| )"  # a comma between digits that can only be a thousands separator
_TAIL_OF_NUMBER = r"(?:\.\d+)?(?:[eE][+-]?\d+(?![\d.]))?"
_NUMBER = {
    sure: re.compile(rf"(?:\d{{1,3}}(?:(?:{_SURE}{'' if sure else '|,'})\d{{3}}(?!\d))+|\d+|(?=\.\d)){_TAIL_OF_NUMBER}", re.ASCII)
    for sure in (True, False)
}
_REPEATING = re.compile(r"(\d*)\.(\d*)(?:\\(?:overline|bar|dot)\s*\{(\d+)\}|\((\d+)\))", re.ASCII)
BASED = re.compile(r"([0-9A-Z]*\d[0-9A-Z]*)\s*_\s*(?:\{\s*(\d+)\s*\}|(\d+))", re.ASCII)
_PLAIN = re.compile(
    r"\\begin\s*\{(\w+)\*?\}(?:\{[^{}]*\})?|\\end\s*\{\w+\*?\}|\\[A-Za-z]+|\\.|[A-Za-z]+|<=|>=|!=|\*\*|\S", re.DOTALL | re.ASCII
)
AMBIGUOUS_COMMA = re.compile(r"\d,\d{3}(?!\d)")


def normalise(text: str) -> str:
    """Text without mathematics delimiters, sizing commands and closing punctuation; unicode signs become LaTeX. Linear time."""
    if len(text) > MAX_CHARS:
        raise LatexError("longer than the bound")
    text = text.replace(r"\$", "\ue000").translate(_TRANSLATE)
    text = _DELIMITER.sub("\ue000" if len(_DELIMITER.findall(text)) == 1 else "", text)
    text = " ".join(_CLEAN.sub(" ", text).split())  # no long run of spaces is left for the patterns to walk twice
    head = _HEAD.match(text)
    return _TAIL.sub("", text[head.end() :] if head else text)


def in_base(digits: str, base: int) -> Fraction:
    try:
        return Fraction(int(digits, base if base >= 2 else 99))
    except ValueError:
        raise LatexError("digits do not fit the base") from None


def _number(text: str) -> Fraction:
    plain = re.sub(r"[^\d.eE+-]", "", text)
    mantissa, _, exponent = plain.lower().partition("e")
    if len(exponent) > 6 or abs(int(exponent or 0)) > MAX_EXPONENT:
        raise LatexError("exponent beyond the bound")
    whole, _, part = mantissa.partition(".")
    power = int(exponent or 0) - len(part)
    return Fraction(int(whole + part) * 10 ** max(power, 0), 10 ** max(-power, 0))


def tokenise(text: str, comma_is_list: bool) -> list[Token]:
    tokens: list[Token] = []
    at, brackets, braces = 0, 0, [0]  # a comma inside (), [] or \{\} separates; inside TeX braces it groups digits again
    while at < len(text):
        if len(tokens) > MAX_TOKENS:
            raise LatexError("more tokens than the bound")
        char = text[at]
        if char.isspace() or char == "~":
            at += 1
        elif char.isdecimal() and not char.isascii():
            raise LatexError("digits of another script")
        elif char.isdecimal() or (char == "." and text[at + 1 : at + 2] != "" and text[at + 1] in "0123456789\\("):
            if match := _REPEATING.match(text, at):
                whole, part, cycle = match[1], match[2], match[3] or match[4]
                value = Fraction(int(whole + part + cycle) - int(whole + part or 0), 10 ** len(part) * (10 ** len(cycle) - 1))
                tokens.append(Token("num", "repeating", value))
            elif match := _NUMBER[comma_is_list or brackets > 0].match(text, at):
                tokens.append(Token("num", match[0], _number(match[0])))
            if not match:
                raise LatexError("a point without digits")
            at = match.end()
        elif match := TEXT.match(text, at):
            at = match.end()
            tokens.extend(_from_text(match[1].strip(), text.startswith(("(", "{", "_"), at)))
        else:
            match = _PLAIN.match(text, at)
            assert match is not None  # its last alternative takes any character that is not a space
            raw, at = match[0], match.end()
            if raw in ("(", "[", r"\{"):
                brackets += 1
            elif raw in (")", "]", r"\}"):
                brackets = max(0, brackets - 1)
            elif raw == "{":
                braces.append(brackets)
                brackets = 0
            elif raw == "}" and len(braces) > 1:
                brackets = braces.pop()
            tokens.extend(_plain(raw, match[1], tokens))
    tokens.append(Token("end"))
    return tokens


def _from_text(content: str, applied: bool) -> list[Token]:
    words = content.lower().strip(" ,")
    if words in ("and", "or"):
        return [Token(",")]
    if content in FUNCTIONS and (applied or content != "min"):  # else minutes
        return [Token("fn", FUNCTIONS[content])]
    if re.fullmatch(r"[0-9.,\s()+/-]*[0-9][0-9.,\s()+/-]*", content):
        return tokenise(content, True)[:-1]
    if content in ("e", "i"):
        return [Token("sym", content)]
    return [Token("text", words)] if words else []


def _plain(raw: str, environment: str | None, before: list[Token]) -> list[Token]:
    if environment:
        return [Token("begin", environment)]
    if raw.startswith("\\") and len(raw) > 1:
        name = raw[1:]
        if name.startswith("end") and "{" in name:
            return [Token("end matrix")]
        if name in _SPACES or name in ",;:! ":
            return []
        if name in _OPERATORS:
            return [Token(_OPERATORS[name])]
        if name in FUNCTIONS:
            return [Token("fn", FUNCTIONS[name])]
        if name in ("{", "}", "\\"):
            return [Token(raw)]
        if name in ("%", "#", "&", "_", "|"):
            return [Token({"|": "lv"}.get(name, name))]
        return [Token("cmd", {"dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom"}.get(name, name))]
    if raw.isalpha() and raw.isascii():
        lower = raw.lower()
        if lower in _WORDS and not (lower == "inf" and raw != "inf"):
            known = _WORDS[lower]
            return [Token("cmd", known[1:])] if known[0] == "\\" else [Token(known)]
        if raw in FUNCTIONS and not (raw == "min" and before and before[-1].kind == "num"):
            return [Token("fn", FUNCTIONS[raw])]
        if raw in _GREEK:
            return [Token("cmd", raw)]
        after_number = before and before[-1].kind in ("num", "}", ")", "cmd", "text")
        if len(raw) >= 4 or (len(raw) >= 2 and lower in _UNITS and after_number):
            return [Token("text", lower)]
        return [Token("sym", letter) for letter in raw]
    if raw in CURRENCY:
        return [Token("currency", CURRENCY[raw])]
    return [Token({"<=": "≤", ">=": "≥", "!=": "≠", "**": "^", ";": ","}.get(raw, raw))]


_ALIASES = """cm centimeter centimetre;m meter metre;km kilometer kilometre;mm millimeter millimetre;inch in inches;ft foot feet;yd yard;
mi mile;s sec second;min minute;h hr hour;day;week wk;month;year yr;g gram;kg kilogram;mg milligram;lb pound;oz ounce;dollar usd buck;cent;
euro eur;deg degree;percent;l liter litre;ml milliliter millilitre;gallon gal;unit;n newton;j joule;w watt;v volt;pm;am;hz hertz;pa pascal;
acre;radian rad;mph"""
_UNITS: dict[str, str] = {}
for _line in _ALIASES.replace("\n", "").split(";"):
    for _name in _line.split():
        _UNITS[_name] = _line.split()[0]
        if len(_name) > 1:
            _UNITS[_name + "s"] = _line.split()[0]


def canonical_unit(text: str) -> str:
    """One name for one unit: "square meters", "m^2" and "sq m" are "m^2"; "" for the word "units" alone."""
    powers: dict[str, int] = {}
    sign, boost = 1, 1
    words: list[str] = re.findall(r"/|\^\s*-?\d|[a-z_]+", text.lower().replace(".", "").replace("mph", "mi per h").replace("°", ""))
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
            last = _UNITS.get(word, word)
            powers[last] = powers.get(last, 0) + sign * boost
            boost = 1
    if boost != 1 and last:  # "cm squared"
        powers[last] *= boost
    powers.pop("unit", None)
    return " ".join(f"{name}^{power}" for name, power in sorted(powers.items()))
