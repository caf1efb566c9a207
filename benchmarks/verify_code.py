"""The code verifier: programs and tests per second; with data, whether it is right about reference solutions and
mutated ones.

Run: `python benchmarks/verify_code.py [--seconds S] [--data DIR] [--humaneval FILE] [--limit N]`. DIR holds
`code/leetcode_train.jsonl`, rows of `problem`, `solutions` and `tests.functional`; FILE is the JSONL of HumanEval's
package, compressed or not. Each reference must be judged correct; an empty program, one that only imports, and a class
without methods wrong. Of each LeetCode reference, the first mutation (a comparison, an operator or a constant changed)
that makes a test fail when the row's own test program is executed directly must be judged wrong.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from acejax.problems.problem import Problem
from acejax.problems.readers import read_problems
from acejax.problems.rows import read_rows
from acejax.verification.pool import VerificationPool
from acejax.verification.programs import execute
from acejax.verification.programs.judge import judge_program
from acejax.verification.programs.sandbox import InfraError, Sandbox
from acejax.verification.verdict import Verdict

PROGRAM = "n = int(input())\nprint(sum(i * i for i in range(n)))\n"
GIVEN, EXPECTED = "10\n", "285\n"
# Programs that solve nothing, whatever the task.
IDLE = {
    "empty": "pass\n",
    "only imports": "import collections, copy, functools, heapq, itertools, math, operator\nfrom math import *\n"
    "from itertools import *\nfrom operator import *\nfrom collections import *\nfrom typing import *\n",
    "an empty class": "class Solution:\n    pass\n",
}
DIRECT_CPU_S = 5
DIRECT_MEMORY_BYTES = 4 << 30
DIRECTLY = {True: "passes", False: "fails", None: "does not end"}
# What a comparison or an operator is changed into.
SWAPS = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitXor: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitXor,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, of all below it, and of those that they have waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") + sum(map(cpu_seconds, map(int, below)))


def used() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


def rates(
    work: Callable[[], None], tests: int, seconds: float, used: Callable[[], float] = used
) -> tuple[float, float]:
    """Tests per second of wall time and per second of CPU, where `work` runs one program with `tests` tests."""
    before, began, done = used(), time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        work()
        done += tests
    return done / passed, done / (used() - before)


def in_sandbox(sandbox: Sandbox, tests: int, seconds: float) -> tuple[float, float]:
    assert sandbox._process is not None
    pid = sandbox._process.pid

    def work() -> None:
        with sandbox.program(PROGRAM) as program:
            for _ in range(tests):
                assert program.run({"input": GIVEN}).stdout == EXPECTED

    return rates(work, tests, seconds, lambda: time.process_time() + cpu_seconds(pid))


def in_subprocess(seconds: float) -> tuple[float, float]:
    def work() -> None:
        command = [sys.executable, "-I", "-c", PROGRAM]
        done = subprocess.run(command, input=GIVEN, capture_output=True, text=True, check=True)
        assert done.stdout == EXPECTED

    return rates(work, 1, seconds)


def peer_folder() -> str | None:
    """Where verl keeps its graders, if it is installed. They are loaded from there alone: verl itself imports much
    else.
    """
    found = find_spec("verl")
    places = found.submodule_search_locations if found else None
    return f"{places[0]}/utils/reward_score" if places else None


def in_peer(tests: int, seconds: float) -> tuple[float, float]:
    """verl's `prime_code`: LiveCodeBench's `run_test` in a process for each program."""
    from prime_code.utils import check_correctness  # type: ignore[import-not-found]

    cases = {"inputs": [GIVEN] * tests, "outputs": [EXPECTED] * tests}

    def work() -> None:
        results, _ = check_correctness(cases, PROGRAM, timeout=5, debug=False)
        assert results == [True] * tests, results

    return rates(work, tests, seconds)


def throughput(seconds: float) -> None:
    head = ("runner", "tests/program", "programs/s", "tests/s", "programs/CPU s", "tests/CPU s")
    print("{:<14}{:>14}{:>12}{:>10}{:>16}{:>13}".format(*head))
    row = "{:<14}{:>14}{:>12.0f}{:>10.0f}{:>16.0f}{:>13.0f}"
    for backend in ("bubblewrap", "rlimits"):
        with Sandbox(backend) as sandbox:
            try:
                sandbox.start()
            except (InfraError, OSError) as error:
                print(f"{backend:<14} absent: {error}")
                continue
            in_sandbox(sandbox, 1, 0.2)
            for tests in (1, 10):
                wall, cpu = in_sandbox(sandbox, tests, seconds)
                print(row.format(backend, tests, wall / tests, wall, cpu / tests, cpu))
    wall, cpu = in_subprocess(seconds)
    print(row.format("subprocess", 1, wall, wall, cpu, cpu))
    folder = peer_folder()
    if folder is None:
        print("verl's copy of LiveCodeBench's harness is absent here; .venv-bench has it (make bench)")
        return
    sys.path.append(folder)
    for tests in (1, 10):
        wall, cpu = in_peer(tests, seconds)
        print(row.format("verl", tests, wall / tests, wall, cpu / tests, cpu))


def mutations(source: str) -> Iterator[str]:
    """The program with one comparison, operator or constant changed, one after another."""
    tree = ast.parse(source)
    for number, _ in enumerate(ast.walk(tree)):
        changed = copy.deepcopy(tree)
        node = next(node for at, node in enumerate(ast.walk(changed)) if at == number)
        if mutate(node):
            yield ast.unparse(changed)


def mutate(node: ast.AST) -> bool:
    """Changes a node in place; False where there is nothing to change."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in SWAPS:
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        node.value += 1
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        node.value = not node.value
    elif isinstance(node, ast.Return) and node.value is not None:
        node.value = ast.Constant(None)
    else:
        return False
    return True


def passes_directly(source: str, test: str) -> bool | None:
    """Whether a row's own test program accepts a solution, in a fork of this process; None if it does not end."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            resource.setrlimit(resource.RLIMIT_CPU, (DIRECT_CPU_S, DIRECT_CPU_S))
            resource.setrlimit(resource.RLIMIT_AS, (DIRECT_MEMORY_BYTES, DIRECT_MEMORY_BYTES))
            signal.alarm(10 * DIRECT_CPU_S)
            sys.setrecursionlimit(execute.RECURSION_LIMIT)
            exec(compile(source + "\n" + test, "direct", "exec"), direct_names())
            status = 0
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return None if code in (-signal.SIGKILL, -signal.SIGXCPU, -signal.SIGALRM) else code == 0


def direct_names() -> dict:
    """What a row's own test program expects to find besides the solution."""
    names = execute.prelude() | {"__name__": "solution"}
    for kind, name in (("ListNode", "list"), ("TreeNode", "tree")):
        names[f"{name}_node"] = lambda value, kind=kind: execute.build(value, kind)
        names[f"is_same_{name}"] = lambda a, b, kind=kind: execute.flatten(a, kind) == execute.flatten(b, kind)
    return names


def correctness(path: Path, limit: int | None) -> None:
    rows = [row for _, row in read_rows(path)][:limit]
    problems = read_problems(path, domain="code")[:limit]
    typed = sum(bool(problem.tests and problem.tests.get("types")) for problem in problems)
    print(f"\nLeetCode: {len(problems)} reference solutions, {typed} of them with lists or trees")
    verdicts = references([row["solutions"] for row in rows], problems)
    for verdict, row in zip(verdicts, rows, strict=True):
        if verdict.verdict != "correct":
            direct = DIRECTLY[passes_directly(row["solutions"], row["tests"]["functional"])]
            print(f"  {verdict.problem_id}: {verdict.verdict}, {verdict.reason}; executed directly it {direct}")
    idle(problems)
    mutants(rows, problems)


def humaneval(path: Path, limit: int | None) -> None:
    rows = [row for _, row in read_rows(path)][:limit]
    problems = read_problems(path)[:limit]
    print(f"\nHumanEval: {len(problems)} reference solutions")
    verdicts = references([row["prompt"] + row["canonical_solution"] for row in rows], problems)
    for verdict in verdicts:
        if verdict.verdict != "correct":
            print(f"  {verdict.problem_id}: {verdict.verdict}, {verdict.reason}")
    idle(problems)


def references(sources: list[str], problems: list[Problem]) -> list[Verdict]:
    with VerificationPool(1, time_limit_s=10.0) as pool:
        began = time.monotonic()
        futures = []
        for problem, source in zip(problems, sources, strict=True):
            futures.append(pool.submit(problem, 0, f"</think>\n````python\n{source}\n````"))
        verdicts = [future.result() for future in futures]
        passed = time.monotonic() - began
    right = sum(verdict.verdict == "correct" for verdict in verdicts)
    share = f"{right} of {len(verdicts)} ({right / len(verdicts):.2%})"
    print(f"references judged correct: {share} in {passed:.1f} s by one worker")
    return verdicts


def idle(problems: list[Problem]) -> None:
    """Programs that solve nothing, tried on every problem."""
    with Sandbox() as sandbox:
        for name, source in IDLE.items():
            outcomes: Counter[str] = Counter()
            for problem in problems:
                outcome, reason, _ = judge_program(source, problem, sandbox)
                outcomes[outcome] += 1
                if outcome != "wrong":
                    print(f"  {problem.id}: {outcome}, {reason}")
            print(f"programs that solve nothing ({name}) judged wrong: {outcomes['wrong']} of {len(problems)}")


def mutants(rows: list[dict], problems: list[Problem]) -> None:
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    with Sandbox() as sandbox:
        for problem, row in zip(problems, rows, strict=True):
            source = failing_mutation(row["solutions"], row["tests"]["functional"])
            if source is None:
                reasons["without a mutation that fails"] += 1
                print(f"  {problem.id}: no mutation fails when executed directly")
                continue
            outcome, reason, _ = judge_program(source, problem, sandbox)
            outcomes[outcome] += 1
            reasons[f"{outcome}: {reason}"] += 1
            if outcome == "correct":
                print(f"  {problem.id}: a mutated copy is judged correct")
    print(f"mutated copies judged wrong: {outcomes['wrong']} of {outcomes.total()}; {dict(reasons)}")


def failing_mutation(source: str, test: str) -> str | None:
    for mutation in mutations(source):
        if passes_directly(mutation, test) is False:
            return mutation
    return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--humaneval", type=Path)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"python {platform.python_version()}, Linux {platform.release()}, {machine}")
    throughput(options.seconds)
    if options.data:
        correctness(options.data / "code" / "leetcode_train.jsonl", options.limit)
    if options.humaneval:
        humaneval(options.humaneval, options.limit)


if __name__ == "__main__":
    main()
