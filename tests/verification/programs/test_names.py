"""Only what a program itself defines answers, and no name of a solution collides with one of its test program."""

import pytest

from acejax.problems.problem import Problem
from acejax.verification.programs.judge import judge_code, judge_program

# A function that the prelude or the builtins have, arguments, and the right result.
PROVIDED = [
    ("gcd", [12, 18], 6),
    ("lcm", [4, 6], 12),
    ("factorial", [5], 120),
    ("comb", [5, 2], 10),
    ("perm", [5, 2], 20),
    ("isqrt", [17], 4),
    ("sqrt", [9.0], 3.0),
    ("floor", [2.5], 2),
    ("ceil", [2.5], 3),
    ("prod", [[2, 3, 4]], 24),
    ("hypot", [3.0, 4.0], 5.0),
    ("add", [1, 2], 3),
    ("sub", [1, 2], -1),
    ("mul", [3, 4], 12),
    ("mod", [7, 4], 3),
    ("xor", [5, 3], 6),
    ("neg", [4], -4),
    ("concat", [[1], [2]], [1, 2]),
    ("contains", [[1, 2], 2], True),
    ("countOf", [[1, 1, 2], 1], 2),
    ("indexOf", [[4, 5], 5], 1),
    ("nlargest", [2, [1, 5, 3]], [5, 3]),
    ("nsmallest", [2, [1, 5, 3]], [1, 3]),
    ("bisect_left", [[1, 3, 5], 3], 1),
    ("bisect_right", [[1, 3, 5], 3], 2),
    ("reduce", [None, [1]], 1),
    ("Counter", ["aab"], {"a": 2, "b": 1}),
    ("OrderedDict", [[["a", 1]]], {"a": 1}),
    ("deepcopy", [[1, [2]]], [1, [2]]),
    ("copy", [[1, [2]]], [1, [2]]),
    ("capwords", ["a b"], "A B"),
    ("cast", [None, 3], 3),
    ("sum", [[1, 2]], 3),
    ("max", [[1, 2]], 2),
    ("abs", [-2], 2),
    ("sorted", [[2, 1]], [1, 2]),
    ("build", [3, None], 3),
    ("flatten", [3, None], 3),
    ("find", [{"a": 1}, "a"], 1),
]
NOTHING = {
    "nothing": "pass",
    "a comment": "# I cannot solve this",
    "imports": "import math, operator, heapq, collections, copy, functools, itertools, bisect, string, typing",
    "imports of everything": "\n".join(
        f"from {module} import *"
        for module in ("collections", "itertools", "heapq", "bisect", "string", "operator", "math", "copy", "builtins")
    ),
    "a class without the method": "class Solution:\n    pass",
    "another function": "def another(*args):\n    return None",
    "only inside": "def another():\n    from math import gcd, lcm, factorial\n    from operator import add, sub",
    "removed": "f = 1\ndel f",
}


def judged(sandbox, program, tests):
    return judge_program(program, Problem("p", "code", "q", tests=tests), sandbox)[:2]


def function(name, args, output):
    return {"kind": "function", "fn_name": name, "cases": [{"args": args, "output": output}]}


def script(name, text):
    return {"kind": "script", "entry_point": name, "script": text}


@pytest.mark.parametrize("way", NOTHING)
def test_the_harness_does_not_answer_for_a_function(sandbox, way):
    for name, args, output in PROVIDED:
        assert judged(sandbox, NOTHING[way], function(name, args, output)) == ("wrong", "runtime_error"), name


@pytest.mark.parametrize("way", NOTHING)
def test_the_harness_does_not_answer_for_a_test_program(sandbox, way):
    for name, args, output in PROVIDED:
        call = f"{name}(*{args!r}) == {output!r}"
        for text in (
            f"def check(candidate):\n    assert {call}",  # as MBPP's assertions
            f"def check(candidate):\n    assert candidate(*{args!r}) == {output!r}",  # as HumanEval's
            f"assert {call}\ndef check(candidate):\n    pass",  # as EvalPlus's
        ):
            assert judged(sandbox, NOTHING[way], script(name, text)) == ("wrong", "runtime_error"), name


def test_what_a_program_defines_or_imports_itself_answers(sandbox):
    for program in (
        "def gcd(a, b):\n    while b:\n        a, b = b, a % b\n    return a",
        "class Solution:\n    def gcd(self, a, b):\n        return math.gcd(a, b)",
        "class Solution:\n    pass\ndef gcd(a, b):\n    return math.gcd(a, b)",
        "from math import gcd",
        "import math\ngcd = math.gcd",
        "exec('def gcd(a, b):\\n    return math.gcd(a, b)')",
        "from math import *\nfrom functools import partial\ngcd = partial(gcd)",
        "gcd = lambda a, b: a if not b else gcd(b, a % b)",
        "if True:\n    def gcd(a, b):\n        return math.gcd(a, b)",
        "def outer():\n    global gcd\n    def gcd(a, b):\n        return math.gcd(a, b)\nouter()",
    ):
        assert judged(sandbox, program, function("gcd", [12, 18], 6)) == ("correct", "ok"), program
    wrong = "def gcd(a, b):\n    return 1"
    assert judged(sandbox, wrong, function("gcd", [12, 18], 6)) == ("wrong", "wrong_output")
    by_name = script("gcd", "def check(candidate):\n    assert gcd(12, 18) == 6")
    assert judged(sandbox, wrong, by_name) == ("wrong", "runtime_error")
    assert judged(sandbox, "from math import gcd", by_name) == ("correct", "ok")


@pytest.mark.parametrize(
    "body",
    [
        "Counter('aab')['a'] + len(deque([1])) + gcd(4, 6)",
        "math.lcm(1, 5)",
        "inf > 1 and 5",
        "eval('gcd(5, 10)')",
        "ListNode(5).val",
        "reduce(add, [2, 3])",
        "heapq.nlargest(1, [5, 1])[0]",
        "len(list(permutations([1, 2, 3]))) - 1",
    ],
)
def test_a_program_may_use_what_is_provided(sandbox, body):
    assert judged(
        sandbox, f"def f(a: List[int], b: 'Optional[int]' = None):\n    return {body}", function("f", [[]], 5)
    ) == (
        "correct",
        "ok",
    )


def test_builtins_can_be_replaced_as_usual(sandbox):
    program = "import builtins\nbuiltins.five = 5\nbuiltins.abs = lambda x: five\ndef f(x):\n    return abs(x)"
    assert judged(sandbox, program, function("f", [1], 5)) == ("correct", "ok")


# Names of helpers that a solution may have beside its function, whatever its test program calls.
HELPERS = [
    "check",
    "candidate",
    "abs",
    "len",
    "sorted",
    "sum",
    "max",
    "all",
    "list",
    "print",
    "isinstance",
    "AssertionError",
    "math",
    "random",
    "METADATA",
    "inputs",
    "assertion",
    "is_floats",
    "same",
    "main",
    "test",
    "own",
    "names",
    "request",
    "__name__",
]
TEST_PROGRAM = """
import random
METADATA = {"author": "x"}
inputs = [[3], [5]]
def same(a, b):
    return abs(a - b) < 1e-6
def is_floats(x):
    return isinstance(x, float)
def assertion(a, b):
    assert same(a, b) and math.isclose(a, b) and sorted([a]) == [b] and len(inputs) == 2
def check(candidate):
    for one in inputs:
        assertion(candidate(*one), sum(one) * 2)
    assert all(candidate(x) == max(2 * x, 0) for x in list(range(3)))
    assert METADATA["author"] == "x" and not is_floats(1) and random.randint(1, 1)
"""


@pytest.mark.parametrize("helper", HELPERS)
def test_helpers_of_a_solution_collide_with_nothing(sandbox, helper):
    as_function = f"def {helper}(*args):\n    return 2 * args[0]\ndef double(x):\n    return {helper}(x)"
    as_value = f"{helper} = 2\ndef double(x):\n    return x * {helper}"
    by_name = script("double", "def check(candidate):\n    assert double(4) == 8 and abs(double(-1)) == 2")
    wrong = f"def {helper}(*args):\n    return 0\ndef double(x):\n    return {helper}(x)"
    for tests in (script("double", TEST_PROGRAM), by_name):
        if helper != "__name__":
            assert judged(sandbox, as_function, tests) == ("correct", "ok")
            assert judged(sandbox, wrong, tests) == ("wrong", "runtime_error")
        assert judged(sandbox, as_value, tests) == ("correct", "ok")


@pytest.mark.parametrize("name", ["check", "candidate", "abs", "sum", "math", "bisect", "string", "test", "Solution"])
def test_the_function_under_test_may_have_any_name(sandbox, name):
    right, wrong = f"def {name}(n):\n    return n % 7 == 0", f"def {name}(n):\n    return True"
    tests = [
        script(name, f"def check(candidate):\n    assert {name}(70) == True\n    assert {name}(23) == False"),
        script(name, "def check(candidate):\n    assert candidate(70) == True\n    assert candidate(23) == False"),
        script(name, f"assert {name}(70) == True\nassert {name}(23) == False\ndef check(candidate):\n    pass"),
    ]
    for each in tests:
        assert judged(sandbox, right, each) == ("correct", "ok")
        assert judged(sandbox, wrong, each) == ("wrong", "runtime_error")


def test_a_test_program_must_define_its_check(sandbox):
    program = "def f(x):\n    return x\ndef check(candidate):\n    return True"
    assert judged(sandbox, program, script("f", "x = 1")) == ("wrong", "runtime_error")


def test_a_test_program_sees_the_solution_and_the_other_way_round(sandbox):
    node = (
        "class Node:\n    def __init__(self, value):\n        self.value = value\ndef f(node):\n    return node.value"
    )
    assert judged(sandbox, node, script("f", "def check(candidate):\n    assert f(Node(3)) == 3")) == ("correct", "ok")
    method = "class Solution:\n    def f(self, x):\n        return x + 1"
    for entry_point in ("Solution().f", "f"):
        tests = script(entry_point, "def check(candidate):\n    assert candidate(1) == 2")
        assert judged(sandbox, method, tests) == ("correct", "ok")
    # A helper that stands in the task's prompt, and so in its test program.
    given = script("f", "def twice(x):\n    return 2 * x\ndef check(candidate):\n    assert candidate(1) == twice(1)")
    assert judged(sandbox, "def f(x):\n    return twice(x)", given) == ("correct", "ok")
    assert judged(sandbox, "def f(x):\n    return x", given) == ("wrong", "runtime_error")


def test_a_demonstration_in_a_solution_does_not_run(sandbox):
    program = "def f(x):\n    return x\nif __name__ == '__main__':\n    print(f(int(input())))"
    tests = script("f", "def check(candidate):\n    assert candidate(1) == 1")
    assert judge_code(f"</think>\n```python\n{program}\n```", Problem("p", "code", "q", tests=tests), sandbox) == (
        "correct",
        "ok",
    )
