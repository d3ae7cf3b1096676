"""The status line and the tool tips describe the map under the pointer: every canvas of every dock against the library."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import Desk, until
from PySide6.QtCore import QEvent, QPointF, QRectF
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from fmviz.app.numbers import value_words
from fmviz.app.state import PyramidChoice
from fmviz.app.views.grid_canvas import GridCanvas
from fmviz.app.views.map_canvas import MapCanvas
from fmviz.app.views.matrix_view import HeatMap
from fmviz.app.views.pointer import POINTER
from fmviz.app.views.vector_view import VectorView
from fmviz.capture import Capture
from fmviz.render import reduce_channels
from fmviz.session import Session

REDUCTIONS = {"l2": "L2 norm over channels", "mean": "mean over channels", "max": "maximum over channels"}


@pytest.fixture(scope="module")
def truth(started: Desk) -> Capture:
    """The capture that the window shows, made by the library."""
    assert started.state.source is not None
    return Session("efficientnet_lite0_fpn").run(started.state.source.path)


@pytest.fixture
def read(desk: Desk) -> Iterator[Desk]:
    yield desk
    desk.app.store.update(pin=None, region=None, pyramid=PyramidChoice(), normalisation="map")
    desk.do("show_maps")


def told(desk: Desk) -> str:
    return str(desk.window._value.text())


def words_and_value(desk: Desk, expected: str) -> None:
    """Wait for the words before "=", then compare the number at four digits, give or take what threads round apart."""
    until(lambda: told(desk).partition(" = ")[::2][1], f"a value for {expected!r}, there is {told(desk)!r}")
    words, _, number = told(desk).partition(" = ")
    wanted, _, value = expected.partition(" = ")
    assert words == wanted
    for one, other in zip(number.split(", "), value.split(", "), strict=True):
        assert as_number(one) == pytest.approx(as_number(other), rel=2e-3, abs=1e-4)


def as_number(text: str) -> float:
    return float(text.replace("−", "-"))


def over_cell(canvas: Any, desk: Desk, row: int, column: int, size: tuple[int, int]) -> QPointF:
    """Where the middle of a cell is on a canvas that draws a map over the picture."""
    assert desk.state.shown is not None
    box = desk.state.shown.geometry.cell_box(row, column, size)
    return canvas.to_widget((box.left + box.right) / 2, (box.top + box.bottom) / 2)


def tile_cell(desk: Desk, index: int, row: int, column: int) -> QPointF:
    canvas = desk.window.maps.canvas
    rect, ratio = QRectF(canvas._tile_rect(index)), canvas._ratio()
    height, width = canvas._map_size
    x = rect.left() + (column + 0.5) / width * rect.width()
    y = rect.top() + (row + 0.5) / height * rect.height()
    return QPointF(x / ratio, y / ratio)


@pytest.mark.parametrize("tap", ["C2", "C4", "P3", "P6"])
@pytest.mark.parametrize("order", ["index", "mean"])
def test_the_grid_tells_the_value_of_its_tile(read: Desk, truth: Capture, tap: str, order: str) -> None:
    read.choose_tap(tap)
    read.app.store.update(order=order, channel=1)
    read.settle()
    tensor = truth.taps[tap].tensor
    height, width = tensor.shape[2:]
    for index, row, column in ((0, 0, 0), (5, height // 2, width - 1), (9, height - 1, width // 3)):
        channel = int(read.window.maps.canvas._order[index])
        read.point(read.window.maps.canvas.viewport(), tile_cell(read, index, row, column))
        value = value_words(float(tensor[0, channel, row, column]))
        name = f"{tap} {read.state.layer}"
        words_and_value(read, f"{name}, channel {channel}, row {row}, column {column} = {value}")


@pytest.mark.parametrize("reduction", ["l2", "mean", "max", None])
@pytest.mark.parametrize("scale", ["map", "row"])
def test_each_level_of_the_pyramid_tells_its_own_value(read: Desk, truth: Capture, reduction: Any, scale: Any) -> None:
    read.choose_tap("C4")
    read.do("show_pyramid")
    choice = PyramidChoice(channel=7, reduction=reduction, scale=scale)
    before = read.taps
    read.app.store.update(pyramid=choice, channel=3)
    if choice != PyramidChoice():
        until(lambda: read.taps is not before, "the other choice")
    pyramid = read.window.pyramid
    until(lambda: pyramid.canvases["P3"].isVisible(), "the pyramid")
    for tap, canvas in pyramid.canvases.items():
        if tap not in truth.taps or not canvas.isVisible():
            continue
        tensor = truth.taps[tap].tensor
        height, width = tensor.shape[2:]
        row, column = height // 3, width - 1
        read.point(canvas, over_cell(canvas, read, row, column, (height, width)))
        maps = tensor[0, 7] if reduction is None else reduce_channels(tensor, reduction)[0]
        which = "channel 7" if reduction is None else REDUCTIONS[reduction]
        name = f"{tap} {read.tapped(tap)}"
        value = value_words(float(maps[row, column]))
        words_and_value(read, f"{name}, {which}, row {row}, column {column} = {value}")
        assert read.window._field.text().partition(":")[0] in ("", tap)
        assert (read.window.channel.canvas._field is None) or read.tapped(tap) == read.state.layer
        QApplication.sendEvent(canvas, QEvent(QEvent.Type.Leave))
        assert told(read) == ""


def test_the_channel_dock_tells_the_value_of_its_map(read: Desk, truth: Capture) -> None:
    for tap, channel in (("C3", 11), ("P5", 0)):
        read.choose_tap(tap)
        read.app.store.update(channel=channel)
        until(lambda: read.channel is not None and read.channel.channel == channel, "the channel")  # noqa: B023
        canvas, tensor = read.window.channel.canvas, truth.taps[tap].tensor
        height, width = tensor.shape[2:]
        row, column = height - 1, width // 2
        read.point(canvas, over_cell(canvas, read, row, column, (height, width)))
        value = value_words(float(tensor[0, channel, row, column]))
        name = f"{tap} {read.state.layer}"
        words_and_value(read, f"{name}, channel {channel}, row {row}, column {column} = {value}")
        assert read.window.channel._heading.text() == f"{name}, channel {channel}"
        histogram = read.window.channel._histogram
        until(lambda: histogram._subject == f"{name}, channel {channel}", "its histogram")  # noqa: B023
        assert histogram._words_at(40).startswith(f"{name}, channel {channel}: ")


def test_the_input_dock_tells_pixels_and_no_activation(read: Desk, truth: Capture) -> None:
    assert truth.picture is not None
    assert truth.input is not None
    picture, fed = read.window.input.picture, read.window.input.network_input
    for x, y in ((0, 0), (225, 150), (450, 299)):
        read.point(picture, picture.to_widget(x + 0.5, y + 0.5))
        pixel = ", ".join(str(value) for value in truth.picture.pixels[y, x])
        words_and_value(read, f"picture, RGB, row {y}, column {x} = {pixel}")
    for row, column in ((0, 0), (12, 200), (223, 223)):
        read.point(fed, fed.to_widget(column + 0.5, row + 0.5))
        values = ", ".join(value_words(float(value)) for value in truth.input.tensor[0, :, row, column])
        words_and_value(read, f"network input, all channels, row {row}, column {column} = {values}")
        assert read.window.input.picture.view.cross is not None


def test_the_readout_follows_what_comes_below_a_resting_pointer(read: Desk, truth: Capture) -> None:
    read.choose_tap("C3")
    canvas = read.window.maps.canvas
    place = tile_cell(read, 0, 3, 3)

    def resting(change: Callable[[], object]) -> str:
        read.point(canvas.viewport(), place)
        until(lambda: " = " in told(read), "a value")
        before = told(read)
        change()
        until(lambda: " = " in told(read) and told(read) != before, "another value")
        return told(read)

    assert "C4" in resting(lambda: read.choose_tap("C4"))
    cell = canvas.cell_under(place)
    assert cell is not None
    value = float(truth.taps["C4"].tensor[0, cell[0], cell[1], cell[2]])
    assert as_number(told(read).partition(" = ")[2]) == pytest.approx(value, rel=2e-3, abs=1e-4)
    changed = resting(lambda: read.app.store.update(order="mean"))
    assert f"channel {canvas._order[0]}," in changed
    zoomed = resting(lambda: canvas.zoom_at(QPointF(canvas.viewport().rect().center()), 9.0))
    cell = canvas.cell_under(place)
    assert cell is not None
    assert f"channel {cell[0]}, row {cell[1]}, column {cell[2]} = " in zoomed
    canvas.fit()


def test_another_run_takes_the_old_value_away(read: Desk) -> None:
    read.choose_tap("C3")
    read.point(read.window.maps.canvas.viewport(), tile_cell(read, 0, 3, 3))
    until(lambda: " = " in told(read), "a value")
    read.choose_backbone("resnet18")
    until(lambda: read.state.shown is not None and read.state.shown.setup.backbone == "resnet18", "the other network")
    assert "stage" not in told(read), "no value of the network before"
    read.settle()
    until(lambda: " = " in told(read), "the value of the maps that came")
    assert read.state.layer in told(read)


def test_every_number_names_its_map(read: Desk, tmp_path: Path) -> None:
    read.choose_tap("C3")
    window = read.window
    assert re.search(r"C3 body\.stage3, channel \d+", window.maps._bar._words.text())
    read.do("show_pyramid")
    until(lambda: window.pyramid.canvases["P3"].isVisible(), "the pyramid")
    assert all("\nL2  " in label.text() for tap, label in window.pyramid._captions.items() if label.text())
    before = read.taps
    read.app.store.update(pyramid=PyramidChoice(channel=5, reduction=None))
    until(lambda: read.taps is not before, "another choice")
    assert all("\nchannel 5  " in label.text() for tap, label in window.pyramid._captions.items() if label.text())


def test_the_channel_dock_keeps_no_numbers_of_another_channel(read: Desk) -> None:
    read.choose_tap("C3")
    view = read.window.channel
    until(lambda: view._subject, "the numbers of the channel")
    view.set_heading("C3 body.stage3, channel 9999")
    until(lambda: not view._subject, "the numbers of the other one are gone")
    assert all(not name.text() for name, _ in view._labels)


def test_smooth_moves_over_two_docks_never_mix(read: Desk, truth: Capture) -> None:
    read.choose_tap("C4")
    read.do("show_pyramid")
    pyramid = read.window.pyramid
    until(lambda: pyramid.canvases["P3"].isVisible(), "the pyramid")
    channel = read.window.channel.canvas
    generator = np.random.default_rng(4)
    for _ in range(8):
        tap = str(generator.choice(["C2", "P3", "C5", "P2"]))
        canvas = pyramid.canvases[tap]
        read.point(canvas, canvas.to_widget(float(generator.uniform(100, 340)), float(generator.uniform(40, 260))))
        read.point(channel, channel.to_widget(220.0, 120.0))
        QTest.qWait(1)
        assert told(read) == "" or told(read).startswith("C4 ")
    until(lambda: " = " in told(read), "the value")
    assert told(read).startswith("C4 body.stage5, channel ")


def in_the_middle(canvas: QWidget) -> tuple[QPointF, QPointF]:
    """The middle of a canvas, there and in global coordinates."""
    middle = QPointF(canvas.width() / 2 + 0.3, canvas.height() / 2 + 0.3)
    return middle, canvas.mapToGlobal(middle)


def test_a_picture_that_shrinks_below_a_resting_pointer_is_reread(read: Desk) -> None:
    canvas = read.window.input.picture
    middle, place = in_the_middle(canvas)
    read.point(canvas, middle)
    until(lambda: " = " in told(read), "a value")
    before, height = told(read), canvas.height()
    read.window.input.banner.tell("A message of several lines.", [], "")
    until(lambda: canvas.height() < height, "the picture shrinks")

    def expected() -> str:
        at = canvas.to_picture(canvas.mapFromGlobal(place))
        return f"picture, RGB, row {int(at.y())}, column {int(at.x())}" if canvas.view.region.contains(at) else ""

    until(lambda: told(read) != before, "another place")
    until(lambda: told(read).partition(" = ")[0] == expected(), "the place that is there now")
    read.window.input.banner.hide()


def test_a_grid_that_moves_below_a_resting_pointer_is_reread(read: Desk) -> None:
    read.choose_tap("C3")
    canvas, banner = read.window.maps.canvas, read.window.banner("maps")
    middle, place = in_the_middle(canvas.viewport())
    read.point(canvas.viewport(), middle)
    until(lambda: " = " in told(read), "a value")
    before = told(read)
    banner.tell("A message.", [], "")
    until(lambda: canvas.viewport().mapFromGlobal(place) != middle, "the grid moves")

    def expected() -> str:
        cell = canvas.cell_under(canvas.viewport().mapFromGlobal(place))
        name = f"C3 {read.state.layer}"
        return f"{name}, channel {cell[0]}, row {cell[1]}, column {cell[2]}" if cell is not None else ""

    until(lambda: told(read) != before, "another cell")
    until(lambda: told(read).partition(" = ")[0] == expected(), "the cell that is there now")
    banner.hide()
    until(lambda: canvas.viewport().mapFromGlobal(place) == middle, "the grid moves back")
    until(lambda: told(read).partition(" = ")[0] == before.partition(" = ")[0], "the first cell again")


@pytest.mark.parametrize("make", [MapCanvas, HeatMap, GridCanvas, VectorView])
def test_each_canvas_is_reread_when_all_that_it_lies_in_moves(qtbot: QtBot, make: type[Any]) -> None:
    window = QWidget()
    holder = QWidget(window)
    canvas = make(parent=holder)
    qtbot.addWidget(window)
    window.resize(600, 400)
    holder.setGeometry(0, 0, 300, 300)
    canvas.setGeometry(0, 0, 300, 300)
    if make is VectorView:
        canvas.set_values(np.arange(5.0), "")
    window.show()
    if make is VectorView:
        until(lambda: canvas._plot is not None and canvas._plot.plotItem.vb.viewRange()[0][1] > 4, "the bars")
    surface = canvas.viewport() if make is GridCanvas else canvas
    heard: list[object] = []
    POINTER.move(canvas, surface.mapToGlobal(QPointF(150, 150)))
    canvas.repoint()
    canvas.pointed.connect(heard.append)
    holder.move(40, 0)
    until(lambda: heard, "read again")
    heard.clear()
    holder.move(300, 0)
    until(lambda: heard, "nothing is below the pointer")
    assert heard[-1] is None
    POINTER.leave(canvas)
    heard.clear()
    holder.move(0, 0)
    QApplication.processEvents()
    assert not heard


def test_a_canvas_without_height_has_a_place_for_every_point(qtbot: QtBot) -> None:
    canvas = MapCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(200, 0)
    assert canvas.to_picture(QPointF(10, 0)) == canvas.view.centre
