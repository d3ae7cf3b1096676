"""The Layers dock: the tree, and a field that filters it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from PySide6.QtCore import QItemSelectionModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QFontMetrics, QKeyEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QLabel, QLineEdit, QTreeView, QVBoxLayout, QWidget

from fmviz.app.numbers import shape_words, stride_words
from fmviz.app.theme import numbers_font
from fmviz.app.views.layer_tree import LayerFilter, LayerTree
from fmviz.app.views.scroll_bar import give_scroll_bars
from fmviz.engine.messages import LayerInfo


class LayersView(QWidget):
    layer_chosen = Signal(object)
    """The name of a layer."""
    beside = Signal(object, object)
    """The names of the layers above and below the current one, as the list stands open; empty where there is none."""
    stage_step = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = LayerTree(self)
        self._filter = LayerFilter(self)
        self._filter.setSourceModel(self._model)
        self.field = QLineEdit(self)
        self.field.setAcceptDrops(False)  # what is dropped is for the window
        self.field.setClearButtonEnabled(True)
        self.field.setPlaceholderText(self.tr("Filter: conv, layer3, P4 …"))
        self.field.setAccessibleName(self.tr("Filter layers"))
        self.tree = _Tree(self)
        self.tree.setModel(self._filter)
        self._nothing = QLabel(self.tr("No layer has that in its name."), self)
        self._nothing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._nothing.hide()
        self._setting = False
        self._current = ""
        self._stages: tuple[str, ...] = ()
        self._searching = False
        self._open: list[QPersistentModelIndex] | None = None
        self.setMinimumWidth(312)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        for widget in (self.field, self._nothing, self.tree):
            layout.addWidget(widget)
        self.field.textChanged.connect(self._filtered)
        self.tree.selectionModel().currentChanged.connect(self._current_changed)
        self.tree.stage_step.connect(self.stage_step)

    def set_layers(self, layers: Sequence[LayerInfo]) -> None:
        """The layers of a run, in its order."""
        self._setting = True
        changed = self._model.set_layers(layers)
        self._setting = False
        if not changed:
            return
        self._stages = tuple(layer.name for layer in layers if layer.taps)
        if self.field.text():
            self.tree.expandAll()
            # What stood open was another network's.
            self._open = None
        self._unfold_stages()
        self._fit_columns(layers)

    def _unfold_stages(self) -> None:
        for name in self._stages:
            self._unfold_to(name)

    def _unfold_to(self, name: str) -> None:
        """Open what is above this layer: stages and pyramid levels are in sight from the start."""
        index = self._filter.mapFromSource(self._model.index_of(name)).parent()
        while index.isValid():
            self.tree.expand(index)
            index = index.parent()

    def _fit_columns(self, layers: Sequence[LayerInfo]) -> None:
        """Shape and stride as wide as their longest text; measured here once, because a header that fits itself to its
        contents asks for every row again at every selection."""
        header, font = self.tree.header(), self.tree.font()
        font.setBold(True)
        metrics = QFontMetrics(font)
        shapes, strides = {layer.shape for layer in layers}, {layer.stride for layer in layers}
        texts = ([shape_words(shape) for shape in shapes], [stride_words(stride) for stride in strides])
        for column, words in enumerate(texts, start=1):
            title = str(self._model.headerData(column, Qt.Orientation.Horizontal))
            width = max(metrics.horizontalAdvance(text) for text in (*words, title))
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            header.resizeSection(column, width + 8)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)

    def set_current(self, name: str) -> None:
        """Select this layer, and bring it into sight."""
        self._current = name
        index = self._filter.mapFromSource(self._model.index_of(name))
        if index == self.tree.currentIndex():
            return
        self._setting = True
        if index.isValid():
            flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
            self.tree.selectionModel().setCurrentIndex(index, flags)
            self.tree.scrollTo(index)
        else:
            # Left as it is, the current row would be one that nobody chose.
            self.tree.setCurrentIndex(QModelIndex())
        self._setting = False

    def _filtered(self, text: str) -> None:
        if text and not self._searching:
            self._searching = True
            self._open = [index for index in self._indices() if self.tree.isExpanded(self._filter.mapFromSource(index))]
        self._setting = True
        self._filter.set_text(text)
        self._setting = False
        if text:
            self.tree.expandAll()
        elif self._searching:
            # As it was before: what was found is one row again, and not the whole network unfolded around it.
            self._searching = False
            self.tree.collapseAll()
            if self._open is None:
                self._unfold_stages()
            for index in self._open or ():
                self.tree.expand(self._filter.mapFromSource(index))
        self.set_current(self._current)
        if (current := self.tree.currentIndex()).isValid():
            self.tree.scrollTo(current)
        self._nothing.setVisible(bool(text) and self._filter.rowCount() == 0)

    def _indices(self, above: QModelIndex | None = None) -> Iterator[QPersistentModelIndex]:
        """Every row that has others below it."""
        above = above or QModelIndex()
        for row in range(self._model.rowCount(above)):
            index = self._model.index(row, 0, above)
            if self._model.hasChildren(index):
                yield QPersistentModelIndex(index)
                yield from self._indices(index)

    def _current_changed(self, index: QModelIndex) -> None:
        index = index.siblingAtColumn(0)
        name = index.data(LayerTree.LayerRole)
        if name:
            self.beside.emit(self._next(index, self.tree.indexAbove), self._next(index, self.tree.indexBelow))
        if name and not self._setting:
            self.layer_chosen.emit(name)

    def _next(self, index: QModelIndex, step: Callable[[QModelIndex], QModelIndex]) -> str:
        while (index := step(index)).isValid():
            # A module that is no layer has no name.
            if name := index.data(LayerTree.LayerRole):
                return str(name)
        return ""


class _Tree(QTreeView):
    stage_step = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        give_scroll_bars(self)
        self.setUniformRowHeights(True)
        self.setFont(numbers_font())
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setIndentation(10)
        self.header().setStretchLastSection(False)
        self.header().setMinimumSectionSize(44)
        self.setAccessibleName(self.tr("Layers"))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.AltModifier:
            event.ignore()  # a step to a picture that is not there folds nothing
        elif event.key() in (Qt.Key.Key_PageDown, Qt.Key.Key_PageUp):
            self.stage_step.emit(1 if event.key() == Qt.Key.Key_PageDown else -1)
        else:
            super().keyPressEvent(event)
