"""Capture in the engine, whose memory is tuned, beside the plain forward in a Python process as it comes."""

from __future__ import annotations

from collections.abc import Iterator

from measuring import Line, Pair, Worker

from fmviz.app.link import ENVIRONMENT

_CODE = """
import sys
import torch
way, name, height, width = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if name.startswith("torchvision/"):
    from torchvision import models
    more = {"init_weights": False, "aux_logits": False} if name.endswith("googlenet") else {}
    model = models.get_model(name.removeprefix("torchvision/"), weights=None, **more).eval()
else:
    from fmviz.networks.catalog import backbone
    model = backbone(name).build().eval()
x = torch.rand(1, 3, height, width)
held = [None]
if way == "capture":
    from fmviz.capture import capture_activations
    from fmviz.engine.memory import OwnMemory
    OwnMemory().idle()
    def deed():
        held[0] = None  # as the engine does: the previous capture goes first
        held[0] = capture_activations(model, x)
else:
    def deed():
        with torch.no_grad():
            model(x)
deed()
deed()
"""

_RUNS = (
    ("torchvision/resnet50", 224, 224, 1.10),
    ("torchvision/googlenet", 224, 224, 1.10),
    ("torchvision/vit_b_16", 224, 224, 1.10),
    ("torchvision/convnext_tiny", 224, 224, 1.10),
    ("torchvision/swin_t", 224, 224, 1.10),
    ("resnet50", 224, 224, 1.10),
    ("vgg19", 224, 224, 1.10),
    ("resnet50", 480, 640, 1.10),
    ("resnet50_fpn", 800, 1333, 0.65),
)


def engine() -> Iterator[Line]:
    for name, height, width, goal in _RUNS:
        given = [name, str(height), str(width)]
        ours = Worker(_CODE, ["capture", *given], ENVIRONMENT)
        theirs = Worker(_CODE, ["plain", *given])
        words = f"capture in the engine, {name} {height}×{width}, beside a plain forward as it comes"
        yield Pair(words, ours, theirs, goal, rounds=9 if height < 800 else 4)
        ours.end()
        theirs.end()
