"""Where the values of a layer lie on the picture, for layers that do not put out 1 × channels × height × width.

Transformers work on tokens: one vector for each cell of a grid on the picture, and some that stand for no cell. Others keep
the grid and have the channels last. All that draws asks `Activation.maps`, which goes through `as_maps` here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor, nn

from fmviz.layers import Layer, item

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TokenGrid:
    """Tokens in a row, 1 × tokens × channels: those of `prefix` first, then those of the grid, row by row.

    Attributes:
        height, width: of the grid.
        prefix: what the tokens that stand for no cell are called: ("class token",).
    """

    height: int
    width: int
    prefix: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Of all tokens."""
        return len(self.prefix) + self.height * self.width

    def __call__(self, layer: Layer, shape: Shape) -> Places | None:
        if len(shape) == 3 and shape[:2] == (1, self.count):
            return self
        if len(shape) == 3 and shape[:2] == (1, self.height * self.width):
            # Before the others are put in front of them, or after they are cut off.
            return TokenGrid(self.height, self.width)
        if len(shape) == 4 and shape[0] == 1 and shape[2] == self.count:
            return ATTENTION
        return None


@dataclass(frozen=True, slots=True)
class TokenOrder:
    """Tokens in another order than row by row, 1 × tokens × channels, as Hiera has them.

    Attributes:
        height, width: Of the grid.
        order: For each cell of the grid, row by row, the index of its token.
    """

    height: int
    width: int
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChannelsLast:
    """1 × height × width × channels."""


@dataclass(frozen=True, slots=True)
class Windows:
    """1 × windows × tokens × channels: a square cut into `across` × `across` windows of so many tokens each, row by row.

    Attributes:
        across: how many windows lie beside each other.
        swapped: whether the axes of windows and tokens have changed places.
    """

    across: int
    swapped: bool = False


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Not on the picture.

    Attributes:
        reason: a sentence on what it is instead.
    """

    reason: str


Places = TokenGrid | TokenOrder | ChannelsLast | Windows | Elsewhere

Finder = Callable[[Layer, Shape], Places | None]
"""What a network knows of where its layers' values lie at one size of its input; None where there is nothing special."""

ATTENTION = Elsewhere("It belongs to the attention between tokens, by heads: its rows are no rows of the picture.")
BETWEEN = Elsewhere("It has its channels last, and its other axes are not the rows and columns of the picture.")


def as_maps(tensor: Tensor, places: Places | None) -> Tensor:
    """`tensor` as 1 × channels × height × width; as it is where it has no places, or is elsewhere. A view where it can be."""
    match places:
        case TokenGrid():
            on_grid = tensor[:, len(places.prefix) :].transpose(1, 2)  # (1, C, h·w)
            return on_grid.view(*on_grid.shape[:2], places.height, places.width)
        case TokenOrder():
            on_grid = tensor[:, torch.tensor(places.order, device=tensor.device)].transpose(1, 2)  # (1, C, h·w)
            return on_grid.view(*on_grid.shape[:2], places.height, places.width)
        case ChannelsLast():
            return tensor.permute(0, 3, 1, 2)
        case Windows():
            windows = tensor.transpose(1, 2) if places.swapped else tensor
            across, side, channels = places.across, isqrt(windows.shape[2]), windows.shape[3]
            parts = windows.reshape(1, across, across, side, side, channels).permute(0, 5, 1, 3, 2, 4)
            return parts.reshape(1, channels, across * side, across * side)
    return tensor


def apart(layer: Layer, tensor: Tensor, places: Places | None) -> Iterator[tuple[Layer, Tensor]]:
    """The tokens that stand for no cell of the grid, each a vector (1, C) with a name: "encoder[class token]"."""
    if isinstance(places, TokenGrid):
        for index, name in enumerate(places.prefix):
            yield Layer(layer.path, layer.call, layer.item + item(name)), tensor[:, index]


def lies_on(input_size: tuple[int, int], map_size: tuple[int, int]) -> bool:
    """Whether a map can be of the whole input, at the same stride in both directions, give or take a cell at its borders."""
    bounds = [
        (whole / (part + 1), whole / max(part - 1, 1e-9)) for whole, part in zip(input_size, map_size, strict=True)
    ]
    return max(low for low, _ in bounds) < min(high for _, high in bounds)


def places_of(
    layer: Layer, shape: Shape, *, channels_last: bool, input_size: tuple[int, int] | None, finder: Finder | None
) -> Places | None:
    """Where the values of a layer's output lie; None where it is plain, or nobody knows.

    Args:
        channels_last: what `Layouts` says of it.
        input_size: (height, width) of what the network was fed, where that is known.
        finder: what the network itself knows.
    """
    known = finder(layer, shape) if finder else None
    if known is not None or not channels_last or shape[0] != 1:
        return known
    on_the_picture = input_size is None or lies_on(input_size, (shape[1], shape[2]))
    return ChannelsLast() if on_the_picture else BETWEEN


class Layouts:
    """Which 4-D tensors of one forward have their channels last, told as the modules come to their ends.

    A linear layer and layer norm work on the last axis, a convolution and batch norm on the second; what else puts out a
    tensor passes on, in all networks known, the layout that a tensor of this shape had before.
    """

    def __init__(self) -> None:
        self._last: dict[Shape, bool] = {}

    def channels_last(self, module: nn.Module, tensor: Tensor) -> bool:
        """Asked once for each tensor that a module puts out, in their order."""
        if tensor.is_nested or tensor.dim() != 4:
            return False
        shape = tensor.shape
        told = _told_by(module, shape)
        if told is None:
            return self._last.get(shape, False)
        self._last[shape] = told
        return told


def _told_by(module: nn.Module, shape: Shape) -> bool | None:
    if isinstance(module, nn.Linear):
        return True
    if isinstance(module, nn.LayerNorm):
        width = module.normalized_shape[-1]
        # There are subclasses that turn the axes, work on the last, and turn them back.
        return shape[1] != width or not (shape[-1] != width or type(module).__name__.endswith("2d"))
    if isinstance(module, _CHANNELS_FIRST):
        return False
    # Asking a module for what it does not have is slow: it makes a sentence of it.
    dims = vars(module).get("dims")
    if isinstance(dims, list | tuple) and sorted(dims) == [0, 1, 2, 3]:
        return {(0, 2, 3, 1): True, (0, 3, 1, 2): False}.get(tuple(dims))
    return None


_CHANNELS_FIRST = (
    nn.Conv2d,
    nn.ConvTranspose2d,
    nn.BatchNorm2d,
    nn.GroupNorm,
    nn.InstanceNorm2d,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.Upsample,
)
