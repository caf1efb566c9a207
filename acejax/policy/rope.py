"""Rotary positions (Su et al., arXiv 2104.09864) with the scalings by which checkpoints reach longer contexts.

Dimension letters are listed in attention.py.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from acejax.policy.config import Rope


def frequencies(rope: Rope, head_dim: int) -> np.ndarray:
    """Radians a position, [C/2] float64, one for each pair of channels."""
    plain = rope.theta ** (-np.arange(0, head_dim, 2) / head_dim)
    if rope.kind == "linear":
        return plain / rope.factor
    if rope.kind == "llama3":
        # Turns within the original length: many are kept, few are slowed down by the factor, those between are mixed.
        turns = rope.original * plain / (2 * math.pi)
        kept = np.clip((turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0, 1)
        return plain * (kept + (1 - kept) / rope.factor)
    if rope.kind == "yarn":
        # arXiv 2309.00071, section 3.2: the same mixture, but linear in the channel's number.
        def channel(turns: float) -> float:
            return head_dim * math.log(rope.original / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))

        first, last = channel(rope.beta_fast), channel(rope.beta_slow)
        if rope.truncate:
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, head_dim - 1)
        slowed = np.clip((np.arange(head_dim // 2) - first) / max(last - first, 1e-3), 0, 1)
        return plain * ((1 - slowed) + slowed / rope.factor)
    return plain


def rotary(positions: Array, rope: Rope, head_dim: int) -> tuple[Array, Array]:
    """[B,T] positions -> sine and cosine [B,T,C/2] of the rotary angles, fp32."""
    angles = positions[..., None].astype(jnp.float32) * jnp.asarray(frequencies(rope, head_dim), jnp.float32)
    return jnp.sin(angles) * rope.attention, jnp.cos(angles) * rope.attention


def rotate(x: Array, sine: Array, cosine: Array) -> Array:
    """Rotates the two halves of the last axis of x [B,T,...,C] by the angles of `rotary`, in fp32."""
    extra = (1,) * (x.ndim - 3)
    sine, cosine = (a.reshape(*a.shape[:2], *extra, a.shape[-1]) for a in (sine, cosine))
    low, high = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([low * cosine - high * sine, high * cosine + low * sine], axis=-1).astype(x.dtype)
