"""Windows for the tests that need one; see `tests/app/desks.py`."""

from __future__ import annotations

from desks import *  # noqa: F403
