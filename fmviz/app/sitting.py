"""What is open, shown and chosen, as it is kept in a file, so that the next window can show it again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from fmviz.app.state import ORDERS, PyramidChoice, ViewState
from fmviz.colours import COLOUR_MAPS
from fmviz.engine import odd_names
from fmviz.engine.messages import PictureSource, Setup
from fmviz.maps import NORMALISATIONS, Normalisation, Reduction
from fmviz.picture_options import PictureOptions, bands_are_sound

_VERSION = 1
_LARGEST_SIDE = 100_000
_MOST = 10_000
_LARGEST_ZOOM = 1000

_CHOICES = (
    *("layer", "channel", "normalisation", "colour_map", "order", "smooth", "over_picture", "opacity", "pin", "boxes"),
    *("table_size", "appearance", "stretch"),
)
"""Fields of the state that are kept as they are."""


class Zooms(msgspec.Struct, frozen=True):
    """Where the views look that can be zoomed; None for a view that shows everything.

    Attributes:
        grid: zoom, position of the tile in the middle of the view, and the place in it, x and y from 0 to 1.
        channel, pyramid, picture: zoom, and the place in the middle of the view, x and y in the picture's pixels.
    """

    grid: tuple[float, int, float, float] | None = None
    channel: tuple[float, float, float] | None = None
    pyramid: tuple[float, float, float] | None = None
    picture: tuple[float, float, float] | None = None


class Sitting(msgspec.Struct, frozen=True, kw_only=True):
    """As `ViewState`, without what the engine tells.

    Attributes:
        pictures: Paths; pictures that came without a file are not in it.
        without_file: How many pictures came without a file.
        stamps: Path → (bytes, time of the last change in ns) of the pictures, as they were when they were opened.
    """

    version: int = _VERSION
    pictures: tuple[str, ...] = ()
    options: tuple[PictureOptions, ...] = ()
    """Of `pictures`, in their order; the usual ones where there are none."""
    current: int = 0
    stretch: bool = True
    setup: Setup
    layer: str = ""
    channel: int = 0
    normalisation: Normalisation = "map"
    colour_map: str = "viridis"
    order: str = "index"
    smooth: bool = False
    over_picture: bool = False
    opacity: float = 0.6
    pin: tuple[float, float] | None = None
    boxes: bool = True
    table_size: tuple[int, int] | None = None
    appearance: Literal["system", "light", "dark"] = "system"
    level_channel: int = 0
    level_reduction: Reduction | None = "l2"
    level_scale: Literal["map", "row"] = "row"
    without_file: int = 0
    stamps: dict[str, tuple[int, int]] = {}
    zooms: Zooms = Zooms()
    tabs: tuple[str, ...] = ()
    """Names of the docks that are in front of other docks in the same place."""


def of_state(state: ViewState) -> Sitting:
    """What would be kept of `state`."""
    sources = [source for source in state.sources if source.path]
    current = sources.index(state.source) if state.source in sources else 0
    return Sitting(
        pictures=tuple(source.path for source in sources),
        options=tuple(source.options for source in sources),
        without_file=len(state.sources) - len(sources),
        current=current,
        setup=state.setup,
        level_channel=state.pyramid.channel,
        level_reduction=state.pyramid.reduction,
        level_scale=state.pyramid.scale,
        **{name: getattr(state, name) for name in _CHOICES},
    )


def changes(sitting: Sitting, source: Callable[[str], PictureSource]) -> dict[str, Any]:
    """The fields of the state to set; `source` makes a `PictureSource` of a path."""
    pyramid = PyramidChoice(sitting.level_channel, sitting.level_reduction, sitting.level_scale)
    found: dict[str, Any] = {"setup": sitting.setup, "pyramid": pyramid}
    found |= {name: getattr(sitting, name) for name in _CHOICES}
    pictures: tuple[PictureSource, ...] = tuple(
        msgspec.structs.replace(source(path), options=_options(how, sitting.stretch))
        for path, how in zip(sitting.pictures, (*sitting.options, *(None,) * len(sitting.pictures)), strict=False)
    )
    if pictures:
        found |= {"sources": pictures, "current": min(sitting.current, len(pictures) - 1)}
    return found


def _options(kept: PictureOptions | None, stretch: bool) -> PictureOptions:
    """The options of a picture that is opened again: all pictures of a window are stretched, or none."""
    return msgspec.structs.replace(kept or PictureOptions(), stretch=stretch)


def written(sitting: Sitting) -> bytes:
    # Names of files may be no text, for which JSON has no room.
    plain = odd_names.stood_in(msgspec.to_builtins(sitting))
    return msgspec.json.format(msgspec.json.encode(plain), indent=1)


def read(data: bytes) -> Sitting:
    """`ValueError` where it is nothing that this version writes."""
    try:
        sitting = msgspec.convert(odd_names.restored(msgspec.json.decode(data)), Sitting)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("it is no session") from error
    if sitting.version != _VERSION or not _is_sound(sitting):
        raise ValueError("it holds what cannot be")
    return sitting


def setup_is_sound(setup: Setup) -> bool:
    """Whether its numbers are such as a person may have chosen."""
    return (
        0 <= setup.side <= _LARGEST_SIDE
        and 0 <= setup.seed < 2**63
        and all(map(_is_text, (setup.backbone, setup.weights, setup.device)))
    )


def view_is_sound(normalisation: str, order: str, colour_map: str, opacity: float) -> bool:
    return normalisation in NORMALISATIONS and order in ORDERS and colour_map in COLOUR_MAPS and 0.0 <= opacity <= 1.0


def _is_sound(sitting: Sitting) -> bool:
    zooms = sitting.zooms
    looks = [entry for entry in (zooms.grid, zooms.channel, zooms.pyramid, zooms.picture) if entry is not None]
    places = (*(sitting.pin or ()), *(sitting.table_size or ()), *(number for look in looks for number in look))
    return (
        setup_is_sound(sitting.setup)
        and view_is_sound(sitting.normalisation, sitting.order, sitting.colour_map, sitting.opacity)
        and 0 <= sitting.current <= _MOST
        and len(sitting.pictures) <= _MOST
        and all(path and _is_text(path) for path in sitting.pictures)
        and all(bands_are_sound(options.bands) for options in sitting.options)
        and 0 <= sitting.channel < 1 << 24
        and 0 <= sitting.level_channel < 1 << 24
        and all(math.isfinite(place) and 0 <= place <= 1e9 for place in places)
        and (sitting.table_size is None or max(sitting.table_size) <= _LARGEST_SIDE)
        and 0 <= sitting.without_file <= _MOST
        and len(sitting.tabs) <= _MOST
        and all(1 <= look[0] <= _LARGEST_ZOOM for look in looks)
    )


def _is_text(text: str) -> bool:
    return "\0" not in text
