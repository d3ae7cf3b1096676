"""The Column dock: what every layer says at the pinned place, from the input to the output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QLabel, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from fmviz.app.numbers import value_words
from fmviz.app.theme import numbers_font

ROOM = 0.07
"""The share of the plot's width that the name of a stage takes."""


class ColumnShown(msgspec.Struct, frozen=True, eq=False):
    """The values of n layers at one place.

    Attributes:
        layers: their names, in the order of the run.
        marks: what a layer is called on the axis: "C3"; "" for nothing.
        cells: (row, column) of each.
        strongest, channels: (n,): the value that is largest by magnitude, and of which channel it is.
        chosen, channel: (n,): the value of one channel, NaN where a layer has no such, and which it is.
        largest: (n,): the largest magnitude anywhere in each layer.
    """

    layers: Sequence[str]
    marks: Sequence[str]
    cells: Sequence[tuple[int, int]]
    strongest: npt.NDArray[np.float64]
    channels: npt.NDArray[np.int32]
    chosen: npt.NDArray[np.float64]
    channel: int
    largest: npt.NDArray[np.float64]


class ColumnView(QWidget):
    layer_chosen = Signal(object)
    """The name of a layer."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._empty = QLabel(
            self.tr(
                "Click a cell of any map to pin its place: here is then what every layer says there, from the input to "
                "the output. U lets go of it."
            ),
            self,
        )
        self._empty.setWordWrap(True)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._about, self._value = QLabel(self), QLabel(self)
        for label in (self._about, self._value):
            label.setWordWrap(True)
            label.setFont(numbers_font())
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._page = QWidget(self)
        self._layout = QVBoxLayout(self._page)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addWidget(self._about)
        self._layout.addWidget(self._value)
        self._stack = QStackedWidget(self)
        self._stack.addWidget(self._empty)
        self._stack.addWidget(self._page)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self._stack)
        self._plot: Any = None
        self._strongest: Any = None
        self._chosen: Any = None
        self._here: Any = None
        self._shown: ColumnShown | None = None
        self._current = -1

    def set_column(self, shown: ColumnShown | None, about: str) -> None:
        """The values, and what place they are of; None for nothing."""
        self._shown = shown
        self._stack.setCurrentIndex(0 if shown is None else 1)
        if shown is None:
            return
        self._about.setText(about)
        self._made_plot()
        places = np.arange(len(shown.layers))
        scale = np.where(shown.largest > 0, shown.largest, 1.0)
        for curve, values in ((self._strongest, shown.strongest), (self._chosen, shown.chosen)):
            shares = np.abs(values) / scale
            finite = np.isfinite(shares)
            curve.setData(places[finite], shares[finite])
        self._plot.getAxis("bottom").setTicks([_ticks(shown.marks), []])
        self._plot.setXRange(-0.5, max(len(shown.layers) - 0.5, 0.5), padding=0.02)
        self.set_current(shown.layers[self._current] if 0 <= self._current < len(shown.layers) else "")

    def set_current(self, layer: str) -> None:
        """Mark this layer, and say its values."""
        shown = self._shown
        if shown is None:
            return
        self._current = shown.layers.index(layer) if layer in shown.layers else -1
        self._here.setVisible(self._current >= 0)
        self._here.setValue(max(self._current, 0))
        self._tell(self._current)

    def _tell(self, place: int) -> None:
        shown = self._shown
        if shown is None or not 0 <= place < len(shown.layers):
            self._value.setText("")
            return
        row, column = shown.cells[place]
        words = self.tr("{layer}, cell ({row}, {column}): channel {channel} = {value} is the strongest").format(
            layer=shown.layers[place],
            row=row,
            column=column,
            channel=int(shown.channels[place]),
            value=value_words(float(shown.strongest[place])),
        )
        if np.isfinite(shown.chosen[place]):
            chosen = self.tr("channel {channel} = {value}").format(
                channel=shown.channel, value=value_words(float(shown.chosen[place]))
            )
            words = f"{words}; {chosen}"
        self._value.setText(words)

    # The plot

    def _made_plot(self) -> None:
        if self._plot is not None:
            return
        import pyqtgraph

        from fmviz.app.views.plots import plot_widget

        self._plot = plot_widget(self, bottom="", left=self.tr("share of the largest"))
        self._plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._plot.setYRange(0, 1.03, padding=0)
        self._plot.setMinimumHeight(120)
        self._chosen = self._plot.plot([], [], pen=None, symbol="o", symbolSize=4)
        self._strongest = self._plot.plot([], [])
        self._here = pyqtgraph.InfiniteLine(angle=90, movable=False)
        self._plot.addItem(self._here)
        self._plot.scene().sigMouseMoved.connect(self._moved)
        self._plot.scene().sigMouseClicked.connect(self._clicked)
        self._layout.insertWidget(1, self._plot, 1)
        self._colour_plot()

    def _colour_plot(self) -> None:
        import pyqtgraph

        from fmviz.app.views.plots import recolour

        recolour(self._plot, self)
        accent = self.palette().color(QPalette.ColorRole.Highlight)
        ink = QColor(self.palette().color(QPalette.ColorRole.Text))
        ink.setAlpha(150)
        self._strongest.setPen(pyqtgraph.mkPen(accent, width=2))
        self._chosen.setSymbolBrush(ink)
        self._chosen.setSymbolPen(None)
        self._here.setPen(pyqtgraph.mkPen(ink, style=Qt.PenStyle.DashLine))

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange and self._plot is not None:
            self._colour_plot()
        super().changeEvent(event)

    def _place_at(self, scene_place: Any) -> int:
        if self._shown is None or not self._plot.sceneBoundingRect().contains(scene_place):
            return -1
        place = round(self._plot.plotItem.vb.mapSceneToView(scene_place).x())
        return place if 0 <= place < len(self._shown.layers) else -1

    def _moved(self, scene_place: Any) -> None:
        place = self._place_at(scene_place)
        self._tell(place if place >= 0 else self._current)

    def _clicked(self, event: Any) -> None:
        place = self._place_at(event.scenePos())
        if self._shown is not None and place >= 0:
            self.layer_chosen.emit(self._shown.layers[place])


def _ticks(marks: Sequence[str]) -> list[tuple[int, str]]:
    """The stages and the pyramid's levels, as far as there is room for their names beside each other."""
    found: list[tuple[int, str]] = []
    for place, mark in enumerate(marks):
        if mark and mark[0] in "CP" and (not found or place - found[-1][0] >= ROOM * len(marks)):
            found.append((place, mark))
    return found
