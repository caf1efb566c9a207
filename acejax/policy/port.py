"""The weights of a policy under the names and in the layout of a Hugging Face folder, in and out.

Coming in, each part of a tensor goes straight to the device that holds it, as it lies in the file; devices transpose
and cast. The host never holds more than one tensor, and only the parts that its devices need.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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
    return (int(np.prod(shape)),) if field.endswith("bias") else shape


def _stored_axes(field: str, axes: tuple[str | None, ...]) -> tuple[str | None, ...]:
    """The logical axes of the folder's tensor. Heads are the slowest part of what they are merged with, so their split
    carries over.
    """
    named = [axis for axis in axes if axis is not None]
    if field in TRANSPOSED:
        return tuple(reversed(named))
    return tuple(named) if field.endswith("bias") else axes


def _parts(config: PolicyConfig) -> Iterator[tuple[str, str, int | None, Weight]]:
    """(tensor name, field, layer or None, the weight here without the layer axis) of every tensor of the policy, in the
    folder's order.
    """
    declared = declare(config)
    yield TOP_NAMES["embedding"], "embedding", None, declared.embedding
    for layer in range(config.layers):
        for field, name in LAYER_NAMES.items():
            weight = getattr(declared.layers, field)
            if weight is not None:
                yield (
                    f"model.layers.{layer}.{name}",
                    field,
                    layer,
                    replace(weight, shape=weight.shape[1:], axes=weight.axes[1:]),
                )
    yield TOP_NAMES["norm"], "norm", None, declared.norm
    if declared.head is not None:
        yield TOP_NAMES["head"], "head", None, declared.head


def tensor_shapes(config: PolicyConfig) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor of a folder."""
    return [(name, _stored_shape(field, weight.shape)) for name, field, _, weight in _parts(config)]


def open_weights(folder: Path, config: PolicyConfig) -> dict[str, Tensor]:
    """The tensors of a folder, in order. Raises UserError for a missing, extra or mis-shaped one, naming it."""
    return check_weights(open_tensors(folder), config, str(folder))


def check_weights(tensors: Mapping[str, Tensor], config: PolicyConfig, where: str) -> dict[str, Tensor]:
    wanted = dict(tensor_shapes(config))
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise UserError(
            f"{where}: tensor '{missing[0]}' is missing ({len(missing)} in all); the checkpoint is incomplete"
        )
    # A tied policy's second copy of the embedding and the angles that old files carry hold nothing of their own.
    spare = {TOP_NAMES["head"]} if config.tied else set()
    extra = [
        name
        for name in tensors
        if name not in wanted and name not in spare and not name.endswith("rotary_emb.inv_freq")
    ]
    if extra:
        raise UserError(
            f"{where}: tensor '{extra[0]}' has no place in a {config.model_type} policy ({len(extra)} in all)"
        )
    for name, shape in wanted.items():
        if tensors[name].shape != shape:
            raise UserError(f"{where}: tensor '{name}' has shape {tensors[name].shape}; config.json asks for {shape}")
    return {name: tensors[name] for name in wanted}


@functools.partial(jax.jit, static_argnames=("field", "spec"), donate_argnames=("whole",))
def _put(whole: jax.Array, stored: jax.Array, layer: jax.Array, field: str, spec: PartitionSpec) -> jax.Array:
    """Lays a stored tensor into its place of the stacked weight [L,...], in that weight's dtype."""
    shape = whole.shape[1:]
    turned = stored.T if field in TRANSPOSED else stored
    value = jax.lax.reshape(turned.astype(whole.dtype), shape, out_sharding=PartitionSpec(*spec[1:]))
    return jax.lax.dynamic_update_index_in_dim(whole, value, layer, 0)


@functools.partial(jax.jit, static_argnames=("field", "shape"))
def _take(whole: jax.Array, layer: jax.Array, field: str, shape: tuple[int, ...]) -> jax.Array:
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
    placed = shardings(config, mesh, rules)
    fields: dict[str, list[tuple[str, int | None, Weight]]] = {}
    for name, field, layer, weight in _parts(config):
        fields.setdefault(field, []).append((name, layer, weight))
    total, done = sum(tensors[name].nbytes for name, _ in tensor_shapes(config)), 0
    found: dict[str, jax.Array] = {}
    with jax.set_mesh(mesh):
        for field, parts in sorted(
            fields.items(), key=lambda item: -max(tensors[name].nbytes for name, _, _ in item[1])
        ):
            kinds = {str(tensors[name].dtype) for name, _, _ in parts}
            if dtype is None and len(kinds) > 1:
                raise UserError(
                    f"tensors like '{parts[0][0]}' are {' and '.join(sorted(kinds))}; give one dtype for all, for example float32"
                )
            kind = dtype or kinds.pop()
            stored_as = NamedSharding(mesh, rules.spec(*_stored_axes(field, parts[0][2].axes)))
            for name, layer, weight in parts:
                stored = _place(tensors[name], stored_as)
                if layer is None:
                    found[field] = stored.astype(kind)
                else:
                    spec = getattr(placed.layers, field).spec
                    if layer == 0:
                        found[field] = jnp.zeros((config.layers, *weight.shape), kind, out_sharding=spec)
                    found[field] = _put(found[field], stored, jnp.int32(layer), field, spec)
                # A copy lives until it is used: without waiting, the host would read ahead of the devices.
                found[field].block_until_ready()
                done += tensors[name].nbytes
                if progress is not None:
                    progress(done, total)
    layers = {field: found.get(field) for field in LAYER_NAMES}
    return Params(embedding=found["embedding"], layers=Layer(**layers), norm=found["norm"], head=found.get("head"))


def _place(tensor: Tensor, sharding: NamedSharding) -> jax.Array:
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

    def fetch(field: str, layer: int | None, shape: tuple[int, ...], index: Any) -> np.ndarray:
        whole = getattr(params, field) if layer is None else getattr(params.layers, field)
        if layer is None:
            return np.asarray(whole)[index]
        with jax.set_mesh(whole.sharding.mesh):
            return np.asarray(_take(whole, jnp.int32(layer), field, shape))[index]

    tensors = {}
    for name, field, layer, weight in _parts(config):
        shape = _stored_shape(field, weight.shape)
        kind = (getattr(params, field) if layer is None else getattr(params.layers, field)).dtype
        tensors[name] = Tensor(shape, np.dtype(kind), functools.partial(fetch, field, layer, shape)).cast(dtype)
    return tensors
