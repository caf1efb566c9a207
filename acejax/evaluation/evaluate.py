"""One measurement of a policy on a set of problems."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from acejax.evaluation.statistics import summarise
from acejax.policy.transformer import Params
from acejax.rollout import Judged, Prompt, Rollout, Sampler, Watch, rollout
from acejax.verification.pool import VerificationPool

# Far from every training step, so evaluation never repeats a training draw.
EVALUATION_STEP = 2**31 - 1


def evaluate(
    params: Params,
    prompts: Sequence[Prompt],
    sampler: Sampler,
    pool: VerificationPool,
    *,
    domain: str,
    split: str,
    samples: int,
    response_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    stage: str,
    step: int,
    watch: Watch,
) -> tuple[dict[str, Any], Rollout]:
    """Samples each problem `samples` times and judges the completions.

    Returns the "eval" record of metrics.jsonl and the rollout. The draws depend on the seed alone, so two policies are
    compared on the same random numbers.
    """
    started = time.perf_counter()
    result = rollout(
        params,
        prompts,
        sampler,
        pool,
        group=samples,
        response_tokens=response_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        step=EVALUATION_STEP,
        stage=stage,
        watch=watch,
    )
    every = [judged for group in result.groups for judged in group]
    by_difficulty: dict[str, list[tuple[int, int]]] = {}
    for prompt, group in zip(prompts, result.groups, strict=True):
        by_difficulty.setdefault(str(prompt.problem.meta.get("difficulty", "")), []).append(_count(group))
    record: dict[str, Any] = {
        "kind": "eval",
        "stage": stage,
        "step": step,
        "domain": domain,
        "split": split,
        "k": samples,
        **summarise([_count(group) for group in result.groups], samples),
        "temperature": temperature,
        "top_p": top_p,
        "length_mean": sum(len(judged.completion.ids) for judged in every) / max(len(every), 1),
        "truncated": sum(judged.completion.finish_reason == "length" for judged in every) / max(len(every), 1),
        "unjudged": result.unjudged,
        "reasons": dict(Counter(judged.verdict.reason for judged in every)),
        "seconds": time.perf_counter() - started,
        "time": time.time(),
    }
    if set(by_difficulty) != {""}:
        record["by_difficulty"] = {name: summarise(counts, samples) for name, counts in sorted(by_difficulty.items())}
    return record, result


def _count(group: Sequence[Judged]) -> tuple[int, int]:
    judged = [one.verdict.verdict for one in group if one.verdict.verdict != "unjudged"]
    return judged.count("correct"), len(judged)
