"""The weights of a policy under the names and in the layout of a Hugging Face folder, in and out.

Coming in, each part of a tensor goes straight to the device that holds it, as it lies in the file; devices transpose
and cast. The host never holds more than one tensor, and only the parts that its devices need.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from acejax.errors import UserError
from acejax.mesh import Rules
from acejax.policy.config import PolicyConfig, from_hf
from acejax.policy.folder import OnBytes, Tensor, open_tensors, read_json
from acejax.policy.transformer import Layer, Params, Weight, declare, shardings

# Field of Layer -> the tensor's name inside a layer of the folder.
LAYER_NAMES = {
    "attention_norm": "input_layernorm.weight",
    "q": "self_attn.q_proj.weight",
    "k": "self_attn.k_proj.weight",
    "v": "self_attn.v_proj.weight",
    "q_bias": "self_attn.q_proj.bias",
    "k_bias": "self_attn.k_proj.bias",
    "v_bias": "self_attn.v_proj.bias",
    "q_norm": "self_attn.q_norm.weight",
    "k_norm": "self_attn.k_norm.weight",
    "o": "self_attn.o_proj.weight",
    "mlp_norm": "post_attention_layernorm.weight",
    "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight",
}
TOP_NAMES = {"embedding": "model.embed_tokens.weight", "norm": "model.norm.weight", "head": "lm_head.weight"}
# Fields whose tensor is stored as (out, in) while ours is (in, out...).
TRANSPOSED = {"q", "k", "v", "o", "gate", "up", "down"}


def read_config(folder: Path, tokens: int | None = None) -> PolicyConfig:
    """The policy's shape from folder/config.json; `tokens` is the number of ids that the tokenizer can name."""
    return from_hf(read_json(folder / "config.json"), str(folder / "config.json"), tokens)


def _stored_shape(field: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The folder's shape of a weight whose shape here (without the layer axis) is `shape`."""
    if field == "o":
        return (shape[-1], int(np.prod(shape[:-1])))
    if field in TRANSPOSED:
        return (int(np.prod(shape[1:])), shape[0])
    if field.endswith("bias"):
        return (int(np.prod(shape)),)
    return shape


def _stored_axes(field: str, axes: tuple[str | None, ...]) -> tuple[str | None, ...]:
    """The logical axes of the folder's tensor. Heads are the slowest part of what they are merged with, so their split
    carries over.
    """
    named = [axis for axis in axes if axis is not None]
    if field in TRANSPOSED:
        return tuple(reversed(named))
    if field.endswith("bias"):
        return tuple(named)
    return axes


@dataclass(frozen=True)
class Part:
    """One tensor of a folder: its name, the field of Layer or Params that it belongs to, the layer (None: it is no
    layer's), and the weight here without the layer axis.
    """

    name: str
    field: str
    layer: int | None
    weight: Weight

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return _stored_shape(self.field, self.weight.shape)


def _parts(config: PolicyConfig) -> Iterator[Part]:
    """Every tensor of the policy, in the folder's order."""
    declared = declare(config)
    yield Part(TOP_NAMES["embedding"], "embedding", None, declared.embedding)
    for layer in range(config.layers):
        for field, name in LAYER_NAMES.items():
            stacked = getattr(declared.layers, field)
            if stacked is not None:
                weight = replace(stacked, shape=stacked.shape[1:], axes=stacked.axes[1:])
                yield Part(f"model.layers.{layer}.{name}", field, layer, weight)
    yield Part(TOP_NAMES["norm"], "norm", None, declared.norm)
    if declared.head is not None:
        yield Part(TOP_NAMES["head"], "head", None, declared.head)


def tensor_shapes(config: PolicyConfig) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor of a folder."""
    return [(part.name, part.stored_shape) for part in _parts(config)]


def open_weights(folder: Path, config: PolicyConfig) -> dict[str, Tensor]:
    """The tensors of a folder, in order. Raises UserError for a missing, extra or mis-shaped one, naming it."""
    return check_weights(open_tensors(folder), config, str(folder))


def check_weights(tensors: Mapping[str, Tensor], config: PolicyConfig, where: str) -> dict[str, Tensor]:
    """The tensors that the policy has, in the folder's order; what is wrong with them is said of `where`."""
    wanted = dict(tensor_shapes(config))
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise UserError(
            f"{where}: tensor '{missing[0]}' is missing ({len(missing)} in all); the checkpoint is incomplete"
        )
    # A tied policy's second copy of the embedding and the angles that old files carry hold nothing of their own.
    extra = [name for name in tensors if name not in wanted and not name.endswith("rotary_emb.inv_freq")]
    if config.tied and TOP_NAMES["head"] in extra:
        extra.remove(TOP_NAMES["head"])
    if extra:
        raise UserError(
            f"{where}: tensor '{extra[0]}' has no place in a {config.model_type} policy ({len(extra)} in all)"
        )
    for name, shape in wanted.items():
        if tensors[name].shape != shape:
            raise UserError(f"{where}: tensor '{name}' has shape {tensors[name].shape}; config.json asks for {shape}")
    return {name: tensors[name] for name in wanted}


@functools.partial(jax.jit, static_argnames=("field", "spec"), donate_argnames=("whole",))
def _lay_in(whole: Array, stored: Array, layer: Array, field: str, spec: PartitionSpec) -> Array:
    """Lays a stored tensor into its place of the stacked weight [L,...], in that weight's dtype."""
    shape = whole.shape[1:]
    turned = stored.T if field in TRANSPOSED else stored
    value = jax.lax.reshape(turned.astype(whole.dtype), shape, out_sharding=PartitionSpec(*spec[1:]))
    return jax.lax.dynamic_update_index_in_dim(whole, value, layer, 0)


@functools.partial(jax.jit, static_argnames=("field", "shape"))
def _layer_as_stored(whole: Array, layer: Array, field: str, shape: tuple[int, ...]) -> Array:
    """One layer of a stacked weight as a folder stores it, whole on every device: any host can then read it."""
    value = jax.lax.dynamic_index_in_dim(whole, layer, keepdims=False)
    value = jax.reshard(value, PartitionSpec(*[None] * value.ndim))
    return value.reshape(shape[::-1]).T if field in TRANSPOSED else value.reshape(shape)


def load_params(
    tensors: Mapping[str, Tensor],
    config: PolicyConfig,
    mesh: Mesh,
    rules: Rules,
    dtype: str | None = "float32",
    progress: OnBytes | None = None,
) -> Params:
    """Puts the checked tensors of a checkpoint (`open_weights`) on `mesh`, in `dtype` or, with None, in that of each
    tensor.

    Largest first, so that the copies that a tensor needs on its way never come on top of the whole policy. Raises
    UserError where dtype is None and the layers of a weight, which are one array here, differ in it.
    """
    specs = jax.tree.map(lambda sharding: sharding.spec, shardings(config, mesh, rules))
    by_field: dict[str, list[Part]] = {}
    for part in _parts(config):
        by_field.setdefault(part.field, []).append(part)

    def largest(parts: list[Part]) -> int:
        return max(tensors[part.name].nbytes for part in parts)

    total = sum(tensors[name].nbytes for name, _ in tensor_shapes(config))
    done = 0
    found: dict[str, Array] = {}
    with jax.set_mesh(mesh):
        for parts in sorted(by_field.values(), key=largest, reverse=True):
            field = parts[0].field
            kind = dtype or _common_dtype(tensors, parts)
            stored_as = NamedSharding(mesh, rules.spec(*_stored_axes(field, parts[0].weight.axes)))
            for part in parts:
                stored = _read_onto_devices(tensors[part.name], stored_as)
                if part.layer is None:
                    found[field] = stored.astype(kind)
                else:
                    spec = getattr(specs.layers, field)
                    if part.layer == 0:
                        found[field] = jnp.zeros((config.layers, *part.weight.shape), kind, out_sharding=spec)
                    found[field] = _lay_in(found[field], stored, jnp.int32(part.layer), field, spec)
                # A copy lives until it is used: without waiting, the host would read ahead of the devices.
                found[field].block_until_ready()
                done += tensors[part.name].nbytes
                if progress is not None:
                    progress(done, total)
    layers = Layer(**{field: found.get(field) for field in LAYER_NAMES})
    return Params(embedding=found["embedding"], layers=layers, norm=found["norm"], head=found.get("head"))


def _common_dtype(tensors: Mapping[str, Tensor], parts: list[Part]) -> str:
    """The dtype that all layers of a weight have."""
    kinds = {str(tensors[part.name].dtype) for part in parts}
    if len(kinds) > 1:
        raise UserError(
            f"tensors like '{parts[0].name}' are {' and '.join(sorted(kinds))}; "
            f"give one dtype for all, for example float32"
        )
    return kinds.pop()


def _read_onto_devices(tensor: Tensor, sharding: NamedSharding) -> Array:
    """A tensor on its devices; a part that several devices hold is read once."""
    read: dict[tuple[Any, ...], np.ndarray] = {}

    def part(index: Any) -> np.ndarray:
        key = tuple((s.start, s.stop) for s in index)
        if key not in read:
            read[key] = tensor.read(index)
        return read[key]

    return jax.make_array_from_callback(tensor.shape, sharding, part)


def unload_params(params: Params, config: PolicyConfig, dtype: str | None = None) -> dict[str, Tensor]:
    """The weights as the tensors of a folder, each fetched from the devices when it is read, in `dtype` (None: their
    own).
    """

    def fetch(part: Part, index: Any) -> np.ndarray:
        whole = held(part)
        if part.layer is None:
            return np.asarray(whole)[index]
        with jax.set_mesh(whole.sharding.mesh):
            stored = _layer_as_stored(whole, jnp.int32(part.layer), part.field, part.stored_shape)
            return np.asarray(stored)[index]

    def held(part: Part) -> Any:
        return getattr(params if part.layer is None else params.layers, part.field)

    tensors = {}
    for part in _parts(config):
        kind = np.dtype(held(part).dtype)
        whole = Tensor(part.stored_shape, kind, functools.partial(fetch, part))
        tensors[part.name] = whole.cast(dtype)
    return tensors
