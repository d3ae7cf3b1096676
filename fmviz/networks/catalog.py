"""Every backbone by name: how it is built, what it wants to be fed, which weights are on offer, where its taps are."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from fmviz.errors import BackboneError
from fmviz.networks import efficientnet_lite, fpn, resnet, vgg
from fmviz.networks.backbone import Backbone
from fmviz.networks.efficientnet_lite import EfficientNetLite0
from fmviz.networks.fpn import PyramidNetwork
from fmviz.networks.network import StagedNetwork, build
from fmviz.networks.offers import Offer, published
from fmviz.networks.resnet import ResNet
from fmviz.networks.vgg import VGG
from fmviz.preprocess import IMAGENET, Preprocessing


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
        find_taps=partial(vgg.taps, depth, batch_norm=batch_norm),
        offers=_classifiers(published()[f"vgg{depth}_bn" if batch_norm else f"vgg{depth}"].offers),
        macs=published()[f"vgg{depth}"].macs,
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
        find_taps=lambda: resnet.TAPS,
        offers=published()[f"resnet{depth}"].offers,
        macs=published()[f"resnet{depth}"].macs,
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
        find_taps=lambda: efficientnet_lite.TAPS,
        offers=(Offer(name="imagenet", classes="imagenet"),),
    )


def _with_pyramid(body: Backbone, make: Callable[[], StagedNetwork], channels: tuple[int, ...]) -> Backbone:
    return Backbone(
        name=f"{body.name}_fpn",
        family="Feature pyramid",
        paper="1612.03144",
        year=2016,
        build=partial(build, lambda: PyramidNetwork(make())),
        parameters=body.parameters + fpn.parameters(channels),
        preprocessing=body.preprocessing,
        find_taps=lambda: {tap: f"body.{path}" for tap, path in body.taps.items()} | fpn.TAPS,
        offers=body.offers,
        pyramid=True,
        minimum_input=body.minimum_input,
    )


def _classifiers(offers: tuple[Offer, ...]) -> tuple[Offer, ...]:
    """Those with a trained classifier: there is a VGG-16 without one, from another program and fed in other units."""
    return tuple(offer for offer in offers if offer.classes)


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
