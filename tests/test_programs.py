"""A program is made once: what a step runs is traced and lowered in the first steps, never again."""

from contextlib import contextmanager

import jax
import numpy as np
import pytest
from tiny import CONFIG, eight_devices, one_device, random_params

from acejax.grpo.packing import Item, pack
from acejax.grpo.update import Optimizer, compile_micro_batches, initial_state, update
from acejax.mesh import TRAINING
from acejax.policy.transformer import sampling_weights
from acejax.sampling.decode import Settings, sample
from acejax.training.lowerings import EVENT

OPTIMIZER = Optimizer(0.9, 0.999, 1e-8, 0.0, 1.0)
SETTINGS = Settings(group=2, prompt=8, response=8, chunk=4, stop_ids=(7,))


@contextmanager
def lowered():
    """The names of the programs that are lowered while it is entered."""
    names = []

    def listen(event, _, **about):
        if event == EVENT:
            names.append(about.get("fun_name", "?"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def steps(mesh, signs):
    """Each step makes weights ready, samples at two temperatures, and learns: what each lowered.

    `signs` are, for each step, the advantages of even and of odd prompts.
    """
    params = random_params(mesh, TRAINING)
    state = initial_state(params, OPTIMIZER, mesh)
    program = {"config": CONFIG, "mesh": mesh, "dtype": "float32", "remat": True}
    rng = np.random.default_rng(0)
    found = []
    for step, sign in enumerate(signs):
        prompts = [(f"p{i}", rng.integers(0, CONFIG.tokens, 2 + (i + step) % 5).tolist()) for i in range(4)]
        with lowered() as names:
            weights = sampling_weights(params, CONFIG, mesh, "float32")
            common = {"config": CONFIG, "mesh": mesh, "settings": SETTINGS, "seed": 1, "step": step, "pad_id": 7}
            list(sample(weights, prompts[: 3 + step % 2], temperature=0.0, rows=4, **common))
            completions = list(sample(weights, prompts, temperature=0.7 + step / 10, **common))
            items = [Item(prompts[f.prompt][1], f.ids, sign[f.prompt % 2], f.logprobs, step) for f in completions]
            batches = pack(items, 4, 16, 7, step)
            assert len(batches) == 2
            if step == 0:
                compile_micro_batches(params, batches[0], **program)
            params, state, _ = update(
                params,
                state,
                batches,
                learning_rate=1e-3 / (step + 1),
                temperature=0.7 + step / 10,
                optimizer=OPTIMIZER,
                **program,
            )
        found.append(names)
    return found


@pytest.mark.parametrize("mesh", [one_device, eight_devices])
def test_nothing_is_made_after_the_second_step(mesh):
    first, _, *later = steps(mesh(), [(1.0, -1.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0), (-1.0, 0.0)])
    assert any("decode" in name for name in first), "the counter sees what is lowered"
    assert not any(later), later
