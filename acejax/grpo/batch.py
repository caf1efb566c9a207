"""From verdicts to advantages: what each completion of a batch earns, which count, and the statistics of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from acejax.grpo.objective import group_advantages, group_token_weights


@dataclass(frozen=True)
class GroupBatch:
    """N groups of G completions. `rewards` and `judged` are as they were used; `advantages` [N,G] fp32; `counted` [N,G]
    is false where a completion takes no part in the update, neither its gradient nor its tokens. `statistics` are means
    of the whole.
    """

    rewards: np.ndarray
    judged: np.ndarray
    advantages: np.ndarray
    counted: np.ndarray
    statistics: dict[str, float]


def group_batch(
    rewards: np.ndarray,
    judged: np.ndarray,
    truncated: np.ndarray,
    lengths: np.ndarray,
    *,
    overlong: Literal["zero", "mask"] = "zero",
    aggregation: Literal["token", "group"] = "token",
    order: np.ndarray | None = None,
) -> GroupBatch:
    """rewards [N,G]; judged, truncated [N,G] bool; lengths [N,G] in tokens of the response.

    What was cut off earns nothing, even if a right answer stands in it already (arXiv 2505.16400); with `overlong`
    "mask" it leaves the update, but not the statistics of its group. `aggregation` "group" is the mean over groups of
    each group's token mean (equation 1 read literally), "token" that over all tokens. `order`, a permutation of N x G,
    is a control: the same rewards, given to the wrong completions.
    """
    paid = np.asarray(rewards, np.float64) * ~truncated
    if order is not None:
        paid, judged = permuted(paid, order), permuted(judged, order)
    counted = judged & ~truncated if overlong == "mask" else judged
    advantages = group_advantages(paid, judged)
    if aggregation == "group":
        advantages = advantages * group_token_weights(lengths, counted)
    return GroupBatch(paid, judged, advantages, counted, _statistics(paid, judged, truncated, lengths))


def permuted(array: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The entries of [N,G] in another order."""
    return array.reshape(-1)[order].reshape(array.shape)


def _statistics(
    rewards: np.ndarray, judged: np.ndarray, truncated: np.ndarray, lengths: np.ndarray
) -> dict[str, float]:
    """Rewards are means over what was judged, lengths are in tokens, the rest are shares of groups or completions."""
    means = [group[kept].mean() for group, kept in zip(rewards, judged, strict=True) if kept.any()]
    return {
        "reward": float(rewards[judged].mean()) if judged.any() else 0.0,
        "reward_all_zero": float(np.mean([mean == 0 for mean in means])) if means else 0.0,
        "reward_all_one": float(np.mean([mean == 1 for mean in means])) if means else 0.0,
        "length_mean": float(lengths.mean()),
        "length_p95": float(np.percentile(lengths, 95)),
        "truncated": float(truncated.mean()),
    }
