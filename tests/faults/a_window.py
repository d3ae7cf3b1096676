"""A window that changes what it shows fifty times a second, until somebody kills it.

    python a_window.py SETTINGS FOLDER

Its engine never answers. It prints a number for each change, after it: the channel that is chosen.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PySide6.QtCore import QSettings, QTimer

from fmviz.app.main import App, make_application

application = make_application()
settings = QSettings(sys.argv[1], QSettings.Format.IniFormat)
app = App(settings, engine=[sys.executable, "-c", "import sys; sys.stdin.read()"], folder=Path(sys.argv[2]))
app.show()
done = 0


def step() -> None:
    global done
    done += 1
    colours = ("viridis", "grey")[done % 2]
    app.store.update(channel=done, colour_map=colours, pin=(float(done), 1.0), layer=f"layer{done}")
    print(done, flush=True)


timer = QTimer(interval=20)
timer.timeout.connect(step)
timer.start()
application.exec()
