"""Checkpoints of a run, through orbax, and what a CHECKPOINT on the command line stands for.

`RUN/checkpoints/STEP/` holds `state` (orbax: weights and optimizer state) and `progress.json`; a folder appears under
its name only when it is whole. `RUN/policy/` holds the policy's config.json, tokenizer and generation config. An orbax
folder is the same without a run: config.json, tokenizer, and `state` with the weights.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.sharding import Mesh

from acejax.errors import UserError
from acejax.mesh import TRAINING, Rules, make_mesh
from acejax.policy import port
from acejax.policy.config import PolicyConfig
from acejax.policy.folder import OnBytes, copy_tokenizer, whole_folder
from acejax.policy.transformer import Layer, Params, declare, shardings
from acejax.training.curriculum import Progress

STATE = "state"


def save(run: Path, params: Params, optimizer_state: Any, progress: Progress) -> Path:
    """Writes a checkpoint of `progress.step`, replacing one of the same step."""
    final = _folder(run, progress.step)
    partial = final.with_name(f".{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(partial.absolute() / STATE, {"params": params, "optimizer": optimizer_state})
    (partial / "progress.json").write_text(progress.to_json())
    _remove(final)
    partial.rename(final)
    return final


def _remove(folder: Path) -> None:
    """Renamed first, so that what is half removed never passes for a checkpoint."""
    if folder.exists():
        doomed = folder.with_name(f".{folder.name}.removed")
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def steps(run: Path) -> list[int]:
    """Steps that have a whole checkpoint, ascending."""
    folder = run / "checkpoints"
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.is_dir() else []


def prune(run: Path, keep: int, boundaries: Collection[int]) -> None:
    """Removes all but the latest `keep` checkpoints and those of `boundaries` (the last steps of stages)."""
    for step in steps(run)[:-keep]:
        if step not in boundaries:
            _remove(_folder(run, step))


def load_progress(run: Path, step: int) -> Progress:
    return Progress.from_json((_folder(run, step) / "progress.json").read_text())


def restore(run: Path, step: int, params: Any, optimizer_state: Any) -> tuple[Params, Any]:
    """Weights and optimizer state of a step, in the shapes and shardings of the two given trees (arrays or
    ShapeDtypeStructs).
    """
    target = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding),
        {"params": params, "optimizer": optimizer_state},
    )
    with ocp.StandardCheckpointer() as checkpointer:
        found = checkpointer.restore(_folder(run, step).absolute() / STATE, target)
    return found["params"], found["optimizer"]


def _folder(run: Path, step: int) -> Path:
    return run / "checkpoints" / f"{step:06d}"


@dataclass(frozen=True)
class Source:
    """A resolved CHECKPOINT: the folder with config.json and tokenizer and, for a run, the step whose weights are
    meant.
    """

    folder: Path
    run: Path | None = None
    step: int | None = None

    @property
    def state(self) -> Path | None:
        """The orbax folder of the weights; None where they are safetensors."""
        if self.run is not None and self.step is not None:
            return _folder(self.run, self.step) / STATE
        return self.folder / STATE if (self.folder / STATE).is_dir() else None

    def load(
        self,
        config: PolicyConfig,
        mesh: Mesh,
        rules: Rules,
        dtype: str | None = "float32",
        progress: OnBytes | None = None,
    ) -> Params:
        """The weights on `mesh`, in `dtype` or, with None, in their own."""
        if self.state is None:
            return port.load_params(port.open_weights(self.folder, config), config, mesh, rules, dtype, progress)
        path = self.state.absolute()
        with ocp.PyTreeCheckpointer() as checkpointer:
            saved = checkpointer.metadata(path).item_metadata.tree["params"]
            layers = Layer(**{field.name: saved["layers"].get(field.name) for field in dataclasses.fields(Layer)})
            target = jax.tree.map(
                lambda w, s, m: jax.ShapeDtypeStruct(
                    w.shape, m.dtype if dtype is None else jnp.dtype(dtype), sharding=s
                ),
                declare(config),
                shardings(config, mesh, rules),
                Params(saved["embedding"], layers, saved["norm"], saved.get("head")),
            )
            arguments = ocp.args.PyTreeRestore(
                item={"params": target},
                restore_args=ocp.checkpoint_utils.construct_restore_args({"params": target}),
                partial_restore=True,
            )
            return checkpointer.restore(path, args=arguments)["params"]


def write_orbax(out: Path, source: Source, dtype: str | None, progress: OnBytes | None) -> None:
    """Writes the weights of `source` as an orbax folder, with its config.json and tokenizer; as a whole or not at
    all.
    """
    config = port.read_config(source.folder)
    with whole_folder(out) as partial:
        params = source.load(config, make_mesh(), TRAINING, dtype, progress)
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(partial / STATE, {"params": params})
        copy_tokenizer(source.folder, partial)
        shutil.copyfile(source.folder / "config.json", partial / "config.json")


def resolve(text: str) -> Source:
    """What a CHECKPOINT stands for: a Hugging Face folder, RUN, RUN@STEP, RUN@STAGE, RUN@best, or a hub id.

    Raises UserError if it is none of these, naming what was looked for.
    """
    name, _, mark = text.partition("@")
    path = Path(name)
    if (path / "checkpoints").is_dir() and (path / "policy" / "config.json").exists():
        return Source(path / "policy", path, _step_of(path, mark))
    if path.is_dir():
        if not (path / "config.json").exists():
            raise UserError(
                f"checkpoint {text}: the folder holds no config.json and is no run; give a Hugging Face folder or a run's folder"
            )
        return Source(path)
    if name.count("/") == 1 and not name.startswith((".", "/")) and not mark:
        return Source(_download(name))
    raise UserError(
        f"checkpoint {text}: no such folder; give a Hugging Face folder, a run's folder (RUN[@STEP|@STAGE|@best]) or a hub id"
    )


def _step_of(run: Path, mark: str) -> int:
    have = steps(run)
    if not have:
        raise UserError(f"checkpoint {run}: the run has no checkpoint yet; train it further")
    stages = {name: step for name, step in load_progress(run, have[-1]).finished.items() if step in have}
    if not mark:
        return have[-1]
    if mark == "best":
        path = run / "summary.json"
        entries = json.loads(path.read_text()) if path.exists() else []
        averages: dict[int, list[float]] = {}
        for entry in entries:
            if entry["step"] in have and entry["avg"] is not None:
                averages.setdefault(entry["step"], []).append(entry["avg"])
        if not averages:
            raise UserError(
                f"checkpoint {run}@best: the run has no measured stage with a checkpoint; name a step: {have}"
            )
        return max(averages, key=lambda step: sum(averages[step]) / len(averages[step]))
    if mark.isdigit() and int(mark) in have:
        return int(mark)
    if mark in stages:
        return stages[mark]
    raise UserError(
        f"checkpoint {run}@{mark}: no such step or finished stage; steps: {have}, stages: {', '.join(stages) or 'none'}"
    )


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    wanted = ["*.json", "*.safetensors", "*.jinja", "merges.txt", "vocab.*", "tokenizer*"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (RepositoryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"checkpoint {name}: no such folder, and the hub did not give it ({reason}); check the name or the network"
        ) from None
