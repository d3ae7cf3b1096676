"""From the start of a process to what a person sees, beside processes that do less."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from measuring import Deed, Line, Pair

_FIVE_DOCKS = """
import os
from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import QApplication, QDockWidget, QLabel, QMainWindow, QTextEdit
application = QApplication([])
window = QMainWindow()
window.setCentralWidget(QLabel("a picture"))
for name in ("one", "two", "three", "four", "five"):
    dock = QDockWidget(name, window)
    dock.setWidget(QTextEdit())
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
window.resize(1600, 1000)
class Painted(QObject):
    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Paint:
            os._exit(0)
        return False
painted = Painted()
window.centralWidget().installEventFilter(painted)
window.show()
application.exec()
"""

_OURS = """
import gc, os, signal, sys
gc.disable()
import fmviz.cli  # as the command fmviz does, which imports nothing of Qt before the next
from fmviz.app.main import App, make_application
from PySide6.QtCore import QEvent, QObject, QSettings
application = make_application()
app = App(QSettings(sys.argv[2] + "/settings.ini", QSettings.Format.IniFormat))
def seen():
    if app.link.process_id:
        os.kill(app.link.process_id, signal.SIGKILL)
    os._exit(0)
class Painted(QObject):
    came = sys.argv[1] == "window"
    def eventFilter(self, watched, event):
        if self.came and event.type() == QEvent.Type.Paint:
            seen()
        return False
painted = Painted()
app.controller.looking.maps_came.connect(lambda maps: setattr(painted, "came", True))
watched = app.window if painted.came else app.window.maps.canvas.viewport()
watched.installEventFilter(painted)
app.show()
application.exec()
"""


def starts() -> Iterator[Line]:
    folder = tempfile.TemporaryDirectory(prefix="fmviz-")
    window = _process(_OURS, "window", folder.name)
    yield Pair("window painted after process start, beside a bare one", window, _process(_FIVE_DOCKS), 1.5)
    maps = _process(_OURS, "maps", folder.name)
    yield Pair("sample's maps painted after process start, beside importing torch", maps, _process("import torch"), 1.6)


def _process(code: str, *arguments: str) -> Deed:
    # From the second start on, Python finds its modules compiled.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def deed() -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, env=environment)
        return time.perf_counter() - begun

    return deed
