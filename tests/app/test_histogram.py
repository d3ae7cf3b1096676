"""The histogram of a channel: what its bars and its numbers say."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QEvent, QPoint
from PySide6.QtGui import QHelpEvent, QPalette
from PySide6.QtWidgets import QApplication, QToolTip

from fmviz.app.views.histogram import Histogram, ticks


@settings(deadline=None)
@given(st.floats(-100, 100), st.floats(1e-6, 1e6), st.integers(1, 12))
def test_the_numbers_below_are_round_and_inside(away: float, span: float, most: int) -> None:
    low = away * span
    high = low + span
    found = ticks(low, high, most)
    assert len(found) <= most + 1
    for value in found:
        assert low - span * 1e-6 <= value <= high + span * 1e-6
    for one, next_one in itertools.pairwise(found):
        mantissa = (next_one - one) / 10 ** math.floor(math.log10((next_one - one) * 1.0000001))
        assert min(abs(mantissa - round_one) for round_one in (1, 2, 5, 10)) < 1e-3


def test_no_numbers_where_there_is_no_span() -> None:
    assert ticks(1.0, 1.0, 4) == []
    assert ticks(0.0, math.inf, 4) == []


@pytest.fixture
def view(qapp: QApplication) -> Histogram:
    made = Histogram()
    made.resize(212, 96)
    return made


def heights(view: Histogram) -> list[int]:
    """How many pixels of each column have the colour of the bars."""
    image, colour = view.grab().toImage(), view.palette().color(QPalette.ColorRole.Highlight)
    return [
        sum(image.pixelColor(x, y) == colour for y in range(image.height())) for x in range(6, image.width() - 6, 10)
    ]


def test_a_bar_is_as_high_as_the_logarithm_of_its_count(view: Histogram) -> None:
    counts = np.repeat([0.0, 9.0, 99.0, 9.0, 0.0], 4)
    view.set_counts(counts, np.linspace(-1.0, 1.0, len(counts) + 1))
    found = heights(view)
    assert found == found[::-1]
    assert max(found[:4]) == 0
    assert found[5] == pytest.approx(found[9] / 2, abs=1)
    view.set_counts(np.zeros(0), np.zeros(0))
    assert set(heights(view)) == {0}


def test_values_of_any_size_are_drawn(view: Histogram) -> None:
    view.set_counts(np.array([3.0, 1.0]), np.array([-1.5e308, 0.0, 1.5e308]))
    assert heights(view)[0] > heights(view)[-1] > 0


def test_the_pointer_is_told_what_a_bar_stands_for(view: Histogram, qapp: QApplication) -> None:
    view.set_counts(np.array([1234.0, 5.0]), np.array([0.0, 0.5, 1.0]))
    view.show()
    place = QPoint(30, 40)
    qapp.sendEvent(view, QHelpEvent(QEvent.Type.ToolTip, place, view.mapToGlobal(place)))
    assert QToolTip.text().startswith("1,234 values from 0 to 0.5")
    QToolTip.hideText()
    view.close()
