"""The switch for debugging: with jit off the same programs run step by step, and give the same numbers."""

import jax
import numpy as np
import pytest
from tiny import CONFIG, one_device, random_params

from acejax.grpo.packing import Item, pack
from acejax.grpo.update import Optimizer, initial_state, update
from acejax.mesh import TRAINING
from acejax.policy.transformer import sampling_weights
from acejax.sampling.decode import Settings, sample

SETTINGS = Settings(group=2, prompt=4, response=3, chunk=2, stop_ids=(7,))
OPTIMIZER = Optimizer(0.9, 0.999, 1e-8, 0.0, 1.0)


def one_step():
    """A step of a run: completions sampled, and an update on them."""
    mesh = one_device()
    params = random_params(mesh, TRAINING)
    prompts = [("a", [3, 5, 8]), ("b", [9, 2])]
    common = {"config": CONFIG, "mesh": mesh, "temperature": 0.7, "seed": 1, "step": 0, "pad_id": 7}
    weights = sampling_weights(params, CONFIG, mesh, "float32")
    found = list(sample(weights, prompts, settings=SETTINGS, **common))
    found.sort(key=lambda one: (one.prompt, one.sample))
    items = [Item(prompts[one.prompt][1], one.ids, 1.0 - 2 * one.sample, one.logprobs) for one in found]
    _, _, metrics = update(
        params,
        initial_state(params, OPTIMIZER, mesh),
        pack(items, 4, 8, 7, 0),
        learning_rate=1e-3,
        temperature=0.7,
        config=CONFIG,
        optimizer=OPTIMIZER,
        mesh=mesh,
        dtype="float32",
        remat=False,
    )
    return [one.ids for one in found], metrics


@pytest.mark.slow  # most of a minute: each operation is compiled alone
def test_jit_off_gives_what_jit_gives():
    ids, metrics = one_step()
    with jax.disable_jit():
        ids_slowly, metrics_slowly = one_step()
    assert ids_slowly == ids
    assert metrics_slowly.keys() == metrics.keys()
    for name, value in metrics.items():
        np.testing.assert_allclose(metrics_slowly[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
