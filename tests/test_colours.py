"""The colour maps that come with fmviz, beside the package that they were taken from."""

from __future__ import annotations

import numpy as np
import pytest
from cmap import Colormap

from fmviz.assets import asset
from fmviz.colours import COLOURS, ColourMap, colour_table
from fmviz.maps import LEVELS


def levels(entry: ColourMap) -> np.ndarray:
    found = np.asarray(Colormap(entry.source)(np.linspace(0, 1, LEVELS)))
    return np.rint(found[:, :3] * 255).astype(np.uint8)


@pytest.mark.parametrize("entry", COLOURS, ids=lambda entry: entry.name)
def test_a_map_is_the_one_that_its_makers_published(entry: ColourMap) -> None:
    for dark in (True, False):
        np.testing.assert_array_equal(colour_table(entry.name, dark=dark)[:LEVELS], levels(entry))


def test_each_map_on_offer_is_in_the_file() -> None:
    held = np.load(asset("colour_maps.npy"))
    wanted = np.stack([levels(entry) for entry in COLOURS])
    how = "Make it anew, with `wanted` of this test: np.save('assets/colour_maps.npy', wanted)."
    assert np.array_equal(held, wanted), how
