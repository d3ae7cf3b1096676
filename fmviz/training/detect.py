"""Boxes out of what the levels say: the best cells, without those that say the same again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fmviz.geometry import Box
from fmviz.networks.fpn import LEVELS
from fmviz.training.losses import loudness

OVERLAP = 0.45
"""Of two boxes that share more, by intersection over union, one is left out: so much do things seldom hide of each other."""


AGREEMENT = 0.6
"""Boxes that share so much of one that stays say where it ends as well."""


LOUD = 1.5
"""From here on a level is as loud as can be; on its own things it is to be 1."""

WITHIN, OF_A_PART = 0.7, 0.9
"""A box of which so much lies in a better one of a higher level may be a part of that thing: it is believed so much."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A thing that was found.

    Attributes:
        level: "P2" to "P5": which one found it.
        score: from 0 to 1.
        box: in pixels of the network's input.
        kind: index of `fmviz.training.scenes.KINDS`.
    """

    level: str
    score: float
    box: Box
    kind: int


def detect(
    outputs: Mapping[str, Any],
    size: tuple[int, int],
    *,
    threshold: float = 0.2,
    overlap: float = OVERLAP,
    most: int = 100,
) -> tuple[Detection, ...]:
    """What a network with a head found on its input, best first; () of a network without a head.

    Args:
        outputs: what `PyramidNetwork` put out for one picture: "scores.P2", "boxes.P2" and so on.
        size: (height, width) of the network's input.
        threshold: the lowest score.
        overlap: of two boxes that share more the better is kept, whatever their kinds.
        most: how many at most.
    """
    names = [name for name in LEVELS if f"scores.{name}" in outputs]
    if not names:
        return ()
    scores = [weighed(outputs[f"scores.{name}"].float(), outputs[name].float()) for name in names]
    distances = [outputs[f"boxes.{name}"].float() for name in names]
    boxes, values, kinds, levels = candidates(scores, distances, size, threshold=threshold)
    kept, believed = suppressed(boxes, values, levels, threshold=threshold, overlap=overlap, most=most)
    return tuple(
        Detection(names[int(levels[i])], float(score), Box(*box.tolist()), int(kinds[i]))
        for i, score, box in zip(kept, believed, voted(boxes, values, kept), strict=True)
    )


def weighed(scores: Tensor, level: Tensor) -> Tensor:
    """(B, kinds, h, w) of a head and (B, channels, h, w) of its level -> scores that the level itself has a say in.

    score · √(n / 1.5), with n the root of the mean of the squares over the level's channels, 1.5 at most: where a level is
    quiet, what its head reads out of it counts for less.
    """
    return scores * (loudness(level).clamp(max=LOUD) / LOUD).sqrt()[:, None]


def candidates(
    scores: list[Tensor], distances: list[Tensor], size: tuple[int, int], *, threshold: float, most: int = 600
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes (n, 4), scores, kinds and levels (n,) of all cells that score higher than `threshold`, on the CPU, best first.

    Args:
        scores: (1, kinds, h, w) of each level, from 0 to 1.
        distances: (1, 4, h, w) of each level, in pixels.
        size: (height, width) of the picture that the levels' cells tile.
    """
    boxes, values, kinds, levels = [], [], [], []
    for level, (score, distance) in enumerate(zip(scores, distances, strict=True)):
        best, kind = score[0].cpu().max(dim=0)  # (h, w)
        rows, columns = torch.nonzero(best > threshold, as_tuple=True)
        left, top, right, bottom = distance[0].cpu()[:, rows, columns]
        x = (columns + 0.5) * size[1] / best.shape[1]
        y = (rows + 0.5) * size[0] / best.shape[0]
        found = torch.stack((x - left, y - top, x + right, y + bottom), dim=1)
        limits = found.new_tensor((size[1], size[0], size[1], size[0]))
        boxes.append(torch.minimum(found.clamp(min=0), limits))
        values.append(best[rows, columns])
        kinds.append(kind[rows, columns])
        levels.append(torch.full_like(rows, level))
    all_boxes, all_values = torch.cat(boxes), torch.cat(values)
    order = all_values.argsort(descending=True, stable=True)[:most]
    return all_boxes[order], all_values[order], torch.cat(kinds)[order], torch.cat(levels)[order]


def suppressed(
    boxes: Tensor, scores: Tensor, levels: Tensor, *, threshold: float, overlap: float = OVERLAP, most: int = 100
) -> tuple[list[int], Tensor]:
    """Non-maximum suppression: indices of the boxes that stay, best first, and how much each is believed.

    Of two boxes that share more than `overlap` the better stays. One that lies in a better one of a higher level is
    believed a little less, as it may be a part of that thing; below `threshold` it goes.
    """
    shared = intersection_over_union(boxes, boxes)
    areas = _areas(boxes)
    within = shared * (areas[:, None] + areas[None]) / (1 + shared) / areas[None].clamp(min=1e-9)
    part = (within > WITHIN) & (levels[None] < levels[:, None])
    believed, scores_kept = scores.clone(), list[float]()
    kept: list[int] = []
    while len(kept) < min(most, len(scores)):
        best = int(believed.argmax())
        if believed[best] <= threshold:
            break
        kept.append(best)
        scores_kept.append(float(believed[best]))
        believed = torch.where(shared[best] > overlap, 0.0, believed * torch.where(part[best], OF_A_PART, 1.0))
        believed[best] = 0
    return kept, scores.new_tensor(scores_kept)


def voted(boxes: Tensor, scores: Tensor, kept: list[int]) -> Tensor:
    """(len(kept), 4): each box that stays as the mean of those that agree with it, itself with them, weighted by their
    scores and by how much they share (box voting: Gidaris and Komodakis, 1505.01749)."""
    shared = intersection_over_union(boxes[kept], boxes)
    weights = shared * (shared > AGREEMENT) * scores
    total = weights.sum(dim=1, keepdim=True)
    # A box without an area shares nothing, not even with itself.
    return torch.where(total > 0, weights @ boxes / total.clamp(min=1e-9), boxes[kept])


def intersection_over_union(one: Tensor, other: Tensor) -> Tensor:
    """(n, 4) and (m, 4) -> (n, m), from 0 to 1"""
    top_left = torch.maximum(one[:, None, :2], other[None, :, :2])
    bottom_right = torch.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
    return shared / (_areas(one)[:, None] + _areas(other)[None, :] - shared).clamp(min=1e-9)


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=-1)
