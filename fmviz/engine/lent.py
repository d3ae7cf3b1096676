"""Files that a window on another computer sends, for as long as it is there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fmviz.engine.messages import Lend, Lent
from fmviz.errors import WeightsError


class LentFiles:
    """Each in a folder of its own under its own name, which is what the user is told it is called."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._places: dict[str, Path] = {}

    def take(self, request: Lend) -> Lent:
        """Keep a part of a file. `WeightsError` where it cannot be written here."""
        try:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="fmviz-lent-")
            if request.begin or request.path not in self._places:
                folder = Path(tempfile.mkdtemp(dir=self._folder.name))
                # The path may be one of another system.
                self._places[request.path] = folder / request.path.replace("\\", "/").rpartition("/")[2]
                self._places[request.path].touch()
            with self._places[request.path].open("ab") as file:
                file.write(request.data)
        except OSError as error:
            name = request.path.replace("\\", "/").rpartition("/")[2]
            raise WeightsError(
                f"{name} could not be kept on the engine's computer ({error.strerror or error}): make room there."
            ) from error
        return Lent(id=request.id, path=request.path)

    def place(self, path: str) -> str:
        """Where a file is that the window names: here, where it was lent; else as it says."""
        return str(self._places.get(path, path))
