"""Group advantages and the token-level surrogate of GRPO (arXiv 2505.16400, equations 1 to 4; arXiv 2402.03300)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

STD_EPSILON = 1e-6


def group_advantages(rewards: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """(S - mean) / std inside each group, with the sample standard deviation (n - 1).

    rewards [N,G] are numbers, judged [N,G] is false where the verifier failed. Such a sample leaves its group: it
    enters no mean and its advantage is 0. So is that of a group with fewer than two judged samples, or with equal
    rewards.
    """
    count = judged.sum(axis=1, keepdims=True)
    kept = np.where(judged, rewards, 0.0).astype(np.float64)
    mean = kept.sum(axis=1, keepdims=True) / np.maximum(count, 1)
    centred = np.where(judged, kept - mean, 0.0)
    squares = (centred**2).sum(axis=1, keepdims=True)
    std = np.sqrt(squares / np.maximum(count - 1, 1))
    # Equal is asked of the rewards themselves: the mean of equal fractions may differ from them in its last bit.
    most = np.where(judged, rewards, -np.inf).max(axis=1, keepdims=True)
    least = np.where(judged, rewards, np.inf).min(axis=1, keepdims=True)
    advantages = np.where((count > 1) & (most > least), centred / (std + STD_EPSILON), 0.0)
    return advantages.astype(np.float32)


def group_token_weights(lengths: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Factors on the advantages that turn the mean over a batch's tokens into the mean over groups of each group's
    token mean.

    lengths [N,G] in tokens, counted [N,G] false for samples that are masked out. Equation 1 of the paper read
    literally; the default, as in the paper's framework, is the mean over all tokens of the batch (factor 1).
    """
    tokens = np.where(counted, lengths, 0)
    per_group = tokens.sum(axis=1, keepdims=True)
    groups = max(int((per_group > 0).sum()), 1)
    factor = tokens.sum() / (np.maximum(per_group, 1) * groups)
    return np.broadcast_to(factor, lengths.shape).astype(np.float32)


def surrogate(logprobs: Array, advantages: Array, mask: Array) -> Array:
    """Minus the sum over tokens of ratio x advantage; all arrays [B,T].

    One update per generation makes the ratio 1 by construction, exp(logp - stop_gradient(logp)), and clipping idle: the
    value says little, the gradient is that of REINFORCE with group-normalised rewards.
    """
    ratio = jnp.exp(logprobs - jax.lax.stop_gradient(logprobs))
    return -jnp.sum(jnp.where(mask, ratio * advantages, 0.0))
