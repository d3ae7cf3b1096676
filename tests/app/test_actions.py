"""Every command of the table is there, does something, and has keys of its own."""

from __future__ import annotations

import msgspec
import pytest
from driving import Desk, until
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QMenu

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


def test_the_keys_of_the_export_work_in_text_fields_too(desk: Desk) -> None:
    window = desk.window
    for field in (window.layers.field, window.setup_bar.side):
        window.activateWindow()
        field.setFocus()
        until(lambda field=field: window.isActiveWindow() and field.hasFocus(), "the field has the keys")
        QTest.keyClick(field, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
        until(
            lambda: desk.app.commands.dialog is not None and desk.app.commands.dialog.isVisible(), "the export dialog"
        )
        desk.app.commands.dialog.close()
    QTest.keyClicks(window.layers.field, "body")
    assert window.layers.field.text() == "body", "what is typed is the field's"


def test_after_a_number_was_entered_the_keys_are_for_the_layers(desk: Desk) -> None:
    side = desk.window.setup_bar.side
    desk.window.activateWindow()
    side.setFocus()
    until(lambda: desk.window.isActiveWindow() and side.hasFocus(), "the field has the keys")
    QTest.keyClick(side, Qt.Key.Key_Return)
    assert desk.window.layers.tree.hasFocus()


def test_what_mends_nothing_cannot_be_chosen(desk: Desk) -> None:
    actions = desk.window.actions_by_name
    assert not any(actions[name].isEnabled() for name in ("trust_model", "use_cpu", "restore_session"))
    desk.app.controller.problems.tell("maps", "out of memory", ("use_cpu",))
    assert actions["use_cpu"].isEnabled()
    desk.app.controller.problems.dismiss("maps")
    assert not actions["use_cpu"].isEnabled()
    desk.app.store.update(setup=msgspec.structs.replace(desk.state.setup, device="cuda:0"))
    assert actions["use_cpu"].isEnabled()
    desk.app.controller.cancel()
    desk.settle()


def test_a_step_to_a_picture_that_is_not_there_folds_nothing(desk: Desk) -> None:
    tree = desk.window.layers.tree
    desk.choose_layer("body.stage3")
    desk.window.activateWindow()
    tree.setFocus()
    here = tree.currentIndex()
    assert tree.model().hasChildren(here)
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Left):
        before = tree.isExpanded(here)
        QTest.keyClick(tree, key, Qt.KeyboardModifier.AltModifier)
        assert tree.isExpanded(here) == before
        tree.setExpanded(here, not before)


def test_the_icons_are_drawn_in_the_ink_of_the_appearance(started: Desk) -> None:
    def brightness(name: str) -> float:
        of_docks = [dock.findChild(QAbstractButton, name) for dock in started.window.docks.values()]
        holders = [button for button in of_docks if button] or [started.window.actions_by_name[name]]
        images = [holder.icon().pixmap(24, 24).toImage() for holder in holders]
        places = [(x, y) for x in range(24) for y in range(24)]
        drawn = [[image.pixelColor(*place) for place in places] for image in images]
        [level] = {max(pixel.lightnessF() for pixel in pixels if pixel.alphaF() > 0.9) for pixels in drawn}
        return level

    with_icons = [row.name for row in ACTIONS if row.icon]
    with_icons += ["qt_dockwidget_closebutton", "qt_dockwidget_floatbutton"]
    for appearance, light in (("dark", True), ("light", False), ("dark", True)):
        started.do(f"appearance_{appearance}")
        assert all((brightness(name) > 0.5) == light for name in with_icons), appearance
        # Qt draws the style's own, which are dark, where a dock leaves the window and comes back.
        for floating in (True, False):
            started.window.docks["column"].setFloating(floating)
            assert (brightness("qt_dockwidget_closebutton") > 0.5) == light
        started.do("reset_layout")
        assert (brightness("qt_dockwidget_closebutton") > 0.5) == light
    started.do("appearance_system")
