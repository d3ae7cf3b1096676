"""Right-click, copies and exports: of the map under the pointer, and of what is on the screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from driving import Desk, until
from PySide6.QtCore import QPoint, QPointF
from PySide6.QtGui import QAction, QContextMenuEvent, QGuiApplication, QImage
from PySide6.QtWidgets import QApplication, QWidget
from test_readout import over_cell, tile_cell

from fmviz.app.qimage import colour_list, coloured_image
from fmviz.app.state import PyramidChoice
from fmviz.capture import Capture
from fmviz.colours import colour_table
from fmviz.exporting import export
from fmviz.pyramid import tap_maps
from fmviz.render import render
from fmviz.session import Session


@pytest.fixture(scope="module")
def truth(started: Desk) -> Capture:
    assert started.state.source is not None
    return Session("efficientnet_lite0_fpn").run(started.state.source.path)


@pytest.fixture
def hand(desk: Desk) -> Iterator[Desk]:
    yield desk
    desk.window.copy_menu.close()
    if desk.app.commands.dialog is not None:
        desk.app.commands.dialog.close()
    desk.do("show_maps")


def right_click(widget: QWidget, place: QPointF) -> None:
    point = place.toPoint()
    event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, point, widget.mapToGlobal(point))
    QApplication.sendEvent(widget, event)


def entry(desk: Desk, words: str) -> QAction:
    found = [action for action in desk.window.copy_menu.actions() if words in action.text().replace("&", "")]
    assert len(found) == 1, [action.text() for action in desk.window.copy_menu.actions()]
    return found[0]


def copied(action: QAction) -> QImage:
    clipboard = QGuiApplication.clipboard()
    clipboard.clear()
    action.trigger()
    until(lambda: not clipboard.image().isNull(), "the copy")
    return clipboard.image().convertToFormat(QImage.Format.Format_RGB32)


def in_colours(pixels: np.ndarray, size: Any) -> QImage:
    """Indices in the colours of the window, enlarged to a size."""
    return coloured_image(pixels, colour_list(colour_table("viridis", dark=dark()))).scaled(size)


def dark() -> bool:
    from fmviz.app import theme

    return theme.is_dark("system")


def test_the_grid_copies_the_tile_under_the_pointer(hand: Desk, truth: Capture) -> None:
    hand.choose_tap("C3")
    hand.app.store.update(channel=1)
    hand.settle()
    right_click(hand.window.maps.canvas.viewport(), tile_cell(hand, 7, 3, 3))
    image = copied(entry(hand, "Copy C3 body.stage3, channel 7"))
    assert image == in_colours(render(truth.taps["C3"].tensor, channels=[7]).pixels[0], image.size())
    assert max(image.width(), image.height()) >= 224
    assert hand.state.channel == 1


def test_the_grid_copies_every_pixel_of_a_map_that_is_shown_smaller(hand: Desk, truth: Capture) -> None:
    hand.choose_layer("body.stem")
    layer = hand.state.layer
    right_click(hand.window.maps.canvas.viewport(), tile_cell(hand, 5, 3, 3))
    image = copied(entry(hand, f"Copy {layer}, channel 5"))
    wanted = render(truth[layer].maps, channels=[5]).pixels[0]
    assert image == in_colours(wanted, image.size())


@pytest.mark.parametrize("scale", ["map", "row"])
@pytest.mark.parametrize("tap", ["P4", "C2"])
def test_the_pyramid_copies_and_exports_the_level_under_the_pointer(
    hand: Desk, truth: Capture, tmp_path: Path, tap: str, scale: Any
) -> None:
    hand.choose_tap("C3")
    hand.do("show_pyramid")
    before = hand.taps
    choice = PyramidChoice(reduction="mean", scale=scale)
    hand.app.store.update(pyramid=choice)
    until(lambda: hand.taps is not before, "the levels")
    canvas = hand.window.pyramid.canvases[tap]
    until(lambda: canvas.isVisible() and canvas.drawn is not None, "the level")
    size = truth.taps[tap].tensor.shape[2:]
    right_click(canvas, over_cell(canvas, hand, 2, 3, (size[0], size[1])))
    name = f"{tap} {hand.tapped(tap)}, mean over channels"
    image = copied(entry(hand, f"Copy {name}"))
    wanted = tap_maps(truth, reduction="mean", scale=scale)[tap]
    assert image == in_colours(wanted.pixels[0], image.size())
    entry(hand, f"Export {name}").trigger()
    path, facts = exported(hand, tmp_path)
    assert (facts["layer"], facts["reduction"]) == (hand.tapped(tap), "mean")
    assert facts["limits"][0] == pytest.approx(list(wanted.limits[0]), rel=1e-4, abs=1e-5)
    with PIL.Image.open(path) as file:
        assert np.abs(np.asarray(file).astype(int) - wanted.pixels[0].astype(int)).max() <= 1
    hand.app.store.update(pyramid=PyramidChoice())


def exported(desk: Desk, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Press the button of the open dialog; the one file and its facts."""
    dialog = desk.app.commands.dialog
    assert dialog is not None
    assert dialog.what.currentData() == "map"
    dialog.folder.setText(str(folder))
    dialog._button.click()
    until(lambda: not dialog.running, "the export ends")
    (path,) = folder.glob("*.png")
    with PIL.Image.open(path) as image:
        return path, json.loads(image.text["fmviz"])  # type: ignore[attr-defined]


def test_the_grid_exports_the_tile_under_the_pointer(hand: Desk, tmp_path: Path) -> None:
    hand.choose_tap("C4")
    hand.app.store.update(channel=2)
    hand.settle()
    right_click(hand.window.maps.canvas.viewport(), tile_cell(hand, 9, 1, 1))
    entry(hand, "Export C4 body.stage5, channel 9").trigger()
    _, facts = exported(hand, tmp_path)
    assert (facts["layer"], facts["channels"]) == ("body.stage5", [9])
    assert hand.state.channel == 2


def test_between_tiles_nothing_is_copied_that_is_not_under_the_pointer(hand: Desk) -> None:
    canvas = hand.window.maps.canvas
    right_click(canvas.viewport(), QPointF(0.5, 0.5))
    texts = [action.text() for action in hand.window.copy_menu.actions()]
    assert not any("channel" in text and "Copy" in text for text in texts)
    assert hand.window.actions_by_name["copy_grid"] in hand.window.copy_menu.actions()


def test_the_menu_key_acts_on_the_chosen_channel(hand: Desk) -> None:
    hand.choose_tap("C3")
    hand.app.store.update(channel=4)
    hand.settle()
    viewport = hand.window.maps.canvas.viewport()
    event = QContextMenuEvent(QContextMenuEvent.Reason.Keyboard, QPoint(3, 3), viewport.mapToGlobal(QPoint(3, 3)))
    QApplication.sendEvent(viewport, event)
    assert entry(hand, "Copy C3 body.stage3, channel 4")


def test_the_input_dock_copies_its_pictures(hand: Desk, truth: Capture) -> None:
    picture, fed = hand.window.input.picture, hand.window.input.network_input
    right_click(picture, picture.to_widget(200, 100))
    assert truth.picture is not None
    assert truth.input is not None
    assert array_of(copied(entry(hand, "Copy picture"))).shape == truth.picture.pixels.shape
    right_click(fed, fed.to_widget(100, 100))
    np.testing.assert_array_equal(array_of(copied(entry(hand, "Copy network input"))), truth.input.pixels())


def array_of(image: QImage) -> np.ndarray:
    """(h, w, 3) RGB."""
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def show_overlay(hand: Desk) -> None:
    """Show channel 2 of C5 over the picture."""
    hand.choose_tap("C5")
    hand.app.store.update(over_picture=True, opacity=0.5, channel=2)
    until(lambda: hand.channel is not None and hand.channel.channel == 2, "the channel")


@pytest.mark.parametrize("how", ["key", "menu"])
def test_with_the_overlay_on_the_copy_is_the_overlay(hand: Desk, truth: Capture, how: str) -> None:
    show_overlay(hand)
    if how == "key":
        action = hand.window.actions_by_name["copy_map"]
    else:
        canvas = hand.window.channel.canvas
        right_click(canvas, canvas.to_widget(220, 120))
        action = entry(hand, "Copy C5 body.stage7, channel 2")
    pixels = array_of(copied(action)).astype(float)
    assert hand.state.shown is not None
    assert truth.picture is not None
    box = hand.state.shown.geometry.input_box()
    assert pixels.shape[:2] == (round(box.height), round(box.width))
    maps = render(truth.taps["C5"].tensor, channels=[2]).pixels[0]
    table = colour_table("viridis", dark=dark()).astype(float)
    for row, column in ((1, 1), (3, 4), (5, 2)):
        y, x = int((row + 0.5) * box.height / 7), int((column + 0.5) * box.width / 7)
        top, left = int(box.top + y), int(box.left + x)
        # The picture may lie half a pixel beside the copy's.
        ground = truth.picture.pixels[top - 1 : top + 2, left - 1 : left + 2].reshape(-1, 3)
        wanted = 0.5 * table[maps[row, column]] + 0.5 * ground
        assert np.abs(pixels[y, x] - wanted).max(axis=1).min() < 10


def test_with_the_overlay_on_the_export_is_the_overlay(hand: Desk, truth: Capture, tmp_path: Path) -> None:
    hand.choose_tap("C5")
    hand.app.store.update(over_picture=True, opacity=0.35, channel=2)
    until(lambda: hand.channel is not None and hand.channel.channel == 2, "the channel")
    hand.do("export")
    dialog = hand.app.commands.dialog
    assert dialog is not None
    assert dialog.over_picture.isChecked()
    dialog.what.setCurrentIndex(0)
    path, facts = exported(hand, tmp_path / "window")
    assert facts["opacity"] == 0.35
    (record,) = export(
        truth, {}, layers="C5", folder=tmp_path / "library", form="maps", channels=[2], over_picture=0.35
    )
    assert record.path is not None
    with PIL.Image.open(path) as one, PIL.Image.open(record.path) as other:
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).max() <= 3
    hand.app.store.update(over_picture=False)
    hand.do("export")
    assert not dialog.over_picture.isChecked()


@pytest.mark.parametrize("tap", ["C2", "C5"])
@pytest.mark.parametrize("smooth", [False, True])
def test_a_copied_grid_is_as_large_as_on_the_screen_with_numbers(hand: Desk, tap: str, smooth: bool) -> None:
    hand.choose_tap(tap)
    hand.app.store.update(smooth=smooth)
    canvas = hand.window.maps.canvas
    layout = canvas._layout
    assert layout is not None
    image = copied(hand.window.actions_by_name["copy_grid"])
    assert (image.width(), image.height()) == layout.size
    assert array_of(image).max() > 0
    # Without the letters, the tiles are those of the screen.
    plain = canvas.grab().toImage()
    assert plain.width() >= 1
    x, y = layout.position(3)
    corner = image.copy(x, y, 8, 8)
    tile = image.copy(x + layout.width - 9, y + layout.height - 9, 8, 8)
    assert corner != tile
    letters = array_of(image.copy(x, y, min(20, layout.width), 12))
    without = array_of(coloured_image(canvas._with_margin(layout), canvas._colours).copy(x, y, 20, 12))
    assert (letters[: without.shape[0], : without.shape[1]] != without[:, : letters.shape[1]]).any()


def test_a_grid_that_is_zoomed_in_is_copied_at_that_size(hand: Desk) -> None:
    hand.choose_tap("C3")
    canvas = hand.window.maps.canvas
    canvas.zoom_at(QPointF(50, 50), 2.0)
    image = copied(hand.window.actions_by_name["copy_grid"])
    assert canvas._layout is not None
    assert (image.width(), image.height()) == canvas._layout.size
    canvas.zoom_at(QPointF(50, 50), 40.0)
    image = copied(hand.window.actions_by_name["copy_grid"])
    assert image.width() * image.height() <= 64_000_000
    canvas.fit()


@pytest.mark.parametrize("view", ["grid", "pyramid"])
def test_where_no_overlay_is_shown_copy_and_export_are_plain(hand: Desk, tmp_path: Path, view: str) -> None:
    show_overlay(hand)
    if view == "grid":
        right_click(hand.window.maps.canvas.viewport(), tile_cell(hand, 9, 1, 1))
    else:
        hand.do("show_pyramid")
        canvas = hand.window.pyramid.canvases["C5"]
        until(lambda: canvas.isVisible() and canvas.drawn is not None, "the level")
        right_click(canvas, over_cell(canvas, hand, 2, 3, (7, 7)))
    texts = [action.text() for action in hand.window.copy_menu.actions() if action.text().startswith(("&Copy", "&Exp"))]
    assert len(texts) > 1
    assert not any("over the picture" in text for text in texts)
    image = copied(entry(hand, "Copy C5 body.stage7"))
    assert {image.pixel(x, 3) for x in range(32)} == {image.pixel(0, 3)}, "crisp cells of 32 pixels, without a picture"
    entry(hand, "Export C5 body.stage7").trigger()
    dialog = hand.app.commands.dialog
    assert dialog is not None
    assert not dialog.over_picture.isChecked()
    _, facts = exported(hand, tmp_path)
    assert "opacity" not in facts
    hand.app.store.update(over_picture=False)


def test_the_channel_docks_menu_says_over_the_picture_and_does_so(hand: Desk, tmp_path: Path) -> None:
    show_overlay(hand)
    canvas = hand.window.channel.canvas
    right_click(canvas, canvas.to_widget(220, 120))
    assert entry(hand, "Copy C5 body.stage7, channel 2 over the picture")
    entry(hand, "Export C5 body.stage7, channel 2 over the picture").trigger()
    _, facts = exported(hand, tmp_path)
    assert facts["opacity"] == 0.5
    hand.app.store.update(over_picture=False)
    right_click(canvas, canvas.to_widget(220, 120))
    assert "over" not in entry(hand, "Copy C5 body.stage7, channel 2").text()


def test_the_export_of_a_vector_is_not_preset_over_the_picture(hand: Desk) -> None:
    hand.app.store.update(over_picture=True)
    hand.choose_layer("body.classifier")
    hand.do("export")
    dialog = hand.app.commands.dialog
    assert dialog is not None
    assert not dialog.over_picture.isChecked()
    hand.choose_tap("C4")
    hand.do("export")
    assert dialog.over_picture.isChecked()
    hand.app.store.update(over_picture=False)
