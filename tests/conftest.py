"""Eight emulated devices for every test that shards, and one compilation cache for all of them."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Eight devices on few cores: without the second flag a late thread makes XLA abort a collective.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_cpu_collective_call_terminate_timeout_seconds=600"
)
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
