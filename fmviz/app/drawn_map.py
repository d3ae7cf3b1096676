"""The identity of a map that a view draws, so that every value is read from the map under the pointer."""

from __future__ import annotations

from typing import Literal

import msgspec

from fmviz.maps import Normalisation, Reduction

Kind = Literal["map", "matrix", "vector", "picture", "input"]
"""A map, a matrix (its number is the channel) or the vector of a layer; the picture, or the network's input."""


class DrawnMap(msgspec.Struct, frozen=True):
    """One map as a view draws it.

    Attributes:
        run: The run that it comes from; 0 for a picture before its first run.
        layer: Name of the layer; "" for the picture, the network's input and a layer that is the whole network.
        map_size: (height, width) of the activation, or of the picture.
        channel: Which channel, if `reduction` is None.
        reduction: How all channels were reduced to one map.
        tap: The level that it is drawn as, "P3"; "" outside of the pyramid.
        snapshot: File of the pyramid in training that it comes from; "" if it comes from the capture.
        normalisation: How its limits were chosen.
        limits: The values at the ends of the colour map; None if they are not known here.
        constant: Whether all its values are known to be the same up to rounding. Limits that maps share do not say so.
        kind: Map, matrix, vector, picture or network input.
    """

    run: int
    layer: str
    map_size: tuple[int, int]
    channel: int = 0
    reduction: Reduction | None = None
    tap: str = ""
    snapshot: str = ""
    normalisation: Normalisation = "map"
    limits: tuple[float, float] | None = None
    constant: bool = False
    kind: Kind = "map"
