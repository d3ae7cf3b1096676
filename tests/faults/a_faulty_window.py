"""A window in which a slot fails five times; then it prints, as JSON, what its dialog says, and ends.

python a_faulty_window.py SETTINGS
"""

from __future__ import annotations

import json
import sys

from PySide6.QtCore import QSettings, QTimer

from fmviz.app.main import App, make_application

application = make_application()
settings = QSettings(sys.argv[1], QSettings.Format.IniFormat)
app = App(settings, engine=[sys.executable, "-c", "import sys; sys.stdin.read()"])
app.faults.listen()
app.show()
failed = 0


def fail() -> None:
    global failed
    failed += 1
    if failed > 5:
        timer.stop()
        dialog = app.faults.dialog
        assert dialog is not None
        print(json.dumps({"title": dialog._title.text(), "report": dialog.text}), flush=True)
        app.faults.stop()
        dialog.accept()
        app.window.close()
        return
    raise ValueError(f"number {failed}")


timer = QTimer(interval=50)
timer.timeout.connect(fail)
timer.start()
sys.exit(application.exec())
