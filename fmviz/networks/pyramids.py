"""Pyramids that were trained on drawn shapes: small files without a body, which say over which body they were trained.

One comes with fmviz; others the user has trained. Each is on offer for its network, under its name; the body's values are
taken from where they were when it was trained.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache as remembered
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fmviz.assets import asset
from fmviz.errors import ExportError
from fmviz.networks.backbone import Backbone
from fmviz.networks.checkpoints import LARGEST_HEADER
from fmviz.networks.offers import Offer
from fmviz.places import data_folder

NAME = "shapes"
"""What such weights are called where they have no other name."""

KEY = "fmviz"
"""The key of a safetensors file's metadata that holds its facts: see `fmviz.writing.KEY`, which takes longer to import."""

TRAINED_ON = "drawn shapes"

LICENCE = "CC0-1.0"

SUFFIX = "_fpn"
"""What the name of a network with a pyramid ends in."""


@dataclass(frozen=True, slots=True)
class BodyWeights:
    """The body that a pyramid was trained over.

    Attributes:
        backbone: its name, without a pyramid.
        weights: the name of the offer, or of the file.
        sha256: of their file, in hex.
        path: of the file, where it is no offer's.
    """

    backbone: str
    weights: str
    sha256: str
    path: str = ""

    def describe(self) -> dict[str, str]:
        return {
            "backbone": self.backbone,
            "weights": self.weights,
            "sha256": self.sha256,
            **({"path": self.path} if self.path else {}),
        }


# The file


def write(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
    """A pyramid in float16, with its facts and the SHA-256 of its values; the path. `ExportError` where it cannot be."""
    from fmviz.arrays import write_safetensors

    halved = {key: tensor.detach().cpu().to(torch.float16).contiguous() for key, tensor in sorted(tensors.items())}
    arrays = {key: tensor.numpy() for key, tensor in halved.items()}
    return write_safetensors(path, arrays, {"kind": "pyramid", "sha256": checksum(halved), **facts})


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of the values' bytes, in the order of their keys, in hex."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(tensors[key].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file; {} where the file has none that can be read."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 2 <= length <= LARGEST_HEADER else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


def facts_of(path: Path) -> dict[str, Any] | None:
    """What a safetensors file of ours says of itself; None where it is none."""
    try:
        facts = json.loads(_header(path)["__metadata__"][KEY])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None


def head_parameters(path: Path) -> int:
    """How many parameters the detection head in a pyramid's file has; 0 where it has none."""
    try:
        shapes = [entry["shape"] for key, entry in _header(path).items() if key.startswith("head.")]
        return sum(math.prod(shape) for shape in shapes)
    except (KeyError, TypeError):
        return 0


def backbone_of(path: Path) -> str:
    """The network, with its pyramid, that a pyramid's file is for; "" where it is no such file."""
    facts = facts_of(path)
    body = body_of(facts) if facts is not None and facts.get("kind") == "pyramid" else None
    return f"{body.backbone}{SUFFIX}" if body is not None else ""


def trained_on(path: Path) -> str:
    """What the pyramid in a file was trained on, where the file says so; else ""."""
    facts = facts_of(path)
    known = facts.get("trained_on") if facts is not None and facts.get("kind") == "pyramid" else None
    return known if isinstance(known, str) else ""


def note(trained_on: str) -> str:
    """What the user should know of a pyramid that was trained on that."""
    return f"The pyramid is trained on {trained_on}, not on COCO."


def body_of(facts: Mapping[str, Any]) -> BodyWeights | None:
    """The body that a file's facts name; None where they name none."""
    body = facts.get("body")
    if not isinstance(body, dict) or not all(isinstance(value, str) for value in body.values()):
        return None
    try:
        return BodyWeights(**body)
    except TypeError:
        return None


# On offer


def folder() -> Path:
    """Where the user's own pyramids are kept; it need not exist. `FMVIZ_DATA_HOME` names another place.

    Raises:
        ExportError: the user has no home.
    """
    return data_folder() / "pyramids"


def place_for(backbone: str, name: str = "") -> Path:
    """Where a pyramid of the user's for this backbone (with or without “_fpn”) is kept, so that it is on offer after."""
    stem = backbone.removesuffix(SUFFIX)
    return folder() / (f"{stem}.{name}.safetensors" if name and name != NAME else f"{stem}.safetensors")


def with_trained(row: Backbone) -> Backbone:
    """The row of a network with a pyramid, with those on offer that the user has trained for it."""
    if row.group != "papers" or not row.pyramid:
        return row
    stem = row.name.removesuffix(SUFFIX)
    try:
        files = sorted(folder().glob(f"{stem}*.safetensors"))
    except (OSError, ExportError):
        return row
    found = [_offer(row, path) for path in files if path.stem == stem or path.stem.startswith(f"{stem}.")]
    theirs = [offer for offer in found if offer is not None]
    if not theirs:
        return row
    # Offers without classes are detectors', whose pyramid is trained on photographs; the others have none.
    better = tuple(offer for offer in row.offers if offer.name == NAME or not offer.classes)
    return replace(row, offers=(*better, *theirs, *(offer for offer in row.offers if offer not in better)))


def _offer(row: Backbone, path: Path) -> Offer | None:
    stem = row.name.removesuffix(SUFFIX)
    name = path.stem.removeprefix(stem).removeprefix(".") or NAME
    if row.offer(name) is not None:
        name = f"{name} (own)"
    if backbone_of(path) != row.name:
        return None
    facts = facts_of(path)
    body = body_of(facts) if facts is not None else None
    of = row.offer(body.weights) if body is not None else None
    return Offer(
        name=name,
        file_name=str(path),
        nbytes=path.stat().st_size,
        preprocessing=of.preprocessing if of else None,
        classes=of.classes if of else row.offers[0].classes if row.offers else "",
        head_parameters=head_parameters(path),
    )


@remembered
def shipped(backbone: str) -> Offer | None:
    """The pyramid for this backbone (without “_fpn”) that comes with fmviz, or None."""
    name = f"pyramids/{backbone}.safetensors"
    path = asset(name)
    if not path.is_file():
        return None
    return Offer(
        name=NAME, file_name=name, nbytes=path.stat().st_size, classes="imagenet", head_parameters=head_parameters(path)
    )
