"""A PIL image, or the samples of a TIFF -> upright 8-bit RGB: orientation, transparency, profiles, more than 8 bits."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from fmviz.picture_options import PictureOptions
from fmviz.stretch import to_eight_bits
from fmviz.tiff import CMYK, GREY, LAB, PALETTE, RGB, Layout, read_samples

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
Limits = tuple[int | float, int | float]

_TIFF_BITS, _TIFF_PHOTOMETRIC = 258, 262
_MOST_DEEP_BYTES = 6 * 178_956_970
"""Bytes of the values of a PNG of 16-bit colours that are unpacked to be stretched."""


class WrongBandsError(Exception):
    """The picture lacks a band that was asked for; `count` is how many it has."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} bands")
        self.count = count


@dataclass(frozen=True, slots=True)
class Upright:
    """A picture as it is shown.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        notes: What a person should know of how they were made.
        bands: The number of bands that could be chosen from.
        limits: The values drawn black and white, where the range of the data was stretched; None otherwise.
    """

    pixels: Bytes
    notes: tuple[str, ...] = ()
    bands: int = 3
    limits: Limits | None = None
    shown: tuple[int, ...] = ()
    """Numbers of the bands that are shown, where others could be."""


# The samples of a TIFF


def tiff_pixels(file: IO[bytes], layout: Layout, options: PictureOptions) -> Upright:
    """Decode the page of a TIFF that `layout` describes.

    Raises:
        WrongBandsError: A band that was asked for is not there.
        DamagedTiffError, TooLargeTiffError, OSError: As `fmviz.tiff.read_samples`.
    """
    if layout.colours in (GREY, RGB):
        made = _bands_of_tiff(file, layout, options)
    else:
        made = _with_bands(_converted_tiff(file, layout), options.bands, 3)
    pixels = _turned(made.pixels, layout.orientation)
    return replace(made, pixels=np.ascontiguousarray(pixels))


def _bands_of_tiff(file: IO[bytes], layout: Layout, options: PictureOptions) -> Upright:
    """Samples that are shown as they are: one as grey, three as red, green and blue."""
    if any(band > layout.samples for band in options.bands):
        raise WrongBandsError(layout.samples)
    usual = layout.default_bands()
    bands = tuple(band - 1 for band in options.bands) or usual
    values, alpha, absent = _values_and_alpha(file, layout, bands, options)
    eight = to_eight_bits(
        values,
        bits=layout.bits,
        nodata=layout.nodata,
        ignored=None if alpha is None else alpha == 0,
        stretch=options.stretch,
        inverted=layout.white_is_zero,
    )
    image = _as_image(eight.pixels)
    about_colours: list[str] = []
    if bands == usual and not eight.stretched:
        image.info["icc_profile"] = layout.icc
        image = _in_srgb(image, about_colours)
    over, about_alpha = _over_white(image, None if alpha is None else Image.fromarray(_rounded(alpha * 255)))
    about_bands = _words_of_bands(layout, bands, chosen=bool(options.bands))
    return Upright(
        np.asarray(over),
        (*about_bands, *about_colours, *eight.notes, *about_alpha, *_words_of_absent(absent)),
        bands=layout.samples,
        limits=eight.limits if eight.stretched else None,
        shown=tuple(band + 1 for band in bands) if about_bands else (),
    )


def _values_and_alpha(
    file: IO[bytes], layout: Layout, bands: tuple[int, ...], options: PictureOptions
) -> tuple[Array, npt.NDArray[np.float32] | None, int]:
    """The values (H, W, bands), not multiplied by alpha; alpha (H, W) as 0–1, if any; the number of absent blocks."""
    # An alpha that was chosen as a band is looked at, and hides nothing.
    if layout.alpha is None or layout.alpha in bands:
        values, absent = read_samples(file, layout, bands)
        return values, None, absent
    values, absent = read_samples(file, layout, (*bands, layout.alpha))
    alpha = _alpha_share(values[:, :, -1], layout.bits, options)
    values = values[:, :, :-1]
    return _divided(values, alpha) if layout.premultiplied else values, alpha, absent


def _words_of_bands(layout: Layout, bands: tuple[int, ...], *, chosen: bool) -> tuple[str, ...]:
    """Which bands are shown, where there are others or it is not said by the file which they are."""
    colours = layout.samples - (layout.alpha is not None)
    if not chosen and len(bands) == colours and (layout.colours == RGB or colours == 1):
        return ()
    numbers = ", ".join(str(band + 1) for band in bands)
    words = f"bands {numbers} of {layout.samples} as red, green, blue" if len(bands) == 3 else ""
    return (words or f"band {numbers} of {layout.samples} as grey",)


def _words_of_absent(blocks: int) -> tuple[str, ...]:
    return (
        (f"{blocks:,} {'block' if blocks == 1 else 'blocks'} absent from the file, drawn without data",)
        if blocks
        else ()
    )


def _alpha_share(alpha: Array, bits: int, options: PictureOptions) -> npt.NDArray[np.float32]:
    """Alpha as 0–1. Where it uses less than a quarter of its type, as 12 bits of 16, its greatest value is opaque."""
    if alpha.dtype.kind == "f":
        return np.nan_to_num(alpha.astype(np.float32), nan=0.0).clip(0, 1)
    greatest = (1 << (bits - 1 if alpha.dtype.kind == "i" else bits)) - 1
    most = int(alpha.max())
    if options.stretch and bits > 8 and 0 < 4 * most < greatest:
        greatest = most
    return (alpha.astype(np.float32) / np.float32(greatest)).clip(0, 1)


def _divided(values: Array, share: npt.NDArray[np.float32]) -> Array:
    """Colours that were multiplied by alpha, as they were before, in their own type."""
    with np.errstate(divide="ignore", invalid="ignore"):
        divided = np.nan_to_num(values / share[:, :, None].astype(np.float64))
    if values.dtype.kind == "f":
        return divided.astype(values.dtype)
    limits = np.iinfo(values.dtype)
    return divided.round().clip(limits.min, limits.max).astype(values.dtype)


def _converted_tiff(file: IO[bytes], layout: Layout) -> Upright:
    """Palettes, CMYK and CIELAB."""
    count = {PALETTE: 1, CMYK: 4, LAB: 3}[layout.colours]
    wanted = (*range(count), *(() if layout.alpha is None else (layout.alpha,)))
    values, absent = read_samples(file, layout, wanted)
    alpha = None
    if layout.alpha is not None:
        values, last = values[:, :, :-1], values[:, :, -1]
        alpha = Image.fromarray(_rounded(_alpha_share(last, layout.bits, PictureOptions(stretch=False)) * 255))
    notes: list[str] = []
    if layout.colour_map is not None:
        image = Image.fromarray(layout.colour_map[values[:, :, 0]])
    else:
        if layout.bits == 16:
            values = values.view(np.uint16) >> 8
        colours = np.ascontiguousarray(values.astype(np.uint8) if layout.bits == 16 else values.view(np.uint8))
        size = (colours.shape[1], colours.shape[0])
        image = Image.frombytes(layout.colours if layout.colours == CMYK else "LAB", size, colours.tobytes())
        image.info["icc_profile"] = layout.icc
        image = _in_srgb(image, notes)
    over, about_alpha = _over_white(image, alpha)
    return Upright(np.asarray(over), (*notes, *about_alpha, *_words_of_absent(absent)))


def _turned(pixels: Bytes, orientation: int) -> Bytes:
    """Upright, by EXIF's numbers."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def _as_image(pixels: Bytes) -> Image.Image:
    """(H, W, 1 or 3) as L or RGB."""
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))


def _rounded(values: Array) -> Bytes:
    return (values + 0.5).astype(np.uint8)


# PIL images


def depth(image: Image.Image) -> tuple[int, bool]:
    """The bits of 16-bit grey, and whether 0 is white: tags of a TIFF that Pillow leaves to its caller."""
    tags = getattr(image, "tag_v2", {})
    return (12 if tags.get(_TIFF_BITS) == (12,) else 16), tags.get(_TIFF_PHOTOMETRIC) == 0


def upright_rgb(
    image: Image.Image, bits: int, white_is_zero: bool, options: PictureOptions, file: IO[bytes] | None = None
) -> Upright:
    """A loaded image of Pillow's, which is changed.

    Args:
        bits, white_is_zero: As `depth` gives them, before anything else is done to the image.
        file: The file that the image is of, where there is one: Pillow gives half of the bits of a 16-bit colour PNG.

    Raises:
        WrongBandsError: A band that was asked for is not there.
    """
    notes: list[str] = []
    limits: Limits | None = None
    deep = _stretched_png(image, file, options) if file is not None else None
    if deep is not None:
        image, limits, notes = deep
    # Metadata that are not readable are no reason to refuse a picture that is.
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    grey = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image, alpha, limits = _eight_bits(image, bits, white_is_zero, options, notes)
    else:
        image, alpha = _apart(image)
        image = _in_srgb(image, notes)
    rgb, about_alpha = _over_white(image, alpha)
    made = Upright(np.asarray(rgb, dtype=np.uint8, order="C"), (*notes, *about_alpha), 1 if grey else 3, limits)
    return _with_bands(made, options.bands, made.bands)


def _with_bands(made: Upright, bands: tuple[int, ...], count: int) -> Upright:
    """The bands that were asked for, of a picture whose colours were converted: grey has one, all others three."""
    if not bands:
        return made
    if max(bands) > count:
        raise WrongBandsError(count)
    pixels = np.ascontiguousarray(made.pixels[:, :, [band - 1 for band in (bands * 3)[:3]]])
    words = ", ".join(map(str, bands))
    note = f"bands {words} of {count} as red, green, blue" if len(bands) == 3 else f"band {words} of {count} as grey"
    return replace(made, pixels=pixels, notes=(note, *made.notes), shown=bands)


def _over_white(image: Image.Image, alpha: Image.Image | None) -> tuple[Image.Image, tuple[str, ...]]:
    """As RGB, over white where alpha lets it through."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if alpha is None or alpha.getextrema() == (255, 255):
        return rgb, ()
    return Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha), ("alpha over white",)


# PNGs of 16 bits a colour


def _stretched_png(
    image: Image.Image, file: IO[bytes], options: PictureOptions
) -> tuple[Image.Image, Limits, list[str]] | None:
    """A PNG of 16-bit colours (or of grey with alpha) whose data are stretched; None where they are not, or it is another.

    Pillow gives the upper byte of each value, in which 12-bit data have 16 steps.
    """
    if not options.stretch or not isinstance(image, PngImagePlugin.PngImageFile):
        return None
    header = _png_header(file)
    channels = {2: 3, 4: 2, 6: 4}.get(header[25], 0) if header[24] == 16 else 0
    upper = np.asarray(image)
    if not channels or image.width * image.height * channels * 2 > _MOST_DEEP_BYTES or not _may_be_stretched(upper):
        return None
    values = _sixteen_bits(file, header, channels, upper)
    key = image.info.get("transparency")
    if channels == 3:
        alpha = np.any(values != np.array(key), axis=2) if isinstance(key, tuple) else None
        colours = values
    else:
        colours, alpha = values[:, :, :-1], values[:, :, -1]
    share = None if alpha is None else _alpha_share(alpha, 1 if alpha.dtype == bool else 16, options)
    eight = to_eight_bits(colours, bits=16, ignored=None if share is None else share == 0)
    if not eight.stretched:
        return None
    made = _as_image(eight.pixels)
    if share is not None:
        made.putalpha(Image.fromarray(_rounded(share * 255)))
    made.info = {key: value for key, value in image.info.items() if key not in ("icc_profile", "transparency")}
    return made, eight.limits, list(eight.notes)


def _may_be_stretched(upper: Bytes) -> bool:
    """Whether the upper bytes of the colours, but for those of the greatest value, lie in a quarter of 0–255."""
    colours = upper[:, :, :-1] if upper.shape[2] in (2, 4) else upper
    inner = colours[colours < 255]
    return inner.size > 0 and int(inner.max()) - int(inner.min()) <= 64


def _png_header(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(33)


def _sixteen_bits(file: IO[bytes], header: bytes, channels: int, upper: Bytes) -> npt.NDArray[np.uint16]:
    """(H, W, channels): the file is decoded once more, for the lower bytes."""
    file.seek(0)
    if channels == 2:
        # Grey with alpha: the same rows are those of a PNG of four 8-bit channels.
        ihdr = header[12:24] + bytes((8, 6)) + header[26:29]
        file = io.BytesIO(header[:12] + ihdr + struct.pack(">I", zlib.crc32(ihdr)) + file.read()[33:])
        with Image.open(file, formats=("PNG",)) as image:
            return np.ascontiguousarray(np.asarray(image)).view(">u2").astype(np.uint16)
    with Image.open(file, formats=("PNG",)) as image:
        mode = "RGB;16L" if channels == 3 else "RGBA;16L"
        # By the other byte order, Pillow keeps the other byte.
        image.tile = [tile._replace(args=mode) for tile in image.tile]
        lower = np.asarray(image)
    values = upper.astype(np.uint16)
    values <<= 8
    values |= lower
    return values


# Steps that all take


def _apart(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours as L, RGB, CMYK or LAB, and alpha as L, or None where there is none."""
    if not image.has_transparency_data:
        return (image if image.mode in ("L", "RGB", "CMYK", "LAB") else image.convert("RGB")), None
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        # A 16-bit PNG: Pillow keeps the upper byte of its pixels, but both of its transparent colour.
        image.info["transparency"] = tuple(value >> 8 for value in key)
    if image.mode in ("1", "L", "LA", "La"):
        image = image.convert("LA")
        return image.getchannel("L"), image.getchannel("A")
    image = image.convert("RGBA")
    return image.convert("RGB"), image.getchannel("A")


def _in_srgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """Its colours as its ICC profile means them. A profile that is broken or made for another mode is left alone."""
    icc = image.info.get("icc_profile")
    if not icc:
        return image
    with suppress(Exception):
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        # Twice through the same profile would move values by one.
        if "sRGB" not in ImageCms.getProfileDescription(profile):
            converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                notes.append("colours converted to sRGB")
                return converted
    return image


def _eight_bits(
    image: Image.Image, bits: int, white_is_zero: bool, options: PictureOptions, notes: list[str]
) -> tuple[Image.Image, Image.Image | None, Limits | None]:
    """Convert grey of 16 bits, 32 bits or float to L; return it with its alpha and the limits of a stretch, if any.

    Pillow would clip at 255.
    """
    values = np.asarray(image)
    alpha, hidden = None, None
    if isinstance(key := image.info.get("transparency"), int):
        hidden = values == key
        alpha = Image.fromarray(np.where(hidden, 0, 255).astype(np.uint8))
    bits = bits if image.mode.startswith("I;16") else 32
    eight = to_eight_bits(values, bits=bits, ignored=hidden, stretch=options.stretch, inverted=white_is_zero)
    notes += eight.notes
    return Image.fromarray(eight.pixels), alpha, eight.limits if eight.stretched else None
