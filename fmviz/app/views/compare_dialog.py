"""Two networks side by side: what each stage has, costs and sees, and the differences."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import cast

from PySide6.QtCore import QCoreApplication, Qt, Signal
from PySide6.QtGui import QFont
from PySide6.QtWidgets import (
    QComboBox,
    QCompleter,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMenu,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from fmviz.app.numbers import bytes_words, stride_words, thousands
from fmviz.app.theme import numbers_font
from fmviz.app.wording import form_words
from fmviz.engine.messages import Compared, ComparedRow, TableForm

FORMS: tuple[TableForm, ...] = ("text", "csv", "markdown", "latex", "latex-compact", "json")


class CompareDialog(QDialog):
    """Not modal: the window behind it goes on."""

    other_chosen = Signal(object)
    """The name of the network to compare with."""
    copy_wanted = Signal(object)
    export_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Compare networks"))
        self.resize(780, 640)
        self._one = QLabel(self)
        self.other = QComboBox(self)
        self.other.setEditable(True)
        self.other.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.other.setMinimumWidth(260)
        self.other.setAccessibleName(self.tr("The other network"))
        completer = QCompleter(self.other.model(), self.other)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.other.setCompleter(completer)
        self._note = QLabel(self)
        self._note.setWordWrap(True)
        self.lines = QTreeWidget(self)
        self.lines.setFont(numbers_font())
        self.lines.setAlternatingRowColors(True)
        self.lines.setUniformRowHeights(True)
        self.lines.setAccessibleName(self.tr("Comparison"))
        self.lines.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.lines.header().setStretchLastSection(False)
        self.lines.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        above = QHBoxLayout()
        above.addWidget(self._one)
        above.addWidget(QLabel(self.tr("beside"), self))
        above.addWidget(self.other)
        above.addStretch(1)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, self)
        copy = QPushButton(self.tr("Copy as"), self)
        copy.setMenu(QMenu(copy))
        for form in FORMS:
            words = form_words(form)
            copy.menu().addAction(words[:1].upper() + words[1:]).triggered.connect(
                lambda _checked=False, form=form: self.copy_wanted.emit(form)
            )
        export = QPushButton(self.tr("Export…"), self)
        export.clicked.connect(self.export_wanted)
        buttons.addButton(copy, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.addButton(export, QDialogButtonBox.ButtonRole.ActionRole)
        for button in buttons.buttons():
            # Enter is for the network's name.
            cast(QPushButton, button).setAutoDefault(False)
        buttons.rejected.connect(self.reject)
        self._takers = (copy, export)
        layout = QVBoxLayout(self)
        layout.addLayout(above)
        for widget in (self._note, self.lines, buttons):
            layout.addWidget(widget)
        self.other.activated.connect(lambda: self.other_chosen.emit(self.other.currentText()))
        line = self.other.lineEdit()
        assert line is not None  # it is editable
        line.returnPressed.connect(lambda: self.other_chosen.emit(self.other.currentText()))
        self.set_note("")

    def set_networks(self, one: str, other: str, names: Sequence[str]) -> None:
        """What is compared, and what there is to compare with."""
        self._one.setText(f"<b>{one}</b>")
        if [self.other.itemText(place) for place in range(self.other.count())] != list(names):
            self.other.clear()
            self.other.addItems(list(names))
        self.other.setCurrentText(other)
        line = self.other.lineEdit()
        assert line is not None  # it is editable
        line.selectAll()

    def set_note(self, text: str) -> None:
        """What is going on, or wrong; "" for nothing."""
        self._note.setText(text)
        self._note.setVisible(bool(text))

    def set_comparison(self, compared: Compared) -> None:
        self.set_note("\n".join(compared.notes))
        self.lines.clear()
        self.lines.setHeaderLabels(["", compared.backbone, compared.other, self.tr("Difference"), self.tr("Ratio")])
        for number in range(1, 5):
            self.lines.headerItem().setTextAlignment(number, Qt.AlignmentFlag.AlignRight)
        for stage, rows in groupby(compared.rows, key=lambda row: row.stage):
            group = QTreeWidgetItem([stage or self._whole(compared)])
            font = QFont(self.lines.font())
            font.setBold(True)
            group.setFont(0, font)
            self.lines.addTopLevelItem(group)
            group.setFirstColumnSpanned(True)
            for row in rows:
                group.addChild(_item(row))
            group.setExpanded(True)
        for taker in self._takers:
            taker.setEnabled(True)

    def set_nothing(self) -> None:
        """There is no comparison."""
        self.lines.clear()
        for taker in self._takers:
            taker.setEnabled(False)

    def _whole(self, compared: Compared) -> str:
        return self.tr("The whole, at {height} × {width}").format(height=compared.size[0], width=compared.size[1])


def _item(row: ComparedRow) -> QTreeWidgetItem:
    both = row.one is not None and row.other is not None
    difference = row.other - row.one if row.one is not None and row.other is not None else None
    ratio = f"{row.other / row.one:.3g} ×" if both and row.one and row.other is not None else "–"
    cells = [quantity_words(row.quantity), _words(row, row.one), _words(row, row.other), _words(row, difference), ratio]
    if difference is not None and difference > 0:
        cells[3] = f"+{cells[3]}"
    item = QTreeWidgetItem(cells)
    for number in range(1, 5):
        item.setTextAlignment(number, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item


def _words(row: ComparedRow, value: float | None) -> str:
    if value is None:
        return "–"
    if row.quantity == "activation bytes":
        return f"−{bytes_words(-value)}" if value < 0 else bytes_words(value)
    if row.quantity == "stride":
        return f"−{stride_words(-value)}" if value < 0 else stride_words(value)
    return thousands(round(value)).replace("-", "−")


def quantity_words(quantity: str) -> str:
    """A quantity of a comparison, in the user's language."""
    return {
        "layers": QCoreApplication.translate("CompareDialog", "Layers"),
        "parameters": QCoreApplication.translate("CompareDialog", "Parameters"),
        "MACs": QCoreApplication.translate("CompareDialog", "MACs"),
        "other operations": QCoreApplication.translate("CompareDialog", "Other operations"),
        "activation bytes": QCoreApplication.translate("CompareDialog", "Activations"),
        "stride": QCoreApplication.translate("CompareDialog", "Stride"),
        "receptive field": QCoreApplication.translate("CompareDialog", "Receptive field"),
    }.get(quantity, quantity)
