"""The strip of pictures that were dropped together: which of them is shown, and the others a click away."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QTabBar, QWidget

_CLOSABLE = 100
"""Tabs that have a button to close them: Qt takes two seconds to make five hundred of these. A key closes any."""


class StripView(QTabBar):
    """A tab a picture; hidden where there is only one."""

    picture_chosen = Signal(object)
    """The index of a picture."""
    picture_closed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setExpanding(False)
        self.setUsesScrollButtons(True)
        self.setDrawBase(False)
        self.setAccessibleName(self.tr("Pictures"))
        self.currentChanged.connect(self._changed)
        self.tabCloseRequested.connect(self.picture_closed.emit)
        self._setting = False
        self.hide()

    def set_pictures(self, names: Sequence[str], current: int) -> None:
        """The names of the pictures, and which one is shown."""
        self._setting = True
        if [self.tabText(place) for place in range(self.count())] != [_shown(name) for name in names]:
            while self.count():
                self.removeTab(self.count() - 1)
            self.setTabsClosable(len(names) <= _CLOSABLE)
            for name in names:
                self.setTabToolTip(self.addTab(_shown(name)), name)
        if names:
            self.setCurrentIndex(current)
        self.setVisible(len(names) > 1)
        self._setting = False

    def _changed(self, place: int) -> None:
        if not self._setting and place >= 0:
            self.picture_chosen.emit(place)


def _shown(name: str) -> str:
    """A tab's text, in one line: & would be taken for a mnemonic."""
    name = "".join(" " if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter for letter in name)
    return (name if len(name) <= 28 else f"{name[:13]}…{name[-13:]}").replace("&", "&&")
