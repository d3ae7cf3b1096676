"""The maps that are at hand before they are wanted: which, and that they are never others than those asked for."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from stub_link import Link
from test_state import layer, ran

from fmviz.app.layer_maps import ShownMaps
from fmviz.app.looking import Looking
from fmviz.app.state import Activity, Store, ViewState
from fmviz.app.views.grid_layout import GridView
from fmviz.engine.messages import (
    Dropped,
    Failed,
    MapsRendered,
    MatrixRendered,
    Pixels,
    ReadVector,
    RenderMaps,
    RenderMatrix,
)

SHOWN = ran(*(layer(name, 8.0) for name in "abcde"), layer("head", None))
Asked = tuple[int, str, str]
"""The number of a request for maps, its lane and its layer."""


class Look:
    """Layer b of five is looked at, the list of them being open."""

    def __init__(self, qtbot: QtBot, *, remote: bool = False) -> None:
        self.qtbot = qtbot
        self.link = Link()
        self.link.remote = remote
        state = ViewState(shown=SHOWN, layer="b", grid_view=GridView(800, 600, 3, 1.0))
        self.store = Store(state)
        self.looking = Looking(self.store, self.link)  # type: ignore[arg-type]
        self.store.changed.connect(lambda old, new: self.looking.ask_for_the_difference())
        self.came: list[ShownMaps] = []
        self.failures: list[str] = []
        self.looking.maps_came.connect(self.came.append)
        self.looking.failed.connect(lambda place, message, *_: self.failures.append(message))
        self.looking.set_beside("a", "c")
        self.looking.ask_for_the_difference()

    def choose(self, name: str) -> None:
        names = " abcde "
        place = names.index(name)
        self.looking.set_beside(names[place - 1].strip(), names[place + 1].strip())
        self.store.update(layer=name)

    def asked(self) -> list[Asked]:
        every = enumerate(self.link.asked, start=1)
        maps = [(number, fields) for number, (request, _, fields) in every if request is RenderMaps]
        return [(number, fields["lane"], fields["layer"]) for number, fields in maps if fields["lane"] != "channel"]

    def come(self, asked: Asked | None = None) -> None:
        """Maps whose cells say which layer they are of."""
        number, _, name = asked or self.asked()[-1]
        fields = self.link.asked[number - 1][2]
        pixels = np.full((8, 8, 8), ord(name), np.uint8)
        self.link.reply(
            MapsRendered(
                id=number,
                run=fields["run"],
                layer=name,
                pixels=Pixels(shape=pixels.shape, data=pixels.tobytes()),
                limits=np.zeros((8, 2)).tobytes(),
                statistics=np.zeros((7, 8)).tobytes(),
                step=1,
                channels=None,
                normalisation=fields["normalisation"],
            )
        )

    def ahead(self) -> str:
        """The layer that is asked for next, ahead of any wish."""
        before = len(self.asked())
        self.qtbot.waitUntil(lambda: len(self.asked()) > before)
        _, lane, name = self.asked()[-1]
        assert lane == "ahead"
        return name

    def nothing_ahead(self) -> None:
        before = self.asked()
        self.qtbot.waitUntil(lambda: not self.looking._maps._ask_ahead_later.isActive())
        assert self.asked() == before

    def shown(self) -> str:
        """Of which layer the maps are that came last; its name and its cells must agree."""
        maps: Any = self.came[-1]
        assert set(maps.pixels.array.ravel()) == {ord(maps.layer)}
        return str(maps.layer)


@pytest.fixture
def look(qtbot: QtBot) -> Look:
    made = Look(qtbot)
    made.come()
    return made


def test_the_next_layer_is_there_before_it_is_wanted(look: Look) -> None:
    assert look.ahead() == "c"
    look.come()
    assert look.shown() == "b", "what is at hand is not shown"
    asked = look.asked()
    look.choose("c")
    assert look.shown() == "c"
    assert look.asked() == asked
    assert look.ahead() == "d"


def test_the_way_back_is_asked_for_on_the_way_back(look: Look) -> None:
    look.ahead()
    look.come()
    look.choose("d")
    look.come()
    assert look.ahead() == "e"
    look.come()
    look.choose("c")
    look.come()
    assert look.ahead() == "b"
    look.choose("d")
    assert look.shown() == "d", "what was left is still at hand"


def test_who_comes_while_it_is_on_its_way_waits_for_it(look: Look) -> None:
    look.ahead()
    asked = look.asked()
    look.choose("c")
    assert look.asked() == asked
    assert look.shown() == "b"
    look.come()
    assert look.shown() == "c"


def test_what_failed_ahead_is_asked_for_when_it_is_wanted(look: Look) -> None:
    look.ahead()
    number = look.asked()[-1][0]
    look.choose("c")
    look.link.reply(Dropped(id=number))
    assert look.asked()[-1][1:] == ("maps", "c")
    look.come()
    assert look.shown() == "c"
    assert not look.failures


def test_nobody_is_told_of_what_failed_ahead(look: Look) -> None:
    look.ahead()
    look.link.reply(Failed(id=look.asked()[-1][0], kind="EngineError", message="no memory"))
    assert not look.failures
    look.choose("c")
    look.link.reply(Failed(id=look.asked()[-1][0], kind="EngineError", message="no memory"))
    assert look.failures == ["no memory"]


def test_another_scale_is_rendered_anew(look: Look) -> None:
    look.ahead()
    look.come()
    look.store.update(normalisation="layer")
    assert look.asked()[-1][1:] == ("maps", "b")
    look.come()
    look.choose("c")
    assert look.asked()[-1][1:] == ("maps", "c")


def test_another_capture_has_other_maps(look: Look) -> None:
    look.ahead()
    late = look.asked()[-1]
    look.looking.forget()
    look.store.update(shown=SHOWN)
    look.looking.ask_for_the_difference()
    assert look.asked()[-1][1:] == ("maps", "b")
    look.come()
    look.come(late)
    look.choose("c")
    assert look.asked()[-1][1:] == ("maps", "c")


def test_nothing_is_asked_for_ahead_of_a_run_or_through_a_line(look: Look, qtbot: QtBot) -> None:
    look.store.update(activity=Activity(1, "Running"))
    look.nothing_ahead()
    through_a_line = Look(qtbot, remote=True)
    through_a_line.come()
    through_a_line.nothing_ahead()


def test_no_more_than_three_are_kept(look: Look) -> None:
    for name in "cde":
        look.choose(name)
        if not look.came or look.shown() != name:
            look.come()
        if name != "e":
            look.ahead()
            look.come()
        assert len(look.looking._maps._at_hand) <= 3
    assert look.shown() == "e"
    look.store.update(shown=None)
    assert not look.looking._maps._at_hand


@pytest.mark.parametrize("dropped", [False, True])
def test_a_layer_of_matrices_is_asked_for_its_heat_map_alone(qtbot: QtBot, dropped: bool) -> None:
    look = Look(qtbot)
    attention = msgspec.structs.replace(layer("attention", None), shape=(1, 2, 5, 5))
    look.store.update(shown=ran(layer("b", 8.0), attention, layer("head", None)))
    look.come()
    awaited: list[bool] = []
    look.looking.awaited.connect(awaited.append)
    before = len(look.link.asked)
    look.store.update(layer="attention")
    assert [request for request, _, _ in look.link.asked[before:]] == [RenderMatrix]
    assert awaited[-1] is True
    number = len(look.link.asked)
    if dropped:
        look.link.reply(Dropped(id=number))
        assert awaited[-1] is True
        return
    look.link.reply(
        MatrixRendered(
            id=number,
            run=3,
            layer="attention",
            number=0,
            pixels=Pixels(shape=(1, 5, 5), data=bytes(25)),
            limits=(0.0, 1.0),
            constant=False,
            reason="",
        )
    )
    assert awaited[-1] is False
    look.store.update(layer="head")
    assert look.link.asked[-1][0] is ReadVector
