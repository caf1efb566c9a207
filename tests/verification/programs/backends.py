"""A started sandbox of one backend, with a secret in the environment that no program may see."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from acejax.verification.programs.sandbox import InfraError, Sandbox

BACKENDS = ("bubblewrap", "rlimits")


@contextmanager
def started(backend: str, secret: str) -> Iterator[Sandbox]:
    """Skips the tests where this machine does not have the backend."""
    if backend == "bubblewrap" and not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")
    os.environ["ACEJAX_SECRET"] = secret
    with Sandbox(backend, time_limit_s=4.0) as box:
        try:
            box.start()
        except InfraError as error:
            pytest.skip(str(error))
        yield box
    del os.environ["ACEJAX_SECRET"]
