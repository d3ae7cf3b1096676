"""pyqtgraph, set up once. Imported by a view when it has something to plot: half a second that the start does without."""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QWidget

pg.setConfigOptions(imageAxisOrder="row-major", antialias=False)


def plot_widget(parent: QWidget, *, bottom: str, left: str) -> Any:
    """A plot in the colours of `parent`, without pyqtgraph's menus; its wheel zooms along x only."""
    plot = pg.PlotWidget(parent)
    plot.setMenuEnabled(False)
    plot.hideButtons()
    plot.setMouseEnabled(x=True, y=False)
    for side, text in (("bottom", bottom), ("left", left)):
        if text:
            plot.getAxis(side).setLabel(text)
    recolour(plot, parent)
    return plot


def recolour(plot: Any, like: QWidget) -> None:
    """The plot's paper and ink in the colours of the widget `like`."""
    plot.setBackground(like.palette().color(QPalette.ColorRole.Base))
    ink = like.palette().color(QPalette.ColorRole.Text)
    for side in ("bottom", "left"):
        plot.getAxis(side).setPen(ink)
        plot.getAxis(side).setTextPen(ink)
