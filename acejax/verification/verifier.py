"""What a verifier is, for the pool, its supervisor and its workers; `verifiers.py` says which there are.

A verifier has two halves. In the trainer it turns a problem into a task, plain JSON, and names the deadline of its
check. In a worker process it is loaded once and then judges one response after another. This file imports no verifier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from acejax.problems.problem import Problem
from acejax.verification.verdict import Outcome

# What a worker process sees: next to nothing of the environment, since generated programs run close by, or what the
# trainer sees (environment, working directory, module path), since a user's code may call out or import anything.
World = Literal["bare", "user"]
Backend = Literal["bubblewrap", "rlimits"]  # of the sandbox
WALL_FACTOR = 3  # seconds of wall time that a test of a program may take for each second of its CPU limit


@dataclass(frozen=True)
class Settings:
    """What a pool was asked for. `time_limit_s` and `memory_limit_mb` hold where a problem states none."""

    folder: str
    workers: int
    rewards: tuple[str, ...]
    require_think_end: bool
    time_limit_s: float
    memory_limit_mb: int
    math_deadline_s: float
    reward_deadline_s: float
    unsafe: bool
    backend: Backend | None
    recycle_after: int
    recycle_mb: int


@dataclass(frozen=True)
class Finding:
    """What a verifier makes of one answer.

    `close_call`: another run might decide otherwise, so the task runs once more, alone. `detail` is for the log, where
    the answer is unjudged.
    """

    verdict: Outcome
    reason: str
    score: float | None = None
    close_call: bool = False
    detail: str = ""


class Judge(Protocol):
    """A verifier that has been loaded in a worker."""

    def extract(self, response: str) -> tuple[str | None, str]:
        """The part of a response that is judged, or None and the reason why there is none: the response is wrong."""

    def judge(self, task: Mapping[str, Any], answer: str, alone: bool) -> Finding:
        """Judges one answer. `alone`: no other task runs, and nothing may be a close call any more.

        What it raises is the verifier's own failure: the task goes to a fresh worker.
        """


@dataclass(frozen=True)
class Verifier:
    """How the answers to one domain's problems, or one user's reward, are judged.

    `task` and `deadline_s` run in the trainer and must import nothing heavy. `load` runs in a worker, once, and imports
    what it needs by itself; it raises UserError where nothing may be judged until somebody mends something, and what it
    gives to its second argument is logged as a warning.
    """

    task: Callable[[Problem], dict[str, Any]]
    deadline_s: Callable[[Problem, Settings], float]  # seconds of wall time, from the end of loading
    load: Callable[[Settings, Callable[[str], None]], Judge]
    second_timeout: tuple[Outcome, str] = ("unjudged", "infra")  # verdict and reason, when the deadline passed twice
    failure: str = "infra"  # the reason, when its workers failed otherwise
    world: World = "bare"
    warm: bool = False  # loading takes long: workers load it before they hold a task
    remembers: bool = True  # the same answer to the same task is found the same, so it is judged once
