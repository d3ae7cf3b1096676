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
_KEPT = 1 << 30
"""Bytes of free memory at the end of the heap up to which none of it is given back."""
_PIECES = (256 << 20, 32 << 20)
"""Bytes of the largest piece that is taken from the heap; before version 2.35, no more than the second."""
_OF_THE_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")


@functools.cache
def keep_freed_memory() -> bool:
    """Whether freed memory is kept for what comes next from now on; False where this is not glibc, or the user's choice.

    What it keeps, a gigabyte and often more, `malloc_trim` gives back.
    """
    tuned = any(name in os.environ for name in _OF_THE_USER)
    if tuned or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or not _is_glibc():
        return False
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        kept = library.mallopt(_TRIM_THRESHOLD, _KEPT)
        return bool(kept and any(library.mallopt(_MMAP_THRESHOLD, size) for size in _PIECES))
    return False


def _is_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, OSError, ValueError):
        return False
