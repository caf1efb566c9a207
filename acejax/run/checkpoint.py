"""Checkpoints of a run, through orbax.

`RUN/checkpoints/STEP/` holds `state` (orbax: weights and optimizer state) and `progress.json` (the host's state, a
plain mapping); a folder appears under its name only when it is whole.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from acejax import host
from acejax.errors import UserError, reason_of
from acejax.files import remove_folder, whole_folder
from acejax.policy.transformer import Params

STATE = "state"
HOST_STATE = "progress.json"


def save(run: Path, step: int, params: Params, optimizer_state: Any, host_state: Mapping[str, Any]) -> None:
    """Writes the checkpoint of `step`, replacing one of the same step."""
    with whole_folder(folder_of(run, step), replace=True) as partial:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(partial / STATE, {"params": params, "optimizer": optimizer_state})
        if host.is_writer():
            (partial / HOST_STATE).write_text(json.dumps(host_state))


def steps(run: Path) -> list[int]:
    """Steps that have a whole checkpoint, ascending."""
    folder = run / "checkpoints"
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def prune(run: Path, keep: int, boundaries: Collection[int]) -> None:
    """Removes all but the latest `keep` checkpoints and those of `boundaries` (the last steps of stages)."""
    if not host.is_writer():
        return
    for step in steps(run)[:-keep]:
        if step not in boundaries:
            remove_folder(folder_of(run, step))


def load_host_state(run: Path, step: int) -> dict[str, Any]:
    """The mapping that `save` was given. Raises UserError, naming the file, where it is missing or torn."""
    path = folder_of(run, step) / HOST_STATE
    reason = "is empty or torn"
    try:
        found = json.loads(path.read_text())
        if isinstance(found, dict):
            return found
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError:
        pass
    raise UserError(f"{path}: {reason}; remove {path.parent}, and an earlier checkpoint is taken")


def restore(run: Path, step: int, params: Any, optimizer_state: Any) -> tuple[Params, Any]:
    """Weights and optimizer state of a step, in the shapes and shardings of the two given trees (arrays or
    ShapeDtypeStructs).
    """
    target = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding),
        {"params": params, "optimizer": optimizer_state},
    )
    path = folder_of(run, step) / STATE
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            found = checkpointer.restore(path.absolute(), target)
    except (OSError, ValueError) as error:
        reason = reason_of(error)[:200]
        raise UserError(
            f"{path}: cannot be read ({reason}); remove {path.parent}, and an earlier checkpoint is taken"
        ) from None
    return found["params"], found["optimizer"]


def folder_of(run: Path, step: int) -> Path:
    """Where a step's checkpoint is, or would be."""
    return run / "checkpoints" / f"{step:06d}"
