"""A run as its steps see it: what is fixed, what a step changes, and the doors to the outside."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jax.sharding import Mesh

from acejax.config import RunConfig, StageBase
from acejax.errors import UserError
from acejax.evaluation.evaluate import HeldOut
from acejax.grpo.packing import Item, empty_rows, pack
from acejax.grpo.update import Optimizer, compile_micro_batches, update
from acejax.policy.config import PolicyConfig
from acejax.policy.transformer import Params, sampling_weights
from acejax.rollout import Prompt, Rollout, Sample, SamplingSetup
from acejax.run.console import Phase, RunConsole
from acejax.run.records import Records
from acejax.run.signals import Signals
from acejax.training.curriculum import HostState, learning_rate
from acejax.verification.pool import VerificationPool


@dataclass
class RunState:
    """One process's view of a run. `params` and `optimizer_state` live on the devices, everything else on the host."""

    # What is fixed
    config: RunConfig
    folder: Path
    policy: PolicyConfig
    mesh: Mesh
    optimizer: Optimizer
    sampling: SamplingSetup
    held_out: list[HeldOut]
    resumed: bool
    # What a step changes
    params: Params
    optimizer_state: Any
    host: HostState
    compiled: set[str]  # stages whose programs this process has made
    idle: int  # steps in a row that had nothing to teach
    # The doors to the outside
    pool: VerificationPool
    console: RunConsole
    records: Records
    signals: Signals

    def watch(self, phase: str, done: int, total: int) -> None:
        """Shows how far a phase is; raises Interrupted where the user wants an end."""
        self.console.phase(cast(Phase, phase), done, total)
        self.signals.check()

    def note(self, text: str) -> None:
        """Something that a reader of the run should know: said, and kept in metrics.jsonl."""
        self.console.say(text)
        self.records.write({"kind": "note", "step": self.host.generation, "text": text, "time": time.time()})


def weights_to_sample(run: RunState) -> Params:
    """Today's weights as sampling uses them."""
    return sampling_weights(run.params, run.policy, run.sampling.mesh, run.sampling.dtype)


def row_tokens(run: RunState, stage: StageBase) -> int:
    """Tokens of a row of the stage's updates."""
    return run.config.update.row_tokens or run.config.policy.prompt_tokens + stage.response_tokens


def compile_update(run: RunState, name: str, stage: StageBase) -> None:
    """Has both programs of a stage's updates compiled, once a process: which of them a step needs depends on its
    rewards, and late in a stage there should be nothing to wait for.
    """
    if name in run.compiled:
        return
    settings = run.config.update
    compile_micro_batches(
        run.params,
        empty_rows(settings.rows, row_tokens(run, stage), run.sampling.pad_id),
        config=run.policy,
        mesh=run.mesh,
        dtype=run.sampling.dtype,
        remat=settings.remat,
    )
    run.compiled.add(name)


def take_update(run: RunState, stage: StageBase, items: Sequence[Item], temperature: float) -> dict[str, Any]:
    """Packs the sequences and moves the weights once. Returns the metrics of `grpo.update`, and the learning rate.

    Raises UserError where the loss or its gradient is not finite; the last checkpoint is then untouched.
    """
    settings, host = run.config.update, run.host
    rows = pack(items, settings.rows, row_tokens(run, stage), run.sampling.pad_id, host.generation)
    rate = learning_rate(stage, host.stage_step)
    run.params, run.optimizer_state, metrics = update(
        run.params,
        run.optimizer_state,
        rows,
        learning_rate=rate,
        temperature=temperature,
        config=run.policy,
        optimizer=run.optimizer,
        mesh=run.mesh,
        dtype=run.sampling.dtype,
        remat=settings.remat,
    )
    for name, what in (("nll", "loss"), ("grad_norm", "gradient")):
        if not math.isfinite(metrics[name]):
            raise UserError(
                f"step {host.generation}: the {what} is not finite ({metrics[name]}); the last checkpoint is "
                "untouched: look at the weights it began with, or lower the learning rate"
            )
    host.update += 1
    return {**metrics, "learning_rate": rate}


def refuse_unjudged(run: RunState, result: Rollout) -> None:
    """Raises an error where more than verification.max_unjudged of the completions were not judged: UserError where it
    is a reward of the user's that fails, else RuntimeError.
    """
    limit = run.config.verification.max_unjudged
    if result.unjudged <= limit:
        return
    verdicts = [one.verdict for group in result.groups for one in group]
    reasons = sorted({verdict.reason for verdict in verdicts if verdict.verdict == "unjudged"})
    what = f"{result.unjudged:.0%} of the completions are unjudged ({', '.join(reasons)}), "
    what += f"verification.max_unjudged={limit:.0%}"
    failing = [name for name in run.config.reward_names() if any(name in reason for reason in reasons)]
    if failing:
        raise UserError(
            f"step {run.host.generation}: {what}; mend {' and '.join(failing)}, then go on from the last checkpoint"
        )
    raise RuntimeError(f"step {run.host.generation}: {what}; the last checkpoint is untouched")


def write_samples(
    run: RunState, prompts: Sequence[Prompt], result: Rollout, stage: str, step: int, count: int, measured: str = ""
) -> None:
    """Appends `count` samples to samples.jsonl: one of each prompt, of another number each, then more of each.

    `measured` is the evaluation set, where they are of one.
    """
    groups = result.groups
    chosen = []
    for number in range(min(count, sum(map(len, groups)))):
        row, turn = number % len(groups), number // len(groups)
        record = _sample_record(prompts[row], groups[row][(row + turn) % len(groups[row])], stage, step)
        chosen.append(record | ({"set": measured} if measured else {}))
    run.records.samples(chosen)


def _sample_record(prompt: Prompt, sample: Sample, stage: str, step: int) -> dict[str, Any]:
    completion, verdict = sample.completion, sample.verdict
    record = {
        "stage": stage,
        "domain": prompt.problem.domain,
        "step": step,
        "problem_id": completion.problem_id,
        "sample": completion.sample,
        "prompt": prompt.text,
        "prompt_ids": prompt.ids,
        "response": completion.response,
        "finish_reason": completion.finish_reason,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "length": len(completion.ids),
    }
    if verdict.score is not None:
        record["score"] = verdict.score
    return record
