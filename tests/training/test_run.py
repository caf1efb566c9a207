"""A whole run on eight emulated devices: stages, records, interruption and resume, export."""

import fcntl
import itertools
import json
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import same_run
import yaml
from runs import CONFIG, run, same, weights

from acejax.config_files import load_config
from acejax.evaluation.evaluate import HeldOut
from acejax.problems.tokenizer import load_tokenizer
from acejax.run import checkpoint
from acejax.run.records import Records, read_metrics, read_samples
from acejax.run.source import resolve
from acejax.training import loop
from acejax.training.curriculum import HostState
from acejax.training.state import RunState
from acejax.verification.pool import VerificationPool


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A finished run, and the file of its configuration. Its pool claims, whenever it is asked, a flip and two programs
    run again more.
    """
    folder = tmp_path_factory.mktemp("runs")
    path = folder / "run.yaml"
    path.write_text(CONFIG.format(output=folder / "whole"))
    count, stats = itertools.count(1), VerificationPool.stats
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            VerificationPool, "stats", lambda pool: stats(pool) | {"flipped": (n := next(count)), "rerun": 2 * n}
        )
        assert run("train", str(path)) == 0
    return folder / "whole", path


def test_the_records_of_a_run(base):
    folder, _ = base
    records = read_metrics(folder)
    steps = [r for r in records if r["kind"] == "step"]
    assert [(r["stage"], r["step"]) for r in steps] == [
        ("warm", 1),
        ("warm", 2),
        ("warm", 3),
        ("math", 4),
        ("math", 5),
        ("math", 6),
        ("code", 7),
    ]
    for r in steps[3:]:
        assert r["logprob_gap_max"] < 1e-3 and r["entropy"] > 0 and 0 <= r["truncated"] <= 1 and r["unjudged"] == 0
        assert (r["verify_retried"], r["verify_rerun"], r["verify_flipped"]) == (0, 2, 1) and r[
            "seconds_verify_busy"
        ] > 0
    full = [(r["stage"], r["domain"]) for r in records if r["kind"] == "eval" and r["split"] == "full"]
    assert full == [(s, d) for s in ("start", "math", "code") for d in ("math", "code")]
    assert [r["step"] for r in records if r["kind"] == "eval" and r["split"] == "small" and r["domain"] == "math"] == [
        2,
        5,
    ]
    summary = json.loads((folder / "summary.json").read_text())
    assert [(e["stage"], e["domain"]) for e in summary] == [
        (s, d) for s in ("start", "math", "end") for d in ("math", "code")
    ]
    sample = next(read_samples(folder))
    assert {"response", "verdict", "reason"} <= sample.keys()
    tokenizer = load_tokenizer(folder / "policy")
    assert sample["prompt_ids"] == tokenizer.encode(sample["prompt"]) and sample["prompt"].endswith("<think>\n")
    assert (folder / "report.html").stat().st_size > 10_000 and "stage math" in (folder / "log.txt").read_text()
    assert (folder / "log.txt").read_text().count("flipped 1") == 4
    environment = json.loads((folder / "environment.json").read_text())
    assert {"seed", "device", "jax", "python", "git_commit"} <= environment.keys()
    assert (environment["prompt_style"], environment["stop_ids"]) == ("builtin", [tokenizer.eos_token_id])
    assert "prompt style builtin, stop ids [2], tokens for 596 of 640 rows" in " ".join(
        (folder / "log.txt").read_text().split()
    )
    assert list((folder / "tensorboard").iterdir())


# The generation at which a run is interrupted, by what it then does.
WHEN = {"warm": 2, "sampling": 5, "evaluating": 2}


@pytest.mark.parametrize("moment", WHEN)
def test_an_interrupted_run_goes_on_to_the_same_bits(base, tmp_path, monkeypatch, capsys, moment):
    """A signal in the supervised stage, in the middle of a rollout of step 5, or in an evaluation: saved, continued,
    same bits.
    """
    whole, path = base
    output = f"output={tmp_path / 'run'}"
    original, save = RunState.watch, loop.save

    def watch(self, phase, done, total):
        if phase == moment and self.host.generation == WHEN[moment] and done:
            signal.raise_signal(signal.SIGINT)
        return original(self, phase, done, total)

    def saved(run):
        save(run)
        if run.host.generation == WHEN["warm"] and run.signals.received is None:
            signal.raise_signal(signal.SIGINT)

    if moment == "warm":
        monkeypatch.setattr(loop, "save", saved)
    else:
        monkeypatch.setattr(RunState, "watch", watch)
    assert run("train", str(path), output) == 130
    monkeypatch.undo()
    assert "interrupted at step" in (tmp_path / "run" / "log.txt").read_text()
    capsys.readouterr()
    assert run("train", str(path), output) == 0
    assert "continuing" in capsys.readouterr().out
    assert same_run.report(whole, tmp_path / "run")


def test_an_interrupted_evaluation_leaves_its_rest_and_no_other_evaluations():
    sets = [HeldOut(name, (), 8) for name in ("math", "code")]
    run = SimpleNamespace(held_out=sets, host=HostState(generation=2, measuring=["small/warm/2/math"]))
    assert loop._still_to_measure(run, "small", "warm") == sets[1:]
    # evaluation.every may have changed meanwhile: what comes next is then another one.
    assert loop._still_to_measure(run, "full", "warm") == sets
    run.host.generation = 4
    assert loop._still_to_measure(run, "small", "warm") == sets


class Killed(BaseException):
    """Ends a run as a kill would: nothing is saved on the way out."""


@pytest.mark.parametrize("after", [("eval", 0), ("eval", 2), ("step", 5)])
def test_a_run_killed_after_a_record_repeats_none(base, tmp_path, monkeypatch, after):
    """After an evaluation, or a step, that no checkpoint knows of yet: the continued run has each row once."""
    whole, path = base
    output = f"output={tmp_path / 'run'}"
    original = Records.write

    def write(self, record):
        original(self, record)
        if (record["kind"], record["step"]) == after or (record["kind"] == "eval" == after[0] and after[1] == 0):
            raise Killed

    monkeypatch.setattr(Records, "write", write)
    with pytest.raises(Killed):
        run("train", str(path), output)
    monkeypatch.undo()
    assert run("train", str(path), output) == 0
    assert same_run.report(whole, tmp_path / "run")


def test_until_stops_after_a_stage_and_the_rest_follows(base, tmp_path, capsys):
    whole, path = base
    output = f"output={tmp_path / 'run'}"
    for _ in range(2):  # the second finds the stage finished and stays there
        assert run("train", str(path), output, "--until", "warm") == 0
        assert checkpoint.steps(tmp_path / "run")[-1] == 3
    assert checkpoint.load_host_state(tmp_path / "run", 3)["finished"] == {"warm": 3}
    assert run("train", str(path), output) == 0
    same(weights(tmp_path / "run"), weights(whole))
    capsys.readouterr()
    assert run("train", str(path), output) == 0
    assert "nothing is left to train" in capsys.readouterr().out


def test_a_run_starts_from_another_runs_stage(base, tmp_path):
    whole, path = base
    output = tmp_path / "run"
    assert (
        run("train", str(path), f"output={output}", f"init={whole}@warm", "--until", "warm", "stages.warm.steps=1") == 0
    )
    config = json.loads((output / "policy" / "config.json").read_text())
    assert config == json.loads((whole / "policy" / "config.json").read_text())
    assert resolve(f"{whole}@warm").step == 3 and resolve(f"{whole}@best").step in (3, 6, 7)


def test_export_gives_the_runs_weights_and_tokenizer(base, tmp_path, capsys):
    whole, _ = base
    assert run("export", str(whole), str(tmp_path / "out")) == 0
    same(weights(tmp_path / "out"), weights(whole))
    tokenizer = load_tokenizer(tmp_path / "out")
    assert (
        tokenizer.decode(tokenizer.encode("x = 12")) == "x = 12"
        and "| end | math |" in (tmp_path / "out" / "README.md").read_text()
    )
    assert run("export", str(whole), str(tmp_path / "out")) == 2
    assert "exists" in capsys.readouterr().err


def test_every_stage_leaves_an_export_of_its_end(base):
    whole, _ = base
    for stage in ("warm", "math", "code"):
        out = whole / "exports" / stage
        same(weights(out), weights(f"{whole}@{stage}"))
        assert {"README.md", "config.json", "generation_config.json", "tokenizer.json"} <= {
            path.name for path in out.iterdir()
        }
    assert not (
        weights(whole / "exports" / "math")["model.norm.weight"]
        == weights(whole / "exports" / "warm")["model.norm.weight"]
    ).all()
    card = (whole / "exports" / "math" / "README.md").read_text()
    assert "Step 6" in card and "| math | code |" in card and "seed 0" in card and "group_size: 4" in card


def test_convert_to_orbax_and_back_keeps_every_bit_and_dtype(base, tmp_path, capsys):
    half, orbax, back = (str(tmp_path / name) for name in ("half", "orbax", "back"))
    assert run("convert", str(base[0]), half, "--dtype", "bfloat16") == 0
    assert run("convert", half, orbax, "--orbax") == 0
    assert run("convert", orbax, back) == 0
    assert (Path(half) / "model.safetensors").read_bytes() == (Path(back) / "model.safetensors").read_bytes()
    assert (Path(half) / "tokenizer.json").read_bytes() == (Path(back) / "tokenizer.json").read_bytes()
    same(weights(orbax), {name: a.astype("bfloat16").astype("float32") for name, a in weights(base[0]).items()})
    assert run("convert", half, str(tmp_path / "x"), "--dtype", "int4") == 2
    assert "'int4' is not one of float64, float32" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_a_push_uploads_the_export_and_a_refusal_loses_nothing(base, tmp_path, capsys, monkeypatch):
    import huggingface_hub

    calls = []

    class Hub:
        def create_repo(self, name, private, exist_ok):
            if name == "no/way":
                raise OSError("401 Unauthorized\nmore")
            calls.append((name, private))
            return f"hub/{name}"

        def upload_folder(self, repo_id, folder_path):
            calls.append((repo_id, sorted(path.name for path in folder_path.iterdir())))

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert run("export", str(base[0]), str(tmp_path / "a"), "--push", "me/mine", "--private") == 0
    assert (
        calls[0] == ("me/mine", True)
        and "model.safetensors" in calls[1][1]
        and "hub/me/mine" in capsys.readouterr().out
    )
    assert run("export", str(base[0]), str(tmp_path / "b"), "--push", "no/way") == 2
    assert "401 Unauthorized)" in capsys.readouterr().err and (tmp_path / "b" / "config.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["stages.math.learning_rat=1"],
            "unknown key 'stages.math.learning_rat'; did you mean 'stages.math.learning_rate'?",
        ),
        (["seed=many"], "'seed': Input should be a valid integer"),
        (["mesh={fsdp: 3, tensor: 2}"], "fsdp=3 x tensor=2 does not divide 8 devices"),
        (["mesh={fsdp: 2, tensor: 4}"], "mesh.tensor=4 does not divide the policy's key/value heads (2)"),
        (["init=/nowhere/at/all"], "checkpoint /nowhere/at/all: no such folder"),
        (["stages.code.problems=[{path: /nowhere.jsonl}]"], "/nowhere.jsonl: there is no such file"),
        (
            ["policy.architecture.max_position_embeddings=50"],
            "policy.prompt_tokens=48 and stages.warm.response_tokens=48 are more than",
        ),
        (["policy.preset=smollm2-135m"], "'smollm2-135m' has model_type llama, the checkpoint at"),
        (["--until", "physics"], "--until physics: no such stage; the stages are warm, math, code"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_2(base, tmp_path, capsys, arguments, message):
    _, path = base
    assert run("train", str(path), f"output={tmp_path / 'run'}", *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and len(error.splitlines()) == 1 and error.startswith("acejax: ")


def test_more_that_a_user_can_mend(base, tmp_path, capsys):
    whole, path = base
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "1+1?", "answer": "2"}\n{"question": "2+2?"}\n')
    llm = tmp_path / "llm"
    llm.mkdir()
    (llm / "config.json").write_text('{"model_type": "gpt_neox"}')
    (llm / "tokenizer.json").write_text((whole / "policy" / "tokenizer.json").read_text())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    cases = [
        (["train", "missing.yaml"], "config missing.yaml: No such file"),
        (
            ["train", str(path), f"output={tmp_path / 'a'}", f"evaluation.sets.math.problems=[{{path: {rows}}}]"],
            f"{rows}:2",
        ),
        (["train", str(path), f"output={tmp_path / 'b'}", f"init={llm}"], "'model_type' is 'gpt_neox'"),
        (["train", str(path), f"output={whole}", "seed=5"], f"output {whole} belongs to another run ('seed' differs)"),
        (["train", str(path), f"output={tmp_path / 'other'}"], "is not empty and holds no run"),
        (["export", f"{whole}@physics", str(tmp_path / "c")], "no such step or finished stage"),
    ]
    for arguments, message in cases:
        assert run(*arguments) == 2, arguments
        error = capsys.readouterr().err.strip()
        assert message in error and len(error.splitlines()) == 1, error


def test_one_process_a_folder(base, tmp_path, capsys):
    _, path = base
    (tmp_path / ".lock").touch()
    with (tmp_path / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run("train", str(path), f"output={tmp_path}") == 2
    assert f"output {tmp_path}: another process is training there" in capsys.readouterr().err


def test_config_prints_every_value_with_its_origin(base, capsys):
    _, path = base
    assert run("config", str(path), "stages.math.learning_rate=2e-6") == 0
    out = capsys.readouterr().out
    assert "learning_rate: 2.0e-06  # command line" in out and "# default" in out and f"# {path}:2" in out
    resolved = path.with_name("resolved.yaml")
    resolved.write_text(out)
    assert load_config(resolved)[0] == load_config(path, ["stages.math.learning_rate=2e-6"])[0]


def test_the_identity_of_a_run_ignores_what_may_change(base):
    _, path = base
    identity = load_config(path)[0].identity()
    for free in (
        "output=b",
        "mesh.tensor=1",
        "verification.workers=9",
        "checkpoints.every=3",
        "stages.math.steps=9",
        "evaluation.every=7",
    ):
        assert load_config(path, [free])[0].identity() == identity
    for other in (
        "seed=1",
        "stages.math.learning_rate=2e-3",
        "stages.math.group_size=16",
        "verification.require_think_end=false",
    ):
        assert load_config(path, [other])[0].identity() != identity


def aged(run: Path) -> None:
    """Gives a run's files the form that they had when a stage had the keys of every kind, and one counter."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    both = {
        "problems": [],
        "traces": [],
        "group_size": 8,
        "temperature": 1.0,
        "overlong": "zero",
        "aggregation": "token",
    }
    both |= {"filter": {"max_solve_rate": 1.0, "min_solve_rate": 0.0}, "permute_verdicts": False}
    for stage in config["stages"].values():
        for key, value in both.items():
            stage.setdefault(key, value)
        stage.pop("rewards", None)
        stage["stop"] = {"accuracy": None, "plateau_steps": None, "plateau_gain": 0.0}
    for key in ("data", "sequence"):
        del config["mesh"][key]
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    for path in run.glob("checkpoints/*/progress.json"):
        found = json.loads(path.read_text())
        del found["records"], found["measuring"], found["update"]
        path.write_text(json.dumps({"step": found.pop("generation")} | found))


def test_a_run_made_by_an_earlier_version_still_opens(base, tmp_path, capsys):
    whole, path = base
    old = tmp_path / "old"
    shutil.copytree(whole, old)
    aged(old)
    assert run("report", str(old)) == 0 and run("audit", str(old)) == 0
    assert run("export", f"{old}@warm", str(tmp_path / "out")) == 0
    same(weights(tmp_path / "out"), weights(f"{whole}@warm"))
    more = (f"output={tmp_path / 'new'}", f"init={old}@warm", "--until", "warm", "stages.warm.steps=1")
    assert run("train", str(path), *more) == 0
    capsys.readouterr()
    assert run("train", str(path), f"output={old}") == 2
    assert f"with init={old} if you like" in capsys.readouterr().err
