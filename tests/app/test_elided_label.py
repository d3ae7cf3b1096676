"""Captions and names where there is little room."""

from __future__ import annotations

from PySide6.QtGui import QColor, QImage, QPalette
from pytestqt.qtbot import QtBot

from fmviz.app.views.combo import Combo
from fmviz.app.views.elided_label import ElidedLabel


def test_a_number_that_does_not_fit_ends_in_dots(qtbot: QtBot) -> None:
    label = ElidedLabel("P2  1.014 to 41.75")
    qtbot.addWidget(label)
    label.resize(label.sizeHint())
    assert label.shown() == label.text()
    label.resize(label.sizeHint().width() * 2 // 3, label.sizeHint().height())
    assert label.shown().startswith("P2")
    assert label.shown().endswith("…")
    assert label.text() == "P2  1.014 to 41.75"


def test_each_line_has_its_own_room(qtbot: QtBot) -> None:
    label = ElidedLabel("P2  64 × 56 × 56 and more\n0.1 to 2")
    qtbot.addWidget(label)
    label.resize(label.sizeHint())
    assert label.shown() == label.text()
    label.resize(label.sizeHint().width() * 2 // 3, label.sizeHint().height())
    first, second = label.shown().split("\n")
    assert first.endswith("…")
    assert second == "0.1 to 2"


def test_it_is_painted_in_the_colour_of_text(qtbot: QtBot) -> None:
    label = ElidedLabel("P2")
    qtbot.addWidget(label)
    palette = label.palette()
    palette.setColor(QPalette.ColorRole.WindowText, QColor(255, 0, 0))
    palette.setColor(QPalette.ColorRole.Window, QColor(255, 255, 255))
    label.setPalette(palette)
    image: QImage = label.grab().toImage()
    colours = {image.pixelColor(x, y).getRgb()[:3] for x in range(image.width()) for y in range(image.height())}
    assert any(red > 200 and green < 100 for red, green, _ in colours)


def test_a_box_shows_both_ends_of_a_name_that_is_too_long(qtbot: QtBot) -> None:
    box = Combo()
    qtbot.addWidget(box)
    box.addItems(["short", "a_file_of_weights_with_a_long_name.safetensors"])
    box.setFixedWidth(150)
    assert box.shown() == "short"
    box.setCurrentIndex(1)
    assert box.shown().startswith("a_f")
    assert "…" in box.shown()
    assert box.shown().endswith("sors")
    assert not box.grab().isNull()
    box.setFixedWidth(600)
    assert box.shown() == box.currentText()
