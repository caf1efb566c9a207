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
from jax import Array
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
    logits: Array  # [B,V] fp32: the distribution of the next token, before temperature
    prompt_length: Array  # [B]
    length: Array  # [B]
    done: Array  # [B] bool
    ids: Array  # [B,response]
    logprobs: Array  # [B,response] nats under the distribution that was sampled from
    column: Array  # []: response tokens decoded so far in every live slot
    keys: Array  # [B] typed PRNG keys


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


@functools.partial(jax.jit, static_argnames=("seed",))
def generation_key(seed: int, step: Array) -> Array:
    """The key that every draw of a generation begins with."""
    return jax.random.fold_in(jax.random.key(seed), step)


@functools.partial(jax.jit, static_argnames=("config", "settings"))
def prefill(
    params: Params,
    ids: Array,
    lengths: Array,
    names: Array,
    base: Array,
    config: PolicyConfig,
    settings: Settings,
) -> State:
    """Runs N prompts once and opens N x group slots.

    ids [N,prompt] padded on the right, lengths [N], names [N] uint32 (problem_key), base: the key of (seed, step).
    """
    rules = SAMPLING
    N, P = ids.shape
    G, slots = settings.group, N * settings.group
    by_slot, by_row = rules.spec("batch"), rules.spec("batch", None)

    # The prompts, once each, and the distribution of each one's next token.
    steps = jnp.arange(P)
    segments = (steps[None, :] < lengths[:, None]).astype(jnp.int32)
    positions = jnp.broadcast_to(steps, (N, P))
    dtype = jnp.dtype(settings.dtype)
    x, (keys, values) = forward(params, ids, positions, segments, config, rules, dtype, remat=False, keep_cache=True)
    at_last = steps == lengths[:, None] - 1
    last = jnp.sum(jnp.where(at_last[..., None], x, 0), axis=1)
    first = logits(params, last, config, rules)

    # Each slot's key: (seed, step), then the problem, then the number of the sample.
    def slot_key(name: Array, number: Array) -> Array:
        return jax.random.fold_in(jax.random.fold_in(base, name), number)

    numbers = jnp.arange(slots, out_sharding=by_slot) % G
    slot_keys = jax.vmap(slot_key)(repeat_rows(names, G, 0, by_slot), numbers)
    return State(
        cache=from_prompts(keys, values, G, settings.response, rules),
        logits=repeat_rows(first, G, 0, rules.spec("batch", "vocab")),
        prompt_length=repeat_rows(lengths, G, 0, by_slot),
        length=jnp.zeros(slots, jnp.int32, out_sharding=by_slot),
        done=jnp.zeros(slots, bool, out_sharding=by_slot),
        ids=jnp.zeros((slots, settings.response), jnp.int32, out_sharding=by_row),
        logprobs=jnp.zeros((slots, settings.response), jnp.float32, out_sharding=by_row),
        column=jnp.int32(0),
        keys=slot_keys,
    )


def draw(z: Array, uniform: Array, top_p: float) -> Array:
    """Inverse-CDF sampling: tempered logits z [B,V] and one uniform number a row [B] -> token ids [B].

    The cumulative sum runs over blocks first and then inside the chosen block, so no cumulative sum is V long. With
    top_p < 1 only the nucleus is drawn from (Holtzman et al., arXiv 1904.09751).
    """
    B, V = z.shape
    p = jax.nn.softmax(z, axis=-1)
    if top_p < 1.0:
        p = keep_nucleus(p, top_p)

    # The block in which the cumulative sum passes the goal.
    width = max(16, 1 << (V.bit_length() // 2))
    p = jnp.pad(p, ((0, 0), (0, -V % width))).reshape(B, -1, width)
    upto = jnp.cumsum(jnp.sum(p, axis=-1), axis=-1)
    goal = uniform * upto[:, -1]
    passed = jnp.sum(upto <= goal[:, None], axis=-1)
    block_number = jnp.minimum(passed, upto.shape[1] - 1)

    # The token inside it.
    chosen = jnp.arange(upto.shape[1]) == block_number[:, None]
    masses = jnp.sum(jnp.where(chosen[..., None], p, 0.0), axis=1)
    inside = jnp.cumsum(masses, axis=-1)
    block_end = jnp.sum(jnp.where(chosen, upto, 0.0), axis=-1)
    rest = jnp.maximum(goal - block_end + inside[:, -1], 0.0)
    offset = jnp.sum(inside <= rest[:, None], axis=-1)
    # Rounding can put the goal at or past a block's end: the last token with any mass is then meant.
    last = jnp.max(jnp.where(masses > 0, jnp.arange(width), 0), axis=-1)
    return (block_number * width + jnp.minimum(offset, last)).astype(jnp.int32)


def keep_nucleus(p: Array, top_p: float) -> Array:
    """Probabilities [B,V] with 0 for all but the smallest set of most probable tokens whose mass reaches top_p."""
    ordered = jnp.sort(p, axis=-1, descending=True)
    before = jnp.cumsum(ordered, axis=-1) - ordered
    least = jnp.min(jnp.where(before < top_p, ordered, jnp.inf), axis=-1, keepdims=True)
    return jnp.where(p >= least, p, 0.0)


def sample_token(
    state: State,
    temperature: Array,
    pad_id: Array,
    config: PolicyConfig,
    settings: Settings,
) -> tuple[Array, Array]:
    """The next token of every slot [B] and its log-probability [B]; where a slot is done, `pad_id` and 0."""
    whole = jax.reshard(state.logits / temperature, SAMPLING.spec("batch", None))
    if settings.greedy:
        drawn = jnp.argmax(whole, axis=-1).astype(jnp.int32)
    else:
        uniform = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, state.column)))(state.keys)
        drawn = draw(whole, uniform, settings.top_p)
    token = jnp.where(state.done, pad_id, drawn)

    is_token = jnp.arange(config.vocab) == token[:, None]
    chosen = jnp.sum(jnp.where(is_token, whole, 0.0), axis=-1)
    logprob = jnp.where(state.done, 0.0, chosen - jax.nn.logsumexp(whole, axis=-1))
    return token, logprob


def next_logits(
    params: Params,
    state: State,
    token: Array,
    config: PolicyConfig,
    settings: Settings,
) -> tuple[Cache, Array]:
    """Runs the policy on one token of every slot [B]. Returns the grown cache and the logits [B,V] that follow."""
    rules = SAMPLING
    t, prompt = state.column, settings.prompt
    B = token.shape[0]
    columns = jnp.arange(prompt + settings.response)
    in_prompt = columns < state.prompt_length[:, None]
    in_response = (columns >= prompt) & (columns <= prompt + t)
    visible = in_prompt | in_response
    angles = rotary((state.prompt_length + t)[:, None], config.rope, config.head_dim)

    def step(carry: tuple[Array, Cache, Array], layer: Layer) -> tuple[Any, None]:
        x, cache, index = carry

        def attention(q: Array, k: Array, v: Array) -> tuple[Array, Cache]:
            at = (index, 0, prompt + t, 0, 0)
            grown = Cache(
                jax.lax.dynamic_update_slice(cache.keys, k[None].astype(cache.keys.dtype), at),
                jax.lax.dynamic_update_slice(cache.values, v[None].astype(cache.values.dtype), at),
            )
            layer_keys = jax.lax.dynamic_index_in_dim(grown.keys, index, keepdims=False)
            layer_values = jax.lax.dynamic_index_in_dim(grown.values, index, keepdims=False)
            return attend(q, layer_keys, layer_values, visible[:, None]), grown

        x, cache = block(layer, x, angles, config, rules, attention)
        return (x, cache, index + 1), None

    x = embed(params, token[:, None], rules, jnp.dtype(settings.dtype))
    start = (x, state.cache, jnp.int32(0))
    (x, cache, _), _ = jax.lax.scan(step, start, params.layers, unroll=unroll(config))
    x = rms_norm(x, params.norm, config.norm_eps)
    return cache, logits(params, jax.lax.reshape(x, (B, config.width)), config, rules)


def advance(
    params: Params,
    state: State,
    temperature: Array,
    pad_id: Array,
    config: PolicyConfig,
    settings: Settings,
) -> State:
    """Samples one token in every live slot, records it, and runs the policy on it."""
    t = state.column
    with jax.named_scope("draw"):
        token, logprob = sample_token(state, temperature, pad_id, config, settings)
    stopped = jnp.any(token[:, None] == jnp.array(settings.stop_ids), axis=-1)
    length = state.length + ~state.done
    cache, following = next_logits(params, state, token, config, settings)
    return replace(
        state,
        cache=cache,
        logits=following,
        length=length,
        done=state.done | stopped | (length >= settings.response),
        ids=jax.lax.dynamic_update_slice(state.ids, token[:, None], (0, t)),
        logprobs=jax.lax.dynamic_update_slice(state.logprobs, logprob[:, None], (0, t)),
        column=t + 1,
    )


@functools.partial(jax.jit, static_argnames=("config", "settings"), donate_argnames=("state",))
def decode(
    params: Params,
    state: State,
    temperature: Array,
    pad_id: Array,
    config: PolicyConfig,
    settings: Settings,
) -> State:
    """Up to `chunk` tokens for every slot; ends early when all are done."""
    end = jnp.minimum(state.column + settings.chunk, settings.response)

    def live(s: State) -> Array:
        return (s.column < end) & ~jnp.all(s.done)

    def step(s: State) -> State:
        return advance(params, s, temperature, pad_id, config, settings)

    return jax.lax.while_loop(live, step, state)


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
    ways = row_divisor(mesh)
    rows = -(-max(len(prompts), rows or 1) // ways) * ways
    ids, lengths, names = _padded(prompts, rows, settings.prompt, pad_id)

    with jax.set_mesh(mesh):
        by_row, by_prompt = SAMPLING.spec("batch", None), SAMPLING.spec("batch")
        state = prefill(
            params,
            place(ids, mesh, by_row),
            place(lengths, mesh, by_prompt),
            place(names, mesh, by_prompt),
            generation_key(seed, np.uint32(step)),
            config,
            settings,
        )
        seen = np.zeros(rows * settings.group, bool)
        seen[len(prompts) * settings.group :] = True  # rows that only fill the mesh
        while not seen.all():
            state = decode(params, state, np.float32(temperature), np.int32(pad_id), config, settings)
            done, length, out, logprobs = jax.device_get((state.done, state.length, state.ids, state.logprobs))
            for slot in np.flatnonzero(done & ~seen):
                n = int(length[slot])
                yield _finished(int(slot), out[slot, :n], logprobs[slot, :n], settings)
            seen |= done
            if between is not None:
                between(int(seen.sum()), seen.size)


def _padded(
    prompts: Sequence[tuple[str, Sequence[int]]], rows: int, columns: int, pad_id: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids [rows,columns], lengths [rows] and problem_key of each prompt [rows]; rows without a prompt hold one
    padding.
    """
    ids = np.full((rows, columns), pad_id, np.int32)
    lengths = np.ones(rows, np.int32)
    names = np.zeros(rows, np.uint32)
    for row, (name, prompt) in enumerate(prompts):
        if len(prompt) > columns:
            raise ValueError(f"prompt {name}: {len(prompt)} tokens, {columns} at most")
        ids[row, : len(prompt)] = prompt
        lengths[row] = len(prompt)
        names[row] = problem_key(name)
    return ids, lengths, names


def _finished(slot: int, ids: np.ndarray, logprobs: np.ndarray, settings: Settings) -> Finished:
    prompt, sample = divmod(slot, settings.group)
    tokens = tuple(ids.tolist())
    return Finished(prompt, sample, tokens, tuple(logprobs.tolist()), tokens[-1] in settings.stop_ids)
