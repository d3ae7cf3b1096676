"""The files of a checkpoint: one file, or an index and its parts. Imports no torch."""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmviz.errors import WeightsError

WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
"""What names of weights files end in, where a folder is searched for them."""

INDEX_PATTERNS = ("*.index.json", "*.index.*.json")
"""What `is_index` accepts, as patterns of a file dialog."""

LARGEST_INDEX = 32_000_000
"""Bytes of an index: some 300,000 tensors."""

MOST_PARTS = 1000
"""Parts of one checkpoint. The largest published models have about 200."""

_MOST_ENTRIES = 100_000
"""Entries of a folder that are looked at, so that a large folder does not hold up a request."""

_SETTLED_NS = 2_000_000_000
_LARGEST_KEPT = 4_000_000
"""Bytes of an index that is kept parsed."""

_INDEX = re.compile(r".+\.index(\.[\w-]+)?\.json", re.IGNORECASE)
"""`model.safetensors.index.json`, `pytorch_model.bin.index.json`, `model.safetensors.index.fp16.json`."""

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})(?P<end>(\.[\w-]+)+)")
"""`model-00001-of-00002.safetensors`, `diffusion_pytorch_model-00001-of-00002.fp16.safetensors`."""

_WHOLE = (
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
)
"""The names of a whole checkpoint, which go before other weights files of a folder."""


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """The files that make up one checkpoint.

    Attributes:
        name: The name that messages use: the index's, the file's, or that of the first part where there is no index.
        parts: The files that hold tensors, sorted by name; one where the checkpoint is not sharded.
        index: The index; None where there is none.
        listed: Key of a tensor -> name of the part that holds it, as the index says; empty without an index.
    """

    name: str
    parts: tuple[Path, ...]
    index: Path | None
    listed: Mapping[str, str]

    @property
    def sharded(self) -> bool:
        """Whether the tensors must be joined from parts."""
        return self.index is not None or len(self.parts) > 1


def checkpoint_files(path: Path) -> CheckpointFiles:
    """Return the files of the checkpoint that `path` names: a file, an index, one of its parts, or their folder.

    File names in an index are not trusted: a part must be a plain name, and lie, links resolved, in the folder of the
    index or, as in a Hugging Face cache, in the folder that the index itself is linked from.

    Raises:
        WeightsError: A part is missing or lies elsewhere, or the index cannot be read.
    """
    if os.path.isdir(path):
        return _in_folder(path)
    if path.suffix.lower() == ".json" and os.path.exists(path):
        return _by_index(path)
    return _by_part(path)


def files_of(path: str) -> tuple[Path, ...]:
    """Return all files of the checkpoint that `path` names, the index first; `path` alone where it cannot be resolved."""
    try:
        found = checkpoint_files(Path(path))
    except (WeightsError, OSError, ValueError):
        return (Path(path),)
    return ((found.index,) if found.index is not None else ()) + found.parts


def is_index(path: Path) -> bool:
    """Return whether this is the name of an index."""
    return _INDEX.fullmatch(path.name) is not None


def holds_checkpoint(folder: Path, *, unless: tuple[str, ...] = ()) -> bool:
    """Return whether a folder is one to take weights from.

    Args:
        folder: The folder.
        unless: Weights files alone make it one only where no name of a file ends in one of these. An index or parts do
            in any case.
    """
    names = _names_in(folder)
    if any(_INDEX.fullmatch(name) or _PART.fullmatch(name) for name in names):
        return True
    lower = [name.lower() for name in names]
    return any(name.endswith(WEIGHTS_SUFFIXES) for name in lower) and not any(name.endswith(unless) for name in lower)


# Folders


def _in_folder(folder: Path) -> CheckpointFiles:
    names = _names_in(folder)
    indices = [name for name in names if _INDEX.fullmatch(name)]
    if indices:
        return _by_index(folder / _chosen_index(folder, indices))
    groups = {_group(match): name for name in reversed(names) if (match := _PART.fullmatch(name))}
    if groups:
        return _by_part(folder / _only(folder, sorted(groups.values())))
    found = [name for name in names if name.lower().endswith(WEIGHTS_SUFFIXES)]
    if found:
        whole = [name for name in _WHOLE if name in found]
        return _by_part(folder / (whole[0] if whole else _only(folder, found)))
    if any(name.endswith(".distcp") for name in names):
        raise WeightsError(
            f"{_called(folder)} is a checkpoint of torch.distributed: convert it with "
            "torch.distributed.checkpoint.format_utils.dcp_to_torch_save, and open the result."
        )
    raise WeightsError(f"{_called(folder)} is a folder without weights files: choose a .safetensors or .pth file.")


def _chosen_index(folder: Path, indices: list[str]) -> str:
    """Return the index of the safetensors parts, in full precision where there is another variant."""
    safe = [name for name in indices if ".safetensors." in name.lower()]
    plain = [name for name in safe or indices if name.lower().endswith(".index.json")]
    return _only(folder, plain or safe or indices)


def _only(folder: Path, names: list[str]) -> str:
    if len(names) > 1:
        shown = ", ".join(map(_shown, names[:3])) + (", …" if len(names) > 3 else "")
        raise WeightsError(
            f"The folder {_called(folder)} holds {len(names)} checkpoints ({shown}): choose one of them."
        )
    return names[0]


def _called(folder: Path) -> str:
    return _shown(os.path.basename(os.path.abspath(folder)) or str(folder))


def _names_in(folder: Path, end: str = "") -> list[str]:
    """Return the names of the files in a folder that end so, sorted; none where it cannot be read."""
    try:
        changed = os.stat(folder).st_mtime_ns
        if _is_settled(changed):
            return list(_listed_names(os.fspath(folder), end, changed))
        return list(_scanned_names(os.fspath(folder), end))
    except (OSError, ValueError):
        return []


def _is_settled(changed: int) -> bool:
    """Return whether a time of change, in ns, is so long ago that a further change would have another time."""
    return abs(time.time_ns() - changed) > _SETTLED_NS


@functools.lru_cache(maxsize=8)
def _listed_names(folder: str, end: str, _changed: int) -> tuple[str, ...]:
    """As `_scanned_names`. Kept until the folder changes, since the files of a checkpoint are looked for at each request."""
    return _scanned_names(folder, end)


def _scanned_names(folder: str, end: str) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        some = itertools.islice(entries, _MOST_ENTRIES)
        return tuple(sorted(entry.name for entry in some if entry.name.lower().endswith(end) and not entry.is_dir()))


# Parts


def _by_part(path: Path) -> CheckpointFiles:
    """The checkpoint that a file belongs to, by an index next to it or by its name; else the file alone."""
    match = _PART.fullmatch(path.name)
    for name in _names_in(path.parent, ".json"):
        if not _INDEX.fullmatch(name):
            continue
        try:
            content = _read_index(path.parent / name)
        except WeightsError:
            # The index of another checkpoint keeps nobody from opening a whole file.
            if match is None:
                continue
            raise
        if path.name in content.parts:
            return _with_parts(path.parent / name, content)
    if match is None or not 1 <= int(match["number"]) <= int(match["total"]) or int(match["total"]) == 1:
        return CheckpointFiles(path.name, (path,), None, {})
    return _without_index(path, match)


def _without_index(path: Path, match: re.Match[str]) -> CheckpointFiles:
    total = int(match["total"])
    _check_number(path.name, total)
    numbers = range(1, total + 1)
    names = [f"{match['stem']}-{number:05d}-of-{match['total']}{match['end']}" for number in numbers]
    missing = [name for name in names if not os.path.exists(path.parent / name)]
    if missing and os.path.exists(path):
        raise WeightsError(f"{_shown(path.name)} is one of {total} parts, and {_missing(missing)}")
    return CheckpointFiles(names[0], _checked(path, names), None, {})


def _group(match: re.Match[str]) -> tuple[str, str, str]:
    return match["stem"], match["total"], match["end"]


def _missing(names: list[str]) -> str:
    if len(names) == 1:
        return f"{_shown(names[0])} is not next to it: download that part into the same folder."
    return f"{len(names)} of them are not next to it (such as {_shown(names[0])}): download them into the same folder."


def _checked(path: Path, names: Iterable[str]) -> tuple[Path, ...]:
    """The parts as paths. `path` is the index, or the part that the user chose."""
    allowed = {os.path.realpath(path.parent), os.path.dirname(os.path.realpath(path))}
    seen: dict[tuple[int, int], str] = {}
    parts = []
    for name in names:
        part = path.parent / name
        if os.path.dirname(os.path.realpath(part)) not in allowed:
            raise WeightsError(
                f"{_shown(path.name)} has the part {_shown(name)}, which is a link to another folder: put the file itself "
                "there."
            )
        try:
            status = os.stat(part)
        except OSError as error:
            raise WeightsError(
                f"{_shown(name)} cannot be opened ({error.strerror or error}): choose a file that you may read."
            ) from error
        # The same large file under a thousand names would be read a thousand times.
        twin = seen.setdefault((status.st_dev, status.st_ino), name)
        if twin != name and status.st_ino:
            raise WeightsError(
                f"{_shown(path.name)} has the parts {_shown(twin)} and {_shown(name)}, which are one file: download them "
                "again."
            )
        parts.append(part)
    return tuple(parts)


# The index


def _by_index(path: Path) -> CheckpointFiles:
    return _with_parts(path, _read_index(path))


def _with_parts(index: Path, content: _Index) -> CheckpointFiles:
    names = sorted(content.parts)
    missing = [name for name in names if not os.path.exists(index.parent / name)]
    if missing:
        raise WeightsError(f"{_shown(index.name)} lists {len(names)} parts, and {_missing(missing)}")
    return CheckpointFiles(index.name, _checked(index, names), index, content.listed)


@dataclass(frozen=True, slots=True)
class _Index:
    """What an index lists: key -> name of the part; and the parts."""

    listed: Mapping[str, str]
    parts: frozenset[str]


def _read_index(path: Path) -> _Index:
    """Return what an index lists. `WeightsError` if it cannot be read or is no sound one."""
    name = _shown(path.name)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise WeightsError(f"{name} is a pipe or a device, not a file: choose a .safetensors or .pth file.")
        if status.st_size > LARGEST_INDEX:
            raise WeightsError(
                f"{name} is {status.st_size / 1e6:.0f} MB large, which no index of weights is: choose another file."
            )
        if status.st_size <= _LARGEST_KEPT and _is_settled(status.st_mtime_ns):
            found = _kept_index(path, status.st_mtime_ns, status.st_size, status.st_ino)
        else:
            found = _parsed_index(path)
    except OSError as error:
        raise WeightsError(
            f"{name} cannot be opened ({error.strerror or error}): choose a file that you may read."
        ) from error
    if isinstance(found, str):
        raise WeightsError(found)
    return found


@functools.lru_cache(maxsize=16)
def _kept_index(path: Path, _changed: int, _size: int, _inode: int) -> _Index | str:
    """As `_parsed_index`. Kept until the file changes, since indexes next to a file are read at each request."""
    return _parsed_index(path)


def _parsed_index(path: Path) -> _Index | str:
    """What an index lists; a sentence where it is no sound one."""
    with path.open("rb") as file:
        text = file.read(LARGEST_INDEX + 1)
    try:
        listed = _weight_map(path.name, text)
        return _Index(listed, frozenset(listed.values()))
    except WeightsError as error:
        return str(error)


def _weight_map(file_name: str, text: bytes) -> dict[str, str]:
    """The `weight_map` of an index: key -> name of the part."""
    name = _shown(file_name)
    try:
        content = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_without_twins)
    except _TwiceError as error:
        raise WeightsError(f"{name} lists {_shown(str(error))} twice: download it again.") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{name} is broken or was cut off: download or copy it again.") from error
    listed = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(listed, dict) or not listed:
        raise WeightsError(f"{name} is a JSON file without a list of weights: choose a .safetensors or .pth file.")
    for key, part in listed.items():
        _check_part(name, key, part)
    _check_number(file_name, len(set(listed.values())))
    return listed


class _TwiceError(Exception):
    """A key that a JSON object has twice."""


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _TwiceError(key)
        found[key] = value
    return found


def _check_part(name: str, key: str, part: object) -> None:
    """`WeightsError` unless `part` is the plain name of a file."""
    if not isinstance(part, str):
        raise WeightsError(f"{name} gives no file name for {_shown(key)}: download it again.")
    # On any system: an index that leads out of the folder on one of them is not accepted on another.
    plain = 0 < len(part) <= 255 and not any(sign in part for sign in "/\\:\0") and part.strip(". ") != ""
    if not plain:
        raise WeightsError(
            f"{name} names the part “{_shown(part)}”, which is not a file in its own folder: download it again, or "
            "choose another file."
        )


def _check_number(name: str, count: int) -> None:
    if count > MOST_PARTS:
        raise WeightsError(f"{_shown(name)} has {count:,} parts, and {MOST_PARTS:,} can be joined: save it in fewer.")


def _shown(name: str) -> str:
    """A name out of a file or a folder for a sentence: on one line, and no longer than a name."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name[:80])
    return plain if len(name) <= 80 else f"{plain[:79]}…"
