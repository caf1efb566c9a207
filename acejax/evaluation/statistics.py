"""avg@k, the unbiased pass@k, and 95% intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z95 = 1.959963984540054


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Chance that k of `samples` completions, drawn without replacement, hold a correct one: 1 - C(n-c,k)/C(n,k) (arXiv
    2107.03374).
    """
    if not 0 <= correct <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} of {correct} correct among {samples} samples")
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share measured on `count` problems; (0, 1) where there is none.

    Problems, not samples, are what was drawn at random, so they are counted. For a mean of values between 0 and 1 other
    than 0 and 1 themselves the interval is wider than need be, never narrower.
    """
    if count == 0:
        return 0.0, 1.0
    middle = (share + Z95**2 / (2 * count)) / (1 + Z95**2 / count)
    half = Z95 * math.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2)) / (1 + Z95**2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def summarise(counts: Sequence[tuple[int, int]], k: int) -> dict[str, float]:
    """(correct, judged) of each problem -> avg and pass with their intervals, values 0 to 1. Problems with nothing
    judged are left out.
    """
    judged = [(correct, n) for correct, n in counts if n > 0]
    if not judged:
        return {
            "avg": math.nan,
            "avg_low": 0.0,
            "avg_high": 1.0,
            "pass": math.nan,
            "pass_low": 0.0,
            "pass_high": 1.0,
            "problems": 0,
        }
    average = sum(correct / n for correct, n in judged) / len(judged)
    solved = sum(pass_at_k(n, correct, min(k, n)) for correct, n in judged) / len(judged)
    (avg_low, avg_high), (pass_low, pass_high) = wilson(average, len(judged)), wilson(solved, len(judged))
    return {
        "avg": average,
        "avg_low": avg_low,
        "avg_high": avg_high,
        "pass": solved,
        "pass_low": pass_low,
        "pass_high": pass_high,
        "problems": len(judged),
    }
