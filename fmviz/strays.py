"""Files on their way: written under a name aside, and what is left of those whose writer was killed.

Who writes a file aside holds a lock on it until it is in its place, and the system lets go of a lock when a process ends,
however it ends. So a file aside that can be locked is a stray, whichever process, container or machine began it. Where a drive
knows no locks, nothing is taken for a stray.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_NAME = re.compile(r"\.fmviz-[0-9a-f]{32}\.part")


@contextlib.contextmanager
def aside(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file in `folder` with its path. It is to be closed and moved within; where that fails, nothing is left of it.

    Raises:
        OSError: it cannot be made.
    """
    place, descriptor = _new(folder)
    try:
        with os.fdopen(descriptor, "wb") as file, _holding(descriptor):
            yield place, file
    except BaseException:
        with contextlib.suppress(OSError):
            place.unlink()
        raise


def remove_strays(folder: str | os.PathLike[str]) -> int:
    """Removes from `folder` the files aside whose writers are dead, and nothing else; how many there were.

    A folder that cannot be read has none.
    """
    removed = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            # Another process may be at the same, or the drive may allow reading only.
            with contextlib.suppress(OSError):
                if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    removed += _removed(entry.path)
    return removed


def _new(folder: Path) -> tuple[Path, int]:
    """An empty file aside, open and locked."""
    while True:
        place = folder / f".fmviz-{uuid.uuid4().hex}.part"
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        # Somebody who removes strays may have taken it for one just now.
        if _lock(descriptor) is not False and _is(descriptor, place):
            return place, descriptor
        os.close(descriptor)


def _is(descriptor: int, place: str | os.PathLike[str]) -> bool:
    """Whether the open file is still called so."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(place))
    return False


if sys.platform == "win32":
    _LONG_AGO = 3600.0

    def _lock(descriptor: int) -> bool | None:
        return None

    def _holding(descriptor: int) -> contextlib.AbstractContextManager[object]:
        # What is open cannot be moved there.
        return contextlib.nullcontext()

    def _removed(path: str) -> bool:
        # Nor can it be removed; and what was closed just now is about to be moved.
        if time.time() - os.stat(path).st_mtime < _LONG_AGO:
            return False
        os.unlink(path)
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool | None:
        """True where it is ours now, False where another has it, None where there are no locks."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True

    @contextlib.contextmanager
    def _holding(descriptor: int) -> Iterator[None]:
        """Keeps the lock, also when the file is closed."""
        held = os.dup(descriptor)
        try:
            yield
        finally:
            os.close(held)

    def _removed(path: str) -> bool:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if _lock(descriptor) and _is(descriptor, path):
                os.unlink(path)
                return True
            return False
        finally:
            os.close(descriptor)
