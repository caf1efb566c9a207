"""What Linux offers for confining a process, called through libc: namespaces, capabilities, seccomp, Landlock, and a
sure kill.

Used by `runner.py` inside the sandbox, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
from collections.abc import Iterable, Set

CLONE_FRESH = 0x10000000 | 0x20000000 | 0x00020000 | 0x08000000  # user, pid, mount, ipc
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = (
    1,
    4,
    8,
    22,
    36,
    38,
)
CAP_DAC_READ_SEARCH = 2

# PyDLL keeps the interpreter lock through a call, so a raw clone never leaves the child without it.
libc = ctypes.PyDLL(None, use_errno=True)
_prctl, _syscall, _capset, _mount = libc.prctl, libc.syscall, libc.capset, libc.mount
# A fork without the hooks of Python's own, which mend locks between threads: here is one thread, and they triple the
# price.
fork = libc.fork


def prctl(option: int, value: int) -> None:
    _prctl(option, value, 0, 0, 0)


# Refused in every test child: (x86_64, aarch64). None of them has a use in a program that reads, computes and prints.
DENIED = {
    "socket": (41, 198),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "open_by_handle_at": (304, 265),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "syslog": (103, 116),
    # Memory that no process's limit counts.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
# Refused besides where a test child shares a pid namespace with the runner.
DENIED_SIGNALS = {
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "sigqueue": (129, 138),
    "tgsigqueue": (297, 240),
}
CLONE, CLONE3, FCNTL, PRLIMIT64 = (56, 220), (435, 435), (72, 25), (302, 261)
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def seccomp_filter(deny_signals: bool) -> bytes | None:
    """The BPF program for this machine, or None on an architecture without a table. A denied call returns EPERM."""
    if os.uname().machine not in ARCHITECTURES:
        return None
    column, architecture = ARCHITECTURES[os.uname().machine]
    load, jump_eq, jump_ge, jump_set, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, eperm, enosys, kill = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
    rules = [(load, 0, 0, 4), (jump_eq, 1, 0, architecture), (give, 0, 0, kill), (load, 0, 0, 0)]
    rules += [(jump_ge, 0, 1, 0x40000000), (give, 0, 0, eperm)]  # x86's second call table
    for numbers in (DENIED | DENIED_SIGNALS if deny_signals else DENIED).values():
        rules += [(jump_eq, 0, 1, numbers[column]), (give, 0, 0, eperm)]
    # clone3 hides its flags behind a pointer; libc falls back to clone, whose flags a filter can read.
    rules += [(jump_eq, 0, 1, CLONE3[column]), (give, 0, 0, enosys)]
    rules += [
        (jump_eq, 0, 4, CLONE[column]),
        (load, 0, 0, 16),
        (jump_set, 0, 1, 0x7E020000),
        (give, 0, 0, eperm),
        (give, 0, 0, allow),
    ]
    # Having the kernel send signals in one's stead (F_SETOWN, F_SETSIG, F_SETOWN_EX): they would end the keeper.
    rules += [
        (jump_eq, 0, 6, FCNTL[column]),
        (load, 0, 0, 24),
        (jump_eq, 2, 0, 8),
        (jump_eq, 1, 0, 10),
        (jump_eq, 0, 1, 15),
    ]
    rules += [(give, 0, 0, eperm), (give, 0, 0, allow)]
    # Another process's limits: it would end the runner.
    rules += [(jump_eq, 0, 3, PRLIMIT64[column]), (load, 0, 0, 16), (jump_eq, 1, 0, 0), (give, 0, 0, eperm)]
    rules += [(give, 0, 0, allow)]
    return b"".join(struct.pack("HBBI", *rule) for rule in rules)


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
    if prepared is not None and _prctl(PR_SET_SECCOMP, 2, prepared, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def install_landlock(readable: list[str], writable: list[str]) -> bool:
    """Limits this process and its children to these folders and files. False where the kernel has no Landlock."""
    everything = (1 << 13) - 1
    read_only = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, list a folder
    on_files = 1 << 0 | 1 << 1 | 1 << 2
    ruleset = libc.syscall(444, ctypes.c_char_p(struct.pack("Q", everything)), 8, 0)
    if ruleset < 0:
        return False
    for path, access in [*((p, read_only) for p in readable), *((p, everything) for p in writable)]:
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rule = struct.pack("=Qi", access if os.path.isdir(path) else access & on_files, handle)
            libc.syscall(445, ruleset, 1, ctypes.c_char_p(rule), 0)
            os.close(handle)
    return libc.syscall(446, ruleset, 0) == 0


def set_capabilities(mask: int) -> None:
    header = struct.pack("Ii", 0x20080522, 0)
    libc.capset(ctypes.c_char_p(header), ctypes.c_char_p(struct.pack("6I", mask, mask, 0, 0, 0, 0)))


_NO_CAPABILITIES = (ctypes.c_char_p(struct.pack("Ii", 0x20080522, 0)), ctypes.c_char_p(bytes(24)))


def drop_capabilities() -> None:
    _capset(*_NO_CAPABILITIES)


class Tmpfs:
    """A small file system in memory, to be mounted after the fork on two folders that are there: scratch and shared
    memory.
    """

    def __init__(self, *folders: str) -> None:
        self.kind, self.options, *self.folders = (
            ctypes.c_char_p(word.encode()) for word in ("tmpfs", "size=64m,nr_inodes=16k,mode=0700", *folders)
        )

    def mount(self) -> None:
        first, second = self.folders
        no_set_user_id, no_devices, bind = 2, 4, 4096
        if _mount(self.kind, first, self.kind, no_set_user_id | no_devices, self.options) or _mount(
            first, second, None, bind, None
        ):
            raise OSError(ctypes.get_errno(), "mount")


def become_own_user(uid: int, scratch: str, confined_reads: bool) -> None:
    """Gives up root for a user id of this sandbox alone, so that signals and process limits reach nobody else."""
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    for candidate in (uid, 20_000 + uid % 40_000):  # the second for containers that map few ids
        try:
            os.chown(scratch, candidate, candidate)
        except OSError:
            os.chmod(scratch, 0o1777)
        try:
            os.setgid(candidate)
            os.setuid(candidate)
            break
        except OSError:
            continue
    else:
        raise SystemExit("no user id to run programs under")
    # An interpreter below a private home folder stays readable only by this capability; Landlock bounds what it opens.
    set_capabilities(1 << CAP_DAC_READ_SEARCH if confined_reads and not os.access(os.__file__, os.R_OK) else 0)


def fork_fresh() -> int:
    """A fork into fresh namespaces. Returns the pid, 0 in the child, or -1 where the kernel refuses."""
    number = CLONE[ARCHITECTURES[os.uname().machine][0]] if os.uname().machine in ARCHITECTURES else None
    if number is None:
        return -1
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
            with contextlib.suppress(
                ChildProcessError
            ):  # not ours yet: once its parent is gone, the next round finds it
                os.waitpid(pid, 0)


def signal_each(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def empty_folder(folder: str) -> None:
    """Removes all that is in a folder, however deep and whatever its permissions; links are not followed."""
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    above: list[str] = []
    while True:
        inner = None
        for name in os.listdir(place):
            try:
                os.unlink(name, dir_fd=place)
            except OSError:  # a folder
                inner = name
        if inner is not None:
            os.chmod(inner, 0o700, dir_fd=place)
            above.append(inner)
        elif not above:
            os.close(place)
            return
        below = (
            os.open("..", os.O_RDONLY, dir_fd=place)
            if inner is None
            else os.open(inner, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=place)
        )
        os.close(place)
        place = below
        if inner is None:
            os.rmdir(above.pop(), dir_fd=place)
