"""The suite notices the two mistakes that matter most: a sign flipped in the advantage, and a loss mask off by one
token.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MUTATIONS = {
    "the advantage's sign is flipped": (
        "acejax/grpo/objective.py",
        "ratio * advantages, 0.0",
        "ratio * -advantages, 0.0",
    ),
    "advantages are measured the wrong way round": ("acejax/grpo/objective.py", "kept - mean, 0.0", "mean - kept, 0.0"),
    "the loss mask begins a token late": (
        "acejax/grpo/packing.py",
        "loss_mask[row, begin:end]",
        "loss_mask[row, begin + 1 : end]",
    ),
    "the loss mask begins a token early": (
        "acejax/grpo/packing.py",
        "loss_mask[row, begin:end]",
        "loss_mask[row, begin - 1 : end]",
    ),
    "the stop token is not trained on": (
        "acejax/grpo/packing.py",
        "loss_mask[row, begin:end]",
        "loss_mask[row, begin : end - 1]",
    ),
    "the update's mask is shifted against its targets": (
        "acejax/grpo/update.py",
        "rows.loss_mask[:, 1:]",
        "rows.loss_mask[:, :-1]",
    ),
    "a truncated response is paid": ("acejax/grpo/batch.py", "np.float64) * ~truncated", "np.float64)"),
    "the overlong mask is ignored": (
        "acejax/grpo/batch.py",
        'judged & ~truncated if overlong == "mask" else judged',
        "judged",
    ),
    "aggregation by group is ignored": ("acejax/grpo/batch.py", 'if aggregation == "group":', "if False:"),
    "the unjudged count as wrong": (
        "acejax/grpo/batch.py",
        "group_advantages(paid, judged)",
        "group_advantages(paid, judged | True)",
    ),
    "a logical axis is misspelt": (
        "acejax/policy/transformer.py",
        'keys = rules.spec("batch", None, "heads", None)',
        'keys = rules.spec("batch", None, "hedas", None)',
    ),
}


def suite(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/grpo"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


@pytest.fixture
def copy(tmp_path):
    for name in ("acejax", "tests", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTATIONS)
def test_the_suite_fails_when(copy, name):
    file, before, after = MUTATIONS[name]
    path = copy / file
    text = path.read_text()
    assert text.count(before) == 1, f"{file} no longer holds {before!r}: write the mutation anew"
    path.write_text(text.replace(before, after))
    result = suite(copy)
    assert result.returncode == 1 and "failed" in result.stdout, result.stdout[-2000:]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_suite_passes_unchanged(copy):
    result = suite(copy)
    assert result.returncode == 0, result.stdout[-2000:]
