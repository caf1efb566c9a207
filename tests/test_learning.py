"""The quickstart learns, and what it learns is not format or luck. An hour of CPU for all; ACEJAX_LEARNING_SEEDS=0
takes one seed.

Each test prints what it measured; docs/results.md quotes the output.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SEEDS = [int(s) for s in os.environ.get("ACEJAX_LEARNING_SEEDS", "0,1,2").split(",")]
GRPO = ("math_short", "math_long", "code")
FORMAT = {"no_box", "no_think_end", "no_code"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def train(output: Path, *overrides: str) -> list[dict]:
    """Runs the quickstart with overrides as a user would, and returns its summary. A finished run is not run again."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}  # one device, as on a laptop
    command = [sys.executable, "-m", "acejax.cli", "train", "configs/quickstart.yaml", f"output={output}", *overrides]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    environment = json.loads((output / "environment.json").read_text())
    print("\n" + ", ".join(f"{name} {environment[name]}" for name in ("seed", "device", "python", "jax")))
    return json.loads((output / "summary.json").read_text())


def entry(summary: list[dict], stage: str, domain: str) -> dict:
    return next(e for e in summary if e["stage"] == stage and e["domain"] == domain)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run of a seed, made once. ACEJAX_LEARNING_RUNS names a folder that keeps them."""
    base = Path(os.environ.get("ACEJAX_LEARNING_RUNS") or tmp_path_factory.mktemp("learning"))
    return lambda seed: (base / f"seed{seed}", train(base / f"seed{seed}", f"seed={seed}"))


@pytest.mark.parametrize("seed", SEEDS)
def test_held_out_accuracy_rises_in_both_domains(runs, seed):
    _, summary = runs(seed)
    for domain, least in (("math", 0.25), ("code", 0.20)):
        start, end = entry(summary, "start", domain), entry(summary, "end", domain)
        by = {
            d: round(end["by_difficulty"][d]["avg"] - start["by_difficulty"][d]["avg"], 3)
            for d in start["by_difficulty"]
        }
        wrong = sum(n for reason, n in start["reasons"].items() if reason != "ok")
        missing = sum(n for reason, n in start["reasons"].items() if reason in FORMAT) / wrong
        print(
            f"{domain}: avg@8 {start['avg']:.3f} -> {end['avg']:.3f}, pass@8 {start['pass']:.3f} -> {end['pass']:.3f}"
        )
        print(
            f"{domain}: gain by difficulty {by}, {missing:.3f} of the failures at the start are a missing box or code"
        )
        assert 0.15 <= start["avg"] <= 0.45
        assert end["avg"] - start["avg"] >= least
        assert end["pass"] >= start["pass_low"]
        assert missing <= 0.10
        assert by[max(by)] > 0


def test_permuted_verdicts_teach_nothing(runs, tmp_path):
    run, summary = runs(SEEDS[0])
    permuted = [f"stages.{name}.permute_verdicts=true" for name in GRPO]
    control = train(
        tmp_path / "permuted", f"seed={SEEDS[0]}", f"init={run}@warm_start", "stages.warm_start=null", *permuted
    )
    for domain in ("math", "code"):
        start, end = entry(summary, "start", domain)["avg"], entry(control, "end", domain)["avg"]
        print(f"{domain}, verdicts permuted within each step: avg@8 {start:.3f} -> {end:.3f}")
        assert end - start < 0.05


def test_more_of_the_warm_start_is_reported_beside_it(runs, tmp_path):
    """As many more supervised steps as fit in the time that reinforcement took: what imitation alone would have
    reached.
    """
    run, summary = runs(SEEDS[0])
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [r for r in steps if r["kind"] == "step"]
    supervised = [r["seconds_step"] for r in steps if r["stage"] == "warm_start"]
    budget = sum(r["seconds_step"] for r in steps if r["stage"] in GRPO)
    more = round(budget / (sum(supervised) / len(supervised)))
    drop = [f"stages.{name}=null" for name in GRPO]
    control = train(
        tmp_path / "continued", f"seed={SEEDS[0]}", f"init={run}@warm_start", f"stages.warm_start.steps={more}", *drop
    )
    for domain in ("math", "code"):
        start, end = entry(summary, "start", domain)["avg"], entry(control, "warm_start", domain)["avg"]
        reinforced = entry(summary, "end", domain)["avg"]
        print(f"{domain}: start {start:.3f}, {more} more supervised steps {end:.3f}, reinforcement {reinforced:.3f}")
        assert reinforced > end
