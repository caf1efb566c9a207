"""The run's log files survive kills and resumption; the console writes the same lines to log.txt."""

from __future__ import annotations

import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from acejax import host
from acejax.errors import UserError
from acejax.run.console import RunConsole
from acejax.run.records import Records, read_metrics, read_samples, read_summary, write_summary
from acejax.run.tables import clock, comparison

TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ")


def step(number: int, **more: object) -> dict[str, object]:
    return {"kind": "step", "stage": "s", "stage_kind": "grpo", "step": number, "reward": 0.5, **more}


def entry(stage: str, domain: str, avg: float, k: int = 8) -> dict[str, object]:
    return {
        "stage": stage,
        "domain": domain,
        "k": k,
        "avg": avg,
        "avg_low": avg - 0.05,
        "avg_high": avg + 0.05,
        "problems": 64,
        "pass": 0.9,
        "pass_low": 0.85,
        "pass_high": 0.95,
    }


def test_records_come_back_and_json_stays_strict(tmp_path: Path) -> None:
    log = Records(tmp_path, tensorboard=False)
    measured = {
        "loss": math.nan,
        "gap": np.float32(0.25),
        "length": np.int64(7),
        "shares": np.array([0.5, math.inf]),
    }
    log.write(step(1, **measured))
    (record,) = read_metrics(tmp_path)  # before close: each record is flushed
    log.close()
    assert record == step(1, loss=None, gap=0.25, length=7, shares=[0.5, None])
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()


def test_torn_last_line_is_not_read_and_is_cut_on_reopening(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(step(1)) + "\n" + '{"kind": "step", "ste')
    assert [record["step"] for record in read_metrics(tmp_path)] == [1]
    log = Records(tmp_path, tensorboard=False)
    log.write(step(2))
    log.close()
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2]


def test_whole_last_line_without_newline_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    long = "x" * 200_000
    path.write_text(json.dumps(step(1)) + "\n" + json.dumps(step(2, text=long)))
    log = Records(tmp_path, tensorboard=False)
    log.write(step(3))
    log.close()
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2, 3]


def test_broken_line_inside_is_named(tmp_path: Path) -> None:
    lines = [json.dumps(step(1)), "{broken", json.dumps(step(2))]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"metrics\.jsonl:2: "):
        read_metrics(tmp_path)


def test_going_back_to_a_position_forgets_all_that_was_written_after_it(tmp_path: Path) -> None:
    """Whatever its step: an evaluation after a checkpoint has the checkpoint's own."""
    log = Records(tmp_path, tensorboard=False)
    log.write(step(1))
    log.samples([{"step": 1, "sample": sample} for sample in (0, 1)])
    position = log.position()
    log.write({"kind": "eval", "step": 1})
    log.write(step(2))
    log.samples([{"step": 2, "sample": 0}])
    log.go_back_to(position, 1)
    log.write(step(2, reward=0.75))
    log.close()
    assert read_metrics(tmp_path) == [step(1), step(2, reward=0.75)]
    assert [sample["step"] for sample in read_samples(tmp_path)] == [1, 1]


def test_tensorboard_gets_scalars_and_forgets_after_resume(tmp_path: Path) -> None:
    log = Records(tmp_path)
    log.write({"kind": "note", "text": "no events yet"})
    assert not (tmp_path / "tensorboard").exists()
    log.write(step(1, text="ignored", bad=math.nan))
    log.write({"kind": "eval", "domain": "math", "split": "full", "step": 1, "avg": 0.25})
    log.go_back_to(log.position(), 1)
    log.write(step(2))
    log.close()
    events = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    assert b"grpo/reward" in events and b"eval/math/full/avg" in events
    assert b"grpo/text" not in events and b"grpo/bad" not in events and b"grpo/step" not in events


def test_summary_round_trip(tmp_path: Path) -> None:
    entries = [entry("start", "math", 0.3), entry("end", "math", math.nan)]
    assert read_summary(tmp_path) == []
    write_summary(tmp_path, entries)
    nulls = {"avg": None, "avg_low": None, "avg_high": None}
    assert read_summary(tmp_path) == [entries[0], entries[1] | nulls]
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_comparison_groups_domains_and_counts_points() -> None:
    entries = [
        entry("start", "math", 0.3),
        entry("start", "code", 0.2),
        entry("math_long", "code", 0.25),
        entry("end", "math", 0.6),
    ]
    header, rows = comparison([*entries, entry("end", "code", 0.5)])
    assert header[2:5] == ["avg@8", "pass@8", "gain"]
    gains = [[row[0], row[1], row[4]] for row in rows]
    assert gains == [
        ["math", "start", ""],
        ["math", "end", "+30.0"],
        ["code", "start", ""],
        ["code", "math_long", "+5.0"],
        ["code", "end", "+30.0"],
    ]
    assert rows[0][2] == "30.0% [25.0, 35.0]"
    _, rows = comparison([entry("start", "math", 0.3, k=4), entry("end", "math", 0.3)])
    assert rows[0][1] == "start (k=4)"


def test_a_measurement_without_a_value_has_no_gain() -> None:
    unmeasured = {"stage": "end", "domain": "math", "k": 8, "avg": None}
    _, rows = comparison([entry("start", "math", 0.2), unmeasured])
    assert rows[1] == ["math", "end", "-", "-", "", ""]


def test_durations() -> None:
    words = {-1: "0s", 45.4: "45s", 59.6: "1m00s", 185: "3m05s", 3599.6: "1h00m", 7620: "2h07m"}
    assert {seconds: clock(seconds) for seconds in words} == words


def grpo(at: int) -> dict[str, object]:
    return {
        "kind": "step",
        "stage": "math_short",
        "stage_kind": "grpo",
        "stage_step": at,
        "stage_steps": 12,
        "step": 20 + at,
        "reward": 0.4321,
        "length_mean": 211.7,
        "truncated": 0.03,
        "unjudged": 0.0,
        "reward_all_one": None,
        "seconds_sample": 3.04,
        "seconds_verify": 0.1,
        "seconds_update": 1.2,
    }


def talk(console: RunConsole) -> None:
    console.stage_begin("math_short", "grpo", "math", 12)
    console.remaining(125)
    console.phase("sampling", 3, 64)
    console.step(grpo(1))
    console.phase("updating")
    console.warn("a [bold]gap[/bold]")
    console.eval(entry("math_short", "math", 0.3) | {"split": "full", "seconds": 3.2})
    boundaries = {"start": 0.3, "math_short": 0.4, "end": 0.6}
    console.closing_table([entry(stage, "math", avg) for stage, avg in boundaries.items()])
    console.close()


def test_console_without_a_terminal_prints_plain_lines_and_logs_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(RunConsole(tmp_path / "run" / "log.txt"))
    printed = capsys.readouterr().out.splitlines()
    logged = (tmp_path / "run" / "log.txt").read_text().splitlines()
    assert all(TIME.match(line) for line in logged)
    assert [TIME.sub("", line, count=1) for line in logged] == printed
    assert printed[:3] == [
        "stage math_short: grpo on math, 12 steps",
        "math_short  step  1/12  reward 0.432  length 212  cut 3%  sample 3.0s verify 0.1s update 1.2s  2m05s left",
        "warning: a [bold]gap[/bold]",
    ]
    assert "avg@8 30.0% [25.0, 35.0]" in printed[3] and "pass@8 90.0%" in printed[3]
    assert any("| end " in line and "+30.0" in line for line in printed)
    assert not any("\x1b" in line for line in printed)


def test_console_on_a_terminal_shows_a_status_line_and_logs_plain_text(tmp_path: Path) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100, highlight=False)
    console = RunConsole(tmp_path / "log.txt", console=terminal)
    try:
        console.stage_begin("math_short", "grpo", "math", 12)
        console.remaining(125)
        console.step(grpo(1))
        for phase in ("sampling", "verifying", "updating"):
            console.phase(phase, 3, 64)  # type: ignore[arg-type]
            status = console._status().plain
            assert status.startswith(f"{phase} 3/64 ")
            for part in ("step  1/12", "reward 0.432", "length 212", "left"):
                assert part in status
    finally:
        console.close()
        console.close()
    assert "\x1b" in screen.getvalue()
    assert "\x1b" not in (tmp_path / "log.txt").read_text()


def test_on_another_host_than_the_writer_the_console_only_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "is_writer", lambda: False)
    talk(RunConsole(tmp_path / "log.txt"))
    assert capsys.readouterr().out == ""
    assert "reward 0.432" in (tmp_path / "log.txt").read_text()


def test_log_is_appended_to_on_resume(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with RunConsole(tmp_path / "log.txt") as console:
            console.say(text)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [TIME.sub("", line) for line in lines] == ["first", "second"]


def test_supervised_steps_are_printed_about_ten_times(tmp_path: Path) -> None:
    record = {"stage": "warm", "stage_kind": "sft", "stage_steps": 200, "loss": 1.0, "grad_norm": 0.5}
    with RunConsole(tmp_path / "log.txt") as console:
        for at in range(1, 201):
            console.step({**record, "stage_step": at})
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert len(lines) == 11
    assert lines[0].endswith("warm  step   1/200  loss 1.0000  grad norm 0.50")
    assert "step 200/200" in lines[-1]
