"""Jitted prefill and decode, and the host loop round them.

Every draw is keyed by (seed, step, problem, sample, position): a completion does not depend on the order of the slots,
on its neighbours, or on how often the run was restarted. Dimension letters are listed in policy/attention.py; B counts
slots, N prompts.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh

from acejax.mesh import SAMPLING, place, row_divisor
from acejax.policy.attention import attend
from acejax.policy.config import PolicyConfig
from acejax.policy.rope import rotary
from acejax.policy.transformer import Layer, Params, block, embed, forward, logits, rms_norm, unroll
from acejax.sampling.cache import Cache, from_prompts, repeat_rows


@dataclass(frozen=True)
class Settings:
    """Static settings of a sampling program. `response` is the most tokens a completion may have, `chunk` those per
    device call.

    `greedy` takes the most probable token; log-probabilities are then those at the temperature given.
    """

    group: int
    prompt: int
    response: int
    chunk: int
    stop_ids: tuple[int, ...]
    top_p: float = 1.0
    dtype: str = "float32"
    greedy: bool = False


@struct.dataclass
class State:
    """What a chunk of decoding carries, all of it on the device. `length` counts response tokens, the stop token among
    them.
    """

    cache: Cache
    logits: jax.Array  # [B,V] fp32: the distribution of the next token, before temperature
    prompt_length: jax.Array  # [B]
    length: jax.Array  # [B]
    done: jax.Array  # [B] bool
    ids: jax.Array  # [B,response]
    logprobs: jax.Array  # [B,response] nats under the distribution that was sampled from
    column: jax.Array  # []: response tokens decoded so far in every live slot
    keys: jax.Array  # [B] typed PRNG keys


@dataclass(frozen=True)
class Finished:
    """A completion that left the device: row of the prompt, sample number, sampled ids with the stop token, and their
    log-probabilities.
    """

    prompt: int
    sample: int
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stopped: bool


def problem_key(problem_id: str) -> int:
    """A 32-bit number for a problem's id, the same in every process and run."""
    return zlib.crc32(problem_id.encode())


@functools.partial(jax.jit, static_argnames=("config", "settings"))
def prefill(
    params: Params,
    ids: jax.Array,
    lengths: jax.Array,
    names: jax.Array,
    base: jax.Array,
    config: PolicyConfig,
    settings: Settings,
) -> State:
    """Runs N prompts once and opens N x group slots.

    ids [N,prompt] padded on the right, lengths [N], names [N] uint32 (problem_key), base: the key of (seed, step).
    """
    rules = SAMPLING
    N, P = ids.shape
    steps = jnp.arange(P)
    segments = (steps[None, :] < lengths[:, None]).astype(jnp.int32)
    positions = jnp.broadcast_to(steps, (N, P))
    x, (keys, values) = forward(
        params, ids, positions, segments, config, rules, jnp.dtype(settings.dtype), remat=False, keep_cache=True
    )
    last = jnp.sum(jnp.where((steps == lengths[:, None] - 1)[..., None], x, 0), axis=1)
    first = logits(params, last, config, rules)
    rows = rules.spec("batch")

    def spread(a: jax.Array) -> jax.Array:
        return repeat_rows(a, settings.group, 0, rules.spec("batch", *[None] * (a.ndim - 1)))

    sample = jnp.arange(N * settings.group, out_sharding=rows) % settings.group
    slot_keys = jax.vmap(lambda name, number: jax.random.fold_in(jax.random.fold_in(base, name), number))(
        spread(names), sample
    )
    slots = N * settings.group
    return State(
        cache=from_prompts(keys, values, settings.group, settings.response, rules),
        logits=repeat_rows(first, settings.group, 0, rules.spec("batch", "vocab")),
        prompt_length=spread(lengths),
        length=jnp.zeros(slots, jnp.int32, out_sharding=rows),
        done=jnp.zeros(slots, bool, out_sharding=rows),
        ids=jnp.zeros((slots, settings.response), jnp.int32, out_sharding=rules.spec("batch", None)),
        logprobs=jnp.zeros((slots, settings.response), jnp.float32, out_sharding=rules.spec("batch", None)),
        column=jnp.int32(0),
        keys=slot_keys,
    )


def draw(z: jax.Array, uniform: jax.Array, top_p: float) -> jax.Array:
    """Inverse-CDF sampling: tempered logits z [B,V] and one uniform number a row [B] -> token ids [B].

    The cumulative sum runs over blocks first and then inside the chosen block, so no cumulative sum is V long. With
    top_p < 1 the smallest set of most probable tokens whose mass reaches top_p is kept (Holtzman et al., arXiv
    1904.09751).
    """
    B, V = z.shape
    p = jax.nn.softmax(z, axis=-1)
    if top_p < 1.0:
        ordered = jnp.sort(p, axis=-1, descending=True)
        before = jnp.cumsum(ordered, axis=-1) - ordered
        least = jnp.min(jnp.where(before < top_p, ordered, jnp.inf), axis=-1, keepdims=True)
        p = jnp.where(p >= least, p, 0.0)
    width = max(16, 1 << (V.bit_length() // 2))
    p = jnp.pad(p, ((0, 0), (0, -V % width))).reshape(B, -1, width)
    upto = jnp.cumsum(jnp.sum(p, axis=-1), axis=-1)
    goal = uniform * upto[:, -1]
    chosen = jnp.minimum(jnp.sum(upto <= goal[:, None], axis=-1), upto.shape[1] - 1)
    mine = jnp.arange(upto.shape[1]) == chosen[:, None]
    masses = jnp.sum(jnp.where(mine[..., None], p, 0.0), axis=1)
    inside = jnp.cumsum(masses, axis=-1)
    rest = jnp.maximum(goal - jnp.sum(jnp.where(mine, upto, 0.0), axis=-1) + inside[:, -1], 0.0)
    offset = jnp.sum(inside <= rest[:, None], axis=-1)
    # Rounding can put the goal at or past a block's end: the last token with any mass is then meant.
    last = jnp.max(jnp.where(masses > 0, jnp.arange(width), 0), axis=-1)
    return (chosen * width + jnp.minimum(offset, last)).astype(jnp.int32)


def advance(
    params: Params, state: State, temperature: jax.Array, pad_id: jax.Array, config: PolicyConfig, settings: Settings
) -> State:
    """Samples one token in every live slot, records it, and runs the policy on it."""
    rules = SAMPLING
    t = state.column
    B = state.ids.shape[0]
    with jax.named_scope("draw"):
        whole = jax.reshard(state.logits / temperature, rules.spec("batch", None))
        uniform = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, t)))(state.keys)
        drawn = (
            jnp.argmax(whole, axis=-1).astype(jnp.int32) if settings.greedy else draw(whole, uniform, settings.top_p)
        )
        token = jnp.where(state.done, pad_id, drawn)
        chosen = jnp.sum(jnp.where(jnp.arange(config.vocab) == token[:, None], whole, 0.0), axis=-1)
        logprob = jnp.where(state.done, 0.0, chosen - jax.nn.logsumexp(whole, axis=-1))
    stopped = jnp.any(token[:, None] == jnp.array(settings.stop_ids), axis=-1)
    length = state.length + ~state.done

    prompt = settings.prompt
    columns = jnp.arange(prompt + settings.response)
    visible = (columns < state.prompt_length[:, None]) | ((columns >= prompt) & (columns <= prompt + t))
    angles = rotary((state.prompt_length + t)[:, None], config.rope, config.head_dim)

    def step(carry: tuple[jax.Array, Cache, jax.Array], layer: Layer) -> tuple[Any, None]:
        x, cache, index = carry

        def attention(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, Cache]:
            at = (index, 0, prompt + t, 0, 0)
            grown = Cache(
                jax.lax.dynamic_update_slice(cache.keys, k[None].astype(cache.keys.dtype), at),
                jax.lax.dynamic_update_slice(cache.values, v[None].astype(cache.values.dtype), at),
            )
            mine = [jax.lax.dynamic_index_in_dim(a, index, keepdims=False) for a in (grown.keys, grown.values)]
            return attend(q, mine[0], mine[1], visible[:, None]), grown

        x, cache = block(layer, x, angles, config, rules, attention)
        return (x, cache, index + 1), None

    x = embed(params, token[:, None], rules, jnp.dtype(settings.dtype))
    (x, cache, _), _ = jax.lax.scan(step, (x, state.cache, jnp.int32(0)), params.layers, unroll=unroll(config))
    x = rms_norm(x, params.norm, config.norm_eps)
    return replace(
        state,
        cache=cache,
        logits=logits(params, jax.lax.reshape(x, (B, config.width)), config, rules),
        length=length,
        done=state.done | stopped | (length >= settings.response),
        ids=jax.lax.dynamic_update_slice(state.ids, token[:, None], (0, t)),
        logprobs=jax.lax.dynamic_update_slice(state.logprobs, logprob[:, None], (0, t)),
        column=t + 1,
    )


@functools.partial(jax.jit, static_argnames=("config", "settings"), donate_argnames=("state",))
def decode(
    params: Params, state: State, temperature: jax.Array, pad_id: jax.Array, config: PolicyConfig, settings: Settings
) -> State:
    """Up to `chunk` tokens for every slot; ends early when all are done."""
    end = jnp.minimum(state.column + settings.chunk, settings.response)
    return jax.lax.while_loop(
        lambda s: (s.column < end) & ~jnp.all(s.done),
        lambda s: advance(params, s, temperature, pad_id, config, settings),
        state,
    )


def sample(
    params: Params,
    prompts: Sequence[tuple[str, Sequence[int]]],
    *,
    config: PolicyConfig,
    mesh: Mesh,
    settings: Settings,
    temperature: float,
    seed: int,
    step: int,
    pad_id: int,
    rows: int | None = None,
    between: Callable[[int, int], None] | None = None,
) -> Iterator[Finished]:
    """Samples `settings.group` completions of each prompt (problem id, ids) and yields each as it leaves the device.

    Temperature 0 is greedy, with log-probabilities at temperature 1. Prompts longer than `settings.prompt` are refused
    with ValueError: they are dropped at load. `between(finished, total)` is called after every chunk; what it raises
    ends the sampling. `rows` pads the number of prompts, so that calls of several sizes share one program.
    """
    if temperature == 0:
        settings, temperature = replace(settings, greedy=True), 1.0
    rows = -(-max(len(prompts), rows or 1) // row_divisor(mesh)) * row_divisor(mesh)
    ids = np.full((rows, settings.prompt), pad_id, np.int32)
    lengths = np.ones(rows, np.int32)
    names = np.zeros(rows, np.uint32)
    for row, (name, prompt) in enumerate(prompts):
        if len(prompt) > settings.prompt:
            raise ValueError(f"prompt {name}: {len(prompt)} tokens, {settings.prompt} at most")
        ids[row, : len(prompt)], lengths[row], names[row] = prompt, len(prompt), problem_key(name)
    with jax.set_mesh(mesh):
        base = jax.random.fold_in(jax.random.key(seed), step)
        spec = SAMPLING.spec("batch")
        state = prefill(
            params,
            place(ids, mesh, SAMPLING.spec("batch", None)),
            place(lengths, mesh, spec),
            place(names, mesh, spec),
            base,
            config,
            settings,
        )
        seen = np.zeros(rows * settings.group, bool)
        seen[len(prompts) * settings.group :] = True  # rows that only fill the mesh
        while not seen.all():
            state = decode(params, state, jnp.float32(temperature), jnp.int32(pad_id), config, settings)
            done, length, out, logprobs = jax.device_get((state.done, state.length, state.ids, state.logprobs))
            for slot in np.flatnonzero(done & ~seen):
                n = int(length[slot])
                tokens = tuple(out[slot, :n].tolist())
                stopped = tokens[-1] in settings.stop_ids
                yield Finished(
                    int(slot) // settings.group,
                    int(slot) % settings.group,
                    tokens,
                    tuple(logprobs[slot, :n].tolist()),
                    stopped,
                )
            seen |= done
            if between is not None:
                between(int(seen.sum()), seen.size)
