"""What is loaded after the first paint, so that nobody waits for it: numpy, and pyqtgraph before there is something to plot."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import QObject, QThread, QTimer, Signal

_POLITE_S = 0.0005
"""How long Python lets a thread go on when the window wants to."""
_AT_A_TIME_S = 0.003
_PAUSE_MS = 15


class Loading(QThread):
    """Calls each of `steps`, and lets the window go on meanwhile."""

    def __init__(self, *steps: Callable[[], object], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._steps = steps

    def run(self) -> None:
        usual = sys.getswitchinterval()
        sys.setswitchinterval(_POLITE_S)
        try:
            for step in self._steps:
                step()
        finally:
            sys.setswitchinterval(usual)


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
        self.thread_ = Loading(lambda: import_module("fmviz.app.views.plots"), parent=self)
        self.thread_.finished.connect(self.loaded)
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
        self.thread_.wait()

    def _load_some(self) -> None:
        end = time.perf_counter() + _AT_A_TIME_S
        for _ in self._pieces:
            if time.perf_counter() > end:
                return
        self._more.stop()
        self.thread_.start(QThread.Priority.LowPriority)


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
