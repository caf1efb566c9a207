"""Logits and log-probabilities against what transformers computed; see references.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import references
from safetensors.numpy import save_file
from tiny import eight_devices, one_device

from acejax.mesh import TRAINING, place
from acejax.policy import port
from acejax.policy.config import from_hf
from acejax.policy.transformer import forward, logits, score

REFERENCE = np.load(references.FILE)


def test_there_is_a_reference_of_every_case():
    assert set(REFERENCE) == set(references.CASES)


@pytest.mark.parametrize("case", references.CASES)
@pytest.mark.parametrize("mesh", [one_device, eight_devices])
def test_a_model_computes_what_transformers_does(tmp_path, case, mesh):
    config, mesh = from_hf(references.config(case), case), mesh()
    save_file(
        {name: references.weight(case, name, shape) for name, shape in port.tensor_shapes(config)},
        tmp_path / "model.safetensors",
    )
    params = port.load_params(port.open_weights(tmp_path, config), config, mesh, TRAINING)
    rows = np.tile(references.ids(case), (4, 1)).astype(np.int32)  # as many as fsdp splits
    positions = np.broadcast_to(np.arange(rows.shape[1], dtype=np.int32), rows.shape)
    with jax.set_mesh(mesh):
        spec = TRAINING.spec("batch", None)
        placed = [place(a, mesh, spec) for a in (rows, positions, np.ones_like(rows))]

        @jax.jit
        def run(params, ids, positions, segments):
            x, _ = forward(params, ids, positions, segments, config, TRAINING, jnp.float32)
            logprobs, _, _ = score(params, x[:, :-1], ids[:, 1:], jnp.float32(1.0), config, TRAINING)
            return logits(params, x, config, TRAINING), logprobs

        got, logprobs = (np.asarray(a)[:1] for a in run(params, *placed))
    want = REFERENCE[case].astype(np.float64)
    assert want.std() > 1
    np.testing.assert_allclose(got, want, atol=1e-4, rtol=0)
    normed = (
        want
        - np.log(np.sum(np.exp(want - want.max(-1, keepdims=True)), -1, keepdims=True))
        - want.max(-1, keepdims=True)
    )
    chosen = np.take_along_axis(normed[:, :-1], references.ids(case)[:, 1:, None], -1)[..., 0]
    np.testing.assert_allclose(logprobs, chosen, atol=1e-5, rtol=0)
