"""pyqtgraph, set up once. Imported by a view when it has something to plot: half a second that the start does without."""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QWidget

pg.setConfigOptions(imageAxisOrder="row-major", antialias=False)


def plot_widget(parent: QWidget, *, bottom: str, left: str) -> Any:
    """A plot in the colours of `parent`, without pyqtgraph's menus; its wheel zooms along x only."""
    plot = pg.PlotWidget(parent, background=parent.palette().color(QPalette.ColorRole.Base))
    plot.setMenuEnabled(False)
    plot.hideButtons()
    plot.setMouseEnabled(x=True, y=False)
    ink = parent.palette().color(QPalette.ColorRole.Text)
    for side, text in (("bottom", bottom), ("left", left)):
        axis = plot.getAxis(side)
        axis.setPen(ink)
        axis.setTextPen(ink)
        if text:
            axis.setLabel(text)
    return plot
