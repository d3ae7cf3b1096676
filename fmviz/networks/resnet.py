"""ResNet: He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 1512.03385.

Laid out as the paper's Table 1: a stem, four stages (conv2_x to conv5_x, here layer1 to layer4, torchvision's keys) and
a classifier. A bottleneck that halves the map does so in its 3×3 convolution ("v1.5"), as torchvision and most weights
have it, or, where that is asked for, in the first 1×1, as the paper does.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from fmviz.networks.network import StagedNetwork, initialise_modules

StrideOn = Literal["3x3", "1x1"]
"""The convolution of a bottleneck that halves the map."""


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (Figure 5, left): ResNet-18 and 34. It has no 1×1 for a stride to be on."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, *, stride: int, stride_on: StrideOn = "3x3") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _projection(in_channels, width, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, width, ⌈h/stride⌉, ⌈w/stride⌉)"""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        identity = x if self.downsample is None else self.downsample(x)
        out = out + identity
        activated: Tensor = self.relu(out)
        return activated


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 and a shortcut (Figure 5, right): ResNet-50, 101 and 152."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, *, stride: int, stride_on: StrideOn = "3x3") -> None:
        super().__init__()
        out_channels = width * self.expansion
        first, second = (stride, 1) if stride_on == "1x1" else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=1, stride=first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, stride=second, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        self.downsample = _projection(in_channels, out_channels, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, 4 · width, ⌈h/stride⌉, ⌈w/stride⌉)"""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        identity = x if self.downsample is None else self.downsample(x)
        out = out + identity
        activated: Tensor = self.relu(out)
        return activated


Block = type[BasicBlock] | type[Bottleneck]

WIDTHS = (64, 128, 256, 512)
BLOCKS: dict[int, tuple[Block, tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}
"""Depth -> kind of block, and how many in each stage: Table 1."""

TAPS = {"C2": "layer1", "C3": "layer2", "C4": "layer3", "C5": "layer4"}


class ResNet(StagedNetwork):
    """A stem at stride 4, four stages of blocks, a classifier.

    Args:
        depth: 18, 34, 50, 101 or 152: the layers with weights, shortcuts not counted.
        classes: how many the last layer tells apart.
        stride_on: of ResNet-50, 101 and 152, the convolution that halves the map: "3x3" as torchvision has it, or "1x1"
            as the paper does. Parameters and keys are the same; weights are for one of the two.
    """

    def __init__(self, depth: int, *, classes: int = 1000, stride_on: StrideOn = "3x3") -> None:
        super().__init__()
        block, (n1, n2, n3, n4) = BLOCKS[depth]
        w1, w2, w3, w4 = (width * block.expansion for width in WIDTHS)
        self.parts = {"classifier": "fc"}
        self.stage_channels = stage_channels(depth)
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = _stage(block, 64, WIDTHS[0], blocks=n1, stride=1, stride_on=stride_on)
        self.layer2 = _stage(block, w1, WIDTHS[1], blocks=n2, stride=2, stride_on=stride_on)
        self.layer3 = _stage(block, w2, WIDTHS[2], blocks=n3, stride=2, stride_on=stride_on)
        self.layer4 = _stage(block, w3, WIDTHS[3], blocks=n4, stride=2, stride_on=stride_on)
        self.avgpool: nn.Module = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(w4, classes)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, h, w) -> C2–C5 by name, at strides 4, 8, 16 and 32."""
        c2 = self.layer1(self.stem(x))
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        c5 = self.layer4(c4)
        return {"C2": c2, "C3": c3, "C4": c4, "C5": c5}

    def stem(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) -> (B, 64, ⌈h/4⌉, ⌈w/4⌉)"""
        x = self.relu(self.bn1(self.conv1(x)))
        halved: Tensor = self.maxpool(x)
        return halved

    def classify(self, c5: Tensor) -> Tensor:
        """C5 -> (B, classes) logits."""
        pooled = self.avgpool(c5).flatten(1)
        logits: Tensor = self.fc(pooled)
        return logits

    def initialise(self, part: nn.Module) -> None:
        """As torchvision does: He's normal for convolutions, torch's own for the fully connected layer."""
        initialise_modules(part)


def stage_channels(depth: int) -> tuple[int, ...]:
    """Channels of C2–C5."""
    block, _ = BLOCKS[depth]
    return tuple(width * block.expansion for width in WIDTHS)


def _stage(
    block: Block, in_channels: int, width: int, *, blocks: int, stride: int, stride_on: StrideOn
) -> nn.Sequential:
    first = block(in_channels, width, stride=stride, stride_on=stride_on)
    return nn.Sequential(first, *(block(width * block.expansion, width, stride=1) for _ in range(blocks - 1)))


def _projection(in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential | None:
    """The shortcut where the shape changes (option B of section 4.1); None where the identity will do."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )
