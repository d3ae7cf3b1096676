"""The sheet that a figure is made on: a head of lines, a body of tiles and captions, colour bars. numpy only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from fmviz.digits import digits_apart
from fmviz.maps import INFINITE, LEVELS, NAN, PAPER

Indices: TypeAlias = "npt.NDArray[np.uint8]"

MARGIN = 20
GAP = 10
TITLE, TEXT, CAPTION = 16, 13, 12
"""Font sizes in pixels."""

_FRAME = PAPER + 4
_BAR = 14
_BAR_ROOM = 72
_SHORTEST_BAR, _LONGEST_BAR = 84, 280
_NARROWEST, _WIDEST_TEXT = 250, 640


class Label(msgspec.Struct, frozen=True):
    """One line of text on a figure.

    Attributes:
        x: its left edge, right edge or middle, as `align` says, in canvas pixels.
        y: the top of the line; the line is `line_height(size)` high.
        size: of the font, in pixels.
        room: the widest it may be. What is wider is shortened in the middle by whoever draws it.
    """

    text: str
    x: int
    y: int
    size: int
    align: Literal["left", "right", "centre"]
    room: int


class Figure(msgspec.Struct, frozen=True, eq=False):
    """Maps laid out.

    Attributes:
        canvas: (H, W) uint8 indices as in `fmviz.maps`, everything but the letters.
        labels: the letters.
        facts: JSON values: what the tiles are, their limits, and where they lie on the canvas.
    """

    canvas: Indices
    labels: tuple[Label, ...]
    facts: Mapping[str, Any]


class TooLargeFigureError(Exception):
    """A figure would have more pixels than its maker allows.

    Attributes:
        pixels: How many it would have.
    """

    def __init__(self, pixels: int) -> None:
        super().__init__(f"the figure would have {pixels:,} pixels")
        self.pixels = pixels


def line_height(size: int) -> int:
    """Height of a line of text of a font size, both in pixels."""
    return round(size * 1.3)


def number(value: float, digits: int = 3) -> str:
    """A value with the digits that matter, set with a true minus sign: 1.23e−5, −0.04, 12346."""
    if math.isnan(value):
        return "NaN"
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{value:.0f}" if 0 <= int(exponent) < 6 else f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−").replace("inf", "∞")


def resized(pixels: Indices, size: tuple[int, int]) -> Indices:
    """Indices (…, h, w) at another `size` (height, width), each pixel taken from the nearest one: never smoothed."""
    height, width = pixels.shape[-2:]
    rows = (2 * np.arange(size[0]) + 1) * height // (2 * size[0])
    columns = (2 * np.arange(size[1]) + 1) * width // (2 * size[1])
    return pixels[..., rows[:, None], columns]


class Sheet:
    """A figure in the making: a head of some lines, a body of (width, height), perhaps room for colour bars beside it.

    Raises `TooLargeFigureError`, before any memory is taken, if the whole figure has more than `most` pixels.

    Attributes:
        top: where the body begins, in canvas pixels; its left edge is at MARGIN.
        beside: where colour bars begin, right of the body.
    """

    def __init__(
        self,
        head: Sequence[str],
        body: tuple[int, int],
        *,
        bar: bool,
        unusual: Mapping[str, int],
        most: int | None = None,
    ) -> None:
        beside = 2 * GAP + _BAR + _BAR_ROOM if bar else 0
        text = max(generous_width(line, size) for line, size in head_sizes(head))
        width = max(body[0] + beside, min(text, _WIDEST_TEXT), _NARROWEST)
        below = max(body[1], _SHORTEST_BAR if bar else 0)
        height = head_height(head) + GAP + below + (2 * GAP + line_height(TEXT) if unusual else 0)
        shape = height + 2 * MARGIN, width + 2 * MARGIN
        if most is not None and math.prod(shape) > most:
            raise TooLargeFigureError(math.prod(shape))
        self._canvas = np.full(shape, PAPER, np.uint8)
        self._labels: list[Label] = []
        y = MARGIN
        for line, size in head_sizes(head):
            self.text(line, MARGIN, y, size, width)
            y += line_height(size)
        self.top, self.beside = y + GAP, MARGIN + body[0] + 2 * GAP
        self._legend(unusual, self.top + below + 2 * GAP)

    def figure(self, facts: Mapping[str, Any]) -> Figure:
        return Figure(self._canvas, tuple(self._labels), facts)

    def text(self, text: str, x: int, y: int, size: int, room: int) -> None:
        if text:
            self._labels.append(Label(text, x, y, size, "left", room))

    def add(self, label: Label) -> None:
        """Add a label anywhere on the canvas."""
        if label.text:
            self._labels.append(label)

    def tile(self, left: int, top: int, pixels: Indices) -> None:
        """Pixels within a thin frame, because the ends of many colour maps look like paper."""
        height, width = pixels.shape
        if pixels.size:
            self._canvas[top - 1 : top + height + 1, left - 1 : left + width + 1] = _FRAME
            self._canvas[top : top + height, left : left + width] = pixels

    def rows_of_tiles(self, pixels: Indices, columns: int, enlarged: int, cell: tuple[int, int]) -> None:
        """Pixels (n, h, w), each `enlarged` and in its frame, in rows of cells (width, height) from the body's corner on.

        A row at a time, because layers have thousands of maps.
        """
        height, width = (length * enlarged for length in pixels.shape[1:])
        if not pixels.size:
            return
        for row, first in enumerate(range(0, len(pixels), columns)):
            tiles = pixels[first : first + columns].repeat(enlarged, axis=1).repeat(enlarged, axis=2)
            top, pitch, across = self.top + row * (cell[1] + GAP), cell[0] + GAP, len(tiles)
            for edge, inside in ((1, _FRAME), (0, tiles.transpose(1, 0, 2))):
                left = MARGIN - edge
                band = self._canvas[top - edge : top + height + edge, left : left + across * pitch]
                band.reshape(len(band), across, pitch)[:, :, : width + 2 * edge] = inside

    def caption(self, left: int, top: int, room: int, lines: Sequence[str]) -> None:
        for index, line in enumerate(lines):
            self.text(line, left, top + 3 + index * line_height(CAPTION), CAPTION, room)

    def bar(self, top: int, beside_of: int, limits: tuple[float, float]) -> None:
        """All levels, the highest on top, lettered with the values of the highest, the middle and the lowest.

        `beside_of` is the height of what it stands beside.
        """
        left, height = self.beside, min(max(beside_of, _SHORTEST_BAR), _LONGEST_BAR)
        levels = (np.arange(height)[::-1] * (LEVELS - 1) + (height - 1) // 2) // (height - 1)
        self.tile(left, top, np.repeat(levels.astype(np.uint8)[:, None], _BAR, axis=1))
        low, high = limits
        digits = digits_apart(low, high, 3)
        line = line_height(CAPTION)
        middle = low / 2 + high / 2
        for value, y in ((high, top), (middle, top + (height - line) // 2), (low, top + height - line)):
            self.text(number(value, digits), left + _BAR + 6, y, CAPTION, _BAR_ROOM - 6)

    def _legend(self, unusual: Mapping[str, int], y: int) -> None:
        """What the colours that are on no scale mean, and how many pixels have them."""
        x = MARGIN
        for name, count in unusual.items():
            words = f"{name}: {count:,} pixel{'s' if count > 1 else ''}"
            room = generous_width(words, TEXT)
            self.tile(x, y + 2, np.full((12, 12), NAN if name == "NaN" else INFINITE, np.uint8))
            self.text(words, x + 18, y, TEXT, room)
            x += 18 + room + GAP


def head_sizes(head: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Each line with its font size: the first of several is the title."""
    for index, line in enumerate(head):
        yield line, TITLE if index == 0 and len(head) > 1 else TEXT


def head_height(head: Sequence[str]) -> int:
    return sum(line_height(size) for _, size in head_sizes(head))


def generous_width(text: str, size: int) -> int:
    """More pixels than a text of common letters and digits takes in a font of this size."""
    return math.ceil(0.62 * size * len(text)) + 4
