"""The Channel dock: one map large, alone or over the picture, with its histogram and statistics."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QRectF, Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from fmviz.app.numbers import digits_of_range, thousands, value_words
from fmviz.app.theme import numbers_font
from fmviz.app.views.banner import Banner
from fmviz.app.views.histogram import Histogram
from fmviz.app.views.map_canvas import MapCanvas
from fmviz.app.views.steady_label import SteadyLabel

_NUMBERS = 6
"""As many as there can be: what is added while the window is shown has it laid out anew."""


_STALE_MS = 250
"""After which the numbers of another channel than the one that is drawn are removed."""


class ChannelView(QWidget):
    channel_chosen = Signal(object)
    over_picture_chosen = Signal(object)
    opacity_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.banner = Banner(self)
        self.canvas = MapCanvas(parent=self)
        self._channel = QSpinBox(self)
        self._channel.setAccessibleName(self.tr("Channel"))
        self._channel.setEnabled(False)
        # As large as it will ever be: a dock that is laid out anew at every step through the layers is slow.
        self._channel.setRange(0, 99_999)
        self._channel.setFixedSize(self._channel.sizeHint())
        self._of = SteadyLabel(self, widest=self.tr("of {count}, from 0").format(count=thousands(2048)))
        self._over = QCheckBox(self.tr("Over the picture"), self)
        self._opacity = QSlider(Qt.Orientation.Horizontal, self)
        self._opacity.setRange(5, 95)
        self._opacity.setToolTip(self.tr("How much of the map covers the picture"))
        self._opacity.setAccessibleName(self.tr("Opacity"))
        self._opacity.setMinimumWidth(50)
        self._numbers = QGridLayout()
        self._labels: list[tuple[QLabel, SteadyLabel]] = []
        self._histogram = Histogram(self)
        self._heading = SteadyLabel(self)
        self._heading.setFont(numbers_font())
        self._heading.set_selectable()
        self._subject = ""
        self._stale = QTimer(self, singleShot=True, interval=_STALE_MS)
        self._stale.timeout.connect(self.clear_description)
        self._build()
        self._channel.valueChanged.connect(self.channel_chosen.emit)
        self._over.toggled.connect(self.over_picture_chosen.emit)
        self.show_none()
        self._opacity.valueChanged.connect(lambda value: self.opacity_chosen.emit(value / 100))

    def _build(self) -> None:
        top = QHBoxLayout()
        label = QLabel(self.tr("Channel"), self)
        label.setBuddy(self._channel)
        for widget in (label, self._channel, self._of):
            top.addWidget(widget)
        top.addStretch(1)
        over = QHBoxLayout()
        over.addWidget(self._over)
        over.addWidget(self._opacity, 1)
        self._numbers.setHorizontalSpacing(10)
        self._numbers.setVerticalSpacing(1)
        for place in range(_NUMBERS):
            self._add_number(place)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        layout.addWidget(self.banner)
        layout.addLayout(top)
        layout.addWidget(self._heading)
        layout.addWidget(self.canvas, 3)
        layout.addLayout(over)
        layout.addWidget(self._histogram)
        layout.addLayout(self._numbers)

    def _add_number(self, place: int) -> None:
        name, number = QLabel(self), SteadyLabel(self, widest="−0.0000000")
        number.setFont(numbers_font())
        number.set_alignment(Qt.AlignmentFlag.AlignRight)
        number.set_selectable()
        self._numbers.addWidget(name, place // 2, 2 * (place % 2))
        self._numbers.addWidget(number, place // 2, 2 * (place % 2) + 1)
        self._labels.append((name, number))

    def set_channel(self, channel: int, count: int) -> None:
        """Which channel of how many; 0 of them where the layer has no maps."""
        self._channel.blockSignals(True)
        self._channel.setEnabled(count > 0)
        self._over.setEnabled(count > 0)
        self._opacity.setEnabled(count > 0 and self._over.isChecked())
        self._channel.setRange(0, max(count - 1, 0))
        self._channel.setValue(channel)
        self._channel.blockSignals(False)
        self._of.setText(self.tr("of {count}, from 0").format(count=thousands(count)) if count else "")

    def show_none(self, *, of_vector: bool = False) -> None:
        """No channel: nothing is shown yet, or a layer without maps."""
        text = self.tr("The chosen channel is shown large here.")
        if of_vector:
            text = self.tr("This layer has no maps, so it has no channel to look at: its values are in the Maps dock.")
        self.canvas.set_empty_text(text, map_needed=True)
        self.canvas.set_map(None, QRectF())
        self.set_heading("")
        self.set_channel(0, 0)
        self.clear_description()

    def set_heading(self, words: str) -> None:
        """Name the layer and channel of the map that is drawn; numbers of another one go unless theirs come soon."""
        self._heading.setText(words)
        self._heading.setToolTip(words)
        if words != self._subject:
            self._stale.start()

    def set_over_picture(self, over: bool, opacity: float) -> None:
        """Whether the map lies over the picture, and how opaque it is then."""
        for widget in (self._over, self._opacity):
            widget.blockSignals(True)
        self._over.setChecked(over)
        self._opacity.setEnabled(over and self._over.isEnabled())
        self._opacity.setValue(round(opacity * 100))
        for widget in (self._over, self._opacity):
            widget.blockSignals(False)
        self.canvas.set_opacity(opacity if over else 1.0)

    def set_description(
        self,
        subject: str,
        counts: npt.NDArray[np.float64],
        edges: npt.NDArray[np.float64],
        statistics: tuple[float, ...],
    ) -> None:
        """Show histogram (n counts, n + 1 edges) and the eight statistics, in the order of `fmviz.maps.Statistics`.

        `subject` names the layer and the channel that they belong to.
        """
        self._stale.stop()
        self._subject = subject
        minimum, maximum, mean, std, zeros, nans, infinities, constant = statistics
        digits = digits_of_range(minimum, maximum)
        ends = [(self.tr("min"), value_words(minimum, digits)), (self.tr("max"), value_words(maximum, digits))]
        if constant:
            ends = [
                (self.tr("constant"), value_words(minimum)),
                (self.tr("max − min"), value_words(maximum - minimum)),
            ]
        rows = [
            *ends,
            (self.tr("mean"), value_words(mean, 4 if constant else digits)),
            (self.tr("std"), value_words(std)),
            (self.tr("zeros"), f"{zeros * 100:.1f} %"),
        ]
        if nans or infinities:
            rows.append((self.tr("NaN, inf"), f"{thousands(int(nans))}, {thousands(int(infinities))}"))
        self._show_numbers(rows)
        self._histogram.set_counts(counts, edges, subject)

    def clear_description(self) -> None:
        self._subject = ""
        self._show_numbers([])
        self._histogram.set_counts((), ())

    def _show_numbers(self, rows: list[tuple[str, str]]) -> None:
        for place, labels in enumerate(self._labels):
            texts = rows[place] if place < len(rows) else ("", "")
            labels[0].setText(texts[0])
            labels[1].setText(texts[1])
            for label in labels:
                label.setToolTip(f"{self._subject}: {texts[0]} {texts[1]}" if texts[0] else "")
