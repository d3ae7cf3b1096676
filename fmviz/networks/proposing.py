"""Which network a file of weights is for: the catalog's, ranked by how many keys and shapes agree."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from math import log
from pathlib import Path

import torch
from torch import nn

from fmviz.errors import BackboneError, WeightsError
from fmviz.networks import catalog
from fmviz.networks.backbone import Backbone
from fmviz.networks.checkpoints import Checkpoint, read_checkpoint
from fmviz.networks.fitting import Fit, best_fit, parts_of, told
from fmviz.without_values import without_values

MOST = 5
"""Networks that are proposed at most."""

MOST_ASKED = 12
"""Of torchvision's networks, which are built one by one until one agrees in all."""

LEAST = 0.3
"""Share of a network's tensors that must agree for it to be worth a word."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A network that a file may be for.

    Attributes:
        backbone: its name in the catalog, or that of one that is open.
        matched: how many of its tensors the file has, with their shapes; batch norm's counts of batches left out.
        total: how many it has.
        missing: how many of them the file lacks, or has in another shape.
        left_over: how many of the file's have no place in it.
        fits: whether it can be loaded.
        note: what the user should know, in a sentence or more; "" where all agree.
    """

    backbone: str
    matched: int
    total: int
    missing: int
    left_over: int
    fits: bool
    note: str

    @property
    def agreement(self) -> float:
        """Tensors that agree, of all that either has: 0–1."""
        return self.matched / max(1, self.total + self.left_over)

    @property
    def agrees(self) -> bool:
        """Whether the file is this network's and nothing else."""
        return self.fits and self.agreement == 1.0


def propose(path: str | os.PathLike[str], *, also: Sequence[tuple[Backbone, nn.Module]] = ()) -> tuple[Proposal, ...]:
    """The networks that the file at `path` may be for, best first; () where it is for none of them.

    torchvision's are asked only where none of ours, and none of `also`, takes all that is in the file but its head:
    importing it takes two seconds.

    Args:
        path: of the file.
        also: networks that are open and not in the catalog, as one of the user's own. One of them goes before those of
            the catalog that fit as well. They are left as they are.

    Raises:
        WeightsError: it is no file of weights, in one sentence.
    """
    checkpoint = read_checkpoint(Path(path))
    near = [*_fits_of_open(also, checkpoint), *_fits(_ours(), checkpoint)]
    found = [_proposal(name, fit, checkpoint) for name, fit in near]
    if not any(fit.fits and not fit.left_over for _, fit in near):
        for name, fit in _fits(_torchvisions(checkpoint), checkpoint):
            near.append((name, fit))
            found.append(_proposal(name, fit, checkpoint))
            if found[-1].agrees:
                break
    _check_whole(checkpoint, [fit for _, fit in near])
    worth = [one for one in found if one.matched and one.matched >= LEAST * one.total]
    return tuple(sorted(worth, key=lambda one: (not one.fits, -one.agreement))[:MOST])


def fitting_of_ours(checkpoint: Checkpoint) -> list[str]:
    """The names of our own networks that the file can be loaded into, best first."""
    found = [(_proposal(name, fit, checkpoint).agreement, name) for name, fit in _fits(_ours(), checkpoint) if fit.fits]
    return [name for _, name in sorted(found, key=lambda pair: -pair[0])]


def _ours() -> Iterable[str]:
    return (name for name in catalog.backbones() if catalog.backbone(name).group in ("papers", "article"))


def _torchvisions(checkpoint: Checkpoint) -> list[str]:
    """Those of about the right size, the nearest first. A file may lack its classifier, or have an average besides."""
    size = max(sum(tensor.numel() for tensor in table.tensors.values()) for table in checkpoint.tables)
    rows = [catalog.backbone(name) for name in catalog.backbones()]
    distances = {row.name: abs(log(row.parameters / max(1, size))) for row in rows if row.group == "torchvision"}
    near = sorted((distance, name) for name, distance in distances.items() if distance < log(4))
    return [name for _, name in near[:MOST_ASKED]]


def _fits_of_open(open_now: Sequence[tuple[Backbone, nn.Module]], checkpoint: Checkpoint) -> Iterable[tuple[str, Fit]]:
    for backbone, model in open_now:
        # A copy: to learn what it makes of the keys of its earlier versions, its own code for loading is run.
        with suppress(BackboneError):
            network = without_values(model, backbone.name)
            yield backbone.name, best_fit(network, checkpoint.tables, parts=parts_of(backbone, network))


def _fits(names: Iterable[str], checkpoint: Checkpoint) -> Iterable[tuple[str, Fit]]:
    for name in names:
        backbone, network = catalog.backbone(name), _without_values(name)
        found = best_fit(network, checkpoint.tables, parts=parts_of(backbone, network))
        if backbone.build_for is not None and not found.fits:
            with torch.device("meta"):
                network = backbone.build_for(found.inside)
            found = best_fit(network, checkpoint.tables, parts=parts_of(backbone, network))
        yield name, found


@cache
def _without_values(name: str) -> nn.Module:
    """On the meta device, where a network takes no memory to speak of, and some milliseconds."""
    backbone: Backbone = catalog.backbone(name)
    with torch.device("meta"):
        return backbone.build()


def _check_whole(checkpoint: Checkpoint, fits: Sequence[Fit]) -> None:
    """`WeightsError` where the file fits nothing, and the values of many of its tensors lie in other partitions."""
    tensors = checkpoint.tables[0].tensors.values()
    empty = sum(not tensor.numel() for tensor in tensors)
    if empty > 1 and 10 * empty >= len(tensors) and not any(fit.fits for fit in fits):
        raise WeightsError(
            f"{checkpoint.name} has {empty} tensors without values: they lie in the other partitions, as DeepSpeed's ZeRO-3 "
            "saves them; join these with its zero_to_fp32.py."
        )


def _proposal(name: str, found: Fit, checkpoint: Checkpoint) -> Proposal:
    note = (
        " ".join((*checkpoint.notes, *told(found, name, 0)))
        if found.fits
        else f"It cannot be loaded: {found.reasons()}."
    )
    return Proposal(
        backbone=name,
        matched=found.matched,
        total=found.total,
        missing=found.total - found.matched,
        left_over=found.astray,
        fits=found.fits,
        note=note,
    )
