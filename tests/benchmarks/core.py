"""What the core does, in this process: captures, the layer table, weights, maps, pictures, export."""

from __future__ import annotations

import functools
import io
import math
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from measuring import Deed, Figure, Line, Pair, there
from torch import Tensor, nn

# Capture


def captures() -> Iterator[Line]:
    """Every layer, next to the plain forward of the same module in the same process, whose allocator keeps freed memory."""
    from torchvision import models

    from fmviz.capture import capture_activations
    from fmviz.networks.catalog import backbone
    from fmviz.structures import tensors_in

    def pairs(name: str, model: nn.Module, size: tuple[int, int], goal: float) -> Iterator[Line]:
        x = torch.rand(1, 3, *size)

        def plain() -> object:
            with torch.no_grad():
                return model(x)

        def clones() -> object:
            held: list[Tensor] = []

            def hook(module: nn.Module, args: object, output: object) -> None:
                held.extend(tensor.detach().clone() for _, tensor in tensors_in(output))

            handles = [module.register_forward_hook(hook) for module in model.modules()]
            plain()
            for handle in handles:
                handle.remove()
            return held

        words = f"{name} {size[0]}×{size[1]}"
        yield Pair(f"capture of every layer, {words}", lambda: capture_activations(model, x), plain, goal)
        yield Pair(f"hooks that clone, {words}", clones, plain, math.nan)

    for name in ("resnet50", "googlenet", "vit_b_16", "convnext_tiny", "swin_t"):
        more: dict[str, Any] = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
        yield from pairs(f"torchvision's {name}", models.get_model(name, weights=None, **more).eval(), (224, 224), 1.25)
    resnet = backbone("resnet50").build().eval()
    yield from pairs("resnet50", resnet, (224, 224), 1.15)
    yield from pairs("resnet50", resnet, (480, 640), 1.15)
    yield from pairs("vgg19", backbone("vgg19").build().eval(), (224, 224), 1.15)


# Layer table


def tables() -> Iterator[Line]:
    """With MACs and receptive field, without weights, building included, beside peers with the network in memory."""
    from fmviz.networks.catalog import backbone
    from fmviz.table import layer_table

    for name, goal in (("vgg19", 0.1), ("resnet50", 1.0), ("resnet50_fpn", 1.0)):
        model = backbone(name).build().eval()
        x = torch.rand(1, 3, 224, 224)
        for peer, deed in _tables_of_peers(model, x):
            yield Pair(f"layer table of {name}, beside {peer}", lambda name=name: layer_table(name), deed, goal)


def _tables_of_peers(model: nn.Module, x: Tensor) -> Iterator[tuple[str, Deed]]:
    if there("torchinfo"):
        from torchinfo import summary

        yield "torchinfo", lambda: summary(model, input_data=x, verbose=0, depth=9)
    if there("fvcore"):
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


# Weights


def weights() -> Iterator[Line]:
    """A file to the first output, beside the usual build, load and forward.

    At 224 the forward, the same on both sides, is an eighth of VGG-19's usual way; at 64 it is a fortieth. What is left is the
    copy into memory: a network that is mapped from its file would change, or end the process, when the file is written anew.
    """
    from fmviz.networks.catalog import backbone
    from fmviz.session import Session

    for name, goal, side in (
        ("vgg19", 1 / 15, 224),
        ("vgg19", 1 / 15, 64),
        ("resnet50", 0.5, 224),
        ("resnet50", 0.5, 64),
    ):
        folder = tempfile.TemporaryDirectory(prefix="fmviz-")
        path = Path(folder.name) / f"{name}.pth"
        torch.save(backbone(name).build().state_dict(), path)
        x = torch.rand(1, 3, side, side)

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

        yield Pair(f"a weights file of {name} to the first output, {side}×{side}", ours, usual, goal)


# Maps


def maps() -> Iterator[Line]:
    """An activation in memory to 8-bit maps, beside one read of it and one write of as many bytes."""
    from fmviz.render import render

    for shape in ((64, 112, 112), (256, 56, 56), (512, 28, 28), (64, 320, 240), (256, 200, 304)):
        activation = torch.randn(1, *shape)
        out = np.zeros(shape, np.uint8)

        def limit(activation: Tensor = activation, out: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = out) -> None:
            activation.sum()
            out.fill(7)

        def numpys(activation: Tensor = activation) -> object:
            values = activation[0].numpy()
            low, high = values.min(axis=(1, 2), keepdims=True), values.max(axis=(1, 2), keepdims=True)
            return ((values - low) / (high - low) * 255).astype(np.uint8)

        words = f"maps of {shape[0]} × {shape[1]} × {shape[2]}, beside one read and one write"
        ours = functools.partial(render, activation, out=out)
        yield Pair(words, ours, limit, 4.0)
        yield Pair(f"{words.partition(',')[0]}, beside plain numpy", ours, numpys, 1.0)
        if there("matplotlib"):
            yield Pair(f"{words.partition(',')[0]}, beside matplotlib's", ours, _of_matplotlib(activation), 1.0)


def _of_matplotlib(activation: Tensor) -> Deed:
    """Map by map, as it is done in notebooks: normalised and coloured, 8-bit RGBA."""
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    colours = colormaps["viridis"]
    return lambda: [colours(Normalize()(one), bytes=True) for one in activation[0].numpy()]


# Pictures


def pictures() -> Iterator[Line]:
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


# Export


def exports() -> Iterator[Line]:
    """Layers of ResNet-50 as PNG, beside the same with another encoder: from figures in memory to files, in two threads;
    and the whole export, which draws and letters them first, one after the other."""
    from fmviz import writing
    from fmviz.assets import asset
    from fmviz.exporting import export
    from fmviz.session import Session

    session = Session("resnet50", weights="random", device="cpu")
    capture = session.run(asset("samples/chelsea.png"))
    facts = session.facts(capture)
    # A part: those of all layers together are 1.7 gigapixels.
    layers = [layer for layer in capture if not capture[layer].why_no_maps][::6]
    names = [str(layer) for layer in layers]
    folder = tempfile.TemporaryDirectory(prefix="fmviz-")
    own = writing._png
    figures: list[tuple[Any, Any, Any]] = []
    writing._png = lambda *figure: figures.append(figure) or b""
    for _ in export(capture, facts, layers=names, folder=folder.name):
        pass
    writing._png = own

    def written(encoder: Callable[..., bytes], name: str) -> Callable[[], None]:
        target = Path(folder.name) / name
        target.mkdir()

        def deed(folder: object = folder) -> None:
            def one(number: int) -> None:
                (target / f"{number}.png").write_bytes(encoder(*figures[number]))

            with ThreadPoolExecutor(2) as pool:
                list(pool.map(one, range(len(figures))))

        return deed

    def whole(encoder: Callable[..., bytes]) -> Callable[[], None]:
        def deed(folder: object = folder) -> None:
            writing._png = encoder
            try:
                for _ in export(capture, facts, layers=names, folder=Path(folder.name) / "whole"):
                    pass
            finally:
                writing._png = own

        return deed

    ours = written(own, "fmviz")
    for name, encoder in (("QImage.save", _png_of_qt), ("Pillow's defaults", _png_of_pillow)):
        theirs = written(encoder, name)
        yield Pair(f"figures of {len(figures)} layers of resnet50 to PNG, beside {name}", ours, theirs, 0.4)
        sizes = {
            one: sum(file.stat().st_size for file in (Path(folder.name) / one).iterdir()) for one in ("fmviz", name)
        }
        note = f"{sizes['fmviz'] / 1e6:.1f} MB and {sizes[name] / 1e6:.1f} MB"
        yield Figure(f"size of these files, beside {name}", sizes["fmviz"] / sizes[name], 1.0, note=note)
        yield Pair(f"the whole export of these layers, with the encoder of {name}", whole(own), whole(encoder), 0.4)


def _png_of_qt(indices: Any, colours: Any, facts: object) -> bytes:
    from PySide6.QtCore import QBuffer, QByteArray
    from PySide6.QtGui import QImage, qRgb

    rows = np.ascontiguousarray(indices)
    image = QImage(rows.data, rows.shape[1], rows.shape[0], rows.shape[1], QImage.Format.Format_Indexed8)
    image.setColorTable([qRgb(*map(int, colour)) for colour in colours])
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QBuffer.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")
    return data.data()


def _png_of_pillow(indices: Any, colours: Any, facts: object) -> bytes:
    image = PIL.Image.fromarray(np.ascontiguousarray(indices))
    image.putpalette(colours.tobytes())
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
