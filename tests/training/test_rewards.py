"""Training with rewards of the user's: verl's and TRL's signature, sync and async, graded, beside ours and instead of
it.
"""

import pytest
from runs import TINY, run

from acejax.run.records import read_metrics, read_samples

CONFIG = (
    TINY
    + """
sampling: {{slots: 16, chunk: 8, stop_ids: {stops}}}
verification: {{workers: 1, reward_deadline_s: {deadline}}}
logging: {{samples_per_step: 16}}
stages:
  math:
    {{kind: grpo, domain: math, steps: 2, learning_rate: 1e-3, prompts_per_step: 4, group_size: 4, response_tokens: 16,
      problems: [{{builtin: math, count: 20, difficulties: [1]}}], rewards: {rewards}}}
"""
)
# Every eighth token ends a response: what is cut off would earn nothing, whatever a reward says.
STOPS = list(range(5, 596, 8))
MODULE = """
import os

def verl(data_source, solution_str, ground_truth, extra_info=None):
    return {"score": len(solution_str) % 4 / 4}

async def verl_async(data_source, solution_str, ground_truth, extra_info=None):
    return len(solution_str) % 3 / 3

def trl(completions, answer, **columns):
    return [float("1" in text) for text in completions]

async def trl_async(completions, **columns):
    return [float(os.environ["ACEJAX_TEST_BONUS"]) for _ in completions]

def raises(completions, **columns):
    raise ZeroDivisionError("by design")

def hangs(completions, **columns):
    while True:
        pass
"""


@pytest.fixture
def train(tmp_path, monkeypatch):
    (tmp_path / "users_rewards.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACEJAX_TEST_BONUS", "2.5")

    def start(rewards, *overrides, deadline=60):
        path = tmp_path / "run.yaml"
        path.write_text(CONFIG.format(output=tmp_path / "run", rewards=rewards, deadline=deadline, stops=STOPS))
        return run("train", str(path), *overrides), tmp_path / "run"

    return start


def test_graded_rewards_of_both_signatures_are_added_by_their_weights(train):
    """Paid for what a text is like, a policy of random weights has something to learn from."""
    weights = "{verifier: 1.0, 'users_rewards:verl': 0.5, 'users_rewards:verl_async': 0.25, "
    weights += "'users_rewards:trl': 2.0, 'users_rewards:trl_async': 1.0}"
    code, folder = train(weights)
    assert code == 0
    samples = list(read_samples(folder))
    assert len(samples) == 32
    for sample in samples:
        text, right = sample["response"], sample["verdict"] == "correct"
        graded = 0.5 * (len(text) % 4 / 4) + 0.25 * (len(text) % 3 / 3) + 2.0 * ("1" in text)
        assert sample["score"] == pytest.approx(right + graded + 2.5)
        assert (sample["reason"] == "ok") == right, "ours says what is correct"
    steps = [row for row in read_metrics(folder) if row["kind"] == "step"]
    assert len(steps) == 2 and all(row["grad_norm"] > 0 for row in steps), "unequal scores have a gradient"
    assert all(row["unjudged"] == 0 for row in steps)


def test_a_reward_alone_decides_what_is_correct(train):
    code, folder = train("{'users_rewards:trl': 1.0}")
    assert code == 0
    for sample in read_samples(folder):
        assert (sample["verdict"], sample["score"]) == (("correct", 1) if "1" in sample["response"] else ("wrong", 0))


@pytest.mark.parametrize(("function", "reason"), [("raises", "ZeroDivisionError"), ("hangs", "timeout")])
def test_a_reward_that_fails_is_named_and_past_the_limit_stops_the_run(train, capsys, function, reason):
    code, folder = train(f"{{verifier: 1.0, 'users_rewards:{function}': 1.0}}", deadline=1)
    error = capsys.readouterr().err
    assert code == 2 and f"mend users_rewards:{function}" in error and reason in error
    assert not [row for row in read_metrics(folder) if row["kind"] == "step"], "its step left nothing"


def test_below_the_limit_the_unjudged_leave_their_groups(train):
    code, folder = train("{'users_rewards:raises': 1.0}", "verification.max_unjudged=1", "stages.math.steps=1")
    assert code == 0
    (step,) = [row for row in read_metrics(folder) if row["kind"] == "step"]
    assert step["unjudged"] == 1 and step["grad_norm"] == 0 and step["tokens"] == 0
    assert {sample["verdict"] for sample in read_samples(folder)} == {"unjudged"}


def test_a_reward_that_is_not_there_is_one_line_before_anything_starts(train, capsys):
    code, folder = train("{'users_rewards:absent': 1.0}")
    assert code == 2 and "users_rewards:absent" in capsys.readouterr().err and not folder.exists()
