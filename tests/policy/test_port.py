"""Hugging Face folders: what goes out comes back, and what is wrong with a folder is named."""

import dataclasses
import json

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny import CONFIG, eight_devices, one_device, random_params

from acejax.errors import UserError
from acejax.mesh import TRAINING
from acejax.policy import port
from acejax.policy.config import from_hf, to_hf

UNTIED = dataclasses.replace(CONFIG, tied=False)


@pytest.fixture
def folder(tmp_path):
    params = random_params(one_device(), TRAINING, UNTIED)
    port.write_folder(tmp_path / "a", UNTIED, port.to_tensors(params, UNTIED), {}, None)
    return tmp_path / "a"


@pytest.mark.parametrize("shard_bytes", [port.SHARD_BYTES, 20_000])
def test_export_then_import_gives_the_same_bits_on_any_mesh(tmp_path, monkeypatch, shard_bytes):
    monkeypatch.setattr(port, "SHARD_BYTES", shard_bytes)
    params = random_params(one_device(), TRAINING, UNTIED)
    out = tmp_path / "a"
    port.write_folder(out, UNTIED, port.to_tensors(params, UNTIED), {"note": "x"}, None)
    assert (len(list(out.glob("*.safetensors"))) > 1) == (shard_bytes == 20_000)
    config = dataclasses.replace(port.read_config(out), tokens=UNTIED.tokens)
    assert config == UNTIED
    for mesh in (one_device(), eight_devices()):
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(port.load_params(out, config, mesh, TRAINING)), jax.device_get(params))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_layout_is_the_reference_layout(folder):
    """A projection in the folder is (out, in), heads in order: the query of head h is rows h*C to (h+1)*C."""
    params = random_params(one_device(), TRAINING, UNTIED)
    tensors = load_file(folder / "model.safetensors")
    q = tensors["model.layers.1.self_attn.q_proj.weight"]
    assert q.shape == (32, 32)
    head = 3  # key/value head 1, its second query head
    np.testing.assert_array_equal(q[head * 8 : head * 8 + 8], np.asarray(params.layers.q)[1, :, 1, 1, :].T)
    o = tensors["model.layers.1.self_attn.o_proj.weight"]
    np.testing.assert_array_equal(o[:, head * 8 : head * 8 + 8], np.asarray(params.layers.o)[1, 1, 1].T)


def test_bfloat16_is_read_exactly(folder):
    path = folder / "model.safetensors"
    half = {name: a.astype(ml_dtypes.bfloat16) for name, a in load_file(path).items()}
    save_file(half, path)
    got = port.load_params(folder, UNTIED, one_device(), TRAINING)
    np.testing.assert_array_equal(np.asarray(got.norm), half["model.norm.weight"].astype(np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("model.norm.weight"), "tensor 'model.norm.weight' is missing"),
        (lambda t: t.update({"model.extra": np.zeros(2, np.float32)}), "tensor 'model.extra' has no place"),
        (
            lambda t: t.update({"model.norm.weight": np.zeros(3, np.float32)}),
            r"'model.norm.weight' has shape \(3,\); config.json asks for \(32,\)",
        ),
    ],
)
def test_a_wrong_tensor_is_named(folder, change, message):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match=message):
        port.load_params(folder, UNTIED, one_device(), TRAINING)


def test_a_truncated_file_is_an_error(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match="cut short"):
        port.load_params(folder, UNTIED, one_device(), TRAINING)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model_type", "mixtral", "'model_type' is 'mixtral'"),
        ("rope_scaling", {"rope_type": "yarn", "factor": 4}, "rope scaling of type 'yarn'"),
        ("use_sliding_window", True, "sliding-window"),
        ("hidden_size", "x", "'hidden_size' is 'x'"),
        ("num_key_value_heads", 3, "not a multiple of 3"),
    ],
)
def test_an_unsupported_architecture_names_the_field(field, value, message):
    with pytest.raises(UserError, match=message):
        from_hf(to_hf(CONFIG) | {field: value}, "config.json")


def test_stop_ids_join_tokenizer_and_generation_config(tmp_path):
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 9]}))
    tokenizer = type("T", (), {"eos_token_id": 2})()
    assert port.stop_ids(tmp_path, tokenizer) == (2, 5, 9)
