"""`fmviz backbones`: the networks that there are, in their groups, and where their weights are."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fmviz.networks.backbone import Backbone
    from fmviz.networks.offers import Offer


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="fmviz backbones", description="List the networks that there are, with parameters, paper and weights."
    )


GROUPS = {
    "papers": "After their papers",
    "article": "After the founding article",
    "torchvision": "torchvision's",
    "timm": "timm's",
    "own": "Your own",
}


def _run(options: argparse.Namespace) -> int:
    from itertools import groupby

    from fmviz.networks.catalog import backbone, backbones

    rows = [backbone(name) for name in backbones()]
    width = max(len(row.name) for row in rows)
    for group, members in groupby(rows, lambda row: row.group):
        print(f"{GROUPS[group]}:")
        for row in members:
            print(f"  {row.name:{width}}  {_numbers(row)}  {_offered(row)}")
        print()
    print("● on this computer   ↓ to be fetched   ○ none but random ones, which every network has")
    return 0


def _numbers(row: Backbone) -> str:
    """Parameters, year and paper in columns; blank where there is none."""
    parameters = f"{row.parameters:,}" if row.parameters else ""
    paper = f"arXiv {row.paper}" if row.paper else ""
    return f"{parameters:>13}  {row.year or '':>4}  {paper:16}"


def _offered(row: Backbone) -> str:
    """ "● IMAGENET1K_V2, ↓ IMAGENET1K_V1 (98 MB)" """
    return ", ".join(map(_offer, row.offers)) or "○"


def _offer(offer: Offer) -> str:
    from fmviz.networks.cache import is_here

    return f"● {offer.name}" if is_here(offer) else f"↓ {offer.name} ({offer.nbytes / 1e6:.0f} MB)"


COMMAND = _parser, _run
"""As `fmviz.cli` has its commands."""
