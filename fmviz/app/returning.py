"""What to do about a window that did not close in order: tell of it, and bring back what it had open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from PySide6.QtCore import QObject

from fmviz.app import report, sitting
from fmviz.app.controller import Controller
from fmviz.app.keeping import Keeper, Left
from fmviz.app.state import Store, ViewState, find_layer
from fmviz.app.views.network_list import shown_name


class Returning(QObject):
    """
    Args:
        keeper: None where nothing is kept.
        bad_settings: the name of a copy of settings that could not be read; "" where there is none.
    """

    def __init__(self, store: Store, controller: Controller, keeper: Keeper | None, bad_settings: str) -> None:
        super().__init__(controller)
        self._store = store
        self._controller = controller
        self._keeper = keeper
        self._bad_settings = bad_settings
        self._left = Left()
        self._told = ""
        if keeper is not None:
            keeper.failed.connect(self._could_not_keep)
        store.changed.connect(self._changed)

    def offer(self) -> None:
        """Begin to keep what is open, and tell what is there from before."""
        if self._keeper is not None:
            self._left = self._keeper.begin()
        words, remedies = [], []
        if self._left.sitting is not None:
            words.append(self._sentence(self._left.sitting, crashed=bool(self._left.crash)))
            remedies.append("restore_session")
        elif self._left.crash:
            words.append(self.tr("fmviz crashed last time."))
        if self._left.crash:
            words.append(self.tr("A report of the crash can be copied; it names none of your files."))
            remedies.append("copy_report")
        if self._left.aside:
            text = self.tr("What was kept of it could not be read and was put aside as {name}.")
            words.append(text.format(name=self._left.aside))
        if self._bad_settings:
            text = self.tr("The settings could not be read: fmviz begins with its own, and kept yours as {name}.")
            words.append(text.format(name=self._bad_settings))
        if words:
            self._told = " ".join(words)
            self._controller.problems.tell("window", self._told, tuple(remedies), until_dismissed=True)
        elif self._keeper is not None:
            self._keeper.discard()

    def restore(self) -> bool:
        """Open what was open; False where there is nothing."""
        kept = self._left.sitting
        if kept is None:
            return False
        # Only once; what it is now is kept from here on.
        self._left = Left(crash=self._left.crash)
        changes = sitting.changes(kept, lambda path: self._controller.source_of(Path(path)))
        if find_layer(self._store.state.shown, kept.layer) is None and not self._is_run_by(changes):
            del changes["layer"]
        self._store.update(**changes)
        self._controller.problems.dismiss("window")
        return True

    def report(self) -> str:
        """Versions, and the crash of last time where there was one."""
        return report.of_crash(self._left.crash, report.names_of_files(self._store.state))

    def _is_run_by(self, changes: dict[str, Any]) -> bool:
        """Whether another run will come of these changes, which may have the layer that is not in the one that is shown."""
        wanted = msgspec.structs.replace(self._store.state, **changes)
        return (wanted.source, wanted.setup) != (wanted.shown_source, wanted.shown.setup if wanted.shown else None)

    def _sentence(self, kept: sitting.Sitting, *, crashed: bool) -> str:
        name = Path(kept.pictures[min(kept.current, len(kept.pictures) - 1)]).name if kept.pictures else ""
        backbone = shown_name(kept.setup.backbone)
        if crashed:
            text = self.tr("fmviz crashed last time, with {picture} in {backbone} open.")
        else:
            text = self.tr("fmviz was ended last time with {picture} in {backbone} open.")
        return text.format(picture=name or self.tr("no picture"), backbone=backbone)

    def _changed(self, old: ViewState, new: ViewState) -> None:
        """Once the user has dismissed it, or taken it, it is not offered again."""
        if self._told and self._keeper is not None and new.problem("window") is None:
            self._told = ""
            self._left = Left(crash=self._left.crash)
            self._keeper.discard()

    def _could_not_keep(self, why: str) -> None:
        text = self.tr("What is open cannot be kept for the next start ({why}): make room on the disk.")
        self._controller.problems.tell("window", text.format(why=why), until_dismissed=True)
