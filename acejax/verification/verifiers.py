"""The table of verifiers: one for each domain of problems, and one for each reward of a user's.

A new verifier is an entry here, an entry in `problems.problem.DOMAINS`, and a file of its own with the class that
`load` returns. The trainer imports this file, so the rooms that judge are imported inside `load` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from acejax.problems.problem import Problem
from acejax.verification.verifier import WALL_FACTOR, Judge, Settings, Verifier

PROGRAM_SLACK_S = 60.0  # on top of the limits of all tests of a program, before its worker counts as hung

Notice = Callable[[str], None]


def _math_task(problem: Problem) -> dict[str, Any]:
    return {"answer": problem.answer}


def _math_deadline_s(_: Problem, settings: Settings) -> float:
    return settings.math_deadline_s


def _load_math(settings: Settings, _: Notice) -> Judge:
    from acejax.verification.math.verifier import MathJudge

    return MathJudge(settings)


def _program_task(problem: Problem) -> dict[str, Any]:
    return {
        "id": problem.id,
        "tests": problem.tests or {},
        "time_limit_s": problem.time_limit_s,
        "memory_limit_mb": problem.memory_limit_mb,
    }


def _program_deadline_s(problem: Problem, settings: Settings) -> float:
    cases = (problem.tests or {}).get("cases") or ()
    limit_s = problem.time_limit_s or settings.time_limit_s
    return PROGRAM_SLACK_S + WALL_FACTOR * limit_s * max(1, len(cases))


def _load_programs(settings: Settings, notice: Notice) -> Judge:
    from acejax.verification.programs.verifier import ProgramJudge

    return ProgramJudge(settings, notice)


# By the problem's domain.
VERIFIERS: dict[str, Verifier] = {
    "math": Verifier(
        task=_math_task,
        deadline_s=_math_deadline_s,
        load=_load_math,
        second_timeout=("wrong", "timeout"),  # an answer that costs this much twice is the answer's own doing
    ),
    "code": Verifier(
        task=_program_task,
        deadline_s=_program_deadline_s,
        load=_load_programs,
        warm=True,
    ),
}


def reward_verifier(reward: str) -> Verifier:
    """The verifier that calls a user's "module:function". Its name is part of every reason why it judged nothing."""

    def load(_: Settings, __: Notice) -> Judge:
        from acejax.verification.reward import RewardJudge

        return RewardJudge(reward)

    return Verifier(
        task=Problem.to_record,
        deadline_s=lambda _, settings: settings.reward_deadline_s,
        load=load,
        second_timeout=("unjudged", f"timeout:{reward}"),
        failure=f"infra:{reward}",
        world="user",
        remembers=False,
    )


def verifier_named(name: str) -> Verifier:
    """The verifier of a domain, or of a reward "module:function"."""
    return VERIFIERS.get(name) or reward_verifier(name)
