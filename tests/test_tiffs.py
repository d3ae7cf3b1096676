"""TIFFs of every layout give the right pixels, or one sentence that names the kind; a whole file is never called damaged."""

from __future__ import annotations

import io
import itertools
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin
from tiffs import (
    BLACK_IS_ZERO,
    CMYK,
    DEFLATE,
    JPEG,
    LAB,
    LZW,
    NONE,
    PACKBITS,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    ZSTD,
    tiff,
)

from fmviz.errors import PictureError
from fmviz.pictures import read_picture
from fmviz.tiff import read_layout, read_samples

Array = np.ndarray[Any, Any]

GREY = np.linspace(0, 1, 47)[None, :] * np.linspace(0.2, 1, 37)[:, None]
COLOURS = np.stack([GREY, GREY * 0.5, 1 - GREY], axis=2)
TYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "f2", "f4", "f8")


def stored(shares: Array, kind: str) -> Array:
    """Shares of 0–1 over the whole range of a type; of floating-point numbers as they are."""
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return shares.astype(dtype)
    limits = np.iinfo(dtype)
    span = float(limits.max) - float(limits.min)
    # A step below the top: float64 has no more exact value there.
    return (shares * span * (1 - 2**-50) + float(limits.min)).round().astype(dtype)


def expected(shares: Array) -> Array:
    return np.round((shares if shares.ndim == 3 else shares[:, :, None]) * 255)


def error_of(data: bytes, right: Array, **options: Any) -> float:
    return float(np.abs(read_picture(data, **options).pixels.astype(int) - right).max())


def sentence_of(data: bytes, **options: Any) -> str:
    with pytest.raises(PictureError) as caught:
        read_picture(data, name="a.tif", **options)
    words = str(caught.value)
    assert words.startswith("a.tif ")
    assert "\n" not in words
    return words


# Layouts


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_each_type_in_strips_and_tiles(kind: str, planar: bool, order: str) -> None:
    values = stored(COLOURS, kind)
    for big, tile, compression in itertools.product(
        (False, True), (None, (16, 32)), (NONE, LZW, DEFLATE, PACKBITS, ZSTD)
    ):
        data = tiff(values, RGB, order=order, big=big, planar=planar, tile=tile, rows=10, compression=compression)
        picture = read_picture(data)
        assert np.abs(picture.pixels - expected(COLOURS)).max() <= 1, (big, tile, compression)
        assert picture.note == ""


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_each_type_with_a_predictor(kind: str, planar: bool, order: str) -> None:
    values = stored(COLOURS, kind)
    for predictor, compression in itertools.product((2, 3) if kind[0] == "f" else (2,), (LZW, DEFLATE)):
        data = tiff(values, RGB, order=order, planar=planar, rows=9, compression=compression, predictor=predictor)
        assert error_of(data, expected(COLOURS)) <= 1, (predictor, compression)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 9, 10, 12, 14, 15])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
def test_bits_that_fill_no_byte(bits: int, photometric: int) -> None:
    whole = np.round(GREY * ((1 << bits) - 1)).astype("u2")
    right = expected(whole / ((1 << bits) - 1))
    for compression, tile in itertools.product((NONE, LZW), (None, (16, 16))):
        data = tiff(whole, photometric, bits=bits, compression=compression, tile=tile, rows=5)
        assert error_of(data, 255 - right if photometric == WHITE_IS_ZERO else right) <= 1


def test_twelve_bits_of_three_colours_and_reversed_bytes() -> None:
    whole = np.round(COLOURS * 4095).astype("u2")
    assert error_of(tiff(whole, RGB, bits=12), expected(COLOURS)) <= 1
    assert error_of(tiff(stored(COLOURS, "u1"), RGB, fill_order=2), expected(COLOURS)) <= 1
    assert error_of(tiff(stored(COLOURS, "u1"), RGB, fill_order=2, compression=LZW), expected(COLOURS)) <= 1


def test_libtiff_reads_the_test_files_alike() -> None:
    """The writer of these tests is right as far as Pillow can tell: 8 bits in all layouts."""
    values = stored(COLOURS, "u1")
    for planar, compression, tile in itertools.product((False, True), (LZW, DEFLATE, PACKBITS), (None, (16, 32))):
        data = tiff(values, RGB, planar=planar, compression=compression, tile=tile, rows=8)
        with Image.open(io.BytesIO(data)) as image:
            assert np.array_equal(np.asarray(image), values)
            assert np.array_equal(read_picture(data).pixels, values)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(TYPES),
    st.integers(1, 40),
    st.booleans(),
    st.sampled_from((NONE, LZW, DEFLATE, PACKBITS)),
    st.one_of(st.none(), st.tuples(st.sampled_from((16, 32)), st.sampled_from((16, 48)))),
)
def test_any_size_is_read(
    height: int, width: int, kind: str, rows: int, planar: bool, compression: int, tile: tuple[int, int] | None
) -> None:
    shares = np.random.default_rng(height * 41 + width).random((height, width, 3))
    shares[0, 0], shares[-1, -1] = 0, 1
    data = tiff(stored(shares, kind), RGB, rows=rows, planar=planar, compression=compression, tile=tile)
    assert error_of(data, expected(shares), stretch=False) <= 1


def test_tags_with_defaults_may_be_absent() -> None:
    eight = stored(GREY, "u1")
    assert error_of(tiff(eight, BLACK_IS_ZERO, tags={277: None, 284: None, 339: None}), expected(GREY)) <= 1
    assert error_of(tiff(eight, BLACK_IS_ZERO, tags={278: None, 279: None}), expected(GREY)) <= 1
    assert error_of(tiff(eight, BLACK_IS_ZERO, tags={262: None}), expected(GREY)) <= 1
    assert error_of(tiff(stored(COLOURS, "u2"), RGB, tags={258: (16,), 339: (1,)}), expected(COLOURS)) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bit_planes_are_turned_upright(orientation: int) -> None:
    turned = {
        1: COLOURS,
        2: COLOURS[:, ::-1],
        3: COLOURS[::-1, ::-1],
        4: COLOURS[::-1],
        5: COLOURS.swapaxes(0, 1),
        6: np.rot90(COLOURS, 1),
        7: COLOURS[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(COLOURS, -1),
    }
    data = tiff(stored(turned[orientation], "u2"), RGB, planar=True, tags={274: (orientation,)})
    assert read_picture(data).size == (37, 47)
    assert error_of(data, expected(COLOURS)) <= 1


# Colours


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("scale", [1, 256, 257])
def test_palettes_of_8_and_of_16_bit_entries(bits: int, scale: int) -> None:
    count = 1 << bits
    indices = np.round(GREY * (count - 1)).astype("u1" if bits <= 8 else "u2")
    # With a bright entry, or 8-bit and 16-bit ones could not be told from each other.
    table = np.random.default_rng(0).integers(0, 256, (3, count))
    table[:, 0] = 255
    data = tiff(indices, PALETTE, bits=bits, colour_map=(table * scale).ravel().tolist())
    assert error_of(data, table.T[indices]) == 0


def test_a_palette_of_another_length_is_damage() -> None:
    data = tiff(stored(GREY, "u1"), PALETTE, colour_map=[0] * 765)
    assert "is damaged or cut short" in sentence_of(data)


@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("planar", [False, True])
def test_cmyk_and_lab_of_both_depths(kind: str, planar: bool) -> None:
    inks = np.concatenate([1 - COLOURS, np.zeros((37, 47, 1))], axis=2)
    assert error_of(tiff(stored(inks, kind), CMYK, planar=planar), expected(COLOURS)) <= 1
    eight = stored(COLOURS, "u1")
    right = np.asarray(Image.frombytes("LAB", (47, 37), eight.tobytes()).convert("RGB"))
    values = eight if kind == "u1" else eight.astype("u2") << 8
    assert error_of(tiff(values, LAB, planar=planar), right) == 0


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "raw"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "YCbCr"])
def test_what_pillow_writes_is_read(mode: str, compression: str) -> None:
    image = Image.fromarray(stored(COLOURS, "u1")).convert(mode)
    stream = io.BytesIO()
    image.save(stream, "TIFF", compression=compression)
    assert error_of(stream.getvalue(), np.asarray(image.convert("RGB"))) <= (12 if compression == "jpeg" else 1)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_faxes_are_read(compression: str) -> None:
    image = Image.fromarray(GREY > 0.5)
    stream = io.BytesIO()
    image.save(stream, "TIFF", compression=compression)
    assert error_of(stream.getvalue(), 255.0 * (GREY > 0.5)[:, :, None]) == 0


@pytest.mark.parametrize("compression", [NONE, DEFLATE])
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
def test_ycbcr_of_each_subsampling_is_right_or_refused(compression: int, subsampling: tuple[int, int]) -> None:
    """Pillow reads uncompressed ones as if each pixel had its colours."""
    luma = np.arange(8 * 12).reshape(8, 12).astype("u1") + 60
    across, down = subsampling
    units = [
        [*luma[top : top + down, left : left + across].ravel(), 90, 200]
        for top in range(0, 8, down)
        for left in range(0, 12, across)
    ]
    block = bytes(value for unit in units for value in unit)
    block = zlib.compress(block) if compression == DEFLATE else block
    tags = {257: (8,), 259: (compression,), 262: (6,), 279: (len(block),), 530: subsampling}
    # Room for the block, which comes right behind the header.
    data = bytearray(tiff(np.zeros((64, 12, 3), "u1"), RGB, tags=tags))
    data[8 : 8 + len(block)] = block
    colours = [Image.fromarray(luma), *(Image.new("L", (12, 8), value) for value in (90, 200))]
    right = np.asarray(Image.merge("YCbCr", colours).convert("RGB"))
    if compression == NONE and subsampling != (1, 1):
        assert "not supported: uncompressed YCbCr with subsampled colours" in sentence_of(bytes(data))
    else:
        assert error_of(bytes(data), right) <= 1


# Extra samples


def test_two_channels_are_grey_and_another() -> None:
    picture = read_picture(tiff(stored(COLOURS[:, :, :2], "u2"), BLACK_IS_ZERO, extra=[0]))
    assert np.abs(picture.pixels - expected(GREY)).max() <= 1
    assert (picture.note, picture.bands) == ("band 1 of 2 as grey", 2)


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize("planar", [False, True])
def test_extra_samples_tell_alpha_from_infrared(kind: str, planar: bool) -> None:
    half = np.full((37, 47, 1), 0.5)
    four = np.concatenate([COLOURS, half], axis=2)
    infrared = read_picture(tiff(stored(four, kind), RGB, extra=[0], planar=planar))
    assert np.abs(infrared.pixels - expected(COLOURS)).max() <= 1
    assert infrared.note == "bands 1, 2, 3 of 4 as red, green, blue"
    over_white = np.round(COLOURS * 127.5 + 127.5)
    for extra, colours in ((2, COLOURS), (1, COLOURS * half)):
        data = tiff(stored(np.concatenate([colours, half], axis=2), kind), RGB, extra=[extra], planar=planar)
        picture = read_picture(data)
        assert np.abs(picture.pixels - over_white).max() <= 2, extra
        assert (picture.note, picture.bands) == ("alpha over white", 4)


def test_alpha_that_is_not_last_and_alpha_of_grey() -> None:
    opaque, infrared = np.ones((37, 47, 1)), GREY[:, :, None]
    five = np.concatenate([COLOURS, opaque, infrared], axis=2)
    picture = read_picture(tiff(stored(five, "u2"), RGB, extra=[2, 0]))
    assert np.abs(picture.pixels - expected(COLOURS)).max() <= 1
    hidden = np.stack([GREY, GREY * 0], axis=2)
    assert read_picture(tiff(stored(hidden, "u2"), BLACK_IS_ZERO, extra=[2])).pixels.min() == 255


# Bands


BANDS = np.stack([GREY * (n + 1) / 8 if n % 2 else 1 - GREY * (n + 1) / 8 for n in range(8)], axis=2)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, RGB])
def test_bands_are_chosen(planar: bool, tile: tuple[int, int] | None, photometric: int) -> None:
    extra = [0] * (7 if photometric == BLACK_IS_ZERO else 5)
    data = tiff(stored(BANDS, "u2"), photometric, planar=planar, tile=tile, extra=extra, compression=LZW)
    usual = read_picture(data)
    assert np.abs(usual.pixels - expected(BANDS[:, :, :3])).max() <= 1
    assert (usual.bands, usual.note) == (8, "bands 1, 2, 3 of 8 as red, green, blue")
    for bands in ((4, 3, 2), (8, 8, 1)):
        picture = read_picture(data, bands=bands)
        assert np.abs(picture.pixels - expected(BANDS[:, :, [band - 1 for band in bands]])).max() <= 1
        assert picture.note == f"bands {', '.join(map(str, bands))} of 8 as red, green, blue"
        assert picture.facts()["bands"] == list(bands)
    one = read_picture(data, bands=(5,))
    assert np.abs(one.pixels - expected(BANDS[:, :, 4])).max() <= 1
    assert one.note == "band 5 of 8 as grey"


def test_bands_that_are_not_there_are_a_sentence() -> None:
    data = tiff(stored(BANDS, "u1"), BLACK_IS_ZERO, extra=[0] * 7)
    assert sentence_of(data, bands=(4, 3, 9)) == "a.tif has 8 bands: choose one or three of the numbers from 1 to 8."
    png = io.BytesIO()
    Image.fromarray(stored(COLOURS, "u1")).save(png, "PNG")
    assert "has 3 bands: choose" in sentence_of(png.getvalue(), bands=(4, 3, 2))
    assert np.array_equal(read_picture(png.getvalue(), bands=(3, 2, 1)).pixels, stored(COLOURS, "u1")[:, :, ::-1])
    Image.fromarray(stored(GREY, "u1")).save(png := io.BytesIO(), "PNG")
    assert "has one band: leave the choice of bands out" in sentence_of(png.getvalue(), bands=(3, 2, 1))


@pytest.mark.parametrize("bands", [(0, 1, 2), (1, 2), (1, 2, 3, 4), (-1,), ("1",), "321", (1.5,), (70000,)])
def test_bands_that_cannot_be_are_a_sentence(bands: Any) -> None:
    with pytest.raises(PictureError, match="are not one or three numbers from 1: give them as"):
        read_picture(stored(COLOURS, "u1"), bands=bands)


# What is not read, and what is damaged


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (tiff(GREY.astype("c8"), BLACK_IS_ZERO), "complex numbers"),
        (tiff(stored(GREY, "u1"), BLACK_IS_ZERO, tags={259: (34887,)}), "LERC compression"),
        (tiff(stored(GREY, "u1"), BLACK_IS_ZERO, tags={259: (50001,)}), "WebP compression"),
        (tiff(stored(GREY, "u1"), BLACK_IS_ZERO, tags={259: (12345,)}), "number 12345 compression"),
        (tiff(stored(GREY, "u2"), BLACK_IS_ZERO, tags={259: (JPEG,)}), "JPEG compression of 16-bit samples"),
        (tiff(stored(GREY, "u1"), BLACK_IS_ZERO, tags={262: (32803,)}), "a colour filter array of a camera"),
        (tiff(stored(GREY, "u1"), BLACK_IS_ZERO, tags={262: (4,)}), "a transparency mask"),
        (tiff(stored(GREY, "u1"), BLACK_IS_ZERO, tags={258: (24,)}), "unsigned whole numbers of 24 bits"),
        (tiff(stored(COLOURS, "u1"), RGB, tags={258: (5, 6, 5)}), "samples of different depths (5, 6, 5 bits)"),
        (tiff(stored(COLOURS, "u1"), RGB, tags={339: (1, 1, 3)}), "samples of different types"),
        (tiff(stored(COLOURS, "f4"), LAB), "CIELAB of 32-bit samples"),
        (tiff(stored(COLOURS[:, :, :2], "u1"), RGB), "RGB of 2 samples a pixel"),
        (
            tiff(stored(GREY, "u2"), BLACK_IS_ZERO, bits=12, compression=LZW, tags={317: (2,)}),
            "predictor 2 with 12-bit",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_kind_that_is_not_read_is_named(data: bytes, kind: str) -> None:
    words = sentence_of(data)
    assert f"this kind of TIFF is not supported: {kind}" in words
    assert "damaged" not in words


@pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE, PACKBITS, ZSTD])
@pytest.mark.parametrize("planar", [False, True])
def test_a_tiff_that_is_cut_short_is_damaged(compression: int, planar: bool) -> None:
    shares = np.random.default_rng(0).random((40, 40, 3))
    whole = tiff(stored(shares, "u2"), RGB, compression=compression, planar=planar, rows=7)
    for share in (0.2, 0.5, 0.9):
        assert "is damaged or cut short" in sentence_of(whole[: int(len(whole) * share)])


@pytest.mark.parametrize("compression", [LZW, DEFLATE, PACKBITS])
def test_a_block_that_holds_too_little_is_damaged(compression: int) -> None:
    """A width that is larger than what the blocks hold, and a count of bytes that is too small."""
    data = tiff(stored(COLOURS, "u2"), RGB, compression=compression, tags={256: (4700,)})
    assert "is damaged or cut short" in sentence_of(data)
    assert "is damaged or cut short" in sentence_of(
        tiff(stored(COLOURS, "u2"), RGB, compression=compression, tags={279: (30,)})
    )


def test_a_bit_that_turned_in_a_deflated_block_is_damage() -> None:
    """libtiff does not look at the checksum, and would give other pixels."""
    shares = np.random.default_rng(0).random((40, 40))
    whole = tiff(stored(shares, "u2"), BLACK_IS_ZERO, compression=DEFLATE)
    at = struct.unpack("<I", whole[4:8])[0]
    for place in range(10, at - 2, 97):
        data = bytearray(whole)
        data[place] ^= 4
        assert "is damaged or cut short" in sentence_of(bytes(data))


def test_blocks_that_are_absent_are_nodata_and_said() -> None:
    sparse = tiff(stored(GREY, "u2"), BLACK_IS_ZERO, tile=(16, 16), compression=DEFLATE, absent=(0, 4))
    picture = read_picture(sparse, stretch=False)
    right = expected(GREY)
    right[:16, :16] = right[16:32, 16:32] = 0
    assert np.abs(picture.pixels - right).max() <= 1
    assert picture.note == "2 blocks absent from the file, drawn without data"
    nothing = read_picture(tiff(stored(GREY, "u2"), BLACK_IS_ZERO, rows=20, absent=(0, 1)))
    assert (nothing.pixels.max(), nothing.note) == (0, "2 blocks absent from the file, drawn without data")
    assert "is damaged" in sentence_of(tiff(stored(GREY, "u2"), BLACK_IS_ZERO, compression=LZW, tags={279: (0,)}))


def test_pages_are_counted_without_previews_and_masks() -> None:
    assert read_picture(tiff(stored(GREY, "u1"), BLACK_IS_ZERO, pages=4)).note == "first of 4 pages"
    overviews = tiff(stored(GREY, "u1"), BLACK_IS_ZERO, pages=4, tags={254: (1,)})
    assert read_picture(overviews).note == ""


def test_a_chain_of_pages_that_ends_nowhere_does_not_spoil_the_first() -> None:
    data = bytearray(tiff(stored(GREY, "u1"), BLACK_IS_ZERO))
    at = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[at : at + 2])[0]
    data[at + 2 + 12 * count : at + 6 + 12 * count] = b"\xf0\xff\xff\xff"
    assert error_of(bytes(data), expected(GREY)) <= 1


def test_a_block_that_unpacks_to_too_much_is_refused() -> None:
    eight = stored(GREY, "u1")
    bomb = tiff(eight, BLACK_IS_ZERO, compression=DEFLATE, tile=(48, 48), tags={322: (1 << 15,), 323: (1 << 15,)})
    assert "more than is safe" in sentence_of(bomb)
    many = tiff(eight, BLACK_IS_ZERO, compression=DEFLATE, tags={277: (60_000,), 258: (8,), 339: (1,)})
    assert "more than is safe" in sentence_of(many) or "damaged" in sentence_of(many)


def in_one_tile(page: Array, side: int) -> bytes:
    """A 1-bit page in one deflated tile of `side` × `side` zeros."""
    packed = zlib.compress(bytes(side * side // 8), 9)
    about = {322: (side,), 323: (side,), 325: (len(packed),)}
    data = tiff(page, BLACK_IS_ZERO, bits=1, compression=DEFLATE, tile=(16, 16), tags=about)
    first, moved = (struct.pack("<HHII", 324, 4, 1, at) for at in (8, len(data)))
    assert data.count(first) == 1
    return data.replace(first, moved) + packed


def peak_of_reading(data: bytes) -> int:
    """Bytes that are allocated at a time while the samples of a file are read."""
    layout = read_layout(io.BytesIO(data))
    tracemalloc.start()
    try:
        read_samples(io.BytesIO(data), layout, layout.default_bands())
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_tiles_much_larger_than_the_page_are_refused() -> None:
    page = np.zeros((8, 8), "u1")
    words = sentence_of(in_one_tile(page, 24_576))
    assert (
        "tiles of 24,576 × 24,576 pixels for a page of 8 × 8 pixels, more than 4 times the page, which is more than is safe"
        in words
    )
    for compression in (NONE, JPEG, LZW):
        claim = tiff(page, BLACK_IS_ZERO, tile=(16, 16), tags={259: (compression,), 322: (1 << 15,), 323: (1 << 15,)})
        assert "tiles of 32,768 × 32,768" in sentence_of(claim), compression


def test_tiles_far_over_the_edge_of_the_page_are_read() -> None:
    for compression in (NONE, DEFLATE):
        data = tiff(stored(COLOURS, "u1"), RGB, compression=compression, tile=(512, 1024))
        assert error_of(data, expected(COLOURS)) <= 1


def test_bits_are_decoded_a_few_rows_and_columns_at_a_time() -> None:
    assert peak_of_reading(in_one_tile(np.zeros((8, 8), "u1"), 8192)) < 30_000_000
    values = (np.arange(3_000_000) % 4096).astype("u2")
    for shape in ((1500, 2000), (1, 3_000_000)):
        data = tiff(values.reshape(shape), BLACK_IS_ZERO, bits=12, compression=DEFLATE)
        read, _ = read_samples(io.BytesIO(data), read_layout(io.BytesIO(data)), (0,))
        assert np.array_equal(read[:, :, 0], values.reshape(shape))
        # The samples take 6 MB, packed and decoded; a byte for each bit would take 36 MB.
        assert peak_of_reading(data) < 34_000_000


def test_pillow_reads_its_own_tiffs_as_before() -> None:
    """libtiff is asked for the codecs only, and its switch in Pillow is as it was."""
    read_picture(tiff(stored(GREY, "u1"), BLACK_IS_ZERO, compression=LZW))
    assert TiffImagePlugin.READ_LIBTIFF is False


# Values that use little of their type


def ramp(high: float, low: float = 0.0) -> Array:
    return low + GREY * (high - low)


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("u2", 0, 4095),
        ("u2", 100, 1100),
        ("u2", 60_000, 65_000),
        ("u4", 0, 40_000),
        ("u8", 5, 100_000),
        ("i2", -500, 3000),
        ("i2", 0, 9000),
        ("i4", -5, 5),
        ("f4", 0.1, 0.2),
        ("f8", 0.0, 0.2),
    ],
)
@pytest.mark.parametrize("planar", [False, True])
def test_values_of_little_range_are_stretched_and_said(kind: str, low: float, high: float, planar: bool) -> None:
    values = ramp(high, low).astype(kind) if kind[0] == "f" else ramp(high, low).round().astype(kind)
    three = np.stack([values, values, values], axis=2)
    for data in (tiff(values, BLACK_IS_ZERO), tiff(three, RGB, planar=planar)):
        picture = read_picture(data)
        right = np.round((values - values.min()) / float(values.max() - values.min()) * 255)[:, :, None]
        assert np.abs(picture.pixels - right).max() <= 1
        assert picture.note == f"values from {low:g} to {high:g} stretched to 0–255"
        assert picture.limits == pytest.approx((low, high))
        assert picture.facts()["stretched_from"] == pytest.approx([low, high])
        plain = read_picture(data, stretch=False)
        assert (plain.note, plain.limits, plain.facts()["stretch"]) == ("", None, False)
        assert np.abs(plain.pixels - right).max() > 90


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("u1", 0, 50), ("u2", 0, 16_400), ("i2", -9000, 9000), ("f4", 0.0, 0.3), ("u2", 900, 900)]
)
def test_values_of_a_quarter_of_their_range_are_not_stretched(kind: str, low: float, high: float) -> None:
    picture = read_picture(tiff(ramp(high, low).astype(kind), BLACK_IS_ZERO))
    assert (picture.note, picture.limits) == ("", None)
    assert "stretched_from" not in picture.facts()


def with_rows(values: Array, value: float, rows: int = 5) -> Array:
    """The first rows are without data."""
    changed = values.copy()
    changed[:rows] = value
    return changed


@pytest.mark.parametrize(
    ("kind", "value", "tag", "words"),
    [
        ("u2", 65535, "", "65535"),
        ("i2", -32768, "", "-32768"),
        ("i2", 32767, "", "32767"),
        ("u4", 4294967295, "", "4294967295"),
        ("i2", -9999, "-9999", "-9999"),
        ("u2", 0, "0", "0"),
        ("u2", 50_000, " 50000.0 ", "50000"),
        ("f4", -3.4028234663852886e38, "-3.4028234663852886e+38", "-3.40282e+38"),
        ("f4", np.finfo("f4").max, "", "3.40282e+38"),
        ("f4", -9999, "-9999", "-9999"),
    ],
)
def test_nodata_is_left_out_of_the_stretch_and_black(kind: str, value: float, tag: str, words: str) -> None:
    low, high = (0.1, 0.2) if kind == "f4" else (100, 2000)
    values = with_rows(ramp(high, low).astype(kind), value)
    picture = read_picture(tiff(values, BLACK_IS_ZERO, nodata=tag))
    inner = values[5:].astype(float)
    right = np.round((inner - inner.min()) / (inner.max() - inner.min()) * 255)
    assert np.abs(picture.pixels[5:] - right[:, :, None]).max() <= 1
    assert picture.pixels[:5].max() == 0
    assert f"; 235 of 1,739 values without data ({words}), drawn black" in picture.note
    assert picture.note.startswith(f"values from {float(inner.min()):g} to {float(inner.max()):g} stretched to 0–255")


def test_nodata_is_black_where_zero_is_white() -> None:
    values = with_rows(ramp(2000).astype("u2"), 65535)
    pixels = read_picture(tiff(values, WHITE_IS_ZERO)).pixels
    assert (pixels[:5].max(), pixels[5:].max(), pixels[5:].min()) == (0, 255, 0)


def test_not_finite_values_are_left_out_of_the_stretch() -> None:
    values = with_rows(ramp(0.1).astype("f4"), np.nan)
    values[5, :2] = np.inf, -np.inf
    picture = read_picture(tiff(values, BLACK_IS_ZERO))
    assert picture.note == (
        "values from 0 to 0.1 stretched to 0–255; 237 of 1,739 values not finite, drawn NaN black, −∞ black, +∞ white"
    )
    assert picture.pixels[:5].max() == 0
    assert picture.pixels[5, :2, 0].tolist() == [255, 0]


def test_a_few_extreme_values_and_unsigned_zeros_are_data() -> None:
    few = ramp(2000).astype("u2")
    few[0, :10] = 65535
    assert read_picture(tiff(few, BLACK_IS_ZERO)).note == ""
    zeros = with_rows(ramp(2000, 1000).round().astype("u2"), 0)
    assert read_picture(tiff(zeros, BLACK_IS_ZERO)).note == "values from 0 to 2000 stretched to 0–255"


def test_clipped_lights_of_a_whole_range_stay_white() -> None:
    values = with_rows(stored(GREY, "u2"), 65535)
    picture = read_picture(tiff(values, BLACK_IS_ZERO))
    assert (picture.note, picture.pixels[:5].min()) == ("", 255)


@pytest.mark.parametrize("tag", ["", "nothing", "1e400", "-1", "70000", "nan", "0.5"])
def test_a_nodata_tag_that_no_value_can_have_changes_nothing(tag: str) -> None:
    values = ramp(4095).round().astype("u2")
    assert read_picture(tiff(values, BLACK_IS_ZERO, nodata=tag)).note == "values from 0 to 4095 stretched to 0–255"


def test_transparent_pixels_are_left_out_and_twelve_bit_alpha_is_opaque() -> None:
    values = np.stack([with_rows(ramp(4095).round(), 65535, rows=1), np.full((37, 47), 4095.0)], axis=2).astype("u2")
    values[0, :, 1] = 0
    picture = read_picture(tiff(values, BLACK_IS_ZERO, extra=[2]))
    low = values[1:, :, 0].min()
    assert picture.note.startswith(f"values from {low} to 4095 stretched to 0–255")
    assert picture.pixels[0].min() == 255
    assert np.abs(picture.pixels[1:, :, 0] - np.round((values[1:, :, 0] - low) / (4095 - low) * 255)).max() <= 1


def png_of(values: Array, kind: int) -> bytes:
    """A 16-bit PNG of this colour type, each row with another of the five filters' numbers as zlib alone packs it."""
    height, width = values.shape[:2]
    rows = values.reshape(height, -1).astype(">u2").view(np.uint8).reshape(height, -1).astype(np.int16)
    step = 2 * (1 if values.ndim == 2 else values.shape[2])
    before = np.pad(rows, ((0, 0), (step, 0)))[:, : rows.shape[1]]
    above = np.pad(rows, ((1, 0), (0, 0)))[:height]
    filtered = [rows, rows - before, rows - above, rows - (before + above) // 2]
    lines = b"".join(bytes([n % 4]) + (filtered[n % 4][n] & 255).astype(np.uint8).tobytes() for n in range(height))
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_twelve_bits_in_a_16_bit_png_of_each_colour_type(kind: int, channels: int) -> None:
    values = np.round(COLOURS * 4095).astype("u2")
    colours = values if channels > 2 else values[:, :, :1]
    alpha = np.full((37, 47, 1), 65535, "u2")
    all_of_it = np.concatenate([colours, alpha], axis=2) if channels in (2, 4) else colours
    picture = read_picture(png_of(all_of_it if channels > 1 else all_of_it[:, :, 0], kind))
    assert np.abs(picture.pixels - np.round(colours / 4095 * 255)).max() <= 1
    assert picture.note == "values from 0 to 4095 stretched to 0–255"
    plain = read_picture(png_of(all_of_it if channels > 1 else all_of_it[:, :, 0], kind), stretch=False)
    assert (plain.pixels.max() <= 16, plain.note) == (True, "")


def test_a_16_bit_png_of_the_whole_range_is_not_stretched() -> None:
    for values, kind in ((COLOURS, 2), (np.concatenate([COLOURS, GREY[:, :, None] * 0 + 1], axis=2), 6)):
        picture = read_picture(png_of(stored(values, "u2"), kind))
        assert np.abs(picture.pixels - expected(COLOURS)).max() <= 1
        assert (picture.note, picture.limits) == ("", None)


def test_a_tiff_that_pillow_has_opened_is_read_right() -> None:
    data = io.BytesIO(tiff(stored(COLOURS, "u2"), RGB, planar=True))
    with Image.open(data) as image:
        assert np.abs(read_picture(image).pixels - expected(COLOURS)).max() <= 1
        assert image.tile  # left as it was
        assert image.size == (47, 37)


def test_a_pil_image_of_few_values_is_stretched() -> None:
    values = np.round(GREY * 4095).astype("u2")
    picture = read_picture(Image.fromarray(values))
    assert np.abs(picture.pixels[:, :, 0] - np.round(GREY * 255)).max() <= 1
    assert picture.note == "values from 0 to 4095 stretched to 0–255"
    assert read_picture(Image.fromarray(values), stretch=False).note == ""
