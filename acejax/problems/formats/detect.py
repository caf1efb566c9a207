"""Which dataset a row comes from, told by its columns, and the row as a record of ours.

`meta.format` names what was recognised and `meta.answer_format` how answers or tests were written; small columns that
have no place in our record (difficulty, dates, tags) stay in `meta` under their names. The prompt is the dataset's own
text.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from acejax.problems.formats.answers import accepted, ground_truth
from acejax.problems.formats.asserts import function_suite, humaneval_suite, mbpp_suite
from acejax.problems.formats.common import decoded, expect, refuse
from acejax.problems.formats.suites import packed_cases, suite

Row = Mapping[str, Any]
Record = dict[str, Any]

QUESTION_FIELDS = ("problem", "question")
ID_FIELDS = ("id", "task_id", "question_id", "problem_id", "unique_id")
KEPT_CHARACTERS = 200
MATH = ("math", "maths")
CODE = ("code", "coding")
_SECONDS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*s(?:ec|econd)?s?\.?\s*", re.IGNORECASE)
_MEGABYTES = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:mb|mib|megabytes?)\s*", re.IGNORECASE)


def convert(row: Row, where: str) -> Record | None:
    """The row as a record without `source` and perhaps without `id`; None where it is a record of ours already.

    Raises UserError, naming the field, for a row that no format fits or that cannot be judged.
    """
    name = _recognise(row)
    if name is None:
        return None
    record, used, answer_format = _CONVERTERS[name](row, where)
    # What the record holds already, and what its question was made of, is not said twice.
    taken = {"meta", "attempts", "source", "answer", "tests", "solution", *QUESTION_FIELDS, *ID_FIELDS, *used}
    dated = {key: value.isoformat() if isinstance(value, datetime.date) else value for key, value in row.items()}
    extra = {key: value for key, value in dated.items() if key not in taken and _is_small(value)}
    found = {"format": name, "answer_format": answer_format}
    record["meta"] = {**extra, **record.get("meta", {}), **_mapping(row, "meta", where), **found}
    identity = next((row[field] for field in ID_FIELDS if row.get(field) not in (None, "")), None)
    if identity is not None:
        record.setdefault("id", identity)
    if isinstance(row.get("source"), str):
        record.setdefault("source", row["source"])
    if row.get("attempts"):
        record["attempts"] = row["attempts"]
    return record


def _recognise(row: Row) -> str | None:
    def has(*names: str) -> bool:
        return all(row.get(name) not in (None, "") for name in names)

    if has("reward_model", "prompt") and isinstance(row["reward_model"], Mapping):
        return "verl"
    if has("question_content", "public_test_cases"):
        return "livecodebench"
    if has("description", "input_format") or has("official_tests"):
        return "codeforces"
    if has("description") and (has("public_tests") or has("private_tests") or has("generated_tests")):
        return "code_contests"
    if has("question") and "input_output" in row:
        return "apps"
    if has("test", "entry_point"):
        return "leetcode" if str(row["entry_point"]).startswith("Solution") else "humaneval"
    if has("test_list"):
        return "mbpp"
    if isinstance(row.get("prompt"), str):
        return None
    if "tests" in row:
        return (
            "leetcode" if isinstance(row["tests"], Mapping) and row["tests"].get("functional") else "problem and tests"
        )
    texts = [row.get(name) for name in ("answer", "solution")]
    if (
        isinstance(texts[0], str)
        and "####" in texts[0]
        or texts[0] is None
        and isinstance(texts[1], str)
        and "####" in texts[1]
    ):
        return "gsm8k"
    return "problem and answer"


def _is_small(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) or (isinstance(value, str) and 0 < len(value) <= KEPT_CHARACTERS)


def _mapping(row: Row, field: str, where: str) -> Row:
    value = decoded(row.get(field), where, field) or {}
    return value if isinstance(value, Mapping) else refuse(where, field, value, "give an object")


def _question(row: Row, where: str, *fields: str) -> str:
    text = next((row[name] for name in fields if isinstance(row.get(name), str) and row[name].strip()), None)
    if text is None:
        named = " or ".join(f"'{name}'" for name in fields)
        refuse(
            where,
            fields[0],
            row.get(fields[0]),
            f"no question found: give field {named} (or 'prompt'); the row has {', '.join(row)}",
        )
    return text


# Each converter returns the record, the further columns that went into it, and how answers or tests were written.
Converted = tuple[Record, tuple[str, ...], str]


def _plain(row: Row, where: str) -> Converted:
    """DeepScaleR, AceReason-Math, MATH, AIME, GSM8K and all that have a question and an answer."""
    question = _question(row, where, *QUESTION_FIELDS)
    answers, form = accepted(row, where)
    return {"domain": "math", "prompt": question, "answer": answers}, (), form


def _with_tests(row: Row, where: str) -> Converted:
    """DeepCoder (`tests` as JSON text, `starter_code`, `metadata.func_name`), and anything with a question and a
    suite.
    """
    metadata = _mapping(row, "metadata", where)
    tests, form = suite(row["tests"], where, "tests", metadata.get("func_name"))
    record = {"domain": "code", "prompt": _question(row, where, *QUESTION_FIELDS), "tests": tests}
    return record | _starter(row), ("starter_code", "solutions", "metadata"), form


def _leetcode(row: Row, where: str) -> Converted:
    if "tests" in row:
        return _with_tests(row, where)
    expect(row, where, "a string", "test", "entry_point")
    tests = function_suite(row["test"], where, "test", row["entry_point"])
    prompt = _question(row, where, "problem_description", "query", "prompt")
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
    return {"domain": "code", "prompt": prompt, "tests": tests} | _starter(row), used, "check(candidate)"


def _verl(row: Row, where: str) -> Converted:
    """verl's rows, and so Skywork-OR1 and Eurus-2: messages, `reward_model.ground_truth`, `ability`, `extra_info`."""
    field = "reward_model.ground_truth"
    truth = row["reward_model"].get("ground_truth")
    extra = _mapping(row, "extra_info", where)
    ability = str(row.get("ability") or "").lower()
    record: Record = {"prompt": _user_text(row["prompt"], extra, where), "source": row.get("data_source")}
    if ability in CODE or (ability not in MATH and _is_suite(truth)):
        tests, form = suite(truth, where, field)
        record |= {"domain": "code", "tests": tests}
    else:
        answers, form = ground_truth(truth, where, field)
        record |= {"domain": "math", "answer": answers}
    kept = {key: value for key, value in extra.items() if isinstance(value, (int, float, Mapping)) or _is_small(value)}
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
    return isinstance(truth, Mapping) or (isinstance(truth, list) and bool(truth) and isinstance(truth[0], Mapping))


def _user_text(prompt: Any, extra: Row, where: str) -> str:
    """The user's turn; where `extra_info.question` is a part of it, that part: the rest is another framework's
    instruction.
    """
    if isinstance(prompt, str):
        return prompt
    turns = (
        [turn for turn in prompt if isinstance(turn, Mapping) and turn.get("role") != "system"]
        if isinstance(prompt, list)
        else []
    )
    if len(turns) != 1 or turns[0].get("role") != "user" or not isinstance(turns[0].get("content"), str):
        refuse(where, "prompt", prompt, "give one message of the user, after a system message at most")
    content, question = turns[0]["content"], extra.get("question")
    return question if isinstance(question, str) and question.strip() and question in content else content


def _apps(row: Row, where: str) -> Converted:
    """APPS and TACO: `input_output` as JSON text, empty where a problem has no tests."""
    tests, form = suite(row["input_output"], where, "input_output")
    record: Record = {"domain": "code", "prompt": _question(row, where, "question"), "tests": tests} | _starter(row)
    if seconds := _SECONDS.fullmatch(str(row.get("time_limit") or "")):
        record["time_limit_s"] = float(seconds[1])
    if megabytes := _MEGABYTES.fullmatch(str(row.get("memory_limit") or "")):
        record["memory_limit_mb"] = max(1, round(float(megabytes[1])))
    return record, ("input_output", "solutions", "starter_code"), form


def _code_contests(row: Row, where: str) -> Converted:
    if row.get("input_file") or row.get("output_file"):
        field = "input_file" if row.get("input_file") else "output_file"
        refuse(where, field, row[field], "programs here use stdin and stdout; leave the row out")
    expect(row, where, "a string", "description", "name")
    expect(row, where, "a number above 0", "memory_limit_bytes")
    cases: list[Any] = []
    for field in ("public_tests", "private_tests", "generated_tests"):
        tests = row.get(field)
        if tests and not (isinstance(tests, Mapping) and not any(tests.values())):
            cases += suite(tests, where, field)[0]["cases"]
    if not cases:
        refuse(where, "private_tests", row.get("private_tests"), "a problem needs at least one test")
    record: Record = {"domain": "code", "prompt": row["description"], "tests": {"kind": "stdin", "cases": cases}}
    limit = row.get("time_limit")
    if isinstance(limit, Mapping):
        expect(
            {key: value or None for key, value in limit.items()},
            f"{where}: time_limit",
            "a number above 0",
            "seconds",
            "nanos",
        )
        seconds = (limit.get("seconds") or 0) + (limit.get("nanos") or 0) / 1e9
        record |= {"time_limit_s": seconds} if seconds > 0 else {}
    if row.get("memory_limit_bytes"):
        record["memory_limit_mb"] = max(1, round(row["memory_limit_bytes"] / 2**20))
    if row.get("name"):
        record["id"] = row["name"]
    return record, ("description", "name", "untranslated_description"), "inputs and outputs"


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
    parts = [_question(row, where, "description", "title")]
    for heading, field in (("Input", "input_format"), ("Output", "output_format")):
        if row.get(field):
            parts.append(f"{heading}\n\n{row[field]}")
    for number, example in enumerate(row.get("examples") or [], 1):
        parts.append(
            f"Example {number}\n\nInput:\n```\n{example['input']}\n```\nOutput:\n```\n{example['output']}\n```"
        )
    if row.get("note"):
        parts.append(f"Note\n\n{row['note']}")
    tests, form = suite(row.get("official_tests") or row.get("examples"), where, "official_tests")
    record: Record = {"domain": "code", "prompt": "\n\n".join(parts), "tests": tests}
    if row.get("time_limit"):
        record["time_limit_s"] = row["time_limit"]
    if row.get("memory_limit"):
        record["memory_limit_mb"] = max(1, round(row["memory_limit"]))
    return record, ("description", "input_format", "output_format", "note", "editorial"), form


def _livecodebench(row: Row, where: str) -> Converted:
    cases: list[Any] = []
    for field in ("public_test_cases", "private_test_cases"):
        expect(row, where, "a string", field)
        if row.get(field):
            cases += packed_cases(row[field], where, field)
    tests, form = suite(cases, where, "private_test_cases", _mapping(row, "metadata", where).get("func_name"))
    record = {"domain": "code", "prompt": _question(row, where, "question_content"), "tests": tests} | _starter(row)
    packed = not row.get("private_test_cases", "[").lstrip().startswith("[")
    used = ("question_content", "public_test_cases", "private_test_cases", "metadata", "starter_code")
    return record, used, "pickled list of tests" if packed else form


def _humaneval(row: Row, where: str) -> Converted:
    """HumanEval and its EvalPlus edition: for evaluation only, since tests and program share a process."""
    expect(row, where, "a string", "test")
    prompt = _question(row, where, "prompt")
    tests = humaneval_suite(prompt, row["test"], str(row["entry_point"]), where)
    return (
        {"domain": "code", "prompt": prompt, "tests": tests},
        ("prompt", "test", "entry_point", "canonical_solution"),
        "check(candidate)",
    )


def _mbpp(row: Row, where: str) -> Converted:
    """MBPP, its sanitised and its EvalPlus edition (`test` is a whole program): for evaluation only."""
    expect(row, where, "a string", "code", "test", "test_setup_code")
    expect(row, where, "a list of strings", "test_list", "test_imports")
    shown = row["test_list"]
    set_up = row.get("test_setup_code") or "\n".join(row.get("test_imports") or [])
    tests = mbpp_suite(shown, row.get("code") or "", where, set_up=set_up, whole=row.get("test") or "")
    # Only the assertions say what the function is called.
    prompt = "\n".join([_question(row, where, "text", "prompt"), "", *shown])
    return (
        {"domain": "code", "prompt": prompt, "tests": tests},
        ("text", "prompt", "code", "test", "test_setup_code"),
        "assertions",
    )


def _starter(row: Row) -> Record:
    return (
        {"starter_code": row["starter_code"]}
        if isinstance(row.get("starter_code"), str) and row["starter_code"].strip()
        else {}
    )


_CONVERTERS: Mapping[str, Callable[[Row, str], Converted]] = {
    "verl": _verl,
    "livecodebench": _livecodebench,
    "codeforces": _codeforces,
    "code_contests": _code_contests,
    "apps": _apps,
    "leetcode": _leetcode,
    "humaneval": _humaneval,
    "mbpp": _mbpp,
    "problem and tests": _with_tests,
    "problem and answer": _plain,
    "gsm8k": _plain,
}
