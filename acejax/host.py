"""Which host this is. Every record, checkpoint and word on the console passes through here, so that many hosts speak as
one.

The same program runs on each host (multi-controller JAX); `jax.process_index` tells them apart. JAX is imported when it
is asked, not before: reading a run's records takes no devices.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np


def is_writer() -> bool:
    """Whether this host writes the run's files and speaks to the person who watches: exactly one of all hosts does."""
    import jax

    return jax.process_index() == 0


def gather(value: Any) -> list[Any]:
    """What each host has for `value`, plain JSON, in the order of the hosts; the same list on every host."""
    import jax

    if jax.process_count() == 1:
        return [value]
    from jax.experimental.multihost_utils import process_allgather

    # Arrays alone travel, all of one shape: the text is padded to the longest.
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    lengths = process_allgather(np.int64(text.size)).reshape(-1)
    padded = np.zeros(int(lengths.max()), np.uint8)
    padded[: text.size] = text
    every = process_allgather(padded).reshape(len(lengths), -1)
    return [json.loads(row[:length].tobytes()) for row, length in zip(every, lengths, strict=True)]


def agree(value: Any, what: str) -> Any:
    """`value`, which must be the same on every host. Raises RuntimeError, naming `what` and the hosts that differ."""
    every = gather(value)
    different = [index for index, other in enumerate(every) if other != every[0]]
    if different:
        raise RuntimeError(f"{what} differs between hosts: host 0 has {every[0]!r}, hosts {different} have another")
    return value
