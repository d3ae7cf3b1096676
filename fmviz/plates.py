"""The figures that people take home: a layer's maps, or a pyramid's, titled with what made them. numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fmviz.charts import bars, heat_maps
from fmviz.figure import Figure, grid, limits_words, resized, table_of_maps
from fmviz.maps import Maps, Reduction

_PYRAMID_TILE = 224
_LARGEST_PYRAMID_TILE = 640

REDUCTION_WORDS: Mapping[Reduction, str] = {
    "mean": "mean of all channels",
    "max": "maximum of all channels",
    "l2": "L2 norm of all channels",
}

Facts = Mapping[str, Any]


def layer_figure(
    maps: Maps,
    *,
    name: str,
    detail: str,
    facts: Facts,
    tile: int | None = None,
    size: tuple[int, int] | None = None,
    most: int | None = None,
) -> Figure:
    """The captioned grid of a layer's maps.

    Args:
        name: of the layer: the title.
        detail: what it is: "Conv2d · 512 × 28 × 28".
        facts: those of the network, its weights and the picture, which are named below.
        tile: as `grid` takes it.
        size: (height, width) to draw each map at exactly, instead.
        most: as `grid` takes it.
    """
    reduction = REDUCTION_WORDS[maps.reduction] if maps.reduction else ""
    second = " · ".join(filter(None, (detail, reduction)))
    title = "\n".join(filter(None, (name, second, _made_from(facts))))
    if size is not None:
        maps, tile = msgspec.structs.replace(maps, pixels=resized(maps.pixels, size)), max(size)
    return grid(maps, tile=tile, title=title, most=most)


def matrix_figure(
    maps: Maps,
    *,
    names: Sequence[str],
    name: str,
    detail: str,
    facts: Facts,
    tile: int | None = None,
    most: int | None = None,
) -> Figure:
    """The heat maps of a layer's matrices, titled like `layer_figure`; `names` are those of the matrices."""
    title = "\n".join(filter(None, (name, detail, _made_from(facts))))
    return heat_maps(maps, names=names, title=title, tile=tile, most=most)


def vector_figure(values: npt.NDArray[np.float64], *, count: int, name: str, detail: str, facts: Facts) -> Figure:
    """The bars of a layer that is a vector of `count` values, titled like `layer_figure`."""
    title = "\n".join(filter(None, (name, detail, _made_from(facts))))
    return bars(values, count=count, title=title, facts={})


def pyramid_figure(maps: Mapping[str, Maps], channels: Mapping[str, int], facts: Facts, what: str) -> Figure:
    """The table of the named maps ("C2" -> one map): a row a letter, a column a level."""
    rows = [letter for letter in "CMP" if any(tap[0] == letter for tap in maps)]
    levels = sorted({tap[1:] for tap in maps}, key=int)
    longest = max(max(entry.map_size) for entry in maps.values())
    tile = min(longest * -(-_PYRAMID_TILE // max(longest, 1)), _LARGEST_PYRAMID_TILE)
    cells = [
        [(_cell_caption(tap, maps[tap], channels[tap]), maps[tap]) if tap in maps else None for tap in taps]
        for taps in ([letter + level for level in levels] for letter in rows)
    ]
    title = "\n".join(filter(None, (f"Pyramid, {what}", _made_from(facts))))
    return table_of_maps(
        cells, tile=tile, title=title, row_names=rows, column_names=[f"level {level}" for level in levels]
    )


def _cell_caption(tap: str, maps: Maps, channels: int) -> str:
    height, width = maps.map_size
    shape = f"{tap} · {channels:,} × {height:,} × {width:,}"
    return shape if maps.normalisation == "fixed" else f"{shape}\n{limits_words(*map(float, maps.limits[0]))}"


def _made_from(facts: Facts) -> str:
    """The network, whether it is trained, its weights and the picture, in one line."""
    untrained = facts.get("untrained", ())
    parts = " and ".join(part for part in ("classifier", "pyramid") if part in untrained)
    state = "untrained: random weights" if "body" in untrained else f"untrained {parts}" if parts else ""
    if on := facts.get("trained_on"):
        state = f"pyramid trained on {on}, not on COCO"
    network = str(facts.get("network", ""))
    weights = facts.get("weights", {}).get("name", "")
    picture = str(facts.get("picture", {}).get("name", ""))
    words = (
        f"{network} ({state})" if network and state else network or state,
        f"weights {weights}" if weights and "body" not in untrained else "",
        # The letters of a file have the Latin script only; the name is in its text chunk, whatever it is.
        picture if all(ord(character) < 0x250 for character in picture) else "",
    )
    return " · ".join(filter(None, words))
