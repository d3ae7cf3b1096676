"""What a file of weights holds, whatever it is called and whoever made it: tensors by name, or a sentence why not.

The only module that calls `torch.load`, and always with `weights_only=True`: nothing in a file is ever run. What the file
declares is compared with what it holds before any of it is read, so that no memory is asked for that the file has no bytes
for.
"""

from __future__ import annotations

import io
import json
import os
import re
import stat
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fmviz.errors import WeightsError
from fmviz.networks.checksums import Checksum, FileChecksum, PartsChecksum
from fmviz.networks.pickles import Pickle, PickleError, read_texts, scan
from fmviz.networks.shards import CheckpointFiles, checkpoint_files
from fmviz.networks.spans import read_spans
from fmviz.networks.tables import (
    ContentError,
    Table,
    Unreadable,
    quoted,
    table_of_part,
    tables_of,
    with_averages,
)

LARGEST_HEADER = 32_000_000
"""Bytes of a safetensors header at most: some 300,000 tensors. The specification allows three times as many."""

LONGEST_PICKLE = 256_000_000
"""Bytes of a pickle, without its tensors, at most."""

MOST_UNFOLDED = 20
"""Times its size that a packed file may unfold to and still pass for weights: trained values hardly pack at all."""

_SAFETENSORS_TYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E8M0": torch.float8_e8m0fnu,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "I64": torch.int64,
    "U64": torch.uint64,
    "F64": torch.float64,
    "C64": torch.complex64,
    "C128": torch.complex128,
}
_UNREADABLE_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
"""Bits of an element, of those types that torch does not convert. A type that is in neither list may be of any size."""

_TYPE_NAME = re.compile(r"[A-Z][A-Z0-9_]{1,23}")
_OTHER_KINDS = {
    b"\x1f\x8b": "is compressed by gzip: unpack it first",
    b"BZh": "is compressed by bzip2: unpack it first",
    b"\xfd7zXZ": "is compressed by xz: unpack it first",
    b"(\xb5/\xfd": "is compressed by zstd: unpack it first",
    b"\x93NUMPY": "is one array of NumPy's, not weights by name: choose a .safetensors or .pth file",
    b"\x89HDF": "is an HDF5 file, of Keras perhaps: choose a .safetensors or .pth file",
    b"version https://git-lfs": "is Git LFS's pointer to a file, not the file: fetch it with git lfs pull",
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        name: the file's, without its folder; the index's where it is joined from parts.
        checksum: the file's, or that of all parts.
        tables: the state dicts in it, those that are meant for use first.
        notes: what the user should know of the file, a sentence each.
    """

    name: str
    checksum: Checksum
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a file by their keys, on the CPU.

    Where a file holds several networks, the one that it means for use: see `tables_of`.

    Raises:
        WeightsError: in one sentence.
    """
    return dict(read_checkpoint(path).tables[0].tensors)


def read_checkpoint(path: Path) -> Checkpoint:
    """All state dicts in a file, on the CPU, its content telling what it is.

    Parts of a sharded checkpoint are joined: `path` is then the index, one of the parts, or their folder.

    They are read into memory, not mapped: a mapped file that a training program writes anew takes the process with it.

    Raises:
        WeightsError: in one sentence.
    """
    files = checkpoint_files(path)
    if files.sharded:
        return _joined(files)
    [only] = files.parts
    content, checksum = _read_file(only)
    try:
        return Checkpoint(only.name, checksum, tables_of(content))
    except ContentError as error:
        raise _unusable(only, error) from error


def _read_file(path: Path) -> tuple[object, FileChecksum]:
    name = path.name
    try:
        with _opened(path) as file:
            return _content(name, file), FileChecksum(path, file)
    except OSError as error:
        raise WeightsError(
            f"{name} cannot be opened ({error.strerror or error}): choose a file that you may read."
        ) from error


def _unusable(path: Path, error: ContentError) -> WeightsError:
    return WeightsError(f"{path.name} {error}: {error.remedy}.")


# Parts


def _joined(files: CheckpointFiles) -> Checkpoint:
    """The tensors of all parts as one state dict."""
    _check_room(files)
    tensors: dict[str, Tensor] = {}
    left_out: dict[str, str] = {}
    extra: dict[str, object] = {}
    of: dict[str, str] = {}
    checksums = []
    for part in files.parts:
        content, checksum = _read_file(part)
        checksums.append(checksum)
        try:
            table = table_of_part(content)
        except ContentError as error:
            raise _unusable(part, error) from error
        for key in (*table.tensors, *table.left_out):
            if of.setdefault(key, part.name) != part.name:
                raise WeightsError(
                    f"{quoted(files.name)} has “{quoted(key)}” in two parts, {quoted(of[key])} and {quoted(part.name)}: "
                    "download it again, or choose one of the parts under another name."
                )
        tensors |= table.tensors
        left_out |= table.left_out
        extra |= table.extra
    _check_listed(files, of)
    joined = Table("", tensors, left_out=left_out, extra=extra)
    notes = _unlisted(files, tensors)
    return Checkpoint(files.name, PartsChecksum(checksums), with_averages((joined,)), notes)


def _check_room(files: CheckpointFiles) -> None:
    """`WeightsError` where the parts together are larger than the memory that is free: they may be a language model's."""
    from fmviz.memory import free_bytes

    total, free = sum(os.path.getsize(part) for part in files.parts), free_bytes(torch.device("cpu"))
    if free is not None and total > free:
        raise WeightsError(
            f"{quoted(files.name)} was not read, for its parts have {_amount(total)} and {_amount(free)} of memory are "
            "free: choose a smaller checkpoint, or free memory."
        )


def _check_listed(files: CheckpointFiles, of: Mapping[str, str]) -> None:
    """`WeightsError` unless each part holds what the index lists for it."""
    absent = [key for key, part in files.listed.items() if of.get(key) != part]
    if absent:
        part = files.listed[absent[0]]
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise WeightsError(
            f"{quoted(part)} does not hold “{quoted(absent[0])}”{more}, which {quoted(files.name)} lists there: download "
            "the parts and the index again."
        )


def _unlisted(files: CheckpointFiles, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    more = [key for key in tensors if key not in files.listed] if files.listed else []
    if not more:
        return ()
    what = f"A tensor of its parts ({quoted(more[0])}) is" if len(more) == 1 else ""
    what = what or f"{len(more)} tensors of its parts (such as {quoted(more[0])}) are"
    return (f"{what} not in the index {quoted(files.name)}.",)


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    """The file, if it is one: a pipe or a device might never end."""
    try:
        mode = path.stat().st_mode
    except ValueError as error:
        raise WeightsError(f"“{quoted(str(path))}” is no name of a file: choose another file.") from error
    if stat.S_ISDIR(mode):
        raise WeightsError(f"{path.name} is a folder: choose a .safetensors or .pth file.")
    if not stat.S_ISREG(mode):
        raise WeightsError(f"{path.name} is a pipe or a device, not a file: choose a .safetensors or .pth file.")
    with path.open("rb") as file:
        yield file


def _content(name: str, file: io.BufferedReader) -> object:
    """What the file holds, read in the way that its first bytes call for."""
    size = os.fstat(file.fileno()).st_size
    head = file.read(512)
    file.seek(0)
    if not head:
        raise WeightsError(f"{name} is empty: download or copy it again.")
    if head.startswith(b"PK\x03\x04"):
        _check_zip(name, file, size)
        return _torch_content(name, file)
    # The length of a safetensors header begins a file, and may begin with the byte that begins a pickle.
    if head[4:9] == b"\0\0\0\0{":
        return _safetensors_content(name, file, size)
    if head.startswith(b"\x80"):
        _check_old(name, file, size)
        return _torch_content(name, file)
    if head[8:9] == b"{":
        return _safetensors_content(name, file, size)
    for beginning, words in _OTHER_KINDS.items():
        if head.startswith(beginning):
            raise WeightsError(f"{name} {words}.")
    if head[257:262] == b"ustar":
        raise WeightsError(f"{name} is a tar archive: unpack it, or save the state_dict() anew with torch.save.")
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        raise WeightsError(f"{name} is a web page, not weights: download the file itself.")
    _check_text_pickle(name, file)
    raise WeightsError(f"{name} is no weights file, or is broken: choose a .safetensors or .pth file.")


# safetensors


def _safetensors_content(name: str, file: io.BufferedReader, size: int) -> dict[str, Tensor | Unreadable]:
    length = int.from_bytes(file.read(8), "little")
    if length > size - 8:
        raise WeightsError(_broken(name))
    if length > LARGEST_HEADER:
        raise WeightsError(
            f"{name} has a header of {length / 1e6:.0f} MB, which no network needs: choose another file."
        )
    try:
        header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_without_twins)
        spans = _checked(header, size - 8 - length)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise WeightsError(_broken(name)) from error
    readable = {key: span for key, span in spans.items() if header[key]["dtype"] in _SAFETENSORS_TYPES}
    try:
        found = read_spans(file, [(8 + length + begin, end - begin) for begin, end in readable.values()])
    except EOFError as error:
        raise WeightsError(_broken(name)) from error
    try:
        tensors = {
            key: _typed(span, _SAFETENSORS_TYPES[header[key]["dtype"]]).reshape(header[key]["shape"])
            for key, span in zip(readable, found, strict=True)
        }
    # An empty tensor may have a side that no number of torch's can hold.
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise WeightsError(_broken(name)) from error
    others = {key: header[key]["dtype"] for key in spans.keys() - readable.keys()}
    return {key: tensors[key] if key in tensors else _unreadable(others[key]) for key in spans}


def _unreadable(dtype: str) -> Unreadable:
    return Unreadable(f"is {dtype}, a type that torch cannot convert")


def _typed(span: Tensor, dtype: torch.dtype) -> Tensor:
    """A span of bytes, the least of each number first, as numbers."""
    if sys.byteorder == "big":
        span = span.view(-1, dtype.to_real().itemsize).flip(1).view(-1)
    return span.view(dtype)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _checked(header: Any, room: int) -> dict[str, tuple[int, int]]:
    """Where each tensor lies, by key; an error of some kind unless they fill the `room` bytes behind the header."""
    if not isinstance(header, dict):
        raise TypeError("the header is no dictionary")
    spans = {}
    for key, entry in header.items():
        if key == "__metadata__":
            continue
        shape, (begin, end) = entry["shape"], entry["data_offsets"]
        if any(type(number) is not int or number < 0 for number in (*shape, begin, end)) or len(shape) > 64:
            raise ValueError("a shape or an offset is no number")
        bits = _bits(entry["dtype"])
        if end < begin or (bits and 8 * (end - begin) != prod(shape) * bits):
            raise ValueError("a tensor is not as long as its shape says")
        spans[key] = (begin, end)
    here = 0
    for begin, end in sorted(spans.values()):
        if begin != here:
            raise ValueError("tensors overlap, or leave a gap")
        here = end
    if here != room:
        raise ValueError("the file is not as long as its header says")
    return spans


def _bits(dtype: object) -> int:
    """Bits of an element; 0 where the type is unknown, as one of a later version of the format."""
    if not isinstance(dtype, str) or not _TYPE_NAME.fullmatch(dtype):
        raise TypeError("a type is no name")
    known = _SAFETENSORS_TYPES.get(dtype)
    return 8 * known.itemsize if known is not None else _UNREADABLE_BITS.get(dtype, 0)


# torch's


def _torch_content(name: str, file: io.BufferedReader) -> object:
    file.seek(0)
    try:
        # Not by its path: torch would go by the suffix, and take a zip file called .safetensors for the other kind.
        # Its warnings are about the form of the file; where that matters, the file is refused with a sentence.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    # A file made of anything can make the reader raise anything; all of it means the same.
    except Exception as error:
        raise WeightsError(_broken(name)) from error


def _check_zip(name: str, file: io.BufferedReader, size: int) -> None:
    """`WeightsError` unless it is a zip file of torch's whose pickle asks for nothing but the tensors that it holds."""
    try:
        with zipfile.ZipFile(file) as archive:
            records = _records(name, archive, size)
            folder = _folder(name, archive, records)
            if records[f"{folder}data.pkl"] > LONGEST_PICKLE:
                raise PickleError("it is too long")
            found = scan(io.BytesIO(archive.read(f"{folder}data.pkl")))
            _check_safe(name, found)
    # What it raises at a file made of anything is not told by its documentation.
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError, PickleError) as error:
        raise WeightsError(_broken(name)) from error
    for key, storage in found.storages.items():
        if records.get(f"{folder}data/{key}", -1) < storage.nbytes:
            raise WeightsError(_broken(name))


def _records(name: str, archive: zipfile.ZipFile, size: int) -> dict[str, int]:
    """Bytes of the archive's records by their names."""
    entries = archive.infolist()
    leaves = {entry.filename.rpartition("/")[2] for entry in entries}
    if "constants.pkl" in leaves:
        raise WeightsError(
            f"{name} is a TorchScript program, not weights: save the state_dict() of the network it was made from."
        )
    if "data.pkl" not in leaves:
        raise WeightsError(f"{name} is a zip file without weights in it: choose a .safetensors or .pth file.")
    # torch writes its entries as they are. A packed one may unfold to more than the memory there is.
    unfolded = sum(entry.file_size for entry in entries)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) and unfolded > MOST_UNFOLDED * size:
        raise WeightsError(
            f"{name} was not unpacked, for it unfolds to {_amount(unfolded)} from {_amount(size)}, which trained weights "
            "never do: choose another file."
        )
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WeightsError(f"{name} was packed again after torch saved it: save it anew with torch.save.")
    # Entries may lie over each other, be there twice, or call themselves longer than the file.
    if (
        any(entry.file_size != entry.compress_size for entry in entries)
        or unfolded > size
        or len({entry.filename.casefold() for entry in entries}) != len(entries)
    ):
        raise WeightsError(_broken(name))
    return {entry.filename: entry.file_size for entry in entries}


def _folder(name: str, archive: zipfile.ZipFile, records: dict[str, int]) -> str:
    """The folder that all records lie in, as torch takes it: the first one's."""
    folder = archive.infolist()[0].filename.partition("/")[0] + "/"
    if f"{folder}data.pkl" not in records:
        raise WeightsError(_broken(name))
    return folder


def _check_old(name: str, file: io.BufferedReader, size: int) -> None:
    """`WeightsError` unless it is torch's older format, and its pickles ask for nothing but the tensors it holds.

    Five pickles come one after another: a number to know it by, a version, the machine's sizes, the content, and the keys
    of the storages, which follow. Any other pickle is no weights file of torch's; it is gone through for its names.
    """
    data = io.BytesIO(file.read(LONGEST_PICKLE))
    found: list[Pickle] = []
    try:
        while len(found) < 4 and data.tell() < min(size, LONGEST_PICKLE):
            found.append(scan(data))
            _check_safe(name, found[-1])
        storages = {key: storage for pickle in found for key, storage in pickle.storages.items()}
        # One that is not among the keys would be left with whatever was in memory.
        if len(found) == 4 and not storages.keys() <= read_texts(data):
            raise PickleError("it refers to storages that are not there")
    except PickleError as error:
        raise WeightsError(_broken(name)) from error
    if sum(storage.nbytes for storage in storages.values()) > size:
        raise WeightsError(_broken(name))


def _check_text_pickle(name: str, file: io.BufferedReader) -> None:
    """`WeightsError` with the names that a pickle of the oldest protocols asks for: it begins like any text."""
    file.seek(0)
    try:
        found = scan(io.BytesIO(file.read(1_000_000)))
    except PickleError:
        return
    _check_safe(name, found)


def _check_safe(name: str, found: Pickle) -> None:
    if not found.unsafe:
        return
    if all(path.startswith(("torch._utils._rebuild", "torch.jit")) for path in found.unsafe):
        raise WeightsError(f"{name} holds quantized, nested or other special tensors: save them as plain ones.")
    more = f" and {len(found.unsafe) - 3} more" if len(found.unsafe) > 3 else ""
    wanted = ", ".join(quoted(path) for path in found.unsafe[:3])
    raise WeightsError(
        f"{name} was not loaded, for it could run code: it asks for {wanted}{more}; "
        "save the network's state_dict() alone, best as .safetensors."
    )


def _amount(nbytes: int) -> str:
    """ "51 kB", "4.3 GB" """
    unit, word = next((one for one in ((1e9, "GB"), (1e6, "MB")) if nbytes >= one[0]), (1e3, "kB"))
    return f"{nbytes / unit:,.1f} {word}" if unit == 1e9 else f"{nbytes / unit:,.0f} {word}"


def _broken(name: str) -> str:
    return f"{name} is broken or was cut off: download or copy it again."
