r"""The operands of the grammar: numbers, names, groups, functions, commands, sums and matrices."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from acejax.verification.math.cleaning import GREEK, LatexError
from acejax.verification.math.cursor import Cursor
from acejax.verification.math.lexer import FUNCTIONS, Token
from acejax.verification.math.tree import INFINITY, MINUS_ONE, NOTHING, REALS, Node, mentions, negated, number, symbol

_OTHER_LETTERS = "angle measuredangle triangle ell hbar imath jmath nabla partial Re Im"
_LETTERS = GREEK.union(map(str.title, GREEK), _OTHER_LETTERS.split())
_TYPEFACES = frozenset(("mathbf", "boldsymbol", "mathit", "underline"))  # they change no meaning but a letter's
_DECORATIONS = _TYPEFACES.union(("vec", "hat", "overline", "bar", "mathbb", "mathcal", "widehat"))
_ENVIRONMENTS = ("pmatrix", "bmatrix", "matrix", "vmatrix", "Bmatrix", "array", "smallmatrix")
_OF_SEVERAL = frozenset(("gcd", "lcm", "max", "min", "log"))
_CLOSERS = {"(": (")", "]"), "[": ("]", ")"), r"\{": (r"\}",), "{": ("}",), "⟨": ("⟩",)}
_BRACKETS = {r"\{": "{", r"\}": "}", "⟨": "<", "⟩": ">"}
_CONSTANTS = {"pi": Node("const", value="pi"), "infty": INFINITY, "emptyset": NOTHING}


class Operands(Cursor):
    def __init__(self, tokens: list[Token], functions: frozenset[str] = frozenset()):
        super().__init__(tokens, functions)
        self.bars = 0  # that are open: the next one closes
        self.indices: list[str] = []  # of the sums around, where i and e are letters

    def argument(self, digit: bool = False, whole: bool = False) -> Node:
        r"""A braced group, else one token: one digit where TeX takes one (\frac12), a whole number after ^ and \sqrt as
        people mean it."""
        if self.take("{"):
            node = self.relation()
            self.expect("}")
            return node
        token = self.tokens[self.at]
        if digit and token.kind == "num" and token.text.isdecimal() and len(token.text) > 1:
            first, rest = token.text[0], token.text[1:]
            self.tokens[self.at] = Token("num", rest, Fraction(int(rest)))
            return number(int(first))
        if whole and self._opens_factor(token):
            return self.factor()
        return self.nested_primary()

    def _opens_factor(self, token: Token) -> bool:
        if token.kind in ("fn", "cmd"):
            return True
        return token.kind in ("(", "sym", "num") and self.tokens[self.at + 1].kind == "^"

    def nested_primary(self) -> Node:
        self.enter()
        node = self.primary()
        self.leave()
        return node

    def primary(self) -> Node:
        """One operand, without its suffixes."""
        token = self.next()
        reader = _READERS.get(token.kind)
        if reader is None:
            raise LatexError("an operand is missing")
        return reader(self, token)

    def number(self, token: Token) -> Node:
        return Node("num", value=token.value)

    def letter(self, token: Token) -> Node:
        if token.text in ("e", "i") and token.text not in self.indices:
            return Node("const", value=token.text)
        return symbol(token.text)

    def text(self, token: Token) -> Node:
        return Node("text", value=token.text)

    def absolute(self, token: Token) -> Node:
        if token.kind == "lv":
            inside = self.expression()
            self.expect("rv", "lv")
        else:
            self.bars += 1
            inside = self.expression()
            self.expect("|")
            self.bars -= 1
        return Node("fn", (inside,), "abs")

    def rounded(self, token: Token) -> Node:
        down = token.kind == "lf"
        inside = self.expression()
        self.expect("rf" if down else "rc")
        return Node("fn", (inside,), "floor" if down else "ceil")

    def group(self, token: Token) -> Node:
        opener = token.kind
        bars, self.bars = self.bars, 0
        if opener == r"\{":
            if self.take(r"\}"):
                self.bars = bars
                return NOTHING
            self.bar_as_colon()
        items = self.items(*_CLOSERS[opener])
        closer = self.tokens[self.at - 1].kind
        self.bars = bars
        if len(items) == 1 and opener not in (r"\{", "⟨"):
            return items[0]
        brackets = _BRACKETS.get(opener, opener) + _BRACKETS.get(closer, closer)
        return Node("group", items, brackets)

    def bar_as_colon(self) -> None:
        """Reads the one bar before the closing brace of {x | x > 3} as a colon."""
        bars, at = [], self.at
        while self.tokens[at].kind not in (r"\}", "end"):
            if self.tokens[at].kind == "|":
                bars.append(at)
            at += 1
        if len(bars) == 1:
            self.tokens[bars[0]] = Token(":")

    def function(self, token: Token) -> Node:
        name = token.text
        base, power = self._base_and_power()
        args = self._arguments(name)
        if not args or (base and name != "log"):
            raise LatexError(f"{name} with nothing, or with a subscript")
        if name == "lg":
            name, base = "log", number(10)
        if power == MINUS_ONE and "a" + name in FUNCTIONS.values():
            return Node("fn", args, "a" + name)
        node = Node("fn", (*args, base) if base else args, name)
        return Node("pow", (node, power)) if power else node

    def _base_and_power(self) -> tuple[Node | None, Node | None]:
        base = power = None
        while self.kind in ("_", "^"):
            if self.next().kind == "_":
                base = self.argument(whole=True)
            elif self.take("-"):
                power = negated(self.argument(whole=True))
            else:
                power = self.argument(whole=True)
        return base, power

    def _arguments(self, name: str) -> tuple[Node, ...]:
        in_brackets = self.kind in ("(", "{")
        inside = self.nested_primary() if in_brackets else self.product(in_function=True)
        if inside.op == "group" and name in _OF_SEVERAL:
            return inside.args
        return (inside,)

    def command(self, token: Token) -> Node:
        name = token.text
        if name in _COMMANDS:
            return _COMMANDS[name](self, name)
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        if name in _DECORATIONS:
            return self.decorated(name)
        if name not in _LETTERS:
            raise LatexError(f"the command {name} is not read here")
        return symbol(name)

    def fraction(self, _: str) -> Node:
        top = self.argument(digit=True)
        bottom = self.argument(digit=True)
        return Node("div", (top, bottom))

    def binomial(self, _: str) -> Node:
        above = self.argument(digit=True)
        below = self.argument(digit=True)
        return Node("fn", (above, below), "binomial")

    def root(self, name: str) -> Node:
        index = number(2 if name == "sqrt" else 3)
        if self.take("["):
            index = self.expression()
            self.expect("]")
        return Node("root", (self.argument(), index))

    def decorated(self, name: str) -> Node:
        r"""\vec{a}, \mathbf{5}, \overline{z}: a letter of its own, but for numbers and what is only set in a
        typeface.
        """
        start = self.at
        inside = self.argument()
        raw = self.text_since(start)
        if name == "mathbb" and raw == "R":
            return REALS
        if inside.op == "num":
            return inside
        if name in _TYPEFACES and inside.op not in ("sym", "const", "mul"):
            return inside
        if name == "overline" and mentions(inside, "i"):
            return Node("fn", (inside,), "conjugate")
        return symbol(raw if len(raw) == 1 else f"{name}:{raw}")

    def sum(self, name: str) -> Node:
        low = high = None
        while self.kind in ("_", "^"):
            if self.next().kind == "_":
                low = self.argument()
            else:
                high = self.argument(whole=True)
        if low is None or high is None or low.op != "rel" or low.value != "=":
            raise LatexError("a sum needs its index and both ends")
        index, first = low.args[:2]
        if not isinstance(index.value, str):
            raise LatexError("a sum needs its index and both ends")

        self.indices.append(index.value)
        body = self.product()
        self.indices.pop()
        return Node("sum", (symbol(index.value), first, high, body), name)

    def matrix(self, token: Token) -> Node:
        environment = token.text
        if environment not in _ENVIRONMENTS:
            raise LatexError(f"the environment {environment} is not read here")
        rows: list[Node] = []
        cells: list[Node] = []
        while not self.take("end matrix"):
            cells.append(self.relation())
            if self.kind in (r"\\", "end matrix"):
                rows.append(Node("row", tuple(cells)))
                cells = []
                self.take(r"\\")
            else:
                self.expect("&")
        return Node("matrix", tuple(rows), "det" if environment == "vmatrix" else "")


_READERS: dict[str, Callable[[Operands, Token], Node]] = {
    "num": Operands.number,
    "sym": Operands.letter,
    "text": Operands.text,
    "fn": Operands.function,
    "cmd": Operands.command,
    "begin": Operands.matrix,
    "lv": Operands.absolute,
    "|": Operands.absolute,
    "lf": Operands.rounded,
    "lc": Operands.rounded,
    **dict.fromkeys(_CLOSERS, Operands.group),
}
_COMMANDS: dict[str, Callable[[Operands, str], Node]] = {
    "frac": Operands.fraction,
    "binom": Operands.binomial,
    "sqrt": Operands.root,
    "cbrt": Operands.root,
    "sum": Operands.sum,
    "prod": Operands.sum,
}
