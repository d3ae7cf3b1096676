"""The rows of the catalog for our own networks: those of the papers, each with a pyramid, and the article's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from torch import Tensor

from fmviz.networks import (
    article,
    efficientnet_lite,
    fpn,
    inception_v1,
    inception_v2,
    inception_v3,
    pyramids,
    resnet,
    vgg,
)
from fmviz.networks.article import ArticleFPN, ArticleInceptionV1, ArticleResNet50, ArticleVGG19
from fmviz.networks.backbone import Backbone
from fmviz.networks.efficientnet_lite import EfficientNetLite0
from fmviz.networks.fpn import FeaturePyramid, PyramidNetwork
from fmviz.networks.inception_v1 import InceptionV1
from fmviz.networks.inception_v2 import InceptionV2
from fmviz.networks.inception_v3 import InceptionV3
from fmviz.networks.network import Network, StagedNetwork, build
from fmviz.networks.offers import Offer, published
from fmviz.networks.resnet import ResNet
from fmviz.networks.vgg import VGG
from fmviz.preprocess import IMAGENET, Preprocessing

EFFICIENTNET_INPUT = Preprocessing(interpolation="bicubic", mean=(127 / 255,) * 3, std=(128 / 255,) * 3)

# torchvision's weights of this network came from TensorFlow, which feeds colours from -1 to 1; its own model turns
# ImageNet's normalisation back into that before anything else.
INCEPTION_V3_INPUT = Preprocessing(resize=342, crop=299, mean=(0.5,) * 3, std=(0.5,) * 3)

ARTICLE_INPUT = IMAGENET.at(article.SIZE)

_VGG_PARAMETERS = {11: 132_863_336, 13: 133_047_848, 16: 138_357_544, 19: 143_667_240}
_VGG_BN_PARAMETERS = {11: 132_868_840, 13: 133_053_736, 16: 138_365_992, 19: 143_678_248}
_RESNET_PARAMETERS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}
_EFFICIENTNET_LITE0_PARAMETERS = 4_652_008
_INCEPTION_PARAMETERS = {1: 6_998_552, 2: 11_285_224, 3: 23_834_568}
_ARTICLE_PARAMETERS = {"vgg19": 74_461_224, "inception_v1": 10_070_552, "resnet50": 25_557_032, "fpn": 27_131_176}


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


def _inception_v1() -> Backbone:
    return Backbone(
        name="inception_v1",
        family="Inception",
        paper="1409.4842",
        year=2014,
        build=partial(build, InceptionV1),
        parameters=_INCEPTION_PARAMETERS[1],
        preprocessing=IMAGENET,
        find_taps=lambda: inception_v1.TAPS,
        # Four pools that round up: of 30 pixels the last would be given a single cell, and leave none.
        minimum_input=31,
        about=(
            "The paper's network, without the auxiliary classifiers, which run in training only. torchvision's googlenet "
            "is another network: its weights do not fit."
        ),
    )


def _inception_v2() -> Backbone:
    return Backbone(
        name="inception_v2",
        family="Inception",
        paper="1502.03167",
        year=2015,
        build=partial(build, InceptionV2),
        parameters=_INCEPTION_PARAMETERS[2],
        preprocessing=IMAGENET,
        find_taps=lambda: inception_v2.TAPS,
        about="BN-Inception. The paper's figure contradicts itself at 4c and 4d: its filters are taken, not its sums.",
    )


def _inception_v3() -> Backbone:
    theirs = published()["inception_v3"]
    return Backbone(
        name="inception_v3",
        family="Inception",
        paper="1512.00567",
        year=2015,
        build=partial(build, InceptionV3),
        parameters=_INCEPTION_PARAMETERS[3],
        preprocessing=INCEPTION_V3_INPUT,
        find_taps=lambda: inception_v3.TAPS,
        offers=tuple(replace(offer, preprocessing=INCEPTION_V3_INPUT) for offer in theirs.offers),
        macs=theirs.macs,
        minimum_input=theirs.minimum_input,
        about=(
            "The factorised Inception, without the auxiliary classifier, which runs in training only. Its stages are not "
            "padded, so that C2–C5 are a little smaller than the input divided by 4, 8, 16 and 32."
        ),
    )


def _article(name: str, of: Backbone, make: Callable[[], Network]) -> Backbone:
    """The article's version of `of`, which its classifier's size binds to one size of picture."""
    return replace(
        of,
        name=f"article/{name}",
        family="Article",
        group="article",
        build=partial(build, make),
        parameters=_ARTICLE_PARAMETERS[name],
        preprocessing=ARTICLE_INPUT,
        offers=(),
        macs=None,
        minimum_input=article.SIZE,
        only_input=article.SIZE,
        about=article.ABOUT[name],
    )


def _article_fpn(of: Backbone) -> Backbone:
    return replace(
        of,
        name="article/fpn",
        family="Article",
        group="article",
        build=partial(build, ArticleFPN),
        build_for=None,
        parameters=_ARTICLE_PARAMETERS["fpn"],
        preprocessing=ARTICLE_INPUT,
        find_taps=lambda: {tap: path for tap, path in of.taps.items() if tap != "P6"},
        about=article.ABOUT["fpn"],
    )


def _with_pyramid(
    body: Backbone, make: Callable[[], StagedNetwork], channels: tuple[int, ...], *, width: int = fpn.WIDTH
) -> Backbone:
    def build_for(tensors: Mapping[str, Tensor]) -> PyramidNetwork:
        """With a pyramid as wide as the file's, and a head where the file has one."""
        pyramid, head = fpn.like(channels, tensors, width=width)
        return PyramidNetwork(make(), pyramid, head=head)

    shipped = pyramids.shipped(body.name)
    return replace(
        body,
        name=f"{body.name}_fpn",
        family="Feature pyramid",
        paper="1612.03144",
        year=2016,
        build=partial(build, lambda: PyramidNetwork(make(), FeaturePyramid(channels, width=width))),
        build_for=lambda tensors: build(partial(build_for, tensors)),
        parameters=body.parameters + fpn.parameters(channels, width=width),
        offers=(*((shipped,) if shipped else ()), *body.offers),
        find_taps=lambda: {tap: f"body.{path}" for tap, path in body.taps.items()} | fpn.TAPS,
        pyramid=True,
        macs=None,
    )


def _trained_by_a_detector(row: Backbone) -> Backbone:
    """Of Faster R-CNN's file its body and its pyramid are this network's; it has no classifier."""
    detectors = published()["fasterrcnn_resnet50_fpn"].offers
    # The detector normalises by itself; its body wants what that makes of a picture.
    fed = IMAGENET.whole(800)
    return replace(row, offers=(*(replace(offer, classes="", preprocessing=fed) for offer in detectors), *row.offers))


def _classifiers(offers: tuple[Offer, ...]) -> tuple[Offer, ...]:
    """Those with a trained classifier: there is a VGG-16 without one, from another program and fed in other units."""
    return tuple(offer for offer in offers if offer.classes)


def rows() -> tuple[Backbone, ...]:
    """The default first, then the pyramids, then the classifiers by paper, then the article's."""
    lite = _efficientnet_lite0()
    resnets = {depth: _resnet(depth) for depth in resnet.BLOCKS}
    vggs = {(depth, norm): _vgg(depth, batch_norm=norm) for norm in (False, True) for depth in vgg.CONVOLUTIONS}
    v1, v2, v3 = _inception_v1(), _inception_v2(), _inception_v3()
    resnet_pyramids = {
        depth: _with_pyramid(row, partial(ResNet, depth), resnet.stage_channels(depth))
        for depth, row in resnets.items()
    }
    article_fpn = _article_fpn(resnet_pyramids[50])
    resnet_pyramids[50] = _trained_by_a_detector(resnet_pyramids[50])
    return (
        _with_pyramid(lite, EfficientNetLite0, efficientnet_lite.STAGE_CHANNELS, width=fpn.NARROW),
        *resnet_pyramids.values(),
        *(
            _with_pyramid(row, partial(VGG, depth, batch_norm=norm), vgg.STAGE_CHANNELS)
            for (depth, norm), row in vggs.items()
        ),
        _with_pyramid(v1, InceptionV1, inception_v1.STAGE_CHANNELS),
        _with_pyramid(v2, InceptionV2, inception_v2.STAGE_CHANNELS),
        _with_pyramid(v3, InceptionV3, inception_v3.STAGE_CHANNELS),
        lite,
        *resnets.values(),
        *vggs.values(),
        v1,
        v2,
        v3,
        _article("vgg19", vggs[19, False], ArticleVGG19),
        _article("inception_v1", v1, ArticleInceptionV1),
        _article("resnet50", resnets[50], ArticleResNet50),
        article_fpn,
    )
