"""Words that change at every step through the layers, and never ask for a new layout of the window around them."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget


class SteadyLabel(QWidget):
    """One line of text. `QLabel` has its whole dock laid out and painted anew whenever its text changes.

    Args:
        widest: as wide as this text, and wider as soon as a text needs it, for good; without it, as wide as there is room.
    """

    def __init__(self, parent: QWidget | None = None, *, widest: str = "") -> None:
        super().__init__(parent)
        self._label = QLabel(self)
        self._widest = widest
        across = QSizePolicy.Policy.Fixed if widest else QSizePolicy.Policy.Ignored
        self.setSizePolicy(across, QSizePolicy.Policy.Fixed)

    def text(self) -> str:
        return self._label.text()

    def setText(self, text: str) -> None:
        if text == self._label.text():
            return
        self._label.setText(text)
        if self._widest and self._advance(text) > self._advance(self._widest):
            self._widest = text
            self.updateGeometry()

    def set_alignment(self, alignment: Qt.AlignmentFlag) -> None:
        self._label.setAlignment(alignment | Qt.AlignmentFlag.AlignVCenter)

    def set_selectable(self) -> None:
        """Let the mouse select the text, to copy it."""
        self._label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def sizeHint(self) -> QSize:
        return QSize(self._advance(self._widest), self._label.fontMetrics().height())

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def resizeEvent(self, event: QResizeEvent) -> None:
        # A label whose size is fixed has nothing to tell its parent.
        self._label.setFixedSize(event.size())

    def changeEvent(self, event: QEvent) -> None:
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self.updateGeometry()
        super().changeEvent(event)

    def _advance(self, text: str) -> int:
        return self._label.fontMetrics().horizontalAdvance(text)
