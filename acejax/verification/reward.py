"""Rewards that a user brings along: a function of their own, which a worker of the pool loads, calls with what it asks
for, and whose result is made a finding.

Two signatures are known by their parameters' names, verl's

    compute_score(data_source, solution_str, ground_truth, extra_info)

and TRL's, whose arguments are lists with one entry per completion (here one), picked by name from the problem's fields;
a completion is text, and where that is a TypeError a list of one message:

    reward(completions, prompts, answer, **kwargs)

Either may be `async def`. The result is a number (in TRL's form a list of one), or a dict with "score" and perhaps
"acc". A score of 1 or more is correct, "acc" decides where it is given, and None, a result of another form and an
exception mean unjudged.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.verification.verdict import Outcome
from acejax.verification.verifier import Finding

CORRECT_FROM = 1.0
MAX_DETAIL = 500  # characters of an exception's text

Call = Callable[[Problem, str], Any]


class RewardJudge:
    """A user's function "module:function". Raises UserError where it cannot be loaded or called."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._call = load(name)

    def extract(self, response: str) -> tuple[str | None, str]:
        return response, "ok"

    def judge(self, task: Mapping[str, Any], answer: str, alone: bool) -> Finding:
        try:
            problem = Problem.from_record(task, "task")
            verdict, reason, score = verdict_of(self._call(problem, answer))
        except BaseException as error:  # the function's fault, not the policy's; SystemExit and CancelledError too
            kind = type(error).__name__
            detail = f"reward '{self._name}': {kind}: {error}"
            return Finding("unjudged", f"reward_error:{self._name}:{kind}", detail=detail[:MAX_DETAIL])
        if verdict == "unjudged":
            detail = f"reward '{self._name}' gave neither a finite number nor a dict with a 'score'"
            return Finding("unjudged", f"{reason}:{self._name}", detail=detail)
        return Finding(verdict, reason, score)


def load(reward: str) -> Call:
    """The reward as a function of (problem, response). Raises UserError where it cannot be loaded or called.

    The function's parameters decide which signature it has, and get what they name.
    """
    function, parameters = _imported(reward)
    if "solution_str" in parameters:
        offered = verl_arguments
    elif "completions" in parameters:
        offered = trl_arguments
    else:
        raise UserError(
            f"reward '{reward}' takes ({', '.join(parameters)}); "
            "it must take verl's 'solution_str' or TRL's 'completions'"
        )
    known = offered(Problem("", "math", ""), "")
    missing = [name for name in _needed(parameters) if name not in known]
    if missing:
        raise UserError(
            f"reward '{reward}' needs {', '.join(missing)}, which no problem has; it may take {', '.join(known)}"
        )
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())

    def call(arguments: Mapping[str, Any]) -> Any:
        taken = {key: value for key, value in arguments.items() if takes_all or key in parameters}
        result = function(**taken)
        if inspect.isawaitable(result):
            return _runner().run(_awaited(result))
        return result

    def call_verl(problem: Problem, response: str) -> Any:
        return call(verl_arguments(problem, response))

    def call_trl(problem: Problem, response: str) -> Any:
        arguments = trl_arguments(problem, response)
        try:
            return call(arguments)[0]
        except TypeError:  # written for conversations, where a completion is a list of messages
            asked = [{"role": "user", "content": problem.prompt}]
            said = [{"role": "assistant", "content": response}]
            return call(arguments | {"prompts": [asked], "completions": [said]})[0]

    return call_trl if offered is trl_arguments else call_verl


def _imported(reward: str) -> tuple[Callable[..., Any], Mapping[str, inspect.Parameter]]:
    """The function and its parameters."""
    module, colon, attribute = reward.partition(":")
    if not colon or not module or not attribute:
        raise UserError(f"reward '{reward}': write it as module:function")
    try:
        function = getattr(importlib.import_module(module), attribute)
        return function, inspect.signature(function).parameters
    except Exception as error:  # whatever the user's module does when it is imported
        raise UserError(
            f"reward '{reward}': {type(error).__name__}: {error}; "
            "give a module that can be imported, and a function in it"
        ) from None


def _needed(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    """The parameters that a call cannot leave out."""
    named = [one for one in parameters.values() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    return [one.name for one in named if one.default is one.empty]


@functools.cache
def _runner() -> asyncio.Runner:
    """The one event loop of this process: what a module keeps between calls, such as a client, belongs to its loop."""
    return asyncio.Runner()


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


def ground_truth(problem: Problem) -> Any:
    """What verl calls so: the answer (a list of several), or the tests as JSON text of inputs and outputs where they
    have that form. None where the problem has neither.
    """
    if problem.answer:
        return problem.answer[0] if len(problem.answer) == 1 else list(problem.answer)
    if not problem.tests:
        return None
    tests = problem.tests
    cases = tests.get("cases", ())
    if tests.get("kind") == "script" or tests.get("types") or any(case.get("kwargs") for case in cases):
        return json.dumps(tests)
    if tests["kind"] == "stdin":
        inputs = [case["input"] for case in cases]
        outputs = [case["output"] for case in cases]
        return json.dumps({"inputs": inputs, "outputs": outputs})
    inputs = [case["args"] for case in cases]
    outputs = [[case["output"]] for case in cases]
    return json.dumps({"inputs": inputs, "outputs": outputs, "fn_name": tests["fn_name"]})


def verl_arguments(problem: Problem, response: str) -> dict[str, Any]:
    extra = {"id": problem.id, "question": problem.prompt, **problem.meta, **(problem.meta.get("extra_info") or {})}
    return {
        "data_source": problem.source,
        "solution_str": response,
        "ground_truth": ground_truth(problem),
        "extra_info": extra,
    }


def trl_arguments(problem: Problem, response: str) -> dict[str, Any]:
    truth = ground_truth(problem)
    columns = {
        "prompts": problem.prompt,
        "completions": response,
        "answer": truth,
        "ground_truth": truth,
        "solution": truth,
        "id": problem.id,
        "source": problem.source,
        "domain": problem.domain,
        "tests": problem.tests,
        "meta": dict(problem.meta),
    }
    return {name: [value] for name, value in columns.items()}


def verdict_of(result: Any) -> tuple[Outcome, str, float | None]:
    """(verdict, reason, score) of what a reward returned."""
    score: Any = result
    accurate = None
    if isinstance(result, Mapping):
        score, accurate = result.get("score"), result.get("acc")
    if hasattr(score, "item"):  # a scalar of numpy or torch
        score = score.item()
    if not isinstance(score, (bool, int, float)) or not math.isfinite(score):
        return "unjudged", "no_score", None
    correct = score >= CORRECT_FROM if accurate is None else bool(accurate)
    if correct:
        return "correct", "ok", float(score)
    return "wrong", "low_score", float(score)
