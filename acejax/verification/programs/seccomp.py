"""The system calls that a test child is refused, as a BPF program for the kernel's seccomp filter.

Used by `confine.py` inside the sandbox, so it imports the standard library only.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence

# clone(2).
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_FRESH = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC
CLONE_ANY = CLONE_FRESH | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWNET

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
# Refused for some of their arguments only.
CLONE = (56, 220)
CLONE3 = (435, 435)
FCNTL = (72, 25)
IOCTL = (16, 29)
# Allowed to the calling process for itself: the first arguments must be these. Another's limits or place in the
# schedule would end the runner or starve it.
OWN_ONLY = {
    "prlimit64": ((302, 261), (0,)),
    "setpriority": ((141, 140), (0, 0)),  # PRIO_PROCESS
    "ioprio_set": ((251, 30), (1, 0)),  # IOPRIO_WHO_PROCESS
    "sched_setparam": ((142, 118), (0,)),
    "sched_setscheduler": ((144, 119), (0,)),
    "sched_setaffinity": ((203, 122), (0,)),
    "sched_setattr": ((314, 274), (0,)),
}

# The column of the tables above, and the architecture as the kernel names it to a filter (AUDIT_ARCH_...).
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
FIRST_X32_CALL = 0x40000000  # x86's second table of calls begins here

# fcntl(2): having the kernel send signals in one's stead, which would end the keeper.
F_SETOWN = 8
F_SETSIG = 10
F_SETOWN_EX = 15
# ioctl(2): the same for sockets.
FIOSETOWN = 0x8901
SIOCSPGRP = 0x8902

# One instruction of a filter (struct sock_filter): code, how many to skip if true, how many if false, operand.
Instruction = tuple[int, int, int, int]
LOAD = 0x20  # a word of struct seccomp_data, at the offset that is the operand
JUMP_IF_EQUAL = 0x15
JUMP_IF_AT_LEAST = 0x35
JUMP_IF_ANY_BIT = 0x45
RETURN = 0x06

# Offsets in struct seccomp_data.
CALL_NUMBER = 0
CALL_ARCHITECTURE = 4
FIRST_ARGUMENT = 16
ARGUMENT_BYTES = 8
SECOND_ARGUMENT = FIRST_ARGUMENT + ARGUMENT_BYTES

ALLOW: Instruction = (RETURN, 0, 0, 0x7FFF0000)
KILL_PROCESS: Instruction = (RETURN, 0, 0, 0x80000000)
REFUSE: Instruction = (RETURN, 0, 0, 0x00050000 | errno.EPERM)
NO_SUCH_CALL: Instruction = (RETURN, 0, 0, 0x00050000 | errno.ENOSYS)


def seccomp_filter(deny_signals: bool) -> bytes | None:
    """The BPF program for this machine, or None on an architecture without a table. A denied call returns EPERM."""
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        return None
    column, architecture = ARCHITECTURES[machine]
    denied = DENIED | DENIED_SIGNALS if deny_signals else DENIED
    rules = _load_number(architecture)
    for numbers in denied.values():
        rules += [(JUMP_IF_EQUAL, 0, 1, numbers[column]), REFUSE]
    # clone3 hides its flags behind a pointer; libc falls back to clone, whose flags a filter can read.
    rules += [(JUMP_IF_EQUAL, 0, 1, CLONE3[column]), NO_SUCH_CALL]
    rules += _no_namespaces(CLONE[column])
    rules += _not_with(FCNTL[column], (F_SETOWN, F_SETSIG, F_SETOWN_EX))
    rules += _not_with(IOCTL[column], (FIOSETOWN, SIOCSPGRP))
    for numbers, arguments in OWN_ONLY.values():
        rules += _only_with(numbers[column], arguments)
    return b"".join(struct.pack("HBBI", *rule) for rule in [*rules, ALLOW])


def _load_number(architecture: int) -> list[Instruction]:
    """Loads the call's number for the rules that follow. A call by another table than this architecture's ends here."""
    return [
        (LOAD, 0, 0, CALL_ARCHITECTURE),
        (JUMP_IF_EQUAL, 1, 0, architecture),
        KILL_PROCESS,
        (LOAD, 0, 0, CALL_NUMBER),
        (JUMP_IF_AT_LEAST, 0, 1, FIRST_X32_CALL),
        REFUSE,
    ]


def _no_namespaces(clone: int) -> list[Instruction]:
    return [
        (JUMP_IF_EQUAL, 0, 4, clone),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (JUMP_IF_ANY_BIT, 0, 1, CLONE_ANY),
        REFUSE,
        ALLOW,
    ]


def _not_with(call: int, refused: Sequence[int]) -> list[Instruction]:
    """Refuses a call with any of these as its second argument."""
    rules = [(JUMP_IF_EQUAL, 0, len(refused) + 3, call), (LOAD, 0, 0, SECOND_ARGUMENT)]
    for at, value in enumerate(refused):
        rules.append((JUMP_IF_EQUAL, len(refused) - at, 0, value))
    return [*rules, ALLOW, REFUSE]


def _only_with(call: int, arguments: Sequence[int]) -> list[Instruction]:
    """Refuses a call unless its first arguments are these."""
    rules = [(JUMP_IF_EQUAL, 0, 2 * len(arguments) + 2, call)]
    for at, value in enumerate(arguments):
        rules.append((LOAD, 0, 0, FIRST_ARGUMENT + at * ARGUMENT_BYTES))
        rules.append((JUMP_IF_EQUAL, 0, 2 * (len(arguments) - 1 - at) + 1, value))
    return [*rules, ALLOW, REFUSE]
