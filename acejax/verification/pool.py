"""The trainer's side of verification: tasks in, futures of verdicts out. Everything else happens in other processes.

with VerificationPool(workers=4) as pool:
    verdict = pool.submit(problem, 0, response).result()
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from acejax.config import Verification
from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.verification.verdict import Verdict
from acejax.verification.worker import CODE, HEADER, MATH

CODE_SLACK_S = 60.0  # on top of the limits of all tests of a program, before its worker counts as hung
CLOSE_BOUND_S = 10.0
MAX_PENDING, MAX_PENDING_BYTES = 4096, 256 << 20  # what the pool holds before `submit` waits
# What the pool's processes see of the environment; nothing secret may be there, since programs run close by.
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")

log = logging.getLogger(__name__)


class VerificationPool:
    """Judges completions in `workers` processes of their own, under a supervisor that is started fresh, never forked
    from here.

    `require_think_end`: a response without `</think>` is wrong. `time_limit_s` (CPU seconds per test) and
    `memory_limit_mb` hold where a problem states none; `math_deadline_s` bounds one mathematics check. `unsafe` runs
    programs even where the sandbox's self-test finds a hole. `backend` forces "bubblewrap" or "rlimits"; by default the
    better one that works. A worker is replaced after `recycle_after` tasks, or once it holds `recycle_mb` MiB.
    """

    def __init__(
        self,
        workers: int,
        *,
        require_think_end: bool = True,
        time_limit_s: float = 2.0,
        memory_limit_mb: int = 512,
        math_deadline_s: float = 5.0,
        unsafe: bool = False,
        backend: Literal["bubblewrap", "rlimits"] | None = None,
        recycle_after: int = 5000,
        recycle_mb: int = 1024,
    ) -> None:
        if workers < 1:
            raise UserError(f"field 'verification.workers' is {workers}; give at least 1")
        self._time_limit_s, self._math_deadline_s = time_limit_s, math_deadline_s
        # The workers' temporary files, so that a killed one leaves none behind. Programs pass through it, and cannot
        # list it.
        self._folder = tempfile.mkdtemp(prefix="acejax-pool-")
        os.chmod(self._folder, 0o711)
        settings = {
            "folder": self._folder,
            "workers": workers,
            "require_think_end": require_think_end,
            "time_limit_s": time_limit_s,
            "memory_limit_mb": memory_limit_mb,
            "unsafe": unsafe,
            "backend": backend,
            "recycle_after": recycle_after,
            "recycle_mb": recycle_mb,
        }
        self._pending: dict[int, tuple[Future[Verdict], str, int, int]] = {}
        self._pending_bytes = 0
        self._numbers = itertools.count()
        self._lock, self._send_lock = threading.Lock(), threading.Lock()
        self._room = threading.Condition(self._lock)
        self._ended = False
        self._notices: set[str] = set()
        self._stats: dict[str, float] = {
            "judged": 0,
            "unjudged": 0,
            "retried": 0,
            "rerun": 0,
            "flipped": 0,
            "busy_seconds": 0.0,
        }
        self._socket, theirs = socket.socketpair()
        command = [
            sys.executable,
            "-m",
            "acejax.verification.supervisor",
            str(theirs.fileno()),
            str(os.getpid()),
            json.dumps(settings),
        ]
        self._supervisor = subprocess.Popen(
            command,
            env=_environment(),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the trainer, which ends the pool when it is done with it
        )
        theirs.close()
        self._conn = Connection(os.dup(self._socket.fileno()))
        self._reader = threading.Thread(target=self._read, name="acejax-verification", daemon=True)
        self._reader.start()

    def __enter__(self) -> VerificationPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, problem: Problem, sample: int, response: str, weights: Any = None) -> Future[Verdict]:
        """Queues one response. The future always resolves: to a Verdict, or to UserError where no program may run
        safely.

        Waits while the pool holds MAX_PENDING tasks or MAX_PENDING_BYTES, so do not call it from a future's callback.
        Raises RuntimeError when the pool is closed or its supervisor has died.
        """
        future: Future[Verdict] = Future()
        future.set_running_or_notify_cancel()
        if problem.domain == "math":
            kind, deadline_s = MATH, self._math_deadline_s
            task: dict[str, Any] = {"answer": problem.answer}
        else:
            tests = problem.tests or {}
            kind = CODE
            deadline_s = CODE_SLACK_S + 3 * (problem.time_limit_s or self._time_limit_s) * max(
                1, len(tests.get("cases") or ())
            )
            task = {
                "id": problem.id,
                "tests": tests,
                "time_limit_s": problem.time_limit_s,
                "memory_limit_mb": problem.memory_limit_mb,
            }
        text = json.dumps(task).encode()
        payload = text + response.encode("utf-8", "replace")
        with self._room:
            while (
                not self._ended
                and self._pending
                and (len(self._pending) >= MAX_PENDING or self._pending_bytes + len(payload) > MAX_PENDING_BYTES)
            ):
                self._room.wait()
            if self._ended:
                raise RuntimeError("the verification pool is closed, or its supervisor has died")
            number = next(self._numbers)
            self._pending[number] = (future, problem.id, sample, len(payload))
            self._pending_bytes += len(payload)
        try:
            with self._send_lock:
                self._conn.send_bytes(HEADER.pack(number, kind, deadline_s, len(text)) + payload)
        except OSError as error:
            self._give_up()
            raise RuntimeError("the verification pool's supervisor has died") from error
        return future

    def stats(self) -> dict[str, float]:
        """Counts since the start: judged, unjudged, retried after a failure of ours, rerun alone because close to a
        limit of time, flipped by that, and busy_seconds (the checks' own wall time, summed over workers)."""
        with self._lock:
            return dict(self._stats)

    def close(self) -> None:
        """Ends all processes of the pool. What is still pending resolves to unjudged. Calling it again does nothing."""
        self._give_up()
        if self._supervisor.poll() is None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
                self._supervisor.wait(CLOSE_BOUND_S)
            except (OSError, subprocess.TimeoutExpired):
                os.killpg(self._supervisor.pid, signal.SIGKILL)
                self._supervisor.wait()
        if self._reader is not threading.current_thread():
            self._reader.join(CLOSE_BOUND_S)
        self._conn.close()
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self) -> None:
        try:
            while True:
                self._resolve(json.loads(self._conn.recv_bytes()))
        except (EOFError, OSError):
            self._give_up()

    def _resolve(self, message: dict[str, Any]) -> None:
        if "notice" in message:
            if message["notice"] not in self._notices:
                self._notices.add(message["notice"])
                log.warning(message["notice"])
            return
        with self._lock:
            entry = self._pending.pop(message["number"], None)
            if entry is None:
                return
            self._pending_bytes -= entry[3]
            self._room.notify()
            self._stats["retried"] += message["failures"] > 0
            self._stats["rerun"] += "flipped" in message
            self._stats["flipped"] += message.get("flipped", False)
            if "verdict" in message:
                self._stats["unjudged" if message["verdict"] == "unjudged" else "judged"] += 1
                self._stats["busy_seconds"] += message["seconds"]
        future, problem_id, sample, _ = entry
        if "fatal" in message:
            future.set_exception(UserError(message["fatal"]))
            return
        if message["verdict"] == "unjudged":
            log.warning("%s sample %d is unjudged: %s", problem_id, sample, message["detail"])
        future.set_result(Verdict(problem_id, sample, message["verdict"], message["reason"], message["seconds"]))

    def _give_up(self) -> None:
        with self._lock:
            self._ended = True
            pending, self._pending = self._pending, {}
            self._stats["unjudged"] += len(pending)
            self._room.notify_all()
        for future, problem_id, sample, _ in pending.values():
            future.set_result(Verdict(problem_id, sample, "unjudged", "infra"))


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    root = str(Path(__file__).parents[2])
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


def open_pool(config: Verification, workers: int | None = None, rewards: Sequence[str] = ()) -> VerificationPool:
    """The pool that a configuration asks for."""
    return VerificationPool(
        workers or config.workers or os.cpu_count() or 1,
        require_think_end=config.require_think_end,
        time_limit_s=config.time_limit_s,
        memory_limit_mb=config.memory_limit_mb,
        unsafe=config.unsafe,
    )
