"""The flow of exports: asked of the engine, followed, and written here where the engine is on another computer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
from PySide6.QtCore import QObject, Signal

from fmviz.app.blocks import Block
from fmviz.app.link import EngineLink
from fmviz.app.state import Store
from fmviz.engine.messages import AnyReply, Dropped, Export, Exported, Failed, FileMade
from fmviz.errors import ExportError


class Exporting(QObject):
    """One export at a time."""

    heard = Signal(object)
    """An `Exported`, a `Progress`, a `Failed` or a `Dropped` about the export that runs."""

    def __init__(self, store: Store, link: EngineLink, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._link = link
        self._number = 0
        self._folder = ""
        self._replaced = 0
        link.lost.connect(self._lost)

    def begin(self, **fields: Any) -> None:
        """Write files of what is shown; `heard` tells how it goes."""
        shown = self._store.state.shown
        if shown is None:
            return
        if not self._link.running:
            self._fail(0, self._link.gone or self.tr("The engine is not running: try again."))
            return
        self._number = self._link.ask(
            Export, self._heard, lane="export", run=shown.run, inline=self._link.remote, **fields
        )
        self._folder = str(fields.get("folder", ""))
        self._replaced = 0

    def cancel(self) -> None:
        if self._number:
            self._link.cancel(self._number)

    def _heard(self, reply: AnyReply, _block: Block | None) -> None:
        if reply.id != self._number:
            return  # It could not be written here, and that was told.
        if isinstance(reply, FileMade):
            self._write_here(reply)
            return
        if isinstance(reply, Exported | Failed | Dropped):
            self._number = 0
        if isinstance(reply, Exported) and self._link.remote:
            reply = msgspec.structs.replace(reply, replaced=self._replaced)
        self.heard.emit(reply)

    def _write_here(self, made: FileMade) -> None:
        """A file that an engine on another computer made."""
        from fmviz.writing import make_folder, write_whole

        try:
            path = make_folder(self._folder) / Path(made.name).name
            there = os.path.lexists(path)
            write_whole(path, lambda file: file.write(made.data))
            self._replaced += there
        except ExportError as error:
            self.cancel()
            self._fail(made.id, str(error))

    def _lost(self, _errors: str, _started: bool) -> None:
        if self._number:
            self._fail(
                self._number, self.tr("The engine ended. The files that were finished are in the folder: export again.")
            )

    def _fail(self, number: int, message: str) -> None:
        self._number = 0
        self.heard.emit(Failed(id=number, kind=ExportError.__name__, message=message))
