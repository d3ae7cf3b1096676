"""The files of the cache as a list: what each is for, and how to be rid of it."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from fmviz.errors import WeightsError
from fmviz.networks.cache import LOCK, PARTIAL, folder, part_of

_PARTIAL_OF_HUB = ".partial"


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
