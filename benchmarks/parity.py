"""acejax beside transformers on a real checkpoint, fp32, CPU. Run: `.venv-bench/bin/python benchmarks/parity.py
[FOLDER]`.

FOLDER is a Hugging Face folder; by default models/smollm2-135m, which `make smollm2` makes. Prints the largest
difference of logits on 5 texts of 200 tokens, how many of 20 greedy continuations of 64 tokens are the same in every
token, and, after one update of all weights, the difference between the policy in memory and its export opened by
transformers. Exit code 1 where something passes its limit.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np

from acejax.grpo.packing import Item, pack
from acejax.grpo.update import Optimizer, initial_state, update
from acejax.mesh import TRAINING, make_mesh, place
from acejax.policy import port
from acejax.policy.config import PolicyConfig
from acejax.policy.folder import read_json, write_folder
from acejax.policy.transformer import Params, forward, logits, sampling_weights
from acejax.sampling.decode import Settings, sample

TEXTS, TEXT_TOKENS = 5, 200
PROMPTS, NEW_TOKENS = 20, 64
LOGITS_LIMIT = 2e-3
SUBJECTS = (
    "a river",
    "prime numbers",
    "an old clock",
    "the number zero",
    "a bridge",
    "tea",
    "sorting a list",
    "the moon",
    "maps",
    "salt",
)
REQUESTS = (
    "Explain {} to a child in a few sentences, then ask a question.",
    "Write down three facts about {} as a numbered list.",
)


def prompts(tokenizer: object) -> list[list[int]]:
    """Twenty chat prompts."""
    asked = [request.format(subject) for subject in SUBJECTS for request in REQUESTS]
    texts = [
        tokenizer.apply_chat_template([{"role": "user", "content": a}], tokenize=False, add_generation_prompt=True)
        for a in asked
    ]
    return [list(tokenizer.encode(text, add_special_tokens=False)) for text in texts]


def ours(params: Params, ids: np.ndarray, config: PolicyConfig, mesh: jax.sharding.Mesh) -> np.ndarray:
    """Logits of one row of ids [T] -> [T,V]."""
    with jax.set_mesh(mesh):
        spec = TRAINING.spec("batch", None)
        steps = np.arange(len(ids), dtype=np.int32)[None]
        placed = [place(np.ascontiguousarray(a, np.int32), mesh, spec) for a in (ids[None], steps, np.ones_like(steps))]
        return np.asarray(_forward(params, *placed, config))[0]


@functools.partial(jax.jit, static_argnames="config")
def _forward(
    params: Params, ids: jax.Array, positions: jax.Array, segments: jax.Array, config: PolicyConfig
) -> jax.Array:
    x, _ = forward(params, ids, positions, segments, config, TRAINING, jnp.float32)
    return logits(params, x, config, TRAINING)


def after_one_update(params: Params, rows: list[list[int]], config: PolicyConfig, mesh: jax.sharding.Mesh) -> Params:
    """The weights after a supervised update on the rows, at a rate that moves the logits visibly. `params` are
    donated.
    """
    optimizer = Optimizer(0.9, 0.999, 1e-8, 0.01, 1.0)
    batches = pack([Item(row[:20], row[20:], 1.0) for row in rows], len(rows), TEXT_TOKENS, 0, 0)
    common = {
        "temperature": 1.0,
        "config": config,
        "optimizer": optimizer,
        "mesh": mesh,
        "dtype": "float32",
        "remat": True,
    }
    return update(params, initial_state(params, optimizer, mesh), batches, learning_rate=2e-6, **common)[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("models/smollm2-135m"))
    folder = parser.parse_args().folder
    try:
        import torch
        import transformers
    except ImportError:
        print("transformers with torch is absent here: nothing to compare with; use the environment of `make bench`")
        return 0
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def reference(model: torch.nn.Module, row: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(row[None])).logits[0].numpy()

    mesh = make_mesh(1, 1, jax.devices()[:1])
    config = port.read_config(folder)
    params = port.load_params(port.open_weights(folder, config), config, mesh, TRAINING)
    asked = prompts(tokenizer)
    stream = np.resize(np.array([i for prompt in asked for i in prompt]), TEXTS * TEXT_TOKENS)
    rows = [stream[n * TEXT_TOKENS : (n + 1) * TEXT_TOKENS] for n in range(TEXTS)]
    worst = max(float(np.abs(ours(params, row, config, mesh) - reference(theirs, row)).max()) for row in rows)

    settings = Settings(1, max(map(len, asked)), NEW_TOKENS, NEW_TOKENS, (tokenizer.eos_token_id,))
    common = {"seed": 0, "step": 0, "pad_id": tokenizer.eos_token_id}
    sampling = sampling_weights(params, config, mesh, "float32")
    named = [(str(n), ids) for n, ids in enumerate(asked)]
    found = {
        f.prompt: list(f.ids)
        for f in sample(sampling, named, config=config, mesh=mesh, settings=settings, temperature=0.0, **common)
    }
    same = 0
    for n, ids in enumerate(asked):
        out = theirs.generate(
            torch.tensor([ids]),
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            temperature=None,
            top_p=None,
            top_k=None,
            repetition_penalty=1.0,
        )
        same += out[0, len(ids) :].tolist() == found[n]

    del sampling
    params = after_one_update(params, [row.tolist() for row in rows], config, mesh)
    with tempfile.TemporaryDirectory() as place_:
        out_folder = Path(place_) / "export"
        write_folder(out_folder, read_json(folder / "config.json"), port.unload_params(params, config), {}, folder)
        reopened = transformers.AutoModelForCausalLM.from_pretrained(out_folder, dtype=torch.float32).eval()
    moved = max(float(np.abs(reference(theirs, row) - reference(reopened, row)).max()) for row in rows)
    exported = max(float(np.abs(ours(params, row, config, mesh) - reference(reopened, row)).max()) for row in rows)

    print(f"{folder.name}: {config.model_type}, {config.parameters / 1e6:.1f}M weights, fp32")
    versions = f"jax {jax.__version__}, transformers {transformers.__version__}, torch {torch.__version__}"
    device = f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores"
    print(f"{device}; Python {platform.python_version()}, {versions}; no randomness")
    print(f"logits, {TEXTS} texts of {TEXT_TOKENS} tokens: largest difference {worst:.1e} (limit {LOGITS_LIMIT})")
    agreed = f"{same} of {len(asked)} continuations are the same in every token"
    print(f"greedy, {PROMPTS} prompts, {NEW_TOKENS} tokens: {agreed}")
    change = f"after one update (logits moved by up to {moved:.2f})"
    print(f"{change}, export opened by transformers: largest difference {exported:.1e}")
    return int(worst > LOGITS_LIMIT or same < len(asked) or exported > LOGITS_LIMIT or moved < 0.1)


if __name__ == "__main__":
    raise SystemExit(main())
