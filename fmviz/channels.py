"""The channels of an activation: whether it has any that can be drawn, which, and walking them a cacheful at a time."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fmviz.errors import LayerError
from fmviz.maps import Reduction
from fmviz.matrices import matrices_of

Floats = npt.NDArray[np.float64]

_CHUNK = 1 << 20
"""Values worked on at a time: 4 MB of float32, which stays in the caches; with less, the calls take longer than the work."""
_CHUNK_ON_ACCELERATOR = 1 << 24
_VECTOR_LIMIT = 4096


def is_spatial(tensor: Tensor) -> bool:
    """Whether `tensor` is a stack of maps: 1 × channels × height × width, of real numbers."""
    return not why_not_spatial(tensor)


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape of a tensor; () for a nested one, which has none."""
    return () if tensor.is_nested else tuple(tensor.shape)


def why_not_spatial(tensor: Tensor) -> str:
    """One sentence on why `tensor` cannot be drawn as maps; "" where it can."""
    if tensor.is_nested:
        return "It is a nested tensor, whose parts have shapes of their own."
    shape = tuple(tensor.shape)
    words = " × ".join(f"{length:,}" for length in shape)
    if tensor.is_meta:
        return "It has no values: it is on the meta device, which computes shapes alone."
    if tensor.is_complex():
        return "Its values are complex numbers, which have no order: bars and heat maps show their magnitude."
    if tensor.layout != torch.strided:
        return "Its values are stored sparsely, and maps are drawn of dense ones only."
    if len(shape) == 4 and shape[0] == 1:
        return ""
    if len(shape) == 4:
        return f"It holds a batch of {shape[0]:,}, and maps are drawn of one picture at a time."
    if 0 in shape:
        return f"It is empty: its shape is {words}."
    if not shape:
        return "It is a single number, without rows and columns."
    if len(shape) <= 2 and matrices_of(shape) is not None:
        return f"It is a matrix of {shape[0]:,} rows and {shape[1]:,} columns, which are no places on the picture."
    if len(shape) <= 2:
        values = "1 value" if tensor.numel() == 1 else f"{tensor.numel():,} values"
        return f"It is a vector of {values}, without rows and columns."
    return f"Its shape is {words}, and only 1 × channels × height × width can be drawn as maps."


def feature_maps(tensor: Tensor) -> Tensor:
    """The maps in `tensor`, (C, h, w): a view, detached. `LayerError` with the reason where there are none."""
    reason = why_not_spatial(tensor)
    if reason:
        raise LayerError(f"This layer has no maps: {reason[0].lower()}{reason[1:]}")
    return tensor.detach()[0]


def vector(tensor: Tensor) -> Tensor:
    """The first values of `tensor`, flattened: (n,) float32 on the CPU, n ≤ 4096. Of complex numbers, the magnitude."""
    flat = _plain(tensor).flatten()[:_VECTOR_LIMIT]
    return (flat.abs() if flat.is_complex() else flat).float().cpu()


def matrix_stack(tensor: Tensor) -> Tensor:
    """Return the matrices in an activation as if they were maps, (1, count, rows, columns); see `fmviz.matrices`.

    Complex numbers are drawn by their magnitude.

    Raises:
        LayerError: It is a vector, a number or empty.
    """
    found = matrices_of(tensor.shape) if not tensor.is_nested else None
    if found is None:
        raise LayerError("This layer has no matrices: its values have no rows and columns.")
    plain = _plain(tensor)
    return (plain.abs() if plain.is_complex() else plain).reshape(1, *found)


def _plain(tensor: Tensor) -> Tensor:
    """Return a tensor detached, dense and dequantized."""
    tensor = tensor.detach()
    if tensor.is_nested:
        raise LayerError("This layer is a nested tensor, whose parts have shapes of their own.")
    if tensor.is_meta:
        raise LayerError("This layer has no values: the network was run on the device “meta”.")
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor.dequantize() if tensor.is_quantized else tensor


_TOLERANCE = 8
"""How many units of rounding the values of a constant map may differ by, in multiples of the dtype's ε."""
_COARSEST = 2.0**-7
"""ε of bfloat16. Wider steps (float8) would make every map without negative values constant: those compare exactly."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """How far values may differ by rounding alone.

    Attributes:
        relative: A share of the greatest magnitude of a map; 8 ε of a floating dtype, 0 for integers.
        absolute: An absolute difference, for sums whose terms are larger than the result.
    """

    relative: float = 0.0
    absolute: float = 0.0

    def constant(self, low: npt.ArrayLike, high: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return which maps, given by their least and greatest finite value, differ by rounding only; False for NaN."""
        low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            allowed = np.maximum(self.relative * np.maximum(np.abs(low), np.abs(high)), self.absolute)
            return np.asarray(high - low <= allowed)


def rounding_of(tensor: Tensor, reduction: Reduction | None = None) -> Rounding:
    """Return the rounding of the maps of an activation, or of their reduction to one map.

    A mean over channels that cancel (after a layer norm, for example) is left with the rounding of its terms, so its
    absolute part follows from the greatest magnitude of the activation.
    """
    relative = _relative(tensor.dtype)
    if reduction != "mean":
        return Rounding(relative)
    ends = [bound for _, chunk, _ in Chunks.of(feature_maps(tensor)) for bound in least_and_greatest(chunk)[:2]]
    greatest = max((float(bound.abs().nan_to_num(0.0).max()) for bound in ends), default=0.0)
    return Rounding(relative, _TOLERANCE * torch.finfo(working_type(tensor)).eps * greatest)


def _relative(dtype: torch.dtype) -> float:
    if not dtype.is_floating_point or torch.finfo(dtype).eps > _COARSEST:
        return 0.0
    return _TOLERANCE * torch.finfo(dtype).eps


def checked_channels(channels: Sequence[int], count: int) -> list[int]:
    """`channels` as plain integers, counted from the end where negative; `LayerError` for one that is not there."""
    for channel in channels:
        if not -count <= channel < count:
            there = f"has 0 to {count - 1}; choose one of these" if count else "has none"
            raise LayerError(f"There is no channel {channel}: this layer {there}.")
    return [int(channel) % count for channel in channels]


def reduce_channels(tensor: Tensor, reduction: Reduction) -> Tensor:
    """One map of all channels, (1, h, w) float32 on the device of `tensor`: their mean, maximum, or L2 norm.

    NaN in any channel makes the pixel NaN. `LayerError` where there are no maps or no channels.
    """
    maps = feature_maps(tensor)
    if not len(maps):
        raise LayerError("This layer has no channels, so there is nothing to take the mean or maximum of.")
    maps = maps.to(working_type(maps))
    reduced = _reduced(maps, reduction).float()
    if maps.dtype == torch.float32 and maps.device.type != "mps" and bool(reduced.isinf().any()):
        # A sum or a square of finite values may have overflowed.
        reduced = _reduced(maps.double(), reduction).float()
    return reduced[None]


def _reduced(maps: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "mean":
        return maps.mean(dim=0)
    if reduction == "max":
        return maps.amax(dim=0)
    total = torch.zeros_like(maps[0])
    chunks = Chunks.of(maps)
    # `vector_norm` along the first dimension takes three times as long.
    for _, chunk, buffer in chunks:
        total += torch.mul(chunk, chunk, out=buffer).sum(dim=0)
    return total.sqrt_()


@dataclass(frozen=True, slots=True, eq=False)
class Chunks:
    """Some of the maps (C, h, w) in pieces that stay in a core's cache, each in a type that it can be calculated with.

    Iterating yields (index of the first among the chosen, (k, h, w) values, a (k, h, w) buffer of the same type that
    holds anything and is the same memory every time, also for the next that iterates in this thread).

    Attributes:
        maps: (C, h, w).
        chosen: which channels, in this order.
        step: only every step-th pixel of every step-th row.
    """

    maps: Tensor
    chosen: Sequence[int]
    step: int

    @classmethod
    def of(cls, maps: Tensor, chosen: Sequence[int] | None = None, *, step: int = 1) -> Chunks:
        return cls(maps, range(len(maps)) if chosen is None else chosen, step)

    def __iter__(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        strided = self.maps[:, :: self.step, :: self.step]
        height, width = strided.shape[1:]
        count = min(len(self.chosen), max(1, chunk_size(strided) // max(1, height * width)))
        buffer = scratch("values", (count, height, width), working_type(strided), strided.device)
        for start in range(0, len(self.chosen), max(1, count)):
            part = self.chosen[start : start + count]
            chunk = strided[part.start : part.stop] if isinstance(part, range) else strided[list(part)]
            yield start, chunk.to(buffer.dtype), buffer[: len(part)]


_KEPT = threading.local()


def scratch(use: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Memory to work in, `shape`, holding anything: on the CPU the same that this thread had for the same `use` before.

    Freshly allocated memory is five times slower, for every page of it must first be found. No more is kept than a chunk
    needs.
    """
    count = math.prod(shape)
    if device.type != "cpu" or count > _CHUNK:
        return torch.empty(shape, dtype=dtype, device=device)
    kept: Tensor | None = getattr(_KEPT, use, None)
    if kept is None or kept.dtype != dtype or len(kept) < count:
        kept = torch.empty(count, dtype=dtype, device=device)
        setattr(_KEPT, use, kept)
    return kept[:count].view(shape)


def chunk_size(tensor: Tensor) -> int:
    """How many values to work on at a time where `tensor` lies."""
    return _CHUNK if tensor.device.type == "cpu" else _CHUNK_ON_ACCELERATOR


def working_type(tensor: Tensor) -> torch.dtype:
    """float32 where it holds the values exactly, else float64, which MPS does not have."""
    if tensor.dtype in (torch.float64, torch.int32, torch.int64) and tensor.device.type != "mps":
        return torch.float64
    return torch.float32


def least_and_greatest(chunk: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Least and greatest finite value of each of k maps (k, h, w), (k,) each, NaN where a map has none; and which are.

    `amin` and `amax` hand NaN and infinity on, so finite results tell that all values are: the mask is then None, and
    no further pass over the values was needed. (`aminmax` is five times slower than the two.)
    """
    low, high = chunk.amin(dim=(1, 2)), chunk.amax(dim=(1, 2))
    if math.isfinite(float((high - low).sum())):
        return low, high, None
    finite = chunk.isfinite()
    low = chunk.where(finite, torch.inf).amin(dim=(1, 2))
    high = chunk.where(finite, -torch.inf).amax(dim=(1, 2))
    none = ~finite.any(dim=2).any(dim=1)
    return low.masked_fill(none, torch.nan), high.masked_fill(none, torch.nan), finite
