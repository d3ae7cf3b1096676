"""Writes TIFFs of nearly any layout, byte by byte from TIFF 6.0, to be read by the program that is tested."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]

NONE, LZW, JPEG, DEFLATE, PACKBITS, ZSTD = 1, 5, 7, 8, 32773, 50000
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, LAB = 0, 1, 2, 3, 5, 8
_BY_PILLOW = {LZW: "tiff_lzw", PACKBITS: "packbits", ZSTD: "zstd"}
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def tiff(
    array: Array,
    photometric: int,
    *,
    order: str = "<",
    big: bool = False,
    planar: bool = False,
    tile: tuple[int, int] | None = None,
    rows: int = 0,
    compression: int = NONE,
    predictor: int = 1,
    bits: int = 0,
    fill_order: int = 1,
    extra: Sequence[int] = (),
    colour_map: Sequence[int] = (),
    nodata: str = "",
    tags: Mapping[int, Sequence[int] | None] | None = None,
    pages: int = 1,
    absent: Sequence[int] = (),
) -> bytes:
    """The file.

    Args:
        array: (H, W) or (H, W, samples), of the type that is stored; of `bits` where these are fewer than its own.
        order: "<" or ">".
        tile: Rows and columns of a tile; else strips of `rows` rows, all where 0.
        tags: Others, or in the place of those that it would have; None leaves one out.
        absent: Numbers of blocks that are left out, as GDAL leaves them out of a sparse file.
    """
    array = array if array.ndim == 3 else array[:, :, None]
    height, width, samples = array.shape
    bits = bits or array.dtype.itemsize * 8
    kind = {"u": 1, "i": 2, "f": 3, "b": 1, "c": 6}[array.dtype.kind]
    planes = [array[:, :, [n]] for n in range(samples)] if planar else [array]
    blocks = [block for plane in planes for block in _blocks(plane, tile, rows or height)]
    packed = [_packed(block, order, bits, compression, predictor) for block in blocks]
    packed = [b"" if n in absent else data for n, data in enumerate(packed)]
    if fill_order == 2:
        packed = [data.translate(_REVERSED) for data in packed]
    entries: dict[int, tuple[str, Sequence[int] | bytes]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits] * samples),
        259: ("H", [compression]),
        262: ("H", [photometric]),
        277: ("H", [samples]),
        284: ("H", [2 if planar else 1]),
        339: ("H", [kind] * samples),
    }
    if fill_order != 1:
        entries[266] = ("H", [fill_order])
    if predictor != 1:
        entries[317] = ("H", [predictor])
    if extra:
        entries[338] = ("H", extra)
    if colour_map:
        entries[320] = ("H", colour_map)
    if nodata:
        entries[42113] = ("s", nodata.encode() + b"\0")
    code = "Q" if big else "I"
    entries |= {322: ("I", [tile[1]]), 323: ("I", [tile[0]])} if tile else {278: ("I", [rows or height])}
    entries[325 if tile else 279] = (code, [len(data) for data in packed])
    for tag, values in (tags or {}).items():
        if values is None:
            del entries[tag]
        else:
            entries[tag] = ("H" if max(values) < 65536 else code, values)
    head = struct.pack(f"{order}2sHHHQ", b"II" if order == "<" else b"MM", 43, 8, 0, 16)
    if not big:
        head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    begin = len(head)
    offsets = [begin + sum(map(len, packed[:n])) if data else 0 for n, data in enumerate(packed)]
    entries[324 if tile else 273] = (code, offsets)
    at = begin + sum(map(len, packed))
    at += at % 2
    body = b"".join(packed).ljust(at - begin, b"\0")
    head = head[: -8 if big else -4] + struct.pack(f"{order}{code}", at)
    for page in range(pages):
        directory, lists = _directory(entries, order, at, big=big, last=page == pages - 1)
        body += directory + lists
        at += len(directory) + len(lists)
    return head + body


def _directory(
    entries: Mapping[int, tuple[str, Sequence[int] | bytes]], order: str, at: int, *, big: bool, last: bool
) -> tuple[bytes, bytes]:
    code, room = ("Q", 8) if big else ("I", 4)
    length = struct.calcsize(f"={'Q' if big else 'H'}") + (20 if big else 12) * len(entries) + room
    lists = b""
    directory = struct.pack(f"{order}{'Q' if big else 'H'}", len(entries))
    for tag in sorted(entries):
        kind, values = entries[tag]
        data = values if isinstance(values, bytes) else struct.pack(f"{order}{len(values)}{kind}", *values)
        directory += struct.pack(f"{order}HH{code}", tag, {"H": 3, "I": 4, "Q": 16, "s": 2}[kind], len(values))
        if len(data) > room:
            directory += struct.pack(f"{order}{code}", at + length + len(lists))
            lists += data + b"\0" * (len(data) % 2)
        else:
            directory += data.ljust(room, b"\0")
    following = 0 if last else at + length + len(lists)
    return directory + struct.pack(f"{order}{code}", following), lists


def _blocks(plane: Array, tile: tuple[int, int] | None, rows: int) -> list[Array]:
    """Strips, or tiles that are filled up with the number 1."""
    if tile is None:
        return [plane[top : top + rows] for top in range(0, len(plane), rows)]
    high, wide = tile
    room = ((0, -len(plane) % high), (0, -plane.shape[1] % wide), (0, 0))
    whole = np.pad(plane, room, constant_values=1)
    return [
        whole[top : top + high, left : left + wide]
        for top in range(0, len(whole), high)
        for left in range(0, whole.shape[1], wide)
    ]


def _packed(block: Array, order: str, bits: int, compression: int, predictor: int) -> bytes:
    rows = _rows(block, order, bits, predictor)
    if compression == DEFLATE:
        return zlib.compress(rows.tobytes())
    if compression in _BY_PILLOW:
        stream = io.BytesIO()
        Image.fromarray(rows).save(stream, "TIFF", compression=_BY_PILLOW[compression], strip_size=1 << 30)
        with Image.open(stream) as image:
            (begin,), (length,) = image.tag_v2[273], image.tag_v2[279]  # type: ignore[attr-defined]
        return stream.getvalue()[begin : begin + length]
    return rows.tobytes()


def _rows(block: Array, order: str, bits: int, predictor: int) -> Array:
    """(rows, bytes of a row), uint8."""
    high = len(block)
    if bits < block.dtype.itemsize * 8 or block.dtype == bool:
        flat = block.reshape(high, -1, 1).astype(np.uint32)
        every = (flat >> np.arange(bits - 1, -1, -1, dtype=np.uint32) & 1).astype(np.uint8)
        return np.packbits(every.reshape(high, -1), axis=1)
    if predictor == 3:
        big = np.ascontiguousarray(block.astype(block.dtype.newbyteorder(">")))
        width = block.dtype.itemsize
        planes = big.view(np.uint8).reshape(high, -1, width).transpose(0, 2, 1).reshape(high, -1, block.shape[2])
        return np.diff(planes, axis=1, prepend=np.zeros((high, 1, block.shape[2]), np.uint8)).reshape(high, -1)
    if predictor == 2:
        whole = np.ascontiguousarray(block).view(f"u{block.dtype.itemsize}")
        block = np.diff(whole, axis=1, prepend=np.zeros((high, 1, block.shape[2]), whole.dtype))
    stored = np.ascontiguousarray(block.astype(block.dtype.newbyteorder(order)))
    return stored.view(np.uint8).reshape(high, -1)
