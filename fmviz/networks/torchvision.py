"""torchvision's networks: what it says of them, and how they are built and fed here."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from math import isqrt
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from fmviz.errors import BackboneError
from fmviz.layers import Layer
from fmviz.networks.backbone import Backbone, the_tensor_alone
from fmviz.networks.offers import Kind, Offer, Published, published, published_network
from fmviz.networks.stages import find_stages
from fmviz.preprocess import IMAGENET
from fmviz.tokens import Elsewhere, Finder, Places, TokenGrid, Windows

PREFIX = "torchvision/"

LEFT_OUT = {
    "video": "takes a clip of many pictures, and fmviz shows what becomes of one",
    "optical_flow": "takes two pictures and finds how the one moves into the other, and fmviz shows what becomes of one",
    "quantization": "computes in 8-bit integers, whose layers keep no values to be drawn",
}
"""Its files of networks that cannot be shown, and why."""

_CLASSES = {1000: "imagenet", 91: "coco", 21: "voc"}
_FROZEN_AT_ZERO = (
    "fasterrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn",
)
"""Networks whose COCO_V1 weights, and no others, torchvision gives an eps of 0 after loading."""

_PAPERS = {
    "alexnet": ("AlexNet", "1404.5997"),
    "convnext": ("ConvNeXt", "2201.03545"),
    "deeplabv3": ("Segmentation", "1706.05587"),
    "densenet": ("DenseNet", "1608.06993"),
    "efficientnet": ("EfficientNet", "1905.11946"),
    "efficientnet_v2": ("EfficientNet", "2104.00298"),
    "faster_rcnn": ("Detection", "1506.01497"),
    "fasterrcnn_resnet50_fpn_v2": ("Detection", "2111.11429"),
    "fcn": ("Segmentation", "1411.4038"),
    "fcos": ("Detection", "1904.01355"),
    "googlenet": ("Inception", "1409.4842"),
    "inception": ("Inception", "1512.00567"),
    "keypoint_rcnn": ("Detection", "1703.06870"),
    "lraspp": ("Segmentation", "1905.02244"),
    "mask_rcnn": ("Detection", "1703.06870"),
    "maskrcnn_resnet50_fpn_v2": ("Detection", "2111.11429"),
    "maxvit": ("MaxViT", "2204.01697"),
    "mnasnet": ("MnasNet", "1807.11626"),
    "mobilenetv2": ("MobileNet", "1801.04381"),
    "mobilenetv3": ("MobileNet", "1905.02244"),
    "regnet": ("RegNet", "2003.13678"),
    "resnet": ("ResNet", "1512.03385"),
    "resnext": ("ResNet", "1611.05431"),
    "retinanet": ("Detection", "1708.02002"),
    "retinanet_resnet50_fpn_v2": ("Detection", "1912.02424"),
    "shufflenetv2": ("ShuffleNet", "1807.11164"),
    "squeezenet": ("SqueezeNet", "1602.07360"),
    "ssd": ("Detection", "1512.02325"),
    "ssdlite": ("Detection", "1801.04381"),
    "swin_transformer": ("Swin", "2103.14030"),
    "swin_v2": ("Swin", "2111.09883"),
    "vgg": ("VGG", "1409.1556"),
    "vision_transformer": ("ViT", "2010.11929"),
    "wide_resnet": ("ResNet", "1605.07146"),
}
"""Family and arXiv number by the file that a network is in, or by the beginning of its name, which goes before."""

_CLASSIFIERS = {
    **dict.fromkeys(("googlenet", "inception", "regnet", "resnet", "shufflenetv2"), "fc"),
    "swin_transformer": "head",
    "vision_transformer": "heads",
}
"""Path of the classifier, where it is not "classifier"."""

_MINIMUM = {"swin_transformer": 32, "ssd": 300, "ssdlite": 32}
"""Where it is another than torchvision's metadata says: those are the sizes that its weights want."""

_ABOUT = {
    "googlenet": "torchvision's version of the network: batch norm, 3×3 convolutions where the paper has 5×5, a last pool "
    "of 2×2, and no response normalisation. It normalises its input once more itself, as its weights want it.",
    "inception": "It normalises its input once more itself, as its weights want it. Its auxiliary classifier runs in training "
    "only.",
    "maxvit": "Its windows are made for 224 × 224 pixels: it takes no other size.",
    "vision_transformer": "Its tokens are shown on the grid of patches that they came from, the class token apart. At another "
    "size than its weights' the position embedding is resized, bicubic.",
    "swin_transformer": "Its maps have the channels last, and are shown as maps of the channels.",
    "ssd": "Made for squares of 300 pixels: the picture is cropped to one, where torchvision would squeeze it.",
    "ssdlite": "Made for squares of 320 pixels: the picture is cropped to one, where torchvision would squeeze it.",
}
_ABOUT_DETECTORS = (
    "It is fed the picture in 0–1, which it normalises itself. "
    "Its own resizing is left out, so that maps lie on the picture."
)
_ABOUT_SEGMENTATION = "Its last stages are dilated: they have the stride of the one before."


def rows() -> tuple[Backbone, ...]:
    """All that the asset lists, in torchvision's order: classification, then segmentation, then detection."""
    order = {"classification": 0, "segmentation": 1, "detection": 2}
    return tuple(
        _row(network.name) for network in sorted(published().values(), key=lambda network: order[network.kind])
    )


def backbone(name: str) -> Backbone:
    """The network that torchvision calls `name`.

    Raises:
        BackboneError: torchvision has none such, or one that cannot be shown.
    """
    return _row(name.removeprefix(PREFIX))


@cache
def _row(name: str) -> Backbone:
    network = published().get(name) or _newer(name)
    family, paper = _family(network)
    offers = network.offers
    if network.kind == "classification":
        # There is a VGG-16 without a trained classifier, from another program and fed in other units.
        offers = tuple(offer for offer in offers if offer.classes)
    return Backbone(
        name=f"{PREFIX}{name}",
        family=family,
        paper=paper,
        year=2000 + int(paper[:2]) if paper else 0,
        build=partial(_build, network),
        parameters=network.parameters,
        preprocessing=(offers[0].preprocessing if offers else None) or IMAGENET,
        find_taps=partial(_taps, network),
        offers=offers,
        pyramid=name.endswith(("_fpn", "_fpn_v2")),
        minimum_input=_minimum(network),
        group="torchvision",
        macs=network.macs or None,
        about=_about(network),
        arguments=_arguments(network.kind),
        parts=MappingProxyType(_parts(network)),
        only_input=network.minimum_input if network.module == "maxvit" else 0,
        why_only="its windows are made for that size" if network.module == "maxvit" else "",
        token_grid=_token_grid(network),
        build_for=_build_for(network),
        finish=_finish,
        by_values=network.kind == "detection",
    )


def _family(network: Published) -> tuple[str, str]:
    by_name = (key for key in sorted(_PAPERS, key=len, reverse=True) if network.name.startswith(key))
    return _PAPERS.get(next(by_name, network.module), ("Others", ""))


def _build(network: Published) -> nn.Module:
    # Not at the top: the catalog lists the networks, and most sessions build none of them.
    from fmviz.networks import torchvision_models

    return torchvision_models.build(network)


def _finish(model: nn.Module, offer: Offer | None) -> None:
    from fmviz.networks import torchvision_models

    torchvision_models.finish(model, offer)


def _build_for(network: Published) -> Callable[[Mapping[str, Tensor]], nn.Module] | None:
    from fmviz.networks import torchvision_models

    makers = {
        "googlenet": torchvision_models.build_googlenet,
        "vision_transformer": torchvision_models.build_vision_transformer,
    }
    return partial(makers[network.module], network) if network.module in makers else None


def _minimum(network: Published) -> int:
    if network.module == "vision_transformer":
        return _patch(network)
    return _MINIMUM.get(network.module, network.minimum_input)


def _patch(network: Published) -> int:
    from fmviz.networks.torchvision_models import PATCHES

    return PATCHES[network.name.removeprefix("vit_")]


def _about(network: Published) -> str:
    of_kind = {"detection": _ABOUT_DETECTORS, "segmentation": _ABOUT_SEGMENTATION}.get(network.kind, "")
    return " ".join(part for part in (of_kind, _ABOUT.get(network.module, "")) if part)


def _parts(network: Published) -> dict[str, str]:
    if network.kind != "classification":
        return {}
    return {"classifier": _CLASSIFIERS.get(network.module, "classifier")}


def _arguments(kind: Kind) -> Callable[[Tensor], tuple[Any, ...]]:
    return _one_of_a_list if kind == "detection" else the_tensor_alone


def _one_of_a_list(x: Tensor) -> tuple[Any, ...]:
    """Detectors take pictures of any sizes, in a list."""
    return ([x[0]],)


def _token_grid(network: Published) -> Callable[[tuple[int, int]], Finder] | None:
    if network.module == "vision_transformer":
        return partial(_patches, _patch(network))
    if network.module == "maxvit":
        return lambda _: MaxViTWindows()
    return (lambda _: swin_biases) if network.module == "swin_transformer" else None


def token_layout(model: nn.Module) -> Callable[[tuple[int, int]], Finder] | None:
    """Return the token layout, by the input's size, of the network of torchvision's that `model` is or contains.

    None if there is none, or if its layers need none. Does not import torchvision.
    """
    kinds = {
        kind.__name__: module for module in model.modules() for kind in type(module).__mro__ if _is_a_transformer(kind)
    }
    if "VisionTransformer" in kinds:
        patch: Any = kinds["VisionTransformer"].patch_size
        return partial(_patches, patch)
    if "MaxVit" in kinds:
        return lambda _: MaxViTWindows()
    return (lambda _: swin_biases) if "SwinTransformer" in kinds else None


def _is_a_transformer(kind: type) -> bool:
    return kind.__module__.startswith("torchvision.models.") and kind.__name__ in _TRANSFORMERS


_TRANSFORMERS = ("VisionTransformer", "MaxVit", "SwinTransformer")


def _patches(patch: int, size: tuple[int, int]) -> Finder:
    return TokenGrid(size[0] // patch, size[1] // patch, ("class token",))


def swin_biases(layer: Layer, shape: tuple[int, ...]) -> Places | None:
    """What Swin's second version computes of the offsets between two tokens lies nowhere on the picture."""
    return Elsewhere("It is a bias for each offset between two tokens.") if ".cpb_mlp" in layer.path else None


@dataclasses.dataclass(frozen=True, slots=True)
class MaxViTWindows:
    """Where the tokens of torchvision's MaxViT lie: 1 × windows × tokens × channels, in windows of 7 × 7, and in its grid
    attention in 7 × 7 windows, in which the tokens of one place in each window are attended to together."""

    side: int = 7

    def __call__(self, layer: Layer, shape: tuple[int, ...]) -> Places | None:
        if len(shape) != 4 or shape[0] != 1 or not _IN_WINDOWS.search(layer.path):
            return None
        if "window_attention" in layer.path:
            return Windows(isqrt(shape[1]))
        if layer.path.endswith(("partition_op", "departition_swap")):
            return Windows(self.side)
        return Windows(self.side, swapped=True)


_IN_WINDOWS = re.compile(r"(window|grid)_attention\.(?!departition_op)")


def _taps(network: Published) -> dict[str, str]:
    row = _row(network.name)
    size = _measured_at(row, network)
    finder = row.token_grid(size) if row.token_grid else None
    find = partial(find_stages, row.build, row.arguments, size)
    if network.kind == "classification":
        return find(outside=row.parts["classifier"], finder=finder)
    if not row.pyramid:
        return find(inside="backbone")
    return find(inside="backbone.body", pyramid="backbone.fpn")


def _measured_at(row: Backbone, network: Published) -> tuple[int, int]:
    """A map of the whole input has its proportions, what is pooled to a fixed size has not, so they are no square's."""
    if row.only_input:
        return row.only_input, row.only_input
    if network.module == "inception":
        # It pads nothing: only at its own size are its strides near to powers of two.
        return row.preprocessing.crop, row.preprocessing.crop
    shorter = max(224, row.minimum_input)
    return shorter, 2 * shorter


# What torchvision says of them


def _newer(name: str) -> Published:
    """A network that torchvision has and the asset has not."""
    from torchvision import models

    if name not in models.list_models():
        close = difflib.get_close_matches(name.lower(), published(), n=3)
        remedy = (
            f"did you mean {' or '.join(PREFIX + near for near in close)}?" if close else "the chooser lists them all."
        )
        raise BackboneError(f"torchvision has no network “{name}”: {remedy}")
    module = models.get_model_builder(name).__module__.removeprefix("torchvision.models.")
    if why := LEFT_OUT.get(module.split(".")[0]):
        raise BackboneError(f"torchvision's {name} cannot be shown, because it {why}: choose another network.")
    weights = models.get_model_weights(name)
    if not len(weights):
        raise BackboneError(
            f"torchvision's {name} has no trained weights, and so nothing says what it wants to be fed."
        )
    return published_network(name, _network(name, module, _ordered(weights)))


def index() -> dict[str, Any]:
    """What `assets/torchvision.json` holds, out of the metadata of the torchvision that is installed."""
    import torchvision
    from torchvision import models

    networks = {}
    for name in models.list_models():
        module = models.get_model_builder(name).__module__.removeprefix("torchvision.models.")
        weights = models.get_model_weights(name)
        if module.split(".")[0] in LEFT_OUT or not len(weights):
            continue
        networks[name] = _network(name, module, _ordered(weights))
    return {"torchvision": torchvision.__version__.split("+")[0], "networks": networks}


def _ordered(weights: Any) -> list[Any]:
    """torchvision's own choice first."""
    return sorted(weights, key=lambda entry: entry is not weights.DEFAULT)


def _network(name: str, module: str, weights: list[Any]) -> dict[str, Any]:
    meta = weights[0].meta
    kind = {"detection": "detection", "segmentation": "segmentation"}.get(module.split(".")[0], "classification")
    return {
        "kind": kind,
        "module": module.split(".")[-1],
        "parameters": meta["num_params"],
        "macs": round(meta["_ops"] * 1e9),
        "minimum_input": min(meta.get("min_size", (1, 1))),
        "weights": [_weights(name, kind, entry) for entry in weights],
    }


def _weights(name: str, kind: str, entry: Any) -> dict[str, Any]:
    file_name = entry.url.rpartition("/")[2]
    found = re.search(r"-([0-9a-f]{8,})\.pth$", file_name)
    top1 = next((scores.get("acc@1") for scores in entry.meta["_metrics"].values()), None)
    return {
        "name": entry.name,
        "url": entry.url,
        "file_name": file_name,
        "sha256": found[1] if found else "",
        "nbytes": round(entry.meta["_file_size"] * 2**20),
        "classes": _CLASSES.get(len(entry.meta.get("categories") or ()), ""),
        "top1": top1,
        "frozen_eps": 0.0 if name in _FROZEN_AT_ZERO and entry.name == "COCO_V1" else None,
        "preprocessing": _preprocessing(name, kind, entry.transforms()),
    }


def _preprocessing(name: str, kind: str, transform: Any) -> Mapping[str, Any]:
    if kind == "detection":
        # It normalises by itself: here it is fed the picture in 0–1.
        as_it_is = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
        if square := re.match(r"ssd(?:lite)?(\d+)", name):
            return {"resize": int(square[1]), "crop": int(square[1]), **as_it_is}
        longer_side = 640 if "_320_" in name else 800
        return {"mode": "whole", "longer_side": longer_side, **as_it_is}
    colours = {
        "mean": tuple(transform.mean),
        "std": tuple(transform.std),
        "interpolation": transform.interpolation.value,
    }
    if kind == "segmentation":
        return {"mode": "whole", "longer_side": transform.resize_size[0], **colours}
    return {"resize": transform.resize_size[0], "crop": transform.crop_size[0], **colours}
