"""environment.json: what a figure of a run must be quoted with."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from acejax import host
from acejax.files import write_whole

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
GIT_BOUND_S = 10


def write_environment(folder: Path, seed: int, device: str, more: dict[str, Any]) -> None:
    """Writes it on the first start of a run, with `more` that is worth knowing; a resume adds its time to `resumed`."""
    if not host.is_writer():
        return
    path = folder / "environment.json"
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    if path.exists():
        found = json.loads(path.read_text())
        found.setdefault("resumed", []).append(now)
    else:
        found = {
            "seed": seed,
            "device": device,
            **more,
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            **{name: _version(name) for name in PACKAGES},
            "git_commit": _commit(),
            "started": now,
            "command": " ".join(sys.argv),
        }
    write_whole(path, json.dumps(found, indent=2) + "\n")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    try:
        head = _git("rev-parse", "HEAD")
        dirty = _git("status", "--porcelain")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{head} with uncommitted changes" if dirty else head


def _git(*command: str) -> str:
    here = Path(__file__).resolve().parent
    run = subprocess.run(["git", *command], cwd=here, capture_output=True, text=True, timeout=GIT_BOUND_S, check=True)
    return run.stdout.strip()
