"""The layers of a run as a tree of modules: an item model over plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractItemModel, QModelIndex, QObject, QPersistentModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtGui import QFont

from fmviz.app.numbers import shape_words, stride_words
from fmviz.engine.messages import LayerInfo

Index = QModelIndex | QPersistentModelIndex


class _Node:
    """A module (which may itself be a layer), or a further call or item of one."""

    __slots__ = ("children", "label", "layer", "parent", "row")

    def __init__(self, label: str, parent: _Node | None) -> None:
        self.label = label
        self.parent = parent
        self.children: list[_Node] = []
        self.layer: LayerInfo | None = None
        self.row = 0

    def child(self, label: str) -> _Node:
        for node in self.children:
            if node.label == label:
                return node
        return self.added(label)

    def added(self, label: str) -> _Node:
        node = _Node(label, self)
        node.row = len(self.children)
        self.children.append(node)
        return node


class LayerTree(QAbstractItemModel):
    """Columns: name, channels × size, stride. Modules come in the order in which their first layer ran."""

    LayerRole = Qt.ItemDataRole.UserRole

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._root = _Node("", None)
        self._by_name: dict[str, _Node] = {}

    def set_layers(self, layers: Sequence[LayerInfo]) -> None:
        """The layers in the order of the forward."""
        self.beginResetModel()
        self._root = _Node("", None)
        self._by_name = {}
        for layer in layers:
            node = self._place(layer)
            node.layer = layer
            self._by_name[layer.name] = node
        self.endResetModel()

    def _place(self, layer: LayerInfo) -> _Node:
        node = self._root
        if not layer.path:
            return node.added(self.tr("output") + layer.item)
        for part in layer.path.split("."):
            node = node.child(part)
        suffix = (f":{layer.call}" if layer.call > 1 else "") + layer.item
        if not suffix:
            return node
        return node.added(node.label + suffix)

    def index_of(self, name: str) -> QModelIndex:
        """Where the layer `name` stands; an invalid index where it does not."""
        node = self._by_name.get(name)
        return self.createIndex(node.row, 0, node) if node else QModelIndex()

    # What Qt asks

    def index(self, row: int, column: int, parent: Index = QModelIndex()) -> QModelIndex:  # noqa: B008
        node = self._node(parent)
        if 0 <= row < len(node.children) and 0 <= column < 3:
            return self.createIndex(row, column, node.children[row])
        return QModelIndex()

    def parent(self, index: Index = QModelIndex()) -> Any:  # noqa: B008
        node = self._node(index)
        if node.parent is None or node.parent is self._root:
            return QModelIndex()
        return self.createIndex(node.parent.row, 0, node.parent)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return len(self._node(parent).children) if parent.column() <= 0 else 0

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 3

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return (self.tr("Layer"), self.tr("Shape"), self.tr("Stride"))[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignLeft if section == 0 else Qt.AlignmentFlag.AlignRight)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        node = self._node(index)
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self._text(node, index.column())
            case Qt.ItemDataRole.TextAlignmentRole if index.column() > 0:
                return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            case Qt.ItemDataRole.ToolTipRole if node.layer is not None:
                return f"{node.layer.name} — {node.layer.kind}"
            case Qt.ItemDataRole.FontRole if node.layer is not None and node.layer.taps:
                font = QFont()
                font.setBold(True)
                return font
            case self.LayerRole:
                return node.layer.name if node.layer else ""
        return None

    def _text(self, node: _Node, column: int) -> str:
        layer = node.layer
        if column == 0:
            taps = f"   {' '.join(layer.taps)}" if layer and layer.taps else ""
            kind = f"   {layer.kind}" if layer and not node.children and not taps else ""
            return node.label + taps + kind
        if layer is None:
            return ""
        return shape_words(layer.shape) if column == 1 else stride_words(layer.stride)

    def flags(self, index: Index) -> Qt.ItemFlag:
        node = self._node(index)
        enabled = Qt.ItemFlag.ItemIsEnabled
        return enabled | Qt.ItemFlag.ItemIsSelectable if node.layer else enabled

    def _node(self, index: Index) -> _Node:
        if not index.isValid():
            return self._root
        node: _Node = index.internalPointer()
        return node


class LayerFilter(QSortFilterProxyModel):
    """Rows whose layer name, kind or taps hold the text, with their parents and children."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self.setRecursiveFilteringEnabled(True)
        self.setAutoAcceptChildRows(True)

    def set_text(self, text: str) -> None:
        self.beginFilterChange()
        self._text = text.strip().lower()
        self.endFilterChange()

    def filterAcceptsRow(self, source_row: int, source_parent: Index) -> bool:
        if not self._text:
            return True
        index = self.sourceModel().index(source_row, 0, source_parent)
        name = index.data(LayerTree.LayerRole) or ""
        shown = (
            f"{name} {index.data(Qt.ItemDataRole.DisplayRole)} {index.data(Qt.ItemDataRole.ToolTipRole) or ''}".lower()
        )
        return all(word in shown for word in self._text.split())
