"""Start, layer switch and memory of the real window, through the real engine. Prints; asserts nothing.

    python tests/benchmarks/window.py [BACKBONE] [SWITCHES]

Needs a display (or QT_QPA_PLATFORM=offscreen). Times are from the choice of a layer to the end of the paint that shows it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
from PySide6.QtCore import QEvent, QObject, QSettings

from fmviz.app.main import App, make_application

START = time.perf_counter()


class Painted(QObject):
    """Notes when the grid is painted after new maps came."""

    def __init__(self, app: App) -> None:
        super().__init__()
        self.came = self.done = False
        app.controller.looking.maps_came.connect(self._came)
        app.window.maps.canvas.viewport().installEventFilter(self)

    def _came(self) -> None:
        self.came = True

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        self.done = self.done or (self.came and event.type() == QEvent.Type.Paint)
        return False


def resident(process: int) -> float:
    """MB that the process holds."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    return float("nan")


def main() -> None:
    backbone = sys.argv[1] if len(sys.argv) > 1 else "efficientnet_lite0_fpn"
    switches = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    application = make_application()
    with tempfile.TemporaryDirectory() as folder:
        app = App(QSettings(f"{folder}/settings.ini", QSettings.Format.IniFormat))
        app.store.update(setup=msgspec.structs.replace(app.store.state.setup, backbone=backbone))
        painted = Painted(app)
        app.show()
        app.window.resize(1600, 1000)
        application.processEvents()
        print(f"window shown after {time.perf_counter() - START:.2f} s of this process")
        until(application, lambda: painted.done)
        print(f"first maps painted after {time.perf_counter() - START:.2f} s")
        until(application, lambda: app.store.state.activity is None and bool(app.store.state.backbones))
        run = app.store.state.shown
        assert run is not None
        layers = [layer.name for layer in run.layers if layer.spatial]
        times = [switch(application, app, painted, layers[place % len(layers)]) for place in range(switches)]
        times = [one for one in times if one is not None]
        p50, p95, p99 = np.percentile(times, [50, 95, 99])
        print(f"{len(times)} layer switches at 1600 × 1000: p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f} ms")
        print(f"memory: window {resident(os.getpid()):.0f} MB, engine {resident(app.link.process_id):.0f} MB")
        app.window.close()


def until(application, condition) -> None:
    while not condition():
        application.processEvents()


def switch(application, app: App, painted: Painted, layer: str) -> float | None:
    """Milliseconds from choosing `layer` to its pixels; None where it was shown already."""
    if layer == app.store.state.layer:
        return None
    painted.came = painted.done = False
    start = time.perf_counter()
    app.presenter.choose_layer(layer)
    until(application, lambda: painted.done)
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()
