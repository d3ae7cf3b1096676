"""The one door for errors that nobody expected: they are written to the log and told in a dialog, and the window goes on."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QWidget

from fmviz.app.state import Store

if TYPE_CHECKING:
    from fmviz.app.views.report_dialog import ReportDialog


class Faults(QObject):
    """Hears of exceptions that nobody caught, in slots, events and threads of the window's process.

    Args:
        store: its state has the names that must not be in a report.
        window: the dialog belongs to it.
    """

    _happened = Signal(str, str)

    def __init__(self, store: Store, window: QWidget) -> None:
        super().__init__(window)
        self._store = store
        self._window = window
        self._before = (sys.excepthook, threading.excepthook, sys.unraisablehook)
        self.dialog: ReportDialog | None = None
        # Queued: a dialog is not made in the middle of a paint, nor outside of the window's thread.
        self._happened.connect(self._tell, Qt.ConnectionType.QueuedConnection)

    def listen(self) -> None:
        """From now on; `stop` ends it."""
        sys.excepthook = self.heard
        threading.excepthook = lambda args: self.heard(args.exc_type, args.exc_value, args.exc_traceback)
        sys.unraisablehook = lambda args: self.heard(args.exc_type, args.exc_value, args.exc_traceback)

    def stop(self) -> None:
        sys.excepthook, threading.excepthook, sys.unraisablehook = self._before

    def heard(self, kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        """As `sys.excepthook`, from any thread."""
        if issubclass(kind, KeyboardInterrupt):
            self._window.close()
            return
        # What only an error needs is loaded when there is one.
        import logging

        from fmviz.app import report

        found = error if error is not None else kind()
        logging.getLogger("fmviz").error("unexpected error", exc_info=(kind, found, trace))
        names = report.names_of_files(self._store.state)
        what = report.without_files(f"{kind.__name__}: {found}", names)
        self._happened.emit(what[:500], report.of_error(kind, found, trace, names))

    def _tell(self, what: str, text: str) -> None:
        if self.dialog is not None:
            self.dialog.also(text)
            return
        from fmviz.app.views.report_dialog import ReportDialog

        self.dialog = ReportDialog(what, text, self._window)
        self.dialog.setModal(True)
        self.dialog.gone_on.connect(self._read)
        self.dialog.show()

    def _read(self) -> None:
        if self.dialog is not None:
            self.dialog.deleteLater()
            self.dialog = None
