r"""Reads a mathematical answer, in LaTeX or plain infix, into a tree. Nothing is evaluated here.

`parse` is the one door: a tokeniser and a precedence parser, both bounded in length, tokens, depth and digits, so that
its time is bounded whatever a model wrote.
"""

from __future__ import annotations

from fractions import Fraction

from acejax.verification.math.lexer import (
    BASED,
    FUNCTIONS,
    GREEK,
    MEASURE,
    RELATIONS,
    TEXT,
    LatexError,
    Token,
    in_base,
    tokenise,
)
from acejax.verification.math.tree import HUNDREDTH, INFINITY, ZERO, Node
from acejax.verification.math.units import canonical_unit, is_no_unit
from acejax.verification.math.words import number_of

MAX_DEPTH = 40
_BEFORE_LETTER = ("/", "per", "sq", "cu", "square", "cubic")  # what makes a unit of the letter after it
_OTHER_LETTERS = frozenset(
    ("angle", "measuredangle", "triangle", "ell", "hbar", "imath", "jmath", "nabla", "partial", "Re", "Im")
)
INFIX_COMMANDS = ("over", "choose")
COMMAND_LETTERS = GREEK | {name.title() for name in GREEK} | _OTHER_LETTERS


def parse(text: str, comma_is_list: bool = False) -> Node:
    """The tree of one answer that `normalise` has cleaned.

    `comma_is_list` says how `1,234` outside brackets reads: as two numbers, or (default) as one. Raises LatexError.
    """
    if "_" in text and (based := BASED.fullmatch(TEXT.sub(r"\1", text).strip())):
        base = number_of(based[3] or based[4])
        if base is None:
            raise LatexError("a base that is no number")
        return Node("num", value=in_base(based[1] or based[2], int(base)))
    if measure := MEASURE.fullmatch(text):
        return Node("unit", (parse(measure[1]),), canonical_unit(measure[2].replace("{", "")))
    return _Parser(tokenise(text, comma_is_list)).answer()


class _Parser:
    def __init__(self, tokens: list[Token]):
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0
        self.indices: list[str] = []  # of the sums around, where i and e are letters

    @property
    def kind(self) -> str:
        return self.tokens[self.at].kind

    def next(self) -> Token:
        token = self.tokens[self.at]
        self.at += token.kind != "end"
        return token

    def take(self, *kinds: str) -> bool:
        if self.kind in kinds:
            self.at += 1
            return True
        return False

    def expect(self, *kinds: str) -> str:
        kind = self.next().kind
        if kind not in kinds:
            raise LatexError(f"expected {kinds[0]}")
        return kind

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
        sides, operators = [self.sets()], []
        while self.kind in RELATIONS:
            operators.append(self.next().kind)
            sides.append(self.sets())
        node = Node("rel", tuple(sides), " ".join(operators)) if operators else sides[0]
        if self.kind == "cmd" and self.tokens[self.at].text in INFIX_COMMANDS:  # {1 \over 2}
            over = self.next().text == "over"
            node = Node("div" if over else "fn", (node, self.relation()), "" if over else "binomial")
        return node

    def sets(self) -> Node:
        node = self.expression()
        for kind, op in (("∪", "union"), ("∩", "meet"), ("∖", "minus")):
            parts = [node]
            while self.take(kind):
                parts.append(self.expression())
            node = Node(op, tuple(parts)) if len(parts) > 1 else node
        return node

    def expression(self) -> Node:
        terms: list[Node] = []
        currency = ""
        while True:
            negative, both = False, ""
            while self.kind in ("+", "-", "+-", "-+"):
                sign = self.next().kind
                negative ^= sign == "-"
                both = sign if len(sign) == 2 else both
            if self.kind == "currency":
                currency = self.next().text
                negative ^= self.take("-")
            term = self.product()
            if negative:
                term = Node("deg", (Node("neg", term.args),)) if term.op == "deg" else Node("neg", (term,))
            if both:
                left = ZERO if not terms else terms[0] if len(terms) == 1 else Node("add", tuple(terms))
                terms = [Node("pm", (left, term), both)]
            else:
                terms.append(term)
            if self.kind not in ("+", "-", "+-", "-+"):
                break
        node = terms[0] if len(terms) == 1 else Node("add", tuple(terms))
        unit = self.unit() or currency
        if unit in ("percent^1", "percent"):
            return Node("mul", (node, HUNDREDTH))
        if unit == "deg^1":
            return Node("deg", (node,))
        return Node("unit", (node,), canonical_unit(unit)) if canonical_unit(unit) else node

    def unit(self) -> str:
        words: list[str] = []
        while self.kind in ("text", "currency") or (
            words and (self.kind in ("^", "/", "*") or (words[-1] in _BEFORE_LETTER and self.kind == "sym"))
        ):
            token = self.next()
            if token.kind == "^":
                power = self.argument()
                if power.op == "neg" and power.args[0].op == "num":
                    power = Node("num", value=-power.args[0].value)  # type: ignore[operator]
                if not isinstance(power.value, Fraction) or power.value.denominator != 1 or abs(power.value) > 9:
                    raise LatexError("a unit to no small power")
                words.append(f"^{int(power.value)}")
            else:
                words.append(token.text or token.kind)
        text = " ".join(words)
        unit = canonical_unit(text)
        if is_no_unit(text) or any(map(number_of, text.split())) or (words and not unit and "unit" not in text):
            raise LatexError("a text that is no unit")
        return unit

    def starts(self) -> bool:
        """Whether the next token can begin a factor, which after another factor means a product."""
        if self.kind == "cmd":
            return self.tokens[self.at].text not in INFIX_COMMANDS
        return self.kind in ("num", "sym", "fn", "(", "[", r"\{", "{", "lv", "lf", "lc", "begin") or (
            self.kind == "|" and not self.bars
        )

    def product(self, in_function: bool = False) -> Node:
        factors = [self.factor()]
        while True:
            before = self.tokens[self.at - 1]
            if not in_function and self.take("*"):
                factors.append(self.factor(signed=True))
            elif not in_function and self.take("/"):
                whole = factors[0] if len(factors) == 1 else Node("mul", tuple(factors))
                factors = [Node("div", (whole, self.factor(signed=True)))]
            elif self.take("%"):  # after the whole product: 33\frac13\%
                factors = [Node("mul", (*factors, HUNDREDTH))]
            elif self.kind == "num" and before.kind == "num":
                factors[-1] = self.mixed(factors[-1])
            elif self.starts() and not (in_function and self.kind in ("fn", "(", "[")):
                right = self.factor()
                if before.kind == "num" and _proper(factors[-1], right):
                    factors[-1] = Node("add", (factors[-1], right))
                else:
                    factors.append(right)
            else:
                return factors[0] if len(factors) == 1 else Node("mul", tuple(factors))

    def mixed(self, whole: Node) -> Node:
        top = Node("num", value=self.next().value)
        if not self.take("/") or self.kind != "num":
            raise LatexError("two numbers side by side")
        part = Node("div", (top, Node("num", value=self.next().value)))
        if not _proper(whole, part):
            raise LatexError("two numbers side by side")
        return Node("add", (whole, part))

    def factor(self, signed: bool = False) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise LatexError("deeper than the bound")
        negative = False
        while signed and self.kind in ("+", "-"):
            negative ^= self.next().kind == "-"
        node = self.primary()
        wraps = 0
        while True:
            if self.take("!"):
                node = Node("fn", (node,), "double factorial" if self.take("!") else "factorial")
            elif self.kind == "cmd" and self.tokens[self.at].text == "degree":
                self.next()
                node = Node("deg", (node,))
            elif self.take("^"):
                if self.degree():
                    node = Node("deg", (node,))
                elif node.op == "sym" and (primes := self.primes()):
                    node = Node("sym", value=f"{node.value}{primes}")
                else:
                    negate = self.take("-")
                    power = self.argument(whole=True)
                    node = Node("pow", (node, Node("neg", (power,)) if negate else power))
            elif self.kind == "'" and node.op == "sym":
                self.next()
                node = Node("sym", value=f"{node.value}'")
            elif self.kind == "_" and node.op in ("sym", "num"):
                self.next()
                node = self.subscript(node)
            else:
                break
            wraps += 1
            if wraps > 4:
                raise LatexError("more suffixes than the bound")
        self.depth -= 1
        return Node("neg", (node,)) if negative else node

    def degree(self) -> bool:
        mark = self.at
        braced = self.take("{")
        if self.kind == "cmd" and self.next().text in ("circ", "degree") and (not braced or self.take("}")):
            return True
        self.at = mark
        return False

    def primes(self) -> str:
        mark, count = self.at, 0
        braced = self.take("{")
        while self.take("'"):
            count += 1
        if count and (not braced or self.take("}")):
            return "'" * count
        self.at = mark
        return ""

    def subscript(self, node: Node) -> Node:
        start = self.at
        index = self.argument()
        if node.op == "num":
            if not isinstance(index.value, Fraction):
                raise LatexError("a base that is no number")
            return Node("num", value=in_base(self.tokens[start - 2].text, int(index.value)))
        return Node(
            "sym",
            value=f"{node.value}_"
            + "".join(t.text or t.kind for t in self.tokens[start : self.at] if t.kind not in "{}"),
        )

    def argument(self, digit: bool = False, whole: bool = False) -> Node:
        r"""A braced group, else one token: one digit where TeX takes one (\frac12), a whole number after ^ and \sqrt as
        people mean it."""
        if self.take("{"):
            node = self.relation()
            self.expect("}")
            return node
        token = self.tokens[self.at]
        if digit and token.kind == "num" and token.text.isdecimal() and len(token.text) > 1:
            rest = token.text[1:]
            self.tokens[self.at] = Token("num", rest, Fraction(int(rest)))
            return Node("num", value=Fraction(int(token.text[0])))
        if whole and token.kind in ("fn", "cmd", "(", "sym", "num"):
            return (
                self.factor()
                if token.kind in ("fn", "cmd") or self.tokens[self.at + 1].kind == "^"
                else self.nested_primary()
            )
        return self.nested_primary()

    def nested_primary(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise LatexError("deeper than the bound")
        node = self.primary()
        self.depth -= 1
        return node

    def primary(self) -> Node:
        token = self.next()
        kind = token.kind
        if kind == "num":
            return Node("num", value=token.value)
        if kind == "sym":
            return Node("const" if token.text in "ei" and token.text not in self.indices else "sym", value=token.text)
        if kind == "text":
            return Node("text", value=token.text)
        if kind == "fn":
            return self.function(token.text)
        if kind in ("(", "[", r"\{", "{", "⟨"):
            return self.group(kind)
        if kind in ("lv", "|"):
            self.bars += kind == "|"
            inside = self.expression()
            self.expect("rv", "lv") if kind == "lv" else self.expect("|")
            self.bars -= kind == "|"
            return Node("fn", (inside,), "abs")
        if kind in ("lf", "lc"):
            inside = self.expression()
            self.expect("rf" if kind == "lf" else "rc")
            return Node("fn", (inside,), "floor" if kind == "lf" else "ceil")
        if kind == "begin":
            return self.matrix(token.text)
        if kind == "cmd":
            return self.command(token.text)
        raise LatexError("an operand is missing")

    def group(self, opener: str) -> Node:
        bars, self.bars = self.bars, 0
        closers = {"(": (")", "]"), "[": ("]", ")"), r"\{": (r"\}",), "{": ("}",), "⟨": ("⟩",)}[opener]
        if opener == r"\{" and self.take(r"\}"):
            self.bars = bars
            return Node("group", (), "{}")
        if opener == r"\{":
            self.bar_as_colon()
        items = self.items(*closers)
        closer = self.tokens[self.at - 1].kind
        self.bars = bars
        if len(items) == 1 and opener not in (r"\{", "⟨"):
            return items[0]
        return Node(
            "group", items, {r"\{": "{", "⟨": "<"}.get(opener, opener) + {r"\}": "}", "⟩": ">"}.get(closer, closer)
        )

    def bar_as_colon(self) -> None:
        """Reads the one bar before the closing brace of {x | x > 3} as a colon."""
        bars, at = [], self.at
        while self.tokens[at].kind not in (r"\}", "end"):
            if self.tokens[at].kind == "|":
                bars.append(at)
            at += 1
        if len(bars) == 1:
            self.tokens[bars[0]] = Token(":")

    def function(self, name: str) -> Node:
        base = power = None
        while self.kind in ("_", "^"):
            if self.next().kind == "_":
                base = self.argument(whole=True)
            else:
                power = self.argument(whole=True) if not self.take("-") else Node("neg", (self.argument(whole=True),))
        inside = self.nested_primary() if self.kind in ("(", "{") else self.product(in_function=True)
        args = inside.args if inside.op == "group" and name in ("gcd", "lcm", "max", "min", "log") else (inside,)
        if not args or (base and name != "log"):
            raise LatexError(f"{name} with nothing, or with a subscript")
        if name == "lg":
            name, base = "log", Node("num", value=Fraction(10))
        if power == Node("neg", (Node("num", value=Fraction(1)),)) and "a" + name in FUNCTIONS.values():
            return Node("fn", args, "a" + name)
        node = Node("fn", (*args, base) if base else args, name)
        return Node("pow", (node, power)) if power else node

    def command(self, name: str) -> Node:
        if name == "frac":
            return Node("div", (self.argument(digit=True), self.argument(digit=True)))
        if name == "binom":
            return Node("fn", (self.argument(digit=True), self.argument(digit=True)), "binomial")
        if name in ("sqrt", "cbrt"):
            index = Node("num", value=Fraction(2 if name == "sqrt" else 3))
            if self.take("["):
                index = self.expression()
                self.expect("]")
            return Node("root", (self.argument(), index))
        if name in ("sum", "prod"):
            return self.sum(name)
        if name in ("pi", "infty"):
            return Node("const", value="pi" if name == "pi" else "inf")
        if name == "emptyset":
            return Node("group", (), "{}")
        if name in (
            "mathbf",
            "boldsymbol",
            "vec",
            "hat",
            "overline",
            "bar",
            "underline",
            "mathbb",
            "mathcal",
            "mathit",
            "widehat",
        ):
            return self.decorated(name)
        if name not in COMMAND_LETTERS:
            raise LatexError(f"the command {name} is not read here")
        return Node("sym", value=name)

    def decorated(self, name: str) -> Node:
        start = self.at
        inside = self.argument()
        raw = "".join(t.text or t.kind for t in self.tokens[start : self.at] if t.kind not in "{}")
        if name == "mathbb" and raw == "R":
            return Node("group", (Node("neg", (INFINITY,)), INFINITY), "()")
        if inside.op == "num":
            return inside
        if name in ("mathbf", "boldsymbol", "mathit", "underline") and inside.op not in ("sym", "const", "mul"):
            return inside
        if name == "overline" and _has_i(inside):
            return Node("fn", (inside,), "conjugate")
        return Node("sym", value=raw if len(raw) == 1 else f"{name}:{raw}")

    def sum(self, name: str) -> Node:
        low = high = None
        while self.kind in ("_", "^"):
            if self.next().kind == "_":
                low = self.argument()
            else:
                high = self.argument(whole=True)
        if low is None or high is None or low.op != "rel" or low.value != "=" or not isinstance(low.args[0].value, str):
            raise LatexError("a sum needs its index and both ends")
        self.indices.append(low.args[0].value)
        body = self.product()
        self.indices.pop()
        return Node("sum", (Node("sym", value=low.args[0].value), low.args[1], high, body), name)

    def matrix(self, environment: str) -> Node:
        if environment not in ("pmatrix", "bmatrix", "matrix", "vmatrix", "Bmatrix", "array", "smallmatrix"):
            raise LatexError(f"the environment {environment} is not read here")
        rows: list[Node] = []
        cells: list[Node] = []
        while not self.take("end matrix"):
            cells.append(self.relation())
            if self.kind == r"\\" or self.kind == "end matrix":
                rows.append(Node("row", tuple(cells)))
                cells = []
                self.take(r"\\")
            else:
                self.expect("&")
        return Node("matrix", tuple(rows), "det" if environment == "vmatrix" else "")


def _has_i(node: Node) -> bool:
    return node == Node("const", value="i") or any(map(_has_i, node.args))


def _proper(whole: Node, part: Node) -> bool:
    r"""Whether 1 followed by \frac12 is a mixed number: a whole number, then a proper fraction of whole numbers."""
    if whole.op != "num" or part.op != "div" or any(a.op != "num" for a in part.args):
        return False
    values = [n.value for n in (whole, *part.args) if isinstance(n.value, Fraction)]
    return all(v.denominator == 1 for v in values) and 0 < values[1] < values[2]
