"""The window's process never imports torch, whatever it shows: it starts fast, and lives when torch does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

WINDOW = """
import sys
import time
from PySide6.QtCore import QSettings
from PySide6.QtTest import QTest
from fmviz.app.main import App, make_application


def until(true, what):
    end = time.monotonic() + 90
    while not true():
        if time.monotonic() > end:
            sys.exit(f"waited in vain: {what}")
        QTest.qWait(10)


application = make_application()
app = App(QSettings(sys.argv[1], QSettings.Format.IniFormat))
maps, taps, tables = [], [], []
looking = app.controller.looking
looking.maps_came.connect(maps.append)
looking.taps_came.connect(taps.append)
app.tabling.table_came.connect(tables.append)
painted = []
app.window.first_painted.connect(lambda: painted.append("numpy._core" in sys.modules))
app.show()
until(lambda: painted, "the first paint")
until(lambda: app.store.state.shown and maps, "the first maps")
assert painted == [False] and "numpy._core" in sys.modules
for _ in range(4):
    before = app.store.state.layer
    app.window.actions_by_name["next_layer"].trigger()
    until(lambda: app.store.state.layer != before and maps[-1].layer == app.store.state.layer, "maps of the next layer")
app.window.raise_dock("pyramid")
until(lambda: taps, "the pyramid")
app.window.raise_dock("parameters")
until(lambda: tables, "the parameters")
app.window.close()
until(lambda: not app.link.running, "the end of the engine")
print(len({of.layer for of in maps}), sorted({"torch", "torchvision"} & set(sys.modules)))
"""


def test_the_window_shows_everything_without_torch(tmp_path: Path) -> None:
    script = tmp_path / "window.py"
    script.write_text(WINDOW)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "fmviz.ini")],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "5 []\n"
