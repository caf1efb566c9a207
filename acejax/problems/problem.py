"""The records that travel between rooms: Problem, Completion and Trace.

Each is a frozen dataclass. `from_record` makes a Problem or a Completion of a row's dict and raises UserError naming
the place, the field, what was found and what to do; `to_record` gives a Problem's dict back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from acejax.errors import UserError
from acejax.problems.formats.common import lines_of

Domain = str  # one of DOMAINS
FinishReason = Literal["stop", "length"]
# What an argument or a result is built as: a linked list or tree of a level list; an object with integers for keys.
VALUE_KINDS = ("ListNode", "TreeNode", "IntKeys")
CASE_FIELDS = {"stdin": ("input", "output"), "function": ("output",), "script": ()}
TEST_KINDS = {"stdin": ("cases",), "function": ("fn_name", "cases"), "script": ("entry_point", "script")}


@dataclass(frozen=True)
class JudgedBy:
    """What the problems of a domain are judged by: one field of Problem.

    `read(value, where)` turns the field of a record into that of Problem, and raises UserError where it has another
    form; `write` turns it back. `instruction` follows the prompt in every style; where it is empty, prompts.py has one
    for each style.
    """

    field: str
    read: Callable[[Any, str], Any]
    write: Callable[[Any], Any]
    instruction: str = ""


def _read_answer(value: Any, where: str) -> tuple[str, ...]:
    answer: tuple[Any, ...] = ()
    if isinstance(value, (list, tuple)):
        answer = tuple(value)
    elif isinstance(value, str):
        answer = (value,)
    if not answer or not all(isinstance(one, str) and one.strip() for one in answer):
        raise UserError(f"{where}: field 'answer' is {value!r}; give a string, or a list of accepted strings")
    return answer


def _write_answer(answer: tuple[str, ...]) -> str | list[str]:
    return answer[0] if len(answer) == 1 else list(answer)


def _read_tests(tests: Any, where: str) -> Mapping[str, Any]:
    kind = _kind_of(tests)
    if kind not in TEST_KINDS:
        raise UserError(f"{where}: field 'tests' has kind {kind!r}; give one of {', '.join(TEST_KINDS)}")
    for name in TEST_KINDS[kind]:
        if not tests.get(name):
            raise UserError(f"{where}: field 'tests.{name}' is {tests.get(name)!r}; tests of kind '{kind}' need it")
    # Parquet fills what a row has not with nulls.
    read = {name: value for name, value in tests.items() if value is not None} | {"kind": kind}
    if TEST_KINDS[kind][-1] == "cases":
        cases = read["cases"]
        if not isinstance(cases, (list, tuple)):
            raise UserError(f"{where}: field 'tests.cases' is {type(cases).__name__}; give a list of objects")
        read["cases"] = [_read_case(case, kind, f"{where}: field 'tests.cases[{n}]'") for n, case in enumerate(cases)]
    _check_types(read.get("types"), where)
    return read


def _kind_of(tests: Any) -> Any:
    """The kind that tests name; where they name none, the one whose fields they have."""
    if not isinstance(tests, Mapping):
        return None
    if tests.get("kind") is not None:
        return tests["kind"] if isinstance(tests["kind"], str) else None
    if tests.get("cases") is None:
        return "script" if tests.get("script") is not None else None
    return "function" if tests.get("fn_name") is not None else "stdin"


def _read_case(case: Any, kind: str, place: str) -> Mapping[str, Any]:
    """One test, without the nulls that say nothing: a null output is a result of a function, and no printed text."""
    absent = [name for name in CASE_FIELDS[kind] if not isinstance(case, Mapping) or name not in case]
    if absent:
        raise UserError(f"{place} lacks {' and '.join(absent)}; a test of kind '{kind}' needs it")
    if kind == "stdin":
        return _read_printed(case, place)
    read = {name: value for name, value in case.items() if value is not None or name == "output"}
    if not read.keys() & {"args", "kwargs"}:
        raise UserError(f"{place} lacks args or kwargs; a test of kind '{kind}' needs it")
    if not isinstance(read.get("args", []), (list, tuple)) or not isinstance(read.get("kwargs", {}), Mapping):
        raise UserError(f"{place} has args or kwargs of another form; give a list of arguments, or an object by name")
    return read


def _read_printed(case: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    if case["output"] is None:
        raise UserError(f"{place} has the output None; give what the program must print, or leave the test out")
    read = {name: value for name, value in case.items() if value is not None}
    return read | {name: lines_of(case[name]) for name in CASE_FIELDS["stdin"]}


def _check_types(types: Any, where: str) -> None:
    """`types`: {"args": [kind, ...], "kwargs": {name: kind}, "output": kind}, each part optional, each kind one of
    VALUE_KINDS or null.
    """
    if not _types_fit({} if types is None else types):
        kinds = " or ".join(VALUE_KINDS)
        raise UserError(
            f"{where}: field 'tests.types' is {types!r}; give args (a list), kwargs and output, each {kinds}"
        )


def _types_fit(types: Any) -> bool:
    if not isinstance(types, Mapping) or not types.keys() <= {"args", "kwargs", "output"}:
        return False
    args, kwargs = types.get("args") or [], types.get("kwargs") or {}
    if not isinstance(args, list) or not isinstance(kwargs, Mapping):
        return False
    kinds = (*args, *kwargs.values(), types.get("output"))
    return all(kind in (None, *VALUE_KINDS) for kind in kinds)


# A new domain is an entry here and one in `verification.verifiers.VERIFIERS`; two domains may share a field.
DOMAINS: dict[Domain, JudgedBy] = {
    "math": JudgedBy("answer", _read_answer, _write_answer),
    "code": JudgedBy("tests", _read_tests, lambda tests: tests),
}


def checked_domain(domain: object, where: str, field: str = "domain") -> Domain:
    """`domain`, where it is one of DOMAINS. Raises UserError naming the place, the field and what it may be."""
    if isinstance(domain, str) and domain in DOMAINS:
        return domain
    known = " or ".join(f'"{name}"' for name in DOMAINS)
    raise UserError(f"{where}: field '{field}' is {domain!r}; use {known}")


@dataclass(frozen=True)
class Problem:
    """A task whose answer can be checked.

    `domain` is one of DOMAINS. `answer` holds the accepted strings of a mathematics problem; `tests` the test suite of
    a code problem, in one of the three kinds of TEST_KINDS. `time_limit_s` is in seconds per test, `memory_limit_mb` in
    MiB. `attempts` records how earlier policies fared: dicts with `policy`, `n`, `correct` and `mean_tokens`.
    """

    id: str
    domain: Domain
    prompt: str
    source: str = ""
    answer: tuple[str, ...] = ()
    tests: Mapping[str, Any] | None = None
    time_limit_s: float | None = None
    memory_limit_mb: int | None = None
    starter_code: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    attempts: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def from_record(cls, record: Mapping[str, Any], where: str) -> Problem:
        """Checks one record read at `where` ("file:line"). Raises UserError if a field is missing or has the wrong
        form.
        """
        domain = checked_domain(record.get("domain"), where)
        for key in ("id", "prompt"):
            value = record.get(key)
            if not isinstance(value, str) or not value:
                raise UserError(f"{where}: field '{key}' is {value!r}; give a string that is not empty")
        by = DOMAINS[domain]
        reference: dict[str, Any] = {by.field: by.read(record.get(by.field), where)}
        for key in ("time_limit_s", "memory_limit_mb"):
            _check_limit(record.get(key), key, where)
        return cls(
            id=record["id"],
            domain=domain,
            prompt=record["prompt"],
            source=record.get("source") or "",
            time_limit_s=record.get("time_limit_s"),
            memory_limit_mb=record.get("memory_limit_mb"),
            starter_code=record.get("starter_code"),
            meta=record.get("meta") or {},
            attempts=_checked_attempts(record.get("attempts") or (), where),
            **reference,
        )

    def to_record(self) -> dict[str, Any]:
        """The record that `from_record` reads; absent optional fields are left out."""
        record: dict[str, Any] = {"id": self.id, "domain": self.domain, "prompt": self.prompt, "source": self.source}
        by = DOMAINS[self.domain]
        record[by.field] = by.write(getattr(self, by.field))
        for name in ("time_limit_s", "memory_limit_mb", "starter_code", "meta", "attempts"):
            value = getattr(self, name)
            if value:
                record[name] = list(value) if name == "attempts" else value
        return record


def _check_limit(value: Any, name: str, where: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise UserError(f"{where}: field '{name}' is {value!r}; give a number above 0")


def _checked_attempts(attempts: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    def fits(one: Any) -> bool:
        if not isinstance(one, Mapping):
            return False
        correct, n = one.get("correct"), one.get("n")
        return isinstance(correct, int) and isinstance(n, int) and 0 <= correct <= n

    if not isinstance(attempts, (list, tuple)) or not all(fits(one) for one in attempts):
        raise UserError(
            f"{where}: field 'attempts' is {attempts!r}; "
            "give a list of objects with numbers 'n' and 'correct' (at most n)"
        )
    return tuple(attempts)


@dataclass(frozen=True)
class Completion:
    """One sampled response. `ids` are the sampled tokens with the stop token, `logprobs` (nats) theirs under the
    sampler.
    """

    problem_id: str
    sample: int
    response: str
    finish_reason: FinishReason
    prompt_ids: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    stage: str = ""
    step: int = 0
    seed: int = 0

    @classmethod
    def from_record(cls, record: Mapping[str, Any], where: str) -> Completion:
        """Checks one record read at `where` ("file:line"). Raises UserError if a field is missing or has the wrong
        form.
        """
        for name in ("problem_id", "response"):
            if not isinstance(record.get(name), str):
                raise UserError(f"{where}: field '{name}' is {record.get(name)!r}; give a string")
        sample, finish = record.get("sample"), record.get("finish_reason", "stop")
        if isinstance(sample, bool) or not isinstance(sample, int) or sample < 0:
            raise UserError(
                f"{where}: field 'sample' is {sample!r}; "
                "give the completion's number among those of its problem, from 0"
            )
        if finish not in ("stop", "length"):
            raise UserError(f'{where}: field \'finish_reason\' is {finish!r}; use "stop" or "length"')
        rest: dict[str, Any] = {
            name: record[name] for name in ("stage", "step", "seed") if record.get(name) is not None
        }
        rest |= {
            name: tuple(record[name])
            for name in ("prompt_ids", "ids", "logprobs")
            if isinstance(record.get(name), list)
        }
        return cls(record["problem_id"], sample, record["response"], finish, **rest)


@dataclass(frozen=True)
class Trace:
    """A worked solution for supervised training: `response` is what the policy should say after the prompt."""

    id: str
    prompt: str
    response: str
    source: str = ""
    domain: Domain = "math"
