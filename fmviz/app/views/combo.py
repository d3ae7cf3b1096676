"""A box to choose from that the wheel passes by."""

from __future__ import annotations

from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QComboBox


class Combo(QComboBox):
    """A turn of the wheel too far would load another network, or take the keyboard from the layers."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()
