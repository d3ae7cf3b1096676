"""The list of networks that opens below the toolbar: type to search, arrows to walk, Enter to choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QModelIndex, QObject, QPersistentModelIndex, QPoint, QSize, Qt, Signal
from PySide6.QtGui import QGuiApplication, QHideEvent, QKeyEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QStyledItemDelegate,
    QTreeView,
    QVBoxLayout,
    QWidget,
)

from fmviz.app.theme import numbers_font
from fmviz.app.views.network_list import NAME_ROLE, NetworkFilter, NetworkList, network_parameters_words
from fmviz.app.views.scroll_bar import give_scroll_bars
from fmviz.engine.messages import BackboneInfo

if TYPE_CHECKING:
    # To load it takes ten milliseconds, for all that a style can draw.
    from PySide6.QtWidgets import QStyleOptionViewItem

Index = QModelIndex | QPersistentModelIndex
_FOLDED = "·"
"""What is in the title of a group that is closed until it is searched: the families of the large ones."""
_WALKING = (Qt.Key.Key_Down, Qt.Key.Key_Up, Qt.Key.Key_PageDown, Qt.Key.Key_PageUp)


class _Row(QStyledItemDelegate):
    """A little higher than its text. A style sheet would do as well, but what has one does not follow from light to dark."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        size = super().sizeHint(option, index)
        return QSize(size.width(), size.height() + 4)


class Chooser(QFrame):
    """A popup. It is hidden when something is chosen, on Escape, and on a click elsewhere."""

    network_chosen = Signal(object)
    """The name of a network."""
    model_wanted = Signal()
    """A file of the user's own is to be opened."""
    weights_wanted = Signal()
    """The page of weights."""
    opened = Signal()
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self._rows: dict[str, BackboneInfo] = {}
        self._current = ""
        self._model = NetworkList(self)
        self._filter = NetworkFilter(self)
        self._filter.setSourceModel(self._model)
        self.field = QLineEdit(self)
        self.field.setClearButtonEnabled(True)
        self.field.setPlaceholderText(self.tr("Search: resnet, fpn, 2014, swin …"))
        self.field.setAccessibleName(self.tr("Search networks"))
        self.field.installEventFilter(self)
        self.tree = self._made_tree()
        self._about = QLabel(self)
        self._about.setWordWrap(True)
        self._about.setMinimumHeight(self.fontMetrics().lineSpacing() * 3)
        self._about.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._lay_out()
        self.field.textChanged.connect(self._filtered)
        self.tree.activated.connect(self._activated)
        self.tree.clicked.connect(self._activated)
        self.tree.selectionModel().currentChanged.connect(self._show_about)

    def _made_tree(self) -> QTreeView:
        tree = QTreeView(self)
        give_scroll_bars(tree)
        tree.setModel(self._filter)
        tree.setUniformRowHeights(True)
        tree.setFont(numbers_font())
        tree.setIndentation(14)
        tree.setItemDelegate(_Row(tree))
        tree.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        tree.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        tree.setAccessibleName(self.tr("Networks"))
        tree.header().setStretchLastSection(True)
        return tree

    def _lay_out(self) -> None:
        own, weights = QPushButton(self.tr("Open model…"), self), QPushButton(self.tr("Weights…"), self)
        own.setToolTip(self.tr("A Python file with a function that builds your network"))
        weights.setToolTip(self.tr("What is on this computer, and what can be fetched"))
        for button, signal in ((own, self.model_wanted), (weights, self.weights_wanted)):
            button.setAutoDefault(False)
            button.clicked.connect(self.hide)
            button.clicked.connect(lambda _checked=False, signal=signal: signal.emit())
        buttons = QHBoxLayout()
        buttons.addWidget(own)
        buttons.addWidget(weights)
        buttons.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        for widget in (self.field, self.tree, self._about):
            layout.addWidget(widget)
        layout.addLayout(buttons)

    # What there is

    def set_networks(self, networks: Sequence[BackboneInfo], recent: Sequence[str], current: str) -> None:
        """All networks, those chosen lately, and the one that is chosen now."""
        self._rows = {row.name: row for row in networks}
        self._current = current
        self._model.set_networks(networks, recent)
        self._fit_columns()
        self._filtered(self.field.text())

    def _fit_columns(self) -> None:
        header, metrics = self.tree.header(), self.tree.fontMetrics()
        for column, widest in ((1, "Parameters"), (2, "999.9 G"), (3, "2024 ")):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            header.resizeSection(column, metrics.horizontalAdvance(widest) + 28)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(4, QHeaderView.ResizeMode.Fixed)
        header.resizeSection(4, metrics.horizontalAdvance("● on this computer ") + 24)

    def open_below(self, widget: QWidget) -> None:
        """Show the list under `widget`, as large as it is of use, within the screen."""
        screen = (widget.screen() or QGuiApplication.primaryScreen()).availableGeometry()
        self.resize(min(760, screen.width() - 16), min(620, screen.height() * 3 // 4))
        place = widget.mapToGlobal(QPoint(0, widget.height()))
        place.setX(max(screen.left(), min(place.x(), screen.right() - self.width())))
        place.setY(max(screen.top(), min(place.y(), screen.bottom() - self.height())))
        self.move(place)
        self.field.clear()
        self.show()
        self._filtered("")
        self.field.setFocus()
        self.opened.emit()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.closed.emit()

    # Search

    def _filtered(self, text: str) -> None:
        self._filter.set_text(text)
        for place in range(self._filter.rowCount()):
            group = self._filter.index(place, 0)
            self.tree.setFirstColumnSpanned(place, QModelIndex(), True)
            self.tree.setExpanded(group, bool(text.strip()) or _FOLDED not in str(group.data()))
        wanted = (
            self._found(text.strip())
            if text.strip()
            else self._filter.mapFromSource(self._model.index_of(self._current))
        )
        self.tree.setCurrentIndex(wanted)
        self.tree.scrollToTop()
        if wanted.isValid():
            self.tree.setExpanded(wanted.parent(), True)
            self.tree.scrollTo(wanted, QAbstractItemView.ScrollHint.EnsureVisible)
        self._show_about(wanted)

    def _found(self, text: str) -> QModelIndex:
        """The network of just this name, or else the first that has all the words."""
        exact = self._filter.mapFromSource(self._model.index_of(text.lower()))
        group = self._filter.index(0, 0)
        return exact if exact.isValid() or not group.isValid() else self._filter.index(0, 0, group)

    def _show_about(self, index: QModelIndex, _before: QModelIndex | None = None) -> None:
        row = self._rows.get(str(index.data(NAME_ROLE) or ""))
        if row is None:
            nothing = self.field.text().strip() and not self._filter.rowCount()
            self._about.setText(self.tr("No network has all these words in its name or family.") if nothing else "")
            return
        facts = [row.family, f"arXiv {row.paper}" if row.paper else "", network_parameters_words(row)]
        if row.minimum_input > 1 and not row.only_input:
            facts.append(self.tr("at least {side} × {side} pixels").format(side=row.minimum_input))
        best = next((offer for offer in row.offers if offer.top1 is not None), None)
        if best is not None:
            facts.append(self.tr("top-1 {share:.1f} % ({weights})").format(share=best.top1, weights=best.name))
        self._about.setText("  ·  ".join(fact for fact in facts if fact) + (f"\n{row.about}" if row.about else ""))

    def _activated(self, index: QModelIndex) -> None:
        name = index.siblingAtColumn(0).data(NAME_ROLE)
        if not name:
            self.tree.setExpanded(index, not self.tree.isExpanded(index))
            return
        self.hide()
        self.network_chosen.emit(name)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keys of the field that are meant for the list."""
        if watched is self.field and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            if event.key() in _WALKING:
                self.tree.keyPressEvent(event)
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self._activated(self.tree.currentIndex())
                return True
        return super().eventFilter(watched, event)
