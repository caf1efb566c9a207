r"""Cleans the text of a mathematical answer before it is cut into tokens: delimiters, sizes and spaces go, signs of
unicode become LaTeX. Linear time.
"""

from __future__ import annotations

import re
import unicodedata

from acejax.verification.math.environments import without_environments
from acejax.verification.math.units import DOLLAR, canonical_unit, may_be_left_out

MAX_CHARS = 2000


class LatexError(ValueError):
    """The text is no answer that the parser reads, or it passes a bound."""


def grouped(text: str, size: int) -> list[list[str]]:
    """The words of a table, so many to a row."""
    words = text.split()
    return [words[i : i + size] for i in range(0, len(words), size)]


_SIGNS = r"""
∞ \infty √ \sqrt ∛ \cbrt ∪ \cup ∩ \cap ∖ \setminus ± \pm ∓ \mp × \times · \cdot ⋅ \cdot ∙ \cdot ÷ \div ≤ \le ≥ \ge ⩽
\le ⩾ \ge ≠ \ne ≈ \approx ≃ \approx ≅ \approx ≡ \equiv ∀ \forall ∈ \in ∅ \emptyset ∨ \lor ∧ \land → \to ⟨ \langle ⟩
\rangle ⌊ \lfloor ⌋ \rfloor ⌈ \lceil ⌉ \rceil ℝ \mathbb{R} ℤ \mathbb{Z} ℕ \mathbb{N} ℚ \mathbb{Q} ℂ \mathbb{C} ∠ \angle
… \ldots ϕ \phi ϵ \epsilon
"""
_GREEK_LETTERS = """
alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho . sigma tau upsilon phi chi
psi omega
"""
_GREEK_NAMES = _GREEK_LETTERS.split()
_CAPITALS = ("gamma", "delta", "theta", "sigma", "phi", "omega")  # those that differ from a Latin letter
_VULGAR_FRACTIONS = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
_DASHES = "−–—‐‑"
_UNSEEN = "\u200b\u200c\u200d\u2060\ufeff"
_PLAIN_SIGNS = {
    "°": r"^{\circ}",
    "′": "'",
    "∗": "*",
    "∕": "/",
    "\u2044": "/",
    "∶": ":",
    "、": ",",
    "¢": r" \text{ cents}",
}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_RAISED_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_LOWERED_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_WIDE = re.compile(
    "[\uff01-\uff5e\U0001d400-\U0001d7ff]+"
)  # full-width signs and alphabets that stand for plain letters
GREEK = frozenset(_GREEK_NAMES) - {".", "pi"}


def _latex_of_signs() -> dict[int, str]:
    table = dict(_PLAIN_SIGNS)
    for sign, command in grouped(_SIGNS, 2):
        table[sign] = f" {command} "
    for i, name in enumerate(_GREEK_NAMES):
        if name != ".":
            table[chr(0x3B1 + i)] = rf" \{name} "
        if name in _CAPITALS:
            table[chr(0x391 + i)] = rf" \{name.title()} "
    for sign in _VULGAR_FRACTIONS:
        top, bottom = unicodedata.normalize("NFKC", sign).split("\u2044")
        table[sign] = rf"\frac{{{top}}}{{{bottom}}}"
    table.update(dict.fromkeys(_DASHES, "-"))
    table.update(dict.fromkeys(_UNSEEN, " "))
    return str.maketrans(table)


_LATEX_OF_SIGNS = _latex_of_signs()

_TEXT_COMMAND = r"\\(?:text(?:bf|it|rm|normal|tt|sf|sc)?|mbox|hbox|mathrm|operatorname\*?|mathsf|mathtt)\s*"
OPEN_TEXT = re.compile(_TEXT_COMMAND + r"(?=\{)")
TEXT = re.compile(_TEXT_COMMAND + r"\{([^{}]*)\}")

_DELIMITER = re.compile(r"(?<!\\)\$")
_MATH_IN_TEXT = re.compile(r"\\text\s*\{\s*\$([^${}]*)\$\s*\}")
_NO_CONTENT = re.compile(
    r"\\(?:left|right|[bB]igg?[lr]?|middle)(?![A-Za-z])\.?|(?<!\\)\\[()\[\]]|\\phantom\s*(?:\{[^{}]*\}|.)|\\(?:text)?color\s*\{[^{}]*\}"
    r"|\\[hv]space\*?\s*\{[^{}]*\}|\\(?:boxed|fbox|ensuremath|large|Large|LARGE|small|normalsize|bf|rm|it)(?![A-Za-z])"
)
_DECIMAL_COMMA = re.compile(
    r"(?<![\d},.])(\d+)\{,\}(\d{1,2}|\d{4,9})(?![\d{.])", re.ASCII
)  # three digits are a thousand
_BARE_POINT = re.compile(r"(?<=\d)\.(?=[/*+)-])", re.ASCII)
_POWER_AND_NUMBER = re.compile(r"(?<=[\d)}])( ?\^ ?\d{1,9}) (?=\d)", re.ASCII)  # 2^6 3^5
_ROUGHLY = r"(?:approximately|approx\.?|about|roughly)"
_ABOUT = re.compile(
    rf"(?<=\S) ?\( ?(?:\\approx|\\text ?\{{ ?{_ROUGHLY} ?\}}) ?([^()]{{1,40}})\)$"
    rf"|(?<=\S) ?,?\\text ?\{{[, ]*(?:or|which is)? ?\(?{_ROUGHLY} ?([\d.]*)\)? ?\}}"
    r"|(?<=\S) ?,?\\text ?\{ ?(?:or|i\.e\.,?) ?\} ?\\approx"
)
_ONGOING = re.compile(r"\.(\d{1,60})\s*(?:\.{2,}|\\[lc]?dots(?![A-Za-z]))", re.ASCII)
_HALF_DAY = re.compile(r"(?<![A-Za-z])([aApP])\.\s?([mM])(?![A-Za-z])\.?")
_DOTS = re.compile(r"\.\s?\.[.\s]*")
_CELSIUS = re.compile(
    r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)\s*(?:\\(?:text|mathrm)\s*\{\s*([CF])\s*\}|([CF])(?![A-Za-z_]))"
)
_ORDINAL = re.compile(r"\^\s*\{?\s*\\text(?:rm)?\s*\{(?:st|nd|rd|th)\}\s*\}?")
_NOT_EQUAL = re.compile(r"\\not\s*=")
_BOLD_CHOICE = re.compile(r"\\mathbf\s*\{\s*(\([A-H]\))\s*\}")
_DOTTED = re.compile(r"(?<=[.\d])\\dot\s*\{?(\d)\}?(\d{0,20})\\dot\s*\{?(\d)\}?", re.ASCII)
_POWER_OF_TEN = re.compile(r"(?<=\d)\s?[xX]\s?(?=10\s?(?:\^|\*\*))", re.ASCII)
_COUNTED = re.compile(r"(?<=[\d}])(?:\\ | )?\((?:\\text\{)? ?([A-Za-z]{3}[A-Za-z ]{0,40})\}? ?\)$")
_UNIT_IN_BRACES = r"\{\s*\\(?:text|mathrm)\s*\{([A-Za-z ]{1,20})\}\s*\}"
_UNIT_FRACTION = re.compile(rf"\\[dt]?frac\s*{_UNIT_IN_BRACES}\s*{_UNIT_IN_BRACES}")
_SIGN_IN_BRACES = re.compile(r"(?<![A-Za-z])\{([-+])\}")
_HEAD = re.compile(r"(?:\s|=|\\approx(?![A-Za-z])|\\[ ,;!])+")
_TAIL = re.compile(r"(?:\s|(?<!\\)[.,;:]|\\[ ,;!:]|(?<=\d)\\\\)+$")


def normalise(text: str) -> str:
    """Text without mathematics delimiters, sizing commands and closing punctuation; unicode signs become LaTeX. Linear
    time. Raises LatexError where it is too long.
    """
    if len(text) > MAX_CHARS:
        raise LatexError("longer than the bound")
    if "$" in text:
        text = _MATH_IN_TEXT.sub(r"{\1}", text)
        text = text.replace(r"\$", DOLLAR)
    if not text.isascii():
        text = _without_unicode(text)
    if "$" in text:  # a lone one is money
        alone = len(_DELIMITER.findall(text)) == 1
        text = _DELIMITER.sub(DOLLAR if alone else "", text)

    # No long run of spaces is left for the patterns to walk twice.
    text = " ".join(_NO_CONTENT.sub(" ", text).split())
    text = _without_shorthand(text)
    head = _HEAD.match(text)
    if head:
        text = text[head.end() :]
    return _TAIL.sub("", text)


def _without_unicode(text: str) -> str:
    text = _WIDE.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    text = _RAISED_RUN.sub(lambda match: f"^{{{match[0].translate(_RAISED)}}}", text)
    text = _LOWERED_RUN.sub(lambda match: f"_{{{match[0].translate(_LOWERED)}}}", text)
    return text.translate(_LATEX_OF_SIGNS)


def _without_remarks(text: str) -> str:
    """Environments as lists, approximations as relations, decimal commas as points."""
    if r"\begin" in text:
        text = without_environments(text)
    if "approx" in text or "about" in text or "roughly" in text:
        text = _ABOUT.sub(_about, text)
    if "{,}" in text:
        text = _DECIMAL_COMMA.sub(r"\1.\2", text)
    return text


def _without_shorthand(text: str) -> str:
    """What people write for short, as the notation that the tokeniser knows. Most texts hold none of it."""
    text = _without_remarks(text)
    if "." in text:
        text = _BARE_POINT.sub("", text)
        text = _ONGOING.sub(_with_cycle, text)
        text = _HALF_DAY.sub(r"\1\2", text)
        text = _DOTS.sub(r" \\ldots ", text)
    if "circ" in text:
        text = _CELSIUS.sub(lambda match: rf"\text{{ deg{match[1] or match[2]} }}", text)
    if text.startswith("<") and text.endswith(">"):
        text = rf"\langle {text[1:-1]}\rangle"
    if "^" in text:
        text = _POWER_AND_NUMBER.sub(r"\1 \\cdot ", text)
        text = _ORDINAL.sub(r"\\text{ th }", text)
    if r"\not" in text:
        text = _NOT_EQUAL.sub(r"\\neq ", text)
    if r"\mathbf" in text:
        text = _BOLD_CHOICE.sub(r"\1", text)
    if r"\dot" in text:
        text = _DOTTED.sub(r"(\1\2\3)", text)
    if text.endswith(")"):
        text = _COUNTED.sub(_without_brackets, text)
    text = _POWER_OF_TEN.sub(r"\\times ", text)
    text = _UNIT_FRACTION.sub(r"\\text{ \1/\2 }", text)
    text = _SIGN_IN_BRACES.sub(r"\1", text)
    return text.replace("+/-", r"\pm ")


def _about(match: re.Match[str]) -> str:
    """An approximation after the exact value, as a relation to it."""
    return rf" \approx {match[1] or match[2] or ''}"


def _without_brackets(match: re.Match[str]) -> str:
    """9 (apples) as 9 apples, where nothing but a unit stands in the brackets."""
    words = match[1].strip()
    return rf" \text{{ {words} }}" if may_be_left_out(canonical_unit(words)) else match[0]


def _with_cycle(match: re.Match[str]) -> str:
    """0.1666... as 0.1(6): the shortest run of digits that is written at least twice at the end; dots after anything
    else stay.
    """
    digits = match[1]
    for length in range(1, len(digits) // 2 + 1):
        if digits[-length:] == digits[-2 * length : -length]:
            return f".{digits[:-length]}({digits[-length:]})"
    return rf".{digits}\ldots "
