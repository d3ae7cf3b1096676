"""One at a time over processes: what is asked for while another has it waits until that one is done or dead."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

POLL = 0.05
"""Seconds between two looks."""


@contextlib.contextmanager
def held(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds the file `path`, which is made for that and removed after.

    Args:
        path: the system lets go of it when this process ends, however it ends.
        waiting: called again and again while another process or thread holds it; may raise to give up.

    Raises:
        OSError: the file cannot be made.
    """
    while (descriptor := _taken(path)) is None:
        waiting()
        time.sleep(POLL)
    try:
        yield
    finally:
        _let_go(path, descriptor)


def _taken(path: Path) -> int | None:
    """A descriptor that holds the file; None where another has it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        # Windows says this while another is removing it.
        if sys.platform == "win32" and path.exists():
            return None
        raise
    if _lock(descriptor) and _is(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


def _is(descriptor: int, path: Path) -> bool:
    """Whether the file is still called so: who held it before removed it, and another may have made a new one."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _let_go(path: Path, descriptor: int) -> None:
        # What is open cannot be removed there.
        os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        # Some network drives have no locks. Two that write there at once find a wrong checksum, and fetch again.
        except OSError:
            return True
        return True

    def _let_go(path: Path, descriptor: int) -> None:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)
