"""Runs whose replies cross with what the user does meanwhile: an engine that answers when the test says so."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from pytestqt.qtbot import QtBot
from stub_link import Link
from test_state import layer, ran

from fmviz.app.controller import Controller
from fmviz.app.state import Store, ViewState
from fmviz.engine.messages import Dropped, Failed, PictureSource, Progress
from fmviz.picture_options import PictureOptions

A, B, C = (PictureSource(name=name, path=f"/pictures/{name}.png") for name in "abc")
PATIENCE_MS = 20


class Runs:
    """A window's flow of runs with picture A on the screen, of three that are open."""

    def __init__(self) -> None:
        self.link = Link()
        self.store = Store(ViewState())
        self.controller = Controller(self.store, self.link)  # type: ignore[arg-type]
        self.controller._patience_ms = PATIENCE_MS
        self.controller.open_pictures([A, B, C])
        self.choose(A)
        self.end()

    def choose(self, source: PictureSource) -> int:
        """The number of the last run after that."""
        self.store.update(current=self.store.state.sources.index(source))
        return self.link.runs()[-1][0]

    def end(self, number: int = 0) -> None:
        """The run comes to its end, or the last one does."""
        number = number or self.link.runs()[-1][0]
        reply = ran(layer("x", 4.0))
        self.link.reply(msgspec.structs.replace(reply, id=number, run=number, setup=self.store.state.setup))


@pytest.fixture
def runs(qtbot: QtBot) -> Runs:
    return Runs()


def test_what_ends_although_it_was_given_up_does_not_stay(runs: Runs) -> None:
    late = runs.choose(B)
    runs.choose(A)
    assert runs.link.cancelled == [late]
    runs.end(late)
    assert runs.link.runs()[-1][1] == A, "it is made again"
    assert runs.link.runs()[-1][0] > late
    runs.end()
    assert runs.store.state.shown_source == runs.store.state.source == A


def test_what_is_run_after_a_cancel_is_not_ended_by_force(runs: Runs, qtbot: QtBot) -> None:
    cancelled = runs.choose(B)
    runs.controller.cancel()
    wanted = runs.choose(C)
    runs.link.reply(Dropped(id=cancelled))
    qtbot.wait(5 * PATIENCE_MS)
    assert not runs.link.killed
    runs.end(wanted)
    assert runs.store.state.shown_source == C


def test_an_engine_that_still_loads_torch_hears_of_a_cancel_later(qtbot: QtBot) -> None:
    """It is not ended for that: another one would load it all over again."""
    link, store = Link(), Store(ViewState())
    controller = Controller(store, link)  # type: ignore[arg-type]
    controller._patience_ms = PATIENCE_MS
    controller.open_pictures([A])
    controller._run_what_is_wanted()
    [(number, _)] = link.runs()
    link.reply(Progress(id=number, doing="loading torch", name="", fraction=None))
    controller.cancel()
    qtbot.wait(5 * PATIENCE_MS)
    assert not link.killed
    assert store.state.activity is not None
    # It has loaded, and does not stop all the same.
    link.reply(Progress(id=number, doing="loading", name="resnet18", fraction=None))
    qtbot.waitUntil(lambda: link.killed)


def test_an_engine_that_does_not_hear_of_a_cancel_is_ended_by_force(runs: Runs, qtbot: QtBot) -> None:
    runs.choose(B)
    runs.controller.cancel()
    runs.choose(C)
    qtbot.waitUntil(lambda: runs.link.killed)


def test_who_has_walked_past_a_broken_picture_is_not_called_back(runs: Runs) -> None:
    number = runs.choose(B)
    runs.choose(C)
    runs.link.reply(Failed(id=number, kind="PictureError", message="b cannot be read."))
    state = runs.store.state
    assert state.sources == (A, C)
    assert state.source == C
    runs.end()
    assert runs.store.state.shown_source == C
    problem = runs.store.state.problem("maps")
    assert problem is not None
    assert problem.message == "b cannot be read.", "the run of another picture does not take it away"


def test_a_broken_picture_that_is_waited_for_leaves_what_is_shown(runs: Runs) -> None:
    runs.link.reply(Failed(id=runs.choose(B), kind="PictureError", message="b cannot be read."))
    assert runs.store.state.sources == (A, C)
    assert runs.store.state.source == runs.store.state.shown_source == A


def test_bands_that_a_picture_lacks_leave_it_in_its_place_as_it_was(runs: Runs) -> None:
    runs.controller.set_bands(A, (4, 3, 2))
    other = msgspec.structs.replace(A, options=PictureOptions((4, 3, 2)))
    number, source = runs.link.runs()[-1]
    assert source == other
    runs.link.reply(Failed(id=number, kind="PictureError", message="a has 3 bands."))
    assert runs.store.state.sources == (A, B, C)
    assert runs.store.state.source == runs.store.state.shown_source == A
    runs.controller.retry()
    assert runs.store.state.sources == (other, B, C)


def test_the_stretch_is_of_all_pictures_and_of_those_opened_later(runs: Runs) -> None:
    runs.controller.set_bands(B, (3, 2, 1))
    runs.controller.set_stretch(False)
    options = [source.options for source in runs.store.state.sources]
    plain = PictureOptions(stretch=False)
    assert options == [plain, PictureOptions((3, 2, 1), stretch=False), plain]
    runs.controller.open_paths([Path("/pictures/d.png")])
    assert runs.store.state.sources[-1].options == plain
    runs.controller.open_pictures([B])
    assert runs.store.state.sources[-1].options == PictureOptions((3, 2, 1), stretch=False)
    runs.controller.set_stretch(True)
    assert runs.store.state.sources[-1].options == PictureOptions((3, 2, 1))
