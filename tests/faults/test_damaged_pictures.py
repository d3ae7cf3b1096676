"""Thousands of damaged pictures, and pictures that would fill the memory: each is read, or refused in a sentence."""

from __future__ import annotations

import io
import json
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutants import chunks, mutants, pictures
from PIL import Image
from tiffs import tiff as tiff_of

from fmviz.pictures import FORMATS

READER = Path(__file__).with_name("a_reader.py")


@pytest.mark.timeout(1800)
def test_damaged_pictures_are_read_or_refused(long: bool, tmp_path: Path) -> None:
    findings, sums = [], []
    for seed in range(10 if long else 1):
        ending, printed = run([sys.executable, str(READER), "2000", str(seed)])
        lines = printed.splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{")]
        findings += [(seed, one["number"], one["what"]) for one in told if "number" in one]
        if ending or not told or "end" not in told[-1]:
            findings.append((seed, int([line for line in lines if line.lstrip("-").isdigit()][-1]), ending))
        else:
            sums.append(told[-1])
    kept = [keep(finding, tmp_path) for finding in findings]
    assert not findings, f"{findings[:5]}; the files: {kept[:5]}"
    # Most are still pictures, and many are not.
    assert 400 < sums[0]["refused"] < 1900


@pytest.mark.timeout(900)
def test_damaged_tiffs_of_all_layouts_are_read_or_refused(long: bool) -> None:
    for seed in range(10 if long else 1):
        ending, printed = run([sys.executable, str(READER), "1500", str(seed), "tiffs"])
        told = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
        assert not ending, ending
        assert [one for one in told if "number" in one] == []
        assert 300 < told[-1]["refused"] < 1450


def run(command: list[str]) -> tuple[str, str]:
    """How it ended, "" where well, and what it printed. What hangs is ended after three minutes."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        printed, errors = child.communicate(timeout=180)
    except subprocess.TimeoutExpired:
        child.kill()
        return "hangs", child.communicate()[0]
    return f"ended with {child.returncode}: {errors[-300:]}" if child.returncode else "", printed


def test_mutants_get_as_far_as_the_decoders() -> None:
    """Of the damaged PNGs, most have right checksums; chunks change places in all seven formats."""
    for whole in pictures():
        parts = chunks(whole)
        assert len(parts) >= 2
        assert b"".join(parts) == whole
    damaged = [data for _, data in mutants([whole for whole in pictures() if whole[:4] == b"\x89PNG"], 300, 5)]
    right = sum(
        all(part[-4:] == struct.pack(">I", zlib.crc32(part[4:-4])) for part in chunks(data)[1:]) for data in damaged
    )
    assert right > 80


def keep(finding: tuple[int, int, str], folder: Path) -> Path:
    """The mutant as a file, to look at what is wrong with it."""
    seed, number, _ = finding
    if number < 0:
        return sorted(READER.with_name("found").iterdir())[-number - 1]
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


def wide_webp(width: int, height: int) -> bytes:
    """A lossless WebP whose header claims this size, in 14 bits each."""
    data = saved("WEBP", lossless=True)
    at = data.index(b"VP8L") + 8
    bits = (int.from_bytes(data[at + 1 : at + 5], "little") >> 28 << 28) | (height - 1) << 14 | (width - 1)
    return data[: at + 1] + bits.to_bytes(4, "little") + data[at + 5 :]


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
    values = np.zeros((16, 16), np.uint16)
    for side in (1 << 14, 1 << 16, 1 << 20, 1 << 30):
        # One tile that unpacks to gigabytes, by its tags, and holds a kilobyte.
        made[f"tile of {side}.tif"] = tiff_of(
            values, 1, compression=8, tile=(16, 16), tags={256: (9_000,), 257: (9_000,), 322: (side,), 323: (side,)}
        )
    made["60000 samples.tif"] = tiff_of(
        values, 1, compression=8, tags={256: (9_000,), 257: (9_000,), 277: (60_000,), 258: (16,), 339: (1,)}
    )
    made["16383x16383.webp"] = wide_webp(16_383, 16_383)
    made["blank.webp"] = saved("WEBP", (5_000, 5_000), lossless=True, method=0, quality=0)
    made["blank.avif"] = saved("AVIF", (5_000, 5_000), speed=10, quality=1)
    return made


def traps() -> dict[str, bytes]:
    """Pictures that are all right, but for what else is in the file: only the first of it is wanted."""
    gif = saved("GIF")
    frame = gif[gif.index(b"\x2c", 13) : -1]
    tiff = bytearray(saved("TIFF"))
    first = struct.unpack("<I", tiff[4:8])[0]
    after = first + 2 + 12 * struct.unpack("<H", tiff[first : first + 2])[0]
    tiff[after : after + 4] = tiff[4:8]
    return {"20000 frames.gif": gif[:-1] + frame * 20_000 + b"\x3b", "its own next.tif": bytes(tiff)}


MEASURE = """
import json, os, resource, sys, time
from pathlib import Path
from fmviz.errors import PictureError
from fmviz.pictures import read_picture
def resident():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
for whole in sorted(Path(sys.argv[1]).glob("good.*")):
    read_picture(whole)
for bomb in sorted(Path(sys.argv[1]).glob("bomb*")):
    for name in bomb.iterdir():
        # In a process of its own, so that none hides behind the peak of another.
        if child := os.fork():
            if os.waitpid(child, 0)[1]:
                sys.exit(f"{name.name} ended the process")
            continue
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
        os._exit(0)
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str | None, float, float]]:
    """What is said of each bomb, in how many seconds, and how many MB it took, in one process."""
    folder = tmp_path_factory.mktemp("bombs")
    for form in FORMATS:
        (folder / f"good.{form.lower()}").write_bytes(saved(form, (64, 64)))
    for number, (name, data) in enumerate({**bombs(), **traps()}.items()):
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
        if name in traps():
            assert said is None, said
            continue
        assert said is not None, f"{name} is no bomb, or was read"
        assert said.startswith(name)
        assert "\n" not in said
        assert said.endswith(".")
        assert ": " in said


def test_the_sentence_gives_size_limit_and_remedy(refusals: dict[str, tuple[str | None, float, float]]) -> None:
    """Of all that could be read, but for their size."""
    told = [said for said, _, _ in refusals.values() if said and "damaged" not in said and "cannot be read" not in said]
    assert len(told) >= 36
    size = re.compile(r"\d[\d,]* pixels|\d[\d,]* × \d[\d,]* pixels in \d[\d,]* bytes|metadata that unpack")
    for said in told:
        assert size.search(said), said
        assert re.search(r"more than (the )?\d[\d,]*( bytes| a byte)?", said), said
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
