"""What a capture will weigh, asked before it is made."""

from __future__ import annotations

import os
import sys

import pytest
import torch

import fmviz.memory
from fmviz.errors import DeviceError
from fmviz.memory import check_budget, free_bytes
from fmviz.session import Session


@pytest.fixture(scope="module")
def session() -> Session:
    return Session("resnet18", weights="random")


@pytest.fixture
def free(monkeypatch):
    """Says how many bytes are free from now on."""
    return lambda count: monkeypatch.setattr(fmviz.memory, "free_bytes", lambda device: count)


def test_what_fits_is_let_through_and_one_byte_less_is_not(session, free):
    size = (768, 1024)
    totals = session.table(size).totals
    needed = totals.capture_bytes + totals.peak_bytes
    free(needed)
    check_budget(session, size)
    free(needed - 1)
    with pytest.raises(DeviceError) as caught:
        check_budget(session, size)
    message = str(caught.value)
    assert "resnet18 at 768 × 1024" in message
    assert f"{needed / 1e9:.1f} GB" in message
    assert message.endswith("choose a smaller size.")


def test_the_table_it_asks_counts_no_less_than_a_capture_holds(session):
    capture = session.run(torch.zeros(1, 3, 96, 128))
    assert session.table((96, 128)).totals.capture_bytes == capture.nbytes


def test_a_small_input_costs_no_table(session, free, monkeypatch):
    def no_table(size: object) -> None:
        raise AssertionError("asked for the table")

    monkeypatch.setattr(session, "table", no_table)
    free(0)
    check_budget(session, (512, 512))
    with pytest.raises(AssertionError, match="asked for"):
        check_budget(session, (512, 513))


def test_where_nobody_knows_what_is_free_nothing_is_refused(session, free):
    free(None)
    check_budget(session, (8192, 8192))


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_on_linux_what_the_page_cache_would_give_back_counts():
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    available = free_bytes(torch.device("cpu"))
    assert available is not None
    assert 0 < available <= total


def test_an_unreadable_proc_falls_back_to_free_pages(monkeypatch):
    def unreadable(*args: object, **options: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", unreadable)
    found = free_bytes(torch.device("cpu"))
    monkeypatch.undo()
    assert found is None or found > 0
    monkeypatch.delattr(os, "sysconf", raising=False)
    monkeypatch.setattr(fmviz.memory, "_available_on_linux", lambda: None)
    assert free_bytes(torch.device("cpu")) is None


def test_an_accelerator_is_asked_and_one_that_cannot_say_refuses_nothing(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (5, 9))
    assert free_bytes(torch.device("cuda")) == 5

    def unknown(device: object) -> None:
        raise RuntimeError("not on this one")

    monkeypatch.setattr(torch.accelerator, "get_memory_info", unknown)
    assert free_bytes(torch.device("mps")) is None
