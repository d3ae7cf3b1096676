"""A picture of indices as the bytes of a palette PNG (W3C's PNG specification, third edition): eight bits, one palette.

Pillow would do, were it not for what exports are made of: thousands of maps, enlarged by whole factors. Here a row that is
the one above once more costs nothing, the others are taken as they are or as differences, whatever is smaller, and isal packs
them, where it is there, five to ten times as fast as zlib does.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

try:
    from isal import isal_zlib
except ImportError:  # there is no wheel of it for every machine
    isal_zlib = None  # type: ignore[assignment]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_AS_THEY_ARE, _LEFT, _ABOVE = 0, 1, 2
"""Filters of rows: none, the difference to the pixel on the left, the difference to the one above."""
_STRIP = 1 << 21
"""Pixels that are packed at a time."""
_SAMPLE, _SAMPLE_ROWS = 1 << 17, 16
"""Pixels of the sample that tells how to pack a picture, taken in so many rows at a time."""
_LONG_TEXT = 2000


def png_bytes(indices: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8], texts: dict[str, str]) -> bytes:
    """The file.

    Args:
        indices: (h, w) uint8, 1 × 1 or more.
        palette: (256, 3) uint8 RGB.
        texts: Latin-1 keywords of 1 to 79 letters and ASCII texts, for text chunks.
    """
    height, width = indices.shape
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)), (b"PLTE", palette.tobytes())]
    chunks += [_text(key, text) for key, text in texts.items()]
    chunks += [(b"IDAT", data) for data in _packed(np.ascontiguousarray(indices)) if data]
    chunks.append((b"IEND", b""))
    return _SIGNATURE + b"".join(piece for kind, data in chunks for piece in _chunk(kind, data))


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, ...]:
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _text(key: str, text: str) -> tuple[bytes, bytes]:
    name, plain = key.encode("latin-1"), text.encode("ascii")
    if len(plain) > _LONG_TEXT:
        return b"zTXt", name + b"\0\0" + zlib.compress(plain)
    return b"tEXt", name + b"\0" + plain


class _Way(NamedTuple):
    """One of the ways to pack a picture: `usual` is the filter of its rows, `dear` how much longer its time is worth."""

    usual: int
    packer: Callable[[], Any]
    dear: float = 1.0


def _ways() -> tuple[_Way, ...]:
    if isal_zlib is None:
        return tuple(_Way(usual, partial(zlib.compressobj, 1)) for usual in (_AS_THEY_ARE, _LEFT))
    isal = partial(isal_zlib.compressobj, 2, zlib.DEFLATED, 15)
    # zlib's more patient search, where thousands of tiny maps are enlarged; it takes eight times as long.
    return _Way(_AS_THEY_ARE, isal), _Way(_LEFT, isal), _Way(_LEFT, partial(zlib.compressobj, 4), 1.2)


def _packed(indices: npt.NDArray[np.uint8]) -> Iterator[bytes]:
    way = _best_way(indices)
    packer = way.packer()
    rows = max(1, _STRIP // indices.shape[1])
    for begin in range(0, len(indices), rows):
        yield packer.compress(_filtered(indices, begin, begin + rows, way.usual))
    yield packer.flush()


def _best_way(indices: npt.NDArray[np.uint8]) -> _Way:
    """What packs a sample of the rows into the fewest bytes."""
    places = min(max(_SAMPLE // (_SAMPLE_ROWS * indices.shape[1]), 2), 8)
    begins = np.unique(np.linspace(0, max(len(indices) - _SAMPLE_ROWS, 0), places + 2)[1:-1].astype(int)).tolist()

    def length(way: _Way) -> float:
        packer = way.packer()
        parts = [packer.compress(_filtered(indices, begin, begin + _SAMPLE_ROWS, way.usual)) for begin in begins]
        return way.dear * (len(packer.flush()) + sum(map(len, parts)))

    return min(_ways(), key=length)


def _filtered(indices: npt.NDArray[np.uint8], begin: int, end: int, usual: int) -> npt.NDArray[np.uint8]:
    """Rows from `begin` up to `end`, each behind the number of its filter: (rows, 1 + w)."""
    part = indices[begin:end]
    out = np.empty((len(part), 1 + part.shape[1]), np.uint8)
    out[:, 0] = usual
    if usual == _LEFT:
        out[:, 1] = part[:, 0]
        np.subtract(part[:, 1:], part[:, :-1], out=out[:, 2:])
    else:
        out[:, 1:] = part
    same = np.empty(len(part), bool)
    same[0] = begin > 0 and bool((part[0] == indices[begin - 1]).all())
    same[1:] = (part[1:] == part[:-1]).all(axis=1)
    out[same, 0], out[same, 1:] = _ABOVE, 0
    return out
