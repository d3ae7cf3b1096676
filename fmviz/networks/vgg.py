"""VGG: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 1409.1556.

Nothing but 3×3 convolutions and 2×2 pools. A configuration of the paper's Table 1 is the number of convolutions in each
of the five blocks: A, B, D and E are VGG-11, 13, 16 and 19. Keys are torchvision's. The `_bn` networks, with a batch
norm after each convolution, are torchvision's and not in the paper.
"""

from __future__ import annotations

from torch import Tensor, nn

from fmviz.networks.network import StagedNetwork, initialise_convolution

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Depth -> convolutions in each block, Table 1."""

STAGE_CHANNELS = WIDTHS[1:]


class VGG(StagedNetwork):
    """Five blocks of convolutions, each ended by a pool; then three fully connected layers.

    Args:
        depth: 11, 13, 16 or 19: the layers with weights.
        batch_norm: one after each convolution.
        classes: how many the last layer tells apart.
    """

    def __init__(self, depth: int, *, batch_norm: bool = False, classes: int = 1000) -> None:
        super().__init__()
        self.parts = {"classifier": "classifier"}
        self.stage_channels = STAGE_CHANNELS
        layers: list[nn.Module] = []
        channels = 3
        for convolutions, width in zip(CONVOLUTIONS[depth], WIDTHS, strict=True):
            for _ in range(convolutions):
                layers.append(nn.Conv2d(channels, width, kernel_size=3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU())
                channels = width
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        self.features = nn.Sequential(*layers)
        # 7 × 7 already at the paper's 224; for other sizes, torchvision's way of feeding the fully connected layers.
        self.avgpool: nn.Module = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w), h and w from 32 -> (B, classes) logits."""
        # The blocks as one module, which then has an output of its own among the layers.
        return self.classify(self.features(x))

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, h, w) -> C2–C5 by name: the pools at strides 4, 8, 16 and 32."""
        pooled = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pooled.append(x)
        return dict(zip(("C2", "C3", "C4", "C5"), pooled[1:], strict=True))

    def classify(self, c5: Tensor) -> Tensor:
        """C5 -> (B, classes) logits."""
        x = self.avgpool(c5)
        x = x.flatten(1)  # (B, 25088)
        logits: Tensor = self.classifier(x)
        return logits

    def initialise(self, part: nn.Module) -> None:
        """As torchvision does: He's normal for convolutions, normal of deviation 0.01 for fully connected layers."""
        for module in part.modules():
            if isinstance(module, nn.Conv2d):
                initialise_convolution(module)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
                nn.init.zeros_(module.bias)


def taps(depth: int, *, batch_norm: bool = False) -> dict[str, str]:
    """C2–C5: the pools at strides 4, 8, 16 and 32."""
    paths, position = [], 0
    for convolutions in CONVOLUTIONS[depth]:
        position += convolutions * (3 if batch_norm else 2)
        paths.append(f"features.{position}")
        position += 1
    return dict(zip(("C2", "C3", "C4", "C5"), paths[1:], strict=True))
