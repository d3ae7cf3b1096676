"""Trained parameters that can be had for a network: where they come from, what they are fed, what they were trained on.

torchvision's are listed in an asset, made from its own metadata by `fmviz.networks.torchvision.index`, so that neither the
list of networks nor a download has to import torchvision (two seconds). A test holds the asset against the metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from fmviz.assets import asset
from fmviz.preprocess import Preprocessing

Kind = Literal["classification", "segmentation", "detection"]


@dataclass(frozen=True, slots=True)
class Offer:
    """A file of trained parameters.

    Attributes:
        name: what the user types: "IMAGENET1K_V2".
        url: where it is fetched from; "" where it comes in a package.
        file_name: its name in the cache, which is torch.hub's.
        sha256: the first hex digits of its SHA-256.
        nbytes: about how large it is.
        preprocessing: what these parameters want to be fed; None is what their network wants.
        classes: the list in `assets/classes` that says what the logits stand for; "" where there is none.
        top1: published top-1 accuracy on ImageNet's validation pictures, in percent.
        frozen_eps: eps of the body's batch norm in training, where it is not the network's own.
        head_parameters: of the detection head that a trained pyramid's file adds to the network; 0 where it has none.
    """

    name: str
    url: str = ""
    file_name: str = ""
    sha256: str = ""
    nbytes: int = 0
    preprocessing: Preprocessing | None = None
    classes: str = ""
    top1: float | None = None
    frozen_eps: float | None = None
    head_parameters: int = 0


@dataclass(frozen=True, slots=True)
class Published:
    """What torchvision publishes of one of its networks.

    Attributes:
        name: torchvision's.
        kind: what it is for.
        module: the file of torchvision that it is in: "resnet".
        parameters: how many, with the classifier of its weights.
        macs: multiply-accumulates at the size that its weights want.
        minimum_input: pixels that each side of its input must have at least.
        offers: best first.
    """

    name: str
    kind: Kind
    module: str
    parameters: int
    macs: int
    minimum_input: int
    offers: tuple[Offer, ...]


@cache
def published() -> Mapping[str, Published]:
    """torchvision's networks by their names."""
    rows = json.loads(asset("torchvision.json").read_text(encoding="utf-8"))["networks"]
    return {name: published_network(name, row) for name, row in rows.items()}


def published_network(name: str, row: dict[str, Any]) -> Published:
    """A network as the asset has it."""
    offers = tuple(_offer(offer) for offer in row["weights"])
    facts = (row["kind"], row["module"], row["parameters"], row["macs"], row["minimum_input"])
    return Published(name, *facts, offers)


def _offer(offer: dict[str, Any]) -> Offer:
    wanted = dict(offer["preprocessing"])
    for colours in ("mean", "std"):
        wanted[colours] = tuple(wanted[colours])
    return Offer(**{**offer, "preprocessing": Preprocessing(**wanted)})
