"""The Input dock: the picture with what the network saw of it, what the network was fed, and what it says that it is."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from fmviz.app.theme import numbers_font
from fmviz.app.views.banner import Banner
from fmviz.app.views.map_canvas import MapCanvas
from fmviz.app.views.predictions import Predictions


class InputView(QWidget):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.banner = Banner(self)
        self.picture = MapCanvas(parent=self)
        self.picture.set_empty_text(self.tr("No picture yet"))
        self.network_input = MapCanvas(parent=self)
        self.network_input.set_empty_text(self.tr("What the network is fed"))
        self._about_picture = self._line()
        self._about_input = self._line()
        self._prepared = self._line()
        for line in (self._about_picture, self._about_input, self._prepared):
            line.setWordWrap(True)
        self._notes = QLabel(self)
        self._notes.setWordWrap(True)
        self._notes.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._notes.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._notes.hide()
        self.predictions = Predictions(self)
        row = QHBoxLayout()
        for canvas, line, stretch in (
            (self.picture, self._about_picture, 3),
            (self.network_input, self._about_input, 2),
        ):
            column = QVBoxLayout()
            column.addWidget(canvas, 1)
            column.addWidget(line)
            row.addLayout(column, stretch)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        layout.addWidget(self.banner)
        layout.addLayout(row, 1)
        layout.addWidget(self._prepared)
        layout.addWidget(self.predictions)
        layout.addWidget(self._notes)

    def _line(self) -> QLabel:
        line = QLabel(self)
        line.setFont(numbers_font())
        line.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        line.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        return line

    def set_about(self, picture: str, network_input: str, prepared: str) -> None:
        """The lines below the two, size and notes; and how the one became the other."""
        lines = ((self._about_picture, picture), (self._about_input, network_input), (self._prepared, prepared))
        for line, text in lines:
            line.setText(text)
            line.setToolTip(text)

    def set_notes(self, text: str) -> None:
        """What must be known of the weights."""
        self._notes.setText(text)
        self._notes.setVisible(bool(text))
