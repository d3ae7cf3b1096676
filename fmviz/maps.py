"""Maps: 8-bit pixels made of an activation, with the numbers that made them. What crosses from the engine to the window.

A pixel is an *index* into a table of 256 colours (`fmviz.figure`):

    0 … LEVELS-1     a value between the limits, low to high
    NAN, INFINITE    what has no place on a scale
    PAPER … INK      a ramp for what a figure adds around its maps: gaps, frames, letters

so that a colour map is changed without touching a pixel, on the screen and in a palette PNG alike.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

LEVELS = 240
NAN = 240
INFINITE = 241
PAPER = 242
INK = 255

Normalisation = Literal["map", "layer", "symmetric", "fixed"]
"""`map`: each map from its own minimum to its own maximum. `layer`: all maps on one scale, from the least to the greatest
value of them all. `symmetric`: all maps on one scale from -m to m, m the greatest absolute value, so that zero is in the
middle. `fixed`: limits that the caller gives."""

Reduction = Literal["mean", "max", "l2"]
"""One map of all channels: their mean, their maximum, or their L2 norm (the root of the sum of their squares)."""

NORMALISATIONS: tuple[Normalisation, ...] = ("map", "layer", "symmetric", "fixed")
REDUCTIONS: tuple[Reduction, ...] = ("mean", "max", "l2")


class Statistics(msgspec.Struct, frozen=True, eq=False):
    """Numbers about each of n channels, over its finite values only; arrays of length n.

    Where a channel has no finite value, minimum, maximum, mean and std are NaN.

    Attributes:
        minimum, maximum, mean, std: float64. `std` is the population's (divided by the count).
        zeros: float64, share of values that are exactly zero, of all values, 0 to 1.
        nans, infinities: int64, how many values are NaN, and how many are +inf or -inf.
        constant: bool, whether the finite values are equal up to rounding: max − min ≤ 8 ε × max |value|, with the ε of the
            activation's dtype.
    """

    minimum: npt.NDArray[np.float64]
    maximum: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    zeros: npt.NDArray[np.float64]
    nans: npt.NDArray[np.int64]
    infinities: npt.NDArray[np.int64]
    constant: npt.NDArray[np.bool_]


class Maps(msgspec.Struct, frozen=True, eq=False):
    """n maps ready to be coloured.

    Attributes:
        pixels: (n, h, w) uint8 indices as above.
        limits: (n, 2) float64, the values that index 0 and index LEVELS-1 stand for. Both are the same where a map is
            constant and has limits of its own (all its pixels are then 0), and NaN where it has no finite value.
        channels: the channel of each map; empty where `reduction` made one map of all.
        normalisation: how the limits were chosen.
        reduction: None, or what made one map of all channels.
        map_size: (height, width) of the activation; `pixels` may be smaller by the whole number `step`.
        step: every `step`-th pixel of every `step`-th row was taken.
        constant: For each map whether its finite values are equal up to rounding, as in `Statistics`. It is then drawn in
            one level.
    """

    pixels: npt.NDArray[np.uint8]
    limits: npt.NDArray[np.float64]
    channels: tuple[int, ...]
    normalisation: Normalisation
    reduction: Reduction | None
    map_size: tuple[int, int]
    step: int
    constant: tuple[bool, ...] = ()
