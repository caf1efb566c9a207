"""What Linux offers for confining a process, called through libc: namespaces, capabilities, seccomp, Landlock, and a
sure kill.

Used by `runner.py` inside the sandbox, so beside `seccomp.py` it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import stat
import struct
from collections.abc import Iterable, Set

from acejax.verification.programs.seccomp import ARCHITECTURES, CLONE, CLONE_FRESH, seccomp_filter

# prctl(2).
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2

# mount(2).
MS_NOSUID = 2
MS_NODEV = 4
MS_BIND = 4096
TMPFS_OPTIONS = "size=64m,nr_inodes=16k,mode=0700"

# capset(2).
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_READ_SEARCH = 2

# landlock(7): the calls, which are the same on every architecture, and the rights of the first version.
LANDLOCK_CREATE_RULESET = 444
LANDLOCK_ADD_RULE = 445
LANDLOCK_RESTRICT_SELF = 446
LANDLOCK_RULE_PATH_BENEATH = 1
LANDLOCK_EXECUTE = 1 << 0
LANDLOCK_WRITE_FILE = 1 << 1
LANDLOCK_READ_FILE = 1 << 2
LANDLOCK_READ_DIR = 1 << 3
LANDLOCK_EVERYTHING = (1 << 13) - 1
LANDLOCK_READ_ONLY = LANDLOCK_EXECUTE | LANDLOCK_READ_FILE | LANDLOCK_READ_DIR
LANDLOCK_ON_FILES = LANDLOCK_EXECUTE | LANDLOCK_WRITE_FILE | LANDLOCK_READ_FILE

# PyDLL keeps the interpreter lock through a call, so a raw clone never leaves the child without it.
libc = ctypes.PyDLL(None, use_errno=True)
_prctl, _syscall, _capset, _mount = libc.prctl, libc.syscall, libc.capset, libc.mount
# A fork without the hooks of Python's own, which mend locks between threads: here is one thread, and they triple the
# price.
fork = libc.fork


def prctl(option: int, value: int) -> None:
    _prctl(option, value, 0, 0, 0)


def prepare_seccomp(deny_signals: bool) -> ctypes.Array[ctypes.c_char] | None:
    """What `install_seccomp` takes, made before the fork."""
    program = seccomp_filter(deny_signals)
    if program is None:
        return None
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)), 16)
    header.rules = buffer  # type: ignore[attr-defined]  # the header points to it
    return header


def install_seccomp(prepared: ctypes.Array[ctypes.c_char] | None) -> None:
    if prepared is not None and _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, prepared, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def install_landlock(readable: list[str], writable: list[str]) -> bool:
    """Limits this process and its children to these folders and files. False where the kernel has no Landlock."""
    attributes = ctypes.c_char_p(struct.pack("Q", LANDLOCK_EVERYTHING))
    ruleset = libc.syscall(LANDLOCK_CREATE_RULESET, attributes, 8, 0)
    if ruleset < 0:
        return False
    for path in readable:
        _open_to(ruleset, path, LANDLOCK_READ_ONLY)
    for path in writable:
        _open_to(ruleset, path, LANDLOCK_EVERYTHING)
    return libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0


def _open_to(ruleset: int, path: str, access: int) -> None:
    """Allows `access` to a path and what is below it; a path that is not there needs no rule."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        if not os.path.isdir(path):
            access &= LANDLOCK_ON_FILES
        rule = ctypes.c_char_p(struct.pack("=Qi", access, handle))
        libc.syscall(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, rule, 0)
        os.close(handle)


_CAPABILITY_HEADER = ctypes.c_char_p(struct.pack("Ii", CAPABILITY_VERSION_3, 0))
_NO_CAPABILITIES = ctypes.c_char_p(bytes(24))


def set_capabilities(mask: int) -> None:
    """`mask` becomes what is effective and what is permitted."""
    _capset(_CAPABILITY_HEADER, ctypes.c_char_p(struct.pack("6I", mask, mask, 0, 0, 0, 0)))


def drop_capabilities() -> None:
    _capset(_CAPABILITY_HEADER, _NO_CAPABILITIES)


class Tmpfs:
    """A small file system in memory, to be mounted after the fork on two folders that are there: scratch and shared
    memory.
    """

    def __init__(self, scratch: str, shared: str) -> None:
        self.kind = ctypes.c_char_p(b"tmpfs")
        self.options = ctypes.c_char_p(TMPFS_OPTIONS.encode())
        self.scratch = ctypes.c_char_p(scratch.encode())
        self.shared = ctypes.c_char_p(shared.encode())

    def mount(self) -> None:
        failed = _mount(self.kind, self.scratch, self.kind, MS_NOSUID | MS_NODEV, self.options)
        if failed or _mount(self.scratch, self.shared, None, MS_BIND, None):
            raise OSError(ctypes.get_errno(), "mount")


def resident_bytes(pid: int) -> int:
    """Memory that a process holds; 0 where it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/statm") as line:
        return int(line.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    return 0


def within_hard(which: int, wanted: int) -> tuple[int, int]:
    """What `setrlimit` takes for a limit as `wanted`, or as the hard one where that is less."""
    hard = resource.getrlimit(which)[1]
    return (wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)), hard


def become_own_user(uid: int, scratch: str, confined_reads: bool) -> None:
    """Gives up root for a user id of this sandbox alone, so that signals and process limits reach nobody else."""
    prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    few_ids = 20_000 + uid % 40_000  # for containers that map few
    if not (_take_id(uid, scratch) or _take_id(few_ids, scratch)):
        raise SystemExit("no user id to run programs under")
    # An interpreter below a private home folder stays readable only by this capability; Landlock bounds what it opens.
    needed = confined_reads and not os.access(os.__file__, os.R_OK)
    set_capabilities(1 << CAP_DAC_READ_SEARCH if needed else 0)


def _take_id(uid: int, scratch: str) -> bool:
    """Whether this process could become that user, to whom the scratch folder then belongs."""
    try:
        os.chown(scratch, uid, uid)
    except OSError:
        os.chmod(scratch, 0o1777)
    try:
        os.setgid(uid)
        os.setuid(uid)
    except OSError:
        return False
    return True


def fork_fresh() -> int:
    """A fork into fresh namespaces. Returns the pid, 0 in the child, or -1 where the kernel refuses."""
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        return -1
    number = CLONE[ARCHITECTURES[machine][0]]
    return _syscall(ctypes.c_long(number), ctypes.c_long(CLONE_FRESH | signal.SIGCHLD), None, None, None, None)


def descendants(pid: int, spare: Set[int] = frozenset()) -> set[int]:
    """All living processes below `pid`, but for those in `spare` and what is below them."""
    found: set[int] = set()
    with contextlib.suppress(OSError):  # it has just ended
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as listing:
                for child in set(map(int, listing.read().split())) - spare:
                    found |= {child} | descendants(child, spare)
    return found


def kill_descendants(spare: Set[int] = frozenset()) -> None:
    """Kills and reaps all descendants of this subreaper, but for those spared.

    All are stopped before any is killed: a stopped process keeps its place in the process limit, so a fork bomb fills
    up with stopped processes and stands still.
    """
    while True:
        stopped: set[int] = set()
        while seen := descendants(os.getpid(), spare) - stopped:
            signal_each(seen, signal.SIGSTOP)
            stopped |= seen
        if not stopped:
            return
        signal_each(stopped, signal.SIGKILL)
        for pid in stopped:
            # One that is not ours yet is found in the next round, once its parent is gone.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def signal_each(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def empty_folder(folder: str) -> None:
    """Removes all that is in a folder, however deep, however much and whatever its permissions, which become the
    owner's alone; links are not followed.
    """
    # Most programs leave it as it was, and a change is written to the disk.
    if stat.S_IMODE(os.stat(folder).st_mode) != 0o700:
        with contextlib.suppress(OSError):  # not ours, so no program of ours could change it
            os.chmod(folder, 0o700)
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    above: list[str] = []  # the names of the folders between `folder` and `place`
    left = [_remove_names(place)]  # the folders still to be emptied in each of them and in `place`
    while True:
        # Down into a folder that is left, or up, where this one can go.
        if left[-1]:
            inner = left[-1].pop()
            os.chmod(inner, 0o700, dir_fd=place)
            next_place = os.open(inner, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
            above.append(inner)
            left.append(_remove_names(next_place))
        elif above:
            next_place = os.open("..", os.O_RDONLY, dir_fd=place)
            os.rmdir(above.pop(), dir_fd=next_place)
            left.pop()
        else:
            os.close(place)
            return
        os.close(place)
        place = next_place


def _remove_names(place: int) -> list[str]:
    """Removes files and empty folders. Returns the names of the other folders."""
    left = []
    for name in os.listdir(place):
        try:
            os.unlink(name, dir_fd=place)
        except OSError:  # a folder
            try:
                os.rmdir(name, dir_fd=place)
            except OSError:
                left.append(name)
    return left
