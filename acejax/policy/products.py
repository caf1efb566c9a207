"""Products of the policy whose gradients are written by hand, because those that JAX derives cost more.

Dimension letters are listed in attention.py.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec

PRODUCT = "product"  # the name of what the backward pass finds kept, if not everything is made again


def linear(
    equation: str,
    spec: PartitionSpec,
    x: Array,
    w: Array,
) -> Array:
    """An einsum of activations and a weight, with the layout `spec`; kept for the backward pass."""
    return checkpoint_name(project(equation, spec, x, w), PRODUCT)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def project(
    equation: str,
    spec: PartitionSpec,
    x: Array,
    w: Array,
) -> Array:
    """As `linear`, but made again in the backward pass. What ends in the vocabulary is fp32.

    Its gradients are einsums again, each written straight into the layout of what it belongs to. Derived by JAX, the
    weight's comes out transposed, and XLA on a CPU turns the incoming gradient round in memory for it: a fifth of the
    whole backward pass.
    """
    precise = jnp.float32 if equation.endswith("V") else None
    return jnp.einsum(equation, x, w, out_sharding=spec, preferred_element_type=precise)


def _project_forward(
    equation: str,
    spec: PartitionSpec,
    x: Array,
    w: Array,
) -> tuple[Array, tuple[Array, Array]]:
    return project(equation, spec, x, w), (x, w)


def _project_backward(equation: str, _: PartitionSpec, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, w = saved
    dy = dy.astype(x.dtype)  # logits are fp32 whatever they are made of
    inputs, out = equation.split("->")
    of_x, of_w = inputs.split(",")
    dx = jnp.einsum(f"{out},{of_w}->{of_x}", dy, w, out_sharding=jax.typeof(x).sharding.spec)

    # XLA turns the first of the two round in memory: let it be the smaller, and turn the result if need be.
    sides = [(of_x, x), (out, dy)]
    (first, a), (second, b) = sorted(sides, key=lambda side: side[1].size)
    straight = "".join(sorted(of_w, key=lambda letter: letter not in first))
    axis_of = dict(zip(of_w, jax.typeof(w).sharding.spec, strict=True))
    layout = PartitionSpec(*[axis_of[letter] for letter in straight])
    dw = jnp.einsum(f"{first},{second}->{straight}", a, b, out_sharding=layout)
    if straight == of_w:
        return dx, dw
    # The barrier keeps XLA from turning the other round after all.
    return dx, jnp.einsum(f"{straight}->{of_w}", jax.lax.optimization_barrier(dw))


project.defvjp(_project_forward, _project_backward)


@jax.custom_vjp
def log_probability(z: Array, ids: Array) -> Array:
    """fp32 logits z [...,V] and tokens ids [...] -> their log-probabilities (nats) [...].

    The backward pass makes the probabilities again from the logits. Derived by JAX, it keeps a second array of their
    size.
    """
    return _log_probability_forward(z, ids)[0]


def _log_probability_forward(z: Array, ids: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    normaliser = jax.nn.logsumexp(z, axis=-1)
    chosen = jnp.where(_is_token(z, ids), z, 0.0)
    chosen = jnp.sum(chosen, axis=-1)
    return chosen - normaliser, (z, ids, normaliser)


def _log_probability_backward(saved: tuple[Array, Array, Array], dy: Array) -> tuple[Array, None]:
    z, ids, normaliser = saved
    probabilities = jnp.exp(z - normaliser[..., None])
    return dy[..., None] * (_is_token(z, ids) - probabilities), None


def _is_token(z: Array, ids: Array) -> Array:
    """[...,V]: true at each row's token."""
    return jnp.arange(z.shape[-1]) == ids[..., None]


log_probability.defvjp(_log_probability_forward, _log_probability_backward)
