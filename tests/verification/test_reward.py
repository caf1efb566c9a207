"""Rewards of a user's own: both signatures, what their results mean, and what happens where they fail."""

import os
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

import acejax
from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.verification.plugin import RewardPool, ground_truth, verdict_of

MODULE = """
import os, sys, time

def verl(data_source, solution_str, ground_truth, extra_info=None):
    print("noise")
    return {"score": float(solution_str == ground_truth), "acc": solution_str == ground_truth}

def arguments(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    assert (data_source, ground_truth, extra_info["index"], extra_info["id"]) == ("s", "4", 3, "m"), (data_source, ground_truth, extra_info)
    return os.getpid()

def trl(completions, answer, **kwargs):
    assert kwargs["prompts"] == ["2+2?"] and kwargs["id"] == ["m"]
    return [1.0 if c == a else -1.0 for c, a in zip(completions, answer)]

def trl_messages(prompts, completions, solution, **kwargs):
    rewards = [1.0 if c[0]["content"] == a else 0.0 for c, a in zip(completions, solution)]
    assert prompts[0][0] == {"role": "user", "content": "2+2?"}
    return rewards

def trl_bare(completions):
    return [None for _ in completions]

def fails(solution_str, ground_truth):
    if solution_str == "die":
        os._exit(3)
    if solution_str == "hang":
        time.sleep(60)
    if solution_str == "exit":
        sys.exit(1)
    raise ValueError("no box in " + solution_str)

def busy(solution_str, ground_truth):
    with open(ground_truth + "~", "w") as file:
        file.write(str(os.getpid()))
    os.replace(ground_truth + "~", ground_truth)
    time.sleep(60)

def once(solution_str, ground_truth):
    if not os.path.exists(ground_truth):
        open(ground_truth, "w").close()
        os._exit(1)
    return 1

def neither(prediction, reference):
    return 1

def wants(completions, trainer_state):
    return [1.0]

def pid(solution_str):
    return os.getpid()
"""
MATH = Problem("m", "math", "2+2?", "s", ("4",), meta={"extra_info": {"index": 3}})


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "made_reward.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)  # where a user's module is looked for


def judge(name, *responses, problem=MATH, **options):
    with RewardPool(f"made_reward:{name}", **options) as pool:
        return [
            future.result(60)
            for future in [pool.submit(problem, number, response) for number, response in enumerate(responses)]
        ]


@pytest.mark.parametrize(("name", "low"), [("verl", 0.0), ("trl", -1.0), ("trl_messages", 0.0)])
def test_both_signatures(name, low):
    right, wrong = judge(name, "4", "5")
    assert (right.problem_id, right.sample, right.verdict, right.reason, right.score) == ("m", 0, "correct", "ok", 1.0)
    assert (wrong.sample, wrong.verdict, wrong.reason, wrong.score) == (1, "wrong", "low_score", low)
    assert right.to_record()["score"] == 1.0 and right.seconds > 0


def test_a_reward_gets_the_fields_of_the_problem_in_a_process_of_its_own():
    (verdict,) = judge("arguments", "r")
    assert verdict.verdict == "correct" and verdict.score != os.getpid()


def test_workers_are_several_processes():
    with RewardPool("made_reward:pid", 2) as pool:
        scores = set()
        end = time.monotonic() + 30
        while len(scores) < 2 and time.monotonic() < end:
            scores |= {future.result(30).score for future in [pool.submit(MATH, 0, "r") for _ in range(20)]}
    assert len(scores) == 2
    for pid in scores:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_a_failing_reward_leaves_the_completion_unjudged(caplog):
    verdicts = judge("fails", "a", "die", "exit", "hang", "b", deadline_s=1.0)
    assert [(v.verdict, v.reason, v.score) for v in verdicts] == [
        ("unjudged", "reward_error:ValueError", None),
        ("unjudged", "infra", None),
        ("unjudged", "infra", None),
        ("unjudged", "timeout", None),
        ("unjudged", "reward_error:ValueError", None),
    ]
    assert "ValueError: no box in a" in caplog.text and "no answer in 1 s" in caplog.text


def test_a_worker_that_died_is_tried_again(tmp_path):
    mark = str(tmp_path / "mark")
    with RewardPool("made_reward:once") as pool:
        assert pool.submit(Problem("m", "math", "p", answer=(mark,)), 0, "r").result(60).verdict == "correct"
        assert pool.stats()["retried"] == 1 and pool.stats()["judged"] == 1


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        ("made_reward", "write it as module:function"),
        ("made_reward:", "write it as module:function"),
        ("no_such_module_here:f", "ModuleNotFoundError"),
        ("made_reward:no_such", "has no attribute 'no_such'"),
        ("made_reward:neither", r"takes \(prediction, reference\); it must take verl's 'solution_str'"),
        ("made_reward:wants", "needs trainer_state, which no problem has"),
        ("made_reward:os", "TypeError"),
    ],
)
def test_what_cannot_be_called_is_refused_at_once(reward, words):
    with pytest.raises(UserError, match=words):
        RewardPool(reward)


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (1, ("correct", "ok", 1.0)),
        (True, ("correct", "ok", 1.0)),
        (0.999, ("wrong", "low_score", 0.999)),
        ({"score": 2.5}, ("correct", "ok", 2.5)),
        ({"score": 1.0, "acc": False}, ("wrong", "low_score", 1.0)),
        ({"score": -1, "acc": True}, ("correct", "ok", -1.0)),
        ({}, ("unjudged", "no_score", None)),
        (None, ("unjudged", "no_score", None)),
        (float("nan"), ("unjudged", "no_score", None)),
        ("1", ("unjudged", "no_score", None)),
    ],
)
def test_what_a_result_means(result, outcome):
    assert verdict_of(result) == outcome


def test_a_result_without_a_score_is_unjudged():
    (verdict,) = judge("trl_bare", "r")
    assert (verdict.verdict, verdict.reason) == ("unjudged", "no_score")


def test_ground_truth_is_what_verl_expects():
    assert ground_truth(MATH) == "4"
    assert ground_truth(Problem("m", "math", "p", answer=("1/2", "0.5"))) == ["1/2", "0.5"]
    stdin = {"kind": "stdin", "cases": [{"input": "1", "output": "2"}]}
    assert ground_truth(Problem("c", "code", "p", tests=stdin)) == '{"inputs": ["1"], "outputs": ["2"]}'
    calls = {"kind": "function", "fn_name": "f", "cases": [{"args": [1], "output": 2}]}
    assert ground_truth(Problem("c", "code", "p", tests=calls)) == '{"inputs": [[1]], "outputs": [[2]], "fn_name": "f"}'


def busy_worker(mark):
    """The process that is in the middle of a call of `busy`."""
    end = time.monotonic() + 30
    while not mark.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    return int(mark.read_text())


def test_closing_does_not_wait_and_resolves_what_is_queued(tmp_path):
    pool = RewardPool("made_reward:busy")
    futures = [
        pool.submit(Problem("m", "math", "p", answer=(str(tmp_path / "mark"),)), number, "r") for number in range(40)
    ]
    worker = busy_worker(tmp_path / "mark")
    began = time.monotonic()
    pool.close()
    pool.close()
    assert time.monotonic() - began < 10 and not lives(worker)
    assert all(isinstance(future, Future) and future.result(5).verdict == "unjudged" for future in futures)
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(MATH, 0, "a")


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nothing_outlives_a_parent_that_is_killed(tmp_path):
    code = """
from acejax.problems.problem import Problem
from acejax.verification.plugin import RewardPool
RewardPool("made_reward:busy").submit(Problem("m", "math", "p", answer=("mark",)), 0, "r").result()
"""
    environment = os.environ | {"PYTHONPATH": str(Path(acejax.__file__).parents[1])}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
    worker = busy_worker(tmp_path / "mark")
    parent.kill()
    parent.wait()
    end = time.monotonic() + 20
    while lives(worker):
        assert time.monotonic() < end
        time.sleep(0.05)
