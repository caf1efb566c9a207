"""A run killed with SIGKILL again and again is the run that was never killed. ACEJAX_KILLS says how often (25)."""

import os
import random
import signal
import subprocess
import sys

import pytest
import same_run
from runs import CONFIG

KILLS = int(os.environ.get("ACEJAX_KILLS", "25"))
SEED = 0
# More of everything than test_run has, so that there is time to be killed so often.
LONGER = ("stages.warm.steps=12", "stages.math.steps=14", "stages.code.steps=8", "mesh={fsdp: 1, tensor: 1}")
# The command line, killed at the Nth of these moments: a record about to be written or just written, a checkpoint about
# to be written, about to be renamed, or just renamed, and whatever a person is shown in between.
KILLER = """
import os, signal, sys
from pathlib import Path
from acejax import cli
from acejax.run import checkpoint, console, records
left = int(sys.argv.pop(1))
moments = 0

def counted(owner, name):
    original = getattr(owner, name)
    def call(*arguments, **named):
        moment()
        result = original(*arguments, **named)
        moment()
        return result
    setattr(owner, name, call)

def moment():
    global moments
    moments += 1
    if moments == left:
        os.kill(os.getpid(), signal.SIGKILL)

counted(records.Records, "write")
counted(records.Records, "samples")
counted(console.RunConsole, "phase")
counted(checkpoint, "save")
counted(Path, "rename")
cli.main()
"""


def start(path, output, moments):
    environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    command = [sys.executable, "-c", KILLER, str(moments), "train", str(path), f"output={output}", *LONGER]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_killed_at_random_is_the_run_never_killed(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG.format(output=tmp_path / "unused"))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    ended = start(path, whole, 0)
    assert ended.returncode == 0, ended.stderr
    draw = random.Random(SEED)
    kills, lasts = [], []
    while True:
        # Enough kills come early in a life, and late enough that some lives leave a checkpoint.
        moments = draw.randint(1, 150) if len(kills) < KILLS else 0
        ended = start(path, killed, moments)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        kills.append(moments)
        rows = same_run.read_metrics(killed)
        last = next((row["kind"] for row in reversed(rows)), "nothing")
        lasts.append(last)
        print(f"kill {len(kills)} at moment {moments}: {len(rows)} rows, the last of kind {last}")
    print(f"seed {SEED}: {len(kills)} kills")
    assert "eval" in lasts, "none came between an evaluation and the next checkpoint"
    assert len(kills) >= KILLS, "the run was over before it had been killed so often: make it longer"
    assert same_run.report(whole, killed)
