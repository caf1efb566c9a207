"""Problems in, verified completions out: sampling and verification overlapped. Training and evaluation share this one
door.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import Any

from jax.sharding import Mesh

from acejax.errors import UserError
from acejax.policy.config import PolicyConfig
from acejax.policy.transformer import Params
from acejax.problems.problem import Completion, Problem
from acejax.problems.prompts import Style, render_prompt
from acejax.sampling.decode import Finished, Settings, sample
from acejax.verification.pool import VerificationPool
from acejax.verification.verdict import Verdict

# Called often while a rollout goes on, with ("sampling" | "verifying", done, total); what it raises ends the rollout.
Watch = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Prompt:
    """A problem with the text and the ids that the policy reads."""

    problem: Problem
    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """A completion and what it was judged to be."""

    completion: Completion
    verdict: Verdict


@dataclass(frozen=True)
class Rollout:
    """`groups`: for each prompt its samples in order of their number. Times in seconds: verification counts what
    sampling did not hide. `checks`: what the pool's counters (`VerificationPool.stats`) grew by meanwhile.
    """

    groups: list[list[Sample]]
    seconds_sample: float
    seconds_verify: float
    checks: dict[str, float]

    @property
    def unjudged(self) -> float:
        """Share of completions on which the verifier failed."""
        every = [one for group in self.groups for one in group]
        return sum(one.verdict.verdict == "unjudged" for one in every) / max(len(every), 1)


@dataclass(frozen=True)
class SamplingSetup:
    """What sampling needs beside the weights. `slots` completions are decoded at once; prompts hold `prompt_tokens` at
    most.
    """

    config: PolicyConfig
    mesh: Mesh
    tokenizer: Any
    stop_ids: tuple[int, ...]
    pad_id: int
    prompt_tokens: int
    slots: int
    chunk: int
    dtype: str


def render_prompts(problems: Sequence[Problem], tokenizer: Any, style: Style, limit: int) -> tuple[list[Prompt], int]:
    """Renders each problem's prompt; those over `limit` tokens are dropped. Returns the prompts and how many were
    dropped.
    """
    prompts = []
    for problem in problems:
        text, ids = render_prompt(problem, tokenizer, style)
        if len(ids) <= limit:
            prompts.append(Prompt(problem, text, tuple(ids)))
    return prompts, len(problems) - len(prompts)


def rollout(
    params: Params,
    prompts: Sequence[Prompt],
    setup: SamplingSetup,
    pool: VerificationPool,
    *,
    group: int,
    response_tokens: int,
    temperature: float,
    top_p: float = 1.0,
    seed: int,
    generation: int,
    stage: str,
    rewards: Mapping[str, float] | None = None,
    watch: Watch,
) -> Rollout:
    """Samples `group` completions of each prompt and has them judged; each goes to the pool as soon as it leaves the
    device. `rewards` are the weights of what a completion earns (`VerificationPool.submit`), None our verifier alone.

    Raises UserError if a group does not fit in the slots.
    """
    if group > setup.slots:
        raise UserError(
            f"stage '{stage}': a group of {group} does not fit in sampling.slots={setup.slots}; raise sampling.slots"
        )
    settings = Settings(group, setup.prompt_tokens, response_tokens, setup.chunk, setup.stop_ids, top_p, setup.dtype)
    before = pool.stats()
    pending: list[list[tuple[Completion, Future[Verdict]]]] = [[] for _ in prompts]
    asked: dict[tuple[int, str], Future[Verdict]] = {}  # a group's equal responses are judged once
    started = time.perf_counter()
    for row, one in _sampled(params, prompts, setup, settings, temperature, seed, generation, watch):
        problem = prompts[row].problem
        text = setup.tokenizer.decode(one.ids[:-1] if one.stopped else one.ids)
        if (row, text) not in asked:
            asked[row, text] = pool.submit(problem, one.sample, text, rewards)
        completion = Completion(
            problem_id=problem.id,
            sample=one.sample,
            response=text,
            finish_reason="stop" if one.stopped else "length",
            prompt_ids=prompts[row].ids,
            ids=one.ids,
            logprobs=one.logprobs,
            stage=stage,
            step=generation,
            seed=seed,
        )
        pending[row].append((completion, asked[row, text]))
    sampled = time.perf_counter()
    groups = [_judged(found, index * group, len(prompts) * group, watch) for index, found in enumerate(pending)]
    verified = time.perf_counter()
    checks = {name: count - before[name] for name, count in pool.stats().items()}
    return Rollout(groups, sampled - started, verified - sampled, checks)


def _sampled(
    params: Params,
    prompts: Sequence[Prompt],
    setup: SamplingSetup,
    settings: Settings,
    temperature: float,
    seed: int,
    generation: int,
    watch: Watch,
) -> Iterator[tuple[int, Finished]]:
    """Each completion as it leaves the device, with the row of its prompt. The slots take the prompts wave by wave."""
    wave = setup.slots // settings.group
    total = len(prompts) * settings.group
    for start in range(0, len(prompts), wave):
        part = prompts[start : start + wave]
        before = start * settings.group

        def between(done: int, _: int, before: int = before) -> None:
            watch("sampling", min(before + done, total), total)

        for one in sample(
            params,
            [(prompt.problem.id, prompt.ids) for prompt in part],
            config=setup.config,
            mesh=setup.mesh,
            settings=settings,
            temperature=temperature,
            seed=seed,
            step=generation,
            pad_id=setup.pad_id,
            rows=min(wave, len(prompts)),
            between=between,
        ):
            yield start + one.prompt, one


def _judged(found: Sequence[tuple[Completion, Future[Verdict]]], before: int, total: int, watch: Watch) -> list[Sample]:
    """The samples of one group, once their verdicts are there; `before` of `total` had theirs earlier."""
    for _, future in found:
        while not future.done():
            watch("verifying", before, total)
            wait([future], timeout=0.5)
    ordered = sorted(found, key=lambda pair: pair[0].sample)
    return [Sample(completion, replace(future.result(), sample=completion.sample)) for completion, future in ordered]
