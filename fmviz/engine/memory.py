"""What an engine does with memory that is its own: never where it runs within another program."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys


class OwnMemory:
    """Keeps the garbage collector away from what stays, and gives back what is free.

    With torch imported a full collection looks through half a million objects, which takes longer than the forward that it
    interrupts. What is imported stays, so it is put aside, and what comes after that is looked through quickly.
    """

    def __init__(self) -> None:
        self._put_aside = False
        # Looking through what is being imported takes an eighth of the time that importing takes.
        gc.disable()

    def idle(self) -> None:
        """Nothing is asked for at the moment."""
        # Once: what is put aside is not looked through, and would not be freed where it is garbage.
        if not self._put_aside and "torch" in sys.modules:
            self._put_aside = True
            gc.freeze()
        gc.enable()

    def rest(self) -> None:
        """Nothing has been asked for in a while: what is free in this process goes back to the system, for its allocator is
        told to keep it for the next run."""
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        # glibc's alone has this; on Windows there is no library without a name.
        with contextlib.suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).malloc_trim(0)
