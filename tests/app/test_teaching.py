"""A pyramid is trained while one looks on, and kept or thrown away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import driving
import numpy as np
import pytest
from driving import Desk, until
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from fmviz.app.views.learning_page import LearningPage
from fmviz.networks import pyramids

SMALL = {"minutes": 1.0, "seed": 0, "scenes": 6, "steps": 3}
"""So little is learned in seconds; the page asks for minutes."""

PATIENCE = 12 * driving.PATIENCE
"""Training gives way to all that runs beside it: on a busy machine it waits long for its turn."""


def until_learned(true: Callable[[], object], what: str) -> None:
    driving.until(true, what, patience=PATIENCE)


def page_of(desk: Desk) -> LearningPage:
    desk.do("train_pyramid")
    page: LearningPage = desk.dialog(LearningPage)
    assert page is not None
    return page


def test_it_learns_is_watched_and_kept(desk: Desk) -> None:
    page = page_of(desk)
    assert page.begin.isVisible()
    until(lambda: desk.taps is not None and "P3" in desk.taps.maps, "the pyramid is shown")
    before = desk.taps.maps["P3"][1].copy()
    desk.app.teaching.begin(**SMALL)
    until_learned(lambda: desk.state.learning.news is not None, "it says how it goes")
    assert page.cancel.isVisible()
    maps = desk.maps
    desk.choose_tap("C4")
    assert desk.maps is not maps, "one can look at maps while it learns"
    until_learned(lambda: desk.state.learning.path, "it has learned")
    assert len(desk.state.learning.losses) > 1
    assert page.matrix.item(0, 0).text().endswith("%")
    assert page.keep.isVisible()
    QTest.mouseClick(page.keep, Qt.MouseButton.LeftButton)
    place = pyramids.place_for("efficientnet_lite0")
    until(lambda: desk.state.shown.weights.name == place.name, "what was kept is used")
    desk.settle()
    assert place.is_file()
    assert desk.state.shown.weights.trained_on == "drawn shapes"
    until(lambda: not np.array_equal(desk.taps.maps["P3"][1], before), "the pyramid is another one")
    assert "drawn shapes" in desk.window.pyramid._note.text()
    page.close()


def test_what_it_makes_of_the_picture_is_shown_meanwhile(desk: Desk) -> None:
    page = page_of(desk)
    desk.app.teaching.begin(minutes=1.0, seed=1, scenes=6, steps=100_000)
    until_learned(
        lambda: desk.state.learning.news is not None and desk.state.learning.news.snapshot, "something is learned"
    )
    first = desk.state.learning.news.snapshot
    until(lambda: "Learning" in desk.window.pyramid._note.text(), "the Pyramid dock says what it shows")
    until_learned(lambda: desk.state.learning.news.snapshot not in ("", first), "more is learned")
    page.close()
    until(lambda: "goes on" in desk.window.statusBar().currentMessage(), "it is not forgotten")
    assert page_of(desk) is page
    assert "goes on" not in desk.window.statusBar().currentMessage()
    # The same as a click on Cancel: what is under way does not go on behind a dialog that is gone.
    QTest.keyClick(page, Qt.Key.Key_Escape)
    until_learned(lambda: not desk.state.learning.going, "it is cancelled")
    assert page.isVisible()
    assert "Cancelled" in page.told
    assert page.begin.isVisible()
    QTest.keyClick(page, Qt.Key.Key_Escape)
    assert not page.isVisible()


def test_what_is_thrown_away_leaves_nothing_behind(desk: Desk) -> None:
    page = page_of(desk)
    desk.app.teaching.begin(**SMALL)
    until_learned(lambda: desk.state.learning.path, "it has learned")
    folder = Path(desk.state.learning.path).parent
    assert folder.is_dir()
    shown = desk.state.shown
    QTest.mouseClick(page.throw, Qt.MouseButton.LeftButton)
    until(lambda: not desk.state.learning.path, "it is thrown away")
    assert not folder.exists()
    assert desk.state.shown is shown
    page.close()


def test_what_cannot_be_trained_is_said(desk: Desk) -> None:
    desk.choose_backbone("resnet18")
    desk.settle()
    desk.do("train_pyramid")
    assert desk.dialog(LearningPage) is None
    assert "_fpn" in desk.window.statusBar().currentMessage()
    desk.choose_backbone("resnet18_fpn")
    desk.settle()
    page = page_of(desk)
    assert not page.begin.isEnabled(), "before anybody tries in vain"
    assert "resnet18 has no trained weights" in page.told
    desk.choose_backbone("efficientnet_lite0_fpn")
    until(lambda: page.begin.isEnabled(), "another network can be trained")
    assert not page.told
    page.close()


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body of each scene takes its time on a busy machine."""
    monkeypatch.setattr("driving.PATIENCE", 6000)
