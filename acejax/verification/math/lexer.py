r"""Cleans the text of a mathematical answer and cuts it into tokens, LaTeX and plain infix alike, in linear time."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

from acejax.verification.math.units import CURRENCY, LINKING, MULTIPLES, UNITS

MAX_CHARS = 2000
MAX_TOKENS = 800
MAX_EXPONENT = 3000  # of a decimal literal such as 1e400


class LatexError(ValueError):
    """The text is no answer that the parser reads, or it passes a bound."""


class Token(NamedTuple):
    kind: str  # num, sym, fn, text, end, or the operator itself
    text: str = ""
    value: Fraction = Fraction(0)


_SIGNS = r"""∞ \infty √ \sqrt ∛ \cbrt ∪ \cup ∩ \cap ∖ \setminus ± \pm ∓ \mp × \times · \cdot ⋅ \cdot ∙ \cdot ÷ \div
≤ \le ≥ \ge ⩽ \le ⩾ \ge ≠ \ne ≈ \approx ∈ \in ∅ \emptyset ∨ \lor ∧ \land → \to ⟨ \langle ⟩ \rangle ⌊ \lfloor ⌋ \rfloor ⌈ \lceil ⌉ \rceil
ℝ \mathbb{R} ℤ \mathbb{Z} ℕ \mathbb{N} ℚ \mathbb{Q} ℂ \mathbb{C} ∠ \angle … \ldots ϕ \phi ϵ \epsilon"""
_GREEK_NAMES = """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho . sigma tau upsilon phi chi psi
omega"""
_CAPITALS = ("gamma", "delta", "theta", "lambda", "xi", "pi", "sigma", "phi", "psi", "omega")
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_RAISED_RUN, _LOWERED_RUN = re.compile(f"[{''.join(_RAISED)}]+"), re.compile(f"[{''.join(_LOWERED)}]+")
_WIDE = re.compile(
    "[\uff01-\uff5e\U0001d400-\U0001d7ff]+"
)  # full-width signs and mathematical alphabets stand for plain letters


def _groups(text: str, size: int) -> list[list[str]]:
    words = text.split()
    return [words[i : i + size] for i in range(0, len(words), size)]


_TRANSLATE = str.maketrans(
    {
        **{sign: f" {command} " for sign, command in _groups(_SIGNS, 2)},
        **{chr(0x3B1 + i): rf" \{name} " for i, name in enumerate(_GREEK_NAMES.split()) if name != "."},
        **{
            chr(0x391 + i): rf" \{name.title()} "
            for i, name in enumerate(_GREEK_NAMES.split())
            if name in "gamma delta theta sigma phi omega"
        },
        **{
            sign: re.sub("(.+)\u2044(.+)", r"\\frac{\1}{\2}", unicodedata.normalize("NFKC", sign))
            for sign in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
        },
        **{sign: "-" for sign in "−–—‐‑"},
        **{"°": r"^{\circ}", "′": "'", "∗": "*", "∕": "/", "\u2044": "/", "∶": ":", "、": ",", "¢": r" \text{ cents}"},
        **{sign: " " for sign in "\u200b\u200c\u200d\u2060\ufeff"},
    }
)

_PLAIN_FUNCTIONS = "sin cos tan cot sec csc sinh cosh tanh exp ln log lg floor ceil gcd lcm max min cis abs"
_INVERTIBLE = "sin cos tan cot sec csc sinh cosh tanh"
FUNCTIONS = {name: name for name in _PLAIN_FUNCTIONS.split()}
FUNCTIONS |= {prefix + name: "a" + name for prefix in ("arc", "a", "ar") for name in _INVERTIBLE.split()}
_APPLIED = {name + letter for name in ("sin", "cos", "tan", "ln") for letter in "xy"}
_COMMANDS = r"""cdot * times * ast * div / pm +- mp -+ cup ∪ cap ∩ setminus ∖ backslash ∖ le ≤ leq ≤ leqslant ≤ ge ≥ geq ≥ geqslant ≥
lt < gt > ne ≠ neq ≠ approx ≈ equiv ≡ in ∈ colon : sim ~ to → rightarrow → mid : vert | lor , vee , land , wedge , prime '
lbrace \{ rbrace \} lparen ( rparen ) lbrack [ rbrack ] langle ⟨ rangle ⟩ lvert lv rvert rv lfloor lf rfloor rf lceil lc rceil rc"""
_OPERATORS = dict(_groups(_COMMANDS, 2))
_INVISIBLE = "quad qquad displaystyle textstyle limits nolimits thinspace enspace space hfill nonumber"
_SPACES = set(_INVISIBLE.split())
_NAMED = r"pi \pi infinity \infty infty \infty inf \infty sqrt \sqrt cbrt \cbrt and , or ,"
_WORDS = dict(_groups(_NAMED, 2))
_TEXT_OPERATORS = {"and": ",", "or": ",", "to": ":"}
_SAME = r"""dfrac frac tfrac frac cfrac frac sfrac frac nicefrac frac dbinom binom tbinom binom varphi phi varepsilon epsilon vartheta theta
varnothing emptyset"""
_SAME_COMMAND = dict(_groups(_SAME, 2))
GREEK = frozenset(_GREEK_NAMES.split()) - {".", "pi"}
RELATIONS = frozenset("=<>≤≥≠≈≡∈:~→")

_TEXT_COMMAND = r"\\(?:text(?:bf|it|rm|normal|tt|sf|sc)?|mbox|hbox|mathrm|operatorname\*?|mathsf|mathtt)\s*"
_OPEN_TEXT = re.compile(_TEXT_COMMAND + r"(?=\{)")
TEXT = re.compile(_TEXT_COMMAND + r"\{([^{}]*)\}")
_CLEAN = re.compile(
    r"\\(?:left|right|[bB]igg?[lr]?|middle)(?![A-Za-z])\.?|(?<!\\)\\[()\[\]]|\\phantom\s*(?:\{[^{}]*\}|.)|\\(?:text)?color\s*\{[^{}]*\}"
    r"|\\[hv]space\*?\s*\{[^{}]*\}|\\(?:boxed|fbox|ensuremath|large|Large|LARGE|small|normalsize|bf|rm|it)(?![A-Za-z])"
)
_CELSIUS = re.compile(
    r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)\s*(?:\\(?:text|mathrm)\s*\{\s*([CF])\s*\}|([CF])(?![A-Za-z_]))"
)
_ONGOING = re.compile(r"\.(\d{1,60})\s*(?:\.{2,}|\\[lc]?dots(?![A-Za-z]))", re.ASCII)
_DOTS = re.compile(r"\.\s?\.[.\s]*")
_DOTTED = re.compile(r"(?<=[.\d])\\dot\s*\{?(\d)\}?(\d{0,20})\\dot\s*\{?(\d)\}?", re.ASCII)
_UNIT_FRACTION = re.compile(
    r"\\[dt]?frac\s*\{\s*\\(?:text|mathrm)\s*\{([A-Za-z ]{1,20})\}\s*\}\s*\{\s*\\(?:text|mathrm)\s*\{([A-Za-z ]{1,20})\}\s*\}"
)
_SIGN_IN_BRACES = re.compile(r"(?<![A-Za-z])\{([-+])\}")
_BOLD_CHOICE = re.compile(r"\\mathbf\s*\{\s*(\([A-H]\))\s*\}")
_MATH_IN_TEXT = re.compile(r"\\text\s*\{\s*\$([^${}]*)\$\s*\}")
_NOT_EQUAL = re.compile(r"\\not\s*=")
_ORDINAL = re.compile(r"\^\s*\{?\s*\\text(?:rm)?\s*\{(?:st|nd|rd|th)\}\s*\}?")
_INDEX = re.compile(r"\d+(?:\.\d+)?", re.ASCII)  # after _ or ^ a space ends the number: \log_2 100
_POWER_OF_TEN = re.compile(r"(?<=\d)\s?[xX]\s?(?=10\s?(?:\^|\*\*))", re.ASCII)
_HALF_DAY = re.compile(r"(?<![A-Za-z])([aApP])\.\s?([mM])(?![A-Za-z])\.?")
MEASURE = re.compile(
    r"([+-]?[\d.,]+) ((?:m|s|g|h|L|N|J|W|V)(?: ?/ ?(?:m|s|h|L))?(?: ?\^ ?(?:\{ ?-?\d ?\}|\d))?)", re.ASCII
)
_HEAD = re.compile(r"(?:\s|=|\\approx(?![A-Za-z])|\\[ ,;!])+")
_TAIL = re.compile(r"(?:\s|(?<!\\)[.,;:]|\\[ ,;!:]|(?<=\d)\\\\)+$")
_DELIMITER = re.compile(r"(?<!\\)\$")
_SURE = r"(?:\{,\}\s*(?:\\!)?|,\s*\\!\s*|\\[,;: ]| )"  # a comma between digits that can only be a thousands separator
_TAIL_OF_NUMBER = r"(?:\.\d+)?(?:[eE][+-]?\d+(?![\d.]))?"
_NUMBER = {
    sure: re.compile(
        rf"(?:\d{{1,3}}(?:(?:{_SURE}{'' if sure else '|,'})\d{{3}}(?!\d))+|\d+|(?=\.\d)){_TAIL_OF_NUMBER}", re.ASCII
    )
    for sure in (True, False)
}
_REPEATING = re.compile(r"(\d*)\.(\d*)(?:\\(?:overline|bar|dot)\s*(?:\{\s*(\d+)\s*\}|(\d))|\((\d+)\))", re.ASCII)
_DIGITS = r"[0-9A-Z]*\d[0-9A-Z]*|[A-F]{2,}(?=\s*_\s*\{?\s*16)"
BASED = re.compile(rf"(?:\(\s*({_DIGITS})\s*\)|({_DIGITS}))\s*_\s*(?:\{{\s*\(?(\d+|[a-z]+)\)?\s*\}}|(\d+))", re.ASCII)
_PLAIN = re.compile(
    r"\\begin\s*\{(\w+)\*?\}(?:\{[^{}]*\})?|\\end\s*\{\w+\*?\}|\\[A-Za-z]+|\\.|[A-Za-z]+|<=|>=|!=|\*\*|\S",
    re.DOTALL | re.ASCII,
)
AMBIGUOUS_COMMA = re.compile(r"\d,\d{3}(?!\d)")


def normalise(text: str) -> str:
    """Text without mathematics delimiters, sizing commands and closing punctuation; unicode signs become LaTeX. Linear
    time.
    """
    if len(text) > MAX_CHARS:
        raise LatexError("longer than the bound")
    text = _MATH_IN_TEXT.sub(r"{\1}", text).replace(r"\$", "\ue000") if "$" in text else text
    if not text.isascii():
        text = _WIDE.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
        text = _RAISED_RUN.sub(lambda match: "^{" + "".join(map(_RAISED.__getitem__, match[0])) + "}", text)
        text = _LOWERED_RUN.sub(
            lambda match: "_{" + "".join(map(_LOWERED.__getitem__, match[0])) + "}", text
        ).translate(_TRANSLATE)
    text = _DELIMITER.sub("\ue000" if len(_DELIMITER.findall(text)) == 1 else "", text)
    text = " ".join(_CLEAN.sub(" ", text).split())  # no long run of spaces is left for the patterns to walk twice
    if "." in text:
        text = _DOTS.sub(r" \\ldots ", _HALF_DAY.sub(r"\1\2", _ONGOING.sub(_cycle, text)))
    if "circ" in text:
        text = _CELSIUS.sub(lambda match: rf"\text{{ deg{match[1] or match[2]} }}", text)
    if text[:1] == "<" and text[-1:] == ">":
        text = rf"\langle {text[1:-1]}\rangle"
    if r"\not" in text or "^" in text:
        text = _NOT_EQUAL.sub(r"\\neq ", _ORDINAL.sub(r"\\text{ th }", text))
    if r"\mathbf" in text:
        text = _BOLD_CHOICE.sub(r"\1", text)
    if r"\dot" in text:
        text = _DOTTED.sub(r"(\1\2\3)", text)
    text = _SIGN_IN_BRACES.sub(
        r"\1", _UNIT_FRACTION.sub(r"\\text{ \1/\2 }", _POWER_OF_TEN.sub(r"\\times ", text))
    ).replace("+/-", r"\pm ")
    head = _HEAD.match(text)
    return _TAIL.sub("", text[head.end() :] if head else text)


def _cycle(match: re.Match[str]) -> str:
    """0.1666... as 0.1(6): the shortest run of digits that is written at least twice at the end; dots after anything
    else stay.
    """
    digits = match[1]
    for size in range(1, len(digits) // 2 + 1):
        if digits[-size:] == digits[-2 * size : -size]:
            return f".{digits[:-size]}({digits[-size:]})"
    return rf".{digits}\ldots "


def in_base(digits: str, base: int) -> Fraction:
    whole, _, part = re.sub("[^0-9A-Z.]", "", digits).partition(".")
    try:
        return Fraction(int(whole + part, base if base >= 2 else 99), base ** len(part))
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
    at, brackets, braces = (
        0,
        0,
        [0],
    )  # a comma inside (), [] or \{\} separates; inside TeX braces it groups digits again
    while at < len(text):
        if len(tokens) > MAX_TOKENS:
            raise LatexError("more tokens than the bound")
        char = text[at]
        if char.isspace() or char == "~":
            at += 1
        elif char.isdecimal() and not char.isascii():
            raise LatexError("digits of another script")
        elif char.isdecimal() or (char == "." and text[at + 1 : at + 2] != "" and text[at + 1] in "0123456789\\("):
            is_index = bool(tokens) and tokens[-1].kind in ("_", "^") and char != "."
            plain = _INDEX if is_index else _NUMBER[comma_is_list or brackets > 0]
            if match := _REPEATING.match(text, at):
                whole, part, cycle = match[1], match[2], match[3] or match[4] or match[5]
                value = Fraction(
                    int(whole + part + cycle) - int(whole + part or 0), 10 ** len(part) * (10 ** len(cycle) - 1)
                )
                tokens.append(Token("num", "repeating", value))
            elif match := plain.match(text, at):
                tokens.append(Token("num", match[0], _number(match[0])))
            else:
                raise LatexError("a point without digits")
            at = match.end()
        elif match := TEXT.match(text, at):
            at = match.end()
            tokens.extend(_from_text(match[1].strip(), text.startswith(("(", "{", "_"), at), comma_is_list))
        elif match := _OPEN_TEXT.match(text, at):  # a text that holds groups is read as a group
            at = match.end()
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
            tokens.extend(
                _plain(raw, match[1], tokens, glued=match.start() > 0 and text[match.start() - 1] in "0123456789}")
            )
    tokens.append(Token("end"))
    return tokens


def _from_text(content: str, applied: bool, comma_is_list: bool) -> list[Token]:
    words = content.lower().strip(" ,")
    if content in ("+", "-"):
        return [Token(content)]
    if words in _TEXT_OPERATORS:
        return [Token(_TEXT_OPERATORS[words])]
    if words == "infinity":
        return [Token("cmd", "infty")]
    if content in FUNCTIONS and (applied or content != "min"):  # else minutes
        return [Token("fn", FUNCTIONS[content])]
    numbers = re.sub(r"[\s,]*\b(?:and|or)\b\s*", ", ", content)
    if re.fullmatch(r"[0-9.,\s()+/-]*[0-9][0-9.,\s()+/-]*", numbers) or "\\" in content or content[:1] in CURRENCY:
        return tokenise(numbers, comma_is_list)[:-1]
    if content in ("e", "i"):
        return [Token("sym", content)]
    return _unit_words(words)


def _unit_words(words: str) -> list[Token]:
    """The token of a text, after the factor that it opens with: `million dollars` is `* 1000000` dollars."""
    first, _, rest = words.partition(" ")
    if first.rstrip("s") in MULTIPLES:
        return [Token("*"), Token("num", "", MULTIPLES[first.rstrip("s")]), *_unit_words(rest)]
    return [Token("text", words)] if words else []


def _plain(raw: str, environment: str | None, before: list[Token], glued: bool) -> list[Token]:
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
        return [Token("cmd", _SAME_COMMAND.get(name, name))]
    if raw.isalpha() and raw.isascii():
        lower = raw.lower()
        if lower in _WORDS and not (lower == "inf" and raw != "inf"):
            known = _WORDS[lower]
            return [Token("cmd", known[1:])] if known[0] == "\\" else [Token(known)]
        if raw in FUNCTIONS and not (raw == "min" and before and before[-1].kind == "num"):
            return [Token("fn", FUNCTIONS[raw])]
        if raw in GREEK and len(raw) > 2:
            return [Token("cmd", raw)]
        after_number = before and before[-1].kind in ("num", "}", ")", "cmd", "text")
        if lower == "to" and after_number:
            return [Token(":")]
        is_unit = after_number and (lower in UNITS or lower in LINKING or before[-1].kind == "text")
        if raw in _APPLIED:
            return [Token("fn", raw[:-1]), Token("sym", raw[-1])]
        if (len(raw) >= 4 and (lower in UNITS or not glued)) or (len(raw) >= 2 and is_unit):  # 2abcd is a product
            return _unit_words(lower)
        return [Token("sym", letter) for letter in raw]
    if raw in CURRENCY:
        return [Token("currency", CURRENCY[raw])]
    return [Token({"<=": "≤", ">=": "≥", "!=": "≠", "**": "^", ";": ","}.get(raw, raw))]
