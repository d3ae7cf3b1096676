"""A line over a view that says what went wrong, with the remedy as a button."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QStyle,
    QToolButton,
    QVBoxLayout,
    QWidget,
)


class Banner(QFrame):
    """Hidden until it has something to say.

    Args:
        wide: it goes across the whole window, where its buttons have room beside its words.
    """

    closed = Signal()

    def __init__(self, parent: QWidget | None = None, *, wide: bool = False) -> None:
        super().__init__(parent)
        self._wide = wide
        self.setObjectName("banner")
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setAutoFillBackground(True)
        self._icon = QLabel(self)
        size = self.style().pixelMetric(QStyle.PixelMetric.PM_SmallIconSize)
        warning = self.style().standardIcon(QStyle.StandardPixmap.SP_MessageBoxWarning)
        self._icon.setPixmap(warning.pixmap(size, size))
        self._text = QLabel(self)
        self._text.setWordWrap(True)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        # A path or a checksum is one long word: it must not make the window wider.
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._text.setMinimumWidth(480 if wide else 160)
        self._close = QToolButton(self)
        self._close.setAutoRaise(True)
        self._close.setIcon(self.style().standardIcon(QStyle.StandardPixmap.SP_TitleBarCloseButton))
        self._close.setToolTip(self.tr("Dismiss"))
        self._close.setAccessibleName(self.tr("Dismiss"))
        self._close.clicked.connect(self.closed)
        self._beside, self._below = QHBoxLayout(), QHBoxLayout()
        for widget, stretch in ((self._icon, 0), (self._text, 1), (self._close, 0)):
            self._beside.addWidget(widget, stretch)
        self._below.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 6, 6, 6)
        layout.addLayout(self._beside)
        layout.addLayout(self._below)
        self._buttons: list[QPushButton] = []
        self.hide()

    @property
    def text(self) -> str:
        return self._text.text()

    def tell(self, message: str, remedies: Sequence[QAction], details: str = "") -> None:
        """Show `message` with a button for each remedy."""
        self._text.setText(message)
        self._text.setToolTip(details)
        for button in self._buttons:
            button.deleteLater()
        self._buttons = [self._button(remedy) for remedy in remedies]
        for button in self._buttons:
            # One button leaves the words room enough beside it; more do not.
            if self._wide or len(self._buttons) == 1:
                self._beside.insertWidget(self._beside.count() - 1, button)
            else:
                self._below.addWidget(button)
        self.show()

    def _button(self, remedy: QAction) -> QPushButton:
        button = QPushButton(remedy.text().replace("&", ""), self)
        trigger: Callable[[], None] = remedy.trigger
        button.clicked.connect(lambda: trigger())
        return button
