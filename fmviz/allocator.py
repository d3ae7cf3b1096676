"""glibc's allocator, asked to use freed memory again.

As it comes, it gives large pieces back to the system as soon as they are free, and finds every page of them anew the next
time: a third of the time of a forward that keeps all layers. It is asked once a process, and not where the user has said
how it should work.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""The names of `mallopt`'s parameters, from malloc.h."""
_KEPT = 256 << 20
"""Bytes: free memory at the end of the heap that is not given back; and the largest piece that is taken from the heap."""
_OF_THE_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")


@functools.cache
def keep_freed_memory() -> bool:
    """Whether freed memory is kept for what comes next from now on; False where this is not glibc, or the user's choice.

    What it has kept, `malloc_trim` gives back.
    """
    tuned = any(name in os.environ for name in _OF_THE_USER)
    if tuned or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or not _is_glibc():
        return False
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        return all(library.mallopt(name, _KEPT) for name in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
    return False


def _is_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, OSError, ValueError):
        return False
