"""Where a pixel of the picture, of the network's input and of a feature map are, each seen from the other.

Coordinates are continuous, x to the right and y down, in units of pixels, with (0, 0) at the *corner* of the first pixel:
the first pixel covers [0, 1) × [0, 1). Neither torch nor Qt is needed here: the window uses this as well.
"""

from __future__ import annotations

import math

import msgspec


class Box(msgspec.Struct, frozen=True):
    """An axis-parallel box, left < right and top < bottom, in the pixels of whatever it lies on."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def clipped(self, width: float, height: float) -> Box:
        """The part of it within [0, width] × [0, height]."""
        return Box(
            min(max(self.left, 0.0), width),
            min(max(self.top, 0.0), height),
            min(max(self.right, 0.0), width),
            min(max(self.bottom, 0.0), height),
        )


class Geometry(msgspec.Struct, frozen=True):
    """How a picture became the network's input: resized, then cropped.

    Attributes:
        picture_size: (height, width) of the picture, upright.
        resized_size: (height, width) after resizing, before the crop.
        crop_offset: (top, left) of the crop in the resized picture; (0, 0) without a crop. Negative where the crop is
            larger than the resized picture and was filled up.
        input_size: (height, width) that the network was given.
    """

    picture_size: tuple[int, int]
    resized_size: tuple[int, int]
    crop_offset: tuple[int, int]
    input_size: tuple[int, int]

    def to_input(self, x: float, y: float) -> tuple[float, float]:
        """The place on the network's input of the place (x, y) on the picture. May lie outside of it."""
        return (
            x * self.resized_size[1] / self.picture_size[1] - self.crop_offset[1],
            y * self.resized_size[0] / self.picture_size[0] - self.crop_offset[0],
        )

    def to_picture(self, x: float, y: float) -> tuple[float, float]:
        """The place on the picture of the place (x, y) on the network's input."""
        return (
            (x + self.crop_offset[1]) * self.picture_size[1] / self.resized_size[1],
            (y + self.crop_offset[0]) * self.picture_size[0] / self.resized_size[0],
        )

    def input_box(self) -> Box:
        """The part of the picture that the network saw, in the picture's pixels."""
        left, top = self.to_picture(0, 0)
        right, bottom = self.to_picture(self.input_size[1], self.input_size[0])
        return Box(left, top, right, bottom).clipped(self.picture_size[1], self.picture_size[0])

    def cell_box(self, row: int, column: int, map_size: tuple[int, int]) -> Box:
        """The place on the picture of one cell of a map of `map_size` (height, width), taken as a tiling of the input.

        This is the cell's *place*, not its receptive field, which is larger.
        """
        height, width = map_size
        left, top = self.to_picture(column * self.input_size[1] / width, row * self.input_size[0] / height)
        right, bottom = self.to_picture(
            (column + 1) * self.input_size[1] / width, (row + 1) * self.input_size[0] / height
        )
        return Box(left, top, right, bottom).clipped(self.picture_size[1], self.picture_size[0])

    def cell_at(self, x: float, y: float, map_size: tuple[int, int]) -> tuple[int, int] | None:
        """(row, column) of the cell whose place holds (x, y) of the picture, or None where the network did not look."""
        x, y = self.to_input(x, y)
        height, width = map_size
        column, row = int(x * width // self.input_size[1]), int(y * height // self.input_size[0])
        return (row, column) if 0 <= row < height and 0 <= column < width else None


def stride_of(input_size: tuple[int, int], map_size: tuple[int, int]) -> float | None:
    """Pixels of the input from one cell of a map to the next.

    A power of two where dividing both sides by it, rounded up or down, gives the map; else the ratio of the longer sides,
    to one decimal. None where there is no map, where its two sides differ so much that it is
    none of the input, and where it is of one cell, which has no next.
    A side that is no longer than the stride is of one cell, whatever the stride.

    Example:
        >>> stride_of((200, 300), (7, 10)), stride_of((299, 299), (35, 35))
        (32.0, 8.5)
    """
    if not all((*input_size, *map_size)) or map_size == (1, 1):
        return None
    ratios = [whole / part for whole, part in zip(input_size, map_size, strict=True)]
    ratio = ratios[input_size.index(max(input_size))]
    nearest = 2.0 ** round(math.log2(ratio))
    # A map of few cells can be explained both ways. Padded convolutions, which round up, are the more common.
    for rounded in (math.ceil, math.floor):
        for power in (nearest, nearest / 2, nearest * 2):
            if all(rounded(whole / power) == part for whole, part in zip(input_size, map_size, strict=True)):
                return power
    return round(ratio, 1) if max(ratios) <= 2 * min(ratios) else None
