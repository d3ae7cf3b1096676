"""The maps of the chosen layer: asked for, and those of the next one ahead, so that a walk through the list does not wait."""

from __future__ import annotations

from functools import partial

import msgspec
import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QObject, QTimer, Signal

from fmviz.app.blocks import Block, SharedPixels
from fmviz.app.drawn_map import DrawnMap
from fmviz.app.link import EngineLink
from fmviz.app.state import Store
from fmviz.app.wanted import MapsWanted, maps_wanted, maps_wanted_of
from fmviz.engine.messages import AnyReply, Failed, MapsRendered, RenderMaps
from fmviz.maps import Normalisation, Statistics

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
    run: int = 0
    normalisation: Normalisation = "map"

    def drawn(self, channel: int = 0) -> DrawnMap:
        """Return the identity of the map of a channel."""
        known = channel < len(self.limits)
        return DrawnMap(
            run=self.run,
            layer=self.layer,
            map_size=self.map_size,
            channel=channel,
            normalisation=self.normalisation,
            limits=(float(self.limits[channel, 0]), float(self.limits[channel, 1])) if known else None,
            constant=bool(self.statistics.constant[channel : channel + 1].any()),
        )


class LayerMaps(QObject):
    """Asks for maps when what the state wants is not at hand."""

    asked = Signal()
    awaited = Signal(object)
    """Whether maps that are wanted have yet to come."""
    came = Signal(object)
    failed = Signal(object, object)
    """Message and details."""

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

    def forget(self) -> None:
        """The capture that maps came from is gone."""
        self._maps = self._ahead = None
        self._at_hand.clear()
        self.awaited.emit(False)

    def ask_for_the_difference(self) -> None:
        """Ask for the maps that the state wants, where none at hand will do."""
        wanted = maps_wanted(self._store.state)
        if wanted is None:
            self._maps = None
            self.awaited.emit(False)
            if self._store.state.shown is None:
                self._at_hand.clear()
        elif not wanted.served_by(self._maps):
            if self._maps is not None and self._maps.layer != wanted.layer:
                self._left = self._maps.layer
            self._maps = next((one for one in self._at_hand if wanted.served_by(one)), wanted)
            if self._maps in self._at_hand:
                self._show(self._maps)
                return
            if self._maps != self._ahead:
                self._request(self._maps, "maps")
            self.asked.emit()
            self.awaited.emit(True)

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
            self._request(ahead, "ahead")

    def _request(self, wanted: MapsWanted, lane: str) -> None:
        self._link.ask(
            RenderMaps,
            partial(self._rendered, wanted),
            block=wanted.size,
            at_once=lane == "maps",
            lane=lane,
            run=wanted.run,
            layer=wanted.layer,
            normalisation=wanted.normalisation,
            step=wanted.step,
        )

    def _rendered(self, wanted: MapsWanted, reply: AnyReply, block: Block | None) -> None:
        if wanted not in (self._maps, self._ahead):
            return
        was_ahead = wanted == self._ahead
        if was_ahead:
            self._ahead = None
        if isinstance(reply, MapsRendered):
            self._at_hand[wanted] = ShownMaps(
                layer=reply.layer,
                pixels=SharedPixels.of(reply.pixels, block),
                limits=np.frombuffer(reply.limits, "<f8").reshape(-1, 2),
                statistics=_statistics(reply.statistics),
                map_size=wanted.map_size,
                run=wanted.run,
                normalisation=wanted.normalisation,
            )
            if wanted == self._maps:
                self._show(wanted)
            else:
                self._keep_few()
        elif was_ahead and wanted == self._maps:
            # Somebody waits for it by now, and must hear why it fails.
            self._request(wanted, "maps")
        elif wanted == self._maps and isinstance(reply, Failed):
            # What was dropped gave way to a later request, which is still waited for.
            self.awaited.emit(False)
            self.failed.emit(reply.message, reply.details)

    def _show(self, wanted: MapsWanted) -> None:
        maps = self._at_hand[wanted] = self._at_hand.pop(wanted)
        self._keep_few()
        self.awaited.emit(False)
        self.came.emit(maps)
        self._ask_ahead_later.start()

    def _keep_few(self) -> None:
        """What is shown, and of the others the last ones that are not too large."""
        others = [one for one in self._at_hand if one != self._maps]
        large = [one for one in others if one.size > _LARGEST_AHEAD]
        small = [one for one in others if one.size <= _LARGEST_AHEAD]
        for one in (*large, *small[: max(0, len(small) + 1 - _AT_HAND)]):
            del self._at_hand[one]


def _statistics(data: bytes) -> Statistics:
    rows = np.frombuffer(data, "<f8").reshape(8, -1)
    minimum, maximum, mean, std, zeros, nans, infinities, constant = rows
    return Statistics(
        minimum=minimum,
        maximum=maximum,
        mean=mean,
        std=std,
        zeros=zeros,
        nans=nans.astype(np.int64),
        infinities=infinities.astype(np.int64),
        constant=constant.astype(np.bool_),
    )
