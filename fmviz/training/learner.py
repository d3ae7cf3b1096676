"""The pyramid and its head while they learn, and one step of that.

P2 has more cells than all other levels together, and most of them are background: of each scene it learns from a window of
its map only, mostly about a small thing. That halves the time of a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmviz.networks.fpn import NARROW, FeaturePyramid, PyramidHead
from fmviz.training import losses
from fmviz.training.features import Cache
from fmviz.training.scenes import SIZE
from fmviz.training.targets import IGNORED, LEVELS, Targets, Things, level_of, targets, things

WINDOW = 36
"""Cells of the window's sides."""

REACH = 3
"""Cells that a cell of the head's output sees around itself: so near to a window's edge they see what is not there."""

ABOUT_A_THING = 0.7
"""The share of windows that are about a small thing, where there is one."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides how it learns.

    Attributes:
        batch: scenes of a step.
        rate: AdamW's learning rate at its highest.
        decay: AdamW's weight decay.
        warm_up: steps over which the rate rises; a cosine brings it down to 0.
        clip: the largest norm of the gradient.
        averaging: the share of the running average that is kept at every step.
        quiet: the weight of `quiet_loss`.
        levels: the weight of `level_loss` by how loud the levels are.
        seen: its weight by how surely the head sees something.
    """

    batch: int = 16
    rate: float = 2e-3
    decay: float = 1e-3
    warm_up: int = 100
    clip: float = 5.0
    averaging: float = 0.998
    quiet: float = 0.5
    levels: float = 0.3
    seen: float = 0.3

    def describe(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some scenes' stages, standardised, float32, on the learner's device.

    Attributes:
        windows: (B, channels, side, side) of C2.
        stages: C3–C5.
        corners: (B, 2) int64: row and column of C2 at which each window begins.
        cells: (h, w) of C2–C5.
        things: all things on the scenes.
    """

    windows: Tensor
    stages: list[Tensor]
    corners: Tensor
    cells: list[tuple[int, int]]
    things: Things


class Learner(nn.Module):
    """A pyramid and a head, from standardised stages.

    Args:
        channels: of C2–C5.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.fpn = FeaturePyramid(channels, width=NARROW, sixth=False)
        self.head = PyramidHead(NARROW)
        for convolution in (module for module in self.fpn.modules() if isinstance(module, nn.Conv2d)):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        self.head.initialise()

    def levels(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """C2–C5 -> P2–P5, (B, width, h, w) each."""
        return list(self.fpn(dict(zip(("C2", "C3", "C4", "C5"), stages, strict=True))).values())

    def windowed(self, batch: Batch) -> list[Tensor]:
        """P2 in its windows, and P3–P5: what `levels` makes of the stages, but for the windows' edges."""
        merge, laterals, outputs = self.fpn.top_down, self.fpn.inner_blocks, self.fpn.layer_blocks
        m5 = laterals[3](batch.stages[2])
        m4 = merge["M4"](laterals[2](batch.stages[1]), m5)
        m3 = merge["M3"](laterals[1](batch.stages[0]), m4)
        enlarged = cut(F.interpolate(m3, size=batch.cells[0]), batch.corners, batch.windows.shape[-1])
        m2 = laterals[0](batch.windows) + enlarged
        return [output(merged) for output, merged in zip(outputs, (m2, m3, m4, m5), strict=True)]

    def loss(self, batch: Batch, recipe: Recipe) -> tuple[Tensor, dict[str, float]]:
        """What is to become less, and its parts by name."""
        levels = self.windowed(batch)
        wanted, valid = _wanted(batch)
        seen = [self.head.read(self.head(level)) for level in levels]
        found = [target.kinds >= 0 for target in wanted]
        found = [where & counted for where, counted in zip(found, valid, strict=True)]
        count = sum(int(where.sum()) for where in found) or 1
        # The background of a window stands for that of its whole map: else P2 takes parts of large things for small ones.
        stands_for = [
            h * w / float(c.sum(dim=(1, 2)).float().mean()) for (h, w), c in zip(batch.cells, valid, strict=True)
        ]
        focal = torch.stack(
            [
                losses.focal_loss(logits, target.kinds.masked_fill(~counted, IGNORED), background=many)
                for (logits, _), target, counted, many in zip(seen, wanted, valid, stands_for, strict=True)
            ]
        ).sum()
        boxes = torch.cat([d.permute(0, 2, 3, 1)[where] for (_, d), where in zip(seen, found, strict=True)])
        right = torch.cat([t.distances.permute(0, 2, 3, 1)[where] for t, where in zip(wanted, found, strict=True)])
        loudness = [losses.loudness(level) for level in levels]
        parts = {
            "focal": focal / count,
            "boxes": losses.giou_loss(boxes, right).sum() / count,
            "quiet": losses.quiet_loss(loudness, wanted, valid),
            "levels": _level_loss(batch, loudness, wanted, valid),
            "seen": _seen_loss(batch, [logits for logits, _ in seen], valid),
        }
        weights = {"quiet": recipe.quiet, "levels": recipe.levels, "seen": recipe.seen}
        total = torch.stack([weights.get(name, 1.0) * part for name, part in parts.items()]).sum()
        return total, {name: float(part.detach()) for name, part in parts.items()}


def _level_loss(batch: Batch, loudness: Sequence[Tensor], wanted: Sequence[Targets], valid: Sequence[Tensor]) -> Tensor:
    """By how loud the levels are at the things' middles, compared with their background."""
    backgrounds = []
    for maps, target, counted in zip(loudness, wanted, valid, strict=True):
        quiet = target.empty & counted
        # Held fast: else it would be as good to make the background louder where a level should not be loud.
        backgrounds.append(((maps * quiet).sum(dim=(1, 2)) / quiet.sum(dim=(1, 2)).clamp(min=1)).detach())
    values, available = _at_middles(batch, loudness, valid)
    return losses.level_loss(
        losses.SHARPNESS * (values - torch.stack(backgrounds, dim=-1)[:, None]), batch.things, available
    )


def _seen_loss(batch: Batch, logits: Sequence[Tensor], valid: Sequence[Tensor]) -> Tensor:
    """By how surely the head sees a thing of whatever kind there."""
    values, available = _at_middles(batch, [of_level.logsumexp(dim=1) for of_level in logits], valid)
    return losses.level_loss(values, batch.things, available)


def _at_middles(batch: Batch, maps: Sequence[Tensor], valid: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """(B, h, w) of each level -> their values at the things' middles, and where these are known; (B, n, 4) each."""
    values, available = [], []
    cell = SIZE / batch.cells[0][0], SIZE / batch.cells[0][1]
    for level, (level_maps, counted) in enumerate(zip(maps, valid, strict=True)):
        here, size, known = batch.things, (float(SIZE), float(SIZE)), batch.things.present
        if level == 0:
            side = level_maps.shape[-1]
            shift = batch.corners.flip(1) * torch.tensor((cell[1], cell[0]), device=level_maps.device)
            here = Things(here.boxes - shift.repeat(1, 2)[:, None], here.kinds)
            size = (side * cell[0], side * cell[1])
            limit = torch.tensor((size[1], size[0]), device=level_maps.device)
            inside = ((here.centres > 0) & (here.centres < limit)).all(dim=-1)
            known = known & inside & (losses.at_centres(counted.float(), here, size) == 1)
        values.append(losses.at_centres(level_maps, here, size))
        available.append(known)
    return torch.stack(values, dim=-1), torch.stack(available, dim=-1)


def _wanted(batch: Batch) -> tuple[list[Targets], list[Tensor]]:
    """The targets of each level, and which of its cells count, (B, h, w) bool."""
    side = batch.windows.shape[-1]
    corner = torch.cat((batch.corners, torch.full_like(batch.corners[:, :1], side)), dim=1)
    wanted = [
        targets(batch.things, level, cells=cells, size=(SIZE, SIZE), corner=corner if level == 0 else None)
        for level, cells in enumerate(batch.cells)
    ]
    valid = [torch.ones_like(target.empty) for target in wanted]
    steps = torch.arange(side, device=batch.corners.device)
    inside = []
    for axis in (0, 1):
        begins, ends = batch.corners[:, axis, None], batch.corners[:, axis, None] + side
        # At the map's own edge there is nothing that is not seen.
        inside.append(((steps >= REACH) | (begins == 0)) & ((steps < side - REACH) | (ends == batch.cells[0][axis])))
    valid[0] = inside[0][:, :, None] & inside[1][:, None, :]
    return wanted, valid


def cut(maps: Tensor, corners: Tensor, side: int) -> Tensor:
    """(B, channels, h, w) -> (B, channels, side, side): of each map the part that begins at (row, column)."""
    steps = torch.arange(side, device=maps.device)
    rows = (corners[:, 0, None] + steps)[:, None, :, None]
    columns = (corners[:, 1, None] + steps)[:, None, None, :]
    batch = torch.arange(len(maps), device=maps.device)[:, None, None, None]
    channels = torch.arange(maps.shape[1], device=maps.device)[None, :, None, None]
    return maps[batch, channels, rows, columns]


def batch_of(cache: Cache, random: np.random.Generator, numbers: Sequence[int], device: torch.device) -> Batch:
    """The scenes with these numbers, each with a window chosen by `random`, about a small thing mostly."""
    boxes = [cache.boxes[number] for number in numbers]
    on_them = things(
        [torch.from_numpy(box) for box in boxes], [torch.from_numpy(cache.kinds[number]) for number in numbers]
    )
    side = min(WINDOW, *cache.cells[0])
    corners = np.stack([_corner(random, box, cache.cells[0], side) for box in boxes])
    stages = [cache.stage(level, numbers) for level in (1, 2, 3)]
    return Batch(
        windows=cache.windows(0, numbers, corners, side).to(device).float(),
        stages=[stage.to(device).float() for stage in stages],
        corners=torch.from_numpy(corners).to(device),
        cells=cache.cells,
        things=Things(on_them.boxes.to(device), on_them.kinds.to(device)),
    )


def _corner(
    random: np.random.Generator, boxes: npt.NDArray[np.float32], cells: tuple[int, int], side: int
) -> npt.NDArray[np.int64]:
    """(2,): the row and column at which a window begins."""
    room = np.array(cells) - side
    sizes = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    small = np.flatnonzero(level_of(torch.from_numpy(sizes)).numpy() == 0)
    anywhere = random.integers(0, room + 1)
    chance, chosen, jitter = random.random(), random.random(), random.integers(-side // 4, side // 4 + 1, 2)
    if not len(small) or chance > ABOUT_A_THING:
        return anywhere
    box = boxes[small[int(chosen * len(small))]]
    middle = np.array((box[1] + box[3], box[0] + box[2])) / 2 / SIZE * np.array(cells)
    corner: npt.NDArray[np.int64] = np.clip(np.round(middle - side / 2).astype(np.int64) + jitter, 0, room)
    return corner


def average_into(average: Mapping[str, Tensor], now: Mapping[str, Tensor], *, keep: float) -> None:
    """average ← keep · average + (1 - keep) · now"""
    for key, tensor in average.items():
        tensor.lerp_(now[key].detach(), 1 - keep)


__all__ = ["LEVELS", "Batch", "Learner", "Recipe", "average_into", "batch_of"]
