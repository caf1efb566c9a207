"""What tests of whole runs share: a policy that compiles in seconds, the command line, and a run's weights."""

from pathlib import Path

import jax
import numpy as np
import pytest

from acejax import cli
from acejax.mesh import TRAINING, make_mesh
from acejax.policy import port
from acejax.run.source import resolve

# To be continued with sampling and stages, then formatted with at least `output`.
TINY = """
output: {output}
policy:
  architecture:
    {{hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2}}
  prompt_style: builtin
  prompt_tokens: 48
mesh: {{fsdp: 4, tensor: 2}}
update: {{rows: 8, row_tokens: 96}}
"""
# A supervised stage, then mathematics, then code.
CONFIG = (
    TINY
    + """
sampling: {{slots: 16, chunk: 8}}
verification: {{workers: 1, time_limit_s: 2}}
checkpoints: {{every: 2, keep: 2, export: float32}}
stages:
  warm:
    {{kind: sft, steps: 3, learning_rate: 3e-3, prompts_per_step: 8, response_tokens: 48,
      traces: [{{builtin: math, count: 40}}]}}
  math:
    {{kind: grpo, domain: math, steps: 3, learning_rate: 1e-3, prompts_per_step: 4, group_size: 4, response_tokens: 16,
      problems: [{{builtin: math, count: 20, difficulties: [1]}}]}}
  code:
    {{kind: grpo, domain: code, steps: 1, learning_rate: 1e-3, prompts_per_step: 4, group_size: 4, response_tokens: 16,
      problems: [{{builtin: code, count: 20, difficulties: [1]}}]}}
evaluation:
  samples: 4
  every: 2
  small: 4
  sets:
    math: {{response_tokens: 16, problems: [{{builtin: math, split: heldout, count: 6}}]}}
    code: {{response_tokens: 16, problems: [{{builtin: code, split: heldout, count: 6}}]}}
"""
)


def run(*arguments: str) -> int:
    """The command line in this process, so that runs share compiled programs. Returns the exit code."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr("sys.argv", ["acejax", *arguments])
        cli.main()
        raise SystemExit(0)
    return int(end.value.code or 0)


def weights(folder: Path | str) -> dict[str, np.ndarray]:
    source = resolve(str(folder))
    config = port.read_config(source.folder)
    params = source.load(config, make_mesh(1, 1, jax.devices()[:1]), TRAINING)
    return {name: tensor.read(...) for name, tensor in port.unload_params(params, config).items()}


def same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert got.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
