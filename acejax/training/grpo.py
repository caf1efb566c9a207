"""The GRPO stage. `step` is the whole of it: sample, verify, compare within groups, reinforce (arXiv 2505.16400)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from acejax.config import GrpoStage
from acejax.errors import UserError
from acejax.grpo.batch import group_batch, permuted
from acejax.grpo.packing import Item
from acejax.problems.problem import Completion, Problem, checked_domain
from acejax.problems.sources import gather_problems
from acejax.rollout import Prompt, Rollout, Sample, rollout
from acejax.training.curriculum import next_batch
from acejax.training.setup import prompts_of
from acejax.training.state import (
    RunState,
    compile_update,
    refuse_unjudged,
    take_update,
    weights_to_sample,
    write_samples,
)


def prepare(run: RunState, name: str, stage: GrpoStage) -> list[Prompt]:
    """Reads the stage's problems. Raises UserError where one must not be trained on, or none fits."""
    checked_domain(stage.domain, f"stages.{name}")
    problems = gather_problems(stage.problems, run.config.seed)
    for problem in problems:
        if problem.tests is not None and problem.tests["kind"] == "script":
            raise UserError(
                f"problem '{problem.id}': tests of kind 'script' can be cheated; use them in evaluation only"
            )
    _note_overlap(run, name, problems)
    return prompts_of(run.config, run.sampling.tokenizer, problems, f"stage '{name}'", run.note)


def _note_overlap(run: RunState, name: str, problems: Sequence[Problem]) -> None:
    """Says which evaluation sets ask what the stage trains on."""
    trained = {problem.prompt.strip() for problem in problems}
    for held_out in run.held_out:
        shared = [one.problem.id for one in held_out.prompts if one.problem.prompt.strip() in trained]
        if shared:
            run.note(
                f"stage '{name}' trains on {len(shared)} of {len(held_out.prompts)} problems of evaluation set "
                f"'{held_out.name}' ({', '.join(shared[:3])}{', ...' if len(shared) > 3 else ''}): it is not held out"
            )


def step(run: RunState, name: str, stage: GrpoStage, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """One generation and its update. Returns its part of the step's record."""
    config, host = run.config, run.host

    # Batch: the next problems of the epoch, or the first of a new one.
    batch = next_batch([prompt.problem for prompt in prompts], stage, config.seed, host)
    chosen = [prompts[index] for index in batch.indices]
    if batch.step == 0 and batch.excluded:
        run.note(f"{name}, epoch {batch.epoch}: the filter leaves out {len(batch.excluded)} of {len(prompts)} problems")

    # Rollout: completions are verified while others are still being sampled.
    result = rollout(
        weights_to_sample(run),
        chosen,
        run.sampling,
        run.pool,
        group=stage.group_size,
        response_tokens=stage.response_tokens,
        temperature=stage.temperature,
        seed=config.seed,
        generation=host.generation,
        stage=name,
        rewards=stage.rewards,
        watch=run.watch,
    )
    batch.note(host)
    refuse_unjudged(run, result)

    # Advantages: each completion's reward against those of its group.
    rewards = _array(result, lambda one: one.verdict.reward)
    judged = _array(result, lambda one: one.verdict.verdict != "unjudged")
    truncated = _array(result, lambda one: one.completion.finish_reason == "length")
    lengths = _array(result, lambda one: len(one.completion.ids))
    order = None
    if stage.permute_verdicts:
        order = np.random.default_rng([config.seed, host.generation]).permutation(rewards.size)
    groups = group_batch(
        rewards, judged, truncated, lengths, overlong=stage.overlong, aggregation=stage.aggregation, order=order
    )
    _note_rates(run, result, groups.judged, truncated, order)

    # Update: what counts, packed into rows; the ratio is 1 by construction, since these weights sampled it.
    items = [
        Item(completion.prompt_ids, completion.ids, float(advantage), completion.logprobs, completion.step)
        for completion, advantage in _counted(result, groups.counted, groups.advantages)
    ]
    run.console.phase("updating")
    updating = time.perf_counter()
    compile_update(run, name, stage)
    metrics = take_update(run, stage, items, stage.temperature)
    seconds_update = time.perf_counter() - updating
    if metrics["logprob_gap_max"] > config.update.gap_alarm:
        run.console.warn(
            f"step {host.generation}: sampler and trainer differ by {metrics['logprob_gap_max']:.3f} nats on a token "
            f"(update.gap_alarm={config.update.gap_alarm})"
        )

    _warn_if_idle(run, bool(groups.advantages.any()))

    # Record: what a person reads, and what the curriculum goes by.
    host.rewards.append(groups.statistics["reward"])
    write_samples(run, chosen, result, name, host.generation + 1, config.logging.samples_per_step)
    return {
        **groups.statistics,
        "unjudged": result.unjudged,
        "seconds_sample": result.seconds_sample,
        "seconds_verify": result.seconds_verify,
        "seconds_verify_busy": result.checks["busy_seconds"],
        **{f"verify_{key}": int(result.checks[key]) for key in ("retried", "rerun", "flipped")},
        **metrics,
        "seconds_update": seconds_update,
    }


def _warn_if_idle(run: RunState, learned: bool) -> None:
    """Says so when a step, the first of several in a row, had nothing to teach."""
    run.idle = 0 if learned else run.idle + 1
    if run.idle == 1:
        run.console.warn(
            f"step {run.host.generation}: the rewards of every group are equal, so there is nothing to learn from: "
            "weight decay alone moves the weights"
        )


def _array(result: Rollout, value: Callable[[Sample], Any]) -> np.ndarray:
    """A value of every sample, [N,G]."""
    return np.array([[value(one) for one in group] for group in result.groups])


def _counted(result: Rollout, counted: np.ndarray, advantages: np.ndarray) -> Iterator[tuple[Completion, np.float32]]:
    """The completions that take part in the update, with their advantages."""
    for group, takes_part, row in zip(result.groups, counted, advantages, strict=True):
        for one, counts, advantage in zip(group, takes_part, row, strict=True):
            if counts:
                yield one.completion, advantage


def _note_rates(
    run: RunState, result: Rollout, judged: np.ndarray, truncated: np.ndarray, order: np.ndarray | None
) -> None:
    """Keeps how many of each problem's samples were right, and how many judged, for the filters of epochs to come."""
    right = _array(result, lambda one: one.verdict.verdict == "correct") & ~truncated
    if order is not None:
        right = permuted(right, order)
    for group, solved, kept in zip(result.groups, right, judged, strict=True):
        run.host.rates[group[0].completion.problem_id] = [int(solved[kept].sum()), int(kept.sum())]
