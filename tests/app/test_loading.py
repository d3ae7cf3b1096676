"""What loads behind the window, in a process where nothing of it is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

IN_PIECES = """
import gc, json, sys, time
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from fmviz.app.loading import PlotsAhead

application = QApplication([])
ahead = PlotsAhead()
beats = []
heart = QTimer(interval=1)
def beat():
    beats.append(("pyqtgraph" in sys.modules, time.perf_counter(), gc.isenabled() and ahead._rest.isRunning()))
heart.timeout.connect(beat)
heart.start()
before = "pyqtgraph" in sys.modules
ahead.loaded.connect(application.quit)
ahead.begin()
ahead.begin()
{meanwhile}
begun = time.perf_counter()
application.exec()
took = time.perf_counter() - begun
ahead.end()
after = "pyqtgraph" in sys.modules
loading = [at for there, at, _ in beats if there]
collected = [collects for *_, collects in beats[len(beats) - len(loading):]]
longest = max((b - a for a, b in zip(loading, loading[1:])), default=0)
from fmviz.app.views.plots import plot_widget
from PySide6.QtWidgets import QWidget
parent = QWidget()
plot = plot_widget(parent, bottom="", left="")
print(json.dumps([before, after, len(beats) - len(loading), len(loading), longest / took, any(collected), gc.isenabled()]))
"""


def told(meanwhile: str = "") -> Any:
    code = IN_PIECES.format(meanwhile=meanwhile)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert "Error" not in ran.stderr, ran.stderr
    return json.loads(ran.stdout)


def test_plots_are_loaded_in_pieces_and_the_window_goes_on() -> None:
    before, after, beats_before, beats_meanwhile, longest, collected, collects = told()
    assert not before
    assert after
    assert beats_before > 10, "between the pieces"
    assert beats_meanwhile > 5, "while the thread loads the rest"
    assert longest < 0.5, "of the whole time"
    assert not collected, "what is garbage may be Qt's, and must not end in another thread"
    assert collects


@pytest.mark.parametrize(
    "when", ["ahead.end(); QTimer.singleShot(200, application.quit)", "QTimer.singleShot(0, {ends})"]
)
def test_a_window_that_closes_meanwhile_waits_for_no_piece(when: str) -> None:
    """And whoever wants a plot afterwards has it."""
    assert not told(when.replace("{ends}", "lambda: (ahead.end(), application.quit())"))[1]


def test_a_window_that_closes_while_the_thread_loads_collects_garbage_again() -> None:
    ends = "lambda: (ahead.end(), application.quit()) if ahead._rest.isRunning() else None"
    before, after, *_, collects = told(f"closes = QTimer(interval=1); closes.timeout.connect({ends}); closes.start()")
    assert (before, after, collects) == (False, True, True)
