"""Attention over whole rows, in three forms that agree, and over a cache.

"plain" is XLA's own and holds the scores of pairs of positions; "splash" (TPU) and "flash" (GPU) are Pallas kernels
that ship with JAX and hold a block of them at a time. Rows are packed: a position sees those before it in its own
segment.

Dimension letters, here and in transformer.py: B rows, T positions, S cache columns, D model width, K key/value heads, R
query heads per key/value head, C channels of a head, F feed-forward width, V vocabulary, L layers.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from acejax.mesh import Rules

MASKED = -1e30  # not -inf: a row with nothing to attend to (padding) must not become NaN
PARTS, SHORTEST_PART = 4, 64  # of the plain form
PRODUCT = "product"  # the name of what the backward pass finds kept, if not everything is made again
BLOCK = 128  # rows are padded to a multiple of it for the kernels
BY_BACKEND = {"tpu": "splash", "gpu": "flash"}


def choose(form: str, backend: str) -> str:
    """The form that `form` ("auto" or a form's name) means on a JAX backend."""
    return BY_BACKEND.get(backend, "plain") if form == "auto" else form


def attend_rows(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array, form: str, rules: Rules) -> jax.Array:
    """Causal attention inside segments. q [B,T,K,R,C], k and v [B,T,K,C], segments [B,T] (0: padding) -> [B,T,K,R,C].

    What stands at padding is not defined, but finite. Off their devices the kernels are interpreted, which is for
    tests.
    """
    if form == "plain":
        return _plain(q, k, v, segment_mask(segments))
    kernel = {"splash": _splash, "flash": _flash}[form]

    def local(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array) -> jax.Array:
        short = -q.shape[1] % BLOCK
        q, k, v, padded = (jnp.pad(a, ((0, 0), (0, short)) + ((0, 0),) * (a.ndim - 2)) for a in (q, k, v, segments))
        return kernel(q, k, v, padded)[:, : segments.shape[1]]

    with jax.named_scope("attend"):
        # A kernel is no operation that has a sharding rule. Rows and heads are independent: each device runs it on its
        # own.
        wide, narrow = rules.spec("batch", None, "heads", None, None), rules.spec("batch", None, "heads", None)
        split: Callable[..., jax.Array] = jax.shard_map(
            local, in_specs=(wide, narrow, narrow, rules.spec("batch", None)), out_specs=wide, check_vma=False
        )
        return checkpoint_name(split(q, k, v, segments), PRODUCT)


def _plain(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array) -> jax.Array:
    """Long rows in a few parts, each of which looks only as far as it may: what lies ahead of a part is not
    computed.
    """
    T = q.shape[1]
    parts = min(PARTS, T // SHORTEST_PART)
    if parts < 2:
        return attend(q, k, v, mask)
    ends = [T * n // parts for n in range(parts + 1)]
    return jnp.concatenate(
        [attend(q[:, a:b], k[:, :b], v[:, :b], mask[:, a:b, :b]) for a, b in zip(ends, ends[1:], strict=False)], axis=1
    )


def _splash(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array) -> jax.Array:
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    _, T, K, R, C = q.shape
    size = next(size for size in (512, 256, BLOCK) if T % size == 0)
    forward = {name: size for name in ("block_q", "block_kv", "block_kv_compute")}
    backward = {
        name: size for name in ("block_q_dkv", "block_kv_dkv", "block_kv_dkv_compute", "block_q_dq", "block_kv_dq")
    }
    kernel = splash.make_splash_mha_single_device(
        masks.MultiHeadMask([masks.CausalMask((T, T)) for _ in range(K * R)]),
        block_sizes=splash.BlockSizes(**forward, **backward),  # type: ignore[arg-type]
        interpret=jax.default_backend() != "tpu",
    )
    scaled = (q * C**-0.5).transpose(0, 2, 3, 1, 4).reshape(-1, K * R, T, C)
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
    out = jax.vmap(lambda q, k, v, s: kernel(q, k, v, segment_ids=splash.SegmentIds(s, s)))(scaled, k, v, segments)
    return out.reshape(-1, K, R, T, C).transpose(0, 3, 1, 2, 4)


def _flash(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array) -> jax.Array:
    from jax.experimental.pallas.ops.gpu import attention as flash

    _, T, K, R, C = q.shape
    k, v = (jnp.repeat(a, R, axis=2) for a in (k, v))  # the kernel knows no groups of query heads
    interpret = jax.default_backend() != "gpu"
    out = flash.mha(q.reshape(-1, T, K * R, C), k, v, segments, sm_scale=C**-0.5, causal=True, interpret=interpret)
    return out.reshape(q.shape)


def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array) -> jax.Array:
    """Grouped-query attention. q [B,T,K,R,C], k and v [B,S,K,C], mask [B,T,S] (true: may look) -> [B,T,K,R,C]. Softmax
    in fp32.
    """
    with jax.named_scope("attend"):
        # Heads are moved in front once, so that both products and their gradients are plain batched ones.
        q, k, v = q.transpose(0, 2, 3, 1, 4), k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
        scores = jnp.einsum("BKRTC,BKSC->BKRTS", q, k, preferred_element_type=jnp.float32)
        scores = jnp.where(mask[:, None, None], scores * q.shape[-1] ** -0.5, MASKED)
        weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
        return checkpoint_name(jnp.einsum("BKRTS,BKSC->BKRTC", weights, v).transpose(0, 3, 1, 2, 4), PRODUCT)


def segment_mask(segments: jax.Array) -> jax.Array:
    """[B,T] segment numbers (0: padding) -> [B,T,T]: causal, inside one segment."""
    steps = jnp.arange(segments.shape[1])
    causal = steps[:, None] >= steps[None, :]
    return causal & (segments[:, :, None] == segments[:, None, :]) & (segments[:, :, None] > 0)
