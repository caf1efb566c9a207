"""Decides whether two scalar trees have one value, cheapest means first and each within stated bounds.

1. Exact: both are rational, or rational functions of their variables, compared at random exact points (Schwartz 1980,
Zippel 1979:
   two different rational functions of degree d agree at a point drawn from N values with probability at most d/N).
2. Numeric: mpmath at a working precision that grows with the range of magnitudes met on the way, so that sqrt(2) +
10^-200 is not
   sqrt(2). Any difference refutes; agreement at every point, in 50 digits more than three times that range, confirms.
3. Symbolic: sums and products with open ends, which no real point can value. Whole-number points refute; only induction
over
   the end confirms. (A computer algebra system's summation has no bound: 2^k 3^k k^12 (k+1)^12 kept sympy busy for
   minutes.)

Variables stand for real numbers unless i occurs: points at which one side leaves the reals are passed over while real
ones exist.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction

from acejax.verification.math.exact import Env, Exact, Undefined, Unreachable
from acejax.verification.math.latex import Node
from acejax.verification.math.numeric import MAX_DIGITS, Numeric

POINTS = 4  # and one more for each of up to four variables
TRIES = 16
MAX_NODES = 120  # of two trees with open sums


def same_value(a: Node, b: Node) -> bool:
    """Whether two trees of numbers, variables and functions are equal wherever both are defined. Never raises on a
    parsed tree.
    """
    names = sorted(set(symbols(a)) | set(symbols(b)))
    rational = _exact_agreement(a, b, names)
    if rational is not None:
        return rational
    if _has(a, "sum") or _has(b, "sum"):
        return _proved(a, b, names)
    log_bases = (None, 10) if _has(a, "log") or _has(b, "log") else (None,)
    return any(_numeric_agreement(a, b, names, log_base) for log_base in log_bases)


def ratio_sign(a: Node, b: Node) -> int:
    """1 or -1 if a = c b for one constant c of that sign and both vary, else 0: so that equations may differ by a
    factor.
    """
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
    """The value of a closed real tree, rounded to 40 decimals where it is not rational, or None: for putting ends in
    order.
    """
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
    here = node.op == what or (
        node.op in ("const", "fn") and node.value == what and (what != "log" or len(node.args) == 1)
    )
    return here or any(_has(child, what) for child in node.args)


def _size(node: Node) -> int:
    return 1 + sum(map(_size, node.args))


def _points(names: list[str], seed: int = 0, small: bool = False) -> Iterator[Env]:
    """Random rationals, fixed by the seed so that verdicts repeat. Odd prime denominators keep (-1)^(2x) and its like
    real.

    What differs only for some signs or sizes must not slip through: first all are positive, then all negative, then all
    large, then each alone negative, within (0, 1) and (1, 10) by turns.
    """
    draw = random.Random(seed)
    for i in range(TRIES + len(names)):
        low, high = (60, 400) if i == 2 and not small else (2, 15) if small else (0, 1) if i % 2 else (1, 10)
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
    small = any(
        _has(node, name) for node in (a, b) for name in ("factorial", "binomial")
    )  # they grow beyond any precision
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
    """Whether two trees with sums whose ends are open are equal, by induction over the end.

    Whole-number points refute and serve as the base. Sums that are the same on both sides stand for one unknown. Where
    one sum S is left, and a - b is c S + r, the step shows that f = -r / c grows from one end to the next as S does.
    """
    numeric = _numeric_agreement(a, b, names, None)
    if numeric is not None or _size(a) + _size(b) > MAX_NODES:
        return bool(numeric)
    for whole in (3, 4, 7, 12):
        point = {name: Fraction(whole + 5 * i) for i, name in enumerate(names)}
        try:
            if not _agree_at(a, b, point, None)[0]:
                return False
        except (Unreachable, Undefined):
            return False
    sums: list[Node] = []
    for node in (*_sums(a), *_sums(b)):
        if not any(_same_sum(node, other) for other in sums):
            sums.append(node)
    unknowns = [Node("sym", value=f"the sum {i}") for i in range(len(sums))]
    left, right = (_replaced(side, sums, unknowns) for side in (a, b))
    if same_value(left, right):
        return True
    return len(sums) == 1 and _step_holds(sums[0], left, right, unknowns[0])


def _sums(node: Node) -> Iterator[Node]:
    """The outermost sums and products."""
    if node.op == "sum":
        yield node
    else:
        for child in node.args:
            yield from _sums(child)


def _same_sum(a: Node, b: Node) -> bool:
    if a == b:
        return True
    if a.value != b.value or any(_has(part, "sum") for part in (*a.args, *b.args)):
        return False
    bodies = a.args[3], _with(b.args[3], b.args[0], a.args[0])
    return same_value(a.args[1], b.args[1]) and same_value(a.args[2], b.args[2]) and same_value(*bodies)


def _replaced(node: Node, sums: list[Node], unknowns: list[Node]) -> Node:
    if node.op == "sum":
        return next(unknown for known, unknown in zip(sums, unknowns, strict=True) if _same_sum(node, known))
    return Node(node.op, tuple(_replaced(child, sums, unknowns) for child in node.args), node.value)


def _with(node: Node, name: Node, put: Node) -> Node:
    """The tree with a variable replaced by another tree; the tree holds no sum, so that nothing is bound."""
    return put if node == name else Node(node.op, tuple(_with(child, name, put) for child in node.args), node.value)


def _step_holds(known: Node, left: Node, right: Node, unknown: Node) -> bool:
    index, low, high, body = known.args
    ends = set(symbols(high))
    if (
        len(ends) != 1
        or ends & set(symbols(body)) - {str(index.value)}
        or exact(low) is None
        or _has(body, "sum")
        or _has(high, "sum")
    ):
        return False
    end = Node("sym", value=ends.pop())
    one = Node("num", value=Fraction(1))
    after = Node("add", (end, one))
    if not same_value(_with(high, end, after), Node("add", (high, one))):
        return False
    difference = Node("add", (left, Node("neg", (right,))))
    at = [_with(difference, unknown, Node("num", value=Fraction(i))) for i in range(3)]
    slope = Node("add", (at[1], Node("neg", (at[0],))))
    if not same_value(at[2], Node("add", (at[1], slope))):
        return False
    found = Node("neg", (Node("div", (at[0], slope)),))
    term = _with(body, index, Node("add", (high, one)))
    return same_value(_with(found, end, after), Node("add" if known.value == "sum" else "mul", (found, term)))
