"""Agreement of two trees at points: exact rational values first, then numeric ones, each within stated bounds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction

from acejax.verification.math.exact import Env, Exact, Undefined, Unreachable
from acejax.verification.math.numeric import MAX_DIGITS, Numeric
from acejax.verification.math.tree import Node, mentions

POINTS = 4  # that must agree, and one more for each of up to four variables
TRIES = 16
MAX_UNREACHABLE = 3  # points that are passed over before the rest are given up
FIRST_DIGITS = 50
PRIMES = (103, 107, 109, 113, 127)  # denominators: odd, so that (-1)^(2x) and its like stay real


def points(names: list[str], seed: int = 0, small: bool = False) -> Iterator[Env]:
    """Random rationals, fixed by the seed so that verdicts repeat.

    What differs only for some signs or sizes must not slip through: first all are positive, then all negative, then all
    large, then each alone negative, within (0, 1) and (1, 10) by turns. `small` points are positive and below 15.
    """
    draw = random.Random(seed)
    alone = 3 + len(names)  # the first point after those with one negative coordinate
    for i in range(TRIES + len(names)):
        low, high = _range(i, small)
        point = {}
        for j, name in enumerate(names):
            prime = draw.choice(PRIMES)
            value = Fraction(draw.randrange(low * prime + 7, high * prime), prime)
            negative = i == 1 or i == 3 + j
            if i >= alone and not negative:
                negative = draw.random() < 0.4
            point[name] = -value if negative and not small else value
        yield point


def _range(i: int, small: bool) -> tuple[int, int]:
    if small:
        return 2, 15
    if i == 2:
        return 60, 400
    return (0, 1) if i % 2 else (1, 10)


def _enough(names: list[str]) -> int:
    return POINTS + min(len(names), 4)


def exact_agreement(a: Node, b: Node, names: list[str]) -> bool | None:
    """Whether two trees agree in rational arithmetic; None if it cannot value them at enough points."""
    if not names:
        try:
            return Exact({}).value(a) == Exact({}).value(b)
        except Undefined:
            return False
        except Unreachable:
            return None

    agreed, enough = 0, _enough(names)
    for point in points(names):
        try:
            if Exact(point).value(a) != Exact(point).value(b):
                return False
        except Undefined:
            continue
        except Unreachable:
            return None
        agreed += 1
        if agreed == enough:
            return True
    return None


def numeric_agreement(a: Node, b: Node, names: list[str], log_base: int | None) -> bool | None:
    """False if a point refutes, True if all confirm, None if none could be valued."""
    if not names:
        return _agreement_of_constants(a, b, log_base)
    complex_allowed = mentions(a, "i") or mentions(b, "i")
    small = _grows_beyond_precision(a) or _grows_beyond_precision(b)
    enough = _enough(names)
    real, elsewhere, unreachable = 0, [], 0
    for point in points(names, small=small):
        try:
            agree, is_real = agreement_at(a, b, point, log_base)
        except Undefined:
            continue
        except Unreachable:
            unreachable += 1
            if unreachable > MAX_UNREACHABLE:
                break
            continue
        if not (is_real or complex_allowed):
            elsewhere.append(agree)
            continue
        if not agree:
            return False
        real += 1
        if real == enough:
            return True

    # Few points were real. Those outside the reals count where no two are.
    if real >= 2:
        return True
    return all(elsewhere) if len(elsewhere) >= POINTS else None


def _agreement_of_constants(a: Node, b: Node, log_base: int | None) -> bool | None:
    try:
        return agreement_at(a, b, {}, log_base)[0]
    except Undefined:
        return False
    except Unreachable:
        return None


def _grows_beyond_precision(node: Node) -> bool:
    return any(mentions(node, name) for name in ("factorial", "binomial", "gamma"))


def agreement_at(a: Node, b: Node, point: Env, log_base: int | None) -> tuple[bool, bool]:
    """Whether two trees agree at a point, and whether both stay within the reals there. Raises Undefined, or
    Unreachable.
    """
    digits = FIRST_DIGITS
    while True:
        left, right = Numeric(point, digits, log_base), Numeric(point, digits, log_base)
        x, y = left.value(a), right.value(b)
        span = max(left.span, right.span)
        context = left.context
        gap = abs(x - y)
        scale = max(context.one, abs(x), abs(y))
        is_real = not (left.left_reals or right.left_reals)

        # Agreement counts only with digits enough for the range of magnitudes; a plain difference counts at once.
        needed = 110 + 5 * span
        if digits >= needed:
            return gap <= scale * context.mpf(10) ** -(50 + 3 * span), is_real
        if span <= 10 and gap > scale * context.mpf(10) ** -15:
            return False, is_real
        if needed > MAX_DIGITS:
            raise Unreachable
        digits = needed
