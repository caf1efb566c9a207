"""The static cache of keys and values that a batch of slots decodes into."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jax.sharding import PartitionSpec

from acejax.mesh import Rules


@struct.dataclass
class Cache:
    """keys and values [L,B,S,K,C].

    Columns [0, P) hold the prompt of each slot, padded on the right; column P + t holds response token t.
    """

    keys: Array
    values: Array


def from_prompts(
    keys: Array,  # [L,N,P,K,C]
    values: Array,  # [L,N,P,K,C]
    group: int,
    response: int,
    rules: Rules,
) -> Cache:
    """The cache of N x group slots behind N prompts, with room for `response` tokens each."""

    spec = rules.spec(None, "batch", None, "heads", None)

    def spread(x: Array) -> Array:
        x = jnp.pad(x, ((0, 0), (0, 0), (0, response), (0, 0), (0, 0)))
        return repeat_rows(x, group, 1, spec)

    return Cache(spread(keys), spread(values))


def repeat_rows(
    x: Array,
    group: int,
    axis: int,
    spec: PartitionSpec,
) -> Array:
    """Each row of `axis`, `group` times in place: a prompt's slots stay on the device that prefilled it."""
    before, rows, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    wide = jnp.expand_dims(x, axis + 1)
    wide = jnp.broadcast_to(wide, (*before, rows, group, *after))
    return jax.lax.reshape(wide, (*before, rows * group, *after), out_sharding=spec)
