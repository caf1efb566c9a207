"""Datasets as others publish them: what each row of the made-up fixtures becomes, and which rows are refused with which
words.
"""

import base64
import json
import pickle
import zlib
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.problems.readers import read_problems, write_records

FIXTURES = Path(__file__).parent / "fixtures"
CHECK = "def check(candidate):\n    {}\n\ncheck(Solution().f)"


def stdin(*pairs):
    return {"kind": "stdin", "cases": [{"input": given, "output": wanted} for given, wanted in pairs]}


def calls(name, *cases, **types):
    return {"kind": "function", "fn_name": name, "cases": list(cases)} | ({"types": types} if types else {})


def call(*args, to, **kwargs):
    return {"args": list(args), "output": to} | ({"kwargs": kwargs} if kwargs else {})


def wrapped(*args, to):
    """A call whose result stood in a list of one; the data set does not say whether it was wrapped: both are right."""
    return call(*args, to=to) | {"or_output": [to]}


MATH = {
    "gsm8k": [("1200",), ("5",)],
    "gsm8k_solution": [("3",)],
    "deepscaler": [("\\frac{3}{2}",), ("2",)],
    "acereason_math": [("4",), ("[0, 1]",)],
    "amc": [("27",)],
    "minerva": [("9.6", "9.60")],
    "verl": [("42",), ("[-1, 1]",)],
    "skywork_or1": [("\\frac{1}{2}", "0.5")],
    "eurus_2": [("2",)],
}
CODE = {
    "skywork_or1": [calls("add", call(to=3, a=1, b=2), call(to=0, a=-1, b=1)), stdin(("2\n", "4\n"), ("-1\n", "-2\n"))],
    "eurus_2": [calls("f", wrapped("ab", to="abab"), wrapped("", to=""))],
    "taco": [stdin(("1 2\n", "3\n"), ("3 4", "7")), calls("keep", wrapped([1, 2], to=[1]), wrapped([3], to=[3]))],
    "apps": [calls("neg", call(1, to=-1), call(0, to=0))],
    "code_contests": [stdin(("a\n", "a\n"), ("b c\n", "b c\n"), ("d\n", "d\n"))],
    "code_contests_plain": [stdin(("a\n", "a\na\n"))],
    "leetcode": [
        calls("addUp", call(to=True, nums=[1, -2], k=2.5), call(to=None, nums=[], k=0)),
        calls(
            "turn",
            call(to=[2, 1], head=[1, 2], k=1),
            call(to=[], head=None, k=0),
            kwargs={"head": "ListNode"},
            output="ListNode",
        ),
        calls("mirror", call([1, None, 2], to=[1, 2]), args=["TreeNode"], output="TreeNode"),
        calls("depth", call(to=2, root=[1, None, 2]), kwargs={"root": "TreeNode"}),
    ],
    "leetcode_columns": [calls("add", call(to=3, a=1, b=2))],
    "livecodebench": [
        stdin(("1\n", "2\n"), ("5\n", "10\n")),
        calls("join", call(["a", "b"], 2, to="ab"), call([], 0, to="")),
    ],
    "deepcoder_taco": [stdin(("1 2\n", "3\n"))],
    "deepcoder_primeintellect": [calls("inc", wrapped(1, to=2), wrapped(-1, to=0)), stdin(("x\n", "x\n"))],
    "deepcoder_lcbv5": [calls("even", call(4, to=True), call(3, to=False))],
    "codeforces": [stdin(("ab\n", "ab\n"), ("c\n", "c\n"))],
}
FORMATS = {
    "gsm8k": ("gsm8k", "####"),
    "amc": ("problem and answer", "number"),
    "minerva": ("problem and answer", "list"),
    "verl": ("verl", "text"),
    "skywork_or1": ("verl", "list in a string"),
    "taco": ("apps", "inputs and outputs"),
    "code_contests": ("code_contests", "inputs and outputs"),
    "leetcode": ("leetcode", "check(candidate)"),
    "livecodebench": ("livecodebench", "pickled list of tests"),
    "deepcoder_lcbv5": ("problem and tests", "list of tests"),
    "codeforces": ("codeforces", "list of tests"),
    "humaneval": ("humaneval", "check(candidate)"),
    "mbpp": ("mbpp", "assertions"),
}
SCRIPTS = ("humaneval", "mbpp", "mbpp_sanitized", "mbpp_plus")


def fixture(name):
    return read_problems(FIXTURES / f"{name}.jsonl")


def test_every_fixture_is_looked_at():
    assert {path.stem for path in FIXTURES.iterdir()} == {*MATH, *CODE, *SCRIPTS}


@pytest.mark.parametrize("name", MATH)
def test_mathematics(name):
    assert [problem.answer for problem in fixture(name) if problem.domain == "math"] == MATH[name]


@pytest.mark.parametrize("name", CODE)
def test_programs(name):
    assert [problem.tests for problem in fixture(name) if problem.domain == "code"] == CODE[name]


@pytest.mark.parametrize("name", FORMATS)
def test_format_and_answer_format_are_recorded(name):
    meta = fixture(name)[0].meta
    assert (meta["format"], meta["answer_format"]) == FORMATS[name]


@pytest.mark.parametrize("path", sorted(FIXTURES.iterdir()), ids=lambda path: path.stem)
def test_parquet_gives_the_same_and_our_records_keep_it(path, tmp_path):
    problems = read_problems(path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / f"{path.stem}.parquet")
    assert read_problems(tmp_path / f"{path.stem}.parquet") == problems
    for suffix in (".jsonl", ".parquet"):
        write_records(tmp_path / f"own{suffix}", problems)
        assert read_problems(tmp_path / f"own{suffix}") == problems


def run_script(problem, solution):
    names = {}
    exec(f"{solution}\n{problem.tests['script']}\ncheck({problem.tests['entry_point']})", names)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("humaneval", "def quarters(xs): return [x // 4 for x in xs]", "def quarters(xs): return xs"),
        ("mbpp", "def square(x): return x * x", "def square(x): return x + x + x"),
        ("mbpp_sanitized", "def both(a, b): return a | b", "def both(a, b): return a & b"),
        ("mbpp_plus", "def inc(x): return x + 1", "def inc(x): return 2 * x"),
    ],
)
def test_scripts_for_evaluation(name, right, wrong):
    (problem,) = fixture(name)
    assert problem.tests["kind"] == "script"
    run_script(problem, right)
    with pytest.raises(AssertionError):
        run_script(problem, wrong)


def test_what_else_a_row_says():
    taco, contest, force, lcb = (fixture(name)[0] for name in ("taco", "code_contests", "codeforces", "livecodebench"))
    assert (taco.time_limit_s, taco.memory_limit_mb, taco.meta["difficulty"]) == (1.5, 256, "EASY")
    assert (contest.id, contest.source, contest.time_limit_s, contest.memory_limit_mb) == (
        "17_A. Echo",
        "made",
        1.5,
        256,
    )
    assert (force.id, force.time_limit_s, force.memory_limit_mb, force.meta["rating"]) == ("9/A", 2.0, 64, 800)
    assert [force.prompt.find(word) for word in ("Print what", "One word", "The word", "ab", "Short")] == sorted(
        force.prompt.find(word) for word in ("Print what", "One word", "The word", "ab", "Short")
    )
    assert "-1" not in force.prompt and lcb.meta["contest_date"] == "2024-09-01T00:00:00"
    assert fixture("livecodebench")[1].starter_code.startswith("class Solution")
    assert "assert square(3) == 9" in fixture("mbpp")[0].prompt  # nothing else names the function


def test_the_question_of_a_verl_row():
    first, second = fixture("verl")
    assert (first.prompt, first.source) == (
        "What is 6 times 7?",
        "made/gsm8k",
    )  # the instruction is another framework's
    assert second.prompt == "Between which numbers does sin lie?"
    eurus, _ = fixture("eurus_2")
    assert eurus.prompt == "Solve x + 1 = 3." and eurus.meta["extra_info"] == {"index": 0, "split": "dummy"}


MESSAGES = [{"role": "user", "content": "p"}]


@pytest.mark.parametrize(
    ("truth", "answer", "form"),
    [
        ("['\\\\frac{1}{2}', '0.5']", ("\\frac{1}{2}", "0.5"), "list in a string"),
        ('["a", 2.0]', ("a", "2"), "list in a string"),
        ('["a", ', ('["a",',), "text"),
        ("[1, 2)", ("[1, 2)",), "text"),
        (["1", "2"], ("1", "2"), "list"),
        (7.0, ("7",), "number"),
        ("{1, 2}", ("{1, 2}",), "text"),
    ],
)
def test_ground_truths(tmp_path, truth, answer, form):
    row = {
        "prompt": MESSAGES,
        "reward_model": {"ground_truth": truth},
        "extra_info": {"question": "another"},
        "meta": {"own": 1},
    }
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(row))
    (problem,) = read_problems(path)
    assert (problem.answer, problem.prompt) == (answer, "p")
    assert problem.meta == {"own": 1, "format": "verl", "answer_format": form, "extra_info": {"question": "another"}}


def refused(tmp_path, row, words):
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=r"bad\.jsonl:1: " + words) as caught:
        read_problems(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("assert candidate(1) < 2", "line 2 .*neither"),
        ("assert not candidate(1)", "line 2 .*neither"),
        ("assert sorted(candidate(1)) == [1]", r"line 2 .*is not candidate\(...\) itself"),
        ("x = 1\n    assert candidate(x) == 1", "line 2 .*assign is not an assertion"),
        ("assert candidate(x) == 1", "line 2 .*x is not a literal"),
        ("assert candidate(1) == {1: 2}", "not a literal that JSON can hold"),
        ("assert candidate(1) == {1, 2}", "not a literal that JSON can hold"),
        ("assert candidate(1) == 1e999", "not a literal that JSON can hold"),
        ("assert candidate(**{'a': 1}) == 1", "unpacked"),
        ("assert candidate(list_node(1)) == 1", "list_node is given no list"),
        ("assert candidate(1) == list_node([1])", "equal to themselves only"),
        ("assert is_same_list(candidate(1), tree_node([1]))", "something else than a ListNode"),
        ("assert is_same_tree(candidate(1), [1])", "something else than a TreeNode"),
        (
            "assert candidate(x=list_node([1])) == 1\n    assert candidate(x=[1]) == 1",
            "a node in some tests and not in others",
        ),
        ("assert __import__('os').system('true') == 0", r"is not candidate\(...\) itself"),
        ("assert candidate(__import__('os').system('true')) == 0", "not a literal"),
        ("assert candidate(1 ==", "not a Python program"),
    ],
)
def test_assertions_of_unknown_form_are_refused(tmp_path, body, words):
    refused(
        tmp_path, {"problem": "p", "tests": {"functional": CHECK.format(body)}}, r"field 'tests.functional'.*" + words
    )


def packed(data):
    return base64.b64encode(zlib.compress(data)).decode()


class Hostile:
    def __reduce__(self):
        return (print, ("a pickle was run",))


LCB = {"question_content": "p", "public_test_cases": "[]"}
CASES = json.dumps([{"input": "1", "output": "2", "testtype": "stdin"}])


@pytest.mark.parametrize(
    ("private", "words"),
    [
        (packed(pickle.dumps(Hostile())), "a pickle with .*not of one string"),
        (packed(pickle.dumps([CASES])), "a pickle with EMPTY_LIST"),
        (packed(pickle.dumps({CASES: 1})), "a pickle with EMPTY_DICT"),
        (packed(pickle.dumps(CASES)[:-1]), "not a whole pickle"),
        (packed(b"cos\nsystem\n"), "a pickle with GLOBAL"),
        (packed(b"V[]\nV[]\n."), "a pickle of 2 strings"),
        (packed(b"."), "a pickle of 0 strings"),
        (packed(pickle.dumps(CASES))[:-8], "neither JSON nor|is cut"),
        ("?" * 8, "neither JSON nor base64"),
        (packed(pickle.dumps("{}")), "is {}; give a list of tests"),
        (packed(pickle.dumps("[1")), "not valid JSON text"),
        (
            packed(pickle.dumps(json.dumps([{"input": "1", "output": "2", "testtype": "functional"}]))),
            "a function need its name",
        ),
    ],
)
def test_private_tests_are_unpacked_without_running_anything(tmp_path, capfd, private, words):
    refused(tmp_path, LCB | {"private_test_cases": private}, ".*" + words)
    assert "a pickle was run" not in capfd.readouterr().out


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_private_tests_of_every_pickle_protocol(tmp_path, protocol):
    path = tmp_path / "lcb.jsonl"
    path.write_text(json.dumps(LCB | {"private_test_cases": packed(pickle.dumps(CASES, protocol))}))
    assert read_problems(path)[0].tests == stdin(("1", "2"))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"prompt": MESSAGES, "reward_model": {"ground_truth": None}, "ability": "math"},
            r"field 'reward_model.ground_truth' is None",
        ),
        (
            {"prompt": MESSAGES, "reward_model": {"ground_truth": "2"}, "ability": "code"},
            r"field 'reward_model.ground_truth' is 2; give inputs",
        ),
        (
            {"prompt": MESSAGES * 2, "reward_model": {"ground_truth": "2"}},
            "field 'prompt' is .*one message of the user",
        ),
        ({"question": "p", "input_output": ""}, "field 'input_output' is None"),
        ({"question": "p", "input_output": "{"}, "field 'input_output' is not valid JSON"),
        (
            {"question": "p", "input_output": {"inputs": ["1"], "outputs": []}},
            "field 'input_output' is .*give inputs and outputs",
        ),
        (
            {"question": "p", "input_output": {"inputs": ["1", "2"], "outputs": ["1"]}},
            "field .input_output. has 2 inputs and 1 outputs",
        ),
        (
            {"question": "p", "input_output": {"fn_name": "f", "inputs": [1], "outputs": [1]}},
            "field .input_output., test 1: input is 1; give the list",
        ),
        (
            {"problem": "p", "tests": [{"input": "x", "output": "1", "fn_name": "f"}]},
            "field .tests., test 1: input or output is not JSON",
        ),
        ({"problem": "p", "tests": []}, r"field 'tests' is \[\]"),
        (
            {"problem": "p", "tests": [{"input": [1], "output": 1, "fn_name": n} for n in "fg"]},
            r"field 'tests' is \['f', 'g'\]",
        ),
        (
            {"problem": "p", "tests": [{"input": "1", "output": "1", "testtype": "functional"}]},
            "field 'tests' is .*need its name",
        ),
        (
            {"description": "p", "public_tests": {"input": [], "output": []}, "private_tests": {"input": []}},
            "field 'private_tests'",
        ),
        (
            {"description": "p", "input_format": "x", "time_limit": -1},
            "field 'time_limit' is -1; give a number above 0",
        ),
        (
            {"description": "p", "input_format": "x", "generated_checker": "import sys"},
            "field 'generated_checker' is .*one right output",
        ),
        ({"description": "p", "input_format": "x", "interaction_format": "ask"}, "field 'interaction_format'"),
        ({"description": "p", "input_format": "x", "input_mode": "file"}, "field 'input_mode' is 'file'"),
        (
            {"description": "p", "public_tests": {"input": ["1"], "output": []}},
            "field 'public_tests' is .*give inputs and outputs",
        ),
        (
            {"description": "p", "public_tests": {"input": ["1"], "output": ["1"]}, "output_file": "o.txt"},
            "field 'output_file' is 'o.txt'",
        ),
        (
            {"prompt": "def f():\n    '''x'''", "test": "assert f()", "entry_point": "f"},
            r"field 'test' .*defines check\(candidate\)",
        ),
        ({"text": "p", "test_list": ["assert g(1)"], "code": "def f(x): pass"}, r"field 'test_list' .*found f"),
        (
            {"prompt": "p", "domain": "code", "tests": {"kind": "stdin", "cases": [{"input": "1"}]}},
            r"field 'tests.cases\[0\]' lacks output",
        ),
        (
            {"prompt": "p", "domain": "code", "tests": calls("f", {"output": 1})},
            r"field 'tests.cases\[0\]' lacks args or kwargs",
        ),
        (
            {"prompt": "p", "domain": "code", "tests": calls("f", call(1, to=1), args=["Node"])},
            r"field 'tests.types' is .*ListNode or TreeNode",
        ),
    ],
)
def test_bad_rows_are_named_by_field(tmp_path, row, words):
    refused(tmp_path, row, words)


JUNK = [
    None,
    "x",
    "",
    0,
    7,
    -1,
    2.5,
    True,
    [],
    [1],
    ["x"],
    {},
    {"a": 1},
    [{}],
    [[1]],
    "{}",
    "[1]",
    "[{}]",
    '{"inputs": [1], "outputs": [1]}',
]


@pytest.mark.parametrize("path", sorted(FIXTURES.iterdir()), ids=lambda path: path.stem)
def test_any_field_may_hold_anything(path, tmp_path):
    """Whatever stands in a field, at the top or one level down, the row is read or refused with its line: nothing else
    is raised.
    """
    rows = []
    for row in map(json.loads, path.read_text().splitlines()):
        for field in row:
            inner = list(row[field]) if isinstance(row[field], dict) else []
            rows += [row | {field: junk} for junk in JUNK] + [
                row | {field: row[field] | {name: junk}} for name in inner for junk in JUNK
            ]
    (tmp_path / "junk.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    messages: list[str] = []
    read_problems(tmp_path / "junk.jsonl", refused=messages)
    assert messages
    for message in messages:
        assert "junk.jsonl:" in message and "\n" not in message and len(message) < 500


def test_bad_rows_can_be_collected(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text('{"problem": "p", "answer": "1"}\n{"problem": "q"}\n')
    messages = []
    assert [p.id for p in read_problems(path, refused=messages)] == ["d/1"]
    assert len(messages) == 1 and "d.jsonl:2: field 'answer'" in messages[0]


def test_a_row_of_ours_stays_as_it_is(tmp_path):
    problem = Problem("a", "code", "p", "s", tests=stdin(("1", "2")), meta={"own": [1]})
    write_records(tmp_path / "p.jsonl", [problem])
    assert read_problems(tmp_path / "p.jsonl") == [problem]
