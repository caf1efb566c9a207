"""The pool: every task gets its one verdict whatever happens to workers, and nothing outlives the parent."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import BOUND_S, MIDWAY, descendants, midway, switches, wait_all_gone, wait_until, workers_of

import acejax
from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.verification import pool as pool_module
from acejax.verification.parts import Asked
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
            got = future.result(BOUND_S)
            assert (got.problem_id, got.sample, got.verdict) == (problem.id, sample, verdict)
        missing = pool.submit(math_problem("m", "1"), 0, "\\boxed{1}").result(BOUND_S)
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


def test_killed_workers_lose_nothing():
    """Workers are killed in the middle of their tasks, with their sandboxes; the tasks are judged all the same."""
    # No two programs are the same: a worker would remember the verdict.
    slow = [program(MIDWAY + f"time.sleep(0.5)\nprint({'input()' if i % 2 else 4})  # {i}") for i in range(16)]
    with VerificationPool(2) as pool:
        pool.submit(code_problem(), 0, program("print(4)")).result(BOUND_S)
        futures = [pool.submit(code_problem(), i, response) for i, response in enumerate(slow)]
        inside: set[int] = {pool._supervisor.pid}
        for kill_after in (0, 9):  # far enough apart that no task is hit twice
            futures[kill_after].result(BOUND_S)
            busy = wait_until(lambda: [pid for pid in workers_of(pool) if midway(pid)])
            inside |= descendants(pool._supervisor.pid)
            os.kill(random.Random(kill_after).choice(busy), signal.SIGKILL)
        assert [future.result(BOUND_S).verdict for future in futures] == ["wrong", "correct"] * 8
        assert pool.stats()["judged"] == 17
        inside |= descendants(pool._supervisor.pid)
    wait_all_gone(inside)


def spin(seconds):
    return program(f"import time\nwhile time.process_time() < {seconds}: pass\nprint(input())")


def test_a_program_close_to_its_limit_runs_once_more_alone():
    with VerificationPool(2, time_limit_s=0.5) as pool:
        seconds = (0.1, 0.55, 5.0, 0.1)
        futures = [pool.submit(code_problem(f"c{i}"), 0, spin(one)) for i, one in enumerate(seconds)]
        verdicts = [(future.result(BOUND_S).verdict, future.result().reason) for future in futures]
        assert verdicts == [("correct", "ok"), ("wrong", "timeout"), ("wrong", "timeout"), ("correct", "ok")]
        # It may take 1.5 s of wall time, which a busy machine may keep from one of them, but not from all.
        close_calls = (pool.submit(code_problem(f"n{i}"), 0, spin(0.45)).result(BOUND_S).verdict for i in range(20))
        assert "correct" in close_calls
        stats = pool.stats()
        assert (stats["unjudged"], stats["retried"]) == (0, 0)
        assert stats["rerun"] >= 1


def test_workers_are_recycled_by_count_and_by_memory():
    for limits in ({"recycle_after": 3}, {"recycle_mb": 1}):
        with VerificationPool(1, **limits) as pool:
            pool.submit(math_problem("m", "0"), 0, boxed(0)).result(BOUND_S)
            before = set(workers_of(pool))
            futures = [pool.submit(math_problem("m", str(i)), i, boxed(i)) for i in range(8)]
            assert [future.result(BOUND_S).verdict for future in futures] == ["correct"] * 8
            # The last verdict is told before its worker ends. One that only stood by may stay.
            wait_until(lambda before=before, pool=pool: before - set(workers_of(pool)))
            assert pool.stats()["retried"] == 0


def test_a_group_s_equal_programs_are_judged_once():
    coin = program("import os\nprint(3 if os.urandom(1)[0] % 2 else 4)")
    with VerificationPool(1) as pool:
        futures = [pool.submit(code_problem(), i, coin) for i in range(16)]
        assert len({future.result(BOUND_S).verdict for future in futures}) == 1
        others = [
            pool.submit(code_problem(tests={"kind": "stdin", "cases": [{"input": "3", "output": o}]}), 0, coin)
            for o in "34"
        ]
        assert {future.result(BOUND_S).verdict for future in others} <= {"correct", "wrong"}
        assert pool.submit(code_problem(), 0, program("print(input())")).result(BOUND_S).verdict == "correct"


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
        assert all(future.result(BOUND_S).verdict == "correct" for future in futures)


def test_sigterm_ends_the_supervisor_and_all_below():
    with VerificationPool(2) as pool:
        pool.submit(code_problem(), 0, program("print(input())")).result(BOUND_S)
        slow = pool.submit(code_problem(time_limit_s=600.0), 0, program(MIDWAY + "time.sleep(600)"))
        wait_until(lambda: midway(pool._supervisor.pid))
        inside = descendants(pool._supervisor.pid) | {pool._supervisor.pid}
        os.kill(pool._supervisor.pid, signal.SIGTERM)
        assert slow.result(BOUND_S).verdict == "unjudged"
        assert pool._supervisor.wait(BOUND_S) == 0
        wait_all_gone(inside)


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
            future = pool.submit(code_problem(f"c{i}", time_limit_s=0.5), i, program(FATES[fate][0].format(i)))
            future.add_done_callback(lambda _, i=i: answered.append(i))
            futures.append(future)
        inside, killed, next_kill = set(), 0, 10
        end = time.monotonic() + BOUND_S + count
        while (judged := sum(pool.stats()[name] for name in ("judged", "unjudged"))) < count:
            assert time.monotonic() < end, f"{judged} of {count} were judged"
            if judged >= next_kill:
                inside |= descendants(pool._supervisor.pid)
                if running := workers_of(pool):
                    os.kill(draw.choice(running), signal.SIGKILL)
                killed, next_kill = killed + 1, judged + draw.randint(25, 50)
            time.sleep(0.02)
        got = [
            (future.result(BOUND_S).problem_id, future.result().verdict, future.result().reason) for future in futures
        ]
        stats = pool.stats()
        inside |= descendants(pool._supervisor.pid) | {pool._supervisor.pid}
    assert got == [(f"c{i}", *FATES[fate][1]) for i, fate in enumerate(fates)]
    assert sorted(answered) == list(range(count))
    assert (stats["judged"], stats["unjudged"]) == (count, 0)
    assert killed >= count // 60 and stats["retried"] <= killed
    wait_all_gone(inside)


BOMB = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"


@pytest.mark.parametrize("backend", ["bubblewrap", "rlimits"])
def test_closing_in_the_middle_of_a_fork_bomb_leaves_nothing(backend):
    with VerificationPool(1, backend=backend) as pool:
        pool.submit(code_problem(), 0, program("print(input())")).result(BOUND_S)
        pool.submit(code_problem(time_limit_s=30.0), 0, program(BOMB))
        wait_until(lambda: len(descendants(pool._supervisor.pid)) >= 25)
        inside = descendants(pool._supervisor.pid)
    wait_all_gone(inside | {pool._supervisor.pid})


def test_a_check_of_mathematics_that_hangs_is_wrong():
    """It is tried twice, then it is the answer's own fault; other tasks go on meanwhile."""
    with VerificationPool(2, math_deadline_s=0.0) as pool:  # no check can keep this deadline
        verdict = pool.submit(math_problem("m", "x+1"), 0, boxed("1+x")).result(BOUND_S)
        assert verdict.verdict in ("wrong", "correct")
        assert verdict.verdict == "correct" or verdict.reason == "timeout"
        code = pool.submit(code_problem(), 0, program("print(input())")).result(BOUND_S)
        assert code.verdict == "correct"


def test_code_verdicts_and_limits():
    with VerificationPool(2, time_limit_s=0.5) as pool:
        cases = {
            "print(input())": ("correct", "ok"),
            "print(4)": ("wrong", "wrong_output"),
            "while True: pass": ("wrong", "timeout"),
            "bytearray(1 << 32)": ("wrong", "memory"),
        }
        futures = {code: pool.submit(code_problem(), 0, program(code)) for code in cases}
        assert {
            code: (future.result(BOUND_S).verdict, future.result().reason) for code, future in futures.items()
        } == cases
        longer = pool.submit(code_problem(time_limit_s=3.0), 0, program("import time\ntime.sleep(2)\nprint(input())"))
        assert longer.result(BOUND_S).verdict == "correct"


def test_a_dead_supervisor_leaves_everything_unjudged_and_refuses_more():
    with VerificationPool(1) as pool:
        slow = pool.submit(code_problem(time_limit_s=600.0), 0, program(MIDWAY + "time.sleep(600)"))
        wait_until(lambda: midway(pool._supervisor.pid))
        inside = descendants(pool._supervisor.pid)
        pool._supervisor.kill()
        verdict = slow.result(BOUND_S)
        assert (verdict.verdict, verdict.reason) == ("unjudged", "infra")
        with pytest.raises(RuntimeError):
            pool.submit(math_problem("m", "1"), 0, boxed(1))
        wait_all_gone(inside)


PARENT = """
import json, signal, sys, time
from acejax.problems.problem import Problem
from acejax.verification.pool import VerificationPool
tests = {"kind": "stdin", "cases": [{"input": "3", "output": "3"}]}
problem = Problem("c", "code", "q", tests=tests, time_limit_s=600.0)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
with VerificationPool(2) as pool:
    futures = [pool.submit(problem, number, sys.argv[1]) for number in range(4)]
    try:
        print(pool._supervisor.pid, flush=True)
        while True:
            time.sleep(0.05)  # a signal that comes just before one long sleep would be seen at its end
    except KeyboardInterrupt:
        print(json.dumps([future.result().verdict for future in futures]), flush=True)
"""


@pytest.fixture
def start_parent():
    """Starts a process with a pool, and returns it and its supervisor's pid when programs run there."""
    started = []

    def start(pause_s, **how):
        response = program(MIDWAY + f"time.sleep({pause_s})\nprint(input())")
        environment = os.environ | {"PYTHONPATH": str(Path(acejax.__file__).parents[1])}
        command = [sys.executable, "-c", PARENT, response]
        parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, **how)
        started.append(parent)
        supervisor = int(parent.stdout.readline())
        wait_until(lambda: midway(supervisor))
        return parent, supervisor

    yield start
    for parent in started:
        parent.kill()
        parent.communicate()


def test_parent_killed_with_sigkill_leaves_no_process(start_parent):
    parent, supervisor = start_parent(600)
    inside = descendants(supervisor) | {supervisor}
    assert len(inside) >= 3
    parent.kill()
    parent.wait()
    wait_all_gone(inside)


def test_ctrl_c_reaches_the_parent_alone(start_parent):
    parent, supervisor = start_parent(2, process_group=0)
    os.killpg(parent.pid, signal.SIGINT)
    out, _ = parent.communicate(timeout=BOUND_S)
    assert json.loads(out) == ["correct"] * 4
    assert parent.returncode == 0
    wait_all_gone({supervisor})


def test_idle_pool_never_wakes():
    with VerificationPool(2) as pool:
        pool.submit(math_problem("m", "1"), 0, boxed(1)).result(BOUND_S)
        pool.submit(code_problem(), 0, program("print(input())")).result(BOUND_S)

        def slept_for_a_second():
            before = switches(pool._supervisor.pid)
            time.sleep(1.0)
            return switches(pool._supervisor.pid) == before

        wait_until(slept_for_a_second)


@pytest.mark.parametrize("weight", ["much", None, 10**400, float("nan"), float("-inf")], ids=lambda one: str(one)[:9])
def test_a_weight_that_is_no_finite_number_is_refused(weight):
    with VerificationPool(1) as pool:
        with pytest.raises(UserError, match=r"weight of 'verifier' is .*; give a finite number"):
            pool.submit(math_problem("m", "1"), 0, boxed(1), {"verifier": weight})
        assert pool.submit(math_problem("m", "1"), 0, boxed(1), {"verifier": 2}).result(BOUND_S).score == 2.0


@pytest.mark.parametrize("where", [(VerificationPool, "_hear"), (Asked, "verdict")])
def test_a_reader_that_fails_leaves_nobody_waiting(monkeypatch, caplog, where):
    def fails(*_):
        raise ValueError("nobody foresaw it")

    monkeypatch.setattr(*where, fails)
    with VerificationPool(1) as pool:
        verdict = pool.submit(math_problem("m", "1"), 0, boxed(1)).result(BOUND_S)
        assert (verdict.verdict, verdict.reason) == ("unjudged", "infra")
        assert "ValueError: nobody foresaw it" in caplog.text
        with pytest.raises(RuntimeError):
            pool.submit(math_problem("m", "1"), 0, boxed(1))


def test_a_deadline_may_be_very_long():
    with VerificationPool(1, math_deadline_s=1e10) as pool:
        assert pool.submit(math_problem("m", "x+1"), 0, boxed("1+x")).result(BOUND_S).verdict == "correct"


def test_workers_must_be_positive():
    with pytest.raises(UserError, match="workers"):
        VerificationPool(0)
