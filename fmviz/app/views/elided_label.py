"""Lines of text that end in “…” where there is no room for all of one: a number that is cut reads as another one."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QLabel


class ElidedLabel(QLabel):
    """It has plain text, which its tool tip should hold whole."""

    def shown(self) -> str:
        """What of the text is seen."""
        width, metrics = self.contentsRect().width(), self.fontMetrics()
        lines = self.text().split("\n")
        return "\n".join(metrics.elidedText(line, Qt.TextElideMode.ElideRight, width) for line in lines)

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self.style().drawItemText(
                painter,
                self.contentsRect(),
                self.alignment(),
                self.palette(),
                self.isEnabled(),
                self.shown(),
                QPalette.ColorRole.WindowText,
            )
