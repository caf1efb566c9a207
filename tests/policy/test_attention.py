"""The forms of attention over rows agree, forward and backward, on one device and sharded."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import CONFIG, eight_devices, one_device, random_params

from acejax.mesh import TRAINING, place
from acejax.policy.attention import attend_rows, choose
from acejax.policy.transformer import forward

B, T, K, R, C = 4, 150, 2, 2, 16
SEGMENTS = np.zeros(
    (B, T), np.int32
)  # ragged: a full row, several segments with padding behind them, one long one, an empty row
SEGMENTS[0] = 1
for number, (begin, end) in enumerate([(0, 1), (1, 60), (60, 131)], 1):
    SEGMENTS[1, begin:end] = number
SEGMENTS[2, :149] = 1


def inputs():
    rng = np.random.default_rng(0)
    return [rng.standard_normal((B, T, K, *group, C)).astype(np.float32) for group in ((R,), (), ())]


def outputs(form, mesh):
    """The result at real positions, and the gradients of a sum of it with random weights, for q, k and v."""
    real = (SEGMENTS > 0)[..., None, None, None]
    weights = np.random.default_rng(1).standard_normal((B, T, K, R, C)).astype(np.float32) * real
    wide, narrow = TRAINING.spec("batch", None, "heads", None, None), TRAINING.spec("batch", None, "heads", None)
    with jax.set_mesh(mesh):
        q, k, v = (place(a, mesh, spec) for a, spec in zip(inputs(), (wide, narrow, narrow), strict=True))
        segments, w = place(SEGMENTS, mesh, TRAINING.spec("batch", None)), place(weights, mesh, wide)

        @jax.jit
        def run(q, k, v):
            def total(q, k, v):
                out = attend_rows(q, k, v, segments, form, TRAINING)
                return jnp.sum(out * w), out

            gradients, out = jax.grad(total, argnums=(0, 1, 2), has_aux=True)(q, k, v)
            return out, *gradients

        out, *gradients = (np.asarray(a) for a in run(q, k, v))
    return [out * real, *gradients]


@pytest.mark.parametrize("form", ["splash", "flash"])
@pytest.mark.parametrize("mesh", [one_device, eight_devices])
def test_a_kernel_agrees_with_the_plain_form(form, mesh):
    for name, got, want in zip(
        ("out", "dq", "dk", "dv"), outputs(form, mesh()), outputs("plain", one_device()), strict=True
    ):
        assert np.abs(want).max() > 0.1
        np.testing.assert_allclose(got, want, atol=1e-5, err_msg=name)


def test_the_automatic_form_follows_the_device():
    assert [choose("auto", backend) for backend in ("cpu", "tpu", "gpu")] == ["plain", "splash", "flash"]
    assert choose("plain", "tpu") == "plain"


def test_the_whole_policy_learns_the_same_with_a_kernel():
    """Through the scan over layers, rematerialised, on eight devices."""
    mesh = eight_devices()
    ids = np.random.default_rng(2).integers(0, CONFIG.tokens, (4, 20)).astype(np.int32)
    segments = np.repeat([[1] * 12 + [2] * 8], 4, 0).astype(np.int32)
    positions = np.repeat([[*range(12), *range(8)]], 4, 0).astype(np.int32)
    results = []
    for form in ("plain", "splash"):
        config = dataclasses.replace(CONFIG, attention=form)
        with jax.set_mesh(mesh):
            placed = [place(a, mesh, TRAINING.spec("batch", None)) for a in (ids, positions, segments)]

            @jax.jit
            def run(params, ids, positions, segments, config=config):
                def total(params):
                    x, _ = forward(params, ids, positions, segments, config, TRAINING, jnp.float32)
                    return jnp.sum(x[..., ::3])

                return jax.value_and_grad(total)(params)

            results.append(jax.device_get(run(random_params(mesh, TRAINING), *placed)))
    (want, gradient), (got, by_kernel) = results
    np.testing.assert_allclose(got, want, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max()), by_kernel, gradient)
