"""A picture in, what the network makes of it on the screen."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from desks import OpenDesk
from driving import Desk, until
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QColor, QGuiApplication, QImage

from fmviz.assets import asset

CAT, COFFEE = asset("samples/chelsea.png"), asset("samples/coffee.png")


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Three small ones of different kind and shape."""
    random = np.random.default_rng(0)
    paths = [tmp_path / name for name in ("one.png", "two.jpg", "three.bmp")]
    for path, shape in zip(paths, ((60, 90, 3), (90, 60, 3), (64, 64)), strict=True):
        PIL.Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(path)
    return paths


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.png"
    path.write_bytes(CAT.read_bytes()[:400])
    return path


# The first start


def test_the_sample_has_run_through_the_trained_network(desk: Desk) -> None:
    title = desk.window.windowTitle()
    assert all(part in title for part in ("chelsea.png", "efficientnet_lite0_fpn", "fmviz"))
    assert desk.state.shown is not None
    assert "cat" in desk.state.shown.predictions[0][0].lower()
    assert desk.maps is not None
    assert desk.maps.pixels.array.std() > 10
    assert desk.window.maps.has_maps
    assert not desk.problem()


def test_what_the_network_was_fed_and_what_it_says_stand_in_the_input_dock(desk: Desk) -> None:
    seen = desk.window.input.grab().toImage()
    assert len({seen.pixel(x, y) for x in range(0, seen.width(), 7) for y in range(0, seen.height(), 7)}) > 50
    texts = [label.text() for label in desk.window.input.findChildren(type(desk.window._value))]
    assert desk.state.shown is not None
    assert sum(name in texts for name, _ in desk.state.shown.predictions) == 5


# Pictures


@pytest.mark.parametrize("answers", [True, False])
def test_a_dropped_picture_takes_the_place_of_the_sample(desk: Desk, pictures: list[Path], answers: bool) -> None:
    desk.drop(pictures[:1], answers=answers)
    desk.settle()
    assert desk.window.windowTitle().startswith("one.png")
    assert desk.state.shown is not None
    assert desk.state.shown.geometry.picture_size == (60, 90)


def test_several_become_a_strip_that_the_arrows_walk(desk: Desk, pictures: list[Path]) -> None:
    desk.drop(pictures)
    desk.settle()
    assert desk.names == ["chelsea.png", "one.png", "two.jpg", "three.bmp"]
    assert not desk.window.strip.isHidden()
    assert desk.window.windowTitle().startswith("one.png")
    for action, name in (("next", "two.jpg"), ("next", "three.bmp"), ("previous", "two.jpg")):
        desk.do(action)
        desk.settle()
        assert desk.window.windowTitle().startswith(name)
        assert desk.window.strip.currentIndex() == desk.names.index(name)
    desk.do("close_picture")
    desk.settle()
    assert desk.names == ["chelsea.png", "one.png", "three.bmp"]


def test_a_folder_is_the_pictures_in_it(desk: Desk, pictures: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "holiday"
    (folder / "further.png").mkdir(parents=True)
    desk.drop([folder])
    until(lambda: desk.state.problem("window") is not None, "it is said that it holds none")
    assert "no picture in the folder holiday" in desk.state.problem("window").message
    assert desk.names == ["chelsea.png"]
    for path in pictures:
        shutil.copy(path, folder)
    (folder / "notes.txt").write_text("nothing to see")
    desk.drop([folder])
    desk.settle()
    assert desk.names == ["chelsea.png", "one.png", "three.bmp", "two.jpg"]
    assert desk.window.windowTitle().startswith("one.png")


def test_a_name_that_no_file_can_have_is_a_picture_that_is_not_there(open_desk: OpenDesk, tmp_path: Path) -> None:
    """Asking whether it is a folder fails for a name that is too long: nothing else must."""
    desk = open_desk([tmp_path / ("a" * 300 + ".png")])
    until(lambda: desk.problem(), "it is said")
    assert "aaa" in desk.problem()
    assert desk.app.link.running
    desk.close()


def test_a_folder_without_pictures_beside_others_is_told_of(desk: Desk, pictures: list[Path], tmp_path: Path) -> None:
    (folder := tmp_path / "bare").mkdir()
    desk.drop([folder, pictures[0]])
    desk.settle()
    assert desk.names == ["chelsea.png", "one.png"]
    assert "no picture in the folder bare" in desk.window.statusBar().currentMessage()


def test_of_a_large_folder_the_first_are_opened(desk: Desk, pictures: list[Path], tmp_path: Path) -> None:
    (folder := tmp_path / "many").mkdir()
    for number in range(501):
        os.link(pictures[0], folder / f"{number:03}.png")
    (more := tmp_path / "more").mkdir()
    shutil.copy(pictures[1], more)
    said: list[str] = []
    desk.window.statusBar().messageChanged.connect(said.append)
    desk.drop([folder, more])
    desk.settle()
    assert (len(desk.names), desk.names[-1]) == (501, "499.png")
    assert any("501 pictures: the first 500" in words for words in said)
    assert any("more was left out" in words for words in said)
    strip = desk.window.strip
    assert not strip.tabsClosable()
    desk.do("close_picture")
    desk.settle()
    assert desk.names[1] == "001.png"
    assert strip.count() == 500


def test_the_arrows_stop_at_both_ends(desk: Desk, pictures: list[Path]) -> None:
    actions = desk.window.actions_by_name
    assert not actions["next"].isEnabled()
    desk.drop(pictures[:1])
    desk.settle()
    assert actions["previous"].isEnabled()
    assert not actions["next"].isEnabled()


def test_an_image_from_the_clipboard(desk: Desk) -> None:
    image = QImage(48, 32, QImage.Format.Format_RGB32)
    image.fill(QColor(200, 30, 30))
    QGuiApplication.clipboard().setImage(image)
    desk.do("paste")
    desk.settle()
    assert desk.names[-1] == "pasted picture"
    assert desk.state.shown is not None
    assert desk.state.shown.geometry.picture_size == (32, 48)


def test_nothing_to_paste_is_said_in_the_status_line(desk: Desk) -> None:
    QGuiApplication.clipboard().setText("no picture")
    desk.do("paste")
    assert "no picture" in desk.window.statusBar().currentMessage()
    assert desk.names == ["chelsea.png"]


# Layers


def test_a_layer_is_chosen_in_the_tree_and_everything_follows(desk: Desk) -> None:
    name = desk.tapped("P4")
    desk.choose_layer(name)
    info = desk.state.layer_info
    assert info is not None
    assert desk.maps is not None
    assert desk.maps.pixels.array.shape == info.shape[1:]
    assert "P4" in desk.window.maps._heading.text()
    assert "drawn shapes" in desk.window.maps._facts.text()


def test_the_keys_walk_layers_and_stages(desk: Desk) -> None:
    assert desk.state.shown is not None
    names = [layer.name for layer in desk.state.shown.layers]
    here = names.index(desk.state.layer)
    desk.do("next_layer")
    desk.settle()
    assert desk.state.layer == names[here + 1]
    desk.do("previous_layer")
    desk.do("next_stage")
    desk.settle()
    assert desk.state.layer == desk.tapped("C4")
    desk.do("previous_stage")
    desk.settle()
    assert desk.state.layer == desk.tapped("C3")


def test_arrow_and_page_keys_in_the_tree(desk: Desk, qtbot: object) -> None:
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    tree = desk.window.layers.tree
    before = desk.state.layer
    QTest.keyClick(tree, Qt.Key.Key_Up)
    QTest.keyClick(tree, Qt.Key.Key_Up)
    desk.settle()
    assert desk.state.layer != before
    desk.choose_tap("C3")
    QTest.keyClick(tree, Qt.Key.Key_PageDown)
    desk.settle()
    assert desk.state.layer == desk.tapped("C4")


def test_a_layer_without_maps_is_a_bar_plot(desk: Desk) -> None:
    assert desk.state.shown is not None
    flat = next(layer for layer in desk.state.shown.layers if not layer.spatial)
    desk.choose_layer(flat.name)
    assert desk.vector[0] == flat.name
    assert desk.window.maps.vector.isVisible()
    desk.choose_tap("C2")
    assert desk.window.maps.canvas.isVisible()


# Network


def test_another_backbone_keeps_the_tap(desk: Desk) -> None:
    desk.choose_tap("P3")
    desk.choose_backbone("resnet18_fpn")
    desk.settle()
    assert "resnet18_fpn" in desk.window.windowTitle()
    assert desk.state.layer_info is not None
    assert "P3" in desk.state.layer_info.taps
    desk.choose_backbone("resnet18")
    desk.settle()
    assert desk.state.layer_info.stride == 8
    assert desk.state.shown is not None
    assert desk.state.shown.weights.untrained == ("body",)


def test_the_whole_picture_at_another_size(desk: Desk) -> None:
    desk.window.setup_bar.side.setValue(96)
    desk.settle()
    assert desk.state.shown is not None
    assert desk.state.shown.geometry.input_size == (96, 96)
    desk.choose(desk.window.setup_bar.mode, "whole")
    desk.settle()
    height, width = desk.state.shown.geometry.input_size
    assert width == 512
    assert height == pytest.approx(512 * 300 / 451, abs=1)
    assert desk.state.layer == desk.tapped("C3")


# Numbers


def test_the_crop_is_framed_on_the_picture(desk: Desk) -> None:
    assert desk.state.shown is not None
    box = desk.state.shown.geometry.input_box()
    frame = desk.window.input.picture._frame
    assert frame == QRectF(box.left, box.top, box.width, box.height)
    assert 0 < frame.width() < 451


def test_the_cross_is_in_all_views_at_once(desk: Desk) -> None:
    canvas = desk.window.input.picture
    desk.point(canvas, canvas.to_widget(225.5, 150.5))
    for view in (canvas.view, desk.window.channel.canvas.view, desk.window.pyramid.view):
        assert view.cross is not None
        assert (view.cross - QPointF(225, 150)).manhattanLength() < 2
    until(lambda: "picture, RGB, row 150, column 225 = " in desk.window._value.text(), "the pixel under the cross")


def test_there_and_back_again_before_the_engine_follows(desk: Desk, pictures: list[Path]) -> None:
    desk.drop(pictures)
    desk.settle()
    desk.do("next")
    desk.do("previous")
    desk.settle()
    until(desk.idle, "the last word counts")
    assert desk.names == ["chelsea.png", "one.png", "two.jpg", "three.bmp"]
    assert desk.window.windowTitle().startswith("one.png")


def test_a_broken_picture_is_named_and_nothing_else_changes(desk: Desk, pictures: list[Path], broken: Path) -> None:
    until(lambda: desk.window.maps.has_maps, "maps of the good picture")
    desk.drop([broken])
    until(desk.problem, "the banner says what is wrong")
    assert "broken.png" in desk.problem()
    desk.settle()
    assert desk.names == ["chelsea.png"]
    assert desk.window.windowTitle().startswith("chelsea.png")
    assert desk.window.maps.has_maps
    desk.drop(pictures[:1])
    desk.settle()
    assert not desk.problem()


def test_the_last_picture_closed_while_it_runs_leaves_nothing_to_try_again(open_desk: OpenDesk) -> None:
    desk = open_desk([CAT])
    until(lambda: desk.state.activity is not None, "its first run")
    desk.do("close_picture")
    until(lambda: desk.state.activity is None and not desk.app.controller._run_number, "it is given up")
    assert not desk.state.sources
    assert not desk.problem()
    desk.close()


def test_the_bars_of_a_vector_follow_the_appearance(desk: Desk) -> None:
    desk.choose_layer("body.classifier")
    until(lambda: desk.window.maps.vector.isVisible(), "the bars")
    for appearance, light in (("dark", False), ("light", True)):
        desk.do(f"appearance_{appearance}")
        vector = desk.window.maps.vector
        until(lambda: (vector.grab().toImage().pixelColor(3, 3).lightnessF() > 0.5) == light, appearance)  # noqa: B023
    desk.do("appearance_system")


def test_a_picture_can_be_opened_again_after_the_last_was_closed(desk: Desk) -> None:
    desk.do("close_picture")
    assert not desk.window.maps.has_maps
    assert desk.window.maps.samples.isVisible()
    desk.window.sample_chosen.emit(str(CAT))
    desk.settle()
    assert desk.window.windowTitle().startswith("chelsea.png")
    until(lambda: desk.window.maps.has_maps, "maps of the picture that was opened again")
