"""The engine dies; the window lives, says so, and starts another."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from desks import OpenDesk
from driving import Desk, until

from fmviz.app.link import RELAY
from fmviz.assets import asset


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
    assert desk.state.setup.backbone == "resnet50"
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


def test_a_first_run_that_is_given_up_leaves_an_engine_for_the_next(open_desk: OpenDesk, tmp_path: Path) -> None:
    """It does not listen, and is ended by force."""
    desk = open_desk(engine=[sys.executable, "-c", DEAF, RELAY, str(tmp_path / "mark")])
    desk.app.controller._impatience.setInterval(50)
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
