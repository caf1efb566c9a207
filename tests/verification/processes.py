"""What tests of the pool ask of the machine's processes, and how they wait: for an event, with a bound that only guards
against a hang.
"""

import time
from pathlib import Path

BOUND_S = 120.0
MARK = "acejax-midway"  # the name that a program of a test gives its process once it runs
MIDWAY = f"import ctypes, time\nctypes.CDLL(None).prctl(15, b'{MARK}', 0, 0, 0)\n"


def wait_until(happened, bound_s=BOUND_S):
    """What `happened` returns, once that is true."""
    end = time.monotonic() + bound_s
    while not (found := happened()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
    return found


def _fields(pid):
    """The fields of /proc/PID/stat from the state on; none where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def lives(pid):
    fields = _fields(pid)
    return bool(fields) and fields[0] != "Z"


def descendants(pid):
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _fields(entry.name)):
            parents[int(entry.name)] = int(fields[1])
    found = set()
    while more := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= more
    return found


def wait_all_gone(pids):
    wait_until(lambda: not any(map(lives, pids)))


def _read(pid, name):
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has just ended
        return b""


def workers_of(pool, world="bare"):
    """The pool's worker processes of one world."""
    marks = (b"acejax.verification.worker", b"\0" + world.encode() + b"\0")
    lines = {pid: _read(pid, "cmdline") for pid in descendants(pool._supervisor.pid)}
    return [pid for pid, line in lines.items() if all(mark in line for mark in marks)]


def midway(pid):
    """How many programs below a process have said that they run."""
    return sum(_read(one, "comm").strip() == MARK.encode() for one in descendants(pid))


def switches(pid):
    """How often a process and all below it have gone to sleep by themselves: what waits for an event does it once."""
    total = 0
    for one in descendants(pid) | {pid}:
        for line in _read(one, "status").splitlines():
            if line.startswith(b"voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total
