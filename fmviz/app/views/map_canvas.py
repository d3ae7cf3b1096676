"""One map, drawn where it belongs on the picture; alone or over it. The Channel, Pyramid and Input docks are made of these."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
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
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from fmviz.app.drawn_map import DrawnMap
from fmviz.app.views.linked_view import LinkedView
from fmviz.app.views.pointer import POINTER


class MapCanvas(QWidget):
    """Draws a picture, and a map over a part of it, in the picture's coordinates, through a `LinkedView`."""

    pointed = Signal(object)
    """(x, y) in the picture's pixels, or None. Also when the map or the part of the picture under a resting pointer changes."""
    clicked = Signal()
    clicked_at = Signal(object)
    """(x, y) in the picture's pixels, inside of the region."""
    region_chosen = Signal(object)
    """A `QRectF` that is being drawn with Shift held, in the picture's pixels; None when it is let go of."""
    peeked = Signal(object)
    menu_wanted = Signal(object)
    """Where (global) the context menu is wanted."""

    def __init__(self, view: LinkedView | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view = view or LinkedView(self)
        self._picture: QImage | None = None
        self._picture_box = QRectF(0, 0, 1, 1)
        self._map: QImage | None = None
        self._map_box = QRectF(0, 0, 1, 1)
        self.drawn: DrawnMap | None = None
        """Identity of the map that is drawn, to read its values; None for nothing."""
        self._frame: QRectF | None = None
        self._boxes: tuple[tuple[QRectF, QColor], ...] = ()
        self._field: QRectF | None = None
        self._choice: QRectF | None = None
        self._lit: QImage | None = None
        self._drawing: QPointF | None = None
        self._draws_next = False
        self._opacity = 1.0
        self._picture_first = False
        self._smooth = False
        self._accent = QColor(Qt.GlobalColor.yellow)
        self._selected = False
        self._empty = ""
        self._map_needed = False
        self._grabbed: QPointF | None = None
        self._moved = False
        self.view.changed.connect(self._moved_below)
        self.view.crossed.connect(self.update)
        self.setMouseTracking(True)
        # What lies behind need not be painted for each new map.
        self.setAutoFillBackground(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        return QSize(200, 200)

    def minimumSizeHint(self) -> QSize:
        return QSize(40, 40)

    # What is shown

    def set_picture(self, image: QImage | None, box: QRectF) -> None:
        """The picture under the map, and the part of the picture's coordinates that it covers (all of them, normally)."""
        self._picture, self._picture_box = image, box
        self.update()

    def set_map(self, image: QImage | None, box: QRectF, drawn: DrawnMap | None = None) -> None:
        """Draw a map over the part `box` of the picture; `drawn` tells which map it is."""
        self._map, self._map_box = image, box
        self.set_drawn(drawn)
        self.update()

    def set_drawn(self, drawn: DrawnMap | None) -> None:
        """Set the identity of the map that is drawn."""
        if drawn != self.drawn:
            self.drawn = drawn
            self.repoint()

    def set_frame(self, frame: QRectF | None) -> None:
        """A frame on the picture: what the network saw of it."""
        self._frame = frame
        self.update()

    def set_boxes(self, boxes: Sequence[tuple[QRectF, QColor]]) -> None:
        """Frames around things, each in its colour, in the picture's coordinates."""
        self._boxes = tuple(boxes)
        self.update()

    def set_field(self, box: QRectF | None) -> None:
        """What the cell that is pointed at sees, in the picture's coordinates."""
        if box != self._field:
            self._field = box
            self.update()

    def set_frame_of_choice(self, box: QRectF | None) -> None:
        """Frame the rectangle chosen on the picture; None also gives up one that is being drawn."""
        if box is None:
            self._drawing = None
        self._choice = box
        self.update()

    def expect_rectangle(self) -> None:
        """Let the next drag draw a rectangle without Shift."""
        self._draws_next = True
        self.setCursor(Qt.CursorShape.CrossCursor)

    def set_lit(self, shade: QImage | None) -> None:
        """What lies over the map, a pixel a cell: clear where a cell is meant, dark elsewhere."""
        if shade is not None or self._lit is not None:
            self._lit = shade
            self.update()

    def set_opacity(self, opacity: float) -> None:
        """1 shows the map alone; less, the picture through it."""
        if opacity != self._opacity:
            self._opacity = opacity
            self.update()

    def set_peek(self, peek: bool) -> None:
        """Show the picture in the map's place, while Space is held."""
        if peek != self._picture_first:
            self._picture_first = peek
            self.update()

    def set_smooth(self, smooth: bool) -> None:
        if smooth != self._smooth:
            self._smooth = smooth
            self.update()

    def set_accent(self, colour: QColor) -> None:
        if colour != self._accent:
            self._accent = colour
            self.update()

    def set_selected(self, selected: bool) -> None:
        """Whether a frame in the accent colour says that this is the chosen one."""
        if selected != self._selected:
            self._selected = selected
            self.update()

    def set_empty_text(self, text: str, *, map_needed: bool = False) -> None:
        """What stands here while there is nothing to draw; where a map is needed, the picture alone is nothing."""
        self._empty, self._map_needed = text, map_needed
        self.update()

    def picture(self) -> QImage | None:
        """Return the picture under the map."""
        return self._picture

    # Places

    def _scale(self) -> float:
        region = self.view.region
        fitted = min(self.width() / max(region.width(), 1e-6), self.height() / max(region.height(), 1e-6))
        return fitted * self.view.zoom

    def to_widget(self, x: float, y: float) -> QPointF:
        """Where a place of the picture is drawn."""
        scale, centre = self._scale(), self.view.centre
        return QPointF(
            self.width() / 2 + (x - centre.x()) * scale,
            self.height() / 2 + (y - centre.y()) * scale,
        )

    def to_picture(self, point: QPointF) -> QPointF:
        """Which place of the picture is drawn at `point`."""
        scale, centre = self._scale(), self.view.centre
        if not scale:
            # A canvas without height or width, as below a banner that takes all the room.
            return QPointF(centre)
        return QPointF(
            centre.x() + (point.x() - self.width() / 2) / scale,
            centre.y() + (point.y() - self.height() / 2) / scale,
        )

    def _drawn(self, box: QRectF) -> QRectF:
        drawn = QRectF(self.to_widget(box.left(), box.top()), self.to_widget(box.right(), box.bottom()))
        # Of what is a thousand times as long as it is high, a line is seen.
        if drawn.width() < 1:
            drawn.setWidth(1)
        if drawn.height() < 1:
            drawn.setHeight(1)
        return drawn

    # Painting

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        if self._map is None and (self._picture is None or self._map_needed):
            painter.setPen(self.palette().placeholderText().color())
            flags = int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap)
            painter.drawText(self.rect().adjusted(8, 8, -8, -8), flags, self._empty)
            return
        painter.setClipRect(self._drawn(self.view.region).intersected(QRectF(self.rect())))
        alone = self._map is not None and self._opacity >= 1.0 and not self._picture_first
        if self._picture is not None and not alone:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, True)
            painter.drawImage(self._drawn(self._picture_box), self._picture)
        if self._map is not None and not (self._picture_first and self._picture is not None):
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, self._smooth)
            painter.setOpacity(self._opacity)
            painter.drawImage(self._drawn(self._map_box), self._map)
            painter.setOpacity(1.0)
            if self._lit is not None:
                painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
                painter.drawImage(self._drawn(self._map_box), self._lit)
        painter.setClipping(False)
        self._paint_frames(painter)

    def _paint_frames(self, painter: QPainter) -> None:
        for box, colour in self._boxes:
            for pen in (QPen(QColor(0, 0, 0, 150), 3), QPen(colour, 1.5)):
                painter.setPen(pen)
                painter.drawRect(self._drawn(box))
        if self._frame is not None:
            drawn = self._drawn(self._frame).adjusted(0.5, 0.5, -0.5, -0.5)
            painter.setPen(QPen(QColor(0, 0, 0, 150), 3))
            painter.drawRect(drawn)
            painter.setPen(QPen(self._accent, 1.5))
            painter.drawRect(drawn)
        if self._choice is not None:
            for pen in (QPen(QColor(0, 0, 0, 170), 3), QPen(QColor(255, 255, 255), 1.2, Qt.PenStyle.DotLine)):
                painter.setPen(pen)
                painter.drawRect(self._drawn(self._choice))
        if self._field is not None:
            drawn = self._drawn(self._field).adjusted(0.5, 0.5, -0.5, -0.5)
            tint = QColor(self._accent)
            tint.setAlpha(28)
            painter.fillRect(drawn, tint)
            for pen in (QPen(QColor(0, 0, 0, 170), 3), QPen(self._accent, 1.5, Qt.PenStyle.DashLine)):
                painter.setPen(pen)
                painter.drawRect(drawn)
        if self.view.pin is not None:
            point = self.to_widget(self.view.pin.x(), self.view.pin.y())
            for pen in (QPen(QColor(0, 0, 0, 170), 4), QPen(self._accent, 2)):
                painter.setPen(pen)
                painter.drawEllipse(point, 5, 5)
        if self.view.cross is not None:
            point = self.to_widget(self.view.cross.x(), self.view.cross.y())
            for colour, width in ((QColor(0, 0, 0, 140), 3), (QColor(255, 255, 255, 220), 1)):
                painter.setPen(QPen(colour, width))
                painter.drawLine(point - QPointF(7, 0), point + QPointF(7, 0))
                painter.drawLine(point - QPointF(0, 7), point + QPointF(0, 7))
        if self._selected:
            painter.setPen(QPen(self._accent, 2))
            painter.drawRect(self._drawn(self.view.region).intersected(QRectF(self.rect())).adjusted(1, 1, -1, -1))

    # Hands

    def mousePressEvent(self, event: QMouseEvent) -> None:
        left = event.button() == Qt.MouseButton.LeftButton
        if left and (self._draws_next or event.modifiers() & Qt.KeyboardModifier.ShiftModifier):
            self._drawing = self.to_picture(event.position())
            self._draws_next = False
            self.unsetCursor()
            return
        self._grabbed, self._moved = event.position(), False

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._drawing is not None and event.buttons():
            drawn = QRectF(self._drawing, self.to_picture(event.position())).normalized()
            self.region_chosen.emit(drawn.intersected(self.view.region))
            return
        if self._grabbed is not None and event.buttons():
            moved = event.position() - self._grabbed
            if self._moved or moved.manhattanLength() >= 4:
                self._moved = True
                self._grabbed = event.position()
                self.view.pan(-moved / self._scale())
            return
        POINTER.move(self, event.globalPosition())
        self.repoint()

    def repoint(self) -> None:
        """Emit the place under the pointer if it is over this canvas; None if the canvas has moved away below it."""
        pointer = POINTER.over(self)
        if pointer is None:
            if POINTER.has(self):
                self._unpoint()
            return
        place = self.to_picture(pointer)
        inside = self.view.region.contains(place)
        self.view.set_cross(place if inside else None)
        self.pointed.emit((place.x(), place.y()) if inside else None)

    def _moved_below(self) -> None:
        """The view was panned or zoomed: another place may be under the pointer."""
        self.update()
        self.repoint()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._grabbed is not None and not self._moved and event.button() == Qt.MouseButton.LeftButton:
            place = self.to_picture(event.position())
            if self.view.region.contains(place):
                self.clicked_at.emit((place.x(), place.y()))
            self.clicked.emit()
        if self._drawing is not None and self._drawing == self.to_picture(event.position()):
            self.region_chosen.emit(None)
        self._grabbed = self._drawing = None

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.view.fit()

    def leaveEvent(self, event: object) -> None:
        POINTER.leave(self)
        self._unpoint()

    def _unpoint(self) -> None:
        self.view.set_cross(None)
        self.pointed.emit(None)

    def enterEvent(self, event: QEnterEvent) -> None:
        # No move follows when a dock comes to the front below a resting pointer.
        POINTER.move(self, event.globalPosition())
        self.repoint()

    def hideEvent(self, event: QHideEvent) -> None:
        if POINTER.has(self):
            self.leaveEvent(event)
        super().hideEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        self.view.zoom_at(self.to_picture(event.position()), 1.0015 ** event.angleDelta().y())
        event.accept()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu_wanted.emit(event.globalPos())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        if key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal, Qt.Key.Key_Minus):
            self.view.zoom_at(self.view.centre, 1 / 1.25 if key == Qt.Key.Key_Minus else 1.25)
        elif key == Qt.Key.Key_Space and not event.isAutoRepeat():
            self.peeked.emit(True)
        else:
            super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space and not event.isAutoRepeat():
            self.peeked.emit(False)
        else:
            super().keyReleaseEvent(event)
