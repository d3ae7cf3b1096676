"""The layer table as Qt's views take it: a tree of modules, groups by stage, or a flat list; filtered and sorted here.

Qt's own proxies would ask this model, in Python, for every row at every change; here a change is one pass over the rows.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from PySide6.QtCore import QAbstractItemModel, QCoreApplication, QModelIndex, QObject, QPersistentModelIndex, Qt

from fmviz.app.views.table_columns import COLUMNS, TIMES, Line
from fmviz.engine.messages import TableRow, Tabulated
from fmviz.parameter_counts import SharedTensor, own_sum, whole_sum
from fmviz.table_choice import Choice, matches

Index = QModelIndex | QPersistentModelIndex
Grouping = Literal["module", "stage", "flat"]

BarRole = Qt.ItemDataRole.UserRole
"""From 0 to 1: how long the bar in a cell is; None for no bar."""

PathRole = Qt.ItemDataRole.UserRole + 1

STAGES = ("C1", "C2", "C3", "C4", "C5", "pyramid", "head", "")
"""In the order of the groups."""


class Node(msgspec.Struct, eq=False):
    """A line and those below it; `key` tells which it is when the table is renewed."""

    line: Line
    key: str
    parent: Node | None = None
    children: list[Node] = msgspec.field(default_factory=list)
    place: int = 0

    @property
    def is_group(self) -> bool:
        """Whether it is the heading of a stage's modules."""
        return self.key.startswith("\0")


class Arrangement(msgspec.Struct, frozen=True):
    """What of the table is shown, and how."""

    grouping: Grouping = "module"
    choice: Choice = msgspec.field(default_factory=Choice)
    column: int = 0
    descending: bool = False


class TableModel(QAbstractItemModel):
    """Adapts a layer table; text for the eye, and lengths for the bars."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._table: Tabulated | None = None
        self._times: Mapping[str, float] = {}
        self._arrangement = Arrangement()
        self._top: list[Node] = []
        self._nodes: list[Node] = []
        self._leaves: frozenset[str] = frozenset()
        self._longest: dict[tuple[str, bool], float] = {}

    # What is shown

    @property
    def rows(self) -> Sequence[TableRow]:
        """Of the whole table, in the order of the network."""
        return self._table.rows if self._table else ()

    @property
    def timed(self) -> bool:
        return bool(self._times)

    @property
    def arrangement(self) -> Arrangement:
        return self._arrangement

    def set_table(self, table: Tabulated) -> None:
        """Another network's, or the same network's at another size: then the lines stay where they are."""
        before = self._table
        self._table = table
        self._longest.clear()
        self._leaves = frozenset(row.path for row in table.rows if row.leaf)
        same = before is not None and [row.path for row in before.rows] == [row.path for row in table.rows]
        if same and self._arrangement.column == 0 and not self._arrangement.choice.only_size_changes:
            self._renew()
        else:
            self._arrange()

    def set_times(self, seconds: Mapping[str, float]) -> None:
        """By path; empty where they are not known."""
        self._times = seconds
        self._arrange()

    def arrange(self, arrangement: Arrangement) -> None:
        if arrangement != self._arrangement:
            self._arrangement = arrangement
            self._arrange()

    def node(self, index: Index) -> Node | None:
        found: Any = index.internalPointer() if index.isValid() else None
        return found if isinstance(found, Node) else None

    def index_of(self, path: str) -> QModelIndex:
        """Where the module `path` stands; an invalid index where it does not."""
        for node in self._nodes:
            if node.key == path:
                return self.createIndex(node.place, 0, node)
        return QModelIndex()

    def indexes_of(self, keys: Container[str]) -> Iterator[QModelIndex]:
        """Yield the indexes of the lines with these keys, from top to bottom."""
        for node in self._nodes:
            if node.key in keys:
                yield self.createIndex(node.place, 0, node)

    def foldable(self) -> Iterator[tuple[str, QModelIndex]]:
        """Of the lines that have some below them."""
        for node in self._nodes:
            if node.children:
                yield node.key, self.createIndex(node.place, 0, node)

    # Building

    def _renew(self) -> None:
        fresh = {node.key: node.line for node in self._made()[1]}
        for node in self._nodes:
            node.line = fresh.get(node.key, node.line)
        last = len(COLUMNS) - 1
        for parent in (None, *self._nodes):
            below = self._top if parent is None else parent.children
            if below:
                self.dataChanged.emit(
                    self.createIndex(0, 0, below[0]), self.createIndex(len(below) - 1, last, below[-1])
                )

    def _arrange(self) -> None:
        self._longest.clear()
        self.beginResetModel()
        self._top, self._nodes = self._made()
        self.endResetModel()

    def _made(self) -> tuple[list[Node], list[Node]]:
        """The lines at the top, and all from top to bottom."""
        shown = [node for node in self._of_modules() if matches(node.line.row, self._arrangement.choice)]
        match self._arrangement.grouping:
            case "module":
                top = self._as_tree(shown)
            case "stage":
                top = self._by_stage(shown)
            case "flat":
                top = shown
        self._sort(top)
        nodes: list[Node] = []
        _number(top, nodes)
        return top, nodes

    def _of_modules(self) -> Iterator[Node]:
        total = self._times.get("", 0.0)
        for place, row in enumerate(self.rows):
            seconds = self._times.get(row.path)
            share = seconds / total if seconds is not None and total else None
            label = row.path or QCoreApplication.translate("TableModel", "(whole network)")
            node = Node(Line(row, label, place, None, seconds, share), row.path)
            for number, call in enumerate(row.each_call, start=1):
                words = QCoreApplication.translate("TableModel", "call {number}").format(number=number)
                node.children.append(Node(Line(row, words, place, call), f"{row.path}:{number}", node))
            yield node

    def _as_tree(self, shown: list[Node]) -> list[Node]:
        """Each below the nearest module that is shown and that it lies in; with its own name only, where that is its parent."""
        by_path = {node.key: node for node in shown}
        top = []
        for node in shown:
            parent = next((by_path[above] for above in _above(node.key) if above in by_path), None)
            if parent is None:
                top.append(node)
                continue
            node.parent = parent
            parent.children.append(node)
            if parent.key:
                node.line = msgspec.structs.replace(node.line, label=node.key[len(parent.key) + 1 :])
        return top

    def _by_stage(self, shown: list[Node]) -> list[Node]:
        groups = {stage: [node for node in shown if node.line.row.stage == stage] for stage in STAGES}
        top = []
        for stage, nodes in groups.items():
            if not nodes:
                continue
            name = stage or QCoreApplication.translate("TableModel", "several, or none")
            sums = _sums([node.line.row for node in nodes], self._table.shared if self._table else ())
            group = Node(Line(sums, name, nodes[0].line.place), f"\0{stage}")
            for node in nodes:
                node.parent = group
            group.children = nodes
            top.append(group)
        return top

    def _sort(self, nodes: list[Node]) -> None:
        column = COLUMNS[self._arrangement.column]
        if self._arrangement.column or self._arrangement.descending:
            known = [node for node in nodes if column.value(node.line) is not None]
            unknown = [node for node in nodes if column.value(node.line) is None]
            known.sort(key=lambda node: column.value(node.line), reverse=self._arrangement.descending)  # type: ignore[arg-type, return-value]
            nodes[:] = known + unknown
        for node in nodes:
            if node.children and node.children[0].line.call is None:
                self._sort(node.children)

    # Qt

    def index(self, row: int, column: int, parent: Index = QModelIndex()) -> QModelIndex:  # noqa: B008
        above = self.node(parent)
        below = above.children if above else self._top
        return self.createIndex(row, column, below[row]) if 0 <= row < len(below) else QModelIndex()

    def parent(self, index: Index = QModelIndex()) -> Any:  # noqa: B008
        node = self.node(index)
        above = node.parent if node else None
        return self.createIndex(above.place, 0, above) if above else QModelIndex()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        above = self.node(parent)
        return len(above.children) if above else 0 if parent.isValid() else len(self._top)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Vertical:
            return None
        column = COLUMNS[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.heading
        if role == Qt.ItemDataRole.ToolTipRole:
            return column.explained
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight if column.number else Qt.AlignmentFlag.AlignLeft)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        node = self.node(index)
        if node is None:
            return None
        column = COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(node.line)
        if role == Qt.ItemDataRole.ToolTipRole:
            return _tip(node.line, column.name) or column.text(node.line)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if column.number else Qt.AlignmentFlag.AlignLeft
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        if role == BarRole:
            return self._bar(node, index.column())
        if role == PathRole:
            return None if node.is_group else node.line.row.path
        return None

    def _bar(self, node: Node, number: int) -> float | None:
        """Of a module without others in it beside the largest of these, of a group beside the largest group; others have none,
        as they would be as long as all within them together."""
        column = COLUMNS[number]
        group = node.is_group
        if not column.bar or not (group or node.line.row.path in self._leaves):
            return None
        value = column.value(node.line)
        largest = self._largest(column.name, groups=group)
        return min(value / largest, 1.0) if largest and isinstance(value, int | float) else None

    def _largest(self, name: str, *, groups: bool) -> float:
        """Of a column; found once, and again after a change."""
        key = (name, groups)
        if key not in self._longest:
            column = next(column for column in COLUMNS if column.name == name)
            nodes = [
                node
                for node in (self._top if groups else self._nodes)
                if groups or (node.line.call is None and node.line.row.path in self._leaves)
            ]
            values = [column.value(node.line) for node in nodes]
            self._longest[key] = max((value for value in values if isinstance(value, int | float)), default=0.0)
        return self._longest[key]


def _tip(line: Line, column: str) -> str:
    """What does not fit into the cell."""
    if column == "layer":
        return f"{line.row.path} — {line.row.kind}" if line.row.path else line.row.kind
    if column in ("macs", "other") and line.row.not_counted:
        words = QCoreApplication.translate("TableModel", "Not counted, since nobody knows what they cost: {names}")
        return words.format(names=", ".join(line.row.not_counted))
    return ""


def _number(nodes: list[Node], into: list[Node]) -> None:
    for place, node in enumerate(nodes):
        node.place = place
        into.append(node)
        _number(node.children, into)


def _sums(rows: Sequence[TableRow], shared: Sequence[SharedTensor]) -> TableRow:
    """Return the sums over the modules of a stage. Activations are those of its modules without children."""
    leaves = [row for row in rows if row.leaf]
    counts = own_sum(rows, shared)
    return TableRow(
        path="",
        kind="",
        detail="",
        depth=0,
        stage=rows[0].stage,
        input_shape=rows[0].input_shape,
        output_shape=None,
        leaf=False,
        own_parameters=counts.parameters,
        parameters=counts.parameters,
        own_trainable=counts.trainable,
        trainable=counts.trainable,
        own_buffers=counts.buffers,
        buffers=counts.buffers,
        own_macs=sum(row.own_macs for row in rows),
        macs=sum(row.own_macs for row in rows),
        own_other_operations=sum(row.own_other_operations for row in rows),
        other_operations=sum(row.own_other_operations for row in rows),
        not_counted=tuple(dict.fromkeys(name for row in rows for name in row.not_counted)),
        activation_bytes=sum(row.activation_bytes for row in leaves),
        calls=sum(row.calls for row in leaves),
        stride=None,
        field="",
        field_size=None,
    )


class Selected(msgspec.Struct, frozen=True):
    """What chosen modules have and cost in all, each thing once where a module is chosen as well as one that lies in it.

    Attributes:
        modules: how many are chosen.
        nbytes: of the activations of all modules without children in them.
    """

    modules: int
    parameters: int
    macs: int
    other_operations: int
    not_counted: tuple[str, ...]
    nbytes: int


def selected(paths: Sequence[str], table: Tabulated) -> Selected:
    """Of the modules at `paths` of a table."""
    chosen, rows = set(paths), table.rows
    outer = [row for row in rows if row.path in chosen and not any(above in chosen for above in _above(row.path))]
    leaves = [
        row for row in rows if row.leaf and (row.path in chosen or any(above in chosen for above in _above(row.path)))
    ]
    return Selected(
        modules=len(chosen),
        parameters=whole_sum(outer, table.shared).parameters,
        macs=sum(row.macs for row in outer),
        other_operations=sum(row.other_operations for row in outer),
        not_counted=tuple(dict.fromkeys(name for row in outer for name in row.not_counted)),
        nbytes=sum(row.activation_bytes for row in leaves),
    )


def _above(path: str) -> Iterator[str]:
    """The modules that it lies in, the whole network last."""
    while path:
        path = path.rpartition(".")[0]
        yield path


__all__ = ["TIMES", "Arrangement", "BarRole", "Grouping", "Node", "PathRole", "Selected", "TableModel", "selected"]
