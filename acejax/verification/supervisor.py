"""The process that stands between the trainer and the workers. It judges nothing: it deals out, times, kills and
replaces.

Run as a module by `pool.py` with its socket, the trainer's pid and the settings as JSON. Every wait blocks, so an idle
pool uses no CPU. A task whose worker fails or outlives the task's deadline is tried once more, one whose worker dies up
to three times, on a fresh worker: one more than may be busy stands by. Failing again makes it unjudged; only a
mathematics check that runs out of time twice is the answer's own doing, and wrong. A program close to its limit of time
runs once more while no other does, and that run counts. When the trainer ends, by whatever means, everything here ends.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from acejax.verification.programs import confine
from acejax.verification.worker import CODE, CODE_ALONE, HEADER, MATH, WARM

LOAD_BOUND_S = 120.0  # from handing a task over until the worker has loaded what it needs
MAX_FAILED_STARTS = 5
MAX_FAILURES, MAX_CRASHES = (
    2,
    4,
)  # of one task, before it is given up; whoever kills workers at random may hit one task again
MAX_CLOSE_CALLS = 16  # how many wait, before the other tasks wait for them


class Terminated(Exception):
    """SIGTERM has come."""


@dataclass
class Task:
    number: int
    kind: int
    deadline_s: float
    frame: bytes
    failures: list[str] = field(default_factory=list)
    first: dict[str, Any] | None = None  # what a close call came to; it runs alone now


@dataclass
class Slot:
    """A worker process and the task it holds."""

    process: subprocess.Popen[bytes]
    conn: Connection
    must_answer: float
    task: Task | None = None
    ready: bool = False
    warm: bool = False
    begun: bool = False
    judged: int = 0


class Supervisor:
    def __init__(self, parent: Connection, settings: dict[str, Any]) -> None:
        self.parent, self.settings = parent, settings
        self.queue: collections.deque[Task] = collections.deque()
        self.again: collections.deque[Task] = collections.deque()  # for fresh workers
        self.close_calls: collections.deque[Task] = collections.deque()
        self.settling = False  # the close calls have their turn
        self.programs = False  # there have been some, so workers get ready for more
        self.slots: list[Slot] = []
        self.selector = selectors.DefaultSelector()
        self.failed_starts = 0

    def run(self, parent_pid: int) -> None:
        """Serves until the parent closes its socket or ends."""
        self.selector.register(self.parent, selectors.EVENT_READ, None)
        with contextlib.suppress(
            OSError
        ):  # a forked relative of the parent may hold the socket open: watch the process as well
            self.selector.register(os.pidfd_open(parent_pid), selectors.EVENT_READ, "parent ended")
        if os.getppid() != parent_pid:
            return
        try:
            for _ in range(self.settings["workers"] + 1):
                self.start_worker()
            while self.step():
                pass
        except (EOFError, ConnectionError, Terminated):
            pass
        finally:
            self.end_all()

    def step(self) -> bool:
        soonest = min((slot.must_answer for slot in self.slots), default=float("inf"))
        timeout = None if soonest == float("inf") else max(0.0, soonest - time.monotonic())
        for key, _ in self.selector.select(timeout):
            if isinstance(key.data, Slot):
                if key.data in self.slots:
                    self.hear(key.data)
            elif key.data is None:
                self.accept(self.parent.recv_bytes())
            else:
                return False
        now = time.monotonic()
        for slot in [slot for slot in self.slots if slot.must_answer <= now]:
            self.replace(slot, "timeout" if slot.begun else "slow to load")
        self.deal()
        return True

    def accept(self, frame: bytes) -> None:
        number, kind, deadline_s, _ = HEADER.unpack_from(frame)
        self.queue.append(Task(number, kind, deadline_s, frame))
        if kind == CODE and not self.programs:
            self.programs = True
            for slot in [slot for slot in self.slots if slot.ready and slot.task is None]:
                self.warm(slot)

    def warm(self, slot: Slot) -> None:
        """Has a worker start its sandbox before a task needs it."""
        slot.warm, slot.ready, slot.must_answer = True, False, time.monotonic() + LOAD_BOUND_S
        self.send(slot, HEADER.pack(0, WARM, 0.0, 0))

    def deal(self) -> None:
        """Gives tasks to workers that wait, fresh ones last: they stand by for tasks that failed elsewhere."""
        idle = sorted((slot for slot in self.slots if slot.ready and slot.task is None), key=lambda slot: -slot.judged)
        busy = [slot for slot in self.slots if slot.task is not None]
        waiting = self.queue or self.again
        self.settling = bool(self.close_calls) and (
            self.settling or not waiting or len(self.close_calls) >= MAX_CLOSE_CALLS
        )
        if any(slot.task and slot.task.first for slot in busy):
            return
        if self.settling:
            if idle and not busy:
                self.hand(idle[0], self.close_calls.popleft())
            return
        for slot in idle[: self.settings["workers"] - len(busy)]:
            fresh = idle[-1]
            if self.again and fresh.judged == 0 and fresh.task is None:
                self.hand(fresh, self.again.popleft())
            elif self.queue and slot.task is None:
                self.hand(slot, self.queue.popleft())

    def hand(self, slot: Slot, task: Task) -> None:
        slot.task, slot.begun, slot.must_answer = task, False, time.monotonic() + LOAD_BOUND_S
        self.send(slot, task.frame)

    def send(self, slot: Slot, frame: bytes) -> None:
        try:
            slot.conn.send_bytes(frame)
        except OSError:
            self.replace(slot, "crash")

    def hear(self, slot: Slot) -> None:
        try:
            message = json.loads(slot.conn.recv_bytes())
        except (EOFError, OSError, ValueError):
            self.replace(slot, "crash")
            return
        task = slot.task
        if "ready" in message:
            slot.ready, slot.must_answer, self.failed_starts = True, float("inf"), 0
            if self.programs and not slot.warm:
                self.warm(slot)
        elif "notice" in message:
            self.tell(message)
        elif "begin" in message and task:
            slot.begun, slot.must_answer = True, time.monotonic() + task.deadline_s
        elif "infra" in message:
            self.replace(slot, "infra", message["infra"])
        elif task:
            slot.task, slot.must_answer = None, float("inf")
            slot.judged += 1
            self.answer(task, message)
            if (
                slot.judged >= self.settings["recycle_after"]
                or _resident(slot.process.pid) > self.settings["recycle_mb"] << 20
            ):
                self.end(slot)
                self.start_worker()

    def answer(self, task: Task, message: dict[str, Any]) -> None:
        if message.get("near"):
            task.first = message
            header = HEADER.unpack_from(task.frame)
            task.frame = HEADER.pack(header[0], CODE_ALONE, *header[2:]) + task.frame[HEADER.size :]
            self.close_calls.append(task)
            return
        if task.first:
            message["flipped"] = message.get("verdict") != task.first["verdict"]
        self.tell(message | {"number": task.number, "failures": len(task.failures)})

    def replace(self, slot: Slot, failure: str, detail: str = "") -> None:
        """Ends a worker, starts another, and has its task tried again, or gives the task up."""
        task = slot.task
        self.end(slot)
        if not slot.ready:
            self.failed_starts += 1
            if self.failed_starts >= MAX_FAILED_STARTS:
                self.tell({"notice": "the verification workers do not start; the pool gives up"})
                raise EOFError
        if task is not None:
            task.failures.append(failure)
            if task.first:
                self.answer(task, task.first | {"near": False})
            elif len(task.failures) < (MAX_CRASHES if set(task.failures) == {"crash"} else MAX_FAILURES):
                self.again.append(task)
            else:
                hopeless = task.kind == MATH and task.failures == ["timeout", "timeout"]
                outcome = ("wrong", "timeout", task.deadline_s) if hopeless else ("unjudged", "infra", 0.0)
                self.answer(
                    task,
                    dict(zip(("verdict", "reason", "seconds"), outcome, strict=True)) | {"detail": detail or failure},
                )
        self.start_worker()

    def start_worker(self) -> None:
        ours, theirs = socket.socketpair()
        command = [
            sys.executable,
            "-m",
            "acejax.verification.worker",
            str(theirs.fileno()),
            str(os.getpid()),
            json.dumps(self.settings),
        ]
        process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"TMPDIR": self.settings["folder"]},
        )
        theirs.close()
        slot = Slot(process, Connection(ours.detach()), time.monotonic() + LOAD_BOUND_S)
        self.slots.append(slot)
        self.selector.register(slot.conn, selectors.EVENT_READ, slot)

    def end(self, slot: Slot) -> None:
        self.slots.remove(slot)
        self.selector.unregister(slot.conn)
        slot.process.kill()
        slot.process.wait()
        slot.conn.close()
        self.end_orphans()

    def end_orphans(self) -> None:
        """Kills and reaps what dead workers left: as subreaper we inherit it."""
        confine.kill_descendants(spare={slot.process.pid for slot in self.slots})

    def end_all(self) -> None:
        for slot in self.slots:
            slot.process.kill()
        for slot in list(self.slots):
            self.end(slot)
        shutil.rmtree(self.settings["folder"], ignore_errors=True)

    def tell(self, message: dict[str, Any]) -> None:
        self.parent.send_bytes(json.dumps(message).encode())


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    try:
        with open(f"/proc/{pid}/statm") as line:
            return int(line.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0


def _end(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


def main() -> None:
    confine.libc.prctl(confine.PR_SET_DUMPABLE, 0, 0, 0, 0)
    confine.libc.prctl(confine.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    handle, parent_pid, settings = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    Supervisor(Connection(handle), settings).run(parent_pid)


if __name__ == "__main__":
    main()
