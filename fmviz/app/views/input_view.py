"""The Input dock: the picture with what the network saw of it, what the network was fed, and what it says that it is."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from fmviz.app.theme import numbers_font
from fmviz.app.views.banner import Banner
from fmviz.app.views.elided_label import ClippedLabel
from fmviz.app.views.map_canvas import MapCanvas
from fmviz.app.views.predictions import Predictions
from fmviz.app.views.scroll_bar import give_scroll_bars

_CAPTION_LINES = 3
_SPACING = 4
_MARGIN = 6


class InputView(QWidget):
    """The two pictures with their captions; below them, predictions and notes, which scroll if the dock is low."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.banner = Banner(self)
        self.picture = MapCanvas(parent=self)
        self.picture.set_empty_text(self.tr("No picture yet"))
        self.network_input = MapCanvas(parent=self)
        self.network_input.set_empty_text(self.tr("What the network is fed"))
        self._about_picture = self._caption()
        self._about_input = self._caption()
        self._texts = QWidget()
        self._prepared = self._line(QLabel(self._texts))
        self._prepared.setWordWrap(True)
        self._notes = QLabel(self._texts)
        self._notes.setWordWrap(True)
        self._notes.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._notes.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._notes.hide()
        self.predictions = Predictions(self._texts)
        # One grid, so that the captions stand at the same height, however many lines each has.
        pictures = QGridLayout()
        pictures.setVerticalSpacing(_SPACING)
        pictures.setRowStretch(0, 1)
        for column, (canvas, line, stretch) in enumerate(
            ((self.picture, self._about_picture, 3), (self.network_input, self._about_input, 2))
        ):
            canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
            pictures.addWidget(canvas, 0, column)
            pictures.addWidget(line, 1, column)
            pictures.setColumnStretch(column, stretch)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, _MARGIN)
        layout.setSpacing(_SPACING)
        layout.addWidget(self.banner)
        layout.addLayout(pictures, 1)
        self.texts_area = _LowArea(self._texts, self)
        layout.addWidget(self.texts_area)
        texts = QVBoxLayout(self._texts)
        texts.setContentsMargins(0, 0, 0, 0)
        texts.setSpacing(_SPACING)
        for widget in (self._prepared, self.predictions, self._notes):
            texts.addWidget(widget)
        texts.addStretch(1)
        self._texts.installEventFilter(self)
        self.installEventFilter(self)

    def _caption(self) -> ClippedLabel:
        line = ClippedLabel(_CAPTION_LINES, self)
        self._line(line)
        line.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
        return line

    @staticmethod
    def _line(line: QLabel) -> QLabel:
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
            line.setAccessibleDescription(text)
        self._share_height()

    def set_notes(self, text: str) -> None:
        """What must be known of the weights."""
        self._notes.setText(text)
        self._notes.setToolTip(text)
        self._notes.setAccessibleDescription(text)
        self._notes.setVisible(bool(text))
        self._share_height()

    def _share_height(self) -> None:
        """Give the texts below the pictures the height that they need, and the pictures at least half of the dock."""
        captions = max(line.heightForWidth(line.width()) for line in (self._about_picture, self._about_input))
        taken = 0 if self.banner.isHidden() else self.banner.height() + _SPACING
        room = self.height() - taken
        around = captions + 2 * _MARGIN + 2 * _SPACING
        self.texts_area.set_height(max(0, room // 2 - around))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Share the height anew."""
        super().resizeEvent(event)
        self._share_height()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Share the height anew after a text or the banner changed."""
        if event.type() == QEvent.Type.LayoutRequest:
            self._share_height()
        return super().eventFilter(watched, event)


class _LowArea(QScrollArea):
    """Scroll area that is as high as its contents, up to a height that is set."""

    def __init__(self, inside: QWidget, parent: QWidget) -> None:
        super().__init__(parent)
        give_scroll_bars(self)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Maximum)
        self.setWidgetResizable(True)
        self.setWidget(inside)
        # The background of the dock shows through.
        self.viewport().setAutoFillBackground(False)
        inside.setAutoFillBackground(False)
        self._most = 0
        self._inside = inside
        self._height = 0

    def set_height(self, most: int) -> None:
        """Set the largest height, and take the height that the contents need now."""
        layout = self._inside.layout()
        assert layout is not None
        width = self.width()
        needed = layout.totalHeightForWidth(width) if layout.hasHeightForWidth() else layout.sizeHint().height()
        height = min(needed, most)
        if height != self._height:
            self._height = height
            self.updateGeometry()

    def sizeHint(self) -> QSize:
        """Return the height that was set."""
        return QSize(0, self._height)

    def minimumSizeHint(self) -> QSize:
        """Return nothing: the dock can be made lower."""
        return QSize(0, 0)
