"""The jitted update: micro-batches add into a donated accumulator, then one AdamW step is taken.

Sums of numerators are divided by the sum of tokens of the whole batch, so the size of a micro-batch changes nothing.
Supervised training is the same program with every advantage 1.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax import Array
from jax.sharding import Mesh

from acejax.grpo.objective import surrogate
from acejax.mesh import TRAINING, place
from acejax.policy.config import PolicyConfig
from acejax.policy.transformer import Params, forward, score


@struct.dataclass
class Rows:
    """The inputs of an update, each [B,T]. `loss_mask` marks the tokens trained on: the token at t is predicted from
    those before it.

    `segments` number the sequences in a row (0: padding), `positions` count from each one's start. `logprobs` are the
    sampler's and serve only to measure the gap between sampler and trainer.
    """

    ids: Any
    positions: Any
    segments: Any
    loss_mask: Any
    advantages: Any
    logprobs: Any


@struct.dataclass
class Sums:
    """What micro-batches add up: gradient numerators, and numerators of the metrics over `tokens`."""

    gradient: Any
    loss: Any
    nll: Any
    entropy: Any
    entropy_tempered: Any
    gap: Any
    gap_max: Any
    tokens: Any


@dataclass(frozen=True)
class Optimizer:
    """AdamW's constants; the learning rate is an input of each step."""

    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    clip_norm: float

    def transform(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.clip_by_global_norm(self.clip_norm),
            optax.scale_by_adam(self.beta1, self.beta2, self.eps),
            optax.add_decayed_weights(self.weight_decay),
        )


def initial_state(params: Params, optimizer: Optimizer, mesh: Mesh) -> Any:
    """AdamW's moments, fp32 whatever the weights are, sharded as these are."""
    with jax.set_mesh(mesh):
        return optimizer.transform().init(_as_fp32(params))


def _as_fp32(tree: Any) -> Any:
    return jax.tree.map(lambda a: a.astype(jnp.float32), tree)


def micro_batch_sums(
    params: Params, rows: Rows, temperature: Array, config: PolicyConfig, dtype: str, remat: bool
) -> tuple[Array, Any]:
    """The surrogate summed over the tokens of one micro-batch, and the metric numerators."""
    x, _ = forward(params, rows.ids, rows.positions, rows.segments, config, TRAINING, jnp.dtype(dtype), remat)
    # Position t predicts t + 1: drop the last hidden state and the first target.
    mask = rows.loss_mask[:, 1:]
    logprobs, entropy, tempered = score(params, x[:, :-1], rows.ids[:, 1:], temperature, config, TRAINING)
    loss = surrogate(logprobs, rows.advantages[:, 1:], mask)
    still = jax.lax.stop_gradient(logprobs)
    gap = jnp.where(mask, jnp.abs(still - rows.logprobs[:, 1:]), 0.0)
    nll, entropy, tempered = (jnp.sum(jnp.where(mask, a, 0.0)) for a in (-still, entropy, tempered))
    return loss, (loss, nll, entropy, tempered, jnp.sum(gap), jnp.max(gap), jnp.sum(mask))


def _add_metrics(sums: Sums, gradient: Any, numerators: Any) -> Sums:
    """`sums` with the gradient given, and one micro-batch's numerators (`micro_batch_sums`) added."""
    loss, nll, entropy, tempered, gap, gap_max, tokens = numerators
    return Sums(
        gradient=gradient,
        loss=sums.loss + loss,
        nll=sums.nll + nll,
        entropy=sums.entropy + entropy,
        entropy_tempered=sums.entropy_tempered + tempered,
        gap=sums.gap + gap,
        gap_max=jnp.maximum(sums.gap_max, gap_max),
        tokens=sums.tokens + tokens,
    )


@functools.partial(jax.jit, static_argnames=("config", "dtype", "remat"), donate_argnames=("sums",))
def accumulate(
    params: Params, sums: Sums, rows: Rows, temperature: Array, config: PolicyConfig, dtype: str, remat: bool
) -> Sums:
    """Adds one micro-batch to the sums."""
    differentiate = jax.grad(micro_batch_sums, has_aux=True)
    gradient, numerators = differentiate(params, rows, temperature, config, dtype, remat)
    return _add_metrics(sums, jax.tree.map(jnp.add, sums.gradient, gradient), numerators)


@functools.partial(jax.jit, static_argnames=("config", "dtype"), donate_argnames=("sums",))
def measure(params: Params, sums: Sums, rows: Rows, temperature: Array, config: PolicyConfig, dtype: str) -> Sums:
    """Adds a micro-batch whose advantages are all 0: its tokens and metrics count, its gradient is known to be 0."""
    _, numerators = micro_batch_sums(params, rows, temperature, config, dtype, remat=False)
    return _add_metrics(sums, sums.gradient, numerators)


@functools.partial(jax.jit, static_argnames=("optimizer",), donate_argnames=("params", "state"))
def take_step(
    params: Params, state: Any, sums: Sums, learning_rate: Array, optimizer: Optimizer
) -> tuple[Params, Any, dict[str, Any]]:
    """Divides by the tokens, clips, and moves the weights. Returns weights, optimizer state and the metrics as device
    scalars.
    """
    tokens = jnp.maximum(sums.tokens, 1)
    gradient = jax.tree.map(lambda g: g / tokens, sums.gradient)
    move, state = optimizer.transform().update(gradient, state, _as_fp32(params))
    params = jax.tree.map(lambda w, m: (w - learning_rate * m).astype(w.dtype), params, move)
    metrics = {
        "loss": sums.loss / tokens,
        "nll": sums.nll / tokens,
        "entropy": sums.entropy / tokens,
        "entropy_tempered": sums.entropy_tempered / tokens,
        "logprob_gap_mean": sums.gap / tokens,
        "logprob_gap_max": sums.gap_max,
        "grad_norm": optax.tree.norm(gradient),
        "tokens": sums.tokens,
    }
    return params, state, metrics


@jax.jit
def empty_sums(params: Params) -> Sums:
    """What micro-batches are added to."""
    # The scalars are separate arrays because a donated buffer may be given once only.
    names = ("loss", "nll", "entropy", "entropy_tempered", "gap", "gap_max")
    return Sums(
        gradient=jax.tree.map(lambda w: jnp.zeros_like(w, jnp.float32), params),
        tokens=jnp.zeros((), jnp.int32),
        **{name: jnp.zeros(()) for name in names},
    )


def compile_micro_batches(
    params: Params, like: Rows, *, config: PolicyConfig, mesh: Mesh, dtype: str, remat: bool
) -> None:
    """Makes both programs that take a micro-batch of the shape of `like`. Neither is run.

    Which of them an update needs depends on its rewards. Without this, a step late in a stage can be the first with
    a group that teaches nothing, or the first with one that does, and waits for a compilation.
    """
    with jax.set_mesh(mesh):
        given = (params, empty_sums(params), _on_devices(like, mesh), np.float32(1.0))
        accumulate.lower(*given, config, dtype, remat).compile()
        measure.lower(*given, config, dtype).compile()


def _on_devices(rows: Rows, mesh: Mesh) -> Rows:
    split = TRAINING.spec("batch", None)
    return jax.tree.map(lambda a: place(np.ascontiguousarray(a), mesh, split), rows)


def update(
    params: Params,
    state: Any,
    batches: Sequence[Rows],
    *,
    learning_rate: float,
    temperature: float,
    config: PolicyConfig,
    optimizer: Optimizer,
    mesh: Mesh,
    dtype: str,
    remat: bool,
) -> tuple[Params, Any, dict[str, float]]:
    """One update from host micro-batches. `params` and `state` are donated: use what comes back."""
    heat, rate = np.float32(temperature), np.float32(learning_rate)  # numpy's: JAX's own scalars cost a program each
    with jax.set_mesh(mesh):
        sums = empty_sums(params)
        for rows in batches:
            placed = _on_devices(rows, mesh)
            if np.any(rows.advantages):
                sums = accumulate(params, sums, placed, heat, config, dtype, remat)
            else:
                sums = measure(params, sums, placed, heat, config, dtype)
        params, state, metrics = take_step(params, state, sums, rate, optimizer)
        return params, state, {name: float(value) for name, value in jax.device_get(metrics).items()}
