"""A Hugging Face folder as files: tensors read and written one at a time, whatever their number and the size of the
whole.

safetensors' own numpy interface knows no bfloat16 and saves only what is whole in memory, so the format (eight bytes of
header length, a JSON header, the tensors' bytes) is read and written here.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from acejax.errors import UserError
from acejax.files import whole_folder

SHARD_BYTES = 5_000_000_000
DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
# Called with (bytes done, bytes in all).
OnBytes = Callable[[int, int], None]


@dataclass(frozen=True)
class Tensor:
    """A tensor that is somewhere else. `read(index)` gives a copy of that part of it, `read(...)` the whole."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[Any], np.ndarray]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def cast(self, dtype: str | None) -> Tensor:
        """The same in another dtype; None leaves it as it is. Raises UserError for a dtype that is not one of
        DTYPES.
        """
        kinds = {str(kind): kind for kind in DTYPES.values()}
        if dtype is None:
            return self
        if dtype not in kinds:
            raise UserError(f"dtype: {dtype!r} is not one of {', '.join(kinds)}")
        kind = kinds[dtype]
        return Tensor(self.shape, kind, lambda index: self.read(index).astype(kind, copy=False))


def read_json(path: Path) -> dict[str, Any]:
    """Raises UserError, naming the file and the line, where it is missing, not JSON or no object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; a checkpoint is a folder with this file") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); copy it again") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds a {type(found).__name__}; it must hold an object with names and values")
    return found


def open_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one file, memory-mapped: nothing is read before it is used."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > path.stat().st_size:
                raise ValueError
            header = json.loads(file.read(size))
        data = np.empty(0, np.uint8)
        if path.stat().st_size > 8 + size:  # an empty part of a file cannot be mapped
            data = np.memmap(path, np.uint8, "r", offset=8 + size)
        header.pop("__metadata__", None)
        entries = {name: (e["dtype"], tuple(e["shape"]), *e["data_offsets"]) for name, e in header.items()}
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; the folder is incomplete") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not a safetensors file; copy it again") from None
    return {name: _mapped(path, name, data, *entry) for name, entry in entries.items()}


def _mapped(path: Path, name: str, data: np.ndarray, code: str, shape: tuple[int, ...], begin: int, end: int) -> Tensor:
    if code not in DTYPES:
        raise UserError(f"{path}: tensor '{name}' has dtype {code}; supported: {', '.join(DTYPES)}")
    if end > data.size:
        raise UserError(
            f"{path}: tensor '{name}' ends at byte {end} of {data.size}; the file is cut short, copy it again"
        )
    if end - begin != int(np.prod(shape)) * DTYPES[code].itemsize:
        raise UserError(
            f"{path}: tensor '{name}' of shape {shape} and dtype {code} cannot have {end - begin} bytes; "
            f"copy the file again"
        )
    view = data[begin:end].view(DTYPES[code]).reshape(shape)
    return Tensor(shape, DTYPES[code], lambda index: np.array(view[index]))


def open_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, in one file or many. Raises UserError for a missing or broken file, naming it."""
    if not (folder / INDEX).exists():
        if not (folder / SINGLE).exists():
            raise UserError(f"{folder}: no {SINGLE} and no {INDEX}; a checkpoint folder holds one of them")
        return open_safetensors(folder / SINGLE)
    listed = read_json(folder / INDEX).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(file, str) for file in listed.values()):
        raise UserError(f"{folder / INDEX}: 'weight_map' must give the file of each tensor; copy it again")
    opened = {file: open_safetensors(folder / file) for file in sorted(set(listed.values()))}
    for name, file in listed.items():
        if name not in opened[file]:
            raise UserError(
                f"{folder / file}: tensor '{name}' is missing, though the index names it; copy the file again"
            )
    return {name: opened[file][name] for name, file in listed.items()}


def split(tensors: Mapping[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    """Tensors in the order given, cut into shards of at most `limit` bytes; a tensor that is larger is a shard of its
    own.
    """
    shards: list[dict[str, Tensor]] = []
    room = 0
    for name, tensor in tensors.items():
        if not shards or tensor.nbytes > room:
            shards.append({})
            room = limit
        shards[-1][name] = tensor
        room -= tensor.nbytes
    return shards


def write_tensors(folder: Path, tensors: Mapping[str, Tensor], progress: OnBytes | None = None) -> None:
    """Writes tensors into shards of at most SHARD_BYTES, and the index if there is more than one."""
    shards = split(tensors, SHARD_BYTES)
    total = sum(tensor.nbytes for tensor in tensors.values())
    done = 0
    listed: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = SINGLE if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        listed.update(dict.fromkeys(shard, file))
        with (folder / file).open("wb") as out:
            out.write(_header(shard))
            for tensor in shard.values():
                values = np.ascontiguousarray(tensor.read(...))
                out.write(values.reshape(-1).view(np.uint8).data)
                done += tensor.nbytes
                if progress is not None:
                    progress(done, total)
            out.flush()
            os.fsync(out.fileno())
    if len(shards) > 1:
        _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": listed})


def _header(shard: Mapping[str, Tensor]) -> bytes:
    codes = {dtype: code for code, dtype in DTYPES.items()}
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for name, tensor in shard.items():
        entries[name] = {
            "dtype": codes[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, begin + tensor.nbytes],
        }
        begin += tensor.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    return len(text).to_bytes(8, "little") + text


def write_folder(
    out: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    files: Mapping[str, str],
    tokenizer_from: Path | None,
    progress: OnBytes | None = None,
) -> None:
    """Writes a Hugging Face folder under a temporary name and renames it: an interrupted export leaves nothing that
    looks whole.

    `config` is the content of config.json, but for the dtype; `files` are further files by name; tokenizer and
    generation files are copied from `tokenizer_from`. Raises UserError if `out` exists.
    """
    with whole_folder(out) as partial:
        write_tensors(partial, tensors, progress)
        if tokenizer_from is not None:
            copy_tokenizer(tokenizer_from, partial)
        for name, text in files.items():
            (partial / name).write_text(text, encoding="utf-8")
        ids = ("bos_token_id", "eos_token_id", "pad_token_id")
        ends = {name: config[name] for name in ids if config.get(name) is not None}
        if ends and not (partial / "generation_config.json").exists():
            _write_json(partial / "generation_config.json", ends)
        largest = max(tensors.values(), key=lambda t: t.nbytes)
        kept = {name: value for name, value in config.items() if name != "torch_dtype"}  # its older name
        # Last: no folder without it is a checkpoint.
        _write_json(partial / "config.json", kept | {"dtype": str(largest.dtype)})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def copy_tokenizer(source: Path, out: Path) -> None:
    """Copies every tokenizer and generation file of a checkpoint folder, unchanged."""
    names = ("special_tokens_map.json", "added_tokens.json", "merges.txt", "generation_config.json")
    for pattern in ("tokenizer*", "vocab.*", "*.jinja", *names):
        for path in source.glob(pattern):
            if path.is_file():
                shutil.copyfile(path, out / path.name)
