"""Meshes and the placement of arrays: the only file that names mesh axes.

Four axes. `data` and `fsdp` split the rows of a batch; `fsdp` also splits, in training, every weight along its model
width, while `data` holds whole copies. `tensor` splits heads, the feed-forward width and the vocabulary. `sequence` is
kept for the length of a row, which nothing splits yet: its size is 1. Axes are explicit: an array's sharding is part of
its type, and a placement that does not divide is an error where it is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from acejax.errors import UserError

DATA, FSDP, SEQUENCE, TENSOR = "data", "fsdp", "sequence", "tensor"
# From the outermost: devices that are next to each other share heads, which talk most.
AXES = (DATA, FSDP, SEQUENCE, TENSOR)


@dataclass(frozen=True)
class Rules:
    """Which mesh axis, or axes, split each logical axis of an array; None keeps it whole."""

    # Rows are independent: every device works on its own.
    batch: str | tuple[str, ...] | None = (DATA, FSDP)
    # The axis that each big weight has, so the optimizer state is split evenly; gathered for use.
    width: str | tuple[str, ...] | None = FSDP
    # The width of the embedding while rows of it are looked up: finding a row then needs no other device.
    embed: str | tuple[str, ...] | None = TENSOR
    # Key/value heads: attention needs no communication inside a head.
    heads: str | tuple[str, ...] | None = TENSOR
    # Column then row split: one reduction a block.
    mlp: str | tuple[str, ...] | None = TENSOR
    # Logits stay split; only their sums travel.
    vocab: str | tuple[str, ...] | None = TENSOR
    # Scanned over, so never split.
    layers: str | tuple[str, ...] | None = None

    def spec(self, *axes: str | None) -> PartitionSpec:
        """The PartitionSpec of an array whose dimensions have these logical names (None: whole).

        Raises ValueError for a name that is no logical axis, and if two dimensions share a mesh axis.
        """
        known = [field.name for field in fields(self)]
        for axis in axes:
            if axis is not None and axis not in known:
                raise ValueError(f"there is no logical axis {axis!r}; the logical axes are {', '.join(known)}")

        split = [axis and getattr(self, axis) for axis in axes]
        taken = [name for part in split for name in mesh_axes(part)]
        if len(taken) != len(set(taken)):
            raise ValueError(f"logical axes {axes} collide: two of them are split over the same mesh axis of {taken}")
        return PartitionSpec(*split)

    def gathered(self, *axes: str | None) -> PartitionSpec:
        """As `spec`, with the model width whole: how a weight looks when it is used."""
        return self.spec(*(None if axis == "width" else axis for axis in axes))


TRAINING = Rules()
SAMPLING = Rules(width=None)  # a token's worth of work cannot hide the gathering of weights


def mesh_axes(part: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The names of the mesh axes in one entry of a PartitionSpec."""
    if part is None:
        return ()
    if isinstance(part, str):
        return (part,)
    return part


def make_mesh(
    fsdp: int = -1,
    tensor: int = 1,
    devices: Sequence[jax.Device] | None = None,
    *,
    data: int = 1,
    sequence: int = 1,
) -> Mesh:
    """A mesh over `devices` (all by default); an axis of -1 takes what the others leave.

    Raises UserError if the axes do not multiply to the number of devices, or if `sequence` is not 1.
    """
    if sequence != 1:
        raise UserError(f"mesh.sequence is {sequence}: the length of a row cannot be split yet; set it to 1")

    if devices is None:
        devices = jax.devices()
    count = len(devices)
    asked = {DATA: data, FSDP: fsdp, SEQUENCE: sequence, TENSOR: tensor}
    given = [size for size in asked.values() if size != -1]
    rest = count // max(math.prod(given), 1)
    sizes = [rest if size == -1 else size for size in asked.values()]

    several_open = len(given) < len(asked) - 1
    if several_open or min(sizes) < 1 or math.prod(sizes) != count:
        product = " x ".join(_worth_saying(asked))
        raise UserError(f"mesh: {product} does not divide {count} devices; choose axes whose product is {count}")
    return Mesh(np.array(devices).reshape(sizes), AXES, axis_types=(AxisType.Explicit,) * len(AXES))


def place(array: np.ndarray, mesh: Mesh, spec: PartitionSpec) -> jax.Array:
    """Puts the rows that this process holds on its devices; with one process, that is the whole array."""
    return jax.make_array_from_process_local_data(NamedSharding(mesh, spec), array)


def row_divisor(mesh: Mesh) -> int:
    """Numbers of rows must be multiples of this: so many ways a batch is split."""
    return mesh.shape[DATA] * mesh.shape[FSDP]


def platform(mesh: Mesh | AbstractMesh) -> str:
    """What the devices of a mesh are: "cpu", "gpu" or "tpu".

    While a program is traced, `jax.sharding.get_abstract_mesh()` is the mesh that it will run on.
    """
    return mesh.abstract_mesh.abstract_device.platform


def describe(mesh: Mesh) -> str:
    """Number and kind of the devices, and the sizes of the axes."""
    device = mesh.devices.flat[0]
    axes = ", ".join(_worth_saying(mesh.shape))
    return f"{mesh.devices.size} x {device.device_kind} ({axes})"


def _worth_saying(sizes: Mapping[str, int]) -> list[str]:
    """ "axis=size" of fsdp and tensor, and of the others where they split anything."""
    return [f"{name}={size}" for name, size in sizes.items() if size != 1 or name in (FSDP, TENSOR)]
