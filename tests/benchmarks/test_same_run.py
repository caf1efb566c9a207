"""Each kind of difference between two small runs is found, and what may differ is not called one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
import pytest
import same_run

Rows = list[dict[str, Any]]


def state() -> dict[str, Any]:
    moments = {"mu": {"norm": np.zeros(3, np.float32)}, "count": np.int32(4)}
    return {
        "params": {"norm": np.array([0.5, 0.0, np.nan], np.float32), "head": None},
        "optimizer": [None, moments],
    }


def write_lines(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_state(run: Path, step: int, tree: Any) -> None:
    folder = run / "checkpoints" / f"{step:06d}" / "state"
    shutil.rmtree(folder, ignore_errors=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder, tree)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "original"
    run.mkdir()
    steps = [
        {"kind": "step", "step": n, "loss": n / 3, "tokens": 7.0, "seconds_step": 0.1, "time": 1.5} for n in (1, 2)
    ]
    counted = {"ok": 3, "timeout": 1}
    measured = {"kind": "eval", "step": 2, "avg": 0.5, "reasons": counted, "seconds": 2.0}
    write_lines(run / "metrics.jsonl", [{"kind": "note", "text": "A", "step": 0}, *steps, measured])
    write_lines(run / "samples.jsonl", [{"step": 1, "response": "one"}, {"step": 2, "response": "two"}])
    (run / "summary.json").write_text(json.dumps([{"stage": "end", "avg": 0.5}]))
    (run / "environment.json").write_text(json.dumps({"seed": 11, "device": "1 x cpu", "command": "acejax train"}))
    for step in (1, 2):
        write_state(run, step, state())
    return run


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def change(path: Path, edit: Callable[[Rows], Any]) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    edit(rows)
    write_lines(path, rows)


def compared(a: Path, b: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = same_run.main([str(a), str(b)])
    return code, capsys.readouterr().out


def line_of(what: str, out: str) -> str:
    return next(line for line in out.splitlines() if line.startswith(what))


def test_a_copy_is_the_same_and_the_table_tells_numbers_seed_and_device(
    original: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = compared(original, copy, capsys)
    assert code == 0
    assert "DIFFERENT" not in out and "only in B" not in out
    assert line_of("step rows", out).split()[2:] == ["2", "2", "same"]
    assert line_of("arrays of 000002", out).split()[3:] == ["3", "3", "same"]
    assert line_of("B: ", out).endswith("seed 11, device 1 x cpu, command acejax train")


@pytest.mark.parametrize(
    ("file", "edit", "what", "message"),
    [
        ("metrics.jsonl", lambda rows: rows[2].update(loss=0.66), "step rows", "row 2 {'step': 2}, loss: 0.6666"),
        ("metrics.jsonl", lambda rows: rows[2].update(tokens=7), "step rows", "tokens: 7.0 in A, 7 in B"),
        ("metrics.jsonl", lambda rows: rows[1].pop("loss"), "step rows", "loss: 0.3333333333333333 in A, absent in B"),
        ("metrics.jsonl", lambda rows: rows.insert(1, rows[1]), "step rows", "row 2 {'step': 2}, step: 2 in A, 1 in B"),
        ("metrics.jsonl", lambda rows: rows.append(rows[2]), "step rows", "row 3 {'step': 2}, in one of them only"),
        ("metrics.jsonl", lambda rows: rows.pop(), "evaluation rows", "in one of them only"),
        ("metrics.jsonl", lambda rows: rows[3]["reasons"].update(timeout=2), "evaluation rows", "reasons.timeout: 1"),
        ("samples.jsonl", lambda rows: rows.reverse(), "samples", "row 1 {'step': 1}, step: 1 in A, 2 in B"),
        ("samples.jsonl", lambda rows: rows[1].update(response="t"), "samples", 'response: "two" in A, "t" in B'),
        ("samples.jsonl", lambda rows: rows.pop(), "samples", "row 2 {'step': 2}, in one of them only"),
    ],
)
def test_a_changed_record_is_named(
    file: str,
    edit: Callable[[Rows], Any],
    what: str,
    message: str,
    original: Path,
    copy: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(copy / file, edit)
    code, out = compared(original, copy, capsys)
    assert code == 3
    assert message in line_of(what, out)
    assert out.count("DIFFERENT") == 1


def test_a_changed_summary_is_named(original: Path, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "summary.json").write_text(json.dumps([{"stage": "end", "avg": 0.25}]))
    code, out = compared(original, copy, capsys)
    assert code == 3
    assert "avg: 0.5 in A, 0.25 in B" in line_of("summary entries", out)


def flip_a_bit(tree: Any) -> None:
    tree["params"]["norm"].view(np.uint8)[0] ^= 1


def negate_a_zero(tree: Any) -> None:
    tree["optimizer"][1]["mu"]["norm"][1] = -0.0


def narrow(tree: Any) -> None:
    tree["params"]["norm"] = tree["params"]["norm"].astype(np.float16)


def move(tree: Any) -> None:
    tree["optimizer"].reverse()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (flip_a_bit, "['params']['norm'] at [0]: np.float32(0.5) in A"),
        (negate_a_zero, "['optimizer'][1]['mu']['norm'] at [1]: np.float32(0.0) in A, np.float32(-0.0) in B; 1 of 3"),
        (narrow, "['params']['norm'] float32[3] in A, float16[3] in B"),
        (move, "['optimizer'][0]['count']: in one of them only"),
    ],
)
def test_a_changed_array_is_named(
    edit: Callable[[Any], None], message: str, original: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = state()
    edit(tree)
    write_state(copy, 2, tree)
    code, out = compared(original, copy, capsys)
    assert code == 3
    assert message in line_of("arrays of 000002", out)
    assert line_of("arrays of 000001", out).endswith("same")


def test_an_older_checkpoint_may_be_absent_but_the_last_may_not(
    original: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copy / "checkpoints" / "000001")
    assert compared(original, copy, capsys)[0] == 0
    (copy / "checkpoints" / "000002").rename(copy / "checkpoints" / "000003")
    code, out = compared(original, copy, capsys)
    assert code == 3
    assert "the last is ['000002'] in A, ['000003'] in B" in line_of("checkpoints", out)


def test_what_tells_of_the_machine_is_left_out_and_new_keys_are_listed(
    original: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(rows: Rows) -> None:
        rows[0].update(text="B")
        rows.insert(0, {"kind": "note", "text": "resumed"})
        rows[2].update(seconds_step=9.0, time=9.0, tokens_per_second=5.0, memory_peak=3, verify_retried=1, clipped=0.0)
        rows[4].update(seconds=9.0)

    change(copy / "metrics.jsonl", edit)
    code, out = compared(original, copy, capsys)
    assert code == 0
    assert [line.strip() for line in out.splitlines() if "only in B" in line] == ["only in B: clipped"]
    assert compared(copy, original, capsys)[0] == 3


def test_what_the_user_can_mend_is_named(original: Path, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert same_run.main([str(original), str(copy / "nowhere")]) == 2
    assert "nowhere: no such run" in capsys.readouterr().err
    (copy / "metrics.jsonl").write_text("{broken\n{}\n")
    assert same_run.main([str(original), str(copy)]) == 2
    assert "metrics.jsonl:1" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [shutil.rmtree, lambda state: (state / "_METADATA").unlink()])
def test_a_broken_state_is_named(
    damage: Callable[[Path], Any], original: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(copy / "checkpoints" / "000002" / "state")
    assert same_run.main([str(original), str(copy)]) == 2
    assert "000002/state" in capsys.readouterr().err
