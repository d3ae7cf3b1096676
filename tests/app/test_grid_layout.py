"""Where tiles lie: arithmetic, tried on many sizes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fmviz.app.views.grid_layout import MOST_PIXELS, GridLayout, GridView, fitted, step_for

layouts = st.builds(
    GridLayout,
    count=st.integers(1, 3000),
    columns=st.integers(1, 60),
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    gap=st.integers(0, 9),
)
map_sizes = st.tuples(st.integers(1, 600), st.integers(1, 600))
views = st.tuples(st.integers(200, 3000), st.integers(160, 2000))


@settings(deadline=None)
@given(layouts, st.data())
def test_a_tile_is_found_where_it_lies(layout: GridLayout, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, layout.count - 1))
    x, y = data.draw(st.integers(0, layout.width - 1)), data.draw(st.integers(0, layout.height - 1))
    left, top = layout.position(index)
    found = layout.tile_at(left + x, top + y)
    assert found == (index, x / layout.width, y / layout.height)
    assert left + layout.width <= layout.size[0] - layout.gap
    assert top + layout.height <= layout.size[1] - layout.gap


@settings(deadline=None)
@given(layouts, st.floats(-50, 5000), st.floats(-50, 5000))
def test_between_tiles_there_is_none(layout: GridLayout, x: float, y: float) -> None:
    found = layout.tile_at(x, y)
    inside = [
        index
        for index in range(min(layout.count, 200))
        if 0 <= x - layout.position(index)[0] < layout.width and 0 <= y - layout.position(index)[1] < layout.height
    ]
    if found is None:
        assert not inside
    else:
        assert 0 <= found[1] < 1
        assert 0 <= found[2] < 1
        assert found[0] >= 200 or inside == [found[0]]


@settings(deadline=None)
@given(layouts, st.integers(0, 20_000), st.integers(1, 2000))
def test_the_rows_that_are_seen_are_all_drawn(layout: GridLayout, top: int, height: int) -> None:
    first, last = layout.visible(top, top + height)
    assert 0 <= first <= last
    for row in range(layout.rows):
        start = layout.position(row * layout.columns)[1]
        if start < top + height and start + layout.height > top:
            assert first <= row < last


@settings(deadline=None)
@given(st.integers(1, 2048), map_sizes, views, st.integers(0, 6))
def test_fitted_tiles_hold_the_whole_map_in_its_proportions(
    count: int, map_size: tuple[int, int], view: tuple[int, int], gap: int
) -> None:
    layout = fitted(count, map_size, view, gap=gap)
    assert layout.count == count
    assert 1 <= layout.columns <= count
    height, width = map_size
    assert layout.width == max(1, round(width * layout.height / height)) or abs(
        layout.width / width - layout.height / height
    ) <= 1 / min(width, height)


@settings(deadline=None)
@given(st.integers(1, 2048), map_sizes, views, st.floats(1, 40))
def test_no_more_pixels_are_asked_for_than_the_screen_shows(
    count: int, map_size: tuple[int, int], view: tuple[int, int], zoom: float
) -> None:
    step = step_for(count, map_size, GridView(*view, 3, zoom))
    assert step >= 1
    pixels = count * -(-map_size[0] // step) * -(-map_size[1] // step)
    assert pixels <= MOST_PIXELS
    if step == 1:
        return  # every pixel was asked for: there is nothing finer
    finer = count * -(-map_size[0] // (step - 1)) * -(-map_size[1] // (step - 1))
    layout = fitted(count, map_size, view, gap=3)
    drawn = max(layout.width, layout.height) * zoom
    assert max(map_size) / step >= drawn * 0.99 or finer > MOST_PIXELS
