"""How layers become PNGs: what each file will hold, drawn here and written by whoever calls the tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from fmviz.colours import Colours, colour_table
from fmviz.errors import FmvizError
from fmviz.figure import Figure, map_facts
from fmviz.maps import Maps, Normalisation, Reduction
from fmviz.matrices import matrices_of, matrix_words
from fmviz.overlay import Overlay
from fmviz.plates import layer_figure, matrix_figure, vector_figure
from fmviz.selecting import Chosen
from fmviz.sheet import TooLargeFigureError
from fmviz.writing import write_map_png, write_png, write_rgb_png

if TYPE_CHECKING:
    from torch import Tensor

Form = Literal["grid", "maps", "npz", "safetensors"]
"""A captioned PNG a layer, a PNG a map, or the values of all layers in one file."""

Size = Literal["map", "picture"] | int
"""Of a map in a PNG: its own, the network input's, or so many pixels for its longer side."""

Facts = Mapping[str, Any]

Task = Callable[[], Path | str]
"""Writes one file and returns its path, or says in a sentence why there is none."""

_OVERLAY_TILE = 224
"""Longer side, in pixels, of a map over the picture in a grid, unless a size is chosen."""

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
    overlay: Overlay | None = None

    @property
    def colours(self) -> Colours:
        return colour_table(self.colour_map, dark=self.dark)

    def count(self, chosen: Chosen) -> int:
        """How many maps or matrices of a layer; 1 for a vector."""
        if chosen.why_no_maps:
            return self._count_of_matrices(chosen)
        if self.reduction:
            return 1
        return int(chosen.maps.shape[1]) if self.channels is None else len(self.channels)

    def _count_of_matrices(self, chosen: Chosen) -> int:
        found = None if chosen.tensor.is_nested else matrices_of(chosen.tensor.shape)
        if found is None or self.reduction:
            return 1
        return found[0] if self.channels is None else len(self.channels)


class Failed(str):
    """The sentence of a task that failed, and did not merely leave out a layer without maps."""

    __slots__ = ()


def layer_tasks(chosen: Chosen, stem: Path, facts: Facts, drawing: Drawing) -> Iterator[Task]:
    """Yield the tasks that write the files of one layer.

    Rendering happens here, in the calling thread; encoding and writing in the task. An error in one layer becomes a task that
    returns its sentence as `Failed`, so that the other layers are exported.
    """
    try:
        for task in _layer_tasks(chosen, stem, facts, drawing):
            yield partial(_guarded, task, chosen.name)
    except TooLargeFigureError as error:
        note = _left_out(chosen, _too_many(error.pixels, drawing))
        yield lambda: note
    except Exception as error:
        failed = _failed(chosen.name, error)
        yield lambda: failed


def _guarded(task: Task, name: str) -> Path | str:
    try:
        return task()
    except FmvizError:
        raise
    except Exception as error:
        return _failed(name, error)


def _failed(name: str, error: Exception) -> Failed:
    # Loads torch, which files are written without.
    from fmviz.failures import one_line

    why = str(error).rstrip(".") if isinstance(error, FmvizError) else one_line(error)
    return Failed(f"{name} could not be exported: {why}.")


def _layer_tasks(chosen: Chosen, stem: Path, facts: Facts, drawing: Drawing) -> Iterator[Task]:
    facts = {**facts, "colour_map": drawing.colour_map}
    as_values = chosen.has_values and not drawing.reduction
    why = "" if as_values else chosen.why_no_maps
    why = why or _too_large(chosen, drawing)
    if not why and as_values:
        yield from _value_tasks(chosen, stem, facts, drawing)
    elif why:
        note = _left_out(chosen, why)
        yield lambda: note
    elif drawing.form == "grid":
        yield _grid_task(chosen, stem.with_name(f"{stem.name}.png"), facts, drawing)
    else:
        yield from _map_tasks(_rendered(chosen, drawing), stem, facts, drawing)


def _value_tasks(chosen: Chosen, stem: Path, facts: Facts, drawing: Drawing) -> Iterator[Task]:
    """The files of a layer without maps: heat maps of its matrices, or bars of its vector."""
    from fmviz.channels import matrix_stack, vector

    path = stem.with_name(f"{stem.name}.png")
    if matrices_of(chosen.tensor.shape) is None:
        values = vector(chosen.tensor).numpy().astype("f8")
        figure = vector_figure(
            values, count=chosen.tensor.numel(), name=chosen.title, detail=chosen.shape_words, facts=facts
        )
        yield partial(write_png, path, figure, drawing.colours, facts)
        return
    maps = _rendered(chosen, drawing, matrix_stack(chosen.tensor))
    if drawing.form == "grid":
        tile = drawing.size if isinstance(drawing.size, int) else None
        names = [matrix_words(chosen.tensor.shape, number) for number in maps.channels]
        figure = matrix_figure(
            maps,
            names=names,
            name=chosen.title,
            detail=chosen.shape_words,
            facts=facts,
            tile=tile,
            most=_MOST_PIXELS,
        )
        yield partial(write_png, path, figure, drawing.colours, facts)
        return
    yield from _map_tasks(maps, stem, facts, _without_picture(drawing))


def _without_picture(drawing: Drawing) -> Drawing:
    """Return how matrices are drawn, which have no place on the picture."""
    return replace(drawing, overlay=None, picture_size=None, size=drawing.size if drawing.size != "picture" else "map")


def _grid_task(chosen: Chosen, path: Path, facts: Facts, drawing: Drawing) -> Task:
    maps, overlay = _rendered(chosen, drawing), drawing.overlay
    tile = drawing.size if isinstance(drawing.size, int) else None
    size = drawing.picture_size
    if overlay is not None:
        tile, size = None, _overlay_size(overlay, _OVERLAY_TILE if drawing.size == "map" else drawing.size)
    figure = layer_figure(
        maps, name=chosen.title, detail=chosen.shape_words, facts=facts, tile=tile, size=size, most=_MOST_PIXELS
    )
    if overlay is None or size is None:
        return partial(write_png, path, figure, drawing.colours, facts)
    return partial(_write_overlaid_grid, path, figure, maps, drawing, {**facts, "opacity": overlay.opacity}, size)


def _write_overlaid_grid(
    path: Path, figure: Figure, maps: Maps, drawing: Drawing, facts: Facts, size: tuple[int, int]
) -> Path:
    """Write a grid whose tiles are replaced by the maps over the picture, all in RGB."""
    from fmviz.figure import tile_positions
    from fmviz.lettering import lettered

    assert drawing.overlay is not None
    canvas = drawing.colours[lettered(figure)]
    tiles = figure.facts["tiles"]
    gap = (tiles["pitch"][0] - tiles["size"][0], tiles["pitch"][1] - tiles["size"][1])
    places = tile_positions(
        len(maps.pixels),
        columns=tiles["columns"],
        cell=tuple(tiles["size"]),
        gap=gap,
        origin=(tiles["left"], tiles["top"]),
    )
    for (left, top), pixels in zip(places, maps.pixels, strict=True):
        canvas[top : top + size[0], left : left + size[1]] = drawing.overlay.blended(pixels, drawing.colours, size)
    return write_rgb_png(path, canvas, {**facts, **figure.facts})


def longer_of_overlay(form: Form, size: Size) -> int | None:
    """Return the longer side, in pixels, of maps over the picture; None where they have the picture's own size."""
    if isinstance(size, int):
        return size
    return _OVERLAY_TILE if form == "grid" and size == "map" else None


def _overlay_size(overlay: Overlay, size: Size) -> tuple[int, int]:
    """Return (height, width) of a map over the picture: of the part that the network saw, or so many pixels."""
    if not isinstance(size, int):
        return overlay.size
    longer = max(overlay.size)
    return max(1, round(overlay.size[0] * size / longer)), max(1, round(overlay.size[1] * size / longer))


def _map_tasks(maps: Maps, stem: Path, facts: Facts, drawing: Drawing) -> Iterator[Task]:
    size = _map_size(maps.map_size, drawing)
    for index in range(len(maps.pixels)):
        one = _one_of(maps, index)
        ending = f"{maps.channels[index]:04d}" if maps.channels else maps.reduction
        about = {**facts, **map_facts(one, one.step), "size": list(size)}
        path = stem.with_name(f"{stem.name}_{ending}.png")
        if drawing.overlay is not None:
            about["opacity"] = drawing.overlay.opacity
            yield partial(_write_overlaid_map, path, one, drawing, about, size)
            continue
        yield partial(write_map_png, path, one.pixels[0], drawing.colours, about, size)


def _write_overlaid_map(path: Path, one: Maps, drawing: Drawing, facts: Facts, size: tuple[int, int]) -> Path:
    assert drawing.overlay is not None
    return write_rgb_png(path, drawing.overlay.blended(one.pixels[0], drawing.colours, size), facts)


def _rendered(chosen: Chosen, drawing: Drawing, maps: Tensor | None = None) -> Maps:
    from fmviz.render import render

    return render(
        chosen.maps if maps is None else maps,
        channels=drawing.channels,
        reduction=drawing.reduction,
        normalisation=drawing.normalisation,
        limits=drawing.limits,
    )


def _map_size(own: tuple[int, int], drawing: Drawing) -> tuple[int, int]:
    """(height, width) of a map in its PNG."""
    if drawing.overlay is not None:
        return _overlay_size(drawing.overlay, drawing.size)
    if isinstance(drawing.size, int):
        longer = max(own)
        return max(1, round(own[0] * drawing.size / longer)), max(1, round(own[1] * drawing.size / longer))
    return drawing.picture_size or own


def _too_large(chosen: Chosen, drawing: Drawing) -> str:
    """Why the PNG would be larger than programs open, as far as the size of its maps says so; "" where it is not.

    Where a figure enlarges its tiles and adds axes and captions, it checks its size itself.
    """
    if chosen.why_no_maps:
        found = matrices_of(chosen.tensor.shape)
        if found is None or drawing.form == "grid":
            return ""
        height, width = _map_size(found[1:], _without_picture(drawing))
    elif drawing.overlay is not None and drawing.form == "grid" and drawing.size == "map":
        height, width = _overlay_size(drawing.overlay, _OVERLAY_TILE)
    elif drawing.overlay is not None or drawing.picture_size is not None or drawing.form == "maps":
        height, width = _map_size((chosen.maps.shape[2], chosen.maps.shape[3]), drawing)
    else:
        return ""
    pixels = height * width * (drawing.count(chosen) if drawing.form == "grid" else 1)
    return _too_many(pixels, drawing) if pixels > _MOST_PIXELS else ""


def _too_many(pixels: int, drawing: Drawing) -> str:
    remedy = "a smaller size, or a PNG a map" if drawing.form == "grid" else "a smaller size"
    return f"its PNG would have {pixels / 1e6:,.0f} million pixels, more than most programs open; choose {remedy}."


def _left_out(chosen: Chosen, why: str) -> str:
    return f"{chosen.name} was left out: {why}"


def _one_of(maps: Maps, index: int) -> Maps:
    part = slice(index, index + 1)
    return msgspec.structs.replace(
        maps,
        pixels=maps.pixels[part],
        limits=maps.limits[part],
        channels=maps.channels[part] if maps.channels else (),
        constant=maps.constant[part],
    )
