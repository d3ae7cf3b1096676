"""The real window with a real engine, as a person has them, only off the screen and with settings of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from desks import *  # noqa: F403
from desks import must_be_quiet


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A warning of Qt's fails the test that it comes in. (The hook hears of all tests, not only of those beside it.)"""
    must_be_quiet(items, Path(__file__).parent)
