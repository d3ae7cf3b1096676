"""The Input dock with texts that are longer than there is room for."""

from __future__ import annotations

import pytest
from driving import Desk, until
from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QDockWidget
from pytestqt.qtbot import QtBot

from fmviz.app.views.elided_label import ClippedLabel
from fmviz.app.views.input_view import InputView

NOTE = (
    "values above 4,095 are left out: they are 0.3 % of the pixels; stretched from 12.5 to 3,871 (percentiles 1 and 99)"
)
NOTES = " ".join(
    f"Output {number} of the layer “features.{number}” is omitted: it is no tensor." for number in range(30)
)
PREDICTIONS = [(f"name {number}", 0.1) for number in range(5)]


def full(view: InputView) -> InputView:
    """Fill every text of the dock."""
    view.set_about(f"451 × 300 px\n{NOTE}", "224 × 224 px", "shorter side → 224, middle 224 × 224, mean and deviation")
    view.predictions.set_predictions(PREDICTIONS, "")
    view.set_notes(NOTES)
    return view


@pytest.fixture
def view(qtbot: QtBot) -> InputView:
    made = InputView()
    qtbot.addWidget(made)
    return made


@pytest.mark.parametrize("size", [(320, 280), (280, 220), (600, 500)])
def test_the_picture_keeps_half_of_the_dock(qtbot: QtBot, view: InputView, size: tuple[int, int]) -> None:
    full(view).resize(*size)
    view.show()
    qtbot.waitUntil(lambda: view.picture.height() >= view.height() // 2)
    qtbot.waitUntil(lambda: view.texts_area.verticalScrollBar().maximum() > 0)
    captions = view._about_picture.geometry(), view._about_input.geometry()
    assert captions[0].top() == captions[1].top()
    assert view.picture.geometry().bottom() < captions[0].top()
    assert view._about_picture.shown().endswith("…")
    # The end of the notes can be scrolled to.
    view.texts_area.verticalScrollBar().setValue(view.texts_area.verticalScrollBar().maximum())
    end = view._notes.mapTo(view.texts_area.viewport(), QPoint(0, view._notes.height()))
    assert view._notes.height() >= view._notes.heightForWidth(view._notes.width())
    assert end.y() <= view.texts_area.viewport().height()


def test_texts_are_whole_in_tool_tips_and_descriptions(view: InputView) -> None:
    full(view)
    for label, text in ((view._about_picture, f"451 × 300 px\n{NOTE}"), (view._notes, NOTES)):
        assert label.toolTip() == text
        assert label.accessibleDescription() == text
        assert label.text() == text
    view.set_notes("")
    assert view._notes.toolTip() == view._notes.accessibleDescription() == ""


def test_in_a_high_dock_nothing_scrolls(qtbot: QtBot, view: InputView) -> None:
    view.resize(400, 700)
    view.show()
    full(view)
    view.set_notes("One note.")
    qtbot.waitUntil(lambda: view._notes.height() > 0 and view.texts_area.height() > view._notes.geometry().bottom())
    assert view.texts_area.verticalScrollBar().maximum() == 0
    assert view.texts_area.height() + view.picture.height() < view.height()
    # Without texts, the picture has their room.
    view.predictions.set_predictions((), "")
    view.set_notes("")
    line = view._prepared
    qtbot.waitUntil(lambda: view.texts_area.height() == line.heightForWidth(line.width()))
    assert view.texts_area.height() + view.picture.height() > view.height() - 60


def test_at_1280_by_800_the_picture_keeps_half_of_the_dock(desk: Desk) -> None:
    window = desk.window
    before = window.size()
    window.resize(1280, 800)
    window.reset_layout()
    try:
        full(window.input)
        dock: QDockWidget = window.docks["input"]
        until(lambda: window.input.texts_area.verticalScrollBar().maximum() > 0, "the notes scroll")
        until(lambda: window.input.picture.height() >= window.input.height() // 2, "the picture has its half")
        assert window.input.height() <= dock.height()
        assert window.input._about_picture.y() == window.input._about_input.y()
    finally:
        window.resize(before)
        window.reset_layout()


@pytest.mark.parametrize("text", ["a😀b " * 40, "x" * 300, "one\n" + "two " * 80, "one\ntwo\nthree"])
def test_a_clipped_label_has_whole_lines(qtbot: QtBot, text: str) -> None:
    label = ClippedLabel(2)
    qtbot.addWidget(label)
    label.setText(text)
    label.resize(150, label.heightForWidth(150))
    shown = label.shown()
    assert shown.count("\n") == 1
    assert shown.replace("\n", "").replace(" ", "").rstrip("…")[:9] == text.replace("\n", "").replace(" ", "")[:9]
    assert all(label.fontMetrics().horizontalAdvance(line) <= 150 for line in shown.split("\n"))
    assert label.height() == 2 * label.fontMetrics().lineSpacing()
    label.resize(150, 200)
    label.setText("short")
    assert label.shown() == "short"
    assert label.heightForWidth(150) == label.fontMetrics().lineSpacing()
    label.setText("")
    assert label.heightForWidth(150) == 0
