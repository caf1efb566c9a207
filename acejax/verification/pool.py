"""The trainer's side of verification: completions in, futures of verdicts out. Everything else happens in other
processes.

with VerificationPool(workers=4, rewards=["my_rewards:brevity"]) as pool:
    verdict = pool.submit(problem, 0, response).result()
    graded = pool.submit(problem, 0, response, {"verifier": 1.0, "my_rewards:brevity": 0.1}).result()
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import math
import os
import reprlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from acejax.config import Verification
from acejax.defaults import MEMORY_LIMIT_MB, OURS, TIME_LIMIT_S
from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.verification.parts import Asked, Pending
from acejax.verification.verdict import Verdict
from acejax.verification.verifier import Backend, Settings, Verifier
from acejax.verification.verifiers import VERIFIERS, reward_verifier
from acejax.verification.wire import Order, pack

CLOSE_BOUND_S = 10.0
MAX_PENDING, MAX_PENDING_BYTES = 4096, 256 << 20  # what the pool holds before `submit` waits
# What the pool's processes see of the environment; nothing secret may be there, since programs run close by.
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")

log = logging.getLogger(__name__)


class VerificationPool:
    """Judges completions in `workers` processes of their own, under a supervisor that is started fresh, never forked
    from here.

    `rewards` names the functions of a user's ("module:function") that `submit` may be asked for; they run in `workers`
    more processes, which have this process's environment, working directory and module path, each call for
    `reward_deadline_s` at most. Raises UserError where one of them cannot be imported or called.

    `require_think_end`: a response without `</think>` is wrong. `time_limit_s` (CPU seconds per test) and
    `memory_limit_mb` hold where a problem states none; `math_deadline_s` bounds one mathematics check. `unsafe` runs
    programs even where the sandbox's self-test finds a hole. `backend` forces "bubblewrap" or "rlimits"; by default the
    better one that works. A worker is replaced after `recycle_after` tasks, or once it holds `recycle_mb` MiB.
    """

    def __init__(
        self,
        workers: int,
        *,
        rewards: Sequence[str] = (),
        require_think_end: bool = True,
        time_limit_s: float = TIME_LIMIT_S,
        memory_limit_mb: int = MEMORY_LIMIT_MB,
        math_deadline_s: float = 5.0,
        reward_deadline_s: float = 60.0,
        unsafe: bool = False,
        backend: Backend | None = None,
        recycle_after: int = 5000,
        recycle_mb: int = 1024,
    ) -> None:
        if workers < 1:
            raise UserError(f"field 'verification.workers' is {workers}; give at least 1")
        # The workers' temporary files, so that a killed one leaves none behind. Programs pass through it, and cannot
        # list it.
        folder = tempfile.mkdtemp(prefix="acejax-pool-")
        os.chmod(folder, 0o711)
        self._settings = Settings(
            folder=folder,
            workers=workers,
            rewards=tuple(dict.fromkeys(rewards)),
            require_think_end=require_think_end,
            time_limit_s=time_limit_s,
            memory_limit_mb=memory_limit_mb,
            math_deadline_s=math_deadline_s,
            reward_deadline_s=reward_deadline_s,
            unsafe=unsafe,
            backend=backend,
            recycle_after=recycle_after,
            recycle_mb=recycle_mb,
        )
        self._rewards = {name: reward_verifier(name) for name in self._settings.rewards}
        self._pending: dict[int, Pending] = {}
        self._pending_bytes = 0
        self._numbers = itertools.count()
        self._lock, self._send_lock = threading.Lock(), threading.Lock()
        self._room = threading.Condition(self._lock)
        self._ended = False
        self._said: set[str] = set()
        self._loaded: Future[None] = Future()
        self._stats: dict[str, float] = {
            "judged": 0,
            "unjudged": 0,
            "retried": 0,
            "rerun": 0,
            "flipped": 0,
            "busy_seconds": 0.0,
        }
        self._start_supervisor()
        self._reader = threading.Thread(target=self._read, name="acejax-verification", daemon=True)
        self._reader.start()
        if self._rewards:
            self._load_rewards()

    def _start_supervisor(self) -> None:
        self._socket, theirs = socket.socketpair()
        command = [
            sys.executable,
            "-m",
            "acejax.verification.supervisor",
            str(theirs.fileno()),
            str(os.getpid()),
            json.dumps(asdict(self._settings)),
        ]
        self._supervisor = subprocess.Popen(
            command,
            env=_bare_environment(),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the trainer, which ends the pool when it is done with it
        )
        theirs.close()
        self._conn = Connection(os.dup(self._socket.fileno()))

    def _load_rewards(self) -> None:
        """Waits until a worker has loaded the rewards: what is wrong with one shows here, not in the first verdict."""
        try:
            self._conn.send_bytes(_users_world())
            self._loaded.result()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> VerificationPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(
        self,
        problem: Problem,
        sample: int,
        response: str,
        weights: Mapping[str, float] | None = None,
    ) -> Future[Verdict]:
        """Queues one response. The future always resolves: to a Verdict, or to UserError where no program may run
        safely.

        Without `weights` the verifier of the problem's domain judges alone, and the verdict has no score. Else their
        keys are "verifier" (that same one) and names of the pool's `rewards`; the verdict is `combined` from all of
        them. {"verifier": 1.0} gives the same verdict as None, with a score of 1 or 0.

        Waits while the pool holds MAX_PENDING tasks or MAX_PENDING_BYTES, so do not call it from a future's callback.
        Raises UserError for weights of something unknown or that are no finite numbers and for a problem of an unknown
        domain, RuntimeError when the pool is closed or its supervisor has died.
        """
        names = [OURS] if weights is None else list(weights)
        parts = {name: self._verifier(name, problem) for name in names}
        if not parts:
            raise UserError("the weights of a completion's rewards are empty; give 'verifier' or a module:function")
        asked = Asked(problem.id, sample, _finite(weights))
        asked.future.set_running_or_notify_cancel()
        content = response.encode("utf-8", "replace")
        # All of them before the first is sent: what cannot be written as JSON fails here.
        tasks = {name: json.dumps(verifier.task(problem)).encode() for name, verifier in parts.items()}
        for name, verifier in parts.items():
            self._ask(asked, name, verifier, problem, tasks[name], content)
        return asked.future

    def _verifier(self, name: str, problem: Problem) -> Verifier:
        if name != OURS:
            if name not in self._rewards:
                given = ", ".join(map(repr, (OURS, *self._rewards)))
                raise UserError(f"weight of {name!r}: the pool was not started with it; give one of {given}")
            return self._rewards[name]
        if problem.domain not in VERIFIERS:
            known = " or ".join(VERIFIERS)
            raise UserError(f"{problem.id}: field 'domain' is {problem.domain!r}, which no verifier knows; use {known}")
        return VERIFIERS[problem.domain]

    def _ask(
        self,
        asked: Asked,
        part: str,
        verifier: Verifier,
        problem: Problem,
        task: bytes,
        response: bytes,
    ) -> None:
        """Sends one part of a completion to the supervisor, as soon as there is room for it."""
        size = len(task) + len(response)
        with self._room:
            while self._is_full(size):
                self._room.wait()
            if self._ended:
                raise RuntimeError("the verification pool is closed, or its supervisor has died")
            number = next(self._numbers)
            self._pending[number] = Pending(asked, part, size)
            self._pending_bytes += size
        order = Order(
            number,
            problem.domain if part == OURS else part,
            world=verifier.world,
            deadline_s=verifier.deadline_s(problem, self._settings),
            second_timeout=verifier.second_timeout,
            failure=verifier.failure,
            warm=verifier.warm,
        )
        try:
            with self._send_lock:
                self._conn.send_bytes(pack(order, task, response))
        except OSError as error:
            self._give_up()
            raise RuntimeError("the verification pool's supervisor has died") from error

    def _is_full(self, size: int) -> bool:
        if self._ended or not self._pending:
            return False
        return len(self._pending) >= MAX_PENDING or self._pending_bytes + size > MAX_PENDING_BYTES

    def stats(self) -> dict[str, float]:
        """Counts of completions since the start: judged, unjudged, retried after a failure of ours, rerun alone because
        close to a limit of time, flipped by that; and busy_seconds (the checks' own wall time, summed over workers)."""
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
        shutil.rmtree(self._settings.folder, ignore_errors=True)

    def _read(self) -> None:
        try:
            while True:
                self._hear(json.loads(self._conn.recv_bytes()))
        except (EOFError, OSError):
            pass
        except Exception:
            log.exception("the verification pool cannot read what its supervisor says; it gives up")
        finally:
            self._give_up()

    def _hear(self, message: dict[str, Any]) -> None:
        if "notice" in message:
            if self._is_news(message["notice"]):
                log.warning(message["notice"])
        elif "loaded" in message:
            self._end_loading(None)
        elif "refused" in message:
            self._end_loading(UserError(message["refused"]))
        else:
            self._resolve(message)

    def _end_loading(self, error: Exception | None) -> None:
        """Lets the constructor go on, or fail; what comes after the first time says nothing new."""
        with contextlib.suppress(InvalidStateError):
            if error is None:
                self._loaded.set_result(None)
            else:
                self._loaded.set_exception(error)

    def _is_news(self, text: str) -> bool:
        news = text not in self._said
        self._said.add(text)
        return news

    def _resolve(self, message: dict[str, Any]) -> None:
        """Adds a part's verdict to its completion, whose future resolves with the last part."""
        with self._lock:
            pending = self._pending.get(message["number"])
            if pending is None:
                return
            asked = pending.asked
            verdict = None
            if "fatal" not in message:
                asked.add(pending.part, message)
                verdict = asked.verdict()
            # Not before: whatever fails above leaves it to `_give_up`.
            del self._pending[message["number"]]
            self._pending_bytes -= pending.size
            self._room.notify()
            if asked.resolved:  # another part was refused
                return
            if verdict is not None:
                self._count(asked, verdict)
            asked.resolved = "fatal" in message or verdict is not None
        if "fatal" in message:
            asked.future.set_exception(UserError(message["fatal"]))
            return
        if message["verdict"] == "unjudged":
            self._log_unjudged(asked, message["reason"], message["detail"])
        if verdict is not None:
            asked.future.set_result(verdict)

    def _count(self, asked: Asked, verdict: Verdict) -> None:
        self._stats["unjudged" if verdict.verdict == "unjudged" else "judged"] += 1
        self._stats["busy_seconds"] += verdict.seconds
        for name in asked.told:
            self._stats[name] += 1

    def _log_unjudged(self, asked: Asked, reason: str, detail: str) -> None:
        """A failure of ours is logged each time, one of a reward's once a kind: it may be that of every completion."""
        if reason == "infra" or self._is_news(reason):
            log.warning("%s sample %d is unjudged (%s): %s", asked.problem_id, asked.sample, reason, detail)

    def _give_up(self) -> None:
        waiting = []
        with self._lock:
            self._ended = True
            for pending in self._pending.values():
                if not pending.asked.resolved:
                    pending.asked.resolved = True
                    waiting.append(pending.asked)
            self._pending = {}
            self._stats["unjudged"] += len(waiting)
            self._room.notify_all()
        self._end_loading(RuntimeError("the verification pool's supervisor has died"))
        for asked in waiting:
            asked.future.set_result(asked.failed())


def _finite(weights: Mapping[str, float] | None) -> dict[str, float] | None:
    """The weights as finite numbers. Raises UserError where one is something else."""
    if weights is None:
        return None
    found = {}
    for name, weight in weights.items():
        try:
            found[name] = float(weight)
        except (TypeError, ValueError, OverflowError):
            found[name] = math.nan
        if not math.isfinite(found[name]):
            raise UserError(f"weight of {name!r} is {reprlib.repr(weight)}; give a finite number")
    return found


def _bare_environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    root = str(Path(__file__).parents[2])
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


def _users_world() -> bytes:
    """What the workers of a user's rewards are to see: this process's environment, and where it finds modules.

    The working directory comes first: that is where a user's module is looked for.
    """
    path = [os.getcwd(), *filter(None, sys.path)]
    return json.dumps({"environment": dict(os.environ), "path": path}).encode()


def open_pool(config: Verification, workers: int | None = None, rewards: Sequence[str] = ()) -> VerificationPool:
    """The pool that a configuration asks for, with as many workers as it says or as there are processors.

    Raises UserError where a reward cannot be loaded.
    """
    return VerificationPool(
        workers or config.workers or os.cpu_count() or 1,
        rewards=rewards,
        require_think_end=config.require_think_end,
        time_limit_s=config.time_limit_s,
        memory_limit_mb=config.memory_limit_mb,
        reward_deadline_s=config.reward_deadline_s,
        unsafe=config.unsafe,
    )
