"""The supervisor without processes: who gets which task, what is told to the trainer, and what ends the pool."""

import json
import os
import subprocess
from multiprocessing import Pipe

import pytest
from pool_settings import SETTINGS

from acejax.verification.crew import NEVER, Crew, Slot, Task
from acejax.verification.supervisor import MAX_FAILED_STARTS, Supervisor, _users_world
from acejax.verification.wire import Order, contents_of, order_of, pack


def supervisor_that_tells(monkeypatch):
    """A supervisor without processes, and the list of what it tells the trainer."""
    told = []
    supervisor = Supervisor(None, SETTINGS)
    monkeypatch.setattr(supervisor, "tell", told.append)
    return supervisor, told


def test_a_verdict_that_changes_is_counted(monkeypatch):
    supervisor, told = supervisor_that_tells(monkeypatch)
    order = Order(7, "code", deadline_s=9.0, warm=True)
    task = Task(order, pack(order, b"{}", b"abc"))
    supervisor.answer(task, {"verdict": "correct", "reason": "ok", "seconds": 1.0, "close_call": True})
    assert not told and list(supervisor.close_calls) == [task]
    alone = order_of(task.frame)
    assert alone == task.order and alone.alone and (alone.number, alone.deadline_s) == (7, 9.0)
    assert contents_of(task.frame) == (b"{}", b"abc")
    second = {"verdict": "wrong", "reason": "timeout", "seconds": 1.0, "close_call": False}
    supervisor.answer(task, dict(second))
    assert told == [second | {"flipped": True, "number": 7, "failures": 0}]


@pytest.mark.parametrize(
    ("failures", "verdict", "reason", "seconds"),
    [
        (["timeout", "timeout"], "wrong", "timeout", 9.0),
        (["timeout", "infra"], "unjudged", "infra:m:f", 0.0),
        (["crash"] * 4, "unjudged", "infra:m:f", 0.0),
    ],
)
def test_a_task_is_given_up_as_its_order_says(monkeypatch, failures, verdict, reason, seconds):
    supervisor, told = supervisor_that_tells(monkeypatch)
    order = Order(7, "m:f", deadline_s=9.0, second_timeout=("wrong", "timeout"), failure="infra:m:f")
    task = Task(order, pack(order))
    crew = supervisor.crews["bare"]
    for failure in failures:
        assert not told
        supervisor.fail(crew, task, failure, "")
    assert [(one["verdict"], one["reason"], one["seconds"]) for one in told] == [(verdict, reason, seconds)]
    assert list(crew.again) == [task] * (len(failures) - 1)


class Wire:
    """A worker's socket that takes everything, and gives what the worker `said`."""

    said = b""

    def send_bytes(self, data):
        pass

    def recv_bytes(self, maxlength):
        return self.said


def crew_of(monkeypatch, *judged, starting=0):
    """A supervisor and its crew, whose free workers have judged so many tasks; more workers are still starting."""
    supervisor, _ = supervisor_that_tells(monkeypatch)
    crew = supervisor.crews["bare"]
    crew.size = len(judged) + starting
    monkeypatch.setattr(crew, "is_worn", lambda slot: False)
    crew.slots += [Slot(crew, None, Wire(), NEVER, ready=True, judged=count) for count in judged]
    crew.slots += [Slot(crew, None, Wire(), NEVER) for _ in range(starting)]
    return supervisor, crew


def task(number, *failures):
    order = Order(number, "code")
    return Task(order, pack(order), list(failures))


def held(crew):
    return [slot.task and slot.task.order.number for slot in crew.slots]


def test_every_task_that_failed_gets_a_fresh_worker_while_there_are_some(monkeypatch):
    supervisor, crew = crew_of(monkeypatch, 5, 0, 0)
    crew.again.extend([task(1, "timeout"), task(2, "timeout")])
    crew.queue.extend([task(3), task(4)])
    supervisor.deal()
    assert sorted(held(crew)[1:]) == [1, 2] and held(crew)[0] == 3


def test_a_task_that_failed_waits_for_a_fresh_worker_that_starts(monkeypatch):
    supervisor, crew = crew_of(monkeypatch, 5, starting=1)
    crew.again.append(task(1, "crash"))
    crew.queue.append(task(2))
    supervisor.deal()
    assert held(crew) == [2, None]
    crew.slots[1].ready = True
    supervisor.deal()
    assert held(crew) == [2, 1]


def test_a_task_that_failed_is_never_stranded(monkeypatch):
    """Fresh workers may be gone: a close call that settled took the last one."""
    supervisor, crew = crew_of(monkeypatch, 5, 1)
    crew.again.append(task(1, "crash"))
    crew.queue.append(task(2))
    supervisor.deal()
    assert held(crew) == [2, 1]


def test_a_crew_of_rewards_shrinks_where_workers_do_not_start(monkeypatch):
    """Only the last one's failing for good ends the pool; the ordinary crew never shrinks."""
    supervisor, told = supervisor_that_tells(monkeypatch)
    crew = supervisor.crews["user"] = Crew("user", SETTINGS)
    crew.loaded = True
    crew.slots.append(Slot(crew, None, Wire(), NEVER, ready=True))
    failing = Slot(crew, None, Wire(), NEVER)
    assert all(supervisor.may_start_again(failing, "crash", "no room") for _ in range(MAX_FAILED_STARTS - 1))
    assert not supervisor.may_start_again(failing, "crash", "no room")
    assert crew.size == SETTINGS.workers - 1
    assert [*told[0]] == ["notice"] and "no room" in told[0]["notice"]
    crew.slots.clear()
    with pytest.raises(EOFError):
        for _ in range(MAX_FAILED_STARTS):
            assert supervisor.may_start_again(failing, "crash", "no room")


def test_an_answer_to_another_task_is_dropped(monkeypatch):
    supervisor, crew = crew_of(monkeypatch, 1)
    slot = crew.slots[0]
    supervisor.hand(slot, task(7))
    verdict = {"verdict": "correct", "reason": "ok", "seconds": 1.0}
    messages = [verdict | {"number": 6}, verdict | {"number": 7}, verdict | {"number": 7}, {"infra": "x", "number": 7}]
    told = []
    monkeypatch.setattr(supervisor, "tell", told.append)
    for message in messages:
        slot.conn.said = json.dumps(message).encode()
        supervisor.hear(slot)
    assert told == [verdict | {"number": 7, "failures": 0}] and crew.slots == [slot]


def test_a_slow_reward_does_not_hold_up_a_close_call(monkeypatch):
    supervisor, crew = crew_of(monkeypatch, 1)
    rewards = supervisor.crews["user"] = Crew("user", SETTINGS)
    rewards.slots.append(Slot(rewards, None, Wire(), NEVER, ready=True, task=task(1)))
    close_call = task(2)
    close_call.first = {"verdict": "correct"}
    supervisor.close_calls.append(close_call)
    supervisor.deal()
    assert held(crew) == [2]


def test_a_parent_that_ends_before_it_says_anything_is_seen(monkeypatch):
    """The other end of the socket stays open, as it does where a forked relative of the parent holds it."""
    ours, theirs = Pipe()
    parent = subprocess.Popen(["sleep", "600"])
    monkeypatch.setattr(os, "getppid", lambda: parent.pid)
    parent.kill()
    with ours, theirs, pytest.raises(EOFError):
        _users_world(theirs, parent.pid)
    parent.wait()
