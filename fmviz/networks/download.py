"""Fetches weights into the cache. Nothing is downloaded but by `fetch`, which runs on a click or a command only.

What comes is written aside and moved into place when its SHA-256 is right. What came stays after a break, also after one of
this process, and the next fetch goes on from there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fmviz.errors import Cancelled, DownloadError
from fmviz.networks import lock
from fmviz.networks.cache import LOCK, PARTIAL, folder, part_of, path_of
from fmviz.networks.connection import POLL, Broken, Connection, Head, NotServed, Timeouts, Unreachable

if TYPE_CHECKING:
    from fmviz.networks.offers import Offer

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each new try after a break. Where one brings the file `ENOUGH` further, they are counted anew."""

ENOUGH = 1 << 20
"""Bytes."""

THROWING_AWAY = "fmviz throws away"
"""The name of the thread that deletes what came before the user cancelled."""

_INTERVAL = 0.1
_WINDOW = 3.0


@dataclass(frozen=True, slots=True)
class Fetching:
    """How far a download is.

    Attributes:
        done: bytes that are here.
        total: bytes of the whole; None where the server does not say.
        speed: bytes a second, over the last seconds.
        left: seconds until it is whole; None where nobody can tell.
    """

    done: int
    total: int | None
    speed: float
    left: float | None


def fetch(
    offer: Offer,
    *,
    progress: Callable[[Fetching], None],
    cancelled: Callable[[], bool],
    timeouts: Timeouts | None = None,
    pauses: tuple[float, ...] = PAUSES,
) -> Path:
    """The file of an offer in the cache: fetched, unless it is there and what it should be.

    Blocks; returns within a tenth of a second after `cancelled` becomes true, whatever the server does. Where another
    process fetches the same, it is waited for.

    Args:
        offer: has a URL and a SHA-256.
        progress: called at the beginning, at the end, and ten times a second at most in between, in this thread.
        cancelled: asked twenty times a second, in this thread.
        timeouts: how long a server may keep us waiting.
        pauses: seconds before each new try after a break.

    Raises:
        DownloadError: in one sentence: offline, refused, cut off, not what it should be, no room for it.
        Cancelled: what had come is deleted.
    """
    if not offer.url:
        raise DownloadError(f"The weights {offer.name} come in a package: there is nothing to fetch.")
    if not offer.sha256:
        raise DownloadError(
            f"{offer.file_name} was not fetched: nobody published a checksum to check it by; "
            "fetch it in your browser and open the file."
        )
    return _Fetch(offer, _Teller(progress), cancelled, timeouts or Timeouts(), pauses).run()


class _Teller:
    """Says how far it is, but not more often than anybody can look."""

    def __init__(self, progress: Callable[[Fetching], None]) -> None:
        self._progress = progress
        self._seen: deque[tuple[float, int]] = deque()
        self._told = float("-inf")

    def tell(self, done: int, total: int | None, *, always: bool = False) -> None:
        now = time.monotonic()
        if not always and now - self._told < _INTERVAL:
            return
        self._told = now
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW:
            self._seen.popleft()
        then, before = self._seen[0]
        speed = (done - before) / (now - then) if now > then else 0.0
        left = (total - done) / speed if total is not None and speed > 0 else None
        self._progress(Fetching(done, total, speed, left))

    def begin(self) -> None:
        """What came until now came at no speed: it was here, or another process fetched it."""
        self._seen.clear()


class _Useless(NotServed):
    """What came is not the file: it is deleted."""


class _Part:
    """What is here of a file, with its checksum so far."""

    def __init__(self, file: BinaryIO, sha256: str, leave_if_cancelled: Callable[[], None]) -> None:
        """`file` is open for appending, `sha256` the first digits of what it should come to."""
        self._file = file
        self._sha256 = sha256.lower()
        file.seek(0)
        self._digest = _digest(file, leave_if_cancelled)
        self.done = file.tell()
        self.pieced = self.done > 0
        """Whether it came by more than one connection, which may have had different files."""

    def is_right(self) -> bool:
        return self._digest.hexdigest().startswith(self._sha256)

    def add(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._digest.update(chunk)
        self.done += len(chunk)

    def start_anew(self) -> None:
        self._file.truncate(0)
        self._digest = hashlib.sha256()
        self.done = 0
        self.pieced = False

    def is_a_page(self) -> bool:
        self._file.seek(0)
        return self._file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


class _Fetch:
    """One download, from the look into the cache to the file in its place."""

    def __init__(
        self,
        offer: Offer,
        teller: _Teller,
        cancelled: Callable[[], bool],
        timeouts: Timeouts,
        pauses: tuple[float, ...],
    ) -> None:
        self._offer = offer
        self._teller = teller
        self._cancelled = cancelled
        self._timeouts = timeouts
        self._pauses = pauses
        self._path = path_of(offer)
        self._aside = part_of(offer)
        # What is larger than this cannot be the file, whose size is known roughly.
        self._limit = offer.nbytes + offer.nbytes // 2 + ENOUGH if offer.nbytes else None
        self._total: int | None = None
        self._version = ""
        self._reached = False

    def run(self) -> Path:
        name = self._offer.file_name
        self._teller.tell(0, None, always=True)
        try:
            self._make_folder()
            if not self._is_there():
                with lock.held(self._aside.with_suffix(LOCK), self._wait_for_the_other):
                    # Another may have fetched it meanwhile.
                    if not self._is_there():
                        self._fetch()
            size = self._path.stat().st_size
        except NotServed as error:
            raise DownloadError(
                f"{name} could not be fetched: {error.reason}; {error.remedy}{self._kept()}."
            ) from error
        except OSError as error:
            raise DownloadError(f"{name} could not be fetched: {_disk(error)}{self._kept()}.") from error
        self._teller.tell(size, size, always=True)
        return self._path

    def _make_folder(self) -> None:
        if str(folder()).startswith("~"):
            raise NotServed("there is no home folder to keep it in", "name a folder in TORCH_HOME")
        folder().mkdir(parents=True, exist_ok=True)

    def _is_there(self) -> bool:
        """Whether the file is in its place and right: torch.hub keeps what was cut off on its way, and never looks again."""
        try:
            with self._path.open("rb") as file:
                digest = _digest(file, self._leave_if_cancelled)
        except FileNotFoundError:
            return False
        return digest.hexdigest().startswith(self._offer.sha256.lower())

    def _wait_for_the_other(self) -> None:
        self._leave_if_cancelled()
        with contextlib.suppress(FileNotFoundError):
            self._teller.tell(self._aside.stat().st_size, None)

    def _leave_if_cancelled(self) -> None:
        if self._cancelled():
            raise Cancelled

    def _kept(self) -> str:
        with contextlib.suppress(OSError):
            if kept := self._aside.stat().st_size:
                return f" ({in_bytes(kept)} came and are kept)"
        return ""

    # While this is the only one that fetches it

    def _fetch(self) -> None:
        try:
            with self._aside.open("a+b") as file:
                part = _Part(file, self._offer.sha256, self._leave_if_cancelled)
                self._teller.begin()
                if not part.is_right():
                    self._bring_right(part)
                file.flush()
                os.fsync(file.fileno())
            os.replace(self._aside, self._path)
        except Cancelled:
            _throw_away(self._aside)
            raise
        except BaseException as error:
            with contextlib.suppress(OSError):
                if isinstance(error, _Useless) or not self._aside.stat().st_size:
                    self._aside.unlink()
            raise

    def _bring_right(self, part: _Part) -> None:
        self._bring_all(part)
        if not part.is_right() and part.pieced:
            # The pieces may be of different files. Once more, from its beginning.
            part.start_anew()
            self._bring_all(part)
        if not part.is_right():
            raise _Useless(*self._wrong(part))

    def _bring_all(self, part: _Part) -> None:
        """Connects again and again, until a server has sent all that it has to send."""
        furthest, tries = part.done, 0
        while True:
            try:
                return self._bring_some(part)
            except (Broken, Unreachable) as error:
                if part.is_right():
                    return None
                if part.done >= furthest + ENOUGH:
                    furthest, tries = part.done, 0
                if tries == len(self._pauses) or (isinstance(error, Unreachable) and not self._reached):
                    raise
            self._pause(self._pauses[tries], part)
            tries += 1

    def _pause(self, seconds: float, part: _Part) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._leave_if_cancelled()
            self._teller.tell(part.done, self._total)
            time.sleep(min(left, POLL))

    def _bring_some(self, part: _Part) -> None:
        """What one connection brings."""

        def asked() -> bool:
            # Also while nothing comes: a speed that falls is news.
            self._teller.tell(part.done, self._total)
            return self._cancelled()

        self._check_room(self._offer.nbytes - part.done)
        with Connection(self._offer.url, start=part.done, version=self._version, timeouts=self._timeouts) as connection:
            head = connection.head(asked)
            self._begin(head, part)
            self._teller.tell(part.done, self._total, always=True)
            for chunk in connection.chunks(asked):
                part.add(chunk)
                self._check_size(part.done)
        if self._total is not None and part.done < self._total:
            raise Broken("the connection was cut")

    def _begin(self, head: Head, part: _Part) -> None:
        self._reached = True
        self._total, self._version = head.total, head.version
        if head.status == HTTPStatus.OK:
            # Also where only the rest was asked for: this server sends all or nothing, or has another version by now.
            part.start_anew()
        elif head.status != HTTPStatus.PARTIAL_CONTENT or head.start != part.done:
            part.start_anew()
            self._version = ""
            raise Broken("the server does not go on where the file was cut off")
        else:
            part.pieced = part.done > 0
        self._check_size(head.total or 0)
        if head.total is not None:
            self._check_room(head.total - part.done)

    def _check_size(self, nbytes: int) -> None:
        if self._limit is not None and nbytes > self._limit:
            raise _Useless(
                f"the server sends {in_bytes(nbytes)} or more for it, where it should be {in_bytes(self._offer.nbytes)}"
            )

    def _check_room(self, nbytes: int) -> None:
        free = shutil.disk_usage(folder()).free
        if free < nbytes:
            raise NotServed(
                f"there is no room for it in {folder()}, where {in_bytes(free)} are free and {in_bytes(nbytes)} are to come",
                "make room there, or name another folder in TORCH_HOME",
            )

    def _wrong(self, part: _Part) -> tuple[str, str]:
        if part.is_a_page():
            return (
                "the server sent a web page in its place",
                "log in to your network with a browser, and fetch it again",
            )
        return (
            f"what the server sent is not the file that its checksum {self._offer.sha256} was made for, and was deleted",
            "fetch it again, or open a file that you have",
        )


def _digest(file: BinaryIO, leave_if_cancelled: Callable[[], None]) -> hashlib._Hash:
    digest = hashlib.sha256()
    while chunk := file.read(ENOUGH):
        leave_if_cancelled()
        digest.update(chunk)
    return digest


def _throw_away(path: Path) -> None:
    """Deletes a file in a while: half a gigabyte takes the system longer than one should wait who has cancelled."""
    gone = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    with contextlib.suppress(OSError):
        os.replace(path, gone)
        try:
            threading.Thread(target=_remove, args=(gone,), name=THROWING_AWAY).start()
        except RuntimeError:
            # No thread starts in a process that is ending.
            gone.unlink()


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _disk(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {folder()} is full; make room there, or name another folder in TORCH_HOME"
    return f"it cannot be written to {folder()} ({error.strerror or error}); allow that, or name another folder in TORCH_HOME"


def in_bytes(count: int) -> str:
    """A number of bytes for people: "97.8 MB"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
