"""Attention over whole rows, in three forms that agree, and over a cache.

"plain" is XLA's own and holds the scores of pairs of positions; "splash" (TPU) and "flash" (GPU) are Pallas kernels
that ship with JAX and hold a block of them at a time. Rows are packed: a position sees those before it in its own
segment.

Dimension letters, here and in transformer.py: B rows, T positions, S cache columns, D model width, K key/value heads, R
query heads per key/value head, C channels of a head, F feed-forward width, V vocabulary, L layers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name

from acejax.mesh import Rules, platform
from acejax.policy.products import PRODUCT

MASKED = -1e30  # not -inf: a row with nothing to attend to (padding) must not become NaN
PARTS, SHORTEST_PART = 4, 64  # of the plain form
BLOCK = 128  # rows are padded to a multiple of it for the kernels
FORM_OF_PLATFORM = {"tpu": "splash", "gpu": "flash"}


def choose(form: str, platform: str) -> str:
    """The form that `form` ("auto" or a form's name) means on devices of a platform (acejax.mesh.platform)."""
    return FORM_OF_PLATFORM.get(platform, "plain") if form == "auto" else form


def attend_rows(
    q: Array,  # [B,T,K,R,C]
    k: Array,  # [B,T,K,C]
    v: Array,  # [B,T,K,C]
    segments: Array,  # [B,T], 0: padding
    form: str,
    rules: Rules,
) -> Array:
    """Causal attention inside segments -> [B,T,K,R,C].

    What stands at padding is not defined, but finite. Off their devices the kernels are interpreted, which is for
    tests.
    """
    if form == "plain":
        return attend_in_parts(q, k, v, segment_mask(segments))

    kernel, home = {"splash": (splash_kernel, "tpu"), "flash": (flash_kernel, "gpu")}[form]
    interpret = platform(jax.sharding.get_abstract_mesh()) != home

    def local(q: Array, k: Array, v: Array, segments: Array) -> Array:
        T = segments.shape[1]
        q, k, v, segments = (pad_columns(a, -T % BLOCK) for a in (q, k, v, segments))
        return kernel(q, k, v, segments, interpret)[:, :T]

    # A kernel is no operation that has a sharding rule. Rows and heads are independent: each device runs it on its own.
    queries = rules.spec("batch", None, "heads", None, None)
    keys = rules.spec("batch", None, "heads", None)
    with jax.named_scope("attend"):
        split: Callable[..., Array] = jax.shard_map(
            local,
            in_specs=(queries, keys, keys, rules.spec("batch", None)),
            out_specs=queries,
            check_vma=False,
        )
        return checkpoint_name(split(q, k, v, segments), PRODUCT)


def pad_columns(a: Array, columns: int) -> Array:
    """[B,T,...] -> [B,T+columns,...] with zeros at the end."""
    rest = ((0, 0),) * (a.ndim - 2)
    return jnp.pad(a, ((0, 0), (0, columns), *rest))


def attend_in_parts(
    q: Array,  # [B,T,K,R,C]
    k: Array,  # [B,T,K,C]
    v: Array,  # [B,T,K,C]
    mask: Array,  # [B,T,T], causal
) -> Array:
    """As `attend`, but long rows in a few parts, each of which looks only as far as it may: what lies ahead of a part
    is not computed.
    """
    T = q.shape[1]
    parts = min(PARTS, T // SHORTEST_PART)
    if parts < 2:
        return attend(q, k, v, mask)
    ends = [T * n // parts for n in range(parts + 1)]
    mixed = []
    for a, b in zip(ends, ends[1:], strict=False):
        mixed.append(attend(q[:, a:b], k[:, :b], v[:, :b], mask[:, a:b, :b]))
    return jnp.concatenate(mixed, axis=1)


def splash_kernel(
    q: Array,  # [B,T,K,R,C]
    k: Array,  # [B,T,K,C]
    v: Array,  # [B,T,K,C]
    segments: Array,  # [B,T]
    interpret: bool,
) -> Array:
    """The kernel of TPUs, for rows whose length is a multiple of BLOCK."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    _, T, K, R, C = q.shape
    size = next(size for size in (512, 256, BLOCK) if T % size == 0)
    forward = ("block_q", "block_kv", "block_kv_compute")
    backward = ("block_q_dkv", "block_kv_dkv", "block_kv_dkv_compute", "block_q_dq", "block_kv_dq")
    sizes = splash.BlockSizes(**dict.fromkeys((*forward, *backward), size))  # type: ignore[arg-type]
    causal = masks.MultiHeadMask([masks.CausalMask((T, T)) for _ in range(K * R)])
    kernel = splash.make_splash_mha_single_device(causal, block_sizes=sizes, interpret=interpret)

    def row(q: Array, k: Array, v: Array, segments: Array) -> Array:
        return kernel(q, k, v, segment_ids=splash.SegmentIds(segments, segments))

    scaled = q * C**-0.5
    scaled = scaled.transpose(0, 2, 3, 1, 4).reshape(-1, K * R, T, C)
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
    out = jax.vmap(row)(scaled, k, v, segments)
    return out.reshape(-1, K, R, T, C).transpose(0, 3, 1, 2, 4)


def flash_kernel(
    q: Array,  # [B,T,K,R,C]
    k: Array,  # [B,T,K,C]
    v: Array,  # [B,T,K,C]
    segments: Array,  # [B,T]
    interpret: bool,
) -> Array:
    """The kernel of GPUs, for rows whose length is a multiple of BLOCK."""
    with warnings.catch_warnings():
        # Newer versions of JAX name a package of its own as the kernel's successor; theirs still has it.
        warnings.filterwarnings("ignore", r"jax\.experimental\.pallas\.ops\.gpu\.attention", DeprecationWarning)
        from jax.experimental.pallas.ops.gpu import attention as flash

    _, T, K, R, C = q.shape
    # The kernel knows no groups of query heads.
    k, v = jnp.repeat(k, R, axis=2), jnp.repeat(v, R, axis=2)
    heads = q.reshape(-1, T, K * R, C)
    out = flash.mha(heads, k, v, segments, sm_scale=C**-0.5, causal=True, interpret=interpret)
    return out.reshape(q.shape)


def attend(
    q: Array,  # [B,T,K,R,C]
    k: Array,  # [B,S,K,C]
    v: Array,  # [B,S,K,C]
    mask: Array,  # [B,T,S], true: may look
) -> Array:
    """Grouped-query attention -> [B,T,K,R,C]. Softmax in fp32."""
    with jax.named_scope("attend"):
        # Heads are moved in front once, so that both products and their gradients are plain batched ones.
        q = q.transpose(0, 2, 3, 1, 4)
        k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
        scores = jnp.einsum("BKRTC,BKSC->BKRTS", q, k, preferred_element_type=jnp.float32)
        scores = scores * q.shape[-1] ** -0.5
        scores = jnp.where(mask[:, None, None], scores, MASKED)
        weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
        mixed = jnp.einsum("BKRTS,BKSC->BKRTC", weights, v).transpose(0, 3, 1, 2, 4)
        return checkpoint_name(mixed, PRODUCT)


def segment_mask(segments: Array) -> Array:
    """[B,T] segment numbers (0: padding) -> [B,T,T]: causal, inside one segment."""
    steps = jnp.arange(segments.shape[1])
    causal = steps[:, None] >= steps[None, :]
    same = segments[:, :, None] == segments[:, None, :]
    return causal & same & (segments[:, :, None] > 0)
