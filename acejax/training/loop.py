"""The walk through the stages: each a number of steps, with evaluations and checkpoints between them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from acejax import mesh as meshes
from acejax.config import GrpoStage, SftStage, Stage
from acejax.evaluation.evaluate import HeldOut, Protocol, evaluate
from acejax.evaluation.summary import summary_of
from acejax.grpo.update import initial_state
from acejax.run.environment import write_environment
from acejax.run.records import read_metrics, write_summary
from acejax.run.signals import Interrupted
from acejax.tools.export import export_params
from acejax.training import grpo, sft
from acejax.training.curriculum import should_stop
from acejax.training.lowerings import Lowerings
from acejax.training.setup import save
from acejax.training.state import RunState, refuse_unjudged, weights_to_sample, write_samples

START = "start"
WARM_STEPS = 2  # of a stage: whatever it needs is compiled by then
TIMED_STEPS = 20  # of a stage, the latest ones, whose times tell how long the rest will take


@dataclass(frozen=True)
class StageKind:
    """A kind of stage. `prepare(run, name, stage)` reads its data before the run begins; `step(run, name, stage, data)`
    takes one step and returns its record. `measured`: held-out accuracy is measured before the first such stage and
    after each.
    """

    prepare: Callable[[RunState, str, Any], Any]
    step: Callable[[RunState, str, Any, Any], dict[str, Any]]
    measured: bool


KINDS: dict[type, StageKind] = {
    SftStage: StageKind(sft.prepare, sft.step, measured=False),
    GrpoStage: StageKind(grpo.prepare, grpo.step, measured=True),
}


@dataclass
class Clock:
    """What this process saw of its steps: seconds of each, by stage, by which the time left is judged, and the programs
    that were lowered so far.
    """

    steps: dict[str, list[float]] = field(default_factory=dict)
    lowerings: Lowerings = field(default_factory=Lowerings)
    said: set[str] = field(default_factory=set)  # stages of which a late lowering has been told

    def left(self, run: RunState) -> float | None:
        """Seconds of the steps to come, each as long as those of its stage so far, or of the latest stage that has been
        timed. The first steps of a stage, which wait for compilation, are left out.
        """
        warm = {name: seconds[WARM_STEPS:] for name, seconds in self.steps.items() if len(seconds) > WARM_STEPS}
        if not warm:
            return None
        latest = next(reversed(warm.values()))
        total = 0.0
        for name, stage in run.config.stages.items():
            if name in run.host.finished:
                continue
            done = run.host.stage_step if name == run.host.stage else 0
            total += max(stage.steps - done, 0) * median(warm.get(name, latest)[-TIMED_STEPS:])
        return total


def train(run: RunState, until: str | None = None) -> bool:
    """Walks through the stages, up to and with `until`. Returns false if a signal ended it; the state is then saved."""
    stages = run.config.stages
    _extend(run)
    _announce(run)
    wanted = list(stages) if until is None else list(stages)[: list(stages).index(until) + 1]
    left = [name for name in wanted if name not in run.host.finished]
    # All are prepared before the first begins: a fault in the last one's file should not wait for it.
    prepared = {name: KINDS[type(stages[name])].prepare(run, name, stages[name]) for name in left}
    clock = Clock()
    try:
        for name, data in prepared.items():
            walk_stage(run, name, stages[name], data, clock)
    except Interrupted:
        save(run)
        run.console.warn(f"interrupted at step {run.host.generation}; saved. The same command goes on from here.")
        return False
    return True


def _extend(run: RunState) -> None:
    """Takes up the stage at which a finished run stands, where its `steps` have grown since."""
    host = run.host
    stage = run.config.stages.get(host.stage)
    if stage is None or host.stage not in host.finished or host.stage_step >= stage.steps:
        return
    run.note(f"stage {host.stage} goes on: it had {host.stage_step} steps, and stages.{host.stage}.steps={stage.steps}")
    del host.finished[host.stage]
    host.measured = [boundary for boundary in host.measured if boundary != host.stage]


def walk_stage(run: RunState, name: str, stage: Stage, data: Any, clock: Clock) -> None:
    """Takes a stage's steps from where the run stands, measures what it did, and leaves a checkpoint."""
    kind, host = KINDS[type(stage)], run.host
    if host.stage != name:
        host.enter(name)
        # Moments of another stage's gradients scale this one's wrongly: a weight that was idle there moves up to
        # 1/sqrt(1 - beta2) times too far here.
        run.optimizer_state = None  # freed first
        run.optimizer_state = initial_state(run.params, run.optimizer, run.mesh)
    if kind.measured and START not in host.measured:
        _measure_all(run, START)
    run.console.stage_begin(name, stage.kind, stage.subject, stage.steps)
    while True:
        run.signals.check()
        _measure_small(run, name)
        if host.stage_step >= stage.steps:
            break
        why = should_stop(stage.stop, host)
        if why:
            run.note(f"stage {name} ends at its step {host.stage_step}: {why}")
            break
        _take_step(run, name, stage, data, clock)
        if host.generation % run.config.checkpoints.every == 0:
            save(run)
    # What a supervised stage did is measured as the start of the next; a last one has no next.
    is_last = name == list(run.config.stages)[-1]
    if (kind.measured or is_last) and stage.evaluate and name not in host.measured:
        _measure_all(run, name)
    _export(run, name)
    host.finished[name] = host.generation
    save(run)


def _take_step(run: RunState, name: str, stage: Stage, data: Any, clock: Clock) -> None:
    started, lowered = time.perf_counter(), clock.lowerings.count
    result = KINDS[type(stage)].step(run, name, stage, data)
    seconds = time.perf_counter() - started
    mine = clock.steps.setdefault(name, [])
    mine.append(seconds)
    if len(mine) > WARM_STEPS and clock.lowerings.count > lowered and name not in clock.said:
        clock.said.add(name)
        run.console.warn(f"step {run.host.generation}: a program was compiled after the stage's second step")
    run.host.generation += 1
    run.host.stage_step += 1
    record = {
        "kind": "step",
        "stage": name,
        "stage_kind": stage.kind,
        "domain": stage.domain,
        "step": run.host.generation,
        "update": run.host.update,
        "stage_step": run.host.stage_step,
        "stage_steps": stage.steps,
        **result,
        "seconds_step": seconds,
        "time": time.time(),
    }
    run.records.write(record)
    run.console.remaining(clock.left(run))
    run.console.step(record)


def _measure_small(run: RunState, stage: str) -> None:
    """Measures a part of every set, where the stage has come that far."""
    host, every = run.host, run.config.evaluation.every
    due = every and host.stage_step and host.stage_step % every == 0
    if due and host.evaluated != host.generation:
        _measure(run, "small", stage)
        host.evaluated = host.generation


def _measure_all(run: RunState, stage: str) -> None:
    """Measures every set whole, at the boundary named after the stage before it."""
    _measure(run, "full", stage)
    run.host.measured.append(stage)


def _measure(run: RunState, split: str, stage: str) -> None:
    """Measures all sets, "small" or "full", with today's weights, and writes what they came to."""
    host, settings = run.host, run.config.evaluation
    protocol = Protocol(settings.samples, settings.temperature, settings.top_p, run.config.seed)
    most = settings.small if split == "small" else None
    weights = weights_to_sample(run)
    for held_out in _still_to_measure(run, split, stage):
        part = replace(held_out, prompts=held_out.prompts[:most])
        record, result = evaluate(
            weights,
            part,
            protocol,
            run.sampling,
            run.pool,
            split=split,
            stage=stage,
            step=host.generation,
            watch=lambda _, done, total: run.watch("evaluating", done, total),
        )
        refuse_unjudged(run, result)
        run.records.write(record)
        run.console.eval(record)
        if split == "small":
            host.accuracy[part.name] = record["avg"]
        else:
            count = 4 * run.config.logging.samples_per_step
            write_samples(run, part.prompts, result, stage, host.generation, count, part.name)
        host.measuring.append(_measurement(run, part, split, stage))
    host.measuring = []


def _still_to_measure(run: RunState, split: str, stage: str) -> list[HeldOut]:
    """The sets that this evaluation, if it was interrupted, has left."""
    return [one for one in run.held_out if _measurement(run, one, split, stage) not in run.host.measuring]


def _measurement(run: RunState, held_out: HeldOut, split: str, stage: str) -> str:
    """What the host's state calls a measurement that is done while others of the same evaluation are not."""
    return f"{split}/{stage}/{run.host.generation}/{held_out.name}"


def write_run_summary(run: RunState, ended: bool) -> list[dict[str, Any]]:
    """Writes summary.json and returns its entries; if the run `ended`, the last have the stage name "end"."""
    entries = summary_of(read_metrics(run.folder), run.host.measured, ended)
    write_summary(run.folder, entries)
    return entries


def _export(run: RunState, stage: str) -> None:
    """RUN/exports/STAGE, where checkpoints.export names a dtype."""
    dtype = run.config.checkpoints.export
    if dtype is None:
        return
    out = run.folder / "exports" / stage
    write_run_summary(run, ended=False)  # for the model card
    shutil.rmtree(out, ignore_errors=True)  # of a run that this folder held before
    export_params(run.params, run.folder, run.host.generation, out, dtype)
    run.console.say(f"exported {out}")


def _announce(run: RunState) -> None:
    config, policy, host = run.config, run.policy, run.host
    device = meshes.describe(run.mesh)
    style, stops = config.policy.prompt_style, list(run.sampling.stop_ids)
    write_environment(run.folder, config.seed, device, {"prompt_style": style, "stop_ids": stops})
    run.console.say(
        f"policy {policy.model_type}, {policy.parameters / 1e6:.2f}M parameters, {run.sampling.dtype}, "
        f"{policy.attention} attention; {device}; seed {config.seed}; prompt style {style}, stop ids {stops}, "
        f"tokens for {policy.tokens} of {policy.vocab} rows"
    )
    if not run.resumed:
        return
    at = f"step {host.generation}"
    if host.stage in config.stages and host.stage not in host.finished:
        steps = config.stages[host.stage].steps
        at += f", stage {host.stage} ({host.stage_step} of {steps} steps done)"
    elif set(config.stages) <= set(host.finished):
        at += ": every stage is finished, nothing is left to train"
    run.note(f"continuing {run.folder} at {at}")
