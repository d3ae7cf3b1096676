"""What is shown: one frozen value, and the store that holds the current one."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from PySide6.QtCore import QObject, Signal

from fmviz.app.views.grid_layout import GridView
from fmviz.defaults import BACKBONE
from fmviz.engine.messages import BackboneInfo, LayerInfo, LearningInfo, PictureSource, Ran, Setup, TrustWanted
from fmviz.maps import Normalisation, Reduction
from fmviz.own_model import PREFIX

Order = Literal["index", "mean", "maximum", "variance", "zeros"]
ORDERS: tuple[Order, ...] = ("index", "mean", "maximum", "variance", "zeros")
Appearance = Literal["system", "light", "dark"]
Place = Literal["window", "maps", "pyramid", "parameters", "channel", "input"]


class PyramidChoice(msgspec.Struct, frozen=True):
    """What the pyramid shows of each level: `reduction`, or where that is None the channel; and whose limits."""

    channel: int = 0
    reduction: Reduction | None = "l2"
    scale: Literal["map", "row"] = "row"


class Activity(msgspec.Struct, frozen=True):
    """What the engine is doing for the request `request`; `fraction` 0 to 1, or None where nobody knows."""

    request: int
    text: str
    fraction: float | None = None


class Fetching(msgspec.Struct, frozen=True):
    """Weights that are being fetched, or how the last download ended: `text` says it, `going` tells which."""

    backbone: str
    weights: str
    text: str
    fraction: float | None = None
    going: bool = False


class Learning(msgspec.Struct, frozen=True):
    """A pyramid that is being trained for `backbone`, or how that ended: `going` tells which, `text` says it.

    `news` is the latest, `losses` all that were told; `path` the file that waits for the user to keep it or not.
    """

    backbone: str
    text: str
    fraction: float | None = None
    going: bool = True
    news: LearningInfo | None = None
    losses: tuple[float, ...] = ()
    path: str = ""


class Problem(msgspec.Struct, frozen=True):
    """What went wrong, over which view it is told, and the names of the actions that mend it."""

    place: Place
    message: str
    remedies: tuple[str, ...] = ()
    details: str = ""
    outlasts_a_run: bool = False
    """Whether the next run that succeeds leaves it standing: what was wrong with one picture is news beside another."""
    trust: TrustWanted | None = None
    """The file of code that the user would have to trust."""
    until_dismissed: bool = False
    """Whether no run takes it away, but only the user."""


class ViewState(msgspec.Struct, frozen=True):
    """All that decides what is on the screen.

    `sources`, `current` and `setup` are what the user wants; `shown` and `shown_source` are what the maps come from. They
    differ while the engine works, and after a failure: then what is on the screen stays.
    """

    sources: tuple[PictureSource, ...] = ()
    current: int = 0
    stretch: bool = True
    """Whether pictures of few values are stretched; all of `sources` have it in their options."""
    setup: Setup = msgspec.field(default_factory=lambda: Setup(backbone=BACKBONE))
    backbones: tuple[BackboneInfo, ...] = ()
    devices: tuple[str, ...] = ("cpu",)
    shown: Ran | None = None
    shown_source: PictureSource | None = None
    layer: str = ""
    channel: int = 0
    matrix: int = 0
    """Which matrix of a layer without maps."""
    normalisation: Normalisation = "map"
    colour_map: str = "viridis"
    order: Order = "index"
    smooth: bool = False
    over_picture: bool = False
    opacity: float = 0.6
    peek: bool = False
    pin: tuple[float, float] | None = None
    """The place on the picture, (x, y) in its pixels, that is held in all maps."""
    region: tuple[float, float, float, float] | None = None
    """The rectangle on the picture, (left, top, right, bottom) in its pixels, whose cells are lit."""
    pyramid: PyramidChoice = PyramidChoice()
    boxes: bool = True
    """Whether what the levels found is framed on the picture."""
    grid_view: GridView = msgspec.field(default_factory=GridView)
    table_wanted: bool = False
    table_size: tuple[int, int] | None = None
    """(height, width) of the input that the table is for; the picture's where None."""
    activity: Activity | None = None
    fetching: Fetching | None = None
    learning: Learning | None = None
    recent: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    appearance: Appearance = "system"

    @property
    def source(self) -> PictureSource | None:
        """The picture that is wanted."""
        return self.sources[self.current] if self.sources else None

    @property
    def layer_info(self) -> LayerInfo | None:
        """The layer that is chosen, in the run that is shown."""
        return find_layer(self.shown, self.layer)

    @property
    def networks(self) -> tuple[BackboneInfo, ...]:
        """All that can be chosen: the engine's list, and the files of code that were chosen lately."""
        names = {row.name for row in self.backbones}
        own = [name for name in dict.fromkeys((self.setup.backbone, *self.recent)) if name.startswith(PREFIX)]
        return (*self.backbones, *(_own_row(name) for name in own if name not in names)) if self.backbones else ()

    @property
    def backbone_info(self) -> BackboneInfo | None:
        return next((row for row in self.networks if row.name == self.setup.backbone), None)

    def problem(self, place: Place) -> Problem | None:
        return next((problem for problem in self.problems if problem.place == place), None)


def _own_row(name: str) -> BackboneInfo:
    """The row of a file of code: what is in it is known when it has run."""
    return BackboneInfo(name=name, group="own", about=name.removeprefix(PREFIX))


def find_layer(run: Ran | None, name: str) -> LayerInfo | None:
    """The layer `name` of `run`."""
    return next((layer for layer in run.layers if layer.name == name), None) if run else None


def layer_to_keep(old: ViewState, run: Ran) -> str:
    """Return the layer of a new run to show, such that the view changes as little as possible.

    In this order: the layer of the same name; the same level; a level at the same stride; C3 or else the first level; where
    the network has no levels with maps, the deepest layer with maps at the same stride, or else the first layer with maps.
    """
    if find_layer(run, old.layer):
        return old.layer
    before = old.layer_info
    if before is not None:
        for layer in run.layers:
            if set(layer.taps) & set(before.taps):
                return layer.name
    spatial = [layer for layer in run.layers if layer.spatial]
    levels = [layer for layer in spatial if layer.taps]
    same = [layer for layer in levels or spatial if before is not None and layer.stride == before.stride]
    if same:
        return same[0 if levels else -1].name
    third = [layer for layer in levels if "C3" in layer.taps]
    first = [*third, *levels, *spatial, *run.layers][:1]
    return first[0].name if first else ""


class Store(QObject):
    """Holds the one current `ViewState`; says so once for each change."""

    changed = Signal(object, object)
    """The old state and the new one."""

    def __init__(self, state: ViewState | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = state or ViewState()

    @property
    def state(self) -> ViewState:
        return self._state

    def update(self, **changes: Any) -> None:
        """Replace fields of the state. Nothing is said where nothing is new."""
        old = self._state
        new = msgspec.structs.replace(old, **changes)
        if new != old:
            self._state = new
            self.changed.emit(old, new)
