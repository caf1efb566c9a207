"""Where programs run: a warm runner behind bubblewrap, or behind resource limits and Landlock where bubblewrap cannot
run.

One Sandbox belongs to one worker. It starts its runner on first use, talks to it over a socket, and kills it when it
does not answer within its bound: that is the sandbox's failure, an InfraError, never a verdict on the program.
"""

from __future__ import annotations

import marshal
import os
import select
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any

from acejax.defaults import MEMORY_LIMIT_MB, TIME_LIMIT_S
from acejax.verification.programs.launch import behind_bubblewrap, behind_limits
from acejax.verification.programs.runner import OPEN, READY
from acejax.verification.programs.trial import SLACK_S, InfraError, Limits, TestResult, Trial, memory_file
from acejax.verification.verifier import WALL_FACTOR, Backend

START_BOUND_S = 60.0
CLOSE_BOUND_S = 60.0  # from a program's last test until its processes and files are gone

FALLBACK_NOTICE = (
    "bubblewrap is missing or may not make namespaces here, so programs run behind resource limits only; "
    "mend it with: apt-get install bubblewrap"
)

# Each line prints the name of something that got out. Connecting a datagram socket sends nothing: it asks for a route.
PROBES = """
import os, socket, sys
folder, worker = input(), int(input())
def probe(name, action):
    try:
        if action() is not False:
            print(name)
    except OSError:
        pass
def route():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 9))
probe("network", route)
probe("write outside its folder", lambda: open(folder + "/written", "w"))
probe("read outside its folder", lambda: open(folder + "/secret").read())
probe("signals to other processes", lambda: os.kill(worker, 0))
probe("environment", lambda: "ACEJAX_SECRET" in os.environ)
print("done")
"""


class Program:
    """A program in a sandbox: run it on one input after another, inside `with`; on leaving, all its processes are dead.

    `close_call` tells whether any test was one.
    """

    def __init__(self, sandbox: Sandbox, request: dict[str, Any], limits: Limits) -> None:
        self._sandbox, self._limits, self._request = sandbox, limits, request
        self._channel: socket.socket | None = None
        self.close_call = False

    def __enter__(self) -> Program:
        self._channel = self._sandbox._open(self._request, self._limits)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._channel is not None
        self._channel.close()
        self._sandbox._wait_closed()

    def run(self, test: Mapping[str, Any]) -> TestResult:
        """`test` is {"input": str} for a whole program, {"args": [...], "kwargs": {...}} for a function.

        Raises InfraError.
        """
        assert self._channel is not None
        if self._request["kind"] == "function":
            given = marshal.dumps(dict(test))
        else:
            given = test["input"].encode("utf-8", "replace")
        try:
            result = Trial(self._channel, self._limits).run(given)
        except InfraError:
            self._sandbox.close()
            raise
        self.close_call = self.close_call or result.close_call
        return result


class Sandbox:
    """Runs programs apart from the host.

    `backend` None chooses bubblewrap where it works. `time_limit_s` (CPU seconds per test; wall time may be three times
    that) and `memory_limit_mb` (MiB beyond the warm interpreter) hold where a problem states none.
    """

    def __init__(
        self, backend: Backend | None = None, time_limit_s: float = TIME_LIMIT_S, memory_limit_mb: int = MEMORY_LIMIT_MB
    ) -> None:
        self.backend: Backend | None = backend
        self.time_limit_s, self.memory_limit_mb = time_limit_s, memory_limit_mb
        self.notice: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: socket.socket | None = None
        self._first: int | None = None  # pidfd of the first process in bubblewrap's namespace
        self._scratch: str | None = None
        self._guarded = False  # the runner stands under a guard of its own, who cleans up when told to end

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def program(
        self,
        source: str,
        kind: str = "stdin",
        *,
        fn_name: str | None = None,
        script: str | None = None,
        types: Mapping[str, Any] | None = None,
        time_limit_s: float | None = None,
        memory_limit_mb: int | None = None,
        strict: bool = False,
    ) -> Program:
        """A program of kind "stdin", "function" or "script". After each test all its processes are dead.

        `script` is the test program of the last kind, `fn_name` what it tests.

        `strict`: a test is ended at its CPU limit and never a close call; else it may use a fifth more, to see how
        close it is.
        """
        cpu_s = time_limit_s or self.time_limit_s
        limits = Limits(cpu_s, WALL_FACTOR * cpu_s, int(memory_limit_mb or self.memory_limit_mb), strict)
        request = {"source": source, "kind": kind, "fn_name": fn_name, "script": script, "types": types}
        return Program(self, request, limits)

    def _open(self, request: dict[str, Any], limits: Limits) -> socket.socket:
        """Has the runner fork a keeper for a program. Returns the channel to it."""
        self.start()
        assert self._wire is not None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        handle = memory_file("program", marshal.dumps(request))
        try:
            wants_numpy = "numpy" in request["source"] or "numpy" in (request["script"] or "")
            message = OPEN.pack(wants_numpy, limits.memory_mb)
            socket.send_fds(self._wire, [message], [theirs.fileno(), handle])
        except OSError as error:
            ours.close()
            self.close()
            raise InfraError(f"the sandbox's runner is gone: {error}") from error
        finally:
            theirs.close()
            os.close(handle)
        return ours

    def _wait_closed(self) -> None:
        """Waits until the keeper, and with it all of its namespaces, is dead."""
        if self._wire is None:  # closed already: nothing is left
            return
        try:
            self._wire.settimeout(CLOSE_BOUND_S)
            status = self._wire.recv(64)
            self._wire.settimeout(None)
        except OSError as error:
            self.close()
            raise InfraError(f"a program's keeper does not end: {error!r}") from error
        if status != b"0":
            self.close()
            raise InfraError(f"a program's keeper ended with wait status {status!r}")

    def start(self) -> None:
        """Starts the runner if none runs. Raises InfraError if no backend starts."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        if self.backend is not None:
            self._start(self.backend)
            return
        if shutil.which("bwrap"):
            try:
                self._start("bubblewrap")
                self.backend = "bubblewrap"
                return
            except InfraError:
                self.close()
        self.notice = FALLBACK_NOTICE
        self._start("rlimits")
        self.backend = "rlimits"

    def self_test(self) -> list[str]:
        """Runs hostile probes; returns what got out (empty if nothing did). Raises InfraError if not even they run."""
        folder = tempfile.mkdtemp(prefix="acejax-probe-")
        try:
            os.chmod(folder, 0o777)
            with open(f"{folder}/secret", "w") as file:
                file.write("secret")
            with self.program(PROBES, time_limit_s=10) as program:
                result = program.run({"input": f"{folder}\n{os.getpid()}\n"})
            if result.status != "ok" or not result.stdout.endswith("done\n"):
                raise InfraError(f"the sandbox's self-test ended with {result.status}")
            return result.stdout.splitlines()[:-1]
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Kills the runner and waits until everything in the sandbox is dead."""
        if self._process is not None:
            self._end_process(self._process)
            self._process = None
        if self._first is not None:
            select.select([self._first], [], [], SLACK_S)  # bubblewrap ends before its namespace does
            os.close(self._first)
            self._first = None
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _end_process(self, process: subprocess.Popen[bytes]) -> None:
        if self._guarded:
            process.terminate()
        else:
            process.kill()
        try:
            process.wait(SLACK_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr:
            process.stderr.close()

    def _start(self, backend: Backend) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._guarded = backend == "rlimits"
        if backend == "bubblewrap":
            launch = behind_bubblewrap(theirs.fileno())
        else:
            self._scratch = tempfile.mkdtemp(prefix="acejax-sandbox-")
            launch = behind_limits(theirs.fileno(), self._scratch)
        self._process = subprocess.Popen(
            launch.command,
            env=launch.environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self._wire = ours
        try:
            self._first = _wait_ready(ours)
        except OSError as error:
            self._process.terminate()
            said = self._process.stderr.read().decode(errors="replace").strip() if self._process.stderr else ""
            self.close()
            why = said.splitlines()[-1] if said else repr(error)
            raise InfraError(f"the {backend} sandbox does not start: {why}") from error


def _wait_ready(wire: socket.socket) -> int | None:
    """Waits for a runner. Returns the pidfd of the first process in its namespace, None where it has none. Raises
    OSError.
    """
    wire.settimeout(START_BOUND_S)
    message, handles, _, _ = socket.recv_fds(wire, 64, 1)
    if message != READY:
        raise ConnectionError("the runner has ended")
    wire.settimeout(None)
    return handles[0] if handles else None
