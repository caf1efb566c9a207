"""Decides whether two scalar trees have one value, cheapest means first and each within stated bounds.

1. Exact: both are rational, or rational functions of their variables, compared at random exact points (Schwartz 1980, Zippel 1979:
   two different rational functions of degree d agree at a point drawn from N values with probability at most d/N).
2. Numeric: mpmath at a working precision that grows with the range of magnitudes met on the way, so that sqrt(2) + 10^-200 is not
   sqrt(2). Any difference refutes; agreement at every point, in 50 digits more than three times that range, confirms.
3. Symbolic: sums and products with open ends, which no real point can value, go to sympy as a tree built here node by node.
   Whole-number points refute; only expansion and cancellation to zero confirm.

Variables stand for real numbers unless i occurs: points at which one side leaves the reals are passed over while real ones exist.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from acejax.verification.exact import Env, Exact, Undefined, Unreachable
from acejax.verification.latex import Node
from acejax.verification.numeric import MAX_DIGITS, Numeric

POINTS = 4  # and one more for each of up to four variables
TRIES = 16


def same_value(a: Node, b: Node) -> bool:
    """Whether two trees of numbers, variables and functions are equal wherever both are defined. Never raises on a parsed tree."""
    names = sorted(set(symbols(a)) | set(symbols(b)))
    rational = _exact_agreement(a, b, names)
    if rational is not None:
        return rational
    if _has(a, "sum") or _has(b, "sum"):
        return _proved(a, b, names)
    log_bases = (None, 10) if _has(a, "log") or _has(b, "log") else (None,)
    return any(_numeric_agreement(a, b, names, log_base) for log_base in log_bases)


def ratio_sign(a: Node, b: Node) -> int:
    """1 or -1 if a = c b for one constant c of that sign and both vary, else 0: so that equations may differ by a factor."""
    names = sorted(set(symbols(a)) | set(symbols(b)))
    point = next(iter(_points(names, seed=1)))
    try:
        fa, fb = Exact(point).value(a), Exact(point).value(b)
        if not fa or not fb:
            return 0
        left, right = Node("mul", (a, Node("num", value=fb))), Node("mul", (b, Node("num", value=fa)))
        return (1 if fa / fb > 0 else -1) if same_value(left, right) else 0
    except (Unreachable, Undefined):
        pass
    for sign in (1, -1):
        if same_value(a, b if sign == 1 else Node("neg", (b,))):
            return sign
    return 0


def infinity(node: Node) -> int:
    """1 or -1 for plus or minus infinity, 0 for anything else."""
    if node.op == "neg":
        return -infinity(node.args[0])
    return 1 if node.op == "const" and node.value == "inf" else 0


def exact(node: Node) -> Fraction | None:
    """The value of a closed rational tree, or None."""
    try:
        return Exact({}).value(node)
    except (Unreachable, Undefined):
        return None


def symbols(node: Node) -> Iterator[str]:
    """The free variables of a tree, each as often as it occurs."""
    if node.op == "sym":
        yield str(node.value)
    for child in node.args:
        if node.op != "sum":
            yield from symbols(child)
        elif child is not node.args[0]:
            yield from (name for name in symbols(child) if name != node.args[0].value)


def real_value(node: Node) -> Fraction | None:
    """The value of a closed real tree, rounded to 40 decimals where it is not rational, or None: for putting ends in order."""
    value = exact(node)
    if value is not None or any(symbols(node)):
        return value
    numeric = Numeric({}, 80, None)
    try:
        result = numeric.value(node)
    except (Unreachable, Undefined):
        return None
    if numeric.span > 20 or numeric.left_reals or not isinstance(result, numeric.context.mpf):
        return None
    return Fraction(int(numeric.context.nint(result * numeric.context.mpf(10) ** 40)), 10**40)


def _has(node: Node, what: str) -> bool:
    """Whether an operation, a constant or a function occurs; "log" only without its base."""
    here = node.op == what or (node.op in ("const", "fn") and node.value == what and (what != "log" or len(node.args) == 1))
    return here or any(_has(child, what) for child in node.args)


def _size(node: Node) -> int:
    return 1 + sum(map(_size, node.args))


def _points(names: list[str], seed: int = 0, small: bool = False) -> Iterator[Env]:
    """Random rationals, fixed by the seed so that verdicts repeat. Odd prime denominators keep (-1)^(2x) and its like real.

    What differs only for some signs or sizes must not slip through: first all are positive, then all negative, then all large,
    then each alone negative, within (0, 1) and (1, 10) by turns.
    """
    draw = random.Random(seed)
    for i in range(TRIES + len(names)):
        low, high = (60, 900) if i == 2 and not small else (2, 15) if small else (0, 1) if i % 2 else (1, 10)
        point = {}
        for j, name in enumerate(names):
            prime = draw.choice((103, 107, 109, 113, 127))
            value = Fraction(draw.randrange(low * prime + 7, high * prime), prime)
            negative = i == 1 or (i == 3 + j) or (i >= 3 + len(names) and draw.random() < 0.4)
            point[name] = -value if negative and not small else value
        yield point


def _enough(names: list[str]) -> int:
    return POINTS + min(len(names), 4)


def _exact_agreement(a: Node, b: Node, names: list[str]) -> bool | None:
    if not names:
        try:
            return Exact({}).value(a) == Exact({}).value(b)
        except Undefined:
            return False
        except Unreachable:
            return None
    agreed = 0
    for point in _points(names):
        try:
            if Exact(point).value(a) != Exact(point).value(b):
                return False
            agreed += 1
        except Undefined:
            continue
        except Unreachable:
            return None
        if agreed == _enough(names):
            return True
    return None


def _numeric_agreement(a: Node, b: Node, names: list[str], log_base: int | None) -> bool | None:
    """False if a point refutes, True if all confirm, None if none could be valued."""
    complex_allowed = _has(a, "i") or _has(b, "i") or not names
    real, elsewhere, unreachable = 0, [], 0
    small = any(_has(node, name) for node in (a, b) for name in ("factorial", "binomial"))  # they grow beyond any precision
    for point in _points(names, small=small):
        try:
            agree, is_real = _agree_at(a, b, point, log_base)
        except Undefined:
            if not names:
                return False
            continue
        except Unreachable:
            unreachable += 1
            if not names or unreachable > 3:
                break
            continue
        if not names:
            return agree
        if is_real or complex_allowed:
            if not agree:
                return False
            real += 1
            if real == _enough(names):
                return True
        else:
            elsewhere.append(agree)
    return True if real >= 2 else (all(elsewhere) if len(elsewhere) >= POINTS else None)


def _agree_at(a: Node, b: Node, point: Env, log_base: int | None) -> tuple[bool, bool]:
    digits = 50
    while True:
        left, right = Numeric(point, digits, log_base), Numeric(point, digits, log_base)
        x, y = left.value(a), right.value(b)
        span = max(left.span, right.span)
        context = left.context
        gap, scale = abs(x - y), max(context.one, abs(x), abs(y))
        is_real = not (left.left_reals or right.left_reals)
        if digits >= 110 + 5 * span:
            return gap <= scale * context.mpf(10) ** -(50 + 3 * span), is_real
        if span <= 10 and gap > scale * context.mpf(10) ** -15:
            return False, is_real
        digits = 110 + 5 * span
        if digits > MAX_DIGITS:
            raise Unreachable


def _proved(a: Node, b: Node, names: list[str]) -> bool:
    """Whether sympy's expansion and cancellation bring the difference of two small trees to zero."""
    numeric = _numeric_agreement(a, b, names, None)
    if numeric is not None or _size(a) + _size(b) > 120:
        return bool(numeric)
    for whole in (3, 4, 7, 12):
        point = {name: Fraction(whole + 5 * i) for i, name in enumerate(names)}
        try:
            if not _agree_at(a, b, point, None)[0]:
                return False
        except (Unreachable, Undefined):
            return False
    import sympy  # half a second, paid only by what nothing cheaper decides

    try:
        difference = _to_sympy(a, sympy, 0) - _to_sympy(b, sympy, 0)
        return bool(sympy.cancel(sympy.expand(difference)) == 0)
    except (Unreachable, sympy.PolynomialError, NotImplementedError, ZeroDivisionError):
        return False


def _to_sympy(node: Node, sympy: Any, powers: int) -> Any:
    """The sympy object of a tree of sums, small powers and rationals: forms that it sums and expands without a search.

    Constants come from exact arithmetic, so that sympy never meets a large power or factorial to evaluate.
    """
    value = exact(node)
    if value is not None:
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > 256:
            raise Unreachable
        return sympy.Rational(value.numerator, value.denominator)
    op, args = node.op, node.args
    if op == "sym":
        return sympy.Symbol(str(node.value))
    if op == "pow":
        base, exponent = exact(args[0]), exact(args[1])
        powers += 1
        if powers > 2 or (base is None and (exponent is None or exponent.denominator != 1 or abs(exponent) > 12)):
            raise Unreachable
        return sympy.Pow(_to_sympy(args[0], sympy, powers), _to_sympy(args[1], sympy, powers))
    if op not in ("add", "mul", "neg", "div", "sum"):
        raise Unreachable
    parts = [_to_sympy(child, sympy, powers) for child in args]
    if op == "sum":
        return (sympy.summation if node.value == "sum" else sympy.product)(parts[3], (parts[0], parts[1], parts[2]))
    if op == "add":
        return sympy.Add(*parts)
    if op == "mul":
        return sympy.Mul(*parts)
    return -parts[0] if op == "neg" else parts[0] / parts[1]
