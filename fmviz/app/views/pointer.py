"""The mouse pointer: over which canvas it rests, and where, so that new maps below it can be read without a move."""

from __future__ import annotations

import weakref

from PySide6.QtCore import QPointF
from PySide6.QtWidgets import QWidget


class Pointer:
    """The one pointer of the application; it is over one canvas at most, even if a leave event got lost."""

    def __init__(self) -> None:
        self._canvas: weakref.ref[QWidget] | None = None
        self._position = QPointF()

    def move(self, canvas: QWidget, position: QPointF) -> None:
        """Set the position over a canvas, in its coordinates."""
        self._canvas, self._position = weakref.ref(canvas), QPointF(position)

    def leave(self, canvas: QWidget) -> None:
        """Forget the position if it is over this canvas."""
        if self.over(canvas) is not None:
            self._canvas = None

    def over(self, canvas: QWidget) -> QPointF | None:
        """Return the position over this canvas; None if the pointer is elsewhere."""
        return self._position if self._canvas is not None and self._canvas() is canvas else None


POINTER = Pointer()
