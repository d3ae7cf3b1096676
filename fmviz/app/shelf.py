"""What there is to choose from, as the window sees it: networks, weights that are fetched, files that the user brings."""

from __future__ import annotations

from functools import partial
from pathlib import PurePath

import msgspec
from PySide6.QtCore import QObject, Signal

from fmviz.app import wording
from fmviz.app.blocks import Block
from fmviz.app.controller import Controller
from fmviz.app.link import EngineLink
from fmviz.app.state import Activity, Fetching, Store
from fmviz.engine.messages import (
    AnyReply,
    CacheListed,
    Dropped,
    Failed,
    Fetch,
    Fetched,
    ListCache,
    ListNetworks,
    NetworksListed,
    Progress,
    Propose,
    Proposed,
    Trust,
    Trusted,
    TrustWanted,
)

RECENT = 6
"""How many networks are remembered as chosen lately."""


class _Asked(msgspec.Struct, frozen=True):
    """The download that runs: its request, and what it is for."""

    number: int
    backbone: str
    weights: str


class Shelf(QObject):
    """Asks the engine for networks and weights, and tells the store and the controller what became of it."""

    cache_listed = Signal(object)
    """A `CacheListed`."""
    cache_failed = Signal(object)
    """A sentence: a file that could not be removed."""
    proposed = Signal(object)
    """A `Proposed` that the user must choose from."""

    def __init__(self, store: Store, link: EngineLink, controller: Controller, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._link = link
        self._controller = controller
        self._asked: _Asked | None = None
        self._timm = self._looked = False
        link.lost.connect(self._lost)

    # Networks

    def refresh(self) -> None:
        """Ask where the weights are now."""
        if self._link.running:
            self._link.ask(ListNetworks, self._networks_listed, lane="networks", timm=self._timm)

    def look_further(self) -> None:
        """The first time that somebody looks at the list: ask for timm's networks as well."""
        if not self._looked:
            self._timm = self._looked = True
            self.refresh()

    def _networks_listed(self, reply: AnyReply, _block: Block | None) -> None:
        if isinstance(reply, NetworksListed):
            self._store.update(backbones=reply.backbones)
        elif isinstance(reply, Failed) and self._timm:
            # A timm that cannot be imported keeps nobody from the others. It is not tried again.
            self._timm, self._looked = False, True
            self._controller.problems.tell("maps", reply.message, (), reply.details)
            self.refresh()

    def choose(self, name: str) -> None:
        """Another network, remembered as chosen lately."""
        recent = (name, *(other for other in self._store.state.recent if other != name))
        self._store.update(recent=recent[:RECENT])
        self._controller.set_setup(backbone=name)

    # Weights that are fetched

    def fetch(self, backbone: str, weights: str) -> None:
        """Fetch weights, and use them: the user clicked. One download at a time."""
        if self._asked is not None or not self._link.running:
            return
        number = self._link.ask(Fetch, self._fetch_heard, backbone=backbone, weights=weights)
        self._asked = _Asked(number, backbone, weights)
        self._store.update(fetching=Fetching(backbone, weights, text=wording.fetching_starts(weights), going=True))

    def cancel(self) -> None:
        if self._asked is not None:
            self._link.cancel(self._asked.number)

    def _fetch_heard(self, reply: AnyReply, _block: Block | None) -> None:
        asked = self._asked
        if asked is None:
            return
        fetching = self._store.state.fetching or Fetching(asked.backbone, asked.weights, text="", going=True)
        if isinstance(reply, Progress):
            self._tell(fetching, wording.fetching(reply), reply.fraction, going=True)
            return
        self._asked = None
        match reply:
            case Fetched(file_name=file_name):
                self._tell(fetching, wording.fetched(file_name), 1.0)
                self._fetched(asked)
            case Failed(message=message):
                self._tell(fetching, message, None)
            case Dropped():
                self._tell(fetching, wording.fetching_cancelled(), None)

    def _fetched(self, asked: _Asked) -> None:
        self.refresh()
        self.list_cache()
        setup = self._store.state.setup
        # Whoever went on to another network meanwhile is not pulled back.
        if setup.backbone == asked.backbone:
            self._controller.set_setup(weights=asked.weights)

    def _tell(self, fetching: Fetching, text: str, fraction: float | None, *, going: bool = False) -> None:
        told = Fetching(fetching.backbone, fetching.weights, text=text, fraction=fraction, going=going)
        self._store.update(fetching=told)

    def _lost(self, _errors: str, _started: bool) -> None:
        fetching, self._asked = self._store.state.fetching, None
        if fetching is not None and fetching.going:
            self._tell(fetching, wording.fetching_lost(), None)

    def list_cache(self, *, remove: str = "") -> None:
        """Ask what is in the cache; `remove` names a file that goes first."""
        if self._link.running:
            self._link.ask(ListCache, partial(self._cache_listed, bool(remove)), remove=remove)

    def _cache_listed(self, removed: bool, reply: AnyReply, _block: Block | None) -> None:
        if isinstance(reply, CacheListed):
            self.cache_listed.emit(reply)
            self.refresh()
            if removed and self._asked is None:
                self._store.update(fetching=None)
        elif isinstance(reply, Failed):
            self.cache_failed.emit(reply.message)

    # Files that the user brings

    def open_weights(self, path: str) -> None:
        """Ask which network a file of weights is for. What is shown stays until that is known."""
        if not self._link.running:
            self._controller.set_setup(weights=path)
            return
        self._link.ask(Propose, self._proposed, lane="propose", path=path)

    def _proposed(self, reply: AnyReply, _block: Block | None) -> None:
        if isinstance(reply, Progress):
            self._store.update(activity=Activity(reply.id, wording.doing(reply)))
            return
        activity = self._store.state.activity
        if activity is not None and activity.request == reply.id:
            self._store.update(activity=None)
        if isinstance(reply, Failed):
            self._controller.problems.tell("maps", reply.message, ("open_weights",), reply.details)
        if not isinstance(reply, Proposed):
            return
        setup = self._store.state.setup
        for one in reply.proposals:
            if one.backbone == setup.backbone and one.fits and not one.missing and not one.left_over:
                self._controller.mend(weights=reply.path)
                return
        if any(one.fits for one in reply.proposals):
            self.proposed.emit(reply)
        else:
            nearest = reply.proposals[0] if reply.proposals else None
            self._controller.problems.tell(
                "maps", wording.fits_nothing(PurePath(reply.path).name, nearest), ("open_weights",)
            )

    def load(self, backbone: str, path: str) -> None:
        """These weights, in this network."""
        self._controller.mend(backbone=backbone, weights=path)

    def trust(self, wanted: TrustWanted) -> None:
        """The user trusts a file of code, as it was when it was asked about; then do again what wanted it."""
        if not self._link.running:
            # A new engine asks again.
            self._controller.retry_trusted()
            return
        self._link.ask(Trust, self._trusted, path=wanted.path, sha256=wanted.sha256)

    def _trusted(self, reply: AnyReply, _block: Block | None) -> None:
        if isinstance(reply, Trusted):
            self._controller.retry_trusted()
        elif isinstance(reply, Failed):
            self._controller.problems.tell("maps", reply.message, ("retry",), reply.details)
