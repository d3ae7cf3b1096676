"""What the engine knows, and how it answers each request.

torch is imported by the first request that needs it, so that a picture is on the screen before.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

import msgspec
import numpy as np

import fmviz
from fmviz.engine import contents, shelf
from fmviz.engine.blocks import Blocks, pixels
from fmviz.engine.contents import AboutCapture
from fmviz.engine.learning import keep, learn
from fmviz.engine.lent import LentFiles
from fmviz.engine.messages import (
    PROTOCOL,
    AnyRequest,
    CallInfo,
    Cancel,
    Compare,
    Devices,
    Dropped,
    Fetch,
    FormatTable,
    Hello,
    KeepPyramid,
    LayerInfo,
    Learn,
    Lend,
    ListCache,
    ListNetworks,
    PictureRead,
    PictureSource,
    Propose,
    Ran,
    ReadPicture,
    Reply,
    Run,
    Setup,
    TableRow,
    Tabulate,
    Tabulated,
    TidiedUp,
    TidyUp,
    TimeLayers,
    Trust,
    WeightsInfo,
    Welcome,
)
from fmviz.engine.shelf import Aside, Tell
from fmviz.engine.shown import Ask, Shown
from fmviz.errors import Cancelled, FmvizError, ForwardError
from fmviz.networks.shards import files_of
from fmviz.own_model import PREFIX
from fmviz.picture_options import PictureOptions
from fmviz.pictures import Picture, read_picture
from fmviz.strays import remove_strays

if TYPE_CHECKING:
    from fmviz.capture import Capture
    from fmviz.engine.falling_back import Keep
    from fmviz.preprocess import Preprocessing
    from fmviz.session import Session
    from fmviz.table import Call, LayerTable, Row

KEPT_PICTURES = 4
_NOTES = 3
"""Sentences on omitted outputs that a window shows at most."""
PictureKey = tuple[str, int, int, bytes, PictureOptions]
DEVICE_LOST = 70
"""The exit code of an engine whose accelerator cannot be used any more."""


class Answers:
    """The engine's memory: the pictures it read last, the network that is loaded, and the capture that is shown.

    Args:
        live: a network of the program that this engine runs in. It is used as it is, under its backbone's name.
    """

    def __init__(self, live: Session | None = None) -> None:
        self._live = live
        self._blocks = Blocks()
        self._pictures: dict[PictureKey, Picture] = {}
        self._shown: Shown | None = None
        self._runs = 0
        self._lent = LentFiles()

    def to(self, request: AnyRequest, *, progress: Tell, cancelled: Ask) -> Reply | Iterator[Reply] | Aside:
        """The answer to `request`: its final reply; for a long one an iterator of `Progress` that ends with it, or what
        makes it in a thread of its own."""
        match request:
            case Hello():
                return Welcome(id=request.id, protocol=PROTOCOL, version=fmviz.__version__, process=os.getpid())
            case Devices() | ListNetworks() | Fetch() | ListCache() | Propose() | Trust():
                if isinstance(request, Propose):
                    request = msgspec.structs.replace(request, path=self._lent.place(request.path))
                return shelf.answer(request, progress, cancelled, live=self._live, shown=self._shown)
            case ReadPicture():
                return self._read_picture(request)
            case Run():
                return self._run(request, progress, cancelled)
            case Learn():
                return Aside(lambda: learn(request, progress, cancelled))
            case KeepPyramid():
                return keep(request)
            case Tabulate():
                return self._tabulate(request)
            case Lend():
                return self._lent.take(request)
            case FormatTable() | Compare() | TimeLayers():
                return self._of_the_table(request, progress, cancelled)
            case TidyUp():
                return Aside(lambda: TidiedUp(id=request.id, removed=remove_strays(request.folder)))
            case Cancel():
                return Dropped(id=request.id)
            case _:
                return self._about_the_capture(request, cancelled)

    def foresee(self) -> bool:
        """Find out the numbers of one more layer that nobody has looked at yet; False where there is none left."""
        shown = self._shown
        return shown is not None and shown.capture is not None and contents.foresee(shown, shown.capture)

    def _about_the_capture(self, request: AboutCapture, cancelled: Ask) -> Reply | Iterator[Reply] | Aside:
        shown, capture = self._held(request.run, cancelled)
        return contents.answer(request, shown, capture, self._blocks, cancelled)

    # Pictures

    def _picture(self, source: PictureSource) -> Picture:
        key = _key(source)
        if key not in self._pictures:
            options = source.options
            picture = read_picture(
                source.data or source.path, name=source.name, bands=options.bands, stretch=options.stretch
            )
            while len(self._pictures) >= KEPT_PICTURES:
                del self._pictures[next(iter(self._pictures))]
            self._pictures[key] = picture
        return self._pictures[key]

    def _read_picture(self, request: ReadPicture) -> Reply:
        import PIL.Image

        picture = self._picture(request.source)
        # With a longer side of twice the limit, if the shorter one has its share.
        share = 2 * request.limit * min(picture.size) / max(picture.size)
        image = PIL.Image.fromarray(picture.at_least(math.ceil(share)))
        image.thumbnail((request.limit, request.limit), PIL.Image.Resampling.LANCZOS, reducing_gap=2.0)
        shown = np.asarray(image)
        target = self._blocks.array(request.block, shown.shape)
        target[...] = shown
        return PictureRead(
            id=request.id,
            name=picture.name,
            sha256=picture.sha256,
            note=picture.note,
            size=picture.size,
            pixels=pixels(target, request.block),
            bands=picture.bands,
        )

    # Runs

    def _run(self, request: Run, progress: Tell, cancelled: Ask) -> Reply:
        picture = self._picture(request.source)
        progress("loading torch", "", None)
        from fmviz.engine.falling_back import run_with_less
        from fmviz.failures import is_device_lost
        from fmviz.memory import check_budget
        from fmviz.preprocess import preprocess

        session = self._session(request.setup, progress)
        if cancelled():
            raise Cancelled
        fed = preprocess(picture, preprocessing_of(request.setup, session))
        session.check_size(fed.geometry.input_size)
        self._drop_capture()
        progress("running", request.setup.backbone, 0.0)
        asked = _counting(cancelled, progress, request.setup.backbone, session)

        def run(keep: Keep | None) -> tuple[Capture, str]:
            if keep is None:
                check_budget(session, fed.geometry.input_size)
            return _run_as_far_as_it_goes(session, picture, fed.preprocessing, asked, keep)

        try:
            (capture, stopped), less = run_with_less(session, run)
        except (FmvizError, RuntimeError) as error:
            if is_device_lost(error) and self._live is None:
                _end_with_the_device(session.device, error)
            raise
        stopped = stopped or less
        self._runs += 1
        stamp = self._stamp(request.setup)
        self._shown = Shown(self._runs, request.source, picture, request.setup, session, capture, stamp)
        return self._ran(request.id, self._shown, capture, stopped)

    def _session(self, setup: Setup, progress: Tell) -> Session:
        from fmviz.session import Session

        shown = self._shown
        same = ("backbone", "weights", "seed", "device")
        if self._live is not None and setup.backbone == self._live.backbone.name:
            return self._live
        # A file of weights or of code that was written anew since then is another one.
        if (
            shown is not None
            and all(getattr(shown.setup, name) == getattr(setup, name) for name in same)
            and shown.stamp == self._stamp(setup)
        ):
            return shown.session
        progress("loading", setup.backbone, None)
        weights = self._lent.place(setup.weights)
        return Session(setup.backbone, weights=weights or None, seed=setup.seed, device=setup.device)

    def _stamp(self, setup: Setup) -> tuple[tuple[int, int], ...]:
        """What tells that the files of a setup are still those that were loaded."""
        code = setup.backbone.removeprefix(PREFIX).rpartition(":")[0] if setup.backbone.startswith(PREFIX) else ""
        return (_written(code), *_written_weights(self._lent.place(setup.weights)))

    def _drop_capture(self) -> None:
        if self._shown is not None:
            self._shown.capture = None
            self._shown.statistics.clear()
            self._shown.foreseen = None

    def _ran(self, number: int, shown: Shown, capture: Capture, stopped: str) -> Ran:
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
                seed=weights.seed,
                untrained=weights.untrained,
                untrained_paths=weights.untrained_paths,
                trained_on=weights.trained_on,
                notes=weights.notes,
            ),
            predictions=tuple((name, share) for name, share in capture.predictions),
            seconds=capture.seconds,
            bytes=capture.nbytes,
            device=str(shown.session.device),
            stopped=stopped,
            notes=capture.notes(_NOTES),
        )

    def _tabulate(self, request: Tabulate) -> Reply:
        return _tabulated(request, self._table(request.backbone, request.size))

    def _of_the_table(self, request: FormatTable | Compare | TimeLayers, progress: Tell, cancelled: Ask) -> Reply:
        from fmviz.engine import tabling

        match request:
            case FormatTable():
                return tabling.formatted(request, self._table)
            case Compare():
                return tabling.compared(request, self._table)
            case TimeLayers():
                shown = self._shown
                if shown is None or shown.run != request.run:
                    raise Cancelled
                wanted = preprocessing_of(shown.setup, shown.session)
                return tabling.timed(request, shown, wanted, cancelled, progress)

    def _table(self, name: str, size: tuple[int, int]) -> LayerTable:
        """Of any network at any size."""
        from fmviz.table import layer_table

        shown, live = self._shown, self._live
        # What is there is measured itself: another one might be made differently.
        if live is not None and name == live.backbone.name:
            return live.table(size)
        if shown is not None and shown.setup.backbone == name:
            return shown.session.table(size)
        return layer_table(name, size)

    def _held(self, run: int, cancelled: Ask) -> tuple[Shown, Capture]:
        """The run with its capture, made again where a later run that failed had taken its place."""
        shown = self._shown
        if shown is None or shown.run != run:
            raise Cancelled
        if shown.capture is None:
            from fmviz.engine.falling_back import run_with_less

            wanted = preprocessing_of(shown.setup, shown.session)
            (capture, _), _ = run_with_less(
                shown.session,
                lambda keep: _run_as_far_as_it_goes(shown.session, shown.picture, wanted, cancelled, keep),
            )
            shown.capture = capture
        return shown, shown.capture


def preprocessing_of(setup: Setup, session: Session) -> Preprocessing:
    """How the setup wants its picture prepared, on the ground of what the weights want."""
    own = session.preprocessing
    if setup.mode == "whole":
        return own.whole(setup.side or own.crop)
    return own.at(setup.side) if setup.side else own


def _run_as_far_as_it_goes(
    session: Session, picture: Picture, preprocessing: Preprocessing, cancelled: Ask, keep: Keep | None
) -> tuple[Capture, str]:
    """The capture; and "", or where and why the network raised, with the layers up to there."""
    from fmviz.capture import Capture
    from fmviz.failures import is_device_lost

    try:
        return session.run(picture, preprocessing=preprocessing, keep=keep, cancelled=cancelled), ""
    except ForwardError as error:
        if is_device_lost(error) or not isinstance(error.capture, Capture) or not len(error.capture):
            raise
        return error.capture, str(error)


def _end_with_the_device(device: object, error: BaseException) -> NoReturn:
    """After a failed assertion on a GPU nothing runs on it any more in this process: the window starts another."""
    from fmviz.failures import one_line

    print(
        f"{device} failed and cannot be used by this engine any more ({one_line(error)}).", file=sys.stderr, flush=True
    )
    os._exit(DEVICE_LOST)


def _written_weights(path: str) -> tuple[tuple[int, int], ...]:
    """When the files of a checkpoint were written, and their sizes; () where it is no path."""
    return tuple(_written(str(file)) for file in files_of(path)) if path and os.path.exists(path) else ()


def _written(path: str) -> tuple[int, int]:
    """When a file was written, in nanoseconds, and its size; zeros where there is none."""
    try:
        status = os.stat(path) if path else None
    except (OSError, ValueError):
        status = None
    return (status.st_mtime_ns, status.st_size) if status else (0, 0)


def _key(source: PictureSource) -> PictureKey:
    """What tells that a file is still the one that was read. A file that is not there is for `read_picture` to report."""
    return (source.path, *_written(source.path), source.data, source.options)


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
    from fmviz.channels import shape_of
    from fmviz.geometry import stride_of

    assert capture.input is not None
    size = capture.input.geometry.input_size
    taps: dict[str, list[str]] = {}
    for name, activation in capture.taps.items():
        taps.setdefault(str(activation.layer), []).append(name)
    for layer, activation in capture.items():
        spatial = not activation.why_no_maps
        shape = shape_of(activation.maps if spatial else activation.tensor)
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
            magnitude=activation.tensor.is_complex(),
        )


def _tabulated(request: Tabulate, table: LayerTable) -> Reply:
    totals = table.totals
    return Tabulated(
        id=request.id,
        backbone=request.backbone,
        size=request.size,
        rows=tuple(map(_table_row, table)),
        parameters=totals.parameters,
        trainable=totals.trainable,
        buffers=totals.buffers,
        parameter_bytes=totals.parameter_bytes,
        macs=totals.macs,
        other_operations=totals.other_operations,
        not_counted=totals.not_counted,
        activation_bytes=totals.activation_bytes,
        capture_bytes=totals.capture_bytes,
        peak_bytes=totals.peak_bytes,
        layers=totals.layers,
        head_parameters=totals.head_parameters,
        shared=totals.shared,
        assumed_input=totals.assumed_input,
    )


def _table_row(row: Row) -> TableRow:
    field = row.receptive_field
    return TableRow(
        path=row.path,
        kind=row.kind,
        detail=row.detail,
        depth=row.depth,
        stage=row.stage,
        input_shape=row.input_shape,
        output_shape=row.output_shape,
        leaf=row.leaf,
        own_parameters=row.own_parameters,
        parameters=row.parameters,
        own_trainable=row.own_trainable,
        trainable=row.trainable,
        own_buffers=row.own_buffers,
        buffers=row.buffers,
        own_macs=row.own_macs,
        macs=row.macs,
        own_other_operations=row.own_other_operations,
        other_operations=row.other_operations,
        not_counted=row.not_counted,
        activation_bytes=row.activation_bytes,
        calls=row.calls,
        stride=row.stride,
        field=field.words() if field else "",
        field_size=field.size if field else None,
        each_call=tuple(map(_call_info, row.each_call)) if row.calls > 1 else (),
    )


def _call_info(call: Call) -> CallInfo:
    return CallInfo(
        input_shape=call.input_shape,
        output_shape=call.output_shape,
        macs=call.macs,
        other_operations=call.other_operations,
        activation_bytes=call.activation_bytes,
        field=call.receptive_field.words() if call.receptive_field else "",
    )
