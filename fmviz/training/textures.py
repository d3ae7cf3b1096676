"""What shapes and backgrounds are painted with: flat, gradient, stripes, checks, noise, and pieces of photographs."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fmviz.assets import asset

PHOTOGRAPHS = ("samples/coffee.png", "samples/rocket.jpg")
"""Free of all rights (CC0). The other samples are kept apart: what was learned is tried out on them."""

Colours = npt.NDArray[Any]
"""(h, w, 3) or (3,), red, green and blue from 0 to 255, in floating point."""

Share = npt.NDArray[Any]
"""(h, w), from 0 to 1."""

Random = np.random.Generator


def texture(random: Random, height: int, width: int, *, coarse: bool = False) -> Colours:
    """(height, width, 3) of a kind chosen by chance.

    Args:
        coarse: pieces of photographs are small and much enlarged, so that no whole thing is in them: for backgrounds,
            which must not teach that things are none.
    """
    kind = random.choice(6, p=(0.2, 0.15, 0.1, 0.1, 0.2, 0.25))
    if kind == 0:
        return np.broadcast_to(colour(random), (height, width, 3)).astype(np.float32)
    if kind == 4:
        return noise(random, height, width)
    if kind == 5:
        return piece_of_photograph(random, height, width, coarse=coarse)
    share = (_gradient, _stripes, _checks)[kind - 1](random, height, width)[..., None]
    mixed: Colours = colour(random) * (1 - share) + colour(random) * share
    return mixed


def colour(random: Random) -> Colours:
    """(3,)"""
    if random.random() < 0.25:
        return np.full(3, random.uniform(0, 255), dtype=np.float32)
    return random.uniform(0, 255, 3).astype(np.float32)


def noise(random: Random, height: int, width: int) -> Colours:
    """Noise of several octaves about a colour: clouds, or grain, by how fast they fade."""
    octaves = random.integers(2, 6)
    fading = random.uniform(0.4, 1.0)
    grey = random.random() < 0.5
    first = random.integers(2, 9)
    total = np.zeros((height, width, 3), dtype=np.float32)
    for octave in range(octaves):
        cells = first * 2**octave
        if cells > max(height, width):
            break
        grid = random.uniform(-1, 1, (cells, cells, 1 if grey else 3)).astype(np.float32)
        total += fading**octave * _enlarged(grid, height, width)
    clouds: Colours = colour(random) + random.uniform(30, 120) * total
    return clouds


def piece_of_photograph(random: Random, height: int, width: int, *, coarse: bool) -> Colours:
    """A rectangle out of one, resized, perhaps mirrored, its colours perhaps exchanged."""
    photographs = _photographs()
    photograph = photographs[random.integers(len(photographs))]
    longest = min(photograph.size)
    side = random.uniform(16, 96) if coarse else np.exp(random.uniform(np.log(24), np.log(longest)))
    size = (max(2, int(side * width / max(height, width))), max(2, int(side * height / max(height, width))))
    left, top = (int(random.integers(0, all_ - part + 1)) for all_, part in zip(photograph.size, size, strict=True))
    box = (left, top, left + size[0], top + size[1])
    piece = np.asarray(photograph.resize((width, height), Image.Resampling.BICUBIC, box=box), dtype=np.float32)
    if random.random() < 0.5:
        piece = piece[:, ::-1]
    if random.random() < 0.5:
        piece = piece[..., random.permutation(3)]
    return piece


@cache
def _photographs() -> tuple[Image.Image, ...]:
    return tuple(Image.open(asset(name)).convert("RGB") for name in PHOTOGRAPHS)


def _gradient(random: Random, height: int, width: int) -> Share:
    """(height, width) from 0 to 1 in some direction."""
    along = _along(random, height, width)
    share: Share = (along - along.min()) / max(float(np.ptp(along)), 1e-6)
    return share


def _stripes(random: Random, height: int, width: int) -> Share:
    """(height, width) of 0 and 1, with soft edges."""
    waves = _along(random, height, width) * (2 * np.pi / random.uniform(5, 40))
    share: Share = np.clip(0.5 + random.uniform(0.5, 4) * np.sin(waves), 0, 1)
    return share


def _checks(random: Random, height: int, width: int) -> Share:
    """(height, width) of 0 and 1, turned by some angle."""
    angle, period = random.uniform(0, np.pi), 2 * np.pi / random.uniform(8, 48)
    y, x = np.ogrid[:height, :width]
    one = np.sin((x * np.cos(angle) + y * np.sin(angle)) * period)
    other = np.sin((y * np.cos(angle) - x * np.sin(angle)) * period)
    share: Share = np.clip(0.5 + 3 * one * other, 0, 1)
    return share


def _along(random: Random, height: int, width: int) -> Share:
    """(height, width): how far each pixel is in some direction, in pixels."""
    angle = random.uniform(0, 2 * np.pi)
    y, x = np.ogrid[:height, :width]
    along: Share = x * np.cos(angle) + y * np.sin(angle)
    return along


def _enlarged(grid: Colours, height: int, width: int) -> Colours:
    """(h, w, 1 or 3) -> (height, width, 1 or 3)"""
    planes = [
        np.asarray(Image.fromarray(grid[..., plane]).resize((width, height), Image.Resampling.BILINEAR))
        for plane in range(grid.shape[2])
    ]
    return np.stack(planes, axis=-1)
