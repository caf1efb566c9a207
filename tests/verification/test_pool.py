"""The pool: every task gets its one verdict whatever happens to workers, and nothing outlives the parent."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path

import pytest
from processes import BOUND_S, MIDWAY, descendants, midway, switches, wait_all_gone, wait_until, workers_of

import acejax
from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.verification import pool as pool_module
from acejax.verification.crew import NEVER, Crew, Slot, Task
from acejax.verification.parts import Asked
from acejax.verification.pool import VerificationPool
from acejax.verification.supervisor import MAX_FAILED_STARTS, Supervisor, _users_world
from acejax.verification.verifier import Settings
from acejax.verification.wire import Order, contents_of, order_of, pack

ECHO = {"kind": "stdin", "cases": [{"input": "3\n", "output": "3\n"}]}


SETTINGS = Settings(
    folder="",
    workers=2,
    rewards=(),
    require_think_end=True,
    time_limit_s=1.0,
    memory_limit_mb=512,
    math_deadline_s=5.0,
    reward_deadline_s=60.0,
    unsafe=False,
    backend=None,
    recycle_after=10,
    recycle_mb=1024,
)


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


def supervisor_that_tells(monkeypatch):
    """A supervisor without processes, and the list of what it tells the trainer."""
    told = []
    supervisor = Supervisor(None, SETTINGS)
    monkeypatch.setattr(supervisor, "tell", told.append)
    return supervisor, told


def test_a_verdict_that_changes_is_counted(monkeypatch):
    supervisor, told = supervisor_that_tells(monkeypatch)
    order = Order(7, "code", deadline_s=9.0, warm=True)
    task = Task(order, pack(order, b"{}", b"abc"))
    supervisor.answer(task, {"verdict": "correct", "reason": "ok", "seconds": 1.0, "close_call": True})
    assert not told and list(supervisor.close_calls) == [task]
    alone = order_of(task.frame)
    assert alone == task.order and alone.alone and (alone.number, alone.deadline_s) == (7, 9.0)
    assert contents_of(task.frame) == (b"{}", b"abc")
    second = {"verdict": "wrong", "reason": "timeout", "seconds": 1.0, "close_call": False}
    supervisor.answer(task, dict(second))
    assert told == [second | {"flipped": True, "number": 7, "failures": 0}]


@pytest.mark.parametrize(
    ("failures", "verdict", "reason", "seconds"),
    [
        (["timeout", "timeout"], "wrong", "timeout", 9.0),
        (["timeout", "infra"], "unjudged", "infra:m:f", 0.0),
        (["crash"] * 4, "unjudged", "infra:m:f", 0.0),
    ],
)
def test_a_task_is_given_up_as_its_order_says(monkeypatch, failures, verdict, reason, seconds):
    supervisor, told = supervisor_that_tells(monkeypatch)
    order = Order(7, "m:f", deadline_s=9.0, second_timeout=("wrong", "timeout"), failure="infra:m:f")
    task = Task(order, pack(order))
    crew = supervisor.crews["bare"]
    for failure in failures:
        assert not told
        supervisor.fail(crew, task, failure, "")
    assert [(one["verdict"], one["reason"], one["seconds"]) for one in told] == [(verdict, reason, seconds)]
    assert list(crew.again) == [task] * (len(failures) - 1)


class Wire:
    """A worker's socket that takes everything, and gives what the worker `said`."""

    said = b""

    def send_bytes(self, data):
        pass

    def recv_bytes(self, maxlength):
        return self.said


def crew_of(monkeypatch, *judged, starting=0):
    """A supervisor and its crew, whose free workers have judged so many tasks; more workers are still starting."""
    supervisor, _ = supervisor_that_tells(monkeypatch)
    crew = supervisor.crews["bare"]
    crew.size = len(judged) + starting
    monkeypatch.setattr(crew, "is_worn", lambda slot: False)
    crew.slots += [Slot(crew, None, Wire(), NEVER, ready=True, judged=count) for count in judged]
    crew.slots += [Slot(crew, None, Wire(), NEVER) for _ in range(starting)]
    return supervisor, crew


def task(number, *failures):
    order = Order(number, "code")
    return Task(order, pack(order), list(failures))


def held(crew):
    return [slot.task and slot.task.order.number for slot in crew.slots]


def test_every_task_that_failed_gets_a_fresh_worker_while_there_are_some(monkeypatch):
    supervisor, crew = crew_of(monkeypatch, 5, 0, 0)
    crew.again.extend([task(1, "timeout"), task(2, "timeout")])
    crew.queue.extend([task(3), task(4)])
    supervisor.deal()
    assert sorted(held(crew)[1:]) == [1, 2] and held(crew)[0] == 3


def test_a_task_that_failed_waits_for_a_fresh_worker_that_starts(monkeypatch):
    supervisor, crew = crew_of(monkeypatch, 5, starting=1)
    crew.again.append(task(1, "crash"))
    crew.queue.append(task(2))
    supervisor.deal()
    assert held(crew) == [2, None]
    crew.slots[1].ready = True
    supervisor.deal()
    assert held(crew) == [2, 1]


def test_a_task_that_failed_is_never_stranded(monkeypatch):
    """Fresh workers may be gone: a close call that settled took the last one."""
    supervisor, crew = crew_of(monkeypatch, 5, 1)
    crew.again.append(task(1, "crash"))
    crew.queue.append(task(2))
    supervisor.deal()
    assert held(crew) == [2, 1]


def test_a_crew_of_rewards_shrinks_where_workers_do_not_start(monkeypatch):
    """Only the last one's failing for good ends the pool; the ordinary crew never shrinks."""
    supervisor, told = supervisor_that_tells(monkeypatch)
    crew = supervisor.crews["user"] = Crew("user", SETTINGS)
    crew.loaded = True
    crew.slots.append(Slot(crew, None, Wire(), NEVER, ready=True))
    failing = Slot(crew, None, Wire(), NEVER)
    assert all(supervisor.may_start_again(failing, "crash", "no room") for _ in range(MAX_FAILED_STARTS - 1))
    assert not supervisor.may_start_again(failing, "crash", "no room")
    assert crew.size == SETTINGS.workers - 1
    assert [*told[0]] == ["notice"] and "no room" in told[0]["notice"]
    crew.slots.clear()
    with pytest.raises(EOFError):
        for _ in range(MAX_FAILED_STARTS):
            assert supervisor.may_start_again(failing, "crash", "no room")


def test_an_answer_to_another_task_is_dropped(monkeypatch):
    supervisor, crew = crew_of(monkeypatch, 1)
    slot = crew.slots[0]
    supervisor.hand(slot, task(7))
    verdict = {"verdict": "correct", "reason": "ok", "seconds": 1.0}
    messages = [verdict | {"number": 6}, verdict | {"number": 7}, verdict | {"number": 7}, {"infra": "x", "number": 7}]
    told = []
    monkeypatch.setattr(supervisor, "tell", told.append)
    for message in messages:
        slot.conn.said = json.dumps(message).encode()
        supervisor.hear(slot)
    assert told == [verdict | {"number": 7, "failures": 0}] and crew.slots == [slot]


def test_a_slow_reward_does_not_hold_up_a_close_call(monkeypatch):
    supervisor, crew = crew_of(monkeypatch, 1)
    rewards = supervisor.crews["user"] = Crew("user", SETTINGS)
    rewards.slots.append(Slot(rewards, None, Wire(), NEVER, ready=True, task=task(1)))
    close_call = task(2)
    close_call.first = {"verdict": "correct"}
    supervisor.close_calls.append(close_call)
    supervisor.deal()
    assert held(crew) == [2]


def test_workers_are_recycled_by_count_and_by_memory():
    for limits in ({"recycle_after": 3}, {"recycle_mb": 1}):
        with VerificationPool(1, **limits) as pool:
            pool.submit(math_problem("m", "0"), 0, boxed(0)).result(BOUND_S)
            before = set(workers_of(pool))
            futures = [pool.submit(math_problem("m", str(i)), i, boxed(i)) for i in range(8)]
            assert [future.result(BOUND_S).verdict for future in futures] == ["correct"] * 8
            # The last verdict is told before its worker ends.
            wait_until(lambda before=before, pool=pool: not before & set(workers_of(pool)))
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


def test_a_parent_that_ends_before_it_says_anything_is_seen(monkeypatch):
    """The other end of the socket stays open, as it does where a forked relative of the parent holds it."""
    ours, theirs = Pipe()
    parent = subprocess.Popen(["sleep", "600"])
    monkeypatch.setattr(os, "getppid", lambda: parent.pid)
    parent.kill()
    with ours, theirs, pytest.raises(EOFError):
        _users_world(theirs, parent.pid)
    parent.wait()


def test_workers_must_be_positive():
    with pytest.raises(UserError, match="workers"):
        VerificationPool(0)
