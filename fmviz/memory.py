"""What a capture will weigh, asked before it is made."""

from __future__ import annotations

import os

import torch

from fmviz.errors import BackboneError, DeviceError
from fmviz.session import Session


def check_budget(session: Session, size: tuple[int, int]) -> None:
    """`DeviceError` where capturing every layer at an input of `size` (height, width) would not fit into free memory."""
    free = free_bytes(session.device)
    if free is None:
        return
    # Small inputs are let through without the second or so that the first table costs.
    if size[0] * size[1] <= 512 * 512:
        return
    try:
        totals = session.table(size).totals
        # Beside what is kept a forward has what it works on: its input, and what nobody keeps.
        needed = totals.capture_bytes + totals.peak_bytes
    except BackboneError:
        if session.backbone.group == "own":
            return  # Code of the user's may not run without values: nobody knows what it needs.
        raise
    if needed > free:
        raise DeviceError(
            f"Keeping every layer of {session.backbone.name} at {size[0]} × {size[1]} needs about "
            f"{needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on {session.device}: choose a smaller size."
        )


def free_bytes(device: torch.device) -> int | None:
    """How much memory a capture may take on `device`; None where nobody knows."""
    if device.type != "cpu":
        try:
            free, _ = torch.accelerator.get_memory_info(device)
        except RuntimeError:  # a device that does not tell, MPS for one
            return None
        return int(free)
    if not hasattr(os, "sysconf") or "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return None
    return _available_on_linux() or os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _available_on_linux() -> int | None:
    """MemAvailable, which counts what the page cache would give back; free pages alone do not."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None
