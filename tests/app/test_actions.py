"""Every command of the table is there, does something, and has keys of its own."""

from __future__ import annotations

import pytest
from driving import Desk
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu

from fmviz.app.actions import ACTIONS, MENUS, Row


@pytest.mark.parametrize("row", ACTIONS, ids=lambda row: row.name)
def test_a_command_has_a_menu_and_something_to_do(started: Desk, row: Row) -> None:
    action = started.window.actions_by_name[row.name]
    assert action.text()
    assert callable(started.app.commands.table()[row.name])
    assert row.menu in dict(MENUS)
    menus = [menu for menu in action.associatedObjects() if isinstance(menu, QMenu)]
    assert menus


def test_the_table_has_no_handler_without_an_action(started: Desk) -> None:
    assert set(started.app.commands.table()) == {row.name for row in ACTIONS}


def test_no_keys_are_given_twice(started: Desk) -> None:
    keys = [keys.toString() for action in started.window.findChildren(QAction) for keys in action.shortcuts()]
    assert len(keys) == len(set(keys))


def test_docks_close_and_come_back(started: Desk) -> None:
    for dock in started.window.docks.values():
        dock.close()
        assert dock.isHidden()
        dock.toggleViewAction().trigger()
        assert not dock.isHidden()
    started.window.docks["channel"].setFloating(True)
    started.do("reset_layout")
    assert not started.window.docks["channel"].isFloating()
