"""What is open is had again, whenever the window was killed and whatever became of its files."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from desks import OpenDesk
from driving import until
from PySide6.QtCore import QLockFile, QSettings
from PySide6.QtWidgets import QPushButton

from fmviz.app import sitting
from fmviz.app.keeping import Keeper, Left
from fmviz.app.preferences import Preferences
from fmviz.app.sitting import Sitting
from fmviz.app.state import PyramidChoice, Store, ViewState
from fmviz.assets import asset
from fmviz.engine.messages import PictureSource, Setup

WINDOW = Path(__file__).with_name("a_window.py")
FULL = ViewState(
    sources=(PictureSource(name="a.png", path="/x/a.png"), PictureSource(name="é b.jpg", path="/x/é b.jpg")),
    current=1,
    setup=Setup(backbone="resnet18", weights="random", seed=7, mode="whole", side=333),
    layer="layer2.0.relu:2",
    channel=17,
    normalisation="symmetric",
    colour_map="grey",
    order="variance",
    smooth=True,
    over_picture=True,
    opacity=0.25,
    pin=(3.5, 4.25),
    boxes=False,
    table_size=(64, 96),
    appearance="dark",
    pyramid=PyramidChoice(channel=3, reduction=None, scale="map"),
)


def named(path: str) -> PictureSource:
    return PictureSource(name=Path(path).name, path=path)


def left_in(folder: Path) -> Left:
    keeper = Keeper(Store(), folder)
    left = keeper.begin()
    keeper.end()
    return left


def test_all_that_is_chosen_comes_back() -> None:
    kept = sitting.read(sitting.written(sitting.of_state(FULL)))
    state = ViewState()
    store = Store(state)
    store.update(**sitting.changes(kept, named))
    assert store.state == FULL


def test_a_name_that_is_no_text_comes_back() -> None:
    odd = "/x/caf\udce9.png"
    store = Store(FULL)
    store.update(sources=(named(odd),), current=0)
    kept = sitting.read(sitting.written(sitting.of_state(store.state)))
    again = Store(ViewState())
    again.update(**sitting.changes(kept, named))
    assert again.state.sources == (named(odd),)


def test_a_pasted_picture_is_left_out_and_the_others_stay() -> None:
    pasted = PictureSource(name="pasted picture", data=b"123")
    store = Store(FULL)
    store.update(sources=(pasted, *FULL.sources), current=2)
    assert sitting.of_state(store.state).pictures == ("/x/a.png", "/x/é b.jpg")
    assert sitting.of_state(store.state).current == 1
    store.update(current=0)
    assert sitting.of_state(store.state).current == 0


def test_killed_at_any_moment_it_left_what_was_there_a_second_before(tmp_path: Path, long: bool) -> None:
    moments = random.Random(8)
    for number in range(100 if long else 5):
        folder = tmp_path / str(number)
        command = [sys.executable, str(WINDOW), str(tmp_path / "settings.ini"), str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as window:
            assert window.stdout is not None
            told: list[tuple[float, int]] = []
            alive, end = moments.uniform(0.0, 1.6), 0.0
            for line in window.stdout:
                told.append((time.monotonic(), int(line)))
                # From the first change on: how long a start takes is the machine's affair.
                end = end or told[0][0] + alive
                if time.monotonic() > end:
                    break
            killed = time.monotonic()
            window.send_signal(signal.SIGKILL)
        left = left_in(folder)
        assert not left.aside
        assert not left.crash
        before = [step for moment, step in told if moment < killed - 1.0]
        if left.sitting is None:
            assert not before
            continue
        step = left.sitting.channel
        assert step >= max(before, default=0)
        # All of one moment.
        assert left.sitting.layer == (f"layer{step}" if step else "")
        assert left.sitting.pin == ((float(step), 1.0) if step else None)


def test_what_was_open_is_offered_and_restored(open_desk: OpenDesk, tmp_path: Path) -> None:
    first = open_desk([asset("samples/coffee.png"), asset("samples/rocket.jpg")], folder=tmp_path / "one")
    first.settle()
    first.app.store.update(current=0)
    first.settle()
    first.choose_tap("C4")
    first.app.store.update(colour_map="grey", channel=5, order="mean")
    first.settle()
    first.window.raise_dock("parameters")
    first.window.raise_dock("column")
    wanted = sitting.of_state(first.state)
    whole = msgspec.structs.replace(wanted, tabs=("parameters", "column"))
    (kept,) = (tmp_path / "one").glob("window-*.json")
    until(lambda: sitting.read(kept.read_bytes()) == whole, "it is written")
    (tmp_path / "two").mkdir()
    shutil.copy(kept, tmp_path / "two" / "window-0.json")
    first.close()
    assert [path.name for path in (tmp_path / "one").glob("*")] == ["closed.json"], "closed in order"

    second = open_desk(folder=tmp_path / "two")
    second.settle()
    assert second.names == ["chelsea.png"]
    assert "was ended last time with coffee.png in" in second.problem("window")
    assert second.window.front_tabs() == ("maps", "channel")
    (button,) = second.window.banner("window").findChildren(QPushButton)
    button.click()
    second.settle()
    assert sitting.of_state(second.state) == wanted
    assert second.names == ["coffee.png", "rocket.jpg"]
    assert second.window.front_tabs() == ("parameters", "column")
    assert not second.window.docks["parameters"].visibleRegion().isEmpty()
    assert not second.window.docks["column"].visibleRegion().isEmpty()
    assert second.problem("window") == ""
    assert not (tmp_path / "two" / "window-0.json").exists()
    second.close()


@pytest.mark.parametrize("how", ["restored", "dismissed"])
def test_killed_windows_are_offered_one_by_one(open_desk: OpenDesk, tmp_path: Path, how: str) -> None:
    """Only the files of the offered window are removed; its crash report is not mixed up with another window's."""
    folder = tmp_path / "state"
    folder.mkdir()
    for age, name in enumerate(("rocket.jpg", "coffee.png", "flower.jpg")):
        kept = Sitting(pictures=(str(asset(f"samples/{name}")),), setup=Setup(backbone="resnet18", weights="random"))
        (folder / f"window-{age}.json").write_bytes(sitting.written(kept))
        (folder / f"window-{age}.crash").write_text("Fatal Python error: coffee" if name == "coffee.png" else "")
        for suffix in ("json", "crash"):
            os.utime(folder / f"window-{age}.{suffix}", (1_000_000 + age, 1_000_000 + age))
    said = {
        "flower.jpg": "was ended last time with flower.jpg in resnet18 open. 3 windows were open",
        "coffee.png": "crashed last time, with coffee.png in resnet18 open. 2 windows were open",
        "rocket.jpg": "was ended last time with rocket.jpg in resnet18 open.",
    }
    left = {f"window-{age}.json" for age in range(3)}
    for name, words in said.items():
        desk = open_desk(settings=tmp_path / "a.ini", folder=folder)
        desk.settle()
        assert words in desk.problem("window")
        assert desk.problem("window").count("were open") == (name != "rocket.jpg")
        left -= {f"window-{len(left) - 1}.json"}
        if how == "restored":
            desk.do("restore_session")
            desk.settle()
            assert desk.names == [name]
        else:
            desk.window.banner("window").closed.emit()
        assert desk.problem("window") == ""
        assert {path.name for path in folder.glob("window-?.json")} == left
        desk.close()
    assert not list(folder.glob("window-*"))


def test_an_offer_stays_until_it_is_taken(open_desk: OpenDesk, tmp_path: Path) -> None:
    """Whatever is run meanwhile, and whatever becomes of the engine."""
    (tmp_path / "window-0.json").write_bytes(
        sitting.written(Sitting(pictures=(str(asset("samples/coffee.png")),), setup=Setup(backbone="resnet18")))
    )
    desk = open_desk(folder=tmp_path)
    desk.settle()
    offer = desk.problem("window")
    assert "was ended last time with coffee.png" in offer
    desk.app.link.kill()
    until(lambda: "ended unexpectedly" in desk.problem("maps") and desk.idle(), "another engine is there")
    desk.settle()
    desk.app.controller.set_setup(backbone="resnet18")
    desk.settle()
    assert desk.problem("window") == offer
    desk.app.returning._could_not_keep("No space left on device")
    assert desk.problem("window").startswith(offer)
    assert "No space left on device" in desk.problem("window")
    desk.app.controller.close_picture(0)
    assert desk.problem("window").startswith(offer)
    assert (tmp_path / "window-0.json").exists()
    desk.window.banner("window").findChildren(QPushButton)[-1].click()
    desk.settle()
    assert desk.names == ["coffee.png"]
    assert not (tmp_path / "window-0.json").exists()
    desk.close()


def test_what_is_open_is_kept_before_anything_changes(tmp_path: Path) -> None:
    keeper = Keeper(Store(FULL), tmp_path)
    keeper.begin()
    until(lambda: list(tmp_path.glob("*.json")), "it is written")
    assert sitting.read(next(tmp_path.glob("*.json")).read_bytes()) == sitting.of_state(FULL)
    keeper.end()


def test_pictures_for_another_computer_are_kept_by_their_place_on_this_one(tmp_path: Path) -> None:
    sent = PictureSource(name="a.png", path="/x/a.png", data=b"123")
    assert sitting.of_state(ViewState(sources=(sent,))).pictures == ("/x/a.png",)


def test_a_second_window_does_not_take_what_the_first_has_open(tmp_path: Path) -> None:
    first = Keeper(Store(), tmp_path)
    first.begin()
    first._write()
    assert left_in(tmp_path).sitting is None
    # A window that is killed lets go of its lock.
    assert first._lock is not None
    first._lock.unlock()
    assert left_in(tmp_path).sitting == sitting.of_state(ViewState())
    first._lock.tryLock(0)
    first.end()


@pytest.mark.parametrize(("file", "banner"), [("/nowhere/gone.png", "gone.png"), ("", "")])
def test_a_picture_or_a_network_that_is_gone_is_a_sentence(
    open_desk: OpenDesk, tmp_path: Path, file: str, banner: str
) -> None:
    kept = sitting.of_state(FULL)
    kept = msgspec.structs.replace(
        kept, pictures=(file,) if file else (), current=0, setup=Setup(backbone="no_such_net")
    )
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "window-9.json").write_bytes(sitting.written(kept))
    desk = open_desk(settings=tmp_path / "a.ini", folder=tmp_path / "state")
    desk.settle()
    before = desk.maps
    desk.do("restore_session")
    until(lambda: desk.problem("maps"), "what is gone is told")
    assert "no_such_net" in desk.problem("maps")
    assert banner in desk.problem("window")
    assert "Traceback" not in desk.problem("maps")
    assert before is not None
    desk.close()


# Damaged files


def mutants(data: bytes, count: int, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    made = [b"", b"\0" * 40, b"[1]", b"null", b"{" * 3000, b"[" * 200_000, data[:-1], data + data, b"\xff\xfe" + data]
    numbers = (b"-1", b"1e999", b"NaN", b"99999999999999999999", b'"x"', b"null", b"[]", b"{}", b"true", b"0.5")
    while len(made) < count:
        text = bytearray(data)
        way = rng.randrange(5)
        at = rng.randrange(len(text))
        if way == 0:
            text[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            del text[at : at + rng.randrange(1, 40)]
        elif way == 2:
            text[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
        elif way == 3:
            start = text.find(b": ", at)
            end = min((place for place in (text.find(b",", start), text.find(b"\n", start)) if place > 0), default=at)
            text[start + 2 : end] = rng.choice(numbers)
        else:
            other = rng.randrange(len(text))
            text[at : at + 8], text[other : other + 8] = text[other : other + 8], text[at : at + 8]
        made.append(bytes(text))
    return made


def test_a_damaged_session_is_put_aside_and_said(tmp_path: Path) -> None:
    good = sitting.written(sitting.of_state(FULL))
    put_aside = 0
    for number, data in enumerate(mutants(good, 500, seed=7)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "window-3.json").write_bytes(data)
        left = left_in(folder)
        if left.aside:
            put_aside += 1
            assert left.sitting is None
            assert (folder / left.aside).read_bytes() == data
            assert not (folder / "window-3.json").exists()
        else:
            assert isinstance(left.sitting, Sitting)
            sitting.changes(left.sitting, named)
            sitting.written(left.sitting)
    assert put_aside > 250


def test_a_folder_in_the_place_of_a_session_is_no_session(tmp_path: Path) -> None:
    (tmp_path / "window-3.json").mkdir()
    assert left_in(tmp_path).aside == "window-3.json.bad"


def test_damaged_settings_are_put_aside_and_the_defaults_hold(tmp_path: Path) -> None:
    path = tmp_path / "good.ini"
    settings = QSettings(str(path), QSettings.Format.IniFormat)
    Preferences(settings).save_choices(FULL)
    Preferences(settings).save_folder("open", "/x")
    settings.sync()
    good, put_aside = path.read_bytes(), 0
    for number, data in enumerate(mutants(good, 500, seed=9)):
        file = tmp_path / f"{number}.ini"
        file.write_bytes(data)
        preferences = Preferences(QSettings(str(file), QSettings.Format.IniFormat))
        name = preferences.put_aside_if_bad()
        state = preferences.restored(ViewState())
        assert sitting.setup_is_sound(state.setup)
        assert sitting.view_is_sound(state.normalisation, state.order, state.colour_map, state.opacity)
        if name:
            put_aside += 1
            assert (tmp_path / name).read_bytes() == data
            assert state == ViewState()
    assert put_aside > 100


@pytest.mark.parametrize("data", [bytes(1900), random.Random(1).randbytes(500), b"[General]\nchoices=\xff\xfe"])
def test_settings_that_are_no_text_are_put_aside(tmp_path: Path, data: bytes) -> None:
    """What a power cut leaves: Qt reads it as an empty file."""
    file = tmp_path / "a.ini"
    file.write_bytes(data)
    assert Preferences(QSettings(str(file), QSettings.Format.IniFormat)).put_aside_if_bad() == "a.ini.bad"
    assert (tmp_path / "a.ini.bad").read_bytes() == data


def test_what_was_put_aside_is_said_in_the_window(open_desk: OpenDesk, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "window-3.json").write_bytes(b"{")
    (tmp_path / "a.ini").write_text("[General]\nchoices={}\n", encoding="utf-8")
    desk = open_desk(settings=tmp_path / "a.ini", folder=tmp_path / "state")
    desk.settle()
    assert "put aside as window-3.json.bad" in desk.problem("window")
    assert "kept yours as a.ini.bad" in desk.problem("window")
    assert desk.maps is not None
    desk.close()


def test_a_disk_that_is_full_from_the_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoRoom:
        LockError = QLockFile.LockError

        def __init__(self, _path: str) -> None: ...

        def setStaleLockTime(self, _time: int) -> None: ...

        def tryLock(self, _time: int) -> bool:
            return False

        def error(self) -> QLockFile.LockError:
            return QLockFile.LockError.UnknownError

    def full(_path: Path, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fmviz.app.keeping.QLockFile", NoRoom)
    monkeypatch.setattr(Path, "write_bytes", full)
    keeper = Keeper(Store(), tmp_path)
    said: list[str] = []
    keeper.failed.connect(said.append)
    assert keeper.begin() == Left()
    assert said == ["No space left on device"]


def test_a_full_disk_is_said_once_and_nothing_else_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    keeper = Keeper(store, tmp_path)
    keeper.begin()
    said: list[str] = []
    keeper.failed.connect(said.append)
    keeper._write()
    before = next(tmp_path.glob("*.json")).read_bytes()

    def full(_sitting: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sitting, "written", full)
    for channel in (1, 2, 3):
        store.update(channel=channel)
        keeper._write()
    assert said == ["No space left on device"]
    assert next(tmp_path.glob("*.json")).read_bytes() == before
    assert not list(tmp_path.glob("*.part"))
    keeper.end()
