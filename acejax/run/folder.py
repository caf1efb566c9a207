"""A run's folder: whose it is, what made it, and the signals that end it politely."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from acejax.config import RunConfig, dump_yaml, load_config
from acejax.errors import UserError

PACKAGES = (
    "acejax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "transformers",
    "tokenizers",
    "sympy",
    "numpy",
)
LOCK = ".lock"


class Interrupted(Exception):
    """The user asked the run to end; raised only where nothing is half-done."""


class Signals:
    """SIGINT and SIGTERM, held until `check`: the first ends the run at the next safe point, a second SIGINT at
    once.
    """

    def __init__(self) -> None:
        self.received: int | None = None

    def check(self) -> None:
        if self.received is not None:
            raise Interrupted

    @contextmanager
    def held(self) -> Iterator[Signals]:
        def receive(number: int, _: Any) -> None:
            if self.received is not None and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.received = number
            os.write(2, b"\nending at the next safe point; Ctrl-C again ends at once\n")

        before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def open_run(config: RunConfig) -> Iterator[Path]:
    """Makes or checks the run's folder, saves the resolved configuration, and keeps other processes out of the folder
    until the end.

    Raises UserError if the folder holds something else, a run whose results another configuration made, or a run that
    is going on.
    """
    folder = Path(config.output)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"output {folder}: is a file; choose another output=")
    if folder.exists() and not (folder / "config.yaml").exists() and any(f.name != LOCK for f in folder.iterdir()):
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


def _claim(config: RunConfig, folder: Path) -> None:
    saved = folder / "config.yaml"
    if saved.exists() and not _trained(folder):  # a first start that failed leaves nothing that counts
        shutil.rmtree(folder / "policy", ignore_errors=True)
    elif saved.exists():
        try:
            before = load_config(saved)[0]
        except UserError as error:
            raise UserError(
                f"output {folder}: its config.yaml cannot be read ({error}); choose another output"
            ) from None
        if before.identity() != config.identity():
            changed = _difference(before.model_dump(), config.model_dump())
            raise UserError(
                f"output {folder} belongs to another run ('{changed}' differs); choose another output=, or remove the folder to start again"
            )
    write_whole(saved, dump_yaml(config))


def _trained(folder: Path) -> bool:
    return any((folder / "checkpoints").glob("[0-9]*")) or any(p.stat().st_size for p in folder.glob("metrics.jsonl"))


def write_whole(path: Path, text: str) -> None:
    """Replaces a file in one move: whoever reads it finds the old text or the new."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def _difference(before: Any, now: Any, path: str = "") -> str:
    """The dotted key of the first value that differs and counts."""
    free = ("output", "mesh", "logging", "checkpoints", "steps", "every", "small", "workers")
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            if key not in free and before.get(key) != now.get(key):
                return _difference(before.get(key), now.get(key), f"{path}.{key}" if path else key)
    return path


def write_environment(folder: Path, seed: int, device: str, more: dict[str, Any]) -> None:
    """environment.json: what a figure must be quoted with. The first start of the run is kept; a resume adds to
    `resumed`.
    """
    path = folder / "environment.json"
    if path.exists():
        found = json.loads(path.read_text())
        found.setdefault("resumed", []).append(time.strftime("%Y-%m-%d %H:%M:%S"))
    else:
        found = {
            "seed": seed,
            "device": device,
            **more,
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            **{name: _version(name) for name in PACKAGES},
            "git_commit": _commit(),
            "started": time.strftime("%Y-%m-%d %H:%M:%S"),
            "command": " ".join(sys.argv),
        }
    write_whole(path, json.dumps(found, indent=2) + "\n")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    here = Path(__file__).resolve().parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            ["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, timeout=10, check=True
        ).stdout
        return head + (" with uncommitted changes" if dirty.strip() else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
