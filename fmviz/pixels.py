"""Any PIL image -> upright 8-bit RGB: orientation, transparency, colour profiles, and more than 8 bits."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps

_TIFF_BITS, _TIFF_PHOTOMETRIC = 258, 262


def depth(image: Image.Image) -> tuple[int, bool]:
    """The value of white in 16-bit grey, and whether it is really black: a TIFF's affair that Pillow leaves to us."""
    tags = getattr(image, "tag_v2", {})
    return (4095 if tags.get(_TIFF_BITS) == (12,) else 65535), tags.get(_TIFF_PHOTOMETRIC) == 0


def upright_rgb(image: Image.Image, white: int, white_is_zero: bool) -> tuple[npt.NDArray[np.uint8], str]:
    """(H, W, 3) uint8, and what to note. The image is ours, and loaded; it is changed."""
    # Metadata that are not readable are no reason to refuse a picture that is.
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    notes: list[str] = []
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image, alpha = _eight_bits(image, white, white_is_zero, notes)
    else:
        image, alpha = _apart(image)
        image = _in_srgb(image, notes)
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if alpha is not None and alpha.getextrema() != (255, 255):
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)
        notes.append("alpha over white")
    return np.asarray(rgb, dtype=np.uint8, order="C"), "; ".join(notes)


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
    image: Image.Image, white: int, white_is_zero: bool, notes: list[str]
) -> tuple[Image.Image, Image.Image | None]:
    """Grey of 16 bits, 32 bits or float as L, and alpha where one value stands for it. Pillow would clip at 255."""
    values = np.asarray(image)
    finite = np.isfinite(values)
    limits = _usual_limits(image.mode, values[finite], white)
    if limits is None:
        limits = float(values[finite].min()), float(values[finite].max())
        notes.append(f"values from {limits[0]:g} to {limits[1]:g} scaled to 0–255")
    if not finite.all():
        notes.append(f"{finite.size - np.count_nonzero(finite):,} of {finite.size:,} values not finite")
    grey = _stretched(values, limits)
    alpha = None
    if isinstance(key := image.info.get("transparency"), int):
        alpha = Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))
    return Image.fromarray(255 - grey if white_is_zero else grey), alpha


def _usual_limits(mode: str, finite: npt.NDArray[Any], white: int) -> tuple[float, float] | None:
    """The values of black and white that such a file means, as far as its values agree, or None."""
    if mode.startswith("I;16"):
        return 0.0, float(white)
    for usual in (1.0,) if mode == "F" else (255.0, 65535.0):
        if finite.size == 0 or (finite.min() >= 0 and finite.max() <= usual):
            return 0.0, usual
    return None


def _stretched(values: npt.NDArray[Any], limits: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """0–255 between the limits, the nearest; NaN is 0, an infinity is at its end."""
    low, high = limits
    # A signalling NaN is worth a warning to numpy when it is widened.
    with np.errstate(invalid="ignore"):
        share = (values.astype(np.float64) - low) / (high - low or 1.0)
    share = np.nan_to_num(share, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    return (share.clip(0.0, 1.0) * 255 + 0.5).astype(np.uint8)
