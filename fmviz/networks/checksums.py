"""SHA-256 of a file, taken when somebody asks for it: for the larger files of weights it takes longer than reading them."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from pathlib import Path


class FileChecksum:
    """Of the bytes that were in a file when it was read, as long as nobody has written it since.

    Args:
        path: where it is.
        file: the open file that was read, which tells later whether it is still the same.

    Attributes:
        nbytes: how many there were.
    """

    def __init__(self, path: Path, file: io.BufferedReader) -> None:
        status = os.fstat(file.fileno())
        self.nbytes = status.st_size
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


def _of(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
