"""Where the tiles of the grid lie: arithmetic only, in device pixels."""

from __future__ import annotations

from functools import lru_cache

import msgspec

SMALLEST = 44
"""The longer side of the smallest tile: below it, maps cannot be told apart, and the grid scrolls instead."""
LARGEST_FIT = 640
CRISP = 0.85
"""How much of its room a tile must fill for its cells to be all of one size."""
MOST_PIXELS = 1 << 26
"""More than these are not asked for at once, however far the grid is zoomed in."""


class GridLayout(msgspec.Struct, frozen=True):
    """`count` tiles of `width` × `height` in `columns` columns, `gap` between and around them.

    All lengths in device pixels; tile 0 is at (gap, gap), and indices run along rows.
    """

    count: int
    columns: int
    width: int
    height: int
    gap: int

    @property
    def rows(self) -> int:
        return -(-self.count // self.columns)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of all."""
        return (
            self.gap + self.columns * (self.width + self.gap),
            self.gap + self.rows * (self.height + self.gap),
        )

    def position(self, index: int) -> tuple[int, int]:
        """(left, top) of a tile."""
        row, column = divmod(index, self.columns)
        return self.gap + column * (self.width + self.gap), self.gap + row * (self.height + self.gap)

    def tile_at(self, x: float, y: float) -> tuple[int, float, float] | None:
        """(index, x, y) of the tile at a place, and the place in it from 0 to 1; None between tiles."""
        column, inside_x = divmod(x - self.gap, self.width + self.gap)
        row, inside_y = divmod(y - self.gap, self.height + self.gap)
        index = int(row) * self.columns + int(column)
        if not (0 <= column < self.columns and row >= 0 and index < self.count):
            return None
        if inside_x >= self.width or inside_y >= self.height:
            return None
        return index, inside_x / self.width, inside_y / self.height

    def visible(self, top: int, bottom: int) -> tuple[int, int]:
        """First and one past the last row that meets the stretch from `top` to `bottom`."""
        pitch = self.height + self.gap
        first = max(0, (top - self.gap) // pitch)
        last = min(self.rows, (bottom - self.gap) // pitch + 1)
        return first, max(first, last)

    def visible_columns(self, left: int, right: int) -> tuple[int, int]:
        pitch = self.width + self.gap
        first = max(0, (left - self.gap) // pitch)
        last = min(self.columns, (right - self.gap) // pitch + 1)
        return first, max(first, last)


class GridView(msgspec.Struct, frozen=True):
    """The room that there is for the grid, in device pixels, and how far it is zoomed in (1: all fits)."""

    width: int = 1000
    height: int = 700
    gap: int = 3
    zoom: float = 1.0


def step_for(count: int, map_size: tuple[int, int], view: GridView) -> int:
    """Every how many pixels of a map are enough: no more than the screen can show, and no less."""
    layout = fitted(count, map_size, (view.width, view.height), gap=view.gap)
    step = max(1, int(max(map_size) / (max(layout.width, layout.height) * view.zoom)))
    while count * -(-map_size[0] // step) * -(-map_size[1] // step) > MOST_PIXELS:
        step += 1
    return step


@lru_cache(maxsize=64)
def fitted(count: int, map_size: tuple[int, int], view: tuple[int, int], *, gap: int) -> GridLayout:
    """The layout in which `count` maps of `map_size` (h, w) are as large as a view of (width, height) allows.

    Where even the smallest tiles do not fit, the rows run on below.
    """
    height, width = max(map_size[0], 1), max(map_size[1], 1)
    room_x, room_y = max(view[0] - gap, 1), max(view[1] - gap, 1)
    best: tuple[float, int] = (0.0, 1)
    for columns in range(1, count + 1):
        rows = -(-count // columns)
        scale = min((room_x / columns - gap) / width, (room_y / rows - gap) / height)
        if scale > best[0]:
            best = (scale, columns)
    scale, columns = best
    least = SMALLEST / max(width, height)
    if scale < least:
        scale = least
        columns = max(1, min(count, int(room_x // (width * scale + gap))))
        # What is left over at the right is given to the tiles.
        scale = max(scale, (room_x / columns - gap) / width)
    scale = min(scale, LARGEST_FIT / max(width, height)) if max(width, height) < LARGEST_FIT else scale
    return GridLayout(count, columns, *scaled(map_size, scale), gap)


def scaled(map_size: tuple[int, int], scale: float) -> tuple[int, int]:
    """(width, height) of a tile: whole pixels a cell where that does not leave too much of the place empty."""
    height, width = max(map_size[0], 1), max(map_size[1], 1)
    if int(scale) >= CRISP * scale and int(scale) * max(height, width) >= SMALLEST:
        return width * int(scale), height * int(scale)
    return max(1, int(width * scale)), max(1, int(height * scale))
