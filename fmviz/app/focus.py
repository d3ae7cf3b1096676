"""Which view of the window has the keyboard, and which keys belong to a text field."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractScrollArea,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDialog,
    QDockWidget,
    QLineEdit,
    QMainWindow,
    QPlainTextEdit,
    QSpinBox,
    QTextEdit,
    QWidget,
)
from shiboken6 import Shiboken

_COMMAND = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.MetaModifier


class ViewFocus(QObject):
    """Gives the keyboard back to the view that had it last.

    Without it, Qt gives the focus of a widget that is hidden or disabled to the next one in the tab order, which may be a
    text field: the letters of the shortcuts would be typed there. After a dialog, it would stay with the box or the button
    that opened the dialog, where arrow keys choose something else.

    Args:
        views: What has use for arrow keys; the first that can be seen gets the keyboard where none had it.
        window: What they are in.
    """

    def __init__(self, views: Sequence[QWidget], window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._views = tuple(views)
        self._last = self._views[0]
        self._dialog: QDialog | None = None
        application = QApplication.instance()
        if isinstance(application, QApplication):
            application.focusChanged.connect(self._moved)
        self._docks = window.findChildren(QDockWidget)
        for dock in self._docks:
            dock.visibilityChanged.connect(lambda shown, dock=dock: self._dock_shown(dock) if shown else None)
        window.installEventFilter(self)

    def give_back(self) -> None:
        """Give the keyboard to the view that had it last; where that cannot be seen, to the one that covers it, or to the
        first that can be seen.
        """
        for view in (self._last, *self._covering(self._last), *self._views):
            if _can_be_seen(view) and view.isEnabled():
                view.setFocus()
                if isinstance(QApplication.activeWindow(), QDockWidget):
                    # A floating dock is a separate window with separate keyboard focus.
                    view.activateWindow()
                return

    def _covering(self, view: QWidget) -> list[QWidget]:
        """Return the views in the docks that share their place with the dock of `view`."""
        own = next((dock for dock in self._docks if dock.isAncestorOf(view)), None)
        others = self._window.tabifiedDockWidgets(own) if own is not None else []
        return [one for one in self._views if any(dock.isAncestorOf(one) for dock in others)]

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ActivationChange and watched is self._window and self._window.isActiveWindow():
            self._activated()
        return False

    def _moved(self, old: QWidget | None, new: QWidget | None) -> None:
        known = old if old is not None and Shiboken.isValid(old) else None
        if known and self._window.isAncestorOf(known) and self._window.isVisible() and not _can_have(known):
            # Qt chose the new one.
            self.give_back()
            return
        if new in self._views:
            self._last = new
        if known and isinstance(dialog := known.window(), QDialog):
            self._dialog = dialog

    def _activated(self) -> None:
        """The keyboard comes back from a dialog that was closed."""
        dialog = self._dialog
        if dialog is None or (Shiboken.isValid(dialog) and dialog.isVisible()):
            return
        self._dialog = None
        focused = self._window.focusWidget()
        if not is_text_field(focused) and not (focused in self._views and _can_be_seen(focused)):
            self.give_back()

    def _dock_shown(self, dock: QDockWidget) -> None:
        """A view that another one covers lets go of the keyboard."""
        focused = QApplication.focusWidget()
        covered = self._window.tabifiedDockWidgets(dock)
        if focused is None or not any(other.isAncestorOf(focused) for other in covered):
            return
        for view in self._views:
            if dock.isAncestorOf(view) and view.isVisible():
                view.setFocus()
                return


class TextKeys(QObject):
    """Gives the keys that are typed in the text fields of a window to the fields, and not to the window's shortcuts.

    Escape clears a field with a clear button; else it undoes the typing and leaves the field.
    """

    left = Signal()
    """The user has done with a field."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        for field in window.findChildren(QWidget):
            # The line of a spin box or of an editable combo box passes its keys on.
            if is_text_field(field) and field.focusProxy() is None and not _is_in_a_dialog(field):
                field.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if not isinstance(event, QKeyEvent) or not isinstance(watched, QWidget):
            return False
        if event.type() == QEvent.Type.ShortcutOverride and _is_typed(event):
            event.accept()
            return True
        plain = event.type() == QEvent.Type.KeyPress and not event.modifiers() & _COMMAND
        if plain and event.key() == Qt.Key.Key_Escape:
            self._escape(watched)
            return True
        return False

    def _escape(self, field: QWidget) -> None:
        if isinstance(field, QLineEdit) and field.isClearButtonEnabled() and field.text():
            field.clear()
            return
        if isinstance(field, QSpinBox):
            field.setValue(field.value())
        self.left.emit()


def is_text_field(widget: QWidget | None) -> bool:
    """Return whether the user can type text or a number into this widget."""
    if isinstance(widget, QComboBox):
        return widget.isEditable()
    if isinstance(widget, QLineEdit | QPlainTextEdit | QTextEdit):
        return not widget.isReadOnly()
    return isinstance(widget, QAbstractSpinBox)


def _can_have(widget: QWidget) -> bool:
    """Return whether a widget can have the keyboard."""
    return widget.isVisible() and widget.isEnabled()


def _can_be_seen(view: QWidget) -> bool:
    """Return whether nothing covers a view. A scroll area is covered by its own viewport."""
    seen = view.viewport() if isinstance(view, QAbstractScrollArea) else view
    return seen.isVisible() and not seen.visibleRegion().isEmpty()


def _is_typed(event: QKeyEvent) -> bool:
    """Return whether a key is part of typing: no command, and no function key."""
    function = Qt.Key.Key_F1 <= event.key() <= Qt.Key.Key_F35
    return not event.modifiers() & _COMMAND and not function


def _is_in_a_dialog(widget: QWidget) -> bool:
    """Return whether a widget is in a separate window, which the shortcuts of the main window do not reach."""
    return not isinstance(widget.window(), QMainWindow | QDockWidget)
