"""As a program: `fmviz` with the arguments that follow, and a person at its window who does what `FMVIZ_TEST_VISIT` says.

That is JSON: a list of deeds, each a list of a name and its arguments. What is seen in the end is printed, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer

from fmviz.app.main import App, samples
from fmviz.app.views.export_dialog import ExportDialog
from fmviz.cli import main

LIMIT = 90
"""Seconds that a visit may take on a busy machine."""


class Visit:
    """Does one deed after the other, each when the one before has come to its end."""

    def __init__(self, app: App, deeds: list[list[Any]]) -> None:
        self.app, self.seen = app, dict[str, Any]()
        self._deeds = self._all(deeds)
        self._wait: Callable[[], object] = lambda: True
        self._end = time.monotonic() + LIMIT
        self._timer = QTimer()
        self._timer.timeout.connect(self._look)
        self._timer.start(20)

    def _look(self) -> None:
        if time.monotonic() > self._end:
            print(f"waited in vain; {self.seen} {self.app.store.state.problems}", file=sys.stderr, flush=True)
            os._exit(70)
        if self._wait():
            wait = next(self._deeds, None)
            if wait is None:
                self._timer.stop()
                print(json.dumps(self.seen), flush=True)
                self.app.window.close()
            else:
                self._wait = wait

    def _all(self, deeds: list[list[Any]]) -> Iterator[Callable[[], object]]:
        for name, *arguments in deeds:
            yield from getattr(self, name)(*arguments)

    def _settled(self) -> bool:
        state = self.app.store.state
        return state.shown is not None and state.activity is None and bool(state.backbones)

    # Deeds

    def wait(self) -> Iterator[Callable[[], object]]:
        """Until what is wanted is shown."""
        yield self._settled
        self.seen["title"] = self.app.window.windowTitle()

    def sample(self) -> Iterator[Callable[[], object]]:
        path = samples()[1][1]
        self.app.window.sample_chosen.emit(str(path))
        yield lambda: self._settled() and path.name in self.app.window.windowTitle()

    def vanish(self, path: str, side: int) -> Iterator[Callable[[], object]]:
        """The file goes, and is wanted again at another size."""
        Path(os.fsdecode(bytes.fromhex(path))).unlink()
        self.app.controller.set_setup(mode="whole", side=side)
        yield lambda: self.app.store.state.problems
        self.seen["problems"] = [str(problem) for problem in self.app.store.state.problems]
        self.seen["maps"] = self.app.window.maps.has_maps

    def export(self, folder: str) -> Iterator[Callable[[], object]]:
        self.app.window.actions_by_name["export"].trigger()
        dialog = self.app.commands.dialog
        assert isinstance(dialog, ExportDialog)
        dialog.folder.setText(folder)
        dialog._button.click()
        yield lambda: not dialog.running
        self.seen["exported"] = dialog.message


def visited(deeds: list[list[Any]]) -> None:
    """Whoever opens a window gets a visitor."""
    show, visits = App.show, []

    def shown(app: App) -> None:
        show(app)
        visits.append(Visit(app, deeds))

    App.show = shown  # type: ignore[method-assign]


if __name__ == "__main__":
    visited(json.loads(os.environ["FMVIZ_TEST_VISIT"]))
    sys.exit(main(sys.argv[1:]))
