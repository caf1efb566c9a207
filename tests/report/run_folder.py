"""A made-up run folder with every kind of record, for the tests of the report."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

STAGES = (
    ("warm_start", "sft", "math+code", 20),
    ("math_short", "grpo", "math", 16),
    ("math_long", "grpo", "math", 12),
    ("code", "grpo", "code", 14),
)
HOSTILE = "<script>alert('x')</script> & </pre> <img src=http://example.invalid/x.png>"
ENVIRONMENT = {
    "seed": 0,
    "device": "cpu x 2",
    "jax": "0.7.0",
    "python": "3.12.1",
    "acejax": "0.1.0",
    "git_commit": "abc1234",
    "command": "acejax train configs/quickstart.yaml",
}


def step_record(stage: str, kind: str, domain: str, step: int, at: int, steps: int) -> dict[str, Any]:
    """The record of global step `step`, the stage's `at` of `steps`; the first of a stage compiles and is slow."""
    record: dict[str, Any] = {
        "kind": "step",
        "stage": stage,
        "stage_kind": kind,
        "domain": domain,
        "step": step,
        "stage_step": at,
        "stage_steps": steps,
        "grad_norm": 1 + math.sin(step) / 2,
        "learning_rate": 1e-3,
        "tokens": 9000 + 100 * step,
        "time": 1.7e9 + 3 * step,
    }
    if kind == "sft":
        seconds = {"seconds_step": 0.8}
        if at == 1:
            seconds = {"seconds_step": 20.0}
        return record | {"loss": 2.0 / at + 0.3} | seconds
    return record | measured(step, at / steps) | phases(at)


def measured(step: int, progress: float) -> dict[str, float]:
    """What a reinforced step measures of its completions."""
    return {
        "reward": 0.25 + 0.4 * progress + 0.05 * math.sin(7 * step),
        "reward_all_zero": 0.4 - 0.3 * progress,
        "reward_all_one": 0.3 * progress,
        "unjudged": 0.01 * (step % 5 == 0),
        "length_mean": 80 + 60 * progress + 5 * math.cos(step),
        "length_p95": 150 + 90 * progress,
        "truncated": 0.3 * (1 - progress),
        "entropy": 0.8 - 0.4 * progress,
        "entropy_tempered": 0.7 - 0.4 * progress,
        "logprob_gap_mean": 1e-6 * (1 + 0.3 * math.sin(step)),
        "logprob_gap_max": 2e-5 * (1 + 0.3 * math.cos(step)),
        "loss": 0.01,
    }


def phases(at: int) -> dict[str, float]:
    seconds = {
        "seconds_sample": 2.0,
        "seconds_verify": 0.2,
        "seconds_verify_busy": 1.1,
        "seconds_update": 1.2,
        "seconds_step": 3.6,
    }
    if at == 1:
        seconds |= {"seconds_sample": 25.0, "seconds_update": 12.0, "seconds_step": 38.0}
    return seconds


def eval_record(stage: str, step: int, domain: str, split: str, avg: float) -> dict[str, Any]:
    problems, wide = 160, 0.04
    if split == "small":
        problems, wide = 32, 0.1
    responses = 8 * problems
    failed = round(responses * (1 - avg))
    levels = {}
    for level in range(1, 6):
        levels[str(level)] = {"avg": max(0.02, avg + 0.1 * (3 - level)), "problems": problems // 5}
    return {
        "kind": "eval",
        "stage": stage,
        "step": step,
        "domain": domain,
        "split": split,
        "k": 8,
        "problems": problems,
        "avg": avg,
        "avg_low": avg - wide,
        "avg_high": avg + wide,
        "pass": min(1.0, avg + 0.35),
        "pass_low": avg + 0.3,
        "pass_high": 1.0,
        "by_difficulty": levels,
        "reasons": {
            "ok": responses - failed,
            "mismatch": failed - failed // 4,
            "no_box": failed // 4,
            "infra": 0,
        },
        "length_mean": 90.0,
        "truncated": 0.1,
        "seconds": 4.0,
    }


def sample_records(stage: str, domain: str, step: int) -> list[dict[str, Any]]:
    """A right response and a wrong one, whose text is hostile."""
    base = {
        "stage": stage,
        "step": step,
        "problem_id": f"{domain}-{step}",
        "prompt": f"What is {step} < {step + 1} & 2?",
        "finish_reason": "stop",
        "length": 40,
    }
    text = f"step {step}\n" + "reason\n" * 5
    right = {"sample": 0, "response": text + "\\boxed{3}", "verdict": "correct", "reason": "ok"}
    wrong = {"sample": 1, "response": text + HOSTILE, "verdict": "wrong", "reason": "mismatch"}
    return [base | right, base | wrong]


class Story:
    """What a run would have logged, told step by step; each reinforced step is worth 1.1 points in its domain."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.samples: list[dict[str, Any]] = []
        self.summary: list[dict[str, Any]] = []
        self.levels = {"math": 0.3, "code": 0.22}
        self.step = 0

    def stage(self, name: str, kind: str, domain: str, steps: int) -> None:
        self.records.append({"kind": "note", "text": f"stage {name} begins", "time": 1.7e9})
        for at in range(1, steps + 1):
            self.step += 1
            self.records.append(step_record(name, kind, domain, self.step, at, steps))
            if kind == "grpo":
                self.levels[domain] += 0.011
                self.samples += sample_records(name, domain, self.step)
            if at % 4 == 0:
                self.records += self.measure(name, "small")

    def boundary(self, stage: str) -> None:
        """Measures the whole set; the summary keeps what its table shows."""
        left_out = {"kind", "step", "split", "by_difficulty", "reasons"}
        for record in self.measure(stage, "full"):
            self.records.append(record)
            self.summary.append({key: value for key, value in record.items() if key not in left_out})

    def measure(self, stage: str, split: str) -> list[dict[str, Any]]:
        return [eval_record(stage, self.step, domain, split, avg) for domain, avg in self.levels.items()]


def build(folder: Path, stages: int = len(STAGES), finished: bool = True) -> Path:
    """Writes the folder of a run that went through the first `stages` of STAGES."""
    story = Story()
    for at, (name, kind, domain, steps) in enumerate(STAGES[:stages], 1):
        story.stage(name, kind, domain, steps)
        boundary = name
        if kind == "sft":
            boundary = "start"
        elif finished and at == stages:
            boundary = "end"
        story.boundary(boundary)

    folder.mkdir(parents=True)
    write_lines(folder / "metrics.jsonl", story.records)
    write_lines(folder / "samples.jsonl", story.samples)
    if finished:
        (folder / "summary.json").write_text(json.dumps(story.summary))
    (folder / "environment.json").write_text(json.dumps(ENVIRONMENT))
    (folder / "config.yaml").write_text("seed: 0\noutput: runs/x # <b>\n")
    return folder


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
