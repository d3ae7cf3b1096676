"""The Parameters dock: the layer table, to fold, sort and filter, with its totals and those of what is selected."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from PySide6.QtCore import (
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QSignalBlocker,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QAction, QColor, QKeyEvent, QKeySequence, QPainter, QPalette
from PySide6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QCheckBox,
    QComboBox,
    QGraphicsOpacityEffect,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QMenu,
    QSizePolicy,
    QStyledItemDelegate,
    QToolButton,
    QTreeView,
    QVBoxLayout,
    QWidget,
)

from fmviz.app.theme import numbers_font
from fmviz.app.views.banner import Banner
from fmviz.app.views.scroll_bar import give_scroll_bars
from fmviz.app.views.table_columns import COLUMNS, TIMES, Column, Line
from fmviz.app.views.table_model import Arrangement, BarRole, Grouping, PathRole, TableModel
from fmviz.engine.messages import Tabulated
from fmviz.table_choice import Choice

if TYPE_CHECKING:
    # To load it takes ten milliseconds, for all that a style can draw.
    from PySide6.QtWidgets import QStyleOptionViewItem

PATIENCE = 150
"""Milliseconds after which a table that is being renewed is dimmed."""

_SIZE = re.compile(r"\s*(\d{1,5})\s*(?:[x×,]\s*(\d{1,5})\s*)?")


class ParametersView(QWidget):
    """Setters in, signals out."""

    layer_chosen = Signal(object)
    """The path of a module."""
    size_chosen = Signal(object)
    """(height, width) of the input that the table is to be for; None for the picture's."""
    selection_changed = Signal(object)
    """Paths of the modules that are selected."""
    columns_chosen = Signal(object)
    """Names of the columns that are shown."""
    copied = Signal(int)
    """How many rows were copied for a spreadsheet; 0 where there was none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.banner = Banner(self)
        self._model = TableModel(self)
        self.table = _Tree(self)
        self.table.setModel(self._model)
        self.table.setItemDelegate(_Bars(self.table))
        self._folded: set[str] = set()
        self._shown = {column.name for column in COLUMNS if column.shown}
        self._current = ""
        self._setting = False
        self._selected_by_hand = False
        self._network = ""
        self._make_tools()
        self._totals, self._selected, self._note = QLabel(self), QLabel(self), QLabel(self)
        for label in (self._totals, self._selected, self._note):
            label.setFont(numbers_font())
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            label.setWordWrap(True)
        self._nothing = QLabel(self.tr("No layer matches: change the filter."), self)
        self._nothing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        for label in (self._selected, self._note, self._nothing):
            label.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        layout.addWidget(self.banner)
        layout.addLayout(self._tools)
        for widget in (self._note, self._nothing, self.table, self._selected, self._totals):
            layout.addWidget(widget)
        self._dimmed = QGraphicsOpacityEffect(self.table)
        self._dimmed.setOpacity(0.55)
        self._dimmed.setEnabled(False)
        self.table.setGraphicsEffect(self._dimmed)
        self._dimming = QTimer(self)
        self._dimming.setSingleShot(True)
        self._dimming.setInterval(PATIENCE)
        self._dimming.timeout.connect(lambda: self._dimmed.setEnabled(True))
        self._listen()
        self._show_columns()

    def _make_tools(self) -> None:
        self.field = QLineEdit(self)
        self.field.setAcceptDrops(False)  # what is dropped is for the window
        self.field.setClearButtonEnabled(True)
        self.field.setPlaceholderText(self.tr("Filter: conv 3×3, layer3, C4 …"))
        self.field.setAccessibleName(self.tr("Filter the table"))
        self.field.setMinimumWidth(80)
        self.kind = QComboBox(self)
        self.kind.setAccessibleName(self.tr("Kind of layer"))
        self.kind.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.kind.setMinimumContentsLength(6)
        self.changes = QCheckBox(self.tr("Size changes"), self)
        self.changes.setToolTip(self.tr("Only where the size changes: modules that put out another height or width"))
        self.leaves = QCheckBox(self.tr("Leaves only"), self)
        self.leaves.setToolTip(self.tr("Only leaves: modules that have no other modules in them"))
        self.grouping = QComboBox(self)
        self.grouping.setAccessibleName(self.tr("Grouping"))
        groupings: tuple[tuple[str, Grouping], ...] = (
            (self.tr("By module"), "module"),
            (self.tr("By stage"), "stage"),
            (self.tr("Flat"), "flat"),
        )
        for words, name in groupings:
            self.grouping.addItem(words, name)
        self.size_field = QLineEdit(self)
        self.size_field.setAcceptDrops(False)
        self.size_field.setFixedWidth(self.size_field.fontMetrics().horizontalAdvance("0000 × 0000") + 14)
        self.size_field.setAccessibleName(self.tr("Size of the input"))
        self.size_field.setToolTip(self.tr("Height × width of the input in pixels; one number is for both"))
        self.as_picture = QToolButton(self)
        self.as_picture.setText("↺")
        self.as_picture.setAutoRaise(True)
        self.as_picture.setToolTip(self.tr("The size that the picture was fed at"))
        self.as_picture.setAccessibleName(self.as_picture.toolTip())
        self.menu = QToolButton(self)
        self.menu.setText(self.tr("Table"))
        self.menu.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu.setMenu(QMenu(self.menu))
        self.columns_menu = QMenu(self.tr("Columns"), self)
        for column in COLUMNS[1:]:
            action = self.columns_menu.addAction(column.heading)
            action.setCheckable(True)
            action.setData(column.name)
            action.setToolTip(column.explained)
            action.toggled.connect(self._columns_toggled)
        label = QLabel(self.tr("Si&ze"), self)
        label.setBuddy(self.size_field)
        # Two rows: in one, the window would not fit a screen of 1280 pixels.
        upper, lower = QHBoxLayout(), QHBoxLayout()
        upper.addWidget(self.field, 1)
        for widget in (self.kind, self.grouping):
            upper.addWidget(widget)
        for box in (self.changes, self.leaves):
            lower.addWidget(box)
        lower.addStretch(1)
        for beside in (label, self.size_field, self.as_picture, self.menu):
            lower.addWidget(beside)
        self._tools = QVBoxLayout()
        self._tools.setSpacing(4)
        for row in (upper, lower):
            row.setSpacing(5)
            self._tools.addLayout(row)
        for box in (self.changes, self.leaves):
            box.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)

    def _listen(self) -> None:
        self.field.textChanged.connect(self._arrange)
        self.kind.currentIndexChanged.connect(self._arrange)
        self.changes.toggled.connect(self._arrange)
        self.leaves.toggled.connect(self._arrange)
        self.grouping.currentIndexChanged.connect(self._arrange)
        self.size_field.textEdited.connect(self._size_edited)
        self.as_picture.clicked.connect(lambda: self.size_chosen.emit(None))
        self.table.copy_wanted.connect(self.copy)
        self.table.collapsed.connect(lambda index: self._fold(index, folded=True))
        self.table.expanded.connect(lambda index: self._fold(index, folded=False))
        header = self.table.header()
        header.sortIndicatorChanged.connect(self._arrange)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(
            lambda place: self.columns_menu.popup(header.viewport().mapToGlobal(place))
        )
        selection = self.table.selectionModel()
        selection.currentRowChanged.connect(self._current_changed)
        selection.selectionChanged.connect(self._selection_changed)

    # Setters

    def add_commands(self, copies: Sequence[QAction], commands: Sequence[QAction]) -> None:
        """What the dock's menu holds beside the columns."""
        menu = self.menu.menu()
        menu.addMenu(self.columns_menu)
        menu.addSeparator()
        menu.addActions(list(commands))
        menu.addSeparator()
        menu.addActions(list(copies))

    def set_columns(self, names: Sequence[str]) -> None:
        """Show the columns that the user chose last, without unknown ones; where none is known, change nothing."""
        known = {column.name for column in COLUMNS}
        if known.intersection(names):
            self._shown = known.intersection(names)
            self._show_columns()

    def set_table(self, table: Tabulated, totals: str) -> None:
        """The rows in module order, and the line below them."""
        self.set_waiting(waiting=False)
        fresh = table.backbone != self._network
        self._network = table.backbone
        self._setting = True
        if fresh:
            self._folded.clear()
            self._set_kinds(sorted({row.kind for row in table.rows}))
        with self._selection_kept(keep=not fresh):
            self._model.set_table(table)
            self._after_a_change(fresh=fresh)
        self._totals.setText(totals)
        self._setting = False
        self._note.hide()
        if not self._selected_by_hand:
            self.set_current(self._current)

    def set_times(self, seconds: Mapping[str, float]) -> None:
        """How long each module takes, by path; empty where that is not known."""
        if not seconds and not self._model.timed:
            return
        self._setting = True
        with self._selection_kept():
            self._model.set_times(seconds)
            self._after_a_change(fresh=False)
        self._setting = False
        self._show_columns()
        if seconds:
            for number, column in enumerate(COLUMNS):
                if column.name in TIMES:
                    self._fit(number)

    def set_size(self, size: tuple[int, int] | None, *, own: bool) -> None:
        """The size that the table is for, and whether it is another than the picture's."""
        if size is not None and not (self.size_field.hasFocus() and self.size_field.isModified()):
            self.size_field.setText(f"{size[0]} × {size[1]}")
        self.as_picture.setEnabled(own)

    def set_waiting(self, *, waiting: bool) -> None:
        """Whether another table is on its way; the present one is dimmed if that takes long."""
        if waiting:
            self._dimming.start()
        else:
            self._dimming.stop()
            self._dimmed.setEnabled(False)

    def set_note(self, text: str) -> None:
        """What is wrong with the size that was asked for; "" for nothing."""
        self.set_waiting(waiting=False)
        self._note.setText(text)
        self._note.setVisible(bool(text))

    def set_selected(self, text: str) -> None:
        """The totals of what is selected; "" where that is one row or none."""
        self._selected.setText(text)
        self._selected.setVisible(bool(text))

    def set_current(self, path: str) -> None:
        """Select the row of this module, unless several are selected."""
        self._current = path
        index = self._model.index_of(path)
        rows = self.table.selectionModel().selectedRows()
        if len(rows) > 1 or index == self.table.currentIndex().siblingAtColumn(0):
            return
        self._setting = True
        self._selected_by_hand = False
        if not index.isValid():
            self.table.clearSelection()
        else:
            flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
            self.table.selectionModel().setCurrentIndex(index, flags)
            self.table.scrollTo(index, QAbstractItemView.ScrollHint.PositionAtCenter)
        self._setting = False

    # What is asked of it

    def selection(self) -> list[str]:
        """Paths of the modules that are selected."""
        paths = [index.data(PathRole) for index in self.table.selectionModel().selectedRows()]
        return list(dict.fromkeys(path for path in paths if path is not None))

    def rows_to_copy(self) -> list[str]:
        """Paths of the modules in the rows that are shown, from top to bottom; of those that the user selected, if any.

        Rows that are folded away are left out, and so are calls and the headings of groups. The row of the chosen layer is
        selected by the window: that is no choice of the user's.
        """
        return [line.row.path for line in self._lines_to_copy()]

    def columns_shown(self) -> list[str]:
        """Names of the columns that are shown, from left to right."""
        return [column.name for number, column in enumerate(COLUMNS) if not self.table.isColumnHidden(number)]

    def copy(self) -> None:
        """Copy `rows_to_copy` as text with tabs, which a spreadsheet takes."""
        lines = self._lines_to_copy()
        if lines:
            names = self.columns_shown()
            columns = [column for column in COLUMNS if column.name in names]
            cells = [[column.heading for column in columns]]
            cells += [[_for_spreadsheet(column, line) for column in columns] for line in lines]
            QApplication.clipboard().setText("".join("\t".join(row) + "\n" for row in cells))
        self.copied.emit(len(lines))

    def _lines_to_copy(self) -> list[Line]:
        lines = list(self._lines_shown(QModelIndex()))
        chosen = self._chosen_paths() if self._selected_by_hand else set()
        return [line for line in lines if not chosen or line.row.path in chosen]

    def _lines_shown(self, parent: QModelIndex) -> Iterator[Line]:
        for row in range(self._model.rowCount(parent)):
            index = self._model.index(row, 0, parent)
            node = self._model.node(index)
            if node is None or node.line.call is not None:
                continue
            if not node.is_group:
                yield node.line
            if self.table.isExpanded(index):
                yield from self._lines_shown(index)

    def _chosen_paths(self) -> set[str]:
        """Of the rows that are selected; of the modules of a group where its heading is."""
        nodes = [self._model.node(index) for index in self.table.selectionModel().selectedRows()]
        chosen = [child for node in nodes if node for child in (node.children if node.is_group else [node])]
        return {node.line.row.path for node in chosen}

    # Doings

    def _arrange(self) -> None:
        header = self.table.header()
        choice = Choice(
            words=self.field.text(),
            kind=self.kind.currentData() or "",
            only_size_changes=self.changes.isChecked(),
            only_leaves=self.leaves.isChecked(),
        )
        descending = header.sortIndicatorOrder() == Qt.SortOrder.DescendingOrder
        arrangement = Arrangement(
            self.grouping.currentData(), choice, max(header.sortIndicatorSection(), 0), descending
        )
        before = self._model.arrangement
        renamed = (before.grouping, before.choice.only_leaves) != (arrangement.grouping, choice.only_leaves)
        self._setting = True
        # A filter is a new question: it begins without the rows that were selected before.
        with self._selection_kept(keep=before.choice == choice):
            self._model.arrange(arrangement)
            self._after_a_change(fresh=False)
        self._setting = False
        if renamed:
            # Names are longer where modules do not stand below those that they lie in.
            self._fit(0)
        if not self._selected_by_hand:
            self.set_current(self._current)
        # A model reset clears the selection without a signal.
        self.selection_changed.emit(self.selection())

    @contextmanager
    def _selection_kept(self, *, keep: bool = True) -> Iterator[None]:
        """Select the rows again that the user selected before a change of the model, which clears the selection."""
        selection = self.table.selectionModel()
        nodes = [self._model.node(index) for index in selection.selectedRows()] if self._selected_by_hand else []
        keys = {node.key for node in nodes if node}
        current = self._model.node(selection.currentIndex())
        yield
        again = QItemSelection()
        for index in self._model.indexes_of(keys) if keep else ():
            again.select(index, index)
        self._selected_by_hand = not again.isEmpty()
        if not self._selected_by_hand:
            return
        for index in self._model.indexes_of({current.key} if current else ()):
            selection.setCurrentIndex(index, QItemSelectionModel.SelectionFlag.NoUpdate)
            self.table.scrollTo(index)
        flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
        selection.select(again, flags)

    def _after_a_change(self, *, fresh: bool) -> None:
        """Unfold what is not folded; calls stay folded until they are asked for."""
        filtered = self._model.arrangement.choice != Choice()
        self._nothing.setVisible(bool(self._network) and filtered and self._model.rowCount() == 0)
        blocker = QSignalBlocker(self.table)
        for key, index in self._model.foldable():
            node = self._model.node(index)
            calls_only = node is not None and all(child.line.call is not None for child in node.children)
            self.table.setExpanded(index, key not in self._folded and not calls_only)
        blocker.unblock()
        if fresh:
            for number in range(len(COLUMNS)):
                self._fit(number)

    def _fit(self, number: int) -> None:
        self.table.resizeColumnToContents(number)
        header = self.table.header()
        header.resizeSection(number, min(header.sectionSize(number) + 8, 300 if number == 0 else 230))

    def _fold(self, index: QModelIndex, *, folded: bool) -> None:
        node = self._model.node(index)
        if node is not None and folded:
            self._folded.add(node.key)
        elif node is not None:
            self._folded.discard(node.key)

    def _set_kinds(self, kinds: Sequence[str]) -> None:
        before = self.kind.currentData()
        with QSignalBlocker(self.kind):
            self.kind.clear()
            self.kind.addItem(self.tr("All kinds"), "")
            for kind in kinds:
                self.kind.addItem(kind, kind)
            self.kind.setCurrentIndex(max(self.kind.findData(before), 0))
        self._arrange()

    def _columns_toggled(self) -> None:
        names = ["layer", *(action.data() for action in self.columns_menu.actions() if action.isChecked())]
        self._shown = set(names)
        self._show_columns()
        self.columns_chosen.emit(tuple(names))

    def _show_columns(self) -> None:
        for action in self.columns_menu.actions():
            with QSignalBlocker(action):
                action.setChecked(action.data() in self._shown)
        for number, column in enumerate(COLUMNS):
            hidden = column.name not in self._shown or (column.name in TIMES and not self._model.timed)
            self.table.setColumnHidden(number, hidden)

    def _size_edited(self, text: str) -> None:
        found = _SIZE.fullmatch(text)
        if found is None:
            self.set_note(
                self.tr("A size is one number of pixels, or a height and a width: 224 × 320.") if text else ""
            )
            return
        height, width = int(found[1]), int(found[2] or found[1])
        self.size_chosen.emit((height, width))

    def _selection_changed(self) -> None:
        if not self._setting:
            self._selected_by_hand = True
        self.selection_changed.emit(self.selection())

    def _current_changed(self, index: QModelIndex) -> None:
        path = index.data(PathRole) if index.isValid() else None
        if path is not None and not self._setting:
            self._current = path
            self.layer_chosen.emit(path)


def _for_spreadsheet(column: Column, line: Line) -> str:
    if column.name == "layer":
        return line.row.path or line.label
    if column.plain:
        value = column.value(line)
        return "" if value is None else str(value)
    return " ".join(column.text(line).split())


class _Bars(QStyledItemDelegate):
    """Draws a bar behind numbers that are to be compared."""

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        share = index.data(BarRole)
        if share:
            palette: QPalette = option.palette
            colour = QColor(palette.color(QPalette.ColorRole.Text))
            colour.setAlpha(46)
            box = option.rect.adjusted(2, 2, -2, -2)
            width = max(round(box.width() * share), 1)
            painter.fillRect(box.left(), box.top(), width, box.height(), colour)
        super().paint(painter, option, index)


class _Tree(QTreeView):
    copy_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        give_scroll_bars(self)
        self.setFont(numbers_font())
        self.setUniformRowHeights(True)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setIndentation(12)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setAlternatingRowColors(True)
        self.setAllColumnsShowFocus(True)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setAccessibleName(self.tr("Layer table"))
        header = self.header()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(False)
        header.setSectionsClickable(True)
        header.setSortIndicatorShown(True)
        header.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
        header.setHighlightSections(False)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy_wanted.emit()
        else:
            super().keyPressEvent(event)
