"""Activations that lie nowhere on the picture, as matrices or as a vector. Shapes only: no torch, no Qt."""

from __future__ import annotations

import math
from collections.abc import Sequence


def matrices_of(shape: Sequence[int]) -> tuple[int, int, int] | None:
    """Return (count, rows, columns) of the matrices in an activation; None for a vector, a number, and an empty one.

    Axes of length 1 do not count. The last two others are rows and columns; those before number the matrices.

    Example:
        >>> matrices_of((64, 3, 49, 49)), matrices_of((100, 1, 256)), matrices_of((1, 1000))
        ((192, 49, 49), (1, 100, 256), None)
    """
    axes = [length for length in shape if length != 1]
    if len(axes) < 2 or 0 in axes:
        return None
    return math.prod(axes[:-2]), axes[-2], axes[-1]


def index_of(shape: Sequence[int], number: int) -> tuple[int, ...]:
    """Return the indices, in the axes before rows and columns, of a matrix by its number.

    Example:
        >>> index_of((64, 3, 49, 49), 37)
        (12, 1)
    """
    index: list[int] = []
    for length in reversed([length for length in shape if length != 1][:-2]):
        number, rest = divmod(number, length)
        index.append(rest)
    return tuple(reversed(index))


def matrix_words(shape: Sequence[int], number: int) -> str:
    """Return "[12, 1]", or "" for the only matrix of an activation."""
    index = index_of(shape, number)
    return f"[{', '.join(map(str, index))}]" if index else ""
