"""Rewards that misbehave in their worker's process: nobody else waits for them, or gets their answers."""

import os
import signal

import pytest
from processes import BOUND_S, wait_until, workers_of

from acejax.problems.problem import Problem
from acejax.verification.pool import VerificationPool

MATH = Problem("m", "math", "2+2?", "s", ("4",))
RIGHT = "</think>\\boxed{4}"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where a user's module is looked for


ODD = """
import asyncio, os, time

def pid(solution_str):
    return os.getpid()

client = None

async def is_cancelled(solution_str):
    raise asyncio.CancelledError

async def keeps_a_client(solution_str):
    global client
    client = client or asyncio.get_running_loop()
    client.call_soon(print)
    return float(client is asyncio.get_running_loop())

def leaves_a_child(solution_str):
    if os.fork() == 0:
        time.sleep(600)
    return os.getpid()

def starts_a_program(solution_str):
    os.system("sleep 600 &")
    return os.getpid()

def answers_twice(solution_str):
    return float(solution_str) + (os.fork() == 0)

def writes(solution_str):
    for handle in range(3, 20):
        try:
            if os.readlink(f"/proc/self/fd/{handle}").startswith("socket"):
                os.write(handle, solution_str.encode())
        except OSError:
            pass
    return 0.5
"""


def pool_of_odd(tmp_path, *names):
    (tmp_path / "odd.py").write_text(ODD)
    return VerificationPool(1, rewards=[f"odd:{name}" for name in names])


def test_a_worker_that_does_not_read_keeps_nobody_else_waiting(tmp_path):
    with pool_of_odd(tmp_path, "pid") as pool:
        weights = {"odd:pid": 1.0}
        stopped = int(pool.submit(MATH, 0, "r", weights).result(BOUND_S).score)
        os.kill(stopped, signal.SIGSTOP)
        graded = pool.submit(MATH, 0, "r" * (1 << 20), weights)
        assert pool.submit(MATH, 0, RIGHT).result(BOUND_S).verdict == "correct"
        assert graded.result(BOUND_S).score != stopped


@pytest.mark.parametrize("noise", ["noise that claims to be long", "\0\0\0\x50half", "\0\0\x7f\x7fhalf"])
def test_a_reward_that_writes_to_its_worker_s_socket_stops_nobody_else(tmp_path, noise):
    with pool_of_odd(tmp_path, "writes") as pool:
        graded = pool.submit(MATH, 0, noise, {"odd:writes": 1.0})
        assert pool.submit(MATH, 0, RIGHT).result(BOUND_S).verdict == "correct"
        assert not graded.done() or graded.result().reason == "infra:odd:writes"


def test_what_an_async_reward_keeps_between_calls_stays_of_use(tmp_path):
    with pool_of_odd(tmp_path, "keeps_a_client") as pool:
        futures = [pool.submit(MATH, number, "r", {"odd:keeps_a_client": 1.0}) for number in range(3)]
        assert [future.result(BOUND_S).reason for future in futures] == ["ok"] * 3


def test_a_reward_that_is_cancelled_is_an_error_of_its_own(tmp_path):
    with pool_of_odd(tmp_path, "is_cancelled") as pool:
        verdict = pool.submit(MATH, 0, "r", {"odd:is_cancelled": 1.0}).result(BOUND_S)
        assert verdict.reason == "reward_error:odd:is_cancelled:CancelledError"
        assert pool.stats()["retried"] == 0


def test_what_cannot_be_sent_sends_nothing(tmp_path):
    problem = Problem("m", "math", "q", answer=("4",), meta={"x": object()})
    with pool_of_odd(tmp_path, "pid") as pool:
        with pytest.raises(TypeError):
            pool.submit(problem, 0, RIGHT, {"verifier": 1.0, "odd:pid": 1.0})
        assert not pool._pending


@pytest.mark.parametrize("reward", ["leaves_a_child", "starts_a_program"])
def test_the_end_of_a_worker_shows_though_what_it_started_lives(tmp_path, reward):
    with pool_of_odd(tmp_path, reward) as pool:
        weights = {f"odd:{reward}": 1.0}
        worker = int(pool.submit(MATH, 0, "r", weights).result(BOUND_S).score)
        os.kill(worker, signal.SIGKILL)
        assert pool.submit(MATH, 0, "r", weights).result(BOUND_S).score != worker


def test_a_fork_of_a_reward_s_worker_answers_nothing(tmp_path):
    with pool_of_odd(tmp_path, "answers_twice") as pool:
        futures = [pool.submit(MATH, number, str(number), {"odd:answers_twice": 1.0}) for number in range(8)]
        assert [future.result(BOUND_S).score for future in futures] == [float(number) for number in range(8)]


LOADS_ONCE = """
import os, time
try:
    os.mkdir("taken")
    time.sleep(1)
except FileExistsError:
    raise MemoryError("no room for a second model") from None

def pid(solution_str):
    return os.getpid()
"""


def test_a_reward_that_has_room_in_one_worker_alone_goes_on_there(tmp_path, caplog):
    """Whichever worker is first to say how its loading went; the others' end is no end of the pool."""
    (tmp_path / "loads_once.py").write_text(LOADS_ONCE)
    with VerificationPool(2, rewards=["loads_once:pid"]) as pool:
        wait_until(lambda: "not every worker of the rewards starts" in caplog.text)
        assert "no room for a second model" in caplog.text
        verdicts = [pool.submit(MATH, i, RIGHT, {"verifier": 1.0, "loads_once:pid": 1.0}) for i in range(4)]
        assert {verdict.result(BOUND_S).verdict for verdict in verdicts} == {"correct"}
        assert len(workers_of(pool, "user")) == 1
