"""How often which values occur in a map, drawn at every step through the layers: a plot of pyqtgraph takes twenty times as
long, and half a second to be imported."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QLineF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QFont, QHelpEvent, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from fmviz.app.numbers import digits_of_range, thousands, value_words
from fmviz.app.qimage import coloured_image
from fmviz.app.theme import numbers_font

Values: TypeAlias = "npt.NDArray[np.float64] | tuple[float, ...]"

_HEIGHT = 96
_TICK = 4
_APART = 45
"""Pixels between two numbers below the bars, at least."""


class Histogram(QWidget):
    """Bars, their heights logarithmic, above the values that they stand for."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._counts: Values = ()
        self._edges: Values = ()
        self._subject = ""
        self.setAccessibleName(self.tr("Histogram of the map's values"))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFont(_small(numbers_font()))
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)

    def set_counts(self, counts: Values, edges: Values, subject: str = "") -> None:
        """Show n counts between n + 1 edges, none of either for no histogram, of the map that `subject` names."""
        self._counts, self._edges, self._subject = counts, edges, subject
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(160, _HEIGHT)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            QToolTip.showText(event.globalPos(), self._words_at(event.pos().x()), self)
            return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))
        if self._empty:
            return
        plot = self._plot
        self._paint_bars(painter, plot)
        painter.setPen(self.palette().color(QPalette.ColorRole.Text))
        painter.drawLine(plot.left(), plot.bottom() + 1, plot.right(), plot.bottom() + 1)
        digits = digits_of_range(self._edges[0], self._edges[-1])
        # Values that are close have long numbers.
        apart = max(_APART, painter.fontMetrics().horizontalAdvance(value_words(self._edges[-1], digits)) + 8)
        for value in ticks(self._edges[0], self._edges[-1], max(1, int(plot.width() / apart))):
            x = self._x(value, plot)
            painter.drawLine(QLineF(x, plot.bottom() + 1, x, plot.bottom() + _TICK))
            self._letter(painter, value_words(value, digits), x)

    def _letter(self, painter: QPainter, text: str, x: float) -> None:
        """Below the place `x`, moved so that nothing is cut off."""
        width = painter.fontMetrics().horizontalAdvance(text)
        left = min(max(x - width / 2, 1), self.width() - width - 1)
        top = self._plot.bottom() + _TICK
        painter.drawText(QRectF(left, top, width + 1, self.height() - top), Qt.AlignmentFlag.AlignTop, text)

    def _paint_bars(self, painter: QPainter, plot: QRect) -> None:
        # A logarithm, because most maps are mostly zero; one more, so that a single value is seen.
        heights = np.log10(np.asarray(self._counts) + 1)
        shares = heights / max(heights.max(), 1e-9)
        # As a picture, column by column: drawing a hundred shapes takes ten times as long.
        bars = np.arange(plot.width()) * len(shares) // plot.width()
        filled = np.arange(plot.height(), 0, -1)[:, None] <= np.ceil(shares[bars] * plot.height())
        paper, ink = (
            self.palette().color(role).rgb() for role in (QPalette.ColorRole.Base, QPalette.ColorRole.Highlight)
        )
        painter.drawImage(plot.topLeft(), coloured_image(filled.astype(np.uint8), [paper, ink]))

    @property
    def _empty(self) -> bool:
        return len(self._edges) < 2 or not self._edges[-1] > self._edges[0]

    @property
    def _plot(self) -> QRect:
        below = self.fontMetrics().height() + _TICK + 2
        return QRect(6, 6, self.width() - 12, self.height() - 6 - below)

    def _x(self, value: float, plot: QRect) -> float:
        low, high = float(self._edges[0]), float(self._edges[-1])
        # Each divided by itself first: the difference of two numbers can be too large.
        scale = max(abs(low), abs(high))
        return plot.left() + (value / scale - low / scale) / (high / scale - low / scale) * plot.width()

    def _words_at(self, x: float) -> str:
        """Return the tool tip at this place: the map, and what the bar above counts."""
        if self._empty:
            return ""
        words = self._bar_words(x)
        return f"{self._subject}: {words}" if self._subject else words

    def _bar_words(self, x: float) -> str:
        plot = self._plot
        bar = int((x - plot.left()) / plot.width() * len(self._counts))
        if not 0 <= bar < len(self._counts):
            return self.tr("How often which values occur; heights are logarithmic")
        low, high = self._edges[bar], self._edges[bar + 1]
        digits = digits_of_range(low, high)
        return self.tr("{count} values from {low} to {high}; heights are logarithmic").format(
            count=thousands(int(self._counts[bar])),
            low=value_words(low, digits),
            high=value_words(high, digits),
        )


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round values from `low` to `high`, 1, 2 or 5 times a power of ten apart, `most` of them at most."""
    span = high / most - low / most
    if not (math.isfinite(span) and span > 0):
        return []
    power = 10.0 ** math.floor(math.log10(span))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= span)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)][: most + 1]


def _small(font: QFont) -> QFont:
    font.setPointSizeF(font.pointSizeF() * 0.9)
    return font
