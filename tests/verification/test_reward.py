"""Rewards of a user's own: both signatures, what their results mean, what their workers see, and what happens where
they fail.
"""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pydantic
import pytest
from processes import BOUND_S, lives, wait_all_gone, wait_until, workers_of

import acejax
from acejax.config import GrpoStage
from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.verification.pool import VerificationPool
from acejax.verification.reward import ground_truth, verdict_of

MODULE = """
import asyncio, os, sys, time

def verl(data_source, solution_str, ground_truth, extra_info=None):
    return {"score": float(solution_str == ground_truth), "acc": solution_str == ground_truth}

async def verl_async(solution_str, ground_truth):
    await asyncio.sleep(0)
    return float(solution_str == ground_truth)

def arguments(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    found = (data_source, ground_truth, extra_info["index"], extra_info["id"])
    assert found == ("s", "4", 3, "m"), found
    return os.getpid()

def trl(completions, answer, **kwargs):
    assert kwargs["prompts"] == ["2+2?"] and kwargs["id"] == ["m"]
    return [1.0 if c == a else -1.0 for c, a in zip(completions, answer)]

async def trl_async(completions, answer):
    await asyncio.sleep(0)
    return [1.0 if c == a else -1.0 for c, a in zip(completions, answer)]

def trl_messages(prompts, completions, solution, **kwargs):
    rewards = [1.0 if c[0]["content"] == a else 0.0 for c, a in zip(completions, solution)]
    assert prompts[0][0] == {"role": "user", "content": "2+2?"}
    return rewards

def trl_bare(completions):
    return [None for _ in completions]

def length(solution_str):
    return len(solution_str) / 10

def prints(solution_str):
    print("noise" * 100_000, flush=True)
    os.write(1, b'{"verdict": "correct"}')
    return 0.5

def environment(solution_str):
    here = sys.path[0] == os.getcwd() == os.path.dirname(os.path.abspath(__file__))
    return float(os.environ[solution_str]) if here else -1.0

def fails(solution_str, ground_truth):
    if solution_str == "die":
        os._exit(3)
    if solution_str == "hang":
        time.sleep(600)
    if solution_str == "exit":
        sys.exit(1)
    raise ValueError("no box in " + solution_str)

def busy(solution_str, ground_truth):
    with open(ground_truth + "~", "w") as file:
        file.write(str(os.getpid()))
    os.replace(ground_truth + "~", ground_truth)
    time.sleep(600)

def once(solution_str, ground_truth):
    if not os.path.exists(ground_truth):
        open(ground_truth, "w").close()
        if solution_str == "die":
            os._exit(1)
        time.sleep(600)
    return 1

def neither(prediction, reference):
    return 1

def wants(completions, trainer_state):
    return [1.0]

def pid(solution_str):
    return os.getpid()

def dumpable(solution_str):
    import ctypes
    PR_GET_DUMPABLE = 3
    return ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)

calls = 0

def counts(solution_str):
    global calls
    calls += 1
    return calls
"""
MATH = Problem("m", "math", "2+2?", "s", ("4",), meta={"extra_info": {"index": 3}})
RIGHT = "</think>\\boxed{4}"
SECRET = "ACEJAX_TEST_SECRET"


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "made_reward.py").write_text(MODULE)
    (tmp_path / "dies_as_it_loads.py").write_text("import os\nos._exit(3)\n")
    monkeypatch.chdir(tmp_path)  # where a user's module is looked for


def pool_of(*names, workers=1, **options):
    return VerificationPool(workers, rewards=[f"made_reward:{name}" for name in names], **options)


def judge(name, *responses, problem=MATH, **options):
    with pool_of(name, **options) as pool:
        weights = {f"made_reward:{name}": 1.0}
        futures = [pool.submit(problem, number, response, weights) for number, response in enumerate(responses)]
        return [future.result(BOUND_S) for future in futures]


@pytest.mark.parametrize(
    ("name", "low"), [("verl", 0.0), ("verl_async", 0.0), ("trl", -1.0), ("trl_async", -1.0), ("trl_messages", 0.0)]
)
def test_both_signatures(name, low):
    right, wrong = judge(name, "4", "5")
    assert (right.problem_id, right.sample, right.verdict, right.reason, right.score) == ("m", 0, "correct", "ok", 1.0)
    assert (wrong.sample, wrong.verdict, wrong.reason, wrong.score) == (1, "wrong", "low_score", low)
    assert right.to_record()["score"] == 1.0 and right.seconds > 0


def test_a_reward_gets_the_fields_of_the_problem_in_a_process_of_its_own():
    (verdict,) = judge("arguments", "r")
    assert verdict.verdict == "correct" and verdict.score != os.getpid()


def test_weights_add_rewards_to_the_verifier():
    with pool_of("length", "trl") as pool:

        def verdict(response, weights):
            return pool.submit(MATH, 0, response, weights).result(BOUND_S)

        right = verdict(RIGHT, {"verifier": 1.0, "made_reward:length": 0.5})
        assert (right.verdict, right.reason) == ("correct", "ok")
        assert right.score == right.reward == 1.0 + 0.5 * len(RIGHT) / 10
        wrong = verdict("no box", {"made_reward:length": 2.0, "verifier": 1.0})
        assert (wrong.verdict, wrong.reason) == ("wrong", "no_think_end")
        assert wrong.score == 2.0 * len("no box") / 10
        both = verdict("4", {"made_reward:length": 1.0, "made_reward:trl": -3.0})
        assert (both.verdict, both.score) == ("wrong", 0.1 - 3.0)  # the first reward says what is correct
        alone, scored = verdict(RIGHT, None), verdict(RIGHT, {"verifier": 1.0})
        assert (alone.verdict, alone.reason, alone.score, alone.reward) == ("correct", "ok", None, 1.0)
        assert (scored.verdict, scored.reason, scored.score) == ("correct", "ok", 1.0)
        assert pool.stats()["judged"] == 5  # completions, not parts


@pytest.mark.parametrize("weights", [{"other:f": 1.0}, {"verifier": 1.0, "other:f": 1.0}])
def test_a_weight_of_something_unknown_is_refused(weights):
    with (
        pool_of("length") as pool,
        pytest.raises(UserError, match=r"'other:f': .*give one of 'verifier', 'made_reward:length'"),
    ):
        pool.submit(MATH, 0, RIGHT, weights)


@pytest.mark.parametrize("weight", [float("inf"), float("nan")])
def test_a_stage_s_weight_is_finite(weight):
    with pytest.raises(pydantic.ValidationError, match=r"rewards.verifier\n +Input should be a finite number"):
        GrpoStage.model_validate({"kind": "grpo", "rewards": {"verifier": weight}})


def test_weights_of_nothing_are_refused():
    with VerificationPool(1) as pool, pytest.raises(UserError, match="empty"):
        pool.submit(MATH, 0, RIGHT, {})


def test_workers_are_several_processes_and_end_with_the_pool():
    with pool_of("pid", workers=2) as pool:
        weights = {"made_reward:pid": 1.0}

        def both_have_answered():
            futures = [pool.submit(MATH, 0, "r", weights) for _ in range(20)]
            scores.update(int(future.result(BOUND_S).score) for future in futures)
            return len(scores) == 2

        scores: set[int] = set()
        wait_until(both_have_answered)
        assert scores == set(workers_of(pool, "user"))
    wait_all_gone(scores)


def test_the_same_answer_is_given_to_a_reward_again():
    scores = [verdict.score for verdict in judge("counts", "r", "r", "r")]
    assert scores == [1.0, 2.0, 3.0]


def test_a_failing_reward_leaves_the_completion_unjudged(caplog):
    verdicts = judge("fails", "a", "die", "exit", "hang", "b", reward_deadline_s=5.0)
    assert [(v.verdict, v.reason, v.score, v.reward) for v in verdicts] == [
        ("unjudged", "reward_error:made_reward:fails:ValueError", None, 0.0),
        ("unjudged", "infra:made_reward:fails", None, 0.0),
        ("unjudged", "reward_error:made_reward:fails:SystemExit", None, 0.0),
        ("unjudged", "timeout:made_reward:fails", None, 0.0),
        ("unjudged", "reward_error:made_reward:fails:ValueError", None, 0.0),
    ]
    assert "m sample 0 is unjudged" in caplog.text and "ValueError: no box in a" in caplog.text
    assert "its worker died" in caplog.text and "no answer in 5 s" in caplog.text
    assert "no box in b" not in caplog.text  # a kind is told once


def test_an_unjudged_part_makes_the_whole_unjudged():
    with pool_of("fails", "length") as pool:
        weights = {"verifier": 1.0, "made_reward:length": 1.0, "made_reward:fails": 1.0}
        verdict = pool.submit(MATH, 3, RIGHT, weights).result(BOUND_S)
        assert (verdict.problem_id, verdict.sample, verdict.verdict, verdict.score) == ("m", 3, "unjudged", None)
        assert verdict.reason == "reward_error:made_reward:fails:ValueError"
        stats = pool.stats()
        assert (stats["judged"], stats["unjudged"], stats["retried"]) == (0, 1, 0)


@pytest.mark.parametrize("way", ["die", "hang"])
def test_a_reward_that_died_or_hung_is_tried_again(tmp_path, way):
    problem = Problem("m", "math", "p", answer=(str(tmp_path / "mark"),))
    with pool_of("once", reward_deadline_s=5.0) as pool:
        verdict = pool.submit(problem, 0, way, {"made_reward:once": 1.0}).result(BOUND_S)
        assert verdict.verdict == "correct"
        assert pool.stats()["retried"] == 1 and pool.stats()["judged"] == 1


def test_what_a_reward_prints_goes_nowhere():
    assert [(v.verdict, v.score) for v in judge("prints", "a", "b")] == [("wrong", 0.5)] * 2


def test_only_a_reward_s_worker_has_the_user_s_environment(monkeypatch):
    monkeypatch.setenv(SECRET, "7")
    looks = f"import os\nprint(os.environ.get({SECRET!r}, 'absent'))"
    tests = {"kind": "stdin", "cases": [{"input": "", "output": "absent"}]}
    with pool_of("environment") as pool:
        graded = pool.submit(MATH, 0, SECRET, {"made_reward:environment": 1.0})
        program = pool.submit(Problem("c", "code", "q", tests=tests), 0, f"</think>\n```python\n{looks}\n```")
        assert graded.result(BOUND_S).score == 7.0
        assert program.result(BOUND_S).verdict == "correct"
        # Nothing shows it to another process: no command line, and no environment that a process began with.
        ours = wait_until(lambda: all_of(pool, 4))
        for pid in ours:
            for name in ("cmdline", "environ"):
                assert SECRET.encode() not in shown(pid, name)


def all_of(pool, count):
    """The supervisor and its workers, once there are so many of them."""
    found = [pool._supervisor.pid, *workers_of(pool, "bare"), *workers_of(pool, "user")]
    return found if len(found) == count else None


def shown(pid, name):
    """What /proc shows of a process; root is shown what others may not read."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except PermissionError:
        return b""


def test_no_other_process_of_the_user_can_read_a_reward_s_worker():
    assert [verdict.score for verdict in judge("dumpable", "r")] == [0.0]


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
        ("dies_as_it_loads:f", "reward 'dies_as_it_loads:f': its process died while it was loaded"),
    ],
)
def test_what_cannot_be_called_is_refused_at_once(reward, words):
    with pytest.raises(UserError, match=words):
        VerificationPool(1, rewards=["made_reward:length", reward])


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
    assert (verdict.verdict, verdict.reason) == ("unjudged", "no_score:made_reward:trl_bare")


def test_ground_truth_is_what_verl_expects():
    assert ground_truth(MATH) == "4"
    assert ground_truth(Problem("m", "math", "p", answer=("1/2", "0.5"))) == ["1/2", "0.5"]
    stdin = {"kind": "stdin", "cases": [{"input": "1", "output": "2"}]}
    assert ground_truth(Problem("c", "code", "p", tests=stdin)) == '{"inputs": ["1"], "outputs": ["2"]}'
    calls = {"kind": "function", "fn_name": "f", "cases": [{"args": [1], "output": 2}]}
    assert ground_truth(Problem("c", "code", "p", tests=calls)) == '{"inputs": [[1]], "outputs": [[2]], "fn_name": "f"}'
    script = {"kind": "script", "entry_point": "f", "script": "def check(f): pass"}
    assert json.loads(ground_truth(Problem("c", "code", "p", tests=script))) == script
    assert ground_truth(Problem("m", "math", "p")) is None


def busy_worker(mark):
    """The process that is in the middle of a call of `busy`."""
    wait_until(mark.exists)
    return int(mark.read_text())


def test_closing_does_not_wait_and_resolves_what_is_queued(tmp_path):
    pool = pool_of("busy")
    problem = Problem("m", "math", "p", answer=(str(tmp_path / "mark"),))
    futures = [pool.submit(problem, number, "r", {"made_reward:busy": 1.0}) for number in range(40)]
    worker = busy_worker(tmp_path / "mark")
    pool.close()
    pool.close()
    assert not lives(worker)
    assert all(isinstance(future, Future) and future.result(BOUND_S).verdict == "unjudged" for future in futures)
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(MATH, 0, "a")


PARENT = """
from acejax.problems.problem import Problem
from acejax.verification.pool import VerificationPool
pool = VerificationPool(1, rewards=["made_reward:busy"])
problem = Problem("m", "math", "p", answer=("mark",))
pool.submit(problem, 0, "r", {"made_reward:busy": 1.0}).result()
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_parent_that_is_killed(tmp_path, end):
    environment = os.environ | {"PYTHONPATH": str(Path(acejax.__file__).parents[1])}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], env=environment)
    try:
        worker = busy_worker(tmp_path / "mark")
        parent.send_signal(end)
        parent.wait(BOUND_S)
        wait_all_gone({worker})
    finally:
        parent.kill()
        parent.wait()


def test_the_command_judges_with_a_reward(tmp_path):
    problem = MATH.to_record()
    rows = [{"problem_id": "m", "sample": number, "response": text} for number, text in enumerate(("4", "5"))]
    (tmp_path / "p.jsonl").write_text(json.dumps(problem) + "\n")
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "acejax.cli", "verify", "--workers", "1", "--reward", "made_reward:verl"]
    command += ["--problems", "p.jsonl", "--completions", "c.jsonl", "--output", "v.jsonl"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S)
    assert run.returncode == 0, run.stderr
    found = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert [(one["verdict"], one["reason"], one["score"]) for one in found] == [
        ("correct", "ok", 1.0),
        ("wrong", "low_score", 0.0),
    ]
    command[command.index("made_reward:verl")] = "made_reward:neither"
    refused = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S)
    assert refused.returncode == 2 and "it must take verl's" in refused.stderr
