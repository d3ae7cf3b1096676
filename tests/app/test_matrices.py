"""Layers without maps in the window: heat maps of matrices, bars of vectors; and maps that are constant up to rounding."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from desks import OpenDesk
from driving import Desk, until
from PySide6.QtCore import QPointF
from PySide6.QtGui import QGuiApplication
from test_map_menu import copied, entry, exported, in_colours, right_click
from test_readout import as_number, tile_cell, told, words_and_value

from fmviz.app.numbers import value_words
from fmviz.capture import Capture
from fmviz.channels import matrix_stack
from fmviz.render import render
from fmviz.session import Session
from fmviz.trust import trust

MODEL = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.flat = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 1)
        self.soft, self.one, self.fc = nn.Softmax(-1), nn.Identity(), nn.Linear(8, 20)
        nn.init.zeros_(self.flat.weight)
        self.noise, self.masked = nn.Identity(), nn.Identity()

    def forward(self, x):
        y = self.conv(x)
        flat = self.flat(y)
        self.noise(flat * (1 + torch.arange(56) % 5 * 2.0**-23))
        tokens = y.flatten(2)[..., :196].reshape(4, 2, 49, 4)
        attention = self.soft(tokens @ tokens.transpose(-1, -2) * 3)
        self.one(attention[1, 1])
        self.masked(attention * torch.tensor([1.0, 0.0]).view(2, 1, 1))
        return self.fc(y.mean((2, 3)))


def build():
    return Net()
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "net.py"
    path.write_text(MODEL)
    trust(path, hashlib.sha256(path.read_bytes()).hexdigest())
    return path


@pytest.fixture(scope="module")
def own(open_desk: OpenDesk, model: Path) -> Iterator[Desk]:
    desk = open_desk(backbone=f"own:{model}:build")
    desk.settle()
    yield desk
    desk.window.copy_menu.close()


@pytest.fixture(scope="module")
def truth(own: Desk, model: Path) -> Capture:
    assert own.state.source is not None
    return Session(f"own:{model}:build").run(own.state.source.path)


def drawn(desk: Desk, layer: str, number: int = 0) -> None:
    desk.choose_layer(layer)
    view = desk.window.maps.matrix
    desk.app.store.update(matrix=number)
    until(lambda: view.isVisible() and (view.drawn.layer, view.drawn.channel) == (layer, number), "the matrix")
    # The lines above and below may have become others, which moves the cells.
    view.layout().activate()


def cell_place(desk: Desk, row: int, column: int) -> QPointF:
    cells = desk.window.maps.matrix.canvas.cells()
    return QPointF(cells.left() + (column + 0.5) * cells.width() / 49, cells.top() + (row + 0.5) * cells.height() / 49)


def test_attention_is_a_heat_map_that_tells_its_values(own: Desk, truth: Capture) -> None:
    view = own.window.maps.matrix
    for number, index in ((0, (0, 0)), (5, (2, 1)), (7, (3, 1))):
        drawn(own, "soft", number)
        wanted = render(matrix_stack(truth["soft"].tensor), channels=[number]).pixels[0]
        assert np.abs(view.canvas._pixels.astype(int) - wanted.astype(int)).max() <= 1
        for row, column in ((0, 0), (12, 40), (48, 48)):
            own.point(view.canvas, cell_place(own, row, column))
            value = value_words(float(truth["soft"].tensor[index][row, column]))
            name = f"soft, matrix [{index[0]}, {index[1]}]"
            words_and_value(own, f"{name}, row {row}, column {column} = {value}")
        assert name in own.window.maps._bar._words.text()
    assert "49 rows × 49 columns" in view._name.text()
    assert view.number.maximum() == 7
    assert view._reason.text()


def test_a_lone_matrix_needs_no_number(own: Desk, truth: Capture) -> None:
    drawn(own, "one")
    assert not own.window.maps.matrix.number.isVisible()
    own.point(own.window.maps.matrix.canvas, cell_place(own, 3, 4))
    words_and_value(own, f"one, matrix, row 3, column 4 = {value_words(float(truth['one'].tensor[3, 4]))}")


def test_a_heat_map_follows_colours_and_range(own: Desk, truth: Capture) -> None:
    drawn(own, "soft", 3)
    view = own.window.maps.matrix
    before = view.canvas.grab().toImage()
    own.choose(own.window.maps._colours, "magma")
    assert view.canvas.grab().toImage() != before
    own.choose(own.window.maps._colours, "viridis")
    own.choose(own.window.maps._normalisation, "layer")
    until(lambda: view.drawn.normalisation == "layer", "one range for all matrices")
    low, high = render(matrix_stack(truth["soft"].tensor), channels=[3], normalisation="layer").limits[0]
    assert view.drawn.limits == pytest.approx((low, high), rel=1e-4, abs=1e-9)
    own.choose(own.window.maps._normalisation, "map")
    until(lambda: view.drawn.normalisation == "map", "each its own")


def test_a_constant_matrix_is_named_on_any_scale(own: Desk) -> None:
    drawn(own, "masked", 3)
    words = own.window.maps._bar._words
    until(lambda: words.text().endswith("matrix [1, 1]: constant"), "the words of a scale of its own")
    own.choose(own.window.maps._normalisation, "layer")
    until(lambda: words.text().endswith("matrix [1, 1]: constant; one scale for all matrices"), "the shared scale")
    drawn(own, "masked", 2)
    until(lambda: words.text().endswith("matrix [1, 0]; one scale for all matrices"), "a matrix that is not constant")
    own.choose(own.window.maps._normalisation, "map")
    until(lambda: words.text().endswith("matrix [1, 0]; own scale"), "each its own")


def test_a_heat_map_is_copied_and_exported(own: Desk, truth: Capture, tmp_path: Path) -> None:
    drawn(own, "soft", 5)
    canvas = own.window.maps.matrix.canvas
    right_click(canvas, cell_place(own, 5, 5))
    image = copied(entry(own, "Copy soft, matrix [2, 1]"))
    assert image == in_colours(canvas._pixels, image.size())
    clipboard = QGuiApplication.clipboard()
    clipboard.clear()
    own.do("copy_map")
    assert clipboard.image().size() == image.size()
    entry(own, "Export soft, matrix [2, 1]").trigger()
    path, facts = exported(own, tmp_path)
    assert path.name.endswith("soft_0005.png")
    assert (facts["layer"], facts["channels"]) == ("soft", [5])
    own.app.commands.dialog.close()  # type: ignore[union-attr]


def test_a_vector_tells_the_bar_under_the_pointer(own: Desk, truth: Capture) -> None:
    own.choose_layer("fc")
    vector = own.window.maps.vector
    until(lambda: vector.isVisible() and vector._plot is not None and vector.drawn.layer == "fc", "the bars")
    box = vector._plot.plotItem.vb
    until(lambda: box.sceneBoundingRect().width() > 50 and box.viewRange()[0][1] >= 19, "the plot is laid out")
    for index in (0, 7, 19):
        vector._moved(box.mapViewToScene(QPointF(index, 0.0)))
        value = value_words(float(truth["fc"].tensor[0, index]))
        assert told(own).partition(" = ")[0] == f"fc, vector, index {index}"
        assert as_number(told(own).partition(" = ")[2]) == pytest.approx(as_number(value), rel=2e-3, abs=1e-4)
    vector.leaveEvent(None)
    assert told(own) == ""


@pytest.mark.parametrize("layer", ["flat", "noise"])
def test_a_map_that_differs_by_rounding_is_flat(own: Desk, truth: Capture, layer: str) -> None:
    own.choose_layer(layer)
    assert own.maps is not None
    tensor = truth[layer].tensor
    if layer == "noise":
        assert tensor[0, 2].unique().numel() > 1
    assert not own.maps.pixels.array.any()
    assert (own.maps.limits[:, 0] == own.maps.limits[:, 1]).all()
    notes = own.window.maps.canvas._notes
    assert set(notes) == set(range(8))
    assert all(note.startswith("constant ") for note in notes.values())
    assert "8 channels constant" in own.window.maps._facts.text()
    assert own.window.maps._bar._words.text().endswith("channel 0: constant")
    until(lambda: own.window.channel._labels[0][0].text() == "constant", "the numbers of the channel")
    own.choose(own.window.maps._normalisation, "layer")
    until(lambda: own.maps is not None and own.maps.normalisation == "layer", "one range")
    assert all(len(np.unique(pixels)) == 1 for pixels in own.maps.pixels.array)
    own.choose(own.window.maps._normalisation, "map")
    own.point(own.window.maps.canvas.viewport(), tile_cell(own, 2, 5, 6))
    until(lambda: " = " in told(own), "its value")
    assert as_number(told(own).partition(" = ")[2]) == pytest.approx(float(tensor[0, 2, 5, 6]), rel=2e-3)
