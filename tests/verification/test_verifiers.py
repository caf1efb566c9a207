"""The table of verifiers: what the pool, the supervisor and the workers learn from it."""

import dataclasses
import subprocess
import sys

import pytest
from pool_settings import SETTINGS
from processes import BOUND_S

from acejax.errors import UserError
from acejax.problems.problem import DOMAINS, Problem
from acejax.verification import worker as worker_module
from acejax.verification.pool import VerificationPool
from acejax.verification.verifier import Finding, Verifier
from acejax.verification.verifiers import VERIFIERS, reward_verifier, verifier_named
from acejax.verification.wire import Order, contents_of, order_of, pack, reordered
from acejax.verification.worker import Worker

ALONE = dataclasses.replace(SETTINGS, workers=1, time_limit_s=2.0)


def test_each_domain_has_one_verifier():
    assert VERIFIERS.keys() == DOMAINS.keys()
    assert verifier_named("math") is VERIFIERS["math"]
    assert verifier_named("a:f").world == "user" and verifier_named("a:f").failure == "infra:a:f"


def test_deadlines():
    cases = [{"input": "", "output": ""}] * 4
    program = Problem("c", "code", "q", tests={"kind": "stdin", "cases": cases})
    slow = Problem("c", "code", "q", tests={"kind": "stdin", "cases": cases}, time_limit_s=10.0)
    script = Problem("c", "code", "q", tests={"kind": "script", "script": "", "entry_point": "f"})
    deadline_s = VERIFIERS["code"].deadline_s
    assert [deadline_s(one, ALONE) for one in (program, slow, script)] == [84.0, 180.0, 66.0]
    math = Problem("m", "math", "q", answer=("1",))
    assert VERIFIERS["math"].deadline_s(math, ALONE) == 5.0
    assert reward_verifier("a:f").deadline_s(math, ALONE) == 60.0


def test_a_domain_without_a_verifier_is_refused():
    with (
        VerificationPool(1) as pool,
        pytest.raises(UserError, match="'chess', which no verifier knows; use math or code"),
    ):
        pool.submit(Problem("p", "chess", "q"), 0, "r")


@pytest.mark.parametrize("module", ["pool", "supervisor", "verifiers", "worker"])
def test_what_judges_is_loaded_with_the_first_task_only(module):
    """Neither the trainer nor an idle worker holds the parser, the sandbox, JAX or numpy."""
    code = f"""
import sys
import acejax.verification.{module}
heavy = ("acejax.verification.math.judge", "acejax.verification.programs.sandbox", "acejax.verification.reward")
print([name for name in sys.modules if name in (*heavy, "jax", "numpy", "sympy")])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=BOUND_S)
    assert run.stdout.strip() == "[]", run.stdout + run.stderr


def test_the_processes_of_a_pool_load_no_configuration():
    """Not even with what judges: pydantic alone would make each of them start in three times the time."""
    code = """
import sys
from acejax.verification import reward, supervisor, worker
from acejax.verification.math import verifier
from acejax.verification.programs import verifier
print([name for name in sys.modules if name in ("acejax.config", "pydantic")])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=BOUND_S)
    assert run.stdout.strip() == "[]", run.stdout + run.stderr


def test_a_frame_holds_order_task_and_response():
    order = Order(3, "a:f", "user", 1.5, ("wrong", "timeout"), "infra:a:f", warm=True)
    frame = pack(order, b'{"x": 1}', "4²".encode())
    assert order_of(frame) == order
    assert contents_of(frame) == (b'{"x": 1}', "4²".encode())
    other = Order(4, "math", alone=True)
    assert order_of(reordered(frame, other)) == other and contents_of(reordered(frame, other)) == contents_of(frame)


class Counting:
    """A judge of numbers that counts its checks."""

    def __init__(self):
        self.checks = 0

    def extract(self, response):
        return (response, "ok") if response else (None, "empty")

    def judge(self, task, answer, alone):
        self.checks += 1
        if answer == "raise":
            raise ValueError("no")
        close_call = answer == "close" and not alone
        return Finding("correct" if answer == task["answer"] else "wrong", "found", close_call=close_call)


class Wire:
    """A worker's socket to nobody."""

    def __init__(self):
        self.sent = []

    def send_bytes(self, message):
        self.sent.append(message)


@pytest.fixture
def counting(monkeypatch):
    """A worker, its judge, and the function that asks it: (response, task, alone) to the answer."""
    judge, loads = Counting(), []
    verifiers = {
        "kept": Verifier(dict, lambda *_: 1.0, lambda *_: loads.append(1) or judge),
        "fresh": Verifier(dict, lambda *_: 1.0, lambda *_: judge, remembers=False),
    }
    monkeypatch.setattr(worker_module, "verifier_named", verifiers.__getitem__)
    worker = Worker(Wire(), ALONE)

    def ask(response, name="kept", task=b'{"answer": "4"}', alone=False):
        answer = worker.answer(pack(Order(0, name, alone=alone), task, response.encode()))
        return answer.get("verdict"), answer.get("reason"), answer.get("close_call")

    return judge, loads, ask


def test_a_worker_loads_once_and_judges_the_same_answer_once(counting):
    judge, loads, ask = counting
    assert [ask("4"), ask("4"), ask("5")] == [
        ("correct", "found", False),
        ("correct", "found", False),
        ("wrong", "found", False),
    ]
    assert (judge.checks, len(loads)) == (2, 1)
    assert ask("4", task=b'{"answer": "5"}') == ("wrong", "found", False) and judge.checks == 3
    assert ask("") == ("wrong", "empty", False) and judge.checks == 3


def test_what_is_not_certain_is_judged_again(counting):
    judge, _, ask = counting
    assert ask("close") == ask("close") == ("wrong", "found", True) and judge.checks == 2
    assert ask("close", alone=True) == ("wrong", "found", False) and judge.checks == 3
    assert ask("4", alone=True) == ask("4", alone=True) == ("correct", "found", False) and judge.checks == 5
    assert ask("4", "fresh") == ask("4", "fresh") == ("correct", "found", False) and judge.checks == 7
    assert ask("raise") == (None, None, None)
