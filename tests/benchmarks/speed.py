"""How fast fmviz is beside what does the same: ratios, each measured in pairs in one run. Prints; asserts nothing.

    python tests/benchmarks/speed.py [--only WORD] [--rounds 9]

Each line times two ways of coming to the same thing in turn, round after round, and prints the median of the rounds' ratios
with the medians of both. Below 1 fmviz is the faster one. Peers that are not installed are named and left out:
`pip install torchinfo fvcore torchlens captum` brings them.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

Deed = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Pair:
    """What fmviz does and what it is compared with; `goal` is the ratio that is aimed at."""

    words: str
    ours: Deed
    theirs: Deed
    goal: float


def ratio(pair: Pair, rounds: int) -> tuple[float, float, float]:
    """The median of the rounds' ratios, and the medians of both in seconds; the first round is not counted."""
    times: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        both = []
        for deed in (pair.ours, pair.theirs):
            gc.collect()
            begun = time.perf_counter()
            deed()
            both.append(time.perf_counter() - begun)
        times.append((both[0], both[1]))
    counted = times[1:]
    return (
        statistics.median(a / b for a, b in counted),
        statistics.median(a for a, _ in counted),
        statistics.median(b for _, b in counted),
    )


# Capture


def captures() -> Iterator[Pair]:
    """Every layer, nothing altered, beside the plain forward of the same module."""
    from torchvision import models

    from fmviz.capture import capture_activations
    from fmviz.networks.catalog import backbone

    def pair(name: str, model: nn.Module, size: tuple[int, int], goal: float) -> Pair:
        x = torch.rand(1, 3, *size)
        capture_activations(model, x)  # learns what is overwritten, as at the first picture

        def plain() -> object:
            with torch.no_grad():
                return model(x)

        return Pair(
            f"capture of every layer, {name} {size[0]}×{size[1]}", lambda: capture_activations(model, x), plain, goal
        )

    resnet = backbone("resnet50").build().eval()
    yield pair("resnet50", resnet, (224, 224), 1.10)
    yield pair("resnet50", resnet, (480, 640), 1.10)
    yield pair("vgg19", backbone("vgg19").build().eval(), (224, 224), 1.03)
    googlenet = models.googlenet(weights=None, init_weights=False, aux_logits=False).eval()
    yield pair("torchvision's googlenet", googlenet, (224, 224), 1.10)


# Layer table


def tables() -> Iterator[Pair]:
    """With MACs and receptive field, without weights, building included, beside peers with the network in memory."""
    from fmviz.networks.catalog import backbone
    from fmviz.table import layer_table

    for name, goal in (("vgg19", 0.1), ("resnet50", 1.0), ("resnet50_fpn", 1.0)):
        model = backbone(name).build().eval()
        x = torch.rand(1, 3, 224, 224)
        for peer, deed in _tables_of_peers(model, x):
            yield Pair(f"layer table of {name}, beside {peer}", lambda name=name: layer_table(name), deed, goal)


def _tables_of_peers(model: nn.Module, x: Tensor) -> Iterator[tuple[str, Deed]]:
    if _there("torchinfo"):
        from torchinfo import summary

        yield "torchinfo", lambda: summary(model, input_data=x, verbose=0, depth=9)
    if _there("fvcore"):
        import logging

        from fvcore.nn import FlopCountAnalysis

        logging.getLogger("fvcore").setLevel(logging.ERROR)

        def fvcore() -> object:
            found = FlopCountAnalysis(model, x)
            found.unsupported_ops_warnings(False)
            return found.total()

        yield "fvcore", fvcore
    from torch.utils.flop_counter import FlopCounterMode

    def counted() -> object:
        with torch.no_grad(), FlopCounterMode(display=False) as mode:
            model(x)
        return mode.get_total_flops()

    yield "torch's FlopCounterMode", counted


def _there(module: str) -> bool:
    found = importlib.util.find_spec(module) is not None
    if not found:
        print(f"  {module} is not installed and is left out")
    return found


# Weights


def weights() -> Iterator[Pair]:
    """A file to the first output, beside the usual build, load and forward."""
    from fmviz.networks.catalog import backbone
    from fmviz.session import Session

    for name, goal in (("vgg19", 1 / 15), ("resnet50", 0.5)):
        folder = tempfile.TemporaryDirectory(prefix="fmviz-")
        path = Path(folder.name) / f"{name}.pth"
        torch.save(backbone(name).build().state_dict(), path)
        x = torch.rand(1, 3, 224, 224)

        def usual(name: str = name, path: Path = path, x: Tensor = x, folder: object = folder) -> object:
            import torchvision

            extra = {} if name == "resnet50" else {"init_weights": True}
            model = getattr(torchvision.models, name)(weights=None, **extra).eval()
            model.load_state_dict(torch.load(path, weights_only=True))
            with torch.no_grad():
                return model(x)

        def ours(name: str = name, path: Path = path, x: Tensor = x) -> object:
            session = Session(name, weights=path)
            with torch.no_grad():
                return session.model(x)

        yield Pair(f"a weights file of {name} to the first output", ours, usual, goal)


# Maps


def maps() -> Iterator[Pair]:
    """An activation in memory to 8-bit maps, beside one read of it and one write of as many bytes."""
    from fmviz.render import render

    for shape in ((64, 112, 112), (256, 56, 56), (512, 28, 28), (64, 320, 240), (256, 200, 304)):
        activation = torch.randn(1, *shape)
        out = np.zeros(shape, np.uint8)

        def limit(activation: Tensor = activation, out: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = out) -> None:
            activation.sum()
            out.fill(7)

        words = f"maps of {shape[0]} × {shape[1]} × {shape[2]}, beside one read and one write"
        yield Pair(words, lambda activation=activation, out=out: render(activation, out=out), limit, 4.0)


# Pictures


def pictures() -> Iterator[Pair]:
    """A 12-megapixel JPEG to the network's input, beside Pillow's full decode and torchvision's transform."""
    import PIL.Image
    from torchvision.transforms.v2 import functional

    from fmviz.pictures import read_picture
    from fmviz.preprocess import IMAGENET, preprocess

    folder = tempfile.TemporaryDirectory(prefix="fmviz-")
    path = Path(folder.name) / "large.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    PIL.Image.fromarray(noise).resize((4000, 3000), PIL.Image.Resampling.BICUBIC).save(path, quality=90)

    def usual(folder: object = folder) -> Tensor:
        with PIL.Image.open(path) as image:
            whole = image.convert("RGB")
        small = functional.resize(whole, [256], antialias=True)
        tensor = functional.to_dtype(
            functional.to_image(functional.center_crop(small, [224, 224])), torch.float32, True
        )
        return functional.normalize(tensor, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])[None]

    yield Pair(
        "a 12-megapixel JPEG to the network's input", lambda: preprocess(read_picture(path), IMAGENET), usual, 1 / 3
    )


GROUPS = {"capture": captures, "table": tables, "weights": weights, "maps": maps, "pictures": pictures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=GROUPS, help="one group of lines")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'':58} {'ratio':>7} {'goal':>6} {'fmviz':>11} {'other':>11}")
    for name, pairs in GROUPS.items():
        if options.only in (None, name):
            for pair in pairs():
                found, ours, theirs = ratio(pair, options.rounds)
                times = f"{ours * 1000:8.1f} ms {theirs * 1000:8.1f} ms"
                print(f"{pair.words:58} {found:7.3f} {pair.goal:6.3f} {times}", flush=True)


if __name__ == "__main__":
    main()
