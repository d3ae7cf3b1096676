"""What there is to choose from, and how it gets here: networks, their weights, files that the user brings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from fmviz.engine.messages import (
    BackboneInfo,
    CachedInfo,
    CacheListed,
    Devices,
    DevicesFound,
    Doing,
    Fetch,
    Fetched,
    ListCache,
    ListNetworks,
    NetworksListed,
    OfferInfo,
    ProposalInfo,
    Propose,
    Proposed,
    Reply,
    Trust,
    Trusted,
)
from fmviz.errors import BackboneError
from fmviz.own_model import PREFIX

if TYPE_CHECKING:
    from fmviz.engine.shown import Shown
    from fmviz.networks.backbone import Backbone
    from fmviz.networks.download import Fetching
    from fmviz.preprocess import Preprocessing
    from fmviz.session import Session

AboutShelf = Devices | ListNetworks | Fetch | ListCache | Propose | Trust


class Tell(Protocol):
    """Says what is being done, to what, and how much of it; of a download also in bytes."""

    def __call__(self, doing: Doing, name: str, fraction: float | None, /, **more: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Aside:
    """An answer that is worked out in a thread of its own, beside other requests."""

    work: Callable[[], Reply]

    def __call__(self) -> Reply:
        return self.work()


def answer(
    request: AboutShelf, progress: Tell, cancelled: Callable[[], bool], *, live: Session | None, shown: Shown | None
) -> Reply | Aside:
    """The final reply to `request`, or what will make it.

    Args:
        live: a network of the program that this engine runs in; it is listed before all others.
        shown: what the window looks at.
    """
    first = live.backbone if live is not None else None
    match request:
        case Devices():
            return _devices(request, progress, first)
        case ListNetworks(timm=False):
            return _networks(request, first)
        case ListNetworks():
            return Aside(lambda: _networks(request, first))
        case Fetch():
            return Aside(lambda: _fetch(request, progress, cancelled))
        case ListCache():
            return _cache(request)
        case Propose():
            return Aside(lambda: _propose(request, progress, shown))
        case Trust():
            return _trust(request)


def _devices(request: Devices, progress: Tell, live: Backbone | None) -> Reply:
    progress("loading torch", "", None)
    import torch

    from fmviz.devices import devices

    return DevicesFound(
        id=request.id, torch=str(torch.__version__), devices=devices(), backbones=tuple(_rows(live, timm=False))
    )


def _networks(request: ListNetworks, live: Backbone | None) -> Reply:
    return NetworksListed(id=request.id, backbones=tuple(_rows(live, timm=request.timm)))


def _rows(live: Backbone | None, *, timm: bool) -> Iterable[BackboneInfo]:
    from fmviz.networks import catalog

    if live is not None:
        yield _info(live)
    yield from (_info(catalog.backbone(name)) for name in catalog.backbones())
    if timm:
        yield from _timm_rows()


def _timm_rows() -> Iterable[BackboneInfo]:
    """By name only: what each of them wants is asked when it is chosen, for asking all would take minutes."""
    from fmviz.networks import timm

    if timm.installed():
        for name in timm.names():
            family = name.partition("_")[0].partition(".")[0]
            yield BackboneInfo(name=f"timm/{name}", group="timm", family=family, about=timm.ABOUT)


def _info(row: Backbone) -> BackboneInfo:
    from fmviz.networks.cache import is_here

    mode, side = _fed(row.preprocessing)
    return BackboneInfo(
        name=row.name,
        group=row.group,
        family=row.family,
        paper=row.paper,
        year=row.year,
        parameters=row.parameters,
        macs=row.macs,
        offers=tuple(
            OfferInfo(
                name=offer.name,
                file_name=offer.file_name,
                nbytes=offer.nbytes,
                here=is_here(offer),
                top1=offer.top1,
                mode=_fed(offer.preprocessing or row.preprocessing)[0],
                side=_fed(offer.preprocessing or row.preprocessing)[1],
                head_parameters=offer.head_parameters,
            )
            for offer in row.offers
        ),
        pyramid=row.pyramid,
        mode=mode,
        side=side,
        minimum_input=row.minimum_input,
        only_input=row.only_input,
        about=row.about,
    )


def _fed(preprocessing: Preprocessing) -> tuple[Literal["crop", "whole"], int]:
    if preprocessing.mode == "whole":
        return "whole", preprocessing.longer_side
    return "crop", preprocessing.crop


def _fetch(request: Fetch, progress: Tell, cancelled: Callable[[], bool]) -> Reply:
    from fmviz.networks import catalog
    from fmviz.networks.download import fetch

    offer = catalog.backbone(request.backbone).offer(request.weights)
    if offer is None or not offer.url:
        raise BackboneError(f"There are no weights “{request.weights}” to fetch for {request.backbone}: choose others.")

    def heard(fetching: Fetching) -> None:
        fraction = fetching.done / fetching.total if fetching.total else None
        more = {
            "done": fetching.done,
            "total": fetching.total or 0,
            "speed": fetching.speed,
            "left": fetching.left,
        }
        progress("fetching", offer.file_name, fraction, **more)

    fetch(offer, progress=heard, cancelled=cancelled)
    return Fetched(id=request.id, backbone=request.backbone, weights=offer.name, file_name=offer.file_name)


def _cache(request: ListCache) -> Reply:
    from fmviz.networks import cache, kept

    if request.remove:
        kept.remove(request.remove)
    return CacheListed(
        id=request.id,
        folder=str(cache.folder()),
        files=tuple(
            CachedInfo(
                file_name=file.file_name,
                nbytes=file.nbytes,
                backbones=file.backbones,
                offer=file.offer,
                whole=file.whole,
            )
            for file in kept.listed()
        ),
    )


def _propose(request: Propose, progress: Tell, shown: Shown | None) -> Reply:
    from fmviz.networks.proposing import propose

    progress("comparing", Path(request.path).name, None)
    # A network out of a file of code is in no catalog: it is a candidate while it is shown.
    own = shown if shown is not None and shown.setup.backbone.startswith(PREFIX) else None
    also = ((own.session.backbone, own.session.model),) if own else ()
    return Proposed(
        id=request.id,
        path=request.path,
        proposals=tuple(
            ProposalInfo(
                backbone=own.setup.backbone if own and one.backbone == own.session.backbone.name else one.backbone,
                matched=one.matched,
                total=one.total,
                missing=one.missing,
                left_over=one.left_over,
                fits=one.fits,
                note=one.note,
            )
            for one in propose(Path(request.path), also=also)
        ),
    )


def _trust(request: Trust) -> Reply:
    from fmviz import trust

    trust.trust(request.path, request.sha256)
    return Trusted(id=request.id, path=request.path)
