"""The shape of a policy, read from a Hugging Face config.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from acejax.errors import UserError

# Architecture -> the class that transformers opens it with, and its defaults for fields that a config.json may leave
# out.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("Qwen2ForCausalLM", {"max_position_embeddings": 32768}),
    "qwen3": ("Qwen3ForCausalLM", {"max_position_embeddings": 32768, "head_dim": 128}),
    "llama": ("LlamaForCausalLM", {"max_position_embeddings": 2048}),
}
# The fields of each kind of rope scaling beside the kind itself: those it needs, those it may have.
SCALINGS: dict[str, tuple[set[str], set[str]]] = {
    "default": (set(), set()),
    "linear": ({"factor"}, set()),
    "llama3": ({"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}, set()),
    "yarn": (
        {"factor"},
        {
            "original_max_position_embeddings",
            "beta_fast",
            "beta_slow",
            "attention_factor",
            "mscale",
            "mscale_all_dim",
            "truncate",
        },
    ),
}


@dataclass(frozen=True)
class Rope:
    """Rotary angles. `original` is the length, in positions, that "llama3" and "yarn" stretch; `attention` multiplies
    sine and cosine.
    """

    theta: float
    kind: str = "default"
    factor: float = 1.0
    original: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention: float = 1.0
    truncate: bool = True


@dataclass(frozen=True)
class PolicyConfig:
    """Static shape of a policy. `vocab` counts embedding rows; `tokens` those that a token id can name (the rest are
    masked).

    `attention` is no part of the shape: it names the form in which attention over whole rows is computed
    (attention.py).
    """

    model_type: str
    vocab: int
    tokens: int
    width: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rope: Rope
    norm_eps: float
    tied: bool
    max_positions: int
    attention: str = "plain"

    @property
    def qkv_bias(self) -> bool:
        return self.model_type == "qwen2"

    @property
    def qk_norm(self) -> bool:
        return self.model_type == "qwen3"

    @property
    def queries_per_kv(self) -> int:
        return self.heads // self.kv_heads

    @property
    def parameters(self) -> int:
        """Number of weights."""
        projections = 2 * self.width * self.head_dim * (self.heads + self.kv_heads)
        layer = projections + 3 * self.width * self.mlp + 2 * self.width
        if self.qkv_bias:
            layer += self.head_dim * (self.heads + 2 * self.kv_heads)
        if self.qk_norm:
            layer += 2 * self.head_dim
        tables = 1 if self.tied else 2
        return self.layers * layer + self.width + tables * self.vocab * self.width


def from_hf(config: Mapping[str, Any], where: str, tokens: int | None = None) -> PolicyConfig:
    """Reads the fields of a config.json found at `where`; `tokens` is the number of ids that the tokenizer can name
    (default: all rows).

    Raises UserError for an architecture or a field in use that this policy does not have: nothing is ignored.
    """
    model_type = config.get("model_type")
    if model_type not in ARCHITECTURES:
        raise UserError(f"{where}: 'model_type' is {model_type!r}; supported: {', '.join(ARCHITECTURES)}")
    config = ARCHITECTURES[model_type][1] | {name: value for name, value in config.items() if value is not None}
    _refuse_what_we_lack(config, where)
    for name in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"):
        _whole_number(config, name, where)
    kv_heads, head_dim = _heads(config, where)

    vocab = config["vocab_size"]
    positions = _whole_number(config, "max_position_embeddings", where)
    if tokens is not None and tokens > vocab:
        raise UserError(
            f"{where}: 'vocab_size' is {vocab}, but the tokenizer names {tokens} ids; "
            f"use the tokenizer of these weights"
        )
    return PolicyConfig(
        model_type=model_type,
        vocab=vocab,
        tokens=tokens or vocab,
        width=config["hidden_size"],
        mlp=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=kv_heads,
        head_dim=head_dim,
        rope=_rope(config, positions, where),
        norm_eps=_positive_number(config, "rms_norm_eps", where, 1e-6),
        tied=bool(config.get("tie_word_embeddings", False)),
        max_positions=positions,
    )


def _heads(config: Mapping[str, Any], where: str) -> tuple[int, int]:
    """The number of key/value heads, and the channels of a head."""
    heads, width = config["num_attention_heads"], config["hidden_size"]
    kv_heads = heads
    if "num_key_value_heads" in config:
        kv_heads = _whole_number(config, "num_key_value_heads", where)
    if heads % kv_heads:
        raise UserError(
            f"{where}: {heads} 'num_attention_heads' are not a multiple of {kv_heads} 'num_key_value_heads'"
        )

    head_dim = width // heads
    if "head_dim" in config:
        head_dim = _whole_number(config, "head_dim", where)
    elif width % heads:
        raise UserError(f"{where}: 'hidden_size' {width} is not a multiple of 'num_attention_heads' {heads}")
    if head_dim % 2:
        raise UserError(f"{where}: 'head_dim' is {head_dim}; rotary angles need an even number")
    return kv_heads, head_dim


def _refuse_what_we_lack(config: Mapping[str, Any], where: str) -> None:
    for name in ("use_sliding_window", "attention_bias", "mlp_bias"):
        if config.get(name):
            raise UserError(f"{where}: '{name}' is true; this policy has no such thing, use a checkpoint without it")
    for name in ("num_experts", "num_local_experts", "n_routed_experts"):
        if config.get(name):
            raise UserError(
                f"{where}: '{name}' is {config[name]}; mixtures of experts are not supported, use a dense checkpoint"
            )
    if config.get("hidden_act", "silu") != "silu":
        raise UserError(f"{where}: 'hidden_act' is {config['hidden_act']!r}; only 'silu' is supported")
    if "quantization_config" in config:
        raise UserError(f"{where}: 'quantization_config' is set; use the checkpoint's float weights")
    other = [kind for kind in config.get("layer_types", ()) if kind != "full_attention"]
    if other:
        raise UserError(f"{where}: 'layer_types' names {other[0]!r}; every layer must be 'full_attention'")
    if config.get("partial_rotary_factor", 1.0) != 1.0:
        raise UserError(f"{where}: 'partial_rotary_factor' is {config['partial_rotary_factor']}; only 1 is supported")


def _whole_number(config: Mapping[str, Any], name: str, where: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{where}: '{name}' is {value!r}; it must be a whole number of at least 1")
    return value


def _positive_number(config: Mapping[str, Any], name: str, where: str, default: float) -> float:
    value = config.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        raise UserError(f"{where}: '{name}' is {value!r}; it must be a number above 0")
    return float(value)


def _rope(config: Mapping[str, Any], positions: int, where: str) -> Rope:
    """Older files say rope_theta and rope_scaling, newer ones put both into rope_parameters."""
    field = "rope_parameters" if config.get("rope_parameters") else "rope_scaling"
    given = config.get(field) or {}
    if not isinstance(given, Mapping):
        raise UserError(f"{where}: '{field}' is {given!r}; it must hold named values")
    has_theta = given if "rope_theta" in given else config
    theta = _positive_number(has_theta, "rope_theta", where, 10_000.0)
    kind = given.get("rope_type", given.get("type", "default"))
    values = _scaling_values(given, kind, field, where)

    place = f"{where}: {field}"
    factor = _positive_number(values, "factor", place, 1.0)
    if kind in ("default", "linear"):
        return Rope(theta, kind, factor)

    named = {"original_max_position_embeddings": positions} | values | dict(config)
    original = _whole_number(named, "original_max_position_embeddings", where)
    if kind == "yarn":
        return _yarn(theta, factor, original, values, place)
    low = _positive_number(values, "low_freq_factor", place, 1.0)
    high = _positive_number(values, "high_freq_factor", place, 4.0)
    if low >= high:
        raise UserError(f"{where}: '{field}.high_freq_factor' {high} is not above 'low_freq_factor' {low}")
    return Rope(theta, kind, factor, original, low_freq_factor=low, high_freq_factor=high)


def _scaling_values(given: Mapping[str, Any], kind: Any, field: str, where: str) -> dict[str, Any]:
    """What a scaling says beside its kind. Raises UserError for what is missing and for what has no meaning here."""
    if kind not in SCALINGS:
        raise UserError(f"{where}: '{field}' is of type {kind!r}; supported: {', '.join(SCALINGS)}")
    values = {name: value for name, value in given.items() if value is not None}
    for name in ("rope_theta", "rope_type", "type"):
        values.pop(name, None)
    if values.pop("partial_rotary_factor", 1.0) != 1.0:
        raise UserError(
            f"{where}: '{field}.partial_rotary_factor' is {given['partial_rotary_factor']}; only 1 is supported"
        )

    needed, optional = SCALINGS[kind]
    for name in sorted(needed - values.keys()):
        raise UserError(f"{where}: '{field}' of type {kind!r} lacks '{name}'; add it")
    for name in sorted(values.keys() - needed - optional):
        raise UserError(f"{where}: '{field}' of type {kind!r} has '{name}', which is not supported")
    return values


def _yarn(theta: float, factor: float, original: int, values: Mapping[str, Any], place: str) -> Rope:
    """YaRN (arXiv 2309.00071); what multiplies sine and cosine is that of its section 3.4."""

    def number(name: str, default: float) -> float:
        return _positive_number(values, name, place, default)

    def stretch(scale: float) -> float:
        return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0

    natural = stretch(1.0)
    if "mscale" in values and "mscale_all_dim" in values:
        natural = stretch(number("mscale", 1.0)) / stretch(number("mscale_all_dim", 1.0))
    return Rope(
        theta,
        "yarn",
        factor,
        original,
        beta_fast=number("beta_fast", 32.0),
        beta_slow=number("beta_slow", 1.0),
        attention=number("attention_factor", natural),
        truncate=bool(values.get("truncate", True)),
    )


def to_hf(config: PolicyConfig) -> dict[str, Any]:
    """The config.json of a policy, in the form that transformers reads."""
    rope = config.rope
    scaling: dict[str, Any] = {"rope_type": rope.kind, "factor": rope.factor}
    if rope.kind == "llama3":
        scaling |= {"low_freq_factor": rope.low_freq_factor, "high_freq_factor": rope.high_freq_factor}
    if rope.kind == "yarn":
        scaling |= {
            "beta_fast": rope.beta_fast,
            "beta_slow": rope.beta_slow,
            "attention_factor": rope.attention,
            "truncate": rope.truncate,
        }
    if rope.original:
        scaling["original_max_position_embeddings"] = rope.original
    return {
        "architectures": [ARCHITECTURES[config.model_type][0]],
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
        "rope_theta": rope.theta,
        "rope_scaling": None if rope.kind == "default" else scaling,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "use_cache": True,
        "dtype": "float32",
    }
