"""Layers of unusual values in the window: NaN, complex numbers, one value, none, values that do not depend on the input."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from desks import OpenDesk
from driving import Desk, until
from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor, QPalette
from pytestqt.qtbot import QtBot
from test_readout import as_number, over_cell, tile_cell, told, words_and_value

from fmviz.app.views.matrix_view import MatrixView
from fmviz.app.views.vector_view import VectorView
from fmviz.trust import trust

MODEL = """
import torch
from torch import nn

NAMES = ("holes", "single", "small", "waves", "wave_table", "none", "none_maps", "near", "apart")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for name in NAMES:
            setattr(self, name, nn.Identity())
        self.conv = nn.Conv2d(3, 4, 8, 8)
        self.fc = nn.Linear(4, 20)

    def forward(self, x):
        y = self.conv(x)
        ramp = torch.linspace(-0.64, 0.41, 49) + 0 * y.mean()
        holes = ramp.clone()
        holes[3], holes[5] = torch.nan, torch.inf
        self.holes(holes)
        self.single(ramp[:1])
        self.small(ramp[:20].reshape(5, 4))
        self.waves(torch.complex(ramp[:12], ramp[12:24]))
        self.wave_table(torch.complex(ramp[:12], ramp[12:24]).reshape(3, 4))
        self.none(ramp[:0].reshape(0, 7, 7))
        self.none_maps(ramp[:0].reshape(1, 0, 7, 7))
        self.near(near(ramp))
        self.apart(torch.arange(64.0).reshape(1, 4, 4, 4))
        return self.fc(y.mean((2, 3)))


def near(ramp):
    steps = torch.linspace(0, 0.0048, 16).reshape(1, 1, 4, 4)
    return 1000 + steps.expand(1, 3, 4, 4) + 0 * ramp[0]


def build():
    return Net()
"""


@pytest.fixture(scope="module")
def own(open_desk: OpenDesk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    path = tmp_path_factory.mktemp("model") / "net.py"
    path.write_text(MODEL)
    trust(path, hashlib.sha256(path.read_bytes()).hexdigest())
    desk = open_desk(backbone=f"own:{path}:build")
    desk.settle()
    yield desk
    desk.window.copy_menu.close()


def bars_of(desk: Desk, layer: str) -> VectorView:
    """Choose a vector and wait until its bars are laid out."""
    desk.choose_layer(layer)
    view = desk.window.maps.vector
    until(lambda: view.isVisible() and view._plot is not None and view.drawn.layer == layer, "the bars")
    until(lambda: view._plot.plotItem.vb.sceneBoundingRect().width() > 50, "the plot is laid out")
    return view


def colour_at(view: VectorView, index: float, value: float) -> QColor:
    """The colour of the plot at an index and a value."""
    plot = view._plot
    place = plot.mapFromScene(plot.plotItem.vb.mapViewToScene(QPointF(index, value)))
    return plot.grab().toImage().pixelColor(place)


def tick_texts(view: VectorView, side: str) -> list[str]:
    """The numbers along an axis."""
    axis: Any = view._plot.getAxis(side)
    low, high = axis.range
    length = axis.height() if side == "left" else axis.width()
    levels = axis.tickValues(low, high, length)
    return [text for spacing, values in levels[:1] for text in axis.tickStrings(values, axis.scale, spacing)]


def test_values_that_are_not_finite_have_no_bar(qtbot: QtBot) -> None:
    view = VectorView()
    qtbot.addWidget(view)
    view.resize(500, 300)
    view.show()
    view.set_values(np.array([0.1029, np.nan, 0.15, np.inf, -0.108, 0.12]), "")
    until(lambda: view._plot is not None and view._plot.plotItem.items, "the bars")
    until(lambda: view._plot.plotItem.vb.viewRange()[0][1] > 5, "the range of all six")
    bar = view.palette().color(QPalette.ColorRole.Highlight)
    for index, value in ((0, 0.1029), (2, 0.15), (4, -0.108), (5, 0.12)):
        assert colour_at(view, index + 0.3, value * 0.6) == bar, index
    for index in (1, 3):
        for value in (-0.05, 0.05, 0.09):
            assert colour_at(view, index + 0.3, value) != bar, (index, value)
        # A cross on the zero line tells it from a value of 0.
        assert colour_at(view, index, 0.0) == view.palette().color(QPalette.ColorRole.Text)


def test_the_note_below_the_bars_counts_values_that_are_not_finite(own: Desk) -> None:
    view = bars_of(own, "holes")
    assert "49 values, 2 NaN or infinite" in view._reason.text()
    assert "NaN" not in bars_of(own, "fc")._reason.text()


def axis_texts(view: VectorView) -> tuple[list[float], list[str]]:
    """The numbers along the values' axis and along the indices' axis, without prefixes."""
    left, bottom = view._plot.getAxis("left"), view._plot.getAxis("bottom")
    for axis in (left, bottom):
        assert "(" not in axis.labelString(), axis.labelString()
        assert axis.scale * axis.autoSIPrefixScale == 1
    return [float(text.replace("−", "-")) for text in tick_texts(view, "left")], tick_texts(view, "bottom")


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e5])
def test_the_axes_of_bars_show_the_values_as_they_are(qtbot: QtBot, factor: float) -> None:
    view = VectorView()
    qtbot.addWidget(view)
    view.resize(600, 400)
    view.show()
    values = np.linspace(-0.64, 0.41, 49) * factor
    view.set_values(values, "")
    until(lambda: view._plot is not None and view._plot.plotItem.items, "the bars")
    until(lambda: view._plot.plotItem.vb.viewRange()[0][1] > 48, "the range of all")
    numbers, indices = axis_texts(view)
    assert len(numbers) > 1
    assert values.min() * 1.2 <= min(numbers) < 0 < max(numbers) <= values.max() * 1.2
    assert "−" in "".join(tick_texts(view, "left"))
    assert "-" not in "".join(tick_texts(view, "left"))
    assert {"0", "20", "40"} <= set(indices)
    assert all(text.isdigit() and int(text) < 49 for text in indices)


def test_one_value_has_the_index_0_alone(own: Desk) -> None:
    view = bars_of(own, "single")
    until(lambda: view._plot.plotItem.vb.viewRange()[0][1] < 2, "the range of one value")
    assert axis_texts(view)[1] == ["0"]


def matrix_of(desk: Desk, layer: str) -> MatrixView:
    """Choose a layer and wait until its matrix is drawn."""
    desk.choose_layer(layer)
    view: MatrixView = desk.window.maps.matrix
    until(lambda: view.isVisible() and view.drawn is not None and view.drawn.layer == layer, "the matrix")
    return view


def test_header_and_note_of_a_matrix_agree(own: Desk) -> None:
    view = matrix_of(own, "small")
    assert view._name.text() == "5 rows × 4 columns"
    assert "matrix of 5 rows and 4 columns" in view._reason.text()
    assert "vector" not in view._reason.text()


def test_complex_values_are_called_magnitudes(own: Desk) -> None:
    ramp = np.linspace(-0.64, 0.41, 49)
    view = bars_of(own, "waves")
    until(lambda: view._plot.plotItem.vb.viewRange()[0][1] > 11, "the range of all")
    box = view._plot.plotItem.vb
    view._moved(box.mapViewToScene(QPointF(3, 0.1)))
    words, _, number = told(own).partition(" = ")
    assert words == "waves, vector, magnitude, index 3"
    assert as_number(number) == pytest.approx(np.hypot(ramp[3], ramp[15]), rel=2e-3)
    matrix = matrix_of(own, "wave_table")
    cells = matrix.canvas.cells()
    own.point(matrix.canvas, QPointF(cells.left() + 1.5 * cells.width() / 4, cells.top() + 2.5 * cells.height() / 3))
    value = f"{np.hypot(ramp[9], ramp[21]):.4g}"
    words_and_value(own, f"wave_table, matrix, magnitude, row 2, column 1 = {value}")
    for layer in ("waves", "wave_table"):
        own.choose_layer(layer)
        facts = own.window.maps._facts
        until(lambda: "magnitude of complex values" in facts.text(), "the header")  # noqa: B023
        assert "no single scale" not in matrix._reason.text()
        assert "magnitude" in matrix._reason.text()
    assert "magnitude" in own.window.maps._bar._words.text()
    own.choose_layer("fc")
    until(lambda: "20" in facts.text(), "the header of another")
    assert "magnitude" not in facts.text()


def test_a_layer_that_does_not_depend_on_the_input_says_so(own: Desk) -> None:
    for layer, expected in (("apart", "it does not depend on the input"), ("conv", "sees 8 × 8 px of the input")):
        own.choose_layer(layer)
        own.point(own.window.maps.canvas.viewport(), tile_cell(own, 0, 1, 1))
        until(lambda: own.window._field.text().partition(": ")[2] == expected, expected)  # noqa: B023


@pytest.mark.parametrize("layer", ["none", "none_maps"])
def test_an_empty_layer_keeps_nothing_of_the_layer_before(own: Desk, layer: str) -> None:
    view = bars_of(own, "fc")
    own.choose_layer(layer)
    until(lambda: view.drawn.layer == layer, "the empty layer")
    assert "It is empty: its shape is" in view._reason.text()
    assert not view._plot.isVisible(), "axes without bars"
    assert not own.window.maps._bar.isVisible()
    view._moved(QPointF(50, 50))
    assert told(own) == ""
    assert bars_of(own, "fc")._plot.isVisible()


def test_limits_that_are_close_are_told_apart(own: Desk) -> None:
    own.choose_layer("near")
    bar, channel = own.window.maps._bar, own.window.channel
    until(lambda: (bar._low.text(), bar._high.text()) == ("1000", "1000.0048"), "the colour bar")
    until(lambda: channel._subject.startswith("near"), "the numbers of the channel")
    numbers = {name.text(): number.text() for name, number in channel._labels}
    assert (numbers["min"], numbers["max"]) == ("1000", "1000.0048")
    assert numbers["mean"].startswith("1000.002")
    low, high = (channel._histogram._words_at(x) for x in (10, channel._histogram.width() - 10))
    assert low != high
    start, _, end = low.partition(" from ")[2].partition(";")[0].partition(" to ")
    assert as_number(start) < as_number(end)
    places = {channel.canvas: over_cell(channel.canvas, own, 2, 1, (4, 4))}
    places[own.window.maps.canvas.viewport()] = tile_cell(own, 1, 2, 1)
    for canvas, place in places.items():
        own.point(canvas, place)
        until(lambda: " = " in told(own), "a value")
        assert as_number(told(own).partition(" = ")[2]) == pytest.approx(1000 + 9 * 0.0048 / 15, abs=1e-4)
