"""A policy small enough to compile in seconds, meshes to put it on, and its forward pass written again in plain
numpy.
"""

from functools import cache
from typing import Any

import jax
import numpy as np

from acejax.mesh import TRAINING, make_mesh
from acejax.policy.config import PolicyConfig, Rope
from acejax.policy.transformer import Params, initialise, shardings

CONFIG = PolicyConfig(
    model_type="qwen2",
    vocab=64,
    tokens=60,
    width=32,
    mlp=64,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=8,
    rope=Rope(10_000.0),
    norm_eps=1e-6,
    tied=True,
    max_positions=128,
)


def one_device() -> Any:
    return make_mesh(1, 1, jax.devices()[:1])


def eight_devices() -> Any:
    return make_mesh(4, 2)


def three_axes() -> Any:
    return make_mesh(2, 2, data=2)


def random_params(mesh: Any, rules: Any, config: PolicyConfig = CONFIG, scale: float = 1.0) -> Params:
    """Weights far enough from zero that distributions are peaked; biases and norms are random too."""
    return jax.device_put(_on_the_host(config, scale), shardings(config, mesh, rules))


@cache
def _on_the_host(config: PolicyConfig, scale: float) -> Params:
    params = jax.device_get(initialise(config, 0, one_device(), TRAINING))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda w: (scale * w + 0.1 * rng.standard_normal(w.shape)).astype(np.float32), params)


def reference_logprobs(
    params: Params, ids: np.ndarray, temperature: float, config: PolicyConfig = CONFIG
) -> np.ndarray:
    """One sequence [T] -> log-probabilities [T,V] of the next token at each position, in float64 and without any shared
    code.
    """
    p = jax.tree.map(lambda w: np.asarray(w, np.float64), jax.device_get(params))
    half = config.head_dim // 2
    angles = np.arange(len(ids))[:, None] * config.rope.theta ** (-np.arange(half) / half)

    def norm(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + config.norm_eps) * scale

    def turn(x: np.ndarray) -> np.ndarray:  # [T,heads,C]
        a, b = x[..., :half], x[..., half:]
        s, c = np.sin(angles)[:, None], np.cos(angles)[:, None]
        return np.concatenate([a * c - b * s, b * c + a * s], -1)

    x = p.embedding[ids]
    for n in range(config.layers):
        w = jax.tree.map(lambda a, n=n: a[n], p.layers)
        h = norm(x, w.attention_norm)
        flat = (config.width, -1)
        q, k, v = (h @ getattr(w, name).reshape(flat) for name in "qkv")
        if config.qkv_bias:
            q, k, v = q + w.q_bias.ravel(), k + w.k_bias.ravel(), v + w.v_bias.ravel()
        q = turn(q.reshape(len(ids), config.heads, config.head_dim))
        k = turn(k.reshape(len(ids), config.kv_heads, config.head_dim))
        v = v.reshape(len(ids), config.kv_heads, config.head_dim)
        mixed = np.zeros_like(q)
        for head in range(config.heads):
            kv = head // (config.heads // config.kv_heads)
            scores = q[:, head] @ k[:, kv].T / np.sqrt(config.head_dim)
            scores[np.triu_indices(len(ids), 1)] = -np.inf
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            mixed[:, head] = weights / weights.sum(-1, keepdims=True) @ v[:, kv]
        x = x + mixed.reshape(len(ids), -1) @ w.o.reshape(-1, config.width)
        h = norm(x, w.mlp_norm)
        gate = h @ w.gate
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w.up)) @ w.down
    z = norm(x, p.norm) @ (p.embedding if p.head is None else p.head).T / temperature
    z[:, config.tokens :] = -np.inf
    return z - z.max(-1, keepdims=True) - np.log(np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True))
