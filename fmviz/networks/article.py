"""The networks as a widely read article rebuilds them in PyTorch, sized for pictures of 128 × 128 pixels.

fmviz began with that article; who comes from it finds here what they read. They differ from the papers, which the
docstrings and `ABOUT` say network by network. The classifiers are made for 128 × 128: they take the last map as it is then,
of 4 × 4 cells.
"""

from __future__ import annotations

from torch import Tensor, nn

from fmviz.networks.fpn import FeaturePyramid, PyramidNetwork
from fmviz.networks.inception_v1 import AuxiliaryClassifier, InceptionV1
from fmviz.networks.resnet import ResNet
from fmviz.networks.vgg import VGG

SIZE = 128
"""Pixels of each side that the classifiers are made for."""

ABOUT = {
    "vgg19": (
        "The article's VGG19: the paper's sixteen convolutions (as printed, its loop forgets to update the input channels: "
        "mended), and a classifier on 4 × 4 cells instead of 7 × 7, which fits 128 × 128 pixels only."
    ),
    "inception_v1": (
        "The article's Inception v1. Unlike the paper's, its pools are padded instead of rounding up, its local response "
        "normalisation spans 64 and 192 channels instead of 5, and its classifier takes 2 × 2 averages of 3 × 3 cells "
        "instead of one of all, which fits 128 × 128 pixels only."
    ),
    "resnet50": (
        "The article's ResNet-50. Unlike the paper's, it has no ReLU after the first convolution, strides on the 3×3 "
        "instead of the first 1×1, and its last pool is of 4 × 4 cells, which are all at 128 × 128 pixels."
    ),
    "fpn": (
        "The article's feature pyramid over ResNet-50. Unlike the paper's, one 3×3 convolution serves all levels, coarser "
        "levels are enlarged bilinearly (though its text says nearest), and there is no P6. "
        "The classifier of its body runs as well."
    ),
}
"""What the user should know of each."""


class ArticleVGG19(VGG):
    """VGG-19 for 128 × 128 pixels: the paper's convolutions, and a classifier on 4 × 4 cells, not 7 × 7.

    As printed, the article's loop forgets to update the input channels; that is mended.
    """

    def __init__(self, *, classes: int = 1000) -> None:
        super().__init__(19, classes=classes)
        del self.avgpool
        self.classifier[0] = nn.Linear(512 * 4 * 4, 4096)

    def classify(self, c5: Tensor) -> Tensor:
        """C5, (B, 512, 4, 4) -> (B, classes) logits."""
        logits: Tensor = self.classifier(c5.flatten(1))
        return logits


class ArticleInceptionV1(InceptionV1):
    """Inception v1 for 128 × 128 pixels.

    Against the paper: pools padded by 1 instead of rounding up; local response normalisation over as many channels as
    there are, 64 and 192, instead of 5; at the end an average of 3 × 3 cells at stride 1, whose 4 × 4 cells become 2 × 2 of
    1024 channels, all of which the last layer takes. The auxiliary classifiers, after 4a and 4d as the paper's, fit the same
    size; their losses count 0.3 in all.

    Args:
        classes: how many the last layer tells apart.
        auxiliary: with the two auxiliary classifiers, which run in training only.
    """

    def __init__(self, *, classes: int = 1000, auxiliary: bool = False) -> None:
        super().__init__(classes=classes, auxiliary=auxiliary)
        self.pool1, self.pool2, self.pool3, self.pool4 = (
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1) for _ in range(4)
        )
        self.norm1 = nn.LocalResponseNorm(64)
        self.norm2 = nn.LocalResponseNorm(192)
        self.avgpool = nn.AvgPool2d(kernel_size=3, stride=1)
        self.fc = nn.Linear(4096, classes)
        if auxiliary:
            # The maps after 4a and 4d are 8 × 8 at 128 pixels, and 2 × 2 after the pool.
            self.auxiliary1 = AuxiliaryClassifier(512, classes, cells=2)
            self.auxiliary2 = AuxiliaryClassifier(528, classes, cells=2)


class ArticleResNet50(ResNet):
    """ResNet-50 for 128 × 128 pixels: stride on the 3×3, no ReLU after the stem, an average of 4 × 4 cells at the end.

    Its convolutions have no bias, and its blocks a projection where the channels differ, as the paper's.
    """

    def __init__(self, *, classes: int = 1000) -> None:
        super().__init__(50, classes=classes)
        del self.relu
        self.avgpool = nn.AvgPool2d(4)

    def stem(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) -> (B, 64, ⌈h/4⌉, ⌈w/4⌉)"""
        halved: Tensor = self.maxpool(self.bn1(self.conv1(x)))
        return halved


class ArticleFPN(PyramidNetwork):
    """A pyramid over torchvision's ResNet-50: laterals with bias, one 3×3 for P2–P5, bilinear enlarging, no P6.

    The enlarging is `upsample_bilinear`, that is with `align_corners`, though the article's text says nearest. The body's
    classifier, which the article leaves out, runs as well, for its predictions.
    """

    def __init__(self, *, classes: int = 1000) -> None:
        body = ResNet(50, classes=classes)
        fpn = FeaturePyramid(body.stage_channels, shared_output=True, upsampling="bilinear", sixth=False)
        super().__init__(body, fpn)
