"""Damaged files, the same for the same seed: bits turned, parts cut out, moved or doubled, and exchanged between files."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image


def mutants(seeds: Sequence[bytes], count: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """(number, bytes) of `count` mutants of these files."""
    rng = random.Random(seed)
    for number in range(count):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            _mutate(data, rng, seeds)
        yield number, bytes(data)


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
        (rgb.convert("RGBA"), "WEBP", {"lossless": True}),
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
