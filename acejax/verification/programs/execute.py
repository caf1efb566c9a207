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
import string
import sys
import threading
import time
import types
import typing

RECURSION_LIMIT = 100_000


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


def _module(name: str, names: dict) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(names, __builtins__=builtins)
    return module


# Made once: filling a module in each child would touch, and so copy, the page of every object in it.
MODULES = {
    "stdin": _module("__main__", {"__file__": "main.py"}),
    "script": _module("__main__", {"__file__": "main.py"} | prelude()),
    "function": _module("solution", prelude()),
}


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
            request["source"] = compile(request["source"], "main.py", "exec", dont_inherit=True)
            os.pwrite(handle, marshal.dumps(request), 0)
            os.close(handle)
        kind = request["kind"]
        if kind == "function":
            test = marshal.loads(os.pread(0, os.fstat(0).st_size, 0))
            os.dup2(2, 0)  # /dev/null
    except BaseException as error:
        report_error(report, error)
        os._exit(1)
    if kind == "function":
        run_function(request, test, report)
    run_whole(request["source"], kind, report)


def run_whole(code: types.CodeType, kind: str, report: int) -> typing.NoReturn:
    """Runs a program as the interpreter would: exit hooks, waiting for threads and the exit status included."""
    module = sys.modules["__main__"] = MODULES[kind]
    leave, status = os._exit, 0
    try:
        exec(code, module.__dict__)
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


def run_function(request: dict, test: dict, report: int) -> typing.NoReturn:
    """Calls the function once and writes its result as JSON. The name is not `__main__`, so demonstrations do not
    run.
    """
    dumps, leave, write = json.dumps, os._exit, os.write
    kinds = request.get("types") or {}
    try:
        module = sys.modules["solution"] = MODULES["function"]
        names = module.__dict__
        exec(request["source"], names)
        name = request["fn_name"]
        solution: typing.Any = names.get("Solution")
        target = getattr(solution(), name) if hasattr(solution, name) else names[name]
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
