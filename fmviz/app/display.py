"""What Qt has to say to stderr, and the two things after which it would end the process by itself, in disorder: no display
to open a window on, and a display that goes away."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from PySide6.QtCore import QMessageLogContext, QtMsgType, qFormatLogMessage, qInstallMessageHandler

FAILED = 1
"""The exit code."""

_BROKEN = "connection broke"
"""What Qt says, of X11 and of Wayland, right before it calls `exit`."""


class Display:
    """Listens to Qt from before there is a QApplication."""

    def __init__(self) -> None:
        self._held: list[str] | None = []
        self._last_deeds: Callable[[], object] = lambda: None
        qInstallMessageHandler(self._heard)

    def opened(self, last_deeds: Callable[[], object]) -> None:
        """There is a display; where it goes away, `last_deeds` are done, which must need none."""
        held, self._held = self._held or (), None
        self._last_deeds = last_deeds
        for line in held:
            print(line, file=sys.stderr)

    def close(self) -> None:
        """Listen no more: Qt may speak until after Python has ended."""
        qInstallMessageHandler(None)

    def _heard(self, kind: QtMsgType, context: QMessageLogContext, text: str) -> None:
        line = qFormatLogMessage(kind, context, text)
        if kind == QtMsgType.QtFatalMsg and self._held is not None:
            self._end(
                f"the window cannot open: {_reason([*self._held, text])}; start it on a desktop, or use the commands of "
                "`fmviz --help`, which need no window."
            )
        if kind == QtMsgType.QtWarningMsg and _BROKEN in text:
            self._end("the display went away, and the window with it: start fmviz again.")
        if self._held is not None:
            self._held.append(line)
        else:
            print(line, file=sys.stderr, flush=True)

    def _end(self, sentence: str) -> NoReturn:
        try:
            self._last_deeds()
        finally:
            print(f"fmviz: {sentence}", file=sys.stderr, flush=True)
            os._exit(FAILED)


def _reason(lines: list[str]) -> str:
    """The first that Qt complained of, without its category."""
    category, colon, words = lines[0].partition(": ")
    return " ".join((words if colon and " " not in category else lines[0]).split()).rstrip(".")
