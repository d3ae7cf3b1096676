"""The named maps of a capture, one map each."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fmviz.capture import Activation, Capture, Layer
from fmviz.errors import LayerError
from fmviz.maps import INFINITE, LEVELS, NAN
from fmviz.pyramid import tap_maps
from fmviz.render import reduce_channels

CHANNELS = {"C2": 4, "C3": 6, "M2": 5, "P2": 5, "P3": 5}


def captured(tensors: dict[str, torch.Tensor]) -> Capture:
    activations = [Activation(Layer(tap.lower()), "Conv2d", tensor) for tap, tensor in tensors.items()]
    return Capture(activations, taps={tap: tap.lower() for tap in tensors})


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    sides = {"2": 8, "3": 4}
    return {
        tap: torch.randn(1, count, sides[tap[1]], sides[tap[1]], generator=generator) * (1 + int(tap[1]))
        for tap, count in CHANNELS.items()
    }


def undone(maps) -> np.ndarray:
    low, high = maps.limits[0]
    return low + maps.pixels[0].astype(float) / (LEVELS - 1) * (high - low)


@pytest.mark.parametrize("reduction", ["mean", "max", "l2"])
@pytest.mark.parametrize("scale", ["map", "row"])
def test_each_tap_is_its_reduction_whatever_the_scale(tensors, reduction, scale):
    maps = tap_maps(captured(tensors), reduction=reduction, scale=scale)
    assert list(maps) == list(tensors)
    for tap, one in maps.items():
        expected = reduce_channels(tensors[tap], reduction)[0].numpy()
        step = (one.limits[0, 1] - one.limits[0, 0]) / (LEVELS - 1)
        assert np.abs(undone(one) - expected).max() <= step * 0.51
        assert one.map_size == expected.shape


def test_each_map_spans_its_own_values(tensors):
    for tap, one in tap_maps(captured(tensors), reduction=None, channel=1).items():
        values = tensors[tap][0, 1]
        assert one.limits[0] == pytest.approx([float(values.min()), float(values.max())])
        assert (one.pixels.min(), one.pixels.max()) == (0, LEVELS - 1)


def test_a_row_shares_its_limits_and_no_other_rows(tensors):
    maps = tap_maps(captured(tensors), reduction=None, channel=1, scale="row")
    for row in "CMP":
        taps = [tap for tap in tensors if tap[0] == row]
        values = torch.cat([tensors[tap][0, 1].flatten() for tap in taps])
        for tap in taps:
            assert maps[tap].limits[0] == pytest.approx([float(values.min()), float(values.max())])
    assert maps["C2"].limits[0, 1] != maps["P2"].limits[0, 1]


def test_a_tap_without_that_channel_is_left_out(tensors):
    assert list(tap_maps(captured(tensors), reduction=None, channel=4)) == ["C3", "M2", "P2", "P3"]
    assert list(tap_maps(captured(tensors), reduction=None, channel=5)) == ["C3"]


@pytest.mark.parametrize("channel", [6, -1, -2])
def test_a_channel_that_no_tap_has_is_an_error_with_the_remedy(tensors, channel):
    with pytest.raises(LayerError, match="choose a lower channel or a reduction"):
        tap_maps(captured(tensors), reduction=None, channel=channel)


def test_a_network_without_taps_has_none_to_show():
    with pytest.raises(LayerError, match="no named maps"):
        tap_maps(captured({}))


@pytest.mark.parametrize("scale", ["map", "row"])
def test_what_is_not_finite_is_marked_and_moves_no_limits(tensors, scale):
    tensors["P2"][0, 0, 0, 0], tensors["P3"][0, 0, 1, 1] = torch.inf, torch.nan
    maps = tap_maps(captured(tensors), reduction=None, channel=0, scale=scale)
    assert maps["P2"].pixels[0, 0, 0] == INFINITE
    assert maps["P3"].pixels[0, 1, 1] == NAN
    assert np.isfinite(maps["P2"].limits).all()
    assert np.isfinite(maps["P3"].limits).all()


def test_a_row_without_any_finite_value_is_drawn_all_the_same(tensors):
    tensors["M2"][:] = torch.nan
    maps = tap_maps(captured(tensors), reduction=None, channel=0, scale="row")
    assert (maps["M2"].pixels == NAN).all()
    assert (maps["P2"].pixels <= LEVELS - 1).all()


def test_a_row_of_constants_is_one_level(tensors):
    tensors["M2"][:] = 3.5
    one = tap_maps(captured(tensors), reduction=None, channel=0, scale="row")["M2"]
    assert one.limits[0].tolist() == [3.5, 3.5]
    assert len(np.unique(one.pixels)) == 1


def test_levels_that_differ_by_rounding_are_constant(tensors):
    from fmviz.pyramid import maps_of

    flat = {tap: torch.full((1, 4, size, size), 0.3) for tap, size in (("P2", 8), ("P3", 4))}
    for tensor in flat.values():
        tensor[0, 0] = 0.3 * (1 + torch.arange(tensor[0, 0].numel()).view(tensor.shape[2:]) % 4 * 2**-23)
    contrast = {**flat, "C3": torch.randn(1, 4, 4, 4)}
    for scale in ("map", "row"):
        maps = maps_of(contrast, channel=0, reduction=None, scale=scale)
        assert {tap: any(one.constant) for tap, one in maps.items()} == {"P2": True, "P3": True, "C3": False}
        assert all(not one.pixels.any() for tap, one in maps.items() if tap != "C3")
        assert all(one.limits[0, 0] == one.limits[0, 1] for tap, one in maps.items() if tap != "C3")
