"""How layers become PNGs: what each file will hold, drawn here and written by whoever calls the tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from fmviz.colours import Colours, colour_table
from fmviz.figure import map_facts
from fmviz.maps import Maps, Normalisation, Reduction
from fmviz.plates import layer_figure
from fmviz.selecting import Chosen
from fmviz.writing import write_map_png, write_png

Form = Literal["grid", "maps", "npz", "safetensors"]
"""A captioned PNG a layer, a PNG a map, or the values of all layers in one file."""

Size = Literal["map", "picture"] | int
"""Of a map in a PNG: its own, the network input's, or so many pixels for its longer side."""

Facts = Mapping[str, Any]

Task = Callable[[], Path | str]
"""Writes one file and returns its path, or says in a sentence why there is none."""

_MOST_PIXELS = 178_956_970
"""What Pillow and many programs open without a complaint."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """How the PNGs are to look."""

    form: Form
    colour_map: str
    dark: bool
    normalisation: Normalisation
    limits: tuple[float, float] | None
    reduction: Reduction | None
    channels: tuple[int, ...] | None
    size: Size
    picture_size: tuple[int, int] | None

    @property
    def colours(self) -> Colours:
        return colour_table(self.colour_map, dark=self.dark)

    def count(self, chosen: Chosen) -> int:
        """How many maps of a layer."""
        if self.reduction:
            return 1
        return int(chosen.maps.shape[1]) if self.channels is None else len(self.channels)


def layer_tasks(chosen: Chosen, stem: Path, facts: Facts, drawing: Drawing) -> Iterator[Task]:
    """The files of one layer. Rendering happens here, in the calling thread; encoding and writing in the task."""
    facts = {**facts, "colour_map": drawing.colour_map}
    why = chosen.why_no_maps or _too_large(chosen, drawing)
    if why:
        note = f"{chosen.name} was left out: {why}"
        yield lambda: note
    elif drawing.form == "grid":
        tile = drawing.size if isinstance(drawing.size, int) else None
        figure = layer_figure(
            _rendered(chosen, drawing),
            name=chosen.title,
            detail=chosen.shape_words,
            facts=facts,
            tile=tile,
            size=drawing.picture_size,
        )
        yield partial(write_png, stem.with_name(f"{stem.name}.png"), figure, drawing.colours, facts)
    else:
        yield from _map_tasks(_rendered(chosen, drawing), stem, facts, drawing)


def _map_tasks(maps: Maps, stem: Path, facts: Facts, drawing: Drawing) -> Iterator[Task]:
    size = _map_size(maps.map_size, drawing)
    for index in range(len(maps.pixels)):
        one = _one_of(maps, index)
        ending = f"{maps.channels[index]:04d}" if maps.channels else maps.reduction
        about = {**facts, **map_facts(one, one.step), "size": list(size)}
        path = stem.with_name(f"{stem.name}_{ending}.png")
        yield partial(write_map_png, path, one.pixels[0], drawing.colours, about, size)


def _rendered(chosen: Chosen, drawing: Drawing) -> Maps:
    from fmviz.render import render

    return render(
        chosen.maps,
        channels=drawing.channels,
        reduction=drawing.reduction,
        normalisation=drawing.normalisation,
        limits=drawing.limits,
    )


def _map_size(own: tuple[int, int], drawing: Drawing) -> tuple[int, int]:
    """(height, width) of a map in its PNG."""
    if isinstance(drawing.size, int):
        longer = max(own)
        return max(1, round(own[0] * drawing.size / longer)), max(1, round(own[1] * drawing.size / longer))
    return drawing.picture_size or own


def _too_large(chosen: Chosen, drawing: Drawing) -> str:
    """Why the PNG would be larger than programs open; "" where it is not."""
    height, width = _map_size((chosen.maps.shape[2], chosen.maps.shape[3]), drawing)
    pixels = height * width * (drawing.count(chosen) if drawing.form == "grid" else 1)
    if pixels <= _MOST_PIXELS:
        return ""
    remedy = "a smaller size, or a PNG a map" if drawing.form == "grid" else "a smaller size"
    return f"its PNG would have {pixels / 1e6:,.0f} million pixels, more than most programs open; choose {remedy}."


def _one_of(maps: Maps, index: int) -> Maps:
    part = slice(index, index + 1)
    return msgspec.structs.replace(
        maps,
        pixels=maps.pixels[part],
        limits=maps.limits[part],
        channels=maps.channels[part] if maps.channels else (),
        constant=maps.constant[part],
    )
