"""Read the samples of a TIFF page (TIFF 6.0, BigTIFF, GDAL's tags): any bits, planes, strips and tiles.

Compressed blocks are unpacked by the libtiff inside Pillow; the layout of the samples is read here, since Pillow knows only
some layouts and reads some of them wrong.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of a TIFF: little-endian and big-endian, classic and BigTIFF."""

Array = npt.NDArray[Any]
Order = Literal["<", ">"]

_TYPES = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 11: "f4", 12: "f8"} | {
    13: "u4",
    16: "u8",
    17: "i8",
    18: "u8",
}
"""Types of tag values, as numpy names them. Rationals (5, 10) are not needed."""
_WIDTHS = {5: 8, 10: 8} | {number: int(name[1]) for number, name in _TYPES.items()}

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 254, 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_COUNTS, _PLANAR = 273, 274, 277, 278, 279, 284
_PREDICTOR, _COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 317, 320, 322, 323, 324, 325
_INK_SET, _EXTRA, _FORMAT, _ICC, _NODATA = 332, 338, 339, 34675, 42113

_NONE, _JPEG, _OLD_JPEG, _FAX = 1, 7, 6, (2, 3, 4)
_LZW, _DEFLATES, _PACKBITS, _LZMA, _ZSTD = 5, (8, 32946), 32773, 34925, 50000
_OF_PILLOW = {_LZW: "tiff_lzw", _PACKBITS: "packbits", _LZMA: "lzma", _ZSTD: "zstd"}
"""Codecs of whole blocks of bytes that the libtiff of Pillow has, as Pillow names them."""
_WITH_PREDICTOR = (_LZW, *_DEFLATES, _LZMA, _ZSTD)
_CODECS = {
    2: "CCITT RLE",
    3: "CCITT fax 3",
    4: "CCITT fax 4",
    5: "LZW",
    6: "old JPEG",
    7: "JPEG",
    8: "deflate",
    9: "JBIG",
    10: "JBIG",
    32766: "NeXT",
    32773: "PackBits",
    32809: "ThunderScan",
    32946: "deflate",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "SGI LogLuv",
    34677: "SGI LogLuv",
    34712: "JPEG 2000",
    34713: "Nikon NEF",
    34887: "LERC",
    34892: "lossy JPEG of DNG",
    34925: "LZMA",
    34927: "WebP",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
"""Compressions, for a person."""

GREY, RGB, PALETTE, CMYK, YCBCR, LAB = "grey", "RGB", "palette", "CMYK", "YCbCr", "CIELAB"
_COLOURS = {0: GREY, 1: GREY, 2: RGB, 3: PALETTE, 5: CMYK, 6: YCBCR, 8: LAB}
_OTHER_COLOURS = {
    4: "a transparency mask",
    9: "ICC Lab colours",
    10: "ITU Lab colours",
    32803: "a colour filter array of a camera",
    32844: "LogL values",
    32845: "LogLuv colours",
    34892: "linear raw of a camera",
    51177: "a depth map",
}
_SAMPLES_OF = {GREY: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}

_BLOCK = 1 << 22
"""Bytes that are unpacked at a time, or one strip or tile where that is larger."""
_MOST_A_BYTE = 8_500
_SAFE_BYTES = 1 << 24
_MOST_BYTES = 6 * 178_956_970
"""Bytes of the samples that are shown, and of a tile or strip: 1.07 GB, 16-bit RGB where a picture has the most pixels."""
_MOST_UNPACKED = 8 * _MOST_BYTES
"""Bytes of all samples that are decoded, with those of bands that are not shown."""
_SAFE_TILE = 1 << 26
_MOST_PADDING = 4
"""Tiles may take up to this multiple of the page, or `_SAFE_TILE` bytes of samples each if that is more."""
MOST_PAGES = 20_000
"""Pages that are counted at most."""
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


class UnsupportedTiffError(Exception):
    """The file is in order, and of a kind that is not read; the text names the kind."""


class TooLargeTiffError(Exception):
    """The samples take more bytes than is safe; the text says what takes how many."""


class DamagedTiffError(Exception):
    """The file contradicts itself or ends too early."""


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    data: bytes
    """The value, or where it is, as the directory has it."""


class _Directory:
    """One image file directory: its tags, read when they are asked for."""

    def __init__(self, file: IO[bytes], at: int, order: Order, *, big: bool) -> None:
        self._file, self._order, self._big = file, order, big
        self._length = file.seek(0, io.SEEK_END)
        head, entry, tail = ("Q", 20, "Q") if big else ("H", 12, "I")
        count = self._unpack(head, at)
        at += struct.calcsize(f"={head}")
        data = self._bytes(at, count * entry)
        self.next = self._unpack(tail, at + count * entry)
        self._entries: dict[int, _Entry] = {}
        for place in range(0, len(data), entry):
            tag, kind, number = struct.unpack_from(f"{order}HH{tail}", data, place)
            self._entries.setdefault(tag, _Entry(kind, number, data[place + (12 if big else 8) : place + entry]))

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def values(self, tag: int) -> Array:
        """Return the values of a tag as a one-dimensional array in the machine's byte order."""
        entry = self._entries[tag]
        if entry.kind not in _TYPES:
            raise DamagedTiffError(f"tag {tag} is of type {entry.kind}")
        nbytes = entry.count * _WIDTHS[entry.kind]
        data = entry.data[:nbytes]
        if nbytes > len(entry.data):
            data = self._bytes(struct.unpack(f"{self._order}{'Q' if self._big else 'I'}", entry.data)[0], nbytes)
        found = np.frombuffer(data, np.dtype(_TYPES[entry.kind]).newbyteorder(self._order))
        return found.astype(found.dtype.newbyteorder("="))

    def numbers(self, tag: int, *default: int) -> tuple[int, ...]:
        """Return the values of a tag that is made of whole numbers, or `default` where it is absent."""
        if tag not in self._entries:
            return default
        values = self.values(tag)
        if not len(values) or values.dtype.kind == "f":
            raise DamagedTiffError(f"tag {tag} has no whole number")
        return tuple(values.tolist())

    def number(self, tag: int, default: int) -> int:
        return self.numbers(tag, default)[0]

    def _bytes(self, at: int, count: int) -> bytes:
        if at + count > self._length:
            raise DamagedTiffError("a tag points behind the end")
        self._file.seek(at)
        return self._file.read(count)

    def _unpack(self, code: str, at: int) -> int:
        code = f"{self._order}{code}"
        return int(struct.unpack(code, self._bytes(at, struct.calcsize(code)))[0])


@dataclass(frozen=True, slots=True)
class Layout:
    """How the first page of a TIFF is stored.

    Attributes:
        size: (height, width), as stored.
        samples: Samples of a pixel, which are the bands.
        colours: One of `GREY`, `RGB`, `PALETTE`, `CMYK`, `YCBCR`, `LAB`.
        white_is_zero: Whether grey is stored inverted.
        bits: Bits of a sample.
        dtype: Type of a sample in the machine's byte order, wide enough for `bits`.
        alpha: Index of the sample that is alpha, or None.
        premultiplied: Whether the colours are multiplied by alpha.
        colour_map: (2 ** bits, 3) uint8, of a palette.
        orientation: As in EXIF, 1 to 8.
        icc: The colour profile, or b"".
        nodata: The value of pixels without data, by GDAL's tag, or None.
        pages: Number of pages, without previews and masks.
        by_pillow: Whether Pillow decodes the page by itself (JPEG, fax, YCbCr).
    """

    size: tuple[int, int]
    samples: int
    colours: str
    white_is_zero: bool
    bits: int
    dtype: np.dtype[Any]
    alpha: int | None
    premultiplied: bool
    colour_map: npt.NDArray[np.uint8] | None
    orientation: int
    icc: bytes
    nodata: float | int | None
    pages: int
    by_pillow: bool
    compression: int
    predictor: int
    order: Order
    reversed_bits: bool
    planar: bool
    tiled: bool
    block: tuple[int, int]
    """(rows, columns) of a strip or tile."""
    offsets: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def bands(self) -> int:
        """The number of bands that can be chosen from."""
        return self.samples if self.colours in (GREY, RGB) and not self.by_pillow else 1 if self.colours == GREY else 3

    @property
    def is_of_old_jpeg(self) -> bool:
        return self.compression == _OLD_JPEG

    @property
    def words(self) -> str:
        """The kind, for a person."""
        return f"{_CODECS.get(self.compression, 'no')} compression of {self.colours}"

    def default_bands(self) -> tuple[int, ...]:
        """Return the bands that are shown where none are chosen, from 0: those of RGB; of grey, the first, or three."""
        if self.colours == RGB:
            return (0, 1, 2)
        colours = [band for band in range(self.samples) if band != self.alpha]
        return tuple(colours[:3]) if self.colours == GREY and len(colours) >= 3 else (0,)


def read_layout(file: IO[bytes]) -> Layout:
    """Return the layout of the first page, checked.

    Raises:
        UnsupportedTiffError: The page is of a kind that is not read.
        DamagedTiffError: Its tags contradict each other or are absent.
        TooLargeTiffError: Its tiles are much larger than the page.
    """
    file.seek(0)
    head = file.read(16)
    order: Order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    if len(head) < (16 if big else 8) or (big and struct.unpack(f"{order}HH", head[4:8]) != (8, 0)):
        raise DamagedTiffError("the header is cut short")
    at = struct.unpack(f"{order}{'Q' if big else 'I'}", head[8:16] if big else head[4:8])[0]
    return _layout(_Directory(file, at, order, big=big), order, _pages(file, at, order, big=big))


def _pages(file: IO[bytes], at: int, order: Order, *, big: bool) -> int:
    """Count the pages; previews of smaller size and masks are none. A broken chain ends the count."""
    seen: set[int] = set()
    count = 0
    while at and at not in seen and len(seen) < MOST_PAGES:
        seen.add(at)
        try:
            kind, at = _kind_and_next(file, at, order, big=big)
        except struct.error:
            break
        count += not kind & 5
    return max(count, 1)


def _kind_and_next(file: IO[bytes], at: int, order: Order, *, big: bool) -> tuple[int, int]:
    """The subfile type of a directory, and where the next one is.

    Its first entry alone is looked at, since tags are sorted and the type has the lowest number: directories that overlap
    would take hours to read.
    """
    head, entry, tail = ("Q", 20, "Q") if big else ("H", 12, "I")
    file.seek(at)
    (count,) = struct.unpack(f"{order}{head}", file.read(struct.calcsize(f"={head}")))
    tag, _, _, value = struct.unpack(f"{order}HH{tail}{tail}", file.read(entry))
    if count > 1 << 24:
        raise struct.error
    file.seek(entry * (count - 1), io.SEEK_CUR)
    (following,) = struct.unpack(f"{order}{tail}", file.read(struct.calcsize(f"={tail}")))
    return (value if tag == _SUBFILE else 0), following


def _layout(tags: _Directory, order: Order, pages: int) -> Layout:
    width, height, samples = (tags.number(tag, one) for tag, one in ((_WIDTH, 0), (_HEIGHT, 0), (_SAMPLES, 1)))
    if samples < 1:
        raise DamagedTiffError("no samples")
    compression = tags.number(_COMPRESSION, _NONE)
    bits, dtype = _depth(tags, samples)
    colours, white_is_zero = _colours(tags, samples, compression)
    by_pillow = compression in (_JPEG, _OLD_JPEG, *_FAX) or colours == YCBCR
    _check_codec(compression, colours, bits, dtype, samples)
    predictor = tags.number(_PREDICTOR, 1) if compression in _WITH_PREDICTOR else 1
    _check_predictor(predictor, bits, dtype)
    alpha, premultiplied = _alpha(tags, samples, colours)
    planar = samples > 1 and tags.number(_PLANAR, 1) == 2
    tiled = _TILE_WIDTH in tags
    block = min(tags.number(_ROWS_PER_STRIP, height), height), width
    if tiled:
        block = tags.number(_TILE_HEIGHT, 0), tags.number(_TILE_WIDTH, 0)
    if min(width, height) > 0 and min(block) < 1:
        raise DamagedTiffError("a tile without pixels")
    _check_block((height, width), block, (1 if planar else samples) * dtype.itemsize)
    if colours == YCBCR and compression not in (_JPEG, _OLD_JPEG):
        _check_ycbcr(tags, compression, width * height, apart=planar)
    offsets = tags.numbers(_TILE_OFFSETS if tiled and _TILE_OFFSETS in tags else _STRIP_OFFSETS)
    counts = tags.numbers(_TILE_COUNTS if tiled and _TILE_COUNTS in tags else _STRIP_COUNTS)
    orientation = tags.number(_ORIENTATION, 1)
    return Layout(
        size=(height, width),
        samples=samples,
        colours=colours,
        white_is_zero=white_is_zero,
        bits=bits,
        dtype=dtype,
        alpha=alpha,
        premultiplied=premultiplied,
        colour_map=_colour_map(tags, bits) if colours == PALETTE and not by_pillow else None,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        icc=tags.values(_ICC).tobytes() if _ICC in tags else b"",
        nodata=_nodata(tags, dtype),
        pages=pages,
        by_pillow=by_pillow,
        compression=compression,
        predictor=predictor,
        order=order,
        reversed_bits=tags.number(_FILL_ORDER, 1) == 2,
        planar=planar,
        tiled=tiled,
        block=block,
        offsets=offsets,
        counts=counts,
    )


def _check_block(size: tuple[int, int], block: tuple[int, int], a_pixel: int) -> None:
    """Refuse tiles much larger than the page, which would take memory that no size of the page announces.

    Args:
        size, block: (height, width) of the page and of a tile.
        a_pixel: Bytes of a decoded pixel.
    """
    if 0 in size or math.prod(block) * a_pixel <= max(_SAFE_TILE, _MOST_PADDING * math.prod(size) * a_pixel):
        return
    raise TooLargeTiffError(
        f"claims tiles of {block[1]:,} × {block[0]:,} pixels for a page of {size[1]:,} × {size[0]:,} pixels, more than "
        f"{_MOST_PADDING} times the page"
    )


def _depth(tags: _Directory, samples: int) -> tuple[int, np.dtype[Any]]:
    """Return the bits of a sample, and the type that holds it."""
    every = tags.numbers(_BITS, 1)
    formats = tags.numbers(_FORMAT, 1)
    if len(set(every)) > 1:
        raise UnsupportedTiffError(f"samples of different depths ({', '.join(map(str, every[:4]))} bits)")
    if len(set(formats)) > 1:
        raise UnsupportedTiffError("samples of different types")
    if (len(every) not in (1, samples) and len(every) < samples) or every[0] < 1:
        raise DamagedTiffError("the bits of some samples are not given")
    bits, kind = every[0], formats[0]
    if kind in (5, 6):
        raise UnsupportedTiffError("complex numbers")
    name = {1: "u", 2: "i", 3: "f", 4: "u"}.get(kind)
    if name is None:
        raise DamagedTiffError("samples of no known type")
    words = {"u": "unsigned whole numbers", "i": "signed whole numbers", "f": "floating-point numbers"}[name]
    if bits in (8, 16, 32, 64) and (name, bits) != ("f", 8):
        return bits, np.dtype(f"{name}{bits // 8}")
    if name == "u" and bits < 16:
        return bits, np.dtype("u1" if bits < 8 else "u2")
    raise UnsupportedTiffError(f"{words} of {bits} bits")


def _colours(tags: _Directory, samples: int, compression: int) -> tuple[str, bool]:
    """Return the meaning of the samples, and whether grey is inverted."""
    if _PHOTOMETRIC in tags:
        photometric = tags.number(_PHOTOMETRIC, 1)
    else:
        # As libtiff takes it.
        photometric = 0 if compression in _FAX else 1 if samples < 3 else 2
    if photometric in _OTHER_COLOURS:
        raise UnsupportedTiffError(_OTHER_COLOURS[photometric])
    if photometric not in _COLOURS:
        raise UnsupportedTiffError(f"colours of kind {photometric}")
    colours = _COLOURS[photometric]
    if colours == CMYK and (tags.number(_INK_SET, 1) != 1 or samples < 4):
        raise UnsupportedTiffError(f"{samples} inks other than CMYK")
    if samples < _SAMPLES_OF[colours]:
        raise UnsupportedTiffError(f"{colours} of {samples} {'sample' if samples == 1 else 'samples'} a pixel")
    return colours, photometric == 0


def _check_codec(compression: int, colours: str, bits: int, dtype: np.dtype[Any], samples: int) -> None:
    """Raise `UnsupportedTiffError` where a compression, or colours of such a depth, are not read."""
    codec = _CODECS.get(compression, f"number {compression}")
    if compression in (_JPEG, _OLD_JPEG, *_FAX):
        if dtype != np.uint8 or bits != (1 if compression in _FAX else 8):
            raise UnsupportedTiffError(f"{codec} compression of {bits}-bit samples")
        if colours in (PALETTE, LAB) or (colours == GREY and samples > 1):
            raise UnsupportedTiffError(f"{codec} compression of {colours} with {samples} samples a pixel")
    elif compression in _OF_PILLOW:
        if not _pillow_has(_OF_PILLOW[compression]):
            raise UnsupportedTiffError(f"{codec} compression")
    elif compression not in (_NONE, *_DEFLATES):
        raise UnsupportedTiffError(f"{codec} compression")
    # Grey may have any depth; of the others, tables and conversions exist for these.
    if colours == YCBCR and (bits != 8 or dtype != np.uint8):
        raise UnsupportedTiffError(f"YCbCr of {bits}-bit samples")
    whole = dtype.kind == "u" or (dtype.kind == "i" and colours == LAB)
    if colours in (CMYK, LAB) and not (whole and bits in (8, 16)):
        raise UnsupportedTiffError(f"{colours} of {bits}-bit samples")
    if colours == PALETTE and (dtype.kind != "u" or bits > 16):
        raise UnsupportedTiffError(f"a palette with indices of {bits} bits")


def _check_ycbcr(tags: _Directory, compression: int, pixels: int, *, apart: bool) -> None:
    """Refuse layouts of YCbCr that Pillow reads wrong: planes apart, and colours of fewer pixels that are not compressed."""
    if apart:
        raise UnsupportedTiffError("YCbCr with planes apart")
    if compression == _NONE and sum(tags.numbers(_STRIP_COUNTS, 0)) != 3 * pixels:
        raise UnsupportedTiffError("uncompressed YCbCr with subsampled colours")


def _pillow_has(codec: str) -> bool:
    """Return whether the libtiff inside Pillow was built with a codec."""
    from PIL import Image

    try:
        Image.new("L", (1, 1)).save(io.BytesIO(), "TIFF", compression=codec)
    except Exception:
        return False
    return True


def _check_predictor(predictor: int, bits: int, dtype: np.dtype[Any]) -> None:
    if predictor not in (1, 2, 3):
        raise UnsupportedTiffError(f"predictor {predictor}")
    if (predictor == 2 and bits not in (8, 16, 32, 64)) or (predictor == 3 and dtype.kind != "f"):
        raise UnsupportedTiffError(f"predictor {predictor} with {bits}-bit samples")


def _alpha(tags: _Directory, samples: int, colours: str) -> tuple[int | None, bool]:
    """Return the index of the alpha sample, if any, and whether the colours are multiplied by alpha."""
    count = _SAMPLES_OF[colours]
    extra = tags.numbers(_EXTRA)
    if not extra and colours == RGB and samples == 4:
        # Not allowed, and in use: ExtraSamples is absent.
        return 3, False
    first = samples - len(extra)
    for place, kind in enumerate(extra, start=first):
        if kind in (1, 2) and count <= place < samples:
            return place, kind == 1
    return None, False


def _colour_map(tags: _Directory, bits: int) -> npt.NDArray[np.uint8]:
    """The palette as (2 ** bits, 3) uint8. Its entries have 16 bits; some programs write 8, and libtiff tells them so."""
    entries = np.array(tags.numbers(_COLOUR_MAP), np.int64)
    if len(entries) != 3 << bits:
        raise DamagedTiffError("the palette is absent or of another size")
    if entries.max() > 255:
        entries >>= 8
    return entries.reshape(3, -1).T.astype(np.uint8)


def _nodata(tags: _Directory, dtype: np.dtype[Any]) -> float | int | None:
    """The value that GDAL's tag names, as the samples would hold it; None where they cannot hold it."""
    if _NODATA not in tags:
        return None
    text = tags.values(_NODATA).tobytes().split(b"\0")[0].decode("latin-1").strip()
    try:
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                return float(np.array(float(text)).astype(dtype))
        try:
            value = int(text)
        except ValueError:
            whole = float(text)
            value = int(whole) if whole == int(whole) else -(1 << 70)
    except (ValueError, OverflowError):
        return None
    return value if np.iinfo(dtype).min <= value <= np.iinfo(dtype).max else None


def read_samples(file: IO[bytes], layout: Layout, bands: Sequence[int]) -> tuple[Array, int]:
    """Decode some bands of the page.

    Args:
        bands: Indices of the samples, from 0.

    Returns:
        (H, W, number of bands), in `layout.dtype`; and the number of blocks that are absent from the file, as sparse files
        leave them out, which hold nodata or zeros.

    Raises:
        DamagedTiffError, TooLargeTiffError, OSError: a block is cut short, broken or larger than is safe.
    """
    height, width = layout.size
    if height * width * len(bands) * layout.dtype.itemsize > _MOST_BYTES:
        nbytes = height * width * len(bands) * layout.dtype.itemsize
        raise TooLargeTiffError(f"claims {nbytes:,} bytes of samples")
    out = np.empty((height, width, len(bands)), layout.dtype)
    absent = 0
    if layout.planar:
        for place, band in enumerate(bands):
            absent += _fill(file, layout, band, out[:, :, place : place + 1], [0])
    else:
        absent = _fill(file, layout, 0, out, bands)
    return out, absent


@dataclass(frozen=True, slots=True)
class _Piece:
    """A strip, a tile or some rows of a strip: where it lies in the page and in the file."""

    top: int
    left: int
    rows: int
    offset: int
    count: int


def _fill(file: IO[bytes], layout: Layout, plane: int, out: Array, bands: Sequence[int]) -> int:
    """Decode the blocks of a plane into `out` (H, W, bands); return the number of blocks that are absent."""
    in_a_row = list(bands) == list(range(bands[0], bands[0] + len(bands)))
    # A slice is copied many times faster than a list of indices.
    chosen = slice(bands[0], bands[0] + len(bands)) if in_a_row else list(bands)
    columns = layout.block[1]
    a_pixel = 1 if layout.planar else layout.samples
    row_bytes = -(-columns * a_pixel * layout.bits // 8)
    decoded_row = columns * a_pixel * layout.dtype.itemsize
    pieces = _pieces(layout, plane, row_bytes)
    _check_pieces(layout, pieces, (row_bytes, decoded_row), file.seek(0, io.SEEK_END))
    absent = [piece for piece in pieces if not piece.offset]
    for piece in absent:
        out[piece.top : piece.top + piece.rows, piece.left : piece.left + columns] = layout.nodata or 0
    step = max(1, _BLOCK // max(decoded_row, 1))
    for group in _groups([piece for piece in pieces if piece.offset], row_bytes):
        rows = _unpacked(layout, [_read(file, piece) for piece in group], [piece.rows for piece in group], row_bytes)
        at = 0
        for piece in group:
            target = out[piece.top : piece.top + piece.rows, piece.left : piece.left + columns]
            for top in range(0, len(target), step):
                part = target[top : top + step]
                values = _values(layout, rows[at + top : at + top + len(part)], columns, a_pixel)
                part[...] = values[:, : part.shape[1], chosen]
            at += piece.rows
    return len(absent)


def _pieces(layout: Layout, plane: int, row_bytes: int) -> list[_Piece]:
    height, width = layout.size
    rows, columns = layout.block
    across = -(-width // columns)
    blocks = -(-height // rows) * across
    first = plane * blocks
    if len(layout.offsets) < first + blocks or len(layout.counts) not in (0, len(layout.offsets)):
        raise DamagedTiffError("blocks are missing")
    pieces = []
    for number in range(blocks):
        top, left = number // across * rows, number % across * columns
        offset = layout.offsets[first + number]
        count = layout.counts[first + number] if layout.counts else 0
        high = rows if layout.tiled else min(rows, height - top)
        if layout.compression != _NONE or not offset:
            pieces.append(_Piece(top, left, high, offset, count))
            continue
        if 0 < count < high * row_bytes:
            raise DamagedTiffError("a block is too short")
        # Uncompressed strips can be read a few rows at a time.
        step = high if layout.tiled else max(1, _BLOCK // row_bytes)
        for row in range(0, high, step):
            some = min(step, high - row)
            pieces.append(_Piece(top + row, left, some, offset + row * row_bytes, some * row_bytes))
    return pieces


def _check_pieces(layout: Layout, pieces: Sequence[_Piece], a_row: tuple[int, int], length: int) -> None:
    """Refuse, before anything is allocated, pieces outside of the file and those that unpack to more than is safe.

    Args:
        a_row: Bytes of a row, unpacked and decoded to samples; of fewer than 8 bits, samples take more bytes decoded.
        length: Bytes of the file.
    """
    for piece in pieces:
        # A block that a sparse file leaves out has neither place nor length.
        if piece.offset + piece.count > length or bool(piece.count) != bool(piece.offset):
            raise DamagedTiffError("a block lies behind the end")
        unpacked, decoded = (piece.rows * nbytes for nbytes in a_row)
        packed_tight = piece.offset and unpacked > max(_SAFE_BYTES, _MOST_A_BYTE * piece.count)
        if packed_tight or max(unpacked, decoded) > _MOST_BYTES:
            raise TooLargeTiffError(f"claims {max(unpacked, decoded):,} bytes in a block of {piece.count:,}")
    total = sum(piece.rows for piece in pieces) * max(a_row)
    page = layout.size[0] * layout.size[1] * max(a_row) // layout.block[1]
    if total > min(_MOST_UNPACKED, max(_MOST_BYTES, _MOST_PADDING * page)):
        raise TooLargeTiffError(f"claims {total:,} bytes of samples")


def _groups(pieces: Sequence[_Piece], row_bytes: int) -> Iterator[list[_Piece]]:
    """Pieces that are unpacked together: of the same height, but for the last."""
    group: list[_Piece] = []
    nbytes = 0
    for piece in pieces:
        more = nbytes + piece.rows * row_bytes
        if group and (more > _BLOCK or piece.rows > group[-1].rows or group[-1].rows < group[0].rows):
            yield group
            group, nbytes = [], 0
        group.append(piece)
        nbytes += piece.rows * row_bytes
    if group:
        yield group


def _read(file: IO[bytes], piece: _Piece) -> bytes:
    file.seek(piece.offset)
    return file.read(piece.count)


def _unpacked(layout: Layout, parts: list[bytes], rows: list[int], row_bytes: int) -> npt.NDArray[np.uint8]:
    """Decompress pieces into (all their rows, bytes of a row)."""
    if layout.reversed_bits:
        parts = [part.translate(_REVERSED) for part in parts]
    if layout.compression == _NONE:
        return np.frombuffer(b"".join(parts), np.uint8).reshape(sum(rows), row_bytes)
    if layout.compression in _DEFLATES:
        parts = [_inflated(part, count * row_bytes) for part, count in zip(parts, rows, strict=True)]
        return np.frombuffer(b"".join(parts), np.uint8).reshape(sum(rows), row_bytes)
    from PIL import TiffImagePlugin

    # libtiff's codecs work on bytes: as a grey TIFF of 8 bits, Pillow unpacks samples of any layout.
    with TiffImagePlugin.TiffImageFile(io.BytesIO(_grey_tiff(layout.compression, parts, rows, row_bytes))) as image:
        image.load()
        return np.asarray(image)


def _inflated(data: bytes, nbytes: int) -> bytes:
    """Unpack a block that deflate has packed; unlike libtiff, with a look at its checksum."""
    unpacker = zlib.decompressobj()
    found = unpacker.decompress(data, nbytes)
    # The end of the stream comes after the last byte.
    unpacker.decompress(unpacker.unconsumed_tail, 1)
    if len(found) < nbytes:
        raise DamagedTiffError("a block is too short")
    return found


def _grey_tiff(compression: int, parts: list[bytes], rows: list[int], row_bytes: int) -> bytes:
    """A TIFF of 8-bit grey whose strips are `parts`."""
    count = len(parts)
    lengths = [len(part) for part in parts]
    tags = [
        *[(_WIDTH, [row_bytes]), (_HEIGHT, [sum(rows)]), (_BITS, [8]), (_COMPRESSION, [compression])],
        *[(_PHOTOMETRIC, [1]), (_STRIP_OFFSETS, [0] * count), (_SAMPLES, [1]), (_ROWS_PER_STRIP, [rows[0]])],
        (_STRIP_COUNTS, lengths),
    ]
    start = 8 + 2 + 12 * len(tags) + 4
    lists = start, start + 4 * count
    begin = start + (8 * count if count > 1 else 0)
    offsets = (begin + np.concatenate(([0], np.cumsum(lengths[:-1])))).astype(np.int64).tolist()
    tags[5] = (_STRIP_OFFSETS, offsets)
    out = bytearray(struct.pack("<2sHIH", b"II", 42, 8, len(tags)))
    places = iter(lists)
    for tag, values in tags:
        out += struct.pack("<HHII", tag, 4, len(values), values[0] if len(values) == 1 else next(places))
    out += bytes(4)
    for values in (offsets, lengths) if count > 1 else ():
        out += struct.pack(f"<{count}I", *values)
    return bytes(out) + b"".join(parts)


def _values(layout: Layout, rows: npt.NDArray[np.uint8], columns: int, a_pixel: int) -> Array:
    """The bytes of rows as samples (rows, columns, samples of a pixel) in the machine's byte order."""
    shape = (len(rows), columns, a_pixel)
    if layout.bits not in (8, 16, 32, 64):
        return _from_bits(rows, columns * a_pixel, layout.bits, layout.dtype).reshape(shape)
    if layout.predictor == 3:
        return _from_float_predictor(rows, layout.bits // 8, a_pixel).reshape(shape).astype(layout.dtype)
    stored = layout.dtype.newbyteorder(layout.order)
    if layout.predictor == 2:
        # Differences of whole numbers, whatever the bits mean; they wrap around.
        whole = np.dtype(f"u{layout.bits // 8}")
        values = np.ascontiguousarray(rows).view(whole.newbyteorder(layout.order)).reshape(shape)
        return np.cumsum(values, axis=1, dtype=whole).view(layout.dtype)
    return np.ascontiguousarray(rows).view(stored).reshape(shape).astype(layout.dtype, copy=False)


def _from_bits(rows: npt.NDArray[np.uint8], count: int, bits: int, dtype: np.dtype[Any]) -> Array:
    """(rows, `count`) whole numbers of fewer than 16 bits, the most significant bit first.

    Some columns are unpacked at a time, since each bit takes a byte meanwhile. Every eighth column begins at a byte.
    """
    values = np.zeros((len(rows), count), dtype)
    step = max(1, _BLOCK // (8 * bits * max(len(rows), 1))) * 8
    for left in range(0, count, step):
        part = values[:, left : left + step]
        some = part.shape[1]
        packed = rows[:, left * bits // 8 : -(-(left + some) * bits // 8)]
        flat = np.unpackbits(packed, axis=1)[:, : some * bits].reshape(len(rows), some, bits)
        for place in range(bits):
            np.left_shift(part, 1, out=part)
            np.bitwise_or(part, flat[:, :, place], out=part)
    return values


def _from_float_predictor(rows: npt.NDArray[np.uint8], width: int, a_pixel: int) -> Array:
    """Undo the floating-point predictor: differences of bytes, which lie in planes, the most significant first."""
    differences = rows.reshape(len(rows), -1, a_pixel)
    planes = np.cumsum(differences, axis=1, dtype=np.uint8).reshape(len(rows), width, -1)
    return np.ascontiguousarray(planes.transpose(0, 2, 1)).view(f">f{width}")
