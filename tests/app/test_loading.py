"""What loads behind the window, in a process where nothing of it is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

IN_PIECES = """
import json, sys
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from fmviz.app.loading import PlotsAhead

application = QApplication([])
ahead = PlotsAhead()
beats = []
heart = QTimer(interval=1)
heart.timeout.connect(lambda: beats.append("pyqtgraph" in sys.modules))
heart.start()
before = "pyqtgraph" in sys.modules
ahead.loaded.connect(application.quit)
ahead.begin()
ahead.begin()
{meanwhile}
application.exec()
ahead.end()
from fmviz.app.views.plots import plot_widget
from PySide6.QtWidgets import QWidget
parent = QWidget()
plot = plot_widget(parent, bottom="", left="")
print(json.dumps([before, "pyqtgraph" in sys.modules, beats.count(False), beats.count(True)]))
"""


def told(meanwhile: str = "") -> Any:
    code = IN_PIECES.format(meanwhile=meanwhile)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert "Error" not in ran.stderr, ran.stderr
    return json.loads(ran.stdout)


def test_plots_are_loaded_in_pieces_and_the_window_goes_on() -> None:
    before, after, beats_before, beats_meanwhile = told()
    assert not before
    assert after
    assert beats_before > 10, "between the pieces"
    assert beats_meanwhile > 0, "while the thread loads the rest"


@pytest.mark.parametrize("moment", [0, 100, 300])
def test_a_window_that_closes_meanwhile_waits_for_no_piece(moment: int) -> None:
    """And whoever wants a plot afterwards has it."""
    assert told(f"QTimer.singleShot({moment}, lambda: (ahead.end(), application.quit()))")[1]
