"""Measuring a policy on sets of held-out problems."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from acejax.evaluation.statistics import summarise
from acejax.policy.transformer import Params
from acejax.rollout import Prompt, Rollout, Sample, SamplingSetup, Watch, rollout
from acejax.verification.pool import VerificationPool

# Far from every training step, so evaluation never repeats a training draw.
EVALUATION_STEP = 2**31 - 1


@dataclass(frozen=True)
class HeldOut:
    """A set of problems to measure on, and the most tokens that a response to one may have."""

    name: str
    prompts: Sequence[Prompt]
    response_tokens: int


@dataclass(frozen=True)
class Protocol:
    """How a set is measured: `samples` completions of each problem, drawn at `temperature` and `top_p`. The draws
    depend on `seed` alone, so two policies are compared on the same random numbers.
    """

    samples: int
    temperature: float
    top_p: float
    seed: int


def evaluate(
    params: Params,
    held_out: HeldOut,
    protocol: Protocol,
    setup: SamplingSetup,
    pool: VerificationPool,
    *,
    split: str,
    stage: str,
    step: int,
    watch: Watch,
) -> tuple[dict[str, Any], Rollout]:
    """Samples each problem and has the completions judged.

    Returns the "eval" record of metrics.jsonl and the rollout. `split`, `stage` and `step` are only recorded.
    """
    started = time.perf_counter()
    result = rollout(
        params,
        held_out.prompts,
        setup,
        pool,
        group=protocol.samples,
        response_tokens=held_out.response_tokens,
        temperature=protocol.temperature,
        top_p=protocol.top_p,
        seed=protocol.seed,
        generation=EVALUATION_STEP,
        stage=stage,
        watch=watch,
    )
    record: dict[str, Any] = {
        "kind": "eval",
        "stage": stage,
        "step": step,
        "domain": held_out.name,
        "split": split,
        "k": protocol.samples,
        **_measures(held_out.prompts, result, protocol.samples),
        "temperature": protocol.temperature,
        "top_p": protocol.top_p,
        "seconds": time.perf_counter() - started,
        "time": time.time(),
    }
    return record, result


def _measures(prompts: Sequence[Prompt], result: Rollout, k: int) -> dict[str, Any]:
    every = [one for group in result.groups for one in group]
    counts = [_count(group) for group in result.groups]
    measures: dict[str, Any] = {
        **summarise(counts, k),
        "length_mean": sum(len(one.completion.ids) for one in every) / max(len(every), 1),
        "truncated": sum(one.completion.finish_reason == "length" for one in every) / max(len(every), 1),
        "unjudged": result.unjudged,
        "reasons": dict(Counter(one.verdict.reason for one in every)),
    }
    by_difficulty: dict[str, list[tuple[int, int]]] = {}
    for prompt, count in zip(prompts, counts, strict=True):
        by_difficulty.setdefault(str(prompt.problem.meta.get("difficulty", "")), []).append(count)
    if set(by_difficulty) != {""}:
        measures["by_difficulty"] = {name: summarise(found, k) for name, found in sorted(by_difficulty.items())}
    return measures


def _count(group: Sequence[Sample]) -> tuple[int, int]:
    """How many of a problem's samples are right, and how many were judged."""
    judged = [one.verdict.verdict for one in group if one.verdict.verdict != "unjudged"]
    return judged.count("correct"), len(judged)
