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
        return _llama3(plain, rope)
    if rope.kind == "yarn":
        return _yarn(plain, rope, head_dim)
    return plain


def _llama3(plain: np.ndarray, rope: Rope) -> np.ndarray:
    """By turns within the original length: many are kept, few are slowed down by the factor, those between are
    mixed.
    """
    low, high = rope.low_freq_factor, rope.high_freq_factor
    turns = rope.original * plain / (2 * math.pi)
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return plain * (kept + (1 - kept) / rope.factor)


def _yarn(plain: np.ndarray, rope: Rope, head_dim: int) -> np.ndarray:
    """arXiv 2309.00071, section 3.2: as llama3 mixes, but linear in the channel's number."""

    def channel(turns: float) -> float:
        angle = rope.original / (turns * 2 * math.pi)
        return head_dim * math.log(angle) / (2 * math.log(rope.theta))

    first, last = channel(rope.beta_fast), channel(rope.beta_slow)
    if rope.truncate:
        first, last = math.floor(first), math.ceil(last)
    first = max(first, 0)
    last = min(last, head_dim - 1)
    numbers = np.arange(head_dim // 2)
    slowed = np.clip((numbers - first) / max(last - first, 1e-3), 0, 1)
    return plain * ((1 - slowed) + slowed / rope.factor)


def rotary(positions: Array, rope: Rope, head_dim: int) -> tuple[Array, Array]:
    """[B,T] positions -> sine and cosine [B,T,C/2] of the rotary angles, fp32."""
    turning = jnp.asarray(frequencies(rope, head_dim), jnp.float32)
    angles = positions[..., None].astype(jnp.float32) * turning
    return jnp.sin(angles) * rope.attention, jnp.cos(angles) * rope.attention


def rotate(x: Array, sine: Array, cosine: Array) -> Array:
    """Rotates the two halves of the last axis of x [B,T,...,C] by the angles of `rotary`, in fp32."""
    between = (1,) * (x.ndim - 3)
    shape = (*sine.shape[:2], *between, sine.shape[-1])
    sine, cosine = sine.reshape(shape), cosine.reshape(shape)
    low, high = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = [low * cosine - high * sine, high * cosine + low * sine]
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)
