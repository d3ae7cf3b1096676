"""The engine dies; the window lives, says so, and starts another."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from desks import OpenDesk
from driving import Desk, until
from PySide6.QtGui import QGuiApplication

from fmviz.app.link import RELAY
from fmviz.app.state import Fetching
from fmviz.assets import asset
from fmviz.relay import GONE
from fmviz.trust import trust


def test_killed_at_rest(desk: Desk) -> None:
    desk.choose_tap("P3")
    maps, process = desk.maps, desk.app.link.process_id
    os.kill(process, signal.SIGKILL)
    until(desk.problem, "the banner says that the engine ended")
    assert "engine" in desk.problem().lower()
    assert desk.maps is maps
    assert desk.window.maps.has_maps
    assert desk.window.windowTitle().startswith("chelsea.png")
    until(lambda: desk.app.link.process_id not in (0, process), "another engine")
    desk.settle()
    assert desk.state.layer == desk.tapped("P3")
    desk.choose_tap("C4")
    assert desk.maps is not maps
    assert desk.problem()


def test_killed_in_mid_run(desk: Desk) -> None:
    process, maps = desk.app.link.process_id, desk.maps
    desk.choose_backbone("resnet50")
    assert desk.state.activity is not None
    os.kill(process, signal.SIGKILL)
    until(desk.problem, "the banner says that the engine ended")
    assert desk.window.maps.has_maps
    assert desk.maps is maps
    assert "resnet50" in desk.problem()
    until(lambda: desk.app.link.process_id not in (0, process), "another engine")
    until(lambda: desk.state.activity is None and desk.maps is not maps, "what was shown is captured again")
    assert "efficientnet_lite0_fpn" in desk.window.windowTitle()
    assert desk.state.setup.backbone == "efficientnet_lite0_fpn", "what is chosen is what is shown"
    desk.do("retry")
    desk.settle()
    assert "resnet50" in desk.window.windowTitle()
    assert not desk.problem()


def test_a_cancelled_run_leaves_what_was_shown(desk: Desk) -> None:
    desk.choose_backbone("resnet34")
    assert desk.window.actions_by_name["cancel"].isEnabled()
    desk.do("cancel")
    desk.settle()
    assert desk.state.setup.backbone == "efficientnet_lite0_fpn"
    assert "efficientnet_lite0_fpn" in desk.window.windowTitle()
    desk.choose_tap("C4")


def test_after_three_short_lives_another_try_starts_an_engine(desk: Desk) -> None:
    """It is not started again by itself then; what the banner offers does, also where it changes nothing else."""
    desk.settle()
    controller = desk.app.controller
    while desk.app.link.process_id:
        controller._short_lives = 2
        os.kill(desk.app.link.process_id, signal.SIGKILL)
        until(desk.problem, "the loss is told")
        until(lambda: not desk.app.link.running or desk.app.link.process_id, "it is given up, or started again")
    assert not desk.app.link.running
    controller.mend(device="cpu")
    desk.settle()
    assert desk.app.link.process_id
    assert desk.problem() == ""
    desk.choose_tap("C4")


def test_a_copy_of_the_table_without_an_engine_says_why_there_is_none(desk: Desk) -> None:
    desk.do("show_table")
    until(lambda: desk.table and desk.table.backbone == desk.state.setup.backbone, "the table")
    controller, clipboard = desk.app.controller, QGuiApplication.clipboard()
    while desk.app.link.process_id:
        controller._short_lives = 2
        os.kill(desk.app.link.process_id, signal.SIGKILL)
        until(desk.problem, "the loss is told")
        until(lambda: not desk.app.link.running or desk.app.link.process_id, "it is given up, or started again")
    clipboard.setText("before")
    desk.do("copy_table_markdown")
    assert desk.window.statusBar().currentMessage().startswith("Nothing was copied: the engine is not running.")
    assert clipboard.text() == "before"
    desk.do("copy_table")
    assert desk.window.statusBar().currentMessage() == f"Copied {len(desk.table.rows)} rows as text with tabs."
    desk.do("show_maps")
    controller.mend(device="cpu")
    desk.settle()
    assert desk.app.link.process_id


def test_after_three_short_lives_another_choice_starts_an_engine(desk: Desk) -> None:
    desk.settle()
    desk.app.controller._short_lives = 2
    desk.app.link.kill()
    until(lambda: desk.problem() and not desk.app.link.running, "it is given up")
    desk.choose_backbone("resnet18")
    desk.settle()
    assert "resnet18" in desk.window.windowTitle()
    assert not desk.problem()


def test_a_first_network_that_ends_its_engine_leaves_the_usual_one(open_desk: OpenDesk, tmp_path: Path) -> None:
    model = tmp_path / "dies.py"
    model.write_text(DIES)
    trust(model, hashlib.sha256(model.read_bytes()).hexdigest())
    desk = open_desk(backbone=f"own:{model}:build")
    desk.settle()
    assert "dies" in desk.problem()
    assert "ended unexpectedly" in desk.problem()
    assert "efficientnet_lite0_fpn" in desk.window.windowTitle()
    assert desk.window.setup_bar.isEnabled()
    process = desk.app.link.process_id
    desk.do("retry")
    until(lambda: desk.app.link.process_id not in (0, process), "it is that network that is tried again")
    desk.settle()
    assert "efficientnet_lite0_fpn" in desk.window.windowTitle()
    desk.choose_backbone("resnet18")
    desk.settle()
    assert "resnet18" in desk.window.windowTitle()
    desk.close()


def test_an_engine_that_is_restarted_runs_what_is_chosen_and_nothing_is_wrong(desk: Desk) -> None:
    process = desk.app.link.process_id
    desk.choose_backbone("resnet34")
    desk.do("restart_engine")
    until(lambda: desk.app.link.process_id not in (0, process), "another engine")
    desk.settle()
    assert not desk.problem()
    assert "resnet34" in desk.window.windowTitle()


@contextmanager
def stopped(desk: Desk, look: Callable[[], object] | None = None) -> Iterator[None]:
    """The engine hears nothing, and what is looked at is not at hand, maps if nothing else: inside, it was told that it does
    not come."""
    for tap in ("P3", "P2", "C3", "C2"):
        desk.choose_tap(tap)
    process = desk.app.link.process_id
    os.kill(process, signal.SIGSTOP)
    try:
        look() if look else desk.app.presenter.choose_layer(desk.tapped("C5"))
        until(lambda: desk.state.activity is not None, "it is told that the engine is waited for")
        yield
    finally:
        if desk.app.link.process_id == process:
            os.kill(process, signal.SIGCONT)


@pytest.fixture
def impatient(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A window that waits for maps no longer than a moment."""
    monkeypatch.setattr(desk.app.controller, "_silence_ms", 1)
    return desk


def test_an_engine_that_falls_silent_is_told_and_can_be_given_up(impatient: Desk) -> None:
    """Between runs, when maps do not come."""
    desk, process = impatient, impatient.app.link.process_id
    with stopped(desk):
        assert desk.window.actions_by_name["cancel"].isEnabled()
        desk.do("cancel")
        until(lambda: desk.app.link.process_id not in (0, process), "another engine")
    assert "did not answer" in desk.problem()
    desk.settle()
    until(lambda: desk.maps.layer == desk.tapped("C5"), "the maps")
    until(lambda: desk.state.activity is None, "the channel of that layer as well")


def test_a_slow_answer_is_waited_for_and_then_forgotten(impatient: Desk) -> None:
    desk = impatient
    with stopped(desk):
        assert desk.state.activity.text == "Waiting for the engine"
        assert desk.maps.layer != desk.tapped("C5")
    until(lambda: desk.maps.layer == desk.tapped("C5"), "the maps")
    until(lambda: desk.state.activity is None, "the channel of that layer as well")
    assert not desk.problem()


def test_maps_that_are_no_longer_wanted_are_not_waited_for(impatient: Desk) -> None:
    """Where there is no picture any more, nothing is waited for."""
    desk, process = impatient, impatient.app.link.process_id
    with stopped(desk):
        desk.app.controller.close_picture(0)
        assert desk.state.activity is None
    until(lambda: not desk.app.link._open, "all is answered")
    assert desk.state.activity is None
    assert desk.app.link.process_id == process


@pytest.mark.parametrize("what", ["vector", "channel"])
def test_what_else_does_not_come_is_told_as_well(impatient: Desk, what: str) -> None:
    desk, process = impatient, impatient.app.link.process_id
    look = {
        "vector": lambda: desk.app.presenter.choose_layer("body.classifier"),
        "channel": lambda: desk.app.presenter.choose_channel(7),
    }
    with stopped(desk, look[what]):
        assert desk.state.activity.text == "Waiting for the engine"
    until(lambda: desk.state.activity is None, "it came")
    with stopped(desk):
        desk.do("cancel")
        until(lambda: desk.app.link.process_id not in (0, process), "another engine")
    desk.settle()


def test_what_the_engine_works_at_is_not_lost_for_a_map(impatient: Desk) -> None:
    desk, process = impatient, impatient.app.link.process_id
    desk.app.store.update(fetching=Fetching("resnet50", "IMAGENET1K_V2", "half of it", going=True))
    with stopped(desk):
        desk.do("cancel")
        assert desk.state.activity is None
    until(lambda: desk.maps.layer == desk.tapped("C5"), "the maps")
    assert desk.app.link.process_id == process
    desk.app.store.update(fetching=None)


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
def test_what_is_shown_can_be_looked_at_after_a_restart_whose_run_comes_to_nothing(
    desk: Desk, tmp_path: Path, how: str
) -> None:
    process = desk.app.link.process_id
    desk.choose_backbone("resnet50")
    desk.do("restart_engine")
    until(lambda: desk.app.link.process_id not in (0, process), "another engine")
    if how == "fails":
        # What is wanted then: weights that are not there.
        desk.app.controller.set_setup(backbone="resnet18", weights=str(tmp_path / "none.pth"))
        until(desk.problem, "it is told")
    else:
        desk.do("cancel")
    desk.settle()
    assert "efficientnet_lite0_fpn" in desk.window.windowTitle()
    assert desk.state.setup.backbone == "efficientnet_lite0_fpn"
    for tap in ("C5", "P4"):
        desk.choose_tap(tap)
    assert desk.state.activity is None


def test_a_run_given_up_by_force_leaves_the_picture_that_is_shown(desk: Desk) -> None:
    desk.drop([asset("samples/coffee.png")])
    desk.settle()
    usual = desk.app.controller._patience_ms
    desk.app.controller._patience_ms = 50
    process = desk.app.link.process_id
    os.kill(process, signal.SIGSTOP)
    desk.do("previous")
    assert desk.state.activity is not None
    desk.do("cancel")
    until(lambda: desk.app.link.process_id not in (0, process), "another engine")
    desk.app.controller._patience_ms = usual
    desk.settle()
    assert desk.state.source == desk.state.shown_source
    assert desk.window.windowTitle().startswith("coffee.png")


def test_a_loss_is_told_in_whatever_dock_is_in_front(desk: Desk) -> None:
    desk.window.raise_dock("parameters")
    above = desk.window.banner_of_hidden_maps
    assert not above.isVisible()
    desk.app.link.kill()
    until(desk.problem, "the loss")
    until(above.isVisible, "the banner over the window")
    assert above.text == desk.problem()
    desk.settle()
    desk.window.raise_dock("maps")
    until(lambda: not above.isVisible(), "it is over the maps again")
    assert desk.window.maps.banner.isVisible()
    desk.window.raise_dock("parameters")
    until(above.isVisible, "the banner over the window")
    above.closed.emit()
    assert not above.isVisible()
    assert not desk.problem()
    desk.window.raise_dock("maps")


def test_a_first_run_that_is_given_up_leaves_an_engine_for_the_next(open_desk: OpenDesk, tmp_path: Path) -> None:
    """It does not listen, and is ended by force."""
    desk = open_desk(engine=[sys.executable, "-c", DEAF, RELAY, str(tmp_path / "mark")])
    desk.app.controller._patience_ms = 50
    until(lambda: desk.state.activity is not None and (tmp_path / "mark").exists(), "it runs, and is deaf")
    deaf = desk.app.link.process_id
    desk.do("cancel")
    until(lambda: desk.problem() and desk.app.link.process_id not in (0, deaf), "another engine is there")
    assert "ended and another one started" in desk.problem()
    until(lambda: desk.state.backbones, "there are networks to choose from")
    desk.app.controller.set_setup(backbone="resnet18")
    desk.settle()
    assert desk.state.shown is not None
    assert desk.state.shown.setup.backbone == "resnet18"
    desk.close()


DIES = """
import os
import torch

class Dies(torch.nn.Module):
    def forward(self, x):
        os.kill(os.getpid(), 9)

def build():
    return Dies()
"""

DEAF = """
import pathlib, sys, time
mark = pathlib.Path(sys.argv[2])
if not mark.exists():
    mark.touch()
    time.sleep(600)
sys.argv = ["fmviz", "engine"]
from fmviz.cli import main
sys.exit(main())
"""
"""An engine that hears nothing the first time that a window starts it."""


def test_a_program_that_has_ended_is_told_as_that(open_desk: OpenDesk) -> None:
    """What `fmviz.show` opened: another engine, or a smaller size, would be in vain."""
    code = "import sys; from fmviz.relay import GONE; sys.stdin.buffer.read(1); sys.exit(GONE)"
    desk = open_desk(engine=[sys.executable, "-c", code, RELAY])
    until(lambda: desk.state.problem("maps") is not None, "the banner")
    problem = desk.state.problem("maps")
    assert (problem.message, problem.remedies) == (GONE, ())
    assert not desk.app.link.running


SHOWN = """
import os, pathlib, signal, sys
from fmviz.relay import GONE
has_ended = pathlib.Path(sys.argv[2])
def end(*_):
    has_ended.touch()
    print(GONE, file=sys.stderr, flush=True)
    os._exit(1)
if has_ended.exists():
    end()
signal.signal(signal.SIGTERM, end)
sys.argv = ["fmviz", "engine"]
from fmviz.cli import main
sys.exit(main())
"""
"""A program that shows its model until it is told to end."""


def test_after_a_program_has_ended_what_is_chosen_in_vain_is_taken_back(open_desk: OpenDesk, tmp_path: Path) -> None:
    desk = open_desk(engine=[sys.executable, "-c", SHOWN, RELAY, str(tmp_path / "ended")])
    desk.settle()
    maps = desk.maps
    os.kill(desk.app.link.process_id, signal.SIGTERM)
    until(lambda: desk.state.problem("maps") is not None, "the banner")
    for _ in range(2):
        desk.app.controller.problems.dismiss("maps")
        desk.choose_backbone("resnet18")
        until(lambda: desk.state.problem("maps") is not None, "the banner again")
        assert desk.state.problem("maps").message == GONE
        assert desk.state.setup.backbone == desk.state.shown.setup.backbone
    assert desk.maps is maps
    told: list[str] = []
    desk.app.exporting.heard.connect(lambda reply: told.append(reply.message))
    desk.app.exporting.begin(folder=str(tmp_path))
    assert told == [GONE]
    desk.do("show_table")
    until(lambda: desk.state.problem("parameters") is not None, "why there is no table")
    assert desk.state.problem("parameters").message == GONE


def test_what_is_named_is_what_is_drawn(open_desk: OpenDesk, tmp_path: Path) -> None:
    """Also where the engine cannot make the capture again: its picture is gone."""
    picture = Path(shutil.copy(asset("samples/chelsea.png"), tmp_path / "gone.png"))
    desk = open_desk([picture])
    desk.settle()
    desk.choose_tap("C3")
    heading, of = desk.window.maps._heading.text(), desk.window.channel._of.text()
    other = desk.tapped("C5")
    picture.unlink()
    desk.app.link.kill()
    until(lambda: desk.app.link.running and desk.state.activity is None, "another engine has tried it")
    desk.app.presenter.choose_layer(other)
    until(lambda: desk.problem(), "it is told")
    assert desk.maps is not None
    assert desk.maps.layer == desk.tapped("C3")
    assert desk.window.maps._heading.text() == heading
    assert desk.window.channel._of.text() == of
    desk.close()
