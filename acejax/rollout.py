"""Problems in, verified completions out: sampling and verification overlapped. Training and evaluation share this one
door.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import Any

from jax.sharding import Mesh

from acejax.errors import UserError
from acejax.policy.config import PolicyConfig
from acejax.policy.transformer import Params
from acejax.problems.problem import Completion, Problem
from acejax.problems.prompts import Style, render_prompt
from acejax.sampling.decode import Settings, sample
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
class Judged:
    completion: Completion
    verdict: Verdict


@dataclass(frozen=True)
class Rollout:
    """`groups`: for each prompt its completions in order of sample. Times in seconds: verification counts what sampling
    did not hide.

    `checks`: what the pool's counters (`VerificationPool.stats`) grew by meanwhile.
    """

    groups: list[list[Judged]]
    seconds_sample: float
    seconds_verify: float
    checks: dict[str, float]

    @property
    def unjudged(self) -> float:
        """Share of completions on which the verifier failed."""
        every = [judged for group in self.groups for judged in group]
        return sum(judged.verdict.verdict == "unjudged" for judged in every) / max(len(every), 1)


@dataclass(frozen=True)
class Sampler:
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


def prepare(problems: Sequence[Problem], tokenizer: Any, style: Style, limit: int) -> tuple[list[Prompt], int]:
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
    sampler: Sampler,
    pool: VerificationPool,
    *,
    group: int,
    response_tokens: int,
    temperature: float,
    top_p: float = 1.0,
    seed: int,
    step: int,
    stage: str,
    watch: Watch,
) -> Rollout:
    """Samples `group` completions of each prompt and has them judged; each goes to the pool as soon as it leaves the
    device.

    Raises UserError if a group does not fit in the slots.
    """
    if group > sampler.slots:
        raise UserError(
            f"stage '{stage}': a group of {group} does not fit in sampling.slots={sampler.slots}; raise sampling.slots"
        )
    settings = Settings(
        group, sampler.prompt_tokens, response_tokens, sampler.chunk, sampler.stop_ids, top_p, sampler.dtype
    )
    wave = sampler.slots // group
    total = len(prompts) * group
    before = pool.stats()
    pending: list[list[tuple[Completion, Future[Verdict]]]] = [[] for _ in prompts]
    asked: dict[tuple[int, str], Future[Verdict]] = {}  # a group's equal responses are judged once
    started = time.perf_counter()
    for start in range(0, len(prompts), wave):
        part = prompts[start : start + wave]
        finished = sample(
            params,
            [(prompt.problem.id, prompt.ids) for prompt in part],
            config=sampler.config,
            mesh=sampler.mesh,
            settings=settings,
            temperature=temperature,
            seed=seed,
            step=step,
            pad_id=sampler.pad_id,
            rows=min(wave, len(prompts)),
            # type: ignore[misc]
            between=lambda done, _, start=start: watch("sampling", min(start * group + done, total), total),
        )
        for one in finished:
            prompt = part[one.prompt]
            text = sampler.tokenizer.decode(one.ids[:-1] if one.stopped else one.ids)
            completion = Completion(
                problem_id=prompt.problem.id,
                sample=one.sample,
                response=text,
                finish_reason="stop" if one.stopped else "length",
                prompt_ids=prompt.ids,
                ids=one.ids,
                logprobs=one.logprobs,
                stage=stage,
                step=step,
                seed=seed,
            )
            key = (start + one.prompt, text)
            if key not in asked:
                asked[key] = pool.submit(prompt.problem, one.sample, text)
            pending[start + one.prompt].append((completion, asked[key]))
    sampled = time.perf_counter()
    groups = []
    for index, found in enumerate(pending):
        for _, future in found:
            while not future.done():
                watch("verifying", index * group, total)
                wait([future], timeout=0.5)
        found.sort(key=lambda pair: pair[0].sample)
        groups.append(
            [Judged(completion, replace(future.result(), sample=completion.sample)) for completion, future in found]
        )
    verified = time.perf_counter()
    checks = {name: count - before[name] for name, count in pool.stats().items()}
    return Rollout(groups, sampled - started, verified - sampled, checks)
