"""Problems and worked solutions from the sources that a configuration names: files, and the built-in families."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from acejax.config import ProblemSource, TraceSource
from acejax.errors import UserError
from acejax.problems import builtin
from acejax.problems.problem import Problem, Trace
from acejax.problems.readers import read_problems, read_traces


def check_sources(sources: Iterable[ProblemSource | TraceSource]) -> None:
    """Raises UserError where a file is not there."""
    for source in sources:
        if source.path is not None and not Path(source.path).is_file():
            raise UserError(f"{source.path}: there is no such file; check the path")


def gather_problems(sources: Sequence[ProblemSource], seed: int) -> list[Problem]:
    """All problems of a stage or an evaluation set. Raises UserError where two share an id."""
    problems: list[Problem] = []
    for source in sources:
        if source.path is not None:
            found = read_problems(source.path, domain=source.domain)
            problems += found[: source.count]
        else:
            assert source.builtin is not None
            problems += builtin.generate(
                source.builtin, source.split, source.count or 1000, seed, source.difficulties, source.families
            )
    seen = set()
    for problem in problems:
        if problem.id in seen:
            raise UserError(f"problem id '{problem.id}' comes from two sources; give every problem its own id")
        seen.add(problem.id)
    return problems


def gather_traces(sources: Sequence[TraceSource], seed: int) -> tuple[list[Trace], int]:
    """All worked solutions of a supervised stage, and how many of them the built-in teacher is known to have got
    wrong.
    """
    traces: list[Trace] = []
    wrong = 0
    for source in sources:
        if source.path is not None:
            traces += read_traces(source.path)[: source.count]
            continue
        assert source.builtin is not None
        for problem in builtin.generate(source.builtin, "warm", source.count, seed, source.difficulties):
            trace, right = builtin.solve(problem, source.error_rate, seed)
            traces.append(trace)
            wrong += not right
    return traces, wrong
