"""Tokens a second, forward and forward and backward, beside transformers. Run: `.venv-bench/bin/python
benchmarks/forward.py`.

Both hold the same random weights of a preset in fp32, each in a process of its own, and take turns, so that what else
the machine does meets both; a turn is one pass that is not counted (the system has to hand over the other's memory) and
two that are. The ratio is the median over the rounds. Forward gives the logits of every position; forward and backward
the gradients of the mean negative log-likelihood. acejax keeps freed memory, as it does in its own runs on a CPU;
--plain-heap leaves that out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np

from acejax.heap import keep_freed_memory
from acejax.mesh import TRAINING, make_mesh, place
from acejax.policy import port
from acejax.policy.config import PolicyConfig, to_hf
from acejax.policy.folder import write_folder
from acejax.policy.presets import PRESETS
from acejax.policy.transformer import Params, forward, initialise, logits, score

SEED = 0


def ours(
    params: Params, ids: np.ndarray, config: PolicyConfig, mesh: jax.sharding.Mesh
) -> dict[str, Callable[[], object]]:
    def all_logits(params: Params, ids: jax.Array, positions: jax.Array, segments: jax.Array) -> jax.Array:
        x, _ = forward(params, ids, positions, segments, config, TRAINING, jnp.float32, remat=False)
        return logits(params, x, config, TRAINING)

    def loss(params: Params, ids: jax.Array, positions: jax.Array, segments: jax.Array) -> jax.Array:
        x, _ = forward(params, ids, positions, segments, config, TRAINING, jnp.float32, remat=False)
        logprobs, _, _ = score(params, x[:, :-1], ids[:, 1:], jnp.float32(1.0), config, TRAINING, remat=False)
        return -jnp.mean(logprobs)

    steps = np.broadcast_to(np.arange(ids.shape[1], dtype=np.int32), ids.shape)
    with jax.set_mesh(mesh):
        placed = [
            place(np.ascontiguousarray(a, np.int32), mesh, TRAINING.spec("batch", None))
            for a in (ids, steps, np.ones_like(steps))
        ]
    programs = {"forward": jax.jit(all_logits), "forward and backward": jax.jit(jax.grad(loss))}

    def run(name: str) -> object:
        with jax.set_mesh(mesh):
            return jax.block_until_ready(programs[name](params, *placed))

    return {name: lambda name=name: run(name) for name in programs}


def theirs(params: Params, ids: np.ndarray, config: PolicyConfig) -> dict[str, Callable[[], object]]:
    import torch
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model"
        write_folder(out, to_hf(config), port.unload_params(params, config), {}, None)
        model = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    tokens = torch.from_numpy(ids.astype(np.int64))

    def forward() -> object:
        with torch.no_grad():
            return model(tokens, use_cache=False).logits

    def both() -> None:
        model.zero_grad(set_to_none=True)
        model(tokens, labels=tokens, use_cache=False).loss.backward()

    return {"forward": forward, "forward and backward": both}


def seconds(work: Callable[[], object]) -> float:
    """Mean of two passes, after one that is not counted."""
    work()
    began = time.perf_counter()
    work()
    work()
    return (time.perf_counter() - began) / 2


def serve(side: str, preset: str, rows: int, tokens: int, kept: bool, asked: Connection) -> None:
    """One side: answers with its versions, then each name of a pass with the seconds that it takes."""
    versions = f"jax {jax.__version__}"
    if side == "acejax" and kept and not keep_freed_memory():
        versions += " (this C library cannot keep freed memory)"
    config, mesh = PRESETS[preset].config, make_mesh(1, 1, jax.devices()[:1])
    params = initialise(config, SEED, mesh, TRAINING)
    ids = np.random.default_rng(SEED).integers(0, config.vocab, (rows, tokens))
    if side == "acejax":
        works = ours(params, ids, config, mesh)
    else:
        import torch
        import transformers

        versions = (
            f"transformers {transformers.__version__}, torch {torch.__version__} with {torch.get_num_threads()} threads"
        )
        works = theirs(params, ids, config)
        del params
    for work in works.values():  # compiles
        work()
    asked.send(versions)
    while (name := asked.recv()) is not None:
        asked.send(seconds(works[name]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="smollm2-135m", choices=PRESETS)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plain-heap", action="store_true")
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    sides: dict[str, Connection] = {}
    processes = []
    versions = [f"Python {platform.python_version()}"]
    names = ["acejax"]
    if find_spec("torch") and find_spec("transformers"):
        names.append("transformers")
    else:
        print("transformers with torch is absent here; .venv-bench has them (make bench)")
    for name in names:
        sides[name], other = spawn.Pipe()
        shape = (arguments.preset, arguments.rows, arguments.tokens)
        process = spawn.Process(target=serve, args=(name, *shape, not arguments.plain_heap, other), daemon=True)
        process.start()
        other.close()
        processes.append(process)
        versions.append(sides[name].recv())
    work = f"{arguments.preset}, fp32, {arguments.rows} x {arguments.tokens} tokens"
    print(f"{work}, seed {SEED}, median of {arguments.rounds} rounds")
    print(f"{platform.machine()} CPU, {os.cpu_count()} cores; {', '.join(versions)}")
    for name in ("forward", "forward and backward"):
        taken: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(arguments.rounds):
            for side, connection in sides.items():
                connection.send(name)
                taken[side].append(connection.recv())
        tokens = arguments.rows * arguments.tokens
        rates = ", ".join(f"{side} {tokens / statistics.median(times):.0f} tokens/s" for side, times in taken.items())
        line = f"{name}: {rates}"
        if len(sides) == 2:
            ratios = [peer / mine for mine, peer in zip(taken["acejax"], taken["transformers"], strict=True)]
            line += (
                f"; acejax is {statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})"
            )
        print(line)
    for connection in sides.values():
        connection.send(None)
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()
