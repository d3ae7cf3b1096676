"""What each cell of a map can see of the network's input, cell by cell. Needs no torch: the window uses this as well."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from fmviz.geometry import Box

Sides: TypeAlias = "npt.NDArray[np.int32]"
Status = Literal["exact", "whole picture", "unknown"]

INDEPENDENT = "no dependence on the input"
"""`ReceptiveField.unknown` of a layer whose values do not depend on the input."""
WITHOUT_VALUES = "weights without values"
"""`ReceptiveField.unknown` of a network that cannot be measured, for its weights have no values."""


class ReceptiveField(msgspec.Struct, frozen=True, eq=False):
    """The receptive fields of all cells of a map: the smallest boxes that hold every input pixel with a path to the cell.

    Found by index propagation: of every tensor it is known for each index which input pixels it can depend on, first and
    last, and each operation passes that on. So it is exact at borders, across branches and under any padding, where the
    formula r + (k - 1) · j of Araujo, Norris and Sim (Computing Receptive Fields of Convolutional Neural Networks, Distill
    2019) holds in the middle of an unbounded picture only. What that gives is kept beside it in `unbounded`.

    Attributes:
        top, bottom: (h, 1) or (h, w) int32: the first row that a cell sees, and the row after the last.
        left, right: (1, w) or (h, w) int32: the same of columns. A cell that sees nothing has bottom <= top.
        input_size: (height, width) of the input.
        unbounded: (height, width) of the field on a picture without borders, the figure of the papers; None where it is
            not the same for all cells, or nobody knows.
        unknown: the operation from which on nothing is known, "" where all is. The sides are then all zero.
        cells: (h, w) of the map, where the sides do not say it: along an axis on which all cells see the same they may be
            of length 1.
    """

    top: Sides
    bottom: Sides
    left: Sides
    right: Sides
    input_size: tuple[int, int]
    unbounded: tuple[int, int] | None = None
    unknown: str = ""
    cells: tuple[int, int] | None = None

    @classmethod
    def unknown_from(
        cls, operation: str, input_size: tuple[int, int], cells: tuple[int, int] = (1, 1)
    ) -> ReceptiveField:
        """Where an operation was met of which nobody knows what its output depends on."""
        nothing = np.zeros((1, 1), np.int32)
        return cls(nothing, nothing, nothing, nothing, input_size, unknown=operation, cells=cells)

    @property
    def map_size(self) -> tuple[int, int]:
        """(h, w): how many cells there are."""
        if self.cells is not None:
            return self.cells
        shape = np.broadcast_shapes(self.top.shape, self.bottom.shape, self.left.shape, self.right.shape)
        return shape[0], shape[1]

    @property
    def status(self) -> Status:
        if self.unknown:
            return "unknown"
        height, width = self.input_size
        whole = (self.top <= 0).all() and (self.bottom >= height).all()
        return "whole picture" if whole and (self.left <= 0).all() and (self.right >= width).all() else "exact"

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) in pixels of the input: on a picture without borders, as the papers have it, where that is known;
        else that of the largest box on this one. None where nothing is known."""
        if self.unknown:
            return None
        return self.unbounded or self.largest

    @property
    def largest(self) -> tuple[int, int]:
        """(height, width) of the largest box, cut by the borders."""
        return max(int((self.bottom - self.top).max()), 0), max(int((self.right - self.left).max()), 0)

    def box(self, row: int, column: int) -> Box | None:
        """The input pixels that the cell (row, column) sees, cut by the border; None where it sees none, or nobody knows.

        Raises:
            IndexError: the map has no such cell.
        """
        height, width = self.map_size
        if self.unknown:
            return None
        if not (0 <= row < height and 0 <= column < width):
            raise IndexError(f"There is no cell ({row}, {column}): the map has {height} × {width}.")
        left, top, right, bottom = (
            int(np.broadcast_to(side, (height, width))[row, column])
            for side in (self.left, self.top, self.right, self.bottom)
        )
        return Box(left, top, right, bottom) if left < right and top < bottom else None

    def seeing(self, box: Box) -> npt.NDArray[np.bool_]:
        """(h, w): which cells see some of `box`, in pixels of the input; none where nothing is known."""
        sees = (self.top < box.bottom) & (self.bottom > box.top) & (self.left < box.right) & (self.right > box.left)
        return np.broadcast_to(sees & (self.bottom > self.top) & (self.right > self.left), self.map_size)

    def words(self) -> str:
        """ "91 × 91", "whole picture", "unknown from aten.sort"."""
        if self.size is None:
            return f"unknown from {self.unknown}"
        height, width = self.size
        return "whole picture" if self.status == "whole picture" and not self.unbounded else f"{height} × {width}"

    def __repr__(self) -> str:
        return f"<ReceptiveField {self.words()}, {self.status}>"
