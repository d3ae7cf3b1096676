"""What a row of the catalog is: a network with all that it takes to build, feed, load and look into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor, nn

from fmviz.networks.offers import Offer
from fmviz.preprocess import Preprocessing
from fmviz.tokens import Finder

RANDOM = "random"
"""The name of the weights that every network has: initialised from a seed."""

Group = Literal["papers", "article", "torchvision", "timm", "own"]
"""What the networks are listed under, in this order."""


_WHY_ONLY: Mapping[Group, str] = {
    "article": "its classifier is a linear layer that counts on the 4 × 4 cells which the last map then has"
}
"""Why the networks of a group that take one size only do, where they do not say so themselves."""


def the_tensor_alone(x: Tensor) -> tuple[Any, ...]:
    """What most networks are called with: the (1, 3, h, w) tensor."""
    return (x,)


@dataclass(frozen=True, eq=False)
class Backbone:
    """A row of the catalog. Making one builds nothing and imports nothing heavy: there are hundreds.

    Attributes:
        name: what the user types: "resnet50_fpn", "torchvision/swin_t".
        family: what it is listed under within its group.
        paper, year: its arXiv number, and the year in which it came out there; "" and 0 where there is none.
        build: the network on the ambient device, initialised from the ambient generator; under `torch.device("meta")`
            without values, and quickly.
        parameters: how many it has; 0 where that is not known before it is built.
        preprocessing: what it wants to be fed where its weights do not say otherwise.
        find_taps: finds `taps`; asked once.
        offers: trained weights that can be had, best first.
        pyramid: whether it has a feature pyramid.
        minimum_input: pixels that each side of its input must have at least.
        group: see `Group`.
        macs: multiply-accumulates at its own input size, where published.
        about: what the user should know of this network, a sentence or two: how it differs from its paper, say.
        arguments: what its forward is called with, from a (1, 3, h, w) tensor.
        parts: of a network that is not ours, what a weights file may lack as a whole: "classifier" -> path.
        only_input: pixels of each side of its input, where it takes no other; 0 where it does.
        token_grid: for a size (height, width) of its input, what tells where the values of its layers lie on it.
        build_for: the network that a file's tensors, by their keys, are for: where there is more than one of this name.
        finish: what is still to be done to a network after its weights were loaded, those of an offer or others.
        why_only: why it takes no other: "its windows are made for that size".
        by_values: whether what it computes depends on the values it finds, as in choosing boxes: without values it then
            runs up to there.
        channels: of its input, if it is not one of the user's own.
    """

    name: str
    family: str
    paper: str
    year: int
    build: Callable[[], nn.Module]
    parameters: int
    preprocessing: Preprocessing
    find_taps: Callable[[], Mapping[str, str]]
    offers: tuple[Offer, ...] = ()
    pyramid: bool = False
    minimum_input: int = 1
    group: Group = "papers"
    macs: int | None = None
    about: str = ""
    arguments: Callable[[Tensor], tuple[Any, ...]] = the_tensor_alone
    parts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    only_input: int = 0
    token_grid: Callable[[tuple[int, int]], Finder] | None = None
    build_for: Callable[[Mapping[str, Tensor]], nn.Module] | None = None
    finish: Callable[[nn.Module, Offer | None], None] | None = None
    by_values: bool = False
    why_only: str = ""
    channels: int = 3

    @cached_property
    def taps(self) -> Mapping[str, str]:
        """C2–C5, and M2–M5 and P2–P6 where it has a pyramid, in this order -> path of the module that puts it out.

        Those of other people's networks are found by one run on the meta device. A stage that a network does not have is
        not there.
        """
        return MappingProxyType(dict(self.find_taps()))

    @property
    def weights(self) -> tuple[str, ...]:
        """The names of the weights that can be had, best first; "random" last."""
        return (*(offer.name for offer in self.offers), RANDOM)

    def why_not(self, size: tuple[int, int]) -> str:
        """A sentence on why it cannot run on an input of `size` (height, width); "" where it can."""
        start = f"{self.name} cannot run on an input of {size[0]} × {size[1]} pixels: "
        if self.only_input and size != (self.only_input, self.only_input):
            because = self.why_only or _WHY_ONLY.get(self.group, "")
            return (
                f"{start}it takes {self.only_input} × {self.only_input} and no other{because and f', for {because}'}; "
                "choose the crop of that size."
            )
        if min(size) < self.minimum_input:
            # Of a strip, a size whose shorter side is long enough would be a poster.
            remedy = "a larger size" if max(size) <= 8 * min(size) else "a crop, whose sides are equal"
            return f"{start}it needs at least {self.minimum_input} on each side; choose {remedy}."
        return ""

    def offer(self, name: str) -> Offer | None:
        """The offer called `name`, upper case or lower."""
        return next((offer for offer in self.offers if offer.name.casefold() == name.casefold()), None)
