"""Asks whether a file of code may be run: which file, what of it was read, and what it means to say yes."""

from __future__ import annotations

from pathlib import PurePath

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QFormLayout, QLabel, QVBoxLayout, QWidget

from fmviz.app.theme import bold_font, numbers_font
from fmviz.engine.messages import TrustWanted


class TrustDialog(QDialog):
    trusted = Signal(object)
    """The `TrustWanted` that it was made with: the user said yes."""

    def __init__(self, wanted: TrustWanted, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Run this file?"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(560)
        name = PurePath(wanted.path).name
        question = self.tr("{name} is a program. To show the network that it builds, fmviz must run it.")
        if wanted.edited:
            question = self.tr("{name} is a program, and it was changed since you trusted it.")
        title = QLabel(question.format(name=name), self)
        title.setFont(bold_font())
        meaning = QLabel(
            self.tr(
                "A program can do whatever you can do on this computer. Run it only if you wrote it, or trust who did. "
                "fmviz remembers your answer for exactly this content."
            ),
            self,
        )
        facts = QFormLayout()
        for text, value in ((self.tr("File"), wanted.path), (self.tr("SHA-256"), wanted.sha256)):
            label = QLabel(value, self)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setFont(numbers_font())
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            facts.addRow(text, label)
        self.buttons = QDialogButtonBox(self)
        trust = self.buttons.addButton(self.tr("Trust and run"), QDialogButtonBox.ButtonRole.AcceptRole)
        cancel = self.buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        trust.setAutoDefault(False)
        cancel.setDefault(True)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.accepted.connect(lambda: self.trusted.emit(wanted))
        layout = QVBoxLayout(self)
        for label in (title, meaning):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
            layout.addWidget(label)
        layout.addLayout(facts)
        layout.addWidget(self.buttons)
