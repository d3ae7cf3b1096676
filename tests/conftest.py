"""Shared by all tests. Nothing here needs Qt or torch: the core is tested where neither the one nor a display is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from only_loopback import only_loopback  # noqa: F401
from quiet import nothing_is_left, pytest_runtest_call, pytest_runtest_teardown  # noqa: F401

from fmviz.assets import asset

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# Several processes run torch at once in these tests, and threads that spin while they wait get in each other's way.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // workers, 1)))

# The same examples in every run, whatever the machine: a suite that passed passes again, and a slow machine is no failure.
settings.register_profile(
    "fmviz", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
settings.load_profile("fmviz")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long` asks for the long forms: many more mutants, moments and steps than the suite takes by default."""
    parser.addoption("--long", action="store_true", help="the long forms of the fault tests")


SLOW_FOLDERS = ("app", "faults")
SLOW_FILES = ("test_training.py",)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the slow files first: one that starts last keeps one process busy while the other one waits."""
    items.sort(key=lambda item: not (item.path.parent.name in SLOW_FOLDERS or item.path.name in SLOW_FILES))


@pytest.fixture(scope="session")
def long(pytestconfig: pytest.Config) -> bool:
    """Whether the long forms were asked for."""
    return bool(pytestconfig.getoption("--long"))


@pytest.fixture
def sample() -> Path:
    """A picture with a cat."""
    return asset("samples/chelsea.png")


@pytest.fixture
def python() -> list[str]:
    """The command that runs this Python in a fresh process."""
    return [sys.executable]
