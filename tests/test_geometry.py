"""The way from the picture to the network's input and to a map's cells, and back."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmviz.geometry import Box, Geometry

sides = st.integers(1, 3000)
sizes = st.tuples(sides, sides)
map_sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Any resize, then a crop that lies within the resized picture."""
    resized = draw(sizes)
    cropped = (draw(st.integers(1, resized[0])), draw(st.integers(1, resized[1])))
    offset = (draw(st.integers(0, resized[0] - cropped[0])), draw(st.integers(0, resized[1] - cropped[1])))
    return Geometry(draw(sizes), resized, offset, cropped)


@settings(deadline=None)
@given(geometries(), st.floats(-4000, 4000), st.floats(-4000, 4000))
def test_there_and_back_is_where_it_began(geometry: Geometry, x: float, y: float) -> None:
    near = {"rel": 1e-9, "abs": 1e-6 * max(*geometry.picture_size, *geometry.resized_size)}
    assert geometry.to_picture(*geometry.to_input(x, y)) == pytest.approx((x, y), **near)
    assert geometry.to_input(*geometry.to_picture(x, y)) == pytest.approx((x, y), **near)


@settings(deadline=None)
@given(geometries())
def test_the_corners_of_the_input_are_those_of_its_box(geometry: Geometry) -> None:
    box = geometry.input_box()
    height, width = geometry.input_size
    near = {"abs": 1e-6 * max(geometry.picture_size)}
    assert geometry.to_input(box.left, box.top) == pytest.approx((0, 0), abs=1e-6 * max(geometry.resized_size))
    assert geometry.to_picture(width, height) == pytest.approx((box.right, box.bottom), **near)
    assert box == box.clipped(geometry.picture_size[1], geometry.picture_size[0])


@settings(deadline=None)
@given(geometries(), map_sizes)
def test_cells_tile_the_input_box(geometry: Geometry, map_size: tuple[int, int]) -> None:
    rows, columns = map_size
    box = geometry.input_box()
    in_row = [geometry.cell_box(0, column, map_size) for column in range(columns)]
    in_column = [geometry.cell_box(row, 0, map_size) for row in range(rows)]
    for left, right in pairwise(in_row):
        assert left.right == pytest.approx(right.left)
    for upper, lower in pairwise(in_column):
        assert upper.bottom == pytest.approx(lower.top)
    assert (in_row[0].left, in_column[0].top) == pytest.approx((box.left, box.top))
    assert (in_row[-1].right, in_column[-1].bottom) == pytest.approx((box.right, box.bottom))
    area = math.fsum(cell.width for cell in in_row) * math.fsum(cell.height for cell in in_column)
    assert area == pytest.approx(box.width * box.height)


@settings(deadline=None)
@given(geometries(), map_sizes, st.data())
def test_a_cell_is_found_at_its_centre(geometry: Geometry, map_size: tuple[int, int], data: st.DataObject) -> None:
    row = data.draw(st.integers(0, map_size[0] - 1))
    column = data.draw(st.integers(0, map_size[1] - 1))
    box = geometry.cell_box(row, column, map_size)
    centre = ((box.left + box.right) / 2, (box.top + box.bottom) / 2)
    assert geometry.cell_at(*centre, map_size) == (row, column)


def test_a_known_crop() -> None:
    # 400 × 200 is resized to 512 × 256; the middle 224 × 224 is kept.
    geometry = Geometry((200, 400), (256, 512), (16, 144), (224, 224))
    assert geometry.input_box() == Box(112.5, 12.5, 287.5, 187.5)
    assert geometry.cell_box(0, 6, (7, 7)) == Box(262.5, 12.5, 287.5, 37.5)
    assert geometry.cell_at(112.5, 12.5, (7, 7)) == (0, 0)
    assert geometry.cell_at(287.4, 187.4, (7, 7)) == (6, 6)


@pytest.mark.parametrize(("x", "y"), [(112.4, 100), (287.6, 100), (200, 12.4), (200, 187.6)])
def test_outside_of_the_crop_there_is_no_cell(x: float, y: float) -> None:
    assert Geometry((200, 400), (256, 512), (16, 144), (224, 224)).cell_at(x, y, (7, 7)) is None


def test_what_was_filled_up_is_not_on_the_picture() -> None:
    # 10 × 10 in the middle of 20 × 20.
    geometry = Geometry((10, 10), (10, 10), (-5, -5), (20, 20))
    assert geometry.input_box() == Box(0, 0, 10, 10)
    assert geometry.cell_box(1, 1, (4, 4)) == Box(0, 0, 5, 5)
    assert geometry.cell_box(0, 0, (4, 4)).width == 0
    assert geometry.cell_at(0, 0, (4, 4)) == (1, 1)


def test_a_box_knows_its_sides() -> None:
    assert (Box(1, 2, 4, 8).width, Box(1, 2, 4, 8).height) == (3, 6)
