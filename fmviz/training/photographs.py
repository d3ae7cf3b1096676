"""The test on photographs: a thing that is boxed by hand is shown at four zooms, so that it belongs to each level once.

A pyramid that answers to things by their size has P2 as its brightest level where the thing is 20 pixels large, P3 at 40,
P4 at 80 and P5 at 160.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from fmviz.assets import asset
from fmviz.geometry import Box
from fmviz.pictures import read_picture
from fmviz.training.measure import answers, balanced, matrix, mean_error
from fmviz.training.targets import Things, level_of

ZOOMS = (20, 40, 80, 160)
"""√(width × height) of the thing's box in pixels."""

SIDE = 256
"""Pixels of the part of the zoomed photograph that is looked at, about the thing."""

GRAIN = 32
"""The part's sides are multiples of this, so that the cells of all levels tile it."""


@dataclass(frozen=True, slots=True)
class Boxed:
    """A thing on a photograph: its name, and its box in the photograph's pixels."""

    picture: Path
    name: str
    box: Box


@dataclass(frozen=True, slots=True)
class Answer:
    """Which level was the brightest at a thing, and which one it belongs to; 0 for P2 to 3 for P5."""

    thing: Boxed
    zoom: int
    wanted: int
    given: int


@dataclass(frozen=True, slots=True)
class PhotographFigures:
    """Of all things at all zooms.

    Attributes:
        tests: how many.
        by_rms: the balanced share of right answers.
        error: the mean difference, in levels.
    """

    tests: int
    by_rms: float
    error: float


def boxed_things(file: Path) -> tuple[Boxed, ...]:
    """Those that a JSON file lists; the photographs are beside it, or among fmviz's samples ("folder": "samples").

    {"pictures": [{"file": "cat.png", "licence": "CC0", "things": [{"name": "an eye", "box": [left, top, right, bottom]}]}]}
    """
    found = []
    for row in json.loads(file.read_text(encoding="utf-8"))["pictures"]:
        path = asset(f"samples/{row['file']}") if row.get("folder") == "samples" else file.parent / row["file"]
        found += [Boxed(path, thing["name"], Box(*thing["box"])) for thing in row["things"]]
    return tuple(found)


def zoomed(pixels: npt.NDArray[np.uint8], box: Box, zoom: float) -> tuple[npt.NDArray[np.uint8], Box]:
    """A photograph made larger or smaller until the thing in `box` has the size `zoom`: the part about it.

    Returns:
        (h, w, 3), sides of at most `SIDE`, multiples of `GRAIN`; and the thing's box on it.
    """
    height, width = pixels.shape[:2]
    scale = zoom / (box.width * box.height) ** 0.5
    sides = [max(GRAIN, min(SIDE, int(length * scale)) // GRAIN * GRAIN) for length in (height, width)]
    seen = [min(side / scale, length) for side, length in zip(sides, (height, width), strict=True)]
    middle = ((box.top + box.bottom) / 2, (box.left + box.right) / 2)
    top, left = (
        min(max(centre - part / 2, 0), length - part)
        for centre, part, length in zip(middle, seen, (height, width), strict=True)
    )
    part = (left, top, left + seen[1], top + seen[0])
    image = Image.fromarray(pixels).resize((sides[1], sides[0]), Image.Resampling.BICUBIC, box=part)
    x, y = sides[1] / seen[1], sides[0] / seen[0]
    there = Box((box.left - left) * x, (box.top - top) * y, (box.right - left) * x, (box.bottom - top) * y)
    return np.asarray(image), there


def answers_on(
    boxed: Sequence[Boxed], levels_of: Callable[[npt.NDArray[np.uint8]], Sequence[Tensor]]
) -> Iterator[Answer]:
    """The brightest level of every thing at every zoom.

    Args:
        levels_of: (1, height, width, 3) RGB -> P2–P5.
    """
    for thing in boxed:
        pixels = read_picture(thing.picture).pixels
        for zoom in ZOOMS:
            part, box = zoomed(pixels, thing.box, zoom)
            levels = levels_of(part[None])
            here = torch.tensor([[[box.left, box.top, box.right, box.bottom]]])
            things = Things(here.to(levels[0].device), torch.zeros(1, 1, dtype=torch.int64, device=levels[0].device))
            values = answers(levels, things, (part.shape[0], part.shape[1]))
            yield Answer(thing, zoom, int(level_of(torch.tensor(float(zoom)))), int(values[0, 0].argmax()))


def figures_of(found: Sequence[Answer]) -> PhotographFigures:
    shares = matrix(torch.tensor([one.wanted for one in found]), torch.tensor([one.given for one in found]))
    return PhotographFigures(len(found), balanced(shares), mean_error(shares))
