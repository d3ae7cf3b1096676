"""Widgets in a row that come, go and change, and do not ask each time for a new layout of the window around them."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget


class SteadyRow(QWidget):
    """As high as the highest widget that it was given.

    Args:
        grows: as wide as what it holds has ever been together; without it, as wide as there is room.
    """

    def __init__(self, parent: QWidget | None = None, *, grows: bool = False) -> None:
        super().__init__(parent)
        self._inside = QWidget(self)
        self._row = QHBoxLayout(self._inside)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._width = self._height = 0
        self.setSizePolicy(QSizePolicy.Policy.Fixed if grows else QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        if grows:
            self._row.addStretch(1)
            self._inside.installEventFilter(self)

    def add(self, widget: QWidget, stretch: int = 0) -> None:
        """At the right of those that are there."""
        self._row.addWidget(widget, stretch)
        self._height = max(self._height, widget.sizeHint().height())
        self.updateGeometry()

    def sizeHint(self) -> QSize:
        return QSize(self._width, self._height)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest and self._row.sizeHint().width() > self._width:
            self._width = self._row.sizeHint().width()
            self.updateGeometry()
        return False

    def resizeEvent(self, event: QResizeEvent) -> None:
        # What has a fixed size has nothing to tell its parent, whatever becomes of its children.
        self._inside.setFixedSize(event.size())
