"""The step that is timed beside a peer compiles nothing after its second time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "grpo_step.py"


@pytest.mark.slow
def test_nothing_is_lowered_after_the_second_step() -> None:
    # Without the environment of the tests: the script asks for its own number of devices.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, str(SCRIPT), "--rounds", "1", "--steps", "2", "--devices", "2"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    timed = [line for line in run.stdout.splitlines() if line.split()[:1] == ["acejax"] and "median" in line]
    assert len(timed) == 1, run.stdout + run.stderr
    assert timed[0].endswith("lowerings after step 2: 0")
