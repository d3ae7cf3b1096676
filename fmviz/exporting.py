"""Layers of a capture -> files: captioned grids, single maps, the pyramid, or the raw values.

Everything that a reader needs to make a file again travels in it, as JSON; never a folder of the user's. A file that
exists under the same name is replaced, which is what a repeated export wants.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fmviz.arrays import write_npz, write_safetensors
from fmviz.colours import colour_table
from fmviz.drawing import Drawing, Facts, Failed, Form, Size, Task, layer_tasks, longer_of_overlay
from fmviz.errors import Cancelled, ExportError, LayerError
from fmviz.maps import Normalisation, Reduction
from fmviz.matrices import matrices_of
from fmviz.naming import distinct_names, safe_name
from fmviz.overlay import Overlay
from fmviz.plates import REDUCTION_WORDS, pyramid_figure
from fmviz.selecting import Chosen, chosen_layers, file_stems
from fmviz.writing import figure_png_bytes, make_folder, names_in, write_map_png, write_png

if TYPE_CHECKING:
    from fmviz.capture import Capture
    from fmviz.pyramid import Scale

__all__ = [
    "Exported",
    "Form",
    "Size",
    "distinct_names",
    "export",
    "export_pyramid",
    "figure_png_bytes",
    "safe_name",
    "write_map_png",
    "write_npz",
    "write_png",
    "write_safetensors",
]


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of one file.

    Attributes:
        path: the file, complete; None where there is none, and `note` says why.
        done, total: how many of these records there have been, this one included, and how many there will be.
        note: one sentence, or "".
        replaced: whether there was a file of that name before.
    """

    path: Path | None
    done: int
    total: int
    note: str = ""
    replaced: bool = False
    failed: bool = False


def export(
    capture: Capture,
    facts: Facts,
    *,
    layers: str | Sequence[str] = ("*",),
    folder: str | os.PathLike[str],
    form: Form = "grid",
    colour_map: str = "viridis",
    normalisation: Normalisation = "map",
    limits: tuple[float, float] | None = None,
    reduction: Reduction | None = None,
    channels: Sequence[int] | None = None,
    size: Size = "map",
    picture_size: tuple[int, int] | None = None,
    dark: bool = False,
    over_picture: float | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[Exported]:
    """Writes layers to a folder, as the iterator that it returns is walked: one record a file, in order.

    Args:
        facts: JSON values that go into every file: network, weights, picture, preprocessing, versions, device.
        layers: names of layers or taps, or patterns with `*`, `?` and `[…]` ("layer2.*", "P?").
        folder: where to; made where it is missing. A file of the same name is replaced.
        form: what kind of files.
        colour_map, normalisation, limits, reduction, channels: of PNGs, as `fmviz.render.render` takes them; `channels`
            counts for each layer.
        size: of each map in PNGs. In a grid, maps at their own size are enlarged by a whole number where they would be
            too small to be told apart, and a number of pixels is the most that the longer side of a tile takes.
        picture_size: (height, width) for size "picture"; where None, that of the part of the picture that the network
            saw, so that a map lies on it pixel by pixel.
        dark: a grid on dark paper.
        over_picture: Opacity, 0 to 1, of maps that are drawn over the part of the picture that the network saw, in PNGs of
            RGB; None draws maps alone. Maps at their "own" size are drawn at the picture's.
        cancelled: asked between two files, and between two arrays of one.

    Raises:
        LayerError: at once, before anything is written: a pattern that matches nothing, a channel that is not there.
        FmvizError: at once, an unknown colour map.
        ExportError: at once, no picture to draw over; later, a file that cannot be written: those before it are whole.
        Cancelled: likewise.
    """
    chosen = chosen_layers(capture, layers)
    stems = file_stems(capture, facts)
    stop = cancelled or (lambda: False)
    if form in ("npz", "safetensors"):
        return _export_values(chosen, stems, facts, folder, form, stop)
    drawing = Drawing(
        form=form,
        colour_map=colour_map,
        dark=dark,
        normalisation=normalisation,
        limits=limits,
        reduction=reduction,
        channels=None if channels is None else tuple(channels),
        size=size,
        picture_size=_picture_size(capture, facts, picture_size) if size == "picture" else None,
        overlay=None
        if over_picture is None
        else Overlay.of(capture, over_picture, longer=longer_of_overlay(form, size)),
    )
    _ = drawing.colours
    _check_channels(chosen, drawing)
    return _export_pictures(chosen, stems, facts, folder, drawing, stop)


def _picture_size(capture: Capture, facts: Facts, given: tuple[int, int] | None) -> tuple[int, int]:
    if given is not None:
        return given
    if capture.input is not None:
        seen = capture.input.geometry.input_box()
        return max(1, round(seen.height)), max(1, round(seen.width))
    if "input_size" in facts:
        height, width = facts["input_size"]
        return int(height), int(width)
    raise ExportError("The picture's size is not known, because the network was fed a tensor: choose a size in pixels.")


def _check_channels(chosen: Sequence[Chosen], drawing: Drawing) -> None:
    for layer in chosen:
        matrices = matrices_of(layer.tensor.shape) if layer.has_values else None
        count = layer.maps.shape[1] if not layer.why_no_maps else matrices[0] if matrices else 0
        missing = [channel for channel in drawing.channels or () if not -count <= channel < count]
        if count and missing and drawing.reduction is None:
            raise LayerError(f"{layer.name} has no channel {missing[0]}: choose from 0 to {count - 1}.")


# Pictures


def _export_pictures(
    chosen: Sequence[Chosen],
    stems: Mapping[str, str],
    facts: Facts,
    folder: str | os.PathLike[str],
    drawing: Drawing,
    cancelled: Callable[[], bool],
) -> Iterator[Exported]:
    target = make_folder(folder)
    there = names_in(target)
    counts = [drawing.count(layer) if drawing.form == "maps" else 1 for layer in chosen]
    tasks = (
        task
        for layer in chosen
        for task in layer_tasks(layer, target / stems[layer.name], {**facts, **layer.facts}, drawing)
    )
    for record in _worked_off(tasks, sum(counts), cancelled):
        yield replace(record, replaced=record.path is not None and record.path.name in there)


def _worked_off(tasks: Iterator[Task], total: int, cancelled: Callable[[], bool]) -> Iterator[Exported]:
    """One record a task, in their order, while some threads write: encoding leaves Python's lock to others."""
    threads = min(4, os.cpu_count() or 1)
    waiting: deque[Future[Path | str]] = deque()
    done = 0
    with ThreadPoolExecutor(threads, thread_name_prefix="export") as pool:
        try:
            for task in tasks:
                if cancelled():
                    raise Cancelled
                waiting.append(pool.submit(task))
                if len(waiting) > 2 * threads:
                    done += 1
                    yield _record(waiting.popleft(), done, total)
            while waiting:
                done += 1
                yield _record(waiting.popleft(), done, total)
        except ExportError:
            # What was begun beside it is finished, and told of.
            for future in waiting:
                future.cancel()
            for future in waiting:
                if not future.cancelled() and future.exception() is None:
                    done += 1
                    yield _record(future, done, total)
            raise
        finally:
            # What is being written is finished, what has not begun is not begun.
            for future in waiting:
                future.cancel()


def _record(future: Future[Path | str], done: int, total: int) -> Exported:
    outcome = future.result()
    if isinstance(outcome, str):
        return Exported(None, done, total, outcome, failed=isinstance(outcome, Failed))
    return Exported(outcome, done, total)


# Values


def _export_values(
    chosen: Sequence[Chosen],
    stems: Mapping[str, str],
    facts: Facts,
    folder: str | os.PathLike[str],
    form: Form,
    cancelled: Callable[[], bool],
) -> Iterator[Exported]:
    from fmviz.values import arrays_of, write_values

    arrays, converted, without = arrays_of(chosen, form, cancelled)
    total = len(without) + bool(arrays)
    for done, note in enumerate(without, start=1):
        yield Exported(None, done, total, note, failed=isinstance(note, Failed))
    if not arrays:
        return
    kept = {array.name for array in arrays}
    chosen = [layer for layer in chosen if layer.name in kept]
    about = {**facts, "layers": {layer.name: layer.facts for layer in chosen}, "converted": converted}
    first, last = stems[chosen[0].name], chosen[-1]
    name = first if len(chosen) == 1 else safe_name(f"{first}-{last.tap or last.name}")
    path = make_folder(folder) / f"{name}.{form}"
    replaced = os.path.lexists(path)
    yield Exported(write_values(path, arrays, about, form), total, total, replaced=replaced)


# The pyramid


def export_pyramid(
    capture: Capture,
    facts: Facts,
    *,
    folder: str | os.PathLike[str],
    colour_map: str = "viridis",
    channel: int = 0,
    reduction: Reduction | None = "l2",
    scale: Scale = "map",
    dark: bool = False,
) -> Path:
    """One PNG of the named maps C2–C5, M2–M5, P2–P6 in a table, all drawn at the same size; its path.

    Args:
        channel: which channel, where `reduction` is None.
        reduction: one map of all channels.
        scale: limits of each map, or of each row of the table.

    Raises:
        LayerError: the network has no such maps. ExportError: the file cannot be written. FmvizError: an unknown
        colour map.
    """
    from fmviz.pyramid import tap_maps

    colours = colour_table(colour_map, dark=dark)
    maps = tap_maps(capture, channel=channel, reduction=reduction, scale=scale)
    what = REDUCTION_WORDS[reduction] if reduction else f"channel {channel}"
    figure = pyramid_figure(maps, {tap: capture.taps[tap].maps.shape[1] for tap in maps}, facts, what)
    about = {
        **facts,
        "colour_map": colour_map,
        "channel": None if reduction else channel,
        "reduction": reduction,
        "scale": scale,
        "layers": {tap: str(capture.taps[tap].layer) for tap in maps},
    }
    stem = file_stems(capture, facts, ending=f"pyramid_{reduction or f'{channel:04d}'}")[""]
    return write_png(make_folder(folder) / f"{stem}.png", figure, colours, about)
