"""Which network a file of weights is for: the best guess is chosen, and what does not agree is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from fmviz.app.theme import numbers_font
from fmviz.app.views.network_list import shown_name
from fmviz.engine.messages import ProposalInfo


class ProposalsDialog(QDialog):
    chosen = Signal(object, object)
    """The name of a network, and the path of the file."""

    def __init__(self, path: str, proposals: Sequence[ProposalInfo], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Weights from a file"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(720, 320)
        self._path, self._proposals = path, tuple(proposals)
        question = QLabel(self.tr("{name} may be for one of these networks:").format(name=PurePath(path).name), self)
        self.table = QTableWidget(len(proposals), 4, self)
        self.table.setHorizontalHeaderLabels(
            [self.tr("Network"), self.tr("Agree"), self.tr("Missing"), self.tr("Left over")]
        )
        self._fill()
        self._note = QLabel(self)
        self._note.setWordWrap(True)
        for label in (question, self._note):
            label.setTextFormat(Qt.TextFormat.PlainText)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel, self)
        self._load_button = buttons.addButton(self.tr("Load"), QDialogButtonBox.ButtonRole.AcceptRole)
        self._load_button.setDefault(True)
        buttons.accepted.connect(self._load)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        for widget in (question, self.table, self._note, buttons):
            layout.addWidget(widget)
        self.table.currentCellChanged.connect(lambda row, *_: self._show_note(row))
        self.table.cellDoubleClicked.connect(lambda *_: self._load())
        self.table.selectRow(0)
        self._show_note(0)

    def _fill(self) -> None:
        table = self.table
        table.setFont(numbers_font())
        table.verticalHeader().hide()
        table.setShowGrid(False)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for place, one in enumerate(self._proposals):
            agree = self.tr("{matched} of {total}").format(matched=one.matched, total=one.total)
            for column, text in enumerate((shown_name(one.backbone), agree, str(one.missing), str(one.left_over))):
                item = QTableWidgetItem(text)
                if not one.fits:
                    item.setForeground(self.palette().placeholderText())
                if column:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                table.setItem(place, column, item)

    def _show_note(self, row: int) -> None:
        self._load_button.setEnabled(0 <= row < len(self._proposals) and self._proposals[row].fits)
        self._note.setText(self._proposals[row].note if 0 <= row < len(self._proposals) else "")

    def _load(self) -> None:
        row = self.table.currentRow()
        if 0 <= row < len(self._proposals) and self._proposals[row].fits:
            self.accept()
            self.chosen.emit(self._proposals[row].backbone, self._path)
