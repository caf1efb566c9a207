"""The page of a made-up run: every section and plot is there, text is escaped, and broken or unfinished runs still get
a page.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from run_folder import HOSTILE, STAGES, build

from acejax.errors import UserError
from acejax.report.page import write_report
from acejax.report.plots import MOST_POINTS, Line, by_step
from acejax.report.reading import Stage, read_run
from acejax.report.responses import Picks

SECTIONS = [
    "Before and after",
    "Accuracy on held-out problems",
    "Learning",
    "Health and time",
    "Accuracy by difficulty",
    "Why responses fail",
    "Stages",
    "Responses",
    "Record",
]
PLOTS = [
    "Held-out accuracy: math",
    "Held-out accuracy: code",
    "Reward",
    "Groups that teach nothing",
    "Response length",
    "Truncated responses",
    "Entropy",
    "Supervised loss",
    "Log-probability gap",
    "Gradient norm",
    "Time of a step",
    "By difficulty: math",
    "By difficulty: code",
]
VOID = {"meta", "img"}


class Outline(HTMLParser):
    """Tags, headings and pictures of a page; fails on tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.headings: list[str] = []
        self.images: dict[str, str] = {}
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        known = dict(attributes)
        self.addresses += [value for name, value in attributes if name in ("src", "href") and value]
        if tag == "img":
            self.images[str(known["alt"])] = str(known["src"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def outline(path: Path) -> Outline:
    parsed = Outline()
    parsed.feed(path.read_text())
    assert not parsed.open
    return parsed


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(build(tmp_path_factory.mktemp("runs") / "whole"))


def test_every_section_and_plot_is_present(whole: Path) -> None:
    page = outline(whole)
    assert page.headings == SECTIONS
    assert list(page.images) == PLOTS
    for name, source in page.images.items():
        kind, data = source.split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        svg = ElementTree.fromstring(base64.b64decode(data))
        assert svg.tag.endswith("svg"), name


def test_page_stands_alone(whole: Path) -> None:
    page = outline(whole)
    assert not page.tags & {"script", "link", "iframe", "object"}
    assert all(address.startswith("data:") for address in page.addresses)


def test_responses_are_escaped(whole: Path) -> None:
    text = whole.read_text()
    assert HOSTILE not in text and "<script" not in text
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; &lt;/pre&gt;" in text
    assert "runs/x # &lt;b&gt;" in text


def test_table_has_gains_in_points(whole: Path) -> None:
    rows = re.findall(r"<tr class=last>(.*?)</tr>", whole.read_text())
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    # 28 math steps and 14 code steps, each worth 1.1 points.
    assert [row[1:2] + row[4:5] for row in cells[:2]] == [["end", "+30.8"], ["end", "+15.4"]]
    assert cells[0][2] == "60.8% [56.8, 64.8]"


def test_stages_are_read_from_the_steps(whole: Path) -> None:
    stages = read_run(whole.parent).stages
    assert [(stage.name, stage.first, stage.last, stage.planned) for stage in stages] == [
        ("warm_start", 1, 20, 20),
        ("math_short", 21, 36, 16),
        ("math_long", 37, 48, 12),
        ("code", 49, 62, 14),
    ]


def test_interrupted_run(tmp_path: Path) -> None:
    folder = build(tmp_path / "half", stages=2, finished=False)
    for name in ("metrics.jsonl", "samples.jsonl"):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-30])
    (folder / "summary.json").write_text('[{"stage": "sta')
    (folder / "environment.json").unlink()
    (folder / "config.yaml").unlink()
    path = write_report(folder)
    assert "no closing measurement" in path.read_text()
    assert set(outline(path).images) == set(PLOTS)
    # The torn last line was code's full measurement; math's is whole: 16 steps of 1.1 points.
    assert "+17.6" in path.read_text()


def test_supervised_run(tmp_path: Path) -> None:
    path = write_report(build(tmp_path / "sft", stages=1, finished=False))
    page = outline(path)
    assert {"Supervised loss", "Gradient norm", "Held-out accuracy: math", "By difficulty: math"} == {
        name for name in page.images if "code" not in name
    }
    assert "Responses" not in page.headings
    before = path.read_bytes()
    assert write_report(path.parent).read_bytes() == before
    assert not list(path.parent.glob("*.tmp"))


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    folder = build(tmp_path / "nan", stages=2)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for record in lines:
        if record["kind"] == "step" and record["step"] in (30, 31):
            record.update({key: None for key, value in record.items() if isinstance(value, float)})
            record["entropy"] = float("nan")
        if record["kind"] == "eval" and record["step"] == 28:
            record.update(avg=None, avg_low=None, avg_high=float("nan"))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in lines))
    path = write_report(folder)
    assert list(outline(path).images) == PLOTS
    assert "reward was not a finite number in 2 steps: 30, 31." in path.read_text()


@pytest.mark.parametrize("text", ["", '{"kind":"note","text":"begins"}\n', '{"kind":"st'])
def test_run_that_has_hardly_begun(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(text)
    assert "no step yet" in write_report(tmp_path).read_text()


def test_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no metrics\.jsonl"):
        write_report(tmp_path)


def test_a_repeated_step_counts_once(tmp_path: Path) -> None:
    folder = build(tmp_path / "twice")
    metrics = folder / "metrics.jsonl"
    metrics.write_text(metrics.read_text() * 2)
    run = read_run(folder)
    assert len(run.steps) == sum(stage[3] for stage in STAGES)
    places = {(record["stage"], record["step"], record["domain"], record["split"]) for record in run.evals}
    assert len(places) == len(run.evals)


def test_picks_are_first_and_last_of_different_problems() -> None:
    picks = Picks()
    for step in range(1, 9):
        for verdict in ("correct", "wrong", "unjudged"):
            picks.add({"problem_id": f"p{step // 2}", "step": step, "verdict": verdict})
    assert [sample["step"] for sample in picks.first[True].values()] == [1, 2]
    assert [sample["step"] for sample in picks.last[True].values()] == [7, 8]
    assert {sample["verdict"] for sample in picks.last[False].values()} == {"unjudged"}


def test_long_runs_give_light_pictures() -> None:
    steps = [{"stage": "s", "step": step, "reward": step % 7} for step in range(1, 20 * MOST_POINTS)]
    stage = Stage(1, "s", "grpo", True, "math", 1, len(steps), None)
    svg = by_step(steps, [stage], [Line("reward", "", "red")], "reward")
    assert svg is not None and len(svg) < 150_000


def test_report_needs_no_jax() -> None:
    code = "import sys, acejax.report.page, acejax.run.records, acejax.run.console; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
