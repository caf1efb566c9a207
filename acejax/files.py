"""Writes that are whole or not at all: whoever looks finds what was there before, or all that is new."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from acejax.errors import UserError


def write_whole(path: Path, content: str | bytes) -> None:
    """Replaces a file in one move. What it held before stays until all of `content` is on the disk."""
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def json_object(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is none that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The hidden name under which to write a file that gets the name `path` when the block ends well."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(out: Path, replace: bool = False) -> Iterator[Path]:
    """A folder to fill that gets the name `out` when the block ends well; until then it has a hidden name beside `out`.

    The next attempt clears away what an interrupted one left. Raises UserError where the folder cannot be written, and,
    unless it may `replace` what is there, where `out` exists and is not empty.
    """
    if not replace and (out.is_file() or (out.is_dir() and any(out.iterdir()))):
        raise UserError(f"{out} exists already; name a folder that does not, or remove it")
    partial = out.absolute().parent / f".{out.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        if replace:
            remove_folder(out)
        partial.rename(out)
    except OSError as error:
        raise UserError(f"{out}: {error.strerror or error}; nothing was written") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Renames it first, so that what is half removed never passes for the whole."""
    if folder.exists():
        doomed = folder.with_name(f".{folder.name}.removed")
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
