"""What the network says that the picture is: a name, a bar and a number a row."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QProgressBar, QSizePolicy, QWidget

from fmviz.app.theme import numbers_font


class Predictions(QWidget):
    """Its rows are used again: each that is made while the window is shown has the whole dock laid out anew."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[tuple[QLabel, QProgressBar, QLabel]] = []
        self._reason = QLabel(self)
        self._reason.setWordWrap(True)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(0, 3)
        self._grid.setColumnStretch(1, 1)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(2)
        self._grid.addWidget(self._reason, 0, 0, 1, 3)
        self.hide()

    def set_predictions(self, predictions: Sequence[tuple[str, float]], reason: str) -> None:
        """Names with their probabilities, best first; or why there are none."""
        self._reason.setText("" if predictions else reason)
        self._reason.setVisible(not predictions)
        while len(self._rows) < len(predictions):
            self._add_row()
        for place, widgets in enumerate(self._rows):
            for widget in widgets:
                widget.setVisible(place < len(predictions))
        for (label, bar, number), (name, share) in zip(self._rows, predictions, strict=False):
            label.setText(name)
            label.setToolTip(name)
            bar.setValue(round(share * 1000))
            number.setText(f"{share * 100:.1f} %")
        self.setVisible(bool(predictions or reason))

    def _add_row(self) -> None:
        label, bar, number = QLabel(self), QProgressBar(self), QLabel(self)
        label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        bar.setRange(0, 1000)
        bar.setTextVisible(False)
        bar.setFixedHeight(8)
        bar.setMaximumWidth(80)
        number.setFont(numbers_font())
        number.setAlignment(Qt.AlignmentFlag.AlignRight)
        for column, widget in enumerate((label, bar, number)):
            self._grid.addWidget(widget, len(self._rows) + 1, column)
        self._rows.append((label, bar, number))
