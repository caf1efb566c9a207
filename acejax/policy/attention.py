"""Attention over whole rows and over a cache, in plain XLA.

Dimension letters, here and in transformer.py: B rows, T positions, S cache columns, D model width, K key/value heads, R query
heads per key/value head, C channels of a head, F feed-forward width, V vocabulary, L layers.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

MASKED = -1e30  # not -inf: a row with nothing to attend to (padding) must not become NaN


def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array) -> jax.Array:
    """Grouped-query attention. q [B,T,K,R,C], k and v [B,S,K,C], mask [B,T,S] (true: may look) -> [B,T,K,R,C]. Softmax in fp32."""
    with jax.named_scope("attend"):
        # Heads are moved in front once, so that both products and their gradients are plain batched ones.
        q, k, v = q.transpose(0, 2, 3, 1, 4), k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
        scores = jnp.einsum("BKRTC,BKSC->BKRTS", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
        scores = jnp.where(mask[:, None, None], scores, MASKED)
        weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
        return jnp.einsum("BKRTS,BKSC->BKRTC", weights, v).transpose(0, 3, 1, 2, 4)


def segment_mask(segments: jax.Array) -> jax.Array:
    """[B,T] segment numbers (0: padding) -> [B,T,T]: causal, inside one segment."""
    steps = jnp.arange(segments.shape[1])
    causal = steps[:, None] >= steps[None, :]
    return causal & (segments[:, :, None] == segments[:, None, :]) & (segments[:, :, None] > 0)


def rotary(positions: jax.Array, head_dim: int, theta: float) -> tuple[jax.Array, jax.Array]:
    """[B,T] positions -> sine and cosine [B,T,C/2] of the rotary angles, fp32 (Su et al., arXiv 2104.09864)."""
    frequencies = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    angles = positions[..., None].astype(jnp.float32) * frequencies
    return jnp.sin(angles), jnp.cos(angles)


def rotate(x: jax.Array, sine: jax.Array, cosine: jax.Array) -> jax.Array:
    """Rotates the two halves of the last axis of x [B,T,...,C] by the angles of `rotary`, in fp32."""
    extra = (1,) * (x.ndim - 3)
    sine, cosine = (a.reshape(*a.shape[:2], *extra, a.shape[-1]) for a in (sine, cosine))
    low, high = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([low * cosine - high * sine, high * cosine + low * sine], axis=-1).astype(x.dtype)
