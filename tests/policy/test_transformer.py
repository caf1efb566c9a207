"""The forward pass against a plain reference, sharded against one device, packed against separate."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from tiny import CONFIG, eight_devices, one_device, random_params, reference_logprobs

from acejax.errors import UserError
from acejax.mesh import TRAINING, make_mesh, place
from acejax.policy.products import linear, log_probability
from acejax.policy.transformer import forward, initialise, score, shardings

TEMPERATURE = 0.7
LLAMA = dataclasses.replace(CONFIG, model_type="llama", tied=False, tokens=64)


def scored(params, ids, positions, segments, mesh, config=CONFIG, chunk=8):
    """Log-probability of each next token and the two entropies, all [B,T-1]."""
    with jax.set_mesh(mesh):
        arrays = [
            place(np.asarray(a, np.int32), mesh, TRAINING.spec("batch", None)) for a in (ids, positions, segments)
        ]

        def run(p, i, po, s):
            x, _ = forward(p, i, po, s, config, TRAINING, jnp.float32)
            return score(p, x[:, :-1], i[:, 1:], jnp.float32(TEMPERATURE), config, TRAINING, chunk)

        return [np.asarray(a) for a in jax.jit(run)(params, *arrays)]


def rows(seed=0, length=17, count=8):
    ids = np.random.default_rng(seed).integers(0, CONFIG.tokens, (count, length))
    return ids, np.broadcast_to(np.arange(length), ids.shape), np.ones_like(ids)


@pytest.mark.parametrize("config", [CONFIG, LLAMA], ids=["qwen2 tied, masked rows", "llama untied"])
@pytest.mark.parametrize("mesh", [one_device, eight_devices])
def test_logprobs_and_entropies_equal_the_reference(config, mesh):
    mesh = mesh()
    params = random_params(mesh, TRAINING, config)
    ids, positions, segments = rows()
    logprobs, entropy, tempered = scored(params, ids, positions, segments, mesh, config)
    for row in range(3):
        tempered_reference = reference_logprobs(params, ids[row], TEMPERATURE, config)[:-1]
        plain = reference_logprobs(params, ids[row], 1.0, config)[:-1]
        want = tempered_reference[np.arange(len(ids[row]) - 1), ids[row, 1:]]
        np.testing.assert_allclose(logprobs[row], want, atol=1e-4)
        for got, reference in ((entropy, plain), (tempered, tempered_reference)):
            p = np.exp(reference)
            np.testing.assert_allclose(got[row], -np.sum(p * np.where(p > 0, reference, 0), -1), atol=5e-5)


def test_packed_sequences_equal_separate_ones():
    mesh = eight_devices()
    params = random_params(mesh, TRAINING)
    ids, positions, segments = rows(length=17)
    alone = scored(params, ids, positions, segments, mesh)[0]
    packed = np.zeros((4, 40), int)
    place_, number = packed.copy(), packed.copy()
    for row in range(4):
        packed[row, :17], packed[row, 17:34] = ids[row], ids[row + 4]
        place_[row, :17] = place_[row, 17:34] = np.arange(17)
        number[row, :17], number[row, 17:34] = 1, 2
    together = scored(params, packed, place_, number, mesh)[0]
    np.testing.assert_allclose(together[:, :16], alone[:4], atol=1e-5)
    np.testing.assert_allclose(together[:, 17:33], alone[4:], atol=1e-5)


@pytest.mark.parametrize(
    ("equation", "x", "w", "out"),
    [
        ("BTD,DKRC->BTKRC", ("batch", None, None), (None, "heads", None, None), ("batch", None, "heads", None, None)),
        ("BTKRC,KRCD->BTD", ("batch", None, "heads", None, None), ("heads", None, None, None), ("batch", None, None)),
        ("BTF,FD->BTD", ("batch", None, "mlp"), ("mlp", None), ("batch", None, None)),
    ],
)
def test_gradients_of_a_projection_are_those_of_its_einsum(equation, x, w, out):
    sizes = dict(B=4, T=3, D=6, K=2, R=3, C=5, F=8)
    rng = np.random.default_rng(0)
    shapes = [[sizes[letter] for letter in part] for part in equation.replace("->", ",").split(",")]
    a, b, weight = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    mesh = eight_devices()
    with jax.set_mesh(mesh):
        placed = [
            jax.device_put(value, NamedSharding(mesh, TRAINING.spec(*axes)))
            for value, axes in zip((a, b, weight), (x, w, out), strict=True)
        ]
        got = jax.jit(jax.grad(lambda p, q, r: jnp.sum(linear(equation, TRAINING.spec(*out), p, q) * r), (0, 1)))(
            *placed
        )
    of_x, of_w = equation.split("->")[0].split(",")
    letters = equation.split("->")[1]
    np.testing.assert_allclose(got[0], np.einsum(f"{letters},{of_w}->{of_x}", weight, b), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got[1], np.einsum(f"{of_x},{letters}->{of_w}", a, weight), rtol=1e-4, atol=1e-5)


def test_gradients_of_a_log_probability_are_those_of_log_softmax():
    rng = np.random.default_rng(0)
    z, ids, weight = (
        rng.normal(0, 3, (2, 5, 40)).astype(np.float32),
        rng.integers(0, 40, (2, 5)),
        rng.standard_normal((2, 5)),
    )
    z[0, 0, 7] = -1e30  # a row of the embedding that no token names
    p = np.exp(z - z.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    want = np.take_along_axis(np.log(np.maximum(p, 1e-38)), ids[..., None], -1)[..., 0]
    np.testing.assert_allclose(log_probability(z, ids), want, rtol=1e-5)
    got = jax.grad(lambda z: jnp.sum(log_probability(z, ids) * weight))(z)
    np.testing.assert_allclose(got, weight[..., None] * (np.eye(40)[ids] - p), atol=1e-6)


def test_padding_may_equal_any_token():
    mesh = one_device()
    params = random_params(mesh, TRAINING)
    ids, positions, segments = rows(length=17, count=1)
    segments = np.where(np.arange(17) < 9, 1, 0)[None]
    results = []
    for pad in (0, int(ids[0, 3])):
        padded = np.where(segments > 0, ids, pad)
        results.append(scored(params, padded, positions, segments, mesh)[0][0, :8])
    np.testing.assert_array_equal(*results)


def test_weights_do_not_depend_on_the_mesh_and_really_shard():
    one, eight = (initialise(CONFIG, 3, mesh, TRAINING) for mesh in (one_device(), eight_devices()))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(one), jax.device_get(eight))
    assert eight.layers.gate.addressable_shards[0].data.size == eight.layers.gate.size // 8
    assert eight.embedding.addressable_shards[0].data.size == eight.embedding.size // 8


def test_a_mesh_that_does_not_divide_the_weights_is_refused():
    with pytest.raises(UserError, match="mesh.tensor=4 does not divide the policy's key/value heads \\(2\\)"):
        shardings(CONFIG, make_mesh(2, 4), TRAINING)
