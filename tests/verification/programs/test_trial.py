"""A test's clocks and results, without a sandbox."""

import os
import signal
import subprocess
import sys

import pytest

from acejax.verification.programs.trial import Limits, Trial, memory_file


def test_a_dead_child_has_used_nothing():
    """Its pid is gone, and no other process's clock, least of all ours, may be read in its place."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    trial = Trial(None, Limits(1.0, 3.0, 64))
    trial.child = os.pidfd_open(process.pid)
    process.wait()
    assert trial.cpu_seconds() == 0.0
    assert not trial.too_much_memory()
    os.close(trial.child)


def exited(code):
    return code << 8


@pytest.mark.parametrize(
    ("status", "cpu", "report", "expected"),
    [
        (exited(0), 0.1, b"", ("ok", False)),
        (exited(0), 0.79, b"", ("ok", False)),
        (exited(0), 0.85, b"", ("ok", True)),
        (exited(0), 1.1, b"", ("timeout", True)),
        (exited(0), 1.3, b"", ("timeout", False)),  # several processes can use more than the one that is watched
        (exited(1), 0.1, b"memory", ("memory", False)),
        (exited(1), 0.1, b"denied", ("denied", False)),
        (exited(1), 0.1, b"ok", ("runtime_error", False)),
        (exited(0), 0.1, b"memory", ("ok", False)),
        (signal.SIGSEGV, 0.1, b"", ("runtime_error", False)),
    ],
)
def test_results(status, cpu, report, expected):
    for strict in (False, True):
        result = Trial(None, Limits(1.0, 3.0, 64, strict)).result(status, cpu, b"out", report)
        assert (result.status, result.close_call) == (expected[0], expected[1] and not strict)
        assert (result.stdout, result.report, result.cpu) == ("out", report.decode(), cpu)


@pytest.mark.parametrize(("cpu", "close_call"), [(0.0, False), (0.5, True)])
def test_a_test_ended_by_the_wall_limit_may_have_lacked_a_processor(cpu, close_call):
    trial = Trial(None, Limits(1.0, 3.0, 64))
    trial.reason = "timeout"
    result = trial.result(signal.SIGKILL, cpu, b"", b"")
    assert (result.status, result.close_call) == ("timeout", close_call)


def test_memory_files_hold_what_they_are_given():
    handle = memory_file("x", b"abc" * 100)
    assert os.read(handle, 1000) == b"abc" * 100
    os.close(handle)
