"""Readers and writers of problem and trace files, and the lines they refuse."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from acejax.errors import UserError
from acejax.problems.builtin import generate
from acejax.problems.problem import Completion, Problem, Trace
from acejax.problems.readers import read_problems, read_traces, write_records


def lines(path, *rows):
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"problem": "p", "answer": "\\frac{1}{2}"}, ("\\frac{1}{2}",)),
        ({"question": "p", "answer": " 5 "}, ("5",)),
        ({"problem": "p", "answer": 27.0}, ("27",)),
        ({"problem": "p", "answer": 0.5}, ("0.5",)),
        ({"problem": "p", "answer": -3}, ("-3",)),
        ({"problem": "p", "answer": 0}, ("0",)),
        ({"problem": "p", "answer": ["1/2", 0.5]}, ("1/2", "0.5")),
        ({"question": "p", "answer": "He has 3*4=<<3*4=12>>12.\n#### 12"}, ("12",)),
        ({"question": "p", "answer": "So\n#### 1,234,567"}, ("1234567",)),
        ({"question": "p", "answer": None, "solution": "a #### 9 no\n#### 2,000\n"}, ("2000",)),
        ({"question": "p", "solution": "x\n####18"}, ("18",)),
        ({"problem": "p", "answer": "1,234", "solution": "#### 9"}, ("1,234",)),
    ],
)
def test_answers(tmp_path, row, answer):
    (problem,) = read_problems(lines(tmp_path / "gsm8k.jsonl", row))
    assert problem == Problem("gsm8k/1", "math", "p", "gsm8k", answer, meta=problem.meta)


def test_the_same_rows_from_parquet(tmp_path):
    path = tmp_path / "aime.parquet"
    table = pyarrow.table({"problem": ["a", "b"], "answer": [27.0, 0.5], "id": [7, 8]})
    pyarrow.parquet.write_table(table, path)
    assert [(p.id, p.prompt, p.answer) for p in read_problems(path)] == [
        ("aime/7", "a", ("27",)),
        ("aime/8", "b", ("0.5",)),
    ]


def test_ids_given_ids_missing_blank_lines_and_byte_order_mark(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"problem":"a","answer":"1"}\n\n{"id":0,"problem":"b","answer":"2","source":"s"}\n')
    assert [(p.id, p.source) for p in read_problems(path)] == [("d/1", "d"), ("d/0", "s")]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_own_records_come_back_the_same(tmp_path, suffix):
    script = {"kind": "script", "entry_point": "f", "script": "def check(f):\n    assert f(1) == 1\n"}
    attempts = ({"policy": "p", "n": 8, "correct": 3, "mean_tokens": 41.5},)
    problems = [
        *generate("math", "heldout", 20, 0),
        *generate("code", "heldout", 20, 0),
        Problem("a", "math", "é?", "s", ("1/2", "0.5"), attempts=attempts),
        Problem("n", "math", "7?", "s", ("007",)),
        Problem("b", "code", "p", "s", tests=script, time_limit_s=2.5, memory_limit_mb=64, starter_code="def f(x):"),
    ]
    path = tmp_path / "new" / f"problems{suffix}"
    write_records(path, problems)
    assert read_problems(path, domain="code") == problems
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_parquet_holds_json_text(tmp_path):
    write_records(tmp_path / "p.parquet", generate("code", "train", 3, 0) + generate("math", "train", 3, 0))
    table = pyarrow.parquet.read_table(tmp_path / "p.parquet")
    assert {table.schema.field(name).type for name in ("tests", "answer", "meta")} == {pyarrow.string()}
    assert json.loads(table["tests"][0].as_py())["cases"]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_traces_and_completions(tmp_path, suffix):
    traces = [Trace("a", "p", "r", "s", "code"), Trace("b", "q", "</think>\n", "s")]
    write_records(tmp_path / f"t{suffix}", traces)
    assert read_traces(tmp_path / f"t{suffix}") == traces
    write_records(tmp_path / f"c{suffix}", [Completion("a", 0, "r", "stop", ids=(1, 2), logprobs=(-0.5, -1.0))])
    bare = lines(tmp_path / "bare.jsonl", {"prompt": "p", "response": "r"})
    assert read_traces(bare) == [Trace("bare/1", "p", "r", "bare")]


GOOD = {"problem": "p", "answer": "1"}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"problem": "p"}, r":2: field 'answer' is None"),
        ({"problem": "p", "answer": None, "solution": "no number"}, r":2: field 'answer' is None"),
        ({"problem": "p", "answer": "work ####  "}, r":2: field 'answer'"),
        ({"problem": "p", "answer": "  "}, r":2: field 'answer'"),
        ({"problem": "p", "answer": True}, r":2: field 'answer' is True"),
        ({"problem": "p", "answer": []}, r":2: field 'answer' is \[\]"),
        ({"problem": "p", "answer": ["1", None]}, r":2: field 'answer'"),
        ('{"problem": "p", "answer": NaN}', r":2: field 'answer' is nan"),
        ({"prompt": "p", "domain": "math"}, r":2: field 'answer' is None"),
        ({"text": "p", "answer": "1"}, r":2: .*'problem' or 'question'.*text, answer"),
        ({"problem": "", "answer": "1"}, r":2: .*'problem'"),
        ({"prompt": "p", "domain": "physics", "answer": "1"}, r":2: field 'domain' is 'physics'"),
        ({"prompt": "p", "domain": "code"}, r":2: field 'tests'"),
        ({"prompt": "p", "domain": "code", "tests": "{"}, r":2: field 'tests' is not valid JSON"),
        ({"prompt": "p", "answer": "1", "meta": [1]}, r":2: field 'meta'"),
        (
            {"prompt": "p", "answer": "1", "time_limit_s": "2"},
            r":2: field 'time_limit_s' is '2'; give a number above 0",
        ),
        ({"prompt": "p", "answer": "1", "memory_limit_mb": 0}, r":2: field 'memory_limit_mb' is 0"),
        ({"prompt": "p", "answer": "1", "attempts": [{"n": 2, "correct": 3}]}, r":2: field 'attempts'"),
        ({"prompt": "p", "answer": "1", "attempts": {"n": 2}}, r":2: field 'attempts'"),
        ('{"problem": "p", ', r":2: not valid JSON"),
        ("[1]", r":2: found list"),
        ("null", r":2: found NoneType"),
    ],
)
def test_bad_rows_are_named_by_file_line_and_field(tmp_path, bad, words):
    path = lines(tmp_path / "d.jsonl", GOOD, bad, GOOD)
    with pytest.raises(UserError, match="d.jsonl" + words) as caught:
        read_problems(path)
    assert "\n" not in str(caught.value)


def test_bad_row_of_parquet_is_named(tmp_path):
    path = tmp_path / "d.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"problem": ["a", "b"], "answer": ["1", None]}), path)
    with pytest.raises(UserError, match=r"d\.parquet:2: field 'answer' is None"):
        read_problems(path)


def test_one_json_list(tmp_path):
    path = tmp_path / "d.json"
    path.write_text('\n[\n {"problem": "a", "answer": "1"},\n {"problem": "b", "answer": "2"}]\n')
    assert [(p.id, p.answer) for p in read_problems(path)] == [("d/1", ("1",)), ("d/2", ("2",))]
    lines(path, GOOD, GOOD)
    assert [p.id for p in read_problems(path)] == ["d/1", "d/2"]
    path.write_text('[{"problem": "a", "answer": "1"}, 2]')
    with pytest.raises(UserError, match=r"d\.json:2: found int"):
        read_problems(path)
    path.write_text('[{"problem": "a"')
    with pytest.raises(UserError, match=r"d\.json: not valid JSON"):
        read_problems(path)


def test_bad_files_are_named(tmp_path):
    with pytest.raises(UserError, match="no.jsonl: there is no such file"):
        read_problems(tmp_path / "no.jsonl")
    with pytest.raises(UserError, match="no.parquet: there is no such file"):
        read_traces(tmp_path / "no.parquet")
    with pytest.raises(UserError, match="is a folder"):
        read_problems(tmp_path)
    (tmp_path / "d.xlsx").write_text("a,b\n")
    with pytest.raises(UserError, match="'.xlsx'"):
        read_problems(tmp_path / "d.xlsx")
    (tmp_path / "e.jsonl").write_text("\n\n")
    with pytest.raises(UserError, match="holds no rows"):
        read_problems(tmp_path / "e.jsonl")
    (tmp_path / "f.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(UserError, match="f.parquet: not a readable Parquet file"):
        read_problems(tmp_path / "f.parquet")
    (tmp_path / "l.jsonl").write_bytes(b'{"problem": "\xff"}\n')
    with pytest.raises(UserError, match="l.jsonl:1: not UTF-8"):
        read_problems(tmp_path / "l.jsonl")
    with pytest.raises(UserError, match="'.txt'"):
        write_records(tmp_path / "x.txt", [])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "p"}, "field 'response' is None"),
        ({"prompt": 3, "response": "r"}, "field 'prompt' is 3"),
        ({"prompt": "p", "response": "r", "domain": "x"}, "field 'domain' is 'x'"),
    ],
)
def test_bad_traces_are_named(tmp_path, row, words):
    with pytest.raises(UserError, match=r"t\.jsonl:1: " + words):
        read_traces(lines(tmp_path / "t.jsonl", row))


def test_a_failed_write_leaves_nothing(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_records(path, [{"a": object()}])
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["x.jsonl"]


@pytest.mark.parametrize(
    "answer",
    [
        "Therefore the answer is 154 apples.",
        "The answer is 5.",
        "Answer: 5",
        "**Final Answer:** 5",
        "5 is the answer",
        "So he has 12.",
        "Thus, $x=5$.",
        "Hence 5",
        "He has 5 apples.",
        "There are 5 of them",
        "5 apples are left.",
        "First we add 3 and 4.\nThen we double it and get 14",
        "By the theorem above, f vanishes everywhere.",
    ],
)
def test_an_answer_that_no_response_reaches_is_named(tmp_path, caplog, answer):
    path = lines(tmp_path / "d.jsonl", GOOD, {"problem": "p", "answer": answer}, GOOD)
    assert len(read_problems(path)) == 3
    (said,) = [record.getMessage() for record in caplog.records]
    assert f"d.jsonl: 1 answers are sentences, first {path}:2: {answer!r}"[:80] in said and "bare answer" in said


@pytest.mark.parametrize(
    "answer",
    [
        "154",
        "154 apples",
        "x = 5",
        "\\text{all real numbers except } 0",
        "SO(3)",
        "No solution",
        "There is no solution",
        "Los Angeles",
        "\\text{(B) is right}",
        "5 + \\sqrt{2} \\text{ cm}",
        "(-\\infty, 0) \\text{ or } (1, 2)",
        "9 a.m.",
        "soh",
        ["The answer is 5.", "5"],
    ],
)
def test_an_answer_in_words_is_an_answer(tmp_path, caplog, answer):
    read_problems(lines(tmp_path / "d.jsonl", {"problem": "p", "answer": answer}))
    assert not caplog.records
