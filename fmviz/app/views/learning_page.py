"""Training a pyramid, watched: how far it is, its loss, and which level answers to things of which size."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QPalette
from PySide6.QtWidgets import (
    QDialog,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from fmviz.app.state import Learning
from fmviz.app.theme import LEVEL_COLOURS, bold_font
from fmviz.app.views.network_list import shown_name

_LEVELS = ("P2", "P3", "P4", "P5")
_SIZES = ("< 28", "28–56", "56–112", "> 112")


class LearningPage(QDialog):
    """Not modal: one goes on looking while it learns, and sees the pyramid change."""

    begin_wanted = Signal(object, object)
    """Minutes and seed."""
    cancel_wanted = Signal()
    keep_wanted = Signal(object)
    """The path of a file; "" for where it is on offer afterwards."""
    throw_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Train this pyramid"))
        self.resize(560, 560)
        self._title = QLabel(self)
        self._title.setFont(bold_font())
        about = QLabel(
            self.tr(
                "The pyramid learns from scenes of drawn shapes, over the trained network as it is. It needs no download "
                "and no pictures. While it learns, the Pyramid dock shows what it makes of your picture."
            ),
            self,
        )
        about.setWordWrap(True)
        self.minutes = QDoubleSpinBox(self)
        self.minutes.setRange(0.5, 120)
        self.minutes.setDecimals(1)
        self.minutes.setValue(3)
        self.minutes.setSuffix(self.tr(" min"))
        self.seed = QSpinBox(self)
        self.seed.setRange(0, 2**31 - 1)
        self._told = QLabel(self)
        self._told.setWordWrap(True)
        self._progress = QProgressBar(self)
        self._progress.setTextVisible(False)
        self.matrix = self._made_matrix()
        self._plot: Any = None
        self._curve: Any = None
        self.begin = self._button(
            self.tr("Begin"), lambda: self.begin_wanted.emit(self.minutes.value(), self.seed.value())
        )
        self.cancel = self._button(self.tr("Cancel"), self.cancel_wanted.emit)
        self.keep = self._button(self.tr("Keep"), lambda: self.keep_wanted.emit(""))
        self.keep_as = self._button(self.tr("Keep as…"), self._ask_where)
        self.throw = self._button(self.tr("Throw away"), self.throw_wanted.emit)
        self._lay_out(about)
        self.set_learning(None, "")

    def _button(self, text: str, does: Any) -> QPushButton:
        button = QPushButton(text, self)
        button.clicked.connect(lambda: does())
        return button

    def _made_matrix(self) -> QTableWidget:
        table = QTableWidget(4, 4, self)
        table.setHorizontalHeaderLabels(list(_LEVELS))
        table.setVerticalHeaderLabels([self.tr("{size} px").format(size=size) for size in _SIZES])
        table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        table.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        table.setToolTip(self.tr("Of the things of each size, the share to which each level answers loudest"))
        for row in range(4):
            for column in range(4):
                item = QTableWidgetItem("")
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                table.setItem(row, column, item)
        rows = sum(table.rowHeight(row) for row in range(4))
        table.setFixedHeight(rows + table.horizontalHeader().sizeHint().height() + 2 * table.frameWidth() + 2)
        return table

    def _lay_out(self, about: QLabel) -> None:
        form = QFormLayout()
        form.addRow(self.tr("Time"), self.minutes)
        form.addRow(self.tr("Seed"), self.seed)
        self._form = QWidget(self)
        self._form.setLayout(form)
        holder = QWidget(self)
        self._place_of_plot = QVBoxLayout(holder)
        self._place_of_plot.setContentsMargins(0, 0, 0, 0)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        for button in (self.begin, self.cancel, self.throw, self.keep_as, self.keep):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        for widget in (self._title, about, self._form, self._told, self._progress):
            widget.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
            layout.addWidget(widget)
        layout.addWidget(holder, 1)
        layout.addWidget(self.matrix)
        layout.addLayout(buttons)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Esc gives up what is under way, as everywhere, and does not only hide it."""
        if event.key() == Qt.Key.Key_Escape and not self.cancel.isHidden():
            self.cancel.click()
        else:
            super().keyPressEvent(event)

    def set_learning(self, learning: Learning | None, chosen: str, *, obstacle: str = "") -> None:
        """How training is; `chosen` is the network for which another one would begin, if there is no `obstacle`."""
        going = learning is not None and learning.going
        waits = learning is not None and bool(learning.path)
        name = learning.backbone if learning is not None and (going or waits) else chosen
        self._title.setText(self.tr("A pyramid for {name}").format(name=shown_name(name)))
        self._form.setVisible(not going and not waits)
        self._told.setText(learning.text if learning else "")
        self._progress.setVisible(going)
        fraction = learning.fraction if learning else None
        self._progress.setRange(0, 0 if fraction is None else 1000)
        self._progress.setValue(round((fraction or 0.0) * 1000))
        self.begin.setVisible(not going and not waits)
        self.begin.setEnabled(not obstacle)
        if learning is not None and not going and not waits and learning.backbone != chosen:
            learning = None
        if learning is None or (obstacle and not going and not waits):
            self._told.setText(obstacle)
        self.cancel.setVisible(going)
        for button in (self.keep, self.keep_as, self.throw):
            button.setVisible(waits)
        news = learning.news if learning else None
        self._show_matrix(news.matrix if news else ())
        self._show_losses(learning.losses if learning else ())

    def _show_matrix(self, matrix: tuple[tuple[float, ...], ...]) -> None:
        self.matrix.setVisible(bool(matrix))
        paper = self.palette().color(QPalette.ColorRole.Base)
        for row, shares in enumerate(matrix):
            for column, share in enumerate(shares):
                item = self.matrix.item(row, column)
                assert item is not None
                item.setText(f"{share:.0%}")
                item.setBackground(_mixed(paper, LEVEL_COLOURS[_LEVELS[column]], 0.65 * share))

    def _show_losses(self, losses: tuple[float, ...]) -> None:
        if not losses:
            if self._plot is not None:
                self._plot.hide()
            return
        if self._plot is None:
            from fmviz.app.views.plots import plot_widget

            self._plot = plot_widget(self, bottom=self.tr("reports"), left=self.tr("loss"))
            self._plot.setMinimumHeight(140)
            self._place_of_plot.addWidget(self._plot)
            self._curve = self._plot.plot([], [], pen=self.palette().color(QPalette.ColorRole.Highlight))
        self._plot.show()
        self._curve.setData(list(range(len(losses))), list(losses))

    def _ask_where(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, self.tr("Keep the pyramid as"), "pyramid.safetensors", "safetensors (*.safetensors)"
        )
        if path:
            self.keep_wanted.emit(path)

    @property
    def told(self) -> str:
        return self._told.text()


def _mixed(paper: QColor, ink: QColor, share: float) -> QColor:
    parts = zip(paper.getRgb()[:3], ink.getRgb()[:3], strict=True)  # type: ignore[index]
    return QColor(*(round(p + (i - p) * share) for p, i in parts))
