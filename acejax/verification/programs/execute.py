"""What a test child does: it runs what the policy wrote, as a whole program or as one call of a function.

Imported by the warm runner, long before the fork, so that a child finds every module loaded and every name in place; it
imports the standard library only.
"""

from __future__ import annotations

import atexit
import bisect
import builtins
import collections
import copy
import datetime
import dis
import fractions
import functools
import heapq
import itertools
import json
import marshal
import math
import operator
import os
import random
import re
import resource
import string
import sys
import threading
import time
import types
import typing

RECURSION_LIMIT = 100_000
# What a child reports when a test program ran to its end: one that left early with status 0 has not got there.
SCRIPT_END = b"the test program ran to its end"


class ListNode:
    def __init__(self, val=0, next=None):
        self.val, self.next = val, next


class TreeNode:
    def __init__(self, val=0, left=None, right=None):
        self.val, self.left, self.right = val, left, right


def build(value, kind):
    """A linked list or tree from its level list, an object with integers for keys; any other kind is passed through."""
    if kind == "ListNode" and value is not None:
        head = None
        for item in reversed(value):
            head = ListNode(item, head)
        return head
    if kind == "TreeNode" and value is not None:
        return _tree(value)
    if kind == "IntKeys" and value is not None:
        return {int(key): item for key, item in value.items()}
    return value


def _tree(values):
    items = iter(values)
    first = next(items, None)
    if first is None:
        return None
    root = TreeNode(first)
    queue = collections.deque([root])
    while queue:
        node = queue.popleft()
        for side in ("left", "right"):
            item = next(items, None)
            if item is not None:
                setattr(node, side, TreeNode(item))
                queue.append(getattr(node, side))
    return root


def flatten(value, kind):
    """The level list of a linked list or tree, without trailing empty places. A cycle ends by the test's limits."""
    if kind == "ListNode":
        items = []
        while value is not None:
            items.append(value.val)
            value = value.next
        return items
    if kind == "TreeNode":
        return _tree_values(value)
    return value


def _tree_values(root):
    items = []
    queue = collections.deque([root])
    while queue:
        node = queue.popleft()
        if node is None:
            items.append(None)
        else:
            items.append(node.val)
            queue += (node.left, node.right)
    while items and items[-1] is None:
        items.pop()
    return items


def from_numpy(value):
    """What `json.dumps` takes in place of a value that it does not know."""
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a result of type {type(value).__name__}")


def prelude() -> dict:
    """The names that function tasks expect to find, as LeetCode and its like provide them. None hides a builtin."""
    names: dict = {}
    for module in (operator, typing, collections, itertools, functools, heapq, bisect, string, math, copy, datetime):
        for name in getattr(module, "__all__", dir(module)):
            if not name.startswith("_") and not hasattr(builtins, name):
                names[name] = getattr(module, name)
    for module in (operator, typing, collections, itertools, functools, heapq, bisect, string, math, datetime):
        names[module.__name__] = module
    names |= {
        "re": re,
        "random": random,
        "sys": sys,
        "json": json,
        "fractions": fractions,
        "Fraction": fractions.Fraction,
    }
    return names | {"time": time, "ListNode": ListNode, "TreeNode": TreeNode}


def _module(name: str, builtin_names: types.ModuleType, **names: typing.Any) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(names, __builtins__=builtin_names)
    return module


# What the harness provides lies behind the builtins: a program that uses a name finds it, the look-up of a solution,
# which sees the program's own names only, does not.
SOLUTION_BUILTINS = types.ModuleType("builtins")
SCRIPT_BUILTINS = types.ModuleType("builtins")
# Made once: filling a module in each child would touch, and so copy, the page of every object in it.
PROGRAM = _module("__main__", builtins, __file__="main.py")
SOLUTION = _module("solution", SOLUTION_BUILTINS)
SCRIPT = _module("__main__", SCRIPT_BUILTINS, __file__="test.py")


def provide_names() -> None:
    """Fills in what function tasks and test programs find; called once, when the builtins are complete.

    A test program gets no function: one that the solution lacks must not be found elsewhere.
    """
    names = prelude()
    functions = (types.FunctionType, types.BuiltinFunctionType)
    vars(SOLUTION_BUILTINS).update(names | vars(builtins))
    vars(SCRIPT_BUILTINS).update((name, value) for name, value in names.items() if not isinstance(value, functions))
    vars(SCRIPT_BUILTINS).update(vars(builtins))


def report_error(report: int, error: BaseException) -> None:
    """Tells the worker the kind of an error that ended the program."""
    error.__traceback__ = None  # frees the frames: after a MemoryError little else can be done
    kind = b"runtime_error"
    if isinstance(error, MemoryError):
        kind = b"memory"
    elif isinstance(error, PermissionError):
        kind = b"denied"
    os.write(report, kind)


def load(handle: int) -> dict:
    """The program behind a descriptor, as sandbox.Sandbox or the first test of it wrote it there."""
    return marshal.loads(os.pread(handle, os.fstat(handle).st_size, 0))


def run(request: dict | None, handle: int, report: int) -> typing.NoReturn:
    """Runs a program, if need be from behind `handle`; a function's arguments come on standard input.

    The first test compiles under its own limits, and leaves the result behind `handle` for the others.
    """
    try:
        if request is None:
            request = load(handle)
            compile_program(request, handle)
        kind = request["kind"]
        if kind == "function":
            test = marshal.loads(os.pread(0, os.fstat(0).st_size, 0))
            os.dup2(2, 0)  # /dev/null
    except BaseException as error:
        report_error(report, error)
        os._exit(1)
    if kind == "function":
        run_function(request, test, report)
    if kind == "script":
        run_whole(functools.partial(run_script, request, report), report)
    sys.modules["__main__"] = PROGRAM
    run_whole(functools.partial(exec, request["source"], vars(PROGRAM)), report)


def compile_program(request: dict, handle: int) -> None:
    """Compiles in place, and closes the handle once the result lies behind it, where that may become so large."""
    request["source"] = compile(request["source"].removeprefix("\ufeff"), "main.py", "exec", dont_inherit=True)
    if request["script"] is not None:
        request["script"] = compile(request["script"], "test.py", "exec", dont_inherit=True)
    compiled = marshal.dumps(request)
    if len(compiled) <= resource.getrlimit(resource.RLIMIT_FSIZE)[0]:
        os.pwrite(handle, compiled, 0)
    os.close(handle)


def run_whole(work: typing.Callable[[], typing.Any], report: int) -> typing.NoReturn:
    """Runs a program as the interpreter would: exit hooks, waiting for threads and the exit status included."""
    leave, status = os._exit, 0
    try:
        work()
    except SystemExit as error:
        status = 1
        if error.code is None:
            status = 0
        elif isinstance(error.code, int):
            status = error.code
    except BaseException as error:
        status = 1
        report_error(report, error)
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        if sys.stdout is not None and not getattr(sys.stdout, "closed", False):
            sys.stdout.flush()
    except BaseException:
        status = status or 120
    leave(status & 255)


def define(source: types.CodeType) -> dict:
    """Runs the program that defines a solution. Its name is not `__main__`, so demonstrations do not run.

    Returns the names that are its own.
    """
    sys.modules["builtins"] = SOLUTION_BUILTINS
    sys.modules["solution"] = SOLUTION
    exec(source, vars(SOLUTION))
    return vars(SOLUTION)


def find(names: dict, entry_point: str, source: types.CodeType) -> typing.Any:
    """The solution among a program's own names: a method of its class Solution, a function, or what an expression such
    as `Solution().f` gives. Raises KeyError where the program has no such name, NameError where it is not its own.
    """
    solution: typing.Any = names.get("Solution")
    if hasattr(solution, entry_point):
        return getattr(solution(), entry_point)
    name = re.split(r"\W", entry_point, maxsplit=1)[0]
    made_here = getattr(names[name], "__module__", None) == SOLUTION.__name__
    if not (made_here or binds(source, name)):
        raise NameError(f"{name!r} came by an import of everything")
    if name == entry_point:
        return names[name]
    return eval(entry_point, names)


def binds(source: types.CodeType, name: str) -> bool:
    """Whether a statement of a program, or of a function within it, gives a global its name: no import of everything
    does.
    """
    for step in dis.get_instructions(source):
        if step.opname in ("STORE_NAME", "STORE_GLOBAL") and step.argval == name:
            return True
    inner = (value for value in source.co_consts if isinstance(value, types.CodeType))
    return any(binds(code, name) for code in inner)


def run_script(request: dict, report: int) -> None:
    """Runs a test program on a solution, and reports that it ran to its end.

    Each has names of its own. The test program sees the solution's behind the builtins and modules, so that no helper
    of the solution stands in for what the test means; the solution sees the test program's behind all others.
    """
    write = os.write
    names = define(request["source"])
    entry_point = request["fn_name"]
    candidate = find(names, entry_point, request["source"])
    sys.modules["__main__"] = SCRIPT
    own = vars(SCRIPT)
    for name, value in names.items():
        hidden = hasattr(builtins, name) or isinstance(getattr(SCRIPT_BUILTINS, name, None), types.ModuleType)
        if name == entry_point or not (hidden or name.startswith("__")):
            own[name] = value
    exec(request["script"], own)
    check = own["check"]
    if check is names.get("check"):
        raise NameError("the test program defines no check")
    for name, value in own.items():
        vars(SOLUTION_BUILTINS).setdefault(name, value)
    # In an assertion the name means the function under test.
    if entry_point == "check":
        own["check"] = candidate
    check(candidate)
    write(report, SCRIPT_END)


def run_function(request: dict, test: dict, report: int) -> typing.NoReturn:
    """Calls the function once and writes its result as JSON."""
    dumps, leave, write = json.dumps, os._exit, os.write
    kinds = request.get("types") or {}
    try:
        target = find(define(request["source"]), request["fn_name"], request["source"])
        # A value whose kind is not stated is passed as it is.
        positions = itertools.chain(kinds.get("args") or (), itertools.repeat(None))
        args = [build(value, kind) for value, kind in zip(test.get("args") or (), positions, strict=False)]
        by_name = kinds.get("kwargs") or {}
        kwargs = {key: build(value, by_name.get(key)) for key, value in (test.get("kwargs") or {}).items()}
        payload = dumps(flatten(target(*args, **kwargs), kinds.get("output")), default=from_numpy).encode()
    except BaseException as error:
        report_error(report, error)
        leave(1)
    while payload:
        payload = payload[write(report, payload) :]
    leave(0)
