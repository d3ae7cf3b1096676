"""Fixtures: windows in places of their own, closed when a test left them open."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from driving import Desk
from PySide6.QtWidgets import QApplication

from fmviz.app.blocks import remove_abandoned

__all__ = ["_places_of_their_own", "_style", "desk", "open_desk", "started"]


def must_be_quiet(items: list[pytest.Item], folder: Path) -> None:
    """A warning of Qt's fails the test of this folder that it comes in."""
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.qt_log_level_fail("WARNING"))
            # What the offscreen platform says of every window and every popup.
            item.add_marker(
                pytest.mark.qt_log_ignore("does not support (propagateSizeHints|raise|grabbing the)", extend=True)
            )


OpenDesk = Callable[..., Desk]


@pytest.fixture(scope="session", autouse=True)
def _places_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither the user's cache of weights nor what they trust is touched; the engines inherit this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        patch.setenv("FMVIZ_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setenv("FMVIZ_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        patch.setenv("FMVIZ_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _style(qapp: QApplication) -> None:
    qapp.setStyle("Fusion")


@pytest.fixture(scope="module")
def open_desk(_style: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenDesk]:
    """Opens windows, and closes those that a test left open."""
    desks: list[Desk] = []

    def opened(pictures: Sequence[Path] = (), *, settings: Path | None = None, **options: Any) -> Desk:
        home = tmp_path_factory.mktemp("desk")
        desks.append(Desk(settings or home / "fmviz.ini", pictures, **options))
        return desks[-1]

    yield opened
    for desk in desks:
        if hasattr(desk, "app"):
            desk.close()
    left = [widget for widget in QApplication.topLevelWidgets() if widget.isVisible()]
    assert not left, f"windows are left: {left}"
    remove_abandoned(Path("/dev/shm"))
    assert not list(Path("/dev/shm").glob(f"fmviz-blocks-{os.getpid()}-*")), "shared memory is left"


@pytest.fixture(scope="module")
def started(open_desk: OpenDesk) -> Desk:
    """One window for the tests of a module, on the sample picture."""
    desk = open_desk()
    desk.settle()
    return desk


@pytest.fixture
def desk(started: Desk) -> Desk:
    """The window as at the first start."""
    started.afresh()
    return started
