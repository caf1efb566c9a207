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
from acejax.verification import pool as pool_module
from acejax.verification.pool import VerificationPool
from acejax.verification.supervisor import Supervisor, Task
from acejax.verification.worker import CODE, CODE_ALONE, HEADER

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
    tasks = [
        (math_problem(f"m{i}", str(i)), i % 3, boxed(i if i % 2 else i + 1), "correct" if i % 2 else "wrong")
        for i in range(200)
    ]
    random.Random(0).shuffle(tasks)
    with VerificationPool(2) as pool:
        futures = [
            (pool.submit(problem, sample, response), problem, sample, verdict)
            for problem, sample, response, verdict in tasks
        ]
        for future, problem, sample, verdict in futures:
            got = future.result(60)
            assert (got.problem_id, got.sample, got.verdict) == (problem.id, sample, verdict)
        missing = pool.submit(math_problem("m", "1"), 0, "\\boxed{1}").result(60)
        assert (missing.verdict, missing.reason) == ("wrong", "no_think_end")
        assert pool.stats() | {"busy_seconds": 0} == {
            "judged": 201,
            "unjudged": 0,
            "retried": 0,
            "rerun": 0,
            "flipped": 0,
            "busy_seconds": 0,
        }
    with pytest.raises(RuntimeError):
        pool.submit(math_problem("m", "1"), 0, boxed(1))


def workers_of(pool) -> list[int]:
    return [pid for pid in descendants(pool._supervisor.pid) if b"acejax.verification.worker" in command_line(pid)]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has just ended
        return b""


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


def spin(seconds):
    return program(f"import time\nwhile time.process_time() < {seconds}: pass\nprint(input())")


def test_a_program_close_to_its_limit_runs_once_more_alone():
    with VerificationPool(2, time_limit_s=0.5) as pool:
        futures = [
            pool.submit(code_problem(f"c{i}"), 0, spin(seconds))
            for i, seconds in enumerate((0.1, 0.45, 0.55, 5.0, 0.1))
        ]
        verdicts = [(future.result(60).verdict, future.result().reason) for future in futures]
        assert verdicts == [
            ("correct", "ok"),
            ("correct", "ok"),
            ("wrong", "timeout"),
            ("wrong", "timeout"),
            ("correct", "ok"),
        ]
        assert pool.stats() | {"busy_seconds": 0} == {
            "judged": 5,
            "unjudged": 0,
            "retried": 0,
            "rerun": 2,
            "flipped": 0,
            "busy_seconds": 0,
        }


def test_a_verdict_that_changes_is_counted(monkeypatch):
    told = []
    supervisor = Supervisor(None, {})
    monkeypatch.setattr(supervisor, "tell", told.append)
    task = Task(7, CODE, 9.0, HEADER.pack(7, CODE, 9.0, 3) + b"abc")
    supervisor.answer(task, {"verdict": "correct", "reason": "ok", "seconds": 1.0, "near": True})
    assert not told and list(supervisor.close_calls) == [task]
    assert HEADER.unpack_from(task.frame) == (7, CODE_ALONE, 9.0, 3) and task.frame.endswith(b"abc")
    supervisor.answer(task, {"verdict": "wrong", "reason": "timeout", "seconds": 1.0, "near": False})
    assert told == [
        {
            "verdict": "wrong",
            "reason": "timeout",
            "seconds": 1.0,
            "near": False,
            "flipped": True,
            "number": 7,
            "failures": 0,
        }
    ]


def test_workers_are_recycled_by_count_and_by_memory():
    for limits in ({"recycle_after": 3}, {"recycle_mb": 1}):
        with VerificationPool(1, **limits) as pool:
            pool.submit(math_problem("m", "0"), 0, boxed(0)).result(60)
            before = set(workers_of(pool))
            futures = [pool.submit(math_problem("m", str(i)), i, boxed(i)) for i in range(8)]
            assert [future.result(60).verdict for future in futures] == ["correct"] * 8
            give_up = time.monotonic() + 10  # the last verdict is told before its worker ends
            while before & set(workers_of(pool)) and time.monotonic() < give_up:
                time.sleep(0.05)
            assert not before & set(workers_of(pool))
            assert pool.stats()["retried"] == 0


def test_a_group_s_equal_programs_are_judged_once():
    coin = program("import os\nprint(3 if os.urandom(1)[0] % 2 else 4)")
    with VerificationPool(1) as pool:
        futures = [pool.submit(code_problem(), i, coin) for i in range(16)]
        assert len({future.result(60).verdict for future in futures}) == 1
        others = [
            pool.submit(code_problem(tests={"kind": "stdin", "cases": [{"input": "3", "output": o}]}), 0, coin)
            for o in "34"
        ]
        assert {future.result(60).verdict for future in others} <= {"correct", "wrong"}
        assert pool.submit(code_problem(), 0, program("print(input())")).result(60).verdict == "correct"


@pytest.mark.parametrize("limit", [{"MAX_PENDING": 4}, {"MAX_PENDING_BYTES": 2000}])
def test_submit_waits_while_the_pool_is_full(monkeypatch, limit):
    for name, value in limit.items():
        monkeypatch.setattr(pool_module, name, value)
    with VerificationPool(1) as pool:
        most, futures = 0, []
        for i in range(40):
            futures.append(pool.submit(math_problem("m", str(i)), 0, "x" * 400 + boxed(i)))
            most = max(most, len(pool._pending))
        assert 1 <= most <= 4
        assert all(future.result(60).verdict == "correct" for future in futures)


def test_sigterm_ends_the_supervisor_and_all_below():
    with VerificationPool(2) as pool:
        pool.submit(code_problem(), 0, program("print(input())")).result(60)
        slow = pool.submit(code_problem(time_limit_s=20.0), 0, program("import time\ntime.sleep(20)"))
        time.sleep(0.5)
        inside = descendants(pool._supervisor.pid) | {pool._supervisor.pid}
        os.kill(pool._supervisor.pid, signal.SIGTERM)
        assert slow.result(20).verdict == "unjudged"
        assert pool._supervisor.wait(20) == 0
        assert all_gone(inside)


FATES = {
    "right": ("print(input())  # {}", ("correct", "ok")),
    "wrong": ("print(4)  # {}", ("wrong", "wrong_output")),
    "hangs": ("while True: pass  # {}", ("wrong", "timeout")),
    "crashes": ("import ctypes\nctypes.string_at(0)  # {}", ("wrong", "runtime_error")),
    "exhausts": ("x = bytearray(1 << 34)  # {}", ("wrong", "memory")),
}


@pytest.mark.parametrize("count", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_chaos(count):
    """Workers are killed at random, programs hang, crash and exhaust memory: each task gets its one right verdict."""
    draw = random.Random(count)
    fates = draw.choices(list(FATES), weights=(57, 35, 5, 2, 1), k=count)
    answered: list[int] = []
    with VerificationPool(2) as pool:
        futures = []
        for i, fate in enumerate(fates):
            future = pool.submit(code_problem(f"c{i}", time_limit_s=0.3), i, program(FATES[fate][0].format(i)))
            future.add_done_callback(lambda _, i=i: answered.append(i))
            futures.append(future)
        inside, killed, next_kill = set(), 0, 10
        while (judged := sum(pool.stats()[name] for name in ("judged", "unjudged"))) < count:
            if judged >= next_kill:
                inside |= descendants(pool._supervisor.pid)
                if running := workers_of(pool):
                    os.kill(draw.choice(running), signal.SIGKILL)
                killed, next_kill = killed + 1, judged + draw.randint(25, 50)
            time.sleep(0.02)
        got = [(future.result(60).problem_id, future.result().verdict, future.result().reason) for future in futures]
        stats = pool.stats()
        inside |= descendants(pool._supervisor.pid) | {pool._supervisor.pid}
    assert got == [(f"c{i}", *FATES[fate][1]) for i, fate in enumerate(fates)]
    assert sorted(answered) == list(range(count))
    assert (stats["judged"], stats["unjudged"]) == (count, 0)
    assert killed >= count // 60 and stats["retried"] <= killed
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
from acejax.verification import pool as pool_module
from acejax.verification.pool import VerificationPool
from acejax.verification.supervisor import Supervisor, Task
from acejax.verification.worker import CODE, CODE_ALONE, HEADER
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
    parent = subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], **how
    )
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
