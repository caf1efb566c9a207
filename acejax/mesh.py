"""Meshes and the placement of arrays: the only file that names mesh axes.

Two axes: `fsdp` splits the rows of a batch and, in training, every weight along its model width; `tensor` splits heads,
the feed-forward width and the vocabulary. Axes are explicit: an array's sharding is part of its type, and a placement
that does not divide is an error where it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from acejax.errors import UserError

FSDP, TENSOR = "fsdp", "tensor"


@dataclass(frozen=True)
class Rules:
    """Which mesh axis splits each logical axis of an array; None keeps it whole."""

    batch: str | None = FSDP  # rows are independent: every device works on its own
    width: str | None = (
        FSDP  # the axis that each big weight has, so the optimizer state is split evenly; gathered for use
    )
    heads: str | None = TENSOR  # key/value heads: attention needs no communication inside a head
    mlp: str | None = TENSOR  # column then row split: one reduction a block
    vocab: str | None = TENSOR  # logits stay split; only their sums travel
    layers: str | None = None  # scanned over, so never split

    def spec(self, *axes: str | None) -> PartitionSpec:
        """The PartitionSpec of an array whose dimensions have these logical names. Raises ValueError if two share a
        mesh axis.
        """
        known = {f.name for f in fields(self)}
        used = [getattr(self, axis) if axis in known else None for axis in axes]
        taken = [axis for axis in used if axis is not None]
        if len(taken) != len(set(taken)):
            raise ValueError(f"logical axes {axes} collide: two of them are split over the same mesh axis of {taken}")
        return PartitionSpec(*used)

    def gathered(self, *axes: str | None) -> PartitionSpec:
        """As `spec`, with the model width whole: how a weight looks when it is used."""
        return self.spec(*(None if axis == "width" else axis for axis in axes))


TRAINING = Rules()
SAMPLING = Rules(width=None)  # a token's worth of work cannot hide the gathering of weights


def make_mesh(fsdp: int = -1, tensor: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of (fsdp, tensor) over `devices` (all by default); -1 takes what the other axis leaves.

    Raises UserError if the axes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    count = len(devices)
    sizes = {FSDP: fsdp, TENSOR: tensor}
    for name, other in ((FSDP, TENSOR), (TENSOR, FSDP)):
        if sizes[name] == -1 and sizes[other] > 0:
            sizes[name] = count // sizes[other]
    if min(sizes.values()) < 1 or sizes[FSDP] * sizes[TENSOR] != count:
        raise UserError(
            f"mesh: fsdp={fsdp} x tensor={tensor} does not divide {count} devices; choose axes whose product is {count}"
        )
    grid = np.array(devices).reshape(sizes[FSDP], sizes[TENSOR])
    return Mesh(grid, (FSDP, TENSOR), axis_types=(AxisType.Explicit, AxisType.Explicit))


def place(array: np.ndarray, mesh: Mesh, spec: PartitionSpec) -> jax.Array:
    """Puts the rows that this process holds on its devices; with one process, that is the whole array."""
    return jax.make_array_from_process_local_data(NamedSharding(mesh, spec), array)


def row_divisor(mesh: Mesh) -> int:
    """Numbers of rows must be multiples of this."""
    return mesh.shape[FSDP]


def describe(mesh: Mesh) -> str:
    device = mesh.devices.flat[0]
    return f"{mesh.devices.size} x {device.device_kind} ({', '.join(f'{name}={size}' for name, size in mesh.shape.items())})"
