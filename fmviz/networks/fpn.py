"""The feature pyramid: Lin, Dollár, Girshick, He, Hariharan and Belongie, 1612.03144.

From the top down: a 1×1 lateral on each of C2–C5, the coarser map enlarged to the lateral's size and added, giving
M2–M5; a 3×3 convolution on each, giving P2–P5; P6 by taking every second pixel of P5. No non-linearity anywhere. The
pyramid's keys are torchvision's. Two widely copied variants are to be had as options: one 3×3 for all levels, and
bilinear enlarging.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmviz.networks.network import Network, StagedNetwork

WIDTH = 256
"""Channels of every level: the paper's d."""

NARROW = 64
"""Channels of every level of a pyramid that is trained on drawn shapes: enough for these, and a quarter of the size."""

KINDS = 7
"""Kinds of things that the head tells apart: those of `fmviz.training.scenes`."""

LEVELS = ("P2", "P3", "P4", "P5")
"""The levels that a head reads."""

MOST_CHANNELS = 4096
"""That a file may ask of a pyramid: a file made of anything must not ask for all memory."""

TAPS = {
    "M2": "fpn.top_down.M2",
    "M3": "fpn.top_down.M3",
    "M4": "fpn.top_down.M4",
    "M5": "fpn.inner_blocks.3",
    "P2": "fpn.layer_blocks.0",
    "P3": "fpn.layer_blocks.1",
    "P4": "fpn.layer_blocks.2",
    "P5": "fpn.layer_blocks.3",
    "P6": "fpn.subsample",
}

Upsampling = Literal["nearest", "bilinear"]
"""How a coarser level is enlarged."""


class TopDownMerge(nn.Module):
    """The coarser level enlarged to the size of the lateral, and added to it (Figure 3).

    Args:
        upsampling: "nearest", the paper's, or "bilinear" with the corner pixels' centres on each other.
    """

    def __init__(self, *, upsampling: Upsampling = "nearest") -> None:
        super().__init__()
        self.upsampling = upsampling

    def extra_repr(self) -> str:
        return self.upsampling

    def forward(self, lateral: Tensor, coarser: Tensor) -> Tensor:
        """(B, d, h, w) and (B, d, h', w') -> (B, d, h, w)

        Enlarged to a size and not by a factor of two: 13 rows come from 7, where the picture is 200 high.
        """
        align = True if self.upsampling == "bilinear" else None
        return lateral + F.interpolate(coarser, size=lateral.shape[-2:], mode=self.upsampling, align_corners=align)


class FeaturePyramid(nn.Module):
    """C2–C5 -> P2–P6.

    Args:
        channels: of C2–C5.
        width: channels of every level.
        shared_output: one 3×3 convolution for all levels; the paper has one for each.
        upsampling: see `TopDownMerge`.
        sixth: with P6.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        width: int = WIDTH,
        shared_output: bool = False,
        upsampling: Upsampling = "nearest",
        sixth: bool = True,
    ) -> None:
        super().__init__()
        outputs = [
            nn.Conv2d(width, width, kernel_size=3, padding=1) for _ in (channels[:1] if shared_output else channels)
        ]
        # Each in a Sequential of its own for torchvision's keys: inner_blocks.0.0.weight.
        self.inner_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(c, width, kernel_size=1)) for c in channels)
        self.top_down = nn.ModuleDict({level: TopDownMerge(upsampling=upsampling) for level in ("M4", "M3", "M2")})
        # A shared convolution is in all four: each level has a module, and thereby a map, of its own.
        self.layer_blocks = nn.ModuleList(nn.Sequential(outputs[i % len(outputs)]) for i in range(len(channels)))
        self.subsample = nn.MaxPool2d(kernel_size=1, stride=2) if sixth else None

    def forward(self, stages: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """C2–C5 -> P2–P6 (or P5), each (B, width, h, w), at strides 4 to 64."""
        lateral2, lateral3, lateral4, lateral5 = self.inner_blocks
        output2, output3, output4, output5 = self.layer_blocks

        m5 = lateral5(stages["C5"])
        p5 = output5(m5)
        m4 = self.top_down["M4"](lateral4(stages["C4"]), m5)
        p4 = output4(m4)
        m3 = self.top_down["M3"](lateral3(stages["C3"]), m4)
        p3 = output3(m3)
        m2 = self.top_down["M2"](lateral2(stages["C2"]), m3)
        p2 = output2(m2)
        levels = {"P2": p2, "P3": p3, "P4": p4, "P5": p5}
        return levels if self.subsample is None else {**levels, "P6": self.subsample(p5)}


class PyramidHead(nn.Module):
    """What is where, read out of a level: one for all levels, as in RetinaNet (1708.02002) and FCOS (1904.01355).

    Args:
        width: channels of every level.
        kinds: how many it tells apart.
    """

    def __init__(self, width: int = NARROW, *, kinds: int = KINDS) -> None:
        super().__init__()
        self.kinds = kinds
        self.hidden = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.relu = nn.ReLU()
        self.output = nn.Conv2d(width, kinds + 4, kernel_size=3, padding=1)

    def forward(self, level: Tensor) -> Tensor:
        """(B, width, h, w) -> (B, kinds + 4, h, w), which `read` takes apart."""
        output: Tensor = self.output(self.relu(self.hidden(level)))
        return output

    def read(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """(B, kinds + 4, h, w) -> the kinds' logits and the box's distances from the cell's middle.

        Left, top, right and bottom, in cells and above 0, (B, 4, h, w).
        """
        logits, distances = output[:, : self.kinds], output[:, self.kinds :]
        # No box is e⁸ cells large; but an untrained head may say so, and the loss must stay finite.
        return logits, distances.clamp(max=8).exp()

    def initialise(self) -> None:
        """So that at first a cell sees a thing of any kind with probability 0.01 (1708.02002, section 4.1)."""
        for convolution in (self.hidden, self.output):
            nn.init.normal_(convolution.weight, std=0.01)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.output.bias[: self.kinds] = -math.log(0.99 / 0.01)  # type: ignore[index]


class PyramidNetwork(Network):
    """A classifier with a feature pyramid on its stages: one run gives predictions and maps.

    Args:
        body: the whole classifier. Auxiliary classifiers in it do not run.
        fpn: the pyramid, where it is not the paper's.
        head: what finds things on its levels, where there is one.
    """

    def __init__(
        self, body: StagedNetwork, fpn: FeaturePyramid | None = None, *, head: PyramidHead | None = None
    ) -> None:
        super().__init__()
        self.parts = {"classifier": f"body.{body.parts['classifier']}", "pyramid": "fpn"}
        self.body = body
        self.fpn = FeaturePyramid(body.stage_channels) if fpn is None else fpn
        # Not as None: a file's `head.` then lies beside this network, and is no unknown part of it.
        if head is not None:
            self.head = head

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, h, w) -> "logits", (B, classes), and the pyramid's levels "P2" to "P6", each (B, width, h, w).

        With a head also, of each level but P6, "scores.P2", (B, kinds, h, w), from 0 to 1, and "boxes.P2", (B, 4, h, w):
        from the cell's middle to the box's left, top, right and bottom, in pixels of x.
        """
        stages = self.body.stages(x)
        levels = self.fpn(stages)
        return {"logits": self.body.classify(stages["C5"]), **levels, **self._found(levels, x)}

    def _found(self, levels: Mapping[str, Tensor], x: Tensor) -> dict[str, Tensor]:
        head: PyramidHead | None = getattr(self, "head", None)
        found: dict[str, Tensor] = {}
        if head is None:
            return found
        for name in LEVELS:
            logits, distances = head.read(head(levels[name]))
            height, width = (side / cells for side, cells in zip(x.shape[-2:], logits.shape[-2:], strict=True))
            found[f"scores.{name}"] = logits.sigmoid()
            found[f"boxes.{name}"] = distances * distances.new_tensor((width, height) * 2)[:, None, None]
        return found

    def initialise(self, part: nn.Module) -> None:
        """The body's own way; for the pyramid torchvision's: uniform by fan-in with gain 1, biases zero."""
        if part is self:
            self.initialise(self.body)
            self.initialise(self.fpn)
            if (head := getattr(self, "head", None)) is not None:
                head.initialise()
        elif any(module is part for module in self.fpn.modules()):
            for convolution in (module for module in part.modules() if isinstance(module, nn.Conv2d)):
                _initialise_linear_convolution(convolution)
        else:
            self.body.initialise(part)

    def renamed(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Also takes the body's state alone, and pyramids of torchvision's first version, whose keys lack the `.0`."""
        body = {key.removeprefix("body."): tensor for key, tensor in state.items() if key.startswith("body.")}
        rest = {key: tensor for key, tensor in state.items() if not key.startswith("body.")}
        if not body and not any(key.startswith("fpn.") for key in rest):
            body, rest = rest, {}
        own = {f"body.{key}": tensor for key, tensor in self.body.renamed(body).items()}
        return own | {_second_version(key): tensor for key, tensor in rest.items()}


def like(
    channels: Sequence[int], tensors: Mapping[str, Tensor], *, width: int = WIDTH
) -> tuple[FeaturePyramid, PyramidHead | None]:
    """The pyramid and the head that a file's tensors, by their keys, are for; one of `width` where it has none."""
    inner = next(
        (tensors[key] for key in ("fpn.inner_blocks.3.0.weight", "fpn.inner_blocks.3.weight") if key in tensors), None
    )
    width = inner.shape[0] if inner is not None and inner.dim() == 4 and 0 < inner.shape[0] <= MOST_CHANNELS else width
    output = tensors.get("head.output.weight")
    known = output is not None and output.dim() == 4 and inner is not None and 4 < len(output) <= MOST_CHANNELS
    head = PyramidHead(width, kinds=len(output) - 4) if known and output is not None else None
    return FeaturePyramid(channels, width=width), head


def parameters(channels: Sequence[int], *, width: int = WIDTH, shared_output: bool = False) -> int:
    """How many a pyramid has: a 1×1 and a 3×3 with bias for each of the stages, or one 3×3 for all."""
    outputs = 1 if shared_output else len(channels)
    return sum((c + 1) * width for c in channels) + outputs * (9 * width + 1) * width


def _initialise_linear_convolution(convolution: nn.Conv2d) -> None:
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


def _second_version(key: str) -> str:
    """`fpn.inner_blocks.3.weight` -> `fpn.inner_blocks.3.0.weight`"""
    return re.sub(r"^(fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2", key)
