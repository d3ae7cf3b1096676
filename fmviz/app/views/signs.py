"""Short texts as pictures: the numbers of the channels come back with every layer, and letters are slow to draw."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QImage, QPainter

_KEPT = 3000
_STYLES_KEPT = 4
_LETTERS = 10
_MARGIN = 6
_OPACITY = 190


class Signs:
    """Texts on paper that what is below shines through, each drawn once for each of the last few styles."""

    def __init__(self) -> None:
        self._styles: dict[object, Style] = {}

    def style(self, font: QFont, ratio: float, paper: QColor, ink: QColor) -> Style:
        """Texts of `ratio` device pixels to one of the font's."""
        key = (font.key(), ratio, paper.rgb(), ink.rgb())
        style = self._styles.pop(key, None) or Style(font, ratio, paper, ink)
        self._styles[key] = style
        if len(self._styles) > _STYLES_KEPT:
            del self._styles[next(iter(self._styles))]
        return style


class Style:
    """The texts of one font and two colours."""

    def __init__(self, font: QFont, ratio: float, paper: QColor, ink: QColor) -> None:
        self._look = (QFont(font), ratio, QColor(paper), QColor(ink))
        self._drawn: dict[str, QImage] = {}

    def sign(self, text: str) -> QImage:
        """`text` on one line."""
        image = self._drawn.get(text)
        if image is None:
            if len(self._drawn) >= _KEPT:
                self._drawn.clear()
            image = self._drawn[text] = _drawn(text, *self._look)
        return image


def _drawn(text: str, font: QFont, ratio: float, paper: QColor, ink: QColor) -> QImage:
    font = QFont(font)
    font.setPixelSize(round(_LETTERS * ratio))
    metrics = QFontMetrics(font)
    width = metrics.horizontalAdvance(text) + round(_MARGIN * ratio)
    image = QImage(width, metrics.height(), QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(QColor(paper.red(), paper.green(), paper.blue(), _OPACITY))
    with QPainter(image) as painter:
        painter.setFont(font)
        painter.setPen(ink)
        painter.drawText(image.rect(), Qt.AlignmentFlag.AlignCenter, text)
    return image
