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
        before = [self.tabText(place) for place in range(self.count())]
        wanted = [_shown(name) for name in names]
        if before != wanted:
            if self.tabsClosable() != (len(names) <= _CLOSABLE):
                self._remove(0, len(before))
                before = []
                self.setTabsClosable(len(names) <= _CLOSABLE)
            # Only what differs: each tab that comes or goes has all of them laid out anew.
            first = _alike(before, wanted)
            last = _alike(before[first:][::-1], wanted[first:][::-1])
            self._remove(first, len(before) - last)
            for place in range(first, len(wanted) - last):
                self.insertTab(place, wanted[place])
                self.setTabToolTip(place, names[place])
        if names:
            self.setCurrentIndex(current)
        self.setVisible(len(names) > 1)
        self._setting = False

    def _remove(self, first: int, end: int) -> None:
        for place in range(end - 1, first - 1, -1):
            self.removeTab(place)

    def _changed(self, place: int) -> None:
        if not self._setting and place >= 0:
            self.picture_chosen.emit(place)


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    """How many of them are the same from the beginning on."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _shown(name: str) -> str:
    """A tab's text, in one line: & would be taken for a mnemonic."""
    name = "".join(" " if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter for letter in name)
    return (name if len(name) <= 28 else f"{name[:13]}…{name[-13:]}").replace("&", "&&")
