"""What is in the capture that the window looks at, and how each question about it is answered."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from fmviz.engine.blocks import Blocks, pixels
from fmviz.engine.framing import MAXIMUM_LENGTH
from fmviz.engine.messages import (
    ChannelDescribed,
    DescribeChannel,
    Export,
    Exported,
    FileMade,
    FindThings,
    InputRead,
    MapsRendered,
    MatrixRendered,
    PixelRead,
    Progress,
    ReadColumn,
    ReadField,
    ReadInput,
    ReadPixel,
    ReadValue,
    ReadVector,
    RenderMaps,
    RenderMatrix,
    RenderTaps,
    Reply,
    TapMaps,
    TapsRendered,
    ThingInfo,
    ThingsFound,
    ValueRead,
    VectorRead,
)
from fmviz.engine.shelf import Aside
from fmviz.engine.shown import Ask, Shown
from fmviz.errors import Cancelled, ExportError, LayerError

if TYPE_CHECKING:
    from torch import Tensor

    from fmviz.capture import Capture
    from fmviz.maps import Statistics
    from fmviz.pictures import Picture

_LOOK_AGAIN_S = 0.05
"""After which a request that waits for a picture to be decoded looks whether it is still wanted."""

AboutCapture = (
    ReadInput
    | RenderMaps
    | RenderTaps
    | FindThings
    | ReadValue
    | ReadPixel
    | DescribeChannel
    | ReadVector
    | RenderMatrix
    | ReadField
    | ReadColumn
    | Export
)


def answer(
    request: AboutCapture, shown: Shown, capture: Capture, blocks: Blocks, cancelled: Ask
) -> Reply | Iterator[Reply] | Aside:
    """Return the final reply to `request`.

    For an export, return an iterator of `Progress` that ends with the reply; for a pixel of a picture that is not decoded yet,
    an `Aside`, which computes the reply in a separate thread.
    """
    match request:
        case ReadInput():
            return _read_input(request, capture, blocks)
        case RenderMaps():
            return _render_maps(request, shown, capture, blocks)
        case RenderTaps():
            return _render_taps(request, shown, capture, blocks)
        case FindThings():
            return _find_things(request, capture)
        case ReadValue():
            return _read_value(request, shown, capture)
        case ReadPixel():
            return _read_pixel(request, capture, cancelled)
        case DescribeChannel():
            return _describe_channel(request, shown, capture)
        case ReadVector():
            return _read_vector(request, capture)
        case RenderMatrix():
            return _render_matrix(request, capture, blocks)
        case ReadField():
            from fmviz.engine.probing import field_of

            return field_of(request, shown, capture)
        case ReadColumn():
            from fmviz.engine.probing import column_at

            return column_at(request, shown, capture)
        case Export():
            return (
                _export_inline(request, shown, capture, cancelled)
                if request.inline
                else _export(request, shown, capture, cancelled)
            )


def _read_input(request: ReadInput, capture: Capture, blocks: Blocks) -> Reply:
    assert capture.input is not None
    seen = capture.input.pixels()
    target = blocks.array(request.block, seen.shape)
    target[...] = seen
    return InputRead(id=request.id, pixels=pixels(target, request.block))


def _statistics(shown: Shown, capture: Capture, layer: str) -> Statistics:
    from fmviz.statistics import finished, statistics_in_parts

    if layer not in shown.statistics:
        name, parts = shown.foreseen or ("", None)
        if parts is None or name != layer:
            parts = statistics_in_parts(capture[layer].maps)
        else:
            shown.foreseen = None
        shown.statistics[layer] = finished(parts)
    return shown.statistics[layer]


def foresee(shown: Shown, capture: Capture) -> bool:
    """Find out a part of the statistics of one more layer, which take longer than its maps do; False where all is done.

    A request that comes meanwhile waits for a few milliseconds, and a core is left to the window.
    """
    import torch

    from fmviz.errors import FmvizError
    from fmviz.statistics import statistics_in_parts

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))
    try:
        if shown.foreseen is None:
            name = _next_unknown(shown, capture)
            if name is None:
                return False
            shown.foreseen = (name, statistics_in_parts(capture[name].maps))
        next(shown.foreseen[1])
    except StopIteration as end:
        assert shown.foreseen is not None
        shown.statistics[shown.foreseen[0]] = end.value
        shown.foreseen = None
    # Whoever asks for this layer hears of it.
    except (FmvizError, RuntimeError, MemoryError):
        shown.foreseen = None
        return False
    finally:
        torch.set_num_threads(threads)
    return True


def _next_unknown(shown: Shown, capture: Capture) -> str | None:
    for layer, activation in capture.items():
        # Whether there are maps may take a copy of all of it to say: it is asked last.
        if str(layer) not in shown.statistics and not activation.why_no_maps:
            return str(layer)
    return None


def _render_maps(request: RenderMaps, shown: Shown, capture: Capture, blocks: Blocks) -> Reply:
    from fmviz.render import feature_maps, render

    tensor = capture[request.layer].maps
    channels, height, width = feature_maps(tensor).shape
    count = 1 if request.reduction else channels if request.channels is None else len(request.channels)
    shape = (count, -(-height // request.step), -(-width // request.step))
    statistics = _statistics(shown, capture, request.layer)
    maps = render(
        tensor,
        channels=request.channels,
        reduction=request.reduction,
        normalisation=request.normalisation,
        limits=request.limits,
        step=request.step,
        out=blocks.array(request.block, shape),
        statistics=statistics,
    )
    return MapsRendered(
        id=request.id,
        run=request.run,
        layer=request.layer,
        pixels=pixels(maps.pixels, request.block),
        limits=maps.limits.tobytes(),
        statistics=_packed(statistics).tobytes() if request.channels is None and request.reduction is None else b"",
        step=request.step,
        channels=request.channels,
        normalisation=request.normalisation,
    )


def _render_taps(request: RenderTaps, shown: Shown, capture: Capture, blocks: Blocks) -> Reply:
    from fmviz.engine.learning import levels
    from fmviz.pyramid import maps_of

    tensors = {tap: activation.maps for tap, activation in capture.taps.items()}
    if request.snapshot:
        made = dict(levels(capture, request.snapshot))
        shown.levels = (request.snapshot, made)
        tensors = {tap: tensor for tap, tensor in tensors.items() if tap[0] == "C"} | made
    rendered = maps_of(tensors, channel=request.channel, reduction=request.reduction, scale=request.scale)
    offset, taps = 0, []
    total = sum(maps.pixels.size for maps in rendered.values())
    target = blocks.array(request.block, (total,))
    for tap, maps in rendered.items():
        target[offset : offset + maps.pixels.size] = maps.pixels.ravel()
        taps.append(
            TapMaps(
                tap=tap,
                layer=str(capture.taps[tap].layer),
                channels=tensors[tap].shape[1],
                shape=maps.map_size,
                offset=offset,
                limits=(float(maps.limits[0, 0]), float(maps.limits[0, 1])),
                constant=any(maps.constant),
            )
        )
        offset += maps.pixels.size
    return TapsRendered(
        id=request.id, run=request.run, taps=tuple(taps), data=b"" if request.block else target.tobytes()
    )


def _find_things(request: FindThings, capture: Capture) -> Reply:
    from fmviz.training.detect import detect

    assert capture.input is not None
    outputs = capture.output if isinstance(capture.output, Mapping) else {}
    return ThingsFound(
        id=request.id,
        run=request.run,
        things=tuple(
            ThingInfo(
                level=found.level,
                score=found.score,
                box=(found.box.left, found.box.top, found.box.right, found.box.bottom),
            )
            for found in detect(outputs, capture.input.geometry.input_size)
        ),
    )


def _read_value(request: ReadValue, shown: Shown, capture: Capture) -> Reply:
    from fmviz.render import feature_maps, reduce_channels

    tensor = _mapped(request, shown, capture)
    maps = feature_maps(tensor)
    place = (request.channel if request.reduction is None else 0, request.row, request.column)
    if not all(0 <= index < length for index, length in zip(place, maps.shape, strict=True)):
        raise LayerError(
            f"{request.layer} has no value in channel {request.channel}, row {request.row}, column {request.column}: "
            f"it has {' × '.join(str(length) for length in maps.shape)}; choose a place within."
        )
    value = (maps if request.reduction is None else reduce_channels(tensor, request.reduction))[place]
    return ValueRead(id=request.id, value=float(value))


def _mapped(request: ReadValue, shown: Shown, capture: Capture) -> Tensor:
    """Return the tensor (1, C, h, w) that a value is read from."""
    if not request.snapshot or request.tap[:1] == "C":
        from fmviz.channels import matrix_stack

        activation = capture[request.layer]
        return matrix_stack(activation.tensor) if activation.why_no_maps else activation.maps
    made, levels = shown.levels
    if made != request.snapshot or request.tap not in levels:
        # The pyramid was drawn anew meanwhile: the next move of the pointer reads from that one.
        raise Cancelled
    return levels[request.tap]


def _read_pixel(request: ReadPixel, capture: Capture, cancelled: Ask) -> Reply | Aside:
    assert capture.input is not None
    place = (request.row, request.column)
    size = capture.picture.size if request.picture and capture.picture else capture.input.geometry.input_size
    if not all(0 <= index < length for index, length in zip(place, size, strict=True)):
        raise LayerError(f"There is no pixel in row {request.row}, column {request.column} of {size[0]} × {size[1]}.")
    if not request.picture or capture.picture is None:
        values = capture.input.tensor[0, :, request.row, request.column].tolist()
        return PixelRead(id=request.id, values=tuple(values))
    picture = capture.picture
    if picture.is_decoded:
        return _pixel_read(request, picture.pixels)
    return Aside(lambda: _read_pixel_of(picture, request, cancelled))


def _read_pixel_of(picture: Picture, request: ReadPixel, cancelled: Ask) -> Reply:
    """Read a pixel of a large JPEG, which is decoded whole first: reduced, its pixels are averages and not the file's.

    This takes a second or more, so it runs in a separate thread. It ends early if a newer request supersedes this one.
    """
    pixels = None
    while pixels is None:
        if cancelled():
            raise Cancelled
        pixels = picture.pixels_within(_LOOK_AGAIN_S)
    return _pixel_read(request, pixels)


def _pixel_read(request: ReadPixel, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Reply:
    return PixelRead(id=request.id, values=tuple(map(float, pixels[request.row, request.column].tolist())))


def _describe_channel(request: DescribeChannel, shown: Shown, capture: Capture) -> Reply:
    from fmviz.render import histogram

    counts, edges = histogram(capture[request.layer].maps, request.channel, bins=request.bins)
    numbers = _packed(_statistics(shown, capture, request.layer))[:, request.channel]
    return ChannelDescribed(
        id=request.id,
        layer=request.layer,
        channel=request.channel,
        counts=counts.astype("<f8").tobytes(),
        edges=edges.astype("<f8").tobytes(),
        statistics=tuple(float(number) for number in numbers),
    )


def _read_vector(request: ReadVector, capture: Capture) -> Reply:
    from fmviz.render import vector

    tensor = capture[request.layer].tensor
    values = vector(tensor).numpy().astype("<f8")
    return VectorRead(
        id=request.id,
        layer=request.layer,
        values=values.tobytes(),
        count=tensor.numel(),
        reason=capture[request.layer].why_no_maps,
    )


def _render_matrix(request: RenderMatrix, capture: Capture, blocks: Blocks) -> Reply:
    from fmviz.channels import matrix_stack
    from fmviz.render import render

    activation = capture[request.layer]
    stack = matrix_stack(activation.tensor)
    height, width = stack.shape[2:]
    maps = render(
        stack,
        channels=(request.number,),
        normalisation=request.normalisation,
        step=request.step,
        out=blocks.array(request.block, (1, -(-height // request.step), -(-width // request.step))),
    )
    return MatrixRendered(
        id=request.id,
        run=request.run,
        layer=request.layer,
        number=request.number,
        pixels=pixels(maps.pixels, request.block),
        limits=(float(maps.limits[0, 0]), float(maps.limits[0, 1])),
        constant=any(maps.constant),
        reason=activation.why_no_maps,
    )


def _export_inline(request: Export, shown: Shown, capture: Capture, cancelled: Ask) -> Iterator[Reply]:
    """The same for a window on another computer: each file goes there as soon as it is whole."""
    with tempfile.TemporaryDirectory(prefix="fmviz-") as folder:
        here = msgspec.structs.replace(request, folder=folder)
        for reply in _export(here, shown, capture, cancelled):
            if isinstance(reply, Exported):
                reply = msgspec.structs.replace(reply, folder=request.folder)
            for path in sorted(Path(folder).iterdir()):
                # What is written aside is no file yet.
                if not path.name.startswith("."):
                    if path.stat().st_size > MAXIMUM_LENGTH - 65536:
                        raise ExportError(f"{path.name} is too large to be sent here: export fewer layers at a time.")
                    yield FileMade(id=request.id, name=path.name, data=path.read_bytes())
                    path.unlink()
            yield reply


def _export(request: Export, shown: Shown, capture: Capture, cancelled: Ask) -> Iterator[Reply]:
    from fmviz.exporting import export, export_pyramid
    from fmviz.writing import names_in

    facts = shown.session.facts(capture)
    if request.pyramid:
        there = names_in(request.folder)
        path = export_pyramid(
            capture,
            facts,
            folder=request.folder,
            colour_map=request.colour_map,
            channel=request.channel,
            reduction=request.reduction,
            scale=request.scale,
        )
        replaced = int(path.name in there)
        yield Exported(id=request.id, folder=str(path.parent), files=1, skipped=(), replaced=replaced)
        return
    files, replaced, skipped = 0, 0, []
    for record in export(
        capture,
        facts,
        layers=request.layers,
        folder=request.folder,
        form=request.form,
        colour_map=request.colour_map,
        normalisation=request.normalisation,
        size="map" if request.size == 0 else "picture" if request.size == -1 else request.size,
        channels=request.channels,
        reduction=request.reduce,
        limits=request.limits,
        over_picture=request.over_picture,
        cancelled=cancelled,
    ):
        files += record.path is not None
        replaced += record.replaced
        skipped += [record.note] if record.note else []
        name = record.path.name if record.path else record.note
        yield Progress(id=request.id, doing="writing", name=name, fraction=record.done / max(record.total, 1))
    yield Exported(id=request.id, folder=request.folder, files=files, skipped=tuple(skipped), replaced=replaced)


def _packed(statistics: Statistics) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(8, C) float64, in the order of the fields of `Statistics`."""
    columns = (
        statistics.minimum,
        statistics.maximum,
        statistics.mean,
        statistics.std,
        statistics.zeros,
        statistics.nans,
        statistics.infinities,
        statistics.constant,
    )
    return np.stack([column.astype("<f8") for column in columns])
