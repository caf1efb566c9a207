"""Tests written as Python: LeetCode's assertions become function cases, the suites of HumanEval and MBPP scripts.

A test program is read as a syntax tree and never executed here. A case must be of one of the forms

    assert candidate(2, xs=[1], root=tree_node([1, None, 2])) == [3]
    assert is_same_list(candidate(head=list_node([1, 2])), list_node([2, 1]))

with literals for values. What else a suite does cannot be told from its text, so the suite is refused with the reason.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from typing import Any

from acejax.errors import UserError
from acejax.problems.formats.common import refuse

NODES = {"list_node": "ListNode", "tree_node": "TreeNode"}
COMPARERS = {"is_same_list": "ListNode", "is_same_tree": "TreeNode"}

Value = tuple[Any, str | None]  # a JSON value, and the kind of node that is to be built of it


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
    check = next(
        (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check" and node.args.args),
        None,
    )
    name = entry_point.rpartition(".")[2] if entry_point else _checked_name(tree)
    if check is None or not name:
        refuse(where, field, code, "give 'def check(candidate):' with assertions, and the name of the function")
    parsed = []
    for statement in check.body:
        try:
            parsed.append(_case(statement, check.args.args[0].arg))
        except Unreadable as error:
            raise UserError(
                f"{where}: field '{field}', line {statement.lineno} of the test: {error}; leave the row out"
            ) from None
    try:
        types = _types(parsed)
    except Unreadable as error:
        raise UserError(f"{where}: field '{field}': {error}; leave the row out") from None
    cases = []
    for args, kwargs, output in parsed:
        case: dict[str, Any] = {"args": [value for value, _ in args], "output": output[0]}
        if kwargs:
            case["kwargs"] = {key: value for key, (value, _) in kwargs.items()}
        cases.append(case)
    return {"kind": "function", "fn_name": name, "cases": cases} | ({"types": types} if types else {})


def _checked_name(tree: ast.Module) -> str | None:
    """f of the closing `check(Solution().f)` or `check(f)`."""
    last = tree.body[-1].value if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    if (
        isinstance(last, ast.Call)
        and isinstance(last.func, ast.Name)
        and last.func.id == "check"
        and len(last.args) == 1
    ):
        target = last.args[0]
        return target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else None
    return None


def _case(statement: ast.stmt, candidate: str) -> tuple[list[Value], dict[str, Value], Value]:
    if not isinstance(statement, ast.Assert):
        raise Unreadable(f"{type(statement).__name__.lower()} is not an assertion")
    test = statement.test
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], (ast.Eq, ast.Is)):
        call, output = test.left, _value(test.comparators[0])
        if output[1] is not None:
            raise Unreadable("nodes compared with == are equal to themselves only")
    elif (
        isinstance(test, ast.Call)
        and isinstance(test.func, ast.Name)
        and test.func.id in COMPARERS
        and len(test.args) == 2
    ):
        call, output = test.args[0], _value(test.args[1])
        kind = COMPARERS[test.func.id]
        if output[1] not in (kind, None) or (output[1] is None and output[0] is not None):
            raise Unreadable(f"{test.func.id} compares with something else than a {kind}")
        output = (output[0], kind)
    else:
        raise Unreadable("the assertion is neither candidate(...) == value nor is_same_list or is_same_tree")
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == candidate):
        raise Unreadable(f"what is compared is not {candidate}(...) itself")
    kwargs = {word.arg: _value(word.value) for word in call.keywords if word.arg is not None}
    if len(kwargs) < len(call.keywords):
        raise Unreadable("the arguments are unpacked with **")
    return [_value(node) for node in call.args], kwargs, output


def _value(node: ast.expr) -> Value:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NODES and len(node.args) == 1:
        value = _literal(node.args[0])
        if not isinstance(value, list):
            raise Unreadable(f"{node.func.id} is given no list")
        while node.func.id == "tree_node" and value and value[-1] is None:
            value.pop()
        return value, NODES[node.func.id]
    return _literal(node), None


def _literal(node: ast.expr) -> Any:
    try:
        return _plain(ast.literal_eval(node))
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise Unreadable(f"{ast.unparse(node)[:60]} is not a literal that JSON can hold") from None


def _plain(value: Any) -> Any:
    """The value as JSON holds it. Raises ValueError where JSON has no such value."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError


def _types(cases: Sequence[tuple[list[Value], dict[str, Value], Value]]) -> dict[str, Any]:
    """`types` of the suite: the kind of node of each argument and of the result, empty where there are none."""
    longest = max((len(case[0]) for case in cases), default=0)
    args = [_kind([case[0][place] for case in cases if place < len(case[0])]) for place in range(longest)]
    names = {name: None for case in cases for name in case[1]}
    kwargs = {name: _kind([case[1][name] for case in cases if name in case[1]]) for name in names}
    found: dict[str, Any] = {"args": args} if any(args) else {}
    if any(kwargs.values()):
        found["kwargs"] = {name: kind for name, kind in kwargs.items() if kind}
    if output := _kind([case[2] for case in cases]):
        found["output"] = output
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
    script = "\n".join([*(ast.unparse(node) for node in before), test])
    if not any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in parse(test, where, "test").body):
        refuse(where, "test", test, "give a program that defines check(candidate)")
    return {"kind": "script", "entry_point": entry_point, "script": script}


def mbpp_suite(tests: Sequence[str], code: str, where: str, *, set_up: str = "", whole: str = "") -> dict[str, Any]:
    """Tests of kind "script" from MBPP's list of assertions, or from EvalPlus's `whole` test program, which needs no
    check().

    The function's name is what the tests call and the reference `code` defines.
    """
    trees = [parse(test, where, "test_list") for test in tests]
    called = {
        node.func.id
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    defined = [
        node.name for node in parse(code, where, "code").body if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    ]
    name = next((name for name in reversed(defined) if name in called), None)
    if name is None:
        refuse(
            where,
            "test_list",
            list(tests),
            f"give assertions that call a function which 'code' defines (found {', '.join(defined)})",
        )
    check = ast.parse("def check(candidate):\n    pass")
    if not whole:
        check.body[0].body += [statement for tree in trees for statement in tree.body]  # type: ignore[attr-defined]
    script = "\n".join(part for part in (set_up, whole, ast.unparse(check)) if part)
    return {"kind": "script", "entry_point": name, "script": script}
