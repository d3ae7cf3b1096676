"""After a day's work both processes hold what they held after its first minutes: memory, threads, descriptors, children."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from desks import OpenDesk
from driving import Desk, until
from PySide6.QtTest import QTest

from fmviz.engine.serve import REST

NETWORKS = ("resnet18", "efficientnet_lite0_fpn")


def resident(process: int) -> float:
    """MB that are its own: what is shared with the other process is counted with neither."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) / 1000
    raise AssertionError("no such process")


BLOCKS = 16
"""Shared memory is lent and kept for the next picture: eight that are free, and those that are shown."""


def descriptors(process: int | str) -> tuple[int, int]:
    """How many are open, and how many of shared memory beside them."""
    blocks = others = 0
    for entry in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:  # that of this very look
            continue
        if "fmviz-blocks-" in target:
            blocks += 1
        else:
            others += 1
    return others, blocks


def held(desk: Desk) -> dict[str, Any]:
    engine = desk.app.link.process_id
    children = Path(f"/proc/{engine}/task/{engine}/children").read_text().split()
    window_has, _ = descriptors("self")
    engine_has, engine_blocks = descriptors(engine)
    assert engine_blocks <= BLOCKS, "blocks are used again, and those that are gone forgotten"
    return {
        "window's descriptors": window_has,
        "engine's descriptors": engine_has,
        "window's threads": threading.active_count(),
        "engine's threads": len(os.listdir(f"/proc/{engine}/task")),
        "engine's children": len(children),
        "requests that wait": len(desk.app.link._open),
    }


def rest(desk: Desk) -> None:
    desk.settle()
    until(lambda: not desk.app.link._open, "nothing is asked")


def given_back(desk: Desk) -> None:
    """Until the engine, at rest, has given back what its allocator only kept: pieces of all sizes, after some hundred
    pictures."""
    process = desk.app.link.process_id
    kept = resident(process)
    for _ in range(4 * round(REST)):
        if resident(process) < kept - 5:
            return
        QTest.qWait(500)
    raise AssertionError("nothing was given back")


def work(desk: Desk, pictures: list[Path], *, switches: int, opened: int, networks: int, docks: int) -> None:
    layers = [layer.name for layer in desk.state.shown.layers if layer.spatial]  # type: ignore[union-attr]
    for number in range(switches):
        desk.app.presenter.choose_layer(layers[number % len(layers)])
        until(lambda: desk.maps is not None and desk.maps.layer == desk.state.layer, "the layer is there")
    for number in range(opened):
        desk.app.commands.open_paths([pictures[number % len(pictures)]])
        rest(desk)
        # The strip holds what is open; a person closes what they are done with.
        while len(desk.state.sources) > 3:
            desk.app.controller.close_picture(0)
    for number in range(networks):
        desk.app.controller.set_setup(backbone=NETWORKS[number % 2], weights="" if number % 2 else "random")
        rest(desk)
    for number in range(docks):
        dock = list(desk.window.docks.values())[number % len(desk.window.docks)]
        dock.setVisible(not dock.isVisible())
        dock.setVisible(True)
        if number % 7 == 0:
            dock.setFloating(not dock.isFloating())
            dock.setFloating(False)
    rest(desk)


@pytest.mark.timeout(7200)
def test_nothing_grows(open_desk: OpenDesk, tmp_path: Path, long: bool) -> None:
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(10):
        pictures.append(tmp_path / f"{number}.png")
        PIL.Image.fromarray(rng.integers(0, 256, (180, 240, 3), np.uint8)).save(pictures[-1])
    desk = open_desk()
    desk.settle()
    # In all 10,000 switches, 1,000 pictures, 200 networks and 500 docks.
    times = 25 if long else 1
    # Buffers are full, caches as large as they get, whatever is imported once is imported.
    for _ in range(2):
        work(desk, pictures, switches=120, opened=8, networks=4, docks=20)
    if long:
        given_back(desk)
    before, window, engine = held(desk), resident(os.getpid()), resident(desk.app.link.process_id)
    for _ in range(times):
        work(desk, pictures, switches=400, opened=40 if long else 20, networks=8 if long else 6, docks=20)
    if long:
        given_back(desk)
    after = held(desk)
    assert after == before
    assert resident(os.getpid()) - window <= 20
    assert resident(desk.app.link.process_id) - engine <= 20
    desk.close()
