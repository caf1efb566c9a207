"""Signals that end a run politely."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupted(Exception):
    """The user asked the run to end; raised only where nothing is half-done."""


class Signals:
    """SIGINT and SIGTERM, held until `check`: the first ends a run at the next safe point, a second SIGINT at once."""

    def __init__(self) -> None:
        self.received: int | None = None

    def check(self) -> None:
        """Raises Interrupted where a signal has come."""
        if self.received is not None:
            raise Interrupted

    @contextmanager
    def held(self) -> Iterator[Signals]:
        """Holds the signals until the block ends."""
        before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, _: Any) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        os.write(2, b"\nending at the next safe point; Ctrl-C again ends at once\n")
