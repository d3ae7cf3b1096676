"""The Maps dock: what the layer is, the grid of its channels, and the scale they are drawn on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QImage, QPixmap
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from fmviz.app.blocks import SharedPixels
from fmviz.app.drawn_map import DrawnMap
from fmviz.app.numbers import digits_of_range, value_words
from fmviz.app.qimage import ramp_image
from fmviz.app.state import ORDERS, Order
from fmviz.app.theme import numbers_font
from fmviz.app.views.banner import Banner
from fmviz.app.views.colour_bar import ColourBar
from fmviz.app.views.combo import Combo
from fmviz.app.views.grid_canvas import GridCanvas
from fmviz.app.views.matrix_view import MatrixView
from fmviz.app.views.samples_view import SamplesView
from fmviz.app.views.steady_label import SteadyLabel
from fmviz.app.views.vector_view import VectorView
from fmviz.maps import Normalisation


class MapsView(QWidget):
    """Header, controls, and one of: the grid, a bar plot (a layer without maps), what to do first, what is being done."""

    normalisation_chosen = Signal(object)
    colour_map_chosen = Signal(object)
    order_chosen = Signal(object)
    smooth_chosen = Signal(object)

    def __init__(self, samples: SamplesView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.banner = Banner(self)
        self.canvas = GridCanvas(self)
        self.samples = samples
        self.vector = VectorView(self)
        self.matrix = MatrixView(self)
        self._heading = SteadyLabel(self)
        font = self._heading.font()
        font.setBold(True)
        font.setPointSizeF(font.pointSizeF() * 1.2)
        self._heading.setFont(font)
        self._facts = SteadyLabel(self)
        self._facts.setFont(numbers_font())
        for label in (self._heading, self._facts):
            label.set_selectable()
        self._bar = ColourBar(self)
        self._waiting = _Waiting(self)
        self.cancel_wanted = self._waiting.cancel.clicked
        self._stack = QStackedWidget(self)
        for page in (self.samples, self._waiting, self.canvas, self.vector, self.matrix):
            self._stack.addWidget(page)
        self._controls = self._make_controls()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 4)
        layout.setSpacing(4)
        for widget in (self.banner, self._heading, self._facts, self._controls):
            layout.addWidget(widget)
        layout.addWidget(self._stack, 1)
        layout.addWidget(self._bar)
        self.show_samples()

    def _make_controls(self) -> QWidget:
        self._normalisation = Combo(self)
        for name, text in (
            ("map", self.tr("each map")),
            ("layer", self.tr("whole layer")),
            ("symmetric", self.tr("symmetric about 0")),
        ):
            self._normalisation.addItem(text, name)
        self._normalisation.setToolTip(self.tr("Which values the two ends of the colours stand for"))
        self._colours = Combo(self)
        self._colours.setIconSize(QSize(36, 12))
        self._colours.setToolTip(self.tr("The colours of low and high values"))
        self._order = Combo(self)
        texts = (
            self.tr("channel"),
            self.tr("mean ↓"),
            self.tr("maximum ↓"),
            self.tr("variance ↓"),
            self.tr("share of zeros ↓"),
        )
        for name, text in zip(ORDERS, texts, strict=True):
            self._order.addItem(text, name)
        self._order.setToolTip(self.tr("Which maps come first: those of the highest mean, for one"))
        self._smooth = QCheckBox(self.tr("Smooth"), self)
        self._smooth.setToolTip(self.tr("Enlarge the maps smoothly instead of with crisp cells"))
        self._normalisation.activated.connect(lambda: self.normalisation_chosen.emit(self._normalisation.currentData()))
        self._colours.activated.connect(lambda: self.colour_map_chosen.emit(self._colours.currentData()))
        self._order.activated.connect(lambda: self.order_chosen.emit(self._order.currentData()))
        self._smooth.toggled.connect(self.smooth_chosen.emit)
        row = QWidget(self)
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        for text, box in (
            (self.tr("Scale"), self._normalisation),
            (self.tr("Colours"), self._colours),
            (self.tr("Order"), self._order),
        ):
            label = QLabel(text, row)
            label.setBuddy(box)
            box.setAccessibleName(text)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
            layout.addWidget(label)
            layout.addWidget(box, 1)
        layout.addWidget(self._smooth)
        layout.addStretch(1)
        return row

    # What is shown

    def set_colour_maps(self, maps: Sequence[tuple[str, str]]) -> None:
        """The colour maps to choose from: name and label. There is room for the ramps, which come later."""
        room = QPixmap(36, 12)
        room.fill(Qt.GlobalColor.transparent)
        for name, label in maps:
            self._colours.addItem(QIcon(room), label, name)

    def set_ramps(self, table_of: Callable[[str], npt.NDArray[np.uint8]]) -> None:
        """What the colour maps look like; `table_of` gives the table of a name."""
        for place in range(self._colours.count()):
            ramp = ramp_image(table_of(self._colours.itemData(place)), width=36, height=12)
            self._colours.setItemIcon(place, QIcon(QPixmap.fromImage(ramp)))

    def set_choices(self, normalisation: Normalisation, colour_map: str, order: Order, *, smooth: bool) -> None:
        """What is chosen in the controls."""
        self._normalisation.setCurrentIndex(self._normalisation.findData(normalisation))
        self._colours.setCurrentIndex(self._colours.findData(colour_map))
        self._order.setCurrentIndex(self._order.findData(order))
        self._smooth.blockSignals(True)
        self._smooth.setChecked(smooth)
        self._smooth.blockSignals(False)
        self.canvas.set_smooth(smooth)
        self.matrix.canvas.set_smooth(smooth)

    def set_heading(self, title: str, facts: str) -> None:
        """The layer's name, and the line below it. HTML is taken as text."""
        self._heading.setText(title)
        self._facts.setText(facts)
        self._facts.setToolTip(facts)

    def show_maps(
        self, pixels: SharedPixels, drawn: DrawnMap, order: npt.NDArray[np.intp], notes: dict[int, str]
    ) -> None:
        """Draw the maps of the layer that `drawn` names."""
        self.canvas.set_maps(pixels, drawn.map_size, order, notes, drawn)
        self._stack.setCurrentWidget(self.canvas)
        self._controls.setEnabled(True)

    def prepare_plot(self) -> None:
        """Have the plot of a vector ready before one is looked at."""
        self.vector.prepare()

    def show_matrix(
        self, pixels: npt.NDArray[np.uint8], drawn: DrawnMap, shape: Sequence[int], count: int, reason: str
    ) -> None:
        """Draw one of `count` matrices of a layer that has no maps."""
        self.matrix.set_matrix(pixels, drawn, shape, count, reason)
        self._stack.setCurrentWidget(self.matrix)
        self._controls.setEnabled(True)

    def shown_matrix(self) -> DrawnMap | None:
        """Return the matrix that is drawn; None while maps or bars are."""
        return self.matrix.drawn if self._stack.currentWidget() is self.matrix else None

    def values_image(self) -> QImage | None:
        """Return the heat map or the bars for the clipboard; None while neither is shown."""
        if self._stack.currentWidget() is self.matrix:
            return self.matrix.image()
        return self.vector.grab().toImage() if self._stack.currentWidget() is self.vector else None

    def show_vector(self, values: npt.NDArray[np.float64], reason: str, drawn: DrawnMap | None = None) -> None:
        """A layer that has no maps."""
        self.vector.set_values(values, reason, drawn)
        self._stack.setCurrentWidget(self.vector)
        self._controls.setEnabled(False)
        self._bar.hide()

    def show_samples(self, waiting: str = "") -> None:
        """No picture, or one that nothing could be run on, with its name: how to bring another."""
        self.samples.set_waiting_picture(waiting)
        self._stack.setCurrentWidget(self.samples)
        self._controls.setEnabled(False)
        self._bar.hide()

    def show_waiting(self, text: str, fraction: float | None) -> None:
        """Nothing to show yet: what is being done where the maps will be."""
        self._waiting.set_activity(text, fraction)
        self._stack.setCurrentWidget(self._waiting)
        self._controls.setEnabled(False)
        self._bar.hide()

    @property
    def has_maps(self) -> bool:
        return self._stack.currentWidget() in (self.canvas, self.vector, self.matrix)

    def set_scale(self, table: npt.NDArray[np.uint8], low: float, high: float, words: str) -> None:
        """The colour bar: its colours, what its ends stand for, and for which maps that is so."""
        digits = digits_of_range(low, high)
        self._bar.set_scale(table, value_words(low, digits), value_words(high, digits), words)
        self._bar.setVisible(self._stack.currentWidget() in (self.canvas, self.matrix))

    def set_colours(self, table: npt.NDArray[np.uint8], accent: QColor) -> None:
        self.canvas.set_colours(table, accent)
        self.matrix.canvas.set_colours(table)
        self._bar.set_table(table)


class _Waiting(QWidget):
    """What is being done, and how far it is."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = QLabel(self)
        self._text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._text.setWordWrap(True)
        self._progress = QProgressBar(self)
        self._progress.setTextVisible(False)
        self._progress.setFixedWidth(260)
        self._progress.setFixedHeight(6)
        self.cancel = QPushButton(self.tr("Cancel"), self)
        layout = QVBoxLayout(self)
        layout.addStretch(1)
        layout.addWidget(self._text)
        layout.addWidget(self._progress, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addWidget(self.cancel, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(1)

    def set_activity(self, text: str, fraction: float | None) -> None:
        self._text.setText(text)
        self._progress.setVisible(bool(text))
        self.cancel.setVisible(bool(text))
        self._progress.setRange(0, 0 if fraction is None else 1000)
        self._progress.setValue(round((fraction or 0) * 1000))
