"""Padding may be any id, the end of text too: lengths are carried, never read off the ids."""

import jax
import numpy as np
import pytest
from tiny import CONFIG, one_device, random_params

from acejax.grpo.packing import Item, pack
from acejax.grpo.update import Optimizer, initial_state, update
from acejax.mesh import SAMPLING, TRAINING
from acejax.sampling.decode import Settings, sample

STOP = 7
SETTINGS = Settings(group=4, prompt=12, response=20, chunk=8, stop_ids=(STOP, 20, 33, 41, 52))
OPTIMIZER = Optimizer(0.9, 0.999, 1e-8, 0.0, 1e9)
# The stop id stands inside and at the end of prompts.
PROMPTS = [("a", [1, STOP, 3]), ("b", [5, 6, STOP, STOP]), ("c", [STOP])]


def learn(pad_id):
    """Completions in a fixed order, and the weights after an update on them."""
    mesh = one_device()
    arguments = {
        "config": CONFIG,
        "mesh": mesh,
        "settings": SETTINGS,
        "temperature": 0.7,
        "seed": 1,
        "step": 2,
        "rows": 8,
    }
    found = sorted(
        sample(random_params(mesh, SAMPLING), PROMPTS, pad_id=pad_id, **arguments), key=lambda f: (f.prompt, f.sample)
    )
    items = [Item(PROMPTS[f.prompt][1], f.ids, f.sample - 1.5, f.logprobs, 2) for f in found]
    params = random_params(mesh, TRAINING)
    params, _, metrics = update(
        params,
        initial_state(params, OPTIMIZER, mesh),
        pack(items, 4, 32, pad_id, 2),
        learning_rate=1e-3,
        temperature=0.7,
        config=CONFIG,
        optimizer=OPTIMIZER,
        mesh=mesh,
        dtype="float32",
        remat=True,
    )
    return found, jax.device_get(params), metrics


@pytest.fixture(scope="module")
def ended():
    return learn(STOP)


@pytest.mark.parametrize("other", [0, CONFIG.vocab - 1])  # an ordinary token, and a row that no token has
def test_padding_equal_to_end_of_text_changes_no_bit(ended, other):
    found, params, metrics = learn(other)
    assert found == ended[0] and metrics == ended[2]
    assert 0 < sum(f.stopped for f in found) < len(found), "the seed should give both kinds of end"
    jax.tree.map(np.testing.assert_array_equal, params, ended[1])
