"""A box to choose from that the wheel passes by, and that shows when it has no room for all of a name."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter

_MARGINS = 4
"""Pixels that styles leave beside the text within its place."""


class Combo(QComboBox):
    """A turn of the wheel too far would load another network, or take the keyboard from the layers."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()

    def shown(self) -> str:
        """What of the chosen text is seen; of a file's name both ends."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        return self._elided(option)

    def paintEvent(self, event: QPaintEvent) -> None:
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        painter = QStylePainter(self)
        with painter:
            painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
            if not self.isEditable():
                option.currentText = self._elided(option)
                painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def _elided(self, option: QStyleOptionComboBox) -> str:
        place = QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, place, self).width() - _MARGINS
        if not option.currentIcon.isNull():
            room -= option.iconSize.width() + _MARGINS
        return option.fontMetrics.elidedText(option.currentText, Qt.TextElideMode.ElideMiddle, room)
