r"""Accuracy and speed of the mathematics verifier, peers beside it. Run: `python benchmarks/verify_math.py [--data
DIR]`.

The equivalence cases are those of math_cases.jsonl beside this file: kind, answer, reference (or several), and whether
they are equal. Each grader runs in a process of its own, which is killed when one check passes DEADLINE_S: that check
counts as wrong. Seconds are CPU seconds of one core; graders are warm, and no case is seen before it is timed.

With `--data DIR`, instead: the references of DIR/math/*.jsonl against themselves and against each other, and AIME's
solutions.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import logging
import os
import random
import resource
import select
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

CASES = Path(__file__).with_name("math_cases.jsonl")
DEADLINE_S = 20.0
MEMORY_BYTES = 6 << 30
WARM_UP = [
    ("1/2", "0.5"),
    (r"\sqrt{12}", r"2\sqrt{3}"),
    ("x+x", "2x"),
    (r"\sum_{k=1}^{m} k", r"\frac{m(m+1)}{2}"),
    ("(1,3]", "(1,4)"),
]

Grader = Callable[[str, list[str]], bool]
Row = tuple[dict[str, Any], bool | None, float]  # a case, the verdict on it, and its seconds
Results = dict[str, list[Row]]  # by grader


def ours() -> Grader:
    from acejax.verification.math.judge import equivalent

    return lambda answer, references: any(equivalent(answer, reference) for reference in references)


def math_verify() -> Grader:
    from math_verify import parse, verify

    def grade(answer: str, references: list[str]) -> bool:
        given = parse(rf"\boxed{{{answer}}}")
        return any(verify(parse(rf"\boxed{{{reference}}}"), given) for reference in references)

    return grade


def tunix() -> Grader:
    spec = importlib.util.find_spec("tunix")  # the one file: the package would load JAX
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("tunix")
    path = Path(spec.submodule_search_locations[0]) / "utils" / "math_utils.py"
    file = importlib.util.spec_from_file_location("tunix_math_utils", path)
    assert file is not None and file.loader is not None
    module = importlib.util.module_from_spec(file)
    file.loader.exec_module(module)
    return lambda answer, references: any(
        module.grade_answer_mathd(answer, reference) or module.grade_answer_sympy(answer, reference)
        for reference in references
    )


GRADERS = {"acejax": ours, "math-verify": math_verify, "tunix": tunix}


def serve(name: str) -> None:
    """Grades the pairs that come on stdin as JSON lines; answers each with its verdict and its CPU seconds."""
    logging.disable(logging.CRITICAL)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # some peers print
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    try:
        grade = GRADERS[name]()
    except ImportError as error:
        print(json.dumps({"absent": str(error)}), file=replies, flush=True)
        return
    for answer, reference in WARM_UP:
        grade(answer, [reference])
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        answer, references = json.loads(line)
        began = time.process_time()
        try:
            equal = bool(grade(answer, references))
        except BaseException as error:  # a peer's own timeout may be any of these; what raises does not accept
            equal = False
            if isinstance(error, KeyboardInterrupt):
                raise
        print(json.dumps({"equal": equal, "seconds": time.process_time() - began}), file=replies, flush=True)


class Process:
    """A grader in a process of its own, started again after each check that had to be ended."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.start()

    def start(self) -> None:
        command = [sys.executable, __file__, "--serve", self.name]
        self.child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.absent = (self.read(120.0) or {}).get("absent")

    def read(self, seconds: float) -> dict[str, Any] | None:
        assert self.child.stdout is not None
        if not select.select([self.child.stdout], [], [], seconds)[0]:
            return None
        line = self.child.stdout.readline()
        return json.loads(line) if line else None

    def grade(self, answer: str, references: list[str]) -> tuple[bool | None, float]:
        """The verdict, or None where none came in time, and the seconds."""
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps([answer, references]) + "\n")
        self.child.stdin.flush()
        began = time.monotonic()
        reply = self.read(DEADLINE_S)
        if reply is None:
            self.close()
            self.start()
            return None, time.monotonic() - began
        return reply["equal"], reply["seconds"]

    def close(self) -> None:
        self.child.kill()
        self.child.wait()
        for stream in (self.child.stdin, self.child.stdout):
            assert stream is not None
            stream.close()


def read_cases() -> list[dict[str, Any]]:
    cases = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    for case in cases:
        reference = case["reference"]
        case["references"] = [reference] if isinstance(reference, str) else reference
    return cases


def compare_on_cases(processes: list[Process], show_wrong: bool) -> None:
    cases = read_cases()
    results: Results = {}
    for process in processes:
        results[process.name] = [(case, *process.grade(case["answer"], case["references"])) for case in cases]
    print_accuracy(cases, results)
    print_speed(results)
    if show_wrong:
        print_wrong(results)


def print_accuracy(cases: list[dict[str, Any]], results: Results) -> None:
    hostile = sum(case["kind"] == "hostile" for case in cases)
    equal = sum(case["equal"] for case in cases)
    print(f"{len(cases)} cases: {equal} equal, {len(cases) - equal - hostile} unequal, {hostile} hostile (none equal)")
    print("right of all by kind; + wrongly accepted, - wrongly rejected, ! no verdict within the deadline\n")
    print(f"{'kind':<20}{'cases':>6}" + "".join(f"{name:>26}" for name in results))
    groups = defaultdict(list)
    for index, case in enumerate(cases):
        groups[case["kind"]].append(index)
    groups["all but hostile"] = [i for i, case in enumerate(cases) if case["kind"] != "hostile"]
    groups["all"] = list(range(len(cases)))
    for kind, members in groups.items():
        cells = "".join(f"{_cell([rows[i] for i in members]):>26}" for rows in results.values())
        print(f"{kind:<20}{len(members):>6}{cells}")


def print_speed(results: Results) -> None:
    print(f"\n{'seconds a check':<20}{'checks/s':>10}{'of all but hostile':>20}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for name, rows in results.items():
        times = sorted(seconds for _, _, seconds in rows)
        plain = [seconds for case, _, seconds in rows if case["kind"] != "hostile"]
        p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
        print(
            f"{name:<20}{len(times) / sum(times):>10.0f}{len(plain) / sum(plain):>20.0f}"
            f"{1e3 * p50:>9.2f}{1e3 * p99:>9.2f}{1e3 * times[-1]:>9.1f}"
        )


def print_wrong(results: Results) -> None:
    for name, rows in results.items():
        for case, verdict, _ in rows:
            if verdict is not case["equal"]:
                print(name, verdict, json.dumps(case, ensure_ascii=False)[:300])


def _cell(rows: list[Row]) -> str:
    right = sum(verdict is case["equal"] for case, verdict, _ in rows)
    accepts = sum(verdict is True and not case["equal"] for case, verdict, _ in rows)
    rejects = sum(verdict is False and case["equal"] for case, verdict, _ in rows)
    hung = sum(verdict is None for _, verdict, _ in rows)
    counts = {"+": accepts, "-": rejects, "!": hung}
    marks = "".join(f" {sign}{count}" for sign, count in counts.items() if count)
    return f"{100 * right / len(rows):.1f}%{marks}"


def compare_on_integers(processes: list[Process]) -> None:
    draw = random.Random(0)
    pairs = []
    for _ in range(2000):
        reference = draw.randrange(1000)
        pairs.append((str(reference if draw.random() < 0.5 else draw.randrange(1000)), f"{reference:03d}"))
    print("\nAIME-like answers (2,000 whole numbers below 1,000)")
    for process in processes:
        rows = [process.grade(answer, [reference]) for answer, reference in pairs]
        right = sum(verdict == (int(a) == int(b)) for (verdict, _), (a, b) in zip(rows, pairs, strict=True))
        print(f"{process.name:<20}{len(rows) / sum(seconds for _, seconds in rows):>10.0f} checks/s, {right} right")


def time_extraction() -> None:
    from acejax.verification.math.judge import judge_math

    print("\nA response of 100,000 characters, extraction and check (best and median of 200)")
    body = r"Then $x_{1} = \frac{1}{2}$, so maybe \boxed{3}; wait. "
    for name, text in {
        "one closed box at the end": "<think>" + body * 1850 + r"</think> \boxed{7}",
        "all of it after </think>": "</think>" + body * 1850 + r"\boxed{7}",
        "the last box never closes": "</think>" + body * 1850 + r"\boxed{7} \boxed{8",
        "no box": "</think>" + "a{b}" * 25_000,
    }.items():
        times = []
        for _ in range(200):
            began = time.process_time()
            judge_math(text, ["7"])
            times.append(time.process_time() - began)
        print(f"{name:<30}{len(text):>8} characters{1e3 * min(times):>9.3f} ms{1e3 * sorted(times)[100]:>9.3f} ms")


def check_references(folder: Path) -> bool:
    """Prints what references of known data sets equal, and which AIME solutions disagree with their references."""
    sets_passed = [check_pairs(name, read_records(folder, name)) for name in ("math_train", "math500")]
    aime = read_records(folder, "aime_1983_2023") + read_records(folder, "aime24")
    return check_solutions(aime) and all(sets_passed)


def read_records(folder: Path, name: str) -> list[dict[str, Any]]:
    text = (folder / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def check_pairs(name: str, records: list[dict[str, Any]]) -> bool:
    """Each reference against itself and against all others. False if one does not equal itself."""
    from acejax.verification.math.judge import equivalent

    references = [record["answer"] for record in records if record["answer"]]
    apart = [reference for reference in references if not equivalent(reference, reference)]
    pairs = list(itertools.combinations(sorted(set(references)), 2))
    began = time.process_time()
    same = [pair for pair in pairs if equivalent(*pair)]
    speed = len(pairs) / (time.process_time() - began)

    missing = len(records) - len(references)
    equal = len(references) - len(apart)
    print(f"{name}: {len(records)} records, {missing} without a reference; {equal} equal themselves")
    found = f"{len(same)} equal, {speed:.0f} checks/s"
    print(f"  {len(pairs)} pairs of two different texts: {found}; each pair found equal:")
    for a, b in same:
        print(f"    {a}   =   {b}")
    return not apart


def check_solutions(records: list[dict[str, Any]]) -> bool:
    """The boxed answers of AIME's solutions against the references. False if fewer than 99% agree."""
    from acejax.verification.math.judge import equivalent, extract_boxed

    wrong = []
    for record in records:
        answer, _ = extract_boxed(record["solution"] or "", False)
        if answer is None or not equivalent(answer, str(record["answer"])):
            wrong.append((record, answer))

    share = 1 - len(wrong) / len(records)
    agreement = f"{100 * share:.2f}% agree with the reference"
    print(f"AIME: the boxed answers of {len(records)} solutions, {agreement}; the others (None: no box):")
    for record, answer in wrong:
        where = f"{record.get('year', '')} {record.get('problem_number', record.get('id'))}"
        print(f"    {where}: solution {answer!r}, reference {record['answer']!r}")
    return share >= 0.99


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--data", type=Path, help="check the references of DATA/math/*.jsonl instead")
    options.add_argument("--wrong", action="store_true", help="print each case that a grader has wrong")
    options.add_argument("--only", choices=sorted(GRADERS), help="this grader alone")
    options.add_argument("--serve", choices=sorted(GRADERS), help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    if arguments.data:
        sys.exit(not check_references(arguments.data / "math"))
    processes = [Process(name) for name in GRADERS if arguments.only in (None, name)]
    for process in processes:
        if process.absent:
            print(f"absent: {process.name} ({process.absent})")
    present = [process for process in processes if not process.absent]
    compare_on_cases(present, arguments.wrong)
    compare_on_integers(present)
    for process in processes:
        process.close()
    time_extraction()


if __name__ == "__main__":
    main()
