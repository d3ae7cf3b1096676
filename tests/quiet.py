"""What a test must not leave behind: threads, processes, open files; and a module of tests: windows and timers as well.

Windows are shared by the tests of a module, and to look for timers takes a tenth of a second.

Warnings are errors in this suite, and pytest makes warnings of exceptions that nobody caught, in threads and in `__del__`;
pytest-qt fails a test in whose slots one is raised; Qt's own log lines fail the tests of windows.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

PATIENCE = 10.0
"""Seconds that something may take to end."""

EXCEPTIONS = (
    # tqdm's monitor lives as long as the process that showed a progress bar once.
    "tmonitor",
)


def threads() -> set[str]:
    return {
        one.name for one in threading.enumerate() if not any(word in type(one).__name__.lower() for word in EXCEPTIONS)
    }


def children() -> set[str]:
    """The processes that this one has started and that still run."""
    own = os.getpid()
    found = set()
    for task in Path(f"/proc/{own}/task").glob("*/children"):
        try:
            found |= set(task.read_text().split())
        except OSError:  # that thread has just ended
            continue
    return found


def files() -> set[str]:
    """What is open: named files and sockets, by what they are."""
    found = set()
    for entry in os.scandir("/proc/self/fd"):
        try:
            target = os.readlink(entry.path)
        except OSError:
            continue
        if target.startswith("/") and not target.startswith(("/dev/", "/proc/", "/memfd:")):
            found.add(target)
    return found


def windows() -> set[str]:
    if "PySide6.QtWidgets" not in sys.modules:
        return set()
    from PySide6.QtWidgets import QApplication

    return {str(widget) for widget in QApplication.topLevelWidgets() if widget.isVisible()}


def timers() -> set[str]:
    """Those that still run and belong to nobody."""
    if "PySide6.QtCore" not in sys.modules:
        return set()
    import shiboken6
    from PySide6.QtCore import QTimer

    found = [one for one in gc.get_objects() if type(one) is QTimer and shiboken6.isValid(one)]
    return {str(one) for one in found if one.isActive() and one.parent() is None}


def left(before: dict[str, set[str]]) -> dict[str, set[str]]:
    now = {"threads": threads(), "processes": children(), "files": files(), "windows": windows(), "timers": timers()}
    return {what: there for what in now if (there := now[what] - before.get(what, set()))}


_BEFORE = pytest.StashKey[tuple[set[str], int, set[str]]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Notes what is there when the test begins, with all that its fixtures made."""
    if sys.platform.startswith("linux"):
        item.stash[_BEFORE] = threads(), len(children()), files()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Fails the test that leaves something, when its own fixtures have taken away what is theirs."""
    result = yield
    before = item.stash.get(_BEFORE, None)
    end = time.monotonic() + PATIENCE
    while (there := _more_than(before) if before else {}) and time.monotonic() < end:
        gc.collect()
        time.sleep(0.05)
    assert not there, f"left behind: {there}"
    return result


def _more_than(before: tuple[set[str], int, set[str]]) -> dict[str, object]:
    """An engine that was started again is another process, and no more of them."""
    now = {"threads": threads() - before[0], "processes": children(), "files": files() - before[2]}
    if len(now["processes"]) <= before[1]:
        del now["processes"]
    return {what: there for what, there in now.items() if there}


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fails where something is still there a while after the module's last test."""
    if not sys.platform.startswith("linux"):
        yield
        return
    before = {"threads": threads(), "processes": children(), "files": files(), "windows": windows(), "timers": timers()}
    yield
    end = time.monotonic() + PATIENCE
    while (there := left(before)) and time.monotonic() < end:
        gc.collect()
        time.sleep(0.05)
    assert not there, f"left behind: {there}"
