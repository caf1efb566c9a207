"""The process inside the sandbox: a warm interpreter that forks one keeper per program, which forks one child per test.

Run as a script by `sandbox.py` with one JSON argument of settings; beside `execute.py`, `confine.py` and `seccomp.py`
it imports the standard library only. The layers, from the outside in:

* the runner (warm, never runs a program's code) waits for requests and clones
* the keeper, one per program, pid 1 of fresh user, pid, mount and ipc namespaces, forks
* a test child, one per test, which alone runs what the policy wrote, under limits and a seccomp filter.

When the keeper ends the kernel kills all that lives in its namespaces. Where fresh namespaces are refused the keeper is
an ordinary child that stops, kills and reaps every descendant instead.

Inputs and outputs pass between the worker and the children through descriptors that the worker opens; neither the
runner nor a keeper reads them, so no child is forked from a process that holds anything of another program or test.
Every page that a process touches for the first time after a fork is copied, at some microseconds each, and that is most
of what a test costs. Hence what a child needs is made before the fork, and the fork skips Python's own hooks.
"""

from __future__ import annotations

import _signal
import _socket
import contextlib
import gc
import json
import os
import resource
import signal
import site
import struct
import sys
import typing

from acejax.verification.programs import confine, execute

SCRATCH = "/tmp"
SHARED = "/dev/shm"
OUTPUT_CAP = 8 << 20  # bytes of one file, of stdout or of a result
MAX_PROCESSES = 32
MAX_FILES = 128
STACK_BYTES = 100 << 20
USER_ID = 1000  # inside fresh namespaces
REPORT = 100  # the descriptor on which a child reports a function's result or the kind of its error
PROGRAM = REPORT + 1  # the descriptor on which a child finds its program

# Messages: what a worker asks for, and what it hears.
OPEN = struct.Struct("?i")  # whether a program may want numpy, its MiB of memory
TEST = struct.Struct("i")  # a test's limit, in whole seconds of CPU
ENDED = struct.Struct("idd")  # wait status of a test, seconds of CPU in user and system mode
READY = b"ready"
BEGUN = b"begun"
HANDLES_SPACE = 64  # bytes, enough for the descriptors that come with any of these


def open_streams() -> None:
    """Python's standard streams, over descriptors of the kinds that a child will find in their places."""
    source, pipe, null = os.memfd_create("stdin"), os.pipe(), os.open("/dev/null", os.O_RDWR)
    for number, handle in enumerate((source, pipe[1], null)):
        os.dup2(handle, number)
        os.close(handle)
    os.close(pipe[0])
    for name, mode, number in (("stdin", "r", 0), ("stdout", "w", 1), ("stderr", "w", 2)):
        setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
        setattr(sys, f"__{name}__", getattr(sys, name))


def address_space() -> int:
    """What this process has mapped, in bytes."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


def serve(wire: typing.Any, settings: dict, fresh: bool) -> None:
    """The runner's life: one keeper after another, until the worker closes the wire."""
    keeper = Keeper(settings["scratch"], fresh, settings["nproc"])
    gc.collect()
    gc.freeze()
    gc.disable()
    warm = address_space()
    while True:
        message, control, _, _ = wire.recvmsg(OPEN.size, HANDLES_SPACE)
        if not message:
            return
        load_numpy, memory_mb = OPEN.unpack(message)
        if load_numpy and "numpy" not in sys.modules:
            with contextlib.suppress(Exception):
                __import__("numpy")
                gc.freeze()
            warm = address_space()
        channel, program = struct.unpack("2i", control[0][2])
        pid = confine.fork_fresh() if fresh else confine.fork()
        if pid == 0:
            wire.close()
            with contextlib.suppress(OSError, KeyboardInterrupt):
                keeper.keep(channel, program, warm + (memory_mb << 20))
            os._exit(0)
        os.close(channel)
        os.close(program)
        status = os.waitpid(pid, 0)[1] if pid > 0 else -1
        if not fresh:
            confine.kill_descendants()
            confine.empty_folder(settings["scratch"])
        wire.send(b"%d" % status)


class Keeper:
    """One program's keeper, made in the runner; only `keep` runs in the process of its own.

    `folder` is where the program may write. `fresh`: that process gets namespaces of its own. `nproc` limits its
    processes, None where their user has others.
    """

    def __init__(self, folder: str, fresh: bool, nproc: int | None) -> None:
        self.folder, self.fresh = folder, fresh
        # What a process writes to its /proc/self to have a user id in fresh namespaces.
        self.maps = (
            ("/proc/self/setgroups", b"deny"),
            ("/proc/self/uid_map", b"%d %d 1" % (USER_ID, os.geteuid())),
            ("/proc/self/gid_map", b"%d %d 1" % (USER_ID, os.getegid())),
        )
        self.tmpfs = confine.Tmpfs(SCRATCH, SHARED)
        self.seccomp = confine.prepare_seccomp(deny_signals=not fresh)
        self.limits = _limits(nproc)
        # Of the program that is kept, known after the fork only.
        self.wire: typing.Any = None  # to the worker
        self.program = -1  # the descriptor of its text
        self.space = 0  # bytes of address space that a test may have
        self.tests = 0  # that have run
        self.request: dict | None = None  # what `execute.run` needs of it, once it is compiled

    def keep(self, channel: int, program: int, space: int) -> None:
        """Settles into its namespaces and runs one test per message until the worker closes the channel.

        `space` is the address space that a test may have, in bytes.
        """
        confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
        if self.fresh:
            confine.prctl(confine.PR_SET_DUMPABLE, 1)  # /proc/self is ours to write only so
            for name, text in self.maps:
                handle = os.open(name, os.O_WRONLY)
                os.write(handle, text)
                os.close(handle)
            self.tmpfs.mount()
            confine.drop_capabilities()
            confine.prctl(confine.PR_SET_DUMPABLE, 0)
            confine.install_seccomp(self.seccomp)
        else:
            os.setsid()
            confine.prctl(confine.PR_SET_CHILD_SUBREAPER, 1)
        os.chdir(self.folder)
        for which, value in self.limits:
            resource.setrlimit(which, value)
        self.wire = _socket.socket(fileno=channel)
        self.program, self.space = program, space
        while True:
            message, control, _, _ = self.wire.recvmsg(TEST.size, HANDLES_SPACE)
            if not message:
                return
            stdin, stdout, report = struct.unpack("3i", control[0][2])
            self.run(stdin, stdout, report, TEST.unpack(message)[0])

    def run(self, stdin: int, stdout: int, report: int, cpu_s: int) -> None:
        """Runs one test; everything it started is dead when the worker hears of its end."""
        if self.tests:
            confine.empty_folder(self.folder)
            self.request = self.request or self.compiled()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.tests += 1
        pid = confine.fork()
        if pid == 0:
            try:
                self.become_child(stdin, stdout, report, cpu_s)
            finally:
                os._exit(1)
        for handle in (stdin, stdout, report):
            os.close(handle)
        handle = os.pidfd_open(pid)
        self.wire.sendmsg([BEGUN], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", handle))])
        os.close(handle)
        status = os.waitpid(pid, 0)[1]
        # Kill and reap whatever it has left running.
        if self.fresh:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(-1, signal.SIGKILL)  # all of this pid namespace but ourselves, at once
                while True:
                    os.waitpid(-1, 0)
        else:
            confine.kill_descendants()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.wire.send(ENDED.pack(status, usage.ru_utime - before.ru_utime, usage.ru_stime - before.ru_stime))

    def compiled(self) -> dict | None:
        """What an earlier child has compiled; None where that came to nothing, so that the next one compiles."""
        # One that was killed while it wrote leaves half of it.
        with contextlib.suppress(EOFError, ValueError, TypeError):
            request = execute.load(self.program)
            if not isinstance(request["source"], str):
                return request
        return None

    def become_child(self, stdin: int, stdout: int, report: int, cpu_s: int) -> typing.NoReturn:
        """Turns the fresh fork into a test child and runs the program. No descriptor of the keeper's survives."""
        if not self.fresh:
            confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()  # a signal to one's own group would reach the runner, namespaces or not
        confine.prctl(confine.PR_SET_DUMPABLE, 1)  # so that /dev/stdin opens
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        os.dup2(report, REPORT)
        if self.request is None:
            os.dup2(self.program, PROGRAM)
        os.closerange(3, REPORT)
        _signal.signal(signal.SIGINT, _signal.default_int_handler)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
        resource.setrlimit(resource.RLIMIT_AS, (self.space, self.space))
        if not self.fresh:
            confine.install_seccomp(self.seccomp)
        gc.enable()
        execute.run(self.request, PROGRAM, REPORT)


def _limits(nproc: int | None) -> list[tuple[int, tuple[int, int]]]:
    """What `resource.setrlimit` takes, for the limits that are the same for every test."""
    limits = [
        (resource.RLIMIT_FSIZE, (OUTPUT_CAP, OUTPUT_CAP)),
        (resource.RLIMIT_NOFILE, (MAX_FILES, MAX_FILES)),
        (resource.RLIMIT_CORE, (0, 0)),
    ]
    if nproc is not None:
        limits.append((resource.RLIMIT_NPROC, (nproc, nproc)))
    return [*limits, (resource.RLIMIT_STACK, confine.within_hard(resource.RLIMIT_STACK, STACK_BYTES))]


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
        confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGTERM)
        os.waitpid(runner, 0)
    confine.kill_descendants()


def stand_guard(wire: typing.Any) -> bool:
    """Forks the runner under this process, its guard. Returns in the runner, with False, and when all is over, with
    True.
    """
    confine.prctl(confine.PR_SET_CHILD_SUBREAPER, 1)
    confine.prctl(confine.PR_SET_DUMPABLE, 0)
    runner = os.fork()
    if runner == 0:
        return False
    wire.close()
    guard(runner)
    return True


def give_up_rights(settings: dict) -> None:
    """Nothing that this process or its children do from here on can gain them more than it leaves."""
    confine.prctl(confine.PR_SET_NO_NEW_PRIVS, 1)
    confine.prctl(confine.PR_SET_CHILD_SUBREAPER, 1)
    confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
    landlock = bool(settings["landlock"]) and confine.install_landlock(*settings["landlock"])
    if settings["uid"] is not None and os.geteuid() == 0:
        confine.become_own_user(settings["uid"], settings["scratch"], landlock)
    confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of user cleared it


def namespaces_work() -> bool:
    pid = confine.fork_fresh()
    if pid == 0:
        os._exit(0)
    return pid > 0 and os.waitpid(pid, 0)[1] == 0


def prepare_interpreter(settings: dict) -> None:
    """The interpreter as a program expects to find it, without our package."""
    sys.path.remove(settings["package"])
    sys.path += settings["site"]
    site.setquit()
    execute.provide_names()
    sys.set_int_max_str_digits(0)
    sys.argv[:] = ["main.py"]
    sys.setrecursionlimit(execute.RECURSION_LIMIT)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    open_streams()


def main() -> None:
    settings = json.loads(sys.argv[1])
    wire = _socket.socket(fileno=settings["socket"])
    if settings["guard"] and stand_guard(wire):
        return
    give_up_rights(settings)
    fresh = not settings["guard"] and namespaces_work()
    if fresh:
        settings["nproc"] = MAX_PROCESSES
    prepare_interpreter(settings)
    confine.prctl(confine.PR_SET_DUMPABLE, 0)
    handles = []
    if not settings["guard"]:
        # Process 1 of bubblewrap's namespace: once it has ended, all in there has.
        handles.append((_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", os.pidfd_open(1))))
    wire.sendmsg([READY], handles)
    serve(wire, settings, fresh)


if __name__ == "__main__":
    main()
