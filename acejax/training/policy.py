"""The policy of a run: its folder, made on the first start, and what the run's configuration says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax

from acejax.config import RunConfig
from acejax.policy import port
from acejax.policy.attention import choose
from acejax.policy.config import PolicyConfig, from_hf, to_hf
from acejax.policy.folder import copy_tokenizer
from acejax.policy.presets import check_preset
from acejax.problems.builtin_tokenizer import build_tokenizer
from acejax.problems.tokenizer import load_tokenizer, token_count
from acejax.run import checkpoint
from acejax.run.folder import write_whole

VOCABULARY_MULTIPLE = 64  # embedding rows are rounded up to it, so that they divide over tensor axes


def policy_folder(config: RunConfig, run: Path, source: checkpoint.Source | None) -> Path:
    """RUN/policy with config.json, tokenizer and generation config; made on the run's first start, from `source` if
    there is one.
    """
    out = run / "policy"
    if (out / "config.json").exists():
        return out
    out.mkdir(parents=True, exist_ok=True)
    if source is not None:
        copy_tokenizer(source.folder, out)
        text = (source.folder / "config.json").read_text()
    else:
        assert config.policy.architecture is not None
        build_tokenizer(out)
        tokenizer = load_tokenizer(out)
        rows = -(-token_count(tokenizer) // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
        shape = from_hf(config.policy.architecture.model_dump() | {"vocab_size": rows}, "policy.architecture")
        (out / "generation_config.json").write_text(json.dumps({"eos_token_id": tokenizer.eos_token_id}) + "\n")
        text = json.dumps(to_hf(shape), indent=2) + "\n"
    write_whole(out / "config.json", text)  # last: its presence says that the folder is whole
    return out


def policy_shape(config: RunConfig, folder: Path, tokens: int) -> PolicyConfig:
    """The shape in `folder`, checked against the preset, with the form of attention for this backend."""
    shape = port.read_config(folder, tokens)
    if config.policy.preset is not None:
        check_preset(config.policy.preset, shape, config.init or str(folder))
    return replace(shape, attention=choose(config.policy.attention, jax.default_backend()))


def compute_dtype(config: RunConfig) -> str:
    named = config.policy.compute_dtype
    return ("float32" if jax.default_backend() == "cpu" else "bfloat16") if named == "auto" else named
