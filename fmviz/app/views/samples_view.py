"""No picture yet: where to drop one, and the samples as thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QIcon, QImageReader, QPixmap, QShowEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

_EDGE = 88
_IN_A_ROW = 4


class SamplesView(QWidget):
    """Two lines of what to do, and a button a sample."""

    sample_chosen = Signal(object)
    """The path of the sample."""

    def __init__(self, samples: Sequence[tuple[str, Path]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._without_icon: list[tuple[QToolButton, Path]] = []
        self._title = QLabel(self)
        self._title.setStyleSheet("font-size: 17pt; font-weight: 600;")
        self._hint = QLabel(self)
        self.set_waiting_picture("")
        for label in (self._title, self._hint):
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
        grid = QGridLayout()
        for place, (name, path) in enumerate(samples):
            grid.addWidget(
                self._button(name, path), place // _IN_A_ROW, place % _IN_A_ROW, Qt.AlignmentFlag.AlignHCenter
            )
        row = QHBoxLayout()
        row.addStretch(1)
        row.addLayout(grid)
        row.addStretch(1)
        layout = QVBoxLayout(self)
        layout.addStretch(1)
        layout.addWidget(self._title)
        layout.addWidget(self._hint)
        layout.addSpacing(12)
        layout.addLayout(row)
        layout.addStretch(2)

    def set_waiting_picture(self, name: str) -> None:
        """The picture that is open and that nothing could be run on; empty where none is."""
        if name:
            self._title.setText(self.tr("Nothing has been run on {name} yet").format(name=name))
            self._hint.setText(
                self.tr("The line above says why. Or drop, open (Ctrl+O) or paste (Ctrl+V) another, or take a sample:")
            )
        else:
            self._title.setText(self.tr("Drop a picture here"))
            self._hint.setText(self.tr("or open one with Ctrl+O, paste one with Ctrl+V, or start with a sample:"))

    def _button(self, name: str, path: Path) -> QToolButton:
        button = QToolButton(self)
        button.setText(name)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        button.setAutoRaise(True)
        button.setIconSize(QSize(_EDGE, _EDGE))
        self._without_icon.append((button, path))
        button.clicked.connect(lambda: self.sample_chosen.emit(str(path)))
        return button

    def showEvent(self, event: QShowEvent) -> None:
        # A window that opens with a picture shows this for a moment, and needs no icons.
        QTimer.singleShot(50, self._draw_icons)
        super().showEvent(event)

    def _draw_icons(self) -> None:
        while self._without_icon and self.isVisible():
            button, path = self._without_icon.pop()
            reader = QImageReader(str(path))
            reader.setScaledSize(reader.size().scaled(_EDGE, _EDGE, Qt.AspectRatioMode.KeepAspectRatio))
            button.setIcon(QIcon(QPixmap.fromImage(reader.read())))
