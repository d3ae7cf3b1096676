"""Activation -> maps: 8-bit pixels made on the device where the activation lies, and one small array brought home.

The recipe is what was measured to be fastest: chunks of channels that stay in the cache, `amin` and `amax`, `sub` and
`mul` into a buffer that is used again, and int16 on the way from float to uint8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fmviz.channels import (
    Chunks,
    Floats,
    Rounding,
    checked_channels,
    feature_maps,
    is_spatial,
    least_and_greatest,
    reduce_channels,
    rounding_of,
    scratch,
    vector,
    why_not_spatial,
)
from fmviz.errors import LayerError
from fmviz.maps import INFINITE, LEVELS, NAN, Maps, Normalisation, Reduction, Statistics
from fmviz.statistics import histogram, statistics

__all__ = [
    "feature_maps",
    "histogram",
    "is_spatial",
    "reduce_channels",
    "render",
    "statistics",
    "vector",
    "why_not_spatial",
]

# Beyond these, a difference or a factor of two float32 would overflow.
_WIDEST_SPAN = 1e38
_NARROWEST_SPAN = 1e-35
# Farther from zero than so many spans, the half of a level would be lost in the offset's last digit.
_FARTHEST = 1e3


@torch.no_grad()
def render(
    tensor: Tensor,
    *,
    channels: Sequence[int] | None = None,
    reduction: Reduction | None = None,
    normalisation: Normalisation = "map",
    limits: tuple[float, float] | None = None,
    step: int = 1,
    out: npt.NDArray[np.uint8] | None = None,
    statistics: Statistics | None = None,
    rounding: Rounding | None = None,
) -> Maps:
    """Maps of a spatial activation (1, C, h, w) of any real dtype, on any device.

    A map whose values are equal up to rounding (`fmviz.channels.Rounding`) is drawn in one level, whatever the limits.

    Args:
        channels: which, in this order; all where None. Without meaning where `reduction` is given.
        reduction: one map of all channels instead.
        normalisation: what the limits are taken from. They are always those of the whole maps, whatever `step` is, and
            of finite values alone; "layer" and "symmetric" look at all channels, also at those that are not drawn.
        limits: for "fixed", the values of the lowest and the highest level; what lies outside is drawn as these.
        step: take every step-th pixel of every step-th row.
        out: where to put the pixels, (n, ⌈h/step⌉, ⌈w/step⌉) uint8; a new array where None.
        statistics: those of this very activation, which saves a pass over it. Not used for a reduction.
        rounding: How far values may differ by rounding; that of the activation's dtype where None.

    Raises:
        LayerError: there are no maps, no such channel, or the fixed limits are no limits.
    """
    maps = feature_maps(tensor)
    rounding = rounding or rounding_of(tensor, reduction)
    if reduction is not None:
        maps, channels, statistics = reduce_channels(tensor, reduction), None, None
    count, height, width = maps.shape
    chosen = range(count) if channels is None else checked_channels(channels, count)
    pixels = _target(out, (len(chosen), -(-height // step), -(-width // step)))
    known = _known(maps, normalisation, statistics)
    shared = _shared_limits(known, normalisation, limits, rounding)
    found = np.full((len(chosen), 2), np.nan if shared is None else shared)
    constant = np.zeros(len(chosen), np.bool_)
    if pixels.size:
        clamp = normalisation == "fixed"
        work = _Work(maps, chosen, step, known, rounding, own_limits=shared is None, clamp=clamp)
        work.fill(pixels, found, constant)
    return Maps(
        pixels=pixels,
        limits=found,
        channels=() if reduction is not None else tuple(chosen),
        normalisation=normalisation,
        reduction=reduction,
        map_size=(height, width),
        step=step,
        constant=tuple(constant.tolist()),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """Of each channel (C,): least and greatest finite value, NaN where there is none, and whether all are finite."""

    low: Floats
    high: Floats
    clean: npt.NDArray[np.bool_]


def _known(maps: Tensor, normalisation: Normalisation, statistics: Statistics | None) -> _Known | None:
    """What is known of the channels before any is drawn: None where it is cheaper to find it out on the way."""
    if statistics is not None:
        return _Known(statistics.minimum, statistics.maximum, (statistics.nans + statistics.infinities) == 0)
    if normalisation in ("map", "fixed"):
        return None
    found = [_extremes(chunk) for _, chunk, _ in Chunks.of(maps)] if maps.numel() else []
    if not found:
        return _Known(np.full(len(maps), np.nan), np.full(len(maps), np.nan), np.full(len(maps), True))
    low, high = (np.concatenate(part) for part in list(zip(*found, strict=True))[:2])
    return _Known(low, high, np.repeat([clean for *_, clean in found], [len(low) for low, *_ in found]))


def _extremes(chunk: Tensor) -> tuple[Floats, Floats, bool]:
    """Least and greatest finite value of each map (k,), and whether all values of all of them are finite."""
    low, high, finite = least_and_greatest(chunk)
    return low.cpu().numpy().astype(np.float64), high.cpu().numpy().astype(np.float64), finite is None


def _shared_limits(
    known: _Known | None, normalisation: Normalisation, limits: tuple[float, float] | None, rounding: Rounding
) -> tuple[float, float] | None:
    """The one pair of limits of all maps, or None where each map has its own."""
    if normalisation == "map":
        return None
    if normalisation == "fixed" or known is None:
        return _checked_limits(limits)
    low = float(np.fmin.reduce(known.low, initial=np.nan))
    high = float(np.fmax.reduce(known.high, initial=np.nan))
    if normalisation == "layer":
        return low, low if rounding.constant(low, high) else high
    greatest = max(abs(low), abs(high))
    return 0.0 - greatest, greatest


def _checked_limits(limits: tuple[float, float] | None) -> tuple[float, float]:
    if limits is None:
        raise LayerError("A fixed scale needs its limits: give the lowest and the highest value.")
    low, high = float(limits[0]), float(limits[1])
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise LayerError(f"A scale cannot go from {low:g} to {high:g}: give two finite values, the lower one first.")
    return low, high


class _Work:
    """Drawing the chosen maps, with the memory that is used again from chunk to chunk."""

    def __init__(
        self,
        maps: Tensor,
        chosen: Sequence[int],
        step: int,
        known: _Known | None,
        rounding: Rounding,
        *,
        own_limits: bool,
        clamp: bool,
    ) -> None:
        self._maps = maps
        self._chosen = chosen
        self._step = step
        self._known = known
        self._rounding = rounding
        self._own_limits = own_limits
        self._clamp = clamp

    def fill(self, pixels: npt.NDArray[np.uint8], limits: Floats, constant: npt.NDArray[np.bool_]) -> None:
        """Write the indices to `pixels`, which maps are constant to `constant` and, where each has its own, the `limits`."""
        device = self._maps.device
        on_cpu = device.type == "cpu"
        target = torch.from_numpy(pixels) if on_cpu else torch.empty(pixels.shape, dtype=torch.uint8, device=device)
        # Limits are those of the whole map: where they are not known, the chunk must be whole until they are.
        skip = self._step if self._known is not None else 1
        for start, chunk, buffer in Chunks.of(self._maps, self._chosen, step=skip):
            rows = slice(start, start + len(chunk))
            low, high, clean = self._about(chunk, rows)
            constant[rows] = self._rounding.constant(low, high)
            if self._own_limits:
                limits[rows, 0], limits[rows, 1] = low, np.where(constant[rows], low, high)
            if skip != self._step:
                chunk = chunk[:, :: self._step, :: self._step]
                buffer = buffer.flatten()[: chunk.numel()].view(chunk.shape)
            self._quantise(chunk, buffer, limits[rows], target[rows], clean=clean)
            for index in np.flatnonzero(constant[rows] & (low < high)):
                _flatten(target[rows][index], low[index] / 2 + high[index] / 2, limits[start + index])
        if not on_cpu:
            torch.from_numpy(pixels).copy_(target)

    def _about(self, chunk: Tensor, rows: slice) -> tuple[Floats, Floats, bool]:
        known = self._known
        if known is None:
            return _extremes(chunk)
        part = self._chosen[rows]
        index = slice(part.start, part.stop) if isinstance(part, range) else list(part)
        return known.low[index], known.high[index], bool(known.clean[index].all())

    def _quantise(self, chunk: Tensor, buffer: Tensor, limits: Floats, target: Tensor, *, clean: bool) -> None:
        """Values (k, h, w) to indices, rounded to the nearest level. `clean`: all values are finite."""
        values = chunk if clean else chunk.nan_to_num(0.0, 0.0, 0.0)
        scaled = _scaled(values, limits, buffer)
        if self._clamp or not clean:
            scaled.clamp_(0, LEVELS - 1)
        # Straight from float to uint8 is five times slower. The fraction is cut off, which rounds what has the half in it.
        target.copy_(scratch("integers", tuple(chunk.shape), torch.int16, chunk.device).copy_(scaled))
        if not clean:
            target.masked_fill_(chunk.isnan(), NAN)
            target.masked_fill_(chunk.isinf(), INFINITE)


def _flatten(target: Tensor, value: float, limits: Floats) -> None:
    """Draw a map that is constant up to rounding in the level of `value`: its NaN and infinite pixels stay."""
    low, high = map(float, limits)
    share = (value - low) / (high - low) if high > low else 0.0
    level = int(min(max(share, 0.0), 1.0) * (LEVELS - 1) + 0.5)
    target.masked_fill_(target < LEVELS, level)


def _scaled(values: Tensor, limits: Floats, buffer: Tensor) -> Tensor:
    """(values - low) / (high - low) * (LEVELS - 1) + ½, the half alone where these are equal or NaN; in `buffer` where it fits.

    The half is taken into the offset, which saves a pass over the values.
    """
    low, high = limits[:, 0], limits[:, 1]
    with np.errstate(over="ignore", invalid="ignore"):
        span = high - low
    drawn = span > 0
    low, span = np.where(drawn, low, 0.0), np.where(drawn, span, np.inf)
    if (
        values.dtype == torch.float64
        or span.min() < _NARROWEST_SPAN
        or span.max(where=drawn, initial=0.0) > _WIDEST_SPAN
        or (np.abs(low) > _FARTHEST * span).any()
    ):
        return _scaled_with_care(values, limits[:, 0], high)
    half = np.where(drawn, span, 0.0) / (2 * (LEVELS - 1))
    offset, factor = _columns(values, low - half, (LEVELS - 1) / span)
    scaled: Tensor = torch.sub(values, offset, out=buffer).mul_(factor)
    return scaled


def _scaled_with_care(values: Tensor, low: Floats, high: Floats) -> Tensor:
    """The same in double precision, for spans whose size or reciprocal does not fit into the values' own type."""
    values = (values.cpu() if values.device.type == "mps" else values).double()
    with np.errstate(over="ignore", invalid="ignore"):
        shrink = np.where(np.isinf(high - low), 0.25, 1.0)
        span = high * shrink - low * shrink
    drawn = span > 0
    low, span = np.where(drawn, low * shrink, 0.0), np.where(drawn, span, np.inf)
    factor, offset, divisor = _columns(values, shrink, low, span)
    share: Tensor = (values * factor).sub_(offset).div_(divisor)
    return share.clamp_(0, 1).mul_(LEVELS - 1).add_(0.5)


def _columns(like: Tensor, *numbers: Floats) -> Tensor:
    """Some (k,) float64 on the host as (len(numbers), k, 1, 1) of the type and on the device of `like`, in one go."""
    # The tiny operations are numpy's, which take a tenth of the time of torch's.
    stacked = np.empty((len(numbers), len(numbers[0]), 1, 1), np.float64 if like.dtype == torch.float64 else np.float32)
    for row, column in zip(stacked, numbers, strict=True):
        row[:, 0, 0] = column
    columns = torch.from_numpy(stacked)
    return columns if like.device.type == "cpu" else columns.to(like.device)


def _target(out: npt.NDArray[np.uint8] | None, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    if out is None:
        return np.empty(shape, np.uint8)
    if out.shape != shape or out.dtype != np.uint8 or not out.flags.writeable:
        raise ValueError(f"out must be a writeable uint8 array of shape {shape}, not {out.dtype} of {out.shape}")
    return out
