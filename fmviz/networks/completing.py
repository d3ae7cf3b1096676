"""A pyramid's file without a body gets its body's values, from where they were when it was trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch

from fmviz.errors import WeightsError
from fmviz.networks import cache, catalog
from fmviz.networks.backbone import Backbone
from fmviz.networks.checkpoints import Checkpoint, read_checkpoint
from fmviz.networks.fitting import best_fit
from fmviz.networks.network import StagedNetwork
from fmviz.networks.pyramids import SUFFIX, BodyWeights, body_of, checksum, facts_of
from fmviz.networks.tables import Table


def completed(backbone: Backbone, path: Path, checkpoint: Checkpoint) -> Checkpoint:
    """The file's content with the body's values, where it is a pyramid alone; else as it is.

    Raises:
        WeightsError: it is for another network, was changed, or its body is not here.
    """
    facts = facts_of(path)
    if facts is None or facts.get("kind") != "pyramid":
        return checkpoint
    body = body_of(facts)
    tensors = dict(checkpoint.tables[0].tensors)
    if body is None or facts.get("sha256") != checksum(tensors):
        raise WeightsError(f"{path.name} is broken or was changed: train it again, or choose another file.")
    if f"{body.backbone}{SUFFIX}" != backbone.name:
        raise WeightsError(
            f"{path.name} was not made for {backbone.name}: it is a pyramid for {body.backbone}{SUFFIX}."
        )
    row = catalog.backbone(body.backbone)
    with torch.device("meta"):
        network = row.build()
    found = best_fit(network, _body_file(row, body, path.name).tables, parts={"classifier": _classifier(network)})
    whole = {f"body.{key}": tensor for key, tensor in found.state.items()} | tensors
    return replace(checkpoint, tables=(Table("", whole),))


def _classifier(network: torch.nn.Module) -> str:
    assert isinstance(network, StagedNetwork)
    return network.parts["classifier"]


def _body_file(row: Backbone, body: BodyWeights, name: str) -> Checkpoint:
    """The file of the body's values, the same as when the pyramid was trained."""
    for path in _candidates(row, body):
        if path.is_file() and (checkpoint := read_checkpoint(path)).checksum.sha256 == body.sha256:
            return checkpoint
    where = (
        f"`fmviz weights fetch {row.name} {body.weights}` fetches them" if not body.path else f"put it at {body.path}"
    )
    raise WeightsError(
        f"{name} is a pyramid over the weights {body.weights} of {row.name} (SHA-256 {body.sha256[:12]}…), which are not "
        f"on this computer: {where}."
    )


def _candidates(row: Backbone, body: BodyWeights) -> Iterable[Path]:
    """Where the body's file may be, the likeliest first."""
    offer = row.offer(body.weights)
    if body.path:
        yield Path(body.path)
    for known in (*((offer,) if offer else ()), *row.offers):
        if cache.is_here(known) and body.sha256.startswith(known.sha256):
            yield cache.path_of(known)
