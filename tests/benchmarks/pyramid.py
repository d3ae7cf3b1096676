"""How well the levels of a pyramid answer to things by their size, beside the untrained pyramid. Prints; asserts nothing.

    python tests/benchmarks/pyramid.py [FILE|NAME] [--backbone efficientnet_lite0] [--scenes 600] [--seed 2000003]

The scenes are of a seed that no pyramid was trained or chosen on. The photographs are those of tests/photographs, which
no pyramid was trained on, with their things boxed by hand, each at four zooms.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fmviz.networks.catalog import backbone
from fmviz.networks.fpn import LEVELS, PyramidNetwork
from fmviz.networks.weights import load
from fmviz.training.body import Body
from fmviz.training.features import stages_of
from fmviz.training.measure import Figures, Measuring
from fmviz.training.photographs import Answer, answers_on, boxed_things, figures_of
from fmviz.training.scenes import SIZE
from fmviz.training.targets import things

BOXES = Path(__file__).parents[1] / "photographs" / "boxes.json"


class Measured:
    """A network taken apart: the body that is quick, its pyramid, and its head where it has one."""

    def __init__(self, name: str, weights: str) -> None:
        row = backbone(f"{name}_fpn")
        network, loaded = load(row, weights)
        assert isinstance(network, PyramidNetwork)
        self.pyramid, self.head = network.fpn, getattr(network, "head", None)
        self.body = Body(network.body, loaded.preprocessing or row.preprocessing, torch.device("cpu"))
        self.words = f"{loaded.name} (untrained: {', '.join(loaded.untrained) or 'nothing'})"

    @torch.no_grad()
    def levels(self, stages: list[Tensor]) -> list[Tensor]:
        found = self.pyramid(dict(zip(("C2", "C3", "C4", "C5"), (stage.clone() for stage in stages), strict=True)))
        return [found[level] for level in LEVELS]

    def levels_of(self, pixels: npt.NDArray[np.uint8]) -> list[Tensor]:
        return self.levels(self.body.stages(np.ascontiguousarray(pixels)))


def on_scenes(measured: Measured, count: int, seed: int) -> Figures:
    measuring = Measuring()
    for scenes, stages in stages_of(measured.body, range(count), seed, cancelled=lambda: False):
        on_them = things([torch.from_numpy(s.boxes) for s in scenes], [torch.from_numpy(s.kinds) for s in scenes])
        measuring.add(measured.levels(stages), measured.head, on_them, (SIZE, SIZE))
    return measuring.figures()


def print_scenes(words: str, figures: Figures) -> None:
    print(f"\n{words}: {figures.things} things on fresh scenes")
    print(f"  AP50, whatever the kind           {figures.ap50:.3f}")
    print(f"  size → level by objectness        {figures.by_objectness:.3f}")
    print(f"  size → level by RMS               {figures.by_rms:.3f}   (mean error {figures.error:.2f} levels)")
    print(f"  recall by band, smallest first    {'  '.join(f'{share:.3f}' for share in figures.recall)}")
    for level, row in zip(LEVELS, figures.rms_matrix, strict=True):
        print(f"    belongs to {level}, answered by P2–P5: {'  '.join(f'{share:.2f}' for share in row)}")


def print_photographs(answers: list[Answer]) -> None:
    figures = figures_of(answers)
    print(f"  photographs: {figures.tests} tests, by RMS {figures.by_rms:.3f}, mean error {figures.error:.2f} levels")
    by_thing: dict[tuple[str, str], list[str]] = defaultdict(list)
    for answer in answers:
        by_thing[answer.thing.picture.name, answer.thing.name].append(LEVELS[answer.given])
    for (picture, name), given in by_thing.items():
        print(f"    {picture:20} {name:32} {' → '.join(given)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="?", default="shapes")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--untrained", default="imagenet", help="weights without a pyramid")
    parser.add_argument("--scenes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=2_000_003)
    options = parser.parse_args()
    for weights in (options.weights, options.untrained):
        started = time.perf_counter()
        measured = Measured(options.backbone, weights)
        print_scenes(measured.words, on_scenes(measured, options.scenes, options.seed))
        print_photographs(list(answers_on(boxed_things(BOXES), measured.levels_of)))
        print(f"  {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
