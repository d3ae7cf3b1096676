"""The layers of a run as a tree of modules.

Qt's own item model, filled once a run: a model of ours would be asked a thousand times, in Python, at each step through
the tree, which costs more than the maps do.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QSortFilterProxyModel, Qt, QTimer
from PySide6.QtGui import QFont, QStandardItem, QStandardItemModel
from shiboken6 import Shiboken

from fmviz.app.numbers import shape_words, stride_words
from fmviz.engine.messages import LayerInfo

Index = QModelIndex | QPersistentModelIndex
_BOLD = QFont()
_BOLD.setBold(True)
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_AT_A_TIME_S = 0.002
_A_MODULE = Qt.ItemFlag.ItemIsEnabled


class LayerTree(QStandardItemModel):
    """Columns: name, channels × size, stride. Modules come in the order in which their first layer ran."""

    LayerRole = Qt.ItemDataRole.UserRole

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: dict[str, list[QStandardItem]] = {}
        self._by_name: dict[str, QStandardItem] = {}
        self._layers: tuple[LayerInfo, ...] = ()
        self._gone: list[QStandardItem] = []
        self._number = QStandardItem()
        self._number.setTextAlignment(_RIGHT)
        self._clear_away_later = QTimer(self, interval=0)
        self._clear_away_later.timeout.connect(self._clear_away)
        self._set_header()

    def _set_header(self) -> None:
        self.setHorizontalHeaderLabels([self.tr("Layer"), self.tr("Shape"), self.tr("Stride")])
        for column in (1, 2):
            self.setHeaderData(column, Qt.Orientation.Horizontal, _RIGHT.value, Qt.ItemDataRole.TextAlignmentRole)

    def set_layers(self, layers: Sequence[LayerInfo]) -> bool:
        """The layers in the order of the forward; whether they are others than before."""
        if tuple(layers) == self._layers:
            return False
        self._layers = tuple(layers)
        self._rows, self._by_name = {}, {}
        self._empty(self.invisibleRootItem())
        # Whatever happens to an item of a model is told to its views: items come into it when all is set.
        root = QStandardItem()
        for layer in layers:
            row = self._row(layer, root)
            self._by_name[layer.name] = row[0]
            self._fill(row, layer)
        filled = {id(item) for item in self._by_name.values()}
        for row in self._rows.values():
            if id(row[0]) not in filled:
                for item in row:
                    item.setFlags(_A_MODULE)
        while root.rowCount():
            self.invisibleRootItem().appendRow(root.takeRow(0))
        return True

    def _empty(self, item: QStandardItem) -> None:
        """Take out the rows below `item`; they are cleared away while nobody waits."""
        while count := item.rowCount():
            self._gone += item.takeRow(count - 1)
        if self._gone:
            self._clear_away_later.start()

    def _clear_away(self) -> None:
        """Some of what is gone, from below and one by one: what Qt clears away itself stays in Python's memory for ever."""
        end = time.perf_counter() + _AT_A_TIME_S
        while self._gone and time.perf_counter() < end:
            item = self._gone[-1]
            if item.hasChildren():
                self._gone += item.takeRow(item.rowCount() - 1)
            else:
                Shiboken.delete(self._gone.pop())
        if not self._gone:
            self._clear_away_later.stop()

    def _row(self, layer: LayerInfo, root: QStandardItem) -> list[QStandardItem]:
        """The row of this layer: its module's, or one below it for a further call or an item of the output."""
        row, path = [root], ""
        for part in layer.path.split(".") if layer.path else ():
            path = f"{path}.{part}" if path else part
            row = self._rows.get(path) or self._added(row, path, part)
        suffix = (f":{layer.call}" if layer.call > 1 else "") + layer.item
        if path and not suffix:
            return row
        label = layer.path.rpartition(".")[2] or self.tr("output")
        return self._added(row, layer.name, label + suffix)

    def _added(self, parent: list[QStandardItem], key: str, label: str) -> list[QStandardItem]:
        row = [QStandardItem(label), self._number.clone(), self._number.clone()]
        parent[0].appendRow(row)
        self._rows[key] = row
        return row

    def _fill(self, row: list[QStandardItem], layer: LayerInfo) -> None:
        name = row[0]
        taps = " ".join(layer.taps)
        kind = "" if name.hasChildren() else layer.kind
        if beside := taps or kind:
            name.setText(f"{name.text()}   {beside}")
        name.setData(layer.name, self.LayerRole)
        name.setToolTip(f"{layer.name} — {layer.kind}")
        row[1].setText(shape_words(layer.shape))
        row[2].setText(stride_words(layer.stride))
        if taps:
            for item in row:
                item.setFont(_BOLD)

    def index_of(self, name: str) -> QModelIndex:
        """Where the layer `name` stands; an invalid index where it does not."""
        item = self._by_name.get(name)
        return self.indexFromItem(item) if item is not None else QModelIndex()


class LayerFilter(QSortFilterProxyModel):
    """Rows whose layer name, kind or taps hold the words, with their parents and children."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._words: list[str] = []
        self.setRecursiveFilteringEnabled(True)
        self.setAutoAcceptChildRows(True)

    def set_text(self, text: str) -> None:
        self.beginFilterChange()
        self._words = text.lower().split()
        self.endFilterChange()

    def filterAcceptsRow(self, source_row: int, source_parent: Index) -> bool:
        if not self._words:
            return True
        index = self.sourceModel().index(source_row, 0, source_parent)
        roles = (LayerTree.LayerRole, Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole)
        shown = " ".join(str(index.data(role) or "") for role in roles).lower()
        return all(word in shown for word in self._words)
