"""The loop: stages in order, each a number of steps, with evaluations and checkpoints between them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from acejax import mesh as meshes
from acejax.config import RunConfig, Stage
from acejax.errors import UserError
from acejax.evaluation.evaluate import evaluate
from acejax.grpo.objective import group_advantages, group_token_weights
from acejax.grpo.packing import Item, pack
from acejax.grpo.update import Optimizer, initial_state, update
from acejax.policy import port
from acejax.policy.config import PolicyConfig
from acejax.policy.transformer import initialise, sampling_weights
from acejax.problems.tokenizer import load_tokenizer, stop_ids, token_count
from acejax.rollout import Judged, Prompt, Rollout, Sampler, prepare, rollout
from acejax.run import checkpoint
from acejax.run.console import RunConsole
from acejax.run.folder import Interrupted, Signals, write_environment
from acejax.run.records import RunLog, read_metrics, write_summary
from acejax.tools.export import export_params
from acejax.training import sft
from acejax.training.curriculum import (
    Progress,
    batch_at,
    gather_problems,
    learning_rate,
    should_stop,
    shuffled,
)
from acejax.training.policy import compute_dtype, policy_folder, policy_shape
from acejax.verification.pool import VerificationPool

START = "start"


class Trainer:
    """One process's view of a run. `params` and `optimizer_state` live on the devices, everything else on the host."""

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        pool: VerificationPool,
        console: RunConsole,
        log: RunLog,
        signals: Signals,
    ) -> None:
        self.config, self.folder, self.pool, self.console, self.log, self.signals = (
            config,
            folder,
            pool,
            console,
            log,
            signals,
        )
        axes = config.mesh.model_dump()
        self.mesh = meshes.make_mesh(**axes)
        self.sampling_mesh = meshes.make_mesh(**axes, devices=jax.local_devices())
        if config.update.rows % meshes.row_divisor(self.mesh):
            raise UserError(
                f"update.rows={config.update.rows} is not a multiple of the {meshes.row_divisor(self.mesh)} ways that "
                f"mesh.data and mesh.fsdp split a batch; round it up"
            )
        self.dtype = compute_dtype(config)
        o = config.optimizer
        self.optimizer = Optimizer(o.beta1, o.beta2, o.eps, o.weight_decay, o.clip_norm)
        have = checkpoint.steps(folder)
        source = None if config.init is None or have else checkpoint.resolve(config.init)
        opened = policy_folder(config, folder, source)
        port.read_config(opened)  # an architecture that we do not have is named before its tokenizer is judged
        self.tokenizer = load_tokenizer(opened)
        self.policy: PolicyConfig = policy_shape(config, opened, token_count(self.tokenizer))
        self.sampler = Sampler(
            config=self.policy,
            mesh=self.sampling_mesh,
            tokenizer=self.tokenizer,
            stop_ids=tuple(sorted({*stop_ids(opened, self.tokenizer), *config.sampling.stop_ids})),
            pad_id=self.tokenizer.pad_token_id or 0,
            prompt_tokens=config.policy.prompt_tokens,
            slots=config.sampling.slots,
            chunk=config.sampling.chunk,
            dtype=self.dtype,
        )
        if not self.sampler.stop_ids:
            raise UserError(
                f"{opened}: no token ends a response; set eos_token in tokenizer_config.json, or sampling.stop_ids"
            )
        self._check_lengths()
        self.progress, weights = Progress(), config.policy.weight_dtype
        rules = meshes.TRAINING
        if have:
            self.progress = checkpoint.load_progress(folder, have[-1])
            log.truncate_after(self.progress.step)
            self.params = initialise(self.policy, config.seed, self.mesh, rules, weights)
            self.optimizer_state = initial_state(self.params, self.optimizer, self.mesh)
            self.params, self.optimizer_state = checkpoint.restore(folder, have[-1], self.params, self.optimizer_state)
        else:
            log.truncate_after(-1)
            if source is None:
                self.params = initialise(self.policy, config.seed, self.mesh, rules, weights)
            else:
                self.params = source.load(
                    self.policy,
                    self.mesh,
                    rules,
                    weights,
                    lambda done, total: console.phase("loading", done >> 20, total >> 20),
                )
            self.optimizer_state = initial_state(self.params, self.optimizer, self.mesh)
        self.resumed = bool(have)
        self.sets = {
            name: self._prompts(gather_problems(one.problems, config.seed), f"evaluation set '{name}'")
            for name, one in config.evaluation.sets.items()
        }
        self.step_seconds: dict[str, list[float]] = {}

    # ------------------------------------------------------------------ the loop

    def run(self, until: str | None = None) -> bool:
        """Walks through the stages, up to and with `until`. Returns false if a signal ended it; the state is then
        saved.
        """
        stages = self.config.stages
        if until is not None and until not in stages:
            raise UserError(f"--until {until}: no such stage; the stages are {', '.join(stages)}")
        self._announce(stages)
        wanted = list(stages) if until is None else list(stages)[: list(stages).index(until) + 1]
        # All are prepared before the first begins: a fault in the last one's file should not wait for it.
        prepared = {
            name: self._supervised(name, stages[name])
            if stages[name].kind == "sft"
            else self._reinforced(name, stages[name])
            for name in wanted
            if name not in self.progress.finished
        }
        try:
            for name, step_once in prepared.items():
                self._stage(name, stages[name], step_once)
        except Interrupted:
            self.save()
            self.console.warn(f"interrupted at step {self.progress.step}; saved. The same command goes on from here.")
            return False
        return True

    def _stage(self, name: str, stage: Stage, step_once: Callable[[], dict[str, Any]]) -> None:
        progress = self.progress
        if progress.stage != name:
            progress.enter(name)
            # Moments of another stage's gradients scale this one's wrongly: a weight that was idle there moves up to
            # 1/sqrt(1 - beta2) times too far here.
            self.optimizer_state = None  # freed first
            self.optimizer_state = initial_state(self.params, self.optimizer, self.mesh)
        if stage.kind == "grpo" and START not in progress.measured:
            self._measure_all(START)
        self.console.stage_begin(
            name, stage.kind, stage.domain if stage.kind == "grpo" else "worked solutions", stage.steps
        )
        every = self.config.evaluation.every
        while True:
            self.signals.check()
            if (
                every
                and progress.stage_step
                and progress.stage_step % every == 0
                and progress.evaluated != progress.step
            ):
                self._measure_small(name)
            if progress.stage_step >= stage.steps:
                break
            why = should_stop(stage, progress)
            if why:
                self._note(f"stage {name} ends at its step {progress.stage_step}: {why}")
                break
            started = time.perf_counter()
            record = step_once()
            seconds = time.perf_counter() - started
            self.step_seconds.setdefault(name, []).append(seconds)
            progress.step += 1
            progress.stage_step += 1
            record = {
                "kind": "step",
                "stage": name,
                "stage_kind": stage.kind,
                "domain": stage.domain,
                "step": progress.step,
                "stage_step": progress.stage_step,
                "stage_steps": stage.steps,
                **record,
                "seconds_step": seconds,
                "time": time.time(),
            }
            self.log.write(record)
            self.console.remaining(self._seconds_left())
            self.console.step(record)
            if progress.step % self.config.checkpoints.every == 0:
                self.save()
        # What a supervised stage did is measured as the start of the next; a last one has no next.
        measured_here = stage.kind == "grpo" or name == list(self.config.stages)[-1]
        if measured_here and stage.evaluate and name not in progress.measured:
            self._measure_all(name)
        self._export(name)
        progress.finished[name] = progress.step
        self.save()

    def _supervised(self, name: str, stage: Stage) -> Callable[[], dict[str, Any]]:
        """Prepares a supervised stage and returns the function that takes one step of it."""
        config = self.config
        data = sft.prepare_traces(
            stage, self.tokenizer, config.policy.prompt_style, config.policy.prompt_tokens, config.seed
        )
        self._note(
            f"{name}: {len(data.items)} worked solutions, {data.wrong} of them wrong by the built-in teacher's misconceptions; "
            f"{data.dropped} dropped as too long"
        )
        if not data.items:
            raise UserError(
                f"stage '{name}': all traces are longer than policy.prompt_tokens or response_tokens; raise them"
            )
        size = min(stage.prompts_per_step, len(data.items))
        per_epoch = len(data.items) // size

        def one() -> dict[str, Any]:
            self.console.phase("training", self.progress.stage_step, stage.steps)
            epoch, place = divmod(self.progress.stage_step, per_epoch)
            order = shuffled(len(data.items), config.seed, name, epoch)[place * size : (place + 1) * size]
            items = [data.items[i] for i in order]
            return self._update(stage, [Item(i.prompt, i.response, 1.0, (), self.progress.step) for i in items], 1.0)

        return one

    def _reinforced(self, name: str, stage: Stage) -> Callable[[], dict[str, Any]]:
        """Prepares a GRPO stage and returns the function that takes one step of it: sample, verify, update."""
        config, progress = self.config, self.progress
        prompts = self._prompts(gather_problems(stage.problems, config.seed), f"stage '{name}'")
        problems = [prompt.problem for prompt in prompts]
        for problem in problems:
            if problem.tests is not None and problem.tests["kind"] == "script":
                raise UserError(
                    f"problem '{problem.id}': tests of kind 'script' can be cheated; use them in evaluation only"
                )

        def one() -> dict[str, Any]:
            chosen = [prompts[i] for i in batch_at(problems, stage, config.seed, progress)]
            progress.epoch_step += 1
            sampling_params = sampling_weights(self.params, self.policy, self.sampling_mesh, self.dtype)
            try:
                result = rollout(
                    sampling_params,
                    chosen,
                    self.sampler,
                    self.pool,
                    group=stage.group_size,
                    response_tokens=stage.response_tokens,
                    temperature=stage.temperature,
                    seed=config.seed,
                    step=progress.step,
                    stage=name,
                    watch=self._watch,
                )
            except Interrupted:
                progress.epoch_step -= 1
                raise
            self._refuse_unjudged(result)
            items, record = self._items(stage, result)
            self.console.phase("updating")
            updating = time.perf_counter()
            record |= self._update(stage, items, stage.temperature)
            record["seconds_update"] = time.perf_counter() - updating
            if record["logprob_gap_max"] > config.update.gap_alarm:
                self.console.warn(
                    f"step {progress.step}: sampler and trainer differ by {record['logprob_gap_max']:.3f} nats on a token "
                    f"(update.gap_alarm={config.update.gap_alarm})"
                )
            progress.rewards.append(record["reward"])
            self._log_samples(chosen, result, name, progress.step + 1, config.logging.samples_per_step)
            return record

        return one

    def _items(self, stage: Stage, result: Rollout) -> tuple[list[Item], dict[str, Any]]:
        """The sequences that the update learns from, with their advantages, and the metrics of the rollout."""
        groups = result.groups
        truncated = np.array([[j.completion.finish_reason == "length" for j in group] for group in groups])
        # What was cut off earns nothing, even if a right answer stands in it already (paper, section on rewards).
        rewards = (
            np.array([[j.verdict.verdict == "correct" for j in group] for group in groups], np.float64) * ~truncated
        )
        judged = np.array([[j.verdict.verdict != "unjudged" for j in group] for group in groups])
        if stage.permute_verdicts:  # a control: the same rewards, given to the wrong completions
            order = np.random.default_rng([self.config.seed, self.progress.step]).permutation(rewards.size)
            rewards, judged = (a.reshape(-1)[order].reshape(a.shape) for a in (rewards, judged))
        lengths = np.array([[len(j.completion.ids) for j in group] for group in groups])
        for group, right, kept in zip(groups, rewards, judged, strict=True):
            self.progress.rates[group[0].completion.problem_id] = [int(right[kept].sum()), int(kept.sum())]
        advantages = group_advantages(rewards, judged)
        counted = judged & ~(truncated & (stage.overlong == "mask"))
        if stage.aggregation == "group":
            advantages = advantages * group_token_weights(lengths, counted)
        items = [
            Item(
                j.completion.prompt_ids,
                j.completion.ids,
                float(advantages[n, g]),
                j.completion.logprobs,
                j.completion.step,
            )
            for n, group in enumerate(groups)
            for g, j in enumerate(group)
            if counted[n, g]
        ]
        means = [group[keep].mean() for group, keep in zip(rewards, judged, strict=True) if keep.any()]
        record = {
            "reward": float(rewards[judged].mean()) if judged.any() else 0.0,
            "reward_all_zero": float(np.mean([m == 0 for m in means])) if means else 0.0,
            "reward_all_one": float(np.mean([m == 1 for m in means])) if means else 0.0,
            "unjudged": result.unjudged,
            "length_mean": float(lengths.mean()),
            "length_p95": float(np.percentile(lengths, 95)),
            "truncated": float(truncated.mean()),
            "seconds_sample": result.seconds_sample,
            "seconds_verify": result.seconds_verify,
            "seconds_verify_busy": result.checks["busy_seconds"],
            **{f"verify_{name}": int(result.checks[name]) for name in ("retried", "rerun", "flipped")},
        }
        return items, record

    def _update(self, stage: Stage, items: Sequence[Item], temperature: float) -> dict[str, Any]:
        u = self.config.update
        length = u.row_tokens or self.config.policy.prompt_tokens + stage.response_tokens
        rate = learning_rate(stage, self.progress.stage_step)
        self.params, self.optimizer_state, metrics = update(
            self.params,
            self.optimizer_state,
            pack(items, u.rows, length, self.sampler.pad_id, self.progress.step),
            learning_rate=rate,
            temperature=temperature,
            config=self.policy,
            optimizer=self.optimizer,
            mesh=self.mesh,
            dtype=self.dtype,
            remat=u.remat,
        )
        if stage.kind == "sft":
            metrics = {name: metrics[name] for name in ("nll", "entropy", "grad_norm", "tokens")} | {
                "loss": metrics["nll"]
            }
        if not np.isfinite(metrics["grad_norm"]):
            raise RuntimeError(
                f"step {self.progress.step}: the gradient is not finite; the last checkpoint is untouched"
            )
        return {**metrics, "learning_rate": rate}

    # ------------------------------------------------------------------ measuring

    def _measure_small(self, stage: str) -> None:
        small = self.config.evaluation.small
        for name in self.sets:
            record = self._measure(stage, name, self.sets[name][:small], "small")
            self.progress.accuracy[name] = record["avg"]
        self.progress.evaluated = self.progress.step

    def _measure_all(self, stage: str) -> None:
        for name in self.sets:
            self._measure(stage, name, self.sets[name], "full")
        self.progress.measured.append(stage)

    def _measure(self, stage: str, name: str, prompts: Sequence[Prompt], split: str) -> dict[str, Any]:
        one, e = self.config.evaluation.sets[name], self.config.evaluation
        record, result = evaluate(
            sampling_weights(self.params, self.policy, self.sampling_mesh, self.dtype),
            prompts,
            self.sampler,
            self.pool,
            domain=name,
            split=split,
            samples=e.samples,
            response_tokens=one.response_tokens,
            temperature=e.temperature,
            top_p=e.top_p,
            seed=self.config.seed,
            stage=stage,
            step=self.progress.step,
            watch=lambda _, done, total: self._watch("evaluating", done, total),
        )
        self._refuse_unjudged(result)
        self.log.write(record)
        self.console.eval(record)
        if split == "full":
            self._log_samples(prompts, result, stage, self.progress.step, 4 * self.config.logging.samples_per_step)
        return record

    def summary(self, ended: bool) -> list[dict[str, Any]]:
        """Full evaluations in order, also written to summary.json; if the run `ended`, the last has the stage name
        "end".
        """
        latest = {
            (r["stage"], r["domain"]): r
            for r in read_metrics(self.folder)
            if r.get("kind") == "eval" and r.get("split") == "full"
        }
        order = [stage for stage in self.progress.measured if any(key[0] == stage for key in latest)]
        last = order[-1] if len(order) > 1 and ended else None
        fields = (
            "step",
            "domain",
            "k",
            "avg",
            "avg_low",
            "avg_high",
            "pass",
            "pass_low",
            "pass_high",
            "problems",
            "by_difficulty",
            "reasons",
        )
        entries = [
            {"stage": "end" if stage == last else stage, **{f: r[f] for f in fields if f in r}}
            for stage in order
            for (where, _), r in latest.items()
            if where == stage
        ]
        write_summary(self.folder, entries)
        return entries

    # ------------------------------------------------------------------ small things

    def save(self) -> None:
        self.console.phase("saving")
        checkpoint.save(self.folder, self.params, self.optimizer_state, self.progress)
        checkpoint.prune(self.folder, self.config.checkpoints.keep, self.progress.finished.values())

    def _export(self, stage: str) -> None:
        """RUN/exports/STAGE, where checkpoints.export names a dtype."""
        dtype, out = self.config.checkpoints.export, self.folder / "exports" / stage
        if dtype is not None:
            self.summary(False)  # for the model card
            shutil.rmtree(out, ignore_errors=True)  # of a run that this folder held before
            export_params(self.params, self.folder, self.progress.step, out, dtype)
            self.console.say(f"exported {out}")

    def _prompts(self, problems: Sequence[Any], what: str) -> list[Prompt]:
        policy = self.config.policy
        prompts, dropped = prepare(problems, self.tokenizer, policy.prompt_style, policy.prompt_tokens)
        if dropped:
            self._note(
                f"{what}: {dropped} of {len(problems)} prompts dropped, longer than policy.prompt_tokens={policy.prompt_tokens}"
            )
        if not prompts:
            raise UserError(
                f"{what}: all {len(problems)} prompts are longer than policy.prompt_tokens={policy.prompt_tokens}; raise it"
            )
        return prompts

    def _watch(self, phase: Any, done: int, total: int) -> None:
        self.console.phase(phase, done, total)
        self.signals.check()

    def _note(self, text: str) -> None:
        self.console.say(text)
        self.log.write({"kind": "note", "step": self.progress.step, "text": text, "time": time.time()})

    def _check_lengths(self) -> None:
        """Prompt and response together must lie within the positions that the policy was made for."""
        config, have = self.config, self.policy.max_positions
        budgets = {f"stages.{name}": s.response_tokens for name, s in config.stages.items()}
        budgets |= {f"evaluation.sets.{name}": s.response_tokens for name, s in config.evaluation.sets.items()}
        name, longest = max(budgets.items(), key=lambda pair: pair[1])
        if config.policy.prompt_tokens + longest > have:
            raise UserError(
                f"policy.prompt_tokens={config.policy.prompt_tokens} and {name}.response_tokens={longest} are more than the policy's "
                f"{have} positions; lower one of them"
            )

    def _announce(self, stages: dict[str, Stage]) -> None:
        device = meshes.describe(self.mesh)
        style, stops = self.config.policy.prompt_style, list(self.sampler.stop_ids)
        write_environment(self.folder, self.config.seed, device, {"prompt_style": style, "stop_ids": stops})
        self.console.say(
            f"policy {self.policy.model_type}, {self.policy.parameters / 1e6:.2f}M parameters, {self.dtype}, "
            f"{self.policy.attention} attention; {device}; seed {self.config.seed}; prompt style {style}, stop ids {stops}, "
            f"tokens for {self.policy.tokens} of {self.policy.vocab} rows"
        )
        progress = self.progress
        if self.resumed:
            at = f"step {progress.step}"
            if progress.stage in stages and progress.stage not in progress.finished:
                at += f", stage {progress.stage} ({progress.stage_step} of {stages[progress.stage].steps} steps done)"
            elif set(stages) <= set(progress.finished):
                at += ": every stage is finished, nothing is left to train"
            self._note(f"continuing {self.folder} at {at}")

    def _refuse_unjudged(self, result: Rollout) -> None:
        limit = self.config.verification.max_unjudged
        if result.unjudged > limit:
            raise RuntimeError(
                f"step {self.progress.step}: the verifier failed on {result.unjudged:.0%} of the completions "
                f"(verification.max_unjudged={limit:.0%}); the last checkpoint is untouched"
            )

    def _log_samples(self, prompts: Sequence[Prompt], result: Rollout, stage: str, step: int, count: int) -> None:
        def record(prompt: Prompt, judged: Judged) -> dict[str, Any]:
            c, v = judged.completion, judged.verdict
            return {
                "stage": stage,
                "domain": prompt.problem.domain,
                "step": step,
                "problem_id": c.problem_id,
                "sample": c.sample,
                "prompt": prompt.text,
                "prompt_ids": prompt.ids,
                "response": c.response,
                "finish_reason": c.finish_reason,
                "verdict": v.verdict,
                "reason": v.reason,
                "length": len(c.ids),
            }

        self.log.samples(
            [record(p, group[i % len(group)]) for i, (p, group) in enumerate(zip(prompts, result.groups, strict=True))][
                :count
            ]
        )

    def _seconds_left(self) -> float | None:
        """Steps to come, each as long as those of its stage so far, or of the latest stage that has been timed."""
        latest = next(iter(reversed(self.step_seconds.values())), None)
        if not latest:
            return None
        total = 0.0
        for name, stage in self.config.stages.items():
            if name in self.progress.finished:
                continue
            seconds = self.step_seconds.get(name, latest)[-20:]
            left = stage.steps - (self.progress.stage_step if name == self.progress.stage else 0)
            total += max(left, 0) * float(np.median(seconds))
        return total
