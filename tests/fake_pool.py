"""A verification pool without processes, in which a function decides, at once or when it is told to; and prompts of one
letter a token to sample from.
"""

from collections import Counter
from concurrent.futures import Future

import numpy as np
from tiny import CONFIG, one_device

from acejax.problems.problem import Problem
from acejax.rollout import Prompt, SamplingSetup
from acejax.verification.verdict import Verdict


class FakePool:
    """`judge(problem, response)` gives (verdict, reason); `hold` keeps verdicts back until `release`."""

    def __init__(self, judge, hold=False):
        self.judge, self.hold = judge, hold
        self.asked = []  # (problem id, sample, response, weights) of every submission
        self.counts = Counter(judged=0, unjudged=0, retried=0, rerun=0, flipped=0, busy_seconds=0.0)
        self.held = []

    def submit(self, problem, sample, response, weights=None):
        future = Future()
        self.asked.append((problem.id, sample, response, weights))
        self.held.append((future, problem, sample, response))
        if not self.hold:
            self.release()
        return future

    def release(self):
        for future, problem, sample, response in self.held:
            verdict, reason = self.judge(problem, response)
            self.counts["judged"] += 1
            self.counts["busy_seconds"] += 0.5
            future.set_result(Verdict(problem.id, sample, verdict, reason, 0.5))
        self.held = []

    def stats(self):
        return dict(self.counts)


class Letters:
    """A tokenizer of one letter a token."""

    def decode(self, ids):
        return "".join(chr(48 + number) for number in ids)


SETUP = SamplingSetup(
    config=CONFIG,
    mesh=one_device(),
    tokenizer=Letters(),
    stop_ids=(7, 20, 33, 41, 52),
    pad_id=7,
    prompt_tokens=12,
    slots=16,
    chunk=8,
    dtype="float32",
)
PROMPTS = [
    Prompt(
        Problem(f"p{number}", "math", "?", answer=("1",), meta={"difficulty": number % 2 + 1}),
        "?",
        tuple(np.random.default_rng(number).integers(0, 60, 3 + number).tolist()),
    )
    for number in range(6)
]


def even(problem, response):
    return ("correct", "ok") if len(response) % 2 == 0 else ("wrong", "mismatch")
