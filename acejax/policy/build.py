"""What a configuration says of its policy: the shape, the form of attention, and the dtypes.

All of it is static: it can be planned with before there are weights.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from acejax.config import Policy
from acejax.policy import port
from acejax.policy.attention import choose
from acejax.policy.config import PolicyConfig
from acejax.policy.presets import check_preset


def policy_shape(config: Policy, folder: Path, tokens: int, platform: str, origin: str) -> PolicyConfig:
    """The shape in `folder`, whose tokenizer names `tokens` ids, with the form of attention for the devices'
    `platform`.

    Raises UserError where it is not that of the preset; `origin` is what the user calls the checkpoint.
    """
    shape = port.read_config(folder, tokens)
    if config.preset is not None:
        check_preset(config.preset, shape, origin)
    return replace(shape, attention=choose(config.attention, platform))


def compute_dtype(config: Policy, platform: str) -> str:
    """fp32 on a CPU, bfloat16 on accelerators, unless the configuration names one."""
    if config.compute_dtype != "auto":
        return config.compute_dtype
    return "float32" if platform == "cpu" else "bfloat16"
