"""The Pyramid dock: C, M and P side by side, each at the same size over the same part of the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QResizeEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSpacerItem,
    QSpinBox,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from fmviz.app.drawn_map import DrawnMap
from fmviz.app.state import PyramidChoice
from fmviz.app.theme import numbers_font
from fmviz.app.views.banner import Banner
from fmviz.app.views.combo import Combo
from fmviz.app.views.elided_label import ElidedLabel
from fmviz.app.views.linked_view import LinkedView
from fmviz.app.views.map_canvas import MapCanvas

_LEVELS = "23456"
_ROWS = "CMP"


class PyramidView(QWidget):
    choice_made = Signal(object)
    """A new `PyramidChoice`."""
    tap_chosen = Signal(object)
    """The tap whose map was clicked: "P3"."""
    boxes_chosen = Signal(object)
    """Whether what the levels found is to be framed."""
    train_wanted = Signal()
    fetch_wanted = Signal(object)
    """The name of weights with a trained pyramid."""
    pointed = Signal(object)
    """(tap, x, y) in the picture's pixels, or None."""
    clicked_at = Signal(object)
    """(tap, x, y) in the picture's pixels, before `tap_chosen`."""
    menu_wanted = Signal(object, object)
    """A tap, and where (global) the context menu of its map is wanted."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.banner = Banner(self)
        self.view = LinkedView(self)
        self.canvases: dict[str, MapCanvas] = {}
        self._rows: frozenset[int] = frozenset()
        self._columns = 0
        self._captions: dict[str, QLabel] = {}
        self._choice = PyramidChoice()
        self._offer = ""
        self._note = QLabel(self)
        self._note.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._note.setWordWrap(True)
        self.train, self.fetch = QPushButton(self.tr("Train it (3 min)…"), self), QPushButton(self)
        self.train.setToolTip(self.tr("On drawn shapes, without any download, while you look on"))
        self.train.clicked.connect(self.train_wanted)
        self.fetch.clicked.connect(lambda: self.fetch_wanted.emit(self._offer))
        self.set_remedies(train=False, offer="", size="")
        self._empty = QLabel(self)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setWordWrap(True)
        self._stack = QStackedWidget(self)
        self._stack.addWidget(self._empty)
        self._stack.addWidget(self._make_grid())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        layout.addWidget(self.banner)
        layout.addLayout(self._make_controls())
        beside = QHBoxLayout()
        beside.addWidget(self._note, 1)
        beside.addWidget(self.train)
        beside.addWidget(self.fetch)
        layout.addLayout(beside)
        layout.addWidget(self._stack, 1)

    def _make_controls(self) -> QHBoxLayout:
        self._what = Combo(self)
        for name, text in (
            ("l2", self.tr("L2 norm over channels")),
            ("mean", self.tr("mean over channels")),
            ("max", self.tr("maximum over channels")),
            ("channel", self.tr("one channel")),
        ):
            self._what.addItem(text, name)
        self._channel = QSpinBox(self)
        self._channel.setAccessibleName(self.tr("Channel"))
        self._scale = Combo(self)
        self._scale.addItem(self.tr("each map"), "map")
        self._scale.addItem(self.tr("whole row"), "row")
        self._boxes = QCheckBox(self.tr("Frame what each level finds"), self)
        self._boxes.setToolTip(self.tr("On the picture, and on the map of the level, in the level's colour"))
        self._boxes.clicked.connect(self.boxes_chosen.emit)
        self._what.activated.connect(self._choose)
        self._scale.activated.connect(self._choose)
        self._channel.valueChanged.connect(self._choose)
        row = QHBoxLayout()
        for text, widget in ((self.tr("Show"), self._what), (self.tr("Scale"), self._scale)):
            label = QLabel(text, self)
            label.setBuddy(widget)
            widget.setAccessibleName(text)
            row.addWidget(label)
            row.addWidget(widget)
            if widget is self._what:
                row.addWidget(self._channel)
        row.addSpacing(8)
        row.addWidget(self._boxes)
        row.addStretch(1)
        return row

    def _make_grid(self) -> QWidget:
        page = QWidget(self)
        self._grid = QGridLayout(page)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(4)
        for row, letter in enumerate(_ROWS):
            for column, level in enumerate(_LEVELS):
                if level == "6" and letter != "P":
                    continue
                self._add_cell(letter + level, row, column)
        for row in (0, 2 * len(_ROWS) + 1):
            self._grid.addItem(QSpacerItem(0, 0), row, 0)
        return page

    def _add_cell(self, tap: str, row: int, column: int) -> None:
        canvas = MapCanvas(self.view, self)
        caption = ElidedLabel(tap, self)
        caption.setFont(numbers_font())
        caption.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        caption.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._grid.addWidget(canvas, 2 * row + 1, column)
        self._grid.addWidget(caption, 2 * row + 2, column)
        self._grid.setColumnStretch(column, 1)
        self.canvases[tap], self._captions[tap] = canvas, caption
        canvas.clicked_at.connect(lambda place: self.clicked_at.emit((tap, *place)))
        canvas.clicked.connect(lambda: self.tap_chosen.emit(tap))
        canvas.menu_wanted.connect(lambda place: self.menu_wanted.emit(tap, place))
        canvas.pointed.connect(lambda place: self.pointed.emit((tap, *place) if place else None))

    def set_choice(self, choice: PyramidChoice, channels: int) -> None:
        """What is shown of each level; the channel runs up to the least number that the P maps have."""
        self._choice = choice
        for widget in (self._channel,):
            widget.blockSignals(True)
            widget.setRange(0, max(channels - 1, 0))
            widget.setValue(choice.channel)
            widget.setVisible(choice.reduction is None)
            widget.blockSignals(False)
        self._what.setCurrentIndex(self._what.findData(choice.reduction or "channel"))
        self._scale.setCurrentIndex(self._scale.findData(choice.scale))

    def _choose(self) -> None:
        what = self._what.currentData()
        self.choice_made.emit(
            PyramidChoice(
                channel=self._channel.value(),
                reduction=None if what == "channel" else what,
                scale=self._scale.currentData(),
            )
        )

    def set_boxes_wanted(self, wanted: bool, *, possible: bool) -> None:
        """Whether frames are wanted, and whether this network says what it finds."""
        self._boxes.setChecked(wanted)
        self._boxes.setVisible(possible)

    def set_boxes(self, boxes: Mapping[str, Sequence[QRectF]], colours: Mapping[str, QColor]) -> None:
        """Frames on the map of each level, in the picture's coordinates."""
        for tap, canvas in self.canvases.items():
            canvas.set_boxes([(box, colours[tap]) for box in boxes.get(tap, ())])

    def set_note(self, note: str) -> None:
        """What is to be known first."""
        self._note.setText(note)
        self._note.setToolTip(note)
        self._note.setVisible(bool(note))

    def set_remedies(self, *, train: bool, offer: str, size: str) -> None:
        """What mends an untrained pyramid: training it here, or fetching `offer`, which is `size` large."""
        self._offer = offer
        self.train.setVisible(train)
        self.fetch.setText(self.tr("Fetch the COCO weights (↓ {size})").format(size=size))
        self.fetch.setVisible(bool(offer))

    def set_maps(self, maps: Mapping[str, tuple[QImage, str, DrawnMap]], region: QRectF, *, note: str) -> None:
        """Show the map of each tap with its caption; `region` is the part of the picture that all of them show."""
        self.view.set_region(region)
        for tap, canvas in self.canvases.items():
            image, caption, drawn = maps.get(tap, (None, "", None))
            canvas.set_map(image, region, drawn)
            self._captions[tap].setText(caption)
            self._captions[tap].setToolTip(caption)
            for widget in (canvas, self._captions[tap]):
                widget.setVisible(image is not None)
        for column, level in enumerate(_LEVELS):
            self._grid.setColumnStretch(column, int(any(letter + level in maps for letter in _ROWS)))
        self._rows = frozenset(row for row, letter in enumerate(_ROWS) if any(tap[0] == letter for tap in maps))
        self._columns = len({tap[1:] for tap in maps})
        self._share_height()
        self.set_note(note)
        self._stack.setCurrentIndex(1)

    def _share_height(self) -> None:
        """A row is no higher than its maps are, so that their captions are below them: what is left is above and below all."""
        region, rows = self.view.region, len(self._rows)
        page = self._stack.contentsRect()
        caption = max(label.sizeHint().height() for label in self._captions.values()) + 2 * self._grid.spacing()
        height = page.width() / max(self._columns, 1) * region.height() / max(region.width(), 1.0)
        left = page.height() - rows * (height + caption)
        for row in range(len(_ROWS)):
            self._grid.setRowStretch(2 * row + 1, max(1, round(height)) if row in self._rows else 0)
        for row in (0, 2 * len(_ROWS) + 1):
            self._grid.setRowStretch(row, max(0, round(left / 2)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._share_height()

    def set_images(self, images: Mapping[str, QImage], region: QRectF) -> None:
        """The same maps in other colours: nothing is laid out anew."""
        for tap, image in images.items():
            self.canvases[tap].set_map(image, region, self.canvases[tap].drawn)

    def show_empty(self, text: str) -> None:
        """Nothing to show, and why."""
        self._empty.setText(text)
        self._note.hide()
        self._stack.setCurrentIndex(0)

    def set_picture(self, image: QImage | None, box: QRectF) -> None:
        for canvas in self.canvases.values():
            canvas.set_picture(image, box)

    def set_current_tap(self, taps: tuple[str, ...]) -> None:
        """Frame the maps of the chosen layer."""
        for tap, canvas in self.canvases.items():
            canvas.set_selected(tap in taps)

    def set_accent(self, colour: QColor) -> None:
        for canvas in self.canvases.values():
            canvas.set_accent(colour)

    def set_smooth(self, smooth: bool) -> None:
        for canvas in self.canvases.values():
            canvas.set_smooth(smooth)

    def set_peek(self, peek: bool) -> None:
        for canvas in self.canvases.values():
            canvas.set_peek(peek)
