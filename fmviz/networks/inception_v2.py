"""Inception v2 (BN-Inception): Ioffe and Szegedy, "Batch normalization", 1502.03167.

The network of the paper's Figure 5: v1 with a batch norm after each convolution, two 3×3 in place of the 5×5, and two
modules (3c, 4e) that halve the map by themselves. The figure contradicts itself: its filters of 4c and 4d sum to 608
where it prints 576. The filters are taken. The first convolution is dense here.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fmviz.networks.network import StagedNetwork, initialise_modules


@dataclass(frozen=True, slots=True)
class ModuleSpec:
    """A row of Figure 5.

    Attributes:
        conv1x1: filters; 0 in a module that halves the map, which has no such branch.
        conv3x3: filters of the 1×1 and of the 3×3 after it.
        double3x3: filters of the 1×1, and of each of the two 3×3 after it.
        pool: the kind of the pool.
        projection: filters of the 1×1 after the pool; 0 in a module that halves the map, which hands the pool on.
    """

    name: str
    in_channels: int
    conv1x1: int
    conv3x3: tuple[int, int]
    double3x3: tuple[int, int]
    pool: Literal["average", "max"]
    projection: int

    @property
    def out_channels(self) -> int:
        return self.conv1x1 + self.conv3x3[1] + self.double3x3[1] + (self.projection or self.in_channels)

    @property
    def stride(self) -> int:
        return 1 if self.projection else 2


MODULES = (
    ModuleSpec("3a", 192, 64, (64, 64), (64, 96), "average", 32),
    ModuleSpec("3b", 256, 64, (64, 96), (64, 96), "average", 64),
    ModuleSpec("3c", 320, 0, (128, 160), (64, 96), "max", 0),
    ModuleSpec("4a", 576, 224, (64, 96), (96, 128), "average", 128),
    ModuleSpec("4b", 576, 192, (96, 128), (96, 128), "average", 128),
    ModuleSpec("4c", 576, 160, (128, 160), (128, 160), "average", 128),
    ModuleSpec("4d", 608, 96, (128, 192), (160, 192), "average", 128),
    ModuleSpec("4e", 608, 0, (128, 192), (192, 256), "max", 0),
    ModuleSpec("5a", 1056, 352, (192, 320), (160, 224), "average", 128),
    ModuleSpec("5b", 1024, 352, (192, 320), (192, 224), "max", 128),
)

STAGE_CHANNELS = (192, 320, 608, 1024)
TAPS = {"C2": "conv2", "C3": "inception3b", "C4": "inception4d", "C5": "inception5b"}


class ConvNormReLU(nn.Sequential):
    """A convolution without bias, its batch norm and its ReLU. Keeps the size at stride 1 where `padding` is None."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | None = None,
        eps: float = 1e-5,
    ) -> None:
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        around = (height // 2, width // 2) if padding is None else (padding, padding)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv"] = nn.Conv2d(in_channels, out_channels, (height, width), stride, around, bias=False)
        layers["bn"] = nn.BatchNorm2d(out_channels, eps=eps)
        layers["relu"] = nn.ReLU()
        super().__init__(layers)


class InceptionModule(nn.Module):
    """Four branches on one map, or three in a module that halves it; their channels side by side."""

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__()
        reduce3x3, conv3x3 = spec.conv3x3
        reduce_double, double3x3 = spec.double3x3
        self.branch1x1 = ConvNormReLU(spec.in_channels, spec.conv1x1, kernel=1) if spec.conv1x1 else None
        self.branch3x3 = nn.Sequential(
            OrderedDict(
                reduce=ConvNormReLU(spec.in_channels, reduce3x3, kernel=1),
                conv=ConvNormReLU(reduce3x3, conv3x3, kernel=3, stride=spec.stride),
            )
        )
        self.branch_double3x3 = nn.Sequential(
            OrderedDict(
                reduce=ConvNormReLU(spec.in_channels, reduce_double, kernel=1),
                conv1=ConvNormReLU(reduce_double, double3x3, kernel=3),
                conv2=ConvNormReLU(double3x3, double3x3, kernel=3, stride=spec.stride),
            )
        )
        self.branch_pool = nn.Sequential(OrderedDict(pool=_pool(spec.pool, spec.stride)))
        if spec.projection:
            self.branch_pool.add_module("projection", ConvNormReLU(spec.in_channels, spec.projection, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)"""
        branches = [] if self.branch1x1 is None else [self.branch1x1(x)]
        branches += [self.branch3x3(x), self.branch_double3x3(x), self.branch_pool(x)]
        return torch.cat(branches, dim=1)


class InceptionV2(StagedNetwork):
    """A stem at stride 4, ten modules, a classifier. Takes any size: all that halves a map rounds up.

    Args:
        classes: how many the last layer tells apart.
    """

    def __init__(self, *, classes: int = 1000) -> None:
        super().__init__()
        self.parts = {"classifier": "fc"}
        self.stage_channels = STAGE_CHANNELS
        self.conv1 = ConvNormReLU(3, 64, kernel=7, stride=2)
        self.pool1 = _pool("max", 2)
        self.conv2_reduce = ConvNormReLU(64, 64, kernel=1)
        self.conv2 = ConvNormReLU(64, 192, kernel=3)
        self.pool2 = _pool("max", 2)
        for spec in MODULES:
            self.add_module(f"inception{spec.name}", InceptionModule(spec))
        # 7 × 7 at the paper's 224; the mean of any map feeds the classifier.
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(1024, classes)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, h, w) -> C2–C5 by name, at strides 4, 8, 16 and 32."""
        x = self.pool1(self.conv1(x))
        x = c2 = self.conv2(self.conv2_reduce(x))
        x = self.pool2(x)
        maps = {}
        for spec in MODULES:
            x = maps[spec.name] = self.get_submodule(f"inception{spec.name}")(x)
        return {"C2": c2, "C3": maps["3b"], "C4": maps["4d"], "C5": maps["5b"]}

    def classify(self, c5: Tensor) -> Tensor:
        """C5 -> (B, classes) logits."""
        pooled = self.avgpool(c5).flatten(1)
        logits: Tensor = self.fc(pooled)
        return logits

    def initialise(self, part: nn.Module) -> None:
        """He's normal for convolutions, torch's own for the fully connected layer; the paper names no values."""
        initialise_modules(part)


def _pool(kind: Literal["average", "max"], stride: int) -> nn.Module:
    """3×3, padded as the convolutions beside it are, so that the branches agree on odd sizes too."""
    if kind == "max":
        return nn.MaxPool2d(kernel_size=3, stride=stride, padding=1)
    return nn.AvgPool2d(kernel_size=3, stride=stride, padding=1)
