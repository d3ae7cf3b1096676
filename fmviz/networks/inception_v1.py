"""Inception v1 (GoogLeNet): Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke and Rabinovich, 1409.4842.

Laid out as the paper's Table 1: a stem with local response normalisation, nine modules of four branches each, a
classifier; and two auxiliary classifiers that exist on request and run in training only. torchvision's `googlenet` is
another network (batch norm, no local response normalisation, 3×3 where the paper has 5×5), whose weights do not fit.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fmviz.networks.network import StagedNetwork, initialise_modules


@dataclass(frozen=True, slots=True)
class ModuleSpec:
    """A row of Table 1: filters of the 1×1, of the 3×3 and 5×5 with the 1×1 before each, and of the 1×1 after the pool."""

    name: str
    in_channels: int
    conv1x1: int
    reduce3x3: int
    conv3x3: int
    reduce5x5: int
    conv5x5: int
    projection: int

    @property
    def out_channels(self) -> int:
        return self.conv1x1 + self.conv3x3 + self.conv5x5 + self.projection


MODULES = (
    ModuleSpec("3a", 192, 64, 96, 128, 16, 32, 32),
    ModuleSpec("3b", 256, 128, 128, 192, 32, 96, 64),
    ModuleSpec("4a", 480, 192, 96, 208, 16, 48, 64),
    ModuleSpec("4b", 512, 160, 112, 224, 24, 64, 64),
    ModuleSpec("4c", 512, 128, 128, 256, 24, 64, 64),
    ModuleSpec("4d", 512, 112, 144, 288, 32, 64, 64),
    ModuleSpec("4e", 528, 256, 160, 320, 32, 128, 128),
    ModuleSpec("5a", 832, 256, 160, 320, 32, 128, 128),
    ModuleSpec("5b", 832, 384, 192, 384, 48, 128, 128),
)

STAGE_CHANNELS = (192, 480, 832, 1024)
TAPS = {"C2": "norm2", "C3": "inception3b", "C4": "inception4e", "C5": "inception5b"}
AUXILIARY = ("auxiliary1", "auxiliary2")


class ConvReLU(nn.Sequential):
    """A convolution that keeps the size at stride 1, and its ReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, stride: int = 1) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv"] = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2)
        layers["relu"] = nn.ReLU()
        super().__init__(layers)


class InceptionModule(nn.Module):
    """Four branches on one map, their channels side by side (Figure 2b)."""

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__()
        self.branch1x1 = ConvReLU(spec.in_channels, spec.conv1x1, kernel=1)
        self.branch3x3 = _reduced(spec.in_channels, spec.reduce3x3, spec.conv3x3, kernel=3)
        self.branch5x5 = _reduced(spec.in_channels, spec.reduce5x5, spec.conv5x5, kernel=5)
        self.branch_pool = nn.Sequential(
            OrderedDict(
                pool=nn.MaxPool2d(kernel_size=3, stride=1, padding=1),
                projection=ConvReLU(spec.in_channels, spec.projection, kernel=1),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, h, w)"""
        return torch.cat((self.branch1x1(x), self.branch3x3(x), self.branch5x5(x), self.branch_pool(x)), dim=1)


class AuxiliaryClassifier(nn.Module):
    """A classifier on a map half way up, for its gradient (section 5); its loss counts 0.3.

    Args:
        in_channels: of the map.
        classes: how many it tells apart.
        cells: of each side of the map after the pool; 4 at the paper's 224. Other maps are averaged to it.
    """

    def __init__(self, in_channels: int, classes: int, *, cells: int = 4) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(kernel_size=5, stride=3)
        self.fit = nn.AdaptiveAvgPool2d(cells)
        self.conv = ConvReLU(in_channels, 128, kernel=1)
        self.fc1 = nn.Linear(128 * cells * cells, 1024)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w), h and w from 5 -> (B, classes) logits."""
        x = self.conv(self.fit(self.pool(x))).flatten(1)
        x = self.dropout(self.relu(self.fc1(x)))
        logits: Tensor = self.fc2(x)
        return logits


class InceptionV1(StagedNetwork):
    """A stem at stride 4, nine modules between pools that round up, a classifier.

    Args:
        classes: how many the last layer tells apart.
        auxiliary: with the two auxiliary classifiers, which run in training only.
    """

    def __init__(self, *, classes: int = 1000, auxiliary: bool = False) -> None:
        super().__init__()
        self.parts = {"classifier": "fc"}
        self.stage_channels = STAGE_CHANNELS
        self.conv1 = ConvReLU(3, 64, kernel=7, stride=2)
        self.pool1 = _halving_pool()
        self.norm1 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.conv2_reduce = ConvReLU(64, 64, kernel=1)
        self.conv2 = ConvReLU(64, 192, kernel=3)
        self.norm2 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.pool2 = _halving_pool()
        modules = {spec.name: InceptionModule(spec) for spec in MODULES}
        self.inception3a, self.inception3b = modules["3a"], modules["3b"]
        self.pool3 = _halving_pool()
        self.inception4a, self.inception4b, self.inception4c = modules["4a"], modules["4b"], modules["4c"]
        self.inception4d, self.inception4e = modules["4d"], modules["4e"]
        self.pool4 = _halving_pool()
        self.inception5a, self.inception5b = modules["5a"], modules["5b"]
        # 7 × 7 at the paper's 224; the mean of any map feeds the classifier.
        self.avgpool: nn.Module = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.4)
        self.fc = nn.Linear(1024, classes)
        self.auxiliary1 = AuxiliaryClassifier(512, classes) if auxiliary else None
        self.auxiliary2 = AuxiliaryClassifier(528, classes) if auxiliary else None

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(B, 3, h, w), h and w from 31 -> (B, classes) logits.

        In training with auxiliary classifiers "logits", "auxiliary1" and "auxiliary2", (B, classes) each; h and w are
        then from 79.
        """
        _, _, map4a, map4d, _, c5 = self._maps(x)
        logits = self.classify(c5)
        if not self.training or self.auxiliary1 is None or self.auxiliary2 is None:
            return logits
        return {"logits": logits, "auxiliary1": self.auxiliary1(map4a), "auxiliary2": self.auxiliary2(map4d)}

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, h, w) -> C2–C5 by name, at strides 4, 8, 16 and 32."""
        c2, c3, _, _, c4, c5 = self._maps(x)
        return {"C2": c2, "C3": c3, "C4": c4, "C5": c5}

    def classify(self, c5: Tensor) -> Tensor:
        """C5 -> (B, classes) logits."""
        pooled = self.dropout(self.avgpool(c5).flatten(1))
        logits: Tensor = self.fc(pooled)
        return logits

    def initialise(self, part: nn.Module) -> None:
        """He's normal for convolutions, torch's own for fully connected layers; the paper names no values."""
        initialise_modules(part)

    def renamed(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Without the auxiliary classifiers of a file, where this network has none: its maps do not depend on them."""
        if self.auxiliary1 is not None:
            return state
        return {key: tensor for key, tensor in state.items() if key.partition(".")[0] not in AUXILIARY}

    def _maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """C2, C3, what 4a and 4d put out, C4, C5."""
        x = self.norm1(self.pool1(self.conv1(x)))
        c2 = self.norm2(self.conv2(self.conv2_reduce(x)))
        x = self.inception3a(self.pool2(c2))
        c3 = self.inception3b(x)
        map4a = self.inception4a(self.pool3(c3))
        x = self.inception4b(map4a)
        x = self.inception4c(x)
        map4d = self.inception4d(x)
        c4 = self.inception4e(map4d)
        x = self.inception5a(self.pool4(c4))
        c5 = self.inception5b(x)
        return c2, c3, map4a, map4d, c4, c5


def _halving_pool() -> nn.MaxPool2d:
    """Rounds up, so that 112 rows become 56, and not 55."""
    return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)


def _reduced(in_channels: int, reduced: int, out_channels: int, *, kernel: int) -> nn.Sequential:
    """A 1×1 to few channels before the convolution that costs."""
    return nn.Sequential(
        OrderedDict(
            reduce=ConvReLU(in_channels, reduced, kernel=1),
            conv=ConvReLU(reduced, out_channels, kernel=kernel),
        )
    )
