"""What is loaded after the first paint, so that nobody waits for it: numpy, and pyqtgraph before there is something to plot."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import QObject, QThread, QTimer, Signal

_USUAL_S = sys.getswitchinterval()
_POLITE_S = 0.0005
"""How long Python lets a thread go on when the window wants to."""
_AT_A_TIME_S = 0.003
_PAUSE_MS = 15


class Loading(QThread):
    """Calls each of `steps`, and lets the window go on meanwhile. Begun and ended by `begin` and `end`.

    No garbage is collected in that time: in this thread, it would be the end of Qt's objects of another one.
    """

    def __init__(self, *steps: Callable[[], object], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._steps = steps
        self._collects = False
        self.finished.connect(self._collect_again)

    def begin(self, priority: QThread.Priority = QThread.Priority.InheritPriority) -> None:
        self._collects = gc.isenabled()
        gc.disable()
        self.start(priority)

    def end(self) -> None:
        """Wait for what has begun."""
        self.wait()
        self._collect_again()

    def run(self) -> None:
        sys.setswitchinterval(_POLITE_S)
        try:
            for step in self._steps:
                step()
        finally:
            sys.setswitchinterval(_USUAL_S)

    def _collect_again(self) -> None:
        if self._collects:
            self._collects = False
            gc.enable()


class PlotsAhead(QObject):
    """Loads pyqtgraph piece by piece: in one, it keeps the window for half a second when the first plot is wanted.

    It looks at everything in Qt's modules, which is when PySide6 makes its classes. That is done here, a few a turn, because
    PySide6 does not promise that two threads may; what is left is pyqtgraph's own Python, and loads in a thread.
    """

    loaded = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pieces = _pieces()
        self._more = QTimer(self, interval=_PAUSE_MS)
        self._more.timeout.connect(self._load_some)
        self._rest = Loading(lambda: import_module("fmviz.app.views.plots"), parent=self)
        self._rest.finished.connect(self.loaded)
        self._begun = False

    def begin(self) -> None:
        """From now on, once."""
        if not self._begun:
            self._begun = True
            self._more.start()

    def end(self) -> None:
        """The window closes: no further piece."""
        self._begun = True
        self._more.stop()
        self._rest.end()

    def _load_some(self) -> None:
        end = time.perf_counter() + _AT_A_TIME_S
        for _ in self._pieces:
            if time.perf_counter() > end:
                return
        self._more.stop()
        self._rest.begin(QThread.Priority.LowPriority)


def _pieces() -> Iterator[None]:
    for module in (QtCore, QtGui, QtWidgets):
        for name in dir(module):
            getattr(module, name, None)
            yield
    for name in ("QtSvg", "QtOpenGLWidgets", "QtTest"):
        # pyqtgraph does without them as well.
        with contextlib.suppress(ImportError):
            import_module(f"PySide6.{name}")
        yield
