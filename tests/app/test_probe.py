"""The probe in a real window: pointing at cells, pinning a place, the column through all layers, and who sees a pixel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import Desk, until
from PySide6.QtCore import QEvent, QPointF, QRectF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from fmviz.app.qimage import shade_image
from fmviz.column import column
from fmviz.session import Session
from fmviz.table import LayerTable, layer_table


@pytest.fixture(scope="module")
def truth() -> LayerTable:
    return layer_table("efficientnet_lite0_fpn", 224)


@pytest.fixture
def probed(desk: Desk) -> Iterator[Desk]:
    yield desk
    desk.app.store.update(pin=None, region=None)
    desk.do("show_maps")
    desk.window.raise_dock("channel")


def tile_place(desk: Desk, row: int, column: int) -> QPointF:
    """Where the middle of a cell of the first tile is on the grid."""
    canvas = desk.window.maps.canvas
    rect = QRectF(canvas._tile_rect(0))
    height, width = canvas._map_size
    ratio = canvas._ratio()
    x = rect.left() + (column + 0.5) / width * rect.width()
    y = rect.top() + (row + 0.5) / height * rect.height()
    return QPointF(x / ratio, y / ratio)


def expected_box(desk: Desk, truth: LayerTable, path: str, row: int, column: int) -> QRectF:
    """On the picture, cut by its borders."""
    field = truth.row(path).receptive_field
    assert field is not None
    assert desk.state.shown is not None
    box, geometry = field.box(row, column), desk.state.shown.geometry
    assert box is not None
    left, top = geometry.to_picture(box.left, box.top)
    right, bottom = geometry.to_picture(box.right, box.bottom)
    height, width = geometry.picture_size
    return QRectF(QPointF(max(left, 0), max(top, 0)), QPointF(min(right, width), min(bottom, height)))


def near(one: QRectF | None, other: QRectF) -> bool:
    pairs = zip(one.getCoords(), other.getCoords(), strict=True) if one is not None else ()  # type: ignore[arg-type, call-overload]
    return one is not None and all(abs(a - b) < 1e-6 for a, b in pairs)


@pytest.mark.parametrize(("tap", "row", "column"), [("C2", 20, 31), ("C3", 0, 0), ("C5", 6, 3)])
def test_pointing_at_a_cell_draws_what_it_sees(
    probed: Desk, truth: LayerTable, tap: str, row: int, column: int
) -> None:
    probed.choose_tap(tap)
    probed.point(probed.window.maps.canvas.viewport(), tile_place(probed, row, column))
    picture = probed.window.input.picture
    until(lambda: picture._field is not None, "the box on the picture")
    assert near(picture._field, expected_box(probed, truth, probed.state.layer, row, column))
    assert "sees " in probed.window._field.text()
    (x, y, held) = probed.window.maps.canvas._marks[-1]
    height, width = probed.window.maps.canvas._map_size
    assert (x * width, y * height, held) == (pytest.approx(column + 0.5), pytest.approx(row + 0.5), False)
    assert probed.window.pyramid.view.cross is not None
    QApplication.sendEvent(probed.window.maps.canvas, QEvent(QEvent.Type.Leave))
    assert picture._field is None
    assert probed.window.maps.canvas._marks == ()


def test_a_click_pins_and_the_place_stays_while_layers_change(probed: Desk, truth: LayerTable) -> None:
    viewport = probed.window.maps.canvas.viewport()
    probed.choose_tap("C3")
    place = tile_place(probed, 9, 12)
    QTest.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=place.toPoint())
    assert probed.state.pin is not None
    QApplication.sendEvent(probed.window.maps.canvas, QEvent(QEvent.Type.Leave))
    picture = probed.window.input.picture
    until(lambda: near(picture._field, expected_box(probed, truth, "body.stage3", 9, 12)), "the box of the pinned cell")
    probed.choose_tap("C4")
    until(lambda: near(picture._field, expected_box(probed, truth, "body.stage5", 4, 6)), "the box of the next layer")
    assert probed.window.maps.canvas._marks[0][2]
    assert probed.window.channel.canvas.view.pin is not None
    probed.choose_tap("C3")
    QTest.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=place.toPoint())
    assert probed.state.pin is None


def test_esc_and_u_let_go_of_it(probed: Desk) -> None:
    assert not probed.window.actions_by_name["unpin"].isEnabled()
    for action in ("unpin", "cancel"):
        probed.app.store.update(pin=(220.0, 120.0))
        assert probed.window.actions_by_name["unpin"].isEnabled()
        probed.do(action)
        assert probed.state.pin is None


def test_the_column_of_the_pinned_place(probed: Desk) -> None:
    view = probed.window.column
    probed.do("show_column")
    assert view._stack.currentIndex() == 0
    probed.app.store.update(pin=(220.0, 120.0))
    until(lambda: view._shown is not None, "the column")
    session = Session("efficientnet_lite0_fpn")
    shown = probed.state.shown
    assert shown is not None
    assert probed.state.source is not None
    capture = session.run(probed.state.source.path)
    truth = column(capture, *shown.geometry.to_input(220.0, 120.0))
    assert list(view._shown.layers) == [str(at.layer) for at in truth]
    values = [float(at.values[at.strongest]) for at in truth]
    assert np.allclose(view._shown.strongest, values, rtol=1e-4, atol=1e-4)
    assert (np.abs(view._shown.strongest) <= view._shown.largest * (1 + 1e-6)).all()
    before = view._shown
    probed.app.store.update(channel=3)
    until(lambda: view._shown is not before, "the column of another channel")
    assert view._shown.channel == 3
    view.layer_chosen.emit("body.stage1")
    probed.settle()
    assert probed.state.layer == "body.stage1"
    assert "body.stage1" in view._value.text()
    probed.do("unpin")
    assert view._stack.currentIndex() == 0


def shift(widget: QWidget, kind: QEvent.Type, place: QPointF, *, held: bool) -> None:
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    button = none if kind == QEvent.Type.MouseMove else left
    event = QMouseEvent(
        kind, place, widget.mapToGlobal(place), button, left if held else none, Qt.KeyboardModifier.ShiftModifier
    )
    QApplication.sendEvent(widget, event)


def test_a_rectangle_on_the_picture_lights_the_cells_that_see_it(probed: Desk, truth: LayerTable) -> None:
    probed.choose_tap("C4")
    picture, grid = probed.window.input.picture, probed.window.maps.canvas
    begin, end = picture.to_widget(200, 100), picture.to_widget(240, 130)
    shift(picture, QEvent.Type.MouseButtonPress, begin, held=True)
    shift(picture, QEvent.Type.MouseMove, end, held=True)
    shift(picture, QEvent.Type.MouseButtonRelease, end, held=False)
    until(lambda: grid._lit is not None, "the shade")
    shown = probed.state.shown
    assert shown is not None
    field = truth.row("body.stage5").receptive_field
    assert field is not None
    left, top = shown.geometry.to_input(200, 100)
    right, bottom = shown.geometry.to_input(240, 130)
    from fmviz.geometry import Box

    assert grid._lit == shade_image(field.seeing(Box(left, top, right, bottom)))
    assert probed.window.channel.canvas._lit == grid._lit
    shift(picture, QEvent.Type.MouseButtonPress, begin, held=True)
    shift(picture, QEvent.Type.MouseButtonRelease, begin, held=False)
    assert grid._lit is None
    assert probed.state.region is None


def draw_rectangle(desk: Desk) -> QPointF:
    """Shift-drag on the picture; the centre of the rectangle, in its pixels."""
    picture = desk.window.input.picture
    corners = [picture.to_widget(*corner) for corner in ((200.0, 100.0), (215.0, 140.0), (240.0, 130.0))]
    shift(picture, QEvent.Type.MouseButtonPress, corners[0], held=True)
    for corner in corners[1:]:
        shift(picture, QEvent.Type.MouseMove, corner, held=True)
    shift(picture, QEvent.Type.MouseButtonRelease, corners[-1], held=False)
    assert picture._choice is not None
    return QPointF(220.0, 115.0)


def is_at(view: Any, place: QPointF) -> bool:
    return view.cross is not None and (view.cross - place).manhattanLength() < 1e-3


def test_the_crosshair_of_a_rectangle_is_at_its_centre(probed: Desk) -> None:
    probed.choose_tap("C4")
    window, centre = probed.window, draw_rectangle(probed)
    views = (window.input.picture.view, window.channel.canvas.view, window.pyramid.view)
    assert all(is_at(view, centre) for view in views)
    shown = probed.state.shown
    assert shown is not None
    assert is_at(window.input.network_input.view, QPointF(*shown.geometry.to_input(220.0, 115.0)))
    probed.point(window.input.picture, window.input.picture.to_widget(230.0, 122.0))
    assert all(is_at(view, centre) for view in views), "over the picture it stays at the centre"
    QApplication.sendEvent(window.input.picture, QEvent(QEvent.Type.Leave))
    assert all(is_at(view, centre) for view in views)
    probed.point(window.maps.canvas.viewport(), tile_place(probed, 2, 3))
    assert not any(is_at(view, centre) for view in views), "a cell that is pointed at is marked"
    QApplication.sendEvent(window.maps.canvas, QEvent(QEvent.Type.Leave))
    assert all(is_at(view, centre) for view in views)


@pytest.mark.parametrize("key", [Qt.Key.Key_Escape, Qt.Key.Key_U])
def test_a_key_clears_the_rectangle(probed: Desk, key: Qt.Key) -> None:
    probed.choose_tap("C4")
    draw_rectangle(probed)
    grid = probed.window.maps.canvas
    until(lambda: grid._lit is not None, "the shade")
    for action in ("unpin", "cancel"):
        assert probed.window.actions_by_name[action].isEnabled()
    QTest.keyClick(probed.window, key)
    assert probed.state.region is None
    assert probed.window.input.picture._choice is None
    assert grid._lit is None
    assert probed.window.pyramid.view.cross is None
    assert not probed.window.actions_by_name["unpin"].isEnabled()


def test_esc_gives_up_a_rectangle_that_is_being_drawn(probed: Desk) -> None:
    probed.choose_tap("C4")
    picture = probed.window.input.picture
    shift(picture, QEvent.Type.MouseButtonPress, picture.to_widget(200, 100), held=True)
    shift(picture, QEvent.Type.MouseMove, picture.to_widget(240, 130), held=True)
    assert probed.state.region is not None
    QTest.keyClick(probed.window, Qt.Key.Key_Escape)
    shift(picture, QEvent.Type.MouseMove, picture.to_widget(250, 140), held=True)
    shift(picture, QEvent.Type.MouseButtonRelease, picture.to_widget(250, 140), held=False)
    assert probed.state.region is None


def test_another_layer_network_or_picture_drops_the_rectangle(probed: Desk) -> None:
    probed.choose_tap("C4")
    grid = probed.window.maps.canvas
    changes = (
        lambda: probed.choose_tap("C3"),
        lambda: probed.choose_backbone("resnet18"),
        lambda: probed.app.commands.open_sample(str(Path(__file__).parents[2] / "assets/samples/coffee.png")),
    )
    for change in changes:
        draw_rectangle(probed)
        change()
        probed.settle()
        assert probed.state.region is None
        assert probed.window.input.picture._choice is None
        # A pixel below the pointer would light its cells as well.
        QApplication.sendEvent(probed.window.input.picture, QEvent(QEvent.Type.Leave))
        until(lambda: grid._lit is None, "the shade is gone")


def test_the_menu_says_how_a_rectangle_is_drawn_and_lets_draw_one(probed: Desk) -> None:
    action = probed.window.actions_by_name["draw_region"]
    assert "Shift" in action.text()
    assert "drag" in action.text()
    menus = [menu.menu() for menu in probed.window.menuBar().actions()]
    assert any(action in menu.actions() for menu in menus)
    assert "rectangle" in probed.window.actions_by_name["unpin"].text()
    probed.choose_tap("C4")
    probed.do("draw_region")
    picture, none = probed.window.input.picture, Qt.KeyboardModifier.NoModifier
    begin, end = picture.to_widget(200, 100).toPoint(), picture.to_widget(240, 130).toPoint()
    QTest.mousePress(picture, Qt.MouseButton.LeftButton, none, begin)
    moved = QMouseEvent(
        QEvent.Type.MouseMove,
        QPointF(end),
        picture.mapToGlobal(QPointF(end)),
        Qt.MouseButton.NoButton,
        Qt.MouseButton.LeftButton,
        none,
    )
    QApplication.sendEvent(picture, moved)
    QTest.mouseRelease(picture, Qt.MouseButton.LeftButton, none, end)
    assert probed.state.region is not None
    assert probed.state.pin is None


def test_a_click_on_a_level_of_the_pyramid_pins_its_place(probed: Desk) -> None:
    probed.choose_tap("C3")
    probed.do("show_pyramid")
    pyramid = probed.window.pyramid
    until(lambda: pyramid.canvases["P4"].isVisible() and pyramid.canvases["P4"]._map is not None, "the pyramid")

    def click(tap: str) -> None:
        canvas = pyramid.canvases[tap]
        where = canvas.to_widget(220.0, 120.0).toPoint()
        QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=where)
        probed.settle()

    click("P4")
    assert probed.state.layer == probed.tapped("P4")
    assert probed.state.pin is not None
    assert (QPointF(*probed.state.pin) - QPointF(220, 120)).manhattanLength() < 3
    pinned = probed.state.pin
    click("C4")
    assert probed.state.layer == probed.tapped("C4")
    assert probed.state.pin is not None, "the same place of another level stays pinned"
    click("C4")
    assert probed.state.pin is None
    assert pinned is not None


def test_pointing_at_a_pixel_lights_the_cells_that_see_it(probed: Desk) -> None:
    picture, grid = probed.window.input.picture, probed.window.maps.canvas
    probed.point(picture, picture.to_widget(220, 120))
    until(lambda: grid._lit is not None, "the shade")
    QApplication.sendEvent(picture, QEvent(QEvent.Type.Leave))
    assert grid._lit is None


def test_another_picture_lets_go_and_another_network_keeps_the_place(probed: Desk, tmp_path: Path) -> None:
    probed.app.store.update(pin=(220.0, 120.0))
    probed.choose_backbone("resnet18")
    probed.settle()
    assert probed.state.pin == (220.0, 120.0)
    picture: Any = probed.window.input.picture
    until(lambda: picture._field is not None, "the box in the other network")
    probed.app.commands.open_sample(str(Path(__file__).parents[2] / "assets/samples/coffee.png"))
    probed.settle()
    assert probed.state.pin is None
