"""The flow of what is looked at: maps, one channel, the pyramid, the input, the value under the pointer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QObject, Signal

from fmviz.app.blocks import Block, SharedPixels
from fmviz.app.drawn_map import DrawnMap
from fmviz.app.layer_maps import LayerMaps
from fmviz.app.link import EngineLink
from fmviz.app.state import Store
from fmviz.app.wanted import (
    ChannelWanted,
    MatrixWanted,
    TapsWanted,
    ThingsWanted,
    VectorWanted,
    channel_wanted,
    matrix_wanted,
    taps_wanted,
    things_wanted,
    vector_wanted,
)
from fmviz.engine.messages import (
    AnyReply,
    ChannelDescribed,
    DescribeChannel,
    Dropped,
    Failed,
    FindThings,
    InputRead,
    MapsRendered,
    MatrixRendered,
    PixelRead,
    ReadInput,
    ReadPixel,
    ReadValue,
    ReadVector,
    RenderMaps,
    RenderMatrix,
    RenderTaps,
    TapMaps,
    TapsRendered,
    ThingsFound,
    ValueRead,
    VectorRead,
)


class ShownChannel(msgspec.Struct, frozen=True, eq=False):
    """One map at its full size."""

    drawn: DrawnMap
    pixels: SharedPixels

    @property
    def layer(self) -> str:
        return self.drawn.layer

    @property
    def channel(self) -> int:
        return self.drawn.channel


class ShownTaps(msgspec.Struct, frozen=True, eq=False):
    """The maps of the pyramid, by their names."""

    maps: dict[str, tuple[TapMaps, npt.NDArray[np.uint8]]]
    block: Block | None
    wanted: TapsWanted

    def drawn(self, tap: str) -> DrawnMap:
        """Return the identity of the map of a tap."""
        info, wanted = self.maps[tap][0], self.wanted
        return DrawnMap(
            run=wanted.run,
            layer=info.layer,
            map_size=info.shape,
            channel=wanted.channel,
            reduction=wanted.reduction,
            tap=tap,
            snapshot=wanted.snapshot if tap[0] != "C" else "",
            normalisation="fixed" if wanted.scale == "row" else "map",
            limits=info.limits,
            constant=info.constant,
        )


class ShownMatrix(msgspec.Struct, frozen=True, eq=False):
    """One matrix of a layer without maps; `reason` says why there are none."""

    drawn: DrawnMap
    pixels: SharedPixels
    reason: str


class Looking(QObject):
    """Asks the engine for what the state wants to see, when that differs from what was asked last."""

    maps_asked = Signal()
    awaited = Signal(object)
    """Whether something of the layer that is wanted has yet to come: its maps, its channel, its vector, its matrix."""
    maps_came = Signal(object)
    vector_came = Signal(object)
    channel_came = Signal(object)
    description_came = Signal(object)
    taps_came = Signal(object)
    matrix_came = Signal(object)
    """A `ShownMatrix`."""
    things_came = Signal(object)
    """A tuple of `ThingInfo`; empty where none are wanted."""
    input_came = Signal(object)
    read = Signal(object, object, object)
    """A `DrawnMap`, the (row, column) of a cell or pixel of it, and the values there: one of a map, one a channel of a picture
    or of the network's input."""
    failed = Signal(object, object, object, object)
    """Place, message, remedies, details."""

    def __init__(self, store: Store, link: EngineLink, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._link = link
        self._maps = LayerMaps(store, link, self)
        self._maps.asked.connect(self.maps_asked)
        self._maps.awaited.connect(lambda awaited: self._await("maps", awaited))
        self._maps.came.connect(self.maps_came)
        self._maps.failed.connect(lambda message, details: self.failed.emit("maps", message, (), details))
        self._vector: VectorWanted | None = None
        self._matrix: MatrixWanted | None = None
        self._channel: ChannelWanted | None = None
        self._taps: TapsWanted | None = None
        self._things: ThingsWanted | None = None
        self._input = 0
        self._awaited: set[str] = set()

    def forget(self) -> None:
        """The capture that answers came from is gone: ask for everything anew."""
        self._maps.forget()
        self._vector = self._matrix = self._channel = self._taps = self._things = None
        self._input = 0
        for what in ("vector", "matrix", "channel"):
            self._await(what, False)

    def set_beside(self, above: str, below: str) -> None:
        """The layers above and below the current one in the list; empty where there is none."""
        self._maps.set_beside(above, below)

    def ask_for_the_difference(self) -> None:
        """Compare what the state wants with what was asked, and ask."""
        self._maps.ask_for_the_difference()
        self._ask_vector()
        self._ask_matrix()
        self._ask_channel()
        self._ask_taps()
        self._ask_things()
        self._ask_input()

    def _await(self, what: str, awaited: bool) -> None:
        if awaited:
            self._awaited.add(what)
            self.awaited.emit(True)
        elif what in self._awaited:
            self._awaited.remove(what)
            if not self._awaited:
                self.awaited.emit(False)

    def _ask_vector(self) -> None:
        wanted = vector_wanted(self._store.state)
        if wanted is not None and wanted != self._vector:
            heard = partial(self._vector_read, wanted)
            self._link.ask(ReadVector, heard, lane="maps", run=wanted.run, layer=wanted.layer)
            self._await("vector", True)
        elif wanted is None:
            self._await("vector", False)
        self._vector = wanted

    def _vector_read(self, wanted: VectorWanted, reply: AnyReply, _block: Block | None) -> None:
        if wanted == self._vector and not isinstance(reply, Dropped):
            self._await("vector", False)
        if isinstance(reply, VectorRead) and self._vector is not None and reply.layer == self._vector.layer:
            self.vector_came.emit((reply.layer, _floats(reply.values), reply.count, reply.reason))
        elif isinstance(reply, Failed):
            self.failed.emit("maps", reply.message, (), reply.details)

    def _ask_matrix(self) -> None:
        wanted = matrix_wanted(self._store.state)
        if wanted is not None and wanted != self._matrix:
            self._link.ask(
                RenderMatrix,
                partial(self._matrix_rendered, wanted),
                block=wanted.size,
                lane="matrix",
                run=wanted.run,
                layer=wanted.layer,
                number=wanted.number,
                normalisation=wanted.normalisation,
                step=wanted.step,
            )
            self._await("matrix", True)
        elif wanted is None:
            self._await("matrix", False)
        self._matrix = wanted

    def _matrix_rendered(self, wanted: MatrixWanted, reply: AnyReply, block: Block | None) -> None:
        if wanted == self._matrix and not isinstance(reply, Dropped):
            self._await("matrix", False)
        if isinstance(reply, MatrixRendered) and wanted == self._matrix:
            drawn = DrawnMap(
                run=wanted.run,
                layer=wanted.layer,
                map_size=wanted.map_size,
                channel=wanted.number,
                normalisation=wanted.normalisation,
                limits=reply.limits,
                constant=reply.constant,
                kind="matrix",
            )
            self.matrix_came.emit(ShownMatrix(drawn, SharedPixels.of(reply.pixels, block), reply.reason))
        elif isinstance(reply, Failed):
            self.failed.emit("maps", reply.message, (), reply.details)

    def _ask_channel(self) -> None:
        wanted = channel_wanted(self._store.state)
        if wanted is not None and wanted != self._channel:
            same: dict[str, Any] = {"run": wanted.run, "layer": wanted.layer, "at_once": False}
            self._link.ask(
                RenderMaps,
                partial(self._channel_rendered, wanted),
                block=wanted.size,
                lane="channel",
                channels=(wanted.channel,),
                normalisation=wanted.normalisation,
                **same,
            )
            self._link.ask(
                DescribeChannel, partial(self._described, wanted), lane="description", channel=wanted.channel, **same
            )
            self._await("channel", True)
        elif wanted is None:
            self._await("channel", False)
        self._channel = wanted

    def _channel_rendered(self, wanted: ChannelWanted, reply: AnyReply, block: Block | None) -> None:
        if wanted == self._channel and not isinstance(reply, Dropped):
            self._await("channel", False)
        if isinstance(reply, MapsRendered) and wanted == self._channel:
            low, high = _floats(reply.limits)[:2]
            pixels = SharedPixels.of(reply.pixels, block)
            drawn = DrawnMap(
                run=wanted.run,
                layer=reply.layer,
                map_size=(pixels.array.shape[1], pixels.array.shape[2]),
                channel=wanted.channel,
                normalisation=wanted.normalisation,
                limits=(float(low), float(high)),
            )
            self.channel_came.emit(ShownChannel(drawn, pixels))
        elif isinstance(reply, Failed):
            self.failed.emit("channel", reply.message, (), reply.details)

    def _described(self, wanted: ChannelWanted, reply: AnyReply, _block: Block | None) -> None:
        if isinstance(reply, ChannelDescribed) and wanted == self._channel:
            self.description_came.emit((wanted, _floats(reply.counts), _floats(reply.edges), reply.statistics))

    def _ask_taps(self) -> None:
        wanted = taps_wanted(self._store.state)
        if wanted is not None and wanted != self._taps:
            self._link.ask(
                RenderTaps,
                partial(self._taps_rendered, wanted),
                block=wanted.size,
                lane="taps",
                run=wanted.run,
                channel=wanted.channel,
                reduction=wanted.reduction,
                scale=wanted.scale,
                snapshot=wanted.snapshot,
            )
        self._taps = wanted

    def _taps_rendered(self, wanted: TapsWanted, reply: AnyReply, block: Block | None) -> None:
        if isinstance(reply, TapsRendered) and wanted == self._taps:
            self.taps_came.emit(ShownTaps(dict(_tap_arrays(reply, block)), block, wanted))
        elif isinstance(reply, Failed) and not wanted.snapshot:
            # A snapshot is gone as soon as there are newer ones.
            self.failed.emit("pyramid", reply.message, (), reply.details)

    def _ask_things(self) -> None:
        wanted = things_wanted(self._store.state)
        if wanted is None and self._things is not None:
            self.things_came.emit(())
        if wanted is not None and wanted != self._things:
            self._link.ask(FindThings, partial(self._things_found, wanted), lane="things", run=wanted.run)
        self._things = wanted

    def _things_found(self, wanted: ThingsWanted, reply: AnyReply, _block: Block | None) -> None:
        if isinstance(reply, ThingsFound) and wanted == self._things:
            self.things_came.emit(reply.things)
        elif isinstance(reply, Failed):
            self.failed.emit("pyramid", reply.message, (), reply.details)

    def _ask_input(self) -> None:
        shown = self._store.state.shown
        if shown is None:
            self._input = 0
        elif shown.run != self._input:
            self._input = shown.run
            height, width = shown.geometry.input_size
            self._link.ask(ReadInput, self._input_read, block=3 * height * width, lane="input", run=shown.run)

    def _input_read(self, reply: AnyReply, block: Block | None) -> None:
        if isinstance(reply, InputRead):
            self.input_came.emit(SharedPixels.of(reply.pixels, block))

    def ask_map(self, drawn: DrawnMap, done: Callable[[npt.NDArray[np.uint8]], None]) -> None:
        """Render one channel of a layer at its full size; `done` is called with its (h, w) indices."""

        def rendered(reply: AnyReply, block: Block | None) -> None:
            if isinstance(reply, MapsRendered):
                done(SharedPixels.of(reply.pixels, block).array[0])
            elif isinstance(reply, Failed):
                self.failed.emit("maps", reply.message, (), reply.details)

        self._link.ask(
            RenderMaps,
            rendered,
            block=drawn.map_size[0] * drawn.map_size[1],
            lane="copy",
            run=drawn.run,
            layer=drawn.layer,
            channels=(drawn.channel,),
            normalisation=drawn.normalisation,
        )

    def ask_value(self, drawn: DrawnMap, row: int, column: int) -> None:
        """Ask for the true values in a cell of a map, or in a pixel; `read` brings them."""
        shown = self._store.state.shown
        if shown is None or drawn.run != shown.run:
            return
        heard = partial(self._value_read, drawn, (row, column))
        place: dict[str, Any] = {"lane": "value", "run": drawn.run, "row": row, "column": column}
        if drawn.kind in ("picture", "input"):
            self._link.ask(ReadPixel, heard, picture=drawn.kind == "picture", **place)
            return
        self._link.ask(
            ReadValue,
            heard,
            layer=drawn.layer,
            channel=drawn.channel,
            reduction=drawn.reduction,
            snapshot=drawn.snapshot,
            tap=drawn.tap,
            **place,
        )

    def _value_read(self, drawn: DrawnMap, cell: tuple[int, int], reply: AnyReply, _block: Block | None) -> None:
        if isinstance(reply, ValueRead):
            self.read.emit(drawn, cell, (reply.value,))
        elif isinstance(reply, PixelRead):
            self.read.emit(drawn, cell, reply.values)


def _floats(data: bytes) -> npt.NDArray[np.float64]:
    return np.frombuffer(data, "<f8")


def _tap_arrays(reply: TapsRendered, block: Block | None) -> list[tuple[str, tuple[TapMaps, npt.NDArray[np.uint8]]]]:
    arrays = []
    for tap in reply.taps:
        if block is not None and not reply.data:
            array = block.array(tap.shape, tap.offset)
        else:
            size = tap.shape[0] * tap.shape[1]
            array = np.frombuffer(reply.data, np.uint8, size, tap.offset).reshape(tap.shape)
        arrays.append((tap.tap, (tap, array)))
    return arrays
