"""The options that a picture is read with: its bands, and whether data of few values are stretched."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fmviz.errors import PictureError

_MOST_BANDS = 65535


class PictureOptions(msgspec.Struct, frozen=True):
    """How to read a picture.

    Attributes:
        bands: Numbers from 1 of the bands to show: three as red, green and blue, one as grey; empty is the file's default.
        stretch: Whether data that use less than a quarter of the range of their type (of more than 8 bits) are stretched to
            0–255.
    """

    bands: tuple[int, ...] = ()
    stretch: bool = True


USUAL = PictureOptions()
"""The file's own bands, stretched where they use little of their range."""


def picture_options(bands: Sequence[int] = (), *, stretch: bool = True) -> PictureOptions:
    """Return the options as a `PictureOptions`.

    Raises:
        PictureError: The bands are not one or three whole numbers from 1.
    """
    chosen = tuple(bands) if isinstance(bands, Sequence) and not isinstance(bands, str) else (bands,)
    if not bands_are_sound(chosen):
        raise PictureError(f"The bands {bands!r} are not one or three numbers from 1: give them as (4, 3, 2) or (5,).")
    return PictureOptions(tuple(int(band) for band in chosen), bool(stretch))


def bands_are_sound(bands: Sequence[object]) -> bool:
    """Return whether these are no bands, or one or three numbers that a file may have."""
    numbers = [band for band in bands if hasattr(band, "__index__") and not isinstance(band, bool)]
    return len(bands) in (0, 1, 3) and len(numbers) == len(bands) and all(1 <= int(n) <= _MOST_BANDS for n in numbers)


def parsed_bands(text: str) -> tuple[int, ...]:
    """Return the bands that "4,3,2" or "5" names.

    Raises:
        ValueError: The text is something else.
    """
    bands = tuple(int(part) for part in text.split(","))
    if not bands or not bands_are_sound(bands):
        raise ValueError(f"{text!r} is not one or three band numbers from 1")
    return bands
