"""Figures: what is where on the canvas, that nothing is clipped, and colours that cannot be mistaken."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmviz.colours import COLOURS, colour_map
from fmviz.errors import FmvizError
from fmviz.figure import (
    COLOUR_MAPS,
    Figure,
    Label,
    colour_table,
    grid,
    limits_words,
    line_height,
    map_facts,
    number,
    resized,
    table_of_maps,
    tile_positions,
)
from fmviz.lettering import drawable, lettered, shortened, text_width
from fmviz.maps import INFINITE, INK, LEVELS, NAN, PAPER, Maps, Normalisation, Reduction
from fmviz.plates import layer_figure, pyramid_figure


def make_maps(
    count: int = 6,
    size: tuple[int, int] = (5, 7),
    *,
    normalisation: Normalisation = "map",
    reduction: Reduction | None = None,
    limits: np.ndarray | None = None,
) -> Maps:
    pixels = np.random.default_rng(0).integers(0, LEVELS, (count, *size)).astype(np.uint8)
    if limits is None:
        shared = normalisation != "map"
        low = np.full(count, -1.5) if shared else -np.arange(count, dtype=float) - 1
        limits = np.stack([low, np.full(count, 2.5)], axis=1)
    channels = () if reduction else tuple(range(10, 10 + count))
    return Maps(pixels, limits, channels, normalisation, reduction, size, 1)


def tile_of(figure: Figure, index: int) -> np.ndarray:
    tiles = figure.facts["tiles"]
    row, column = divmod(index, tiles["columns"])
    left, top = tiles["left"] + column * tiles["pitch"][0], tiles["top"] + row * tiles["pitch"][1]
    width, height = tiles["size"]
    return figure.canvas[top : top + height, left : left + width]


def texts(figure: Figure) -> list[str]:
    return [label.text for label in figure.labels]


def assert_nothing_is_clipped(figure: Figure) -> None:
    """Every label, as long as it is drawn, lies on the canvas, on paper alone, and clear of the others."""
    taken = np.zeros(figure.canvas.shape, bool)
    for label in figure.labels:
        width = text_width(shortened(label.text, label.room, label.size), label.size)
        left = label.x - {"left": 0, "centre": width // 2, "right": width}[label.align]
        place = (slice(label.y, label.y + line_height(label.size)), slice(left, left + width))
        assert 0 < width <= label.room, label
        assert left >= 0
        assert left + width <= figure.canvas.shape[1], label
        assert label.y + line_height(label.size) <= figure.canvas.shape[0], label
        assert (figure.canvas[place] == PAPER).all(), label
        assert not taken[place].any(), label
        taken[place] = True


# Colours


@pytest.mark.parametrize("entry", COLOURS, ids=lambda entry: entry.name)
@pytest.mark.parametrize("dark", [True, False])
def test_a_colour_table(entry, dark):
    table = colour_table(entry.name, dark=dark)
    assert table.shape == (256, 3)
    assert table.dtype == np.uint8
    assert not table.flags.writeable
    wide = table.astype(int)
    levels = wide[:LEVELS]
    # Neighbours are close, so that it is a ramp; the ends are apart.
    assert np.abs(np.diff(levels, axis=0)).max() <= 12
    assert np.linalg.norm(levels[0] - levels[-1]) > 90
    lightness = levels @ np.array([0.2126, 0.7152, 0.0722])
    middle = lightness[LEVELS // 2]
    if entry.kind == "diverging":
        assert middle > lightness[0] + 60
        assert middle > lightness[-1] + 60
        assert np.ptp(levels[LEVELS // 2]) < 25, "the middle is nearly grey"
    elif entry.name != "turbo":
        assert (np.diff(lightness) > -1).all(), "lightness rises with the value"
    for index in (NAN, INFINITE):
        others = np.delete(wide, [index], axis=0)
        assert np.linalg.norm(others - wide[index], axis=1).min() > 100
    ramp = wide[PAPER : INK + 1]
    assert (np.ptp(ramp, axis=1) == 0).all(), "surroundings are grey"
    assert (np.diff(ramp[:, 0]) > 0).all() if dark else (np.diff(ramp[:, 0]) < 0).all()
    assert abs(ramp[0, 0] - ramp[-1, 0]) > 180


def test_the_names_of_colour_maps():
    assert COLOUR_MAPS[0] == "viridis"
    assert len(set(COLOUR_MAPS)) == len(COLOUR_MAPS) == len({entry.label for entry in COLOURS})
    assert {"viridis", "magma", "inferno", "cividis", "grey", "turbo", "coolwarm"} <= set(COLOUR_MAPS)
    assert colour_map("vik").kind == "diverging"
    with pytest.raises(FmvizError, match="did you mean viridis"):
        colour_table("virids")
    with pytest.raises(FmvizError, match="choose one of viridis, grey"):
        colour_map("jet")


def test_neither_torch_nor_qt_nor_pillow_is_needed():
    code = (
        "import sys, fmviz.figure, fmviz.plates; print(sorted({'torch', 'PIL', 'PySide6', 'cmap'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


# Numbers and pixels


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (-0.04, "−0.04"),
        (3.14159, "3.14"),
        (12345.6, "12346"),
        (0.0000123456, "1.23e−5"),
        (-1.5e30, "−1.5e30"),
        (999999.0, "1e6"),
        (float("nan"), "NaN"),
        (float("-inf"), "−∞"),
    ],
)
def test_numbers_have_the_digits_that_matter(value, text):
    assert number(value) == text


def test_resizing_takes_the_nearest_pixel():
    pixels = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    np.testing.assert_array_equal(resized(pixels, (4, 6)), pixels.repeat(2, axis=1).repeat(2, axis=2))
    np.testing.assert_array_equal(resized(pixels, (2, 1)), [[[1], [4]]])
    np.testing.assert_array_equal(resized(pixels[0], (2, 3)), pixels[0])


def test_positions_run_along_rows():
    found = tile_positions(4, columns=3, cell=(10, 20), gap=(1, 2), origin=(5, 6))
    assert found == [(5, 6), (16, 6), (27, 6), (5, 28)]


# Grids


@pytest.mark.parametrize("columns", [None, 1, 4])
def test_a_grid_holds_every_map_enlarged_by_a_whole_number(columns):
    maps = make_maps()
    figure = grid(maps, columns=columns, tile=30)
    for index, pixels in enumerate(maps.pixels):
        np.testing.assert_array_equal(tile_of(figure, index), pixels.repeat(4, axis=0).repeat(4, axis=1))
    assert figure.facts["tiles"]["size"] == [28, 20]
    assert columns in (None, figure.facts["tiles"]["columns"])
    assert_nothing_is_clipped(figure)


def test_small_maps_at_their_own_size_are_large_enough_to_see_and_large_ones_untouched():
    small = grid(make_maps(size=(7, 7)))
    assert small.facts["tiles"]["size"] == [84, 84]
    large = make_maps(2, (90, 120))
    np.testing.assert_array_equal(tile_of(grid(large), 1), large.pixels[1])


def test_larger_maps_than_the_tile_show_every_second_pixel_and_say_so():
    maps = make_maps(3, (90, 120))
    figure = grid(maps, tile=64)
    np.testing.assert_array_equal(tile_of(figure, 2), maps.pixels[2, ::2, ::2])
    assert figure.facts["step"] == 2
    assert any("one pixel in 2 each way" in text for text in texts(figure))


def test_maps_on_their_own_scales_carry_their_limits_and_no_bar():
    figure = grid(make_maps(), title="layer1")
    assert texts(figure)[:2] == ["layer1", "6 maps of 5 × 7 · each map on its own scale"]
    assert "12" in texts(figure)
    assert "−3 … 2.5" in texts(figure)
    assert figure.facts["limits"][2] == [-3.0, 2.5]


@pytest.mark.parametrize("normalisation", ["layer", "symmetric", "fixed"])
def test_maps_on_one_scale_stand_beside_its_bar(normalisation):
    figure = grid(make_maps(normalisation=normalisation))
    assert not any("own scale" in text for text in texts(figure))
    assert {"−1.5", "0.5", "2.5"} <= set(texts(figure))
    assert "−1.5 … 2.5" not in texts(figure)
    tiles = figure.facts["tiles"]
    right = tiles["left"] + tiles["columns"] * tiles["pitch"][0]
    column = next(
        figure.canvas[:, x] for x in range(right, figure.canvas.shape[1]) if (figure.canvas[:, x] < LEVELS).any()
    )
    bar = column[column < LEVELS].astype(int)
    assert (bar[0], bar[-1]) == (LEVELS - 1, 0)
    assert (np.diff(bar) <= 0).all()
    assert_nothing_is_clipped(figure)


def test_what_is_not_finite_is_explained():
    maps = make_maps()
    maps.pixels[0, :2, 0] = NAN
    maps.pixels[3, 1, 1] = INFINITE
    figure = grid(maps)
    assert "NaN: 2 pixels" in texts(figure)
    assert "infinite: 1 pixel" in texts(figure)
    assert (figure.facts["nan_pixels"], figure.facts["infinite_pixels"]) == (2, 1)
    assert_nothing_is_clipped(figure)
    assert not any("NaN" in text for text in texts(grid(make_maps())))


def test_captions_of_ones_own():
    figure = grid(make_maps(2), captions=["first\nwith two lines", "second"])
    assert texts(figure)[1:] == ["first", "with two lines", "second"]
    assert len(grid(make_maps(2), captions=()).labels) == 1


def test_constant_and_empty_maps():
    constant = grid(make_maps(2, limits=np.array([[3.0, 3.0], [np.nan, np.nan]])))
    assert "constant 3" in texts(constant)
    assert "no finite value" in texts(constant)
    assert constant.facts["limits"][1] == [None, None]
    json.dumps(constant.facts, allow_nan=False)
    for maps in (make_maps(0), make_maps(3, (0, 4)), make_maps(2, (4, 0), normalisation="layer")):
        assert_nothing_is_clipped(grid(maps, title="nothing"))


def test_a_grid_of_many_maps_has_full_rows_and_is_wider_than_high():
    for count in (64, 256, 512, 2048):
        figure = grid(make_maps(count, (7, 7)), captions=())
        assert count % figure.facts["tiles"]["columns"] == 0
        assert 0.6 < figure.canvas.shape[1] / figure.canvas.shape[0] < 3


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 9),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    tile=st.one_of(st.none(), st.integers(1, 90)),
    normalisation=st.sampled_from(["map", "layer"]),
    title=st.text("Wgjäß×中 .,1", max_size=60),
    low=st.floats(-1e9, 0),
)
def test_no_text_is_ever_clipped(count, size, tile, normalisation, title, low):
    maps = make_maps(count, size, normalisation=normalisation, limits=np.tile([low, 1.5], (count, 1)))
    assert_nothing_is_clipped(grid(maps, tile=tile, title=title.strip()))


# Tables


def rows_of(*, shared: bool) -> list[list[tuple[str, Maps] | None]]:
    def one(size: int, low: float) -> Maps:
        return make_maps(1, (size, size), normalisation="fixed", limits=np.array([[0.0 if shared else low, 9.0]]))

    return [
        [("C2", one(8, 1)), ("C3", one(4, 2))],
        [None, ("M3 · 256 × 4 × 4\n0 … 9", one(4, 3))],
    ]


def test_a_table_draws_all_cells_at_one_size():
    rows = rows_of(shared=False)
    figure = table_of_maps(rows, tile=64, title="Pyramid", row_names="CM", column_names=["2", "3"])
    assert figure.facts["size"] == [64, 64]
    cells = [entry for row in rows for entry in row if entry is not None]
    for fact, (caption, maps) in zip(figure.facts["cells"], cells, strict=True):
        assert fact["caption"] == caption
        drawn = figure.canvas[fact["top"] : fact["top"] + 64, fact["left"] : fact["left"] + 64]
        scale = 64 // maps.map_size[0]
        np.testing.assert_array_equal(drawn, maps.pixels[0].repeat(scale, axis=0).repeat(scale, axis=1))
    lefts = [fact["left"] for fact in figure.facts["cells"]]
    assert lefts[1] == lefts[2] > lefts[0]
    assert texts(figure)[:4] == ["Pyramid", "each map on its own scale", "2", "3"]
    assert {"C", "M", "M3 · 256 × 4 × 4", "0 … 9"} <= set(texts(figure))
    assert_nothing_is_clipped(figure)


def test_a_table_with_a_scale_a_row_has_a_bar_a_row():
    figure = table_of_maps(rows_of(shared=True), tile=64)
    assert texts(figure)[0] == "each row on one scale"
    assert texts(figure).count("4.5") == 2
    assert_nothing_is_clipped(figure)


def test_an_empty_table():
    assert_nothing_is_clipped(table_of_maps([], tile=64, title="Pyramid"))
    assert_nothing_is_clipped(table_of_maps([[None]], tile=64))


# Plates


FACTS = {
    "network": "resnet18_fpn",
    "untrained": ["pyramid"],
    "weights": {"name": "imagenet", "sha256": "0" * 64},
    "picture": {"name": "chelsea.png", "sha256": "1" * 64},
}


def test_a_layer_says_what_made_it():
    figure = layer_figure(
        make_maps(reduction="l2", count=1), name="P3 · fpn.3", detail="Conv2d · 6 × 5 × 7", facts=FACTS
    )
    assert texts(figure)[:3] == [
        "P3 · fpn.3",
        "Conv2d · 6 × 5 × 7 · L2 norm of all channels",
        "resnet18_fpn (untrained pyramid) · weights imagenet · chelsea.png",
    ]
    assert_nothing_is_clipped(figure)
    random = {**FACTS, "untrained": ["body", "pyramid"], "weights": {"name": "random"}, "picture": {"name": "猫.png"}}
    other = layer_figure(make_maps(), name="x", detail="", facts=random)
    assert texts(other)[1] == "resnet18_fpn (untrained: random weights)"
    for parts, words in ((["classifier"], "classifier"), (["classifier", "pyramid"], "classifier and pyramid")):
        headless = layer_figure(make_maps(), name="x", detail="", facts={**FACTS, "untrained": parts})
        assert texts(headless)[1].startswith(f"resnet18_fpn (untrained {words}) · weights imagenet")
    assert texts(layer_figure(make_maps(), name="x", detail="", facts={}))[1].startswith("6 maps")


def test_a_layer_at_the_size_of_the_picture():
    maps = make_maps(size=(4, 8))
    figure = layer_figure(maps, name="x", detail="", facts={}, size=(48, 80))
    np.testing.assert_array_equal(tile_of(figure, 3), resized(maps.pixels, (48, 80))[3])


def test_a_pyramid_has_a_row_a_letter_and_a_column_a_level():
    maps = {
        name: make_maps(1, (32 >> int(name[1]), 32 >> int(name[1]))) for name in ("C2", "C3", "M2", "M3", "P2", "P6")
    }
    figure = pyramid_figure(maps, dict.fromkeys(maps, 256), FACTS, "channel 3")
    assert texts(figure)[0] == "Pyramid, channel 3"
    assert {"C", "M", "P", "level 2", "level 3", "level 6", "C3 · 256 × 4 × 4"} <= set(texts(figure))
    cells = {fact["caption"][:2]: (fact["left"], fact["top"]) for fact in figure.facts["cells"]}
    assert cells["C2"][0] == cells["M2"][0] == cells["P2"][0]
    assert cells["C2"][1] == cells["C3"][1] < cells["M2"][1] < cells["P6"][1]
    assert_nothing_is_clipped(figure)


# Letters


def test_letters_are_drawn_in_the_ramp_where_the_labels_are():
    figure = grid(make_maps(), title="Tiles, g and y")
    canvas = lettered(figure)
    changed = canvas != figure.canvas
    assert (canvas[changed] > PAPER).all()
    assert canvas.max() == INK
    where = np.zeros_like(changed)
    for label in figure.labels:
        where[label.y : label.y + line_height(label.size), label.x : label.x + label.room] = True
        assert changed[label.y : label.y + line_height(label.size), label.x : label.x + 20].any(), label
    assert not (changed & ~where).any()


@pytest.mark.parametrize("size", [12, 13, 16])
def test_every_letter_has_ink(size):
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;−-×…·_()[]±"
    base = Figure(np.full((40, 100), PAPER, np.uint8), (), {})
    pictures = set()
    for letter in letters:
        label = Label(letter, 4, 4, size, "left", 90)
        canvas = lettered(Figure(base.canvas, (label,), {}))
        # At small sizes a letter may be thin, but none is without strong ink.
        assert canvas.max() >= INK - 5, letter
        assert not (canvas[[0, 1, 2, 3, -1]] > PAPER).any(), letter
        pictures.add(canvas.tobytes())
    assert len(pictures) >= len(letters) - 1, "capital I and small l may look the same"


def test_alignment():
    ends = []
    for align in ("left", "centre", "right"):
        figure = Figure(np.full((30, 200), PAPER, np.uint8), (Label("HHH", 100, 5, 16, align, 90),), {})
        columns = np.flatnonzero((lettered(figure) > PAPER).any(axis=0))
        ends.append((int(columns[0]), int(columns[-1])))
    (left, _), (middle_left, middle_right), (_, right) = ends
    assert 100 <= left <= 103
    assert 96 <= right <= 100
    assert abs((middle_left + middle_right) / 2 - 100) <= 2


def test_characters_that_the_font_lacks():
    assert drawable("café · 3 – 4 → 中 ∞ −1 × 2") == "cafe · 3 - 4 › ? inf −1 × 2"
    assert drawable("a\nb\x00") == "a?b?"


@settings(deadline=None, max_examples=60)
@given(st.text("abcdefg.:WM", min_size=1, max_size=40), st.integers(0, 300))
def test_shortening_keeps_both_ends(text, room):
    short = shortened(text, room, 12)
    assert text_width(short, 12) <= room
    if text_width(text, 12) <= room:
        assert short == text
    elif short:
        head, tail = short.split("…")
        assert text.startswith(head)
        assert text.endswith(tail)
        assert 0 <= len(head) - len(tail) <= 1
        longer = text[: len(head) + 1] + "…" + text[len(text) - len(tail) :]
        assert len(head) > len(tail) or text_width(longer, 12) > room


def test_map_facts_are_json():
    facts = json.loads(json.dumps(map_facts(make_maps(2), 3), allow_nan=False))
    assert facts["channels"] == [10, 11]
    assert facts["step"] == 3
    assert list(itertools.chain(*facts["limits"])) == [-1.0, 2.5, -2.0, 2.5]


def test_limits_that_are_close_are_told_apart() -> None:
    assert limits_words(1000.0, 1000.0048) == "1000 … 1000.0048"
    assert limits_words(-0.20001, -0.2) == "−0.20001 … −0.2"
    assert limits_words(0.0, 3.21) == "0 … 3.21"
