"""One test of a program seen from outside: what it is given, what it prints, its clocks, its memory and its end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import time
from dataclasses import dataclass

from acejax.verification.programs import confine
from acejax.verification.programs.runner import ENDED, OUTPUT_CAP

BEGIN_BOUND_S = 60.0  # until a child of the keeper runs
SLACK_S = 15.0  # from killing a test until the keeper says that it is dead: generous, since machines are shared
NEAR = 0.2  # within this share of its CPU limit a test is a close call
STARVED = 0.1  # a test that the wall limit ends after this share of its CPU limit may have lacked a processor
WARM_BYTES = 64 << 20  # what the warm interpreter itself may hold, shared by all processes of a test
CLOSED = select.POLLHUP | select.POLLERR | select.POLLNVAL


class InfraError(Exception):
    """The sandbox failed, not the program."""


@dataclass(frozen=True)
class Limits:
    """What one test may use: `cpu_s` seconds of CPU, `wall_s` seconds, `memory_mb` MiB. `strict`: no close calls."""

    cpu_s: float
    wall_s: float
    memory_mb: int
    strict: bool = False


@dataclass(frozen=True)
class TestResult:
    """One test's outcome. `status` is ok or a reason; `report` is the JSON text of a function's result; times in
    seconds.

    `near`: so close to a limit of time that the same program might fare otherwise on a quieter machine.
    """

    __test__ = False

    status: str
    stdout: str
    report: str
    cpu: float
    wall: float
    near: bool = False


def memory_file(name: str, content: bytes) -> int:
    """A descriptor of a file that exists in memory only, at its beginning."""
    handle = os.memfd_create(name)
    rest = memoryview(content)
    while rest:
        rest = rest[os.pwrite(handle, rest, len(content) - len(rest)) :]
    return handle


class Trial:
    """Runs one test: hands descriptors to the keeper behind `wire`, reads what the child writes, and ends it in
    time.
    """

    def __init__(self, wire: socket.socket, limits: Limits) -> None:
        self.wire, self.limits = wire, limits
        self.child: int | None = None  # pidfd
        self.pid = 0
        self.began = time.monotonic()
        self.ended_at: float | None = None
        self.verdict = ""  # why the test was ended from here

    def run(self, given: bytes) -> TestResult:
        """`given` is what a whole program finds on standard input, and a function's arguments. Raises InfraError."""
        cap = self.limits.cpu_s if self.limits.strict else (1 + NEAR) * self.limits.cpu_s
        stdin = memory_file("stdin", given)
        (out, out_write), (report, report_write) = os.pipe(), os.pipe()
        texts = {out: bytearray(), report: bytearray()}
        try:
            os.fchmod(out_write, 0o666)  # so that another user's process can open /dev/stdout
            try:
                socket.send_fds(self.wire, [struct.pack("i", int(cap) + 2)], [stdin, out_write, report_write])
            finally:
                for handle in (stdin, out_write, report_write):
                    os.close(handle)
            status, cpu = self.watch(texts, cap)
            for handle, text in texts.items():
                os.set_blocking(handle, False)
                with contextlib.suppress(BlockingIOError):
                    while len(text) <= OUTPUT_CAP and (chunk := os.read(handle, 1 << 20)):
                        text += chunk
        except OSError as error:
            raise InfraError(f"the program's keeper is gone: {error!r}") from error
        finally:
            os.close(out)
            os.close(report)
            if self.child is not None:
                os.close(self.child)
        return self.result(status, cpu, texts[out], texts[report])

    def watch(self, texts: dict[int, bytearray], cap: float) -> tuple[int, float]:
        """Collects what the child writes until it is dead. Returns its wait status and CPU seconds."""
        keeper = self.wire.fileno()
        poller = select.poll()
        for handle in (keeper, *texts):
            poller.register(handle, select.POLLIN)
        pause = min(0.1, cap)
        while True:
            for handle, event in poller.poll(1000 * pause + 1):
                if handle == keeper:
                    message, handles, _, _ = socket.recv_fds(self.wire, 64, 1)
                    if len(message) == ENDED.size:
                        status, user, system = ENDED.unpack(message)
                        return status, user + system
                    if message != b"begun":
                        raise InfraError("the program's keeper has died")
                    self.child, self.began = handles[0], time.monotonic()
                elif event & select.POLLIN:
                    texts[handle] += os.read(handle, 1 << 16)
                    if len(texts[handle]) > OUTPUT_CAP:
                        self.end("wrong_output")
                else:
                    poller.unregister(handle)
            pause = self.check(cap)

    def check(self, cap: float) -> float:
        """Ends the test if it is past a limit. Returns the seconds until the next look at it."""
        passed = time.monotonic() - self.began
        if self.child is None:
            if passed > BEGIN_BOUND_S:
                raise InfraError(f"the sandbox's keeper started nothing within {BEGIN_BOUND_S:.0f} s")
            return BEGIN_BOUND_S - passed
        if self.ended_at is not None:
            left = self.ended_at + SLACK_S - time.monotonic()
            if left < 0:
                raise InfraError(f"a test was not dead {SLACK_S:.0f} s after its end")
            return left
        if passed < min(0.05, cap):  # most tests are over before it is worth asking
            return min(0.1, cap) - passed
        cpu = self.cpu_seconds()
        if cpu >= cap or passed >= self.limits.wall_s:
            self.end("timeout")
        elif self.too_much_memory():
            self.end("memory")
        return max(0.0, min(cap - cpu, self.limits.wall_s - passed, 0.1))

    def end(self, verdict: str) -> None:
        if self.child is not None and self.ended_at is None:
            self.verdict, self.ended_at = verdict, time.monotonic()
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.child, signal.SIGKILL)

    def cpu_seconds(self) -> float:
        """CPU time of the child itself, without its children; 0 if it has just ended."""
        if self.pid <= 0:
            with open(f"/proc/self/fdinfo/{self.child}") as lines:
                self.pid = int(next(line for line in lines if line.startswith("Pid:")).split()[1])
        with contextlib.suppress(OSError):
            return time.clock_gettime((~self.pid << 3) | 2) if self.pid > 0 else 0.0  # see clock_getcpuclockid(3)
        return 0.0

    def too_much_memory(self) -> bool:
        """Whether several processes together hold more than one may; a single one is held by its own limit."""
        processes: set[int] = set()
        with contextlib.suppress(OSError, StopIteration, ValueError), open(f"/proc/{self.pid}/status") as lines:
            processes = confine.descendants(int(next(line for line in lines if line.startswith("PPid:")).split()[1]))
        return len(processes) > 1 and sum(map(_memory, processes)) > (self.limits.memory_mb << 20) + WARM_BYTES

    def result(self, status: int, cpu: float, stdout: bytearray, report: bytearray) -> TestResult:
        limit, code = self.limits.cpu_s, os.waitstatus_to_exitcode(status)
        verdict = self.verdict
        if verdict == "":
            if cpu > limit:
                verdict = "timeout"
            elif code == 0:
                verdict = "ok"
            else:
                verdict = report.decode("ascii", "replace") if report in (b"memory", b"denied") else "runtime_error"
        wall = time.monotonic() - self.began
        near = abs(cpu - limit) <= NEAR * limit if cpu < (1 + NEAR) * limit else False
        if verdict == "timeout" and cpu < limit:
            near = cpu > STARVED * limit
        near = near and not self.limits.strict
        return TestResult(
            verdict, stdout.decode("utf-8", "replace"), report.decode("utf-8", "replace"), cpu, wall, near
        )


def _memory(pid: int) -> int:
    """Bytes that a process holds, each page it shares divided by its sharers."""
    with contextlib.suppress(OSError, StopIteration, ValueError), open(f"/proc/{pid}/smaps_rollup") as lines:
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) << 10
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/statm") as line:
        return int(line.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    return 0
