"""What to export, as what, and where; then how far it is, and a link to the folder."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec
from PySide6.QtCore import Qt, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from fmviz.maps import Normalisation

PATTERNS_EXAMPLE = "layer2.*  C3  fpn.*"


class ExportChoice(msgspec.Struct, frozen=True):
    """What the user wants written.

    `what`: "map", "layer", "layers" or "pyramid". `size`: 0 is the maps' own, -1 the picture's, else pixels.
    """

    what: str
    patterns: tuple[str, ...]
    form: str
    size: int
    colour_map: str
    normalisation: Normalisation
    folder: str
    over_picture: bool = False


class ExportDialog(QDialog):
    """Not modal: one may go on looking while files are written."""

    export_wanted = Signal(object)
    cancel_wanted = Signal()

    def __init__(self, colour_maps: Sequence[tuple[str, str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Export"))
        self.setMinimumWidth(460)
        self._layer = ""
        self._running = False
        self.what = QComboBox(self)
        self.patterns = QLineEdit(self)
        self.patterns.setPlaceholderText(PATTERNS_EXAMPLE)
        self.form = QComboBox(self)
        self.edge = QComboBox(self)
        self.pixels = QSpinBox(self)
        self.pixels.setRange(8, 8192)
        self.pixels.setValue(512)
        self.pixels.setSuffix(" px")
        self.colours = QComboBox(self)
        for name, label in colour_maps:
            self.colours.addItem(label, name)
        self.normalisation = QComboBox(self)
        self.over_picture = QCheckBox(self.tr("Over the picture, as in the Channel dock"), self)
        self.folder = QLineEdit(self)
        self._message = QLabel(self)
        self._message.setWordWrap(True)
        self._message.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self._message.linkActivated.connect(lambda link: QDesktopServices.openUrl(QUrl(link)))
        self._progress = QProgressBar(self)
        self._progress.setRange(0, 1000)
        self._button = QPushButton(self.tr("Export"), self)
        self._button.setDefault(True)
        self._close = QPushButton(self.tr("Close"), self)
        self._fill()
        self._lay_out()
        self._button.clicked.connect(self._clicked)
        self._close.clicked.connect(self.close)
        for box in (self.what, self.form, self.edge):
            box.currentIndexChanged.connect(self._show_what_counts)
        for field in (self.patterns, self.folder):
            field.textChanged.connect(self._show_what_counts)
        self._show_what_counts()

    def _fill(self) -> None:
        for name, text in (
            ("map", self.tr("This map")),
            ("layer", self.tr("This layer, all channels")),
            ("layers", self.tr("These layers")),
            ("pyramid", self.tr("The pyramid")),
        ):
            self.what.addItem(text, name)
        self.what.setCurrentIndex(1)
        for name, text in (
            ("grid", self.tr("PNG: one captioned grid a layer")),
            ("maps", self.tr("PNG: one file a map")),
            ("npz", self.tr("NumPy .npz: raw values")),
            ("safetensors", self.tr("safetensors: raw values")),
        ):
            self.form.addItem(text, name)
        for number, text in (
            (0, self.tr("the maps' own")),
            (-1, self.tr("the picture's")),
            (1, self.tr("longer side")),
        ):
            self.edge.addItem(text, number)
        for name, text in (
            ("map", self.tr("each map")),
            ("layer", self.tr("whole layer")),
            ("symmetric", self.tr("symmetric about 0")),
        ):
            self.normalisation.addItem(text, name)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow(self.tr("What"), self.what)
        form.addRow(self.tr("Layers"), self.patterns)
        form.addRow(self.tr("Format"), self.form)
        form.addRow(self.tr("Size"), _row(self.edge, self.pixels))
        form.addRow(self.tr("Colours"), self.colours)
        form.addRow(self.tr("Scale"), self.normalisation)
        form.addRow("", self.over_picture)
        browse = QPushButton(self.tr("Browse…"), self)
        browse.clicked.connect(self._browse)
        form.addRow(self.tr("Folder"), _row(self.folder, browse))
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self._button)
        buttons.addWidget(self._close)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self._progress)
        layout.addWidget(self._message)
        layout.addLayout(buttons)
        self._progress.hide()

    def set_choices(
        self,
        *,
        layer: str,
        colour_map: str,
        normalisation: Normalisation,
        folder: str,
        pyramid: bool,
        which: str = "",
        this_map: bool = False,
        over_picture: bool = False,
    ) -> None:
        """Set what the window shows now.

        Args:
            layer: Name of the layer.
            which: Layer and channel of “This map”; "" if no map is drawn.
            this_map: Whether the dialog was opened on that map, so that it is chosen.
            over_picture: Whether maps are drawn over the picture.
            colour_map, normalisation, folder: Chosen at first.
            pyramid: Whether there is one.
        """
        self._layer = layer
        self.what.setItemText(0, self.tr("This map ({map})").format(map=which) if which else self.tr("This map"))
        self._enable(0, bool(which))
        if this_map:
            self.what.setCurrentIndex(0)
        self.over_picture.setChecked(over_picture)
        self.what.setItemText(1, self.tr("This layer, all channels ({layer})").format(layer=layer or "output"))
        self.colours.setCurrentIndex(self.colours.findData(colour_map))
        self.normalisation.setCurrentIndex(max(0, self.normalisation.findData(normalisation)))
        self._enable(3, pyramid)
        if not self.folder.text():
            self.folder.setText(folder)

    def _enable(self, row: int, enabled: bool) -> None:
        """Offer a kind of export or not; a kind that is not offered is not chosen."""
        model = self.what.model()
        model.setData(model.index(row, 0), None if enabled else 0, Qt.ItemDataRole.UserRole - 1)
        if not enabled and self.what.currentIndex() == row:
            self.what.setCurrentIndex(1)

    def _show_what_counts(self) -> None:
        what, form = self.what.currentData(), self.form.currentData()
        picture = what == "pyramid" or form in ("grid", "maps")
        self.patterns.setEnabled(what == "layers")
        self.form.setEnabled(what in ("layer", "layers"))
        self.edge.setEnabled(picture and what != "pyramid")
        self.pixels.setVisible(self.edge.currentData() == 1)
        self.pixels.setEnabled(self.edge.isEnabled())
        self.colours.setEnabled(picture)
        self.over_picture.setEnabled(picture and what != "pyramid")
        self.normalisation.setEnabled(picture and what != "pyramid")
        complete = bool(self.folder.text().strip()) and (what != "layers" or bool(self.patterns.text().split()))
        self._button.setEnabled(self._running or complete)

    def choice(self) -> ExportChoice:
        """What is chosen now."""
        what = self.what.currentData()
        size = self.edge.currentData()
        return ExportChoice(
            what=what,
            patterns=tuple(self.patterns.text().split()) if what == "layers" else (self._layer,),
            form="maps" if what == "map" else "grid" if what == "pyramid" else self.form.currentData(),
            size=self.pixels.value() if size == 1 else size,
            colour_map=self.colours.currentData(),
            normalisation=self.normalisation.currentData(),
            over_picture=self.over_picture.isChecked() and self.over_picture.isEnabled(),
            folder=os.path.abspath(os.path.expanduser(self.folder.text().strip())),
        )

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, self.tr("Folder to export to"), self.folder.text())
        if folder:
            self.folder.setText(folder)

    def _clicked(self) -> None:
        if self._running:
            self.cancel_wanted.emit()
            return
        self._set_running(True)
        self._message.setText("")
        self._progress.setValue(0)
        self.export_wanted.emit(self.choice())

    def _set_running(self, running: bool) -> None:
        self._running = running
        self._progress.setVisible(running)
        self._button.setText(self.tr("Cancel") if running else self.tr("Export"))
        self._show_what_counts()

    # How it goes

    def show_progress(self, text: str, fraction: float) -> None:
        self._progress.setValue(round(fraction * 1000))
        self._message.setText(text)

    def show_done(self, folder: str, files: int, skipped: Sequence[str], replaced: int = 0) -> None:
        """All is written, some of it in place of older files of the same names."""
        self._set_running(False)
        link = f'<a href="{QUrl.fromLocalFile(folder).toString()}">{_escaped(folder)}</a>'
        text = self.tr("{count} files written to {folder}").format(count=files, folder=link)
        if files == 1:
            text = self.tr("1 file written to {folder}").format(folder=link)
        if replaced:
            text += self.tr(" ({count} in place of older ones of the same name)").format(count=replaced)
        if skipped:
            text += "<br>" + "<br>".join(_escaped(note) for note in skipped[:5])
        self._message.setText(text)

    def show_failed(self, message: str) -> None:
        """It went wrong, or was cancelled; files that were finished are there."""
        self._set_running(False)
        self._message.setText(_escaped(message))

    @property
    def message(self) -> str:
        return self._message.text()

    @property
    def running(self) -> bool:
        return self._running


def _row(stretched: QWidget, beside: QWidget) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    stretched.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    layout.addWidget(stretched, 1)
    layout.addWidget(beside)
    return row


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
