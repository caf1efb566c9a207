"""Rewards that a user brings along: a function of their own, called in worker processes, its result turned into a
verdict.

RewardPool offers what VerificationPool offers (submit, stats, close), so whatever judges with the one can judge with
the other. Two signatures are known by their parameters' names, verl's

    compute_score(data_source, solution_str, ground_truth, extra_info)

and TRL's, whose arguments are lists with one entry per completion (here one), picked by name from the problem's fields;
a completion is text, and where that is a TypeError a list of one message:

    reward(completions, prompts, answer, **kwargs)

The result is a number (in TRL's form a list of one), or a dict with "score" and perhaps "acc". A score of 1 or more is
correct, "acc" decides where it is given, and None, a result of another form and an exception mean unjudged.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import logging
import math
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from acejax.errors import UserError
from acejax.problems.problem import Problem
from acejax.verification.programs import confine
from acejax.verification.verdict import Outcome, Verdict

START_BOUND_S = 300.0  # a plug-in may import a heavy library
CORRECT_FROM = 1.0
QUEUED_PER_WORKER = 64

log = logging.getLogger(__name__)


class RewardPool:
    """Judges completions with `reward` ("module:function") in `workers` processes, each killed and replaced when it
    dies or hangs.

    `deadline_s` bounds one call, in seconds of wall time. The module is looked for in the working directory too. Raises
    UserError where it cannot be imported, or the function takes neither verl's nor TRL's arguments.
    """

    def __init__(self, reward: str, workers: int = 1, *, deadline_s: float = 60.0) -> None:
        if workers < 1:
            raise UserError(f"workers is {workers}; give at least 1")
        self._reward, self._deadline_s = reward, deadline_s
        self._tasks: queue.Queue[tuple[Problem, int, str, Future[Verdict]] | None] = queue.Queue(
            QUEUED_PER_WORKER * workers
        )
        self._lock = threading.Lock()
        self._closed = False
        self._said: set[str] = set()
        self._stats: dict[str, float] = {"judged": 0, "unjudged": 0, "retried": 0, "busy_seconds": 0.0}
        self._processes: set[_Process] = set()
        first = self._started()  # what is wrong with the plug-in shows here, not in the first verdict
        self._threads = [
            threading.Thread(
                target=self._serve, args=(first if number == 0 else None,), name="acejax-reward", daemon=True
            )
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> RewardPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, problem: Problem, sample: int, response: str) -> Future[Verdict]:
        """Queues one response; waits while the queue is full. Raises RuntimeError when the pool is closed."""
        if self._closed:
            raise RuntimeError("the reward pool is closed")
        future: Future[Verdict] = Future()
        future.set_running_or_notify_cancel()
        self._tasks.put((problem, sample, response, future))
        return future

    def stats(self) -> dict[str, float]:
        """Counts since the start, as VerificationPool has them."""
        with self._lock:
            return dict(self._stats)

    def close(self) -> None:
        """Ends all workers at once. What has no verdict yet resolves to unjudged. Calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(queue.Empty):
            while True:
                task = self._tasks.get_nowait()
                if task is not None:
                    task[3].set_result(Verdict(task[0].id, task[1], "unjudged", "infra"))
        for process in list(self._processes):
            process.signal_end()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, process: _Process | None) -> None:
        while (task := self._tasks.get()) is not None:
            problem, sample, response, future = task
            began = time.monotonic()
            reply: dict[str, Any] = {"verdict": "unjudged", "reason": "infra"}
            failures = 0
            while (
                failures < 2 and not self._closed
            ):  # a worker's death may be no fault of this response: a fresh one tries again
                try:
                    process = process or self._started()
                    reply = process.ask({"problem": problem.to_record(), "response": response}, self._deadline_s)
                except (UserError, OSError) as error:
                    reply = {"verdict": "unjudged", "reason": "infra", "detail": str(error)}
                if reply["reason"] not in ("infra", "timeout"):
                    break
                failures += 1
                if process is not None:
                    self._end(process)
                    process = None
            seconds = time.monotonic() - began
            with self._lock:
                self._stats["unjudged" if reply["verdict"] == "unjudged" else "judged"] += 1
                self._stats["busy_seconds"] += seconds
                self._stats["retried"] += failures > 0
                news = reply.get("detail")
                if news and news not in self._said:
                    self._said.add(news)
                    log.warning("%s sample %d is unjudged: %s", problem.id, sample, news)
            future.set_result(
                Verdict(problem.id, sample, reply["verdict"], reply["reason"], seconds, score=reply.get("score"))
            )
        if process is not None:
            self._end(process)

    def _started(self) -> _Process:
        process = _Process(self._reward)
        self._processes.add(process)
        if self._closed:  # while it started: close() has not seen it
            process.signal_end()
        return process

    def _end(self, process: _Process) -> None:
        process.kill()
        self._processes.discard(process)


class _Process:
    """One worker process and the socket to it."""

    def __init__(self, reward: str) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "acejax.verification.plugin", str(theirs.fileno()), reward]
        root = str(Path(__file__).parents[2])
        self._process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the parent, which ends it
        )
        theirs.close()
        self._conn = Connection(ours.detach())
        ready = self._receive(START_BOUND_S)
        if not ready.get("ready"):
            self.kill()
            raise UserError(
                ready.get("fatal") or f"reward '{reward}': its process {ready['detail']} while it was loaded"
            )

    def ask(self, task: Mapping[str, Any], deadline_s: float) -> dict[str, Any]:
        try:
            self._conn.send_bytes(json.dumps(task).encode())
        except OSError:
            return {"verdict": "unjudged", "reason": "infra", "detail": "the reward's process died"}
        return self._receive(deadline_s)

    def _receive(self, deadline_s: float) -> dict[str, Any]:
        try:
            if not self._conn.poll(deadline_s):
                return {"verdict": "unjudged", "reason": "timeout", "detail": f"gave no answer in {deadline_s:g} s"}
            return json.loads(self._conn.recv_bytes())
        except (EOFError, OSError):
            return {"verdict": "unjudged", "reason": "infra", "detail": "died"}

    def signal_end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        self.signal_end()
        self._process.wait()
        self._conn.close()


def load(reward: str) -> Callable[[Problem, str], Any]:
    """The plug-in as a function of (problem, response). Raises UserError where it cannot be loaded or called."""
    name, colon, attribute = reward.partition(":")
    if not colon or not name or not attribute:
        raise UserError(f"reward '{reward}': write it as module:function")
    try:
        function = getattr(importlib.import_module(name), attribute)
        parameters = inspect.signature(function).parameters
    except Exception as error:  # whatever the user's module does when it is imported
        raise UserError(
            f"reward '{reward}': {type(error).__name__}: {error}; give a module that can be imported, and a function in it"
        ) from None
    if "solution_str" in parameters:
        offered = verl_arguments
    elif "completions" in parameters:
        offered = trl_arguments
    else:
        raise UserError(
            f"reward '{reward}' takes ({', '.join(parameters)}); it must take verl's 'solution_str' or TRL's 'completions'"
        )
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    needed = [
        p.name
        for p in parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    known = offered(Problem("", "math", ""), "")
    if missing := [name for name in needed if name not in known]:
        raise UserError(
            f"reward '{reward}' needs {', '.join(missing)}, which no problem has; it may take {', '.join(known)}"
        )

    def call(arguments: Mapping[str, Any]) -> Any:
        return function(**{key: value for key, value in arguments.items() if takes_all or key in parameters})

    def call_trl(problem: Problem, response: str) -> Any:
        arguments = trl_arguments(problem, response)
        try:
            return call(arguments)[0]
        except TypeError:  # written for conversations, where a completion is a list of messages
            turns = {"prompts": [[{"role": "user", "content": problem.prompt}]]}
            return call(arguments | turns | {"completions": [[{"role": "assistant", "content": response}]]})[0]

    return call_trl if offered is trl_arguments else lambda problem, response: call(verl_arguments(problem, response))


def ground_truth(problem: Problem) -> Any:
    """What verl calls so: the answer (a list of several), or the tests as JSON text of inputs and outputs where they
    have that form.
    """
    if problem.domain == "math":
        return problem.answer[0] if len(problem.answer) == 1 else list(problem.answer)
    tests = problem.tests or {}
    if (
        tests.get("kind") == "script"
        or tests.get("types")
        or any(case.get("kwargs") for case in tests.get("cases", ()))
    ):
        return json.dumps(tests)
    stdin = tests["kind"] == "stdin"
    pairs: dict[str, Any] = {
        "inputs": [case["input"] if stdin else case["args"] for case in tests["cases"]],
        "outputs": [case["output"] if stdin else [case["output"]] for case in tests["cases"]],
    }
    return json.dumps(pairs if stdin else pairs | {"fn_name": tests["fn_name"]})


def verl_arguments(problem: Problem, response: str) -> dict[str, Any]:
    extra = {"id": problem.id, "question": problem.prompt, **problem.meta, **(problem.meta.get("extra_info") or {})}
    return {
        "data_source": problem.source,
        "solution_str": response,
        "ground_truth": ground_truth(problem) if problem.answer or problem.tests else None,
        "extra_info": extra,
    }


def trl_arguments(problem: Problem, response: str) -> dict[str, Any]:
    truth = ground_truth(problem) if problem.answer or problem.tests else None
    columns = {
        "prompts": problem.prompt,
        "completions": response,
        "answer": truth,
        "ground_truth": truth,
        "solution": truth,
    }
    columns |= {
        "id": problem.id,
        "source": problem.source,
        "domain": problem.domain,
        "tests": problem.tests,
        "meta": dict(problem.meta),
    }
    return {name: [value] for name, value in columns.items()}


def verdict_of(result: Any) -> tuple[Outcome, str, float | None]:
    """(verdict, reason, score) of what a plug-in returned."""
    score: Any = result
    accurate = None
    if isinstance(result, Mapping):
        score, accurate = result.get("score"), result.get("acc")
    if hasattr(score, "item"):  # a scalar of numpy or torch
        score = score.item()
    if not isinstance(score, (bool, int, float)) or not math.isfinite(score):
        return "unjudged", "no_score", None
    correct = score >= CORRECT_FROM if accurate is None else bool(accurate)
    return ("correct", "ok", float(score)) if correct else ("wrong", "low_score", float(score))


def main() -> None:
    confine.libc.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    conn = Connection(int(sys.argv[1]))
    try:
        call = load(sys.argv[2])
    except UserError as error:
        conn.send_bytes(json.dumps({"fatal": str(error)}).encode())
        return
    conn.send_bytes(json.dumps({"ready": True}).encode())
    while True:
        try:
            task = json.loads(conn.recv_bytes())
        except EOFError:
            return
        reply: dict[str, Any] = {}
        try:
            problem = Problem.from_record(task["problem"], "task")
            reply["verdict"], reply["reason"], reply["score"] = verdict_of(call(problem, task["response"]))
        except Exception as error:  # the plug-in's fault, not the policy's
            text = f"{type(error).__name__}: {error}"
            reply = {"verdict": "unjudged", "reason": f"reward_error:{type(error).__name__}", "detail": text[:500]}
        conn.send_bytes(json.dumps(reply).encode())


if __name__ == "__main__":
    main()
