"""The workers of one world, and the tasks that wait for them. Who gets which task is for the supervisor to say."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from acejax.verification.programs import confine
from acejax.verification.verifier import Settings, World
from acejax.verification.wire import Order, pack

LOAD_BOUND_S = {"bare": 120.0, "user": 300.0}  # until a worker has loaded what it needs; a reward may be heavy
STANDING_BY = {"bare": 1, "user": 0}  # workers beyond those that may be busy; a user's may hold a model each
# What Python reads as it starts. A worker of a user's world gets it at its start, all else later.
FOR_THE_START = ("PYTHONHASHSEED", "PYTHONUTF8", "PYTHONWARNINGS", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
IO_BOUND_S = 5  # for which a worker's socket may take or give no byte in the middle of a message
NEVER = float("inf")


@dataclass(eq=False)
class Task:
    order: Order
    frame: bytes
    failures: list[str] = field(default_factory=list)
    first: dict[str, Any] | None = None  # what a close call came to; it runs alone now


@dataclass(eq=False)
class Slot:
    """A worker process and the task it holds."""

    crew: Crew
    process: subprocess.Popen[bytes]
    conn: Connection
    must_answer: float  # by time.monotonic()
    task: Task | None = None
    ready: bool = False
    begun: bool = False
    judged: int = 0
    warmed: set[str] = field(default_factory=set)
    loading: str = ""  # the reward that it loads

    def expect(self, seconds: float) -> None:
        self.must_answer = time.monotonic() + seconds

    def awaits(self, message: dict[str, Any]) -> bool:
        """Whether a message is of the task it holds, or of none; a process forked in a reward may answer twice."""
        number = message.get("number")
        return number is None or (self.task is not None and self.task.order.number == number)


class Crew:
    """Workers of one world. `message` is what a worker of a user's world learns first: environment and module path."""

    def __init__(self, world: World, settings: Settings, message: bytes = b"") -> None:
        self.world = world
        self.size = settings.workers
        self.load_bound_s = LOAD_BOUND_S[world]
        self.queue: deque[Task] = deque()
        self.again: deque[Task] = deque()  # for fresh workers
        self.slots: list[Slot] = []
        self.warm: list[str] = []  # verifiers that workers load before a task needs them
        self.failed_starts = 0
        self.missing = ""  # why there are fewer workers than asked for
        self.loaded = world == "bare"  # a worker has loaded what all must load
        self._settings = settings
        self._message = message

    def full_size(self) -> int:
        return self.size + STANDING_BY[self.world]

    def shrink(self, reason: str) -> None:
        """Goes on with one worker less."""
        self.size -= 1
        self.failed_starts = 0
        self.missing = reason

    def start(self) -> Slot:
        ours, theirs = socket.socketpair()
        command = [
            sys.executable,
            "-m",
            "acejax.verification.worker",
            str(theirs.fileno()),
            str(os.getpid()),
            self.world,
            json.dumps(asdict(self._settings)),
        ]
        process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ | self._environment(),
        )
        theirs.close()
        # A worker that neither reads on nor ends what it began to say counts as dead: nobody else may wait for it.
        for timeout in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            ours.setsockopt(socket.SOL_SOCKET, timeout, struct.pack("ll", IO_BOUND_S, 0))
        slot = Slot(self, process, Connection(ours.detach()), time.monotonic() + self.load_bound_s)
        self.slots.append(slot)
        return slot

    def _environment(self) -> dict[str, str]:
        """What a worker's process starts with beside the supervisor's own; anybody may read it."""
        if self.world == "bare":
            return {"TMPDIR": self._settings.folder}
        users = json.loads(self._message)["environment"]
        return {name: users[name] for name in FOR_THE_START if name in users}

    def greet(self, slot: Slot) -> None:
        """Tells a new worker what it must know first. Raises OSError where it is dead already."""
        if self._message:
            slot.conn.send_bytes(self._message)

    def idle(self) -> list[Slot]:
        """Workers that wait, fresh ones last: they stand by for tasks that failed elsewhere."""
        waiting = [slot for slot in self.slots if slot.ready and slot.task is None]
        return sorted(waiting, key=lambda slot: -slot.judged)

    def for_again(self) -> Slot | None:
        """A free worker for a task that failed elsewhere: a fresh one, or any once no fresh one is left or starts."""
        idle = self.idle()
        fresh = [slot for slot in self.slots if slot.judged == 0 and slot.task is None]
        if not idle or (fresh and idle[-1] not in fresh):
            return None
        return idle[-1]

    def busy(self) -> list[Slot]:
        return [slot for slot in self.slots if slot.task is not None]

    def hand(self, slot: Slot, task: Task) -> None:
        """Gives a worker a task. Raises OSError where it is dead."""
        slot.task = task
        slot.begun = False
        slot.expect(self.load_bound_s)
        slot.conn.send_bytes(task.frame)

    def cold(self, slot: Slot) -> str | None:
        """A verifier that this worker should load before a task needs it."""
        return next((name for name in self.warm if name not in slot.warmed), None)

    def warm_up(self, slot: Slot, verifier: str) -> None:
        """Has a worker load a verifier. Raises OSError where it is dead."""
        slot.warmed.add(verifier)
        slot.ready = False
        slot.expect(self.load_bound_s)
        slot.conn.send_bytes(pack(Order(0, verifier, load_only=True)))

    def is_worn(self, slot: Slot) -> bool:
        """Whether a worker has judged, or holds, so much that a new one should take its place.

        Not a user's: what its reward holds may be a model.
        """
        if self.world == "user":
            return False
        if slot.judged >= self._settings.recycle_after:
            return True
        return confine.resident_bytes(slot.process.pid) > self._settings.recycle_mb << 20
