"""Numbers as they stand on the screen."""

from __future__ import annotations

import math

import pytest

from fmviz.app.numbers import (
    bytes_words,
    digits_of_range,
    seconds_words,
    shape_words,
    stride_words,
    thousands,
    value_words,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.83142, "0.8314"),
        (-1.5, "−1.5"),
        (12.3456, "12.35"),
        (0.0, "0"),
        (math.nan, "NaN"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_values(value: float, text: str) -> None:
    assert value_words(value) == text


@pytest.mark.parametrize(
    ("shape", "text"), [((1, 512, 28, 28), "512 × 28 × 28"), ((1, 1000), "1000"), ((), "scalar"), (None, "–")]
)
def test_shapes(shape: tuple[int, ...] | None, text: str) -> None:
    assert shape_words(shape) == text


def test_counts_times_sizes_and_strides() -> None:
    assert thousands(25557032) == "25,557,032"
    assert seconds_words(0.0572) == "57 ms"
    assert seconds_words(1.84) == "1.8 s"
    assert stride_words(8.0) == "8"
    assert stride_words(7.9) == "≈ 7.9"
    assert stride_words(None) == ""
    assert [bytes_words(count) for count in (12, 1500, 1_500_000, 128e6, 2.5e9)] == [
        "12 B",
        "2 kB",
        "1.5 MB",
        "128 MB",
        "2.50 GB",
    ]


def test_limits_that_are_close_have_more_digits() -> None:
    assert digits_of_range(0.0, 3.2) == digits_of_range(-12.3, 400.0) == digits_of_range(1000.0, 1000.0) == 4
    assert digits_of_range(math.nan, math.nan) == digits_of_range(-1.7e308, 1.7e308) == 4
    for low, high in ((1000.0, 1000.0048), (-1000.0048, -1000.0), (1e6, 1e6 + 1), (3e-9, 3.00001e-9), (0.1, 0.10001)):
        digits = digits_of_range(low, high)
        assert value_words(low, digits) != value_words(high, digits)
        assert digits <= 10
