"""Numbers about the channels of an activation: extremes, mean, spread, zeros, NaN and infinities; and histograms."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fmviz.channels import (
    Chunks,
    Floats,
    checked_channels,
    chunk_size,
    feature_maps,
    least_and_greatest,
    reduce_channels,
    rounding_of,
    scratch,
    working_type,
)
from fmviz.maps import Reduction, Statistics


def statistics(tensor: Tensor) -> Statistics:
    """Numbers about every channel of a spatial activation, in double precision, over finite values only.

    Raises:
        LayerError: `tensor` has no maps.
    """
    return finished(statistics_in_parts(tensor))


Parts = Generator[None, None, Statistics]


def finished(parts: Parts) -> Statistics:
    """What `parts` comes to, all that is left of it being done at once."""
    while True:
        try:
            next(parts)
        except StopIteration as end:
            found: Statistics = end.value
            return found


def statistics_in_parts(tensor: Tensor) -> Parts:
    """The same as `statistics`, a few milliseconds' worth of it at each step, for who must not be kept for longer."""
    maps = feature_maps(tensor)
    channels, height, width = maps.shape
    if not maps.numel():
        nothing, none = np.full(channels, np.nan), np.zeros(channels, np.int64)
        never = np.zeros(channels, np.bool_)
        return Statistics(nothing, nothing, nothing, nothing, np.zeros(channels), none, none, never)
    wide = torch.float32 if maps.device.type == "mps" else torch.float64
    columns = []
    for _, chunk, buffer in Chunks.of(maps):
        columns.append(_chunk_statistics(chunk, buffer, wide))
        yield
    low, high, mean, std, zeros, nans, infinities = torch.cat(columns, dim=1).double().cpu().numpy()
    return Statistics(
        minimum=low,
        maximum=high,
        mean=mean,
        std=std,
        zeros=zeros / (height * width),
        nans=nans.astype(np.int64),
        infinities=infinities.astype(np.int64),
        constant=rounding_of(maps).constant(low, high),
    )


def _chunk_statistics(chunk: Tensor, buffer: Tensor, wide: torch.dtype) -> Tensor:
    """(7, k): minimum, maximum, mean, std, and how many values are zero, NaN and infinite.

    `buffer` is overwritten; `wide` is the widest type there is.
    """
    low, high, finite = least_and_greatest(chunk)
    # Counted in floating point, without booleans on the way: `count_nonzero`, sums and casts of booleans are many times
    # slower on a CPU.
    zeros = torch.eq(chunk, 0, out=buffer).sum(dim=(1, 2))
    values = scratch("sums", tuple(chunk.shape), wide, chunk.device).copy_(chunk)
    low, high = low.to(values.dtype), high.to(values.dtype)
    count = torch.full_like(low, chunk.shape[1] * chunk.shape[2])
    nans = infinities = torch.zeros_like(low)
    if finite is not None:
        values.masked_fill_(~finite, 0)
        count = finite.sum(dim=(1, 2)).to(values.dtype)
        nans, infinities = chunk.isnan().sum(dim=(1, 2)), chunk.isinf().sum(dim=(1, 2))
    # The mean of equal numbers, summed and divided, can miss them by a rounding.
    mean = torch.where(low == high, low, values.sum(dim=(1, 2)) / count)
    values -= mean[:, None, None]
    if finite is not None:
        values.masked_fill_(~finite, 0)
    std = torch.linalg.vector_norm(values, dim=(1, 2)) / count.sqrt()
    return torch.stack([low, high, mean, std, zeros.to(low), nans.to(low), infinities.to(low)])


def histogram(
    tensor: Tensor, channel: int | None, *, reduction: Reduction | None = None, bins: int = 128
) -> tuple[npt.NDArray[np.int64], Floats]:
    """How often which values occur, finite ones only: of one channel, of all of them (None), or of a reduction.

    Returns:
        counts (bins,) int64 and edges (bins + 1,) float64, from the least to the greatest value. Values that are equal up
        to rounding lie in the middle bin of a span of one; without any finite value all counts are zero.

    Raises:
        LayerError: there is no such channel, or a channel or reduction is asked of what has no maps.
    """
    rounding = rounding_of(tensor, reduction)
    if reduction is not None:
        tensor = reduce_channels(tensor, reduction)
    elif channel is not None:
        maps = feature_maps(tensor)
        tensor = maps[checked_channels([channel], len(maps))[0]]
    # One row is one map to the walk below: a vector has a histogram as well.
    flat = tensor.detach().flatten()
    size = chunk_size(flat)
    rows = [flat[start : start + size][None, None] for start in range(0, len(flat), size)]
    low, high = _limits(rows)
    counts = np.zeros(bins, np.int64)
    if bool(rounding.constant(low, high)):
        counts[bins // 2] = sum(int(row.isfinite().sum()) for row in rows)
        half = max(0.5, _NARROWEST * max(abs(low), abs(high)))
        low, high = low / 2 + high / 2 - half, low / 2 + high / 2 + half
        return counts, 2 * np.linspace(low / 2, high / 2, bins + 1)
    for row in rows:
        counts += _counts(row.to(working_type(row)), low, high, bins)
    return counts, 2 * np.linspace(low / 2, high / 2, bins + 1)


_NARROWEST = 1e-6
"""Half the span of a constant's histogram, as a share of its magnitude, where that exceeds ½."""


def _limits(rows: list[Tensor]) -> tuple[float, float]:
    """Where the bins begin and end; (0, 1) where nothing is finite."""
    found = [least_and_greatest(row.to(working_type(row)))[:2] for row in rows]
    low = min((float(least) for least, _ in found if least.isfinite()), default=0.0)
    high = max((float(greatest) for _, greatest in found if greatest.isfinite()), default=1.0)
    return low, high


def _counts(row: Tensor, low: float, high: float, bins: int) -> npt.NDArray[np.int64]:
    """`torch.histc` is three times slower, and counts in the type of its values: no more than 2²⁴ in float32."""
    if row.device.type != "mps":
        row = row.double()
    # The difference of two numbers can be too large for their type.
    shrink = 1.0 if math.isfinite(high - low) else 0.5
    places = (row * shrink).sub_(low * shrink).div_(high * shrink - low * shrink).mul_(bins)
    places = places[row.isfinite()].clamp_(0, bins - 1)
    return torch.bincount(places.long(), minlength=bins).cpu().numpy()
