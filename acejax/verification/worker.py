"""One worker of the verification pool: takes a task, judges it, answers; one at a time, in one thread.

Run as a module by the supervisor, with the descriptor of its socket, the supervisor's pid, its world (verifier.py) and
the pool's settings as JSON. It imports neither JAX nor numpy, and a verifier only with the first task that needs it.

A worker of world "user" first receives the trainer's environment and module path, then loads all of the user's rewards
and says {"loading": name} before each. The environment comes through the socket when nobody can read this process any
more: the command line and the environment that a process starts with are open to others.

The worker says {"ready"} when it can take tasks, or {"fatal": text} when it never can. It answers a task with {"begin"}
once the verifier is loaded, so that the deadline covers the check alone, then with one of {"verdict", "reason",
"score", "close_call", "detail", "seconds"}, {"infra": detail} when the verifier failed, and {"fatal": text} when
somebody must mend something first; each holds the order's "number". {"notice": text} is for the person who reads the
log. An order to load and no more is answered by {"ready"}.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import signal
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

from acejax.errors import UserError
from acejax.verification.programs import confine
from acejax.verification.verifier import Finding, Judge, Settings
from acejax.verification.verifiers import verifier_named
from acejax.verification.wire import Order, contents_of, order_of

MEMO_SIZE = 1024  # findings kept, by task and extracted answer: the answers of a group repeat
MEMORY_BYTES = 4 << 30


class Worker:
    def __init__(self, conn: Connection, settings: Settings) -> None:
        self.conn = conn
        self.settings = settings
        self.judges: dict[str, Judge] = {}
        self.memo: dict[tuple[str, bytes, str], Finding] = {}

    def send(self, message: dict[str, Any]) -> None:
        self.conn.send_bytes(json.dumps(message).encode())

    def load_rewards(self) -> None:
        """Loads all of the user's rewards: what is wrong with one shows before the first task."""
        for name in self.settings.rewards:
            self.send({"loading": name})
            self.load(name)

    def serve(self) -> None:
        self.send({"ready": True})
        while True:
            try:
                frame = self.conn.recv_bytes()
            except EOFError:
                return
            self.send(self.answer(frame))

    def answer(self, frame: bytes) -> dict[str, Any]:
        order = order_of(frame)
        if order.load_only:
            with contextlib.suppress(Exception):  # a task will meet the same fault, and tell
                self.load(order.verifier)
            return {"ready": True}
        return self.result(order, frame) | {"number": order.number}

    def result(self, order: Order, frame: bytes) -> dict[str, Any]:
        try:
            judge = self.load(order.verifier)
        except UserError as error:
            return {"fatal": str(error)}
        except Exception as error:
            return _infra(error)
        self.send({"begin": True, "number": order.number})
        began = time.monotonic()
        try:
            task, response = contents_of(frame)
            finding = self.judge(judge, order.verifier, task, response.decode(), order.alone)
        except Exception as error:
            return _infra(error)
        return vars(finding) | {"seconds": time.monotonic() - began}

    def load(self, name: str) -> Judge:
        if name not in self.judges:
            load = verifier_named(name).load
            self.judges[name] = load(self.settings, lambda text: self.send({"notice": text}))
        return self.judges[name]

    def judge(self, judge: Judge, name: str, task: bytes, response: str, alone: bool) -> Finding:
        answer, reason = judge.extract(response)
        if answer is None:
            return Finding("wrong", reason)
        if not verifier_named(name).remembers:
            return judge.judge(json.loads(task), answer, alone)
        key = (name, hashlib.sha256(task).digest(), answer)
        if key in self.memo and not alone:
            return self.memo[key]
        finding = judge.judge(json.loads(task), answer, alone)
        if not finding.close_call:
            self.remember(key, finding)
        return finding

    def remember(self, key: tuple[str, bytes, str], finding: Finding) -> None:
        if len(self.memo) >= MEMO_SIZE:
            del self.memo[next(iter(self.memo))]
        self.memo[key] = finding


def _infra(error: Exception) -> dict[str, Any]:
    """Whatever went wrong is ours: a fresh worker tries again."""
    return {"infra": f"{type(error).__name__}: {error}"[:500]}


def _enter_world(message: bytes) -> None:
    """Takes on the environment and the module path of the trainer."""
    world = json.loads(message)
    os.environ.clear()
    os.environ.update(world["environment"])
    time.tzset()
    sys.path[:] = world["path"]


def main() -> None:
    # The supervisor's end takes us along; no debugger, and no program under our user id, may read our memory.
    confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
    confine.prctl(confine.PR_SET_DUMPABLE, 0)
    handle, parent, world, settings = sys.argv[1:]
    if os.getppid() != int(parent):
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = Worker(Connection(int(handle)), Settings(**json.loads(settings)))
    # Neither what a reward starts nor what it forks may answer in our place, or keep the socket open after our end.
    os.set_inheritable(int(handle), False)
    os.register_at_fork(after_in_child=worker.conn.close)
    if world == "bare":
        resource.setrlimit(resource.RLIMIT_AS, confine.within_hard(resource.RLIMIT_AS, MEMORY_BYTES))
    else:
        _enter_world(worker.conn.recv_bytes())
        try:
            worker.load_rewards()
        except UserError as error:
            worker.send({"fatal": str(error)})
            return
    worker.serve()


if __name__ == "__main__":
    main()
