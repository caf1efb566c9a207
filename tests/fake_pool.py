"""A verification pool without processes: a function decides, at once or when it is told to."""

from collections import Counter
from concurrent.futures import Future

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
