"""What the cells of maps see, out of what the elements of tensors do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from fmviz.fields import Field, Line
from fmviz.receptive_field import ReceptiveField, Sides
from fmviz.tokens import ChannelsLast, Elsewhere, Places, as_maps


@dataclass(frozen=True)
class Maps:
    """How a tensor of some shape is looked at: as maps, where it can be."""

    shape: tuple[int, ...]
    places: Places | None

    @cached_property
    def cells(self) -> tuple[int, int] | None:
        """(h, w) of the maps; None where it is none."""
        if self.places is None:
            return (self.shape[2], self.shape[3]) if len(self.shape) == 4 else None
        if isinstance(self.places, Elsewhere):
            return None
        height, width = as_maps(torch.empty(self.shape, device="meta"), self.places).shape[2:]
        return height, width


def receptive_field(field: Field, maps: Maps, input_size: tuple[int, int]) -> ReceptiveField:
    """What any channel of a cell sees. What is no map is one cell."""
    if field.unknown:
        return ReceptiveField.unknown_from(field.unknown, input_size, maps.cells or (1, 1))
    lines = field.lines
    if maps.cells is None:
        whole = field.changed(lambda sides: sides.reshape(2, -1).amin(dim=1).view(2, 1, 1))
        return ReceptiveField(*_bounds(whole), input_size, cells=(1, 1))
    if maps.places is not None:
        channels_last = isinstance(maps.places, ChannelsLast)
        lines = (_channels_first(lines[0]), _channels_first(lines[1])) if channels_last else (None, None)
    cells = field.changed(lambda sides: _of_any_channel(sides if maps.places is None else _on_the_grid(sides, maps)))
    unbounded = None
    if lines[0] is not None and lines[1] is not None and (lines[0].dim, lines[1].dim) == (2, 3):
        unbounded = (int(lines[0].high - lines[0].low), int(lines[1].high - lines[1].low))
    return ReceptiveField(*_bounds(cells), input_size, unbounded, cells=maps.cells)


def _bounds(field: Field) -> tuple[Sides, Sides, Sides, Sides]:
    """Top, bottom, left, right."""
    rows, columns = field.rows.numpy(), field.columns.numpy()
    return rows[0], -rows[1], columns[0], -columns[1]


def _on_the_grid(sides: Tensor, maps: Maps) -> Tensor:
    """As `as_maps` has it; wherever there are places, channels are the last axis."""
    of_any = sides.amin(dim=-1, keepdim=True)
    return torch.stack([as_maps(part.expand(*maps.shape[:-1], 1), maps.places) for part in of_any])


def _of_any_channel(sides: Tensor) -> Tensor:
    """(2, batch, channels, h, w) -> (2, h, w)"""
    return sides.amin(dim=(1, 2)) if sides.shape[1] * sides.shape[2] > 1 else sides[:, 0, 0]


def _channels_first(line: Line | None) -> Line | None:
    return line and Line(line.dim + 1, line.step, line.low, line.high)
