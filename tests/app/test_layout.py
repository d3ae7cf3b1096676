"""What stands on the window: the docks' tabs, and the bars that scroll."""

from __future__ import annotations

import pytest
from driving import Desk, until
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QTabBar, QTextEdit
from pytestqt.qtbot import QtBot

from fmviz.app.views.scroll_bar import give_scroll_bars


def bars_in_sight(desk: Desk) -> list[QTabBar]:
    direct = Qt.FindChildOption.FindDirectChildrenOnly
    bars = desk.window.findChildren(QTabBar, options=direct)
    return [bar for bar in bars if bar.isVisible() and bar.geometry().intersects(desk.window.rect())]


def stray(desk: Desk) -> list[QTabBar]:
    docks = [dock.geometry() for dock in desk.window.docks.values() if dock.isVisible()]
    return [bar for bar in bars_in_sight(desk) if any(bar.geometry().intersects(dock) for dock in docks)]


@pytest.mark.parametrize("upset", [False, True])
def test_tabs_stand_beside_docks_and_not_in_them(started: Desk, upset: bool) -> None:
    window = started.window
    for _ in range(2 if upset else 0):
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, window.docks["pyramid"])
        window.tabifyDockWidget(window.docks["layers"], window.docks["channel"])
        window.docks["input"].setFloating(True)
        started.do("reset_layout")
    until(lambda: not stray(started), "stray tab bars are gone")
    texts = {tuple(bar.tabText(place) for place in range(bar.count())) for bar in bars_in_sight(started)}
    assert texts == {("Maps", "Pyramid", "Parameters"), ("Channel", "Column")}
    assert set(window.tabifiedDockWidgets(window.docks["maps"])) == {
        window.docks["pyramid"],
        window.docks["parameters"],
    }


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
