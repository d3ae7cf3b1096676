"""Figures of activations without a place on the picture: heat maps of matrices with their axes, bars of vectors. numpy only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fmviz.figure import (
    limits_words,
    map_facts,
    pleasant_columns,
    shared_limits,
    shared_words,
    tile_positions,
    unusual_pixels,
)
from fmviz.maps import PAPER, Maps
from fmviz.sheet import CAPTION, GAP, MARGIN, Figure, Indices, Label, Sheet, generous_width, line_height, number

_LARGE, _SMALL = 480, 120
"""Longer side that a matrix is enlarged to, in pixels: one alone, and one of many."""
_SQUARE = 4
"""Up to this ratio of its sides a matrix has square cells; beyond it, its sides are scaled apart."""
_TICKS_APART = 32
_BARS, _WIDEST_BARS = (720, 300), 1600
_INK = PAPER + 9


def heat_maps(
    maps: Maps, *, names: Sequence[str], title: str, tile: int | None = None, most: int | None = None
) -> Figure:
    """Return matrices as heat maps, each with the numbers of its rows and columns, and its name and limits below.

    Args:
        maps: Rendered matrices.
        names: One a matrix, "[12, 1]"; "" for none.
        title: The first line large, further ones small.
        tile: Longer side in pixels; enlarged until they are legible where None.
        most: Pixels that the figure may have; any number where None.

    Raises:
        TooLargeFigureError: It would have more than `most`.
    """
    count = len(maps.pixels)
    down, across = _enlargement(maps.pixels.shape[1:], tile or (_LARGE if count == 1 else _SMALL))
    size = (maps.pixels.shape[1] * down, maps.pixels.shape[2] * across)
    shared = shared_limits([maps])
    texts = [_caption(name, maps, place, shared) for place, name in enumerate(names)]
    line = line_height(CAPTION)
    indent = generous_width(str(maps.map_size[0]), CAPTION) + 6
    lines = max((len(text) for text in texts), default=0)
    longest = max((generous_width(text, CAPTION) for lines_ in texts for text in lines_), default=0)
    cell = (indent + max(size[1], min(longest, 2 * _SMALL)), size[0] + (3 + lines) * line + 3)
    columns = min(pleasant_columns(count, cell), max(count, 1))
    rows = -(-count // columns)
    body = (columns * (cell[0] + GAP) - GAP, rows * (cell[1] + GAP) - GAP)
    height, width = maps.map_size
    words = f"{count:,} {'matrices' if count != 1 else 'matrix'} of {height:,} rows × {width:,} columns"
    scale = "each on its own scale" if count > 1 else "no finite value"
    if shared is not None:
        scale = shared_words(maps, shared) if count > 1 else "one scale"
    head = [*title.splitlines(), f"{words} · {scale}"]
    sheet = Sheet(head, body, bar=shared is not None, unusual=unusual_pixels(maps.pixels), most=most)
    places = tile_positions(count, columns=columns, cell=cell, gap=(GAP, GAP), origin=(MARGIN, sheet.top))
    for (left, top), pixels, text in zip(places, maps.pixels, texts, strict=True):
        sheet.tile(left + indent, top + line, pixels.repeat(down, axis=0).repeat(across, axis=1))
        for label in _axes(left + indent, top + line, size, maps.map_size):
            sheet.add(label)
        sheet.caption(left + indent, top + size[0] + 3 * line, cell[0] - indent, text)
    if shared is not None:
        sheet.bar(sheet.top + line, size[0], shared)
    facts = {"names": list(names), "left": MARGIN + indent, "top": sheet.top + line, "size": [size[1], size[0]]}
    return sheet.figure({**map_facts(maps, maps.step), "matrices": {"columns": columns, **facts}})


def _caption(name: str, maps: Maps, place: int, shared: tuple[float, float] | None) -> list[str]:
    """Return the name of a matrix, and its limits where it has its own."""
    limits = "" if shared is not None else limits_words(*map(float, maps.limits[place]))
    flat = "constant" if shared is not None and any(maps.constant[place : place + 1]) else ""
    if flat and shared is not None and shared[0] == shared[1]:
        flat = limits_words(*shared)
    return [text for text in (name, limits or flat) if text]


def _enlargement(size: tuple[int, ...], longer: int) -> tuple[int, int]:
    """Return the whole numbers that (h, w) is enlarged by until the longer side has so many pixels."""
    height, width = size
    down = across = max(1, longer // max(height, width, 1))
    if max(height, width) > _SQUARE * min(height, width):
        down, across = max(1, longer // max(height, 1)), max(1, longer // max(width, 1))
        # The shorter side of a narrow matrix needs less room than the longer one.
        down, across = min(down, 24), min(across, 24)
    return down, across


def _axes(left: int, top: int, size: tuple[int, int], cells: tuple[int, int]) -> Iterator[Label]:
    """Yield the numbers of rows and columns along the sides of a tile, and the names of both axes."""
    line = line_height(CAPTION)
    height, width = size
    yield Label("row", left - 6, top - line - 3, CAPTION, "right", left)
    yield Label("column", left + width // 2, top + height + line, CAPTION, "centre", max(width, 60))
    for row in tick_numbers(cells[0], height // _TICKS_APART):
        y = top + int((row + 0.5) * height / cells[0]) - line // 2
        yield Label(str(row), left - 5, y, CAPTION, "right", left)
    for column in tick_numbers(cells[1], width // _TICKS_APART):
        x = left + int((column + 0.5) * width / cells[1])
        yield Label(str(column), x, top + height + 3, CAPTION, "centre", _TICKS_APART)


def tick_numbers(count: int, most: int) -> list[int]:
    """Return round indices from 0 to `count` - 1, 1, 2 or 5 times a power of ten apart, about `most` of them, at least 0."""
    span = max(count / max(most, 1), 1.0)
    power = 10 ** math.floor(math.log10(span))
    step = next(round(step * power) for step in (1, 2, 5, 10) if step * power >= span)
    return list(range(0, count, max(1, step)))


def bars(values: npt.NDArray[np.float64], *, count: int, title: str, facts: dict[str, Any]) -> Figure:
    """Return a vector as bars over the numbers of its values; NaN and infinity have none.

    Args:
        values: (n,) the first values of the vector.
        count: How many it has.
        title: The first line large, further ones small.
        facts: JSON values of the figure.
    """
    finite = np.isfinite(values)
    low, high = _range(values[finite])
    width, height = min(max(_BARS[0], len(values)), _WIDEST_BARS), _BARS[1]
    words = f"{count:,} value{'s' if count != 1 else ''}"
    if count > len(values):
        words += f", the first {len(values):,} drawn"
    if missing := int((~finite).sum()):
        words += f", {missing:,} NaN or infinite"
    indent, line = 64, line_height(CAPTION)
    sheet = Sheet([*title.splitlines(), words], (indent + width, height + 2 * line + 3), bar=False, unusual={})
    left, top = MARGIN + indent, sheet.top
    sheet.tile(left, top, _bar_pixels(values, low, high, (height, width)))
    for value in {low, high, 0.0}:
        y = top + round((high - value) / (high - low) * (height - 1)) - line // 2
        sheet.add(Label(number(value), left - 6, y, CAPTION, "right", indent - 6))
    for index in tick_numbers(len(values), width // (2 * _TICKS_APART)):
        x = left + int((index + 0.5) * width / max(len(values), 1))
        sheet.add(Label(str(index), x, top + height + 3, CAPTION, "centre", 2 * _TICKS_APART))
    sheet.add(Label("index", left + width // 2, top + height + 3 + line, CAPTION, "centre", width))
    return sheet.figure({**facts, "count": count, "bars": {"left": left, "top": top, "size": [width, height]}})


def _range(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the values at the bottom and at the top of the bars: zero is always between them."""
    low, high = (min(float(values.min()), 0.0), max(float(values.max()), 0.0)) if len(values) else (0.0, 0.0)
    return (low, high) if low < high else (low, low + 1.0)


def _bar_pixels(values: npt.NDArray[np.float64], low: float, high: float, size: tuple[int, int]) -> Indices:
    """(h, w) indices: bars from zero to each value; where several share a pixel's column, from the least to the greatest."""
    height, width = size
    pixels = np.full(size, PAPER, np.uint8)
    scale = max(abs(low), abs(high))

    def row(value: float) -> int:
        share = (high / scale - value / scale) / (high / scale - low / scale)
        return min(max(round(share * height), 0), height)

    zero = row(0.0)
    pixels[min(zero, height - 1)] = PAPER + 4
    edges = np.arange(width + 1) * len(values) / width
    for column in range(width):
        part = values[int(edges[column]) : max(math.ceil(edges[column + 1]), int(edges[column]) + 1)]
        part = part[np.isfinite(part)]
        if len(part):
            ends = sorted((zero, row(float(part.max())), row(float(part.min()))))
            pixels[ends[0] : ends[-1], column] = _INK
    return pixels
