"""The same on a GPU: times by events, what crosses to the host while one browses, and frames of a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from measuring import Figure, Line, Pair
from torch import Tensor, nn

_RUNS = (("resnet50", 224, 224, 1.10), ("vgg19", 224, 224, 1.03), ("resnet50", 480, 640, 1.10))


def cuda() -> Iterator[Line]:
    if not torch.cuda.is_available():
        print("  torch sees no CUDA device here: left out")
        return
    from fmviz.capture import capture_activations
    from fmviz.networks.catalog import backbone
    from fmviz.render import render

    for name, height, width, goal in _RUNS:
        model = backbone(name).build().eval().cuda()
        x = torch.rand(1, 3, height, width, device="cuda")
        ours = _by_events(lambda model=model, x=x: capture_activations(model, x))
        words = f"capture of every layer on the GPU, {name} {height}×{width}"
        yield Pair(words, ours, _by_events(_plain(model, x)), goal)
    activation = torch.rand(1, 256, 200, 304, device="cuda")
    yield Pair(
        "maps of 256 × 200 × 304 on the GPU, beside one read and one write",
        _by_events(lambda: render(activation)),
        _by_events(lambda: (activation.sum(), torch.full(activation.shape, 7, dtype=torch.uint8, device="cuda"))),
        4.0,
    )
    yield _crossing()
    yield _frames()


def _plain(model: nn.Module, x: Tensor) -> Callable[[], object]:
    def plain() -> object:
        with torch.no_grad():
            return model(x)

    return plain


def _by_events(deed: Callable[[], object]) -> Callable[[], float]:
    def timed() -> float:
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        deed()
        ended.record()
        torch.cuda.synchronize()
        return float(begun.elapsed_time(ended)) / 1000

    return timed


def _crossing() -> Figure:
    """Bytes that are copied from the GPU while every layer is drawn, beside those of the 8-bit maps."""
    from torch.profiler import ProfilerActivity, profile

    from fmviz.assets import asset
    from fmviz.render import render
    from fmviz.session import Session

    session = Session("resnet50", weights="random", device="cuda")
    capture = session.run(asset("samples/chelsea.png"))
    drawn = 0
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as record:
        for one in capture.values():
            if not one.why_no_maps:
                drawn += render(one.maps).pixels.nbytes
    copied = 0
    with tempfile.TemporaryDirectory(prefix="fmviz-") as folder:
        import json

        path = Path(folder) / "trace.json"
        record.export_chrome_trace(str(path))
        for event in json.loads(path.read_text(encoding="utf-8"))["traceEvents"]:
            if "Memcpy DtoH" in event.get("name", ""):
                copied += int(event["args"]["bytes"])
    return Figure("bytes from the GPU while browsing, beside those of the maps", copied / drawn, 1.05, "×")


def _frames() -> Pair:
    from fmviz.preprocess import preprocess
    from fmviz.session import Session

    session = Session("resnet50", weights="random", device="cuda")
    folder = tempfile.TemporaryDirectory(prefix="fmviz-")
    rng = np.random.default_rng(0)
    paths = []
    for number in range(64):
        paths.append(Path(folder.name) / f"{number}.jpg")
        PIL.Image.fromarray(rng.integers(0, 255, (480, 640, 3), np.uint8)).save(paths[-1])
    from fmviz.pictures import read_picture

    def ours(folder: object = folder) -> None:
        for path in paths:
            session.run(path)
        torch.cuda.synchronize()

    def theirs() -> None:
        with torch.no_grad():
            for path in paths:
                session.model(preprocess(read_picture(path), session.preprocessing).tensor.cuda())
        torch.cuda.synchronize()

    return Pair("64 frames of a folder, beside plain forwards", ours, theirs, 1 / 0.9)
