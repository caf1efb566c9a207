"""What a CHECKPOINT on the command line stands for: a Hugging Face folder, a hub id, an orbax folder, or a run at some
step.

`RUN/policy/` holds the policy's config.json, tokenizer and generation config; the weights are those of a checkpoint. An
orbax folder is the same without a run: config.json, tokenizer, and `state` with the weights.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding

from acejax.errors import UserError, reason_of
from acejax.files import whole_folder
from acejax.mesh import TRAINING, Rules, make_mesh
from acejax.policy import port
from acejax.policy.config import PolicyConfig
from acejax.policy.folder import OnBytes, copy_tokenizer
from acejax.policy.transformer import Layer, Params, Weight, declare, shardings
from acejax.run.checkpoint import STATE, folder_of, load_host_state, steps
from acejax.run.records import read_summary


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
            return folder_of(self.run, self.step) / STATE
        path = self.folder / STATE
        return path if path.is_dir() else None

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
            have = Params(saved["embedding"], layers, saved["norm"], saved.get("head"))

            def wanted(weight: Weight, sharding: NamedSharding, stored: Any) -> jax.ShapeDtypeStruct:
                kind = stored.dtype if dtype is None else jnp.dtype(dtype)
                return jax.ShapeDtypeStruct(weight.shape, kind, sharding=sharding)

            target = {"params": jax.tree.map(wanted, declare(config), shardings(config, mesh, rules), have)}
            arguments = ocp.args.PyTreeRestore(
                item=target,
                restore_args=ocp.checkpoint_utils.construct_restore_args(target),
                partial_restore=True,  # the optimizer's state stays where it is
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
                f"checkpoint {text}: the folder holds no config.json and is no run; "
                "give a Hugging Face folder or a run's folder"
            )
        return Source(path)
    if name.count("/") == 1 and not name.startswith((".", "/")) and not mark:
        return Source(_download(name))
    raise UserError(
        f"checkpoint {text}: no such folder; "
        "give a Hugging Face folder, a run's folder (RUN[@STEP|@STAGE|@best]) or a hub id"
    )


def _step_of(run: Path, mark: str) -> int:
    have = steps(run)
    if not have:
        raise UserError(f"checkpoint {run}: the run has no checkpoint yet; train it further")
    stages = {name: step for name, step in load_host_state(run, have[-1])["finished"].items() if step in have}
    if not mark:
        return have[-1]
    if mark == "best":
        return _best_step(run, have)
    if mark.isdigit() and int(mark) in have:
        return int(mark)
    if mark in stages:
        return stages[mark]
    raise UserError(
        f"checkpoint {run}@{mark}: no such step or finished stage; steps: {have}, stages: {', '.join(stages) or 'none'}"
    )


def _best_step(run: Path, have: list[int]) -> int:
    """The step of the highest held-out avg@k, the mean over all evaluation sets, among those that have a checkpoint."""
    averages: dict[int, list[float]] = {}
    for entry in read_summary(run):
        if entry["step"] in have and entry["avg"] is not None:
            averages.setdefault(entry["step"], []).append(entry["avg"])
    if not averages:
        raise UserError(f"checkpoint {run}@best: the run has no measured stage with a checkpoint; name a step: {have}")
    return max(averages, key=lambda step: sum(averages[step]) / len(averages[step]))


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
        reason = reason_of(error)
        raise UserError(
            f"checkpoint {name}: no such folder, and the hub did not give it ({reason}); check the name or the network"
        ) from None
