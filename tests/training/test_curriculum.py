"""Which problems a step gets, and when a stage ends."""

import dataclasses

import pytest

from acejax.config import Filter, ProblemSource, Stage, Stop
from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.training.curriculum import Progress, batch_at, exclude, learning_rate, should_stop, solve_rate

PROBLEMS = [Problem(f"p{i}", "math", f"{i}?", answer=(str(i),)) for i in range(10)]
STAGE = Stage(kind="grpo", steps=10, learning_rate=1e-3, problems=[ProblemSource(builtin="math")], prompts_per_step=3)


def walk(stage, steps, progress=None, rates=None):
    progress = progress or Progress(stage="s", rates=rates or {})
    batches = []
    for _ in range(steps):
        batches.append(batch_at(PROBLEMS, stage, 0, progress))
        progress.epoch_step += 1
        progress.stage_step += 1
    return batches, progress


def test_an_epoch_visits_each_problem_at_most_once_and_epochs_differ():
    batches, progress = walk(STAGE, 6)
    first, second = sum(batches[:3], []), sum(batches[3:], [])
    assert len(set(first)) == len(set(second)) == 9 and first != second and progress.epoch == 1


def test_the_order_after_a_restart_is_the_same():
    batches, _ = walk(STAGE, 7)
    _, half = walk(STAGE, 4)
    again, _ = walk(STAGE, 3, Progress.from_json(half.to_json()))
    assert again == batches[4:]


def test_the_filter_acts_at_an_epochs_start_and_never_empties_a_batch():
    stage = STAGE.model_copy(update={"filter": Filter(max_solve_rate=0.5)})
    rates = {f"p{i}": [i, 10] for i in range(9)}  # p9 was never tried and stays
    assert set(exclude(PROBLEMS, stage, rates)) == {"p6", "p7", "p8"}
    batches, progress = walk(stage, 2, rates=rates)
    assert not {6, 7, 8} & set(sum(batches, []))
    progress.rates.update({f"p{i}": [10, 10] for i in range(9)})
    assert len(exclude(PROBLEMS, stage, progress.rates)) == 7
    more, _ = walk(stage, 1, progress)
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
        batch_at(PROBLEMS, STAGE.model_copy(update={"prompts_per_step": 11}), 0, Progress(stage="s"))


def test_stopping_rules():
    accuracy = STAGE.model_copy(update={"stop": Stop(accuracy=0.3)})
    assert not should_stop(accuracy, Progress()) and not should_stop(
        accuracy, Progress(accuracy={"math": 0.4, "code": 0.2})
    )
    assert should_stop(accuracy, Progress(accuracy={"math": 0.4, "code": 0.3}))
    plateau = STAGE.model_copy(update={"stop": Stop(plateau_steps=2, plateau_gain=0.01)})
    assert not should_stop(plateau, Progress(rewards=[0.1, 0.2, 0.3])) and not should_stop(
        plateau, Progress(rewards=[0.1, 0.1, 0.2, 0.2])
    )
    assert should_stop(plateau, Progress(rewards=[0.0, 0.1, 0.2, 0.2, 0.2, 0.2]))


def test_learning_rate_warms_up_and_decays():
    stage = STAGE.model_copy(update={"warmup_steps": 4, "decay": "linear"})
    rates = [learning_rate(stage, n) for n in range(10)]
    assert rates[0] == pytest.approx(0.25e-3) and rates[-1] == pytest.approx(1e-4) and max(rates) == rates[3]
    assert {learning_rate(STAGE, n) for n in range(10)} == {1e-3}
