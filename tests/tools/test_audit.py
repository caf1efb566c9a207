"""`acejax audit`: a run's recorded responses judged again, the flips listed, and those that could not be judged
counted.
"""

import json
import subprocess
import sys

import pytest

from acejax.config import ProblemSource
from acejax.problems.problem import Problem
from acejax.problems.readers import write_records
from acejax.problems.sources import gather_problems

CONFIG = """
output: run
seed: 5
policy: {{architecture: {{}}}}
stages:
  short:
    kind: grpo
    steps: 2
    learning_rate: 1e-4
    problems:
      - {{builtin: math, count: 4, difficulties: [1]}}
      - {{path: {stage}}}
evaluation:
  sets:
    held: {{problems: [{{path: {held}}}]}}
"""
PROGRAM = "</think>\n```python\n{}\n```\n"


def record(problem, response, verdict, reason="ok", sample=0, step=1, stage="short"):
    places = {"stage": stage, "domain": problem.domain, "step": step, "problem_id": problem.id, "sample": sample}
    prompt = f"<user>{problem.prompt}\n\\boxed{{}}<assistant>"
    return places | {
        "prompt": prompt,
        "response": response,
        "finish_reason": "stop",
        "verdict": verdict,
        "reason": reason,
        "length": 3,
    }


@pytest.fixture
def run(tmp_path):
    """A run with right and wrong records; gives its folder and a function that adds more of them."""
    stage, held = tmp_path / "stage.jsonl", tmp_path / "held.jsonl"
    code = {"kind": "stdin", "cases": [{"input": "2\n", "output": "4\n"}]}
    write_records(stage, [Problem("both", "math", "asked in the stage", answer=("1",))])
    write_records(
        held,
        [Problem("both", "math", "asked when held out", answer=("2",)), Problem("c", "code", "double", tests=code)],
    )
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG.format(stage=stage, held=held))
    drawn = gather_problems([ProblemSource(builtin="math", count=4, difficulties=[1])], 5)[0]

    def add(*records):
        with (folder / "samples.jsonl").open("a") as file:
            file.write("".join(json.dumps(one) + "\n" for one in records))

    add(
        record(drawn, f"</think>\\boxed{{{drawn.answer[0]}}}", "correct"),
        record(drawn, "</think>nothing", "wrong", "no_box", sample=1),
        record(Problem("both", "math", "asked in the stage"), "</think>\\boxed{1}", "correct", step=2),
        record(Problem("c", "code", "double"), PROGRAM.format("print(2 * int(input()))"), "correct", stage="end"),
    )
    return folder, add


def audit(folder):
    command = [sys.executable, "-m", "acejax.cli", "audit", str(folder), "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def test_a_run_without_flips(run):
    code, out, err = audit(run[0])
    assert (code, out) == (0, "4 recorded responses: 4 verdicts as before, 0 flips\n"), err


def test_flips_are_listed_and_the_rest_is_counted(run):
    folder, add = run
    both, c = Problem("both", "math", "asked in the stage"), Problem("c", "code", "double")
    add(
        record(both, "</think>\\boxed{1.0}", "wrong", "mismatch", sample=3, step=2),
        record(c, PROGRAM.format("print(5)"), "correct", step=4, stage="end"),
        record(both, "</think>\\boxed{1}", "unjudged", "infra", sample=4, step=2),
        record(both, "</think>\\boxed{7}", "wrong", "no_box", sample=5, step=2),  # another reason is no flip
        record(Problem("gone", "math", "p"), "r", "wrong"),
        record(Problem("c", "code", "triple"), "r", "wrong"),
    )
    code, out, err = audit(folder)
    assert code == 3, err
    assert out.splitlines() == [
        "both  sample 3  step 2 (short)  wrong (mismatch) -> correct (ok)",
        "c  sample 0  step 4 (end)  correct (ok) -> wrong (wrong_output)",
        "both  sample 4  step 2 (short)  unjudged (infra) -> correct (ok)",
        "2 not judged again: its problem is not found, or has another text today",
        "10 recorded responses: 5 verdicts as before, "
        "3 flips (wrong -> correct: 1, correct -> wrong: 1, unjudged -> correct: 1)",
    ]


def test_a_source_that_is_gone_is_said(run):
    folder, _ = run
    (folder.parent / "held.jsonl").unlink()
    code, out, _ = audit(folder)
    assert code == 0
    assert "evaluation set 'held':" in out and "held.jsonl: there is no such file" in out
    assert "1 not judged again" in out and "4 recorded responses: 3 verdicts as before" in out


def test_a_stage_and_an_evaluation_may_use_one_id(run):
    folder, add = run
    add(record(Problem("both", "math", "asked when held out"), "</think>\\boxed{2}", "correct"))
    code, out, _ = audit(folder)
    assert (code, "5 verdicts as before, 0 flips" in out) == (0, True)


def test_a_folder_that_holds_no_run(tmp_path, run):
    code, _, err = audit(tmp_path)
    assert code == 2 and "holds no config.yaml and samples.jsonl" in err
    folder, _ = run
    (folder / "samples.jsonl").write_text(json.dumps(record(Problem("gone", "math", "p"), "r", "wrong")) + "\n")
    code, out, err = audit(folder)
    assert code == 2 and "none of its 1 responses could be judged again" in err and "1 not judged again" in out
