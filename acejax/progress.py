"""The progress bar of commands that take a while: on stderr, and only where that is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


@contextmanager
def progress_bar(what: str, in_bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Gives the function that takes (done, total): things or, `in_bytes`, bytes; the bar of bytes goes away at the
    end.
    """
    counted = (
        (DownloadColumn(), TransferSpeedColumn())
        if in_bytes
        else (MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    )
    console = Console(stderr=True)
    with Progress(
        TextColumn(what), BarColumn(), *counted, console=console, transient=in_bytes, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
