"""Time of a whole GRPO step beside tunix. Run: `.venv-bench/bin/python benchmarks/grpo_step.py`.

The toy is a Qwen2 of 2 layers, width 64 and random weights in fp32: 4 prompts of 16 tokens, 8 samples each of 24 tokens
(nothing stops them sooner), a reward made up on the host, and one update on all of them; on one and on two emulated
devices of a CPU. acejax's step is a training step's: weights for sampling, `sample`, advantages, packing, update. The
peer's is GRPOLearner.train with its own sampler. Neither verifies anything, and both turn what they sampled into text.

Each side is a process of its own, and they take turns, so that what else the machine does meets both; a turn is one
step that is not counted and some that are. The ratio is the median over the rounds of acejax's time to the peer's; exit
code 3 says that it is over the floor. Lowerings after the second step are steps that compiled anew.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import optax

from acejax.grpo.objective import group_advantages
from acejax.grpo.packing import Item, pack
from acejax.grpo.update import Optimizer, initial_state, update
from acejax.heap import keep_freed_memory
from acejax.mesh import TRAINING, make_mesh
from acejax.policy.config import PolicyConfig, Rope
from acejax.policy.transformer import initialise, sampling_weights
from acejax.sampling.decode import Settings, sample
from acejax.training.lowerings import Lowerings

SEED = 0
FLOOR = 0.7  # of the peer's time, at most
WARM = 2  # steps before which a step may compile
PROMPTS, GROUP, PROMPT, RESPONSE = 4, 8, 16, 24
VOCABULARY, PAD, BEGIN = 256, 0, 1
NEVER = VOCABULARY  # an end token that nobody can draw
RATE, CLIP = 1e-4, 1.0
CONFIG = PolicyConfig(
    model_type="qwen2",
    vocab=VOCABULARY,
    tokens=VOCABULARY,
    width=64,
    mlp=256,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=16,
    rope=Rope(10_000.0),
    norm_eps=1e-6,
    tied=True,
    max_positions=PROMPT + RESPONSE,
)


def to_text(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))


def rewards(completions: Sequence[str]) -> list[float]:
    """Right and wrong by turns, so that every group has both and every completion is learned from."""
    return [float(number % 2) for number, _ in enumerate(completions)]


def make_prompts() -> list[list[int]]:
    """[PROMPTS][PROMPT] ids, none of them padding; the first is what the peer begins its prompts with."""
    drawn = np.random.default_rng(SEED).integers(BEGIN + 1, VOCABULARY, (PROMPTS, PROMPT - 1))
    return [[BEGIN, *row] for row in drawn.tolist()]


def turns(asked: Connection, finish: Callable[[], object]) -> Iterator[None]:
    """Each item is the permission for one step; asking for the next one says that it was taken.

    `finish` waits for the devices. Sends a word when nothing is left to compile; then, for each number of steps asked
    for, the median of the seconds that one took; and at the end the number of lowerings since the word.
    """
    lowerings = Lowerings()
    for _ in range(WARM):
        yield
    finish()
    before = lowerings.count
    asked.send("ready")
    while (steps := asked.recv()) is not None:
        yield
        finish()
        taken = []
        for _ in range(steps):
            began = time.perf_counter()
            yield
            finish()
            taken.append(time.perf_counter() - began)
        asked.send(statistics.median(taken))
    asked.send(lowerings.count - before)


def ours(asked: Connection) -> None:
    keep_freed_memory()  # as acejax's runs on a CPU do
    mesh = make_mesh()
    optimizer = Optimizer(beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, clip_norm=CLIP)
    params = initialise(CONFIG, SEED, mesh, TRAINING)
    state = initial_state(params, optimizer, mesh)
    prompts = make_prompts()
    # One call of the device for a whole response, as the peer has it.
    settings = Settings(GROUP, PROMPT, RESPONSE, chunk=RESPONSE, stop_ids=(NEVER,), dtype="float32")

    def take(step: int) -> None:
        nonlocal params, state
        finished = sample(
            sampling_weights(params, CONFIG, mesh, settings.dtype),
            [(str(number), prompt) for number, prompt in enumerate(prompts)],
            config=CONFIG,
            mesh=mesh,
            settings=settings,
            temperature=1.0,
            seed=SEED,
            step=step,
            pad_id=PAD,
        )
        completions = sorted(finished, key=lambda one: (one.prompt, one.sample))
        given = np.array(rewards([to_text(one.ids) for one in completions])).reshape(PROMPTS, GROUP)
        advantages = group_advantages(given, np.ones_like(given, bool))
        items = [
            Item(prompts[one.prompt], one.ids, float(advantages[one.prompt, one.sample]), one.logprobs, step)
            for one in completions
        ]
        params, state, _ = update(
            params,
            state,
            pack(items, PROMPTS * GROUP, PROMPT + RESPONSE, PAD, step),
            learning_rate=RATE,
            temperature=1.0,
            config=CONFIG,
            optimizer=optimizer,
            mesh=mesh,
            dtype=settings.dtype,
            remat=False,
        )

    for step, _ in enumerate(turns(asked, lambda: jax.block_until_ready((params, state)))):
        take(step)


class Numbers:
    """A tokenizer whose words are ids, as the peer wants one."""

    def encode(self, text: str, **_: Any) -> list[int]:
        return [int(word) for word in text.split()]

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        return to_text(ids)

    def bos_id(self) -> int:
        return BEGIN

    def eos_id(self) -> int:
        return NEVER

    def pad_id(self) -> int:
        return PAD


def peer_model() -> Any:
    from flax import nnx
    from tunix.models.qwen2 import model

    shape = model.ModelConfig(
        num_layers=CONFIG.layers,
        vocab_size=CONFIG.vocab,
        embed_dim=CONFIG.width,
        hidden_dim=CONFIG.mlp,
        num_heads=CONFIG.heads,
        head_dim=CONFIG.head_dim,
        num_kv_heads=CONFIG.kv_heads,
        rope_theta=int(CONFIG.rope.theta),
        norm_eps=CONFIG.norm_eps,
        use_tied_embedding=CONFIG.tied,
    )
    made = model.Qwen2(shape, rngs=nnx.Rngs(SEED))
    # Its MLP begins at zero, where no gradient reaches it.
    random = np.random.default_rng(SEED)
    for layer in made.layers:
        for weight in (layer.mlp.gate_proj.kernel, layer.mlp.up_proj.kernel, layer.mlp.down_proj.kernel):
            drawn = random.standard_normal(weight.value.shape) * weight.value.shape[0] ** -0.5
            weight.value = jax.numpy.asarray(drawn, jax.numpy.float32)
    return made


def theirs(asked: Connection) -> None:
    os.environ["TQDM_DISABLE"] = "1"
    from flax import nnx
    from tunix.rl.grpo.grpo_learner import GRPOConfig, GRPOLearner
    from tunix.rl.rl_cluster import ClusterConfig, RLCluster, RLTrainingConfig, Role
    from tunix.rl.rollout.base_rollout import RolloutConfig

    devices = np.array(jax.devices()).reshape(-1, 1)
    mesh = jax.sharding.Mesh(devices, ("fsdp", "tp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(RATE))
    with mesh:
        cluster = RLCluster(
            actor=peer_model(),
            tokenizer=Numbers(),
            cluster_config=ClusterConfig(
                role_to_mesh={Role.ACTOR: mesh, Role.ROLLOUT: mesh},
                rollout_engine="vanilla",
                training_config=RLTrainingConfig(
                    actor_optimizer=optimizer, eval_every_n_steps=sys.maxsize, max_steps=sys.maxsize
                ),
                rollout_config=RolloutConfig(
                    max_tokens_to_generate=RESPONSE,
                    temperature=1.0,
                    max_prompt_length=PROMPT,
                    kv_cache_size=PROMPT + RESPONSE,
                ),
            ),
        )
        learner = GRPOLearner(
            rl_cluster=cluster,
            reward_fns=lambda prompts, completions, **_: rewards(completions),
            algo_config=GRPOConfig(num_generations=GROUP, beta=0.0, loss_agg_mode="token-mean"),
        )
        texts = np.array([to_text(prompt[1:]) for prompt in make_prompts()])
        model = cluster.actor_trainer.model
        learner.train({"prompts": texts} for _ in turns(asked, lambda: jax.block_until_ready(nnx.state(model))))


def serve(side: str, devices: int, asked: Connection) -> None:
    # Read when the first device is asked for, which nothing has done so far.
    os.environ["XLA_FLAGS"] = (
        f"--xla_force_host_platform_device_count={devices} --xla_cpu_collective_call_terminate_timeout_seconds=600"
    )
    sides = {"acejax": ours, "tunix": theirs}
    sides[side](asked)


def compare(names: Sequence[str], devices: int, rounds: int, steps: int) -> float | None:
    """Prints the rounds and the medians; returns the median ratio, None where the peer is absent."""
    spawn = multiprocessing.get_context("spawn")
    sides: dict[str, Connection] = {}
    processes = []
    for name in names:
        sides[name], other = spawn.Pipe()
        process = spawn.Process(target=serve, args=(name, devices, other), daemon=True)
        process.start()
        other.close()
        processes.append(process)
        sides[name].recv()  # ready: what it compiles disturbs nobody
    taken: dict[str, list[float]] = {name: [] for name in names}
    print(f"{devices} device{'s' * (devices > 1)}: ms a step, round by round")
    for _ in range(rounds):
        for name, side in sides.items():
            side.send(steps)
            taken[name].append(1000 * side.recv())
    for name, side in sides.items():
        side.send(None)
        times = " ".join(f"{one:7.1f}" for one in taken[name])
        middle = statistics.median(taken[name])
        print(f"{name:>8} {times}   median {middle:.1f}; lowerings after step {WARM}: {side.recv()}")
    for process in processes:
        process.join()
    if "tunix" not in taken:
        return None
    ratios = [mine / peer for mine, peer in zip(taken["acejax"], taken["tunix"], strict=True)]
    ratio = statistics.median(ratios)
    print(f"acejax / tunix: {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}), at most {FLOOR}")
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=10, help="counted in a turn")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    names, versions = ["acejax"], [f"Python {platform.python_version()}", f"jax {version('jax')}"]
    if find_spec("tunix"):
        names.append("tunix")
        versions.append(f"tunix {version('google-tunix')}")
    else:
        print("tunix is absent here; .venv-bench has it (make bench)")
    print(f"{PROMPTS} prompts of {PROMPT} tokens x {GROUP} samples of {RESPONSE}, {VOCABULARY} ids, fp32, seed {SEED}")
    print(f"{platform.machine()} CPU, {os.cpu_count()} cores; {', '.join(versions)}")
    ratios = [compare(names, devices, given.rounds, given.steps) for devices in given.devices]
    return 3 if any(ratio is not None and ratio > FLOOR for ratio in ratios) else 0


if __name__ == "__main__":
    sys.exit(main())
