"""Sequences in rows: nothing is lost, nothing is trained on that should not be."""

import numpy as np
import pytest

from acejax.grpo.packing import Item, pack


def test_every_token_is_placed_once_with_its_mask_and_advantage():
    rng = np.random.default_rng(0)
    items = [
        Item(
            rng.integers(1, 99, rng.integers(1, 9)).tolist(),
            rng.integers(1, 99, rng.integers(1, 20)).tolist(),
            float(n),
        )
        for n in range(40)
    ]
    batches = pack(items, 4, 32, 0, 0)
    found = []
    for batch in batches:
        assert batch.ids.shape == (4, 32)
        assert not batch.loss_mask[batch.segments == 0].any()
        for row in range(4):
            for segment in range(1, batch.segments[row].max() + 1):
                at = np.flatnonzero(batch.segments[row] == segment)
                assert (np.diff(at) == 1).all() and batch.positions[row, at].tolist() == list(range(len(at)))
                trained = batch.loss_mask[row, at]
                begin = int(np.argmax(trained))
                assert trained[begin:].all(), "the stop token is trained on"
                (advantage,) = set(batch.advantages[row, at[begin:]].tolist())
                found.append(Item(batch.ids[row, at[:begin]].tolist(), batch.ids[row, at[begin:]].tolist(), advantage))
    key = lambda item: item.advantage  # noqa: E731
    assert sorted(found, key=key) == sorted(items, key=key)
    assert len(batches) < len(items) / 4, "short sequences share rows"


def test_other_weights_and_long_sequences_are_refused():
    with pytest.raises(ValueError, match="sampled at step 3 in the update of step 4"):
        pack([Item([1], [2], 1.0, step=3)], 1, 8, 0, 4)
    with pytest.raises(ValueError, match="9 tokens in rows of 8"):
        pack([Item([1] * 4, [2] * 5, 1.0)], 1, 8, 0, 0)
