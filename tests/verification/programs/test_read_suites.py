"""Rows as data sets have them, read and judged: the right program passes and the wrong one does not."""

import json

import pytest

from acejax.problems.readers import read_problems
from acejax.verification.programs.judge import judge_code

APPS_LISTS = {"question": "p", "input_output": {"fn_name": "f", "inputs": [[2], [3]], "outputs": [[2], [3]]}}
APPS_KEYS = {
    "question": "p",
    "input_output": {"fn_name": "f", "inputs": [[{"1": 5, "2": 6}], [{"7": 1}]], "outputs": [11, 1]},
}
NO_INPUT = {"problem": "p", "tests": {"kind": "stdin", "cases": [{"input": None, "output": "4\n"}]}}
ASSERTIONS = {
    "prompt": [{"role": "user", "content": "p"}],
    "reward_model": {"ground_truth": {"assert_case": ["assert f(2) == 4"], "inputs": [""], "outputs": [None]}},
}


@pytest.mark.parametrize(
    ("row", "right", "wrong"),
    [
        (APPS_LISTS, ["def f(x): return [x]", "def f(x): return x"], ["def f(x): return [[x]]", "def f(x): return []"]),
        (
            APPS_KEYS,
            ["def f(d): return sum(value for key, value in d.items() if isinstance(key, int))"],
            ["def f(d): return sum(value for key, value in d.items() if isinstance(key, str))"],
        ),
        (NO_INPUT, ["import sys\nprint(4 + len(sys.stdin.read()))"], ["print(input())", "print('None')"]),
        (ASSERTIONS, ["def f(x): return x * x"], ["def f(x): return x", "pass", "print(None)"]),
    ],
    ids=["lists of one", "integers as keys", "no input", "assertions"],
)
def test_what_was_read_is_judged(sandbox, tmp_path, row, right, wrong):
    (tmp_path / "d.jsonl").write_text(json.dumps(row))
    (problem,) = read_problems(tmp_path / "d.jsonl")
    for verdict, programs in (("correct", right), ("wrong", wrong)):
        for program in programs:
            assert judge_code(f"</think>\n```python\n{program}\n```", problem, sandbox)[0] == verdict, program
