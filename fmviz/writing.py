"""Files of figures and maps, each written whole or not at all.

A file is written beside its place under another name and moved there when it is complete. What stood there before is
replaced then, and not touched until then. Before the first file that a process writes to a folder, what killed ones left
there is removed.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.PngImagePlugin

from fmviz.colours import Colours
from fmviz.errors import ExportError
from fmviz.figure import Figure, resized
from fmviz.lettering import lettered
from fmviz.png import png_bytes
from fmviz.strays import aside, remove_strays

KEY = "fmviz"
"""The key of a PNG's text chunk, a safetensors file's metadata and an npz file's array that hold the facts, as JSON."""

_tidied: set[Path] = set()
"""The folders that this process has looked for strays in."""


def write_whole(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> Path:
    """Calls `write` with an open file and puts what it wrote at `path`, replacing what was there; the path.

    Raises:
        ExportError: it could not be written; nothing is left of it, and what stood at `path` is untouched.
    """
    path = Path(path)
    _check_letters(path)
    if path.parent not in _tidied:
        _tidied.add(path.parent)
        remove_strays(path.parent)
    try:
        with aside(path.parent) as (place, file):
            write(file)
            # What cannot be written is told at the latest now, while the old file is still there.
            file.close()
            os.replace(place, path)
    except OSError as error:
        raise _failure(path, error) from error
    return path


def make_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder, made where it is missing, with those above it. `ExportError` where it cannot be."""
    folder = Path(folder)
    _check_letters(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ExportError(f"{folder} is not a folder but a file: choose another folder.") from error
    except OSError as error:
        raise _failure(folder, error, f"The folder {folder}") from error
    return folder


def names_in(folder: str | os.PathLike[str]) -> frozenset[str]:
    """What is in a folder already; nothing where that cannot be told."""
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


def _check_letters(path: Path) -> None:
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        reason = "this locale has no letters for its name; set LC_ALL to C.UTF-8, or choose another name"
        raise ExportError(f"{path.name} could not be written: {reason}.") from error


def _failure(path: Path, error: OSError, name: str = "") -> ExportError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason, remedy = "the disk is full", "make room on it or choose another folder"
    elif error.errno == errno.EROFS:
        reason, remedy = "that disk can only be read", "choose another folder"
    elif error.errno in (errno.EACCES, errno.EPERM):
        reason, remedy = (
            "permission is denied, or another program has it open",
            "close it there or choose another folder",
        )
    elif error.errno == errno.ENOTDIR:
        reason, remedy = f"{path.parent} is not a folder", "choose another folder"
    elif error.errno == errno.ENOENT:
        reason, remedy = f"the folder {path.parent} is not there", "choose another folder"
    elif error.errno in (errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY):
        reason, remedy = "a folder has this name", "rename that folder or choose another one"
    elif error.errno == errno.ENAMETOOLONG:
        reason, remedy = "its name is too long", "choose a folder with a shorter path"
    else:
        reason, remedy = (error.strerror or str(error)).rstrip("."), "choose another folder"
    sentence = f"{name or path.name} could not be {'made' if name else 'written'}: {reason}; {remedy}."
    return ExportError(sentence, whole_disk=error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS))


def write_png(
    path: str | os.PathLike[str], figure: Figure, colours: Colours, facts: Mapping[str, Any] | None = None
) -> Path:
    """A figure as a palette PNG, with its facts and `facts` in a text chunk; the path. `colours` (256, 3) uint8.

    Raises:
        ExportError: it could not be written.
    """
    data = figure_png_bytes(figure, colours, facts)
    return write_whole(path, lambda file: file.write(data))


def figure_png_bytes(figure: Figure, colours: Colours, facts: Mapping[str, Any] | None = None) -> bytes:
    """The same as the bytes of a PNG file: for a clipboard."""
    return _png(lettered(figure), colours, {**(facts or {}), **figure.facts})


def write_map_png(
    path: str | os.PathLike[str],
    pixels: npt.NDArray[np.uint8],
    colours: Colours,
    facts: Mapping[str, Any],
    size: tuple[int, int] | None = None,
) -> Path:
    """One map as a palette PNG, without any surroundings; the path.

    Args:
        pixels: (h, w) uint8 indices.
        colours: (256, 3) uint8.
        facts: JSON values for the text chunk.
        size: (height, width) to enlarge or shrink to, by nearest pixels; the map's own where None.

    Raises:
        ExportError: it could not be written.
    """
    data = _png(pixels if size is None else resized(pixels, size), colours, facts)
    return write_whole(path, lambda file: file.write(data))


def write_rgb_png(path: str | os.PathLike[str], pixels: npt.NDArray[np.uint8], facts: Mapping[str, Any]) -> Path:
    """Write (h, w, 3) RGB as a PNG with its facts in a text chunk; return the path.

    Raises:
        ExportError: it could not be written.
    """
    text = PIL.PngImagePlugin.PngInfo()
    text.add_text(KEY, as_json(facts))
    image = PIL.Image.fromarray(pixels)
    return write_whole(path, lambda file: image.save(file, "PNG", compress_level=1, pnginfo=text))


def _png(indices: npt.NDArray[np.uint8], colours: Colours, facts: Mapping[str, Any]) -> bytes:
    return png_bytes(indices, colours, {KEY: as_json(facts)})


def as_json(facts: Mapping[str, Any]) -> str:
    """ASCII, so that every reader of text chunks gets it right; NaN, which JSON does not have, is a mistake."""
    return json.dumps(facts, allow_nan=False)
