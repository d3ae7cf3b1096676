"""Maps -> figure: tiles in rows with captions, a title and a colour bar. numpy only: no torch, no Pillow, no Qt.

A figure is a canvas of indices and the texts that belong on it. Whoever shows it brings the letters: `fmviz.lettering`
draws them into a file's canvas, a window has its own font.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fmviz.colours import COLOUR_MAPS, colour_table
from fmviz.digits import digits_apart
from fmviz.maps import INFINITE, LEVELS, NAN, Maps
from fmviz.sheet import (
    CAPTION,
    GAP,
    MARGIN,
    TEXT,
    TITLE,
    Figure,
    Indices,
    Label,
    Sheet,
    generous_width,
    line_height,
    number,
    resized,
)

__all__ = [
    "COLOUR_MAPS",
    "Figure",
    "Label",
    "colour_table",
    "grid",
    "limits_words",
    "line_height",
    "map_facts",
    "number",
    "resized",
    "table_of_maps",
    "tile_positions",
]

LEGIBLE = 84
"""Longer side of the smallest tile that maps are drawn at when they are drawn at their own size: small maps are enlarged
by a whole number until they reach it, so that they can be told apart and their limits fit below them."""

_WIDEST_CAPTION = 124

Cell = tuple[str, Maps]
"""A caption, lines parted by newlines, and maps of which the first is drawn."""


def tile_positions(
    count: int, *, columns: int, cell: tuple[int, int], gap: tuple[int, int], origin: tuple[int, int]
) -> list[tuple[int, int]]:
    """(left, top) of each of `count` cells in rows of `columns`. `cell`, `gap` and `origin` are (x, y), in pixels."""
    left, top = origin
    return [
        (left + index % columns * (cell[0] + gap[0]), top + index // columns * (cell[1] + gap[1]))
        for index in range(count)
    ]


def grid(
    maps: Maps,
    *,
    columns: int | None = None,
    tile: int | None = None,
    captions: Sequence[str] | None = None,
    title: str = "",
    most: int | None = None,
) -> Figure:
    """All maps in rows, each with its caption below, under a title, beside a colour bar.

    Where all maps share one scale the colour bar is lettered with it; otherwise the figure says that each map has its
    own, and the captions carry the limits.

    Args:
        columns: how many; as makes a pleasant figure where None.
        tile: the most pixels that the longer side of a tile takes. Small maps are enlarged by the largest whole number
            that fits, and of larger ones every second, third, … pixel is shown. None: the maps' own size, enlarged by a
            whole number where they are too small to be told apart.
        captions: one a map, lines parted by newlines; the channel and, where it is needed, its limits where None. Empty
            for none.
        title: the first line large, further ones small.
        most: Pixels that the figure may have; any number where None.

    Raises:
        TooLargeFigureError: It would have more than `most`.
    """
    count = len(maps.pixels)
    enlarged, skipped = _magnification(maps.pixels.shape[1:], tile)
    pixels = maps.pixels[:, ::skipped, ::skipped]
    shared = shared_limits([maps])
    texts = [text.split("\n") for text in (_default_captions(maps, shared) if captions is None else captions)]
    tile_height, tile_width = (length * enlarged for length in pixels.shape[1:])
    cell = (max(tile_width, _caption_width(texts)), tile_height + _lines_height(texts))
    columns = min(columns or pleasant_columns(count, cell), max(count, 1))
    rows = -(-count // columns)
    body = (columns * (cell[0] + GAP) - GAP, max(rows * (cell[1] + GAP) - GAP, 0))
    head = [*title.splitlines(), _scale_words(maps, shared, skipped)]
    sheet = Sheet(head, body, bar=shared is not None, unusual=unusual_pixels(pixels), most=most)
    places = tile_positions(count, columns=columns, cell=cell, gap=(GAP, GAP), origin=(MARGIN, sheet.top))
    sheet.rows_of_tiles(pixels, columns, enlarged, cell)
    for (left, top), lines in zip(places, texts, strict=False):
        sheet.caption(left, top + tile_height, cell[0], lines)
    if shared is not None:
        sheet.bar(sheet.top, body[1], shared)
    tiles = {
        "columns": columns,
        "left": MARGIN,
        "top": sheet.top,
        "pitch": [cell[0] + GAP, cell[1] + GAP],
        "size": [tile_width, tile_height],
    }
    return sheet.figure({**map_facts(maps, maps.step * skipped), "tiles": tiles})


def table_of_maps(
    rows: Sequence[Sequence[Cell | None]],
    *,
    tile: int,
    title: str = "",
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
) -> Figure:
    """A table of single maps, all drawn at the same size: the levels of a pyramid, the same place in each.

    Args:
        rows: None is an empty cell.
        tile: the longer side of each, in pixels; the aspect is that of the largest map.
        title: the first line large, further ones small.
        row_names: written before the rows; column_names: written over the columns.
    """
    cells = [entry for row in rows for entry in row if entry is not None]
    scales = [shared_limits([maps for _, maps in filter(None, row)]) for row in rows]
    size = _common_size([maps for _, maps in cells], tile)
    texts = [text.split("\n") for text, _ in cells]
    cell = (max(size[1], _caption_width(texts)), size[0] + _lines_height(texts))
    pitch = (cell[0] + GAP, cell[1] + 2 * GAP)
    indent = 2 * TITLE if row_names else 0
    over = line_height(TEXT) + GAP // 2 if column_names else 0
    columns = max((len(row) for row in rows), default=0)
    by_row = bool(cells) and all(scale is not None for scale, row in zip(scales, rows, strict=True) if any(row))
    head = [*title.splitlines(), "each row on one scale" if by_row else "each map on its own scale"]
    body = (indent + max(columns * pitch[0] - GAP, 0), over + max(len(rows) * pitch[1] - 2 * GAP, 0))
    sheet = Sheet(head, body, bar=by_row, unusual=unusual_pixels(*(maps.pixels[:1] for _, maps in cells)))
    left, top = MARGIN + indent, sheet.top + over
    for column, name in enumerate(column_names[:columns]):
        sheet.text(name, left + column * pitch[0], sheet.top, TEXT, cell[0])
    for row, name in enumerate(row_names[: len(rows)]):
        sheet.text(name, MARGIN, top + row * pitch[1] + (size[0] - line_height(TITLE)) // 2, TITLE, indent)
    for row, scale in enumerate(scales):
        if by_row and scale is not None:
            sheet.bar(top + row * pitch[1], size[0], scale)
    placed = []
    for row, column, (text, maps) in _entries(rows):
        x, y = left + column * pitch[0], top + row * pitch[1]
        sheet.tile(x, y, _one_map(maps, size))
        sheet.caption(x, y + size[0], cell[0], text.split("\n"))
        placed.append({"caption": text, "left": x, "top": y, **map_facts(maps, maps.step)})
    return sheet.figure({"cells": placed, "size": [size[1], size[0]]})


def _entries(rows: Sequence[Sequence[Cell | None]]) -> Iterator[tuple[int, int, Cell]]:
    for row, entries in enumerate(rows):
        for column, entry in enumerate(entries):
            if entry is not None:
                yield row, column, entry


def _magnification(size: tuple[int, ...], tile: int | None) -> tuple[int, int]:
    """(whole number to enlarge by, every how manieth pixel to take) for maps of a size (height, width)."""
    longer = max(*size, 1)
    if tile is None:
        return max(1, -(-LEGIBLE // longer)), 1
    return max(1, tile // longer), -(-longer // max(tile, 1))


def _common_size(maps: Sequence[Maps], tile: int) -> tuple[int, int]:
    """(height, width) with the longer side `tile` and the aspect of the largest of the maps."""
    height, width = max((entry.map_size for entry in maps), key=math.prod, default=(1, 1))
    longer = max(height, width, 1)
    return max(1, round(height * tile / longer)), max(1, round(width * tile / longer))


def _one_map(maps: Maps, size: tuple[int, int]) -> Indices:
    first = maps.pixels[:1]
    return resized(first[0], size) if first.size else np.empty((0, 0), np.uint8)


def shared_limits(maps: Sequence[Maps]) -> tuple[float, float] | None:
    """The limits that all of these maps have, or None where they differ or there are none."""
    limits = np.concatenate([entry.limits for entry in maps]) if maps else np.empty((0, 2))
    if not len(limits) or not np.isfinite(limits).all() or (limits != limits[0]).any():
        return None
    return float(limits[0, 0]), float(limits[0, 1])


def _scale_words(maps: Maps, shared: tuple[float, float] | None, skipped: int) -> str:
    count = len(maps.pixels)
    height, width = maps.map_size
    parts = [f"{count:,} map{'s' if count != 1 else ''} of {height:,} × {width:,}"]
    skipped *= maps.step
    if skipped > 1:
        parts.append(f"one pixel in {skipped} each way")
    if shared is None and count:
        own = maps.normalisation == "map" and count > 1
        parts.append("each map on its own scale" if own else "no finite value")
    elif shared is not None and count > 1:
        parts.append(shared_words(maps, shared))
    return " · ".join(parts)


def shared_words(maps: Maps, shared: tuple[float, float]) -> str:
    """Return the words for limits that all maps have: by choice, or because each has the same by itself."""
    if maps.normalisation == "map":
        return limits_words(*shared) if shared[0] == shared[1] else "each map on its own scale, all the same"
    return "one scale, symmetric about zero" if maps.normalisation == "symmetric" else "one scale"


def _default_captions(maps: Maps, shared: tuple[float, float] | None) -> list[str]:
    """The channel, and below it the limits where the maps do not share them."""
    names = [str(channel) for channel in maps.channels] or [maps.reduction or ""] * len(maps.pixels)
    if shared is not None:
        # A layer of one map whose limits are the same needs no second word: the colour bar's ends say it.
        flat = maps.constant or (False,) * len(names)
        # On a scale that is wider than the map, its one value is not known here.
        words = limits_words(*shared) if shared[0] == shared[1] else "constant"
        return [f"{name}\n{words}" if constant else name for name, constant in zip(names, flat, strict=True)]
    return [f"{name}\n{limits_words(low, high)}" for name, (low, high) in zip(names, maps.limits, strict=True)]


def limits_words(low: float, high: float) -> str:
    """The values that a map's scale goes from and to, for its caption."""
    if math.isnan(low):
        return "no finite value"
    digits = digits_apart(low, high, 3)
    return f"{number(low, digits)} … {number(high, digits)}" if low != high else f"constant {number(low)}"


def unusual_pixels(*pixels: Indices) -> dict[str, int]:
    """How many pixels are NaN and how many infinite; only what there is."""
    found = {name: sum(int((part == index).sum()) for part in pixels) for name, index in _UNUSUAL.items()}
    return {name: count for name, count in found.items() if count}


_UNUSUAL = {"NaN": NAN, "infinite": INFINITE}


def map_facts(maps: Maps, step: int) -> dict[str, Any]:
    """What it takes to undo the indices of `maps`, as JSON values; `step` is that of the drawn pixels."""
    return {
        "channels": list(maps.channels),
        "reduction": maps.reduction,
        "normalisation": maps.normalisation,
        "limits": [[_json(low), _json(high)] for low, high in maps.limits],
        "constant": list(maps.constant),
        "map_size": list(maps.map_size),
        "step": step,
        "levels": LEVELS,
        "nan_pixels": int((maps.pixels == NAN).sum()),
        "infinite_pixels": int((maps.pixels == INFINITE).sum()),
    }


def _json(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def pleasant_columns(count: int, cell: tuple[int, int]) -> int:
    """Columns that make the figure somewhat wider than high, and where it can be all rows full."""
    ideal = math.sqrt(1.5 * max(count, 1) * (cell[1] + GAP) / (cell[0] + GAP))
    nearest = min(max(round(ideal), 1), max(count, 1))
    full = [columns for columns in range(1, count + 1) if count % columns == 0 and 0.7 * ideal < columns < 1.4 * ideal]
    return min(full, key=lambda columns: abs(columns - ideal), default=nearest)


def _lines_height(texts: Sequence[Sequence[str]]) -> int:
    lines = max((len(text) for text in texts), default=0)
    return lines * line_height(CAPTION) + 3 if lines else 0


def _caption_width(texts: Sequence[Sequence[str]]) -> int:
    """Room for the longest line of the captions, within reason."""
    longest = max((generous_width(line, CAPTION) for text in texts for line in text), default=0)
    return min(longest, _WIDEST_CAPTION)
