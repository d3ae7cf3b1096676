"""How far a pyramid is from what it should say: what is found, where it ends, and how quiet the levels are elsewhere.

The first two are any detector's. The others make the maps themselves, and not only what a head reads out of them, answer
to things by their size: they are about n, the root of the mean of the squares of a cell's channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fmviz.training.targets import BACKGROUND, DOUBT, IGNORED, LIMITS, Targets, Things, level_of

SHARPNESS = 5.0
"""What n is multiplied by to be a logit: cells are to be near 0 or near 1."""


def focal_loss(
    logits: Tensor, kinds: Tensor, *, alpha: float = 0.25, gamma: float = 2.0, background: float = 1.0
) -> Tensor:
    """The sum over all cells that count (Lin et al., 1708.02002, equation 5).

    Args:
        logits: (B, kinds, h, w)
        kinds: (B, h, w) int64, see `Targets`.
        background: how many cells each cell without a thing stands for.
    """
    wanted = torch.arange(logits.shape[1], device=kinds.device)[None, :, None, None] == kinds[:, None]
    truth = wanted.to(logits.dtype)
    # 1 - p of the truth is what is still wrong; log(p) of the truth comes stable out of the logits.
    wrong = torch.sigmoid(torch.where(wanted, -logits, logits))
    weight = alpha * truth + (1 - alpha) * (1 - truth)
    loss = weight * wrong**gamma * F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    counts = torch.where(kinds == BACKGROUND, background, (kinds != IGNORED).to(logits.dtype))
    return (loss * counts[:, None]).sum()


def giou_loss(distances: Tensor, wanted: Tensor) -> Tensor:
    """1 - GIoU (Rezatofighi et al., 1902.09630) of boxes about the same points; (n,) from 0 to 2.

    Args:
        distances, wanted: (n, 4), from the point to left, top, right and bottom, above 0.
    """
    area = _area(distances)
    wanted_area = _area(wanted)
    shared = _area(torch.minimum(distances, wanted))
    union = area + wanted_area - shared
    around = _area(torch.maximum(distances, wanted))
    return 1 - (shared / union - (around - union) / around)


def quiet_loss(loudness: Sequence[Tensor], targets: Sequence[Targets], valid: Sequence[Tensor]) -> Tensor:
    """How loud the levels are on the background and on other levels' things, and how far below 1 on their own.

    Args:
        loudness: n of each level, (B, h, w).
        targets: of each level.
        valid: of each level, (B, h, w) bool: the cells that count.
    """
    empty = torch.stack([_mean(n, t.empty & v) for n, t, v in zip(loudness, targets, valid, strict=True)]).mean()
    others = torch.stack([_mean(n, t.others & v) for n, t, v in zip(loudness, targets, valid, strict=True)]).mean()
    own = torch.cat([F.relu(1 - n)[(t.kinds >= 0) & v] for n, t, v in zip(loudness, targets, valid, strict=True)])
    return empty + others + (own.mean() if len(own) else own.sum())


def level_loss(at_centres: Tensor, things: Things, available: Tensor) -> Tensor:
    """The cross-entropy between the level that says most at the middle of a thing and the one that it belongs to.

    Args:
        at_centres: (B, n, 4): what each level says at the things' middles, as logits.
        available: (B, n, 4) bool: where that is known.
    """
    logits = at_centres.masked_fill(~available, -1e4)
    wanted = level_shares(things.sizes)
    counted = things.present & ((wanted > 0) <= available).all(dim=-1) & (available.sum(dim=-1) > 1)
    if not counted.any():
        return at_centres.sum() * 0
    return F.cross_entropy(logits[counted], wanted[counted].to(logits.dtype))


def level_shares(sizes: Tensor) -> Tensor:
    """(…) √(width × height) -> (…, 4): how much a thing belongs to each level: to one alone, or near a limit to two."""
    lower = torch.tensor(LIMITS, device=sizes.device, dtype=sizes.dtype)
    # How far beyond each limit: 0 well below it, 0.5 on it, 1 well above.
    beyond = ((sizes[..., None] / lower - 1) / (2 * DOUBT) + 0.5).clamp(0, 1)
    ones, zeros = torch.ones_like(beyond[..., :1]), torch.zeros_like(beyond[..., :1])
    return torch.cat((ones, beyond), dim=-1) - torch.cat((beyond, zeros), dim=-1)


def loudness(level: Tensor) -> Tensor:
    """(B, channels, h, w) -> (B, h, w): the root of the mean of the squares over the channels."""
    # Its slope at 0 would be infinite.
    return (level.square().mean(dim=1) + 1e-8).sqrt()


def at_centres(maps: Tensor, things: Things, size: tuple[float, float]) -> Tensor:
    """(B, h, w) -> (B, n): the values at the middles of the things, between cells by bilinear interpolation."""
    scale = torch.tensor((size[1], size[0]), device=maps.device, dtype=maps.dtype)
    grid = (things.centres.to(maps.dtype) / scale * 2 - 1)[:, :, None]  # (B, n, 1, 2)
    return F.grid_sample(maps[:, None], grid, padding_mode="border", align_corners=False)[:, 0, :, 0]


__all__ = ["at_centres", "focal_loss", "giou_loss", "level_loss", "level_of", "level_shares", "loudness", "quiet_loss"]


def _area(distances: Tensor) -> Tensor:
    left, top, right, bottom = distances.unbind(-1)
    return (left + right) * (top + bottom)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Of the values at `where`; 0 where that is nowhere."""
    return (values * where).sum() / where.sum().clamp(min=1)
