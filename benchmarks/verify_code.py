"""Programs and tests per second of the code sandbox, one worker, warm. Run: `python benchmarks/verify_code.py [SECONDS]`.

Plain `subprocess` on the same program stands beside it as the peer without isolation.
"""

from __future__ import annotations

import subprocess
import sys
import time

from acejax.verification.sandbox import InfraError, Sandbox

PROGRAM = "n = int(input())\nprint(sum(i * i for i in range(n)))\n"
GIVEN, EXPECTED = "10\n", "285\n"


def in_sandbox(sandbox: Sandbox, tests: int, seconds: float) -> float:
    """Tests per second at `tests` tests a program."""
    began, done = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        with sandbox.program(PROGRAM) as program:
            for _ in range(tests):
                assert program.run({"input": GIVEN}).stdout == EXPECTED
        done += tests
    return done / passed


def in_subprocess(seconds: float) -> float:
    began, done = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        out = subprocess.run([sys.executable, "-I", "-c", PROGRAM], input=GIVEN, capture_output=True, text=True, check=True).stdout
        assert out == EXPECTED
        done += 1
    return done / passed


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    print(f"{'runner':<14}{'tests/program':>14}{'programs/s':>12}{'tests/s':>10}")
    for backend in ("bubblewrap", "rlimits"):
        with Sandbox(backend) as sandbox:
            try:
                sandbox.start()
            except (InfraError, OSError) as error:
                print(f"{backend:<14} absent: {error}")
                continue
            in_sandbox(sandbox, 1, 0.2)
            for tests in (1, 10):
                rate = in_sandbox(sandbox, tests, seconds)
                print(f"{backend:<14}{tests:>14}{rate / tests:>12.0f}{rate:>10.0f}")
    rate = in_subprocess(seconds)
    print(f"{'subprocess':<14}{1:>14}{rate:>12.0f}{rate:>10.0f}")


if __name__ == "__main__":
    main()
