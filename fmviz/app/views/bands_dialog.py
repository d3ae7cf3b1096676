"""The dialog that chooses which bands of a picture are shown."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QRadioButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)


class BandsDialog(QDialog):
    """Three bands as red, green and blue, or one as grey.

    Args:
        name: The picture's name.
        count: The number of its bands, 2 or more.
        bands: Those that were chosen, from 1; the file's own where empty.
    """

    chosen = Signal(object)
    """A tuple of three band numbers, of one, or of none for the file's own."""

    def __init__(self, name: str, count: int, bands: tuple[int, ...], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Choose bands"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        about = QLabel(self.tr("{name} has {count} bands.").format(name=name, count=count), self)
        about.setTextFormat(Qt.TextFormat.PlainText)
        about.setWordWrap(True)
        self.colours = QRadioButton(self.tr("&Three bands as colours"), self)
        self.grey = QRadioButton(self.tr("&One band as grey"), self)
        usual = tuple(min(band, count) for band in (1, 2, 3))
        self.boxes = [self._box(count, band) for band in (bands if len(bands) == 3 else usual)]
        self.box = self._box(count, bands[0] if len(bands) == 1 else 1)
        (self.grey if len(bands) == 1 or (count == 2 and not bands) else self.colours).setChecked(True)
        self.colours.toggled.connect(self._show_which_count)
        self._lay_out(about)
        self._show_which_count()

    def _box(self, count: int, band: int) -> QSpinBox:
        box = QSpinBox(self)
        box.setRange(1, count)
        box.setValue(band)
        return box

    def _lay_out(self, about: QLabel) -> None:
        form = QFormLayout()
        form.addRow(self.colours)
        for text, box in zip((self.tr("&Red"), self.tr("&Green"), self.tr("&Blue")), self.boxes, strict=True):
            form.addRow(text, box)
        form.addRow(self.grey)
        form.addRow(self.tr("B&and"), self.box)
        kinds = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(kinds.Ok | kinds.Cancel | kinds.RestoreDefaults, self)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.buttons.button(kinds.RestoreDefaults).clicked.connect(self._restore)
        self.accepted.connect(lambda: self.chosen.emit(self.bands()))
        self._defaults = False
        layout = QVBoxLayout(self)
        layout.addWidget(about)
        layout.addLayout(form)
        layout.addWidget(self.buttons)

    def bands(self) -> tuple[int, ...]:
        """Return the chosen bands."""
        if self._defaults:
            return ()
        boxes = self.boxes if self.colours.isChecked() else [self.box]
        return tuple(box.value() for box in boxes)

    def _restore(self) -> None:
        """Choose the file's own bands, and close."""
        self._defaults = True
        self.accept()

    def _show_which_count(self) -> None:
        for box in self.boxes:
            box.setEnabled(self.colours.isChecked())
        self.box.setEnabled(self.grey.isChecked())
