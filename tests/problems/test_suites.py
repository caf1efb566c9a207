"""Tests of programs in the shapes in which they come: nulls, assertions, wrapped results, integers as keys, and our own
form beside a question of any name.
"""

import itertools
import json

import pytest

from acejax.errors import UserError
from acejax.problems.formats.asserts import returned_depth
from acejax.problems.readers import read_problems

CASES = [{"input": "1\n", "output": "2\n"}]
CALLS = [{"args": [1], "output": 2}]
STDIN = {"kind": "stdin", "cases": CASES}
FUNCTION = {"kind": "function", "fn_name": "f", "cases": CALLS}
SCRIPT = {"kind": "script", "entry_point": "f", "script": "def check(f):\n    assert f(1) == 2\n"}
MESSAGES = [{"role": "user", "content": "p"}]


def read(tmp_path, *rows, domain="math"):
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_problems(path, domain=domain)


def refused(tmp_path, row, words):
    with pytest.raises(UserError, match=r"d\.jsonl:1: " + words) as caught:
        read(tmp_path, row)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def function(case):
    return {"kind": "function", "fn_name": "f", "cases": [case]}


def test_our_own_form_whatever_the_question_is_called(tmp_path):
    names = ("problem", "question", "prompt", "query", "messages")
    for name, tests, as_text, domain in itertools.product(
        names, (STDIN, FUNCTION, SCRIPT), (False, True), (None, "code")
    ):
        row = {name: MESSAGES if name == "messages" else "p", "tests": json.dumps(tests) if as_text else tests}
        if domain:
            row["domain"] = domain
        for default in ("math", "code"):
            (problem,) = read(tmp_path, row, domain=default)
            assert (problem.domain, problem.prompt, problem.tests) == ("code", "p", tests)


@pytest.mark.parametrize("question", ["problem", "question", "prompt"])
def test_limits_and_starter_code_beside_tests(tmp_path, question):
    row = {question: "p", "tests": STDIN, "time_limit_s": 2.5, "memory_limit_mb": 64, "starter_code": "x = 1"}
    row |= {"id": "i", "source": "s", "meta": {"own": 1}}
    (problem,) = read(tmp_path, row)
    limits = problem.time_limit_s, problem.memory_limit_mb, problem.starter_code
    assert limits == (2.5, 64, "x = 1")
    assert (problem.id, problem.source, problem.meta["own"]) == ("i", "s", 1)
    refused(tmp_path, row | {"time_limit_s": "soon"}, "field 'time_limit_s' is 'soon'")


@pytest.mark.parametrize(
    ("tests", "kind"),
    [
        ({"cases": CASES}, "stdin"),
        ({"fn_name": "f", "cases": CALLS}, "function"),
        ({"entry_point": "f", "script": "def check(f): pass"}, "script"),
        ({"kind": None, "cases": CASES, "fn_name": None}, "stdin"),
    ],
)
def test_a_kind_that_is_not_named_is_told_by_the_fields(tmp_path, tests, kind):
    assert [p.tests["kind"] for p in read(tmp_path, {"prompt": "p", "tests": tests})] == [kind]


@pytest.mark.parametrize("question", ["problem", "question", "prompt"])
@pytest.mark.parametrize(
    ("tests", "words"),
    [
        ({"kind": "io", "cases": CASES}, "field 'tests' has kind 'io'; give one of stdin, function, script"),
        ({"kind": ["stdin"], "cases": CASES}, "field 'tests' has kind None; give one of"),
        ({"kind": "stdin"}, "field 'tests.cases' is None; tests of kind 'stdin' need it"),
        ({"kind": "stdin", "cases": []}, r"field 'tests.cases' is \[\]; tests of kind 'stdin' need it"),
        ({"kind": "function", "cases": CALLS}, "field 'tests.fn_name' is None"),
        ({"kind": "function", "fn_name": "f", "cases": []}, r"field 'tests.cases' is \[\]"),
        ({"kind": "stdin", "cases": "x"}, "field 'tests.cases' is str; give a list"),
        ({"kind": "stdin", "cases": [1]}, r"field 'tests.cases\[0\]' lacks input and output"),
        ({"kind": "stdin", "cases": [{"input": "1"}]}, r"field 'tests.cases\[0\]' lacks output"),
        ({"kind": "stdin", "cases": [*CASES, {"input": "1", "output": None}]}, r"cases\[1\]' has the output None"),
        (function({"args": 1, "output": 1}), r"field 'tests.cases\[0\]' has args"),
        (function({"args": "ab", "output": 1}), r"field 'tests.cases\[0\]' has args"),
        (function({"kwargs": [1], "output": 1}), r"field 'tests.cases\[0\]' has args"),
        (function({"args": None, "output": 1}), "lacks args or kwargs"),
        (function({"args": [1]}), "lacks output"),
    ],
)  # fmt: skip
def test_tests_of_ours_that_cannot_be_judged(tmp_path, question, tests, words):
    refused(tmp_path, {question: "p", "tests": tests}, ".*" + words)


NULL_INPUTS = [None, [None], ["", None]]


@pytest.mark.parametrize("given", NULL_INPUTS)
@pytest.mark.parametrize(
    "row",
    [
        lambda given, wanted: {
            "prompt": "p",
            "tests": {"kind": "stdin", "cases": [{"input": given, "output": wanted}]},
        },
        lambda given, wanted: {"problem": "p", "tests": [{"input": given, "output": wanted}]},
        lambda given, wanted: {"problem": "p", "tests": {"inputs": [given], "outputs": [wanted]}},
        lambda given, wanted: {"question": "p", "input_output": {"inputs": [given], "outputs": [wanted]}},
        lambda given, wanted: {
            "prompt": MESSAGES,
            "ability": "code",
            "reward_model": {"ground_truth": json.dumps({"inputs": [given], "outputs": [wanted]})},
        },
        lambda given, wanted: {"description": "p", "public_tests": {"input": [given], "output": [wanted]}},
    ],
)
def test_nothing_is_no_text(tmp_path, row, given):
    """A program with no input reads an empty one, and an output that is not known is no expectation."""
    (problem,) = read(tmp_path, row(given, "4\n"))
    (case,) = problem.tests["cases"]
    assert "None" not in str(case) and not "".join(case["input"]).strip() and case["output"] == "4\n"
    refused(tmp_path, row("1", None), ".*(output None|no expected output)")
    (problem,) = read(tmp_path, row("1", ""))
    assert problem.tests["cases"][0]["output"] == ""


def test_a_function_may_return_nothing(tmp_path):
    own = {"kind": "function", "fn_name": "f", "cases": [{"args": [1], "output": None}]}
    apps = {"fn_name": "f", "inputs": [[1], [2]], "outputs": [None, None]}
    first, second = read(tmp_path, {"prompt": "p", "tests": own}, {"question": "p", "input_output": apps})
    assert first.tests == own
    assert [case["output"] for case in second.tests["cases"]] == [None, None]


def verl(truth):
    return {"prompt": MESSAGES, "ability": "code", "reward_model": {"ground_truth": json.dumps(truth)}}


ADDS = {"kind": "function", "fn_name": "add", "cases": [{"args": [1, 2], "output": 3}, {"args": [0, 0], "output": 0}]}
ASSERTIONS = ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]


@pytest.mark.parametrize(
    "filled",
    [
        {},
        {"inputs": None, "outputs": None},
        {"inputs": ["", ""], "outputs": [None, None]},
        {"inputs": [None, None], "outputs": ["", ""]},
        {"inputs": ["", ""], "outputs": ["", ""], "fn_name": "add"},
        {"inputs": [], "outputs": []},
    ],
)
@pytest.mark.parametrize(
    "assertions",
    [
        ASSERTIONS,
        ["\n".join(ASSERTIONS)],
        "\n".join(ASSERTIONS),
        ["", *ASSERTIONS, None],
        ["assert Solution().add(1, 2) == 3", "assert Solution().add(0, 0) == 0, 'zero'"],
    ],
)
def test_assertions_are_tests(tmp_path, assertions, filled):
    (problem,) = read(tmp_path, verl({"assert_case": assertions} | filled))
    assert problem.tests == ADDS


def test_a_list_of_assertions_is_a_suite(tmp_path):
    for question in ("problem", "question", "prompt"):
        for tests in (ASSERTIONS, json.dumps(ASSERTIONS)):
            (problem,) = read(tmp_path, {question: "p", "tests": tests})
            assert (problem.domain, problem.tests) == ("code", ADDS)
    refused(tmp_path, {"problem": "p", "tests": ["1 2", "3"]}, "field 'tests'")


@pytest.mark.parametrize(
    "assertions",
    [
        ["assert abs(add(1, 2) - 3) < 1e-9"],
        ["import math", "assert add(1, 2) == math.sqrt(9)"],
        ["assert add(1, 2) == 3", "assert add(add(0, 0), 0) == 0"],
        ["assert add(1, 2) == 3", "assert not add(0, 0)"],
        ["x = add(1, 2)", "assert x == 3"],
        ["for n in range(3):\n    assert add(n, 0) == n"],
    ],
)
def test_assertions_of_other_forms_are_a_script(tmp_path, assertions):
    (problem,) = read(tmp_path, verl({"assert_case": assertions}))
    assert (problem.tests["kind"], problem.tests["entry_point"]) == ("script", "add")
    names = {}
    program = f"def add(a, b): return a + b\n{problem.tests['script']}\ncheck(add)"
    exec(program, names)
    with pytest.raises(AssertionError):
        exec(program.replace("a + b", "a + b + 1"), names)


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        ({"assert_case": ASSERTIONS, "inputs": ["1", "2"], "outputs": ["3", "4"]}, "cannot both be judged"),
        ({"assert_case": ASSERTIONS, "inputs": ["", ""], "outputs": ["3", "4"]}, "cannot both be judged"),
        ({"assert_case": ["assert 1 == 1"]}, "give assertions that call the function"),
        ({"assert_case": ["assert add(1"]}, "is not a Python program"),
    ],
)
def test_assertions_that_cannot_be_judged(tmp_path, truth, words):
    refused(tmp_path, verl(truth), "field 'reward_model.ground_truth.assert_case'.*" + words)


def apps(inputs, outputs, starter=""):
    return {
        "question": "p",
        "starter_code": starter,
        "input_output": {"fn_name": "f", "inputs": inputs, "outputs": outputs},
    }


def method(result):
    return f"class Solution:\n    def f(self, xs: List[int]) -> {result}:\n        "


@pytest.mark.parametrize(
    ("outputs", "starter", "wanted"),
    [
        # Nothing says whether results were wrapped: either is right, as APPS judges.
        ([[2], [3]], "", [(2, [2]), (3, [3])]),
        ([["a"], ["b"]], "def f(x):", [("a", ["a"]), ("b", ["b"])]),
        ([[[1]], [[3]]], "", [([1], [[1]]), ([3], [[3]])]),
        ([[None], [1]], "", [(None, [None]), (1, [1])]),
        # The starter code says what the function returns.
        ([[2], [3]], method("List[int]"), [([2],), ([3],)]),
        ([[[2]], [[3]]], method("List[int]"), [([2],), ([3],)]),
        ([[[2]], [[3]]], method("List[List[int]]"), [([[2]],), ([[3]],)]),
        ([[2], [3]], method("int"), [(2,), (3,)]),
        ([["x"], ["y"]], method("str"), [("x",), ("y",)]),
        ([[2], [3]], method("Optional[int]"), [(2,), (3,)]),
        # Not all of them are lists of one, so none was wrapped.
        ([[2], [3, 4]], "", [([2],), ([3, 4],)]),
        ([2, [3]], "", [(2,), ([3],)]),
        ([2, 3], "", [(2,), (3,)]),
    ],
)  # fmt: skip
def test_results_in_lists_of_one(tmp_path, outputs, starter, wanted):
    (problem,) = read(tmp_path, apps([[1], [2]], outputs, starter))
    found = [tuple(case[name] for name in ("output", "or_output") if name in case) for case in problem.tests["cases"]]
    assert found == wanted


@pytest.mark.parametrize(
    ("annotation", "depth"),
    [
        ("int", 0), ("str", 0), ("None", 0), ("List[int]", 1), ("list[str]", 1), ("List", 1), ("List[List[int]]", 2),
        ("typing.List[int]", 1), ("Optional[List[int]]", 1), ("Optional[int]", 0), ("'List[int]'", 1), ("Any", None),
        ("Dict[str, int]", None), ("Tuple[int, int]", None), ("Optional[TreeNode]", None), ("List[TreeNode]", None),
    ],
)  # fmt: skip
def test_how_deep_a_stated_result_is(annotation, depth):
    assert returned_depth(f"def f(self, a: List[int],\n  b: int = 2) -> {annotation}:\n    pass", "f") == depth
    assert returned_depth("def f(x):\n    pass", "f") is None
    assert returned_depth(f"def g(x) -> {annotation}: pass", "f") is None


@pytest.mark.parametrize(
    ("inputs", "kinds"),
    [
        ([[{"1": 2}], [{"3": 4, "-5": 6}]], ["IntKeys"]),
        ([[1, {"1": 2}], [2, {"0": 4}]], [None, "IntKeys"]),
        ([[{"1": 2}], [{}]], ["IntKeys"]),
        ([[{"1": 2}], [{"a": 4}]], None),
        ([[{"01": 2}], [{"2": 4}]], None),
        ([[{}], [{}]], None),
        ([[{"1.5": 2}], [{"2": 4}]], None),
        ([[5], [{"2": 4}]], None),
    ],
)
def test_integers_as_keys(tmp_path, inputs, kinds):
    (problem,) = read(tmp_path, apps(inputs, [1, 2]))
    assert problem.tests.get("types") == (None if kinds is None else {"args": kinds})
    assert [case["args"] for case in problem.tests["cases"]] == inputs
