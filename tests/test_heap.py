"""Freed memory stays with a process that asked for it."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

MEASURE = """
import resource, sys
import numpy as np
if sys.argv[1] == "kept":
    from acejax.heap import keep_freed_memory
    assert keep_freed_memory()
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
pages()
print(pages())
"""


def pages_of_second_array(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", MEASURE, how], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_a_freed_array_is_used_again() -> None:
    """128 MB, a second time: no page of it is fresh, where by default each one is (in whatever size the system hands
    them out).
    """
    assert pages_of_second_array("kept") == 0
    assert pages_of_second_array("default") > 10
