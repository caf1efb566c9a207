"""High-precision values of trees through mpmath, with bounds on precision, magnitude and work."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

from acejax.verification.math.exact import (
    MAX_FACTORIAL,
    MAX_TERMS,
    Env,
    Exact,
    Undefined,
    Unreachable,
    determinant,
)
from acejax.verification.math.latex import Node

MAX_DIGITS = 6000  # of working precision
GAMMA_DIGITS = 300  # beyond them mpmath's gamma function takes seconds
MAX_WORK = 120_000  # operations times digits in one numeric evaluation


@lru_cache(maxsize=1)
def _context() -> Any:
    import mpmath  # here, so that a check of plain numbers never pays for it

    return mpmath.mp.clone()


class Numeric:
    """Values a tree at a point to so many digits. `span` collects the largest decimal magnitude (or smallness) met on
    the way.
    """

    def __init__(self, env: Env, digits: int, log_base: int | None):
        self.context = _context()
        self.context.dps = digits
        self.env = env
        self.log_base = log_base
        self.span = 1
        self.work = 0
        self.exact_work = 0
        self.left_reals = False

    def value(self, node: Node) -> Any:
        context = self.context
        self.work += context.dps
        if self.work > MAX_WORK:
            raise Unreachable
        try:
            result = self._value(node)
        except ZeroDivisionError:
            raise Undefined from None
        except (OverflowError, context.NoConvergence):
            raise Unreachable from None
        except ValueError:  # mpmath's way of naming a pole
            raise Undefined from None
        if not context.isfinite(result):
            raise Undefined
        if result:
            self.span = max(self.span, math.ceil(abs(int(context.mag(result))) * 0.30103))
            if self.span > MAX_DIGITS:
                raise Unreachable
        return result

    def _fraction(self, value: Fraction) -> Any:
        # A literal's own digits count: 1.000…0001 is told from 1 only by a precision that reaches its last one.
        self.span = max(
            self.span, math.ceil(0.30103 * max(value.numerator.bit_length(), value.denominator.bit_length()))
        )
        return self.context.mpf(value.numerator) / value.denominator

    def _value(self, node: Node) -> Any:
        op, args, context = node.op, node.args, self.context
        if op == "num":
            assert isinstance(node.value, Fraction)
            return self._fraction(node.value)
        if op == "sym" and node.value in self.env:
            value = self.env[str(node.value)]
            return context.mpf(value.numerator) / value.denominator
        if op == "const" and node.value != "inf":
            return {"pi": +context.pi, "e": +context.e, "i": context.j}[str(node.value)]
        if op == "const":
            raise Undefined
        if op == "sum":
            return self._sum(node)
        if op == "matrix" and node.value == "det":
            return determinant([[self.value(cell) for cell in row.args] for row in args])
        if op == "pow":
            return self._power(args[0], args[1])
        if op == "root":
            return self._power(args[0], Node("div", (Node("num", value=Fraction(1)), args[1])))
        if op not in ("add", "mul", "neg", "div", "deg", "fn"):
            raise Unreachable
        values = [self.value(child) for child in args]
        if op == "add":
            return self._settled(context.fsum(values), max(map(abs, values)))
        if op == "mul":
            return context.fprod(values)
        if op == "neg":
            return -values[0]
        if op == "div":
            return values[0] / values[1]
        if op == "deg":
            return values[0] * context.pi / 180
        return self._settled(self._real(self._function(str(node.value), values), values), context.one)

    def _settled(self, result: Any, scale: Any) -> Any:
        """Zero for what cancellation left below four fifths of the digits: sin(pi) is noise, whose size says nothing of
        the range.

        A true value that small comes with a small literal or factor, which `span` holds, so that more digits will tell
        it.
        """
        context = self.context
        return context.zero if result and abs(result) < scale * context.mpf(10) ** -(4 * context.dps // 5) else result

    def _real(self, result: Any, inputs: list[Any]) -> Any:
        """Notes where a function of real numbers leaves the reals; drops a zero imaginary part."""
        context = self.context
        if isinstance(result, context.mpc):
            if not result.imag:
                return result.real
            self.left_reals |= not any(isinstance(value, context.mpc) for value in inputs)
        return result

    def _power(self, base_node: Node, exponent_node: Node) -> Any:
        context = self.context
        base = self.value(base_node)
        exponent = self.value(exponent_node)
        if not base:
            if context.re(exponent) <= 0:
                raise Undefined
            return context.zero
        if abs(exponent) * (1 + abs(int(context.mag(base)))) > 4 * MAX_DIGITS:
            raise Unreachable
        rational = self._exact(exponent_node)
        if rational is not None and rational.denominator == 1 and abs(rational) < 1 << 20:
            return base ** int(rational)
        if rational is not None and rational.denominator % 2 and not isinstance(base, context.mpc) and base < 0:
            return (-1 if rational.numerator % 2 else 1) * (-base) ** exponent  # the real odd root, as school has it
        return self._real(context.power(base, exponent), [base, exponent])

    def _exact(self, node: Node) -> Fraction | None:
        arithmetic = Exact(self.env)
        arithmetic.work = self.exact_work
        try:
            return arithmetic.value(node)
        except (Unreachable, Undefined):
            return None
        finally:
            self.exact_work = arithmetic.work

    def _function(self, name: str, values: list[Any]) -> Any:
        context, x = self.context, values[0]
        if name in ("exp", "sinh", "cosh", "tanh", "cis") and abs(x) > 2 * MAX_DIGITS:
            raise Unreachable
        if name in ("factorial", "binomial"):
            return self._gamma(name, values)
        if name == "conjugate":
            return context.conj(x)
        if name == "ln" or (name == "log" and len(values) == 1):
            return context.log(x) if name == "ln" or not self.log_base else context.log(x) / context.log(self.log_base)
        if name == "log":
            return context.log(x) / context.log(values[1])
        if name == "cis":
            return context.expj(x)
        if name in ("max", "min", "floor", "ceil") and any(isinstance(v, context.mpc) for v in values):
            raise Undefined
        if name in ("max", "min"):
            return max(values) if name == "max" else min(values)
        if name == "abs":
            return abs(x)
        if name in ("gcd", "lcm", "double factorial"):
            raise Unreachable
        return getattr(context, _MPMATH.get(name, name))(*values)

    def _gamma(self, name: str, values: list[Any]) -> Any:
        context = self.context
        if any(abs(x) > MAX_FACTORIAL for x in values):
            raise Unreachable
        whole = [int(x) for x in values if context.isint(x)]
        if len(whole) == len(values) and min(whole) >= 0:
            return context.mpf(math.factorial(whole[0]) if name == "factorial" else math.comb(*whole))
        if context.dps > GAMMA_DIGITS:
            raise Unreachable
        return context.factorial(values[0]) if name == "factorial" else context.binomial(*values)

    def _sum(self, node: Node) -> Any:
        index, low, high, body = node.args
        first, last = self._exact(low), self._exact(high)
        if (
            first is None
            or last is None
            or first.denominator != 1
            or last.denominator != 1
            or last - first > MAX_TERMS // 10
        ):
            raise Unreachable
        outer, terms = self.env, []
        for k in range(int(first), int(last) + 1):
            self.env = {**outer, str(index.value): Fraction(k)}
            terms.append(self.value(body))
        self.env = outer
        return self.context.fsum(terms) if node.value == "sum" else self.context.fprod(terms)


_MPMATH = {"a" + name: "a" + name for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh")} | {
    "ceil": "ceil"
}
