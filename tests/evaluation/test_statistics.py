"""pass@k against brute force; intervals against published values."""

from itertools import combinations

import pytest

from acejax.evaluation.statistics import pass_at_k, summarise, wilson


@pytest.mark.parametrize(("n", "c", "k"), [(8, 0, 3), (8, 2, 1), (8, 2, 3), (8, 7, 2), (5, 5, 5), (6, 1, 6)])
def test_pass_at_k_is_the_share_of_draws_with_a_correct_one(n, c, k):
    draws = list(combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))


def test_pass_at_k_refuses_more_draws_than_samples():
    with pytest.raises(ValueError):
        pass_at_k(4, 2, 5)


def test_wilson_interval():
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    low, high = wilson(1.0, 20)
    assert low == pytest.approx(0.8389, abs=1e-4) and high == 1.0


def test_summary_groups_by_problem_and_leaves_the_unjudged_out():
    got = summarise([(8, 8), (0, 8), (2, 4), (0, 0)], 8)
    assert got["problems"] == 3 and got["avg"] == pytest.approx(0.5) and got["pass"] == pytest.approx(2 / 3)
