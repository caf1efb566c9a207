"""What a user meets first: messages of one line, runs that go on, and what a run says of itself."""

import json
import shutil

import numpy as np
import pytest
from runs import TINY, run, same, weights

from acejax.policy.folder import open_safetensors, write_tensors
from acejax.run.records import read_metrics, read_samples

CONFIG = (
    TINY
    + """
sampling: {{slots: 16, chunk: 8}}
verification: {{workers: 1}}
logging: {{samples_per_step: 9, tensorboard: false}}
stages:
  math:
    {{kind: grpo, domain: math, steps: 1, learning_rate: 1e-3, prompts_per_step: 4, group_size: 4, response_tokens: 16,
      filter: {{max_solve_rate: 0.5}}, problems: [{{path: {problems}}}]}}
evaluation:
  samples: 4
  sets:
    shared: {{response_tokens: 16, problems: [{{path: {problems}, count: 2}}]}}
"""
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A finished run of one step on a file of problems, and the file of its configuration."""
    folder = tmp_path_factory.mktemp("door")
    rows = [{"id": f"p{n}", "prompt": f"{n} + 1 = ?", "answer": str(n + 1)} for n in range(6)]
    rows[0]["attempts"] = [{"policy": "earlier", "n": 4, "correct": 4}]  # too easy for the filter
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "run.yaml"
    path.write_text(CONFIG.format(output=folder / "whole", problems=folder / "problems.jsonl"))
    assert run("train", str(path)) == 0
    return folder / "whole", path


def test_a_run_says_what_a_reader_should_know(base):
    folder, _ = base
    notes = [row["text"] for row in read_metrics(folder) if row["kind"] == "note"]
    assert any("trains on 2 of 2 problems of evaluation set 'shared' (p0, p1): it is not held out" in n for n in notes)
    assert "math, epoch 0: the filter leaves out 1 of 6 problems" in notes
    assert "there is nothing to learn from: weight decay alone moves the weights" in (folder / "log.txt").read_text()


def test_samples_are_as_many_as_asked_for_and_name_their_set(base):
    folder, _ = base
    samples = list(read_samples(folder))
    trained = [(one["problem_id"], one["sample"]) for one in samples if "set" not in one]
    assert len(trained) == len(set(trained)) == 9
    assert {one["set"] for one in samples if "set" in one} == {"shared"}


def test_a_finished_run_goes_on_where_it_is_given_more_steps(base, tmp_path):
    whole, path = base
    longer, extended = f"output={tmp_path / 'longer'}", tmp_path / "extended"
    shutil.copytree(whole, extended)
    assert run("train", str(path), longer, "stages.math.steps=3") == 0
    assert run("train", str(path), f"output={extended}", "stages.math.steps=3") == 0
    assert [row["step"] for row in read_metrics(extended) if row["kind"] == "step"] == [1, 2, 3]
    same(weights(extended), weights(tmp_path / "longer"))
    summary = json.loads((extended / "summary.json").read_text())
    assert [(entry["stage"], entry["step"]) for entry in summary] == [("start", 0), ("end", 3)]


def test_weights_that_are_not_numbers_stop_the_run(base, tmp_path, capsys):
    whole, path = base
    spoilt = tmp_path / "spoilt"
    assert run("export", str(whole), str(spoilt)) == 0
    tensors = open_safetensors(spoilt / "model.safetensors")
    norm = tensors["model.norm.weight"]
    tensors["model.norm.weight"] = type(norm)(norm.shape, norm.dtype, lambda _: np.full(norm.shape, np.nan, norm.dtype))
    (tmp_path / "new").mkdir()
    write_tensors(tmp_path / "new", tensors)
    (tmp_path / "new" / "model.safetensors").replace(spoilt / "model.safetensors")
    capsys.readouterr()
    more = (f"output={tmp_path / 'run'}", f"init={spoilt}", "evaluation.sets=null")
    assert run("train", str(path), *more) == 2
    error = capsys.readouterr().err
    assert "the loss is not finite (nan); the last checkpoint is untouched" in error
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))


def test_the_card_of_an_export_names_no_folder_of_this_machine(base, tmp_path):
    whole, _ = base
    assert run("export", str(whole), str(tmp_path / "out")) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert str(whole.parent) not in card and "problems.jsonl" in card and "base_model" not in card
    copied = tmp_path / "copied"
    shutil.copytree(whole, copied)
    text = (copied / "config.yaml").read_text()
    (copied / "config.yaml").write_text(text.replace("init: null", "init: deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"))
    assert run("export", str(copied), str(tmp_path / "again")) == 0
    assert "base_model: deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B" in (tmp_path / "again" / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stages.maths.steps=3"], "override 'stages.maths.steps=3': there is no stage 'maths'; did you mean 'math'?"),
        (["stages.xyz=null"], "there is no stage 'xyz'; the stages are math"),
        (["mesh={fsdp: 2, tensor: 4}"], "mesh.tensor=4 does not divide the policy's key/value heads (2)"),
        (["--until", "physics"], "--until physics: no such stage"),
        (["stages.math.problems=[{path: /no/where.jsonl}]"], "/no/where.jsonl: there is no such file"),
        (["evaluation.sets={other: {problems: [{path: /no/where.jsonl}]}}"], "/no/where.jsonl: there is no such file"),
        (["stages.math.domain=chess"], "stages.math: field 'domain' is 'chess'"),
    ],
)
def test_messages(base, tmp_path, capsys, arguments, message):
    _, path = base
    assert run("train", str(path), f"output={tmp_path / 'run'}", *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and len(error.splitlines()) == 1


def test_what_is_not_there_is_said_before_the_policy_is_made(base, tmp_path):
    _, path = base
    for wrong in (["--until", "physics"], ["stages.math.problems=[{path: /no/where.jsonl}]"]):
        assert run("train", str(path), f"output={tmp_path / 'run'}", *wrong) == 2
        assert not (tmp_path / "run").exists()


def test_a_key_that_stands_twice_is_named_with_both_lines(base, tmp_path, capsys):
    _, path = base
    twice = tmp_path / "twice.yaml"
    twice.write_text(path.read_text() + "seed: 1\nseed: 2\n")
    assert run("config", str(twice)) == 2
    line = len(path.read_text().splitlines()) + 1
    assert f"key 'seed' stands at line {line} and again at line {line + 1}" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["null", "{}"])
def test_evaluation_sets_can_be_emptied(base, capsys, value):
    _, path = base
    assert run("config", str(path), f"evaluation.sets={value}") == 0
    assert "sets: {}" in capsys.readouterr().out
    assert run("config", str(path), "evaluation.sets.shared=null") == 0
    assert "shared" not in capsys.readouterr().out.partition("evaluation:")[2]


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_torn_progress_file_is_named(base, tmp_path, capsys, content):
    whole, path = base
    copied = tmp_path / "run"
    shutil.copytree(whole, copied)
    (copied / "checkpoints" / "000001" / "progress.json").write_text(content)
    assert run("train", str(path), f"output={copied}") == 2
    error = capsys.readouterr().err.strip()
    assert "000001/progress.json: " in error and "an earlier checkpoint is taken" in error
    assert len(error.splitlines()) == 1


def test_a_torn_checkpoint_is_named(base, tmp_path, capsys):
    whole, path = base
    copied = tmp_path / "run"
    shutil.copytree(whole, copied)
    state = copied / "checkpoints" / "000001" / "state"
    for data in [one for one in state.rglob("*") if one.is_file()]:
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    assert run("train", str(path), f"output={copied}") == 2
    assert "000001/state: cannot be read (" in capsys.readouterr().err


def test_a_run_whose_policy_is_gone_says_so(base, tmp_path, capsys):
    whole, path = base
    copied = tmp_path / "run"
    shutil.copytree(whole, copied)
    shutil.rmtree(copied / "policy")
    assert run("train", str(path), f"output={copied}") == 2
    assert f"{copied / 'policy'}: is missing, but the run has checkpoints" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["train", "-h"]])
def test_help_is_there_under_both_names(capsys, arguments):
    assert run(*arguments) == 0
    assert "Usage" in capsys.readouterr().out


def test_the_version(capsys):
    import acejax

    assert run("--version") == 0
    assert capsys.readouterr().out.strip() == f"acejax {acejax.__version__}"
