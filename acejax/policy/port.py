"""Hugging Face folders in and out: config.json, safetensors, generation config and tokenizer.

Tensors are read one at a time, each part straight to the device that holds it, and written back in the layout that
transformers reads. A missing, extra or mis-shaped tensor is a UserError that names it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
from jax.sharding import Mesh
from safetensors.numpy import save_file

from acejax.errors import UserError
from acejax.mesh import Rules
from acejax.policy.config import PolicyConfig, from_hf, to_hf
from acejax.policy.transformer import Params, declare, shardings

SHARD_BYTES = 5_000_000_000

# Field of Layer -> the tensor's name inside a layer of the folder.
LAYER_NAMES = {
    "attention_norm": "input_layernorm.weight",
    "q": "self_attn.q_proj.weight",
    "k": "self_attn.k_proj.weight",
    "v": "self_attn.v_proj.weight",
    "q_bias": "self_attn.q_proj.bias",
    "k_bias": "self_attn.k_proj.bias",
    "v_bias": "self_attn.v_proj.bias",
    "o": "self_attn.o_proj.weight",
    "mlp_norm": "post_attention_layernorm.weight",
    "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight",
}
TOP_NAMES = {"embedding": "model.embed_tokens.weight", "norm": "model.norm.weight", "head": "lm_head.weight"}
# Fields whose tensor is stored as (out, in) while ours is (in, out...).
TRANSPOSED = {"q", "k", "v", "o", "gate", "up", "down"}


def _hf_shape(field: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The folder's shape of a weight whose shape here (without the layer axis) is `shape`."""
    if field == "o":
        return (shape[-1], int(np.prod(shape[:-1])))
    if field in TRANSPOSED:
        return (int(np.prod(shape[1:])), shape[0])
    return (int(np.prod(shape)),) if field.endswith("bias") else shape


def _inwards(field: str, tensor: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return (tensor.T if field in TRANSPOSED else tensor).reshape(shape)


def _outwards(field: str, weight: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    hf = _hf_shape(field, shape)
    return np.ascontiguousarray(weight.reshape(hf[::-1]).T if field in TRANSPOSED else weight.reshape(hf))


def _names(config: PolicyConfig) -> Iterator[tuple[str, str, int | None, tuple[int, ...]]]:
    """(tensor name, field, layer or None, shape here without the layer axis) of every weight that the policy has."""
    declared = declare(config)
    for field, name in TOP_NAMES.items():
        weight = getattr(declared, field)
        if weight is not None:
            yield name, field, None, weight.shape
    for field, name in LAYER_NAMES.items():
        weight = getattr(declared.layers, field)
        if weight is not None:
            for layer in range(config.layers):
                yield f"model.layers.{layer}.{name}", field, layer, weight.shape[1:]


def read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; a checkpoint is a folder with this file") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, through transformers. Raises UserError where there is none.

    Where there is a tokenizer.json, it is taken at its word: AutoTokenizer puts a model type's own rules in place of the file's
    (transformers 5.23 splits every "12" of a qwen2 folder), and a policy that reads other tokens than it learned fails silently.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast  # takes seconds to import

    if (folder / "tokenizer.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(str(folder))
    if not (folder / "tokenizer_config.json").exists():
        raise UserError(f"{folder}: no tokenizer.json; copy the tokenizer's files into the folder")
    return AutoTokenizer.from_pretrained(str(folder))


def read_config(folder: Path, tokens: int | None = None) -> PolicyConfig:
    """The policy's shape from folder/config.json; `tokens` is the number of ids that the tokenizer knows."""
    return from_hf(read_json(folder / "config.json"), str(folder / "config.json"), tokens)


def stop_ids(folder: Path, tokenizer: Any) -> tuple[int, ...]:
    """Ids that end a response: the tokenizer's end token and all those of generation_config.json."""
    path = folder / "generation_config.json"
    named = read_json(path).get("eos_token_id") if path.exists() else None
    listed = named if isinstance(named, list) else [named]
    return tuple(sorted({i for i in (*listed, tokenizer.eos_token_id) if isinstance(i, int)}))


DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": ml_dtypes.bfloat16}


def open_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file, memory-mapped: nothing is read before it is used. (The library's numpy reader has no bfloat16.)"""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > path.stat().st_size:
                raise ValueError
            header = json.loads(file.read(size))
        data = np.memmap(path, np.uint8, "r", offset=8 + size)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; the folder is incomplete") from None
    except ValueError:
        raise UserError(f"{path}: not a safetensors file; copy it again") from None
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in DTYPES:
            raise UserError(f"{path}: tensor '{name}' has dtype {entry['dtype']}; supported: {', '.join(DTYPES)}")
        begin, end = entry["data_offsets"]
        if end > data.size:
            raise UserError(f"{path}: tensor '{name}' ends at byte {end} of {data.size}; the file is cut short, copy it again")
        tensors[name] = data[begin:end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def _tensor_files(folder: Path) -> dict[str, Path]:
    """Tensor name -> the safetensors file that holds it."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        return {name: folder / file for name, file in read_json(index)["weight_map"].items()}
    single = folder / "model.safetensors"
    if not single.exists():
        raise UserError(f"{folder}: no model.safetensors and no model.safetensors.index.json; a checkpoint folder holds one of them")
    return dict.fromkeys(open_safetensors(single), single)


def load_params(folder: Path, config: PolicyConfig, mesh: Mesh, rules: Rules, dtype: str = "float32") -> Params:
    """Reads all weights of a folder onto `mesh`. Raises UserError for a missing, extra or mis-shaped tensor."""
    files = _tensor_files(folder)
    wanted = {name: (field, layer, shape) for name, field, layer, shape in _names(config)}
    extra = [n for n in files if n not in wanted and not n.endswith("rotary_emb.inv_freq") and not (config.tied and n == TOP_NAMES["head"])]
    missing = [n for n in wanted if n not in files]
    if missing:
        raise UserError(f"{folder}: tensor '{missing[0]}' is missing ({len(missing)} in all); the folder is incomplete")
    if extra:
        raise UserError(f"{folder}: tensor '{extra[0]}' has no place in a {config.model_type} policy ({len(extra)} in all)")
    opened: dict[Path, dict[str, np.ndarray]] = {}

    def tensor(name: str) -> np.ndarray:
        field, _, shape = wanted[name]
        path = files[name]
        if path not in opened:
            opened[path] = open_safetensors(path)
        if name not in opened[path]:
            raise UserError(f"{path}: tensor '{name}' is missing, though the index names it; copy the file again")
        array = opened[path][name]
        if array.shape != _hf_shape(field, shape):
            raise UserError(f"{folder}: tensor '{name}' has shape {array.shape}; config.json asks for {_hf_shape(field, shape)}")
        return _inwards(field, array.astype(dtype), shape)

    def build(field: str, pattern: str, sharding: Any, weight: Any) -> jax.Array:
        def part(index: Any) -> np.ndarray:
            if "{}" not in pattern:
                return tensor(pattern)[index]
            layers = range(weight.shape[0])[index[0]]
            return np.stack([tensor(pattern.format(layer))[index[1:]] for layer in layers])

        return jax.make_array_from_callback(weight.shape, sharding, part)

    declared, placed = declare(config), shardings(config, mesh, rules)
    layers = {
        field: build(field, "model.layers.{}." + name, getattr(placed.layers, field), getattr(declared.layers, field))
        for field, name in LAYER_NAMES.items()
        if getattr(declared.layers, field) is not None
    }
    tops = {
        field: build(field, name, getattr(placed, field), getattr(declared, field))
        for field, name in TOP_NAMES.items()
        if getattr(declared, field) is not None
    }
    return replace(declared, layers=replace(declared.layers, **layers), **tops)


def to_tensors(params: Params, config: PolicyConfig) -> Iterator[tuple[str, np.ndarray]]:
    """Every weight under its name and in the layout of a Hugging Face folder, one at a time."""
    for name, field, layer, shape in _names(config):
        weight = getattr(params, field) if layer is None else getattr(params.layers, field)[layer]
        yield name, _outwards(field, np.asarray(jax.device_get(weight)), shape)


def write_folder(
    out: Path, config: PolicyConfig, tensors: Iterator[tuple[str, np.ndarray]], extras: Mapping[str, str], tokenizer_from: Path | None
) -> None:
    """Writes a Hugging Face folder under a temporary name and renames it, so an interrupted export leaves nothing that looks whole.

    `extras` are further files by name; tokenizer files are copied from `tokenizer_from`. Raises UserError if `out` exists.
    """
    if out.exists():
        raise UserError(f"{out} exists; name a folder that does not, or remove it")
    partial = out.parent / f".{out.name}.partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    shards: list[dict[str, np.ndarray]] = [{}]
    sizes = [0]
    for name, array in tensors:
        if sizes[-1] and sizes[-1] + array.nbytes > SHARD_BYTES:
            save_file(shards[-1], partial / f"shard-{len(shards)}", metadata={"format": "pt"})
            shards[-1] = dict.fromkeys(shards[-1], np.empty(0))  # the names stay for the index
            shards.append({})
            sizes.append(0)
        shards[-1][name] = array
        sizes[-1] += array.nbytes
    save_file(shards[-1], partial / f"shard-{len(shards)}", metadata={"format": "pt"})
    count = len(shards)
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        final = "model.safetensors" if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"
        (partial / f"shard-{number}").rename(partial / final)
        weight_map.update(dict.fromkeys(shard, final))
    if count > 1:
        index = {"metadata": {"total_size": sum(sizes)}, "weight_map": weight_map}
        (partial / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    (partial / "config.json").write_text(json.dumps(to_hf(config), indent=2) + "\n")
    if tokenizer_from is not None:
        copy_tokenizer(tokenizer_from, partial)
    for name, text in extras.items():
        (partial / name).write_text(text)
    partial.rename(out)


def copy_tokenizer(source: Path, out: Path) -> None:
    """Copies every tokenizer and generation file of a checkpoint folder, unchanged."""
    for pattern in (
        "tokenizer*",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.*",
        "merges.txt",
        "*.jinja",
        "generation_config.json",
    ):
        for path in source.glob(pattern):
            shutil.copy(path, out / path.name)
