r"""Cuts the cleaned text of a mathematical answer into tokens, LaTeX and plain infix alike, in linear time."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from acejax.verification.math.cleaning import GREEK, OPEN_TEXT, TEXT, LatexError, grouped
from acejax.verification.math.nouns import is_counted
from acejax.verification.math.units import CURRENCY, LINKING, MULTIPLES, UNITS

MAX_TOKENS = 800
MAX_EXPONENT = 3000  # of a decimal literal such as 1e400
MAX_EXPONENT_DIGITS = 6


class Token(NamedTuple):
    kind: str  # num, sym, fn, text, cmd, currency, begin, end matrix, end, or the operator itself
    text: str = ""
    value: Fraction = Fraction(0)


_PLAIN_FUNCTIONS = "sin cos tan cot sec csc sinh cosh tanh exp ln log lg floor ceil gcd lcm max min cis abs erf erfc"
_INVERTIBLE = "sin cos tan cot sec csc sinh cosh tanh"
FUNCTIONS = {name: name for name in _PLAIN_FUNCTIONS.split()}
FUNCTIONS |= {prefix + name: "a" + name for prefix in ("arc", "a", "ar") for name in _INVERTIBLE.split()}
_APPLIED = {name + letter for name in ("sin", "cos", "tan", "ln") for letter in "xy"}
_COMMANDS = r"""
cdot * times * ast * div / pm +- mp -+ cup ∪ cap ∩ setminus ∖ backslash ∖ le ≤ leq ≤ leqslant ≤ ge ≥ geq ≥ geqslant ≥
lt < gt > ne ≠ neq ≠ approx ≈ simeq ≈ approxeq ≈ cong ≈ equiv ≡ in ∈ colon : sim ~ to → rightarrow → mid : vert | lor ,
vee , land , wedge , prime ' lbrace \{ rbrace \} lparen ( rparen ) lbrack [ rbrack ] langle ⟨ rangle ⟩ lvert lv rvert
rv lfloor lf rfloor rf lceil lc rceil rc
"""
_INVISIBLE = "quad qquad displaystyle textstyle limits nolimits thinspace enspace space hfill nonumber"
_SYNONYMS = r"""
dfrac frac tfrac frac cfrac frac sfrac frac nicefrac frac dbinom binom tbinom binom varphi phi varepsilon epsilon
vartheta theta varnothing emptyset
"""
_OPERATORS = dict(grouped(_COMMANDS, 2))
_SPACES = frozenset([*_INVISIBLE.split(), *",;:! "])
_ESCAPED = {"{": r"\{", "}": r"\}", "\\": r"\\", "%": "%", "#": "#", "&": "&", "_": "_", "|": "lv"}
_ONE_NAME = dict(grouped(_SYNONYMS, 2))
_NAMED_COMMANDS = {
    "pi": "pi",
    "infinity": "infty",
    "infty": "infty",
    "inf": "infty",
    "sqrt": "sqrt",
    "cbrt": "cbrt",
}
_TEXT_OPERATORS = {"and": ",", "or": ",", "to": ":"}
_TYPED_OPERATORS = {"<=": "≤", ">=": "≥", "!=": "≠", "**": "^", ";": ","}
_CAPITAL_UNITS = {"K": "kelvin", "M": "mega", "G": "giga"}  # letters that are other units when small
# Commands that lost the space before the letter after them: \\quadx, \\lex.
_GLUED = re.compile(
    r"(q?quad|cdot|times|div|leq?|geq?|neq?|equiv|pm|cup|cap|to|pi|alpha|beta|theta|lambda|omega|infty)([A-Za-z])"
)
_NOT_GLUED = frozenset(("top", "neg", "leq", "geq", "neq"))
_AFTER_NUMBER = frozenset(("num", "}", ")", "cmd", "text"))  # the kinds that a unit may follow
RELATIONS = frozenset("=<>≤≥≠≈≡∈:~→")

_SURE = r"(?:\{,\}\s*(?:\\!)?|,\s*\\!\s*|\\[,;: ]| )"  # a comma between digits that can only be a thousands separator
_TAIL_OF_NUMBER = r"(?:\.\d+)?(?:[eE][+-]?\d+(?![\d.]))?"


def _number_pattern(separator: str) -> re.Pattern[str]:
    return re.compile(rf"(?:\d{{1,3}}(?:(?:{separator})\d{{3}}(?!\d))+|\d+|(?=\.\d)){_TAIL_OF_NUMBER}", re.ASCII)


_NUMBER = _number_pattern(_SURE + "|,")
_NUMBER_IN_LIST = _number_pattern(_SURE)
_INDEX = re.compile(r"\d+(?:\.\d+)?", re.ASCII)  # after _ or ^ a space ends the number: \log_2 100
_REPEATING = re.compile(r"(\d*)\.(\d*)(?:\\(?:overline|bar|dot)\s*(?:\{\s*(\d+)\s*\}|(\d))|\((\d+)\))", re.ASCII)
_PIECE = re.compile(
    r"\\begin\s*\{(\w+)\*?\}(?:\{[^{}]*\})?|\\end\s*\{\w+\*?\}|\\[A-Za-z]+|\\.|[A-Za-z]+|<=|>=|!=|\*\*|\S",
    re.DOTALL | re.ASCII,
)
_CONJUNCTION = re.compile(r"[\s,]*\b(?:and|or)\b\s*")
_NUMBERS_ONLY = re.compile(r"[0-9.,\s()+/-]*[0-9][0-9.,\s()+/-]*")
_NO_DIGIT = re.compile("[^0-9A-Z.]")
_NO_LITERAL = re.compile(r"[^\d.eE+-]")


def tokenise(text: str, comma_is_list: bool) -> list[Token]:
    """The tokens of a text that `normalise` has cleaned, the last of them "end".

    `comma_is_list` says how `1,234` outside brackets reads: as two numbers, or as one. Raises LatexError.
    """
    return _Tokeniser(text, comma_is_list).all()


class _Tokeniser:
    r"""A walk over a text. A comma inside (), [] or \{\} separates; inside TeX braces it groups digits again."""

    def __init__(self, text: str, comma_is_list: bool):
        self.text = text
        self.comma_is_list = comma_is_list
        self.at = 0
        self.tokens: list[Token] = []
        self.brackets = 0  # open ones within the innermost TeX braces
        self.outer_brackets: list[int] = []  # open ones around each TeX brace

    def all(self) -> list[Token]:
        text, tokens = self.text, self.tokens
        while self.at < len(text):
            if len(tokens) > MAX_TOKENS:
                raise LatexError("more tokens than the bound")
            char = text[self.at]
            if char.isspace() or char == "~":
                self.at += 1
            elif char.isdecimal() or (char == "." and self._point_opens_number()):
                self._number(char)
            elif char != "\\" or not self._text():
                self._piece()
        tokens.append(Token("end"))
        return tokens

    def _point_opens_number(self) -> bool:
        following = self.text[self.at + 1 : self.at + 2]
        return following != "" and following in "0123456789\\("

    def _number(self, char: str) -> None:
        if not char.isascii():
            raise LatexError("digits of another script")
        if match := _REPEATING.match(self.text, self.at):
            whole, part = match[1], match[2]
            cycle = match[3] or match[4] or match[5]
            self.tokens.append(Token("num", "repeating", _repeating(whole, part, cycle)))
        elif match := self._number_pattern(char).match(self.text, self.at):
            self.tokens.append(Token("num", match[0], _decimal(match[0])))
        else:
            raise LatexError("a point without digits")
        self.at = match.end()

    def _number_pattern(self, char: str) -> re.Pattern[str]:
        if char != "." and self.tokens and self.tokens[-1].kind in ("_", "^"):
            return _INDEX
        return _NUMBER_IN_LIST if self.comma_is_list or self.brackets else _NUMBER

    def _text(self) -> bool:
        r"""Reads \text{…} and its like; a text that holds groups is read as a group. False if none is here."""
        if match := TEXT.match(self.text, self.at):
            self.at = match.end()
            applied = self.text.startswith(("(", "{", "_"), self.at)
            content = match[1].replace("~", " ").strip()
            if self.tokens and self.tokens[-1].kind == "num":
                content = _CAPITAL_UNITS.get(content, content)
            self.tokens.extend(_tokens_of_text(content, applied, self.comma_is_list))
            return True
        if match := OPEN_TEXT.match(self.text, self.at):
            self.at = match.end()
            return True
        return False

    def _piece(self) -> None:
        match = _PIECE.match(self.text, self.at)
        assert match is not None  # its last alternative takes any character that is not a space
        piece = match[0]
        if match[1]:
            self.tokens.append(Token("begin", match[1]))
        elif piece[0] == "\\" and len(piece) > 1:
            self.tokens.extend(_tokens_of_command(piece[1:]))
        elif piece[0].isascii() and piece[0].isalpha():
            glued = self.at > 0 and self.text[self.at - 1] in "0123456789}"
            before = self.tokens[-1].kind if self.tokens else ""
            self.tokens.extend(_tokens_of_letters(piece, before, glued))
        elif piece in CURRENCY:
            self.tokens.append(Token("currency", CURRENCY[piece]))
        else:
            self.tokens.append(Token(_TYPED_OPERATORS.get(piece, piece)))
        self._count_brackets(piece)
        self.at = match.end()

    def _count_brackets(self, piece: str) -> None:
        if piece in ("(", "[", r"\{"):
            self.brackets += 1
        elif piece in (")", "]", r"\}"):
            self.brackets = max(0, self.brackets - 1)
        elif piece == "{":
            self.outer_brackets.append(self.brackets)
            self.brackets = 0
        elif piece == "}" and self.outer_brackets:
            self.brackets = self.outer_brackets.pop()


def in_base(digits: str, base: int) -> Fraction:
    """The value of digits and capital letters, a point among them or not, in a base. Raises LatexError."""
    whole, _, part = _NO_DIGIT.sub("", digits).partition(".")
    try:
        if base < 2:
            raise ValueError
        value = int(whole + part, base)
    except ValueError:
        raise LatexError("digits do not fit the base") from None
    return Fraction(value, base ** len(part))


def _decimal(literal: str) -> Fraction:
    mantissa, _, power = _NO_LITERAL.sub("", literal).lower().partition("e")
    if len(power) > MAX_EXPONENT_DIGITS or abs(int(power or 0)) > MAX_EXPONENT:
        raise LatexError("exponent beyond the bound")
    whole, _, part = mantissa.partition(".")
    exponent = int(power or 0) - len(part)
    if exponent > 0:
        return Fraction(int(whole + part) * 10**exponent)
    return Fraction(int(whole + part), 10**-exponent)


def _repeating(whole: str, part: str, cycle: str) -> Fraction:
    once = int(whole + part or 0)
    twice = int(whole + part + cycle)
    nines = 10 ** len(cycle) - 1
    return Fraction(twice - once, 10 ** len(part) * nines)


def _tokens_of_text(content: str, applied: bool, comma_is_list: bool) -> list[Token]:
    r"""The tokens of what \text{…} holds; `applied` if an argument or an index follows it."""
    words = content.lower().strip(" ,")
    if content in ("+", "-"):
        return [Token(content)]
    if words in _TEXT_OPERATORS:
        return [Token(_TEXT_OPERATORS[words])]
    if words == "infinity":
        return [Token("cmd", "infty")]
    if content in FUNCTIONS and (applied or content != "min"):  # else minutes
        return [Token("fn", FUNCTIONS[content])]

    numbers = _CONJUNCTION.sub(", ", content)
    if "\\" in content or content[:1] in CURRENCY or _NUMBERS_ONLY.fullmatch(numbers):
        return tokenise(numbers, comma_is_list)[:-1]
    if content in ("e", "i"):
        return [Token("sym", content)]
    return _tokens_of_unit(words)


def _tokens_of_unit(words: str) -> list[Token]:
    """The token of a text, after the factor that it opens with: `million dollars` is `* 1000000` dollars."""
    first, _, rest = words.partition(" ")
    multiple = MULTIPLES.get(first.rstrip("s"))
    if multiple is not None:
        return [Token("*"), Token("num", "", multiple), *_tokens_of_unit(rest)]
    return [Token("text", words)] if words else []


def _tokens_of_command(name: str) -> list[Token]:
    r"""The token of \name, or none if it is a space."""
    if name in _SPACES:
        return []
    if name in _OPERATORS:
        return [Token(_OPERATORS[name])]
    if name in FUNCTIONS:
        return [Token("fn", FUNCTIONS[name])]
    if name in _ESCAPED:
        return [Token(_ESCAPED[name])]
    if name not in _NOT_GLUED and (glued := _GLUED.fullmatch(name)):
        return [*_tokens_of_command(glued[1]), Token("sym", glued[2])]
    if name.startswith("end") and "{" in name:
        return [Token("end matrix")]
    return [Token("cmd", _ONE_NAME.get(name, name))]


def _tokens_of_letters(run: str, before: str, glued: bool) -> list[Token]:
    """The tokens of letters without a space between: a function, a name, a unit, or else a product of variables.

    `before` is the kind of the token before it; `glued` if a digit or a brace touches it.
    """
    lower = run.lower()
    if lower in _NAMED_COMMANDS and (lower != "inf" or run == "inf"):
        return [Token("cmd", _NAMED_COMMANDS[lower])]
    if lower in ("and", "or"):
        return [Token(",")]
    if run in FUNCTIONS and not (run == "min" and before == "num"):
        return [Token("fn", FUNCTIONS[run])]
    if run in GREEK and len(run) > 2:
        return [Token("cmd", run)]
    if lower == "to" and before in _AFTER_NUMBER:
        return [Token(":")]
    if run in _APPLIED:
        return [Token("fn", run[:-1]), Token("sym", run[-1])]
    if len(run) > 1 and _is_unit(lower, before, glued):
        return _tokens_of_unit(lower)
    return [Token("sym", letter) for letter in run]


def _is_unit(lower: str, before: str, glued: bool) -> bool:
    if len(lower) >= 4 and (lower in UNITS or not glued):  # 2abcd is a product
        return True
    if len(lower) == 3 and before == "num" and not glued and is_counted(lower):  # 5 red apples
        return True
    if before not in _AFTER_NUMBER:
        return False
    return before == "text" or lower in UNITS or lower in LINKING
