"""The table of domains: what a problem is judged by, and what is refused."""

import pytest

from acejax.errors import UserError
from acejax.problems.problem import DOMAINS, JudgedBy, Problem, checked_domain
from acejax.problems.prompts import question

TESTS = {"kind": "stdin", "cases": [{"input": "1", "output": "2"}]}


@pytest.mark.parametrize("domain", ["chess", "", None, ["math"], 3])
def test_a_domain_that_no_entry_names_is_refused(domain):
    words = 'stages.x: field .kind. is .*; use "math" or "code"'
    with pytest.raises(UserError, match=words):
        checked_domain(domain, "stages.x", "kind")
    with pytest.raises(UserError, match="f:1: field 'domain' is"):
        Problem.from_record({"id": "p", "prompt": "q", "domain": domain}, "f:1")


@pytest.mark.parametrize(
    ("domain", "reference", "kept"),
    [
        ("math", {"answer": "4"}, {"answer": ("4",), "tests": None}),
        ("math", {"answer": ["4", "four"]}, {"answer": ("4", "four"), "tests": None}),
        ("code", {"tests": TESTS}, {"answer": (), "tests": TESTS}),
    ],
)
def test_only_the_domain_s_own_field_is_read_and_written(domain, reference, kept):
    record = {"id": "p", "domain": domain, "prompt": "q", "source": "s"} | reference
    other = {"answer": "9", "tests": {"kind": "nonsense"}}
    problem = Problem.from_record(other | record, "f:1")
    assert {name: getattr(problem, name) for name in kept} == kept
    assert problem.to_record() == record


def test_a_new_domain_is_one_entry(monkeypatch):
    def read(value, where):
        if value not in ("A", "B"):
            raise UserError(f"{where}: field 'answer' is {value!r}; give A or B")
        return (value,)

    entry = JudgedBy("answer", read, lambda answer: answer[0], instruction="Answer A or B.")
    monkeypatch.setitem(DOMAINS, "choice", entry)
    record = {"id": "p", "domain": "choice", "prompt": "Which?", "source": "", "answer": "B"}
    problem = Problem.from_record(record, "f:1")
    assert problem.to_record() == record
    assert [question(problem, style) for style in ("builtin", "chat")] == ["Which?\n\nAnswer A or B."] * 2
    with pytest.raises(UserError, match="give A or B"):
        Problem.from_record(record | {"answer": "C"}, "f:1")


def test_what_a_program_reads_and_prints_is_text_however_a_row_writes_it():
    """A number that stayed one could not be given to a program: its completions were never judged."""
    cases = [{"input": 5, "output": 2.5}, {"input": ["1", 2], "output": [3, None]}, {"input": None, "output": "x"}]
    tests = {"kind": "stdin", "cases": cases}
    problem = Problem.from_record({"id": "p", "domain": "code", "prompt": "q", "tests": tests}, "row")
    assert problem.tests is not None
    read = [(case["input"], case["output"]) for case in problem.tests["cases"]]
    assert read == [("5", "2.5"), ("1\n2", "3\n"), ("", "x")]
