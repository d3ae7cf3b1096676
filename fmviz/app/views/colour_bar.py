"""The ramp of colours with a number at each end, and the words that say which maps it is true for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QHBoxLayout, QLabel, QWidget

from fmviz.app.qimage import ramp_image
from fmviz.app.theme import numbers_font
from fmviz.app.views.steady_label import SteadyLabel

_WIDTH, _HEIGHT = 240, 12


class ColourBar(QWidget):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._low, self._high = SteadyLabel(self, widest="−0.0000"), SteadyLabel(self, widest="−0.0000")
        self._words = SteadyLabel(self)
        self._table: npt.NDArray[np.uint8] | None = None
        self._ramp = QLabel(self)
        self._ramp.setFixedSize(QSize(_WIDTH, _HEIGHT))
        self._ramp.setScaledContents(True)
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
        self._ramp.setPixmap(QPixmap.fromImage(ramp_image(table, width=_WIDTH, height=_HEIGHT)))

    def set_scale(self, table: npt.NDArray[np.uint8], low: str, high: str, words: str) -> None:
        self.set_table(table)
        self._low.setText(low)
        self._high.setText(high)
        self._words.setText(words)
        self._words.setToolTip(words)
