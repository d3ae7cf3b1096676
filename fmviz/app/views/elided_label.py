"""Labels whose text ends in “…” where there is no room for all of it: a number that is cut reads as another one."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPalette, QTextLayout, QTextOption
from PySide6.QtWidgets import QLabel, QWidget


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


class ClippedLabel(ElidedLabel):
    """Plain text that is wrapped to a number of lines at most.

    Args:
        lines: The largest number of lines. The last of them ends in “…” if the text has more.
    """

    def __init__(self, lines: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._most = lines
        self.setWordWrap(True)

    def shown(self) -> str:
        """Return the part of the text that is seen."""
        width = self.contentsRect().width()
        lines = self._wrapped(width)
        if len(lines) <= self._most:
            return "\n".join(lines)
        last = " ".join(lines[self._most - 1 :])
        elided = self.fontMetrics().elidedText(last, Qt.TextElideMode.ElideRight, width)
        return "\n".join([*lines[: self._most - 1], elided])

    def heightForWidth(self, width: int) -> int:
        """Return the height of the lines that are seen."""
        lines = min(len(self._wrapped(width)), self._most) if self.text() else 0
        return lines * self.fontMetrics().lineSpacing()

    def sizeHint(self) -> QSize:
        """Return the height that the present width needs."""
        return QSize(0, self.heightForWidth(self.width()))

    def minimumSizeHint(self) -> QSize:
        """Return the same height: lines are not cut in the middle."""
        return self.sizeHint()

    def _wrapped(self, width: int) -> list[str]:
        """Break the text between words, and within a word that is wider than the label."""
        found: list[str] = []
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        for paragraph in self.text().split("\n"):
            layout = QTextLayout(paragraph, self.font())
            layout.setTextOption(option)
            layout.beginLayout()
            while (line := layout.createLine()).isValid():
                line.setLineWidth(max(width, 1))
                # Positions count UTF-16 units, of which some signs have two.
                units = paragraph.encode("utf-16-le", "surrogatepass")
                start, end = line.textStart() * 2, (line.textStart() + line.textLength()) * 2
                found.append(units[start:end].decode("utf-16-le", "surrogatepass").rstrip())
            layout.endLayout()
        return found
