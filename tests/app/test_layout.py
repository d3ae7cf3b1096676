"""What stands on the window: the docks' tabs, and the bars that scroll."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from driving import Desk, until
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QTextEdit, QWidget
from pytestqt.qtbot import QtBot

from fmviz.app.views.scroll_bar import give_scroll_bars

FIRST_START = """
import os, sys
from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QTabBar
from fmviz.app.main import App, make_application
application = make_application()
app = App(QSettings(sys.argv[1], QSettings.Format.IniFormat))
app._start = lambda: None
app.show()
window = app.window
window.resize(1600, 1000)
def tell():
    for _ in range(100):
        application.processEvents()
    for bar in window.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly):
        if bar.isVisible() and bar.geometry().intersects(window.rect()):
            print(*(bar.tabText(place) for place in range(bar.count())))
tell()
window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, window.docks["pyramid"])
window.tab_docks(window.docks["layers"], window.docks["channel"])
window.docks["input"].setFloating(True)
application.processEvents()
window.setAnimated(False)
window.reset_layout()
tell()
os._exit(0)
"""


def test_each_tab_bar_of_the_docks_is_there_once(tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-c", FIRST_START, str(tmp_path / "settings.ini")]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert sorted(told.stdout.splitlines()) == 2 * ["Channel Column"] + 2 * ["Maps Pyramid Parameters"]


def test_a_scroll_bar_is_painted_and_works(qtbot: QtBot) -> None:
    area = QTextEdit()
    give_scroll_bars(area)
    area.setPlainText("\n".join(map(str, range(200))))
    area.resize(300, 200)
    qtbot.addWidget(area)
    area.show()
    bar = area.verticalScrollBar()
    until(lambda: bar.isVisible() and bar.maximum() > 0, "the bar is there")

    def column() -> list[int]:
        image = bar.grab().toImage()
        return [image.pixel(image.width() // 2, y) for y in range(image.height())]

    above = column()
    assert len(set(above)) > 1, "a slider on a ground"
    QTest.mouseClick(bar, Qt.MouseButton.LeftButton, pos=QPoint(bar.width() // 2, bar.height() - 30))
    assert bar.value() > 0
    assert column() != above
    area.clear()
    assert len(set(column())) == 1, "nothing to scroll, no slider"


def test_what_can_be_cancelled_stays_in_sight_beside_a_message(started: Desk) -> None:
    window = started.window
    window.set_activity("Running", 0.5)
    window.statusBar().showMessage("Map copied.", 3000)
    until(lambda: window._stop.isVisible() and not window._value.isVisible(), "the message is there")
    assert window._doing.isVisible()

    def place(widget: QWidget) -> tuple[int, int]:
        left = widget.mapTo(window.statusBar(), QPoint(0, 0)).x()
        return left, left + widget.width()

    until(
        lambda: place(window._doing)[0] >= window._doing.fontMetrics().horizontalAdvance("Map copied."), "it has room"
    )
    until(lambda: window._doing.width() >= window._doing.sizeHint().width(), "nothing is cut off")
    assert place(window._doing)[1] <= place(window._progress)[0] < place(window._stop)[0]
    assert place(window._run)[1] <= window.statusBar().width()
    window.statusBar().clearMessage()
    window.set_activity("", None)


def test_a_channel_that_the_layer_does_not_have_is_not_chosen(started: Desk) -> None:
    started.settle()
    layer = started.state.layer_info
    assert layer is not None
    started.window.channel.channel_chosen.emit(10_000)
    assert started.state.channel == layer.shape[1] - 1
    started.settle()
