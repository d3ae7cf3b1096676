"""Keeps what is open in a file while the window lives, and finds what earlier windows left.

Each window has three files under its own name: what is open (`.json`), where Python writes to if the process crashes
(`.crash`), and a lock that the system releases with the process. A window that closes in order leaves `closed.json`.
"""

from __future__ import annotations

import errno
import faulthandler
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

import msgspec
from PySide6.QtCore import QLockFile, QObject, QTimer, Signal

from fmviz.app import sitting
from fmviz.app.sitting import Sitting
from fmviz.app.state import Store
from fmviz.assets import asset
from fmviz.strays import aside, remove_strays

_DELAY_MS = 300
CLOSED = "closed.json"
"""What was open in the window that was closed in order last. The next window takes it by renaming it to its own file, so
that of two windows that start at once only one has it."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_LARGEST = 10_000_000


class Left(msgspec.Struct, frozen=True):
    """What earlier windows left.

    Attributes:
        closed: what was open in the last window that closed in order; None where there is nothing that can be read.
        sitting: what the last window had open that did not close in order; None where nothing of it can be read.
        others: How many more windows did not close in order. Their files are kept for a later start.
        crash: where it was when it crashed, by Python's `faulthandler`; "" where it was ended from outside.
        aside: the name of a file that could not be read and was renamed to this; "" where all could.
    """

    sitting: Sitting | None = None
    others: int = 0
    crash: str = ""
    aside: str = ""
    closed: Sitting | None = None


class Keeper(QObject):
    """Writes within a third of a second after a change, whole or not at all.

    Args:
        store: the state to keep.
        folder: where; made where it is missing. Nothing is kept, in silence, where one may not write.
        completed: Return what is kept with that which is not in the store.
    """

    failed = Signal(str)
    """What is open could not be written: why. Said once."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        parent: QObject | None = None,
        *,
        completed: Callable[[Sitting], Sitting] = lambda kept: kept,
    ) -> None:
        super().__init__(parent)
        self._store = store
        self._folder = folder
        self._completed = completed
        self._stamps: dict[str, tuple[int, int] | None] = {}
        self._name = f"window-{uuid.uuid4().hex}"
        self._lock: QLockFile | None = None
        self._crash: IO[str] | None = None
        self._kept: Sitting | None = None
        self._kept_state: Sitting | None = None
        self._dead: list[str] = []
        self._said = False
        self._soon = QTimer(self, singleShot=True, interval=_DELAY_MS)
        self._soon.timeout.connect(self._write)

    def begin(self, *, take: bool = True) -> Left:
        """Return what others left; from now on this window's is kept.

        Args:
            take: Whether what was closed in order is taken, so that no other window shows it again.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(self._path(".lock"))
            if not lock.tryLock(0):
                if lock.error() == QLockFile.LockError.UnknownError:
                    # A full disk, for one: to write a file of our own says what it is.
                    self._path(".crash").write_bytes(b"\n")
                    self._path(".crash").unlink()
                return Left()
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._cannot(error)
            return Left()
        self._lock = lock
        remove_strays(self._folder)
        left = self._left()
        if take:
            left = self._with_closed(left)
        with suppress(OSError):
            self._crash = open(self._path(".crash"), "w", encoding="utf-8")  # noqa: SIM115
            faulthandler.enable(self._crash)
        self._store.changed.connect(self._changed)
        self._changed()
        return left

    def discard(self) -> None:
        """Remove the files of the window that was offered: it was restored, or is not wanted. Other windows keep theirs."""
        for name in self._dead:
            self._remove(name)
        self._dead.clear()

    def end(self, closed: Literal["replace", "remove", "leave"] = "leave") -> None:
        """The window closes in order.

        Args:
            closed: What becomes of what the next window shows again: what is open now takes its place, nothing is shown
                again, or it stays as it is.
        """
        if self._lock is None:
            return
        self._soon.stop()
        with suppress(OSError):
            if closed == "replace":
                self._write()
                os.replace(self._path(".json"), self._folder / CLOSED)
            elif closed == "remove":
                (self._folder / CLOSED).unlink()
        with suppress(RuntimeError, TypeError):
            self._store.changed.disconnect(self._changed)
        if self._crash is not None:
            faulthandler.disable()
            self._crash.close()
        self._remove(self._name)
        self._lock.unlock()
        self._lock = None

    # Writing

    def look_again(self) -> None:
        """Write soon, if anything is new: a view was zoomed, which is not in the state."""
        if self._lock is not None and not self._soon.isActive():
            self._soon.start()

    def _changed(self) -> None:
        if not self._soon.isActive() and sitting.of_state(self._store.state) != self._kept_state:
            self._soon.start()

    def _now(self, state: Sitting) -> Sitting:
        """Return `state` with what is not in the store."""
        kept = self._completed(state)
        stamps = {path: stamp for path in kept.pictures if (stamp := self._stamp(path)) is not None}
        return msgspec.structs.replace(kept, stamps=stamps)

    def _stamp(self, path: str) -> tuple[int, int] | None:
        """Return the picture's stamp as it was when it was met first: as the engine read it."""
        if path not in self._stamps:
            self._stamps[path] = stamp(path)
        return self._stamps[path]

    def _write(self) -> None:
        state = sitting.of_state(self._store.state)
        now = self._now(state)
        if now == self._kept:
            return
        try:
            with aside(self._folder) as (place, file):
                file.write(sitting.written(now))
                file.close()
                os.replace(place, self._path(".json"))
        except (OSError, ValueError) as error:
            self._cannot(error)
            return
        self._kept, self._kept_state = now, state

    def _cannot(self, error: OSError | ValueError) -> None:
        if not self._said:
            self._said = True
            self.failed.emit(getattr(error, "strerror", None) or str(error))

    # What others left

    def _left(self) -> Left:
        found: list[tuple[float, str]] = []
        for path in (*self._folder.glob("window-*.json"), *self._folder.glob("window-*.crash")):
            with suppress(OSError):
                found.append((path.stat().st_mtime, path.stem))
        taken: Sitting | None = None
        crash = renamed = ""
        others = 0
        for name in dict.fromkeys(name for _, name in sorted(found, reverse=True)):
            if name == self._name or not self._is_dead(name):
                continue
            try:
                kept = self._read(name)
            except ValueError:
                kept, renamed = None, self._put_aside(name)
            if kept is not None and taken is not None:
                # Only one is offered at a time, and only the files of that one may be removed.
                others += 1
                continue
            taken = kept or taken
            self._dead.append(name)
            crash = crash or _text(self._path(".crash", name))
        return Left(sitting=taken, others=others, crash=crash, aside=renamed)

    def _with_closed(self, left: Left) -> Left:
        """Take what was closed in order: from now on it is this window's own file, which lasts if the window is killed."""
        try:
            os.replace(self._folder / CLOSED, self._path(".json"))
            return msgspec.structs.replace(left, closed=self._read(self._name))
        except OSError:
            return left
        except ValueError:
            return msgspec.structs.replace(left, aside=self._put_aside(self._name, CLOSED))

    def _is_dead(self, name: str) -> bool:
        lock = _lock(self._path(".lock", name))
        dead = lock.tryLock(0)
        if dead:
            lock.unlock()
        return dead

    def _read(self, name: str) -> Sitting | None:
        try:
            with open(self._path(".json", name), "rb") as file:
                return sitting.read(file.read(_LARGEST))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ValueError("it cannot be read") from error

    def _put_aside(self, name: str, known_as: str = "") -> str:
        path = self._path(".json", name)
        aside = f"{known_as or path.name}.bad"
        with suppress(OSError):
            path.replace(path.with_name(aside))
        return aside

    def _remove(self, name: str) -> None:
        for suffix in (".json", ".crash"):
            with suppress(OSError):
                self._path(suffix, name).unlink()

    def _path(self, suffix: str, name: str = "") -> Path:
        return self._folder / f"{name or self._name}{suffix}"


def stamp(path: str) -> tuple[int, int] | None:
    """Return size and time of the last change of a file; None where there is none, and of fmviz's samples.

    A sample is a new file after each installation, and the same picture.
    """
    with suppress(OSError, ValueError):
        if Path(path).parent != asset("samples"):
            found = os.stat(path)
            return found.st_size, found.st_mtime_ns
    return None


def _lock(path: Path) -> QLockFile:
    lock = QLockFile(str(path))
    # A window may live for months: its lock is stale when its process is gone, and never by age.
    lock.setStaleLockTime(0)
    return lock


def _text(path: Path) -> str:
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read(_LARGEST).strip()
    return ""
