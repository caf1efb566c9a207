r"""Reads a cleaned text as a tree, or as two where a comma may separate thousands or items.

A percent sign is a hundredth. Decimals are exact: 0.3333 is not 1/3. A subscripted numeral is its value in that base.
Words that spell a number are that number, and phrases such as "no solution" or "all real numbers" are the set that they
name.
"""

from __future__ import annotations

import re
from functools import lru_cache

from acejax.verification.math.cleaning import TEXT, LatexError
from acejax.verification.math.latex import parse
from acejax.verification.math.tree import Node
from acejax.verification.math.words import meaning, number_of

CACHED = 8192  # texts whose trees are kept: references come again and again
_AMBIGUOUS_COMMA = re.compile(r"\d,\d{3}(?!\d)")


@lru_cache(maxsize=CACHED)
def readings(text: str, functions: frozenset[str] = frozenset()) -> tuple[Node, ...]:
    """The tree of a text in which these letters are functions, or two where a comma may separate thousands or items;
    none if the text is not readable.
    """
    phrase = prose(text).lower()
    number = number_of(phrase) if phrase[:1].isalpha() else None
    if number is not None:
        return (Node("num", value=number),)
    said = meaning(phrase)
    if said != phrase:
        text = said
    comma_is_list = (False, True) if _AMBIGUOUS_COMMA.search(text) else (False,)
    trees = []
    for choice in comma_is_list:
        try:
            trees.append(parse(text, choice, functions))
        except LatexError:
            continue
    return tuple(trees)


def prose(text: str) -> str:
    r"""A text without \text{…} around its words, and with single spaces."""
    if "\\" not in text:
        return text
    unwrapped = TEXT.sub(r" \1 ", text).replace("\\ ", " ")
    return " ".join(unwrapped.split())
