"""Completions laid out as the rows of an update, several to a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acejax.grpo.update import Rows


@dataclass(frozen=True)
class Item:
    """One sequence to learn from: a prompt, the tokens after it (all trained on, the stop token too), and their
    advantage.

    `logprobs` are the sampler's, one per response token; empty for supervised targets. `step` is that of the weights
    that sampled it.
    """

    prompt: Sequence[int]
    response: Sequence[int]
    advantage: float
    logprobs: Sequence[float] = ()
    step: int = 0


def pack(items: Sequence[Item], rows: int, length: int, pad_id: int, step: int) -> list[Rows]:
    """Micro-batches of `rows` rows of `length` tokens. Each sequence goes, whole, into the first row with room, longest
    first.

    Sequences with advantage 0 come last, in micro-batches of their own, which need no backward pass. A sequence sees
    only its own segment, so how they share rows changes nothing but the padding. The last micro-batch of either kind is
    filled up with empty rows. Raises ValueError for a sequence that is longer than a row, or that other weights than
    those of `step` sampled: an update is strictly on-policy.
    """
    for item in items:
        if item.step != step:
            raise ValueError(
                f"a completion sampled at step {item.step} in the update of step {step}: updates are on-policy"
            )
        if _tokens(item) > length:
            raise ValueError(f"a sequence of {_tokens(item)} tokens in rows of {length}")

    learned = [item for item in items if item.advantage]
    counted = [item for item in items if not item.advantage]
    batches = []
    for part in (learned, counted):
        filled = _fill_rows(part, length)
        for start in range(0, len(filled), rows):
            batches.append(_micro_batch(filled[start : start + rows], rows, length, pad_id))
    return batches


def empty_rows(rows: int, length: int, pad_id: int) -> Rows:
    """A micro-batch of padding alone."""
    return _micro_batch([], rows, length, pad_id)


def _tokens(item: Item) -> int:
    """How long a sequence is, prompt and response."""
    return len(item.prompt) + len(item.response)


def _fill_rows(items: Sequence[Item], length: int) -> list[list[Item]]:
    """The sequences of each row."""
    room: list[int] = []
    filled: list[list[Item]] = []
    for item in sorted(items, key=_tokens, reverse=True):
        row = next((number for number, free in enumerate(room) if free >= _tokens(item)), len(room))
        if row == len(room):
            room.append(length)
            filled.append([])
        room[row] -= _tokens(item)
        filled[row].append(item)
    return filled


def _micro_batch(filled: Sequence[Sequence[Item]], rows: int, length: int, pad_id: int) -> Rows:
    shape = (rows, length)
    out = Rows(
        ids=np.full(shape, pad_id, np.int32),
        positions=np.zeros(shape, np.int32),
        segments=np.zeros(shape, np.int32),
        loss_mask=np.zeros(shape, bool),
        advantages=np.zeros(shape, np.float32),
        logprobs=np.zeros(shape, np.float32),
    )
    for row, items in enumerate(filled):
        start = 0
        for number, item in enumerate(items, 1):
            begin, end = start + len(item.prompt), start + _tokens(item)
            out.ids[row, start:end] = [*item.prompt, *item.response]
            out.positions[row, start:end] = np.arange(end - start)
            out.segments[row, start:end] = number
            out.loss_mask[row, begin:end] = True
            out.advantages[row, begin:end] = item.advantage
            if len(item.logprobs):
                out.logprobs[row, begin:end] = item.logprobs
            start = end
    return out
