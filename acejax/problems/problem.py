"""The records that travel between rooms: Problem, Completion and Trace.

Each is a frozen dataclass with `from_record` (a dict read from JSON Lines or Parquet) and `to_record` (the same dict
back). `from_record` raises UserError naming the place, the field, what was found and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from acejax.errors import UserError

Domain = Literal["math", "code"]
FinishReason = Literal["stop", "length"]
NODE_KINDS = ("ListNode", "TreeNode")
CASE_FIELDS = {"stdin": ("input", "output"), "function": ("output",), "script": ()}
TEST_KINDS = {"stdin": ("cases",), "function": ("fn_name", "cases"), "script": ("entry_point", "script")}


@dataclass(frozen=True)
class Problem:
    """A task whose answer can be checked.

    `answer` holds the accepted strings of a mathematics problem; `tests` the test suite of a code problem, in one of
    the three kinds of TEST_KINDS. `time_limit_s` is in seconds per test, `memory_limit_mb` in MiB. `attempts` records
    how earlier policies fared: dicts with `policy`, `n`, `correct` and `mean_tokens`.
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
        domain = record.get("domain")
        if domain not in ("math", "code"):
            raise UserError(f'{where}: field \'domain\' is {domain!r}; use "math" or "code"')
        for name in ("id", "prompt"):
            value = record.get(name)
            if not isinstance(value, str) or not value:
                raise UserError(f"{where}: field '{name}' is {value!r}; give a string that is not empty")
        answer: tuple[str, ...] = ()
        tests = record.get("tests")
        if domain == "math":
            raw = record.get("answer")
            answer = tuple(raw) if isinstance(raw, (list, tuple)) else (raw,) if isinstance(raw, str) else ()
            if not answer or not all(isinstance(a, str) and a.strip() for a in answer):
                raise UserError(f"{where}: field 'answer' is {raw!r}; give a string, or a list of accepted strings")
        else:
            _check_tests(tests, where)
        for name in ("time_limit_s", "memory_limit_mb"):
            value = record.get(name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0):
                raise UserError(f"{where}: field '{name}' is {value!r}; give a number above 0")
        return cls(
            id=record["id"],
            domain=domain,
            prompt=record["prompt"],
            source=record.get("source") or "",
            answer=answer,
            tests=tests if domain == "code" else None,
            time_limit_s=record.get("time_limit_s"),
            memory_limit_mb=record.get("memory_limit_mb"),
            starter_code=record.get("starter_code"),
            meta=record.get("meta") or {},
            attempts=_checked_attempts(record.get("attempts") or (), where),
        )

    def to_record(self) -> dict[str, Any]:
        """The record as DESIGN's table has it; absent optional fields are left out."""
        record: dict[str, Any] = {"id": self.id, "domain": self.domain, "prompt": self.prompt, "source": self.source}
        if self.domain == "math":
            record["answer"] = self.answer[0] if len(self.answer) == 1 else list(self.answer)
        else:
            record["tests"] = self.tests
        for name in ("time_limit_s", "memory_limit_mb", "starter_code", "meta", "attempts"):
            value = getattr(self, name)
            if value:
                record[name] = list(value) if name == "attempts" else value
        return record


def _checked_attempts(attempts: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    def fits(one: Any) -> bool:
        correct, n = (one.get("correct"), one.get("n")) if isinstance(one, Mapping) else (None, None)
        return isinstance(correct, int) and isinstance(n, int) and 0 <= correct <= n

    if not isinstance(attempts, (list, tuple)) or not all(fits(one) for one in attempts):
        raise UserError(
            f"{where}: field 'attempts' is {attempts!r}; give a list of objects with numbers 'n' and 'correct' (at most n)"
        )
    return tuple(attempts)


def _check_tests(tests: Any, where: str) -> None:
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


def _check_types(types: Any, where: str) -> None:
    """`types`: {"args": [kind, ...], "kwargs": {name: kind}, "output": kind}, each part optional, each kind one of
    NODE_KINDS or null.
    """
    parts = {} if types is None else types
    fits = isinstance(parts, Mapping) and parts.keys() <= {"args", "kwargs", "output"}
    fits = fits and isinstance(parts.get("args") or [], list) and isinstance(parts.get("kwargs") or {}, Mapping)
    if not fits or not all(
        kind in (None, *NODE_KINDS)
        for kind in (*(parts.get("args") or ()), *(parts.get("kwargs") or {}).values(), parts.get("output"))
    ):
        raise UserError(
            f"{where}: field 'tests.types' is {types!r}; give args (a list), kwargs and output, each {' or '.join(NODE_KINDS)}"
        )


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
                f"{where}: field 'sample' is {sample!r}; give the completion's number among those of its problem, from 0"
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
