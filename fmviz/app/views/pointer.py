"""The mouse pointer: over which canvas it rests, and where, so that another cell below it can be read without a move."""

from __future__ import annotations

import weakref
from typing import Protocol, cast

from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, QTimer
from PySide6.QtWidgets import QAbstractScrollArea, QWidget
from shiboken6 import Shiboken


class Canvas(Protocol):
    """A widget that reads the map or the picture under the pointer."""

    def repoint(self) -> None:
        """Emit the position under the pointer; None if the pointer is no longer over this canvas."""


class Pointer(QObject):
    """The one pointer of the application; it is over one canvas at most, even if a leave event got lost.

    Qt sends no mouse event when a widget moves below a resting pointer. The canvas and all that it lies in are watched
    therefore: when one of them is moved or resized, `repoint` of the canvas is called after the layout is done.
    """

    def __init__(self) -> None:
        super().__init__()
        self._canvas: weakref.ref[QWidget] | None = None
        self._global = QPointF()
        self._watched: list[weakref.ref[QWidget]] = []
        self._laid_out = QTimer(self, singleShot=True, interval=0)
        self._laid_out.timeout.connect(self._repoint)

    def move(self, canvas: QWidget, position: QPointF) -> None:
        """Set the position over a canvas, in global coordinates."""
        self._canvas, self._global = weakref.ref(canvas), QPointF(position)
        self._watch(canvas)

    def leave(self, canvas: QWidget) -> None:
        """Forget the position if it was last set over this canvas."""
        if self.has(canvas):
            self._canvas = None
            self._watch(None)

    def has(self, canvas: QWidget) -> bool:
        """Whether the position was last set over this canvas, which may have moved away below it since."""
        return self._canvas is not None and self._canvas() is canvas

    def over(self, canvas: QWidget) -> QPointF | None:
        """Return the position in the coordinates of this canvas, or of its viewport; None if the pointer is elsewhere."""
        if not self.has(canvas):
            return None
        surface = canvas.viewport() if isinstance(canvas, QAbstractScrollArea) else canvas
        place = surface.mapFromGlobal(self._global)
        return place if QRectF(surface.rect()).contains(place) else None

    # Layout

    def _watch(self, canvas: QWidget | None) -> None:
        """Watch this canvas and all that it lies in, up to its window."""
        wanted: list[QWidget] = []
        while canvas is not None:
            wanted.append(canvas)
            canvas = None if canvas.isWindow() else canvas.parentWidget()
        watched = [widget for one in self._watched if (widget := one()) is not None and Shiboken.isValid(widget)]
        if watched == wanted:
            return
        for widget in watched:
            widget.removeEventFilter(self)
        for widget in wanted:
            widget.installEventFilter(self)
        self._watched = [weakref.ref(widget) for widget in wanted]

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.Move, QEvent.Type.Resize):
            self._laid_out.start()
        return False

    def _repoint(self) -> None:
        canvas = self._canvas() if self._canvas is not None else None
        if canvas is not None and Shiboken.isValid(canvas) and canvas.isVisible():
            cast(Canvas, canvas).repoint()


POINTER = Pointer()
