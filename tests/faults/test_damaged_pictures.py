"""Thousands of damaged pictures, and pictures that would fill the memory: each is read, or refused in a sentence."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutants import mutants, pictures
from PIL import Image

from fmviz.pictures import FORMATS

READER = Path(__file__).with_name("a_reader.py")


@pytest.mark.timeout(1800)
def test_damaged_pictures_are_read_or_refused(long: bool, tmp_path: Path) -> None:
    findings, sums = [], []
    for seed in range(10 if long else 1):
        ran = subprocess.run(
            [sys.executable, str(READER), "2000", str(seed)], capture_output=True, text=True, check=False
        )
        lines = ran.stdout.splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{")]
        findings += [(seed, one["number"], one["what"]) for one in told if "number" in one]
        if ran.returncode or not told or "end" not in told[-1]:
            findings.append((seed, int(lines[-1]), f"ended with {ran.returncode}: {ran.stderr[-300:]}"))
        else:
            sums.append(told[-1])
    kept = [keep(finding, tmp_path) for finding in findings]
    assert not findings, f"{findings[:5]}; the files: {kept[:5]}"
    assert max(one["grown"] for one in sums) <= 512
    # Most are still pictures, and many are not.
    assert 400 < sums[0]["refused"] < 1900


def keep(finding: tuple[int, int, str], folder: Path) -> Path:
    """The mutant as a file, to look at what is wrong with it."""
    seed, number, _ = finding
    path = folder / f"{seed}-{number}"
    path.write_bytes(next(data for place, data in mutants(pictures(), number + 1, seed) if place == number))
    return path


# Bombs


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, *, bits: int = 8, colour: int = 2, between: bytes = b"", rows: int | None = None
) -> bytes:
    """A PNG of this size with blank rows, all of them or so many."""
    packer = zlib.compressobj(9)
    line = min(1 + width * bits * {0: 1, 2: 3, 3: 1, 6: 4}[colour] // 8, 1_000_000)
    packed = b"".join(packer.compress(b"\0" * line) for _ in range(min(rows if rows is not None else height, 20_000)))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + between + chunk(b"IDAT", packed + packer.flush()) + chunk(b"IEND", b"")


def saved(form: str, size: tuple[int, int] = (16, 16), **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, form, **options)
    return stream.getvalue()


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) >= 1
    return data.replace(old, new)


def bombs() -> dict[str, bytes]:
    """By name, forty of them."""
    made: dict[str, bytes] = {}
    for width, height in (
        (60_000, 60_000),
        (2**31 - 1, 1),
        (1, 2**31 - 1),
        (2**31 - 1, 2**31 - 1),
        (20_000, 9_000),
        (100, 40_000_000),
        (90_000, 90_000),
    ):
        made[f"{width}x{height}.png"] = png(width, height, rows=1)
    for bits, colour in ((1, 0), (8, 0), (8, 6), (16, 2), (16, 6)):
        made[f"rows of {bits} bits, kind {colour}.png"] = png(13_000, 13_000, bits=bits, colour=colour, rows=20)
    made["one bit.png"] = png(200_000, 800, bits=1, colour=0, rows=100)
    zeros = zlib.compress(b"\0" * 60_000_000, 1)
    made["text.png"] = png(8, 8, between=chunk(b"zTXt", b"Comment\0\0" + zeros))
    made["international text.png"] = png(8, 8, between=chunk(b"iTXt", b"Comment\0\1\0\0\0" + zeros))
    made["profile.png"] = png(8, 8, between=chunk(b"iCCP", b"profile\0\0" + zeros))
    made["many texts.png"] = png(
        8,
        8,
        between=b"".join(chunk(b"zTXt", f"K{n}\0\0".encode() + zlib.compress(b"\0" * 1_000_000)) for n in range(90)),
    )
    jpeg = saved("JPEG")
    for width, height in ((65_500, 65_500), (65_535, 30_000), (14_000, 14_000), (12_000, 12_000)):
        made[f"{width}x{height}.jpg"] = patched(jpeg, b"\0\x10\0\x10\x03", struct.pack(">HHB", height, width, 3))
    gif = saved("GIF")
    for width, height in ((65_535, 65_535), (65_535, 3_000), (12_000, 12_000), (8_000, 8_000), (30_000, 7_000)):
        whole = patched(gif, b"\x10\0\x10\0", struct.pack("<HH", width, height))
        made[f"{width}x{height}.gif"] = whole
    bmp = saved("BMP")
    for width, height in ((60_000, 60_000), (2**31 - 1, 2), (2, 2**31 - 1), (13_000, 13_000), (3_000, -(2**31) + 1)):
        made[f"{width}x{height}.bmp"] = bmp[:18] + struct.pack("<ii", width, height) + bmp[26:]
    tiff = saved("TIFF", (4660, 4660), compression="tiff_deflate")
    for width in (600_000, 100_000, 38_000, 2**31 - 1):
        made[f"{width} wide.tif"] = patched(
            tiff, struct.pack("<HHII", 256, 3, 1, 4660), struct.pack("<HHII", 256, 4, 1, width)
        )
    for compression in ("tiff_deflate", "tiff_lzw", "packbits"):
        made[f"blank {compression}.tif"] = saved("TIFF", (6_000, 6_000), compression=compression)[:3_000]
    made["blank.webp"] = saved("WEBP", (5_000, 5_000), lossless=True, method=0, quality=0)
    made["blank.avif"] = saved("AVIF", (5_000, 5_000), speed=10, quality=1)
    return made


MEASURE = """
import json, resource, sys, time
from pathlib import Path
from fmviz.errors import PictureError
from fmviz.pictures import read_picture
def resident():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
for whole in sorted(Path(sys.argv[1]).glob("good.*")):
    read_picture(whole)
for bomb in sorted(Path(sys.argv[1]).glob("bomb*")):
    for name in bomb.iterdir():
        before, least, said = resident(), 9.0, None
        for _ in range(3):
            begun = time.perf_counter()
            try:
                read_picture(name).pixels
                said = None
            except PictureError as error:
                said = str(error)
            least = min(least, time.perf_counter() - begun)
        print(json.dumps([name.name, said, least, resident() - before]), flush=True)
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str | None, float, float]]:
    """What is said of each bomb, in how many seconds, and how many MB it took, in one process."""
    folder = tmp_path_factory.mktemp("bombs")
    for form in FORMATS:
        (folder / f"good.{form.lower()}").write_bytes(saved(form, (64, 64)))
    for number, (name, data) in enumerate(bombs().items()):
        (folder / f"bomb{number:02}").mkdir()
        (folder / f"bomb{number:02}" / name).write_bytes(data)
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder)], capture_output=True, text=True, check=False, timeout=250
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return {name: (said, least, grown) for name, said, least, grown in map(json.loads, ran.stdout.splitlines())}


def test_there_are_forty_bombs(refusals: dict[str, tuple[str | None, float, float]]) -> None:
    assert len(refusals) >= 40


def test_each_bomb_is_refused_in_a_sentence(refusals: dict[str, tuple[str | None, float, float]]) -> None:
    for name, (said, _, _) in refusals.items():
        assert said is not None, f"{name} is no bomb, or was read"
        assert said.startswith(name)
        assert "\n" not in said
        assert said.endswith(".")
        assert ": " in said


def test_the_sentence_gives_size_limit_and_remedy(refusals: dict[str, tuple[str | None, float, float]]) -> None:
    """Of all that could be read, but for their size."""
    told = [said for said, _, _ in refusals.values() if said and "damaged" not in said and "cannot be read" not in said]
    assert len(told) >= 30
    for said in told:
        assert sum(sign.isdigit() for sign in said) > 6, said
        assert "make it smaller" in said or "save it anew" in said, said


def test_no_bomb_takes_time_or_memory(refusals: dict[str, tuple[str | None, float, float]]) -> None:
    for name, (_, least, grown) in refusals.items():
        assert least < 0.2, f"{name} took {least:.2f} s"
        assert grown < 50, f"{name} took {grown:.0f} MB"


def test_a_blank_drawing_of_usual_size_is_no_bomb() -> None:
    from fmviz.pictures import read_picture

    for form in ("PNG", "GIF", "WEBP", "TIFF"):
        assert read_picture(saved(form, (2000, 1900))).size == (1900, 2000)
    assert read_picture(png(9000, 6000, rows=6000)).size == (6000, 9000)
    assert np.all(read_picture(saved("JPEG", (5000, 4000))).at_least(100) == 0)
