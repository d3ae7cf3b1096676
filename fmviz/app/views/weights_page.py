"""The page of weights: what can be fetched for the network that is chosen, and what is on this computer."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from fmviz.app.numbers import bytes_words
from fmviz.app.theme import bold_font, numbers_font
from fmviz.engine.messages import BackboneInfo, CacheListed, OfferInfo

_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class WeightsPage(QDialog):
    """Not modal: one may go on looking while a file comes."""

    fetch_wanted = Signal(object, object)
    """The names of a network and of weights that are to be fetched."""
    use_wanted = Signal(object)
    """The name of weights that are here."""
    cancel_wanted = Signal()
    remove_wanted = Signal(object)
    """The name of a file in the cache."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Weights"))
        self.resize(760, 520)
        self._row: BackboneInfo | None = None
        self._fetching = False
        self._title = QLabel(self)
        self._title.setFont(bold_font())
        self.offers = self._table((self.tr("Weights"), self.tr("Size"), self.tr("Top-1"), self.tr("Where"), ""))
        self._progress = QProgressBar(self)
        self._progress.setRange(0, 1000)
        self._told = QLabel(self)
        self._told.setWordWrap(True)
        self._told.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.cancel = QPushButton(self.tr("Cancel"), self)
        self.cancel.clicked.connect(self.cancel_wanted)
        self._folder = QLabel(self)
        self._folder.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self._folder.linkActivated.connect(lambda link: QDesktopServices.openUrl(QUrl(link)))
        self.files = self._table((self.tr("On this computer"), self.tr("Size"), self.tr("For"), ""))
        self._lay_out()
        self.show_fetching("", None)

    def _table(self, titles: Sequence[str]) -> QTableWidget:
        table = QTableWidget(0, len(titles), self)
        table.setHorizontalHeaderLabels(list(titles))
        table.verticalHeader().hide()
        table.setShowGrid(False)
        table.setFont(numbers_font())
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        header = table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        stretched = 0 if len(titles) == 5 else 2
        header.setSectionResizeMode(stretched, QHeaderView.ResizeMode.Stretch)
        return table

    def _lay_out(self) -> None:
        going = QHBoxLayout()
        going.addWidget(self._progress, 1)
        going.addWidget(self.cancel)
        close = QPushButton(self.tr("Close"), self)
        close.clicked.connect(self.close)
        below = QHBoxLayout()
        below.addWidget(self._folder, 1)
        below.addWidget(close)
        layout = QVBoxLayout(self)
        for widget in (self._title, self.offers):
            layout.addWidget(widget)
        layout.addLayout(going)
        layout.addWidget(self._told)
        layout.addWidget(self.files, 1)
        layout.addLayout(below)

    # What can be had

    def set_network(self, row: BackboneInfo | None, chosen: str) -> None:
        """The network that is chosen, and the weights that it has now."""
        self._row = row
        self._title.setText(self.tr("Trained weights of {name}").format(name=row.name) if row else "")
        offers = row.offers if row else ()
        self.offers.setRowCount(len(offers))
        for place, offer in enumerate(offers):
            self._fill(place, offer, chosen)
        self.offers.setMaximumHeight(self._height(self.offers))
        self.offers.setVisible(bool(offers))
        if row is not None and not offers:
            words = self.tr("There are no trained weights of {name} to fetch: open a file, or use random ones.")
            self._title.setText(words.format(name=row.name))

    def _fill(self, place: int, offer: OfferInfo, chosen: str) -> None:
        where = self.tr("● on this computer") if offer.here else self.tr("↓ to fetch")
        size = bytes_words(offer.nbytes) if offer.nbytes else ""
        top1 = f"{offer.top1:.1f} %" if offer.top1 is not None else ""
        for column, text in enumerate((offer.name, size, top1, where)):
            item = QTableWidgetItem(text)
            item.setToolTip(offer.file_name)
            if column in (1, 2):
                item.setTextAlignment(_RIGHT)
            self.offers.setItem(place, column, item)
        button = QPushButton(self.tr("Use") if offer.here else self.tr("Fetch"), self.offers)
        button.setAutoDefault(not offer.here)
        button.setEnabled(offer.name != chosen if offer.here else not self._fetching)
        if offer.here:
            button.clicked.connect(lambda: self.use_wanted.emit(offer.name))
        else:
            button.clicked.connect(lambda: self.fetch_wanted.emit(self._row.name if self._row else "", offer.name))
        self.offers.setCellWidget(place, 4, button)

    @staticmethod
    def _height(table: QTableWidget) -> int:
        rows = sum(table.rowHeight(place) for place in range(table.rowCount()))
        return rows + table.horizontalHeader().sizeHint().height() + 2 * table.frameWidth() + 2

    # How it goes

    def show_fetching(self, text: str, fraction: float | None, *, going: bool = False) -> None:
        """What is being fetched and how far it is; or, no longer `going`, how it ended."""
        changed, self._fetching = going != self._fetching, going
        self._progress.setVisible(going)
        self.cancel.setVisible(going)
        self._progress.setRange(0, 0 if going and fraction is None else 1000)
        self._progress.setValue(round((fraction or 0.0) * 1000))
        self._told.setText(text)
        self._told.setVisible(bool(text))
        if changed:
            for place, offer in enumerate(self._row.offers if self._row else ()):
                button = self.offers.cellWidget(place, 4)
                if button is not None and not offer.here:
                    button.setEnabled(not going)

    @property
    def told(self) -> str:
        return self._told.text()

    # What is here

    def set_cache(self, cache: CacheListed) -> None:
        """The files in the cache."""
        link = f'<a href="{QUrl.fromLocalFile(cache.folder).toString()}">{cache.folder}</a>'
        total = sum(file.nbytes for file in cache.files)
        words = self.tr("{count} files, {size}, in {folder}")
        if len(cache.files) == 1:
            words = self.tr("1 file, {size}, in {folder}")
        self._folder.setText(words.format(count=len(cache.files), size=bytes_words(total), folder=link))
        self.files.setRowCount(len(cache.files))
        for place, file in enumerate(cache.files):
            known = ", ".join(file.backbones) or self.tr("a file that fmviz does not know")
            if not file.whole:
                known = self.tr("cut off; fetching goes on from here: {networks}").format(networks=known)
            for column, text in enumerate((file.file_name, bytes_words(file.nbytes), known)):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                if column == 1:
                    item.setTextAlignment(_RIGHT)
                self.files.setItem(place, column, item)
            button = QPushButton(self.tr("Remove…"), self.files)
            button.setAutoDefault(False)
            button.setEnabled(file.whole or not self._fetching)
            button.clicked.connect(lambda _checked=False, name=file.file_name: self._ask_to_remove(name))
            self.files.setCellWidget(place, 3, button)

    def _ask_to_remove(self, name: str) -> None:
        words = self.tr("Remove {name} from this computer? Other programs that use torch.hub's cache share it.")
        buttons = QMessageBox.StandardButton
        answer = QMessageBox.question(
            self, self.tr("Remove weights"), words.format(name=name), buttons.Yes | buttons.No, buttons.No
        )
        if answer == QMessageBox.StandardButton.Yes:
            self.remove_wanted.emit(name)
