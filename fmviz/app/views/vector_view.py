"""A layer without maps, as bars: one a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, Qt, QTimer, Signal
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from fmviz.app.drawn_map import DrawnMap


class VectorView(QWidget):
    """A bar plot, and one line why there are no maps."""

    pointed = Signal(object)
    """(index, value) of the bar under the pointer, or None."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._reason = QLabel(self)
        self._reason.setWordWrap(True)
        self._reason.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.drawn: DrawnMap | None = None
        self._values: npt.NDArray[np.float64] | None = None
        self._plot: Any = None
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addWidget(self._reason)

    def set_values(self, values: npt.NDArray[np.float64], reason: str, drawn: DrawnMap | None = None) -> None:
        """Draw bars of `values`, numbered from 0; NaN and infinity get a cross on the zero line. `drawn` names the layer."""
        self.drawn = drawn
        self.pointed.emit(None)
        self._reason.setText(reason)
        self._values = values
        if self._plot is None:
            self.prepare()
            # In a turn of its own: made, filled and painted in one, it kept the window for 50 ms.
            QTimer.singleShot(1, self, self._fill)
        else:
            self._fill()

    def prepare(self) -> None:
        """Make the plot, where there is none yet: that takes as long as filling and painting it."""
        if self._plot is None:
            from fmviz.app.views.plots import plot_widget

            self._plot = plot_widget(self, bottom=self.tr("index"), left=self.tr("value"), indices=True)
            self._plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            self._layout.insertWidget(0, self._plot, 1)
            self._plot.scene().sigMouseMoved.connect(self._moved)

    def _moved(self, place: Any) -> None:
        """Tell the value of the bar under the pointer."""
        values = self._values
        if values is None or not self._plot.plotItem.vb.sceneBoundingRect().contains(place):
            self.pointed.emit(None)
            return
        index = round(self._plot.plotItem.vb.mapSceneToView(place).x())
        self.pointed.emit((index, float(values[index])) if 0 <= index < len(values) else None)

    def leaveEvent(self, event: QEvent) -> None:
        self.pointed.emit(None)
        super().leaveEvent(event)

    def _fill(self) -> None:
        assert self._values is not None
        self._plot.clear()
        self._plot.getAxis("bottom").count = len(self._values)
        finite = np.isfinite(self._values)
        # Each value keeps its own bin: left out of the bins, NaN would be drawn with the height of its neighbour.
        heights = np.where(finite, self._values, 0.0)
        edges = np.arange(len(heights) + 1) - 0.5
        self._plot.plot(edges, heights, stepMode="center", fillLevel=0, brush=self._brush(), pen=None)
        missing = np.flatnonzero(~finite)
        if len(missing):
            ink = self.palette().color(QPalette.ColorRole.Text)
            marks = {"symbol": "x", "symbolSize": 7, "symbolBrush": ink, "symbolPen": None}
            self._plot.plot(missing, np.zeros(len(missing)), pen=None, **marks)
        self._colour()

    def _colour(self) -> None:
        from fmviz.app.views.plots import recolour

        recolour(self._plot, self)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange and self._plot is not None:
            if self._values is not None:
                self._fill()
            else:
                self._colour()
        super().changeEvent(event)

    def _brush(self) -> Any:
        return self.palette().color(QPalette.ColorRole.Highlight)
