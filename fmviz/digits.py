"""How many digits of a number matter. No numpy: the window needs it before its first paint."""

from __future__ import annotations

import math


def digits_apart(low: float, high: float, least: int) -> int:
    """Return how many significant digits tell two values apart, to a tenth of their difference; at least `least`.

    Example:
        >>> digits_apart(0.0, 3.2, 3), digits_apart(1000.0, 1000.0048, 3)
        (3, 8)
    """
    # NumPy would warn of a difference that overflows.
    low, high = float(low), float(high)
    largest, span = max(abs(low), abs(high)), abs(high - low)
    if not (math.isfinite(span) and span > 0):
        return least
    needed = math.floor(math.log10(largest)) - math.floor(math.log10(span)) + 2
    return min(max(least, needed), 17)
