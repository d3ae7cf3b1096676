"""A normal quit and the next start: what was open is there again, and what is gone is one sentence."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from desks import OpenDesk
from driving import Desk, until
from PySide6.QtCore import QPointF, QSettings, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QDialog, QPushButton

from fmviz import trust
from fmviz.app import sitting
from fmviz.app.keeping import CLOSED, Keeper
from fmviz.app.preferences import Preferences
from fmviz.app.sitting import Sitting, Zooms
from fmviz.app.state import Store, ViewState
from fmviz.app.views.trust_dialog import TrustDialog
from fmviz.assets import asset
from fmviz.defaults import BACKBONE
from fmviz.engine.messages import PictureSource, Setup
from fmviz.picture_options import PictureOptions

MODEL = """\
from torch import nn


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.{second} = nn.Conv2d(6, 9, 3, padding=1)

    def forward(self, x):
        return self.{second}(self.first(x))


def build():
    return Small()
"""

Start = Callable[..., Desk]


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """A folder of pictures; settings and kept state lie next to it."""
    for name in ("coffee.png", "chelsea.png"):
        shutil.copy(asset(f"samples/{name}"), tmp_path / name)
    return tmp_path


@pytest.fixture
def start(open_desk: OpenDesk, places: Path) -> Start:
    """Open windows one after the other, as the same user."""

    def started(*pictures: Path, **options: Any) -> Desk:
        return open_desk(pictures, settings=places / "a.ini", folder=places / "state", **options)

    return started


def left_open(places: Path, *pictures: Path, backbone: str = "resnet18", **changes: Any) -> Sitting:
    """Leave what a window leaves that closes in order with these pictures open; what was open then."""
    sources = tuple(PictureSource(name=path.name, path=str(path)) for path in pictures)
    state = ViewState(**{"sources": sources, "setup": Setup(backbone=backbone, weights="random"), **changes})
    keeper = Keeper(Store(state), places / "state")
    keeper.begin(take=False)
    keeper.end("replace")
    return sitting.of_state(state)


def shown(desk: Desk) -> tuple[Any, ...]:
    state = desk.state
    assert state.shown_source is not None
    assert state.shown is not None
    return state.shown_source.name, state.shown.setup.backbone, state.layer, state.channel, state.pin


def test_pictures_network_layer_channel_pin_and_view_are_there_again(start: Start, places: Path) -> None:
    desk = start(places / "coffee.png", places / "chelsea.png", backbone="resnet18", weights="random")
    desk.settle()
    setup = msgspec.structs.replace(desk.state.setup, mode="whole", side=160, seed=5)
    desk.app.store.update(current=1, setup=setup)
    desk.settle()
    desk.choose_tap("C4")
    look = {"normalisation": "layer", "colour_map": "grey", "order": "mean", "over_picture": True, "opacity": 0.25}
    desk.app.store.update(channel=17, pin=(100.0, 80.0), boxes=False, **look)
    desk.app.store.update(pyramid=msgspec.structs.replace(desk.state.pyramid, channel=3, reduction=None))
    desk.settle()
    desk.window.raise_dock("pyramid")
    desk.window.maps.canvas.zoom_at(QPointF(50, 60), 4.0)
    desk.window.channel.canvas.view.zoom_at(QPointF(90.0, 70.0), 3.0)
    desk.window.input.picture.view.zoom_at(QPointF(30.0, 40.0), 2.0)
    desk.settle()
    kept, zooms = sitting.of_state(desk.state), desk.window.zooms()
    assert None not in (zooms.grid, zooms.channel, zooms.picture)
    desk.close()
    assert [path.name for path in (places / "state").iterdir()] == [CLOSED]

    again = start()
    again.settle()
    assert sitting.of_state(again.state) == kept
    assert again.names == ["coffee.png", "chelsea.png"]
    assert shown(again)[3:] == (17, (100.0, 80.0))
    assert again.window.channel.canvas.view.pin is not None
    until(lambda: again.taps is not None, "the pyramid is there")
    assert not again.window.docks["pyramid"].visibleRegion().isEmpty(), "the tab that was in front"
    again.window.raise_dock("maps")
    again.settle()
    looks = again.window.zooms()
    # Scroll bars stand at whole pixels.
    assert looks.grid == pytest.approx(zooms.grid, abs=0.02)
    assert msgspec.structs.replace(looks, grid=None) == msgspec.structs.replace(zooms, grid=None)
    assert not again.state.problems
    again.close()


def test_it_is_there_a_third_time(start: Start, places: Path) -> None:
    """Nothing is lost by a window that restored, and changed nothing."""
    kept = left_open(places, places / "coffee.png", layer="layer3.0.conv1", channel=9, pin=(60.0, 50.0))
    for _ in range(2):
        desk = start()
        desk.settle()
        assert sitting.of_state(desk.state) == kept
        desk.close()


def test_it_can_be_turned_off(start: Start, places: Path) -> None:
    left_open(places, places / "coffee.png")
    desk = start()
    desk.settle()
    assert desk.window.actions_by_name["reopen"].isChecked()
    desk.do("reopen")
    desk.close()
    assert not list((places / "state").iterdir())
    desk = start()
    desk.settle()
    assert not desk.window.actions_by_name["reopen"].isChecked()
    assert desk.names == ["chelsea.png"]
    desk.do("reopen")
    desk.close()
    assert Preferences(QSettings(str(places / "a.ini"), QSettings.Format.IniFormat)).reopens()


def test_new_starts_empty_and_takes_nothing_from_others(start: Start, places: Path) -> None:
    left_open(places, places / "coffee.png")
    parameters = start()
    parameters.settle()
    parameters.window.raise_dock("parameters")
    parameters.close()
    desk = start(new=True)
    until(lambda: desk.state.backbones, "the engine is there")
    assert "maps" in desk.window.front_tabs()
    assert (desk.state.sources, desk.state.layer, desk.state.setup) == ((), "", Setup(backbone=BACKBONE))
    assert desk.window.maps.samples.isVisible()
    desk.close()
    desk = start(new=True)
    until(lambda: desk.state.backbones, "the engine is there")
    assert sitting.read((places / "state" / CLOSED).read_bytes()).pictures == (str(places / "coffee.png"),)
    desk.drop([places / "chelsea.png"])
    desk.settle()
    desk.close()
    desk = start()
    desk.settle()
    assert shown(desk)[:2] == ("chelsea.png", BACKBONE)
    desk.close()


def test_the_window_of_a_running_program_takes_and_leaves_nothing(start: Start, places: Path) -> None:
    """`fmviz.show`: its network is gone with the program."""
    left_open(places, places / "coffee.png")
    before = (places / "state" / CLOSED).read_bytes()
    desk = start(live=True, backbone="resnet34", weights="random")
    desk.settle()
    assert shown(desk)[:2] == ("chelsea.png", "resnet34")
    desk.close()
    assert (places / "state" / CLOSED).read_bytes() == before


@pytest.mark.parametrize("named", ["", "resnet34"])
def test_the_chosen_network_is_saved_at_once(start: Start, places: Path, named: str) -> None:
    """A window that is killed saves nothing at the end. A network of the caller is not the user's choice."""
    desk = start(places / "coffee.png", backbone=named, weights="random" if named else "")
    desk.settle()
    if named:
        assert saved_setup(places).backbone == BACKBONE
    desk.app.controller.set_setup(backbone="resnet18", weights="random")
    desk.settle()
    assert saved_setup(places) == desk.state.setup == Setup(backbone="resnet18", weights="random")
    desk.app.controller.set_setup(side=160)
    desk.settle()
    assert saved_setup(places).side == 160
    desk.close()
    assert saved_setup(places).side == 160


def saved_setup(places: Path) -> Setup:
    """Read the setup from the settings on the disk."""
    settings = QSettings(str(places / "a.ini"), QSettings.Format.IniFormat)
    settings.sync()
    return Preferences(settings).restored(ViewState()).setup


def test_a_window_without_pictures_is_empty_again(start: Start, places: Path) -> None:
    left_open(places)
    desk = start()
    until(lambda: desk.state.backbones, "the engine is there")
    assert desk.state.sources == ()
    assert not desk.state.problems
    desk.close()


def test_pictures_of_the_command_line_replace_those_of_last_time(start: Start, places: Path) -> None:
    left_open(places, places / "coffee.png", layer="layer3.0.conv1", channel=9, pin=(60.0, 50.0))
    desk = start(places / "chelsea.png")
    desk.settle()
    assert shown(desk) == ("chelsea.png", "resnet18", "layer3.0.conv1", 9, None)
    assert desk.names == ["chelsea.png"]
    assert not desk.state.problems
    desk.close()


def test_a_network_of_the_command_line_replaces_that_of_last_time(start: Start, places: Path) -> None:
    left_open(places, places / "coffee.png", layer="layer3.0.conv1", channel=9, pin=(60.0, 50.0))
    desk = start(backbone="resnet34", weights="random")
    desk.settle()
    assert shown(desk) == ("coffee.png", "resnet34", "layer3.0.conv1", 9, (60.0, 50.0))
    desk.close()
    desk = start(weights="random")
    desk.settle()
    assert desk.state.shown.setup == Setup(backbone="resnet34", weights="random")
    desk.close()


def test_what_is_gone_is_one_sentence_and_the_rest_is_there(start: Start, places: Path) -> None:
    for name in ("b.png", "c.png"):
        shutil.copy(places / "coffee.png", places / name)
    pictures = [places / name for name in ("coffee.png", "b.png", "c.png", "chelsea.png")]
    sources = [PictureSource(name=path.name, path=str(path)) for path in pictures]
    pasted = PictureSource(name="pasted picture", data=(places / "coffee.png").read_bytes())
    look = {"layer": "layer2.0.conv1", "channel": 11, "pin": (60.0, 50.0)}
    left_open(places, sources=(*sources, pasted), current=1, **look)
    (places / "b.png").unlink()
    shutil.copy(places / "chelsea.png", places / "coffee.png")

    again = start()
    again.settle()
    assert again.names == ["coffee.png", "c.png", "chelsea.png"]
    # The next one in the strip; a place on the one that is gone is none on this one.
    assert shown(again) == ("c.png", "resnet18", "layer2.0.conv1", 11, None)
    assert again.problem("window") == (
        "Not everything is as it was last time: b.png cannot be found; coffee.png changed since then; "
        "a pasted picture was not kept."
    )
    assert not [
        widget for widget in QApplication.topLevelWidgets() if isinstance(widget, QDialog) and widget.isVisible()
    ]
    again.close()


def test_a_picture_that_was_replaced_is_shown_without_the_pin(start: Start, places: Path) -> None:
    left_open(places, places / "coffee.png", layer="layer2.0.conv1", channel=11, pin=(60.0, 50.0))
    shutil.copy(places / "chelsea.png", places / "coffee.png")
    desk = start()
    desk.settle()
    assert shown(desk) == ("coffee.png", "resnet18", "layer2.0.conv1", 11, None)
    assert "coffee.png changed since then" in desk.problem("window")
    desk.close()


def test_without_any_of_its_pictures_the_network_is_there_on_a_sample(start: Start, places: Path) -> None:
    left_open(places, places / "coffee.png", layer="layer2.0.conv1", channel=11)
    (places / "coffee.png").unlink()
    desk = start()
    desk.settle()
    assert shown(desk) == ("chelsea.png", "resnet18", "layer2.0.conv1", 11, None)
    assert "coffee.png cannot be found" in desk.problem("window")
    desk.close()


@pytest.mark.parametrize("spoilt", ["gone", "damaged"])
def test_weights_that_are_gone_or_damaged_leave_the_network(start: Start, places: Path, spoilt: str) -> None:
    from safetensors.torch import save_file

    from fmviz.networks.catalog import backbone

    weights = places / "mine.safetensors"
    save_file(backbone("resnet18").build().state_dict(), weights)
    look = {"layer": "layer2.0.conv1", "channel": 11, "pin": (60.0, 50.0)}
    left_open(places, places / "coffee.png", setup=Setup(backbone="resnet18", weights=str(weights)), **look)
    if spoilt == "gone":
        weights.unlink()
    else:
        weights.write_bytes(b"no weights")
    desk = start()
    desk.settle()
    assert shown(desk) == ("coffee.png", "resnet18", "layer2.0.conv1", 11, (60.0, 50.0))
    assert desk.state.setup.weights == ""
    assert "mine.safetensors" in desk.problem("window") + desk.problem("maps")
    desk.close()


def test_a_network_that_is_gone_leaves_the_pictures(start: Start, places: Path) -> None:
    left_open(places, places / "coffee.png", places / "chelsea.png")
    path = places / "state" / CLOSED
    path.write_text(path.read_text().replace('"resnet18"', '"resnet18_of_another_version"'))
    desk = start()
    desk.settle()
    assert shown(desk)[:2] == ("chelsea.png", BACKBONE) or shown(desk)[:2] == ("coffee.png", BACKBONE)
    assert desk.names == ["coffee.png", "chelsea.png"]
    assert "resnet18_of_another_version" in desk.problem("maps")
    desk.close()


def test_a_layer_that_the_network_no_longer_has_is_said(start: Start, places: Path) -> None:
    path = places / "mine.py"
    path.write_text(MODEL.format(second="second"))
    trust.trust(path, hashlib.sha256(path.read_bytes()).hexdigest())
    left_open(places, places / "coffee.png", backbone=f"own:{path}:build", layer="second", channel=7, pin=(60.0, 50.0))
    path.write_text(MODEL.format(second="other"))
    trust.trust(path, hashlib.sha256(path.read_bytes()).hexdigest())
    desk = start()
    desk.settle()
    assert shown(desk)[0] == "coffee.png"
    assert shown(desk)[4] == (60.0, 50.0)
    assert "The layer second of last time is not in this mine.py:build" in desk.problem("window")
    desk.close()


def test_a_model_that_is_not_trusted_is_asked_about_in_a_banner(start: Start, places: Path) -> None:
    """The rest works meanwhile, and once it is trusted all is as it was."""
    path = places / "mine.py"
    path.write_text(MODEL.format(second="second"))
    trust.trust(path, hashlib.sha256(path.read_bytes()).hexdigest())
    name = f"own:{path}:build"
    left_open(places, places / "coffee.png", backbone=name, layer="second", channel=7, pin=(60.0, 50.0))
    path.write_text(MODEL.format(second="second") + "# edited\n")
    desk = start()
    desk.settle()
    assert shown(desk)[:2] == ("coffee.png", BACKBONE)
    assert "mine.py was changed since you trusted it" in desk.problem()
    assert desk.dialog(TrustDialog) is None
    desk.choose_tap("C4")
    # Closed without an answer, it asks again.
    desk.close()
    desk = start()
    desk.settle()
    assert shown(desk)[:2] == ("coffee.png", BACKBONE)
    (button,) = desk.window.banner("maps").findChildren(QPushButton)
    button.click()
    dialog = desk.dialog(TrustDialog)
    QTest.mouseClick(dialog.buttons.buttons()[0], Qt.MouseButton.LeftButton)
    until(lambda: desk.state.setup.backbone == name, "it is wanted again")
    desk.settle()
    assert shown(desk) == ("coffee.png", name, "second", 7, (60.0, 50.0))
    assert not desk.state.problems
    desk.close()


@pytest.mark.parametrize("named", ["--model", "as a file", "in a dialog"])
def test_another_network_need_not_have_the_layer_of_last_time(start: Start, places: Path, named: str) -> None:
    path = places / "another.py"
    path.write_text(MODEL.format(second="second") + f"# {named}, chosen\n")
    name = f"own:{path}:build"
    left_open(places, places / "coffee.png", layer="layer3.0.conv1", channel=9, pin=(60.0, 50.0))
    desk = start(backbone=name) if named == "--model" else start(*([path] if named == "as a file" else []))
    desk.settle()
    if named == "in a dialog":
        desk.app.commands.networks.take_model(path)
    else:
        (button,) = desk.window.banner("maps").findChildren(QPushButton)
        button.click()
    until(lambda: desk.dialog(TrustDialog), "the file is asked about")
    QTest.mouseClick(desk.dialog(TrustDialog).buttons.buttons()[0], Qt.MouseButton.LeftButton)
    until(lambda: desk.state.shown.setup.backbone == name, "the chosen network is shown")
    desk.settle()
    assert shown(desk)[:2] == ("coffee.png", name)
    assert not desk.state.problems
    desk.close()


@pytest.mark.parametrize("named", ["--model", "as a file"])
def test_a_model_that_is_named_at_the_start_is_asked_about_in_a_banner(start: Start, places: Path, named: str) -> None:
    path = places / "mine.py"
    path.write_text(MODEL.format(second="second") + f"# {named}\n")
    desk = start(path) if named == "as a file" else start(places / "coffee.png", backbone=f"own:{path}:build")
    desk.settle()
    assert desk.state.shown.setup.backbone == BACKBONE
    assert "mine.py is a program that you have not said you trust" in desk.problem()
    assert desk.dialog(TrustDialog) is None
    assert QApplication.activeModalWidget() is None
    desk.close()


def test_a_session_that_cannot_be_read_is_put_aside_and_said(start: Start, places: Path) -> None:
    left_open(places, places / "coffee.png")
    path = places / "state" / CLOSED
    path.write_bytes(path.read_bytes()[:-9])
    desk = start()
    desk.settle()
    assert desk.names == ["chelsea.png"]
    assert "put aside as closed.json.bad" in desk.problem("window")
    desk.close()
    assert sorted(one.name for one in (places / "state").iterdir()) == [CLOSED, f"{CLOSED}.bad"]


def test_two_windows_do_not_show_the_same_and_the_last_to_close_is_kept(start: Start, places: Path) -> None:
    left_open(places, places / "coffee.png")
    first = start()
    first.settle()
    second = start()
    second.settle()
    assert (first.names, second.names) == (["coffee.png"], ["chelsea.png"])
    second.drop([places / "chelsea.png"])
    second.settle()
    second.close()
    first.close()
    third = start()
    third.settle()
    assert third.names == ["coffee.png"]
    third.close()


def test_after_a_kill_it_is_offered_and_what_was_closed_is_shown(start: Start, places: Path) -> None:
    """Two windows, of which one was killed: no question twice, and nothing lost."""
    left_open(places, places / "coffee.png")
    killed = Sitting(pictures=(str(places / "chelsea.png"),), setup=Setup(backbone="resnet34", weights="random"))
    (places / "state" / "window-0.json").write_bytes(sitting.written(killed))
    desk = start()
    desk.settle()
    assert shown(desk)[:2] == ("coffee.png", "resnet18")
    assert "was ended last time with chelsea.png in resnet34 open" in desk.problem("window")
    (button,) = desk.window.banner("window").findChildren(QPushButton)
    button.click()
    desk.settle()
    assert shown(desk)[:2] == ("chelsea.png", "resnet34")
    assert not desk.state.problems
    desk.close()
    desk = start()
    desk.settle()
    assert shown(desk)[:2] == ("chelsea.png", "resnet34")
    assert not desk.state.problems
    desk.close()


def test_what_was_taken_lasts_if_the_window_is_killed_at_once(tmp_path: Path) -> None:
    kept = Sitting(setup=Setup(backbone="vgg11"), zooms=Zooms(channel=(3.0, 5.0, 6.5)), stamps={"/x": (1, 2)})
    (tmp_path / CLOSED).write_bytes(sitting.written(kept))
    taker = Keeper(Store(), tmp_path)
    assert taker.begin().closed == kept
    assert taker._lock is not None
    taker._lock.unlock()
    other = Keeper(Store(), tmp_path)
    left = other.begin()
    assert (left.closed, left.sitting) == (None, kept)
    other.end()
    taker._lock.tryLock(0)
    taker.end()


def test_an_older_session_is_read(tmp_path: Path) -> None:
    written = json.loads(sitting.written(Sitting(setup=Setup(backbone="vgg11"), layer="a")))
    for name in ("zooms", "stamps", "without_file", "tabs"):
        del written[name]
    assert sitting.read(json.dumps(written).encode()) == Sitting(setup=Setup(backbone="vgg11"), layer="a")


@pytest.mark.parametrize("look", [[0.5, 1, 1], [1e9, 1, 1], [2, -1, 1], [2, 1, 1e10]])
def test_a_zoom_that_cannot_be_is_no_session(look: list[float]) -> None:
    written = json.loads(sitting.written(Sitting(setup=Setup(backbone="vgg11"))))
    written["zooms"]["channel"] = look
    with pytest.raises(ValueError, match="cannot be"):
        sitting.read(json.dumps(written).encode())


@pytest.mark.parametrize("also", [(), ("net.py",)])
@pytest.mark.parametrize("given", [None, True, False])
@pytest.mark.parametrize("before", [True, False])
def test_the_stretch_is_that_of_all_pictures(
    start: Start, places: Path, also: tuple[str, ...], given: bool | None, before: bool
) -> None:
    (places / "net.py").write_text(MODEL.format(second="second"))
    # As a version wrote it whose options and whose state differed.
    options = [PictureOptions(stretch=before), PictureOptions((1,), stretch=not before)]
    sources = tuple(
        PictureSource(name=name, path=str(places / name), options=one)
        for name, one in zip(("coffee.png", "chelsea.png"), options, strict=True)
    )
    left_open(places, sources=sources, stretch=before)
    desk = start(*(places / name for name in also), stretch=given)
    until(lambda: len(desk.state.sources) == 2, "the pictures of last time")
    wanted = before if given is None else given
    assert desk.state.stretch is wanted
    assert [source.options for source in desk.state.sources] == [
        PictureOptions(stretch=wanted),
        PictureOptions((1,), stretch=wanted),
    ]
    assert desk.window.actions_by_name["stretch"].isChecked() is wanted
    desk.close()


def test_a_picture_of_the_command_line_is_read_as_last_time_or_as_told(start: Start, places: Path) -> None:
    for given, wanted in ((None, False), (True, True)):
        left_open(places, places / "coffee.png", stretch=False)
        desk = start(places / "chelsea.png", stretch=given, bands=(1,))
        until(lambda desk=desk: desk.names == ["chelsea.png"], "the picture")
        assert (desk.state.stretch, desk.state.sources[0].options) == (wanted, PictureOptions((1,), stretch=wanted))
        desk.close()
