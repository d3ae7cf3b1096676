"""The Parameters dock: the layer table, sortable, with its totals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QCoreApplication,
    QItemSelectionModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QAbstractItemView, QApplication, QHeaderView, QLabel, QTableView, QVBoxLayout, QWidget

from fmviz.app.numbers import bytes_words, shape_words, thousands
from fmviz.app.theme import numbers_font
from fmviz.app.views.banner import Banner
from fmviz.engine.messages import TableRow

Index = QModelIndex | QPersistentModelIndex
_SORT = Qt.ItemDataRole.UserRole


class ParametersTable(QAbstractTableModel):
    """Adapts the rows of a layer table; text for the eye, numbers for the sorting."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows: Sequence[TableRow] = ()

    def set_rows(self, rows: Sequence[TableRow]) -> None:
        self.beginResetModel()
        self.rows = rows
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 8

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Vertical:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return (
                self.tr("Layer"),
                self.tr("Kind"),
                self.tr("Details"),
                self.tr("Output"),
                self.tr("Parameters"),
                self.tr("with children"),
                self.tr("Activation"),
                self.tr("Input"),
            )[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight if section >= 3 else Qt.AlignmentFlag.AlignLeft)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = self.rows[index.row()], index.column()
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return self.text(row, column)
        if role == _SORT:
            return self._sorted_by(row, column, index.row())
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if column >= 3 else Qt.AlignmentFlag.AlignLeft
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        return None

    @staticmethod
    def text(row: TableRow, column: int) -> str:
        """What stands in a cell."""
        calls = f"  ×{row.calls}" if row.calls > 1 else ""
        return (
            (row.path or QCoreApplication.translate("ParametersTable", "(whole network)")) + calls,
            row.kind,
            row.detail,
            shape_words(row.output_shape),
            thousands(row.parameters) if row.parameters else "–",
            thousands(row.parameters_in_all) if row.parameters_in_all else "–",
            bytes_words(row.activation_bytes) if row.activation_bytes else "–",
            shape_words(row.input_shape),
        )[column]

    @staticmethod
    def _sorted_by(row: TableRow, column: int, place: int) -> Any:
        def size(shape: tuple[int, ...] | None) -> int:
            product = 1
            for length in shape or (0,):
                product *= length
            return product

        return (
            place,
            row.kind,
            row.detail,
            size(row.output_shape),
            row.parameters,
            row.parameters_in_all,
            row.activation_bytes,
            size(row.input_shape),
        )[column]


class ParametersView(QWidget):
    layer_chosen = Signal(object)
    """The path of a module."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.banner = Banner(self)
        self._model = ParametersTable(self)
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self._model)
        self._sorted.setSortRole(_SORT)
        self.table = _Table(self)
        self.table.setModel(self._sorted)
        self._totals = QLabel(self)
        self._totals.setFont(numbers_font())
        self._totals.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._totals.setWordWrap(True)
        self._setting = False
        self._set_up_header()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        for widget in (self.banner, self.table, self._totals):
            layout.addWidget(widget)
        self.table.selectionModel().currentRowChanged.connect(self._current_changed)
        self.table.copy_wanted.connect(self.copy)

    def _set_up_header(self) -> None:
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(False)
        header.setHighlightSections(False)
        self.table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.table.setSortingEnabled(True)

    def set_table(self, rows: Sequence[TableRow], totals: str) -> None:
        """The rows in module order, and the line below them."""
        self._setting = True
        self._model.set_rows(rows)
        self._setting = False
        self._totals.setText(totals)
        self.table.resizeColumnsToContents()
        header = self.table.horizontalHeader()
        for column in range(self._model.columnCount()):
            header.resizeSection(column, min(header.sectionSize(column) + 6, 180))

    def set_current(self, path: str) -> None:
        """Select the row of this module."""
        found = next((place for place, row in enumerate(self._model.rows) if row.path == path), None)
        self._setting = True
        if found is None:
            self.table.clearSelection()
        else:
            index = self._sorted.mapFromSource(self._model.index(found, 0))
            if index.row() != self.table.currentIndex().row():
                flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
                self.table.selectionModel().setCurrentIndex(index, flags)
                self.table.scrollTo(index, QAbstractItemView.ScrollHint.PositionAtCenter)
        self._setting = False

    def copy(self) -> None:
        """The selected rows, or all, as text with tabs: a spreadsheet takes it."""
        chosen = self.table.selectionModel().selectedRows()
        places = [index.row() for index in chosen] if len(chosen) > 1 else list(range(self._sorted.rowCount()))
        columns = range(self._model.columnCount())
        header = [str(self._model.headerData(column, Qt.Orientation.Horizontal)) for column in columns]
        lines = ["\t".join(header)]
        for place in sorted(places):
            row = self._model.rows[self._sorted.mapToSource(self._sorted.index(place, 0)).row()]
            lines.append("\t".join(self._copied(row, column) for column in columns))
        QApplication.clipboard().setText("\n".join(lines) + "\n")

    @staticmethod
    def _copied(row: TableRow, column: int) -> str:
        plain = {4: row.parameters, 5: row.parameters_in_all, 6: row.activation_bytes}
        return str(plain[column]) if column in plain else ParametersTable.text(row, column)

    def _current_changed(self, index: QModelIndex) -> None:
        if index.isValid() and not self._setting:
            self.layer_chosen.emit(self._model.rows[self._sorted.mapToSource(index).row()].path)


class _Table(QTableView):
    copy_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFont(numbers_font())
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setAlternatingRowColors(True)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setAccessibleName(self.tr("Layer table"))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy_wanted.emit()
        else:
            super().keyPressEvent(event)
