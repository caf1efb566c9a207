"""The sampling loop: its log-probabilities, its randomness, its ends."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import CONFIG, eight_devices, one_device, random_params, reference_logprobs, three_axes

from acejax.mesh import SAMPLING
from acejax.sampling.decode import Settings, draw, sample

SETTINGS = Settings(group=4, prompt=12, response=20, chunk=8, stop_ids=(7, 20, 33, 41, 52))
PROMPTS = [(f"p{i}", np.random.default_rng(i).integers(0, 60, 3 + i).tolist()) for i in range(6)]


def run(mesh, prompts=PROMPTS, settings=SETTINGS, step=2, **more):
    params = random_params(mesh, SAMPLING)
    arguments = {
        "config": CONFIG,
        "mesh": mesh,
        "settings": settings,
        "temperature": 0.7,
        "seed": 1,
        "step": step,
        "pad_id": 7,
        "rows": 8,
    }
    found = sample(params, prompts, **(arguments | more))
    return {(prompts[f.prompt][0], f.sample): f for f in found}


@pytest.fixture(scope="module")
def base():
    return run(one_device())


def test_every_completion_comes_once_and_ends_as_it_says(base):
    assert len(base) == len(PROMPTS) * SETTINGS.group
    stopped = [f for f in base.values() if f.stopped]
    assert 0 < len(stopped) < len(base), "the seed should give both kinds of end"
    for f in base.values():
        assert (f.ids[-1] in SETTINGS.stop_ids) == f.stopped and not set(SETTINGS.stop_ids) & set(f.ids[:-1])
        assert len(f.ids) == len(f.logprobs) and (f.stopped or len(f.ids) == SETTINGS.response)
        assert all(i < CONFIG.tokens for i in f.ids)


def test_logprobs_are_those_of_the_distribution_sampled_from(base):
    params = random_params(one_device(), SAMPLING)
    for (name, _), f in list(base.items())[::5]:
        prompt = dict(PROMPTS)[name]
        reference = reference_logprobs(params, np.array([*prompt, *f.ids]), 0.7)[len(prompt) - 1 : -1]
        np.testing.assert_allclose(f.logprobs, reference[np.arange(len(f.ids)), list(f.ids)], atol=5e-5)


def test_temperature_zero_takes_the_most_probable_token():
    params = random_params(one_device(), SAMPLING)
    for (name, _), f in run(
        one_device(), settings=dataclasses.replace(SETTINGS, group=1, response=8), temperature=0.0
    ).items():
        prompt = dict(PROMPTS)[name]
        reference = reference_logprobs(params, np.array([*prompt, *f.ids]), 1.0)[len(prompt) - 1 : -1]
        assert list(f.ids) == reference.argmax(-1).tolist()
        np.testing.assert_allclose(f.logprobs, reference.max(-1), atol=5e-5)


@pytest.mark.parametrize("mesh", [eight_devices, three_axes])
def test_a_mesh_of_eight_samples_the_same(base, mesh):
    sharded = run(mesh())
    assert {k: f.ids for k, f in sharded.items()} == {k: f.ids for k, f in base.items()}
    for key, f in sharded.items():
        np.testing.assert_allclose(f.logprobs, base[key].logprobs, atol=5e-5)


def test_order_and_neighbours_change_no_bit(base):
    other = [PROMPTS[4], ("stranger", [1, 2, 3]), PROMPTS[0]]
    again = run(one_device(), other)
    for name in ("p4", "p0"):
        for number in range(SETTINGS.group):
            assert again[name, number] == dataclasses.replace(base[name, number], prompt=again[name, number].prompt)


def test_each_step_problem_and_sample_draws_anew(base):
    # Only completions of a token or two may agree by chance.
    assert len({f.ids for f in base.values() if len(f.ids) > 2}) == sum(len(f.ids) > 2 for f in base.values()) > 12
    later = run(one_device(), step=3)
    assert not any(later[key].ids == f.ids for key, f in base.items() if len(f.ids) > 2)
    twins = run(one_device(), [("a", PROMPTS[0][1]), ("b", PROMPTS[0][1])])
    assert twins["a", 0].ids != twins["b", 0].ids


def test_finished_completions_leave_while_others_go_on():
    finished, seen = [], []
    params = random_params(one_device(), SAMPLING)
    arguments = {
        "config": CONFIG,
        "mesh": one_device(),
        "temperature": 0.7,
        "seed": 1,
        "step": 2,
        "pad_id": 7,
        "rows": 8,
    }
    for _ in sample(
        params, PROMPTS, settings=SETTINGS, between=lambda done, total: seen.append((done, total)), **arguments
    ):
        finished.append(len(seen))
    assert finished[0] < finished[-1] and seen[-1] == (32, 32)


def test_a_prompt_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="13 tokens, 12 at most"):
        run(one_device(), [("long", list(range(13)))])


def test_draw_follows_the_distribution():
    count = 200_000
    p = np.random.default_rng(0).dirichlet(np.full(70, 0.3))
    p[5] = 0
    p /= p.sum()
    z = jnp.log(jnp.broadcast_to(jnp.asarray(p, jnp.float32), (count, 70)))
    uniform = jax.random.uniform(jax.random.key(0), (count,))
    frequency = np.bincount(np.asarray(draw(z, uniform, 1.0)), minlength=70) / count
    assert frequency[5] == 0 and np.abs(frequency - p).max() < 5 * np.sqrt(p.max() / count)
    kept = np.argsort(-p)[: int((np.cumsum(np.sort(p)[::-1]) < 0.6).sum()) + 1]
    cut = np.bincount(np.asarray(draw(z, uniform, 0.6)), minlength=70) / count
    assert set(np.flatnonzero(cut)) == set(kept)
    np.testing.assert_allclose(cut[kept], p[kept] / p[kept].sum(), atol=0.01)


def test_draw_at_the_ends_of_the_unit_interval_stays_inside_the_support():
    z = jnp.full((2, 70), -1e30).at[:, 33].set(0.0).at[:, 40].set(0.0)
    assert np.asarray(draw(z, jnp.array([0.0, np.nextafter(np.float32(1), np.float32(0))]), 1.0)).tolist() == [33, 40]
