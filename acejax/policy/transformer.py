"""The policy as pure functions over a pytree: Llama; Qwen2, which adds biases to query, key and value; Qwen3, which
norms query and key.

Dimension letters are listed in attention.py. Each weight is declared once, in `declare`: shapes, shardings and initial
values all come from there. Layers are stacked along L and scanned.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jax.sharding import Mesh, NamedSharding

from acejax.errors import UserError
from acejax.mesh import SAMPLING, Rules, mesh_axes
from acejax.policy.attention import attend_rows
from acejax.policy.config import PolicyConfig
from acejax.policy.products import PRODUCT, linear, log_probability, project
from acejax.policy.rope import rotary, rotate


@dataclass(frozen=True)
class Weight:
    """One declared weight: its shape, a logical name for each axis, and the standard deviation it starts with (None:
    ones).
    """

    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    init: float | None


@struct.dataclass
class Layer:
    """Weights of all layers, stacked along the first axis; shapes stand in `declare`. What an architecture does not
    have is None.
    """

    attention_norm: Any
    q: Any
    k: Any
    v: Any
    q_bias: Any
    k_bias: Any
    v_bias: Any
    q_norm: Any
    k_norm: Any
    o: Any
    mlp_norm: Any
    gate: Any
    up: Any
    down: Any


@struct.dataclass
class Params:
    """All weights of a policy; shapes stand in `declare`. `head` is None where the output shares the embedding."""

    embedding: Any
    layers: Layer
    norm: Any
    head: Any


def declare(config: PolicyConfig) -> Params:
    """The one declaration of every weight: Params with a Weight at each leaf."""
    L, D, F, V = config.layers, config.width, config.mlp, config.vocab
    K, R, C = config.kv_heads, config.queries_per_kv, config.head_dim
    std = D**-0.5
    # Branches start small beside the embedding that they are added to, so copying is learned early.
    out = 0.2 * std * (2 * L) ** -0.5

    layers = Layer(
        attention_norm=Weight((L, D), ("layers", None), None),
        q=Weight((L, D, K, R, C), ("layers", "width", "heads", None, None), std),
        k=Weight((L, D, K, C), ("layers", "width", "heads", None), std),
        v=Weight((L, D, K, C), ("layers", "width", "heads", None), std),
        q_bias=Weight((L, K, R, C), ("layers", "heads", None, None), 0.0),
        k_bias=Weight((L, K, C), ("layers", "heads", None), 0.0),
        v_bias=Weight((L, K, C), ("layers", "heads", None), 0.0),
        q_norm=Weight((L, C), ("layers", None), None),
        k_norm=Weight((L, C), ("layers", None), None),
        o=Weight((L, K, R, C, D), ("layers", "heads", None, None, "width"), out),
        mlp_norm=Weight((L, D), ("layers", None), None),
        gate=Weight((L, D, F), ("layers", "width", "mlp"), std),
        up=Weight((L, D, F), ("layers", "width", "mlp"), std),
        down=Weight((L, F, D), ("layers", "mlp", "width"), out * (D / F) ** 0.5),
    )
    if not config.qkv_bias:
        layers = replace(layers, q_bias=None, k_bias=None, v_bias=None)
    if not config.qk_norm:
        layers = replace(layers, q_norm=None, k_norm=None)

    table = Weight((V, D), ("vocab", "width"), std)
    return Params(
        embedding=table,
        layers=layers,
        norm=Weight((D,), (None,), None),
        head=None if config.tied else table,
    )


# What a message calls a logical axis.
SAID = {"heads": "key/value heads", "mlp": "feed-forward width", "vocab": "vocabulary"}


def shardings(config: PolicyConfig, mesh: Mesh, rules: Rules) -> Params:
    """Params with the NamedSharding of each weight at its leaf. Raises UserError where a weight does not divide over
    the mesh.
    """

    def one(weight: Weight) -> NamedSharding:
        spec = rules.spec(*weight.axes)
        for size, logical, part in zip(weight.shape, weight.axes, spec, strict=True):
            for axis in mesh_axes(part):
                if size % mesh.shape[axis]:
                    raise UserError(
                        f"mesh.{axis}={mesh.shape[axis]} does not divide the policy's "
                        f"{SAID.get(logical or '', logical)} ({size}); choose a divisor of it"
                    )
        return NamedSharding(mesh, spec)

    return jax.tree.map(one, declare(config))


def sampling_weights(params: Params, config: PolicyConfig, mesh: Mesh, dtype: str) -> Params:
    """Training weights as sampling uses them: in `dtype`, gathered along the model width, split over heads on `mesh`.

    Raises UserError where a weight does not divide over the mesh.
    """
    shardings(config, mesh, SAMPLING)
    with jax.set_mesh(mesh):
        return _gather(params, config, dtype)


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def _gather(params: Params, config: PolicyConfig, dtype: str) -> Params:
    def one(declared: Weight, weight: Array) -> Array:
        return jax.reshard(weight.astype(dtype), SAMPLING.spec(*declared.axes))

    return jax.tree.map(one, declare(config), params)


def initialise(config: PolicyConfig, seed: int, mesh: Mesh, rules: Rules, dtype: str = "float32") -> Params:
    """Random weights in `dtype`, drawn on the devices that hold them; the values do not depend on the mesh."""

    def one(weight: Weight, key: Array) -> Array:
        if weight.init is None:
            return jnp.ones(weight.shape).astype(dtype)
        return (weight.init * jax.random.normal(key, weight.shape)).astype(dtype)

    def draw() -> Params:
        weights, tree = jax.tree.flatten(declare(config))
        keys = jax.random.split(jax.random.key(seed), len(weights))
        return jax.tree.unflatten(tree, map(one, weights, keys))

    # Compiled once a run: where the weights lie is no argument that a program could be kept for.
    with jax.set_mesh(mesh):
        return jax.jit(draw, out_shardings=shardings(config, mesh, rules))()


# Up to this many layers the scan is unrolled: for a small policy the loop's bookkeeping costs more than its compilation
# saves.
UNROLLED_LAYERS = 4


def unroll(config: PolicyConfig) -> int:
    return config.layers if config.layers <= UNROLLED_LAYERS else 1


def rms_norm(x: Array, scale: Array, eps: float) -> Array:
    """RMSNorm over the last axis, in fp32."""
    wide = x.astype(jnp.float32)
    mean_square = jnp.mean(wide * wide, -1, keepdims=True)
    normed = wide * jax.lax.rsqrt(mean_square + eps) * scale.astype(jnp.float32)
    return normed.astype(x.dtype)


def embed(
    params: Params,
    ids: Array,  # [B,T]
    rules: Rules,
    dtype: Any,
) -> Array:
    """The rows of the embedding that ids name [B,T,D]."""
    with jax.named_scope("embed"):
        table = params.embedding.astype(dtype)
        table = jax.reshard(table, rules.spec(None, "embed"))
        rows = table.at[ids].get(out_sharding=rules.spec("batch", None, "embed"))
        return jax.reshard(rows, rules.spec("batch", None, None))


def block(
    layer: Layer,
    x: Array,  # [B,T,D]
    angles: tuple[Array, Array],  # [B,T,C/2]
    config: PolicyConfig,
    rules: Rules,
    attention: Callable[[Array, Array, Array], tuple[Array, Any]],
) -> tuple[Array, Any]:
    """One layer. `attention` takes rotated q [B,T,K,R,C], k and v [B,T,K,C] and returns its output and what to keep."""
    declared = declare(config).layers
    stay = rules.spec("batch", None, None)
    wide = rules.spec("batch", None, "mlp")
    queries = rules.spec("batch", None, "heads", None, None)
    keys = rules.spec("batch", None, "heads", None)

    def use(name: str) -> Array:
        weight = getattr(layer, name).astype(x.dtype)
        axes = getattr(declared, name).axes[1:]
        return jax.reshard(weight, rules.gathered(*axes))

    with jax.named_scope("attention"):
        h = rms_norm(x, layer.attention_norm, config.norm_eps)
        q = linear("BTD,DKRC->BTKRC", queries, h, use("q"))
        k = linear("BTD,DKC->BTKC", keys, h, use("k"))
        v = linear("BTD,DKC->BTKC", keys, h, use("v"))
        if config.qkv_bias:
            q = q + use("q_bias")
            k = k + use("k_bias")
            v = v + use("v_bias")
        if config.qk_norm:
            q = rms_norm(q, layer.q_norm, config.norm_eps)
            k = rms_norm(k, layer.k_norm, config.norm_eps)
        mixed, kept = attention(rotate(q, *angles), rotate(k, *angles), v)
        x = x + linear("BTKRC,KRCD->BTD", stay, mixed, use("o"))

    with jax.named_scope("mlp"):
        h = rms_norm(x, layer.mlp_norm, config.norm_eps)
        gate = linear("BTD,DF->BTF", wide, h, use("gate"))
        up = linear("BTD,DF->BTF", wide, h, use("up"))
        x = x + linear("BTF,FD->BTD", stay, jax.nn.silu(gate) * up, use("down"))
    return x, kept


def forward(
    params: Params,
    ids: Array,  # [B,T]
    positions: Array,  # [B,T]
    segments: Array,  # [B,T], 0: padding
    config: PolicyConfig,
    rules: Rules,
    dtype: Any,
    remat: bool = True,
    keep_cache: bool = False,
) -> tuple[Array, Any]:
    """The forward pass over whole rows -> normed hidden states [B,T,D].

    With `keep_cache`, the second result is (keys, values), each [L,B,T,K,C]; else None.
    """
    angles = rotary(positions, config.rope, config.head_dim)

    def attention(q: Array, k: Array, v: Array) -> tuple[Array, Any]:
        kept = (k, v) if keep_cache else None
        return attend_rows(q, k, v, segments, config.attention, rules), kept

    def step(x: Array, layer: Layer) -> tuple[Array, Any]:
        return block(layer, x, angles, config, rules, attention)

    # remat keeps only each layer's input; otherwise results of products are kept too (not the scores): all else is
    # cheaper made again.
    keep_products = jax.checkpoint_policies.save_only_these_names(PRODUCT)
    body = jax.checkpoint(step, policy=None if remat else keep_products)
    x = embed(params, ids, rules, dtype)
    x, cache = jax.lax.scan(body, x, params.layers, unroll=unroll(config))
    return rms_norm(x, params.norm, config.norm_eps), cache


def logits(
    params: Params,
    x: Array,  # [B,D] or [B,T,D]
    config: PolicyConfig,
    rules: Rules,
) -> Array:
    """Hidden states -> fp32 logits [...,V]; rows of the embedding that no token names are masked."""
    with jax.named_scope("head"):
        table = params.embedding if params.head is None else params.head
        table = jax.reshard(table.astype(x.dtype), rules.gathered("vocab", "width"))
        letters = "BT"[: x.ndim - 1]
        inner = [None] * (x.ndim - 2)
        out = project(f"{letters}D,VD->{letters}V", rules.spec("batch", *inner, "vocab"), x, table)
        if config.tokens == config.vocab:
            return out
        return jnp.where(jnp.arange(config.vocab) < config.tokens, out, -1e30)


def score(
    params: Params,
    x: Array,  # [B,T,D]
    targets: Array,  # [B,T]
    temperature: Array,  # []
    config: PolicyConfig,
    rules: Rules,
    chunk: int = 512,
    remat: bool = True,
) -> tuple[Array, Array, Array]:
    """Hidden states and the token that follows each -> three fp32 arrays [B,T].

    They are the log-probability (nats) of the target under softmax(logits / temperature), and the entropy (nats) of the
    distribution at temperature 1 and at `temperature`. Logits exist for `chunk` positions at a time and, with `remat`,
    are computed again in the backward pass.
    """
    B, T, _ = x.shape
    chunk = min(chunk, T)
    pad = -T % chunk
    x = jnp.pad(x, ((0, 0), (0, pad), (0, 0)))
    targets = jnp.pad(targets, ((0, 0), (0, pad)))

    def one(part: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        h, ids = part
        z = logits(params, h, config, rules)
        tempered = z / temperature
        log_p = log_probability(tempered, ids)
        z, tempered = jax.lax.stop_gradient((z, tempered))
        return log_p, entropy(z), entropy(tempered)

    if remat:
        one = jax.checkpoint(one)

    def split(a: Array) -> Array:
        """[B,T,...] -> [parts,B*chunk,...]. One axis of positions, so that XLA can turn logits into their gradient in
        place.
        """
        inner = a.shape[2:]
        sharding = rules.spec(None, "batch", *[None] * len(inner))
        apart = a.reshape(B, -1, chunk, *inner).swapaxes(0, 1)
        return apart.reshape(-1, B * chunk, *inner, out_sharding=sharding)

    def join(a: Array) -> Array:
        """[parts,B*chunk] -> [B,T]."""
        apart = a.reshape(-1, B, chunk, out_sharding=rules.spec(None, "batch", None))
        return apart.swapaxes(0, 1).reshape(B, -1)[:, :T]

    parts = split(x), split(targets)
    if chunk < T:
        out = jax.lax.map(one, parts)
    else:
        only = one(jax.tree.map(lambda a: a[0], parts))
        out = jax.tree.map(lambda a: a[None], only)
    log_p, at_one, at_temperature = map(join, out)
    return log_p, at_one, at_temperature


def entropy(z: Array) -> Array:
    """Logits [...,V] -> the entropy (nats) of their softmax [...]."""
    log_p = jax.nn.log_softmax(z, axis=-1)
    return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
