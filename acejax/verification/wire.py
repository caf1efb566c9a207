"""What travels to a worker: an order, which the supervisor reads, then the task and the response, which it passes on.

A frame is the lengths of order and task, the order as JSON, the task as JSON, and the response.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

from acejax.verification.verdict import Outcome
from acejax.verification.verifier import World

LENGTHS = struct.Struct("!II")


@dataclass(frozen=True)
class Order:
    """What the supervisor has to know of a task; the fields of its Verifier have the same names.

    `alone`: the task runs while no other does, and nothing is a close call any more. `load_only`: there is no task, the
    worker is to load the verifier.
    """

    number: int
    verifier: str
    world: World = "bare"
    deadline_s: float = 0.0
    second_timeout: tuple[Outcome, str] = ("unjudged", "infra")
    failure: str = "infra"
    warm: bool = False
    alone: bool = False
    load_only: bool = False


def pack(order: Order, task: bytes = b"", response: bytes = b"") -> bytes:
    head = json.dumps(vars(order)).encode()
    return LENGTHS.pack(len(head), len(task)) + head + task + response


def order_of(frame: bytes) -> Order:
    length, _ = LENGTHS.unpack_from(frame)
    fields = json.loads(frame[LENGTHS.size : LENGTHS.size + length])
    verdict, reason = fields.pop("second_timeout")
    return Order(**fields, second_timeout=(verdict, reason))


def contents_of(frame: bytes) -> tuple[bytes, bytes]:
    """The task and the response."""
    head, length = LENGTHS.unpack_from(frame)
    begin = LENGTHS.size + head
    end = begin + length
    return frame[begin:end], frame[end:]


def reordered(frame: bytes, order: Order) -> bytes:
    """The same task and response under another order."""
    return pack(order, *contents_of(frame))
