"""The shape of a policy, read from a Hugging Face config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from acejax.errors import UserError

SUPPORTED = ("qwen2", "llama")


@dataclass(frozen=True)
class PolicyConfig:
    """Static shape of a policy. `vocab` counts embedding rows; `tokens` those that a token id can name (the rest are masked)."""

    model_type: str
    vocab: int
    tokens: int
    width: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float
    norm_eps: float
    tied: bool
    qkv_bias: bool
    max_positions: int

    @property
    def queries_per_kv(self) -> int:
        return self.heads // self.kv_heads

    @property
    def parameters(self) -> int:
        """Number of weights."""
        projections = 2 * self.width * self.head_dim * (self.heads + self.kv_heads)
        biases = self.head_dim * (self.heads + 2 * self.kv_heads) if self.qkv_bias else 0
        layer = projections + biases + 3 * self.width * self.mlp + 2 * self.width
        return self.layers * layer + self.width + self.vocab * self.width * (1 if self.tied else 2)


def from_hf(config: Mapping[str, Any], where: str, tokens: int | None = None) -> PolicyConfig:
    """Reads the fields of a config.json found at `where`.

    Raises UserError for an architecture or a field in use that this policy does not have: nothing is ignored.
    """
    model_type = config.get("model_type")
    if model_type not in SUPPORTED:
        raise UserError(f"{where}: 'model_type' is {model_type!r}; supported: {', '.join(SUPPORTED)}")
    rope = config.get("rope_parameters") or {}
    scaling = config.get("rope_scaling") or rope
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind != "default":
        raise UserError(f"{where}: rope scaling of type {kind!r} is not supported; use a checkpoint without it")
    if config.get("use_sliding_window"):
        raise UserError(f"{where}: 'use_sliding_window' is true; sliding-window attention is not supported")
    if config.get("hidden_act", "silu") != "silu":
        raise UserError(f"{where}: 'hidden_act' is {config['hidden_act']!r}; only 'silu' is supported")
    for name in ("attention_bias", "mlp_bias"):
        if config.get(name):
            raise UserError(f"{where}: '{name}' is true; it is not supported for {model_type}")
    needed = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    for name in needed:
        if not isinstance(config.get(name), int):
            raise UserError(f"{where}: '{name}' is {config.get(name)!r}; it must be a whole number")
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    if heads % kv_heads:
        raise UserError(f"{where}: {heads} 'num_attention_heads' are not a multiple of {kv_heads} 'num_key_value_heads'")
    if config.get("head_dim") is None and config["hidden_size"] % heads:
        raise UserError(f"{where}: 'hidden_size' {config['hidden_size']} is not a multiple of 'num_attention_heads' {heads}")
    return PolicyConfig(
        model_type=model_type,
        vocab=config["vocab_size"],
        tokens=min(tokens or config["vocab_size"], config["vocab_size"]),
        width=config["hidden_size"],
        mlp=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=kv_heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        rope_theta=float(config.get("rope_theta") or rope.get("rope_theta") or 10_000.0),
        norm_eps=float(config.get("rms_norm_eps", 1e-6)),
        tied=bool(config.get("tie_word_embeddings", False)),
        qkv_bias=model_type == "qwen2",
        max_positions=int(config.get("max_position_embeddings", 2048)),
    )


def to_hf(config: PolicyConfig) -> dict[str, Any]:
    """The config.json of a policy, in the form that transformers reads."""
    name = {"qwen2": "Qwen2ForCausalLM", "llama": "LlamaForCausalLM"}[config.model_type]
    return {
        "architectures": [name],
        "model_type": config.model_type,
        "vocab_size": config.vocab,
        "hidden_size": config.width,
        "intermediate_size": config.mlp,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_positions,
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "use_cache": True,
        "dtype": "float32",
    }
