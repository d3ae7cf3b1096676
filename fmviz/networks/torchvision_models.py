"""torchvision's networks as modules: built without weights, as their published weights want them, and fit to be looked into.

torchvision is imported by the functions that need it, which takes two seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from math import isqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmviz.networks.network import WithoutInitialisation
from fmviz.networks.offers import Offer, Published

PATCHES = {"b_16": 16, "b_32": 32, "l_16": 16, "l_32": 32, "h_14": 14}
"""Pixels of a side of a Vision Transformer's patches, by the end of its name."""

UNLIKELY = 0.02
"""Boxes of single-shot detectors that are no more probable than this are left out."""

_FROZEN = (
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fcos_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn",
)
"""Detectors that were trained with the batch norm of their body frozen."""


def build(network: Published) -> nn.Module:
    """The network on the ambient device, initialised as torchvision does; on the meta device not at all."""
    if network.kind == "detection":
        return _detector(network.name)
    return _made(network.name, **_options(network))


def build_vision_transformer(network: Published, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The one for pictures of the size that the position embedding in `tensors` was trained for."""
    embedding = tensors.get("encoder.pos_embedding")
    if embedding is None or embedding.dim() != 3:
        return build(network)
    side = isqrt(max(1, embedding.shape[1] - 1))
    return _made(network.name, image_size=side * PATCHES[network.name.removeprefix("vit_")])


def build_googlenet(network: Published, tensors: Mapping[str, Tensor]) -> nn.Module:
    """With auxiliary classifiers where `tensors` have them: torchvision's file does."""
    with_them = any(key.startswith("aux1.") for key in tensors)
    return _made(network.name, **{**_options(network), "aux_logits": with_them})


def finish(model: nn.Module, offer: Offer | None) -> None:
    """As torchvision does after loading: without the auxiliary classifiers of GoogLeNet, which nobody trained."""
    if type(model).__name__ == "GoogLeNet":
        for name in ("aux1", "aux2"):
            setattr(model, name, None)
        model.aux_logits = False  # type: ignore[assignment]


def _options(network: Published) -> dict[str, Any]:
    if network.kind == "segmentation":
        # Their weights have the auxiliary classifier; the small one has none.
        auxiliary = {} if network.name.startswith("lraspp") else {"aux_loss": True}
        return {"weights_backbone": None, **auxiliary}
    if network.module == "vision_transformer":
        return {"image_size": network.minimum_input}
    if network.module in ("googlenet", "inception"):
        auxiliary = {"aux_logits": network.module == "inception"}
        return {"transform_input": True, "init_weights": True, **auxiliary}
    return {}


def _made(name: str, **options: Any) -> nn.Module:
    from torchvision import models

    if name.startswith("regnet_") and torch.empty(0).is_meta:
        # It calculates its widths with tensors. Memory that is not written to is not taken.
        with torch.device("cpu"), WithoutInitialisation():
            return models.get_model(name, weights=None, **options).to("meta")  # type: ignore[no-any-return]
    with _quickly():
        model: nn.Module = models.get_model(name, weights=None, **options)
    return _for_any_size(model) if name.startswith("vit_") else model


def _quickly() -> AbstractContextManager[object]:
    """On the meta device there is nothing to initialise, and torch's functions for it import its compiler there."""
    return WithoutInitialisation() if torch.empty(0).is_meta else nullcontext()


# Detectors


def _detector(name: str) -> nn.Module:
    model = _made(name, weights_backbone=None)
    if name in _FROZEN:
        _freeze(model.get_submodule("backbone.body"))
    if hasattr(model, "score_thresh") and name.startswith("ssd"):
        # torchvision's 0.01 is less than each of 91 classes has where nothing is trained: all boxes would be compared.
        model.score_thresh = UNLIKELY  # type: ignore[assignment]
    before: Any = model.transform
    model.transform = _as_it_is()(1, 1, before.image_mean, before.image_std, size_divisible=1)
    return model


def _freeze(body: nn.Module) -> None:
    """torchvision builds them so where it loads weights into them."""
    from torchvision.ops import FrozenBatchNorm2d

    for parent in list(body.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, FrozenBatchNorm2d(child.num_features))


@cache
def _as_it_is() -> type[Any]:
    """torchvision's transform without its resizing and padding, so that maps lie on the picture; it still normalises."""
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    class AsItIs(GeneralizedRCNNTransform):  # type: ignore[misc]
        def resize(self, image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
            return image, target

        def __repr__(self) -> str:
            return f"AsItIs(mean={self.image_mean}, std={self.image_std})"

    return AsItIs


# Vision Transformers


def _for_any_size(model: Any) -> nn.Module:
    """A Vision Transformer that takes any size: elsewhere than at its own, its position embedding is resized."""
    network, encoder = _classes_for_any_size()
    model.__class__, model.encoder.__class__ = network, encoder
    model.encoder.grid = (model.image_size // model.patch_size,) * 2
    return model  # type: ignore[no-any-return]


@cache
def _classes_for_any_size() -> tuple[type[Any], type[Any]]:
    from torchvision.models import vision_transformer

    class Encoder(vision_transformer.Encoder):  # type: ignore[misc]
        def forward(self, input: Tensor) -> Tensor:
            tokens = input + resized_positions(self.pos_embedding, self.grid)
            return self.ln(self.layers(self.dropout(tokens)))  # type: ignore[no-any-return]

    class VisionTransformer(vision_transformer.VisionTransformer):  # type: ignore[misc]
        def _process_input(self, x: Tensor) -> Tensor:
            maps = self.conv_proj(x)  # (B, C, gh, gw)
            self.encoder.grid = tuple(maps.shape[2:])
            return maps.flatten(2).transpose(1, 2)  # type: ignore[no-any-return]

    return VisionTransformer, Encoder


def resized_positions(embedding: Tensor, grid: tuple[int, int]) -> Tensor:
    """A position embedding (1, 1 + n·n, C), the class token's first, for a grid (height, width): (1, 1 + h·w, C).

    Bicubic with aligned corners, as torchvision's `interpolate_embeddings`; itself where the grid is its own.
    """
    side = isqrt(embedding.shape[1] - 1)
    if grid == (side, side):
        return embedding
    square = embedding[:, 1:].transpose(1, 2).reshape(1, -1, side, side)  # (1, C, n, n)
    resized = F.interpolate(square, size=grid, mode="bicubic", align_corners=True)
    return torch.cat((embedding[:, :1], resized.flatten(2).transpose(1, 2)), dim=1)
