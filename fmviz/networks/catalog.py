"""Every backbone by name: how it is built, what it wants to be fed, which weights are on offer, where its taps are."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from fmviz.errors import BackboneError
from fmviz.networks import papers, pyramids
from fmviz.networks.backbone import Backbone
from fmviz.own_model import PREFIX


def backbones() -> tuple[str, ...]:
    """The names of all backbones, in the order in which they are offered; the first is what fmviz starts with.

    Those of the papers, the article's, torchvision's. timm's, hundreds, are in `fmviz.networks.timm.names()`.
    """
    from fmviz.networks import torchvision

    return (*_CATALOG, *(row.name for row in torchvision.rows()))


def backbone(name: str) -> Backbone:
    """The backbone called `name`: one of `backbones()`, "timm/NAME", or "own:FILE.py:FUNCTION".

    Raises:
        BackboneError: there is none such; the message names the nearest ones.
        TrustError: it is in a file of code that the user has not said they trust.

    Example:
        >>> backbone("resnet50").taps["C3"]
        'layer2'
    """
    if name in _CATALOG:
        return pyramids.with_trained(_CATALOG[name])
    if (elsewhere := _elsewhere(name)) is not None:
        return elsewhere
    close = difflib.get_close_matches(name.lower(), backbones(), n=3)
    remedy = f"did you mean {' or '.join(close)}?" if close else "“fmviz backbones” lists them all."
    raise BackboneError(f"There is no backbone “{name}”: {remedy}")


def _elsewhere(name: str) -> Backbone | None:
    """Other people's, by what their names begin with. Imported here: most programs need none of them."""
    group, _, rest = name.partition("/")
    if name.startswith(PREFIX):
        from fmviz.networks import own

        return own.backbone(name)
    if group == "torchvision":
        from fmviz.networks import torchvision

        return torchvision.backbone(rest)
    if group == "timm":
        from fmviz.networks import timm

        return timm.backbone(rest)
    return None


_CATALOG: Mapping[str, Backbone] = MappingProxyType({row.name: row for row in papers.rows()})
