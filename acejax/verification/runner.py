"""The process inside the sandbox: a warm interpreter that forks one child per program and one more per test.

Run as a script by `sandbox.py` with one JSON argument of settings and a socket to the worker; beside `confine.py` it imports
the standard library only. The layers, from the outside in:

* the runner (warm, never runs a program's code) waits for requests and clones
* the keeper, one per program, pid 1 of fresh user, pid, mount and ipc namespaces. It talks to the worker itself and forks
* a test child, one per test, which alone runs what the policy wrote, under limits and a seccomp filter.

When the keeper ends the kernel kills all that lives in its namespaces. Where fresh namespaces are refused the keeper is an
ordinary child that stops, kills and reaps every descendant instead. Only inputs reach this process, never expected outputs.
"""

from __future__ import annotations

import bisect
import builtins
import collections
import contextlib
import fractions
import functools
import gc
import heapq
import itertools
import json
import math
import os
import random
import re
import resource
import select
import shutil
import signal
import site
import string
import struct
import sys
import time
import types
import typing

from acejax.verification import confine

OUTPUT_CAP = 8 << 20  # bytes of stdout or result kept per test
MAX_PROCESSES = 32
MAX_FILES = 128
STACK_BYTES = 100 << 20
RECURSION_LIMIT = 100_000
SCRATCH = "/tmp"


class Wire:
    """Length-prefixed JSON, as `multiprocessing.connection` frames it; that module itself would double the price of a fork."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def send(self, message: object) -> None:
        payload = json.dumps(message).encode()
        rest = memoryview(struct.pack("!i", len(payload)) + payload)
        while rest:
            rest = rest[os.write(self.handle, rest) :]

    def receive(self) -> typing.Any:
        (size,) = struct.unpack("!i", self._exactly(4))
        return json.loads(self._exactly(size))

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = os.read(self.handle, min(size - len(data), 1 << 20))
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)


class ListNode:
    def __init__(self, val=0, next=None):
        self.val, self.next = val, next


class TreeNode:
    def __init__(self, val=0, left=None, right=None):
        self.val, self.left, self.right = val, left, right


def build(value, kind):
    """A linked list or tree from its level list; any other kind is passed through."""
    if kind == "ListNode" and value is not None:
        head = None
        for item in reversed(value):
            head = ListNode(item, head)
        return head
    if kind == "TreeNode" and value is not None:
        items = iter(value)
        first = next(items, None)
        root = None if first is None else TreeNode(first)
        queue = collections.deque([root] if root else [])
        while queue:
            node = queue.popleft()
            for side in ("left", "right"):
                item = next(items, None)
                if item is not None:
                    setattr(node, side, TreeNode(item))
                    queue.append(getattr(node, side))
        return root
    return value


def flatten(value, kind):
    """The level list of a linked list or tree, without trailing empty places. A cycle ends by the test's limits."""
    if kind == "ListNode":
        items = []
        while value is not None:
            items.append(value.val)
            value = value.next
        return items
    if kind == "TreeNode":
        items, queue = [], collections.deque([value])
        while queue:
            node = queue.popleft()
            items.append(None if node is None else node.val)
            if node is not None:
                queue += (node.left, node.right)
        while items and items[-1] is None:
            items.pop()
        return items
    return value


def plain(value):
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a result of type {type(value).__name__}")


def prelude() -> dict:
    """The names that function tasks expect to find, as LeetCode and its like provide them. `math.pow` would hide the builtin."""
    names: dict = {}
    for module in (typing, collections, itertools, functools, heapq, bisect, string, math):
        names.update((name, getattr(module, name)) for name in getattr(module, "__all__", dir(module)) if not name.startswith("_"))
        names[module.__name__] = module
    del names["pow"]
    names |= {"re": re, "random": random, "sys": sys, "json": json, "fractions": fractions, "Fraction": fractions.Fraction}
    return names | {"time": time, "ListNode": ListNode, "TreeNode": TreeNode}


PRELUDE = prelude()


def report_error(report: int, error: BaseException) -> None:
    error.__traceback__ = None  # frees the frames: after a MemoryError little else can be done
    kind = b"memory" if isinstance(error, MemoryError) else b"denied" if isinstance(error, PermissionError) else b"runtime_error"
    os.write(report, kind)


def compile_source(source: str) -> types.CodeType:
    return compile(source, "main.py", "exec", dont_inherit=True)


def run_whole(source: str | types.CodeType, names: dict, report: int) -> typing.NoReturn:
    """Runs a program as the interpreter would: exit hooks, waiting for threads and the exit status included."""
    import atexit
    import threading

    module = types.ModuleType("__main__")
    module.__dict__.update(names, __file__="main.py", __builtins__=builtins)
    sys.modules["__main__"] = module
    sys.argv[:] = ["main.py"]
    leave, status = os._exit, 0
    try:
        exec(compile_source(source) if isinstance(source, str) else source, module.__dict__)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException as error:
        status = 1
        report_error(report, error)
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except BaseException:
        status = status or 120
    leave(status & 255)


def run_function(source: str | types.CodeType, request: dict, test: dict, report: int) -> typing.NoReturn:
    """Calls the function once and writes its result as JSON. The name is not `__main__`, so demonstrations do not run."""
    dumps, leave, write = json.dumps, os._exit, os.write
    kinds = request.get("types") or {}
    try:
        module = types.ModuleType("solution")
        sys.modules["solution"] = module
        module.__dict__.update(PRELUDE, __builtins__=builtins)
        exec(compile_source(source) if isinstance(source, str) else source, module.__dict__)
        name = request["fn_name"]
        solution: typing.Any = module.__dict__.get("Solution")
        target = getattr(solution(), name) if hasattr(solution, name) else module.__dict__[name]
        positions = itertools.chain(kinds.get("args") or (), itertools.repeat(None))
        args = [build(value, kind) for value, kind in zip(test.get("args") or (), positions, strict=False)]
        by_name = kinds.get("kwargs") or {}
        kwargs = {key: build(value, by_name.get(key)) for key, value in (test.get("kwargs") or {}).items()}
        payload = dumps(flatten(target(*args, **kwargs), kinds.get("output")), default=plain).encode()
    except BaseException as error:
        report_error(report, error)
        leave(1)
    while payload:
        payload = payload[write(report, payload) :]
    leave(0)


class Keeper:
    """One program: compiled once, then one child per test, each under the same limits."""

    def __init__(self, request: dict, fresh: bool, seccomp: bytes | None, nproc: int | None) -> None:
        self.request, self.fresh, self.seccomp, self.nproc = request, fresh, seccomp, nproc
        self.cpu_s: float = request["time_limit_s"]
        self.wall_s = 3 * self.cpu_s
        with open("/proc/self/statm") as statm:
            self.address_space = int(statm.read().split()[0]) * resource.getpagesize() + (request["memory_limit_mb"] << 20)

    def confine(self, stdin: int, stdout: int, report: int) -> int:
        """Turns the fresh fork into a test child. Returns its report descriptor; no other descriptor of ours survives."""
        confine.libc.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        confine.libc.prctl(confine.PR_SET_DUMPABLE, 1, 0, 0, 0)  # so that /dev/stdin opens
        if not self.fresh:
            os.setsid()
        null = os.open("/dev/null", os.O_WRONLY)
        high = os.dup2(report, 100)
        for number, handle in enumerate((stdin, stdout, null)):
            os.dup2(handle, number)
        os.closerange(3, high)
        os.closerange(high + 1, 1024)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        seconds = math.ceil(self.cpu_s) + 1
        limits = {
            resource.RLIMIT_AS: self.address_space,
            resource.RLIMIT_CPU: seconds,
            resource.RLIMIT_FSIZE: OUTPUT_CAP,
            resource.RLIMIT_NOFILE: MAX_FILES,
            resource.RLIMIT_CORE: 0,
        }
        if self.nproc is not None:
            limits[resource.RLIMIT_NPROC] = self.nproc
        hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
        stack = STACK_BYTES if hard == resource.RLIM_INFINITY else min(hard, STACK_BYTES)
        resource.setrlimit(resource.RLIMIT_STACK, (stack, hard))
        for which, value in limits.items():
            resource.setrlimit(which, (value, value))
        for name, mode, number in (("stdin", "r", 0), ("stdout", "w", 1), ("stderr", "w", 2)):
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
            setattr(sys, f"__{name}__", getattr(sys, name))
        sys.setrecursionlimit(RECURSION_LIMIT)
        if self.seccomp:
            confine.install_seccomp(self.seccomp)
        return high

    def run(self, body: typing.Callable[[int], typing.NoReturn], stdin: bytes = b"") -> dict:
        """Runs `body` in a child. Returns {status, stdout and report (bytes), cpu and wall (seconds)}."""
        out_read, out_write = os.pipe()
        report_read, report_write = os.pipe()
        source = os.memfd_create("stdin")
        with open(source, "wb", closefd=False) as file:
            file.write(stdin)
        os.lseek(source, 0, os.SEEK_SET)
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            try:
                body(self.confine(source, out_write, report_write))
            finally:
                os._exit(1)
        for handle in (source, out_write, report_write):
            os.close(handle)
        ended, usage, received, status = self.watch(pid, out_read, report_read, began)
        wall = time.monotonic() - began
        cpu = usage.ru_utime + usage.ru_stime
        stdout, report = received[out_read], received[report_read]
        if ended == "":
            code = os.waitstatus_to_exitcode(status)
            if cpu > self.cpu_s or code == -signal.SIGXCPU:
                ended = "timeout"
            elif code == 0:
                ended = "ok"
            elif code == -signal.SIGSYS:
                ended = "denied"
            else:
                ended = report.decode("ascii", "replace") if report in (b"memory", b"denied") else "runtime_error"
        return {"status": ended, "stdout": bytes(stdout), "report": bytes(report), "cpu": cpu, "wall": wall}

    def watch(self, pid: int, out_read: int, report_read: int, began: float) -> tuple[str, typing.Any, dict[int, bytearray], int]:
        """Collects output until the child ends or must. Returns ("", "timeout" or "wrong_output"), usage, bytes, wait status."""
        received = {out_read: bytearray(), report_read: bytearray()}
        clock = (~pid << 3) | 2  # the process's CPU clock, see clock_getcpuclockid(3)
        handle = os.pidfd_open(pid)
        poller = select.poll()
        for number in (out_read, report_read, handle):
            poller.register(number, select.POLLIN)
        ended, running = "", True
        while running and not ended:
            cpu = 0.0
            with contextlib.suppress(OSError):
                cpu = time.clock_gettime(clock)
            left = min(self.cpu_s - cpu, began + self.wall_s - time.monotonic())
            if left <= 0:
                ended = "timeout"
                break
            for number, _ in poller.poll(1000 * left + 1):
                if number == handle:
                    running = False
                elif chunk := os.read(number, 1 << 16):
                    received[number] += chunk
                    if len(received[number]) > OUTPUT_CAP:
                        ended = "wrong_output"
                else:
                    poller.unregister(number)
        os.close(handle)
        status, usage = self.end_all(pid)
        for number, data in received.items():
            os.set_blocking(number, False)
            with contextlib.suppress(BlockingIOError):
                while (chunk := os.read(number, 1 << 16)) and len(data) <= OUTPUT_CAP:
                    data += chunk
            os.close(number)
        return ended, usage, received, status

    def end_all(self, pid: int) -> tuple[int, typing.Any]:
        """Kills everything the test started, and reaps it."""
        # -1 is all of this pid namespace but ourselves, at once.
        confine.signal_each([-1 if self.fresh else pid], signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        if self.fresh:
            with contextlib.suppress(ChildProcessError):
                while True:
                    os.waitpid(-1, 0)
        else:
            confine.kill_descendants()
        return status, usage

    def serve(self, wire: Wire) -> None:
        # The first test compiles in its child, under limits. Once that went well the keeper can afford to do the same.
        program: str | types.CodeType = self.request["source"]
        trusted = False
        while (message := wire.receive()) != "close":
            if trusted and isinstance(program, str):
                program = compile_source(program)
            body: typing.Callable[[int], typing.NoReturn]
            if self.request["kind"] == "function":
                body, stdin = functools.partial(run_function, program, self.request, message), b""
            else:
                names = PRELUDE if self.request["kind"] == "script" else {}
                body, stdin = functools.partial(run_whole, program, names), message["input"].encode("utf-8", "replace")
            outcome = self.run(body, stdin)
            trusted = outcome["status"] == "ok"
            texts = {name: outcome[name].decode("utf-8", "replace") for name in ("stdout", "report")}
            wire.send(outcome | texts)


def keep(request: dict, wire: Wire, settings: dict, fresh: bool, seccomp: bytes | None) -> None:
    """The keeper's life: settle into its namespaces, serve one program, end."""
    confine.libc.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if fresh:
        confine.libc.prctl(confine.PR_SET_DUMPABLE, 1, 0, 0, 0)  # /proc/self is ours to write only so
        for name, text in (("setgroups", "deny"), ("uid_map", f"1000 {settings['uid']} 1"), ("gid_map", f"1000 {settings['gid']} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        if confine.libc.mount(b"tmpfs", SCRATCH.encode(), b"tmpfs", 2 | 4, b"size=64m,mode=0700"):
            raise OSError("mount")
        confine.set_capabilities(0)
    else:
        os.setsid()
        confine.libc.prctl(confine.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.chdir(SCRATCH if fresh else request["folder"])
    confine.libc.prctl(confine.PR_SET_DUMPABLE, 0, 0, 0, 0)
    nproc = MAX_PROCESSES if fresh else settings["nproc"]
    Keeper(request, fresh, seccomp, nproc).serve(wire)


class Ended(Exception):
    pass


def guard(runner: int) -> None:
    """Waits for the runner's end, or for SIGTERM (the worker's order, or its death), and leaves nothing alive.

    Where there is no pid namespace to take everything along, this process stands in for one. No program can signal it.
    """

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Ended

    with contextlib.suppress(Ended, ChildProcessError):
        signal.signal(signal.SIGTERM, end)
        confine.libc.prctl(confine.PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        os.waitpid(runner, 0)
    confine.kill_descendants()


def main() -> None:
    settings = json.loads(sys.argv[1])
    wire = Wire(settings["socket"])
    if settings["guard"]:
        confine.libc.prctl(confine.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        confine.libc.prctl(confine.PR_SET_DUMPABLE, 0, 0, 0, 0)
        runner = os.fork()
        if runner:
            os.close(wire.handle)
            guard(runner)
            return
    for option in (confine.PR_SET_NO_NEW_PRIVS, confine.PR_SET_CHILD_SUBREAPER):
        confine.libc.prctl(option, 1, 0, 0, 0)
    confine.libc.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    sys.path.remove(settings["package"])
    sys.path += settings["site"]
    site.setquit()
    sys.set_int_max_str_digits(0)
    landlock = bool(settings["landlock"]) and confine.install_landlock(*settings["landlock"])
    if settings["uid"] is not None and os.geteuid() == 0:
        confine.become_own_user(settings["uid"], settings["scratch"], landlock)
    settings["uid"], settings["gid"] = os.geteuid(), os.getegid()
    confine.libc.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a change of user cleared it
    fresh = settings["namespaces"]
    if fresh:
        pid = confine.fork_fresh()
        if pid == 0:
            os._exit(0)
        fresh = pid > 0 and os.waitpid(pid, 0)[1] == 0
    seccomp = confine.seccomp_filter(deny_signals=not fresh)
    gc.collect()
    gc.freeze()
    confine.libc.prctl(confine.PR_SET_DUMPABLE, 0, 0, 0, 0)
    wire.send({"ready": True, "fresh": fresh, "landlock": landlock, "seccomp": seccomp is not None})
    while True:
        try:
            request = wire.receive()
        except (EOFError, OSError):
            return
        if "numpy" in request["source"] and "numpy" not in sys.modules:
            with contextlib.suppress(Exception):
                __import__("numpy")
        request["folder"] = os.path.join(settings["scratch"], "program")
        if not fresh:
            os.makedirs(request["folder"], mode=0o700, exist_ok=True)
        pid = confine.fork_fresh() if fresh else os.fork()
        if pid == 0:
            with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
                keep(request, wire, settings, fresh, seccomp)
            os._exit(0)
        status = os.waitpid(pid, 0)[1] if pid > 0 else -1
        if not fresh:
            confine.kill_descendants()
            shutil.rmtree(request["folder"], ignore_errors=True)
        wire.send({"closed": status})


if __name__ == "__main__":
    main()
