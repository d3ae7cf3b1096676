"""Numbers as they stand on the screen."""

from __future__ import annotations

import math
from collections.abc import Sequence


def shape_words(shape: Sequence[int] | None) -> str:
    """ "512 × 28 × 28": the batch of one is not worth saying."""
    if shape is None:
        return "–"
    inner = list(shape[1:]) if len(shape) > 1 and shape[0] == 1 else list(shape)
    return " × ".join(str(length) for length in inner) if inner else "scalar"


def thousands(number: int) -> str:
    """ "25,557,032" """
    return f"{number:,}"


def value_words(value: float) -> str:
    """Four digits that matter: "0.8314", "12.35", "1.2e-07", "NaN", "∞"."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.4g}"
    return text.replace("-", "−") if "e" not in text else text


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


def stride_words(stride: float | None) -> str:
    """ "8"; "≈ 7.9" where no whole stride explains the size; "" where there is none."""
    if stride is None:
        return ""
    return f"{stride:.0f}" if stride == int(stride) else f"≈ {stride:.1f}"
