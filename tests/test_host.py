"""Which host this is: with one process, and with two that talk over loopback."""

import json
import os
import socket
import subprocess
import sys

import pytest

from acejax import host

TWO = """
import json, sys
import jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"127.0.0.1:{sys.argv[1]}", 2, int(sys.argv[2]))
from acejax import host
mine = ["a", {"long": "x" * 100}][int(sys.argv[2])]
found = {"writer": host.is_writer(), "gathered": host.gather(mine), "agreed": host.agree([1, 2], "the list")}
try:
    host.agree(int(sys.argv[2]), "the number")
except RuntimeError as error:
    found["refused"] = str(error)
print(json.dumps(found), flush=True)
"""


def test_alone_every_value_is_agreed_on():
    assert host.is_writer() and host.gather({"a": 1}) == [{"a": 1}] and host.agree([1], "a list") == [1]


@pytest.mark.timeout(300)
def test_two_hosts_gather_and_notice_where_they_differ():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=1", "JAX_PLATFORMS": "cpu"}
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(port), str(index)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    said = [one.communicate() for one in hosts]
    assert [one.returncode for one in hosts] == [0, 0], said
    first, second = (json.loads(out.splitlines()[-1]) for out, _ in said)
    assert (first.pop("writer"), second.pop("writer")) == (True, False)
    assert first == second
    assert first["gathered"] == ["a", {"long": "x" * 100}] and first["agreed"] == [1, 2]
    assert first["refused"] == "the number differs between hosts: host 0 has 0, hosts [1] have another"
