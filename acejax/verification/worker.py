"""One worker of the verification pool: takes a task, judges it, answers; one at a time, in one thread.

Run as a module by the supervisor, with the descriptor of its socket and the pool's settings as JSON. It imports neither
JAX nor numpy, and the mathematics parser and the sandbox only with the first task that needs them.

A task arrives as HEADER, the problem as JSON and the response. The worker answers {"begin"} once what it needs is
loaded, so that the deadline covers the check alone, then one of {"verdict", "reason", "seconds"}, {"infra": detail}
when the verifier failed, and {"fatal": text} when no program may run here. A verdict that hangs on the machine's mood
has "near" besides. {"notice": text} is for the person who reads the log. A task of kind WARM is to get ready for
programs; {"ready"} answers it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import signal
import struct
import sys
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from acejax.problems.problem import Problem
from acejax.verification.programs import confine

if TYPE_CHECKING:
    from acejax.verification.programs.sandbox import Sandbox

HEADER = struct.Struct("!QBdI")  # task number, kind, deadline in seconds, bytes of the problem
MATH, CODE, CODE_ALONE, WARM = range(4)  # CODE_ALONE: with the whole machine to itself, and judged strictly
MEMO_SIZE = 1024  # verdicts kept, by problem and extracted answer: the answers of a group repeat
MEMORY_BYTES = 4 << 30


class UnsafeSandbox(Exception):
    """The sandbox lets something out; no program may run in it."""


class Worker:
    def __init__(self, conn: Connection, settings: dict[str, Any]) -> None:
        self.conn, self.settings = conn, settings
        self.sandbox: Sandbox | None = None
        self.math_ready = False
        self.memo: dict[tuple[bytes, str], tuple[str, str]] = {}

    def send(self, message: dict[str, Any]) -> None:
        self.conn.send_bytes(json.dumps(message).encode())

    def serve(self) -> None:
        self.send({"ready": True})
        while True:
            try:
                frame = self.conn.recv_bytes()
            except EOFError:
                return
            _, kind, _, size = HEADER.unpack_from(frame)
            try:
                if kind == WARM:
                    with contextlib.suppress(Exception):  # a task will meet the same fault, and tell
                        self.open_sandbox()
                    self.send({"ready": True})
                    continue
                text, response = frame[HEADER.size : HEADER.size + size], frame[HEADER.size + size :].decode()
                self.send((self.judge_math if kind == MATH else self.judge_code)(text, response, kind == CODE_ALONE))
            except UnsafeSandbox as error:
                self.send({"fatal": str(error)})
            except Exception as error:  # whatever went wrong is ours: a fresh worker tries again
                self.send({"infra": f"{type(error).__name__}: {error}"[:500]})

    def judge_math(self, text: bytes, response: str, _: bool) -> dict[str, Any]:
        from acejax.verification.math.judge import extract_boxed, judge_answer

        if not self.math_ready:
            judge_answer(r"\sqrt{12}", [r"2\sqrt{3}"])  # loads what a symbolic check needs
            self.math_ready = True
        self.send({"begin": True})
        began = time.monotonic()
        answer, reason = extract_boxed(response, self.settings["require_think_end"])
        if answer is None:
            return {"verdict": "wrong", "reason": reason, "seconds": time.monotonic() - began}
        key = (hashlib.sha256(text).digest(), answer)
        if key not in self.memo:
            self.remember(key, judge_answer(answer, json.loads(text)["answer"]))
        verdict, reason = self.memo[key]
        return {"verdict": verdict, "reason": reason, "seconds": time.monotonic() - began}

    def judge_code(self, text: bytes, response: str, alone: bool) -> dict[str, Any]:
        from acejax.verification.programs.judge import extract_code, judge_program

        sandbox = self.open_sandbox()
        self.send({"begin": True})
        began = time.monotonic()
        source, reason = extract_code(response, self.settings["require_think_end"])
        if source is None:
            return {"verdict": "wrong", "reason": reason, "seconds": time.monotonic() - began}
        key, near = (hashlib.sha256(text).digest(), source), False
        if key in self.memo and not alone:
            verdict, reason = self.memo[key]
        else:
            verdict, reason, near = judge_program(
                source, Problem(domain="code", prompt="", **json.loads(text)), sandbox, alone
            )
            if not near:
                self.remember(key, (verdict, reason))
        return {"verdict": verdict, "reason": reason, "near": near, "seconds": time.monotonic() - began}

    def remember(self, key: tuple[bytes, str], verdict: tuple[str, str]) -> None:
        if len(self.memo) >= MEMO_SIZE:
            del self.memo[next(iter(self.memo))]
        self.memo[key] = verdict

    def open_sandbox(self) -> Sandbox:
        """The worker's sandbox, started and tested with its first program. What the test finds stops the pool, unless
        unsafe.
        """
        if self.sandbox is None:
            from acejax.verification.programs.sandbox import Sandbox

            sandbox = Sandbox(self.settings["backend"], self.settings["time_limit_s"], self.settings["memory_limit_mb"])
            leaks = sandbox.self_test()
            if sandbox.notice:
                self.send({"notice": sandbox.notice})
            if leaks and not self.settings["unsafe"]:
                found = ", ".join(leaks)
                raise UnsafeSandbox(
                    f"the {sandbox.backend} sandbox does not hold here ({found}): apt-get install bubblewrap, or unsafe: true"
                )
            self.sandbox = sandbox
        return self.sandbox


def main() -> None:
    # The supervisor's end takes us along; no debugger, and no program under our user id, may read our memory.
    confine.libc.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    confine.libc.prctl(confine.PR_SET_DUMPABLE, 0, 0, 0, 0)
    handle, parent, settings = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(
        resource.RLIMIT_AS, (MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(hard, MEMORY_BYTES), hard)
    )
    Worker(Connection(handle), settings).serve()


if __name__ == "__main__":
    main()
