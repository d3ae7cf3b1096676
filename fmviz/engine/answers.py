"""What the engine knows, and how it answers each request.

torch is imported by the first request that needs it, so that a picture is on the screen before.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

import fmviz
from fmviz.engine.blocks import Blocks, pixels
from fmviz.engine.messages import (
    PROTOCOL,
    AnyRequest,
    BackboneInfo,
    Cancel,
    ChannelDescribed,
    DescribeChannel,
    Devices,
    DevicesFound,
    Doing,
    Dropped,
    Export,
    Exported,
    Hello,
    InputRead,
    LayerInfo,
    MapsRendered,
    PictureRead,
    PictureSource,
    Progress,
    Ran,
    ReadInput,
    ReadPicture,
    ReadValue,
    ReadVector,
    RenderMaps,
    RenderTaps,
    Reply,
    Run,
    Setup,
    TableRow,
    Tabulate,
    Tabulated,
    TapMaps,
    TapsRendered,
    ValueRead,
    VectorRead,
    WeightsInfo,
    Welcome,
)
from fmviz.errors import Cancelled, LayerError
from fmviz.pictures import Picture, read_picture

if TYPE_CHECKING:
    from fmviz.capture import Capture
    from fmviz.maps import Statistics
    from fmviz.preprocess import Preprocessing
    from fmviz.session import Session

Tell = Callable[[Doing, str, float | None], None]
"""Says what is being done, to what, and how much of it."""

Ask = Callable[[], bool]
"""Whether the request that is being worked on is no longer wanted."""

KEPT_PICTURES = 4


@dataclass(slots=True)
class _Shown:
    """The run that the window looks at. Its capture is gone while another one runs, and made again when asked for."""

    run: int
    source: PictureSource
    picture: Picture
    setup: Setup
    session: Session
    capture: Capture | None
    statistics: dict[str, Statistics] = field(default_factory=dict)


class Answers:
    """The engine's memory: the pictures it read last, the network that is loaded, and the capture that is shown."""

    def __init__(self) -> None:
        self._blocks = Blocks()
        self._pictures: dict[tuple[str, int, int, bytes], Picture] = {}
        self._shown: _Shown | None = None
        self._runs = 0

    def to(self, request: AnyRequest, *, progress: Tell, cancelled: Ask) -> Reply | Iterator[Reply]:
        """The answer to `request`: its final reply, or for a long one an iterator of `Progress` that ends with it."""
        match request:
            case Hello():
                return Welcome(id=request.id, protocol=PROTOCOL, version=fmviz.__version__, process=os.getpid())
            case Devices():
                return self._devices(request, progress)
            case ReadPicture():
                return self._read_picture(request)
            case Run():
                return self._run(request, progress, cancelled)
            case Tabulate():
                return _tabulate(request)
            case Cancel():
                return Dropped(id=request.id)
            case _:
                return self._about_the_capture(request, cancelled)

    def _about_the_capture(self, request: AnyRequest, cancelled: Ask) -> Reply | Iterator[Reply]:
        match request:
            case ReadInput():
                return self._read_input(request, cancelled)
            case RenderMaps():
                return self._render_maps(request, cancelled)
            case RenderTaps():
                return self._render_taps(request, cancelled)
            case ReadValue():
                return self._read_value(request, cancelled)
            case DescribeChannel():
                return self._describe_channel(request, cancelled)
            case ReadVector():
                return self._read_vector(request, cancelled)
            case Export():
                return self._export(request, cancelled)
        raise AssertionError(request)

    def _devices(self, request: Devices, progress: Tell) -> Reply:
        progress("loading torch", "", None)
        import torch

        from fmviz.networks import catalog
        from fmviz.session import devices

        rows = [catalog.backbone(name) for name in catalog.backbones()]
        return DevicesFound(
            id=request.id,
            torch=str(torch.__version__),
            devices=devices(),
            backbones=tuple(
                BackboneInfo(
                    name=row.name,
                    family=row.family,
                    paper=row.paper,
                    year=row.year,
                    parameters=row.parameters,
                    weights=row.weights,
                    pyramid=row.pyramid,
                    crop=row.preprocessing.crop,
                    minimum_input=row.minimum_input,
                )
                for row in rows
            ),
        )

    # Pictures

    def _picture(self, source: PictureSource) -> Picture:
        key = _key(source)
        if key not in self._pictures:
            picture = read_picture(source.data or source.path, name=source.name)
            while len(self._pictures) >= KEPT_PICTURES:
                del self._pictures[next(iter(self._pictures))]
            self._pictures[key] = picture
        return self._pictures[key]

    def _read_picture(self, request: ReadPicture) -> Reply:
        import PIL.Image

        picture = self._picture(request.source)
        image = PIL.Image.fromarray(picture.pixels)
        image.thumbnail((request.limit, request.limit), PIL.Image.Resampling.LANCZOS, reducing_gap=2.0)
        shown = np.asarray(image)
        target = self._blocks.array(request.block, shown.shape)
        target[...] = shown
        return PictureRead(
            id=request.id,
            name=picture.name,
            sha256=picture.sha256,
            note=picture.note,
            size=(picture.pixels.shape[0], picture.pixels.shape[1]),
            pixels=pixels(target, request.block),
        )

    # Runs

    def _run(self, request: Run, progress: Tell, cancelled: Ask) -> Reply:
        picture = self._picture(request.source)
        progress("loading torch", "", None)
        from fmviz.memory import check_budget
        from fmviz.preprocess import preprocess

        session = self._session(request.setup, progress)
        if cancelled():
            raise Cancelled
        fed = preprocess(picture, preprocessing_of(request.setup, session))
        session.check_size(fed.geometry.input_size)
        check_budget(session, fed.geometry.input_size)
        self._drop_capture()
        progress("running", request.setup.backbone, 0.0)
        capture = session.run(
            picture,
            preprocessing=fed.preprocessing,
            cancelled=_counting(cancelled, progress, request.setup.backbone, session),
        )
        self._runs += 1
        self._shown = _Shown(self._runs, request.source, picture, request.setup, session, capture)
        return self._ran(request.id, self._shown, capture)

    def _session(self, setup: Setup, progress: Tell) -> Session:
        from fmviz.session import Session

        shown = self._shown
        same = ("backbone", "weights", "seed", "device")
        if shown is not None and all(getattr(shown.setup, name) == getattr(setup, name) for name in same):
            return shown.session
        progress("loading", setup.backbone, None)
        return Session(setup.backbone, weights=setup.weights or None, seed=setup.seed, device=setup.device)

    def _drop_capture(self) -> None:
        if self._shown is not None:
            self._shown.capture = None
            self._shown.statistics.clear()

    def _ran(self, number: int, shown: _Shown, capture: Capture) -> Ran:
        assert capture.input is not None
        weights = shown.session.weights
        return Ran(
            id=number,
            run=shown.run,
            setup=shown.setup,
            picture_name=shown.source.name,
            geometry=capture.input.geometry,
            preprocessing=capture.input.preprocessing.words(),
            layers=tuple(_layers(capture)),
            weights=WeightsInfo(
                name=weights.name,
                sha256=weights.sha256,
                seed=weights.seed,
                untrained=weights.untrained,
                notes=weights.notes,
            ),
            predictions=tuple((name, share) for name, share in capture.predictions),
            seconds=capture.seconds,
            bytes=capture.nbytes,
            device=str(shown.session.device),
        )

    def _held(self, run: int, cancelled: Ask) -> tuple[_Shown, Capture]:
        """The run with its capture, made again where a later run that failed had taken its place."""
        shown = self._shown
        if shown is None or shown.run != run:
            raise Cancelled
        if shown.capture is None:
            shown.capture = shown.session.run(
                shown.picture,
                preprocessing=preprocessing_of(shown.setup, shown.session),
                cancelled=cancelled,
            )
        return shown, shown.capture

    # What is in the capture

    def _read_input(self, request: ReadInput, cancelled: Ask) -> Reply:
        _, capture = self._held(request.run, cancelled)
        assert capture.input is not None
        seen = capture.input.pixels()
        target = self._blocks.array(request.block, seen.shape)
        target[...] = seen
        return InputRead(id=request.id, pixels=pixels(target, request.block))

    def _statistics(self, shown: _Shown, capture: Capture, layer: str) -> Statistics:
        from fmviz.render import statistics

        if layer not in shown.statistics:
            shown.statistics[layer] = statistics(capture[layer].tensor)
        return shown.statistics[layer]

    def _render_maps(self, request: RenderMaps, cancelled: Ask) -> Reply:
        from fmviz.render import feature_maps, render

        shown, capture = self._held(request.run, cancelled)
        tensor = capture[request.layer].tensor
        channels, height, width = feature_maps(tensor).shape
        count = 1 if request.reduction else channels if request.channels is None else len(request.channels)
        shape = (count, -(-height // request.step), -(-width // request.step))
        statistics = self._statistics(shown, capture, request.layer)
        maps = render(
            tensor,
            channels=request.channels,
            reduction=request.reduction,
            normalisation=request.normalisation,
            limits=request.limits,
            step=request.step,
            out=self._blocks.array(request.block, shape),
            statistics=statistics,
        )
        return MapsRendered(
            id=request.id,
            run=request.run,
            layer=request.layer,
            pixels=pixels(maps.pixels, request.block),
            limits=maps.limits.tobytes(),
            statistics=_packed(statistics).tobytes(),
            step=request.step,
            channels=request.channels,
            normalisation=request.normalisation,
        )

    def _render_taps(self, request: RenderTaps, cancelled: Ask) -> Reply:
        from fmviz.pyramid import tap_maps

        _, capture = self._held(request.run, cancelled)
        rendered = tap_maps(capture, channel=request.channel, reduction=request.reduction, scale=request.scale)
        offset, taps = 0, []
        total = sum(maps.pixels.size for maps in rendered.values())
        target = self._blocks.array(request.block, (total,))
        for tap, maps in rendered.items():
            target[offset : offset + maps.pixels.size] = maps.pixels.ravel()
            taps.append(
                TapMaps(
                    tap=tap,
                    layer=str(capture.taps[tap].layer),
                    channels=capture.taps[tap].tensor.shape[1],
                    shape=maps.map_size,
                    offset=offset,
                    limits=(float(maps.limits[0, 0]), float(maps.limits[0, 1])),
                )
            )
            offset += maps.pixels.size
        return TapsRendered(
            id=request.id, run=request.run, taps=tuple(taps), data=b"" if request.block else target.tobytes()
        )

    def _read_value(self, request: ReadValue, cancelled: Ask) -> Reply:
        from fmviz.render import feature_maps, reduce_channels

        _, capture = self._held(request.run, cancelled)
        tensor = capture[request.layer].tensor
        maps = feature_maps(tensor)
        place = (request.channel if request.reduction is None else 0, request.row, request.column)
        if not all(0 <= index < length for index, length in zip(place, maps.shape, strict=True)):
            raise LayerError(
                f"{request.layer} has no value in channel {request.channel}, row {request.row}, column {request.column}: "
                f"it has {' × '.join(str(length) for length in maps.shape)}; choose a place within."
            )
        value = (maps if request.reduction is None else reduce_channels(tensor, request.reduction))[place]
        return ValueRead(id=request.id, value=float(value))

    def _describe_channel(self, request: DescribeChannel, cancelled: Ask) -> Reply:
        from fmviz.render import histogram

        shown, capture = self._held(request.run, cancelled)
        counts, edges = histogram(capture[request.layer].tensor, request.channel, bins=request.bins)
        numbers = _packed(self._statistics(shown, capture, request.layer))[:, request.channel]
        return ChannelDescribed(
            id=request.id,
            layer=request.layer,
            channel=request.channel,
            counts=counts.astype("<f8").tobytes(),
            edges=edges.astype("<f8").tobytes(),
            statistics=tuple(float(number) for number in numbers),
        )

    def _read_vector(self, request: ReadVector, cancelled: Ask) -> Reply:
        from fmviz.render import vector, why_not_spatial

        _, capture = self._held(request.run, cancelled)
        tensor = capture[request.layer].tensor
        values = vector(tensor).numpy().astype("<f8")
        return VectorRead(
            id=request.id,
            layer=request.layer,
            values=values.tobytes(),
            count=tensor.numel(),
            reason=why_not_spatial(tensor),
        )

    def _export(self, request: Export, cancelled: Ask) -> Iterator[Reply]:
        from fmviz.exporting import export, export_pyramid

        shown, capture = self._held(request.run, cancelled)
        facts = shown.session.facts(capture)
        if request.pyramid:
            path = export_pyramid(
                capture,
                facts,
                folder=request.folder,
                colour_map=request.colour_map,
                channel=request.channel,
                reduction=request.reduction,
                scale=request.scale,
            )
            yield Exported(id=request.id, folder=str(path.parent), files=1, skipped=())
            return
        files, skipped = 0, []
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
            cancelled=cancelled,
        ):
            files += record.path is not None
            skipped += [record.note] if record.note else []
            name = record.path.name if record.path else record.note
            yield Progress(id=request.id, doing="writing", name=name, fraction=record.done / max(record.total, 1))
        yield Exported(id=request.id, folder=request.folder, files=files, skipped=tuple(skipped))


def preprocessing_of(setup: Setup, session: Session) -> Preprocessing:
    """How the setup wants its picture prepared, on the ground of what the weights want."""
    own = session.backbone.preprocessing
    if setup.mode == "whole":
        return own.whole(setup.side or own.crop)
    return own.at(setup.side) if setup.side else own


def _key(source: PictureSource) -> tuple[str, int, int, bytes]:
    """What tells that a file is still the one that was read. A file that is not there is for `read_picture` to report."""
    try:
        status = os.stat(source.path) if source.path else None
    except OSError:
        status = None
    return (source.path, status.st_mtime_ns if status else 0, status.st_size if status else 0, source.data)


def _counting(cancelled: Ask, progress: Tell, name: str, session: Session) -> Ask:
    """`cancelled`, which counts how often it is asked (once a layer) and says ten times a second how far the run is."""
    total = sum(1 for _ in session.model.modules())
    state = {"asked": 0, "said": time.monotonic()}

    def ask() -> bool:
        state["asked"] += 1
        if time.monotonic() - state["said"] > 0.1:
            state["said"] = time.monotonic()
            progress("running", name, min(state["asked"] / total, 0.99))
        return cancelled()

    return ask


def _layers(capture: Capture) -> Iterator[LayerInfo]:
    from fmviz.render import is_spatial
    from fmviz.table import stride_of

    assert capture.input is not None
    size = capture.input.geometry.input_size
    taps: dict[str, list[str]] = {}
    for name, activation in capture.taps.items():
        taps.setdefault(str(activation.layer), []).append(name)
    for layer, activation in capture.items():
        shape = tuple(activation.tensor.shape)
        spatial = is_spatial(activation.tensor)
        yield LayerInfo(
            name=str(layer),
            path=layer.path,
            call=layer.call,
            item=layer.item,
            kind=activation.kind,
            shape=shape,
            stride=stride_of(size, (shape[2], shape[3])) if spatial else None,
            spatial=spatial,
            taps=tuple(taps.get(str(layer), ())),
        )


def _packed(statistics: Statistics) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(7, C) float64, in the order of the fields of `Statistics`."""
    columns = (
        statistics.minimum,
        statistics.maximum,
        statistics.mean,
        statistics.std,
        statistics.zeros,
        statistics.nans,
        statistics.infinities,
    )
    return np.stack([column.astype("<f8") for column in columns])


def _tabulate(request: Tabulate) -> Reply:
    from fmviz.table import layer_table

    table = layer_table(request.backbone, request.size)
    return Tabulated(
        id=request.id,
        backbone=request.backbone,
        size=request.size,
        rows=tuple(
            TableRow(
                path=row.path,
                kind=row.kind,
                detail=row.detail,
                depth=row.depth,
                input_shape=row.input_shape,
                output_shape=row.output_shape,
                parameters=row.parameters,
                parameters_in_all=row.parameters_in_all,
                activation_bytes=row.activation_bytes,
                calls=row.calls,
            )
            for row in table
        ),
        parameters=table.totals.parameters,
        buffers=table.totals.buffers,
        activation_bytes=table.totals.activation_bytes,
    )
