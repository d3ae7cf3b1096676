"""Short texts as pictures: the numbers of the channels come back with every layer, and letters are slow to draw."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QImage, QPainter

_KEPT = 3000
_LETTERS = 10
_MARGIN = 6
_OPACITY = 190


class Signs:
    """Texts on paper that what is below shines through, each drawn once for as long as the colours stay the same."""

    def __init__(self) -> None:
        self._style: object = None
        self._drawn: dict[str, QImage] = {}

    def sign(self, text: str, font: QFont, ratio: float, paper: QColor, ink: QColor) -> QImage:
        """`text` on one line, of `ratio` device pixels to one of the font's."""
        style = (font.key(), ratio, paper.rgb(), ink.rgb())
        if style != self._style or len(self._drawn) >= _KEPT:
            self._style = style
            self._drawn.clear()
        if text not in self._drawn:
            self._drawn[text] = _drawn(text, font, ratio, paper, ink)
        return self._drawn[text]


def _drawn(text: str, font: QFont, ratio: float, paper: QColor, ink: QColor) -> QImage:
    font = QFont(font)
    font.setPixelSize(round(_LETTERS * ratio))
    metrics = QFontMetrics(font)
    width = metrics.horizontalAdvance(text) + round(_MARGIN * ratio)
    image = QImage(width, metrics.height(), QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(QColor(paper.red(), paper.green(), paper.blue(), _OPACITY))
    painter = QPainter(image)
    painter.setFont(font)
    painter.setPen(ink)
    painter.drawText(image.rect(), Qt.AlignmentFlag.AlignCenter, text)
    painter.end()
    return image
