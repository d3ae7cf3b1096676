"""Which cell of which level should see which thing: FCOS (Tian, Shen, Chen and He, 1904.01355), its levels by size.

A thing belongs to one level, by the square root of its box's area. There the cells about its middle are to find it; of
things that share a cell the smallest has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LEVELS = ("P2", "P3", "P4", "P5")

LIMITS = (28.0, 56.0, 112.0)
"""√(width × height) in pixels at which the next level begins."""

RADIUS = 1.5
"""Of the middle of a box, in cells: only there a cell is to find the thing, and only within the box."""

DOUBT = 0.12
"""So near to a limit, as a share of it, the neighbouring level is neither right nor wrong."""

BACKGROUND, IGNORED = -1, -2
"""What a cell has for a kind where there is no thing for it to find, and where either answer will do."""


@dataclass(frozen=True, slots=True)
class Things:
    """The things on a batch of pictures, each picture's filled up to as many.

    Attributes:
        boxes: (B, n, 4): left, top, right, bottom in pixels; zeros where there is none.
        kinds: (B, n) int64; -1 where there is none.
    """

    boxes: Tensor
    kinds: Tensor

    @property
    def present(self) -> Tensor:
        """(B, n) bool"""
        return self.kinds >= 0

    @property
    def sizes(self) -> Tensor:
        """(B, n): √(width × height)"""
        return (self.boxes[..., 2:] - self.boxes[..., :2]).prod(dim=-1).clamp(min=0).sqrt()

    @property
    def centres(self) -> Tensor:
        """(B, n, 2): x, y"""
        return (self.boxes[..., 2:] + self.boxes[..., :2]) / 2


@dataclass(frozen=True, slots=True)
class Targets:
    """What the cells of one level are to say.

    Attributes:
        kinds: (B, h, w) int64: the kind to be found, or `BACKGROUND`, or `IGNORED`.
        distances: (B, 4, h, w): from the cell's middle to the box's left, top, right and bottom, in cells.
        empty: (B, h, w) bool: outside of every box.
        others: (B, h, w) bool: within the box of a thing of another level, and of none of this one.
    """

    kinds: Tensor
    distances: Tensor
    empty: Tensor
    others: Tensor


def things(boxes: Sequence[Tensor], kinds: Sequence[Tensor]) -> Things:
    """(n, 4) and (n,) of each picture -> a batch."""
    pad = torch.nn.utils.rnn.pad_sequence
    return Things(pad(list(boxes), batch_first=True), pad(list(kinds), batch_first=True, padding_value=-1))


def level_of(sizes: Tensor) -> Tensor:
    """√(width × height) in pixels -> 0 for P2 to 3 for P5."""
    return torch.bucketize(sizes, torch.tensor(LIMITS, device=sizes.device, dtype=sizes.dtype), right=True)


def in_doubt(sizes: Tensor, level: int) -> Tensor:
    """Where things are so near to a limit of `level` that it might be theirs as well as their own; (…) bool."""
    lower, upper = LIMITS[max(level - 1, 0)], LIMITS[min(level, len(LIMITS) - 1)]
    below = (level > 0) & (sizes < lower) & (sizes > lower * (1 - DOUBT))
    above = (level < len(LIMITS)) & (sizes >= upper) & (sizes < upper * (1 + DOUBT))
    return below | above


def targets(
    things: Things, level: int, *, cells: tuple[int, int], size: tuple[int, int], corner: Tensor | None = None
) -> Targets:
    """What a level is to say of these things.

    Args:
        level: 0 for P2 to 3 for P5.
        cells: (h, w) of the level, which tile a picture of `size`.
        size: (height, width) of the pictures in pixels.
        corner: (B, 3): of a window of each map, its first row and column, with the window's cells in a side third; all
            cells where None.
    """
    x, y = _middles(cells, size, corner, like=things.boxes)  # (B or 1, 1, h, w) each, in pixels
    left, top, right, bottom = (side[..., None, None] for side in things.boxes.unbind(-1))  # (B, n, 1, 1)
    cell = torch.tensor((size[1] / cells[1], size[0] / cells[0]), device=x.device).repeat(2)
    sides = torch.broadcast_tensors(x - left, y - top, right - x, bottom - y)  # type: ignore[no-untyped-call]
    distances = torch.stack(sides, dim=-1) / cell  # (B, n, h, w, 4)
    present = things.present[..., None, None]
    inside = (distances.amin(dim=-1) > 0) & present
    middle_x, middle_y = (side[..., None, None] for side in things.centres.unbind(-1))
    central = inside & ((x - middle_x).abs() < RADIUS * cell[0]) & ((y - middle_y).abs() < RADIUS * cell[1])

    sizes = things.sizes
    here = (level_of(sizes) == level)[..., None, None]
    doubtful = in_doubt(sizes, level)[..., None, None]
    size_here = torch.where(central & here, sizes[..., None, None], torch.inf)
    smallest, owner = size_here.min(dim=1)  # (B, h, w)
    found = smallest < torch.inf
    kinds = torch.where(found, _of_owner(things.kinds[..., None, None].expand_as(size_here), owner), BACKGROUND)
    kinds = torch.where(~found & (central & doubtful).any(dim=1), IGNORED, kinds)
    own = (inside & (here | doubtful)).any(dim=1)
    return Targets(
        kinds=kinds,
        distances=_of_owner(distances, owner[..., None].expand(*owner.shape, 4)).permute(0, 3, 1, 2),
        empty=~inside.any(dim=1),
        others=inside.any(dim=1) & ~own,
    )


def _middles(
    cells: tuple[int, int], size: tuple[int, int], corner: Tensor | None, *, like: Tensor
) -> tuple[Tensor, Tensor]:
    """x and y of the cells' middles in pixels, (B or 1, 1, h, w) each."""
    rows = torch.arange(cells[0], device=like.device, dtype=like.dtype)[None]
    columns = torch.arange(cells[1], device=like.device, dtype=like.dtype)[None]
    if corner is not None:
        side = torch.arange(int(corner[0, 2]), device=like.device, dtype=like.dtype)[None]
        rows, columns = corner[:, 0, None] + side, corner[:, 1, None] + side
    y = ((rows + 0.5) * size[0] / cells[0])[:, None, :, None]
    x = ((columns + 0.5) * size[1] / cells[1])[:, None, None, :]
    return x, y


def _of_owner(values: Tensor, owner: Tensor) -> Tensor:
    """(B, n, …) -> (B, …): of each cell the value of the thing that has it."""
    return values.gather(1, owner[:, None])[:, 0]
