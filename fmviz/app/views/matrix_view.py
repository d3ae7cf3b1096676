"""A layer whose values lie nowhere on the picture, as a heat map: one matrix at a time, with its rows and columns numbered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QContextMenuEvent, QFont, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QSpinBox, QVBoxLayout, QWidget

from fmviz.app.drawn_map import DrawnMap
from fmviz.app.numbers import thousands
from fmviz.app.qimage import colour_list, coloured_image
from fmviz.app.theme import numbers_font
from fmviz.app.views.pointer import POINTER
from fmviz.charts import tick_numbers
from fmviz.matrices import matrix_words

_SQUARE = 4
"""Up to this ratio of its sides a matrix has square cells; beyond it, it fills the view."""
_TICK = 4
_LEGIBLE = 224


class HeatMap(QWidget):
    """Paints one matrix with its axes."""

    pointed = Signal(object)
    """(row, column) of the cell under the pointer, or None."""
    menu_wanted = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.drawn: DrawnMap | None = None
        self._pixels: npt.NDArray[np.uint8] | None = None
        self._image: QImage | None = None
        self._colours: list[int] = [0xFF000000] * 256
        self._smooth = False
        self.setFont(_small(numbers_font()))
        self.setMouseTracking(True)
        self.setAutoFillBackground(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(self.tr("Matrix"))

    def sizeHint(self) -> QSize:
        return QSize(300, 300)

    def set_matrix(self, pixels: npt.NDArray[np.uint8], drawn: DrawnMap) -> None:
        """Draw (h, w) indices, of which there may be fewer than cells."""
        self._pixels, self.drawn = pixels, drawn
        self._image = coloured_image(pixels, self._colours)
        self.update()
        self.repoint()

    def set_colours(self, table: npt.NDArray[np.uint8]) -> None:
        """(256, 3) uint8."""
        self._colours = colour_list(table)
        if self._pixels is not None:
            self._image = coloured_image(self._pixels, self._colours)
        self.update()

    def set_smooth(self, smooth: bool) -> None:
        self._smooth = smooth
        self.update()

    def image(self) -> QImage | None:
        """Return the matrix for the clipboard, a whole number of pixels a cell."""
        if self._image is None:
            return None
        factor = max(1, -(-_LEGIBLE // max(self._image.width(), self._image.height(), 1)))
        return self._image.scaled(self._image.size() * factor)

    # Places

    def cells(self) -> QRectF:
        """Return where the cells are painted."""
        if self.drawn is None:
            return QRectF()
        height, width = self.drawn.map_size
        line, left = self.fontMetrics().height(), self._left()
        room = QRectF(left, line + 6, self.width() - left - 12, self.height() - 3 * line - 2 * _TICK - 10)
        if room.width() < 1 or room.height() < 1:
            return QRectF()
        across, down = room.width() / width, room.height() / height
        if max(height, width) <= _SQUARE * min(height, width):
            across = down = min(across, down)
            if across >= 1:
                across = down = float(int(across))
        return QRectF(left, room.top(), across * width, down * height)

    def _left(self) -> int:
        rows = self.drawn.map_size[0] if self.drawn else 0
        metrics = self.fontMetrics()
        return max(metrics.horizontalAdvance(str(rows)), metrics.horizontalAdvance(self.tr("row"))) + _TICK + 8

    def cell_at(self, place: QPointF) -> tuple[int, int] | None:
        """Return (row, column) of the cell at a place of the widget."""
        cells = self.cells()
        if self.drawn is None or not cells.contains(place):
            return None
        height, width = self.drawn.map_size
        row = int((place.y() - cells.top()) / cells.height() * height)
        column = int((place.x() - cells.left()) / cells.width() * width)
        return min(row, height - 1), min(column, width - 1)

    # Painting

    def paintEvent(self, event: QPaintEvent) -> None:
        cells = self.cells()
        if self._image is None or self.drawn is None or cells.isEmpty():
            return
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, self._smooth)
            painter.drawImage(cells, self._image)
            pen = QPen(QColor(self.palette().text().color()))
            painter.setPen(pen)
            painter.drawRect(cells.adjusted(-0.5, -0.5, 0.5, 0.5))
            self._paint_rows(painter, cells)
            self._paint_columns(painter, cells)

    def _paint_rows(self, painter: QPainter, cells: QRectF) -> None:
        assert self.drawn is not None
        line, right = self.fontMetrics().height(), int(Qt.AlignmentFlag.AlignRight)
        pitch = cells.height() / self.drawn.map_size[0]
        for row in tick_numbers(self.drawn.map_size[0], int(cells.height() // (2 * line))):
            y = cells.top() + (row + 0.5) * pitch
            painter.drawLine(QPointF(cells.left() - _TICK, y), QPointF(cells.left() - 1, y))
            painter.drawText(QRectF(0, y - line / 2, cells.left() - _TICK - 3, line), right, str(row))
        painter.drawText(QRectF(0, 0, cells.left() - _TICK - 3, line), right, self.tr("row"))

    def _paint_columns(self, painter: QPainter, cells: QRectF) -> None:
        assert self.drawn is not None
        columns = self.drawn.map_size[1]
        line, centre = self.fontMetrics().height(), int(Qt.AlignmentFlag.AlignHCenter)
        room = self.fontMetrics().horizontalAdvance(str(columns)) + 16
        for column in tick_numbers(columns, int(cells.width() // room)):
            x = cells.left() + (column + 0.5) * cells.width() / columns
            painter.drawLine(QPointF(x, cells.bottom() + 1), QPointF(x, cells.bottom() + _TICK))
            painter.drawText(QRectF(x - room / 2, cells.bottom() + _TICK, room, line), centre, str(column))
        below = QRectF(cells.left() - 30, cells.bottom() + _TICK + line, cells.width() + 60, line)
        painter.drawText(below, centre, self.tr("column"))

    # Hands

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        POINTER.move(self, event.globalPosition())
        self.repoint()

    def repoint(self) -> None:
        """Emit the cell under the pointer if it is over this matrix; None if the matrix has moved away below it."""
        pointer = POINTER.over(self)
        if POINTER.has(self):
            self.pointed.emit(self.cell_at(pointer) if pointer is not None else None)

    def leaveEvent(self, event: QEvent) -> None:
        POINTER.leave(self)
        self.pointed.emit(None)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu_wanted.emit(event.globalPos())


class MatrixView(QWidget):
    """A matrix of a layer, which of them, and one line why there are no maps."""

    number_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.canvas = HeatMap(self)
        self.pointed, self.menu_wanted = self.canvas.pointed, self.canvas.menu_wanted
        self.number = QSpinBox(self)
        self.number.setAccessibleName(self.tr("Matrix"))
        self._label = QLabel(self.tr("Matrix"), self)
        self._label.setBuddy(self.number)
        self._name, self._reason = QLabel(self), QLabel(self)
        self._name.setFont(numbers_font())
        for label in (self._name, self._reason):
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._reason.setWordWrap(True)
        self._reason.setAlignment(Qt.AlignmentFlag.AlignCenter)
        top = QHBoxLayout()
        top.addWidget(self._label)
        top.addWidget(self.number)
        top.addWidget(self._name, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(top)
        layout.addWidget(self.canvas, 1)
        layout.addWidget(self._reason)
        self.number.valueChanged.connect(self.number_chosen.emit)

    @property
    def drawn(self) -> DrawnMap | None:
        """The matrix that is drawn."""
        return self.canvas.drawn

    def image(self) -> QImage | None:
        """Return the matrix for the clipboard."""
        return self.canvas.image()

    def set_matrix(
        self, pixels: npt.NDArray[np.uint8], drawn: DrawnMap, shape: Sequence[int], count: int, reason: str
    ) -> None:
        """Draw the matrix that `drawn` names, one of `count` of an activation of this shape."""
        height, width = drawn.map_size
        self.number.blockSignals(True)
        self.number.setRange(0, max(count - 1, 0))
        self.number.setValue(drawn.channel)
        self.number.blockSignals(False)
        for widget in (self._label, self.number):
            widget.setVisible(count > 1)
        which = matrix_words(shape, drawn.channel)
        words = self.tr("{which} of {count}: {rows} rows × {columns} columns")
        if count == 1:
            words = self.tr("{rows} rows × {columns} columns")
        self._name.setText(
            words.format(which=which, count=thousands(count), rows=thousands(height), columns=thousands(width))
        )
        self._reason.setText(reason)
        self.canvas.set_matrix(pixels, drawn)


def _small(font: QFont) -> QFont:
    font.setPointSizeF(font.pointSizeF() * 0.9)
    return font
