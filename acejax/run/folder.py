"""A run's folder: whose it is, and that one process alone fills it. Any typed configuration with an `output` may have
one.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from acejax.config import FolderConfig
from acejax.config_files import dump_yaml, load_saved
from acejax.errors import UserError
from acejax.files import write_whole

CONFIG = "config.yaml"
LOCK = ".lock"


@contextmanager
def open_run(config: FolderConfig) -> Iterator[Path]:
    """Makes or checks the folder, saves the resolved configuration, and keeps other processes out until the block ends.

    Raises UserError if the folder holds something else, a run whose results another configuration made, or a run that
    is going on.
    """
    folder = Path(config.output)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"output {folder}: is a file; choose another output=")
    if folder.exists() and not (folder / CONFIG).exists() and any(f.name != LOCK for f in folder.iterdir()):
        raise UserError(f"output {folder}: the folder is not empty and holds no run; choose another output=")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("w")
    except OSError as error:
        raise UserError(f"output {folder}: {error.strerror}; choose a folder that can be written") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"output {folder}: another process is training there; wait for it, or choose another output="
            ) from None
        _claim(config, folder)
        yield folder


def _claim(config: FolderConfig, folder: Path) -> None:
    saved = folder / CONFIG
    if saved.exists():
        if _has_results(folder):
            _refuse_another(config, folder)
        else:  # a first start that failed leaves nothing that counts
            shutil.rmtree(folder / "policy", ignore_errors=True)
    write_whole(saved, dump_yaml(config))


def _has_results(folder: Path) -> bool:
    has_checkpoint = any((folder / "checkpoints").glob("[0-9]*"))
    return has_checkpoint or any(path.stat().st_size for path in folder.glob("metrics.jsonl"))


def _refuse_another(config: FolderConfig, folder: Path) -> None:
    try:
        before = load_saved(folder / CONFIG, type(config))
    except UserError as error:
        raise UserError(f"output {folder}: its {CONFIG} cannot be read ({error}); choose another output") from None
    changed = _difference(before.identity(), config.identity())
    if changed is not None:
        raise UserError(
            f"output {folder} belongs to another run ('{changed}' differs); "
            "choose another output=, or remove the folder to start again"
        )


def _difference(before: Any, now: Any, path: str = "") -> str | None:
    """The dotted key of the first value that differs; None where all are the same."""
    if before == now:
        return None
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            found = _difference(before.get(key), now.get(key), f"{path}.{key}" if path else key)
            if found is not None:
                return found
    return path
