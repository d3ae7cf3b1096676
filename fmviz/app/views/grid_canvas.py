"""All maps of a layer as one grid that zooms, pans and scrolls."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QEnterEvent,
    QHideEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QWidget

from fmviz.app.blocks import SharedPixels
from fmviz.app.drawn_map import DrawnMap
from fmviz.app.qimage import colour_list, coloured_image
from fmviz.app.views.grid_layout import GridLayout, GridView, fitted
from fmviz.app.views.pointer import POINTER
from fmviz.app.views.scroll_bar import give_scroll_bars
from fmviz.app.views.signs import Signs
from fmviz.maps import PAPER

GAP = 3
MARKED = 20
"""Tiles of at least this many pixels show the places that are marked."""
LETTERED = 56
"""Tiles of at least this many pixels get their channel's number in the corner."""
_LARGEST_ZOOM = 40.0
_COMPOSED_AT_MOST = 16_000_000
_COPIED_AT_MOST = 64_000_000
"""Pixels of a copied grid; a grid that is zoomed in further is copied as large as it fits the view."""


class GridCanvas(QAbstractScrollArea):
    """The grid: give it maps with `set_maps`, hear what the user points at and chooses.

    All places inside are device pixels, so that a cell of a map is as crisp at 150 % as at 100 %.
    """

    channel_chosen = Signal(object)
    """A channel was clicked, or reached by the arrow keys."""
    pointed = Signal(object)
    """(channel, row, column) of the cell under the pointer, or None. Also when other maps come below a resting pointer."""
    clicked_at = Signal(object)
    """(channel, row, column) of the cell that was clicked."""
    view_changed = Signal(object)
    """A `GridView`: how many device pixels there are for the grid, and how far it is zoomed in."""
    stage_step = Signal(object)
    """+1 or -1: PageDown or PageUp was pressed."""
    peeked = Signal(object)
    """Whether Space is held."""
    menu_wanted = Signal(object, object)
    """Where (global) the context menu is wanted, and (channel, row, column) of the cell there, or None."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pixels: SharedPixels | None = None
        self.drawn: DrawnMap | None = None
        """The layer that is drawn, to read values from; its channel does not count."""
        self._map_size = (1, 1)
        self._order: npt.NDArray[np.intp] | tuple[int, ...] = ()
        self._rank: npt.NDArray[np.intp] | tuple[int, ...] = ()
        self._notes: dict[int, str] = {}
        self._colours: list[int] = [0xFF000000] * 256
        self._accent = QColor(Qt.GlobalColor.yellow)
        self._current = 0
        self._smooth = False
        self._dimmed = False
        self._zoom = 1.0
        self._resumed: tuple[int, float, float] | None = None
        self._marks: tuple[tuple[float, float, bool], ...] = ()
        self._lit: QImage | None = None
        self._layout: GridLayout | None = None
        self._mosaic: tuple[object, npt.NDArray[np.uint8]] | None = None
        self._cache: tuple[object, QImage] | None = None
        self._signs = Signs()
        self._grabbed: QPointF | None = None
        self._moved = False
        self._dim_later = QTimer(self, singleShot=True, interval=150)
        self._dim_later.timeout.connect(self._dim)
        give_scroll_bars(self)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.viewport().setMouseTracking(True)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMinimumSize(200, 160)
        self.setAccessibleName(self.tr("Feature maps"))

    # What is shown

    def set_maps(
        self,
        pixels: SharedPixels | None,
        map_size: tuple[int, int],
        order: npt.NDArray[np.intp],
        notes: dict[int, str],
        drawn: DrawnMap | None = None,
    ) -> None:
        """Show maps.

        Args:
            pixels: (n, h, w) indices, of all channels; None shows nothing.
            map_size: (height, width) of the activation, of which `pixels` may hold every second or third pixel.
            order: the channel at each position of the grid.
            notes: what to letter beside the number of a channel ("all 0").
            drawn: The layer that the maps are of.
        """
        before = self._layout or self._resumed
        centre = self._resumed or self._centre_tile()
        self._pixels, self._map_size, self._notes, self.drawn = pixels, map_size, notes, drawn
        self._set_order(order)
        self._mosaic = self._cache = None
        self._dim_later.stop()
        self._dimmed = False
        self._lay_out()
        if before is not None and self._zoom > 1.0 and centre is not None and len(order):
            self._centre_on(min(centre[0], len(order) - 1), centre[1], centre[2])
        self.viewport().update()
        self.repoint()

    def set_colours(self, table: npt.NDArray[np.uint8], accent: QColor) -> None:
        """(256, 3) uint8, and the colour of the frame around the current channel."""
        self._colours, self._accent = colour_list(table), accent
        self._cache = None
        self.viewport().update()

    def set_current(self, channel: int) -> None:
        """Frame this channel, and bring it into sight."""
        if channel != self._current:
            self._current = channel
            self._reveal(channel)
            self.viewport().update()

    def set_smooth(self, smooth: bool) -> None:
        """Enlarge smoothly instead of with crisp cells."""
        if smooth != self._smooth:
            self._smooth = smooth
            self.viewport().update()

    def set_marks(self, marks: Sequence[tuple[float, float, bool]]) -> None:
        """Places in every map, x and y as shares of its width and height, and whether each is held or pointed at only."""
        if tuple(marks) != self._marks:
            self._marks = tuple(marks)
            self.viewport().update()

    def set_lit(self, shade: QImage | None) -> None:
        """What lies over every map, a pixel a cell: clear where a cell is meant, dark elsewhere."""
        if shade is not None or self._lit is not None:
            self._lit = shade
            self.viewport().update()

    def expect_new(self) -> None:
        """New maps are on their way: what is shown is dimmed when they take longer than 150 ms."""
        if self._pixels is not None and not self._dim_later.isActive():
            self._dim_later.start()

    def fit(self) -> None:
        """All maps as large as the view allows."""
        self._zoom = 1.0
        self._lay_out()
        self.viewport().update()
        self.repoint()

    def look(self) -> tuple[float, int, float, float] | None:
        """Return zoom, position of the tile in the middle and place in it, as `resume` takes them; None where all is shown."""
        centre = self._resumed or self._centre_tile()
        return (self._zoom, *centre) if self._zoom > 1.0 and centre is not None else None

    def resume(self, look: tuple[float, int, float, float] | None) -> None:
        """Zoom in, and look there as soon as there are maps."""
        if look is not None:
            self._zoom, self._resumed = min(max(look[0], 1.0), _LARGEST_ZOOM), look[1:]
            self._lay_out()

    def grid_image(self) -> QImage | None:
        """Return the whole grid for the clipboard: tiles as large as on the screen, each with the number of its channel."""
        layout = self._layout
        if layout is None or self._pixels is None:
            return None
        if layout.size[0] * layout.size[1] > _COPIED_AT_MOST:
            layout = fitted(layout.count, self._map_size, self._view(), gap=layout.gap)
        every = (0, layout.rows), (0, layout.columns)
        if self._smooth:
            image = QImage(*layout.size, QImage.Format.Format_RGB32)
            image.fill(QColor(self._colours[PAPER]))
            with QPainter(image) as painter:
                self._paint_one_by_one(painter, *every, layout=layout, origin=(0, 0))
        else:
            image = coloured_image(self._with_margin(layout), self._colours)
        with QPainter(image) as painter:
            self._paint_letters(painter, *every, (0, 0), layout=layout, always=True)
        return image

    def _with_margin(self, layout: GridLayout) -> npt.NDArray[np.uint8]:
        """Return the indices of all tiles, with the gap also at the left and at the top."""
        composed = self._composed(layout, 0, layout.rows, 0, layout.columns)
        return np.pad(composed, ((layout.gap, 0), (layout.gap, 0)), constant_values=PAPER)

    # Layout

    def _ratio(self) -> float:
        return self.devicePixelRatioF()

    def _view(self) -> tuple[int, int]:
        ratio = self._ratio()
        return int(self.viewport().width() * ratio), int(self.viewport().height() * ratio)

    def _lay_out(self) -> None:
        width, height = self._view()
        self.view_changed.emit(GridView(width, height, round(GAP * self._ratio()), self._zoom))
        if self._pixels is None or not len(self._order):
            self._layout = None
            return
        gap = round(GAP * self._ratio())
        base = fitted(len(self._order), self._map_size, self._view(), gap=gap)
        if self._zoom > 1.0:
            base = msgspec.structs.replace(
                base, width=max(1, round(base.width * self._zoom)), height=max(1, round(base.height * self._zoom))
            )
        self._layout = base
        self._set_scroll_bars()

    def _set_scroll_bars(self) -> None:
        assert self._layout is not None
        for bar, whole, seen in zip(
            (self.horizontalScrollBar(), self.verticalScrollBar()), self._layout.size, self._view(), strict=True
        ):
            bar.setPageStep(seen)
            bar.setSingleStep(max(20, self._layout.height // 2))
            bar.setRange(0, max(0, whole - seen))

    def _offset(self) -> tuple[int, int]:
        return self.horizontalScrollBar().value(), self.verticalScrollBar().value()

    def _set_order(self, order: npt.NDArray[np.intp]) -> None:
        self._order = order
        self._rank = np.argsort(order) if len(order) else order

    def _centre_tile(self) -> tuple[int, float, float] | None:
        if self._layout is None:
            return None
        left, top = self._offset()
        width, height = self._view()
        return self._layout.tile_at(left + width / 2, top + height / 2)

    def _centre_on(self, index: int, x: float, y: float) -> None:
        assert self._layout is not None
        left, top = self._layout.position(index)
        width, height = self._view()
        self.horizontalScrollBar().setValue(round(left + x * self._layout.width - width / 2))
        self.verticalScrollBar().setValue(round(top + y * self._layout.height - height / 2))

    def _reveal(self, channel: int) -> None:
        if self._layout is None or not 0 <= channel < len(self._rank):
            return
        left, top = self._layout.position(int(self._rank[channel]))
        sides = (
            (self.horizontalScrollBar(), left, self._layout.width, self._view()[0]),
            (self.verticalScrollBar(), top, self._layout.height, self._view()[1]),
        )
        for bar, start, length, seen in sides:
            if start < bar.value() or length > seen:
                bar.setValue(start - self._layout.gap)
            elif start + length > bar.value() + seen:
                bar.setValue(start + length + self._layout.gap - seen)

    def _dim(self) -> None:
        self._dimmed = True
        self.viewport().update()

    # Painting

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._layout is not None:
            self._resumed = None
        with QPainter(self.viewport()) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        painter.fillRect(self.viewport().rect(), QColor(self._colours[PAPER]))
        if self._layout is None or self._pixels is None:
            return
        painter.scale(1 / self._ratio(), 1 / self._ratio())
        left, top = self._offset()
        width, height = self._view()
        rows = self._layout.visible(top, top + height)
        columns = self._layout.visible_columns(left, left + width)
        self._paint_tiles(painter, rows, columns)
        self._paint_places(painter, rows, columns)
        self._paint_current(painter)
        if self._dimmed:
            veil = QColor(self._colours[PAPER])
            veil.setAlpha(150)
            painter.fillRect(QRect(0, 0, width, height), veil)

    def _paint_tiles(self, painter: QPainter, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        assert self._layout is not None
        layout = self._layout
        area = (rows[1] - rows[0]) * layout.height * (columns[1] - columns[0]) * layout.width
        if self._smooth or area > _COMPOSED_AT_MOST:
            self._paint_one_by_one(painter, rows, columns)
            self._paint_letters(painter, rows, columns, self._offset())
            return
        x, y = layout.position(rows[0] * layout.columns + columns[0])
        part = (layout, rows, columns)
        # Other colours need no other mosaic.
        if self._mosaic is None or self._mosaic[0] != part:
            self._mosaic = (part, self._composed(layout, *rows, *columns))
        if self._cache is None or self._cache[0] != part:
            image = coloured_image(self._mosaic[1], self._colours)
            with QPainter(image) as lettering:
                self._paint_letters(lettering, rows, columns, (x, y))
            self._cache = (part, image)
        left, top = self._offset()
        painter.drawImage(QPoint(x - left, y - top), self._cache[1])

    def _composed(
        self, layout: GridLayout, first_row: int, last_row: int, first_column: int, last_column: int
    ) -> npt.NDArray[np.uint8]:
        """The indices of the tiles of some rows and columns, each with the gap at its right and below it."""
        assert self._pixels is not None
        pixels = self._pixels.array
        places = np.arange(first_row, last_row)[:, None] * layout.columns + np.arange(first_column, last_column)
        filled = places < layout.count
        channels = np.asarray(self._order)[np.minimum(places, layout.count - 1)]
        rows, columns = places.shape
        shape = (rows, layout.height + layout.gap, columns, layout.width + layout.gap)
        mosaic = np.full(shape, PAPER, np.uint8)
        take_y = np.arange(layout.height) * pixels.shape[1] // layout.height
        take_x = np.arange(layout.width) * pixels.shape[2] // layout.width
        for row in range(rows):
            strip = pixels[channels[row]]  # (columns, h, w)
            if layout.width != pixels.shape[2]:
                strip = np.take(strip, take_x, axis=2)
            if layout.height != pixels.shape[1]:
                strip = np.take(strip, take_y, axis=1)
            strip[~filled[row]] = PAPER
            mosaic[row, : layout.height, :, : layout.width] = strip.transpose(1, 0, 2)
        return mosaic.reshape(shape[0] * shape[1], shape[2] * shape[3])

    def _paint_one_by_one(
        self,
        painter: QPainter,
        rows: tuple[int, int],
        columns: tuple[int, int],
        *,
        layout: GridLayout | None = None,
        origin: tuple[int, int] | None = None,
    ) -> None:
        layout = layout or self._layout
        assert layout is not None
        assert self._pixels is not None
        left, top = self._offset() if origin is None else origin
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, self._smooth)
        for index in self._visible_indices(rows, columns, layout):
            image = coloured_image(self._pixels.array[self._order[index]], self._colours)
            x, y = layout.position(index)
            painter.drawImage(QRectF(x - left, y - top, layout.width, layout.height), image)

    def _visible_indices(
        self, rows: tuple[int, int], columns: tuple[int, int], layout: GridLayout | None = None
    ) -> list[int]:
        layout = layout or self._layout
        assert layout is not None
        places = (row * layout.columns + column for row in range(*rows) for column in range(*columns))
        return [place for place in places if place < layout.count]

    def _tile_rect(self, index: int) -> QRect:
        assert self._layout is not None
        x, y = self._layout.position(index)
        left, top = self._offset()
        return QRect(x - left, y - top, self._layout.width, self._layout.height)

    def _paint_letters(
        self,
        painter: QPainter,
        rows: tuple[int, int],
        columns: tuple[int, int],
        origin: tuple[int, int],
        *,
        layout: GridLayout | None = None,
        always: bool = False,
    ) -> None:
        """The number of each channel in the corner of its tile; `origin` is the place of the grid that is drawn at (0, 0).

        Tiles that are too small on the screen have numbers in a copy only (`always`).
        """
        layout = layout or self._layout
        assert layout is not None
        ratio = self._ratio()
        if not always and (layout.width < LETTERED * ratio or layout.height < 24 * ratio):
            return
        style = self._signs.style(self.font(), ratio, QColor(self._colours[PAPER]), QColor(self._colours[255]))
        for index in self._visible_indices(rows, columns, layout):
            channel = int(self._order[index])
            note = self._notes.get(channel, "")
            x, y = layout.position(index)
            sign = style.sign(f"{channel}  {note}" if note else str(channel))
            width, height = min(sign.width(), layout.width), min(sign.height(), layout.height)
            painter.drawImage(QPoint(x - origin[0], y - origin[1]), sign, QRect(0, 0, width, height))

    def _paint_places(self, painter: QPainter, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        """The shade over the maps, and the places that are marked; in tiles that are too small for it, nothing."""
        assert self._layout is not None
        ratio = self._ratio()
        if not (self._marks or self._lit is not None) or min(self._layout.width, self._layout.height) < MARKED * ratio:
            return
        arm = max(3.0, min(6 * ratio, self._layout.width / 12))
        for index in self._visible_indices(rows, columns):
            rect = QRectF(self._tile_rect(index))
            if self._lit is not None:
                painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
                painter.drawImage(rect, self._lit)
            for x, y, held in self._marks:
                point = QPointF(rect.left() + x * rect.width(), rect.top() + y * rect.height())
                inner = self._accent if held else QColor(255, 255, 255, 220)
                for colour, width in ((QColor(0, 0, 0, 150), 3 * ratio), (inner, 1.5 * ratio if held else ratio)):
                    painter.setPen(QPen(colour, width))
                    if held:
                        painter.drawEllipse(point, arm, arm)
                    else:
                        painter.drawLine(point - QPointF(arm, 0), point + QPointF(arm, 0))
                        painter.drawLine(point - QPointF(0, arm), point + QPointF(0, arm))

    def _paint_current(self, painter: QPainter) -> None:
        if not 0 <= self._current < len(self._rank):
            return
        width = max(2, round(2 * self._ratio()))
        pen = QPen(self._accent, width)
        pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
        painter.setPen(pen)
        rect = QRectF(self._tile_rect(int(self._rank[self._current])))
        half = width / 2
        painter.drawRect(rect.adjusted(-half, -half, half, half))

    # Hands

    def _place(self, point: QPointF) -> tuple[float, float]:
        left, top = self._offset()
        return point.x() * self._ratio() + left, point.y() * self._ratio() + top

    def _tile_under(self, point: QPointF) -> tuple[int, float, float] | None:
        return self._layout.tile_at(*self._place(point)) if self._layout else None

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            self._grabbed, self._moved = event.position(), False

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        POINTER.move(self, event.globalPosition())
        if self._grabbed is not None and event.buttons():
            self._drag(event.position())
            return
        self.repoint()

    def repoint(self) -> None:
        """Emit the cell under the pointer if it is over the grid; None if the grid has moved away below it."""
        pointer = POINTER.over(self)
        if POINTER.has(self):
            self.pointed.emit(self.cell_under(pointer) if pointer is not None else None)

    def cell_under(self, point: QPointF) -> tuple[int, int, int] | None:
        """(channel, row, column)"""
        tile = self._tile_under(point)
        if tile is None:
            return None
        height, width = self._map_size
        return int(self._order[tile[0]]), int(tile[2] * height), int(tile[1] * width)

    def _drag(self, position: QPointF) -> None:
        assert self._grabbed is not None
        moved = position - self._grabbed
        if not self._moved and moved.manhattanLength() < 4:
            return
        self._moved = True
        self.viewport().setCursor(Qt.CursorShape.ClosedHandCursor)
        ratio = self._ratio()
        self.horizontalScrollBar().setValue(round(self.horizontalScrollBar().value() - moved.x() * ratio))
        self.verticalScrollBar().setValue(round(self.verticalScrollBar().value() - moved.y() * ratio))
        self._grabbed = position

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.viewport().unsetCursor()
        clicked = self._grabbed is not None and not self._moved and event.button() == Qt.MouseButton.LeftButton
        self._grabbed = None
        cell = self.cell_under(event.position()) if clicked else None
        if cell is not None:
            self.channel_chosen.emit(cell[0])
            self.clicked_at.emit(cell)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.fit()

    def leaveEvent(self, event: object) -> None:
        POINTER.leave(self)
        self.pointed.emit(None)

    def viewportEvent(self, event: QEvent) -> bool:
        # Over a scroll bar the pointer is still in the area, but over no map.
        if event.type() == QEvent.Type.Leave and POINTER.has(self):
            self.leaveEvent(event)
        return super().viewportEvent(event)

    def enterEvent(self, event: QEnterEvent) -> None:
        # No move follows when the dock comes to the front below a resting pointer.
        POINTER.move(self, event.globalPosition())
        self.repoint()

    def hideEvent(self, event: QHideEvent) -> None:
        if POINTER.has(self):
            self.leaveEvent(event)
        super().hideEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        by_key = event.reason() == QContextMenuEvent.Reason.Keyboard
        place = QPointF(self.viewport().mapFromGlobal(event.globalPos()))
        self.menu_wanted.emit(event.globalPos(), (self._current, 0, 0) if by_key else self.cell_under(place))

    def wheelEvent(self, event: QWheelEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier or not event.angleDelta().y():
            super().wheelEvent(event)
            return
        self.zoom_at(event.position(), 1.0015 ** event.angleDelta().y())
        event.accept()

    def zoom_at(self, point: QPointF, factor: float) -> None:
        """Zoom so that what is under `point` (logical pixels) stays there."""
        if self._layout is None:
            return
        tile = self._nearest_tile(point)
        zoom = min(max(self._zoom * factor, 1.0), _LARGEST_ZOOM)
        if zoom == self._zoom:
            return
        self._zoom = zoom
        self._lay_out()
        left, top = self._layout.position(tile[0])
        x = left + tile[1] * self._layout.width - point.x() * self._ratio()
        y = top + tile[2] * self._layout.height - point.y() * self._ratio()
        self.horizontalScrollBar().setValue(round(x))
        self.verticalScrollBar().setValue(round(y))
        self.viewport().update()
        self.repoint()

    def _nearest_tile(self, point: QPointF) -> tuple[int, float, float]:
        """Like `_tile_under`, but never None: gaps and margins belong to the tile beside them."""
        assert self._layout is not None
        layout = self._layout
        x, y = self._place(point)
        column = min(max(int(x // (layout.width + layout.gap)), 0), layout.columns - 1)
        row = min(max(int(y // (layout.height + layout.gap)), 0), layout.rows - 1)
        index = min(row * layout.columns + column, layout.count - 1)
        left, top = layout.position(index)
        return index, (x - left) / layout.width, (y - top) / layout.height

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {
            Qt.Key.Key_Left: -1,
            Qt.Key.Key_Right: 1,
            Qt.Key.Key_Up: -self._layout.columns if self._layout else 0,
            Qt.Key.Key_Down: self._layout.columns if self._layout else 0,
        }
        key = Qt.Key(event.key())
        if key in steps and len(self._order):
            self._walk(int(self._rank[self._current]) + steps[key] if self._current < len(self._rank) else 0)
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_End) and len(self._order):
            self._walk(0 if key == Qt.Key.Key_Home else len(self._order) - 1)
        elif key in (Qt.Key.Key_PageDown, Qt.Key.Key_PageUp):
            self.stage_step.emit(1 if key == Qt.Key.Key_PageDown else -1)
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal, Qt.Key.Key_Minus):
            middle = QPointF(self.viewport().width() / 2, self.viewport().height() / 2)
            self.zoom_at(middle, 1 / 1.25 if key == Qt.Key.Key_Minus else 1.25)
        elif key == Qt.Key.Key_Space and not event.isAutoRepeat():
            self.peeked.emit(True)
        else:
            super().keyPressEvent(event)

    def _walk(self, place: int) -> None:
        if 0 <= place < len(self._order):
            self.channel_chosen.emit(int(self._order[place]))

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space and not event.isAutoRepeat():
            self.peeked.emit(False)
        else:
            super().keyReleaseEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._lay_out()
        if self._resumed is not None and self._layout is not None and self._zoom > 1.0:
            # Maps may come before the view has its size.
            self._centre_on(min(self._resumed[0], self._layout.count - 1), *self._resumed[1:])
        self.repoint()

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        self.viewport().update()
        self.repoint()
