"""The only place where an array becomes a QImage."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PySide6.QtGui import QImage

from fmviz.maps import LEVELS


def rgb_image(pixels: npt.NDArray[np.uint8]) -> QImage:
    """(h, w, 3) uint8 RGB, copied."""
    pixels = np.ascontiguousarray(pixels)
    height, width, _ = pixels.shape
    image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return image.convertToFormat(QImage.Format.Format_RGB32)


def colour_list(table: npt.NDArray[np.uint8]) -> list[int]:
    """(256, 3) uint8 as the 256 numbers 0xffRRGGBB that Qt wants."""
    return _colour_list(table.tobytes())


@lru_cache(maxsize=32)
def _colour_list(table: bytes) -> list[int]:
    """Remembered, as every view asks for the same few."""
    wide = np.frombuffer(table, np.uint8).reshape(-1, 3).astype(np.uint32)
    numbers: list[int] = (0xFF000000 | wide[:, 0] << 16 | wide[:, 1] << 8 | wide[:, 2]).tolist()
    return numbers


def coloured_image(indices: npt.NDArray[np.uint8], colours: list[int]) -> QImage:
    """(h, w) indices through a table, copied. RGB32, because drawing an indexed image is two to four times slower."""
    indices = np.ascontiguousarray(indices)
    height, width = indices.shape
    image = QImage(indices.data, width, height, width, QImage.Format.Format_Indexed8)
    image.setColorTable(colours)
    return image.convertToFormat(QImage.Format.Format_RGB32)


def ramp_image(table: npt.NDArray[np.uint8], *, width: int, height: int) -> QImage:
    """The colours of a table from left to right, low to high."""
    row = (np.arange(width) * LEVELS // width).astype(np.uint8)
    return coloured_image(np.repeat(row[None], height, axis=0), colour_list(table))


SHADE = (16, 16, 16, 185)
"""Red, green, blue and opacity of what lies over the cells that are not meant."""


def shade_image(lit: npt.NDArray[np.bool_]) -> QImage:
    """(h, w): a pixel a cell, clear where it is True and shaded elsewhere, copied."""
    height, width = lit.shape
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[~lit] = SHADE
    return QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()
