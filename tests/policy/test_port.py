"""Hugging Face folders: what goes out comes back, and what is wrong with a folder is named."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
import references
from safetensors.numpy import load_file, save_file
from tiny import CONFIG, eight_devices, one_device, random_params

from acejax.errors import UserError
from acejax.mesh import SAMPLING, TRAINING
from acejax.policy import folder as folders
from acejax.policy import port
from acejax.policy.config import Rope, from_hf, to_hf
from acejax.policy.presets import PRESETS, check_preset

UNTIED = dataclasses.replace(CONFIG, tied=False)


def load(folder, config, mesh=None, rules=TRAINING, dtype="float32"):
    return port.load_params(port.open_weights(folder, config), config, mesh or one_device(), rules, dtype)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    params = random_params(one_device(), TRAINING, UNTIED)
    out = tmp_path_factory.mktemp("saved") / "a"
    folders.write_folder(out, to_hf(UNTIED), port.unload_params(params, UNTIED), {}, None)
    return out


@pytest.fixture
def folder(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "a"))


def stored(folder):
    """Every tensor of a folder, by safetensors' own reader, as bytes with dtype and shape."""
    found = {}
    for path in folder.glob("*.safetensors"):
        found |= {name: (str(a.dtype), a.shape, a.tobytes()) for name, a in load_file(path).items()}
    return found


@pytest.mark.parametrize("case", references.CASES)
def test_import_then_export_gives_the_same_bits(tmp_path, monkeypatch, case):
    """One file or many, fp32 or bf16, whatever the mesh and the rules."""
    config = from_hf(references.config(case), case)
    for number, (limit, dtype, mesh, rules) in enumerate(
        [
            (folders.SHARD_BYTES, np.float32, one_device(), TRAINING),
            (10_000, np.float32, eight_devices(), TRAINING),
            (10_000, ml_dtypes.bfloat16, eight_devices(), SAMPLING),
        ]
    ):
        monkeypatch.setattr(folders, "SHARD_BYTES", limit)
        given = {n: references.weight(case, n, shape).astype(dtype) for n, shape in port.tensor_shapes(config)}
        tensors = {n: folders.Tensor(a.shape, a.dtype, a.__getitem__) for n, a in given.items()}
        source, out = tmp_path / f"in{number}", tmp_path / f"out{number}"
        folders.write_folder(source, references.config(case), tensors, {}, None)
        assert (len(list(source.glob("*.safetensors"))) > 1) == (limit == 10_000)
        params = load(source, port.read_config(source), mesh, rules, None)
        folders.write_folder(out, to_hf(config), port.unload_params(params, config), {}, None)
        assert stored(out) == {n: (str(a.dtype), a.shape, a.tobytes()) for n, a in given.items()}
        assert port.read_config(out) == config
        assert json.loads((out / "config.json").read_text())["dtype"] == str(np.dtype(dtype))
    for path in out.glob("*.safetensors"):
        assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0, (
            "tensors begin where their elements are aligned"
        )
        assert sum(a.nbytes for a in load_file(path).values()) <= 10_000


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


def test_bfloat16_is_read_exactly_and_float32_is_rounded_on_request(folder):
    path = folder / "model.safetensors"
    whole = load_file(path)
    half = {name: a.astype(ml_dtypes.bfloat16) for name, a in whole.items()}
    np.testing.assert_array_equal(np.asarray(load(folder, UNTIED, dtype="bfloat16").norm), half["model.norm.weight"])
    save_file(half, path)
    np.testing.assert_array_equal(np.asarray(load(folder, UNTIED).norm), half["model.norm.weight"].astype(np.float32))
    half["model.layers.1.mlp.up_proj.weight"] = whole["model.layers.1.mlp.up_proj.weight"]
    save_file(half, path)
    with pytest.raises(UserError, match="'model.layers.0.mlp.up_proj.weight' are bfloat16 and float32; give one dtype"):
        load(folder, UNTIED, dtype=None)


def test_loaded_weights_outlive_their_source(folder):
    """No array of the policy looks into the file: neither where a copy is shared with the device nor where it is
    cast.
    """
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    pad = -(8 + size) % 64  # at such an address a device may use the host's memory as it is
    path.write_bytes((size + pad).to_bytes(8, "little") + whole[8 : 8 + size] + b" " * pad + whole[8 + size :])
    loaded = [load(folder, UNTIED, mesh) for mesh in (one_device(), eight_devices())]
    before = jax.tree.map(np.array, jax.device_get(loaded))
    with path.open("r+b") as file:  # in place, so that a mapping would see it
        file.write(b"\xff" * len(whole))
    path.unlink()
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(loaded), before)


def test_progress_counts_every_byte_and_no_host_reads_twice(folder):
    read, seen = [], []

    def watched(name, tensor):
        def part(index):
            array = tensor.read(index)
            read.append((name, array.nbytes))
            return array

        return folders.Tensor(tensor.shape, tensor.dtype, part)

    tensors = {name: watched(name, tensor) for name, tensor in port.open_weights(folder, UNTIED).items()}
    total = sum(tensor.nbytes for tensor in tensors.values())
    port.load_params(tensors, UNTIED, eight_devices(), SAMPLING, progress=lambda *at: seen.append(at))
    assert seen[-1] == (total, total) and [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert sum(nbytes for _, nbytes in read) == total
    gate = [nbytes for name, nbytes in read if name == "model.layers.0.mlp.gate_proj.weight"]
    assert len(gate) == 2, "each of the two tensor-parallel halves is read by itself"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("model.norm.weight"), "tensor 'model.norm.weight' is missing"),
        (lambda t: t.update({"model.extra": np.zeros(2, np.float32)}), "tensor 'model.extra' has no place"),
        (
            lambda t: t.update({"model.norm.weight": np.zeros(3, np.float32)}),
            r"'model.norm.weight' has shape \(3,\); config.json asks for \(32,\)",
        ),
        (
            lambda t: t.update({"model.norm.weight": np.zeros(32, np.int8)}),
            "'model.norm.weight' has dtype I8; supported",
        ),
    ],
)
def test_a_wrong_tensor_is_named(folder, change, message):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match=message):
        load(folder, UNTIED)


def test_a_broken_file_is_an_error_that_names_it(folder, tmp_path):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for broken, message in (
        (whole[:-50], "cut short"),
        (whole[:40], "not a safetensors file"),
        (b"", "not a safetensors file"),
        (b"\x02\0\0\0\0\0\0\0[]", "not a safetensors file"),
        (whole.replace(b'"shape":[32]', b'"shape":[16]'), "cannot have 128 bytes"),
    ):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=f"model.safetensors.*{message}"):
            load(folder, UNTIED)
    path.unlink()
    with pytest.raises(UserError, match="no model.safetensors and no model.safetensors.index.json"):
        load(folder, UNTIED)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"model.norm.weight": "x.safetensors"}})
    )
    with pytest.raises(UserError, match="x.safetensors: No such file"):
        load(folder, UNTIED)
    (folder / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(UserError, match="index.json: holds a list"):
        load(folder, UNTIED)


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from acejax.policy.folder import Tensor, write_folder

def die(index):
    os.kill(os.getpid(), signal.SIGKILL)

whole = np.zeros(1000, np.float32)
tensors = {"a": Tensor((1000,), whole.dtype, whole.__getitem__), "b": Tensor((1000,), whole.dtype, die)}
write_folder(Path(sys.argv[1]) / "out", {"model_type": "llama"}, tensors, {}, None)
"""


def test_a_killed_export_leaves_nothing_that_looks_whole_and_the_next_one_clears_it(tmp_path):
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=os.environ, capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    left = list(tmp_path.iterdir())
    assert [p.name for p in left] == [".out.partial"] and not (left[0] / "config.json").exists()
    whole = np.zeros(3, np.float32)
    folders.write_folder(tmp_path / "out", {}, {"a": folders.Tensor((3,), whole.dtype, whole.__getitem__)}, {}, None)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    with pytest.raises(UserError, match="exists already"):
        folders.write_folder(tmp_path / "out", {}, {}, {}, None)


def test_a_failing_export_leaves_nothing(tmp_path):
    def fail(index):
        raise UserError("no such tensor")

    with pytest.raises(UserError, match="no such tensor"):
        folders.write_folder(tmp_path / "out", {}, {"a": folders.Tensor((3,), np.dtype(np.float32), fail)}, {}, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model_type", "mixtral", "'model_type' is 'mixtral'"),
        ("rope_scaling", {"rope_type": "dynamic", "factor": 4}, "'rope_scaling' is of type 'dynamic'"),
        ("rope_scaling", {"type": "llama3", "factor": 4}, "lacks 'high_freq_factor'"),
        (
            "rope_scaling",
            {"type": "linear", "factor": 4, "short_factor": 1},
            "has 'short_factor', which is not supported",
        ),
        ("rope_scaling", {"type": "linear", "factor": "x"}, "rope_scaling: 'factor' is 'x'"),
        ("rope_parameters", {"rope_type": "longrope", "rope_theta": 1e6}, "'rope_parameters' is of type 'longrope'"),
        ("rope_theta", 0, "'rope_theta' is 0"),
        ("use_sliding_window", True, "'use_sliding_window' is true"),
        ("layer_types", ["full_attention", "sliding_attention"], "'layer_types' names 'sliding_attention'"),
        ("num_experts", 8, "'num_experts' is 8"),
        ("quantization_config", {"bits": 4}, "'quantization_config' is set"),
        ("attention_bias", True, "'attention_bias' is true"),
        ("hidden_act", "gelu", "'hidden_act' is 'gelu'"),
        ("hidden_size", "x", "'hidden_size' is 'x'"),
        ("head_dim", 7, "'head_dim' is 7"),
        ("num_key_value_heads", 3, "not a multiple of 3"),
        ("rms_norm_eps", None, None),
        ("sliding_window", 4096, None),
    ],
)
def test_an_unsupported_architecture_names_the_field(field, value, message):
    config = to_hf(CONFIG) | {field: value}
    if message is None:  # harmless
        assert from_hf(config, "config.json").width == CONFIG.width
        return
    with pytest.raises(UserError, match=f"config.json.*{message}"):
        from_hf(config, "config.json")


def test_both_spellings_of_rope_mean_the_same():
    old = from_hf(to_hf(CONFIG) | {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2}}, "old")
    new = to_hf(CONFIG) | {"rope_parameters": {"rope_type": "linear", "rope_theta": 5e5, "factor": 2.0}}
    del new["rope_theta"], new["rope_scaling"]
    assert from_hf(new, "new") == old and old.rope == Rope(5e5, "linear", 2.0)


def test_presets_have_the_published_sizes_and_are_checked():
    published = {
        "smollm2-135m": 134_515_008,
        "qwen2.5-0.5b-instruct": 494_032_768,
        "qwen2.5-1.5b-instruct": 1_543_714_304,
        "r1-distill-qwen-1.5b": 1_777_088_000,
        "r1-distill-qwen-7b": 7_615_616_512,
        "r1-distill-qwen-14b": 14_770_033_664,
        "r1-distill-qwen-32b": 32_763_876_352,
    }
    assert {name: preset.config.parameters for name, preset in PRESETS.items()} == published
    shape = PRESETS["r1-distill-qwen-7b"].config
    read = from_hf(to_hf(shape), "x", tokens=151_665)
    check_preset("r1-distill-qwen-7b", read, "x")
    with pytest.raises(
        UserError,
        match="'r1-distill-qwen-7b' has rope Rope.theta=10000.0.*the checkpoint at x has Rope.theta=1000000.0",
    ):
        check_preset("r1-distill-qwen-7b", dataclasses.replace(read, rope=Rope(1e6)), "x")
    with pytest.raises(UserError, match="policy.preset is 'x'; the presets are"):
        check_preset("x", read, "x")
