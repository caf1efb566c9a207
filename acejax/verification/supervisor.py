"""The process that stands between the trainer and the workers. It judges nothing: it deals out, times, kills and
replaces.

Run as a module by `pool.py` with its socket, the trainer's pid and the settings as JSON. Every wait blocks, so an idle
pool uses no CPU. A task whose worker fails or outlives the task's deadline is tried once more, one whose worker dies up
to three times, on a fresh worker. Failing again gives it up: its order says as what. A close call runs once more while
no other task of its crew does, and that run counts. When the trainer ends, by whatever means, everything here ends.

Where users' rewards take part, their workers are a crew of their own, and the first message on the socket is what those
workers are to see. {"loaded"} tells the trainer that one of them is ready, {"refused": text} that none ever will be.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import sys
import time
from collections import deque
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

from acejax.verification.crew import NEVER, Crew, Slot, Task
from acejax.verification.programs import confine
from acejax.verification.verifier import Settings
from acejax.verification.wire import order_of, reordered

MAX_FAILED_STARTS = 5
# Of one task, before it is given up. Whoever kills workers at random may hit one task again.
MAX_FAILURES, MAX_CRASHES = 2, 4
SAID = {"crash": "died", "timeout": "gave no answer in time", "slow to load": "was too slow"}  # of a worker
MAX_MESSAGE_BYTES = 1 << 20  # from a worker; what claims to be longer is no message
MAX_WAIT_S = 86400.0  # a selector takes no more than some weeks
MAX_CLOSE_CALLS = 16  # how many wait, before the other tasks wait for them


class Terminated(Exception):
    """SIGTERM has come."""


class Supervisor:
    def __init__(self, parent: Connection, settings: Settings, message: bytes = b"") -> None:
        self.parent = parent
        self.settings = settings
        self.crews = {"bare": Crew("bare", settings)}
        if settings.rewards:
            self.crews["user"] = Crew("user", settings, message)
        self.close_calls: deque[Task] = deque()
        self.settling = False  # the close calls have their turn
        self.selector = selectors.DefaultSelector()

    def run(self, parent_pid: int) -> None:
        """Serves until the parent closes its socket or ends."""
        self.selector.register(self.parent, selectors.EVENT_READ, None)
        # A forked relative of the parent may hold the socket open: watch the process as well.
        with contextlib.suppress(OSError):
            self.selector.register(os.pidfd_open(parent_pid), selectors.EVENT_READ, "parent ended")
        if os.getppid() != parent_pid:
            return
        try:
            for crew in self.crews.values():
                for _ in range(crew.full_size()):
                    self.welcome(crew.start())
            while self.step():
                pass
        except (EOFError, ConnectionError, Terminated):
            pass
        finally:
            self.end_all()

    def slots(self) -> list[Slot]:
        return [slot for crew in self.crews.values() for slot in crew.slots]

    def step(self) -> bool:
        soonest = min((slot.must_answer for slot in self.slots()), default=NEVER)
        timeout = None
        if soonest != NEVER:
            timeout = min(max(0.0, soonest - time.monotonic()), MAX_WAIT_S)
        for key, _ in self.selector.select(timeout):
            if isinstance(key.data, Slot):
                self.hear(key.data)
            elif key.data is None:
                self.accept(self.parent.recv_bytes())
            else:
                return False
        now = time.monotonic()
        for slot in self.slots():
            if slot.must_answer <= now:
                self.replace(slot, "timeout" if slot.begun else "slow to load")
        self.deal()
        return True

    # Tasks: from the trainer to a worker.

    def accept(self, frame: bytes) -> None:
        order = order_of(frame)
        crew = self.crews[order.world]
        crew.queue.append(Task(order, frame))
        if order.warm and order.verifier not in crew.warm:
            crew.warm.append(order.verifier)
            for slot in crew.idle():
                self.warm_up(slot)

    def deal(self) -> None:
        crews = self.crews.values()
        busy = [slot for crew in crews for slot in crew.busy()]
        if not self.close_calls:
            self.settling = False
        elif len(self.close_calls) >= MAX_CLOSE_CALLS or not any(crew.queue or crew.again for crew in crews):
            self.settling = True
        if any(slot.task and slot.task.first for slot in busy):
            return
        if self.settling:
            self.settle()
            return
        for crew in crews:
            self.deal_to(crew)

    def settle(self) -> None:
        """Starts one close call, once nothing else of its crew runs: a reward may wait for a service, at no cost."""
        crew = self.crews[self.close_calls[0].order.world]
        idle = crew.idle()
        if idle and not crew.busy():
            self.hand(idle[0], self.close_calls.popleft())

    def deal_to(self, crew: Crew) -> None:
        for _ in range(crew.size - len(crew.busy())):
            if crew.again and (taker := crew.for_again()):
                self.hand(taker, crew.again.popleft())
            elif crew.queue and (idle := crew.idle()):
                self.hand(idle[0], crew.queue.popleft())

    def hand(self, slot: Slot, task: Task) -> None:
        try:
            slot.crew.hand(slot, task)
        except OSError:
            self.replace(slot, "crash")

    # Messages: from a worker to the trainer.

    def hear(self, slot: Slot) -> None:
        if slot not in slot.crew.slots:  # it was ended by what another message caused
            return
        try:
            message = json.loads(slot.conn.recv_bytes(MAX_MESSAGE_BYTES))
        except (EOFError, OSError, ValueError):
            self.replace(slot, "crash")
            return
        if slot.awaits(message):
            self.take_in(slot, message)

    def take_in(self, slot: Slot, message: dict[str, Any]) -> None:
        if "ready" in message:
            self.hear_ready(slot)
        elif "loading" in message:
            slot.loading = message["loading"]
        elif "notice" in message:
            self.tell(message)
        elif "begin" in message and slot.task:
            slot.begun = True
            slot.expect(slot.task.order.deadline_s)
        elif "infra" in message:
            self.replace(slot, "infra", message["infra"])
        elif slot.task:
            self.hear_verdict(slot, slot.task, message)
        elif "fatal" in message:
            self.replace(slot, "fatal", message["fatal"])

    def hear_ready(self, slot: Slot) -> None:
        crew = slot.crew
        slot.ready = True
        slot.must_answer = NEVER
        crew.failed_starts = 0
        if not crew.loaded:
            crew.loaded = True
            self.tell({"loaded": True})
            self.tell_of_fewer(crew)
        self.warm_up(slot)

    def hear_verdict(self, slot: Slot, task: Task, message: dict[str, Any]) -> None:
        slot.task = None
        slot.must_answer = NEVER
        slot.judged += 1
        self.answer(task, message)
        if slot.crew.is_worn(slot):
            self.end(slot)
            self.welcome(slot.crew.start())

    def answer(self, task: Task, message: dict[str, Any]) -> None:
        if message.get("close_call"):
            task.first = message
            task.order = replace(task.order, alone=True)
            task.frame = reordered(task.frame, task.order)
            self.close_calls.append(task)
            return
        if task.first:
            message["flipped"] = message.get("verdict") != task.first["verdict"]
        self.tell(message | {"number": task.order.number, "failures": len(task.failures)})

    def tell(self, message: dict[str, Any]) -> None:
        self.parent.send_bytes(json.dumps(message).encode())

    # Workers: new ones, and those that failed.

    def welcome(self, slot: Slot) -> None:
        """Listens to a new worker."""
        self.selector.register(slot.conn, selectors.EVENT_READ, slot)
        try:
            slot.crew.greet(slot)
        except OSError:
            self.replace(slot, "crash")

    def warm_up(self, slot: Slot) -> None:
        verifier = slot.crew.cold(slot)
        if verifier is None:
            return
        try:
            slot.crew.warm_up(slot, verifier)
        except OSError:
            self.replace(slot, "crash")

    def replace(self, slot: Slot, failure: str, detail: str = "") -> None:
        """Ends a worker, starts another, and has its task tried again, or gives the task up."""
        self.end(slot)
        start_another = slot.ready or self.may_start_again(slot, failure, detail)
        if slot.task is not None:
            self.fail(slot.crew, slot.task, failure, detail)
        if start_another:
            self.welcome(slot.crew.start())

    def may_start_again(self, slot: Slot, failure: str, detail: str) -> bool:
        """Whether another worker is started for one that did not start.

        A crew of rewards does with fewer while it has any: what a reward loads may have room only once. Ends the pool
        when no worker starts, or when the user's rewards cannot be loaded even once.
        """
        crew = slot.crew
        if slot.loading and not detail:
            detail = f"reward '{slot.loading}': its process {SAID.get(failure, failure)} while it was loaded"
        crew.failed_starts += 1
        if crew.loaded and crew.failed_starts < MAX_FAILED_STARTS:
            return True
        if crew.world == "user" and crew.slots:
            crew.shrink(detail or failure)
            self.tell_of_fewer(crew)
            return False
        if crew.loaded:
            found = f" ({detail})" if detail else ""
            self.tell({"notice": f"the verification workers do not start{found}; the pool gives up"})
        else:
            self.tell({"refused": detail or f"the rewards' worker failed before it loaded one: {failure}"})
        raise EOFError

    def tell_of_fewer(self, crew: Crew) -> None:
        """Says that workers are missing, once the pool is known to go on without them."""
        if crew.loaded and crew.missing:
            self.tell({"notice": f"not every worker of the rewards starts ({crew.missing}); the others go on without"})

    def fail(self, crew: Crew, task: Task, failure: str, detail: str) -> None:
        task.failures.append(failure)
        only_crashes = set(task.failures) == {"crash"}
        bound = MAX_CRASHES if only_crashes else MAX_FAILURES
        if task.first:
            self.answer(task, task.first | {"close_call": False})
        elif len(task.failures) < bound:
            crew.again.append(task)
        else:
            self.give_up(task, detail or f"its worker {SAID.get(failure, failure)}")

    def give_up(self, task: Task, detail: str) -> None:
        order = task.order
        verdict, reason, seconds = "unjudged", order.failure, 0.0
        if task.failures == ["timeout", "timeout"]:
            verdict, reason = order.second_timeout
            seconds = order.deadline_s
            detail = f"gave no answer in {seconds:g} s, twice"
        self.answer(task, {"verdict": verdict, "reason": reason, "seconds": seconds, "detail": detail})

    def end(self, slot: Slot) -> None:
        slot.crew.slots.remove(slot)
        with contextlib.suppress(KeyError):  # SIGTERM came before it was registered
            self.selector.unregister(slot.conn)
        slot.process.kill()
        slot.process.wait()
        slot.conn.close()
        # As subreaper we inherit what dead workers left: kill and reap it.
        confine.kill_descendants(spare={one.process.pid for one in self.slots()})

    def end_all(self) -> None:
        for slot in self.slots():
            slot.process.kill()
        for slot in self.slots():
            self.end(slot)
        shutil.rmtree(self.settings.folder, ignore_errors=True)


def _end(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


def _users_world(parent: Connection, parent_pid: int) -> bytes:
    """The first message on the socket. Raises EOFError where the parent ends first; a forked relative may hold it."""
    ended = os.pidfd_open(parent_pid)
    try:
        if os.getppid() != parent_pid or parent not in wait([parent, ended]):
            raise EOFError
    finally:
        os.close(ended)
    return parent.recv_bytes()


def main() -> None:
    confine.prctl(confine.PR_SET_DUMPABLE, 0)
    confine.prctl(confine.PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    handle, parent_pid = int(sys.argv[1]), int(sys.argv[2])
    settings = Settings(**json.loads(sys.argv[3]))
    parent = Connection(handle)
    message = b""
    if settings.rewards:
        try:
            message = _users_world(parent, parent_pid)
        except (EOFError, OSError, Terminated):
            return
    Supervisor(parent, settings, message).run(parent_pid)


if __name__ == "__main__":
    main()
