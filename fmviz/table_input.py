"""The input that a layer table is measured with: a picture's shape, any shape, or the caller's example."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from fmviz.errors import BackboneError
from fmviz.failures import one_line
from fmviz.structures import tensors_in, with_tensors

Shape = tuple[int, ...]

LARGEST_SIDE = 1_000_000
"""Largest axis of an input. Index propagation of the receptive field takes minutes on longer ones."""

_MOST_PICTURE_CHANNELS = 4
"""A tensor (C, H, W) in a list counts as a picture up to this many channels: red, green, blue and alpha."""


@dataclass(frozen=True, slots=True, eq=False)
class TableInput:
    """Arguments of one forward on the meta device.

    Attributes:
        args, kwargs: Positional and keyword arguments.
        pictures: The tensors among them whose rows and columns receptive fields refer to; all have the same height and width.
        prepare: Makes the positional arguments of `args`, inside the forward that is followed; None if they are these.
        note: Where the number of channels comes from, for the reader; "" if the caller or the catalogue gave it.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[Tensor, ...] = ()
    prepare: Callable[[Tensor], tuple[Any, ...]] | None = None
    note: str = ""

    def positional(self) -> tuple[Any, ...]:
        """The positional arguments of the forward."""
        return self.prepare(*self.args) if self.prepare else self.args

    def run(self, network: nn.Module) -> None:
        """One forward."""
        network(*self.positional(), **self.kwargs)

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the pictures; None if there is none."""
        return (self.pictures[0].shape[-2], self.pictures[0].shape[-1]) if self.pictures else None

    @property
    def tensors(self) -> list[Tensor]:
        return [one for _, one in tensors_in((self.args, dict(self.kwargs)))]

    @property
    def batch(self) -> int:
        """Number of pictures in a batch."""
        return int(self.pictures[0].shape[0]) if self.pictures and self.pictures[0].dim() == 4 else 1

    @property
    def shapes(self) -> str:
        """All tensors in words: "1×3×224×224 float32", "[0] 1×16 int64, [mask] 1×16 bool"."""
        named = [*tensors_in(self.args), *tensors_in(dict(self.kwargs))]
        if len(named) == 1 and not self.kwargs:
            return _words(named[0][1])
        return ", ".join(f"{where} {_words(one)}" for where, one in named) or "no tensors"

    @property
    def words(self) -> str:
        """What the totals state of it: "1×1×28×28 float32, channels of its first layer “conv” (Conv2d)"."""
        return f"{self.shapes}, {self.note}" if self.note else self.shapes


def _words(tensor: Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    return f"{'×'.join(map(str, tensor.shape)) or 'a number'} {kind}"


def of_shape(
    shape: Sequence[int],
    dtype: torch.dtype,
    arguments: Callable[[Tensor], tuple[Any, ...]] | None = None,
    note: str = "",
) -> TableInput:
    """One tensor (1, *shape). With three axes it is a picture."""
    tensor = torch.empty(1, *shape, dtype=dtype, device="meta")
    return TableInput(
        args=(tensor,),
        pictures=(tensor,) if len(shape) == 3 else (),
        prepare=arguments,
        note=note,
    )


def of_example(example: Any) -> TableInput:
    """The caller's own arguments, without their values.

    Args:
        example: A tensor or any other single argument; a tuple of positional arguments; a mapping of keyword arguments; or a
            pair of these two, `((x, y), {"mask": m})`.

    Raises:
        BackboneError: A container in it cannot be rebuilt with tensors on the meta device.
    """
    args, kwargs = _arguments(example)
    try:
        args, kwargs = with_tensors((args, dict(kwargs)), without_value)
    except Exception as error:
        raise BackboneError(
            f"The example input cannot be copied without its values ({one_line(error)}): give tensors, tuples, lists and "
            "dictionaries."
        ) from error
    if any(not tensor.is_meta for _, tensor in tensors_in((args, kwargs))):
        raise BackboneError(
            "The example input holds tensors in an object that cannot be copied without its values: give tensors, tuples, "
            "lists and dictionaries."
        )
    return TableInput(args=tuple(args), kwargs=kwargs, pictures=_pictures((args, kwargs)))


def _arguments(example: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(example, Mapping):
        return (), _keywords(example)
    if not isinstance(example, tuple):
        return (example,), {}
    if len(example) == 2 and isinstance(example[0], tuple) and isinstance(example[1], Mapping):
        return example[0], _keywords(example[1])
    # A named tuple is one argument: its fields would be lost otherwise.
    return ((example,), {}) if hasattr(example, "_fields") else (example, {})


def _keywords(given: Mapping[Any, Any]) -> Mapping[str, Any]:
    odd = next((key for key in given if not isinstance(key, str)), None)
    if odd is not None:
        raise TypeError(
            f"example_input is a mapping of keyword arguments, and {odd!r} is no name of one: to give a dictionary as the "
            "only argument, put it into a tuple"
        )
    return given


def without_value(tensor: Tensor) -> Tensor:
    """The same shape, strides and dtype on the meta device. Tensors without strides get the usual ones."""
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized:
        return torch.empty(tensor.shape, dtype=_plain_dtype(tensor), device="meta")
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def _plain_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float32 if tensor.is_quantized else tensor.dtype


def _pictures(given: tuple[Any, Any]) -> tuple[Tensor, ...]:
    """Pictures among the arguments: batches (N, C, H, W); else (C, H, W) in a list, as torchvision's detectors take them.

    The first one counts, and all others of its height and width.
    """
    every = [(where, one) for where, one in tensors_in(given) if one.numel()]
    batches = [one for _, one in every if one.dim() == 4]
    listed = [one for where, one in every if one.dim() == 3 and where.count("[") > 2]
    singles = [one for one in listed if one.shape[0] <= _MOST_PICTURE_CHANNELS]
    found = sorted(batches or singles, key=lambda one: not one.is_floating_point())
    return tuple(one for one in found if one.shape[-2:] == found[0].shape[-2:])


def checked_size(size: object, name: str) -> tuple[int, int]:
    """(height, width) of a size as the caller may write it.

    Raises:
        TypeError: It is neither a whole number nor a pair of them.
        BackboneError: A side is shorter than 1 or longer than `LARGEST_SIDE`.
    """
    sides = (size, size) if isinstance(size, Integral) else size
    if not isinstance(sides, tuple | list) or len(sides) != 2 or not all(map(_whole, sides)):
        raise TypeError(f"a size is one whole number or (height, width) and not {size!r}")
    height, width = (int(side) for side in sides)
    if height < 1 or width < 1:
        raise BackboneError(f"{name} cannot run on an input of {height} × {width} pixels: choose a size of 1 or more.")
    if max(height, width) > LARGEST_SIDE:
        raise BackboneError(f"{height} × {width} pixels are too many: choose a size of {LARGEST_SIDE:,} or less.")
    return height, width


def checked_shape(shape: object, name: str) -> Shape:
    """An input shape without the batch axis, as the caller may write it. Raises as `checked_size` does."""
    if not isinstance(shape, tuple | list) or not shape or not all(map(_whole, shape)):
        raise TypeError(f"an input shape is (channels, height, width), or that of any other input, and not {shape!r}")
    sides = tuple(map(int, shape))
    words = " × ".join(map(str, sides))
    if min(sides) < 1:
        raise BackboneError(f"{name} cannot run on an input of {words}: choose axes of 1 or more.")
    if max(sides) > LARGEST_SIDE:
        raise BackboneError(f"An input of {words} is too large: choose axes of {LARGEST_SIDE:,} or less.")
    return sides


def checked_channels(channels: object) -> int:
    """A number of channels. `TypeError` if it is no whole number, `BackboneError` if it is below 1 or far too large."""
    if not isinstance(channels, Integral) or isinstance(channels, bool):
        raise TypeError(f"a number of channels is a whole number and not {channels!r}")
    number = int(channels)
    if not 1 <= number <= LARGEST_SIDE:
        raise BackboneError(f"{number} is no number of channels: choose one from 1 to {LARGEST_SIDE:,}.")
    return number


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
