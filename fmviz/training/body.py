"""The frozen body that a pyramid is trained over: a trained classifier up to its last stage, made ready to be quick."""

from __future__ import annotations

import os
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from fmviz.devices import find_device
from fmviz.errors import BackboneError, WeightsError
from fmviz.networks import catalog
from fmviz.networks.backbone import RANDOM, Backbone
from fmviz.networks.network import StagedNetwork
from fmviz.networks.pyramids import SUFFIX, BodyWeights
from fmviz.networks.weights import best_here, load
from fmviz.preprocess import Preprocessing
from fmviz.training.scenes import SIZE

STAGES = ("C2", "C3", "C4", "C5")

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Precisions that a body can compute in, by the name that a file has for them."""


def body_of(backbone: str, weights: str | os.PathLike[str] | None, device: str) -> tuple[Body, BodyWeights]:
    """A trained body to train a pyramid over, on its device, and where its values came from.

    Args:
        backbone: one of ours, with or without “_fpn” at its end.
        weights: a name on offer, or a file; the best that are here where None.

    Raises:
        BackboneError: it is none of ours with stages at strides 4 to 32.
        WeightsError: it has no trained weights here.
        DeviceError: there is no such device.
    """
    where = find_device(device)
    row = catalog.backbone(backbone.removesuffix(SUFFIX))
    if row.group != "papers":
        raise BackboneError(
            f"A pyramid cannot be trained for {row.name}: it must be a network of fmviz's own that takes any size, "
            "such as resnet50."
        )
    if why := row.why_not((SIZE, SIZE)):
        raise BackboneError(why)
    chosen = os.fspath(weights) if weights is not None else best_here(row)
    if chosen == RANDOM:
        remedy = f"`fmviz weights fetch {row.name}` fetches some, or name" if row.offers else "name"
        raise WeightsError(f"{row.name} has no trained weights here to train a pyramid over: {remedy} a file.")
    network, loaded = load(row, chosen)
    assert isinstance(network, StagedNetwork)
    if _epsilons(network) != _epsilons(_without_values(row)):
        raise WeightsError(
            f"{loaded.name} is a detector's, whose batch norm was frozen in another way: name a classifier's weights."
        )
    offer = row.offer(chosen)
    path = "" if offer else os.path.abspath(chosen)
    source = BodyWeights(row.name, offer.name if offer else loaded.name, loaded.sha256, path)
    return Body(network, loaded.preprocessing or row.preprocessing, where), source


def _without_values(row: Backbone) -> nn.Module:
    with torch.device("meta"):
        return row.build()


def _epsilons(network: nn.Module) -> list[float]:
    return [module.eps for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


class Body(nn.Module):
    """A trained classifier up to its last stage, frozen, made ready to be quick.

    Args:
        network: used up: its batch norm is folded into its convolutions.
        preprocessing: the colours that it wants.
        device: where it runs.

    Attributes:
        precision: the one that it computes in; float32 at first.
    """

    def __init__(self, network: StagedNetwork, preprocessing: Preprocessing, device: torch.device) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()
        self.channels = network.stage_channels
        self.device = device
        self.precision = torch.float32
        colours = torch.tensor((preprocessing.mean, preprocessing.std))[:, :, None, None] * 255
        self.register_buffer("colours", colours)
        with torch.no_grad():
            _fold_batch_norm(self.network)
        for module in self.network.modules():
            if isinstance(module, nn.ReLU | nn.ReLU6):
                module.inplace = True  # nobody looks at what it was given
        self.to(device)
        self.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def stages(self, pixels: npt.NDArray[np.uint8]) -> list[Tensor]:
        """(B, height, width, 3) RGB -> C2–C5, (B, channels, h, w) float32 each, on the body's device."""
        images = torch.tensor(pixels).to(self.device).permute(0, 3, 1, 2)
        mean, std = self.colours  # type: ignore[misc]
        x = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            stages = self.network.stages(x)
        return [stages[name].float() for name in STAGES]


def precision_for(device: torch.device) -> torch.dtype:
    """Return bfloat16 if the device multiplies matrices in it, else float32.

    Decided by the processor and not by timing: a machine that is busy would choose another precision at times, and
    training with the same seed would then give another pyramid.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    # Other instructions for bfloat16, as AVX-512 has them, are slower than float32 here. Older versions of torch do not tell.
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        return torch.bfloat16 if torch.cpu.get_capabilities().get("amx_bf16") else torch.float32
    return torch.float32


def _fold_batch_norm(network: nn.Module) -> None:
    """Into the convolution that stands before it in the same module, as in all networks of ours."""
    for module in network.modules():
        children = list(module.named_children())
        for (_, convolution), (name, norm) in pairwise(children):
            if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            assert norm.running_mean is not None
            assert norm.running_var is not None
            convolution.weight, convolution.bias = fuse_conv_bn_weights(
                convolution.weight,
                convolution.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            setattr(module, name, nn.Identity())
