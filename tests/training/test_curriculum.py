"""Which problems a step gets, and when a stage ends."""

import dataclasses
import json

import pytest

from acejax.config import Filter, GrpoStage, ProblemSource, RewardStop, Stop
from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.training.curriculum import HostState, exclude, learning_rate, next_batch, should_stop, solve_rate

PROBLEMS = [Problem(f"p{i}", "math", f"{i}?", answer=(str(i),)) for i in range(10)]
STAGE = GrpoStage(
    kind="grpo", steps=10, learning_rate=1e-3, problems=[ProblemSource(builtin="math")], prompts_per_step=3
)


def walk(stage, steps, host=None, rates=None):
    host = host or HostState(stage="s", rates=rates or {})
    batches = []
    for _ in range(steps):
        batch = next_batch(PROBLEMS, stage, 0, host)
        batch.note(host)
        host.stage_step += 1
        batches.append(batch.indices)
    return batches, host


def test_an_epoch_visits_each_problem_at_most_once_and_epochs_differ():
    batches, host = walk(STAGE, 6)
    first, second = sum(batches[:3], []), sum(batches[3:], [])
    assert len(set(first)) == len(set(second)) == 9 and first != second and host.epoch == 1


def test_the_order_after_a_restart_is_the_same():
    batches, _ = walk(STAGE, 7)
    _, half = walk(STAGE, 4)
    again, _ = walk(STAGE, 3, HostState.from_mapping(json.loads(json.dumps(half.to_mapping()))))
    assert again == batches[4:]


def test_the_filter_acts_at_an_epochs_start_and_never_empties_a_batch():
    stage = STAGE.model_copy(update={"filter": Filter(max_solve_rate=0.5)})
    rates = {f"p{i}": [i, 10] for i in range(9)}  # p9 was never tried and stays
    assert set(exclude(PROBLEMS, stage, rates)) == {"p6", "p7", "p8"}
    batches, host = walk(stage, 2, rates=rates)
    assert not {6, 7, 8} & set(sum(batches, []))
    host.rates.update({f"p{i}": [10, 10] for i in range(9)})
    assert len(exclude(PROBLEMS, stage, host.rates)) == 7
    more, _ = walk(stage, 1, host)
    assert 9 in more[0], "with too few problems left, the hardest stay"


def test_recorded_attempts_count_until_this_run_has_its_own():
    problem = dataclasses.replace(PROBLEMS[0], attempts=({"policy": "x", "n": 16, "correct": 4},))
    assert (
        solve_rate(problem, {}) == 0.25
        and solve_rate(problem, {"p0": [8, 8]}) == 1.0
        and solve_rate(PROBLEMS[1], {}) is None
    )


def test_too_few_problems_for_a_batch_is_an_error():
    with pytest.raises(UserError, match="stage 's': 10 problems for prompts_per_step=11"):
        next_batch(PROBLEMS, STAGE.model_copy(update={"prompts_per_step": 11}), 0, HostState(stage="s"))


def test_the_batch_changes_nothing_until_it_is_noted():
    _, host = walk(STAGE, 3)
    before = dataclasses.replace(host)
    first = next_batch(PROBLEMS, STAGE, 0, host)
    assert next_batch(PROBLEMS, STAGE, 0, host) == first and host == before
    first.note(host)
    assert (host.epoch, host.epoch_step) == (1, 1)


def test_stopping_rules():
    accuracy = Stop(accuracy=0.3)
    assert not should_stop(accuracy, HostState())
    assert not should_stop(accuracy, HostState(accuracy={"math": 0.4, "code": 0.2}))
    assert should_stop(accuracy, HostState(accuracy={"math": 0.4, "code": 0.3}))
    plateau = RewardStop(plateau_steps=2, plateau_gain=0.01)
    assert not should_stop(plateau, HostState(rewards=[0.1, 0.2, 0.3]))
    assert not should_stop(plateau, HostState(rewards=[0.1, 0.1, 0.2, 0.2]))
    assert should_stop(plateau, HostState(rewards=[0.0, 0.1, 0.2, 0.2, 0.2, 0.2]))


def test_learning_rate_warms_up_and_decays():
    stage = STAGE.model_copy(update={"warmup_steps": 4, "decay": "linear"})
    rates = [learning_rate(stage, n) for n in range(10)]
    assert rates[0] == pytest.approx(0.25e-3) and rates[-1] == pytest.approx(1e-4) and max(rates) == rates[3]
    assert {learning_rate(STAGE, n) for n in range(10)} == {1e-3}
