"""A checkpoint of any kind as a Hugging Face folder or an orbax folder."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acejax.config import RunConfig
from acejax.config_files import load_saved
from acejax.errors import UserError, reason_of
from acejax.mesh import TRAINING, make_mesh
from acejax.policy import port
from acejax.policy.folder import OnBytes, Tensor, read_json, write_folder
from acejax.policy.transformer import Params
from acejax.run.records import read_summary
from acejax.run.source import Source, resolve, write_orbax

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def export_checkpoint(text: str, out: Path, dtype: str | None = None, progress: OnBytes | None = None) -> None:
    """Writes CHECKPOINT `text` to the Hugging Face folder `out`: weights in `dtype` (None: their own), config,
    tokenizer, model card.
    """
    source = resolve(text)
    config = port.read_config(source.folder)
    if source.state is None:
        tensors = {name: tensor.cast(dtype) for name, tensor in port.open_weights(source.folder, config).items()}
    else:
        tensors = port.unload_params(source.load(config, make_mesh(), TRAINING, None), config, dtype)
    _write(out, tensors, source, text, progress)


def export_params(params: Params, run: Path, step: int, out: Path, dtype: str) -> None:
    """Writes the weights that a run has in memory at `step` as `export_checkpoint` would."""
    source = Source(run / "policy", run, step)
    _write(out, port.unload_params(params, port.read_config(source.folder), dtype), source, f"{run}@{step}", None)


def _write(out: Path, tensors: Mapping[str, Tensor], source: Source, text: str, progress: OnBytes | None) -> None:
    config: dict[str, Any] = read_json(source.folder / "config.json")
    write_folder(out, config, tensors, {"README.md": _card(text, source)}, source.folder, progress)


def convert_checkpoint(source: str, out: Path, dtype: str | None, orbax: bool, progress: OnBytes | None) -> None:
    """Turns a GGUF file or any CHECKPOINT into a Hugging Face folder or, with `orbax`, an orbax folder; None keeps each
    tensor's dtype.
    """
    from acejax.policy.gguf import convert_gguf

    if not source.endswith(".gguf"):
        if orbax:
            write_orbax(out, resolve(source), dtype, progress)
        else:
            export_checkpoint(source, out, dtype, progress)
    elif orbax:
        with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.name}.") as folder:
            convert_gguf(Path(source), Path(folder) / "folder", dtype, progress)
            write_orbax(out, Source(Path(folder) / "folder"), dtype, progress)
    else:
        convert_gguf(Path(source), out, dtype, progress)


def push(folder: Path, repository: str, private: bool) -> str:
    """Uploads an exported folder to the hub repository OWNER/NAME, which is made if need be. Returns its address."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        api = HfApi()
        address = str(api.create_repo(repository, private=private, exist_ok=True))
        api.upload_folder(repo_id=repository, folder_path=folder)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = reason_of(error)
        raise UserError(
            f"push {repository}: the hub refused it ({reason}); {folder} is whole, log in and push it again"
        ) from None
    return address


def _card(text: str, source: Source) -> str:
    """The model card: where the weights come from, what was measured, and the run's configuration. Folders of the
    machine that made it are left out.
    """
    name = Path(text.partition("@")[0]).name
    base = _base_model(source)
    head = ["---", "library_name: transformers", *([f"base_model: {base}"] if base else []), "---"]
    lines = [*head, f"# {name}", "", f"Exported by acejax from `{name}`."]
    if source.run is None:
        return "\n".join(lines) + "\n"
    lines[-1] += f" Step {source.step}."
    lines += _measured(source.run)
    configuration = _without_folders((source.run / "config.yaml").read_text().rstrip())
    return "\n".join([*lines, "", "```yaml", configuration, "```"]) + "\n"


def _base_model(source: Source) -> str | None:
    """The hub's name of the checkpoint that a run began with, where it has one."""
    if source.run is None:
        return None
    init = load_saved(source.run / "config.yaml", RunConfig).init
    if init is None:
        return None
    named = init.partition("@")[0]
    if Path(init, "config.json").is_file():
        named = str(read_json(Path(init, "config.json")).get("_name_or_path", ""))
    return named if HUB_ID.fullmatch(named) and not Path(named).exists() else None


def _measured(run: Path) -> list[str]:
    """The lines of summary.json and environment.json."""
    lines = []
    entries = read_summary(run)
    if entries:
        lines += [
            "",
            "| stage | domain | k | avg@k | 95% interval | pass@k | problems |",
            "|---|---|---|---|---|---|---|",
        ]
        for entry in entries:
            interval = f"{entry['avg_low']:.3f} to {entry['avg_high']:.3f}"
            measures = f"{entry['avg']:.3f} | {interval} | {entry['pass']:.3f}"
            place = f"{entry['stage']} | {entry['domain']} | {entry['k']}"
            lines.append(f"| {place} | {measures} | {entry['problems']} |")
    if (run / "environment.json").exists():
        made = json.loads((run / "environment.json").read_text())
        said = [f"{key} {made[key]}" for key in ("seed", "device", "python", "jax") if key in made]
        lines += ["", f"Measured with {', '.join(said)}."]
    return lines


def _without_folders(text: str) -> str:
    """Absolute paths as their last part."""
    return re.sub(r"(?<![\w./])[/~][^\s,'\"\]}]*/([^/\s,'\"\]}]+)", r"\1", text)
