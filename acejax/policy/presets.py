"""Shapes of checkpoints that the shipped configurations use, so that planning and benchmarks need no download.

The figures are those of each checkpoint's config.json; an import compares the two and names the field that differs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from acejax.errors import UserError
from acejax.policy.config import PolicyConfig, Rope


@dataclass(frozen=True)
class Preset:
    """A checkpoint's id on the hub and its shape; `tokens` is left at the number of embedding rows."""

    hub: str
    config: PolicyConfig


def _qwen2(
    hub: str, width: int, mlp: int, layers: int, heads: int, kv_heads: int, theta: float, eps: float, tied: bool
) -> Preset:
    """What all Qwen2 shapes here share: 64 or 128 channels a head, and one of two paddings of the same vocabulary."""
    vocab = 151_936 if width < 3584 else 152_064
    positions = 32_768 if tied else 131_072
    shape = PolicyConfig(
        "qwen2", vocab, vocab, width, mlp, layers, heads, kv_heads, width // heads, Rope(theta), eps, tied, positions
    )
    return Preset(hub, shape)


PRESETS: dict[str, Preset] = {
    "smollm2-135m": Preset(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        PolicyConfig("llama", 49_152, 49_152, 576, 1536, 30, 9, 3, 64, Rope(100_000.0), 1e-5, True, 8192),
    ),
    "qwen2.5-0.5b-instruct": _qwen2("Qwen/Qwen2.5-0.5B-Instruct", 896, 4864, 24, 14, 2, 1e6, 1e-6, True),
    "qwen2.5-1.5b-instruct": _qwen2("Qwen/Qwen2.5-1.5B-Instruct", 1536, 8960, 28, 12, 2, 1e6, 1e-6, True),
    "r1-distill-qwen-1.5b": _qwen2(
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1536, 8960, 28, 12, 2, 1e4, 1e-6, False
    ),
    "r1-distill-qwen-7b": _qwen2("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", 3584, 18_944, 28, 28, 4, 1e4, 1e-6, False),
    "r1-distill-qwen-14b": _qwen2(
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", 5120, 13_824, 48, 40, 8, 1e6, 1e-5, False
    ),
    "r1-distill-qwen-32b": _qwen2(
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", 5120, 27_648, 64, 40, 8, 1e6, 1e-5, False
    ),
}


def preset(name: str) -> Preset:
    """Raises UserError for a name that is no preset."""
    if name not in PRESETS:
        raise UserError(f"policy.preset is {name!r}; the presets are {', '.join(PRESETS)}")
    return PRESETS[name]


def check_preset(name: str, found: PolicyConfig, where: str) -> None:
    """Raises UserError where the shape read from a checkpoint at `where` is not that of the preset."""
    wanted = preset(name).config
    for field in fields(PolicyConfig):
        if field.name in ("tokens", "attention"):  # the tokenizer's and the run's, not the checkpoint's shape
            continue
        ours, theirs = getattr(wanted, field.name), getattr(found, field.name)
        if ours != theirs:
            raise UserError(
                f"policy.preset {name!r} has {field.name} {ours}, the checkpoint at {where} has {theirs}; "
                f"use the preset of that checkpoint, or none"
            )
