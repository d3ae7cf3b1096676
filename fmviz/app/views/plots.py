"""pyqtgraph, set up once. Imported by a view when it has something to plot: half a second that the start does without."""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QWidget

pg.setConfigOptions(imageAxisOrder="row-major", antialias=False)


class Axis(pg.AxisItem):  # type: ignore[misc]
    """An axis that shows the numbers as they are, with a true minus sign.

    pyqtgraph would write −0.4 as "-400" below "value (x0.001)".
    """

    def __init__(self, orientation: str) -> None:
        super().__init__(orientation)
        self.enableAutoSIPrefix(False)

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        return [str(text).replace("-", "−") for text in super().tickStrings(values, scale, spacing)]


class IndexAxis(Axis):
    """An axis of indices: it marks whole numbers from 0 to `count` - 1 only."""

    def __init__(self, orientation: str) -> None:
        super().__init__(orientation)
        self.count = 0

    def tickValues(self, *span: float) -> list[tuple[float, list[float]]]:
        levels = []
        for spacing, values in super().tickValues(*span):
            levels.append((spacing, [value for value in values if self._is_index(value)]))
        return levels

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        return [f"{abs(value):.0f}" for value in values]

    def _is_index(self, value: float) -> bool:
        # Multiples of a spacing such as 0.2 are whole numbers up to rounding.
        return abs(value - round(value)) < 1e-6 and 0 <= round(value) < self.count


def plot_widget(parent: QWidget, *, bottom: str, left: str, indices: bool = False) -> Any:
    """A plot in the colours of `parent`, without pyqtgraph's menus; its wheel zooms along x only.

    Args:
        parent: The widget that holds it.
        bottom, left: The names of the axes; "" for none.
        indices: Whether the values along the bottom are indices.
    """
    axes = {"bottom": IndexAxis("bottom") if indices else Axis("bottom"), "left": Axis("left")}
    plot = pg.PlotWidget(parent, axisItems=axes)
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
