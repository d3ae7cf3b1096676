"""Letters on a figure's canvas, through Pillow's own font, so that a file looks the same on every computer.

They are drawn with the ramp from PAPER to INK, smooth at their edges, and the picture stays one of palette indices.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import PIL.ImageFont

from fmviz.figure import Figure, Label, line_height
from fmviz.maps import INK, PAPER

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Indices = npt.NDArray[np.uint8]

_ELLIPSIS = "…"
_MINUS = "−"
_TIMES = "×"
# The font has no multiplication sign, dashes or arrows, but signs that look like these.
_LIKE = {"–": "-", "—": "-", "→": "›", "∞": "inf", "\u00a0": " "}


def lettered(figure: Figure) -> Indices:
    """The canvas with all labels on it, (H, W) uint8 indices, a new array. Long labels are shortened in the middle."""
    canvas = figure.canvas.copy()
    for label in figure.labels:
        _draw(canvas, label)
    return canvas


def text_width(text: str, size: int) -> int:
    """Width in pixels of a text as `lettered` draws it."""
    return sum(_glyph(character, size).shape[1] for character in drawable(text))


def shortened(text: str, room: int, size: int) -> str:
    """`text`, or as much of its beginning and its end as fits into `room` pixels with "…" between; "" if nothing does."""
    text = drawable(text)
    if text_width(text, size) <= room:
        return text
    for kept in range(len(text) - 1, -1, -1):
        head, tail = (kept + 1) // 2, kept // 2
        shorter = text[:head].rstrip() + _ELLIPSIS + text[len(text) - tail :].lstrip()
        if text_width(shorter, size) <= room:
            return shorter
    return ""


@functools.lru_cache(maxsize=4096)
def drawable(text: str) -> str:
    """The text in characters that the font has: accents are left out, and "?" stands for what has no likeness."""
    return "".join(_drawable(character) for character in text)


@functools.cache
def _drawable(character: str) -> str:
    if character in _LIKE:
        return _LIKE[character]
    if character in (_MINUS, _TIMES) or (character.isprintable() and _in_font(character)):
        return character
    base = unicodedata.normalize("NFKD", character)[0]
    return base if base.isascii() and base.isprintable() else "?"


def _in_font(character: str) -> bool:
    missing = _font(20).getmask("\uffff")
    return character.isascii() or bytes(_font(20).getmask(character)) != bytes(missing)


def _draw(canvas: Indices, label: Label) -> None:
    strip = _strip(label.text, label.room, label.size)
    height, width = strip.shape
    left = max(label.x - {"left": 0, "centre": width // 2, "right": width}[label.align], 0)
    place = canvas[label.y : label.y + height, left : left + width]
    np.maximum(place, strip[: place.shape[0], : place.shape[1]], out=place)


# Kept, because channels have the same numbers in every layer.
@functools.lru_cache(maxsize=4096)
def _strip(text: str, room: int, size: int) -> Indices:
    """A line of text as indices, no wider than `room`."""
    glyphs = [_glyph(character, size) for character in shortened(text, room, size)]
    return np.concatenate([np.empty((line_height(size), 0), np.uint8), *glyphs], axis=1)


@functools.lru_cache(maxsize=1024)
def _glyph(character: str, size: int) -> Indices:
    """A character as indices, as high as a line and as wide as it takes.

    Kept, because a layer's captions need thousands, and the font takes a fifth of a millisecond for a text.
    """
    font = _font(size)
    drawn = {_MINUS: "+", _TIMES: "x"}.get(character, character)
    mask, (left, top) = font.getmask2(drawn, mode="L")
    coverage = np.frombuffer(bytes(mask), np.uint8).reshape(mask.size[1], mask.size[0]) / 255
    ascent, descent = font.getmetrics()
    above = max((line_height(size) - ascent - descent) // 2, 0) + int(top)
    # Some letters begin a pixel left of their place.
    before = max(int(left), 0)
    advance = round(font.getlength(drawn))
    if character == _MINUS:
        # The bar of a plus: the rows that are covered for most of their width.
        coverage = np.where(coverage.mean(axis=1, keepdims=True) > 0.5, coverage, 0)
    if character == _TIMES:
        above, before, advance = above - 1, before + 1, advance + 2
    height, width = coverage.shape
    glyph = np.full((line_height(size), max(advance, before + width)), PAPER, np.uint8)
    place = glyph[above : above + height, before : before + width]
    place[...] = PAPER + np.rint(coverage[: place.shape[0]] * (INK - PAPER))
    glyph.flags.writeable = False
    return glyph


@functools.cache
def _font(size: int) -> FreeTypeFont:
    font = PIL.ImageFont.load_default(size)
    assert isinstance(font, PIL.ImageFont.FreeTypeFont)
    return font
