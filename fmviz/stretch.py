"""Values of any type as 8 bits: the range of the type, or of the data where they use little of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Number = int | float

_QUARTER = 4
_NODATA_SHARE = 0.01
"""Share of the pixels of a band from which an extreme value of the type is nodata."""
_VALUES_A_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class EightBits:
    """Values made ready for the screen.

    Attributes:
        pixels: uint8, in the shape of the values.
        limits: The values drawn black and white; (0, 255) of 8-bit values.
        stretched: Whether the limits are those of the data, and not of their type.
        notes: What a person should know: the range of the data, the pixels without data.
    """

    pixels: npt.NDArray[np.uint8]
    limits: tuple[Number, Number]
    stretched: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A type of values: its least and greatest, for floating-point numbers the finite ones."""

    low: Number
    high: Number
    is_float: bool
    bits: int

    @classmethod
    def of(cls, dtype: np.dtype[Any], bits: int) -> _Kind:
        if dtype.kind == "f":
            greatest = float(np.finfo(dtype).max)
            return cls(-greatest, greatest, True, bits)
        if dtype.kind == "i":
            return cls(-(1 << bits - 1), (1 << bits - 1) - 1, False, bits)
        return cls(0, (1 << bits) - 1, False, bits)

    @property
    def extremes(self) -> tuple[Number, ...]:
        """The values that may be nodata: the greatest, and the least where that is not an unsigned 0."""
        return (self.low, self.high) if self.low else (self.high,)


@dataclass(slots=True)
class _Survey:
    """Counts and range of the values, without those that are left out."""

    total: int = 0
    nan: int = 0
    negative_infinite: int = 0
    positive_infinite: int = 0
    nodata: int = 0
    low: Number | None = None
    high: Number | None = None

    @property
    def not_finite(self) -> int:
        return self.nan + self.negative_infinite + self.positive_infinite

    def widen(self, low: Number, high: Number) -> None:
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)


def to_eight_bits(
    values: Array,
    *,
    bits: int,
    nodata: Number | None = None,
    ignored: npt.NDArray[np.bool_] | None = None,
    stretch: bool = True,
    inverted: bool = False,
) -> EightBits:
    """Map values to 0–255, all bands by the same limits.

    Limits are the range of the type. Data of more than 8 bits that use less than a quarter of it are mapped by their own
    range; so are floating-point values beyond 0–1, which have no other. NaN, infinities, `nodata`, and an extreme value of the
    type that fills 1 % of a band or more (not an unsigned 0) are left out of the range of the data.

    Args:
        values: (H, W) or (H, W, bands), whole numbers or floating-point.
        bits: Bits of the type that are in use: 12 of a uint16 that holds 12-bit samples.
        nodata: The value of pixels without data, by the file.
        ignored: (H, W), pixels that are left out of the range as well, as transparent ones.
        stretch: Whether the range of the data may take the place of the type's.
        inverted: Whether the least value is white.
    """
    kind = _Kind.of(values.dtype, bits)
    if values.dtype == np.uint8 and bits == 8:
        return EightBits(255 - values if inverted else values, (0, 255), False, ())
    left_out = _left_out(values, kind, nodata) if stretch and bits > 8 else ()
    if nodata is not None:
        left_out = (nodata, *(value for value in left_out if value != nodata))
    survey = _surveyed(values, left_out, ignored)
    limits, how = _limits(kind, survey, stretch=stretch)
    if not how and not kind.is_float:
        # By the type's range, values that may be nodata are as dark or bright as all others.
        whole = _surveyed(values, (), ignored) if left_out else survey
        limits, how = _limits(kind, whole, stretch=False)
        left_out, survey = (), whole
    notes = _notes(kind, limits, how, survey, left_out)
    pixels = _mapped(values, kind, limits, left_out if survey.nodata else (), inverted=inverted)
    return EightBits(pixels, limits, how == "stretched", notes)


def _blocks(values: Array, ignored: npt.NDArray[np.bool_] | None) -> Iterator[tuple[slice, Array, Array | None]]:
    """Rows of about a million values at a time, and which of them are ignored."""
    a_row = max(1, values[:1].size)
    step = max(1, _VALUES_A_BLOCK // a_row)
    for top in range(0, len(values), step):
        rows = slice(top, top + step)
        hidden = None if ignored is None else ignored[rows]
        if hidden is not None and values.ndim == 3:
            hidden = np.broadcast_to(hidden[:, :, None], values[rows].shape)
        yield rows, values[rows], hidden


def _left_out(values: Array, kind: _Kind, nodata: Number | None) -> tuple[Number, ...]:
    """Return the extremes of the type that fill so much of a band that they must be nodata."""
    bands = values.shape[2] if values.ndim == 3 else 1
    found = np.zeros((len(kind.extremes), bands), np.int64)
    for _, block, _ in _blocks(values, None):
        for place, extreme in enumerate(kind.extremes):
            # Rare, and to look for it costs less than to count it.
            if extreme in (block.min(), block.max()):
                found[place] += np.count_nonzero((block == extreme).reshape(-1, bands), axis=0)
    pixels = max(1, values.size // bands)
    return tuple(
        extreme
        for extreme, counts in zip(kind.extremes, found, strict=True)
        if extreme != nodata and counts.max() >= _NODATA_SHARE * pixels
    )


def _surveyed(values: Array, left_out: tuple[Number, ...], ignored: npt.NDArray[np.bool_] | None) -> _Survey:
    survey = _Survey(total=values.size)
    for _, block, hidden in _blocks(values, ignored):
        if hidden is None and not left_out and values.dtype.kind != "f":
            survey.widen(block.min().item(), block.max().item())
            continue
        valid = np.ones(block.shape, bool) if hidden is None else ~hidden
        if values.dtype.kind == "f":
            valid &= np.isfinite(block)
            survey.nan += int(np.count_nonzero(np.isnan(block)))
            survey.negative_infinite += int(np.count_nonzero(np.isneginf(block)))
            survey.positive_infinite += int(np.count_nonzero(np.isposinf(block)))
        for value in left_out:
            same = block == value
            survey.nodata += int(np.count_nonzero(same))
            valid &= ~same
        chosen = block[valid]
        if chosen.size:
            survey.widen(chosen.min().item(), chosen.max().item())
    return survey


def _limits(kind: _Kind, survey: _Survey, *, stretch: bool) -> tuple[tuple[Number, Number], str]:
    """The values of black and white; and "stretched" or "scaled" where they are those of the data, or ""."""
    low, high = survey.low, survey.high
    if low is None or high is None:
        return ((0.0, 1.0) if kind.is_float else (kind.low, kind.high)), ""
    if kind.is_float:
        within = low >= 0 and high <= 1
        if stretch and low < high and within and (high - low) * _QUARTER < 1:
            return (low, high), "stretched"
        return ((0.0, 1.0), "") if within else ((low, high), "scaled")
    if stretch and kind.bits > 8 and low < high and (high - low) * _QUARTER < kind.high - kind.low:
        return (low, high), "stretched"
    return _usual_limits(kind, low, high)


def _usual_limits(kind: _Kind, low: Number, high: Number) -> tuple[tuple[Number, Number], str]:
    """The range of a type of whole numbers; without negative values, of its upper half; of the least type that holds them."""
    if low >= 0:
        usual = (255, 65535) if kind.bits > 16 else ()
        return (0, next((white for white in usual if high <= white), kind.high)), ""
    if low == high and kind.bits > 16:
        return (low, high), "scaled"
    return (kind.low, kind.high), ""


def _notes(
    kind: _Kind, limits: tuple[Number, Number], how: str, survey: _Survey, left_out: tuple[Number, ...]
) -> tuple[str, ...]:
    notes = []
    if how:
        low, high = (f"{limit:g}" if kind.is_float else str(limit) for limit in limits)
        notes.append(f"values from {low} to {high} {how} to 0–255")
    if survey.nodata:
        words = " or ".join(f"{value:g}" if kind.is_float else str(value) for value in left_out)
        notes.append(f"{survey.nodata:,} of {survey.total:,} values without data ({words}), drawn black")
    if survey.not_finite:
        drawn = [
            *(["NaN black"] if survey.nan else []),
            *(["−∞ black"] if survey.negative_infinite else []),
            *(["+∞ white"] if survey.positive_infinite else []),
        ]
        notes.append(f"{survey.not_finite:,} of {survey.total:,} values not finite, drawn {', '.join(drawn)}")
    return tuple(notes)


def _mapped(
    values: Array, kind: _Kind, limits: tuple[Number, Number], left_out: tuple[Number, ...], *, inverted: bool
) -> npt.NDArray[np.uint8]:
    """0–255 between the limits, the nearest; NaN and nodata are 0, an infinity is at its end."""
    if not kind.is_float and not kind.low and kind.bits <= 16:
        # Each value has its pixel in a table.
        every = np.arange(kind.high + 1, dtype=values.dtype)
        return _part_mapped(every, limits, left_out, inverted=inverted)[values]
    pixels = np.empty(values.shape, np.uint8)
    for rows, block, _ in _blocks(values, None):
        pixels[rows] = _part_mapped(block, limits, left_out, inverted=inverted)
    return pixels


def _part_mapped(
    values: Array, limits: tuple[Number, Number], left_out: tuple[Number, ...], *, inverted: bool
) -> npt.NDArray[np.uint8]:
    low, high = (float(limit) for limit in limits)
    # A signalling NaN is worth a warning to numpy when it is widened.
    # Halves, for the difference of two values of float64 may be more than there is.
    with np.errstate(invalid="ignore", over="ignore"):
        share = (values.astype(np.float64) / 2 - low / 2) / ((high / 2 - low / 2) or 1.0)
    share = np.nan_to_num(share, copy=False, nan=0.0, posinf=1.0, neginf=0.0).clip(0.0, 1.0)
    pixels = ((1.0 - share if inverted else share) * 255 + 0.5).astype(np.uint8)
    for value in left_out:
        pixels[values == value] = 0
    if values.dtype.kind == "f":
        pixels[np.isnan(values) | np.isneginf(values)] = 0
        pixels[np.isposinf(values)] = 255
    return pixels
