"""Damaged files, the same for the same seed: bits turned, parts cut out, moved or doubled, and exchanged between files."""

from __future__ import annotations

import io
import random
import struct
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.append(str(Path(__file__).parents[1]))  # for the scripts of this folder
from tiffs import BLACK_IS_ZERO, DEFLATE, LZW, NONE, PACKBITS, PALETTE, RGB, WHITE_IS_ZERO, tiff


def mutants(seeds: Sequence[bytes], count: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """(number, bytes) of `count` mutants of these files."""
    rng = random.Random(seed)
    for number in range(count):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            _mutate(data, rng, seeds)
        if rng.random() < 0.4:
            data = bytearray(_rearranged(bytes(data), rng))
        # With a wrong checksum, a reader looks no further.
        yield number, _checked(bytes(data)) if rng.random() < 0.7 else bytes(data)


def _mutate(data: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    if not data:
        return
    way = rng.randrange(8)
    # What decides is mostly at the beginning.
    at = rng.randrange(min(len(data), rng.choice((64, 512, len(data)))))
    length = rng.choice((1, 2, 4, 8, 64, 512))
    if way == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif way == 1:
        data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
    elif way == 2:
        data[at : at + 4] = rng.choice(
            (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\x40\0", b"\xff\xff\xff\x7f")
        )
    elif way == 3:
        del data[at:]
    elif way == 4:
        del data[at : at + length]
    elif way == 5:
        data[at:at] = data[at : at + length] * rng.choice((1, 2, 50))
    elif way == 6:
        other = rng.randrange(len(data))
        data[at : at + length], data[other : other + length] = data[other : other + length], data[at : at + length]
    else:
        stranger = rng.choice(seeds)
        begin = rng.randrange(len(stranger))
        data[at : at + length] = stranger[begin : begin + length]


def _rearranged(data: bytes, rng: random.Random) -> bytes:
    """Two of its chunks, segments, boxes or entries change places, or one is left out or comes twice."""
    parts = chunks(data)
    if len(parts) < 3:
        return data
    one, other = rng.randrange(1, len(parts)), rng.randrange(1, len(parts))
    way = rng.randrange(3)
    if way == 0:
        parts[one], parts[other] = parts[other], parts[one]
    elif way == 1:
        del parts[one]
    else:
        parts.insert(other, parts[one])
    return b"".join(parts)


def chunks(data: bytes) -> list[bytes]:
    """The parts that a picture's format is made of; together they are the whole, whatever it is."""
    ends: list[int] = []
    if data.startswith(b"\x89PNG"):
        at = 8
        while at + 8 <= len(data):
            ends.append(at)
            at += 12 + int.from_bytes(data[at : at + 4], "big")
    elif data.startswith(b"\xff\xd8"):
        at = 2
        while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
            ends.append(at)
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        ends.append(at)
    elif data.startswith(b"RIFF"):
        at = 12
        while at + 8 <= len(data):
            ends.append(at)
            length = int.from_bytes(data[at + 4 : at + 8], "little")
            at += 8 + length + length % 2
    elif data[4:8] == b"ftyp":
        at = 0
        while at + 8 <= len(data):
            ends.append(at)
            at += max(8, int.from_bytes(data[at : at + 4], "big"))
    elif data.startswith(b"GIF8"):
        ends = [at for at in range(13, len(data)) if data[at - 1] == 0 and data[at] in (0x21, 0x2C, 0x3B)]
    elif data.startswith(b"BM"):
        ends = [14, 18, 22, 26, 28, 30, 34, 54]
    elif data.startswith((b"II*", b"MM")):
        order = "little" if data[0] == 0x49 else "big"
        first = int.from_bytes(data[4:8], order)
        count = int.from_bytes(data[first : first + 2], order)
        ends = [8, first, *(first + 2 + 12 * entry for entry in range(min(count, 99) + 1))]
    ends = sorted({end for end in ends if 0 < end < len(data)})
    return [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def _checked(data: bytes) -> bytes:
    """A PNG with the right checksum behind each of its chunks; anything else as it is."""
    if not data.startswith(b"\x89PNG"):
        return data
    parts = chunks(data)
    for number, part in enumerate(parts[1:], start=1):
        if len(part) >= 12 and int.from_bytes(part[:4], "big") == len(part) - 12:
            parts[number] = part[:-4] + struct.pack(">I", zlib.crc32(part[4:-4]))
    return b"".join(parts)


def pictures() -> list[bytes]:
    """Small pictures of seven formats, some of them with metadata, frames, palettes and transparency."""
    rng = np.random.default_rng(3)
    rgb = Image.fromarray(rng.integers(0, 256, (23, 31, 3), dtype=np.uint8))
    smooth = Image.fromarray(np.add.outer(np.arange(40), np.arange(64)).astype(np.uint8))
    exif = Image.Exif()
    exif[274], exif[305] = 6, "a camera"
    ways: list[tuple[Image.Image, str, dict[str, object]]] = [
        (rgb, "PNG", {}),
        (rgb.convert("P"), "PNG", {"transparency": 3}),
        (rgb.convert("RGBA"), "PNG", {"exif": exif}),
        (smooth.convert("I;16"), "PNG", {}),
        (rgb, "JPEG", {"exif": exif}),
        (rgb, "JPEG", {"progressive": True}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (smooth.resize((1400, 1100)), "JPEG", {"quality": 20}),
        (rgb, "GIF", {}),
        (rgb, "GIF", {"save_all": True, "append_images": [smooth.convert("RGB").resize(rgb.size)]}),
        (rgb, "BMP", {}),
        (smooth, "BMP", {}),
        (rgb, "WEBP", {}),
        (rgb.convert("RGBA"), "WEBP", {"lossless": True, "exif": exif}),
        (rgb, "TIFF", {"compression": "tiff_lzw"}),
        (smooth, "TIFF", {"compression": "tiff_deflate"}),
        (rgb, "TIFF", {"compression": "jpeg"}),
        (smooth.convert("F"), "TIFF", {}),
        (rgb, "AVIF", {}),
    ]
    made = []
    for image, form, options in ways:
        stream = io.BytesIO()
        image.save(stream, form, **options)
        made.append(stream.getvalue())
    return made


def tiffs() -> list[bytes]:
    """Small TIFFs of many layouts: planes, tiles, predictors, both byte orders, BigTIFF, palettes, bands, nodata."""
    rng = np.random.default_rng(4)
    eight = rng.integers(0, 256, (23, 31, 3), dtype=np.uint8)
    sixteen = rng.integers(0, 4096, (23, 31, 5), dtype=np.uint16)
    floats = rng.random((23, 31)).astype(np.float32)
    return [
        tiff(eight, RGB, planar=True, compression=PACKBITS, rows=6),
        tiff(sixteen[:, :, :3], RGB, planar=True, compression=LZW, predictor=2, order=">", rows=5),
        tiff(sixteen, BLACK_IS_ZERO, extra=[0] * 4, compression=DEFLATE, tile=(16, 16), big=True),
        tiff(sixteen, RGB, extra=[2, 0], planar=True, order=">", big=True),
        tiff(floats, BLACK_IS_ZERO, compression=DEFLATE, predictor=3, nodata="-9999", rows=4),
        tiff(floats.astype(np.float64), WHITE_IS_ZERO, compression=NONE, rows=3),
        tiff(eight[:, :, 0], PALETTE, colour_map=[*range(256)] * 3),
        tiff(sixteen[:, :, 0], BLACK_IS_ZERO, bits=12, compression=LZW, tile=(16, 32)),
        tiff(eight[:, :, 0].astype(np.uint32), BLACK_IS_ZERO, pages=3),
    ]
