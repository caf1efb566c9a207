"""The parser's place in its tokens, and the rules of the grammar that its two parts call in each other."""

from __future__ import annotations

from abc import ABC, abstractmethod

from acejax.verification.math.cleaning import LatexError
from acejax.verification.math.lexer import Token
from acejax.verification.math.tree import Node

MAX_DEPTH = 40


class Cursor(ABC):
    def __init__(self, tokens: list[Token], functions: frozenset[str] = frozenset()):
        self.tokens = tokens
        self.functions = functions  # letters that are applied to what stands in brackets after them
        self.at = 0
        self.depth = 0

    @property
    def kind(self) -> str:
        return self.tokens[self.at].kind

    def at_command(self, *names: str) -> bool:
        token = self.tokens[self.at]
        return token.kind == "cmd" and token.text in names

    def next(self) -> Token:
        token = self.tokens[self.at]
        self.at += token.kind != "end"
        return token

    def take(self, *kinds: str) -> bool:
        if self.kind in kinds:
            self.at += 1
            return True
        return False

    def expect(self, *kinds: str) -> None:
        if self.next().kind not in kinds:
            raise LatexError(f"expected {kinds[0]}")

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise LatexError("deeper than the bound")

    def leave(self) -> None:
        self.depth -= 1

    def skip_index(self) -> None:
        """Passes over one token, or a braced group whatever it holds."""
        depth = 0
        while True:
            kind = self.next().kind
            if kind == "end":
                raise LatexError("an index that does not end")
            depth += (kind == "{") - (kind == "}")
            if depth <= 0:
                return

    def text_since(self, start: int) -> str:
        """What the tokens from a place to here spell, without braces."""
        taken = (token for token in self.tokens[start : self.at] if token.kind not in "{}")
        return "".join(token.text or token.kind for token in taken)

    @abstractmethod
    def items(self, *closers: str) -> tuple[Node, ...]:
        """Relations with commas between them, up to one of the closers."""

    @abstractmethod
    def relation(self) -> Node:
        """Sets and expressions with =, < and their like between them."""

    @abstractmethod
    def expression(self) -> Node:
        """Terms with + and - between them, and the unit of the whole."""

    @abstractmethod
    def product(self, in_function: bool = False) -> Node:
        """Factors side by side or with signs between them; fewer of them as the argument of a function."""

    @abstractmethod
    def factor(self, signed: bool = False) -> Node:
        """An operand with its powers and other suffixes."""
