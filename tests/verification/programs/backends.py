"""A started sandbox of one backend, with a secret in the environment (ACEJAX_SECRET) that no program may see."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from acejax.verification.programs.sandbox import InfraError, Sandbox

BACKENDS = ("bubblewrap", "rlimits")


@contextmanager
def started(backend: str) -> Iterator[Sandbox]:
    """Skips the tests where this machine does not have the backend."""
    if backend == "bubblewrap" and not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")
    with pytest.MonkeyPatch.context() as patch, Sandbox(backend, time_limit_s=4.0) as box:
        patch.setenv("ACEJAX_SECRET", secrets.token_hex())
        try:
            box.start()
        except InfraError as error:
            pytest.skip(str(error))
        yield box
