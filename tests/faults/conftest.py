"""Windows for the tests that need one; see `tests/app/desks.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from desks import *  # noqa: F403
from desks import must_be_quiet


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """As in `tests/app`."""
    must_be_quiet(items, Path(__file__).parent)
