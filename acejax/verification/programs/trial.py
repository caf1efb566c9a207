"""One test of a program seen from outside: what it is given, what it prints, its clocks, its memory and its end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from dataclasses import dataclass

from acejax.verification.programs import confine
from acejax.verification.programs.runner import BEGUN, ENDED, OUTPUT_CAP, TEST

BEGIN_BOUND_S = 60.0  # until a child of the keeper runs
SLACK_S = 15.0  # from killing a test until the keeper says that it is dead: generous, since machines are shared
CLOSE_SHARE = 0.2  # within this share of its CPU limit a test is a close call
STARVED_SHARE = 0.1  # a test that the wall limit ends after this share of its CPU limit may have lacked a processor
WARM_BYTES = 64 << 20  # what the warm interpreter itself may hold, shared by all processes of a test
FIRST_LOOK_S = 0.05  # most tests are over before it is worth asking
LOOK_S = 0.1  # at most, between two looks at a test's clock and memory


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
    """One test's outcome. `status` is ok or a reason; `report` is the JSON text of a function's result; `cpu` is in
    seconds.

    `close_call`: so close to a limit of time that the same program might fare otherwise on a quieter machine.
    """

    __test__ = False

    status: str
    stdout: str
    report: str
    cpu: float
    close_call: bool = False


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
        # A close call can be told from a hopeless case only by going on for a while.
        self.cpu_cap = limits.cpu_s if limits.strict else (1 + CLOSE_SHARE) * limits.cpu_s
        self.child: int | None = None  # pidfd
        self.pid = 0
        self.began = time.monotonic()
        self.ended_at: float | None = None
        self.reason = ""  # why the test was ended from here

    def run(self, given: bytes) -> TestResult:
        """`given` is what a whole program finds on standard input, and a function's arguments. Raises InfraError."""
        stdin = memory_file("stdin", given)
        out, out_write = os.pipe()
        report, report_write = os.pipe()
        texts = {out: bytearray(), report: bytearray()}
        try:
            self.hand_over(stdin, out_write, report_write)
            status, cpu = self.read_until_dead(texts)
            for handle, text in texts.items():
                _read_rest(handle, text)
        except OSError as error:
            raise InfraError(f"the program's keeper is gone: {error!r}") from error
        finally:
            os.close(out)
            os.close(report)
            if self.child is not None:
                os.close(self.child)
        return self.result(status, cpu, texts[out], texts[report])

    def hand_over(self, stdin: int, stdout: int, report: int) -> None:
        """Gives the child's ends to the keeper, which starts the test; here they are closed."""
        try:
            os.fchmod(stdout, 0o666)  # so that another user's process can open /dev/stdout
            # The kernel's own limit stands behind ours, in whole seconds.
            socket.send_fds(self.wire, [TEST.pack(int(self.cpu_cap) + 2)], [stdin, stdout, report])
        finally:
            for handle in (stdin, stdout, report):
                os.close(handle)

    def read_until_dead(self, texts: dict[int, bytearray]) -> tuple[int, float]:
        """Collects what the child writes, by descriptor, until it is dead. Returns its wait status and CPU seconds."""
        keeper = self.wire.fileno()
        poller = select.poll()
        for handle in (keeper, *texts):
            poller.register(handle, select.POLLIN)
        pause = min(LOOK_S, self.cpu_cap)
        while True:
            for handle, event in poller.poll(1000 * pause + 1):
                if handle == keeper:
                    end = self.hear_keeper()
                    if end is not None:
                        return end
                elif event & select.POLLIN:
                    texts[handle] += os.read(handle, 1 << 16)
                    if len(texts[handle]) > OUTPUT_CAP:
                        self.end("wrong_output")
                else:
                    poller.unregister(handle)
            pause = self.enforce_limits()

    def hear_keeper(self) -> tuple[int, float] | None:
        """The wait status and CPU seconds of a test that is dead; None of one that begins."""
        message, handles, _, _ = socket.recv_fds(self.wire, 64, 1)
        if len(message) == ENDED.size:
            status, user, system = ENDED.unpack(message)
            return status, user + system
        if message != BEGUN:
            raise InfraError("the program's keeper has died")
        self.child, self.began = handles[0], time.monotonic()
        return None

    def enforce_limits(self) -> float:
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
        if passed < min(FIRST_LOOK_S, self.cpu_cap):
            return min(LOOK_S, self.cpu_cap) - passed
        cpu = self.cpu_seconds()
        if cpu >= self.cpu_cap or passed >= self.limits.wall_s:
            self.end("timeout")
        elif self.too_much_memory():
            self.end("memory")
        return max(0.0, min(self.cpu_cap - cpu, self.limits.wall_s - passed, LOOK_S))

    def end(self, reason: str) -> None:
        if self.child is not None and self.ended_at is None:
            self.reason, self.ended_at = reason, time.monotonic()
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.child, signal.SIGKILL)

    def cpu_seconds(self) -> float:
        """CPU time of the child itself, without its children; 0 if it has just ended."""
        if self.pid <= 0:
            self.pid = _number_after("Pid:", f"/proc/self/fdinfo/{self.child}")
        if self.pid <= 0:
            return 0.0
        with contextlib.suppress(OSError):
            return time.clock_gettime((~self.pid << 3) | 2)  # see clock_getcpuclockid(3)
        return 0.0

    def too_much_memory(self) -> bool:
        """Whether several processes together hold more than one may; a single one is held by its own limit."""
        processes: set[int] = set()
        with contextlib.suppress(OSError, StopIteration, ValueError):
            processes = confine.descendants(_number_after("PPid:", f"/proc/{self.pid}/status"))
        if len(processes) <= 1:
            return False
        return sum(map(_memory, processes)) > (self.limits.memory_mb << 20) + WARM_BYTES

    def result(self, wait_status: int, cpu: float, stdout: bytearray, report: bytearray) -> TestResult:
        status = self.status(wait_status, cpu, report)
        return TestResult(
            status,
            stdout.decode("utf-8", "replace"),
            report.decode("utf-8", "replace"),
            cpu,
            not self.limits.strict and self.is_close_call(status, cpu),
        )

    def status(self, wait_status: int, cpu: float, report: bytearray) -> str:
        if self.reason:
            return self.reason
        if cpu > self.limits.cpu_s:
            return "timeout"
        if os.waitstatus_to_exitcode(wait_status) == 0:
            return "ok"
        if report in (b"memory", b"denied"):
            return report.decode("ascii")
        return "runtime_error"

    def is_close_call(self, status: str, cpu: float) -> bool:
        limit = self.limits.cpu_s
        if status == "timeout" and cpu < limit:  # so it was the wall limit
            return cpu > STARVED_SHARE * limit
        return abs(cpu - limit) <= CLOSE_SHARE * limit and cpu < (1 + CLOSE_SHARE) * limit


def _read_rest(handle: int, text: bytearray) -> None:
    """Appends what is left in a pipe, a little more than OUTPUT_CAP at most."""
    os.set_blocking(handle, False)
    with contextlib.suppress(BlockingIOError):
        while len(text) <= OUTPUT_CAP:
            chunk = os.read(handle, 1 << 20)
            if not chunk:
                return
            text += chunk


def _number_after(name: str, path: str) -> int:
    """The number on the first line of a file that begins with `name`. Raises StopIteration where there is none."""
    with open(path) as lines:
        return int(next(line for line in lines if line.startswith(name)).split()[1])


def _memory(pid: int) -> int:
    """Bytes that a process holds, each page it shares divided by its sharers."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        return _number_after("Pss:", f"/proc/{pid}/smaps_rollup") << 10
    return confine.resident_bytes(pid)
