"""The flow of what is looked at: maps, one channel, the pyramid, the input, the value under the pointer."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QObject, QTimer, Signal

from fmviz.app.blocks import Block, SharedPixels
from fmviz.app.link import EngineLink
from fmviz.app.state import Store
from fmviz.app.wanted import (
    ChannelWanted,
    MapsWanted,
    TapsWanted,
    ThingsWanted,
    VectorWanted,
    channel_wanted,
    maps_wanted,
    maps_wanted_of,
    taps_wanted,
    things_wanted,
    vector_wanted,
)
from fmviz.engine.messages import (
    AnyReply,
    ChannelDescribed,
    DescribeChannel,
    Failed,
    FindThings,
    InputRead,
    MapsRendered,
    ReadInput,
    ReadValue,
    ReadVector,
    RenderMaps,
    RenderTaps,
    TapMaps,
    TapsRendered,
    ThingsFound,
    ValueRead,
    VectorRead,
)
from fmviz.maps import Statistics

_AT_HAND = 3
"""What is shown, what was shown before it, and what is probably next."""
_AHEAD_AFTER_MS = 15
"""The window is painted by then: what is on the screen comes first."""
_LARGEST_AHEAD = 8 << 20
"""Bytes: what is zoomed far into is not rendered on suspicion."""


class ShownMaps(msgspec.Struct, frozen=True, eq=False):
    """The maps of a layer as they came: `pixels` (n, h, w), `limits` (n, 2), statistics of each channel."""

    layer: str
    pixels: SharedPixels
    limits: npt.NDArray[np.float64]
    statistics: Statistics
    map_size: tuple[int, int]


class ShownChannel(msgspec.Struct, frozen=True, eq=False):
    """One map at its full size."""

    layer: str
    channel: int
    pixels: SharedPixels
    limits: tuple[float, float]


class ShownTaps(msgspec.Struct, frozen=True, eq=False):
    """The maps of the pyramid, by their names."""

    maps: dict[str, tuple[TapMaps, npt.NDArray[np.uint8]]]
    block: Block | None


class Looking(QObject):
    """Asks the engine for what the state wants to see, when that differs from what was asked last."""

    maps_asked = Signal()
    maps_came = Signal(object)
    vector_came = Signal(object)
    channel_came = Signal(object)
    description_came = Signal(object)
    taps_came = Signal(object)
    things_came = Signal(object)
    """A tuple of `ThingInfo`; empty where none are wanted."""
    input_came = Signal(object)
    value_came = Signal(object, object)
    """(channel, row, column) and the value."""
    failed = Signal(object, object, object, object)
    """Place, message, remedies, details."""

    def __init__(self, store: Store, link: EngineLink, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._link = link
        self._maps: MapsWanted | None = None
        self._ahead: MapsWanted | None = None
        self._left = ""
        self._beside = ("", "")
        self._at_hand: dict[MapsWanted, ShownMaps] = {}
        self._ask_ahead_later = QTimer(self, singleShot=True, interval=_AHEAD_AFTER_MS)
        self._ask_ahead_later.timeout.connect(self._ask_ahead)
        self._vector: VectorWanted | None = None
        self._channel: ChannelWanted | None = None
        self._taps: TapsWanted | None = None
        self._things: ThingsWanted | None = None
        self._input = 0

    def forget(self) -> None:
        """The capture that answers came from is gone: ask for everything anew."""
        self._maps = self._vector = self._channel = self._taps = self._things = self._ahead = None
        self._at_hand.clear()
        self._input = 0

    def ask_for_the_difference(self) -> None:
        """Compare what the state wants with what was asked, and ask."""
        self._ask_maps()
        self._ask_vector()
        self._ask_channel()
        self._ask_taps()
        self._ask_things()
        self._ask_input()

    def _ask_maps(self) -> None:
        wanted = maps_wanted(self._store.state)
        if wanted is None:
            self._maps = None
            if self._store.state.shown is None:
                self._at_hand.clear()
        elif not wanted.served_by(self._maps):
            if self._maps is not None and self._maps.layer != wanted.layer:
                self._left = self._maps.layer
            self._maps = next((one for one in self._at_hand if wanted.served_by(one)), wanted)
            if self._maps in self._at_hand:
                self._show_maps(self._maps)
                return
            if self._maps != self._ahead:
                self._request_maps(self._maps, "maps")
            self.maps_asked.emit()

    def set_beside(self, above: str, below: str) -> None:
        """The layers above and below the current one in the list; empty where there is none."""
        self._beside = (above, below)

    def _ask_ahead(self) -> None:
        """Have the next layer's maps at hand before they are wanted: a key that is held, or a look back, waits for nothing."""
        state = self._store.state
        if (
            self._maps not in self._at_hand
            or self._ahead is not None
            or state.activity is not None
            or self._link.remote
        ):
            return
        above, below = self._beside
        ahead = maps_wanted_of(state, above if below and self._left == below else below)
        if ahead is not None and ahead.size <= _LARGEST_AHEAD and not any(map(ahead.served_by, self._at_hand)):
            self._ahead = ahead
            self._request_maps(ahead, "ahead")

    def _request_maps(self, wanted: MapsWanted, lane: str) -> None:
        self._link.ask(
            RenderMaps,
            partial(self._maps_rendered, wanted),
            block=wanted.size,
            at_once=lane == "maps",
            lane=lane,
            run=wanted.run,
            layer=wanted.layer,
            normalisation=wanted.normalisation,
            step=wanted.step,
        )

    def _maps_rendered(self, wanted: MapsWanted, reply: AnyReply, block: Block | None) -> None:
        if wanted not in (self._maps, self._ahead):
            return
        was_ahead = wanted == self._ahead
        if was_ahead:
            self._ahead = None
        if isinstance(reply, MapsRendered):
            self._at_hand[wanted] = ShownMaps(
                layer=reply.layer,
                pixels=SharedPixels.of(reply.pixels, block),
                limits=_floats(reply.limits).reshape(-1, 2),
                statistics=_statistics(reply.statistics),
                map_size=wanted.map_size,
            )
            if wanted == self._maps:
                self._show_maps(wanted)
            else:
                self._keep_few()
        elif was_ahead and wanted == self._maps:
            # Somebody waits for it by now, and must hear why it fails.
            self._request_maps(wanted, "maps")
        elif isinstance(reply, Failed) and not was_ahead:
            self.failed.emit("maps", reply.message, (), reply.details)

    def _show_maps(self, wanted: MapsWanted) -> None:
        maps = self._at_hand[wanted] = self._at_hand.pop(wanted)
        self._keep_few()
        self.maps_came.emit(maps)
        self._ask_ahead_later.start()

    def _keep_few(self) -> None:
        """What is shown, and of the others the last ones that are not too large."""
        others = [one for one in self._at_hand if one != self._maps]
        large = [one for one in others if one.size > _LARGEST_AHEAD]
        small = [one for one in others if one.size <= _LARGEST_AHEAD]
        for one in (*large, *small[: max(0, len(small) + 1 - _AT_HAND)]):
            del self._at_hand[one]

    def _ask_vector(self) -> None:
        wanted = vector_wanted(self._store.state)
        if wanted is not None and wanted != self._vector:
            self._link.ask(ReadVector, self._vector_read, lane="maps", run=wanted.run, layer=wanted.layer)
        self._vector = wanted

    def _vector_read(self, reply: AnyReply, _block: Block | None) -> None:
        if isinstance(reply, VectorRead) and self._vector is not None and reply.layer == self._vector.layer:
            self.vector_came.emit((reply.layer, _floats(reply.values), reply.count, reply.reason))
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
        self._channel = wanted

    def _channel_rendered(self, wanted: ChannelWanted, reply: AnyReply, block: Block | None) -> None:
        if isinstance(reply, MapsRendered) and wanted == self._channel:
            low, high = _floats(reply.limits)[:2]
            pixels = SharedPixels.of(reply.pixels, block)
            self.channel_came.emit(ShownChannel(reply.layer, wanted.channel, pixels, (float(low), float(high))))
        elif isinstance(reply, Failed):
            self.failed.emit("channel", reply.message, (), reply.details)

    def _described(self, wanted: ChannelWanted, reply: AnyReply, _block: Block | None) -> None:
        if isinstance(reply, ChannelDescribed) and wanted == self._channel:
            self.description_came.emit((_floats(reply.counts), _floats(reply.edges), reply.statistics))

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
            self.taps_came.emit(ShownTaps(dict(_tap_arrays(reply, block)), block))
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

    def ask_value(self, channel: int, row: int, column: int) -> None:
        """The true float at a cell; `value_came` brings it."""
        state = self._store.state
        if state.shown is None or not state.layer:
            return
        place = (channel, row, column)
        self._link.ask(
            ReadValue,
            partial(self._value_read, (state.shown.run, state.layer, place)),
            lane="value",
            run=state.shown.run,
            layer=state.layer,
            channel=channel,
            row=row,
            column=column,
        )

    def _value_read(self, asked: tuple[int, str, tuple[int, int, int]], reply: AnyReply, _block: Block | None) -> None:
        state = self._store.state
        if isinstance(reply, ValueRead) and state.shown and asked[:2] == (state.shown.run, state.layer):
            self.value_came.emit(asked[2], reply.value)


def _floats(data: bytes) -> npt.NDArray[np.float64]:
    return np.frombuffer(data, "<f8")


def _statistics(data: bytes) -> Statistics:
    rows = _floats(data).reshape(7, -1)
    return Statistics(*rows[:5], *(row.astype(np.int64) for row in rows[5:]))


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
