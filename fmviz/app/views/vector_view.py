"""A layer without maps, as bars: one a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QPointF, Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QPalette
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from fmviz.app.drawn_map import DrawnMap
from fmviz.app.views.pointer import POINTER


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
            for changed in (self._plot.plotItem.vb.sigRangeChanged, self._plot.plotItem.vb.sigResized):
                # The bars move below a resting pointer.
                changed.connect(lambda *_: self.repoint())

    def _moved(self, place: QPointF) -> None:
        """Hear from the scene where the pointer is, in its coordinates."""
        POINTER.move(self, self._plot.mapToGlobal(QPointF(self._plot.mapFromScene(place))))
        self.repoint()

    def repoint(self) -> None:
        """Emit the bar under the pointer if it is over the plot; None if the plot has moved away below it."""
        if POINTER.has(self):
            pointer = POINTER.over(self)
            self.pointed.emit(self._bar_at(pointer) if pointer is not None else None)

    def _bar_at(self, place: QPointF) -> tuple[int, float] | None:
        """Return (index, value) of the bar above or below a place of the widget."""
        if self._values is None or self._plot is None:
            return None
        box = self._plot.plotItem.vb
        in_scene = self._plot.mapToScene(self._plot.mapFrom(self, place.toPoint()))
        if not box.sceneBoundingRect().contains(in_scene):
            return None
        index = round(box.mapSceneToView(in_scene).x())
        return (index, float(self._values[index])) if 0 <= index < len(self._values) else None

    def leaveEvent(self, event: QEvent) -> None:
        POINTER.leave(self)
        self.pointed.emit(None)
        super().leaveEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:
        if POINTER.has(self):
            POINTER.leave(self)
            self.pointed.emit(None)
        super().hideEvent(event)

    def _fill(self) -> None:
        assert self._values is not None
        self._plot.clear()
        # Without bars the axes would keep the range of the vector before.
        self._plot.setVisible(len(self._values) > 0)
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
        self.repoint()

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
