"""A line over a view that says what went wrong, with the remedy as a button."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QAction, QPalette
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from fmviz.app.icons import icon


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
        self._buttons: list[QPushButton] = []
        self._text: QLabel | None = None
        self.hide()

    @property
    def text(self) -> str:
        return self._text.text() if self._text is not None else ""

    def _furnish(self) -> QLabel:
        """Before it says something for the first time: of eight banners, most never do. The label of its words."""
        from PySide6.QtWidgets import QStyle

        icon = QLabel(self)
        size = self.style().pixelMetric(QStyle.PixelMetric.PM_SmallIconSize)
        warning = self.style().standardIcon(QStyle.StandardPixmap.SP_MessageBoxWarning)
        icon.setPixmap(warning.pixmap(size, size))
        text = QLabel(self)
        text.setWordWrap(True)
        text.setTextFormat(Qt.TextFormat.PlainText)
        text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        # A path or a checksum is one long word: it must not make the window wider.
        text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        text.setMinimumWidth(480 if self._wide else 160)
        close = QToolButton(self)
        close.setAutoRaise(True)
        close.setToolTip(self.tr("Dismiss"))
        close.setAccessibleName(self.tr("Dismiss"))
        close.clicked.connect(self.closed)
        self._beside, self._below = QHBoxLayout(), QHBoxLayout()
        for widget, stretch in ((icon, 0), (text, 1), (close, 0)):
            self._beside.addWidget(widget, stretch)
        self._below.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 6, 6, 6)
        layout.addLayout(self._beside)
        layout.addLayout(self._below)
        self._text, self._close = text, close
        self._draw_close()
        return text

    def _draw_close(self) -> None:
        self._close.setIcon(icon("close", self.palette().color(QPalette.ColorRole.WindowText)))

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange and self._text is not None:
            self._draw_close()
        super().changeEvent(event)

    def tell(self, message: str, remedies: Sequence[QAction], details: str = "") -> None:
        """Show `message` with a button for each remedy."""
        text = self._text or self._furnish()
        text.setText(message)
        text.setToolTip(details)
        for button in self._buttons:
            # Hidden at once: one that has the keyboard lets go of it in order.
            button.hide()
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
        # A click leaves the keyboard with the view.
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        trigger: Callable[[], None] = remedy.trigger
        button.clicked.connect(lambda: trigger())
        return button
