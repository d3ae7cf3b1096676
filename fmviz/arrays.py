"""Activations as they are, in `.npz` and `.safetensors` files: whole or not at all, one array in memory at a time."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fmviz.errors import ExportError
from fmviz.writing import KEY, as_json, write_whole


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """An array to be written, fetched when its turn comes.

    Attributes:
        name: of the array in the file.
        kind: dtype in the words of safetensors ("F32", "BF16", "I64", "BOOL", …).
        shape: of the array.
        fetch: gives its values, (shape); for "BF16" their bits as uint16.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    fetch: Callable[[], npt.NDArray[Any]]


KINDS: Mapping[str, str] = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
}
"""numpy's names of types to those of safetensors."""
_BYTES = {"BF16": 2, **{kind: np.dtype(name).itemsize for name, kind in KINDS.items()}}


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> Path:
    """Arrays as an uncompressed `.npz`, which `numpy.load` opens without pickles; the path.

    The facts are in the array "fmviz", a string: `json.loads(str(file["fmviz"]))`.

    Raises:
        ExportError: it could not be written.
    """
    return write_npz_lazily(path, _lazily(arrays), facts)


def write_npz_lazily(path: str | os.PathLike[str], arrays: Iterable[Array], facts: Mapping[str, Any]) -> Path:
    """The same, with one array after the other in memory. numpy's own writer wants all, and takes none called "file"."""

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, array in _named(arrays, facts):
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)

    return write_whole(path, write)


def _named(arrays: Iterable[Array], facts: Mapping[str, Any]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    yield KEY, np.array(as_json(facts))
    for array in arrays:
        if array.name == KEY:
            raise ExportError(f"A layer is called “{KEY}”, where the facts belong: export it as safetensors.")
        yield array.name, array.fetch()


def write_safetensors(
    path: str | os.PathLike[str], arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]
) -> Path:
    """Arrays as a `.safetensors` file, the facts under "fmviz" in its metadata; the path.

    Raises:
        ExportError: it could not be written.
    """
    return write_safetensors_lazily(path, list(_lazily(arrays)), facts)


def write_safetensors_lazily(path: str | os.PathLike[str], arrays: Sequence[Array], facts: Mapping[str, Any]) -> Path:
    """The same, with one array after the other in memory; the package's own writer first makes bytes of them all.

    The format: the header's length as a little-endian uint64, the header as JSON, filled up with spaces to a multiple
    of eight bytes, then the values of all arrays, end to end.
    """
    header: dict[str, Any] = {"__metadata__": {KEY: as_json(facts)}}
    end = 0
    for array in arrays:
        if array.kind not in _BYTES:
            raise ExportError(f"“{array.name}” has a type that safetensors files do not know: export it as npz.")
        start, end = end, end + int(np.prod(array.shape, dtype=np.int64)) * _BYTES[array.kind]
        header[array.name] = {"dtype": array.kind, "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)

    def write(file: BinaryIO) -> None:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for array in arrays:
            values = np.ascontiguousarray(array.fetch())
            file.write(values.astype(values.dtype.newbyteorder("<"), copy=False).data)

    return write_whole(path, write)


def _lazily(arrays: Mapping[str, npt.NDArray[Any]]) -> Iterator[Array]:
    for name, array in arrays.items():
        yield Array(name, KINDS.get(array.dtype.name, ""), array.shape, lambda array=array: array)  # type: ignore[misc]
