"""The same row means the same in every format of file."""

import csv
import gzip
import json
import logging

import pyarrow
import pyarrow.parquet
import pytest

from acejax.errors import UserError
from acejax.problems.problem import Completion
from acejax.problems.readers import read_completions, read_problems, read_traces, write_records

# Answers that look like JSON, and are texts.
JSON_LIKE = [
    "[0, 1]",
    "[2,5)",
    "[-1, 1]",
    "[1]",
    "[]",
    '["a", "b"]',
    '"quoted"',
    '"',
    "[[1, 2], [3, 4]]",
    "{1, 2}",
    '{"a": 1}',
    "[0, \\infty)",
    "[a, b]",
    "null",
    "true",
    "1e5",
    "007",
]
LINES = ("d.jsonl", "d.ndjson", "d.json", "d.jsonl.gz", "d.json.gz")
TABLES = ("d.csv", "d.csv.gz", "d.tsv", "d.parquet")
LISTS = ("list/d.json",)


def write(path, rows):
    """The rows in the format that the file's name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table({name: [row.get(name) for row in rows] for name in columns}), path)
        return path
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8", newline="") as file:
        if path.parent.name == "list":
            json.dump(rows, file)
        elif ".csv" in path.name or ".tsv" in path.name:
            table = csv.DictWriter(file, columns, delimiter="\t" if ".tsv" in path.name else ",")
            table.writeheader()
            table.writerows({name: cell(value) for name, value in row.items()} for row in rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def cell(value):
    return json.dumps(value) if isinstance(value, (dict, list)) else value


@pytest.mark.parametrize("question", ["prompt", "problem", "question"])
@pytest.mark.parametrize("name", [*LINES, *TABLES, *LISTS])
def test_an_answer_that_looks_like_json_is_a_text(tmp_path, name, question):
    rows = [{question: f"q{number}", "answer": answer} for number, answer in enumerate(JSON_LIKE)]
    problems = read_problems(write(tmp_path / name, rows))
    assert [(p.id, p.domain, p.prompt, p.source, p.answer) for p in problems] == [
        (f"d/{number + 1}", "math", f"q{number}", "d", (answer,)) for number, answer in enumerate(JSON_LIKE)
    ]


STDIN = {"kind": "stdin", "cases": [{"input": "1\n", "output": "2\n"}, {"input": "", "output": "0"}]}
CALLS = {"kind": "function", "fn_name": "f", "cases": [{"args": [1, 2], "output": 3}, {"args": [0, 0], "output": 0}]}
SAME = {
    "code": [
        {"id": "a", "question": "Add one.", "tests": STDIN, "time_limit_s": 2.5, "memory_limit_mb": 64},
        {"id": "b", "question": "Add.", "tests": STDIN, "starter_code": "def f(x, y):\n    pass"},
    ],
    "calls": [{"prompt": "Add.", "tests": CALLS}, {"prompt": "Add, again.", "tests": CALLS}],
    "numbered": [{"id": 7, "problem": "a, b", "answer": "1,5"}, {"id": 8, "problem": 'say "x"\nor y', "answer": "2"}],
    "chat": [{"prompt": [{"role": "user", "content": "1+1?"}], "answer": "2"}],
    "options": [{"question": "Which is even?", "choices": ["1", "2", "3"], "answer": "B"}],
    "accents": [{"problem": "é ∑ 数 \u2028 x", "answer": "π"}],
}


@pytest.mark.parametrize("rows", SAME.values(), ids=SAME)
def test_the_same_rows_from_every_format(tmp_path, rows):
    first, *others = [read_problems(write(tmp_path / name, rows)) for name in (*LINES, *TABLES, *LISTS)]
    assert len(first) == len(rows)
    assert others == [first] * len(others)


@pytest.mark.parametrize("name", [*LINES, "d.parquet", *LISTS])
def test_structures_as_json_text_in_every_format(tmp_path, name):
    """As a table of texts holds them."""
    chat = [{"role": "user", "content": "p"}]
    rows = [
        {"prompt": chat, "answer": "2"},
        {"messages": chat, "answer": "2"},
        {"question": "p", "choices": ["1", "2"], "answer": "B"},
        {"question": "p", "options": {"A": "1", "B": "2"}, "answer": "B"},
        {"prompt": chat, "reward_model": {"ground_truth": "[0, 1]"}, "extra_info": {"index": 1}},
        {"prompt": "p", "answer": "2", "meta": {"a": 1}, "attempts": [{"n": 2, "correct": 1}]},
        {"question": "p", "tests": STDIN, "meta": {"a": 1}},
    ]
    for row in rows:
        texts = {column: cell(value) for column, value in row.items()}
        assert read_problems(write(tmp_path / name, [texts])) == read_problems(
            write(tmp_path / "whole" / "d.jsonl", [row])
        )


def test_kinds_of_tests_side_by_side_in_parquet(tmp_path):
    """There a structure has the fields of all rows, and nulls in those that a row lacks."""
    words = {
        "kind": "function",
        "fn_name": "f",
        "cases": [{"args": ["a"], "output": "b"}, {"args": ["c"], "output": ""}],
    }
    rows = [{"prompt": "p", "tests": STDIN}, {"prompt": "q", "tests": words}]
    assert read_problems(write(tmp_path / "d.parquet", rows)) == read_problems(write(tmp_path / "d.jsonl", rows))


def test_parquet_of_earlier_versions_is_read(tmp_path):
    """They wrote JSON text without saying so in the file."""
    rows = []
    for number, answer in enumerate(["4", ["1/2", "0.5"], "[0, 1]"]):
        own = {"id": f"x{number}", "domain": "math", "prompt": "p", "source": "s"}
        rows.append(own | {"answer": json.dumps(answer)})
    answers = [p.answer for p in read_problems(write(tmp_path / "d.parquet", rows))]
    assert answers == [("4",), ("1/2", "0.5"), ("[0, 1]",)]


def test_numbers_of_any_width_in_parquet(tmp_path):
    answers = pyarrow.array([27, 5], pyarrow.decimal128(9, 2))
    pyarrow.parquet.write_table(pyarrow.table({"problem": ["a", "b"], "answer": answers}), tmp_path / "d.parquet")
    assert [p.answer for p in read_problems(tmp_path / "d.parquet")] == [("27",), ("5",)]


def test_texts_as_bytes_and_numbers_as_floats_in_parquet(tmp_path):
    """As writers leave them that know no texts, or no whole numbers beside missing ones."""
    table = pyarrow.table({"problem": [b"a", "\u00e9".encode()], "answer": [b"[0, 1]", b"2"], "id": [7.0, None]})
    pyarrow.parquet.write_table(table, tmp_path / "d.parquet")
    found = [(p.id, p.prompt, p.answer) for p in read_problems(tmp_path / "d.parquet")]
    assert found == [("d/7", "a", ("[0, 1]",)), ("d/2", "\u00e9", ("2",))]


def test_completions_and_traces_from_every_format(tmp_path):
    rows = [{"problem_id": "a", "sample": n, "response": f"r, {n}", "prompt": "p"} for n in range(2)]
    for name in (*LINES, *TABLES, *LISTS):
        path = write(tmp_path / name, rows)
        assert [one for _, one in read_completions(path)] == [Completion("a", n, f"r, {n}", "stop") for n in range(2)]
        assert [(one.id, one.response) for one in read_traces(path)] == [("d/1", "r, 0"), ("d/2", "r, 1")]


def test_one_object_over_several_lines(tmp_path):
    path = tmp_path / "1.json"
    path.write_text(json.dumps({"problem": "p", "level": "Level 1", "solution": "So $\\boxed{5}$."}, indent=4))
    assert [(p.prompt, p.answer) for p in read_problems(path)] == [("p", ("5",))]
    path.write_text('{\n "problem": "p", \n')
    with pytest.raises(UserError, match=r"1\.json: not valid JSON"):
        read_problems(path)


def test_empty_cells_are_absent(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text('problem,answer,solution,id\np,,so #### 4,\n"q\nr",5,,x\n')
    assert [(p.id, p.prompt, p.answer) for p in read_problems(path)] == [("d/1", "p", ("4",)), ("x", "q\nr", ("5",))]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("d.jsonl.gz", b"not gzip", r"d\.jsonl\.gz: not a whole gzip file"),
        ("d.jsonl.gz", gzip.compress(b'{"problem": "p", "answer": "1"}\n' * 9, mtime=0)[:-9], r"not a whole gzip file"),
        ("d.csv.gz", gzip.compress(b"problem,answer\np,1\n", mtime=0)[:-4], r"not a whole gzip file"),
        ("d.csv", b"problem,answer\np,1,2\n", r"d\.csv:1: more cells than the first line names"),
        ("d.csv", b'problem,answer\np,"1\n', r"d\.csv:1: not readable as CSV"),
        ("d.csv", b"problem,answer\n\xff,1\n", r"d\.csv:2: not UTF-8"),
        ("d.csv", b"problem,answer\n", "holds no rows"),
        ("d.csv", b"", "holds no rows"),
        ("d.csv", b"problem,answer\np,\n", r"d\.csv:1: field 'answer' is None"),
        ("d.parquet.gz", gzip.compress(b"x", mtime=0), r"suffix '.gz' is not known; use .jsonl"),
        ("d.gz", gzip.compress(b"x", mtime=0), r"suffix '.gz' is not known; use .jsonl"),
        ("d.txt", b"x", r"suffix '.txt' is not known; use .jsonl"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        read_problems(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_repeated_ids_are_numbered_and_said(tmp_path, caplog):
    rows = [{"id": name, "problem": f"p{n}", "answer": "1"} for n, name in enumerate(["a", "b", "a", "a#2", "a", "b"])]
    with caplog.at_level(logging.WARNING):
        problems = read_problems(write(tmp_path / "d.jsonl", rows))
    assert [p.id for p in problems] == ["a", "b", "a#2", "a#2#2", "a#3", "b#2"]
    assert [p.prompt for p in problems] == [f"p{n}" for n in range(6)]
    (said,) = [record.getMessage() for record in caplog.records]
    assert "d.jsonl: 4 rows repeat an id and were numbered: the second 'a' is 'a#2'" in said and "d.jsonl:1" in said


def test_ids_apart_are_not_spoken_of(tmp_path, caplog):
    rows = [{"id": n, "problem": "p", "answer": "1"} for n in range(3)] + [{"problem": "p", "answer": "1"}]
    assert [p.id for p in read_problems(write(tmp_path / "d.jsonl", rows))] == ["d/0", "d/1", "d/2", "d/4"]
    assert not caplog.records


def test_numbers_and_rows_may_meet(tmp_path):
    """A row without an id is called by its place, which may be another row's number."""
    rows = [{"problem": "p", "answer": "1"}, {"id": 1, "problem": "q", "answer": "2"}]
    assert [p.id for p in read_problems(write(tmp_path / "d.jsonl", rows))] == ["d/1", "d/1#2"]


def test_integers_of_any_length(tmp_path):
    digits = "7" * 5000
    path = tmp_path / "d.jsonl"
    tests = f'{{"kind": "function", "fn_name": "f", "cases": [{{"args": [{digits}], "output": {digits}}}]}}'
    path.write_text(f'{{"problem": "p", "answer": {digits}}}\n{{"problem": "p", "tests": {tests}}}\n')
    first, second = read_problems(path)
    assert first.answer == (digits,)
    assert second.tests["cases"][0]["output"] % 10**9 == 777777777


def test_names_of_digits_in_csv(tmp_path):
    """A whole number is the row's number, as in JSON Lines; digits that no number is written in are a name."""
    (tmp_path / "d.csv").write_text("id,problem,answer\n7,p,1\n007,p,1\n1e5,p,1\n7.0,p,1\n")
    assert [p.id for p in read_problems(tmp_path / "d.csv")] == ["d/7", "007", "1e5", "7.0"]
    (tmp_path / "c.csv").write_text("problem_id,sample,response\n7,0,r\n007,1,r\n")
    assert [(one.problem_id, one.sample) for _, one in read_completions(tmp_path / "c.csv")] == [("7", 0), ("007", 1)]


def test_our_own_files_keep_every_answer(tmp_path):
    rows = [{"problem": f"q{number}", "answer": answer} for number, answer in enumerate(JSON_LIKE)]
    rows.append({"problem": "several", "answer": JSON_LIKE})
    problems = read_problems(write(tmp_path / "d.jsonl", rows))
    for name in ("own.jsonl", "own.parquet"):
        write_records(tmp_path / name, problems)
        assert read_problems(tmp_path / name) == problems
