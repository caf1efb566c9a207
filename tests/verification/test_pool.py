"""The pool: every task gets its one verdict whatever happens to workers, and nothing outlives the parent."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.verification.pool import VerificationPool

ECHO = {"kind": "stdin", "cases": [{"input": "3\n", "output": "3\n"}]}


def math_problem(name, answer):
    return Problem(name, "math", "q", answer=(answer,))


def code_problem(name="c", tests=ECHO, **limits):
    return Problem(name, "code", "q", tests=tests, **limits)


def program(code):
    return f"</think>\n```python\n{code}\n```"


def boxed(answer):
    return f"</think> \\boxed{{{answer}}}"


def descendants(pid: int) -> set[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= more
    return found


def all_gone(pids: set[int], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(state(pid) not in ("", "Z") for pid in pids):
            return True
        time.sleep(0.05)
    return False


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_two_hundred_math_tasks_in_any_order():
    tasks = [(math_problem(f"m{i}", str(i)), i % 3, boxed(i if i % 2 else i + 1), "correct" if i % 2 else "wrong") for i in range(200)]
    random.Random(0).shuffle(tasks)
    with VerificationPool(2) as pool:
        futures = [(pool.submit(problem, sample, response), problem, sample, verdict) for problem, sample, response, verdict in tasks]
        for future, problem, sample, verdict in futures:
            got = future.result(60)
            assert (got.problem_id, got.sample, got.verdict) == (problem.id, sample, verdict)
        missing = pool.submit(math_problem("m", "1"), 0, "\\boxed{1}").result(60)
        assert (missing.verdict, missing.reason) == ("wrong", "no_think_end")
        assert pool.stats() | {"busy_seconds": 0} == {"judged": 201, "unjudged": 0, "retried": 0, "busy_seconds": 0}
    with pytest.raises(RuntimeError):
        pool.submit(math_problem("m", "1"), 0, boxed(1))


def workers_of(pool) -> list[int]:
    return [p for p in descendants(pool._supervisor.pid) if b"acejax.verification.worker" in Path(f"/proc/{p}/cmdline").read_bytes()]


def test_killed_workers_lose_nothing():
    """Workers are killed in the middle of their tasks, with their sandboxes; the tasks are judged all the same."""
    right, wrong = program("import time\ntime.sleep(0.3)\nprint(input())"), program("print(4)")
    with VerificationPool(2) as pool:
        pool.submit(code_problem(), 0, wrong).result(60)
        futures = [pool.submit(code_problem(), i, right if i % 2 else wrong) for i in range(16)]
        inside: set[int] = {pool._supervisor.pid}
        for kill_after in (0, 9):  # far enough apart that no task is hit twice
            futures[kill_after].result(60)
            time.sleep(0.15)
            inside |= descendants(pool._supervisor.pid)
            os.kill(random.Random(kill_after).choice(workers_of(pool)), signal.SIGKILL)
        assert [future.result(60).verdict for future in futures] == ["wrong", "correct"] * 8
        assert pool.stats()["judged"] == 17
        inside |= descendants(pool._supervisor.pid)
    assert all_gone(inside)


BOMB = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"


@pytest.mark.parametrize("backend", ["bubblewrap", "rlimits"])
def test_closing_in_the_middle_of_a_fork_bomb_leaves_nothing(backend):
    with VerificationPool(1, backend=backend) as pool:
        pool.submit(code_problem(), 0, program("print(input())")).result(60)
        pool.submit(code_problem(time_limit_s=30.0), 0, program(BOMB))
        end = time.monotonic() + 20
        while len(inside := descendants(pool._supervisor.pid)) < 25 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(inside) >= 25
    assert all_gone(inside | {pool._supervisor.pid})


def test_a_worker_that_always_dies_makes_the_task_unjudged(tmp_path):
    """A check that hangs is retried and then the answer's own fault; other tasks go on meanwhile."""
    with VerificationPool(2, math_deadline_s=0.0) as pool:  # no check can keep this deadline
        verdict = pool.submit(math_problem("m", "x+1"), 0, boxed("1+x")).result(60)
        assert verdict.verdict in ("wrong", "correct")
        assert verdict.verdict == "correct" or verdict.reason == "timeout"
        code = pool.submit(code_problem(), 0, program("print(input())")).result(60)
        assert code.verdict == "correct"


def test_code_verdicts_and_limits():
    with VerificationPool(2, time_limit_s=0.3) as pool:
        cases = {
            "print(input())": ("correct", "ok"),
            "print(4)": ("wrong", "wrong_output"),
            "while True: pass": ("wrong", "timeout"),
            "bytearray(1 << 32)": ("wrong", "memory"),
        }
        futures = {code: pool.submit(code_problem(), 0, program(code)) for code in cases}
        assert {code: (future.result(60).verdict, future.result().reason) for code, future in futures.items()} == cases
        longer = pool.submit(code_problem(time_limit_s=3.0), 0, program("import time\ntime.sleep(1.2)\nprint(input())"))
        assert longer.result(60).verdict == "correct"


def test_a_dead_supervisor_leaves_everything_unjudged_and_refuses_more():
    with VerificationPool(1) as pool:
        slow = pool.submit(code_problem(time_limit_s=20.0), 0, program("import time\ntime.sleep(20)"))
        time.sleep(1.0)
        inside = descendants(pool._supervisor.pid)
        pool._supervisor.kill()
        verdict = slow.result(10)
        assert (verdict.verdict, verdict.reason) == ("unjudged", "infra")
        with pytest.raises(RuntimeError):
            pool.submit(math_problem("m", "1"), 0, boxed(1))
        assert all_gone(inside)


PARENT = """
import sys, time
from acejax.problems.problem import Problem
from acejax.verification.pool import VerificationPool
tests = {"kind": "stdin", "cases": [{"input": "3", "output": "3"}]}
with VerificationPool(2) as pool:
    problem = Problem("c", "code", "q", tests=tests, time_limit_s=LIMIT)
    futures = [pool.submit(problem, i, "</think>\\n```python\\nimport time\\ntime.sleep(PAUSE)\\nprint(input())\\n```") for i in range(4)]
    try:
        print("up", pool._supervisor.pid, flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print([future.result(60).verdict for future in futures], flush=True)
"""


def start_parent(limit, pause, **how):
    text = PARENT.replace("LIMIT", str(limit)).replace("PAUSE", str(pause))
    parent = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], **how)
    supervisor = int(parent.stdout.readline().split()[1])
    return parent, supervisor


def test_parent_killed_with_sigkill_leaves_no_process():
    parent, supervisor = start_parent(30.0, 30)
    time.sleep(1.0)
    inside = descendants(supervisor) | {supervisor}
    assert len(inside) >= 3
    parent.kill()
    parent.wait()
    assert all_gone(inside)
    parent.stdout.close()


def test_ctrl_c_reaches_the_parent_alone():
    parent, supervisor = start_parent(5.0, 0.5, process_group=0)
    time.sleep(0.5)
    os.killpg(parent.pid, signal.SIGINT)
    out, _ = parent.communicate(timeout=60)
    assert out.strip() == str(["correct"] * 4)
    assert parent.returncode == 0
    assert all_gone({supervisor})


def test_idle_pool_uses_no_cpu():
    with VerificationPool(2) as pool:
        pool.submit(math_problem("m", "1"), 0, boxed(1)).result(60)
        pool.submit(code_problem(), 0, program("print(input())")).result(60)
        time.sleep(0.3)
        before = ticks(pool._supervisor.pid)
        time.sleep(1.0)
        assert ticks(pool._supervisor.pid) - before <= 1


def ticks(pid: int) -> int:
    total = 0
    for number in descendants(pid) | {pid}:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total


def test_workers_must_be_positive():
    with pytest.raises(UserError, match="workers"):
        VerificationPool(0)
