"""SHA-256 of a file, taken when somebody asks for it: for the larger files of weights it takes longer than reading them."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Checksum(Protocol):
    """The identity of a checkpoint."""

    @property
    def nbytes(self) -> int:
        """Bytes of its files together, without an index."""
        ...

    @property
    def sha256(self) -> str:
        """In hex; "" where a file was written, replaced or removed before anybody asked."""
        ...


class FileChecksum:
    """Of the bytes that were in a file when it was read, as long as nobody has written it since.

    Args:
        path: where it is.
        file: the open file that was read, which tells later whether it is still the same.

    Attributes:
        nbytes: how many there were.
        name: the file's, without its folder.
    """

    def __init__(self, path: Path, file: io.BufferedReader) -> None:
        status = os.fstat(file.fileno())
        self.nbytes = status.st_size
        self.name = path.name
        # Whole: the working folder may be another one when it is asked for.
        self._path = Path(os.path.abspath(path))
        self._was = _of(status)
        self._lock = threading.Lock()
        self._found: str | None = None

    @property
    def sha256(self) -> str:
        """In hex; "" where the file was written, replaced or removed before anybody asked."""
        with self._lock:
            if self._found is None:
                self._found = self._taken()
            return self._found

    def _taken(self) -> str:
        try:
            with self._path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                same = _of(os.fstat(file.fileno())) == self._was
        except OSError:
            return ""
        return digest if same else ""


class PartsChecksum:
    """SHA-256 of a checkpoint in parts: that of the lines that `sha256sum` prints for the parts, sorted by name.

    A line is the part's SHA-256 in hex, two spaces, its name without a folder, and a line feed. So
    `LC_ALL=C; sha256sum model-*-of-*.safetensors | sha256sum` in their folder prints it. The index does not count.
    """

    def __init__(self, parts: Sequence[FileChecksum]) -> None:
        self._parts = sorted(parts, key=lambda part: part.name.encode("utf-8", "surrogateescape"))

    @property
    def nbytes(self) -> int:
        """Bytes of the parts together."""
        return sum(part.nbytes for part in self._parts)

    @property
    def sha256(self) -> str:
        """In hex; "" where a part was written, replaced or removed before anybody asked."""
        sums = [part.sha256 for part in self._parts]
        if not all(sums):
            return ""
        lines = (f"{one}  {part.name}\n" for one, part in zip(sums, self._parts, strict=True))
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _of(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
