"""Every example of README's section on problems, read from every format and judged by its own command."""

import csv
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from test_rows import LINES, LISTS, TABLES, write

from acejax.problems.readers import read_problems

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("\n## Your own problems\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)

PROGRAM = "```python\n{}\n```"
RIGHT = [
    "\\boxed{0.75}",
    "\\boxed{7}",
    "\\boxed{3}",
    "\\boxed{x = 2}",
    "\\boxed{\\text{(B)}}",
    PROGRAM.format("print(sum(map(int, input().split())))"),
    PROGRAM.format("def add(a, b):\n    return a + b"),
]
WRONG = [
    "\\boxed{0.5}",
    "\\boxed{12}",
    "\\boxed{9}",
    "\\boxed{3}",
    "\\boxed{C}",
    PROGRAM.format("print(4)"),
    PROGRAM.format("def add(a, b):\n    return a - b"),
]


def blocks(language):
    return [text for name, text in BLOCKS if name == language]


def rows():
    (examples,) = blocks("json")
    return [json.loads(line) for line in examples.splitlines()]


def test_every_block_is_looked_at():
    assert [name for name, _ in BLOCKS] == ["json", "csv", "sh"]


@pytest.mark.parametrize("name", [*LINES, *TABLES, *LISTS])
def test_the_examples_are_read_in_every_format(tmp_path, name):
    for row in rows():
        (problem,) = read_problems(write(tmp_path / name, [row]))
        assert problem.domain == ("code" if "tests" in row else "math")
        own = [problem.prompt, *problem.answer, problem.tests]
        (same,) = read_problems(write(tmp_path / "same.jsonl", [row]))
        assert own == [same.prompt, *same.answer, same.tests]


def test_the_csv_is_read(tmp_path):
    (table,) = blocks("csv")
    (tmp_path / "d.csv").write_text(table, encoding="utf-8")
    expected = list(csv.DictReader(io.StringIO(table)))
    found = [(p.prompt, p.answer, p.id) for p in read_problems(tmp_path / "d.csv")]
    assert found == [(row["question"], (row["answer"],), row["id"]) for row in expected]
    assert found[0][1] == ("[0, 1]",)


def test_the_command_judges_the_examples(tmp_path):
    write(tmp_path / "problems.jsonl", rows())
    names = [problem.id for problem in read_problems(tmp_path / "problems.jsonl")]
    completions = []
    for name, right, wrong in zip(names, RIGHT, WRONG, strict=True):
        for sample, response in enumerate((right, wrong)):
            completions.append({"problem_id": name, "sample": sample, "response": f"</think>\n{response}"})
    write(tmp_path / "completions.jsonl", completions)
    (command,) = blocks("sh")
    program, *arguments = shlex.split(command)
    assert program == "acejax"
    command = [sys.executable, "-m", "acejax.cli", *arguments, "--workers", "1"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    verdicts = [json.loads(line)["verdict"] for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert verdicts == ["correct", "wrong"] * len(names)


def test_every_column_of_the_table_is_read(tmp_path):
    """The names that the table gives for a question and an answer."""
    lines = [line for line in SECTION.splitlines() if line.startswith("| `")]
    questions = re.findall(r"`(\w+)`", lines[0])
    answers = ["answer", *re.findall(r"`(\w+)`", lines[1].partition("Also")[2])]
    assert len(questions) == 6 and len(answers) == 5
    chat = [{"role": "user", "content": "p"}]
    for question in questions:
        for answer in answers:
            row = {question: chat if question == "messages" else "p", answer: "5"}
            (problem,) = read_problems(write(tmp_path / "d.jsonl", [row]))
            assert (problem.prompt, problem.answer) == ("p", ("5",))
    for before in re.findall(r"`(\w+)`", next(line for line in lines if "`body`" in line)):
        (problem,) = read_problems(write(tmp_path / "d.jsonl", [{before: "b", "question": "p", "answer": "5"}]))
        assert problem.prompt == "b\n\np"
