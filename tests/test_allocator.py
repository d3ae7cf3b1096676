"""Freed memory is used again, and the user's own choice is left alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fmviz.allocator import keep_freed_memory

CAPTURES = """
import resource, torch
from torch import nn
from fmviz import capture_activations
model = nn.Sequential(*(nn.Identity() for _ in range(4)), *(nn.ReLU() for _ in range(40)))
x = torch.rand(1, 64, 200, 200)  # 10 MB a layer
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    capture_activations(model, x)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for _ in range(3):
    faults()
print(min(faults() for _ in range(5)))
"""
PAGES = 40 * 64 * 200 * 200 * 4 // os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
"""Of what a capture keeps."""


def pages_found_anew(**environment: str) -> int:
    """How many pages the system has to find in one more capture."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    told = subprocess.run(
        [sys.executable, "-c", CAPTURES], env={**plain, **environment}, capture_output=True, text=True, check=True
    )
    return int(told.stdout)


@pytest.mark.skipif(not keep_freed_memory(), reason="not glibc, or it is told otherwise")
def test_a_capture_uses_the_memory_of_the_one_before() -> None:
    assert pages_found_anew() < PAGES / 20
    # As the user wants it, where the environment says so.
    assert pages_found_anew(MALLOC_TRIM_THRESHOLD_=str(1 << 20), MALLOC_MMAP_THRESHOLD_=str(1 << 20)) > PAGES / 2
