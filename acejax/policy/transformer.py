"""The policy as pure functions over a pytree: Llama; Qwen2, which adds biases to query, key and value; Qwen3, which
norms query and key.

Dimension letters are listed in attention.py. Each weight is declared once, in `declare`: shapes, shardings and initial
values all come from there. Layers are stacked along L and scanned.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from acejax.errors import UserError
from acejax.mesh import SAMPLING, Rules
from acejax.policy.attention import PRODUCT, attend_rows
from acejax.policy.config import PolicyConfig
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
    """Weights of all layers, stacked along the first axis. What an architecture does not have is None."""

    attention_norm: Any  # [L,D]
    q: Any  # [L,D,K,R,C]
    k: Any  # [L,D,K,C]
    v: Any  # [L,D,K,C]
    q_bias: Any  # [L,K,R,C]
    k_bias: Any  # [L,K,C]
    v_bias: Any  # [L,K,C]
    q_norm: Any  # [L,C]
    k_norm: Any  # [L,C]
    o: Any  # [L,K,R,C,D]
    mlp_norm: Any  # [L,D]
    gate: Any  # [L,D,F]
    up: Any  # [L,D,F]
    down: Any  # [L,F,D]


@struct.dataclass
class Params:
    """All weights of a policy. `head` is None where the output shares the embedding."""

    embedding: Any  # [V,D]
    layers: Layer
    norm: Any  # [D]
    head: Any  # [V,D]


def declare(config: PolicyConfig) -> Params:
    """The one declaration of every weight: Params with a Weight at each leaf."""
    L, D, F, V = config.layers, config.width, config.mlp, config.vocab
    K, R, C = config.kv_heads, config.queries_per_kv, config.head_dim
    std = D**-0.5
    out = (
        0.2 * std * (2 * L) ** -0.5
    )  # branches start small beside the embedding that they are added to, so copying is learned early
    bias, norm = config.qkv_bias, config.qk_norm
    layers = Layer(
        attention_norm=Weight((L, D), ("layers", None), None),
        q=Weight((L, D, K, R, C), ("layers", "width", "heads", None, None), std),
        k=Weight((L, D, K, C), ("layers", "width", "heads", None), std),
        v=Weight((L, D, K, C), ("layers", "width", "heads", None), std),
        q_bias=Weight((L, K, R, C), ("layers", "heads", None, None), 0.0) if bias else None,
        k_bias=Weight((L, K, C), ("layers", "heads", None), 0.0) if bias else None,
        v_bias=Weight((L, K, C), ("layers", "heads", None), 0.0) if bias else None,
        q_norm=Weight((L, C), ("layers", None), None) if norm else None,
        k_norm=Weight((L, C), ("layers", None), None) if norm else None,
        o=Weight((L, K, R, C, D), ("layers", "heads", None, None, "width"), out),
        mlp_norm=Weight((L, D), ("layers", None), None),
        gate=Weight((L, D, F), ("layers", "width", "mlp"), std),
        up=Weight((L, D, F), ("layers", "width", "mlp"), std),
        down=Weight((L, F, D), ("layers", "mlp", "width"), out * (D / F) ** 0.5),
    )
    return Params(
        embedding=Weight((V, D), ("vocab", "width"), std),
        layers=layers,
        norm=Weight((D,), (None,), None),
        head=None if config.tied else Weight((V, D), ("vocab", "width"), std),
    )


def shardings(config: PolicyConfig, mesh: Mesh, rules: Rules) -> Params:
    """Params with the NamedSharding of each weight at its leaf. Raises UserError where a weight does not divide over
    the mesh.
    """

    def one(weight: Weight) -> NamedSharding:
        spec = rules.spec(*weight.axes)
        for size, logical, axis in zip(weight.shape, weight.axes, spec, strict=True):
            if axis is not None and size % mesh.shape[axis]:
                raise UserError(
                    f"mesh.{axis}={mesh.shape[axis]} does not divide the policy's {logical} ({size}); choose a divisor of it"
                )
        return NamedSharding(mesh, spec)

    return jax.tree.map(one, declare(config))


def sampling_weights(params: Params, config: PolicyConfig, mesh: Mesh, dtype: str) -> Params:
    """Training weights as sampling uses them: in `dtype`, gathered along the model width, split over heads on
    `mesh`. Raises UserError where a weight does not divide over the mesh.
    """
    shardings(config, mesh, SAMPLING)
    with jax.set_mesh(mesh):
        return _gather(params, config, dtype)


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def _gather(params: Params, config: PolicyConfig, dtype: str) -> Params:
    def one(declared: Weight, weight: jax.Array) -> jax.Array:
        return jax.reshard(weight.astype(dtype), SAMPLING.spec(*declared.axes))

    return jax.tree.map(one, declare(config), params)


def initialise(config: PolicyConfig, seed: int, mesh: Mesh, rules: Rules, dtype: str = "float32") -> Params:
    """Random weights in `dtype`, drawn on the devices that hold them; the values do not depend on the mesh."""

    def draw() -> Params:
        leaves, tree = jax.tree.flatten(declare(config))
        keys = jax.random.split(jax.random.key(seed), len(leaves))
        return jax.tree.unflatten(
            tree,
            [
                (jnp.ones(w.shape) if w.init is None else w.init * jax.random.normal(key, w.shape)).astype(dtype)
                for w, key in zip(leaves, keys, strict=True)
            ],
        )

    with jax.set_mesh(mesh):
        return jax.jit(draw, out_shardings=shardings(config, mesh, rules))()


# Up to this many layers the scan is unrolled: for a small policy the loop's bookkeeping costs more than its compilation
# saves.
UNROLLED_LAYERS = 4


def unroll(config: PolicyConfig) -> int:
    return config.layers if config.layers <= UNROLLED_LAYERS else 1


def rms_norm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """RMSNorm over the last axis, in fp32."""
    wide = x.astype(jnp.float32)
    return (wide * jax.lax.rsqrt(jnp.mean(wide * wide, -1, keepdims=True) + eps) * scale.astype(jnp.float32)).astype(
        x.dtype
    )


def linear(equation: str, spec: PartitionSpec, x: jax.Array, w: jax.Array) -> jax.Array:
    """An einsum of activations and a weight, with the layout `spec`.

    Its gradients are einsums again, each written straight into the layout of what it belongs to. Derived by JAX, the
    weight's comes out transposed, and XLA on a CPU turns the incoming gradient round in memory for it: a fifth of the
    whole backward pass.
    """
    return checkpoint_name(_linear(equation, spec, x, w), PRODUCT)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _linear(equation: str, spec: PartitionSpec, x: jax.Array, w: jax.Array) -> jax.Array:
    return jnp.einsum(
        equation, x, w, out_sharding=spec, preferred_element_type=jnp.float32 if equation.endswith("V") else None
    )


def _linear_forward(
    equation: str, spec: PartitionSpec, x: jax.Array, w: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _linear(equation, spec, x, w), (x, w)


def _linear_backward(
    equation: str, _: PartitionSpec, saved: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, w = saved
    dy = dy.astype(x.dtype)  # logits are fp32 whatever they are made of
    inputs, out = equation.split("->")
    of_x, of_w = inputs.split(",")
    dx = jnp.einsum(f"{out},{of_w}->{of_x}", dy, w, out_sharding=jax.typeof(x).sharding.spec)
    spec = dict(zip(of_w, jax.typeof(w).sharding.spec, strict=True))
    # XLA turns the first of the two round in memory: let it be the smaller, and turn the result if need be.
    (first, a), (second, b) = sorted(((of_x, x), (out, dy)), key=lambda side: side[1].size)
    straight = "".join(sorted(of_w, key=lambda letter: letter not in first))
    dw = jnp.einsum(
        f"{first},{second}->{straight}", a, b, out_sharding=PartitionSpec(*[spec[letter] for letter in straight])
    )
    # The barrier keeps XLA from turning the other round after all.
    return dx, dw if straight == of_w else jnp.einsum(f"{straight}->{of_w}", jax.lax.optimization_barrier(dw))


_linear.defvjp(_linear_forward, _linear_backward)


def embed(params: Params, ids: jax.Array, rules: Rules, dtype: Any) -> jax.Array:
    """ids [B,T] -> [B,T,D]. The table is laid out by width for the look-up: a row then needs no search across
    devices.
    """
    with jax.named_scope("embed"):
        table = jax.reshard(params.embedding.astype(dtype), rules.spec(None, "mlp"))
        rows = table.at[ids].get(out_sharding=rules.spec("batch", None, "mlp"))
        return jax.reshard(rows, rules.spec("batch", None, None))


def block(
    layer: Layer,
    x: jax.Array,
    angles: tuple[jax.Array, jax.Array],
    config: PolicyConfig,
    rules: Rules,
    attention: Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, Any]],
) -> tuple[jax.Array, Any]:
    """One layer. x [B,T,D]; `attention` takes rotated q [B,T,K,R,C], k and v [B,T,K,C] and returns its output and what
    to keep.
    """
    declared = declare(config).layers
    stay, wide = rules.spec("batch", None, None), rules.spec("batch", None, "mlp")
    query, key = rules.spec("batch", None, "heads", None, None), rules.spec("batch", None, "heads", None)

    def use(name: str) -> jax.Array:
        return jax.reshard(getattr(layer, name).astype(x.dtype), rules.gathered(*getattr(declared, name).axes[1:]))

    with jax.named_scope("attention"):
        h = rms_norm(x, layer.attention_norm, config.norm_eps)
        q = linear("BTD,DKRC->BTKRC", query, h, use("q"))
        k = linear("BTD,DKC->BTKC", key, h, use("k"))
        v = linear("BTD,DKC->BTKC", key, h, use("v"))
        if config.qkv_bias:
            q, k, v = q + use("q_bias"), k + use("k_bias"), v + use("v_bias")
        if config.qk_norm:
            q, k = rms_norm(q, layer.q_norm, config.norm_eps), rms_norm(k, layer.k_norm, config.norm_eps)
        mixed, kept = attention(rotate(q, *angles), rotate(k, *angles), v)
        x = x + linear("BTKRC,KRCD->BTD", stay, mixed, use("o"))
    with jax.named_scope("mlp"):
        h = rms_norm(x, layer.mlp_norm, config.norm_eps)
        gate = linear("BTD,DF->BTF", wide, h, use("gate"))
        up = linear("BTD,DF->BTF", wide, h, use("up"))
        return x + linear("BTF,FD->BTD", stay, jax.nn.silu(gate) * up, use("down")), kept


def forward(
    params: Params,
    ids: jax.Array,
    positions: jax.Array,
    segments: jax.Array,
    config: PolicyConfig,
    rules: Rules,
    dtype: Any,
    remat: bool = True,
    keep_cache: bool = False,
) -> tuple[jax.Array, Any]:
    """The forward pass over whole rows: ids, positions, segments [B,T] -> normed hidden states [B,T,D].

    With `keep_cache`, the second result is (keys, values), each [L,B,T,K,C]; else None.
    """
    angles = rotary(positions, config.rope, config.head_dim)

    def attention(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, Any]:
        return attend_rows(q, k, v, segments, config.attention, rules), (k, v) if keep_cache else None

    def step(x: jax.Array, layer: Layer) -> tuple[jax.Array, Any]:
        return block(layer, x, angles, config, rules, attention)

    x = embed(params, ids, rules, dtype)
    # remat keeps only each layer's input; otherwise results of products are kept too (not the scores): all else is
    # cheaper made again.
    body = jax.checkpoint(step, policy=None if remat else jax.checkpoint_policies.save_only_these_names(PRODUCT))
    x, cache = jax.lax.scan(body, x, params.layers, unroll=unroll(config))
    return rms_norm(x, params.norm, config.norm_eps), cache


def logits(params: Params, x: jax.Array, config: PolicyConfig, rules: Rules) -> jax.Array:
    """Hidden states [...,D] -> fp32 logits [...,V]; rows of the embedding that no token names are masked."""
    with jax.named_scope("head"):
        table = params.embedding if params.head is None else params.head
        table = jax.reshard(table.astype(x.dtype), rules.gathered("vocab", "width"))
        letters = "BT"[: x.ndim - 1]
        out = _linear(f"{letters}D,VD->{letters}V", rules.spec("batch", *[None] * (x.ndim - 2), "vocab"), x, table)
        if config.tokens == config.vocab:
            return out
        return jnp.where(jnp.arange(config.vocab) < config.tokens, out, -1e30)


@jax.custom_vjp
def log_probability(z: jax.Array, ids: jax.Array) -> jax.Array:
    """fp32 logits z [...,V] and tokens ids [...] -> their log-probabilities (nats) [...].

    The backward pass makes the probabilities again from the logits. Derived by JAX, it keeps a second array of their
    size.
    """
    return _log_probability(z, ids)[0]


def _log_probability(z: jax.Array, ids: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    normaliser = jax.nn.logsumexp(z, axis=-1)
    chosen = jnp.sum(jnp.where(jnp.arange(z.shape[-1]) == ids[..., None], z, 0.0), axis=-1)
    return chosen - normaliser, (z, ids, normaliser)


def _log_probability_backward(saved: tuple[jax.Array, jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, None]:
    z, ids, normaliser = saved
    return dy[..., None] * ((jnp.arange(z.shape[-1]) == ids[..., None]) - jnp.exp(z - normaliser[..., None])), None


log_probability.defvjp(_log_probability, _log_probability_backward)


def score(
    params: Params,
    x: jax.Array,
    targets: jax.Array,
    temperature: jax.Array,
    config: PolicyConfig,
    rules: Rules,
    chunk: int = 512,
    remat: bool = True,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Hidden states x [B,T,D] and the token that follows each, targets [B,T] -> three fp32 arrays [B,T].

    They are the log-probability (nats) of the target under softmax(logits / temperature), and the entropy (nats) of the
    distribution at temperature 1 and at `temperature`. Logits exist for `chunk` positions at a time and, with `remat`,
    are computed again in the backward pass.
    """
    B, T, D = x.shape
    chunk = min(chunk, T)
    pad = -T % chunk
    x = jnp.pad(x, ((0, 0), (0, pad), (0, 0)))
    targets = jnp.pad(targets, ((0, 0), (0, pad)))

    def entropy(z: jax.Array) -> jax.Array:
        log_p = jax.nn.log_softmax(z, axis=-1)
        return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)

    def one(part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        h, ids = part
        z = logits(params, h, config, rules)
        tempered = z / temperature
        log_p = log_probability(tempered, ids)
        z, tempered = jax.lax.stop_gradient((z, tempered))
        return log_p, entropy(z), entropy(tempered)

    if remat:
        one = jax.checkpoint(one)

    def split(a: jax.Array) -> jax.Array:
        """[B,T,...] -> [parts,B*chunk,...]. One axis of positions, so that XLA can turn logits into their gradient in
        place.
        """
        apart = a.reshape(B, -1, chunk, *a.shape[2:]).swapaxes(0, 1)
        sharding = rules.spec(None, "batch", *[None] * (a.ndim - 2))
        return apart.reshape(-1, B * chunk, *a.shape[2:], out_sharding=sharding)

    def join(a: jax.Array) -> jax.Array:
        return (
            a.reshape(-1, B, chunk, out_sharding=rules.spec(None, "batch", None)).swapaxes(0, 1).reshape(B, -1)[:, :T]
        )

    parts = split(x), split(targets)
    out = (
        jax.lax.map(one, parts)
        if pad or chunk < T
        else jax.tree.map(lambda a: a[None], one(jax.tree.map(lambda a: a[0], parts)))
    )
    log_p, at_one, at_temperature = map(join, out)
    return log_p, at_one, at_temperature
