"""The Channel dock: one map large, alone or over the picture, with its histogram and statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from fmviz.app.numbers import thousands, value_words
from fmviz.app.theme import numbers_font
from fmviz.app.views.banner import Banner
from fmviz.app.views.map_canvas import MapCanvas


class ChannelView(QWidget):
    channel_chosen = Signal(object)
    over_picture_chosen = Signal(object)
    opacity_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.banner = Banner(self)
        self.canvas = MapCanvas(parent=self)
        self.canvas.set_empty_text(self.tr("The chosen channel is shown large here."))
        self._channel = QSpinBox(self)
        self._channel.setAccessibleName(self.tr("Channel"))
        self._channel.setEnabled(False)
        self._of = QLabel(self)
        self._over = QCheckBox(self.tr("Over the picture"), self)
        self._opacity = QSlider(Qt.Orientation.Horizontal, self)
        self._opacity.setRange(5, 95)
        self._opacity.setToolTip(self.tr("How much of the map covers the picture"))
        self._opacity.setAccessibleName(self.tr("Opacity"))
        self._opacity.setMinimumWidth(50)
        self._numbers = QGridLayout()
        self._labels: list[tuple[QLabel, QLabel]] = []
        self._plot: Any = None
        self._bars: Any = None
        self._histogram = QVBoxLayout()
        self._build()
        self._channel.valueChanged.connect(self.channel_chosen.emit)
        self._over.toggled.connect(self.over_picture_chosen.emit)
        self._opacity.valueChanged.connect(lambda value: self.opacity_chosen.emit(value / 100))

    def _build(self) -> None:
        top = QHBoxLayout()
        label = QLabel(self.tr("Channel"), self)
        label.setBuddy(self._channel)
        for widget in (label, self._channel, self._of):
            top.addWidget(widget)
        top.addStretch(1)
        over = QHBoxLayout()
        over.addWidget(self._over)
        over.addWidget(self._opacity, 1)
        self._numbers.setHorizontalSpacing(10)
        self._numbers.setVerticalSpacing(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        layout.addWidget(self.banner)
        layout.addLayout(top)
        layout.addWidget(self.canvas, 3)
        layout.addLayout(over)
        layout.addLayout(self._histogram)
        layout.addLayout(self._numbers)

    def set_channel(self, channel: int, count: int) -> None:
        """Which channel of how many; 0 of them where the layer has no maps."""
        self._channel.blockSignals(True)
        self._channel.setEnabled(count > 0)
        self._channel.setRange(0, max(count - 1, 0))
        self._channel.setValue(channel)
        self._channel.blockSignals(False)
        self._of.setText(self.tr("of {count}, from 0").format(count=thousands(count)) if count else "")

    def set_over_picture(self, over: bool, opacity: float) -> None:
        """Whether the map lies over the picture, and how opaque it is then."""
        for widget in (self._over, self._opacity):
            widget.blockSignals(True)
        self._over.setChecked(over)
        self._opacity.setEnabled(over)
        self._opacity.setValue(round(opacity * 100))
        for widget in (self._over, self._opacity):
            widget.blockSignals(False)
        self.canvas.set_opacity(opacity if over else 1.0)

    def set_description(
        self,
        counts: npt.NDArray[np.float64],
        edges: npt.NDArray[np.float64],
        statistics: tuple[float, ...],
    ) -> None:
        """Histogram (n counts, n + 1 edges) and the seven statistics, in the order of `fmviz.maps.Statistics`."""
        minimum, maximum, mean, std, zeros, nans, infinities = statistics
        rows = [
            (self.tr("minimum"), value_words(minimum)),
            (self.tr("maximum"), value_words(maximum)),
            (self.tr("mean"), value_words(mean)),
            (self.tr("deviation"), value_words(std)),
            (self.tr("zeros"), f"{zeros * 100:.1f} %"),
        ]
        if nans or infinities:
            rows.append((self.tr("NaN, infinite"), f"{thousands(int(nans))}, {thousands(int(infinities))}"))
        self._show_numbers(rows)
        self._show_histogram(counts, edges)

    def clear_description(self) -> None:
        self._show_numbers([])
        if self._plot is not None:
            self._plot.hide()

    def _show_numbers(self, rows: list[tuple[str, str]]) -> None:
        """Labels are made once and set again: a dock that is laid out anew at every step through the layers is slow."""
        while len(self._labels) < len(rows):
            name, number = QLabel(self), QLabel(self)
            number.setFont(numbers_font())
            number.setAlignment(Qt.AlignmentFlag.AlignRight)
            number.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            place = len(self._labels)
            self._numbers.addWidget(name, place // 2, 2 * (place % 2))
            self._numbers.addWidget(number, place // 2, 2 * (place % 2) + 1)
            self._labels.append((name, number))
        for place, labels in enumerate(self._labels):
            texts = rows[place] if place < len(rows) else ("", "")
            for label, text in zip(labels, texts, strict=True):
                label.setText(text)

    def _show_histogram(self, counts: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> None:
        plot = self._made_plot()
        plot.show()
        # A logarithm, because most maps are mostly zero; one more, so that a single value is seen.
        self._bars.setData(edges, np.log10(counts + 1))
        if len(edges) > 1 and edges[-1] > edges[0]:
            plot.setXRange(edges[0], edges[-1], padding=0.02)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange and self._plot is not None:
            self._colour_plot()
        super().changeEvent(event)

    def _colour_plot(self) -> None:
        from fmviz.app.views.plots import recolour

        recolour(self._plot, self)
        self._bars.setBrush(self.palette().color(QPalette.ColorRole.Highlight))

    def _made_plot(self) -> Any:
        if self._plot is None:
            from fmviz.app.views.plots import plot_widget

            self._plot = plot_widget(self, bottom="", left="")
            self._plot.setFixedHeight(96)
            self._plot.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            self._plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            self._plot.getAxis("left").setStyle(showValues=False)
            self._plot.getAxis("left").setWidth(8)
            self._plot.setToolTip(self.tr("Histogram of the map's values; heights are logarithmic"))
            self._histogram.addWidget(self._plot)
            self._bars = self._plot.plot([0, 1], [0], stepMode="center", fillLevel=0, pen=None)
            self._colour_plot()
        return self._plot
