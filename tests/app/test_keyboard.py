"""Letters that are typed into a field stay there, and the views have the keyboard again when nothing else needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from driving import Desk, until
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QKeySequence
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QDialog,
    QDockWidget,
    QLabel,
    QLineEdit,
    QMessageBox,
    QSpinBox,
    QToolButton,
    QWidget,
)

from fmviz.app.actions import ACTIONS
from fmviz.app.focus import is_text_field
from fmviz.app.views.bands_dialog import BandsDialog
from fmviz.app.views.compare_dialog import CompareDialog
from fmviz.app.views.export_dialog import ExportDialog
from fmviz.app.views.learning_page import LearningPage
from fmviz.app.views.report_dialog import ReportDialog
from fmviz.app.views.trust_dialog import TrustDialog
from fmviz.app.views.weights_page import WeightsPage
from fmviz.engine.messages import TrustWanted

LETTERS = "".join(keys for row in ACTIONS for keys in row.keys if len(keys) == 1)
CONTROL, NONE = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.NoModifier
DIALOGS = {
    "bands": BandsDialog,
    "export": ExportDialog,
    "compare": CompareDialog,
    "train_pyramid": LearningPage,
    "show_weights": WeightsPage,
    "shortcuts": QMessageBox,
    "about": QMessageBox,
}


@pytest.fixture
def fired(desk: Desk) -> Iterator[list[str]]:
    """The names of the commands that were carried out."""
    names: list[str] = []
    actions = desk.window.actions_by_name
    links = [
        action.triggered.connect(lambda _=False, name=name: names.append(name)) for name, action in actions.items()
    ]
    yield names
    for action, link in zip(actions.values(), links, strict=True):
        action.triggered.disconnect(link)


def activate(widget: QWidget) -> None:
    """Give `widget` the keyboard, in the window that is in front."""
    parent = widget
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    if parent is not None:
        parent.show()
        parent.raise_()
    window = widget.window()
    window.activateWindow()
    until(window.isActiveWindow, "the window is in front")
    widget.setFocus()
    until(lambda: has_keys(widget), f"{widget} has the keyboard")


def has_keys(widget: QWidget) -> bool:
    focused = QApplication.focusWidget()
    return focused is not None and (focused is widget or widget.isAncestorOf(focused))


def fields_in(window: QWidget) -> list[QWidget]:
    """Each field that text is typed into, once."""
    found = [widget for widget in window.findChildren(QWidget) if is_text_field(widget) and widget.focusProxy() is None]
    inside = [widget for widget in found if isinstance(widget.parent(), QComboBox)]
    return [widget for widget in found if widget not in inside and widget.window() is window]


def text_of(field: QWidget) -> str:
    if isinstance(field, QComboBox):
        return field.currentText()
    return field.text() if isinstance(field, QLineEdit) else ""


def type_everything(field: QWidget, fired: list[str]) -> None:
    """Type each letter that is a shortcut, in both cases, and the keys that move and delete."""
    activate(field)
    if isinstance(field, QLineEdit):
        field.clear()
    for letter in LETTERS + LETTERS.lower():
        if letter == "?":
            QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Question, Qt.KeyboardModifier.ShiftModifier)
        else:
            QTest.keyClicks(QApplication.focusWidget(), letter)
        assert not fired, f"{letter} typed into {field.accessibleName() or field}"
        assert has_keys(field)
    if isinstance(field, QLineEdit):
        assert field.text() == LETTERS + LETTERS.lower()
    for key in (
        Qt.Key.Key_Left,
        Qt.Key.Key_Right,
        Qt.Key.Key_Home,
        Qt.Key.Key_End,
        Qt.Key.Key_Delete,
        Qt.Key.Key_Backspace,
    ):
        QTest.keyClick(QApplication.focusWidget(), key)
        assert has_keys(field)
    for key in (Qt.Key.Key_A, Qt.Key.Key_C, Qt.Key.Key_X, Qt.Key.Key_V, Qt.Key.Key_Z):
        QTest.keyClick(QApplication.focusWidget(), key, CONTROL)
    assert not fired


def test_what_is_typed_in_the_window_is_the_fields(desk: Desk, fired: list[str]) -> None:
    fields = fields_in(desk.window)
    assert len(fields) >= 7
    desk.app.store.update(pyramid=type(desk.state.pyramid)(channel=1, reduction=None))
    desk.window.setup_bar.seed.show()
    for field in fields:
        type_everything(field, fired)
        QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Escape)
        assert not fired
    for field in (desk.window.layers.field, desk.window.parameters.field):
        field.clear()


@pytest.mark.parametrize("floating", ["layers", "channel", "parameters"])
def test_what_is_typed_in_a_floating_dock_is_the_fields(desk: Desk, fired: list[str], floating: str) -> None:
    dock = desk.window.docks[floating]
    dock.setFloating(True)
    try:
        fields = fields_in(dock)
        assert fields
        for field in fields:
            type_everything(field, fired)
    finally:
        desk.window.layers.field.clear()
        desk.window.parameters.field.clear()
        desk.do("reset_layout")


@pytest.mark.parametrize("command", DIALOGS)
def test_what_is_typed_in_a_dialog_is_the_fields(desk: Desk, fired: list[str], command: str) -> None:
    desk.do(command)
    until(lambda: desk.dialog(DIALOGS[command]), "the dialog is open")
    dialog = desk.dialog(DIALOGS[command])
    fired.clear()
    for field in fields_in(dialog):
        if field.isEnabled() and field.isVisible():
            type_everything(field, fired)
    for letter in LETTERS.replace("?", ""):
        QTest.keyClicks(dialog, letter)
    assert not fired
    dialog.close()


def test_what_is_typed_in_the_list_of_networks_is_the_fields(desk: Desk, fired: list[str]) -> None:
    desk.do("choose_network")
    fired.clear()
    QTest.keyClicks(desk.chooser.field, LETTERS + LETTERS.lower())
    assert desk.chooser.field.text() == LETTERS + LETTERS.lower()
    QTest.keyClick(desk.chooser.field, Qt.Key.Key_A, CONTROL)
    QTest.keyClick(desk.chooser.field, Qt.Key.Key_C, CONTROL)
    assert QGuiApplication.clipboard().text() == LETTERS + LETTERS.lower()
    assert not fired
    desk.chooser.hide()


def test_the_dialogs_with_fields_are_all_tried() -> None:
    """Each class of a window of its own that is in the package."""
    import importlib
    import pkgutil

    import fmviz.app.views as views

    names = [module.name for module in pkgutil.iter_modules(views.__path__)]
    modules = [importlib.import_module(f"{views.__name__}.{name}") for name in names]
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, QDialog) and value.__module__ == module.__name__
    }
    without_fields = {"ProposalsDialog", "TrustDialog", "ReportDialog"}
    assert {kind.__name__ for kind in found} - without_fields <= {kind.__name__ for kind in DIALOGS.values()}
    assert {TrustDialog, ReportDialog} <= found


def test_the_clipboard_of_a_field_is_text(desk: Desk) -> None:
    field = desk.window.layers.field
    activate(field)
    QTest.keyClicks(field, "conv body")
    QTest.keyClick(field, Qt.Key.Key_A, CONTROL)
    QTest.keyClick(field, Qt.Key.Key_C, CONTROL)
    assert QGuiApplication.clipboard().text() == "conv body"
    QTest.keyClick(field, Qt.Key.Key_Delete)
    assert field.text() == ""
    names = desk.names
    QTest.keyClick(field, Qt.Key.Key_V, CONTROL)
    assert field.text() == "conv body"
    assert desk.names == names, "nothing was pasted as a picture"
    field.clear()


def test_selected_words_are_copied_and_not_the_map(desk: Desk) -> None:
    heading = next(
        label for label in desk.window.maps.findChildren(QLabel) if label.text().startswith(desk.state.layer)
    )
    activate(heading)
    heading.setSelection(0, len(desk.state.layer))
    QTest.keyClick(heading, Qt.Key.Key_C, CONTROL)
    assert QGuiApplication.clipboard().text() == desk.state.layer
    heading.setSelection(0, 0)
    QTest.keyClick(heading, Qt.Key.Key_C, CONTROL)
    assert QGuiApplication.clipboard().mimeData().hasImage()


def test_escape_clears_a_filter_then_leaves_it_and_the_pin_stays(desk: Desk) -> None:
    field, canvas = desk.window.layers.field, desk.window.maps.canvas
    desk.app.store.update(pin=(100.0, 80.0))
    activate(canvas)
    activate(field)
    QTest.keyClicks(field, "conv")
    QTest.keyClick(field, Qt.Key.Key_Escape)
    assert field.text() == ""
    assert field.hasFocus()
    QTest.keyClick(field, Qt.Key.Key_Escape)
    assert canvas.hasFocus()
    assert desk.state.pin == (100.0, 80.0)
    QTest.keyClick(canvas, Qt.Key.Key_Escape)
    assert desk.state.pin is None


def test_escape_in_a_floating_dock_gives_the_keyboard_to_the_window(desk: Desk) -> None:
    dock, canvas = desk.window.docks["layers"], desk.window.maps.canvas
    activate(canvas)
    dock.setFloating(True)
    try:
        activate(desk.window.layers.field)
        assert dock.isActiveWindow()
        QTest.keyClick(desk.window.layers.field, Qt.Key.Key_Escape)
        until(lambda: desk.window.isActiveWindow() and canvas.hasFocus(), "the grid has the keyboard")
    finally:
        desk.do("reset_layout")


def test_escape_takes_back_a_number_that_was_typed(desk: Desk) -> None:
    side, tree = desk.window.setup_bar.side, desk.window.layers.tree
    activate(tree)
    activate(side)
    before = side.value()
    side.selectAll()
    QTest.keyClicks(side, "333")
    QTest.keyClick(side, Qt.Key.Key_Escape)
    assert tree.hasFocus()
    assert side.value() == before
    assert desk.state.setup.side in (0, before)


# The views have the keyboard again


def views(desk: Desk) -> dict[str, QWidget]:
    window = desk.window
    return {"layers": window.layers.tree, "maps": window.maps.canvas, "table": window.parameters.table}


@pytest.mark.parametrize("name", ["layers", "maps", "table"])
@pytest.mark.parametrize("command", DIALOGS)
def test_after_a_dialog_the_view_has_the_keyboard(desk: Desk, command: str, name: str) -> None:
    view = views(desk)[name]
    activate(view)
    for opener in (view, desk.window.setup_bar.mode):
        # From the keyboard, and from a box of the toolbar, which has the keyboard after a click.
        opener.setFocus()
        desk.do(command)
        until(lambda: desk.dialog(DIALOGS[command]), "the dialog is open")
        dialog = desk.dialog(DIALOGS[command])
        dialog.activateWindow()
        until(dialog.isActiveWindow, "the dialog is in front")
        QTest.keyClick(dialog, Qt.Key.Key_Escape)
        until(lambda dialog=dialog: not shown(dialog), "it is closed")
        desk.window.activateWindow()
        until(desk.window.isActiveWindow, "the window is in front")
        if command == "train_pyramid" and name != "layers":
            # It shows the pyramid, in the place of the view.
            assert desk.window.docks["pyramid"].isAncestorOf(QApplication.focusWidget())
            desk.window.raise_dock({"maps": "maps", "table": "parameters"}[name])
        assert view.hasFocus(), QApplication.focusWidget()


def shown(dialog: QDialog) -> bool:
    from shiboken6 import Shiboken

    return Shiboken.isValid(dialog) and dialog.isVisible()


def test_after_a_question_about_trust_arrow_keys_walk_the_channels(desk: Desk, tmp_path: Path) -> None:
    canvas = desk.window.maps.canvas
    activate(canvas)
    desk.app.controller.problems.tell(
        "maps",
        "mine.py",
        ("trust_model",),
        trust=TrustWanted(path=str(tmp_path / "mine.py"), sha256="0" * 64, edited=False),
    )
    (button,) = [one for one in buttons(desk.window.banner("maps")) if not isinstance(one, QToolButton)]
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    dialog = desk.dialog(TrustDialog)
    dialog.activateWindow()
    until(dialog.isActiveWindow, "the dialog is in front")
    QTest.keyClick(dialog, Qt.Key.Key_Escape)
    desk.window.activateWindow()
    until(canvas.hasFocus, "the grid has the keyboard")
    desk.app.controller.problems.dismiss("maps")
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Right)
    assert desk.state.channel == 1


def buttons(banner: QWidget) -> list[QAbstractButton]:
    return [button for button in banner.findChildren(QAbstractButton) if button.isVisible()]


@pytest.mark.parametrize("place", ["window", "maps", "pyramid", "parameters", "channel", "input"])
@pytest.mark.parametrize("by", ["click", "keyboard", "program"])
def test_after_a_banner_the_view_has_the_keyboard(desk: Desk, place: str, by: str) -> None:
    canvas = desk.window.maps.canvas
    activate(canvas)
    desk.app.controller.problems.tell(place, "Something is wrong.", ("retry", "open"))  # type: ignore[arg-type]
    banner = desk.window.banner(place)
    if by == "program":
        # The words were clicked at, to select some; then a run takes the banner away.
        next(label for label in banner.findChildren(QLabel) if label.text()).setFocus()
        desk.app.controller.problems.dismiss(place)  # type: ignore[arg-type]
    else:
        (dismiss,) = banner.findChildren(QToolButton)
        if by == "click":
            QTest.mouseClick(dismiss, Qt.MouseButton.LeftButton)
        else:
            dismiss.setFocus()
            QTest.keyClick(dismiss, Qt.Key.Key_Space)
    assert banner.isHidden()
    assert canvas.hasFocus(), QApplication.focusWidget()
    before = desk.state.channel
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Right)
    assert desk.state.channel == before + 1
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_S)
    assert desk.state.smooth
    desk.app.store.update(smooth=False)


def test_a_banner_that_says_something_else_keeps_no_keyboard(desk: Desk) -> None:
    """Its buttons are new ones then."""
    canvas = desk.window.maps.canvas
    activate(canvas)
    desk.app.controller.problems.tell("maps", "One thing.", ("retry",))
    (retry,) = (one for one in buttons(desk.window.banner("maps")) if not isinstance(one, QToolButton))
    retry.setFocus()
    desk.app.controller.problems.tell("maps", "Another thing.", ())
    until(canvas.hasFocus, "the grid has the keyboard")
    desk.app.controller.problems.dismiss("maps")


@pytest.mark.parametrize("by", [Qt.Key.Key_Escape, Qt.Key.Key_Return])
def test_after_the_list_of_networks_the_view_has_the_keyboard(desk: Desk, by: Qt.Key) -> None:
    canvas = desk.window.maps.canvas
    activate(canvas)
    box = desk.window.setup_bar.backbone
    box.setFocus()
    QTest.mouseClick(box, Qt.MouseButton.LeftButton)
    assert desk.chooser.isVisible()
    QTest.keyClick(desk.chooser.field, by)
    if desk.chooser.isVisible():
        desk.chooser.close()
    assert canvas.hasFocus(), QApplication.focusWidget()


def test_a_view_that_is_covered_lets_go_of_the_keyboard(desk: Desk) -> None:
    """T shows the table over the maps: arrow keys are for what can be seen, and letters go on working."""
    window = desk.window
    activate(window.maps.canvas)
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_T)
    until(window.parameters.table.hasFocus, "the table has the keyboard")
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_G)
    until(window.maps.canvas.hasFocus, "the grid has the keyboard")
    activate(window.layers.tree)
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_P)
    assert window.layers.tree.hasFocus(), "what is not covered keeps it"
    desk.do("show_maps")


@pytest.mark.parametrize("how", ["disabled", "hidden", "closed"])
def test_a_field_that_goes_away_gives_the_keyboard_to_the_view(desk: Desk, how: str) -> None:
    """And not to the next field in the tab order."""
    canvas = desk.window.maps.canvas
    activate(canvas)
    box = desk.window.channel.findChild(QSpinBox)
    activate(box)
    dock = desk.window.docks["channel"]
    ways: dict[str, Callable[[], object]] = {
        "disabled": lambda: box.setEnabled(False),
        "hidden": box.hide,
        "closed": dock.close,
    }
    ways[how]()
    assert canvas.hasFocus(), QApplication.focusWidget()
    box.setEnabled(True)
    box.show()
    dock.show()


def test_keys_have_names() -> None:
    assert len(LETTERS) >= 12
    assert all(not QKeySequence(letter).isEmpty() for letter in LETTERS)
