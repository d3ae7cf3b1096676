"""Widgets in a row that come, go and change, and never ask for a new layout of the window around them."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget


class SteadyRow(QWidget):
    """As high as the highest widget that it was given, and as wide as there is room."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._inside = QWidget(self)
        self._row = QHBoxLayout(self._inside)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._height = 0
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def add(self, widget: QWidget, stretch: int = 0) -> None:
        """At the right of those that are there."""
        self._row.addWidget(widget, stretch)
        self._height = max(self._height, widget.sizeHint().height())
        self.updateGeometry()

    def add_stretch(self) -> None:
        """What comes after it stands at the right."""
        self._row.addStretch(1)

    def sizeHint(self) -> QSize:
        return QSize(0, self._height)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def resizeEvent(self, event: QResizeEvent) -> None:
        # What has a fixed size has nothing to tell its parent, whatever becomes of its children.
        self._inside.setFixedSize(event.size())
