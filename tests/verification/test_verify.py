"""`acejax verify`: verdicts in the order of completions, a cut file that goes on, and what is refused before anything
is judged.
"""

import json
import subprocess
import sys
from concurrent.futures import Future
from dataclasses import replace

import pytest

from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.problems.readers import write_records
from acejax.verification.verdict import Verdict
from acejax.verification.verify import PENDING_PER_WORKER, inputs_file, verdicts, verify

PROBLEMS = [
    Problem("m", "math", "2+2?", "s", ("4", "four")),
    Problem("c", "code", "double", "s", tests={"kind": "stdin", "cases": [{"input": "2\n", "output": "4\n"}]}),
]
PROGRAM = "</think>\n```python\n{}\n```\n"
RESPONSES = [
    ("m", 0, "</think>\\boxed{4}", "correct", "ok"),
    ("m", 1, "</think>\\boxed{\\text{four}}", "correct", "ok"),
    ("c", 0, PROGRAM.format("print(2 * int(input()))"), "correct", "ok"),
    ("m", 2, "</think>\\boxed{5}", "wrong", "mismatch"),
    ("c", 1, PROGRAM.format("print(2 +"), "wrong", "runtime_error"),
]


def completion(name, sample, response):
    return {"problem_id": name, "sample": sample, "response": response}


@pytest.fixture
def files(tmp_path):
    problems, completions, output = tmp_path / "p.jsonl", tmp_path / "c.jsonl", tmp_path / "out" / "v.jsonl"
    write_records(problems, PROBLEMS)
    write_records(completions, [completion(*one[:3]) for one in RESPONSES])
    return problems, completions, output


class Counting:
    """A pool that finds everything correct, at once, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def submit(self, problem, sample, response, weights=None):
        self.asked.append((problem.id, sample, response))
        future = Future()
        future.set_result(Verdict(problem.id, sample, "correct", "ok"))
        return future


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_command_judges_and_says_so(files):
    problems, completions, output = files
    options = ["--problems", problems, "--completions", completions, "--output", output, "--workers", "1"]
    command = [sys.executable, "-m", "acejax.cli", "verify", *map(str, options)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    assert [(r["problem_id"], r["sample"], r["verdict"], r["reason"]) for r in records(output)] == [
        (*r[:2], *r[3:]) for r in RESPONSES
    ]
    assert all(r["seconds"] >= 0 and "score" not in r for r in records(output))
    rows = [line.split() for line in run.stdout.splitlines()]
    assert ["correct", "ok", "3", "60.0%"] in rows and ["wrong", "mismatch", "1", "20.0%"] in rows
    whole = output.read_bytes()
    output.write_bytes(whole[:-30])
    again = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert again.returncode == 0 and "5 verdicts" in again.stdout and "4 of them from before" in again.stdout
    assert [r["reason"] for r in records(output)] == [r[4] for r in RESPONSES]


@pytest.mark.parametrize(("cut", "left"), [(0, 0), (1, 4), (5, 4), (200, 2)])
def test_a_cut_file_goes_on(files, cut, left):
    *names, output = files
    verify(*names, output, Counting(), 1, lambda *_: None)
    whole = output.read_bytes()
    output.write_bytes(whole[:-cut] if cut else b"")
    pool, seen = Counting(), []
    counts, kept = verify(*names, output, pool, 1, lambda *place: seen.append(place))
    assert output.read_bytes() == whole and kept == left
    assert pool.asked == [one[:3] for one in RESPONSES[left:]]
    assert counts == {("correct", "ok"): 5} and seen == [(done, 5) for done in range(left, 6)]


@pytest.mark.parametrize(
    "text",
    [
        '{"problem_id": "m", "sample": 1, "verdict": "wrong", "reason": "ok"}\n',
        "not json\n",
        '{"problem_id": "m"}\n',
        "[1]\n",
    ],
)
def test_another_file_is_never_overwritten(files, text):
    *names, output = files
    output.parent.mkdir()
    output.write_text(text)
    with pytest.raises(UserError, match=r"v\.jsonl:1: not the verdict of completion 1"):
        verify(*names, output, Counting(), 1, lambda *_: None)
    assert output.read_text() == text


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (completion("x", 0, "r"), r"c\.jsonl:6: field 'problem_id' is 'x', which .*p\.jsonl does not hold"),
        (completion("m", 2, "r"), r"c\.jsonl:6: sample 2 of 'm' stands at .*c\.jsonl:4 too"),
        (completion("m", -1, "r"), r"c\.jsonl:6: field 'sample' is -1"),
        (completion("m", None, "r"), r"c\.jsonl:6: field 'sample' is None"),
        (completion("m", 7, None), r"c\.jsonl:6: field 'response' is None"),
        (completion("m", 7, "r") | {"finish_reason": "eos"}, r"c\.jsonl:6: field 'finish_reason' is 'eos'"),
    ],
)
def test_a_bad_completion_is_named_before_anything_is_judged(files, row, words):
    problems, completions, output = files
    with completions.open("a") as file:
        file.write(json.dumps(row) + "\n")
    pool = Counting()
    with pytest.raises(UserError, match=words):
        verify(problems, completions, output, pool, 1, lambda *_: None)
    assert not pool.asked and not output.exists()


def changed_problem(problems, completions):
    write_records(problems, [replace(PROBLEMS[0], answer=("5",)), PROBLEMS[1]])


def changed_prompt(problems, completions):
    write_records(problems, [replace(PROBLEMS[0], prompt="1+3?"), PROBLEMS[1]])


def changed_response(problems, completions):
    rows = [completion(*one[:3]) for one in RESPONSES]
    write_records(completions, [rows[0] | {"response": "</think>\\boxed{3}"}, *rows[1:]])


def one_more_response(problems, completions):
    write_records(completions, [*(completion(*one[:3]) for one in RESPONSES), completion("m", 3, "r")])


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("change", "more", "name"),
    [
        (changed_problem, {}, "problems"),
        (changed_prompt, {}, "problems"),
        (changed_response, {}, "completions"),
        (one_more_response, {}, "completions"),
        (None, {"weights": {"other:reward": 1.0}}, "reward other:reward, reward mine:score"),
        (None, {"weights": None}, "reward mine:score"),
        (None, {"weights": {"mine:score": 0.5}}, "reward mine:score"),
        (None, {"options": {"require_think_end": False, "time_limit_s": 6}}, "require-think-end"),
        (None, {"options": {"require_think_end": True, "time_limit_s": 9}}, "time-limit-s"),
        (None, {"options": {"require_think_end": True}}, "time-limit-s"),
    ],
)
def test_verdicts_of_other_inputs_are_refused(files, change, more, name, whole):
    problems, completions, output = files
    same = {"weights": {"mine:score": 1.0}, "options": {"require_think_end": True, "time_limit_s": 6}}
    verify(*files, Counting(), 1, lambda *_: None, **same)
    if not whole:
        output.write_bytes(output.read_bytes()[:-30])
    before = [path.read_bytes() for path in (output, inputs_file(output))]
    if change:
        change(problems, completions)
    pool = Counting()
    with pytest.raises(UserError) as caught:
        verify(*files, pool, 1, lambda *_: None, **same | more)
    assert f"(changed: {name}" in str(caught.value)
    assert str(caught.value).endswith("choose another --output, or remove it and v.jsonl.inputs.json")
    assert "\n" not in str(caught.value) and not pool.asked
    assert [path.read_bytes() for path in (output, inputs_file(output))] == before
    for path in (output, inputs_file(output)):
        path.unlink()
    verify(*files, pool, 1, lambda *_: None, **same | more)
    assert len(pool.asked) >= len(RESPONSES)


def test_a_reward_that_was_edited_is_another(files, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "scores" / "mine.py"
    module.parent.mkdir()
    module.write_text("raise SystemExit('imported')")
    weights = {"scores.mine:score": 1.0}
    verify(*files, Counting(), 1, lambda *_: None, weights)
    pool = Counting()
    assert verify(*files, pool, 1, lambda *_: None, weights)[1] == len(RESPONSES) and not pool.asked
    module.write_text("# edited")
    with pytest.raises(UserError, match=r"changed: reward scores\.mine:score"):
        verify(*files, Counting(), 1, lambda *_: None, weights)


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_verdicts_without_a_fingerprint_are_refused(files, content):
    *names, output = files
    verify(*files, Counting(), 1, lambda *_: None)
    before = output.read_bytes()
    inputs_file(output).write_text(content)
    if not content:
        inputs_file(output).unlink()
    with pytest.raises(UserError, match=r"v\.jsonl: holds something already, and no v\.jsonl\.inputs\.json says"):
        verify(*files, Counting(), 1, lambda *_: None)
    assert output.read_bytes() == before


def test_a_file_that_holds_no_verdict_is_never_cut(files):
    *names, output = files
    output.parent.mkdir()
    output.write_text("notes without an end of line")
    with pytest.raises(UserError, match="holds something already"):
        verify(*files, Counting(), 1, lambda *_: None)
    assert output.read_text() == "notes without an end of line"


def test_a_fingerprint_of_nothing_binds_nothing(files):
    """A run that ended before its first verdict leaves the output free."""
    *names, output = files
    verify(*files, Counting(), 1, lambda *_: None, {"mine:score": 1.0})
    output.unlink()
    pool = Counting()
    verify(*files, pool, 1, lambda *_: None)
    assert len(pool.asked) == len(RESPONSES)
    assert verify(*files, pool, 1, lambda *_: None)[1] == len(RESPONSES)


@pytest.mark.parametrize(
    ("more", "name"),
    [
        (["--no-require-think-end"], "require-think-end"),
        (["--time-limit-s", "3"], "time-limit-s"),
        (["--memory-limit-mb", "300"], "memory-limit-mb"),
        (["--reward", "scores:mine"], "reward scores:mine"),
    ],
)
def test_the_command_refuses_another_option(files, tmp_path, more, name):
    problems, completions, output = files
    (tmp_path / "scores.py").write_text("def mine(completions, **rest):\n    return [1.0] * len(completions)\n")
    options = ["--problems", problems, "--completions", completions, "--output", output, "--workers", "1"]
    command = [sys.executable, "-m", "acejax.cli", "verify", *map(str, options)]
    runs = []
    for extra in ([], [], more, ["--workers", "2"]):
        runs.append(subprocess.run([*command, *extra], capture_output=True, text=True, timeout=240, cwd=tmp_path))
    assert [run.returncode for run in runs] == [0, 0, 2, 0], runs[2].stderr
    assert f"changed: {name})" in runs[2].stderr.replace("\n", " ")
    assert "5 of them from before" in runs[1].stdout and "5 of them from before" in runs[3].stdout


def test_output_must_be_json_lines(files):
    *names, output = files
    with pytest.raises(UserError, match="'.parquet' cannot be appended to"):
        verify(*names, output.with_suffix(".parquet"), Counting(), 1, lambda *_: None)


def test_a_bounded_number_of_tasks_is_pending_and_order_is_kept():
    pending = []

    class Late:
        """Answers the oldest task only when it is about to be waited for, the newest first."""

        def submit(self, problem, sample, response, weights=None):
            future = Future()
            pending.append(future)
            if len(pending) >= PENDING_PER_WORKER:
                for number, one in reversed([*enumerate(pending)]):
                    if not one.done():
                        one.set_result(Verdict(problem.id, number, "correct", "ok"))
            return future

    taken = []
    tasks = ((PROBLEMS[0], taken.append(number) or number, "r") for number in range(PENDING_PER_WORKER * 3))
    stream = verdicts(Late(), tasks, 1)
    assert next(stream).sample == 0 and len(taken) == PENDING_PER_WORKER + 1
    assert [verdict.sample for verdict in stream] == [*range(1, PENDING_PER_WORKER * 3)]
