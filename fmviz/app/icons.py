"""The icons of ours, in the ink of the appearance: those of the style are dark whatever lies behind them."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QAbstractButton, QDockWidget

from fmviz.assets import asset

_OF_DOCKS = {"qt_dockwidget_closebutton": "close", "qt_dockwidget_floatbutton": "float"}


def icon(name: str, ink: QColor) -> QIcon:
    """An icon, its strokes in the colour `ink`."""
    drawing = asset(f"icons/{name}.svg").read_bytes().replace(b"currentColor", ink.name().encode())
    renderer = QSvgRenderer(QByteArray(drawing))
    made = QIcon()
    for edge in (16, 24, 32, 48):
        pixmap = QPixmap(edge, edge)
        pixmap.fill(Qt.GlobalColor.transparent)
        with QPainter(pixmap) as painter:
            renderer.render(painter, QRectF(0, 0, edge, edge))
        made.addPixmap(pixmap)
    return made


def draw_buttons(dock: QDockWidget, ink: QColor) -> None:
    """The buttons in the title of a dock."""
    for name, drawing in _OF_DOCKS.items():
        button = dock.findChild(QAbstractButton, name, Qt.FindChildOption.FindDirectChildrenOnly)
        if isinstance(button, QAbstractButton):
            button.setIcon(icon(drawing, ink))
