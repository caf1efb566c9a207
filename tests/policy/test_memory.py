"""What an import needs beside the policy, measured by the benchmark in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "import_memory.py"


def measure(*arguments: str) -> str:
    run = subprocess.run([sys.executable, str(BENCHMARK), *arguments], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.slow
@pytest.mark.parametrize("stored", ["bfloat16", "float32"])
def test_three_gigabytes_need_little_more_than_the_policy(stored: str) -> None:
    assert "8 files" in measure("--stored", stored)
