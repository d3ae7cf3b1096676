"""Palette PNGs: any reader gets the very indices back, with isal and without, and the chunks are what the standard says."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest

from fmviz import png

PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)


def noise(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (height, width), np.uint8)


def enlarged(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.kron(noise(height, width), np.ones((9, 9), np.uint8))


def smooth(height: int, width: int) -> npt.NDArray[np.uint8]:
    across, down = np.linspace(0, 255, width), np.linspace(0, 255, height)
    return ((across[None] + down[:, None]) / 2).astype(np.uint8)


PICTURES = {
    "one pixel": noise(1, 1),
    "one row": noise(1, 300),
    "one column": noise(300, 1),
    "noise": noise(70, 130),
    "enlarged": enlarged(31, 40),
    "smooth": smooth(500, 300),
    "flat": np.full((64, 64), 7, np.uint8),
    "more than a strip": enlarged(300, 100),
    "a part of another": noise(90, 90)[::2, 1::3],
}


@pytest.fixture(params=["isal", "zlib"])
def packer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "zlib":
        monkeypatch.setattr(png, "isal_zlib", None)
    elif png.isal_zlib is None:
        pytest.skip("isal has no wheel for this machine")
    return str(request.param)


@pytest.mark.parametrize("name", PICTURES)
def test_the_indices_come_back(packer: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "_STRIP", 1 << 16)
    data = png.png_bytes(PICTURES[name], PALETTE, {"fmviz": "{}"})
    with PIL.Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.mode == "P"
        assert image.text == {"fmviz": "{}"}
        assert np.array_equal(np.asarray(image), PICTURES[name])
        assert image.getpalette() == PALETTE.flatten().tolist()


def test_every_chunk_is_whole(packer: str) -> None:
    data = png.png_bytes(PICTURES["smooth"], PALETTE, {"short": "a", "long": "b" * 5000})
    place, kinds = 8, []
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        body = data[place + 4 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length]) == (zlib.crc32(body),)
        kinds.append(body[:4])
        place += 12 + length
    assert kinds[:4] == [b"IHDR", b"PLTE", b"tEXt", b"zTXt"]
    assert set(kinds[4:-1]) == {b"IDAT"}
    assert kinds[-1] == b"IEND"


def test_rows_are_packed_in_the_way_that_suits_them(packer: str) -> None:
    """Differences of noise are more noise; those of enlarged maps are mostly nothing."""

    def length(indices: npt.NDArray[np.uint8]) -> int:
        return len(png.png_bytes(indices, PALETTE, {})) - len(png.png_bytes(noise(1, 1), PALETTE, {}))

    noisy = noise(200, 300)
    assert length(noisy) < 1.01 * noisy.size
    assert length(np.kron(noisy, np.ones((8, 8), np.uint8))) < 2.6 * noisy.size
