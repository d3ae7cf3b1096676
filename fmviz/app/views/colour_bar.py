"""The ramp of colours with a number at each end, and the words that say which maps it is true for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QWidget

from fmviz.app.qimage import ramp_image
from fmviz.app.theme import numbers_font
from fmviz.app.views.steady_label import SteadyLabel

_WIDTH, _HEIGHT = 240, 12


class _Ramp(QWidget):
    """The ramp. A label would have the whole window laid out anew for each other picture."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._image: QImage | None = None
        self.setFixedSize(QSize(_WIDTH, _HEIGHT))
        self.setAutoFillBackground(True)

    def set_table(self, table: npt.NDArray[np.uint8]) -> None:
        self._image = ramp_image(table, width=_WIDTH, height=_HEIGHT)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._image is not None:
            with QPainter(self) as painter:
                painter.drawImage(self.rect(), self._image)


class ColourBar(QWidget):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._low, self._high = SteadyLabel(self, widest="−0.0000"), SteadyLabel(self, widest="−0.0000")
        self._words = SteadyLabel(self)
        self._table: npt.NDArray[np.uint8] | None = None
        self._ramp = _Ramp(self)
        for label in (self._low, self._high):
            label.setFont(numbers_font())
        self._low.set_alignment(Qt.AlignmentFlag.AlignRight)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 2)
        layout.setSpacing(6)
        for widget in (self._low, self._ramp, self._high):
            layout.addWidget(widget)
        layout.addSpacing(8)
        layout.addWidget(self._words, 1)

    def set_table(self, table: npt.NDArray[np.uint8]) -> None:
        """(256, 3) uint8."""
        if self._table is not None and np.array_equal(table, self._table):
            return
        self._table = table
        self._ramp.set_table(table)

    def set_scale(self, table: npt.NDArray[np.uint8], low: str, high: str, words: str) -> None:
        self.set_table(table)
        self._low.setText(low)
        self._high.setText(high)
        self._words.setText(words)
        self._words.setToolTip(words)
