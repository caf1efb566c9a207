"""The records that travel between rooms: Problem, Completion and Trace.

Each is a frozen dataclass with `from_record` (a dict read from JSON Lines or Parquet) and `to_record` (the same dict
back). `from_record` raises UserError naming the place, the field, what was found and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from acejax.errors import UserError

Domain = str  # one of DOMAINS
FinishReason = Literal["stop", "length"]
NODE_KINDS = ("ListNode", "TreeNode")
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
    kind = tests.get("kind") if isinstance(tests, Mapping) else None
    if kind not in TEST_KINDS:
        raise UserError(f"{where}: field 'tests' has kind {kind!r}; give one of {', '.join(TEST_KINDS)}")
    for name in TEST_KINDS[kind]:
        if not tests.get(name):
            raise UserError(f"{where}: field 'tests.{name}' is {tests.get(name)!r}; tests of kind '{kind}' need it")
    for number, case in enumerate(tests.get("cases", ())):
        absent = [name for name in CASE_FIELDS[kind] if not isinstance(case, Mapping) or name not in case]
        if absent or (kind == "function" and not case.keys() & {"args", "kwargs"}):
            missing = " and ".join(absent) or "args or kwargs"
            raise UserError(f"{where}: field 'tests.cases[{number}]' lacks {missing}; a test of kind '{kind}' needs it")
    _check_types(tests.get("types"), where)
    return tests


def _check_types(types: Any, where: str) -> None:
    """`types`: {"args": [kind, ...], "kwargs": {name: kind}, "output": kind}, each part optional, each kind one of
    NODE_KINDS or null.
    """
    if not _types_fit({} if types is None else types):
        kinds = " or ".join(NODE_KINDS)
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
    return all(kind in (None, *NODE_KINDS) for kind in kinds)


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
        """The record as DESIGN's table has it; absent optional fields are left out."""
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
