"""Host memory that an import needs beyond the policy itself, on eight emulated devices. Run: `python
benchmarks/import_memory.py`.

Writes a synthetic checkpoint of 3 GB in 8 shards, imports it, and prints the peak of the process's own memory (RssAnon
+ RssShmem, which leave out pages of mapped files) above the bytes of the final arrays. Exit code 1 where that passes
--limit.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_cpu_collective_call_terminate_timeout_seconds=600"
)

import jax
import numpy as np

from acejax.mesh import TRAINING, make_mesh
from acejax.policy import folder as folders
from acejax.policy import port
from acejax.policy.config import PolicyConfig, Rope, to_hf

SHARDS, MB = 8, 1_000_000


def resident() -> int:
    """Bytes of this process that no file backs."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return sum(int(lines[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))


class Peak:
    """The largest `resident` while it is entered."""

    def __enter__(self) -> Peak:
        self.bytes, self._end = resident(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._end.wait(0.002):
            self.bytes = max(self.bytes, resident())

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def write(out: Path, config: PolicyConfig, dtype: str) -> None:
    """A checkpoint whose tensors are numbers that tell where they belong; each is made when it is written."""
    kind = np.dtype(dtype)

    def tensor(number: int, shape: tuple[int, ...]) -> folders.Tensor:
        def read(_: object) -> np.ndarray:
            return (np.arange(np.prod(shape), dtype=np.float32) % 251 + number).reshape(shape).astype(kind)

        return folders.Tensor(shape, kind, read)

    tensors = {name: tensor(n, shape) for n, (name, shape) in enumerate(port.tensor_shapes(config))}
    total = sum(t.nbytes for t in tensors.values())
    folders.SHARD_BYTES = next(
        size for size in range(total // SHARDS, total, MB) if len(folders.split(tensors, size)) <= SHARDS
    )
    folders.write_folder(out, to_hf(config), tensors, {}, None)


def checksums(params: object) -> list[float]:
    return [
        float(np.asarray(shard.data, np.float64).sum())
        for leaf in jax.tree.leaves(params)
        for shard in leaf.addressable_shards
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--limit", type=int, default=600, help="MB")
    parser.add_argument("--stored", default="bfloat16", help="dtype of the checkpoint; the policy is fp32")
    parser.add_argument("--dir", default=None, help="where to write the checkpoint")
    arguments = parser.parse_args()
    itemsize = 2 if arguments.stored == "bfloat16" else 4
    width, mlp, vocab = 2048, 8192, 32_768
    layer = 2 * width * (16 + 4) * 128 + 3 * width * mlp
    layers = max(1, round((arguments.gigabytes * 1e9 / itemsize - 2 * vocab * width) / layer))
    config = PolicyConfig("llama", vocab, vocab, width, mlp, layers, 16, 4, 128, Rope(1e4), 1e-5, False, 4096)
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        out = Path(folder) / "checkpoint"
        write(out, config, arguments.stored)
        files = list(out.glob("*.safetensors"))
        stored = sum(path.stat().st_size for path in files)
        mesh = make_mesh(4, 2)
        jax.block_until_ready(jax.numpy.zeros(8))
        began, before = time.perf_counter(), resident()
        with Peak() as peak:
            params = jax.block_until_ready(port.load_params(port.open_weights(out, config), config, mesh, TRAINING))
        seconds, after = time.perf_counter() - began, resident()
        sums = checksums(params)
    held = sum(shard.data.nbytes for leaf in jax.tree.leaves(params) for shard in leaf.addressable_shards)
    above = peak.bytes - before - held
    print(f"jax {jax.__version__}, {jax.device_count()} emulated devices, mesh fsdp=4 tensor=2")
    size = f"{stored / 1e9:.2f} GB of {arguments.stored} in {len(files)} files"
    print(f"checkpoint: {size}, {config.parameters / 1e9:.2f}G weights")
    grown = f"arrays {held / MB:.0f} MB, process grew by {(after - before) / MB:.0f} MB"
    print(f"imported as float32 in {seconds:.1f} s: {grown}")
    print(f"peak above the final arrays: {above / MB:.0f} MB (limit {arguments.limit} MB)")
    same = checksums(params) == sums
    print(f"after deleting the source the weights are {'the same' if same else 'DIFFERENT'}")
    return int(above > arguments.limit * MB or not same)


if __name__ == "__main__":
    raise SystemExit(main())
