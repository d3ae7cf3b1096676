"""Every backbone by name: how it is built, what it wants to be fed, which weights are on offer, where its taps are."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from fmviz.errors import BackboneError
from fmviz.networks import efficientnet_lite, fpn, resnet, vgg
from fmviz.networks.efficientnet_lite import EfficientNetLite0
from fmviz.networks.fpn import PyramidNetwork
from fmviz.networks.network import Network, StagedNetwork, build
from fmviz.networks.resnet import ResNet
from fmviz.networks.vgg import VGG
from fmviz.preprocess import IMAGENET, Preprocessing


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """A row of the catalog.

    Attributes:
        name: what the user types: "resnet50_fpn".
        family: what it is listed under.
        paper, year: its arXiv number, and the year in which it came out there.
        build: the network on the ambient device, initialised from the ambient generator; under `torch.device("meta")`
            without values, and in milliseconds.
        parameters: how many it has.
        preprocessing: what it wants to be fed.
        taps: C2–C5, and M2–M5 and P2–P6 where it has a pyramid, in this order -> path of the module that puts it out.
        weights: names of those on offer, best first, "random" last.
        pyramid: whether it has a feature pyramid.
        minimum_input: pixels that each side of its input must have at least.
    """

    name: str
    family: str
    paper: str
    year: int
    build: Callable[[], Network]
    parameters: int
    preprocessing: Preprocessing
    taps: Mapping[str, str]
    weights: tuple[str, ...]
    pyramid: bool
    minimum_input: int


def backbones() -> tuple[str, ...]:
    """The names of all backbones, in the order in which they are offered; the first is what fmviz starts with."""
    return tuple(_CATALOG)


def backbone(name: str) -> Backbone:
    """The backbone called `name`.

    Raises:
        BackboneError: there is none such; the message names the nearest ones.

    Example:
        >>> backbone("resnet50").taps["C3"]
        'layer2'
    """
    if name in _CATALOG:
        return _CATALOG[name]
    close = difflib.get_close_matches(name.lower(), _CATALOG, n=3)
    remedy = f"did you mean {' or '.join(close)}?" if close else f"choose one of {', '.join(_CATALOG)}."
    raise BackboneError(f"There is no backbone “{name}”: {remedy}")


EFFICIENTNET_INPUT = Preprocessing(interpolation="bicubic", mean=(127 / 255,) * 3, std=(128 / 255,) * 3)

_VGG_PARAMETERS = {11: 132_863_336, 13: 133_047_848, 16: 138_357_544, 19: 143_667_240}
_VGG_BN_PARAMETERS = {11: 132_868_840, 13: 133_053_736, 16: 138_365_992, 19: 143_678_248}
_RESNET_PARAMETERS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}
_EFFICIENTNET_LITE0_PARAMETERS = 4_652_008


def _vgg(depth: int, *, batch_norm: bool) -> Backbone:
    return Backbone(
        name=f"vgg{depth}_bn" if batch_norm else f"vgg{depth}",
        family="VGG",
        paper="1409.1556",
        year=2014,
        build=partial(build, partial(VGG, depth, batch_norm=batch_norm)),
        parameters=(_VGG_BN_PARAMETERS if batch_norm else _VGG_PARAMETERS)[depth],
        preprocessing=IMAGENET,
        taps=MappingProxyType(vgg.taps(depth, batch_norm=batch_norm)),
        weights=("random",),
        pyramid=False,
        # Five pools halve the map: of 31 pixels none would be left.
        minimum_input=32,
    )


def _resnet(depth: int) -> Backbone:
    return Backbone(
        name=f"resnet{depth}",
        family="ResNet",
        paper="1512.03385",
        year=2015,
        build=partial(build, partial(ResNet, depth)),
        parameters=_RESNET_PARAMETERS[depth],
        preprocessing=IMAGENET,
        taps=MappingProxyType(resnet.TAPS),
        weights=("random",),
        pyramid=False,
        minimum_input=1,
    )


def _efficientnet_lite0() -> Backbone:
    return Backbone(
        name="efficientnet_lite0",
        family="EfficientNet",
        paper="1905.11946",
        year=2019,
        build=partial(build, EfficientNetLite0),
        parameters=_EFFICIENTNET_LITE0_PARAMETERS,
        preprocessing=EFFICIENTNET_INPUT,
        taps=MappingProxyType(efficientnet_lite.TAPS),
        weights=("imagenet", "random"),
        pyramid=False,
        minimum_input=1,
    )


def _with_pyramid(body: Backbone, make: Callable[[], StagedNetwork], channels: tuple[int, ...]) -> Backbone:
    stages = {tap: f"body.{path}" for tap, path in body.taps.items()}
    return Backbone(
        name=f"{body.name}_fpn",
        family="Feature pyramid",
        paper="1612.03144",
        year=2016,
        build=partial(build, lambda: PyramidNetwork(make())),
        parameters=body.parameters + fpn.parameters(channels),
        preprocessing=body.preprocessing,
        taps=MappingProxyType(stages | fpn.TAPS),
        weights=body.weights,
        pyramid=True,
        minimum_input=body.minimum_input,
    )


def _rows() -> tuple[Backbone, ...]:
    lite = _efficientnet_lite0()
    resnets = {depth: _resnet(depth) for depth in resnet.BLOCKS}
    return (
        _with_pyramid(lite, EfficientNetLite0, efficientnet_lite.STAGE_CHANNELS),
        *(_with_pyramid(row, partial(ResNet, depth), resnet.stage_channels(depth)) for depth, row in resnets.items()),
        lite,
        *resnets.values(),
        *(_vgg(depth, batch_norm=batch_norm) for batch_norm in (False, True) for depth in vgg.CONVOLUTIONS),
    )


_CATALOG: Mapping[str, Backbone] = MappingProxyType({row.name: row for row in _rows()})
