"""`fmviz backbones`: the networks that there are, in their groups, and where their weights are."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fmviz.errors import BackboneError

if TYPE_CHECKING:
    from fmviz.networks.backbone import Backbone
    from fmviz.networks.offers import Offer


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fmviz backbones",
        description="List the networks that there are, with parameters, paper and weights.",
        epilog="Examples: fmviz backbones resnet 2015; fmviz backbones timm convnext",
    )
    parser.add_argument(
        "words",
        metavar="WORD",
        nargs="*",
        help="only networks that have all these words in their name, family, group, paper, year or weights; "
        "the word timm lists timm's by name, which takes some seconds",
    )
    return parser


GROUPS = {
    "papers": "After their papers",
    "article": "After the founding article",
    "torchvision": "torchvision's",
    "timm": "timm's",
    "own": "Your own",
}
LEGEND = "● on this computer   ↓ to be fetched   ○ none but random ones, which every network has"
LEFT_OUT = (
    "Left out of torchvision's: those for video and for optical flow, which take several pictures where fmviz shows what "
    "becomes of one; and those in 8-bit integers, whose layers keep no values to be drawn."
)


def _run(options: argparse.Namespace) -> int:
    words = [word.casefold().removesuffix("/") for word in options.words]
    if any(word.partition("/")[0] == "timm" for word in words):
        _list_timms([word.removeprefix("timm").removeprefix("/") for word in words])
    else:
        _list(words)
    return 0


def _list(words: Sequence[str]) -> None:
    from itertools import groupby

    from fmviz.networks.catalog import backbone, backbones

    rows = [row for row in map(backbone, backbones()) if all(word in _described(row) for word in words)]
    if not rows:
        raise BackboneError(
            f"No network has all of “{' '.join(words)}” in its name, family, group, paper, year or weights: use fewer words."
        )
    width = max(len(row.name) for row in rows)
    for group, members in groupby(rows, lambda row: row.group):
        print(f"{GROUPS[group]}:")
        for row in members:
            print(f"  {row.name:{width}}  {_numbers(row)}  {_offered(row)}")
        print()
    print(LEGEND)
    print(_about_timm(words))
    print(LEFT_OUT)


def _described(row: Backbone) -> str:
    """All that a word may be found in."""
    weights = (offer.name for offer in row.offers)
    parts = (row.name, row.family, GROUPS[row.group], row.paper, str(row.year or ""), *weights)
    return " ".join(parts).casefold()


def _about_timm(words: Sequence[str]) -> str:
    from fmviz.networks import timm

    if not timm.installed():
        return "timm/…: some thousand networks more with timm, which is not installed: pip install “fmviz[timm]”."
    command = " ".join(["fmviz backbones timm", *words])
    return (
        f"timm/…: timm is installed; “{command}” lists {'what it has with these words' if words else 'its networks'}."
    )


def _list_timms(words: Sequence[str]) -> None:
    """Their names in columns. They are too many to be built, which is how one learns more of them."""
    from fmviz.networks import timm

    if not timm.installed():
        raise BackboneError("timm is not installed, and its networks are not there: pip install “fmviz[timm]”.")
    found = [f"{timm.PREFIX}{name}" for name in timm.names() if all(word in name for word in words)]
    if not found:
        raise BackboneError(
            f"timm has no network with all of “{' '.join(words).strip()}” in its name: use fewer words."
        )
    width = max(map(len, found))
    columns = max(1, (shutil.get_terminal_size().columns - 2) // (width + 2))
    for start in range(0, len(found), columns):
        print("  " + "  ".join(f"{name:{width}}" for name in found[start : start + columns]).rstrip())
    print()
    print(f"{len(found):,} of timm's {len(timm.names()):,} networks, with random weights or those of a file.")


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

    if not is_here(offer):
        return f"↓ {offer.name} ({offer.nbytes / 1e6:.0f} MB)"
    head = f" (+ {offer.head_parameters:,} parameters in its detection head)" if offer.head_parameters else ""
    return f"● {offer.name}{head}"


COMMAND = _parser, _run
"""As `fmviz.cli` has its commands."""
