"""Files that a window on another computer sends, for as long as it is there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fmviz.engine.messages import Lend, Lent
from fmviz.errors import WeightsError


class LentFiles:
    """Each in a folder of its own under its own name, which is what the user is told it is called.

    The files of one checkpoint share a folder, so that its index finds its parts.
    """

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._places: dict[str, Path] = {}
        self._shared: dict[str, Path] = {}

    def take(self, request: Lend) -> Lent:
        """Keep a part of a file. `WeightsError` where it cannot be written here."""
        # The path may be one of another system.
        name = _name(request.path)
        try:
            if request.begin or request.path not in self._places:
                folder = self._shared_folder(request) if request.of else self._new_folder()
                self._places[request.path] = folder / name
                self._places[request.path].write_bytes(b"")
            with self._places[request.path].open("ab") as file:
                file.write(request.data)
        except OSError as error:
            raise WeightsError(
                f"{name} could not be kept on the engine's computer ({error.strerror or error}): make room there."
            ) from error
        return Lent(id=request.id, path=request.path)

    def _new_folder(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="fmviz-lent-")
        return Path(tempfile.mkdtemp(dir=self._folder.name))

    def _shared_folder(self, request: Lend) -> Path:
        """The folder of the checkpoint that a file belongs to, under the name of the user's where that is its path."""
        if request.fresh or request.of not in self._shared:
            self._shared[request.of] = self._new_folder()
            if _folder_of(request.path) == request.of.replace("\\", "/").rstrip("/"):
                folder = self._shared[request.of] / _name(request.of)
                folder.mkdir()
                self._shared[request.of] = self._places[request.of] = folder
        return self._shared[request.of]

    def place(self, path: str) -> str:
        """Where a file is that the window names: here, where it was lent; else as it says."""
        return str(self._places.get(path, path))


def _name(path: str) -> str:
    """The last name of a path of any system; one that leads nowhere else."""
    name = path.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return name if name.strip(".") else "weights"


def _folder_of(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[0]
