"""How well the levels of a pyramid answer to things by their size, on scenes that it has not learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fmviz.networks.fpn import PyramidHead
from fmviz.training.detect import candidates, intersection_over_union, suppressed, voted, weighed
from fmviz.training.losses import at_centres, loudness
from fmviz.training.targets import LEVELS, Things, level_of

CHANCE = 1 / len(LEVELS)
"""What guessing comes to, of a balanced share."""

THRESHOLD = 0.05
"""The lowest score that counts for AP and recall."""

Matrix = tuple[tuple[float, ...], ...]
"""[i][j]: the share of things that belong to level i and to which level j answers; rows of zeros where there are none."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What there is to say of a pyramid.

    Attributes:
        things: how many it was measured on.
        ap50: average precision at an overlap of 0.5, whatever the kinds; 0 without a head.
        recall: of each band of sizes, that of P2 first, the share of things found.
        by_rms: the share of things whose level is the loudest at their middle, the background taken off; the mean of the
            shares of the four bands.
        by_objectness: the same by the head's highest score there; 0 without a head.
        error: the mean of the differences between the two levels, in levels, by RMS; the mean of the four bands.
        rms_matrix, objectness_matrix: see `Matrix`.
    """

    things: int
    ap50: float
    recall: tuple[float, ...]
    by_rms: float
    by_objectness: float
    error: float
    rms_matrix: Matrix
    objectness_matrix: Matrix

    def describe(self) -> dict[str, float | int | list[float] | list[list[float]]]:
        """As JSON takes it."""
        return {
            "things": self.things,
            "ap50": round(self.ap50, 4),
            "recall": [round(share, 4) for share in self.recall],
            "by_rms": round(self.by_rms, 4),
            "by_objectness": round(self.by_objectness, 4),
            "error": round(self.error, 4),
            "rms_matrix": [[round(share, 4) for share in row] for row in self.rms_matrix],
        }


@dataclass(slots=True)
class Measuring:
    """Gathers what levels say of batches of scenes, one after the other."""

    wanted: list[Tensor] = field(default_factory=list)
    loudest: list[Tensor] = field(default_factory=list)
    likeliest: list[Tensor] = field(default_factory=list)
    hits: list[Tensor] = field(default_factory=list)
    scores: list[Tensor] = field(default_factory=list)
    found: list[Tensor] = field(default_factory=list)

    @torch.no_grad()
    def add(self, levels: Sequence[Tensor], head: PyramidHead | None, things: Things, size: tuple[int, int]) -> None:
        """P2–P5 of a batch of pictures of `size` (height, width), and what is on them."""
        present = things.present.cpu()
        self.wanted.append(level_of(things.sizes).cpu()[present])
        self.loudest.append(answers(levels, things, size).cpu()[present].argmax(dim=-1))
        if head is None:
            return
        read = [head.read(head(level)) for level in levels]
        scores = [logits.sigmoid() for logits, _ in read]
        cells = [score.shape[-2:] for score in scores]
        pixels = [
            distances * distances.new_tensor((size[1] / w, size[0] / h) * 2)[:, None, None]
            for (_, distances), (h, w) in zip(read, cells, strict=True)
        ]
        middles = [at_centres(score.amax(dim=1), things, size) for score in scores]
        self.likeliest.append(torch.stack(middles, dim=-1).cpu()[present].argmax(dim=-1))
        of_levels = [weighed(score, level) for score, level in zip(scores, levels, strict=True)]
        for index in range(len(present)):
            one = (
                [score[index : index + 1] for score in of_levels],
                [distance[index : index + 1] for distance in pixels],
            )
            boxes, values, _, at = candidates(*one, size, threshold=THRESHOLD)
            kept, believed = suppressed(boxes, values, at, threshold=THRESHOLD)
            hits, found = matched(voted(boxes, values, kept), things.boxes[index].cpu()[present[index]])
            self.hits.append(hits)
            self.scores.append(believed)
            self.found.append(found)

    def figures(self) -> Figures:
        wanted = torch.cat(self.wanted)
        rms = matrix(wanted, torch.cat(self.loudest))
        objectness = matrix(wanted, torch.cat(self.likeliest)) if self.likeliest else None
        found = torch.cat(self.found) if self.found else torch.zeros(len(wanted), dtype=torch.bool)
        recall = [
            float(found[wanted == level].float().mean()) if (wanted == level).any() else 0.0 for level in range(4)
        ]
        precision = 0.0
        if self.hits:
            precision = average_precision(torch.cat(self.hits), torch.cat(self.scores), len(wanted))
        return Figures(
            things=len(wanted),
            ap50=precision,
            recall=tuple(recall),
            by_rms=balanced(rms),
            by_objectness=balanced(objectness) if objectness is not None else 0.0,
            error=mean_error(rms),
            rms_matrix=_as_rows(rms),
            objectness_matrix=_as_rows(objectness if objectness is not None else torch.zeros(4, 4)),
        )


def answers(levels: Sequence[Tensor], things: Things, size: tuple[int, int]) -> Tensor:
    """(B, n, 4): how loud each level is at the middle of each thing, the mean of its cells outside of every box taken off."""
    values = []
    for level in levels:
        maps = loudness(level)
        outside = ~_within(things, (maps.shape[1], maps.shape[2]), size)
        counts = outside.sum(dim=(1, 2))
        background = (maps * outside).sum(dim=(1, 2)) / counts.clamp(min=1)
        background = torch.where(counts > 0, background, maps.amin(dim=(1, 2)))
        values.append(at_centres(maps, things, size) - background[:, None])
    return torch.stack(values, dim=-1)


def matrix(wanted: Tensor, given: Tensor) -> Tensor:
    """(n,) and (n,) levels from 0 to 3 -> (4, 4), see `Matrix`."""
    counts = torch.zeros(4, 4).index_put_((wanted, given), torch.ones(len(wanted)), accumulate=True)
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1)


def balanced(shares: Tensor) -> float:
    """The mean of the right shares of the bands that have things."""
    return float(shares.diagonal()[shares.sum(dim=1) > 0].mean())


def mean_error(shares: Tensor) -> float:
    """In levels; the mean of the bands that have things."""
    levels = torch.arange(4)
    errors = (shares * (levels[:, None] - levels[None]).abs()).sum(dim=1)
    return float(errors[shares.sum(dim=1) > 0].mean())


def matched(boxes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the boxes (best first) find a thing that none before found, and which things are found; bool (n,) and (m,)."""
    hits, found = torch.zeros(len(boxes), dtype=torch.bool), torch.zeros(len(truth), dtype=torch.bool)
    if not len(truth):
        return hits, found
    overlaps = intersection_over_union(boxes, truth)
    for index, row in enumerate(overlaps):
        best, thing = row.masked_fill(found, 0).max(dim=0)
        if best >= 0.5:
            hits[index] = found[thing] = True
    return hits, found


def average_precision(hits: Tensor, scores: Tensor, things: int) -> float:
    """The area under precision over recall, precision made falling (the PASCAL VOC's way since 2010)."""
    order = scores.argsort(descending=True, stable=True)
    right = hits[order].double().cumsum(dim=0)
    recall = right / max(things, 1)
    precision = right / torch.arange(1, len(right) + 1)
    envelope = precision.flip(0).cummax(dim=0).values.flip(0)
    steps = torch.diff(recall, prepend=torch.zeros(1, dtype=recall.dtype))
    return float((envelope * steps).sum())


def _within(things: Things, cells: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """(B, h, w) bool: cells whose middles are in some box."""
    y = (torch.arange(cells[0], device=things.boxes.device) + 0.5) * size[0] / cells[0]
    x = (torch.arange(cells[1], device=things.boxes.device) + 0.5) * size[1] / cells[1]
    left, top, right, bottom = (side[..., None] for side in things.boxes.unbind(-1))  # (B, n, 1)
    rows, columns = (y > top) & (y < bottom), (x > left) & (x < right)  # (B, n, h), (B, n, w)
    return (rows[..., None] & columns[..., None, :] & things.present[..., None, None]).any(dim=1)


def _as_rows(shares: Tensor) -> Matrix:
    return tuple(tuple(float(share) for share in row) for row in shares)
