r"""Reads a mathematical answer, in LaTeX or plain infix, into a tree. Nothing is evaluated here.

`parse` is the one door: a tokeniser and a precedence parser, both bounded in length, tokens, depth and digits, so that
its time is bounded whatever a model wrote. The operators of the grammar are in this file, its operands in operands.py.
"""

from __future__ import annotations

import re
from fractions import Fraction

from acejax.verification.math.applications import ALWAYS, has_several
from acejax.verification.math.cleaning import TEXT, LatexError
from acejax.verification.math.lexer import RELATIONS, in_base, tokenise
from acejax.verification.math.operands import Operands
from acejax.verification.math.tree import HUNDREDTH, ZERO, Node, negated, number, product, symbol
from acejax.verification.math.units import SHORT_FOR_NUMBERS, canonical_unit, is_no_unit
from acejax.verification.math.words import number_of

MAX_SUFFIXES = 4
MAX_UNIT_POWER = 9
_DIGITS = r"[0-9A-Z]*\d[0-9A-Z]*|[A-F]{2,}(?=\s*_\s*\{?\s*16)"
_BASED = re.compile(rf"(?:\(\s*({_DIGITS})\s*\)|({_DIGITS}))\s*_\s*(?:\{{\s*\(?(\d+|[a-z]+)\)?\s*\}}|(\d+))", re.ASCII)
_MEASURE = re.compile(
    r"([+-]?[\d.,]+) ((?:m|s|g|h|L|N|J|W|V|k[NJWV]|kPa|[kMG]Hz|M[JW])"
    r"(?: ?/ ?(?:m|s|h|L))?(?: ?\^ ?(?:\{ ?-?\d ?\}|\d))?)",
    re.ASCII,
)
_BEFORE_LETTER = ("/", "per", "sq", "cu", "square", "cubic")  # what makes a unit of the letter after it
_INFIX_COMMANDS = ("over", "choose")
_OPENERS = frozenset(("num", "sym", "fn", "(", "[", r"\{", "{", "lv", "lf", "lc", "begin"))
_SET_OPERATORS = (("∪", "union"), ("∩", "meet"), ("∖", "minus"))
_KNOWN_FUNCTIONS = {("Gamma", 1): "gamma", ("zeta", 1): "zeta", ("C", 2): "binomial"}
_SIGNS = ("+", "-", "+-", "-+")


def parse(text: str, comma_is_list: bool = False, functions: frozenset[str] = frozenset()) -> Node:
    """The tree of one answer that `normalise` has cleaned.

    `comma_is_list` says how `1,234` outside brackets reads: as two numbers, or (default) as one. `functions` are
    letters that are no factors before a bracket. Raises LatexError.
    """
    based = _BASED.fullmatch(TEXT.sub(r"\1", text).strip()) if "_" in text else None
    if based:
        digits, index = based[1] or based[2], based[3] or based[4]
        base = number_of(index)
        if base is None:
            raise LatexError("a base that is no number")
        return number(in_base(digits, int(base)))
    if measure := _MEASURE.fullmatch(text):
        unit = canonical_unit(measure[2].replace("{", ""))
        return Node("unit", (parse(measure[1]),), unit)
    return _Parser(tokenise(text, comma_is_list), functions).answer()


class _Parser(Operands):
    def answer(self) -> Node:
        items = self.items("end")
        return items[0] if len(items) == 1 else Node("list", items)

    def items(self, *closers: str) -> tuple[Node, ...]:
        items = [self.relation()]
        while self.take(","):
            while self.take(","):
                pass
            if self.kind not in closers:
                items.append(self.relation())
        self.expect(*closers)
        return tuple(items)

    def relation(self) -> Node:
        node = self.sets()
        if self.kind in RELATIONS:
            node = self.compared(node)
        if self.at_command(*_INFIX_COMMANDS):  # {1 \over 2}
            if self.next().text == "over":
                return Node("div", (node, self.relation()))
            return Node("fn", (node, self.relation()), "binomial")
        return node

    def compared(self, first: Node) -> Node:
        sides, operators = [first], []
        while self.kind in RELATIONS:
            operators.append(self.next().kind)
            sides.append(self.sets())
        return Node("rel", tuple(sides), " ".join(operators))

    def sets(self) -> Node:
        node = self.expression()
        for kind, op in _SET_OPERATORS:
            if self.kind != kind:
                continue
            parts = [node]
            while self.take(kind):
                parts.append(self.expression())
            node = Node(op, tuple(parts))
        return node

    def expression(self) -> Node:
        terms: list[Node] = []
        currency = ""
        while True:
            negative, either = self.signs()
            if self.kind == "currency":
                currency = self.next().text
                negative ^= self.take("-")
            term = self.product()
            if negative:
                term = _negative(term)
            if either:
                left = _joined("add", terms) if terms else ZERO
                terms = [Node("pm", (left, term), either)]
            else:
                terms.append(term)
            if self.kind not in _SIGNS:
                break
        node = _joined("add", terms)
        return _measured(node, self.unit(currency) or canonical_unit(currency))

    def signs(self) -> tuple[bool, str]:
        """Whether the signs before a term make it negative, and the last ± or ∓ among them."""
        negative, either = False, ""
        while self.kind in _SIGNS:
            sign = self.next().kind
            negative ^= sign == "-"
            if len(sign) == 2:
                either = sign
        return negative, either

    def unit(self, currency: str) -> str:
        if self.kind not in ("text", "currency"):
            return ""
        words: list[str] = []
        while self.continues_unit(words):
            token = self.next()
            if token.kind == "^":
                words.append(f"^{self.unit_power()}")
            else:
                words.append(token.text or token.kind)
        text = " ".join(words)
        unit = canonical_unit(text)
        if currency and words[0] in SHORT_FOR_NUMBERS:
            raise LatexError("a number word that is not read")
        if is_no_unit(text) or any(map(number_of, text.split())):
            raise LatexError("a text that is no unit")
        if not unit and "unit" not in text:
            raise LatexError("a text that is no unit")
        return unit

    def continues_unit(self, words: list[str]) -> bool:
        if self.kind in ("text", "currency"):
            return True
        if self.kind == "sym":
            return words[-1] in _BEFORE_LETTER
        return self.kind in ("^", "/", "*")

    def unit_power(self) -> int:
        power = self.argument()
        sign = 1
        if power.op == "neg" and power.args[0].op == "num":
            power = power.args[0]
            sign = -1
        value = _whole_number(power)
        if value is None or abs(value) > MAX_UNIT_POWER:
            raise LatexError("a unit to no small power")
        return sign * value

    def starts(self) -> bool:
        """Whether the next token can begin a factor, which after another factor means a product."""
        kind = self.kind
        if kind == "cmd":
            return not self.at_command(*_INFIX_COMMANDS)
        if kind == "|":
            return not self.bars
        return kind in _OPENERS

    def product(self, in_function: bool = False) -> Node:
        factors = [self.factor()]
        while True:
            kind, before = self.kind, self.tokens[self.at - 1].kind
            if kind == "*" and not in_function:
                self.next()
                factors.append(self.factor(signed=True))
            elif kind == "/" and not in_function:
                self.next()
                whole = _joined("mul", factors)
                factors = [Node("div", (whole, self.factor(signed=True)))]
            elif kind == "%":  # after the whole product: 33\frac13\%
                self.next()
                factors = [product(*factors, HUNDREDTH)]
            elif kind == "num" and before == "num":
                factors[-1] = self.mixed(factors[-1])
            elif self.starts() and not (in_function and kind in ("fn", "(", "[")):
                self.append_factor(factors, after_number=before == "num")
            else:
                return _joined("mul", factors)

    def append_factor(self, factors: list[Node], after_number: bool) -> None:
        right = self.factor()
        if after_number and _is_proper(factors[-1], right):
            factors[-1] = Node("add", (factors[-1], right))
        else:
            factors.append(right)

    def mixed(self, whole: Node) -> Node:
        """1 1/2"""
        top = number(self.next().value)
        if not self.take("/") or self.kind != "num":
            raise LatexError("two numbers side by side")
        bottom = number(self.next().value)
        part = Node("div", (top, bottom))
        if not _is_proper(whole, part):
            raise LatexError("two numbers side by side")
        return Node("add", (whole, part))

    def factor(self, signed: bool = False) -> Node:
        self.enter()
        negative = False
        while signed and self.kind in ("+", "-"):
            negative ^= self.next().kind == "-"
        node = self.primary()
        suffixes = 0
        while (longer := self.with_suffix(node)) is not None:
            node = longer
            suffixes += 1
            if suffixes > MAX_SUFFIXES:
                raise LatexError("more suffixes than the bound")
        self.leave()
        return negated(node) if negative else node

    def with_suffix(self, node: Node) -> Node | None:
        """The operand with the one suffix that follows it, or None where none does."""
        kind = self.kind
        if kind == "!":
            self.next()
            return Node("fn", (node,), "double factorial" if self.take("!") else "factorial")
        if kind == "^":
            self.next()
            return self.raised(node)
        if kind == "_" and _takes_index(node):
            self.next()
            return self.subscripted(node)
        if kind == "'" and node.op == "sym":
            self.next()
            return symbol(f"{node.value}'")
        if kind in ("(", "[") and self.is_function(node):
            return self.applied(node)
        if self.at_command("degree"):
            self.next()
            return Node("deg", (node,))
        return None

    def is_function(self, node: Node) -> bool:
        """Whether a letter, or its power, is applied to the bracket after it."""
        if node.op == "pow":
            return node.args[0].op == "sym" and _bare_letter(node.args[0]) in ALWAYS
        if node.op != "sym":
            return False
        letter = _bare_letter(node)
        if letter in ALWAYS or letter in self.functions:
            return True
        return self.kind == "(" and has_several(self.tokens, self.at)

    def applied(self, letter: Node) -> Node:
        inside = self.nested_primary()
        arguments = inside.args if inside.op == "group" else (inside,)
        name = _KNOWN_FUNCTIONS.get((str(letter.value), len(arguments)))
        if name:
            return Node("fn", arguments, name)
        return Node("apply", (letter, *arguments))

    def raised(self, node: Node) -> Node:
        if self.degree():
            return Node("deg", (node,))
        if node.op == "sym" and (primes := self.primes()):
            return symbol(f"{node.value}{primes}")
        negative = self.take("-")
        power = self.argument(whole=True)
        return Node("pow", (node, negated(power) if negative else power))

    def degree(self) -> bool:
        r"""Whether a power is \circ or \degree. If it is not, nothing is taken."""
        mark = self.at
        braced = self.take("{")
        if self.at_command("circ", "degree"):
            self.next()
            if not braced or self.take("}"):
                return True
        self.at = mark
        return False

    def primes(self) -> str:
        """The primes that a power consists of. If it is anything else, nothing is taken."""
        mark, count = self.at, 0
        braced = self.take("{")
        while self.take("'"):
            count += 1
        if count and (not braced or self.take("}")):
            return "'" * count
        self.at = mark
        return ""

    def subscripted(self, node: Node) -> Node:
        if node.op in ("pow", "apply"):  # v^2_0, f(x)_{\max}
            letter, *others = node.args
            return Node(node.op, (self.subscripted(letter), *others))
        start = self.at
        if node.op != "num":
            self.skip_index()
            return symbol(f"{node.value}_{self.text_since(start)}")
        index = self.argument()
        if not isinstance(index.value, Fraction):
            raise LatexError("a base that is no number")
        digits = self.tokens[start - 2].text
        return number(in_base(digits, int(index.value)))


def _takes_index(node: Node) -> bool:
    return node.op in ("sym", "num", "text", "apply") or (node.op == "pow" and node.args[0].op == "sym")


def _bare_letter(node: Node) -> str:
    """The letter without its index and primes."""
    return str(node.value).partition("_")[0].rstrip("'")


def _joined(op: str, nodes: list[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else Node(op, tuple(nodes))


def _negative(term: Node) -> Node:
    if term.op == "deg":
        return Node("deg", (negated(term.args[0]),))
    return negated(term)


def _measured(node: Node, unit: str) -> Node:
    """The value of a node with a unit, which is named as `canonical_unit` does; an empty one is none."""
    if unit == "percent^1":
        return product(node, HUNDREDTH)
    if unit == "deg^1":
        return Node("deg", (node,))
    return Node("unit", (node,), unit) if unit else node


def _is_proper(whole: Node, part: Node) -> bool:
    r"""Whether 1 followed by \frac12 is a mixed number: a whole number, then a proper fraction of whole numbers."""
    if part.op != "div":
        return False
    top, bottom = map(_whole_number, part.args)
    if top is None or bottom is None or _whole_number(whole) is None:
        return False
    return 0 < top < bottom


def _whole_number(node: Node) -> int | None:
    value = node.value
    if not isinstance(value, Fraction) or value.denominator != 1:
        return None
    return value.numerator
