"""Ctrl+C, `kill`, the end of a terminal or of a desktop's session close the window in good order."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

from PySide6.QtCore import QObject, QSocketNotifier

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_IN_EARNEST_S = 2.0
"""What comes sooner is the same wish: whoever ends a process and its group sends it twice."""


class SignalsEnd(QObject):
    """From now on such a signal calls `close`, once; one that comes seconds later ends the process as if nobody heard it.
    What whoever started us wished to have ignored still is.

    Python acts upon a signal when it runs next, which in a window that waits for its user may be never: that there was one
    comes through a pair of sockets, which Qt watches.
    """

    def __init__(self, close: Callable[[], object], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._close = close
        self._first = 0.0
        self._closes = False
        self._heard_at, self._told_at = socket.socketpair()
        for end in (self._heard_at, self._told_at):
            end.setblocking(False)
        self._notifier = QSocketNotifier(self._heard_at.fileno(), QSocketNotifier.Type.Read, self)
        self._notifier.activated.connect(self._heard)
        self._before = signal.set_wakeup_fd(self._told_at.fileno(), warn_on_full_buffer=False)
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        usual = (signal.SIG_DFL, signal.default_int_handler)
        self._handlers = {number: found for number in numbers if (found := signal.getsignal(number)) in usual}
        for number in self._handlers:
            signal.signal(number, self._noted)

    def _noted(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        self._first = self._first or now
        if now - self._first > _IN_EARNEST_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _heard(self) -> None:
        if set(self._heard_at.recv(64)) & set(self._handlers) and not self._closes:
            self._closes = True
            self._close()

    def stop(self) -> None:
        """As it was."""
        self._notifier.setEnabled(False)
        signal.set_wakeup_fd(self._before)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for end in (self._heard_at, self._told_at):
            end.close()
