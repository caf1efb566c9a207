"""Whatever a row calls its question and its answer: what becomes the prompt, and what the accepted answers."""

import json

import pytest

from acejax.errors import UserError
from acejax.problems.readers import read_problems


def read(tmp_path, *rows, domain="math"):
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_problems(path, domain=domain)


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("row", "prompt", "answer"),
    [
        # MATH as it was published, and others whose solution ends in a box.
        ({"problem": "p", "level": "Level 5", "type": "Algebra", "solution": "So $x=\\boxed{5}$."}, "p", "5"),
        ({"problem": "p", "solution": "First $\\boxed{1}$, so \\boxed{\\frac{1}{2}}."}, "p", "\\frac{1}{2}"),
        ({"problem": "p", "solution": "$\\fbox{3}$"}, "p", "3"),
        ({"problem": "p", "solution": "we get $\\boxed 7$."}, "p", "7"),
        ({"problem": "p", "solution": "so \\boxed{\\{1, 2\\}}"}, "p", "\\{1, 2\\}"),
        ({"problem": "p", "answer": None, "solution": "\\boxed{x^{2}+1}"}, "p", "x^{2}+1"),
        ({"problem": "p", "answer": "", "solution": "\\boxed{9}"}, "p", "9"),
        ({"problem": "p", "answer": " ", "solution": "so\n#### 9"}, "p", "9"),
        ({"problem": "p", "solution": "\\boxed{} and \\boxed{2"}, "p", None),
        # The answer under another name.
        ({"problem": "p", "expected_answer": "5"}, "p", "5"),
        ({"problem": "p", "expected_answer": 5, "generated_solution": "\\boxed{6}"}, "p", "5"),
        ({"question": "p", "final_answer": ["2,5"], "is_multiple_answer": True}, "p", "2,5"),
        ({"question": "p", "final_answer": "\\frac12"}, "p", "\\frac12"),
        ({"question": "p", "golden": "7"}, "p", "7"),
        ({"question": "p", "golden_answers": ["a"]}, "p", "a"),
        ({"question": "p", "gold": 7.0}, "p", "7"),
        ({"question": "p", "ground_truth": "[0, 1]"}, "p", "[0, 1]"),
        ({"question": "p", "reference_answer": "x"}, "p", "x"),
        ({"question": "p", "correct_answer": "xylem"}, "p", "xylem"),
        ({"question": "p", "target": "3"}, "p", "3"),
        ({"question": "p", "gt": "3"}, "p", "3"),
        ({"question": "p", "answer": None, "expected_answer": "3"}, "p", "3"),
        ({"question": "p", "answer": "2", "expected_answer": "3"}, "p", "2"),
        # The question under another name.
        ({"prompt": "p", "expected_answer": "5"}, "p", "5"),
        ({"prompt": "p", "solution": "so \\boxed{5}"}, "p", "5"),
        ({"query": "p", "answer": "5"}, "p", "5"),
        ({"instruction": "Add.", "input": "1 and 2", "answer": "3"}, "Add.\n\n1 and 2", "3"),
        ({"instruction": "Add 1 and 2.", "input": "", "answer": "3"}, "Add 1 and 2.", "3"),
        # However the columns are spelled.
        ({"ID": "x", "Problem": "p", "Solution": "so 4", "Answer": 33}, "p", "33"),
        ({"Question": "p", "Final Answer": "4"}, "p", "4"),
        ({"question": "p", "Answer": "4"}, "p", "4"),
        # A text that holds the answer in a box.
        ({"problem": "p", "answer": "Therefore, the answer is $\\boxed{154}$."}, "p", "154"),
        ({"problem": "p", "answer": "\\boxed{154}"}, "p", "\\boxed{154}"),
        # TRL and others that keep chats.
        ({"prompt": [user("p")], "answer": "5"}, "p", "5"),
        ({"prompt": [SYSTEM, user("p")], "answer": "5"}, "p", "5"),
        ({"prompt": [user("p")], "solution": "$\\boxed{5}$"}, "p", "5"),
        ({"prompt": [user("p")], "solution": "$5$"}, "p", "5"),
        ({"prompt": [user("p")], "solution": "\\frac{1}{3}"}, "p", "\\frac{1}{3}"),
        ({"prompt": [user("p")], "ground_truth": "5"}, "p", "5"),
        ({"prompt": [user("p")], "problem": "q", "answer": "5"}, "q", "5"),
        ({"messages": [user("p")], "answer": "5"}, "p", "5"),
        ({"messages": [SYSTEM, user("p"), assistant("so \\boxed{6}")], "answer": "5"}, "p", "5"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "p"}]}], "answer": "5"}, "p", "5"),
        ({"conversations": [{"from": "human", "value": "p"}, {"from": "gpt", "value": "5"}], "answer": "5"}, "p", "5"),
        # What the question is about.
        ({"body": "Tom has 3.", "question": "How many?", "answer": "3 (apples)"}, "Tom has 3.\n\nHow many?", "3"),
        ({"Body": "Tom has 3.", "Question": "How many?", "Answer": 3.0, "ID": "c-1"}, "Tom has 3.\n\nHow many?", "3"),
        ({"passage": "In 1900 ...", "question": "When?", "answer": "1900"}, "In 1900 ...\n\nWhen?", "1900"),
        ({"context": "It rained.", "question": "p", "answer": "1"}, "It rained.\n\np", "1"),
        ({"table": "a | 1", "question": "a?", "answer": "1"}, "a | 1\n\na?", "1"),
        ({"context": "It rained.", "prompt": "p", "answer": "1"}, "It rained.\n\np", "1"),
        ({"body": "Tom has 3.", "question": "Tom has 3. How many?", "answer": "3"}, "Tom has 3. How many?", "3"),
        ({"body": "", "question": "p", "answer": "3"}, "p", "3"),
    ],
)
def test_questions_and_answers(tmp_path, row, prompt, answer):
    if answer is None:
        with pytest.raises(UserError, match=r"d\.jsonl:1: field 'answer' is None; .*\\boxed"):
            read(tmp_path, row)
        return
    (problem,) = read(tmp_path, row)
    assert (problem.domain, problem.prompt, problem.answer[0]) == ("math", prompt, answer)


@pytest.mark.parametrize(
    ("gold", "answers"),
    [
        ("9 (apples)", ("9", "9 apples")),
        ("9 (apples) ", ("9", "9 apples")),
        ("-2.5 (degrees celsius)", ("-2.5", "-2.5 degrees celsius")),
        ("1,200 (cm)", ("1,200", "1,200 cm")),
        ("3/4 (pounds)", ("3/4", "3/4 pounds")),
        ("20% (students)", ("20%", "20% students")),
        ("9 1/2 (miles)", ("9 1/2", "9 1/2 miles")),
        ("\\$5 (each)", ("\\$5", "\\$5 each")),
        ("\\frac{1}{2} (cup)", ("\\frac{1}{2}", "\\frac{1}{2} cup")),
        ("9 (apples), 3 (pears)", ("9, 3", "9 apples, 3 pears")),
        ("10 (miles); 4 (hours)", ("10, 4", "10 miles, 4 hours")),
        # These mean something else.
        ("3 (mod 7)", ("3 (mod 7)",)),
        ("101 (base two)", ("101 (base two)",)),
        ("2 (x)", ("2 (x)",)),
        ("2 (xy)", ("2 (xy)",)),
        ("5 (3)", ("5 (3)",)),
        ("f (apples)", ("f (apples)",)),
        ("(0, 1)", ("(0, 1)",)),
        ("9 apples", ("9 apples",)),
    ],
)
def test_a_number_and_what_it_counts(tmp_path, gold, answers):
    (problem,) = read(tmp_path, {"question": "p", "answer": gold})
    assert problem.answer == answers
    (problem,) = read(tmp_path, {"prompt": [user("p")], "reward_model": {"ground_truth": gold}})
    assert problem.answer == tuple(answer.strip() for answer in answers)


LISTED = "Which is 2+2?\n(A) 3\n(B) 4\n(C) 22"
TEXTS = ["3", "4", "22"]


@pytest.mark.parametrize(
    ("columns", "answers"),
    [
        ({"choices": TEXTS, "answer": 1}, ("B", "4")),
        ({"choices": TEXTS, "answer": 1.0}, ("B", "4")),
        ({"choices": TEXTS, "answer": "B"}, ("B", "4")),
        ({"choices": TEXTS, "answer": "(b)"}, ("B", "4")),
        ({"choices": TEXTS, "answer": "B."}, ("B", "4")),
        ({"choices": TEXTS, "answer": "B) 4"}, ("B", "4")),
        ({"choices": TEXTS, "answer": "4"}, ("4", "B")),
        ({"choices": TEXTS, "answer": "1"}, ("B", "4")),
        ({"choices": TEXTS, "answer": "four"}, ("four",)),
        ({"options": TEXTS, "answer": "B", "answer_index": 1}, ("B", "4")),
        ({"options": TEXTS, "answer_index": 1}, ("B", "4")),
        ({"options": ["A)3", "B)4", "C)22"], "correct": "B"}, ("B", "4")),
        ({"options": ["A. 3", "B. 4", "C. 22"], "answer": "B"}, ("B", "4")),
        ({"options": "a ) 3 , b ) 4 , c ) 22", "correct": "b"}, ("B", "4")),
        ({"options": "A. 3\nB. 4\nC. 22", "answer": "B"}, ("B", "4")),
        ({"options": {"A": "3", "B": "4", "C": "22"}, "answer": "B"}, ("B", "4")),
        ({"choices": {"text": TEXTS, "label": ["A", "B", "C"]}, "answerKey": "B"}, ("B", "4")),
        ({"choices": [{"label": a, "text": b} for a, b in zip("ABC", TEXTS, strict=True)], "answer": "B"}, ("B", "4")),
        ({"choices": [{"text": text} for text in TEXTS], "answer": 1, "domain": "math"}, ("B", "4")),
        ({"A": "3", "B": "4", "C": "22", "answer": "B"}, ("B", "4")),
        ({"A": 3, "B": 4, "C": 22, "answer": "B"}, ("B", "4")),
        ({"opa": "3", "opb": "4", "opc": "22", "cop": 1}, ("B", "4")),
        ({"option_a": "3", "option_b": "4", "option_c": "22", "answer": "B"}, ("B", "4")),
        ({"choices": TEXTS, "expected_answer": "B"}, ("B", "4")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("question", ["question", "problem", "prompt"])
def test_options_are_asked_and_the_right_one_is_known(tmp_path, question, columns, answers):
    (problem,) = read(tmp_path, {question: "Which is 2+2?"} | columns)
    assert (problem.domain, problem.prompt, problem.answer) == ("math", LISTED, answers)


@pytest.mark.parametrize(
    ("row", "prompt", "answers"),
    [
        # Labels of their own.
        (
            {"question": "p", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"},
            "p\n(1) x\n(2) y",
            ("2", "y"),
        ),
        # A question that lists its options already.
        ({"question": "p A) 3 B) 4", "options": ["3", "4"], "answer": "A"}, "p A) 3 B) 4", ("A", "3")),
        # A text that is the label of another option is accepted only as the label that it is.
        ({"question": "p", "choices": ["B", "A"], "answer": 1}, "p\n(A) B\n(B) A", ("B",)),
        ({"question": "p", "choices": ["3", "3"], "answer": 1}, "p\n(A) 3\n(B) 3", ("B",)),
        # Options whose labels are not known go along as they stand.
        ({"question": "p", "options": "three or four", "answer": "four"}, "p\nthree or four", ("four",)),
        # No options.
        ({"question": "p", "choices": None, "answer": "4"}, "p", ("4",)),
        ({"question": "p", "choices": [], "answer": "4"}, "p", ("4",)),
        ({"question": "p", "A": "3", "answer": "4"}, "p", ("4",)),
        ({"body": "b", "question": "p", "choices": ["x", "y"], "answer": 0}, "b\n\np\n(A) x\n(B) y", ("A", "x")),
    ],
)
def test_options_in_other_cases(tmp_path, row, prompt, answers):
    (problem,) = read(tmp_path, row)
    assert (problem.prompt, problem.answer) == (prompt, answers)


@pytest.mark.parametrize("answer", ["E", "(E)", "e.", 4, 2, 2.0, -1, True])
def test_a_label_that_no_option_has_is_refused(tmp_path, answer):
    with pytest.raises(UserError, match=r"d\.jsonl:1: field 'answer' is .*; give the label, .* A, B$"):
        read(tmp_path, {"question": "p", "choices": ["x", "y"], "answer": answer})


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": [user("p"), assistant("q"), user("r")], "answer": "1"}, "field 'prompt' is .*one message of the"),
        ({"prompt": [user("p"), assistant("<think>")], "answer": "1"}, "field 'prompt' is .*one message of the user"),
        ({"messages": [user("p"), user("q")], "answer": "1"}, "field 'messages' is .*one message of the user"),
        ({"messages": ["p"], "answer": "1"}, "field 'messages' is .*one message of the user"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}], "answer": "1"}, "field 'messages' is"),
        ({"prompt": 5, "answer": "1"}, "field 'prompt' is 5; give one message"),
        ({"prompt": "", "answer": "1"}, "field 'prompt' is ''; give a string that is not empty"),
        ({"prompt": [], "answer": "1"}, r"field 'problem' is None; no question found: .* a text"),
        ({"text": "p", "answer": "1"}, r"field 'problem' is None; .*\(or 'prompt'\)"),
        ({"messages": [user("p")]}, r"field 'answer' is None"),
    ],
)  # fmt: skip
def test_questions_that_are_refused(tmp_path, row, words):
    with pytest.raises(UserError, match=r"d\.jsonl:1: " + words) as caught:
        read(tmp_path, row)
    if "prompt" in row:
        assert "or 'prompt'" not in str(caught.value)


@pytest.mark.parametrize("domain", ["math", "code"])
def test_what_a_row_holds_tells_its_domain(tmp_path, domain):
    tests = {"kind": "stdin", "cases": [{"input": "1", "output": "1"}]}
    rows = [{name: "p", "answer": "1"} for name in ("prompt", "problem", "question")]
    rows += [{name: "p", "tests": tests} for name in ("prompt", "problem", "question")]
    assert [p.domain for p in read(tmp_path, *rows, domain=domain)] == ["math"] * 3 + ["code"] * 3


def test_a_row_that_has_its_columns_is_read_by_them(tmp_path):
    (problem,) = read(tmp_path, {"problem": "p", "answer": "1", "ID": "x", "Answer": "2", "Question": "q"})
    assert (problem.id, problem.prompt, problem.answer) == ("d/1", "p", ("1",))
    (problem,) = read(tmp_path, {"ID": "x", "Problem": "p", "Answer": "1"})
    assert problem.id == "x"


def test_columns_that_were_not_used_stay_in_meta(tmp_path):
    row = {"problem": "p", "answer": "1", "query": "q", "final_answer": "one", "body": "b", "level": 5}
    (problem,) = read(tmp_path, row)
    assert (problem.prompt, problem.answer) == ("b\n\np", ("1",))
    kept = {name: value for name, value in problem.meta.items() if name in row}
    assert kept == {"query": "q", "final_answer": "one", "level": 5}


@pytest.mark.parametrize("name", ["prompt", "problem", "question"])
@pytest.mark.parametrize("tests", [None, {}, [], ""])
def test_a_column_without_tests_is_none(tmp_path, name, tests):
    (problem,) = read(tmp_path, {name: "p", "answer": "1", "tests": tests})
    assert (problem.domain, problem.answer) == ("math", ("1",))


def test_a_domain_that_is_judged_by_answers_too_is_kept(tmp_path, monkeypatch):
    from acejax.problems.problem import DOMAINS

    monkeypatch.setitem(DOMAINS, "choice", DOMAINS["math"])
    rows = [{name: "p", "answer": "B"} for name in ("prompt", "problem")]
    assert [p.domain for p in read(tmp_path, *rows, domain="choice")] == ["choice"] * 2
    assert [p.domain for p in read(tmp_path, *[row | {"domain": "choice"} for row in rows])] == ["choice"] * 2
    (topic,) = read(tmp_path, {"problem": "p", "answer": "1", "domain": "Algebra"})
    assert (topic.domain, topic.meta["domain"]) == ("math", "Algebra")
