"""Tests written as Python: LeetCode's assertions become function cases, the suites of HumanEval and MBPP scripts.

A test program is read as a syntax tree and never executed here. A case must be of one of the forms

    assert candidate(2, xs=[1], root=tree_node([1, None, 2])) == [3]
    assert is_same_list(candidate(head=list_node([1, 2])), list_node([2, 1]))

with literals for values. What else a suite does cannot be told from its text, so the suite is refused with the reason.
"""

from __future__ import annotations

import ast
import builtins
import math
import re
from collections.abc import Sequence
from typing import Any

from acejax.errors import UserError
from acejax.problems.formats.common import refuse

NODES = {"list_node": "ListNode", "tree_node": "TreeNode"}
COMPARERS = {"is_same_list": "ListNode", "is_same_tree": "TreeNode"}

_LISTS = re.compile(r"(?:Optional\[)?((?:[Ll]ist\[)*(?:int|str|float|bool|None|[Ll]ist)?)\]*")

Value = tuple[Any, str | None]  # a JSON value, and the kind of node that is to be built of it
Case = tuple[list[Value], dict[str, Value], Value]  # arguments in their places and by name, and the result


class Unreadable(Exception):
    """A test that is not of a known form; the message says why."""


def parse(code: str, where: str, field: str) -> ast.Module:
    """The syntax tree of `code`. Raises UserError where it is not Python."""
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(
            f"{where}: field '{field}' is not a Python program ({error}); mend it or leave the row out"
        ) from None


def function_suite(code: str, where: str, field: str, entry_point: str | None = None) -> dict[str, Any]:
    """Tests of kind "function" from `def check(candidate): assert ...`.

    `entry_point` ("f" or "Solution().f") names the function; without it the program must end in `check(Solution().f)`.
    Raises UserError naming the line of the test that has no known form.
    """
    tree = parse(code, where, field)
    check = _check_function(tree)
    name = entry_point.rpartition(".")[2] if entry_point else _checked_name(tree)
    if check is None or not name:
        refuse(where, field, code, "give 'def check(candidate):' with assertions, and the name of the function")
    parsed = []
    for statement in check.body:
        try:
            parsed.append(_case(statement, check.args.args[0].arg))
        except Unreadable as error:
            place = f"{where}: field '{field}', line {statement.lineno} of the test"
            raise UserError(f"{place}: {error}; leave the row out") from None
    try:
        return _suite_of(name, parsed)
    except Unreadable as error:
        raise UserError(f"{where}: field '{field}': {error}; leave the row out") from None


def _suite_of(name: str, parsed: Sequence[Case]) -> dict[str, Any]:
    """Tests of kind "function". Raises Unreadable where a value is a node in some tests only."""
    types = _types(parsed)
    tests: dict[str, Any] = {"kind": "function", "fn_name": name, "cases": [_without_kinds(case) for case in parsed]}
    if types:
        tests["types"] = types
    return tests


def assertion_suite(assertions: Sequence[str], where: str, field: str) -> dict[str, Any]:
    """Tests from statements that stand alone, such as verl's `assert add(1, 2) == 3`: of kind "function" where each is
    of a known form and all call one function, of kind "script" otherwise. Raises UserError where they call none.
    """
    tree = parse("\n".join(assertions), where, field)
    named = _CalledOnItsOwn().visit(ast.parse(ast.unparse(tree)))
    called = list(dict.fromkeys(_compared_name(statement) for statement in named.body))
    if len(called) == 1 and called[0]:
        try:
            parsed = [_case(statement, called[0]) for statement in named.body]
            return _suite_of(called[0], parsed)
        except Unreadable:
            pass  # a script runs what cannot be read
    free = _free_names(tree)
    if not free:
        refuse(where, field, list(assertions), "give assertions that call the function which a solution defines")
    return {"kind": "script", "entry_point": free[0], "script": _check_of([tree])}


def _check_of(trees: Sequence[ast.Module]) -> str:
    """The function that runs all statements."""
    check = ast.parse("def check(candidate):\n    pass")
    for tree in trees:
        check.body[0].body += tree.body  # type: ignore[attr-defined]
    return ast.unparse(check)


class _CalledOnItsOwn(ast.NodeTransformer):
    """`Solution().f(x)` as `f(x)`, which is how a case names a method."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if _called_name(node.value) == "Solution":
            return ast.Name(node.attr, ast.Load())
        return node


def _compared_name(statement: ast.stmt) -> str:
    """The function whose result an assertion compares; empty where it is of no such form."""
    if not isinstance(statement, ast.Assert) or not isinstance(statement.test, ast.Compare):
        return ""
    return _called_name(statement.test.left)


def _free_names(tree: ast.Module) -> list[str]:
    """What the statements call and neither they nor Python define, in their order."""
    made = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            made |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            made.add(node.name)
    called = dict.fromkeys(_called_name(node) for node in ast.walk(tree))
    return [name for name in called if name and name not in made and not hasattr(builtins, name)]


def returned_depth(starter: str, name: str) -> int | None:
    """How many lists deep the result of the function is, by the annotation in a starter code: 2 of List[List[int]].
    None where it states nothing, or something else.
    """
    stated = re.search(rf"def\s+{re.escape(name)}\s*\(.*?\)\s*->\s*([^:\n]+)", starter, re.DOTALL)
    if stated is None:
        return None
    lists = _LISTS.fullmatch(re.sub(r"\s|typing\.", "", stated[1]).strip("'\""))
    return len(re.findall("[Ll]ist", lists[1])) if lists else None


def _check_function(tree: ast.Module) -> ast.FunctionDef | None:
    """The first function of that name which takes a candidate."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "check" and node.args.args:
            return node
    return None


def _called_name(node: ast.AST) -> str:
    """The name that a node calls; empty where it calls none."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
    return ""


def _checked_name(tree: ast.Module) -> str | None:
    """f of the closing `check(Solution().f)` or `check(f)`."""
    last = tree.body[-1] if tree.body else None
    call = last.value if isinstance(last, ast.Expr) else None
    if not isinstance(call, ast.Call) or _called_name(call) != "check" or len(call.args) != 1:
        return None
    target = call.args[0]
    if isinstance(target, ast.Attribute):
        return target.attr
    return target.id if isinstance(target, ast.Name) else None


def _case(statement: ast.stmt, candidate: str) -> Case:
    if not isinstance(statement, ast.Assert):
        raise Unreadable(f"{type(statement).__name__.lower()} is not an assertion")
    call, output = _sides(statement.test)
    if not isinstance(call, ast.Call) or _called_name(call) != candidate:
        raise Unreadable(f"what is compared is not {candidate}(...) itself")
    kwargs = {word.arg: _value(word.value) for word in call.keywords if word.arg is not None}
    if len(kwargs) < len(call.keywords):
        raise Unreadable("the arguments are unpacked with **")
    return [_value(node) for node in call.args], kwargs, output


def _sides(test: ast.expr) -> tuple[ast.expr, Value]:
    """What an assertion compares, and the value that it should have."""
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], (ast.Eq, ast.Is)):
        output = _value(test.comparators[0])
        if output[1] is not None:
            raise Unreadable("nodes compared with == are equal to themselves only")
        return test.left, output
    comparer = _called_name(test)
    if not isinstance(test, ast.Call) or comparer not in COMPARERS or len(test.args) != 2:
        raise Unreadable("the assertion is neither candidate(...) == value nor is_same_list or is_same_tree")
    kind = COMPARERS[comparer]
    value, found = _value(test.args[1])
    if found != kind and not (found is None and value is None):
        raise Unreadable(f"{comparer} compares with something else than a {kind}")
    return test.args[0], (value, kind)


def _value(node: ast.expr) -> Value:
    maker = _called_name(node)
    if not isinstance(node, ast.Call) or maker not in NODES or len(node.args) != 1:
        return _literal(node), None
    value = _literal(node.args[0])
    if not isinstance(value, list):
        raise Unreadable(f"{maker} is given no list")
    while maker == "tree_node" and value and value[-1] is None:
        value.pop()
    return value, NODES[maker]


def _literal(node: ast.expr) -> Any:
    try:
        return _as_json(ast.literal_eval(node))
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise Unreadable(f"{ast.unparse(node)[:60]} is not a literal that JSON can hold") from None


def _as_json(value: Any) -> Any:
    """The value as JSON holds it. Raises ValueError where JSON has no such value."""
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _as_json(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError


def _without_kinds(case: Case) -> dict[str, Any]:
    args, kwargs, (output, _) = case
    found: dict[str, Any] = {"args": [value for value, _ in args], "output": output}
    if kwargs:
        found["kwargs"] = {key: value for key, (value, _) in kwargs.items()}
    return found


def _types(cases: Sequence[Case]) -> dict[str, Any]:
    """`types` of the suite: the kind of node of each argument and of the result, empty where there are none."""
    by_place: list[list[Value]] = []
    by_name: dict[str, list[Value]] = {}
    outputs = []
    for args, kwargs, output in cases:
        by_place += [[] for _ in args[len(by_place) :]]
        for values, value in zip(by_place, args, strict=False):
            values.append(value)
        for name, value in kwargs.items():
            by_name.setdefault(name, []).append(value)
        outputs.append(output)
    found = {
        "args": list(map(_kind, by_place)),
        "kwargs": {name: _kind(values) for name, values in by_name.items()},
        "output": _kind(outputs),
    }
    return _stated(found)


def _stated(kinds: dict[str, Any]) -> dict[str, Any]:
    """Without what names no kind; among arguments in their places the empty ones must stay."""
    found = {}
    if any(kinds["args"]):
        found["args"] = kinds["args"]
    by_name = {name: kind for name, kind in kinds["kwargs"].items() if kind}
    if by_name:
        found["kwargs"] = by_name
    if kinds["output"]:
        found["output"] = kinds["output"]
    return found


def _kind(values: Sequence[Value]) -> str | None:
    """The one kind that all values share; an absent list or tree, None, goes with any."""
    kinds = {kind for value, kind in values if not (value is None and kind is None)}
    if len(kinds) > 1:
        raise Unreadable("a value is a node in some tests and not in others")
    return kinds.pop() if kinds else None


def humaneval_suite(prompt: str, test: str, entry_point: str, where: str) -> dict[str, Any]:
    """Tests of kind "script" of a HumanEval row. What stands before the function in its prompt goes along: some tests
    call it.
    """
    before = [node for node in parse(prompt, where, "prompt").body if getattr(node, "name", None) != entry_point]
    script = "\n".join([*map(ast.unparse, before), test])
    defined = [node.name for node in parse(test, where, "test").body if isinstance(node, ast.FunctionDef)]
    if "check" not in defined:
        refuse(where, "test", test, "give a program that defines check(candidate)")
    return {"kind": "script", "entry_point": entry_point, "script": script}


def mbpp_suite(tests: Sequence[str], code: str, where: str, *, set_up: str = "", whole: str = "") -> dict[str, Any]:
    """Tests of kind "script" from MBPP's list of assertions, or from EvalPlus's `whole` test program, which needs no
    check().

    The function's name is what the tests call and the reference `code` defines.
    """
    trees = [parse(test, where, "test_list") for test in tests]
    name = _tested_name(trees, parse(code, where, "code"), list(tests), where)
    check = _check_of([] if whole else trees)
    script = "\n".join(part for part in (set_up, whole, check) if part)
    return {"kind": "script", "entry_point": name, "script": script}


def _tested_name(trees: Sequence[ast.Module], code: ast.Module, tests: list[str], where: str) -> str:
    """The last that the code defines of what the tests call."""
    called = {_called_name(node) for tree in trees for node in ast.walk(tree)}
    defined = [node.name for node in code.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    for name in reversed(defined):
        if name in called:
            return name
    todo = f"give assertions that call a function which 'code' defines (found {', '.join(defined)})"
    refuse(where, "test_list", tests, todo)
