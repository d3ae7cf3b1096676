"""Pictures of all kinds are read right, and what cannot be read is told in one sentence."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, TiffImagePlugin

from fmviz.errors import PictureError
from fmviz.pictures import FORMATS, MAX_PIXELS, SUFFIXES, Picture, in_folder, read_picture

LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}}
LOSSY = {"JPEG": {"quality": 95}, "AVIF": {"quality": 95}, "GIF": {}}
ORIENTATION = 0x0112


def quarters(height: int = 40, width: int = 60) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Red, green, blue and grey, clockwise from the upper left: no turn or flip of it is the same."""
    values = np.empty((height, width, 3), np.uint8)
    values[: height // 2, : width // 2] = (200, 30, 30)
    values[: height // 2, width // 2 :] = (30, 160, 40)
    values[height // 2 :, width // 2 :] = (30, 40, 180)
    values[height // 2 :, : width // 2] = (120, 120, 120)
    return values


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def apart(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> int:
    """The greatest difference of a value."""
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other.astype(int)).max())


# What a picture is


def test_a_picture_is_owned_read_only_and_contiguous(tmp_path: Path) -> None:
    path = tmp_path / "quarters.png"
    path.write_bytes(saved(Image.fromarray(quarters()), "PNG"))
    picture = read_picture(path)
    assert (picture.name, picture.note, picture.size) == ("quarters.png", "", (40, 60))
    assert picture.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.c_contiguous
    assert not picture.pixels.flags.writeable
    assert np.array_equal(picture.pixels, quarters())


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_is_read_by_path_and_by_bytes(form: str, tmp_path: Path) -> None:
    data = saved(Image.fromarray(quarters()), form, **{**LOSSLESS, **LOSSY}[form])
    path = tmp_path / "named.wrongly"
    path.write_bytes(data)
    by_path, by_bytes = read_picture(str(path)), read_picture(data, name="folder/pasted.png")
    assert np.array_equal(by_path.pixels, by_bytes.pixels)
    assert by_path.sha256 == by_bytes.sha256 == hashlib.sha256(data).hexdigest()
    assert by_bytes.name == "pasted.png"
    inner = np.s_[4:16, 4:26]  # away from the edges, where a lossy format is less exact
    assert apart(by_path.pixels[inner], quarters()[inner]) <= (0 if form in LOSSLESS else 6)


def test_no_other_format_is_read(tmp_path: Path) -> None:
    for form in ("EPS", "PPM", "TGA", "ICO"):
        path = tmp_path / f"{form}.png"
        path.write_bytes(saved(Image.fromarray(quarters(64, 64)), form))
        with pytest.raises(PictureError, match=f"^{form}.png .*: "):
            read_picture(path)


def test_suffixes_are_of_the_formats() -> None:
    Image.init()
    known = {suffix for suffix, form in Image.registered_extensions().items() if form in FORMATS}
    assert set(SUFFIXES) <= known
    assert {Image.registered_extensions()[suffix] for suffix in SUFFIXES} == set(FORMATS)


def test_a_picture_is_returned_as_it_is() -> None:
    picture = read_picture(quarters())
    assert read_picture(picture) is picture
    renamed = read_picture(picture, name="other.png")
    assert (renamed.name, renamed.pixels is picture.pixels, renamed.sha256) == ("other.png", True, picture.sha256)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("line\nbreak.png", "line�break.png"), ("\udcff.png", "�.png"), ("全角　空白.png", "全角　空白.png")],
)
def test_a_name_can_be_shown(name: str, shown: str) -> None:
    assert read_picture(quarters(), name=name).name == shown
    shown.encode("utf-8")


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_it_is_upright(form: str, orientation: int) -> None:
    upright = quarters()
    turns = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation]))
    data = saved(stored, form, exif=exif, **{**LOSSLESS, **LOSSY}[form])
    picture = read_picture(data)
    assert picture.size == (40, 60)
    assert apart(picture.pixels[::8, ::8], upright[::8, ::8]) <= 12
    with Image.open(io.BytesIO(data)) as opened:
        assert np.array_equal(read_picture(opened).pixels, picture.pixels)


def test_broken_exif_is_no_reason_to_refuse() -> None:
    data = saved(Image.fromarray(quarters()), "PNG", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff garbage")
    assert np.array_equal(read_picture(data).pixels, quarters())


# Depth


def test_sixteen_bits_keep_their_scale() -> None:
    values = np.array([[0, 128, 257, 32768, 65535]], np.uint16)
    for form in ("PNG", "TIFF"):
        pixels = read_picture(saved(Image.fromarray(values), form)).pixels
        assert pixels[0].tolist() == [[v] * 3 for v in (0, 0, 1, 128, 255)]


def test_sixteen_bits_of_either_byte_order_or_twelve_bits() -> None:
    big = io.BytesIO(_tiff(b"MM", bits=16, rows=[struct.pack(">3H", 0, 0x8000, 0xFFFF)]))
    assert read_picture(big.getvalue()).pixels[0, :, 0].tolist() == [0, 128, 255]
    # 0x000, 0xFFF, 0x800 and one to fill the byte
    twelve = _tiff(b"II", bits=12, rows=[bytes.fromhex("000fff800000")], width=4)
    assert read_picture(twelve).pixels[0, :3, 0].tolist() == [0, 255, 128]


def test_sixteen_bits_where_zero_is_white() -> None:
    data = _tiff(b"II", bits=16, rows=[struct.pack("<3H", 0, 0x8000, 0xFFFF)], photometric=0)
    assert read_picture(data).pixels[0, :, 0].tolist() == [255, 127, 0]


def _tiff(order: bytes, *, bits: int, rows: list[bytes], width: int = 3, photometric: int = 1) -> bytes:
    """A TIFF of uncompressed grey, as Pillow itself would not write it."""
    e = "<" if order == b"II" else ">"
    strip = b"".join(rows)
    short, long = 3, 4
    entries = [
        *[(256, long, width), (257, long, len(rows)), (258, short, bits), (259, short, 1), (262, short, photometric)],
        *[(273, long, 8), (277, short, 1), (278, long, len(rows)), (279, long, len(strip))],
    ]
    packed = [struct.pack(f"{e}HHI", tag, kind, 1) + _value(e, kind, value) for tag, kind, value in entries]
    ifd = struct.pack(f"{e}H", len(entries)) + b"".join(packed) + struct.pack(f"{e}I", 0)
    return order + struct.pack(f"{e}HI", 42, 8 + len(strip)) + strip + ifd


def _value(endian: str, kind: int, value: int) -> bytes:
    return struct.pack(f"{endian}HH", value, 0) if kind == 3 else struct.pack(f"{endian}I", value)


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        ([0, 100, 255], [0, 100, 255], "values from 0 to 255 stretched to 0–255"),
        ([0, 257, 65535], [0, 1, 255], "values from 0 to 65535 stretched to 0–255"),
        ([-1000, 0, 1000], [0, 128, 255], "values from -1000 to 1000 stretched to 0–255"),
        ([0, 0, 2_000_000], [0, 0, 255], "values from 0 to 2000000 stretched to 0–255"),
        ([-(2**31) + 1, 0, 2**31 - 2], [0, 128, 255], ""),
        ([7, 7, 7], [7, 7, 7], ""),
        ([-5, -5, -5], [0, 0, 0], "values from -5 to -5 scaled to 0–255"),
    ],
)
def test_whole_numbers_of_32_bits(values: list[int], expected: list[int], note: str) -> None:
    picture = read_picture(saved(Image.fromarray(np.array([values], np.int32)), "TIFF"))
    assert (picture.pixels[0, :, 2].tolist(), picture.note) == (expected, note)


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255], ""),
        ([0.2, 0.2, 0.2], [51, 51, 51], ""),
        ([0.0, 51.0, 255.0], [0, 51, 255], "values from 0 to 255 scaled to 0–255"),
        ([-1.0, 0.0, 3.0], [0, 64, 255], "values from -1 to 3 scaled to 0–255"),
        ([-3e38, 0.0, 3e38], [0, 128, 255], "values from -3e+38 to 3e+38 scaled to 0–255"),
        ([np.nan, np.inf, 1.0], [0, 255, 255], "2 of 3 values not finite, drawn NaN black, +∞ white"),
        (
            [-np.inf, 2.0, 4.0],
            [0, 0, 255],
            "values from 2 to 4 scaled to 0–255; 1 of 3 values not finite, drawn −∞ black",
        ),
        ([np.nan, np.nan, np.nan], [0, 0, 0], "3 of 3 values not finite, drawn NaN black"),
    ],
)
def test_floats(values: list[float], expected: list[int], note: str) -> None:
    picture = read_picture(saved(Image.fromarray(np.array([values], np.float32)), "TIFF"))
    assert (picture.pixels[0, :, 1].tolist(), picture.note) == (expected, note)


def test_a_signalling_nan_is_no_warning() -> None:
    values = np.array([[0x7F800001, 0x3F800000]], np.uint32).view(np.float32)
    assert read_picture(Image.fromarray(values)).pixels[0, :, 0].tolist() == [0, 255]


def test_one_bit_and_grey_and_palette() -> None:
    bits = np.array([[True, False, True]])
    assert read_picture(saved(Image.fromarray(bits), "PNG")).pixels[0, :, 0].tolist() == [255, 0, 255]
    grey = np.array([[0, 77, 255]], np.uint8)
    assert read_picture(saved(Image.fromarray(grey), "PNG")).pixels[0].tolist() == [[0] * 3, [77] * 3, [255] * 3]
    palette = Image.fromarray(quarters()).quantize(4)
    assert palette.mode == "P"
    assert apart(read_picture(saved(palette, "PNG")).pixels, quarters()) <= 2


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk(form: str) -> None:
    cmyk = Image.fromarray(quarters()).convert("CMYK")
    pixels = read_picture(saved(cmyk, form)).pixels
    assert apart(pixels[::8, ::8], quarters()[::8, ::8]) <= 10


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "LAB", "RGBX"])
def test_other_colour_spaces(mode: str) -> None:
    pixels = read_picture(Image.fromarray(quarters()).convert(mode)).pixels
    assert apart(pixels, quarters()) <= 6


# Transparency


def half(value: int) -> int:
    """`value` over white at an alpha of 128"""
    return round(value * 128 / 255 + 127)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_alpha_lies_over_white(form: str) -> None:
    values = np.array([[[10, 20, 30, 255], [10, 20, 30, 128], [10, 20, 30, 0]]], np.uint8)
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    picture = read_picture(saved(Image.fromarray(values), form, **options))
    assert apart(picture.pixels[0], np.array([[10, 20, 30], [half(10), half(20), half(30)], [255] * 3])) <= 1
    assert picture.note == "alpha over white"


def test_alpha_that_hides_nothing_is_not_worth_a_note() -> None:
    picture = read_picture(saved(Image.fromarray(quarters()).convert("RGBA"), "PNG"))
    assert np.array_equal(picture.pixels, quarters())
    assert picture.note == ""


def test_grey_with_alpha() -> None:
    image = Image.merge("LA", [Image.new("L", (2, 1), 40), Image.fromarray(np.array([[255, 0]], np.uint8))])
    for source in (image, image.convert("La"), saved(image, "PNG")):
        assert read_picture(source).pixels.tolist() == [[[40] * 3, [255] * 3]]


def test_premultiplied_alpha() -> None:
    image = Image.new("RGBA", (1, 1), (10, 20, 30, 128)).convert("RGBa")
    assert apart(read_picture(image).pixels, np.array([[[half(10), half(20), half(30)]]])) <= 1


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\xff"])
@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_palette_with_transparency(form: str, transparency: int | bytes) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture = read_picture(saved(image, form, transparency=1 if form == "GIF" else transparency))
    assert picture.pixels.tolist() == [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]
    assert picture.note == "alpha over white"


def test_a_palette_of_colours_with_alpha_and_a_palette_beside_alpha() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 255, 40, 50, 60, 0], "RGBA")
    assert read_picture(image).pixels.tolist() == [[[10, 20, 30], [255, 255, 255]]]
    beside = Image.fromarray(np.array([[[10, 20, 30, 255], [40, 50, 60, 0]]], np.uint8)).convert("PA")
    assert apart(read_picture(beside).pixels, np.array([[[10, 20, 30], [255] * 3]])) <= 3


@pytest.mark.parametrize(
    ("image", "key", "expected"),
    [
        (Image.fromarray(np.array([[5, 6]], np.uint8)), 5, [255, 6]),
        (Image.fromarray(np.array([[257 * 5, 257 * 6]], np.uint16)), 257 * 5, [255, 6]),
        (Image.fromarray(np.array([[[5, 5, 5], [6, 6, 6]]], np.uint8)), (5, 5, 5), [255, 6]),
        (Image.fromarray(np.array([[False, True]])), 0, [255, 255]),
    ],
)
def test_one_colour_that_is_transparent(image: Image.Image, key: Any, expected: list[int]) -> None:
    picture = read_picture(saved(image, "PNG", transparency=key))
    assert picture.pixels[0, :, 0].tolist() == expected
    assert picture.note == "alpha over white"


def test_sixteen_bits_of_colour_with_one_that_is_transparent() -> None:
    row = b"\0" + struct.pack(">6H", 0x1234, 0x2345, 0x3456, 0x4321, 0x5432, 0x6543)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    key = struct.pack(">3H", 0x1234, 0x2345, 0x3456)
    data = png((b"IHDR", header), (b"tRNS", key), (b"IDAT", zlib.compress(row)), (b"IEND", b""))
    assert read_picture(data).pixels.tolist() == [[[255, 255, 255], [0x43, 0x54, 0x65]]]


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


# Colour profiles


def test_a_profile_of_another_space_is_followed() -> None:
    swapped = _profile_with_red_and_green_swapped()
    picture = read_picture(saved(Image.fromarray(quarters()), "PNG", icc_profile=swapped))
    assert picture.note == "colours converted to sRGB"
    assert apart(picture.pixels[0, 0], quarters()[0, 0][[1, 0, 2]]) <= 3


def test_a_profile_goes_with_alpha() -> None:
    image = Image.fromarray(quarters()).convert("RGBA")
    image.putpixel((0, 0), (0, 0, 0, 0))
    picture = read_picture(saved(image, "PNG", icc_profile=_profile_with_red_and_green_swapped()))
    assert picture.note == "colours converted to sRGB; alpha over white"
    assert picture.pixels[0, 0].tolist() == [255, 255, 255]
    assert apart(picture.pixels[0, 1], quarters()[0, 1][[1, 0, 2]]) <= 3


def _profile_with_red_and_green_swapped() -> bytes:
    """sRGB's profile, with the tags of its red and green primaries exchanged, under another name."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = data.index(b"rXYZ"), data.index(b"gXYZ")
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    while (at := data.find("sRGB".encode("utf-16-be"))) >= 0:
        data[at : at + 8] = "GRBx".encode("utf-16-be")
    return bytes(data)


def test_srgb_moves_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = read_picture(saved(Image.fromarray(quarters()), "PNG", icc_profile=profile))
    assert np.array_equal(picture.pixels, quarters())
    assert picture.note == ""


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P"])
@pytest.mark.parametrize("profile", [b"no profile at all", b"\0" * 200, "lab"])
def test_a_profile_that_is_broken_or_of_another_mode_is_left_alone(mode: str, profile: bytes | str) -> None:
    if isinstance(profile, str):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image = Image.fromarray(quarters()).convert(mode)
    picture = read_picture(saved(image, "TIFF", icc_profile=profile))
    assert np.array_equal(picture.pixels, np.asarray(image.convert("RGB")))
    assert picture.note == ""


# Animations


@pytest.mark.parametrize(
    ("form", "word"), [("GIF", "frames"), ("WEBP", "frames"), ("PNG", "frames"), ("AVIF", "frames"), ("TIFF", "pages")]
)
def test_the_first_of_many_is_taken_and_said(form: str, word: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    picture = read_picture(saved(frames[0], form, save_all=True, append_images=frames[1:]))
    assert picture.note == f"first of 3 {word}"
    assert apart(picture.pixels, np.full((16, 16, 3), (255, 0, 0))) <= 6


def test_notes_are_joined() -> None:
    frames = [Image.new("RGBA", (16, 16), (255, 0, 0, alpha)) for alpha in (0, 100)]
    data = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert read_picture(data).note == "first of 2 frames; alpha over white"


def test_the_frame_that_a_pil_image_is_at() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    with Image.open(io.BytesIO(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))) as image:
        image.seek(1)
        assert read_picture(image).pixels[0, 0].tolist() == [0, 255, 0]
        assert image.tell() == 1


# Arrays and PIL images


def test_an_array_is_copied() -> None:
    values = quarters()
    picture = read_picture(values[:, ::-1])
    assert picture.sha256 == hashlib.sha256(picture.pixels.tobytes()).hexdigest()
    values[:] = 0
    assert np.array_equal(picture.pixels, quarters()[:, ::-1])
    assert values.flags.writeable


def test_a_grey_array() -> None:
    assert read_picture(np.array([[1, 2]], np.uint8), name="grey").pixels.tolist() == [[[1] * 3, [2] * 3]]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5, 3)),
        np.zeros((4, 5, 4), np.uint8),
        np.zeros((3, 4, 5), np.uint8),
        np.zeros((5,), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((1, 4, 5, 3), np.uint8),
        np.zeros((4, 5), bool),
    ],
)
def test_another_array_is_told_what_is_expected(array: np.ndarray[Any, Any]) -> None:
    with pytest.raises(
        PictureError, match=r"^mine has shape .*: give \(height, width, 3\) or \(height, width\) of uint8"
    ):
        read_picture(array, name="mine")


def test_a_pil_image_is_left_as_it_was() -> None:
    image = Image.fromarray(quarters()).convert("RGBA")
    image.info["icc_profile"] = _profile_with_red_and_green_swapped()
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image.info["exif"] = exif.tobytes()
    before = image.tobytes()
    assert read_picture(image).size == (60, 40)
    assert (image.size, image.tobytes(), image.getexif()[ORIENTATION]) == ((60, 40), before, 6)


def test_a_pil_image_has_its_files_name(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(saved(Image.fromarray(quarters()), "PNG"))
    with Image.open(path) as image:
        picture = read_picture(image)
    assert picture.name == "cat.png"
    assert picture.sha256 == hashlib.sha256(quarters().tobytes()).hexdigest()
    assert read_picture(Image.fromarray(quarters())).name == "picture"


def test_what_is_no_picture_at_all() -> None:
    for source in (3, None, [1, 2]):
        with pytest.raises(PictureError, match="is not a picture: give a path"):
            read_picture(source)  # type: ignore[arg-type]


# What cannot be read


def sentence_of(source: Any, name: str = "") -> str:
    """The one sentence that is said of it: its name first, one line, and no folder of this machine."""
    with pytest.raises(PictureError) as caught:
        read_picture(source, name=name)
    words = str(caught.value)
    assert "\n" not in words
    assert words.endswith(".")
    assert words.count(": ") == 1
    assert os.sep + "tmp" not in words
    return words


def test_a_file_that_is_absent(tmp_path: Path) -> None:
    assert sentence_of(tmp_path / "cat.png").startswith("cat.png does not exist: ")
    (tmp_path / "file").write_bytes(b"")
    assert sentence_of(tmp_path / "file" / "cat.png").startswith("cat.png does not exist: ")
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    assert sentence_of(tmp_path / "link.png").startswith("link.png does not exist: ")


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "photos.png").mkdir()
    assert sentence_of(tmp_path / "photos.png") == "photos.png is a folder: choose the pictures in it."
    assert sentence_of("") == "The path of the picture is empty: give the path of a file."


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert sentence_of(tmp_path / "pipe.png").startswith("pipe.png is a device or a pipe, not a file: ")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(saved(Image.fromarray(quarters()), "PNG"))

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("fmviz.pictures.open", refuse, raising=False)  # root may read all files
    assert sentence_of(path).startswith("secret.png may not be read by you: ")


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    null = "cat�.png cannot be opened (there is a null character in its path): check the path."
    assert sentence_of("cat\0.png") == sentence_of("folder\0/cat\0.png") == null
    assert sentence_of(tmp_path / ("x" * 300 + ".png")).startswith("x" * 300 + ".png cannot be opened (")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    assert sentence_of(tmp_path / "empty.png").startswith("empty.png is empty: ")
    assert sentence_of(b"", name="pasted").startswith("pasted is empty: ")


@pytest.mark.parametrize("text", ["<!doctype html><p>Not found</p>", "just words", "一" * 500, "\ufeffwith a mark\r\n"])
def test_a_text(text: str) -> None:
    assert sentence_of(text.encode(), name="page.jpg").startswith("page.jpg holds text, not a picture: ")


@pytest.mark.parametrize(
    "data",
    [b"\0\1\2\3" * 50, b"%PDF-1.7\n\xe2\xe3\xcf\xd3 binary \0\0", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99],
)
def test_what_is_no_picture(data: bytes) -> None:
    assert "is not a picture that can be read here: convert it to PNG, JPEG" in sentence_of(data, name="a.png")


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_is_cut_short(form: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = saved(Image.fromarray(values), form)
    for share in (0.05, 0.3, 0.6, 0.9):
        path = tmp_path / "cut.png"
        path.write_bytes(data[: max(16, int(len(data) * share))])
        assert sentence_of(path).startswith("cut.png is damaged or cut short: ")


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(FORMATS), st.data())
def test_a_damaged_file_is_read_or_refused_but_never_anything_else(form: str, data: st.DataObject) -> None:
    whole = bytearray(saved(Image.fromarray(quarters(16, 24)), form))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    words = said_of(bytes(whole))
    assert words == "" or words.startswith("damaged ")


def said_of(data: bytes) -> str:
    """The error's words, or "" where it was read."""
    try:
        read_picture(data, name="damaged")
    except PictureError as error:
        return str(error)
    return ""


def test_a_bomb_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    side = int(MAX_PIXELS**0.5) + 1
    bomb = png(
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")
    )
    decoded: list[object] = []
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded.append)
    for limit in (Image.MAX_IMAGE_PIXELS, None):  # a program that uses fmviz may have lifted Pillow's
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert "178,956,970 are safe to read: " in sentence_of(bomb, name="bomb.png")
    assert decoded == []


def test_text_that_unpacks_to_a_lot_is_refused() -> None:
    packed = zlib.compress(b"\0" * 70_000_000, 9)
    header = (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    text = (b"zTXt", b"key\0\0" + packed)
    data = png(header, *[text] * 2, (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b""))
    assert sentence_of(data, name="text.png").startswith("text.png holds metadata that unpack to more than ")


def test_no_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("fmviz.pictures.upright_rgb", fail)
    assert "needs more memory than there is: " in sentence_of(saved(Image.fromarray(quarters()), "PNG"), name="big.png")


# The process that we are guests in


def test_warnings_are_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # 2400 pixels are worth a warning, which is an error here
    before = list(warnings.filters)
    data = saved(Image.fromarray(quarters()), "PNG")
    threads = [threading.Thread(target=read_picture, args=(data,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_picture(data).size == (40, 60)
    assert list(warnings.filters) == before


def test_a_file_is_closed(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    before = len(os.listdir("/proc/self/fd"))
    for form in FORMATS:
        path = tmp_path / form
        path.write_bytes(saved(Image.fromarray(quarters()), form))
        read_picture(path)
        path.write_bytes(path.read_bytes()[:60])
        sentence_of(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_compressed_tiff_is_read_and_hashed(tmp_path: Path) -> None:
    path = tmp_path / "lzw.tif"
    path.write_bytes(saved(Image.fromarray(quarters()), "TIFF", compression="tiff_lzw"))
    picture = read_picture(path)
    assert np.array_equal(picture.pixels, quarters())
    assert picture.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert TiffImagePlugin.READ_LIBTIFF is False


def test_neither_torch_nor_qt_is_needed() -> None:
    code = (
        "import sys, fmviz.pictures; "
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'torchvision', 'PySide6')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_picture_cannot_be_changed() -> None:
    picture = read_picture(quarters())
    assert isinstance(picture, Picture)
    with pytest.raises(AttributeError):
        picture.name = "other"  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        picture.pixels[0, 0] = 0


def test_the_pictures_in_a_folder_come_by_name_and_number(tmp_path):
    for name in ("c10.PNG", "c9.png", "C1.jpeg", "b.gif", "9.bmp", "10.bmp", "notes.txt", "a"):
        (tmp_path / name).touch()
    (tmp_path / "d.png").mkdir()
    found = [path.name for path in in_folder(tmp_path)]
    assert found == ["9.bmp", "10.bmp", "b.gif", "C1.jpeg", "c9.png", "c10.PNG"]
    with pytest.raises(FileNotFoundError):
        in_folder(tmp_path / "nowhere")
