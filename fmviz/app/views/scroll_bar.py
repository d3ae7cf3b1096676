"""A scroll bar in plain colours: Fusion's, with its gradients, takes longer to paint than all the maps beside it."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPalette, QPolygonF
from PySide6.QtWidgets import QAbstractScrollArea, QScrollBar, QWidget

_MARGIN = 3
_ARROW = 3.5
"""Half of an arrow's width."""


class ScrollBar(QScrollBar):
    """Its parts lie and work as the style says; only its colours are flat, and follow the palette."""

    def __init__(self, orientation: Qt.Orientation, parent: QWidget | None = None) -> None:
        super().__init__(orientation, parent)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Window))
        if self.maximum() <= self.minimum():
            return
        # Loaded here, and not while the window waits for its first paint, where nothing is to be scrolled yet.
        from PySide6.QtWidgets import QStyle, QStyleOptionSlider

        slider, back, on = (
            QStyle.SubControl.SC_ScrollBarSlider,
            QStyle.SubControl.SC_ScrollBarSubLine,
            QStyle.SubControl.SC_ScrollBarAddLine,
        )
        option = QStyleOptionSlider()
        self.initStyleOption(option)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        pointed = option.activeSubControls if option.state & QStyle.StateFlag.State_MouseOver else None
        for part in (back, on, slider):
            chosen = pointed == part or (part == slider and self.isSliderDown())
            role = QPalette.ColorRole.PlaceholderText if chosen else QPalette.ColorRole.Mid
            painter.setBrush(self.palette().color(role))
            rect = self.style().subControlRect(QStyle.ComplexControl.CC_ScrollBar, option, part, self)
            if part == slider:
                self._draw_slider(painter, rect)
            else:
                self._draw_arrow(painter, rect, 1 if part == on else -1)

    def _draw_slider(self, painter: QPainter, rect: QRect) -> None:
        upright = self.orientation() == Qt.Orientation.Vertical
        across, along = (_MARGIN, 1) if upright else (1, _MARGIN)
        drawn = QRectF(rect).adjusted(across, along, -across, -along)
        radius = min(drawn.width(), drawn.height()) / 2
        painter.drawRoundedRect(drawn, radius, radius)

    def _draw_arrow(self, painter: QPainter, rect: QRect, direction: int) -> None:
        middle = QRectF(rect).center()
        base, tip = -direction * _ARROW / 2, direction * _ARROW / 2
        points = [QPointF(-_ARROW, base), QPointF(_ARROW, base), QPointF(0, tip)]
        if self.orientation() == Qt.Orientation.Horizontal:
            points = [QPointF(point.y(), point.x()) for point in points]
        painter.drawPolygon(QPolygonF([middle + point for point in points]))


def give_scroll_bars(area: QAbstractScrollArea) -> None:
    """Both bars of `area`, in the place of those that it has."""
    area.setVerticalScrollBar(ScrollBar(Qt.Orientation.Vertical, area))
    area.setHorizontalScrollBar(ScrollBar(Qt.Orientation.Horizontal, area))
