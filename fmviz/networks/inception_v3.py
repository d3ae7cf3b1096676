"""The factorised Inception (v3): Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception architecture for
computer vision", 1512.00567.

A 5×5 is two 3×3 (Figure 5), an n×n is a 1×n and an n×1 (Figure 6), and on the coarsest grid the two lie side by side
(Figure 7). The widths, which the paper leaves open, and the keys are torchvision's. As published: the first module group
keeps one 5×5 branch. Convolutions and pools that halve the map have no padding, so that C2–C5 are a little smaller than
the input divided by 4, 8, 16 and 32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fmviz.networks.inception_v2 import ConvNormReLU
from fmviz.networks.network import StagedNetwork, initialise_modules

BATCH_NORM_EPS = 1e-3
AUXILIARY = "AuxLogits"

STAGE_CHANNELS = (192, 288, 768, 2048)
TAPS = {"C2": "Conv2d_4a_3x3", "C3": "Mixed_5d", "C4": "Mixed_6e", "C5": "Mixed_7c"}


class ModuleA(nn.Module):
    """On the 35×35 grid: 1×1, 5×5, two 3×3, and a pool (Figure 5)."""

    def __init__(self, in_channels: int, *, projection: int) -> None:
        super().__init__()
        self.branch1x1 = _conv(in_channels, 64, 1)
        self.branch5x5_1 = _conv(in_channels, 48, 1)
        self.branch5x5_2 = _conv(48, 64, 5)
        self.branch3x3dbl_1 = _conv(in_channels, 64, 1)
        self.branch3x3dbl_2 = _conv(64, 96, 3)
        self.branch3x3dbl_3 = _conv(96, 96, 3)
        self.pool = nn.AvgPool2d(kernel_size=3, stride=1, padding=1)
        self.branch_pool = _conv(in_channels, projection, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, 224 + projection, h, w)"""
        one = self.branch1x1(x)
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pooled = self.branch_pool(self.pool(x))
        return torch.cat((one, five, double, pooled), dim=1)


class ReductionB(nn.Module):
    """From 35×35 to 17×17: convolutions and a pool at stride 2 side by side (Figure 10)."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3 = _halving(in_channels, 384)
        self.branch3x3dbl_1 = _conv(in_channels, 64, 1)
        self.branch3x3dbl_2 = _conv(64, 96, 3)
        self.branch3x3dbl_3 = _halving(96, 96)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, 480 + in_channels, (h - 1) // 2, (w - 1) // 2)"""
        three = self.branch3x3(x)
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat((three, double, self.pool(x)), dim=1)


class ModuleC(nn.Module):
    """On the 17×17 grid: 7×7 as 1×7 and 7×1, once and twice (Figure 6)."""

    def __init__(self, in_channels: int, *, width: int) -> None:
        super().__init__()
        self.branch1x1 = _conv(in_channels, 192, 1)
        self.branch7x7_1 = _conv(in_channels, width, 1)
        self.branch7x7_2 = _conv(width, width, (1, 7))
        self.branch7x7_3 = _conv(width, 192, (7, 1))
        self.branch7x7dbl_1 = _conv(in_channels, width, 1)
        self.branch7x7dbl_2 = _conv(width, width, (7, 1))
        self.branch7x7dbl_3 = _conv(width, width, (1, 7))
        self.branch7x7dbl_4 = _conv(width, width, (7, 1))
        self.branch7x7dbl_5 = _conv(width, 192, (1, 7))
        self.pool = nn.AvgPool2d(kernel_size=3, stride=1, padding=1)
        self.branch_pool = _conv(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, 768, h, w)"""
        one = self.branch1x1(x)
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        pooled = self.branch_pool(self.pool(x))
        return torch.cat((one, seven, double, pooled), dim=1)


class ReductionD(nn.Module):
    """From 17×17 to 8×8."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = _conv(in_channels, 192, 1)
        self.branch3x3_2 = _halving(192, 320)
        self.branch7x7x3_1 = _conv(in_channels, 192, 1)
        self.branch7x7x3_2 = _conv(192, 192, (1, 7))
        self.branch7x7x3_3 = _conv(192, 192, (7, 1))
        self.branch7x7x3_4 = _halving(192, 192)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, 512 + in_channels, (h - 1) // 2, (w - 1) // 2)"""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat((three, self.branch7x7x3_4(seven), self.pool(x)), dim=1)


class ModuleE(nn.Module):
    """On the 8×8 grid: 1×3 and 3×1 side by side, for a wider map (Figure 7)."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch1x1 = _conv(in_channels, 320, 1)
        self.branch3x3_1 = _conv(in_channels, 384, 1)
        self.branch3x3_2a = _conv(384, 384, (1, 3))
        self.branch3x3_2b = _conv(384, 384, (3, 1))
        self.branch3x3dbl_1 = _conv(in_channels, 448, 1)
        self.branch3x3dbl_2 = _conv(448, 384, 3)
        self.branch3x3dbl_3a = _conv(384, 384, (1, 3))
        self.branch3x3dbl_3b = _conv(384, 384, (3, 1))
        self.pool = nn.AvgPool2d(kernel_size=3, stride=1, padding=1)
        self.branch_pool = _conv(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, 2048, h, w)"""
        one = self.branch1x1(x)
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        wide = (self.branch3x3_2a(three), self.branch3x3_2b(three))
        wide_double = (self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double))
        pooled = self.branch_pool(self.pool(x))
        return torch.cat((one, *wide, *wide_double, pooled), dim=1)


class InceptionV3(StagedNetwork):
    """A stem, three groups of modules with a reduction between them, a classifier. The auxiliary classifier is left out.

    Args:
        classes: how many the last layer tells apart.
    """

    def __init__(self, *, classes: int = 1000) -> None:
        super().__init__()
        self.parts = {"classifier": "fc"}
        self.stage_channels = STAGE_CHANNELS
        self.Conv2d_1a_3x3 = _halving(3, 32)
        self.Conv2d_2a_3x3 = _conv(32, 32, 3, padding=0)
        self.Conv2d_2b_3x3 = _conv(32, 64, 3)
        self.maxpool1 = nn.MaxPool2d(kernel_size=3, stride=2)
        self.Conv2d_3b_1x1 = _conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _conv(80, 192, 3, padding=0)
        self.maxpool2 = nn.MaxPool2d(kernel_size=3, stride=2)
        self.Mixed_5b = ModuleA(192, projection=32)
        self.Mixed_5c = ModuleA(256, projection=64)
        self.Mixed_5d = ModuleA(288, projection=64)
        self.Mixed_6a = ReductionB(288)
        self.Mixed_6b = ModuleC(768, width=128)
        self.Mixed_6c = ModuleC(768, width=160)
        self.Mixed_6d = ModuleC(768, width=160)
        self.Mixed_6e = ModuleC(768, width=192)
        self.Mixed_7a = ReductionD(768)
        self.Mixed_7b = ModuleE(1280)
        self.Mixed_7c = ModuleE(2048)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(2048, classes)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, h, w), h and w from 75 -> C2–C5 by name, at strides 4, 8, 16 and 32; at 299 of 71, 35, 17 and 8 cells."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        c2 = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))
        x = self.Mixed_5b(self.maxpool2(c2))
        c3 = self.Mixed_5d(self.Mixed_5c(x))
        x = self.Mixed_6b(self.Mixed_6a(c3))
        c4 = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(x)))
        c5 = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(c4)))
        return {"C2": c2, "C3": c3, "C4": c4, "C5": c5}

    def classify(self, c5: Tensor) -> Tensor:
        """C5 -> (B, classes) logits."""
        pooled = self.dropout(self.avgpool(c5).flatten(1))
        logits: Tensor = self.fc(pooled)
        return logits

    def initialise(self, part: nn.Module) -> None:
        """He's normal for convolutions, torch's own for the fully connected layer; the paper names no values."""
        initialise_modules(part)

    def renamed(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Without the auxiliary classifier of torchvision's files: the maps and the predictions do not depend on it."""
        return {key: tensor for key, tensor in state.items() if key.partition(".")[0] != AUXILIARY}


def _conv(
    in_channels: int, out_channels: int, kernel: int | tuple[int, int], *, padding: int | None = None
) -> ConvNormReLU:
    return ConvNormReLU(in_channels, out_channels, kernel=kernel, padding=padding, eps=BATCH_NORM_EPS)


def _halving(in_channels: int, out_channels: int) -> ConvNormReLU:
    """3×3 at stride 2 without padding: n pixels become (n - 1) // 2."""
    return ConvNormReLU(in_channels, out_channels, kernel=3, stride=2, padding=0, eps=BATCH_NORM_EPS)
