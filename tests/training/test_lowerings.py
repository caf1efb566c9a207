"""The quickstart, shortened: no program is made after a stage's second step, evaluations included."""

from pathlib import Path

import jax
import pytest
from runs import run

from acejax.run.records import Records
from acejax.training.curriculum import HostState
from acejax.training.lowerings import Lowerings

ROOT = Path(__file__).resolve().parents[2]
# Four steps a stage, fewer problems, no more devices than a laptop has.
SHORT = (
    *(f"stages.{name}.steps=4" for name in ("warm_start", "math_short", "math_long", "code")),
    "stages.warm_start.traces=[{builtin: math, count: 200}, {builtin: code, count: 100}]",
    "stages.math_short.problems=[{builtin: math, count: 64, difficulties: [1, 2]}]",
    "stages.math_long.problems=[{builtin: math, count: 64}]",
    "stages.code.problems=[{builtin: code, count: 64}]",
    *(f"evaluation.sets.{name}.problems=[{{builtin: {name}, split: heldout, count: 40}}]" for name in ("math", "code")),
    "evaluation.samples=2",
    "verification.workers=1",
    "mesh={fsdp: 1, tensor: 1}",
    "logging.tensorboard=false",
)


@pytest.fixture
def one_device(monkeypatch):
    devices = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *_: devices)
    monkeypatch.setattr(jax, "local_devices", lambda *_, **__: devices)


def test_no_program_is_made_after_a_stages_second_step(tmp_path, monkeypatch, one_device):
    lowerings = Lowerings()
    jax.clear_caches()  # programs of other tests would hide what a run makes
    seen = {}
    write, enter = Records.write, HostState.enter

    def entered(self, stage):
        # Between stages, and in the first two steps of one, programs may be made.
        seen[stage] = []
        enter(self, stage)

    def written(self, record):
        write(self, record)
        if record["kind"] in ("step", "eval") and record["stage"] in seen:
            seen[record["stage"]].append((record["kind"], lowerings.count))

    monkeypatch.setattr(HostState, "enter", entered)
    monkeypatch.setattr(Records, "write", written)
    assert run("train", str(ROOT / "configs" / "quickstart.yaml"), f"output={tmp_path / 'run'}", *SHORT) == 0
    assert lowerings.count > 10, "the counter hears nothing"
    for stage, rows in seen.items():
        # The first evaluation, that of the start, belongs to what comes before the stage.
        steps = [at for at, (kind, _) in enumerate(rows) if kind == "step"]
        assert len(steps) == 4
        after_second = rows[steps[1] :]
        assert {count for _, count in after_second} == {after_second[0][1]}, f"stage {stage}: {rows}"
    assert [kind for kind, _ in seen["code"]].count("eval") == 2
    assert "compiled after" not in (tmp_path / "run" / "log.txt").read_text()
