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


def step_record(stage: str, kind: str, domain: str, step: int, at: int, steps: int) -> dict[str, Any]:
    record: dict[str, Any] = {
        "kind": "step",
        "stage": stage,
        "stage_kind": kind,
        "domain": domain,
        "step": step,
        "stage_step": at,
    }
    record |= {
        "stage_steps": steps,
        "grad_norm": 1 + math.sin(step) / 2,
        "learning_rate": 1e-3,
        "tokens": 9000 + 100 * step,
        "time": 1.7e9 + 3 * step,
    }
    if kind == "sft":
        return record | {"loss": 2.0 / at + 0.3, "seconds_step": 0.8 if at > 1 else 20.0}
    progress = at / steps
    return record | {
        "reward": 0.25 + 0.4 * progress + 0.05 * math.sin(7 * step),
        "reward_all_zero": 0.4 - 0.3 * progress,
        "reward_all_one": 0.3 * progress,
        "unjudged": 0.01 if step % 5 == 0 else 0.0,
        "length_mean": 80 + 60 * progress + 5 * math.cos(step),
        "length_p95": 150 + 90 * progress,
        "truncated": 0.3 * (1 - progress),
        "entropy": 0.8 - 0.4 * progress,
        "entropy_tempered": 0.7 - 0.4 * progress,
        "logprob_gap_mean": 1e-6 * (1 + 0.3 * math.sin(step)),
        "logprob_gap_max": 2e-5 * (1 + 0.3 * math.cos(step)),
        "loss": 0.01,
        "seconds_sample": 2.0 if at > 1 else 25.0,
        "seconds_verify": 0.2,
        "seconds_verify_busy": 1.1,
        "seconds_update": 1.2 if at > 1 else 12.0,
        "seconds_step": 3.6 if at > 1 else 38.0,
    }


def eval_record(stage: str, step: int, domain: str, split: str, avg: float) -> dict[str, Any]:
    problems, wide = (32, 0.1) if split == "small" else (160, 0.04)
    levels = {str(d): {"avg": max(0.02, avg + 0.1 * (3 - d)), "problems": problems // 5} for d in range(1, 6)}
    failed = round(8 * problems * (1 - avg))
    record: dict[str, Any] = {
        "kind": "eval",
        "stage": stage,
        "step": step,
        "domain": domain,
        "split": split,
        "k": 8,
        "problems": problems,
    }
    record |= {
        "avg": avg,
        "avg_low": avg - wide,
        "avg_high": avg + wide,
        "pass": min(1.0, avg + 0.35),
        "pass_low": avg + 0.3,
        "pass_high": 1.0,
    }
    reasons = {"ok": 8 * problems - failed, "mismatch": failed - failed // 4, "no_box": failed // 4, "infra": 0}
    return record | {"by_difficulty": levels, "reasons": reasons, "length_mean": 90.0, "truncated": 0.1, "seconds": 4.0}


def build(folder: Path, stages: int = len(STAGES), finished: bool = True) -> Path:
    """Writes the folder of a run that went through the first `stages` of STAGES."""
    folder.mkdir(parents=True)
    records: list[dict[str, Any]] = []
    samples: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    levels = {"math": 0.3, "code": 0.22}

    def measure(stage: str, step: int, split: str = "full") -> None:
        for domain, avg in levels.items():
            records.append(eval_record(stage, step, domain, split, avg))
            if split == "full":
                summary.append(
                    {
                        key: records[-1][key]
                        for key in records[-1]
                        if key not in ("kind", "step", "split", "by_difficulty", "reasons")
                    }
                )

    step = 0
    for name, kind, domain, steps in STAGES[:stages]:
        records.append({"kind": "note", "text": f"stage {name} begins", "time": 1.7e9})
        for at in range(1, steps + 1):
            step += 1
            records.append(step_record(name, kind, domain, step, at, steps))
            if kind == "grpo":
                levels[domain] += 0.011
                for sample, verdict in enumerate(("correct", "wrong")):
                    place = {"stage": name, "step": step, "problem_id": f"{domain}-{step}", "sample": sample}
                    text = f"step {step}\n" + "reason\n" * 5 + (HOSTILE if verdict == "wrong" else "\\boxed{3}")
                    judged = {
                        "verdict": verdict,
                        "reason": "ok" if verdict == "correct" else "mismatch",
                        "finish_reason": "stop",
                        "length": 40,
                    }
                    samples.append({**place, "prompt": f"What is {step} < {step + 1} & 2?", "response": text, **judged})
            if at % 4 == 0:
                measure(name, step, "small")
        measure("start" if kind == "sft" else "end" if finished and name == STAGES[stages - 1][0] else name, step)
    files = {"metrics.jsonl": records, "samples.jsonl": samples}
    for name, lines in files.items():
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    if finished:
        (folder / "summary.json").write_text(json.dumps(summary))
    environment = {
        "seed": 0,
        "device": "cpu x 2",
        "jax": "0.7.0",
        "python": "3.12.1",
        "acejax": "0.1.0",
        "git_commit": "abc1234",
    }
    (folder / "environment.json").write_text(
        json.dumps(environment | {"command": "acejax train configs/quickstart.yaml"})
    )
    (folder / "config.yaml").write_text("seed: 0\noutput: runs/x # <b>\n")
    return folder
