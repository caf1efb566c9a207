"""A row of each known dataset as a record of ours, without what `detect.as_record` adds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from acejax.problems.formats.answers import accepted, ground_truth, is_stated, stated_field
from acejax.problems.formats.asserts import function_suite, humaneval_suite, mbpp_suite
from acejax.problems.formats.choices import options_of, right_option, with_options
from acejax.problems.formats.columns import (
    is_text,
    question,
    question_parts,
    users_text,
    whole_question,
)
from acejax.problems.formats.common import Record, Row, expect, is_small, mapping, refuse
from acejax.problems.formats.suites import packed_cases, suite

LIMITS = ("time_limit_s", "memory_limit_mb")
MATH = ("math", "maths")
CODE = ("code", "coding")
MEBIBYTE = 1 << 20
NANOSECONDS = 1e9  # of a second
_SECONDS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*s(?:ec|econd)?s?\.?\s*", re.IGNORECASE)
_MEGABYTES = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:mb|mib|megabytes?)\s*", re.IGNORECASE)

# Each converter returns the record, the further columns that went into it, and how answers or tests were written.
Converted = tuple[Record, tuple[str, ...], str]


def _question_and_answer(row: Row, where: str) -> Converted:
    """DeepScaleR, AceReason-Math, MATH, AIME, GSM8K, ASDiv, MMLU and all that have a question and an answer."""
    options = options_of(row)
    prompt = with_options(whole_question(row, where), row, options)
    answers = right_option(row, options, where) if options else []
    form = "option"
    if not answers:
        answers, form = accepted(row, where)
    used = question_parts(row)
    if is_stated(row.get("answer")) or not is_text(row.get("solution")):
        used = (*used, stated_field(row))
    return {"domain": "math", "prompt": prompt, "answer": answers}, used, form


def _question_and_tests(row: Row, where: str) -> Converted:
    """DeepCoder (`tests` as JSON text, `starter_code`, `metadata.func_name`), and anything with a question and a
    suite.
    """
    metadata = mapping(row, "metadata", where)
    starter = _starter(row)
    tests, form = suite(row["tests"], where, "tests", metadata.get("func_name"), starter.get("starter_code", ""))
    record = _code(whole_question(row, where), tests) | starter
    limits = {name: row[name] for name in LIMITS if name in row}
    return record | limits, ("starter_code", "solutions", "metadata", *LIMITS, *question_parts(row)), form


def _leetcode(row: Row, where: str) -> Converted:
    if "tests" in row:
        return _question_and_tests(row, where)
    expect(row, where, "a string", "test", "entry_point")
    tests = function_suite(row["test"], where, "test", row["entry_point"])
    prompt = question(row, where, "problem_description", "query", "prompt")
    used = (
        "starter_code",
        "test",
        "entry_point",
        "problem_description",
        "query",
        "prompt",
        "completion",
        "response",
        "input_output",
    )
    return _code(prompt, tests) | _starter(row), used, "check(candidate)"


def _verl(row: Row, where: str) -> Converted:
    """verl's rows, and so Skywork-OR1 and Eurus-2: messages, `reward_model.ground_truth`, `ability`, `extra_info`."""
    field = "reward_model.ground_truth"
    truth = row["reward_model"].get("ground_truth")
    extra = mapping(row, "extra_info", where)
    ability = str(row.get("ability") or "").lower()
    record: Record = {"prompt": _asked(row["prompt"], extra, where), "source": row.get("data_source")}
    if ability in CODE or (ability not in MATH and _is_suite(truth)):
        record["domain"] = "code"
        record["tests"], form = suite(truth, where, field)
    else:
        record["domain"] = "math"
        record["answer"], form = ground_truth(truth, where, field)
    kept = {key: value for key, value in extra.items() if isinstance(value, Mapping) or is_small(value)}
    if kept:
        record["meta"] = {"extra_info": kept}
    return record, ("prompt", "data_source", "reward_model", "extra_info"), form


def _is_suite(truth: Any) -> bool:
    """Whether a ground truth of unknown ability holds tests: an object or a list of objects, also as JSON text."""
    if isinstance(truth, str) and truth.lstrip().startswith(("{", "[{")):
        try:
            truth = json.loads(truth)
        except (ValueError, RecursionError):
            return False
    if isinstance(truth, list) and truth:
        truth = truth[0]
    return isinstance(truth, Mapping)


def _asked(prompt: Any, extra: Row, where: str) -> str:
    """The user's turn; where `extra_info.question` is a part of it, that part: the rest is another framework's
    instruction.
    """
    content = users_text(prompt, where, "prompt")
    asked = extra.get("question")
    if is_text(asked) and asked in content and not isinstance(prompt, str):
        return asked
    return content


def _apps(row: Row, where: str) -> Converted:
    """APPS and TACO: `input_output` as JSON text, empty where a problem has no tests."""
    starter = _starter(row)
    tests, form = suite(row["input_output"], where, "input_output", starter=starter.get("starter_code", ""))
    record = _code(question(row, where, "question"), tests) | starter
    seconds = _SECONDS.fullmatch(str(row.get("time_limit") or ""))
    if seconds:
        record["time_limit_s"] = float(seconds[1])
    megabytes = _MEGABYTES.fullmatch(str(row.get("memory_limit") or ""))
    if megabytes:
        record["memory_limit_mb"] = _whole_mib(float(megabytes[1]))
    return record, ("input_output", "solutions", "starter_code"), form


def _code_contests(row: Row, where: str) -> Converted:
    if row.get("input_file") or row.get("output_file"):
        field = "input_file" if row.get("input_file") else "output_file"
        refuse(where, field, row[field], "programs here use stdin and stdout; leave the row out")
    expect(row, where, "a string", "description", "name")
    expect(row, where, "a number above 0", "memory_limit_bytes")
    cases = _all_cases(row, where)
    record = _code(row["description"], {"kind": "stdin", "cases": cases})
    seconds = _duration(row.get("time_limit"), where)
    if seconds > 0:
        record["time_limit_s"] = seconds
    if row.get("memory_limit_bytes"):
        record["memory_limit_mb"] = _whole_mib(row["memory_limit_bytes"] / MEBIBYTE)
    if row.get("name"):
        record["id"] = row["name"]
    return record, ("description", "name", "untranslated_description"), "inputs and outputs"


def _all_cases(row: Row, where: str) -> list[Any]:
    """CodeContests' tests, which stand in three columns."""
    cases: list[Any] = []
    for field in ("public_tests", "private_tests", "generated_tests"):
        tests = row.get(field)
        empty = isinstance(tests, Mapping) and not any(tests.values())
        if tests and not empty:
            cases += suite(tests, where, field)[0]["cases"]
    if not cases:
        refuse(where, "private_tests", row.get("private_tests"), "a problem needs at least one test")
    return cases


def _duration(limit: Any, where: str) -> float:
    """Seconds of {"seconds", "nanos"}; 0 where nothing is stated."""
    if not isinstance(limit, Mapping):
        return 0
    stated = {key: value for key, value in limit.items() if value}
    expect(stated, f"{where}: time_limit", "a number above 0", "seconds", "nanos")
    return stated.get("seconds", 0) + stated.get("nanos", 0) / NANOSECONDS


def _whole_mib(megabytes: float) -> int:
    return max(1, round(megabytes))


def _codeforces(row: Row, where: str) -> Converted:
    """open-r1's codeforces: sections of a statement and `official_tests`; a problem with a checker or an interactor
    cannot be judged.
    """
    for field in ("interaction_format", "generated_checker"):
        if row.get(field):
            refuse(where, field, row[field], "only problems with one right output can be judged; leave the row out")
    if row.get("input_mode") not in (None, "", "stdio"):
        refuse(where, "input_mode", row["input_mode"], "programs here use stdin and stdout; leave the row out")
    expect(row, where, "a list of objects with input and output", "examples", "official_tests")
    expect(row, where, "a number above 0", "time_limit", "memory_limit")
    prompt = _statement(row, where)
    tests, form = suite(row.get("official_tests") or row.get("examples"), where, "official_tests")
    record = _code(prompt, tests)
    if row.get("time_limit"):
        record["time_limit_s"] = row["time_limit"]
    if row.get("memory_limit"):
        record["memory_limit_mb"] = _whole_mib(row["memory_limit"])
    return record, ("description", "input_format", "output_format", "note", "editorial"), form


def _statement(row: Row, where: str) -> str:
    """A problem of Codeforces, put together from its sections."""
    parts = [question(row, where, "description", "title")]
    for heading, field in (("Input", "input_format"), ("Output", "output_format")):
        if row.get(field):
            parts.append(f"{heading}\n\n{row[field]}")
    for number, example in enumerate(row.get("examples") or [], 1):
        given = f"Input:\n```\n{example['input']}\n```"
        wanted = f"Output:\n```\n{example['output']}\n```"
        parts.append(f"Example {number}\n\n{given}\n{wanted}")
    if row.get("note"):
        parts.append(f"Note\n\n{row['note']}")
    return "\n\n".join(parts)


def _livecodebench(row: Row, where: str) -> Converted:
    cases: list[Any] = []
    for field in ("public_test_cases", "private_test_cases"):
        expect(row, where, "a string", field)
        if row.get(field):
            cases += packed_cases(row[field], where, field)
    fn_name = mapping(row, "metadata", where).get("func_name")
    tests, form = suite(cases, where, "private_test_cases", fn_name)
    if not row.get("private_test_cases", "[").lstrip().startswith("["):
        form = "pickled list of tests"
    record = _code(question(row, where, "question_content"), tests)
    used = ("question_content", "public_test_cases", "private_test_cases", "metadata", "starter_code")
    return record | _starter(row), used, form


def _humaneval(row: Row, where: str) -> Converted:
    """HumanEval and its EvalPlus edition: for evaluation only, since tests and program share a process."""
    expect(row, where, "a string", "test")
    prompt = question(row, where, "prompt")
    tests = humaneval_suite(prompt, row["test"], str(row["entry_point"]), where)
    used = ("prompt", "test", "entry_point", "canonical_solution")
    return _code(prompt, tests), used, "check(candidate)"


def _mbpp(row: Row, where: str) -> Converted:
    """MBPP, its sanitised and its EvalPlus edition (`test` is a whole program): for evaluation only."""
    expect(row, where, "a string", "code", "test", "test_setup_code")
    expect(row, where, "a list of strings", "test_list", "test_imports")
    shown = row["test_list"]
    set_up = row.get("test_setup_code") or "\n".join(row.get("test_imports") or [])
    tests = mbpp_suite(shown, row.get("code") or "", where, set_up=set_up, whole=row.get("test") or "")
    # Only the assertions say what the function is called.
    prompt = "\n".join([question(row, where, "text", "prompt"), "", *shown])
    used = ("text", "prompt", "code", "test", "test_setup_code")
    return _code(prompt, tests), used, "assertions"


def _code(prompt: str, tests: Record) -> Record:
    return {"domain": "code", "prompt": prompt, "tests": tests}


def _starter(row: Row) -> Record:
    code = row.get("starter_code")
    return {"starter_code": code} if is_text(code) else {}


CONVERTERS: Mapping[str, Callable[[Row, str], Converted]] = {
    "verl": _verl,
    "livecodebench": _livecodebench,
    "codeforces": _codeforces,
    "code_contests": _code_contests,
    "apps": _apps,
    "leetcode": _leetcode,
    "humaneval": _humaneval,
    "mbpp": _mbpp,
    "problem and tests": _question_and_tests,
    "problem and answer": _question_and_answer,
    "gsm8k": _question_and_answer,
}
