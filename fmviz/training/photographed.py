"""Things on the two photographs that textures are cut from, boxed by hand and seen at every zoom.

They keep what is learned from drawn shapes true to what cameras see. Only the levels at their middles are learned from
them: what else is on the photographs is not boxed, and may be things as well.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from fmviz.assets import asset
from fmviz.training.scenes import SIZE, Scene, taken_by_a_camera

THINGS = {
    "samples/coffee.png": (
        (77, 18, 480, 390),  # the cup on its saucer
        (173, 18, 406, 307),  # the cup
        (173, 18, 405, 208),  # its rim
        (205, 95, 371, 194),  # the coffee
        (196, 226, 261, 307),  # the handle
        (326, 238, 407, 326),  # the bowl of the spoon
    ),
    "samples/rocket.jpg": (
        (311, 127, 334, 178),  # the nose
        (314, 144, 331, 156),  # the badge on it
        (131, 356, 170, 400),  # four lights
        (170, 374, 216, 415),
        (335, 374, 394, 421),
        (410, 375, 457, 415),
    ),
}
"""Left, top, right and bottom of each, in the photograph's pixels."""

SMALLEST, LARGEST = 14, 210
"""√(width × height) of the thing that is chosen, in pixels."""

SEEN = 0.8
"""The share of another thing's box that must be on the scene for it to count."""


def photographed_scene(seed: int, number: int) -> Scene:
    """A part of a photograph about one of its things, at some zoom, turned or mirrored, its colours changed.

    Beyond its edges the photograph goes on as its mirror image, with the things' mirror images.
    """
    random = np.random.default_rng((seed, number))
    photograph, boxes = _mirrored(tuple(THINGS)[int(random.random() > 0.6)])
    chosen = boxes[random.integers(len(boxes) // 9)]  # the middle one of nine, which come first
    size = np.exp(random.uniform(np.log(SMALLEST), np.log(LARGEST)))
    width, height = chosen[2:] - chosen[:2]
    # No longer than the scene, however long and thin.
    scale = min(size / np.sqrt(width * height), 0.95 * SIZE / max(width, height))
    room = np.maximum(SIZE - np.array((width, height)) * scale, 0)
    left, top = chosen[:2] - random.uniform(0.1, 0.9, 2) * room / scale
    part = (left, top, left + SIZE / scale, top + SIZE / scale)
    image = photograph.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=_within(part, photograph.size))
    here = (boxes - np.array((left, top, left, top))) * scale
    clipped = here.clip(0, SIZE)
    seen = (clipped[:, 2:] - clipped[:, :2]).prod(axis=1) / (here[:, 2:] - here[:, :2]).prod(axis=1)
    pixels, kept = _turned(random, np.asarray(image), clipped[seen > SEEN][:12])
    return Scene(
        pixels=taken_by_a_camera(random, _coloured(random, pixels)),
        boxes=kept.astype(np.float32),
        kinds=np.zeros(len(kept), dtype=np.int64),
    )


@cache
def _mirrored(name: str) -> tuple[Image.Image, npt.NDArray[np.float64]]:
    """Three by three of the photograph, each the mirror image of its neighbours, and all their boxes, the middle's first."""
    pixels = np.asarray(Image.open(asset(name)).convert("RGB"))
    height, width = pixels.shape[:2]
    row = np.concatenate((pixels[:, ::-1], pixels, pixels[:, ::-1]), axis=1)
    whole = np.concatenate((row[::-1], row, row[::-1]), axis=0)
    boxes = np.array(THINGS[name], dtype=np.float64)
    found = []
    for down in (1, 0, 2):
        for across in (1, 0, 2):
            left, top, right, bottom = boxes.T
            if across != 1:
                left, right = width - right, width - left
            if down != 1:
                top, bottom = height - bottom, height - top
            x, y = across * width, down * height
            found.append(np.stack((left + x, top + y, right + x, bottom + y), axis=1))
    return Image.fromarray(whole), np.concatenate(found)


def _within(part: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    left, top, right, bottom = part
    return max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1])


def _turned(
    random: np.random.Generator, pixels: npt.NDArray[np.uint8], boxes: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    if random.random() < 0.5:
        pixels, boxes = pixels[:, ::-1], np.stack((SIZE - boxes[:, 2], boxes[:, 1], SIZE - boxes[:, 0], boxes[:, 3]), 1)
    if random.random() < 0.5:
        pixels, boxes = pixels[::-1], np.stack((boxes[:, 0], SIZE - boxes[:, 3], boxes[:, 2], SIZE - boxes[:, 1]), 1)
    if random.random() < 0.5:
        pixels, boxes = pixels.transpose(1, 0, 2), boxes[:, (1, 0, 3, 2)]
    return pixels, boxes


def _coloured(random: np.random.Generator, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Other colours, contrast and brightness; grey now and then."""
    values = pixels.astype(np.float32)
    if random.random() < 0.5:
        values = values[..., random.permutation(3)]
    grey = values.mean(axis=2, keepdims=True)
    values = grey + (values - grey) * random.choice((0, random.uniform(0.3, 1.2)), p=(0.2, 0.8))
    mean = values.mean()
    values = mean + (values - mean) * random.uniform(0.6, 1.5) + random.uniform(-40, 40)
    if random.random() < 0.15:
        values = 255 - values
    coloured: npt.NDArray[np.float32] = values
    return coloured
