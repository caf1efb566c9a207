"""Verdicts to advantages: what is paid, what counts, and the statistics of a batch."""

import numpy as np
import pytest

from acejax.grpo.batch import group_batch, permuted
from acejax.grpo.objective import group_advantages, group_token_weights

REWARDS = np.array([[1, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0]], float)
JUDGED = np.array([[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], bool)
TRUNCATED = np.array([[0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]], bool)
LENGTHS = np.array([[3, 5, 7, 20], [4, 4, 4, 4], [6, 20, 2, 2]])


def test_what_was_cut_off_earns_nothing():
    batch = group_batch(REWARDS, JUDGED, TRUNCATED, LENGTHS)
    assert batch.rewards.tolist() == [[1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    np.testing.assert_array_equal(batch.advantages, group_advantages(batch.rewards, JUDGED))
    assert batch.advantages[0, 3] < 0 and batch.counted[0, 3], "by default it is paid nothing, and learned from"


def test_the_overlong_mask_takes_the_truncated_out_of_the_update_and_not_out_of_its_group():
    zero = group_batch(REWARDS, JUDGED, TRUNCATED, LENGTHS)
    mask = group_batch(REWARDS, JUDGED, TRUNCATED, LENGTHS, overlong="mask")
    np.testing.assert_array_equal(mask.counted, JUDGED & ~TRUNCATED)
    np.testing.assert_array_equal(mask.advantages, zero.advantages)
    assert mask.statistics == zero.statistics


def test_the_unjudged_are_neither_wrong_nor_counted():
    batch = group_batch(REWARDS, JUDGED, TRUNCATED, LENGTHS)
    assert not batch.counted[1, 2] and batch.advantages[1, 2] == 0
    rewards = np.array([[1.0, 0, 1, 0]])
    judged = np.array([[True, True, False, False]])
    nothing = np.zeros((1, 4), bool)
    got = group_batch(rewards, judged, nothing, np.full((1, 4), 5))
    alone = group_advantages(np.array([[1.0, 0]]), np.ones((1, 2), bool))
    np.testing.assert_allclose(got.advantages, [[*alone[0], 0, 0]])
    assert got.statistics["reward"] == 0.5


def test_aggregation_by_group_weighs_by_what_counts():
    batch = group_batch(REWARDS, JUDGED, TRUNCATED, LENGTHS, overlong="mask", aggregation="group")
    plain = group_batch(REWARDS, JUDGED, TRUNCATED, LENGTHS, overlong="mask")
    weights = group_token_weights(LENGTHS, JUDGED & ~TRUNCATED)
    np.testing.assert_array_equal(batch.advantages, plain.advantages * weights)
    assert not np.allclose(batch.advantages, plain.advantages)


def test_statistics_are_means_over_what_was_judged():
    statistics = group_batch(REWARDS, JUDGED, TRUNCATED, LENGTHS).statistics
    assert statistics["reward"] == pytest.approx(4 / 11)
    assert statistics["reward_all_zero"] == pytest.approx(1 / 3) == statistics["reward_all_one"]
    assert statistics["length_mean"] == pytest.approx(81 / 12) and statistics["truncated"] == pytest.approx(2 / 12)
    assert statistics["length_p95"] == 20
    none = group_batch(REWARDS, JUDGED & False, TRUNCATED, LENGTHS)
    assert none.statistics["reward"] == none.statistics["reward_all_zero"] == 0 and not none.counted.any()


def test_graded_rewards_are_compared_as_they_are():
    rewards = np.array([[0.25, 0.5, 1.5, 0.0]])
    everything, nothing = np.ones((1, 4), bool), np.zeros((1, 4), bool)
    batch = group_batch(rewards, everything, nothing, np.full((1, 4), 5))
    np.testing.assert_allclose(batch.advantages[0], (rewards[0] - 0.5625) / (rewards.std(ddof=1) + 1e-6), rtol=1e-5)


@pytest.mark.parametrize("reward", [0.1, 0.3, 1 / 3, 0.7, 1.1])
def test_equal_grades_teach_exactly_nothing(reward):
    """Whatever their mean rounds to: 1e-11 would have a backward pass of its own, and Adam would make it large."""
    everything, nothing = np.ones((1, 7), bool), np.zeros((1, 7), bool)
    batch = group_batch(np.full((1, 7), reward), everything, nothing, np.full((1, 7), 5))
    assert not batch.advantages.any()


def test_the_control_gives_the_same_rewards_to_other_completions():
    order = np.random.default_rng(0).permutation(12)
    batch = group_batch(REWARDS, JUDGED, TRUNCATED, LENGTHS, order=order)
    plain = group_batch(REWARDS, JUDGED, TRUNCATED, LENGTHS)
    np.testing.assert_array_equal(batch.rewards, permuted(plain.rewards, order))
    np.testing.assert_array_equal(batch.judged, permuted(JUDGED, order))
    assert batch.rewards.sum() == plain.rewards.sum() and (batch.rewards != plain.rewards).any()
