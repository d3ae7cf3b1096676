"""The named maps of a capture, C2–C5, M2–M5 and P2–P6, each as one map: what the pyramid view and its export show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from fmviz.capture import Capture
from fmviz.channels import Rounding, rounding_of
from fmviz.errors import LayerError
from fmviz.maps import Maps, Reduction
from fmviz.render import feature_maps, reduce_channels, render

Scale = Literal["map", "row"]
"""Limits of each map of its own, or shared by all maps of a row (C, M or P), so that their brightness can be compared."""


def tap_maps(
    capture: Capture, *, channel: int = 0, reduction: Reduction | None = "l2", scale: Scale = "map"
) -> dict[str, Maps]:
    """One map of each tap, by the tap's name.

    Args:
        channel: which channel, where `reduction` is None; a tap that has fewer channels is left out.
        reduction: one map of all channels instead.
        scale: whose limits.

    Raises:
        LayerError: the capture has no taps with maps.
    """
    taps = {tap: activation.maps for tap, activation in capture.taps.items()}
    return maps_of(taps, channel=channel, reduction=reduction, scale=scale)


def maps_of(taps: Mapping[str, Tensor], *, channel: int, reduction: Reduction | None, scale: Scale) -> dict[str, Maps]:
    """The same of tensors (1, C, h, w) by the names of taps, wherever they come from."""
    single = {tap: _single(tensor, channel, reduction) for tap, tensor in taps.items()}
    found = {tap: tensor for tap, tensor in single.items() if tensor is not None}
    if not found:
        raise LayerError(
            "This network has no named maps C2–C5 with that channel: choose a lower channel or a reduction."
        )
    roundings = {tap: rounding_of(taps[tap], reduction) for tap in found}
    limits = _row_limits(found, roundings) if scale == "row" else {}
    return {
        tap: render(tensor, normalisation="fixed", limits=limits[tap[0]], rounding=roundings[tap])
        if tap[0] in limits
        else render(tensor, normalisation="map", rounding=roundings[tap])
        for tap, tensor in found.items()
    }


def _single(tensor: Tensor, channel: int, reduction: Reduction | None) -> Tensor | None:
    """(1, 1, h, w)"""
    if reduction is not None:
        return reduce_channels(tensor, reduction)[None]
    maps = feature_maps(tensor)
    return maps[None, channel : channel + 1] if 0 <= channel < len(maps) else None


def _row_limits(maps: Mapping[str, Tensor], roundings: Mapping[str, Rounding]) -> dict[str, tuple[float, float]]:
    """Lowest and highest finite value of each row, by its letter; rows without any finite value are left out.

    Both are the same where all values of the row are equal up to rounding.
    """
    limits = {}
    for row in {tap[0] for tap in maps}:
        # Double only on the host: Apple's GPUs have none.
        values = torch.cat([tensor.flatten().cpu().double() for tap, tensor in maps.items() if tap[0] == row])
        finite = values[values.isfinite()]
        if len(finite):
            low, high = float(finite.min()), float(finite.max())
            flat = all(rounding.constant(low, high) for tap, rounding in roundings.items() if tap[0] == row)
            limits[row] = (low, low if flat else high)
    return limits
