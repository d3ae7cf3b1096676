"""The real window with a real engine, as a person has them, only off the screen and with settings of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from desks import *  # noqa: F403


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A warning of Qt's fails the test that it comes in. (The hook hears of all tests, not only of those beside it.)"""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.qt_log_level_fail("WARNING"))
            # What the offscreen platform says of every window and every popup.
            item.add_marker(
                pytest.mark.qt_log_ignore("does not support (propagateSizeHints|raise|grabbing the)", extend=True)
            )
