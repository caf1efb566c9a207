"""High-precision values of trees through mpmath, with bounds on precision, magnitude and work."""

from __future__ import annotations

import math
from collections.abc import Callable
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
from acejax.verification.math.tree import ONE, Node

MAX_DIGITS = 6000  # of working precision
GAMMA_DIGITS = 300  # beyond them mpmath's gamma function takes seconds
MAX_WORK = 120_000  # operations times digits in one numeric evaluation
MAX_WHOLE_POWER = 1 << 20
MAX_SPECIAL = 200  # the size of what a special function is applied to
SPECIAL_WORK = 40  # operations that one of its values costs
LOG10_OF_2 = 0.30103

_LIKE_EXP = frozenset(("exp", "sinh", "cosh", "tanh", "cis"))  # bounded arguments keep their values bounded
_OF_ORDER = frozenset(("max", "min", "floor", "ceil"))  # complex numbers have none
_SPECIAL = frozenset(("gamma", "zeta", "erf", "erfc"))
_OF_WHOLE = frozenset(("gcd", "lcm", "double factorial"))  # exact arithmetic alone values them


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
        """The value of a tree, a number of mpmath's. Raises Undefined, or Unreachable."""
        context = self.context
        self.work += context.dps
        if self.work > MAX_WORK:
            raise Unreachable
        operation = _OPERATIONS.get(node.op)
        if operation is None:
            raise Unreachable
        try:
            result = operation(self, node)
        except ZeroDivisionError:
            raise Undefined from None
        except (OverflowError, context.NoConvergence):
            raise Unreachable from None
        except ValueError:  # mpmath's way of naming a pole
            raise Undefined from None
        if not context.isfinite(result):
            raise Undefined
        if result:
            magnitude = abs(int(context.mag(result)))
            self.span = max(self.span, math.ceil(magnitude * LOG10_OF_2))
            if self.span > MAX_DIGITS:
                raise Unreachable
        return result

    def _number(self, node: Node) -> Any:
        value = node.value
        assert isinstance(value, Fraction)
        # A literal's own digits count: 1.000…0001 is told from 1 only by a precision that reaches its last one.
        bits = max(value.numerator.bit_length(), value.denominator.bit_length())
        self.span = max(self.span, math.ceil(LOG10_OF_2 * bits))
        return self.context.mpf(value.numerator) / value.denominator

    def _symbol(self, node: Node) -> Any:
        value = self.env.get(str(node.value))
        if value is None:
            raise Unreachable
        return self.context.mpf(value.numerator) / value.denominator

    def _constant(self, node: Node) -> Any:
        context = self.context
        if node.value == "inf":
            raise Undefined
        if node.value == "i":
            return context.j
        return +context.pi if node.value == "pi" else +context.e

    def _add(self, node: Node) -> Any:
        values = [self.value(child) for child in node.args]
        largest = max(map(abs, values))
        return self._settled(self.context.fsum(values), largest)

    def _multiply(self, node: Node) -> Any:
        return self.context.fprod([self.value(child) for child in node.args])

    def _negate(self, node: Node) -> Any:
        return -self.value(node.args[0])

    def _divide(self, node: Node) -> Any:
        top, bottom = [self.value(child) for child in node.args]
        return top / bottom

    def _degrees(self, node: Node) -> Any:
        return self.value(node.args[0]) * self.context.pi / 180

    def _raise(self, node: Node) -> Any:
        base, exponent = node.args
        return self._power(base, exponent)

    def _draw_root(self, node: Node) -> Any:
        base, degree = node.args
        return self._power(base, Node("div", (ONE, degree)))

    def _apply(self, node: Node) -> Any:
        values = [self.value(child) for child in node.args]
        result = self._function(str(node.value), values)
        return self._settled(self._real(result, values), self.context.one)

    def _determinant(self, node: Node) -> Any:
        if node.value != "det":
            raise Unreachable
        rows = [[self.value(cell) for cell in row.args] for row in node.args]
        return determinant(rows)

    def _sum(self, node: Node) -> Any:
        index, low, high, body = node.args
        first, last = self._exact(low), self._exact(high)
        if first is None or last is None:
            raise Unreachable
        if first.denominator != 1 or last.denominator != 1 or last - first > MAX_TERMS // 10:
            raise Unreachable

        outer, terms = self.env, []
        for k in range(int(first), int(last) + 1):
            self.env = {**outer, str(index.value): Fraction(k)}
            terms.append(self.value(body))
        self.env = outer
        if node.value == "sum":
            return self.context.fsum(terms)
        return self.context.fprod(terms)

    def _settled(self, result: Any, scale: Any) -> Any:
        """Zero for what cancellation left below four fifths of the digits: sin(pi) is noise, whose size says nothing of
        the range.

        A true value that small comes with a small literal or factor, which `span` holds, so that more digits will tell
        it.
        """
        context = self.context
        noise = context.mpf(10) ** -(4 * context.dps // 5)
        if result and abs(result) < scale * noise:
            return context.zero
        return result

    def _real(self, result: Any, inputs: list[Any]) -> Any:
        """Notes where a function of real numbers leaves the reals; drops a zero imaginary part."""
        if not self._is_complex(result):
            return result
        if not result.imag:
            return result.real
        self.left_reals |= not any(map(self._is_complex, inputs))
        return result

    def _is_complex(self, value: Any) -> bool:
        return isinstance(value, self.context.mpc)

    def _power(self, base_node: Node, exponent_node: Node) -> Any:
        context = self.context
        base = self.value(base_node)
        exponent = self.value(exponent_node)
        if not base:
            if context.re(exponent) <= 0:
                raise Undefined
            return context.zero
        magnitude = 1 + abs(int(context.mag(base)))
        if abs(exponent) * magnitude > 4 * MAX_DIGITS:
            raise Unreachable

        rational = self._exact(exponent_node)
        if rational is not None:
            if rational.denominator == 1 and abs(rational) < MAX_WHOLE_POWER:
                return base ** int(rational)
            if rational.denominator % 2 and not self._is_complex(base) and base < 0:
                # The real odd root, as school has it.
                sign = -1 if rational.numerator % 2 else 1
                return sign * (-base) ** exponent
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
        if name in _OF_WHOLE:
            raise Unreachable
        if name in _LIKE_EXP and abs(values[0]) > 2 * MAX_DIGITS:
            raise Unreachable
        if name in _OF_ORDER and any(map(self._is_complex, values)):
            raise Undefined
        if name in _SPECIAL:
            self._require_modest(values)
        own = _FUNCTIONS.get(name)
        if own is not None:
            return own(self, values)
        return getattr(self.context, name)(*values)

    def _factorial(self, values: list[Any]) -> Any:
        whole = self._whole(values)
        if whole is None:
            return self.context.factorial(values[0])
        return self.context.mpf(math.factorial(whole[0]))

    def _binomial(self, values: list[Any]) -> Any:
        whole = self._whole(values)
        if whole is None:
            return self.context.binomial(*values)
        return self.context.mpf(math.comb(*whole))

    def _whole(self, values: list[Any]) -> list[int] | None:
        """The whole numbers that a factorial or binomial takes; None sends it to the gamma function, where digits
        allow.
        """
        if any(abs(value) > MAX_FACTORIAL for value in values):
            raise Unreachable
        whole = [int(value) for value in values if self.context.isint(value)]
        if len(whole) == len(values) and min(whole) >= 0:
            return whole
        if self.context.dps > GAMMA_DIGITS:
            raise Unreachable
        return None

    def _require_modest(self, values: list[Any]) -> None:
        """Special functions have values at real numbers of modest size only, in as many digits as take no seconds."""
        if self.context.dps > GAMMA_DIGITS or any(map(self._is_complex, values)):
            raise Unreachable
        if any(abs(value) > MAX_SPECIAL for value in values):
            raise Unreachable
        self.work += SPECIAL_WORK * self.context.dps

    def _logarithm(self, values: list[Any]) -> Any:
        log = self.context.log
        if len(values) > 1:
            return log(values[0]) / log(values[1])
        if self.log_base:
            return log(values[0]) / log(self.log_base)
        return log(values[0])


_OPERATIONS: dict[str, Callable[[Numeric, Node], Any]] = {
    "num": Numeric._number,
    "sym": Numeric._symbol,
    "const": Numeric._constant,
    "add": Numeric._add,
    "mul": Numeric._multiply,
    "neg": Numeric._negate,
    "div": Numeric._divide,
    "deg": Numeric._degrees,
    "pow": Numeric._raise,
    "root": Numeric._draw_root,
    "fn": Numeric._apply,
    "sum": Numeric._sum,
    "matrix": Numeric._determinant,
}
_FUNCTIONS: dict[str, Callable[[Numeric, list[Any]], Any]] = {
    "abs": lambda _, values: abs(values[0]),
    "max": lambda _, values: max(values),
    "min": lambda _, values: min(values),
    "ln": lambda numeric, values: numeric.context.log(values[0]),
    "log": Numeric._logarithm,
    "cis": lambda numeric, values: numeric.context.expj(values[0]),
    "conjugate": lambda numeric, values: numeric.context.conj(values[0]),
    "factorial": Numeric._factorial,
    "binomial": Numeric._binomial,
}
