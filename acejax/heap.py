"""The C library's heap, told to keep what is freed, for runs on a CPU."""

from __future__ import annotations

import ctypes

# Options of glibc's mallopt (malloc.h), and what they are set to.
ARENA_MAX, MMAP_MAX, TRIM_THRESHOLD = -8, -4, -1
SETTINGS = ((ARENA_MAX, 1), (MMAP_MAX, 0), (TRIM_THRESHOLD, -1))


def keep_freed_memory() -> bool:
    """Freed memory stays with the process, for its next large array. True where the C library is glibc, else nothing is
    done.

    On a CPU, JAX takes the working memory of each call from malloc, which gives large blocks back to the system when
    the call ends. Every update then pays for fresh pages again. To be called before JAX starts its threads, which else
    get heaps of their own.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all([mallopt(option, value) == 1 for option, value in SETTINGS])
