"""The networks as a tree of groups: what the chooser shows and searches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from PySide6.QtCore import QCoreApplication, QModelIndex, QObject, QSortFilterProxyModel, Qt
from PySide6.QtGui import QStandardItem, QStandardItemModel

from fmviz.app.numbers import bytes_words, counted, thousands
from fmviz.engine.messages import BackboneInfo
from fmviz.own_model import PREFIX

NAME_ROLE = Qt.ItemDataRole.UserRole
SEARCH_ROLE = Qt.ItemDataRole.UserRole + 1

_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_BY_FAMILY = ("torchvision", "timm")
"""Groups so large that they are divided by family."""


class NetworkList(QStandardItemModel):
    """Columns: name, parameters, MACs, year, where its weights are."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._by_name: dict[str, QStandardItem] = {}

    def set_networks(self, networks: Sequence[BackboneInfo], recent: Sequence[str]) -> None:
        """All there are, in their order; before them those of `recent` that there are."""
        self.clear()
        titles = (self.tr("Network"), self.tr("Parameters"), self.tr("MACs"), self.tr("Year"), self.tr("Weights"))
        self.setHorizontalHeaderLabels(titles)
        for column in (1, 2, 3):
            # Not through `horizontalHeaderItem`: PySide keeps a wrapper of the item, which `clear` deletes without telling
            # it; with PySide 6.12 the process then dies in a later call.
            self.setHeaderData(column, Qt.Orientation.Horizontal, _RIGHT.value, Qt.ItemDataRole.TextAlignmentRole)
        tip = self.tr("Without the detection head that the weights of a trained pyramid may bring")
        self.setHeaderData(1, Qt.Orientation.Horizontal, tip, Qt.ItemDataRole.ToolTipRole)
        self._by_name = {}
        by_name = {row.name: row for row in networks}
        self._add(self.tr("Recent"), [by_name[name] for name in recent if name in by_name])
        for group in dict.fromkeys(row.group for row in networks):
            self._add_group(group, [row for row in networks if row.group == group])

    def _add_group(self, group: str, rows: list[BackboneInfo]) -> None:
        if group not in _BY_FAMILY:
            self._add(group_words(group), rows)
            return
        for family in sorted({row.family for row in rows}, key=str.casefold):
            self._add(f"{group_words(group)} · {family}", [row for row in rows if row.family == family])

    def _add(self, title: str, rows: Iterable[BackboneInfo]) -> None:
        items = [self._items(row, title) for row in rows]
        if not items:
            return
        head = QStandardItem(title)
        head.setFlags(Qt.ItemFlag.ItemIsEnabled)
        font = head.font()
        font.setBold(True)
        head.setFont(font)
        for row in items:
            head.appendRow(row)
        self.invisibleRootItem().appendRow(head)

    def _items(self, row: BackboneInfo, title: str) -> list[QStandardItem]:
        texts = (
            shown_name(row.name),
            counted(row.parameters) if row.parameters else "",
            counted(row.macs) if row.macs else "",
            str(row.year) if row.year else "",
            weights_mark(row),
        )
        items = [QStandardItem(text) for text in texts]
        for item in items[1:4]:
            item.setTextAlignment(_RIGHT)
        for item in items:
            item.setData(row.name, NAME_ROLE)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
        items[1].setToolTip(network_parameters_words(row))
        items[0].setData(f"{row.name} {row.family} {title} {row.paper} {row.year or ''}", SEARCH_ROLE)
        self._by_name[row.name] = items[0]
        return items

    def index_of(self, name: str) -> QModelIndex:
        """Where the network stands in its own group, not among the recent ones."""
        item = self._by_name.get(name)
        return self.indexFromItem(item) if item is not None else QModelIndex()


class NetworkFilter(QSortFilterProxyModel):
    """Rows that hold all the words, in any order, with their group. Qt's own matching: a thousand rows at every key."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.setRecursiveFilteringEnabled(True)
        self.setFilterRole(SEARCH_ROLE)
        self.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)

    def set_text(self, text: str) -> None:
        self.setFilterRegularExpression("".join(f"(?=.*{re.escape(word)})" for word in text.split()))
        self.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)


def shown_name(name: str) -> str:
    """Of a network out of a file of code only the file's name: "model.py:build"."""
    return name.replace("\\", "/").rpartition("/")[2] if name.startswith(PREFIX) else name


def parameters_words(network: int, head: int) -> str:
    """Say what a number of parameters counts: "4,831,720, + 43,275 in the detection head that the weights bring"."""
    if not head:
        return thousands(network)
    words = QCoreApplication.translate("Networks", "{network}, + {head} in the detection head that the weights bring")
    return words.format(network=thousands(network), head=thousands(head))


def network_parameters_words(row: BackboneInfo, weights: str = "") -> str:
    """The parameters of a network with these weights, or with the best ones here; "" where they are not known."""
    if not row.parameters:
        return ""
    head = row.head_parameters(weights)
    if head:
        words = QCoreApplication.translate(
            "Networks", "{network} parameters, + {head} in the detection head that the weights bring"
        )
        return words.format(network=thousands(row.parameters), head=thousands(head))
    return QCoreApplication.translate("Networks", "{count} parameters").format(count=thousands(row.parameters))


def group_words(group: str) -> str:
    """The heading of a group of networks."""
    return {
        "papers": QCoreApplication.translate("Networks", "The papers"),
        "article": QCoreApplication.translate("Networks", "The founding article"),
        "own": QCoreApplication.translate("Networks", "Your own"),
    }.get(group, group)


def weights_mark(row: BackboneInfo) -> str:
    """Where its weights are: on this computer, to be fetched, or nowhere."""
    if any(offer.here for offer in row.offers):
        return QCoreApplication.translate("Networks", "● on this computer")
    if row.offers:
        size = bytes_words(row.offers[0].nbytes)
        return QCoreApplication.translate("Networks", "↓ {size} to fetch").format(size=size)
    if row.group == "own":
        return QCoreApplication.translate("Networks", "its own")
    if row.group == "timm":
        return QCoreApplication.translate("Networks", "○ random, or a file")
    return QCoreApplication.translate("Networks", "○ random only")
