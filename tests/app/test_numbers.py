"""Numbers as they stand on the screen."""

from __future__ import annotations

import math

import pytest

from fmviz.app.numbers import bytes_words, seconds_words, shape_words, stride_words, thousands, value_words


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
