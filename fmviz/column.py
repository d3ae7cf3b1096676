"""What every layer says at one place of the picture: the values of all channels there, from the input to the output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fmviz.capture import Capture
from fmviz.errors import LayerError
from fmviz.layers import Layer


@dataclass(frozen=True, slots=True, eq=False)
class At:
    """A layer at a place.

    Attributes:
        layer: which.
        cell: (row, column) of its maps that the place lies in.
        values: (C,) float32 on the CPU: of each channel there.
    """

    layer: Layer
    cell: tuple[int, int]
    values: Tensor

    @property
    def strongest(self) -> int:
        """The channel whose value is the largest by magnitude; NaN and infinity do not count."""
        return int(torch.where(self.values.isfinite(), self.values.abs(), -1).argmax())


def column(capture: Capture, x: float, y: float) -> tuple[At, ...]:
    """Every layer that has maps at the place (x, y) of the network's input, in the order of the run.

    A map is taken as a tiling of the input: the place lies in the cell ⌊y · h / height⌋, ⌊x · w / width⌋. That is where a
    cell *is*; what it sees is larger (`Row.receptive_field`).

    Args:
        x, y: in pixels of the network's input, from its left and its top, x to the right and y down.

    Raises:
        LayerError: the place is outside of the input, or the capture has no picture behind it.

    Example:
        >>> import fmviz
        >>> capture = fmviz.Session("resnet18", weights="random").run("assets/samples/chelsea.png")
        >>> [(str(at.layer), at.cell) for at in column(capture, 112.0, 50.0)][-2:]
        [('layer4', (1, 3)), ('avgpool', (0, 0))]
    """
    if capture.input is None:
        raise LayerError("Where a place lies in the maps is known of pictures only: run one through a Session.")
    height, width = capture.input.geometry.input_size
    if not (0 <= x < width and 0 <= y < height):
        raise LayerError(f"The place ({x:g}, {y:g}) is outside of the network's input of {height} × {width} pixels.")
    found = []
    for layer, activation in capture.items():
        if activation.why_no_maps:
            continue
        maps = activation.maps
        row, down = int(y * maps.shape[2] // height), int(x * maps.shape[3] // width)
        found.append(At(layer, (row, down), maps[0, :, row, down].float().cpu()))
    return tuple(found)


def largest(capture: Capture) -> dict[Layer, float]:
    """Of every layer with maps the largest magnitude anywhere in it; NaN and infinity do not count."""
    found = {}
    for layer, activation in capture.items():
        if activation.why_no_maps:
            continue
        maps = activation.maps
        # Two passes without a copy, which the magnitudes of all would be.
        low, high = float(maps.amin()), float(maps.amax())
        if not (abs(low) < torch.inf and abs(high) < torch.inf):
            finite = maps[maps.isfinite()]
            low, high = (float(finite.amin()), float(finite.amax())) if finite.numel() else (0.0, 0.0)
        found[layer] = max(abs(low), abs(high))
    return found
