"""Scenes to learn from: one to six shapes of 10 to 220 pixels on a background, each known with its box.

The same seed and number always give the same scene. The largest shape is drawn first, and none hides more than a third of
another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from fmviz.training.textures import Colours, Random, colour, noise, texture

SIZE = 256
"""Pixels of a scene's sides."""

KINDS = ("disc", "ring", "square", "triangle", "star", "cross", "blob")

SMALLEST, LARGEST = 10, 220
"""√(width × height) of a shape's box, in pixels; its logarithm is uniform between the two."""

MOST = 6
"""Shapes of a scene."""

HIDDEN = 0.35
"""The share of a shape that those drawn after it may hide."""

TRIES = 12
"""Places that are tried for a shape before it is left out."""

_FINE = 3
"""Outlines are drawn this many times larger and made smaller again: their edges are soft."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A drawn picture and what is on it.

    Attributes:
        pixels: (SIZE, SIZE, 3) uint8 RGB.
        boxes: (n, 4) float32: left, top, right, bottom in pixels, of whole shapes, hidden parts too.
        kinds: (n,) int64, indices of `KINDS`.
    """

    pixels: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float32]
    kinds: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A shape before it has a place.

    Attributes:
        kind: index of `KINDS`.
        mask: (h, w) float32 from 0 to 1, as tight about it as pixels allow.
        paint: (h, w, 3).
    """

    kind: int
    mask: npt.NDArray[Any]
    paint: Colours


def draw_scene(seed: int, number: int, *, parts: bool = False) -> Scene:
    """The scene `number` of those of `seed`.

    Args:
        parts: some shapes have smaller shapes within them which belong to them and are no things, as things on photographs
            have. That is harder, and for learning only.
    """
    random = np.random.default_rng((seed, number))
    canvas = texture(random, SIZE, SIZE, coarse=True)
    sizes = np.exp(random.uniform(np.log(SMALLEST), np.log(LARGEST), random.integers(1, MOST + 1)))
    owner = np.full((SIZE, SIZE), -1, dtype=np.int8)  # which shape is to be seen at each pixel
    areas: list[int] = []
    boxes: list[tuple[int, int, int, int]] = []
    kinds: list[int] = []
    for size in sorted(sizes, reverse=True):
        shape = _shape(random, float(size), parts=parts)
        place = _place(random, shape.mask > 0.5, owner, areas)
        if place is None:
            continue
        top, left = place
        height, width = shape.mask.shape
        region = slice(top, top + height), slice(left, left + width)
        canvas[region] = _painted(random, canvas[region], shape)
        owner[region][shape.mask > 0.5] = len(areas)
        areas.append(int((shape.mask > 0.5).sum()))
        boxes.append((left, top, left + width, top + height))
        kinds.append(shape.kind)
    return Scene(
        pixels=taken_by_a_camera(random, canvas),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        kinds=np.array(kinds, dtype=np.int64),
    )


# Shapes


def outline(kind: str, random: Random) -> npt.NDArray[np.float64]:
    """(n, 2) points of a polygon about (0, 0), x and y; of a ring its outer edge."""
    if kind in ("disc", "ring"):
        return _polar(np.ones(64))
    if kind == "square":
        return _polar(np.ones(4))
    if kind == "triangle":
        return _polar(np.ones(3))
    if kind == "star":
        tips = random.integers(4, 8)
        return _polar(np.tile((1.0, random.uniform(0.35, 0.6)), tips))
    if kind == "cross":
        arm = random.uniform(0.2, 0.45)
        corner = np.array([(1, -arm), (1, arm), (arm, arm)])
        return np.concatenate([corner @ _turn(quarter * np.pi / 2).T for quarter in range(4)])
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    waves = [
        random.uniform(0, 0.45 / order) * np.sin(order * angles + random.uniform(0, 2 * np.pi)) for order in range(2, 7)
    ]
    return _polar(1 + np.sum(waves, axis=0))


def _polar(radii: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return np.stack((radii * np.cos(angles), radii * np.sin(angles)), axis=1)


def _turn(angle: float) -> npt.NDArray[np.float64]:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def _shape(random: Random, size: float, *, parts: bool) -> Shape:
    kind = int(random.integers(len(KINDS)))
    points = outline(KINDS[kind], random) * (1, random.uniform(0.65, 1)) @ _turn(random.uniform(0, 2 * np.pi)).T
    points -= points.min(axis=0)
    width, height = points.max(axis=0)
    points *= size / np.sqrt(width * height)
    width, height = np.maximum(np.round(points.max(axis=0)), 3).astype(int)
    points *= (width, height) / points.max(axis=0)
    mask = _filled(points, height, width)
    if KINDS[kind] == "ring":
        middle = (width / 2, height / 2)
        mask = mask - _filled((points - middle) * random.uniform(0.35, 0.7) + middle, height, width)
    paint = _with_parts(random, points, height, width) if parts else texture(random, height, width)
    return Shape(kind, mask, paint)


def _filled(points: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[Any]:
    """(height, width) from 0 to 1: what the polygon covers."""
    fine = Image.new("L", (width * _FINE, height * _FINE))
    ImageDraw.Draw(fine).polygon([(x * _FINE - 0.5, y * _FINE - 0.5) for x, y in points], fill=255)
    return np.asarray(fine.reduce(_FINE), dtype=np.float32) / 255


def _with_parts(random: Random, points: npt.NDArray[np.float64], height: int, width: int) -> Colours:
    """(height, width, 3): a texture, often with others in smaller outlines within it."""
    paint = texture(random, height, width)
    middle = (width / 2, height / 2)
    if random.random() < 0.3:
        for share in sorted(random.uniform(0.15, 0.85, random.integers(1, 4)), reverse=True):
            inner = _filled((points - middle) * share + middle, height, width)[..., None]
            paint = paint * (1 - inner) + texture(random, height, width) * inner
    return paint


# Putting them together


def _place(
    random: Random, mask: npt.NDArray[np.bool_], owner: npt.NDArray[np.int8], areas: list[int]
) -> tuple[int, int] | None:
    """(top, left) where it hides none too much, or None."""
    height, width = mask.shape
    if max(height, width) > SIZE:
        return None
    seen = np.bincount(owner.ravel() + 1, minlength=len(areas) + 1)[1:]
    for _ in range(TRIES):
        top, left = int(random.integers(SIZE - height + 1)), int(random.integers(SIZE - width + 1))
        under = owner[top : top + height, left : left + width][mask]
        left_over = seen - np.bincount(under + 1, minlength=len(areas) + 1)[1:]
        if all(part >= (1 - HIDDEN) * area for part, area in zip(left_over, areas, strict=True)):
            return top, left
    return None


def _painted(random: Random, under: Colours, shape: Shape) -> Colours:
    """The shape over what is under it, with an outline now and then; seen against that for certain."""
    mask = shape.mask[..., None]
    paint = shape.paint
    if random.random() < 0.15:
        edge = np.asarray(
            Image.fromarray((shape.mask * 255).astype(np.uint8)).filter(ImageFilter.MinFilter(3)), dtype=np.float32
        )
        inside = (edge / 255)[..., None]
        paint = paint * inside + colour(random) * (1 - inside)
    weight = max(float(mask.sum()), 1e-6)
    difference = ((paint - under) * mask).sum((0, 1)) / weight
    distance = float(np.abs(difference).max())
    if distance < 30:
        # Too much like its background on the average: lighter or darker, whichever has room.
        lightness = float(((under * mask).sum((0, 1)) / weight).mean())
        paint = paint + random.uniform(40, 90) * (1 if lightness < 128 else -1)
    painted: Colours = under * (1 - mask) + np.clip(paint, 0, 255) * mask
    return painted


def taken_by_a_camera(random: Random, canvas: Colours) -> npt.NDArray[np.uint8]:
    """What a camera makes of it: uneven light, blur, a picture enlarged from a smaller one, grain."""
    if random.random() < 0.3:
        light = noise(random, 16, 16).mean(axis=2)
        light = (light - light.mean()) / max(float(light.std()), 1e-6)
        smooth = np.asarray(Image.fromarray(light).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        canvas = canvas * (1 + random.uniform(0.05, 0.2) * smooth[..., None])
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    chance = random.random()
    if chance < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.4, 2)))
    elif chance < 0.55:
        smaller = int(SIZE / random.uniform(1.2, 4))
        image = image.resize((smaller, smaller), Image.Resampling.BICUBIC, reducing_gap=2)
        image = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, dtype=np.float32)
    if random.random() < 0.5:
        pixels = pixels + random.uniform(1, 12) * random.standard_normal(pixels.shape, dtype=np.float32)
    return np.clip(pixels, 0, 255).round().astype(np.uint8)
