"""What a state wants from the engine: pure functions from the state to the requests that it needs, one a view."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import msgspec

from fmviz.app.numbers import bytes_words
from fmviz.app.state import ViewState
from fmviz.app.views.grid_layout import step_for
from fmviz.engine.messages import LayerInfo, PictureSource, Ran, Setup
from fmviz.maps import Normalisation, Reduction
from fmviz.matrices import matrices_of
from fmviz.own_model import PREFIX


class RunWanted(msgspec.Struct, frozen=True):
    source: PictureSource
    setup: Setup


class MapsWanted(msgspec.Struct, frozen=True):
    run: int
    layer: str
    normalisation: Normalisation
    step: int
    size: int
    """Bytes of the maps."""
    map_size: tuple[int, int]
    """Height and width of the activation."""

    def served_by(self, other: MapsWanted | None) -> bool:
        """Whether maps that were asked for before will do: the same, at least as fine."""
        if other is None or other.step > self.step:
            return False
        return (self.run, self.layer, self.normalisation) == (other.run, other.layer, other.normalisation)


class VectorWanted(msgspec.Struct, frozen=True):
    run: int
    layer: str


class MatrixWanted(msgspec.Struct, frozen=True):
    run: int
    layer: str
    number: int
    normalisation: Normalisation
    step: int
    size: int
    """Bytes of the pixels."""
    map_size: tuple[int, int]


class ChannelWanted(msgspec.Struct, frozen=True):
    run: int
    layer: str
    channel: int
    normalisation: Normalisation
    size: int


class TapsWanted(msgspec.Struct, frozen=True):
    run: int
    channel: int
    reduction: Reduction | None
    scale: str
    size: int
    snapshot: str = ""


class ThingsWanted(msgspec.Struct, frozen=True):
    run: int


class TableWanted(msgspec.Struct, frozen=True):
    backbone: str
    size: tuple[int, int]
    weights: str
    """Those of what is shown: a pyramid's may bring another width, and a head."""
    run: int = 0
    """The run, where the weights are of a file, which may be another one by the next."""


def run_wanted(state: ViewState) -> RunWanted | None:
    """The picture through the network, as chosen; None where there is no picture."""
    return RunWanted(state.source, state.setup) if state.source else None


def maps_wanted(state: ViewState) -> MapsWanted | None:
    """All maps of the chosen layer, no finer than the screen can show; None where it has none."""
    layer = state.layer_info
    if state.shown is None or layer is None or not layer.spatial:
        return None
    return _maps_of(state, state.shown, layer)


def maps_wanted_of(state: ViewState, name: str) -> MapsWanted | None:
    """The maps of layer `name`, as `maps_wanted` would want them were it chosen."""
    layer = next((layer for layer in state.shown.layers if layer.name == name), None) if state.shown else None
    if state.shown is None or layer is None or not layer.spatial:
        return None
    return _maps_of(state, state.shown, layer)


def _maps_of(state: ViewState, shown: Ran, layer: LayerInfo) -> MapsWanted:
    _, channels, height, width = layer.shape
    step = step_for(channels, (height, width), state.grid_view)
    size = channels * -(-height // step) * -(-width // step)
    return MapsWanted(shown.run, layer.name, state.normalisation, step, size, (height, width))


def vector_wanted(state: ViewState) -> VectorWanted | None:
    """The values of a layer without maps; None where they make matrices, which are wanted as heat maps instead."""
    layer = state.layer_info
    if state.shown is None or layer is None or layer.spatial or matrices_of(layer.shape) is not None:
        return None
    return VectorWanted(state.shown.run, layer.name)


def matrix_wanted(state: ViewState) -> MatrixWanted | None:
    """The chosen matrix of a layer without maps, no finer than a screen shows it; None for a vector."""
    layer = state.layer_info
    found = matrices_of(layer.shape) if layer is not None and not layer.spatial else None
    if state.shown is None or layer is None or found is None:
        return None
    count, height, width = found
    step = max(1, -(-max(height, width) // _MATRIX_SIDE))
    size = -(-height // step) * -(-width // step)
    number = min(state.matrix, count - 1)
    return MatrixWanted(state.shown.run, layer.name, number, state.normalisation, step, size, (height, width))


_MATRIX_SIDE = 2048
"""Pixels of the longer side that a matrix is rendered with at most."""


def channel_wanted(state: ViewState) -> ChannelWanted | None:
    """The chosen channel at its full size."""
    layer = state.layer_info
    if state.shown is None or layer is None or not layer.spatial or not layer.shape[1]:
        return None
    size = layer.shape[2] * layer.shape[3]
    return ChannelWanted(state.shown.run, layer.name, state.channel, state.normalisation, size)


def taps_wanted(state: ViewState) -> TapsWanted | None:
    """The pyramid; None where the network has no named maps."""
    if state.shown is None:
        return None
    tapped = [layer for layer in state.shown.layers if layer.taps and layer.spatial]
    size = sum(len(layer.taps) * layer.shape[2] * layer.shape[3] for layer in tapped)
    choice = state.pyramid
    if not size:
        return None
    return TapsWanted(state.shown.run, choice.channel, choice.reduction, choice.scale, size, snapshot_wanted(state))


def snapshot_wanted(state: ViewState) -> str:
    """The file of the pyramid that is being trained, where it is trained for the network that is shown."""
    learning = state.learning
    if learning is None or learning.news is None or state.shown is None:
        return ""
    same = state.shown.setup.backbone == learning.backbone
    return learning.news.snapshot if same and learning.going else ""


def things_wanted(state: ViewState) -> ThingsWanted | None:
    """What the levels found, where the pyramid has a head that says so."""
    if state.shown is None or not state.boxes:
        return None
    has_head = any(layer.item == "[scores.P2]" for layer in state.shown.layers)
    return ThingsWanted(state.shown.run) if has_head else None


def table_wanted(state: ViewState) -> TableWanted | None:
    """The layer table of what is shown, once somebody looks at it."""
    if state.shown is None or not state.table_wanted:
        return None
    size = state.table_size or state.shown.geometry.input_size
    weights = state.shown.setup.weights
    run = state.shown.run if PurePath(weights).is_absolute() else 0
    return TableWanted(state.shown.setup.backbone, size, weights or state.shown.weights.name, run)


def remedies_of_pyramid(state: ViewState) -> dict[str, Any]:
    """What the Pyramid dock offers where the pyramid is untrained: to train it, where its body is trained, and to fetch a
    trained one, where there is one."""
    shown, row = state.shown, state.backbone_info
    going = state.learning is not None and state.learning.going
    random = shown is not None and bool({"pyramid", "body"} & set(shown.weights.untrained))
    if shown is None or row is None or not random or going or row.name != shown.setup.backbone or not row.pyramid:
        return {"train": False, "offer": "", "size": ""}
    coco = next((offer for offer in row.offers if offer.name.startswith("COCO") and not offer.here), None)
    return {
        "train": row.group == "papers" and "body" not in shown.weights.untrained,
        "offer": coco.name if coco else "",
        "size": bytes_words(coco.nbytes) if coco else "",
    }


def remedies(kind: str, setup: Setup) -> tuple[str, ...]:
    """The names of the actions that mend an error of this kind."""
    if setup.backbone.startswith(PREFIX) and kind in ("BackboneError", "ForwardError"):
        # It is the file that must be mended.
        return ("retry", "choose_network")
    return {
        "PictureError": ("open",),
        "WeightsError": ("show_weights", "random_weights", "open_weights"),
        "BackboneError": ("default_size", "choose_network"),
        "TrustError": ("trust_model",),
        "DeviceError": ("smaller_size",) if setup.device == "cpu" else ("smaller_size", "use_cpu"),
        "ExportError": ("export",),
        "EngineError": ("retry",),
    }.get(kind, ("retry", "restart_engine"))
