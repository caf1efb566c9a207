"""Advantages in closed form, and the gradient against one written without any of the project's loss code."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import CONFIG, eight_devices, one_device, random_params, three_axes

from acejax.grpo.objective import group_advantages, group_token_weights
from acejax.grpo.packing import Item, pack
from acejax.grpo.update import Optimizer, initial_state, update
from acejax.mesh import TRAINING
from acejax.policy.transformer import forward, logits

OPTIMIZER = Optimizer(0.9, 0.999, 1e-8, 0.0, 1e9)
TEMPERATURE = 0.7


def items(step=4):
    rng = np.random.default_rng(0)

    def ids(n):
        return rng.integers(0, CONFIG.tokens, n).tolist()

    return [  # every third has advantage 0 and is only counted
        Item(
            ids(3 + i % 4),
            ids(2 + i % 6),
            float(rng.standard_normal()) * (i % 3 > 0),
            rng.standard_normal(2 + i % 6).tolist(),
            step,
        )
        for i in range(13)
    ]


@pytest.mark.parametrize("correct", range(1, 8))
def test_binary_rewards_give_the_closed_form(correct):
    G = 8
    rewards = np.array([[1.0] * correct + [0.0] * (G - correct)])
    advantages = group_advantages(rewards, np.ones((1, G), bool))[0]
    scale = np.sqrt((G - 1) / G)
    np.testing.assert_allclose(advantages[:correct], scale * np.sqrt((G - correct) / correct), rtol=1e-4)
    np.testing.assert_allclose(advantages[correct:], -scale * np.sqrt(correct / (G - correct)), rtol=1e-4)


def test_equal_rewards_teach_nothing_and_the_unjudged_leave_their_group():
    rewards = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1], [1, 0, 0, 0]], float)
    judged = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], bool)
    got = group_advantages(rewards, judged)
    assert not got[:2].any() and not got[3].any() and got[2, 3] == 0
    np.testing.assert_allclose(got[2, :3], group_advantages(np.array([[1.0, 0, 0]]), np.ones((1, 3), bool))[0])


def test_group_weights_make_each_group_count_alike():
    lengths = np.array([[1, 3], [10, 6]])
    counted = np.array([[True, True], [True, False]])
    weights = group_token_weights(lengths, counted)
    values = np.array([[2.0, 2.0], [5.0, 100.0]])
    tokens = np.where(counted, lengths, 0)
    # The update divides by all tokens: the result must be the mean of the groups' token means, (2 + 5) / 2.
    assert np.isclose((values * weights * tokens).sum() / tokens.sum(), 3.5)


def reference_gradient(params, config=CONFIG):
    """Minus the gradient of the mean over response tokens of advantage x log-probability, one unpadded sequence at a
    time.
    """

    def objective(p):
        total, tokens = 0.0, 0
        for item in items():
            ids = jnp.array([[*item.prompt, *item.response]])
            x, _ = forward(
                p, ids, jnp.arange(ids.shape[1])[None], jnp.ones_like(ids), config, TRAINING, jnp.float32, remat=False
            )
            logp = jax.nn.log_softmax(jnp.sum(logits(p, x, config, TRAINING), axis=0) / TEMPERATURE)
            for offset, token in enumerate(item.response):
                total += item.advantage * jnp.sum(
                    jnp.where(jnp.arange(config.vocab) == token, logp[len(item.prompt) + offset - 1], 0)
                )
                tokens += 1
        return -total / tokens

    with jax.set_mesh(one_device()):
        return jax.jit(jax.grad(objective))(params)


def test_sequences_without_an_advantage_count_in_the_metrics():
    mesh = one_device()
    same = {"learning_rate": 0.0, "temperature": TEMPERATURE, "config": CONFIG, "optimizer": OPTIMIZER, "mesh": mesh}

    def metrics(some):
        params = random_params(mesh, TRAINING)
        state = initial_state(params, OPTIMIZER, mesh)
        return update(params, state, pack(some, 4, 32, 0, 4), dtype="float32", remat=True, **same)[2]

    mixed = metrics(items())
    whole = metrics([replace(item, advantage=1.0) for item in items()])
    for name in ("nll", "entropy", "entropy_tempered", "logprob_gap_mean", "logprob_gap_max", "tokens"):
        assert np.isclose(mixed[name], whole[name], rtol=1e-5), name


@pytest.fixture(scope="module")
def reference():
    params = random_params(one_device(), TRAINING)
    return jax.device_get(reference_gradient(params))


@pytest.mark.parametrize(("mesh", "rows"), [(one_device, 4), (eight_devices, 4), (three_axes, 4), (one_device, 16)])
def test_the_update_is_reinforce_whatever_the_mesh_or_micro_batch(reference, mesh, rows):
    """With beta1 = beta2 = 0 and a huge eps, Adam's move is gradient / eps: the update's weights reveal its
    gradient.
    """
    mesh = mesh()
    plain = Optimizer(0.0, 0.0, 1e6, 0.0, 1e9)
    params = random_params(mesh, TRAINING)
    before = jax.device_get(params)
    after, _, metrics = update(
        params,
        initial_state(params, plain, mesh),
        pack(items(), rows, 32, 0, 4),
        learning_rate=1e6,
        temperature=TEMPERATURE,
        config=CONFIG,
        optimizer=plain,
        mesh=mesh,
        dtype="float32",
        remat=True,
    )
    assert metrics["tokens"] == sum(len(i.response) for i in items())
    largest = max(float(np.abs(g).max()) for g in jax.tree.leaves(reference))
    for b, a, g in zip(*map(jax.tree.leaves, (before, jax.device_get(after), reference)), strict=True):
        np.testing.assert_allclose(b - a, g, atol=2e-4 * largest)


def test_a_good_completion_becomes_likelier_and_a_bad_one_less_so():
    mesh = one_device()
    good, bad = Item([1, 2], [3, 4, 5], 1.0), Item([1, 2], [6, 8, 9], -1.0)

    def nll(params, item):
        return update(
            params, initial_state(params, OPTIMIZER, mesh), pack([item], 4, 32, 0, 0), learning_rate=0.0, **same
        )[2]["nll"]

    same = {
        "temperature": 1.0,
        "config": CONFIG,
        "optimizer": OPTIMIZER,
        "mesh": mesh,
        "dtype": "float32",
        "remat": True,
    }
    before = [nll(random_params(mesh, TRAINING), item) for item in (good, bad)]
    after = []
    for item in (good, bad):
        params = random_params(mesh, TRAINING)
        params, *_ = update(
            params, initial_state(params, OPTIMIZER, mesh), pack([good, bad], 4, 32, 0, 0), learning_rate=1e-4, **same
        )
        after.append(nll(params, item))
    assert after[0] < before[0] and after[1] > before[1]


def test_the_gap_to_the_sampler_is_measured():
    mesh = one_device()
    params = random_params(mesh, TRAINING)
    same = {
        "temperature": 1.0,
        "config": CONFIG,
        "optimizer": OPTIMIZER,
        "mesh": mesh,
        "dtype": "float32",
        "remat": True,
    }
    *_, first = update(
        params,
        initial_state(params, OPTIMIZER, mesh),
        pack([Item([1, 2], [3], 1.0)], 4, 32, 0, 0),
        learning_rate=0.0,
        **same,
    )
    item = Item([1, 2], [3], 1.0, [-first["nll"] + 0.25])
    params = random_params(mesh, TRAINING)
    *_, second = update(
        params, initial_state(params, OPTIMIZER, mesh), pack([item], 4, 32, 0, 0), learning_rate=0.0, **same
    )
    assert np.isclose(second["logprob_gap_max"], 0.25, atol=1e-4) and np.isclose(
        second["logprob_gap_mean"], 0.25, atol=1e-4
    )
