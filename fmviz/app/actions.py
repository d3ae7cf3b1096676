"""Every command of the window in one table: what it is called, its keys, its icon, its menu."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

import msgspec
from PySide6.QtCore import QT_TRANSLATE_NOOP, QCoreApplication, QEvent, QObject
from PySide6.QtGui import QAction, QColor, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QAbstractSpinBox, QLineEdit, QWidget

from fmviz.app.icons import icon

_TEXTS = "Actions"


class Row(msgspec.Struct, frozen=True):
    """One command.

    `text` is a string that Qt's stubs call an object until it is translated; `menu` is a name of `MENUS`.
    """

    name: str
    text: object
    menu: str
    keys: tuple[str, ...] = ()
    icon: str = ""
    checkable: bool = False


MENUS: tuple[tuple[str, object], ...] = (
    ("file", QT_TRANSLATE_NOOP("Actions", "&File")),
    ("edit", QT_TRANSLATE_NOOP("Actions", "&Edit")),
    ("view", QT_TRANSLATE_NOOP("Actions", "&View")),
    ("layer", QT_TRANSLATE_NOOP("Actions", "&Layer")),
    ("network", QT_TRANSLATE_NOOP("Actions", "&Network")),
    ("help", QT_TRANSLATE_NOOP("Actions", "&Help")),
)

ACTIONS: tuple[Row, ...] = (
    Row("open", QT_TRANSLATE_NOOP("Actions", "&Open picture…"), "file", ("Ctrl+O",), "open"),
    Row("previous", QT_TRANSLATE_NOOP("Actions", "&Previous picture"), "file", ("Alt+Left",), "previous"),
    Row("next", QT_TRANSLATE_NOOP("Actions", "&Next picture"), "file", ("Alt+Right",), "next"),
    Row("bands", QT_TRANSLATE_NOOP("Actions", "Choose &bands…"), "file", ("Ctrl+B",)),
    Row("stretch", QT_TRANSLATE_NOOP("Actions", "Stretch &dark data"), "file", ("Ctrl+D",), checkable=True),
    Row("close_picture", QT_TRANSLATE_NOOP("Actions", "&Close picture"), "file", ("Ctrl+W",)),
    Row("export", QT_TRANSLATE_NOOP("Actions", "&Export…"), "file", ("Ctrl+E",), "export"),
    Row("export_table", QT_TRANSLATE_NOOP("Actions", "Export &table…"), "file", ("Ctrl+Shift+E",)),
    Row("restore_session", QT_TRANSLATE_NOOP("Actions", "&Restore what was open"), "file", ("Ctrl+Shift+T",)),
    Row("reopen", QT_TRANSLATE_NOOP("Actions", "Restore the session at the ne&xt start"), "file", checkable=True),
    Row("quit", QT_TRANSLATE_NOOP("Actions", "&Quit"), "file", ("Ctrl+Q",)),
    Row("copy_map", QT_TRANSLATE_NOOP("Actions", "&Copy map"), "edit", ("Ctrl+C",), "copy"),
    Row("copy_grid", QT_TRANSLATE_NOOP("Actions", "Copy &grid"), "edit", ("Ctrl+Shift+C",)),
    Row("copy_table", QT_TRANSLATE_NOOP("Actions", "Copy &table"), "edit"),
    Row("copy_table_text", QT_TRANSLATE_NOOP("Actions", "Copy table as te&xt"), "edit"),
    Row("copy_table_csv", QT_TRANSLATE_NOOP("Actions", "Copy table as CS&V"), "edit"),
    Row("copy_table_markdown", QT_TRANSLATE_NOOP("Actions", "Copy table as &Markdown"), "edit"),
    Row("copy_table_latex", QT_TRANSLATE_NOOP("Actions", "Copy table as &LaTeX"), "edit"),
    Row("copy_table_latex_compact", QT_TRANSLATE_NOOP("Actions", "Copy table as compact LaTe&X"), "edit"),
    Row("copy_table_json", QT_TRANSLATE_NOOP("Actions", "Copy table as &JSON"), "edit"),
    Row("paste", QT_TRANSLATE_NOOP("Actions", "&Paste picture"), "edit", ("Ctrl+V",), "paste"),
    Row("fit", QT_TRANSLATE_NOOP("Actions", "&Fit"), "view", ("F",), "fit"),
    Row("smooth", QT_TRANSLATE_NOOP("Actions", "&Smooth maps"), "view", ("S",), "smooth", checkable=True),
    Row("over_picture", QT_TRANSLATE_NOOP("Actions", "Channel &over the picture"), "view", ("O",), checkable=True),
    Row("boxes", QT_TRANSLATE_NOOP("Actions", "Frame what each le&vel finds"), "view", ("B",), checkable=True),
    Row("show_maps", QT_TRANSLATE_NOOP("Actions", "&Grid of maps"), "view", ("G",), "grid"),
    Row("show_pyramid", QT_TRANSLATE_NOOP("Actions", "&Pyramid"), "view", ("P",), "pyramid"),
    Row("show_table", QT_TRANSLATE_NOOP("Actions", "&Table of parameters"), "view", ("T",), "table"),
    Row("appearance_system", QT_TRANSLATE_NOOP("Actions", "Colours like the s&ystem"), "view", checkable=True),
    Row("appearance_light", QT_TRANSLATE_NOOP("Actions", "&Light"), "view", checkable=True),
    Row("appearance_dark", QT_TRANSLATE_NOOP("Actions", "&Dark"), "view", checkable=True),
    Row("show_column", QT_TRANSLATE_NOOP("Actions", "&Column of the pinned place"), "view", ("K",)),
    Row(
        "draw_region",
        QT_TRANSLATE_NOOP(
            "Actions", "Hi&ghlight cells whose receptive field meets a rectangle (Shift+drag on the picture)"
        ),
        "view",
    ),
    Row("unpin", QT_TRANSLATE_NOOP("Actions", "&Unpin the place, clear the rectangle"), "view", ("U",)),
    Row("reset_layout", QT_TRANSLATE_NOOP("Actions", "&Reset layout"), "view", (), "reset-layout"),
    Row("filter", QT_TRANSLATE_NOOP("Actions", "&Filter layers"), "layer", ("Ctrl+F",)),
    Row("next_layer", QT_TRANSLATE_NOOP("Actions", "&Next layer"), "layer", ("Ctrl+Down",)),
    Row("previous_layer", QT_TRANSLATE_NOOP("Actions", "&Previous layer"), "layer", ("Ctrl+Up",)),
    Row("next_stage", QT_TRANSLATE_NOOP("Actions", "Next &stage"), "layer", ("Ctrl+PgDown",)),
    Row("previous_stage", QT_TRANSLATE_NOOP("Actions", "Previous st&age"), "layer", ("Ctrl+PgUp",)),
    Row("choose_network", QT_TRANSLATE_NOOP("Actions", "Choose &network…"), "network", ("N",)),
    Row("open_model", QT_TRANSLATE_NOOP("Actions", "Open &model…"), "network", ("Ctrl+M",)),
    Row("show_weights", QT_TRANSLATE_NOOP("Actions", "&Weights…"), "network", ("W",)),
    Row("open_weights", QT_TRANSLATE_NOOP("Actions", "&Open weights file…"), "network", ("Ctrl+Shift+O",)),
    Row("random_weights", QT_TRANSLATE_NOOP("Actions", "Use &random weights"), "network"),
    Row("default_size", QT_TRANSLATE_NOOP("Actions", "Use the &weights' own size"), "network"),
    Row("train_pyramid", QT_TRANSLATE_NOOP("Actions", "Train this &pyramid…"), "network", ("Ctrl+T",)),
    Row("compare", QT_TRANSLATE_NOOP("Actions", "Compare &networks…"), "network", ("C",)),
    Row("measure", QT_TRANSLATE_NOOP("Actions", "Measure layer ti&mes"), "network", ("M",)),
    Row("cancel", QT_TRANSLATE_NOOP("Actions", "&Cancel"), "network", ("Esc",), "cancel"),
    Row("retry", QT_TRANSLATE_NOOP("Actions", "&Try again"), "network", ("Ctrl+R",)),
    Row("restart_engine", QT_TRANSLATE_NOOP("Actions", "Restart the &engine"), "network"),
    Row("smaller_size", QT_TRANSLATE_NOOP("Actions", "Use half the &size"), "network"),
    Row("trust_model", QT_TRANSLATE_NOOP("Actions", "Tr&ust the model's file…"), "network"),
    Row("use_cpu", QT_TRANSLATE_NOOP("Actions", "Use the &CPU"), "network"),
    Row("shortcuts", QT_TRANSLATE_NOOP("Actions", "&Keys"), "help", ("?", "F1"), "info"),
    Row("copy_report", QT_TRANSLATE_NOOP("Actions", "Copy &report"), "help"),
    Row("about", QT_TRANSLATE_NOOP("Actions", "&About fmviz"), "help"),
)


def made(parent: QObject, does: Mapping[str, Callable[[], object]]) -> dict[str, QAction]:
    """A QAction for each row, without its icon; `does` has what each of them calls."""
    actions = {}
    for row in ACTIONS:
        action = QAction(QCoreApplication.translate(_TEXTS, str(row.text)), parent)
        action.setObjectName(row.name)
        action.setCheckable(row.checkable)
        action.setShortcuts([QKeySequence(keys) for keys in row.keys])
        call = does[row.name]
        action.triggered.connect(lambda _checked=False, call=call: call())
        actions[row.name] = action
    return actions


class KeysFirst(QObject):
    """Keeps the text fields of `window` from taking the keys of a command: on X11, Ctrl+E would go to the end of the line."""

    def __init__(self, action: QAction, window: QWidget) -> None:
        super().__init__(window)
        self._action = action
        for field in (*window.findChildren(QLineEdit), *window.findChildren(QAbstractSpinBox)):
            field.installEventFilter(self)

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        if (
            event.type() == QEvent.Type.ShortcutOverride
            and isinstance(event, QKeyEvent)
            and QKeySequence(event.keyCombination()) in self._action.shortcuts()
        ):
            event.ignore()
            return True
        return False


def set_icons(actions: Mapping[str, QAction], ink: QColor, names: Container[str] | None = None) -> None:
    """Draw the icons of those in `names`, all where None, in the colour `ink`."""
    for row in ACTIONS:
        if row.icon and (names is None or row.name in names):
            actions[row.name].setIcon(icon(row.icon, ink))
