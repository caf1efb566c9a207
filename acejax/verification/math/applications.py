r"""Which letters before a bracket are functions, and which are factors: decided before the texts are parsed.

* `f`, `g`, `J`, \Gamma and \zeta, with any index or primes, are always functions: f(x)+f(y) is not f(x+y).
* Any letter before several arguments is one: u(x,y).
* h, F, G, H, P, \phi, \psi, \Phi and \Psi are functions where somewhere one stands before one plain number or letter,
as in P(2) or P(A), or where neither answer has it without a bracket.
* Any other letter is a function where both hold: it stands before one plain number or letter, as in u(2) or u(x), and
neither answer has it without a bracket.
* Else it is a factor: x(x+1) and k(x+y) are products, and so is P(1+r) beside rP+P.

The last three rules look at both answers together, because a letter cannot mean two things in them. \Gamma, \zeta, erf
and C(n,k) have values; any other function is opaque: equal arguments give equal values, and nothing else is known.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from acejax.verification.math.cleaning import GREEK, LatexError
from acejax.verification.math.lexer import Token, tokenise

CACHED = 8192  # texts whose letters are kept
ALWAYS = frozenset(("f", "g", "J", "Gamma", "zeta"))
_LIKELY = frozenset(("h", "F", "G", "H", "P", "phi", "psi", "Phi", "Psi"))
_OPENERS = {"(": ")", "[": "]"}
_MAX_PLAIN = 4  # tokens of a plain argument: -2/3
_PLAIN = re.compile("-?(?:N|L|N?L|N/N)")  # N a number, L a letter
_BEFORE_BRACKET = re.compile(r"[A-Za-z}'\d_]\s?[(\[]")


class _Letters(NamedTuple):
    bare: frozenset[str]  # without a bracket after them
    plain: frozenset[str]  # before one plain number or letter
    applied: frozenset[str]  # before any brackets


_NONE = _Letters(frozenset(), frozenset(), frozenset())


def functions_in(a: str, b: str) -> frozenset[str]:
    """The letters that are functions in two cleaned answers, beside those that always are."""
    if not _BEFORE_BRACKET.search(a) and not _BEFORE_BRACKET.search(b):
        return frozenset()
    x, y = letters_in(a), letters_in(b)
    likely = (x.applied | y.applied) & _LIKELY
    plain = x.plain | y.plain
    return ((likely | plain) - x.bare - y.bare) | (plain & _LIKELY)


@lru_cache(maxsize=CACHED)
def letters_in(text: str) -> _Letters:
    """What stands after each letter of a cleaned text."""
    try:
        tokens = tokenise(text, comma_is_list=False)
    except LatexError:
        return _NONE
    bare, plain, applied = set(), set(), set()
    at = 0
    while at < len(tokens):
        name = _letter(tokens[at])
        at += 1
        if not name:
            continue
        at = _after_marks(tokens, at)
        if tokens[at].kind not in _OPENERS:
            bare.add(name)
            continue
        applied.add(name)
        if _is_plain(tokens, at):
            plain.add(name)
    return _Letters(frozenset(bare), frozenset(plain), frozenset(applied))


def _letter(token: Token) -> str:
    """The name of a letter, or "" for any other token."""
    is_greek = token.kind == "cmd" and token.text.lower() in GREEK
    return token.text if is_greek or token.kind == "sym" else ""


def _after_marks(tokens: list[Token], at: int) -> int:
    """Where the index and the primes of a letter end."""
    while tokens[at].kind in ("'", "_"):
        index = tokens[at].kind == "_"
        at += 1
        if index and tokens[at].kind == "{":
            while tokens[at].kind not in ("}", "end"):
                at += 1
        if index and tokens[at].kind != "end":
            at += 1
    return at


def _is_plain(tokens: list[Token], opener: int) -> bool:
    """Whether brackets hold one plain number or letter."""
    close = _OPENERS[tokens[opener].kind]
    spelled = ""
    for token in tokens[opener + 1 : opener + 2 + _MAX_PLAIN]:
        if token.kind == close:
            return _PLAIN.fullmatch(spelled) is not None
        spelled += _kind_of(token)
    return False


def _kind_of(token: Token) -> str:
    if token.kind == "num":
        return "N"
    if token.kind in ("sym", "cmd"):
        return "L"
    return token.kind


def has_several(tokens: list[Token], opener: int) -> bool:
    """Whether the parentheses that open here hold several arguments."""
    depth, several = 0, False
    for token in tokens[opener:]:
        if token.kind in ("(", "[", r"\{", "{"):
            depth += 1
        elif token.kind in (")", "]", r"\}", "}"):
            depth -= 1
            if not depth:
                return several and token.kind == ")"
        elif token.kind == "," and depth == 1:
            several = True
    return False
