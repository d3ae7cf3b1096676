"""How time and memory grow with pixels and with layers: the slopes of their logarithms; 1 is linear.

    python tests/benchmarks/growth.py PICTURE.png

draws them for the README.
"""

from __future__ import annotations

import gc
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from measuring import Figure, Line, seconds, slope

SIDES = (224, 448, 896, 1792)
NETWORKS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")

ALIKE = 3
"""The last of these have the same kind of block; the layers of the first two hold a quarter of their channels."""

Course = tuple[str, list[float], dict[str, list[float]]]
"""What grows, how much of it there is, and what it takes: "run, ms" -> numbers."""


def growth() -> Iterator[Line]:
    for what, sizes, taken in (with_pixels(), with_layers()):
        for name, values in taken.items():
            note = ", ".join(f"{value:.3g}" for value in values)
            yield Figure(f"growth of {name} with {what}: slope", _slope(what, sizes, values), 1.1, note=note)


def _slope(what: str, sizes: list[float], values: list[float]) -> float:
    first = -ALIKE if what.startswith("layers") else 0
    return slope(sizes[first:], values[first:])


def with_pixels() -> Course:
    taken: dict[str, list[float]] = {}
    for side in SIDES:
        _measure("resnet18", side, taken)
    return "pixels (resnet18, 224² to 1792²)", [float(side * side) for side in SIDES], taken


def with_layers() -> Course:
    from fmviz.networks.catalog import backbone

    taken: dict[str, list[float]] = {}
    counts = []
    for name in NETWORKS:
        counts.append(float(sum(1 for _ in backbone(name).build().modules())))
        _measure(name, 224, taken)
    return "layers (resnet18 to resnet152, slopes from resnet50 on)", counts, taken


def _measure(name: str, side: int, taken: dict[str, list[float]]) -> None:
    from fmviz.exporting import export
    from fmviz.render import render
    from fmviz.session import Session

    session = Session(name, weights="random", device="cpu")
    x = torch.rand(1, 3, side, side)
    held = [session.run(x)]

    def run() -> None:
        held.clear()
        held.append(session.run(x))

    def drawn() -> None:
        for activation in held[0].values():
            if not activation.why_no_maps:
                render(activation.maps)

    with tempfile.TemporaryDirectory(prefix="fmviz-") as folder:
        # One layer in eight: a grid of every channel of every layer at 1792² takes minutes.
        some = [str(layer) for layer in held[0] if not held[0][layer].why_no_maps][::8]

        def exported() -> None:
            for _ in export(held[0], session.facts(held[0]), layers=some, folder=folder):
                pass

        deeds: dict[str, Callable[[], None]] = {"run, ms": run, "render, ms": drawn, "export, ms": exported}
        for words, deed in deeds.items():
            times = [seconds(deed) for _ in range(3 if side < 800 else 1)]
            taken.setdefault(words, []).append(statistics.median(times) * 1000)
    taken.setdefault("captures, MB", []).append(held[0].nbytes / 1e6)
    held.clear()
    gc.collect()


def plot(courses: list[Course], path: Path) -> None:
    """Two log-log plots beside each other, each line with its slope."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    import pyqtgraph
    from pyqtgraph.exporters import ImageExporter

    pyqtgraph.mkQApp()
    pyqtgraph.setConfigOptions(background="w", foreground="k", antialias=True)
    paper = pyqtgraph.GraphicsLayoutWidget(size=(1200, 480))
    colours = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
    for what, sizes, taken in courses:
        plot = paper.addPlot(title=what)
        plot.setLogMode(x=True, y=True)
        plot.addLegend(offset=(10, 10))
        plot.showGrid(x=True, y=True, alpha=0.2)
        names = [f"{side}²" for side in SIDES] if what.startswith("pixels") else NETWORKS
        plot.getAxis("bottom").setTicks([[(math.log10(size), name) for size, name in zip(sizes, names, strict=True)]])
        marks = (30, 100, 300, 1000, 3000)
        plot.getAxis("left").setTicks([[(math.log10(mark), f"{mark:,}") for mark in marks]])
        plot.setLabel("left", "milliseconds, megabytes")
        plot.setXRange(math.log10(sizes[0]), math.log10(sizes[-1]), padding=0.1)
        for colour, (name, values) in zip(colours, taken.items(), strict=True):
            words = f"{name}: slope {_slope(what, sizes, values):.2f}"
            plot.plot(sizes, values, pen=pyqtgraph.mkPen(colour, width=2), symbol="o", symbolBrush=colour, name=words)
    paper.show()
    pyqtgraph.QtWidgets.QApplication.processEvents()
    ImageExporter(paper.scene()).export(str(path))


if __name__ == "__main__":
    courses = [with_pixels(), with_layers()]
    for what, sizes, taken in courses:
        for name, values in taken.items():
            print(
                f"{what}: {name}, slope {_slope(what, sizes, values):.2f}: {', '.join(f'{value:.3g}' for value in values)}"
            )
    plot(courses, Path(sys.argv[1]))
