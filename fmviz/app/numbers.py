"""Numbers as they stand on the screen."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fmviz.digits import digits_apart


def shape_words(shape: Sequence[int] | None) -> str:
    """ "512 × 28 × 28": the batch of one is not worth saying."""
    if shape is None:
        return "–"
    inner = list(shape[1:]) if len(shape) > 1 and shape[0] == 1 else list(shape)
    return " × ".join(str(length) for length in inner) if inner else "scalar"


def thousands(number: int) -> str:
    """ "25,557,032" """
    return f"{number:,}"


def value_words(value: float, digits: int = 4) -> str:
    """Return a value with its significant digits, four as a rule: "0.8314", "12.35", "1.2e-07", "NaN", "∞"."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}g}"
    return text.replace("-", "−") if "e" not in text else text


def digits_of_range(low: float, high: float) -> int:
    """Return how many significant digits the values between two limits need: four, or more where the limits are close."""
    return digits_apart(low, high, 4)


def bytes_words(count: float) -> str:
    """ "128 MB" """
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit != "MB" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def seconds_words(seconds: float) -> str:
    """ "57 ms", "1.8 s" """
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def duration_words(seconds: float) -> str:
    """What is still to be waited for: "12 s", "3 min", "1 h 20 min"."""
    whole = max(1, round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def stride_words(stride: float | None) -> str:
    """ "8"; "≈ 7.9" where no whole stride explains the size; "" where there is none."""
    if stride is None:
        return ""
    return f"{stride:.0f}" if stride == int(stride) else f"≈ {stride:.1f}"


def counted(number: int) -> str:
    """Three digits that matter: "25.6 M", "4.09 G", "850"."""
    for size, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)
