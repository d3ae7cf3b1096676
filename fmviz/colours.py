"""Colour tables: 256 colours for the indices that `fmviz.maps` defines. No torch, no Qt."""

from __future__ import annotations

import functools
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from fmviz.assets import asset
from fmviz.errors import FmvizError
from fmviz.maps import INFINITE, INK, LEVELS, NAN, PAPER

Colours: TypeAlias = "npt.NDArray[np.uint8]"
"""(256, 3) uint8 RGB, read-only."""


class ColourMap(msgspec.Struct, frozen=True):
    """A colour map on offer.

    Attributes:
        name: what scripts and the command line call it.
        label: what a person reads.
        kind: "sequential" goes from low to high; "diverging" has a pale middle, for limits symmetric about zero.
        source: its name in the package cmap, complete, so that it can mean no other one.
    """

    name: str
    label: str
    kind: Literal["sequential", "diverging"]
    source: str


COLOURS: tuple[ColourMap, ...] = (
    ColourMap("viridis", "Viridis", "sequential", "bids:viridis"),
    ColourMap("grey", "Grey", "sequential", "matlab:gray"),
    ColourMap("inferno", "Inferno", "sequential", "bids:inferno"),
    ColourMap("magma", "Magma", "sequential", "bids:magma"),
    ColourMap("cividis", "Cividis", "sequential", "cividis:cividis"),
    ColourMap("turbo", "Turbo", "sequential", "google:turbo"),
    ColourMap("coolwarm", "Cool to warm", "diverging", "matplotlib:coolwarm"),
    ColourMap("vik", "Vik", "diverging", "crameri:vik"),
)
COLOUR_MAPS: tuple[str, ...] = tuple(entry.name for entry in COLOURS)

# Far from every colour of every map above, and told apart by people who confuse red and green.
_NAN_COLOUR = (255, 0, 255)
_INFINITE_COLOUR = (0, 255, 0)

_DARK = (31, 228)
_LIGHT = (250, 28)
"""Grey of the paper and of the ink."""


def colour_map(name: str) -> ColourMap:
    """The entry called `name`. `FmvizError` with the names that there are."""
    for entry in COLOURS:
        if entry.name == name:
            return entry
    import difflib  # the window, which starts at once, has this module too

    close = difflib.get_close_matches(name, COLOUR_MAPS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(COLOUR_MAPS)}."
    raise FmvizError(f"There is no colour map “{name}”: {hint}")


@functools.cache
def colour_table(name: str, *, dark: bool = True) -> Colours:
    """The 256 colours for the map called `name`, on dark or on light paper: (256, 3) uint8 RGB, read-only.

    0 … LEVELS-1 are the map's own, low to high; NAN and INFINITE are like none of them; PAPER … INK is a ramp of greys.

    Raises:
        FmvizError: there is no such colour map.
    """
    table = np.empty((256, 3), np.uint8)
    table[:LEVELS] = _levels()[COLOURS.index(colour_map(name))]
    table[NAN], table[INFINITE] = _NAN_COLOUR, _INFINITE_COLOUR
    paper, ink = _DARK if dark else _LIGHT
    table[PAPER : INK + 1] = np.rint(np.linspace(paper, ink, INK - PAPER + 1))[:, None]
    table.flags.writeable = False
    return table


@functools.cache
def _levels() -> npt.NDArray[np.uint8]:
    """(maps, LEVELS, 3), in the order of `COLOURS`: those of the package cmap, which a window's first paint need not wait for.
    The tests compare them, and tell how they are made."""
    levels: npt.NDArray[np.uint8] = np.load(asset("colour_maps.npy"))
    return levels
