"""Activations in, maps and numbers out; float64 numpy says what is right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fmviz import channels as channels_module
from fmviz.errors import LayerError
from fmviz.maps import INFINITE, LEVELS, NAN, NORMALISATIONS, REDUCTIONS, Normalisation
from fmviz.render import (
    feature_maps,
    histogram,
    is_spatial,
    reduce_channels,
    render,
    statistics,
    vector,
    why_not_spatial,
)

TOP = LEVELS - 1
DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)


@pytest.fixture
def activation() -> Tensor:
    """(1, 7, 9, 11) float32 with a rectified, a negative and a constant channel."""
    torch.manual_seed(3)
    values = torch.randn(1, 7, 9, 11)
    values[0, 1].relu_()
    values[0, 2] -= 50
    values[0, 3] = 0.1
    return values


@pytest.fixture(params=[1 << 19, 150], ids=["one chunk", "many chunks"])
def chunked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels_module, "_CHUNK", request.param)


def expected(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Indices of finite values (n, h, w) by the definition in fmviz.maps."""
    low, high = (limits[:, side, None, None] for side in (0, 1))
    span = np.where(high > low, high - low, np.inf)
    return np.clip(np.rint((values.astype(np.float64) - low) / span * TOP), 0, TOP)


def close(pixels: np.ndarray, wanted: np.ndarray) -> bool:
    """Equal, but for a rounding that falls the other way exactly between two levels."""
    difference = np.abs(pixels.astype(int) - wanted)
    return bool(difference.max(initial=0) <= 1 and (difference > 0).mean() < 0.01)


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("step", [1, 2, 4])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_pixels_and_limits(activation: Tensor, normalisation: str, step: int, cached: bool) -> None:
    values = activation[0].numpy()
    low, high = values.min(axis=(1, 2)), values.max(axis=(1, 2))
    greatest = np.abs(values).max()
    wanted = {
        "map": np.stack([low, high], axis=1),
        "layer": np.tile([low.min(), high.max()], (7, 1)),
        "symmetric": np.tile([-greatest, greatest], (7, 1)),
        "fixed": np.tile([-1.5, 2.0], (7, 1)),
    }[normalisation].astype(np.float64)
    maps = render(
        activation,
        normalisation=normalisation,
        limits=(-1.5, 2.0) if normalisation == "fixed" else None,
        step=step,
        statistics=statistics(activation) if cached else None,
    )
    np.testing.assert_array_equal(maps.limits, wanted)
    assert close(maps.pixels, expected(values, wanted)[:, ::step, ::step])
    assert (maps.channels, maps.map_size, maps.step) == (tuple(range(7)), (9, 11), step)
    assert (maps.normalisation, maps.reduction) == (normalisation, None)


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("normalisation", ["map", "layer"])
def test_chosen_channels_come_in_their_order(activation: Tensor, normalisation: str, cached: bool) -> None:
    numbers = statistics(activation) if cached else None
    whole = render(activation, normalisation=normalisation)
    some = render(activation, channels=[5, 0, -1, 5], normalisation=normalisation, statistics=numbers)
    assert some.channels == (5, 0, 6, 5)
    np.testing.assert_array_equal(some.pixels, whole.pixels[[5, 0, 6, 5]])
    np.testing.assert_array_equal(some.limits, whole.limits[[5, 0, 6, 5]])


def test_both_ends_of_the_scale_are_reached(activation: Tensor) -> None:
    pixels = render(activation).pixels
    varied = [0, 1, 2, 4, 5, 6]
    assert pixels[varied].min(axis=(1, 2)).tolist() == [0] * 6
    assert pixels[varied].max(axis=(1, 2)).tolist() == [TOP] * 6


def test_a_constant_map_is_zero_and_its_limits_are_equal(activation: Tensor) -> None:
    maps = render(activation)
    assert not maps.pixels[3].any()
    assert maps.limits[3, 0] == maps.limits[3, 1] == np.float32(0.1)
    assert not render(torch.zeros(1, 2, 3, 3), normalisation="symmetric").pixels.any()
    assert not render(torch.full((1, 1, 3, 3), 5.0), normalisation="fixed", limits=(9.0, 9.0)).pixels.any()


def test_fixed_limits_clamp() -> None:
    row = torch.tensor([-1e30, -1.0, 0.0, 1.0, 1e30]).view(1, 1, 1, 5)
    assert render(row, normalisation="fixed", limits=(-1, 1)).pixels.ravel().tolist() == [0, 0, 120, TOP, TOP]


@pytest.mark.parametrize("limits", [None, (1.0, -1.0), (0.0, float("nan")), (0.0, float("inf"))])
def test_what_is_no_scale_is_refused(activation: Tensor, limits: tuple[float, float] | None) -> None:
    with pytest.raises(LayerError, match=r"scale .*: give"):
        render(activation, normalisation="fixed", limits=limits)


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_what_is_not_finite_gets_its_own_index(activation: Tensor, normalisation: str, cached: bool) -> None:
    clean = activation.clone()
    clean[0, 4] = 0.0
    spoilt = clean.clone()
    spoilt[0, 4] = torch.nan
    spoilt[0, 5, 0, 0] = torch.nan
    spoilt[0, 5, 2, 3] = torch.inf
    spoilt[0, 6, 8, 10] = -torch.inf
    numbers = statistics(spoilt) if cached else None
    maps = render(spoilt, normalisation=normalisation, limits=(-1, 1), statistics=numbers)
    assert (maps.pixels[4] == NAN).all()
    assert maps.pixels[5, 0, 0] == NAN
    assert maps.pixels[5, 2, 3] == maps.pixels[6, 8, 10] == INFINITE
    assert (maps.pixels >= LEVELS).sum() == 99 + 3
    finite = spoilt[0].isfinite().numpy()
    values = np.where(finite, spoilt[0].numpy(), 0)
    drawn = [0, 1, 2, 3, 5, 6]
    assert np.isfinite(maps.limits[drawn]).all()
    assert close((maps.pixels * finite)[drawn], (expected(values, maps.limits) * finite)[drawn])
    assert np.isnan(maps.limits[4]).all() == (normalisation == "map")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_of_number(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    values = (torch.randn(1, 3, 6, 5) * 40).abs().to(dtype)
    maps = render(values)
    assert close(maps.pixels, expected(values[0].double().numpy(), maps.limits))
    np.testing.assert_array_equal(maps.limits[:, 1], values[0].double().amax((1, 2)).numpy())
    numbers = statistics(values)
    np.testing.assert_allclose(numbers.std, values[0].double().numpy().std((1, 2)), rtol=1e-12)
    np.testing.assert_array_equal(
        render(values, statistics=numbers, normalisation="layer").limits[:, 0], maps.limits.min()
    )
    counts, edges = histogram(values, 0)
    assert counts.sum() == 30
    assert edges[-1] >= maps.limits[0, 1]
    for reduction in REDUCTIONS:
        assert reduce_channels(values, reduction).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_spans_beyond_the_type(dtype: torch.dtype) -> None:
    most = torch.finfo(dtype).max
    tiny = torch.finfo(dtype).tiny
    values = torch.tensor([[-most, 0.0, most], [0.0, tiny / 2, tiny], [1.0, 1.0, 1.0]], dtype=dtype).view(1, 3, 1, 3)
    for numbers in (None, statistics(values)):
        pixels = render(values, statistics=numbers).pixels[:, 0]
        assert pixels.tolist() == [[0, 120, TOP], [0, 120, TOP], [0, 0, 0]]
    counts, _ = histogram(values, 0, bins=2)
    assert counts.tolist() == [1, 2]


@pytest.mark.parametrize("shape", [(1, 0, 4, 4), (1, 3, 0, 4), (1, 3, 4, 0), (1, 0, 0, 0)], ids=str)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_empty_activations(shape: tuple[int, ...], normalisation: str) -> None:
    values = torch.empty(shape)
    numbers = statistics(values)
    assert len(numbers.mean) == shape[1]
    assert np.isnan(numbers.minimum).all()
    for cached in (None, numbers):
        maps = render(values, normalisation=normalisation, limits=(0, 1), statistics=cached)
        assert maps.pixels.shape == shape[1:]
        assert maps.limits.shape == (shape[1], 2)
    assert histogram(values, None)[0].sum() == 0


def test_out_is_filled_in_place(activation: Tensor) -> None:
    block = np.zeros((9, 9, 11), np.uint8)
    maps = render(activation, out=block[1:8])
    assert np.shares_memory(maps.pixels, block)
    np.testing.assert_array_equal(block[1:8], render(activation).pixels)
    assert not block[[0, 8]].any()
    with pytest.raises(ValueError, match="shape"):
        render(activation, step=2, out=block[1:8])


def test_memory_order_and_gradients_do_not_matter(activation: Tensor) -> None:
    wanted = render(activation).pixels
    last = activation.contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(render(last).pixels, wanted)
    np.testing.assert_array_equal(render(activation.requires_grad_()).pixels, wanted)


@pytest.mark.usefixtures("chunked")
def test_reductions(activation: Tensor) -> None:
    values = activation[0].double().numpy()
    wanted = {"mean": values.mean(axis=0), "max": values.max(axis=0), "l2": np.sqrt((values**2).sum(axis=0))}
    for reduction in REDUCTIONS:
        reduced = reduce_channels(activation, reduction)
        assert reduced.shape == (1, 9, 11)
        np.testing.assert_allclose(reduced[0].numpy(), wanted[reduction], rtol=1e-5)
        # The statistics of the channels say nothing about their reduction.
        maps = render(activation, reduction=reduction, statistics=statistics(activation), step=2)
        assert (maps.channels, maps.reduction, maps.pixels.shape) == ((), reduction, (1, 5, 6))
        np.testing.assert_allclose(maps.limits, [[wanted[reduction].min(), wanted[reduction].max()]], rtol=1e-5)


def test_reductions_do_not_overflow() -> None:
    values = torch.full((1, 4, 2, 2), 1e38)
    assert reduce_channels(values, "l2")[0, 0, 0].item() == pytest.approx(2e38)
    assert reduce_channels(values, "mean")[0, 0, 0].item() == pytest.approx(1e38)
    with pytest.raises(LayerError, match="no channels"):
        reduce_channels(torch.empty(1, 0, 2, 2), "max")


@pytest.mark.usefixtures("chunked")
def test_statistics(activation: Tensor) -> None:
    values = activation[0].double().numpy()
    numbers = statistics(activation)
    np.testing.assert_array_equal(numbers.minimum, values.min(axis=(1, 2)))
    np.testing.assert_array_equal(numbers.maximum, values.max(axis=(1, 2)))
    np.testing.assert_allclose(numbers.mean, values.mean(axis=(1, 2)), rtol=1e-13)
    np.testing.assert_allclose(numbers.std, values.std(axis=(1, 2)), rtol=1e-13, atol=1e-18)
    np.testing.assert_array_equal(numbers.zeros, (values == 0).mean(axis=(1, 2)))
    assert numbers.std[3] == 0
    assert numbers.zeros[1] > 0.3
    assert not numbers.nans.any()
    assert not numbers.infinities.any()
    assert {array.dtype.name for array in (numbers.mean, numbers.std, numbers.zeros)} == {"float64"}
    assert numbers.nans.dtype == numbers.infinities.dtype == np.int64


finite_or_not = st.one_of(
    st.floats(-1e6, 1e6, width=32), st.sampled_from([0.0, float("nan"), float("inf"), float("-inf")])
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(finite_or_not, min_size=6, max_size=6), min_size=1, max_size=4))
def test_statistics_of_anything(rows: list[list[float]]) -> None:
    tensor = torch.tensor(rows).view(1, len(rows), 2, 3)
    numbers = statistics(tensor)
    for index, row in enumerate(np.array(rows, np.float32).astype(np.float64)):
        finite = row[np.isfinite(row)]
        assert numbers.nans[index] == np.isnan(row).sum()
        assert numbers.infinities[index] == np.isinf(row).sum()
        assert numbers.zeros[index] == (row == 0).mean()
        found = [numbers.minimum[index], numbers.maximum[index], numbers.mean[index], numbers.std[index]]
        if len(finite):
            wanted = [finite.min(), finite.max(), finite.mean(), finite.std()]
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * max(1, np.abs(finite).max()))
        else:
            assert np.isnan(found).all()
    for pixels, cached in ((render(tensor).pixels, None), (render(tensor, statistics=numbers).pixels, numbers)):
        assert ((pixels == NAN) == tensor[0].isnan().numpy()).all(), cached
        assert ((pixels == INFINITE) == tensor[0].isinf().numpy()).all(), cached


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("channel", [None, 1, 2])
def test_histogram(activation: Tensor, channel: int | None) -> None:
    activation[0, 1, 4, 4] = torch.nan
    activation[0, 2, 4, 4] = torch.inf
    values = activation[0].double().numpy() if channel is None else activation[0, channel].double().numpy()
    counts, edges = histogram(activation, channel, bins=16)
    wanted, wanted_edges = np.histogram(values[np.isfinite(values)], bins=16)
    np.testing.assert_array_equal(counts, wanted)
    np.testing.assert_allclose(edges, wanted_edges, rtol=1e-12, atol=1e-12)
    assert counts.dtype == np.int64


def test_histograms_of_the_odd_ones(activation: Tensor) -> None:
    counts, edges = histogram(activation, 3, bins=4)
    assert counts.tolist() == [0, 0, 99, 0]
    assert edges[2] == pytest.approx(0.1)
    assert histogram(torch.full((1, 1, 2, 2), torch.nan), 0, bins=4)[0].tolist() == [0] * 4
    assert histogram(torch.arange(10.0)[None], None, bins=5)[0].tolist() == [2] * 5
    reduced, _ = histogram(activation, None, reduction="max", bins=8)
    assert reduced.sum() == 99


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.zeros(1, 1000), "vector of 1,000 values"),
        (torch.zeros(1000, 1), "vector of 1,000 values"),
        (torch.zeros(1), "vector of 1 value,"),
        (torch.zeros(5, 4), "matrix of 5 rows and 4 columns"),
        (torch.zeros(0, 7, 7), "empty: its shape is 0 × 7 × 7"),
        (torch.zeros(0, 4), "empty"),
        (torch.tensor(1.0), "single number"),
        (torch.zeros(1, 197, 768), r"1 × 197 × 768"),
        (torch.zeros(2, 3, 4, 4), "batch of 2"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.complex64), "complex"),
        (torch.zeros(1, 3, 4, 4).to_sparse(), "sparsely"),
    ],
)
def test_what_has_no_maps_says_why(tensor: Tensor, reason: str) -> None:
    assert not is_spatial(tensor)
    with pytest.raises(LayerError, match=reason):
        feature_maps(tensor)
    with pytest.raises(LayerError, match=reason):
        render(tensor)
    values = vector(tensor)
    assert values.dtype == torch.float32
    assert len(values) == min(tensor.numel(), 4096)


def test_what_has_maps(activation: Tensor) -> None:
    assert why_not_spatial(activation) == ""
    maps = feature_maps(activation)
    assert maps.shape == (7, 9, 11)
    assert maps.data_ptr() == activation.data_ptr()


@pytest.mark.parametrize("channel", [7, -8])
def test_a_channel_that_is_not_there(activation: Tensor, channel: int) -> None:
    with pytest.raises(LayerError, match=rf"no channel {channel}: this layer has 0 to 6"):
        render(activation, channels=[0, channel])
    with pytest.raises(LayerError, match=rf"no channel {channel}"):
        histogram(activation, channel)


def noisy(dtype: torch.dtype, steps: int, value: float = 0.7) -> Tensor:
    """(1, 3, 6, 6): a map whose values differ by some units of rounding, a zero map, a map with real contrast."""
    epsilon = torch.finfo(dtype).eps
    tensor = torch.zeros(1, 3, 6, 6, dtype=dtype)
    ramp = torch.arange(36).view(6, 6) % (steps + 1)
    tensor[0, 0] = (value * (1 + ramp.double() * epsilon)).to(dtype)
    tensor[0, 2] = torch.linspace(-1, 1, 36).view(6, 6).to(dtype)
    return tensor


FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_rounding_alone_is_drawn_in_one_level(dtype: torch.dtype, normalisation: Normalisation) -> None:
    tensor = noisy(dtype, 5)
    assert tensor[0, 0].unique().numel() > 2
    # A fixed range as narrow as the rounding itself would give it full contrast.
    ends = tensor[0, 0].double()
    limits = (float(ends.min()), float(ends.max())) if normalisation == "fixed" else None
    for cached in (None, statistics(tensor)):
        maps = render(tensor, normalisation=normalisation, limits=limits, statistics=cached)
        assert maps.constant == (True, True, False)
        assert [len(np.unique(pixels)) for pixels in maps.pixels[:2]] == [1, 1]
        assert len(np.unique(maps.pixels[2])) > 1
    if normalisation == "map":
        assert maps.limits[0, 0] == maps.limits[0, 1]
        assert maps.pixels[0, 0, 0] == 0
        assert maps.limits[2, 0] < maps.limits[2, 1]
    elif normalisation == "symmetric":
        assert maps.pixels[0, 0, 0] == pytest.approx((0.7 + 1) / 2 * TOP, abs=2)
        assert abs(int(maps.pixels[1, 0, 0]) - TOP / 2) <= 1
    assert statistics(tensor).constant.tolist() == [True, True, False]


@pytest.mark.parametrize("dtype", FLOATING)
def test_more_than_rounding_keeps_its_contrast(dtype: torch.dtype) -> None:
    tensor = noisy(dtype, 20)
    maps = render(tensor)
    assert maps.constant == (False, True, False)
    assert (maps.pixels[0].min(), maps.pixels[0].max()) == (0, TOP)
    assert not statistics(tensor).constant[0]
    tiny = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    tiny[0, 0, 0, 0] = 1e-300
    assert render(tiny).constant == (False,), "small values are no rounding of zero"


def test_integers_and_float8_are_constant_only_when_equal() -> None:
    for dtype in (torch.int32, torch.uint8, torch.float8_e4m3fn, torch.float8_e5m2):
        tensor = torch.tensor([[[[7.0, 8.0]], [[8.0, 8.0]]]]).to(dtype)
        assert render(tensor).constant == (False, True), dtype


def test_a_layer_of_rounding_alone_is_flat_on_a_shared_range() -> None:
    tensor = (0.7 * (1 + torch.arange(24).view(1, 2, 3, 4).double() % 5 * 2**-23)).float()
    maps = render(tensor, normalisation="layer")
    assert maps.constant == (True, True)
    assert not maps.pixels.any()
    assert maps.limits[0, 0] == maps.limits[0, 1]


def test_nan_and_infinity_stay_visible_in_a_constant_map() -> None:
    tensor = noisy(torch.float32, 5)
    tensor[0, 0, 0, 0], tensor[0, 0, 0, 1] = torch.nan, -torch.inf
    for normalisation in ("map", "layer"):
        maps = render(tensor, normalisation=normalisation)  # type: ignore[arg-type]
        assert maps.constant[0]
        assert (maps.pixels[0, 0, 0], maps.pixels[0, 0, 1]) == (NAN, INFINITE)
        assert len(np.unique(maps.pixels[0])) == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_of_layer_normed_channels_is_constant(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    normed = torch.nn.functional.layer_norm(torch.randn(1, 14, 14, 384), (384,)).permute(0, 3, 1, 2)
    assert render(normed, reduction="mean").constant == (True,)
    assert render(normed, reduction="max").constant == (False,)
    shifted = normed.to(dtype)
    shifted[:, 0] += torch.linspace(0, 40, 14).to(dtype)
    assert render(shifted, reduction="mean").constant == (False,), "a real difference of means stays"


def test_the_histogram_of_rounding_is_one_bar() -> None:
    tensor = noisy(torch.float32, 5)
    counts, edges = histogram(tensor, 0, bins=9)
    assert counts.tolist() == [0, 0, 0, 0, 36, 0, 0, 0, 0]
    assert edges[0] == pytest.approx(0.2, abs=1e-5)
    assert edges[-1] == pytest.approx(1.2, abs=1e-5)
    for value in (1e30, -4e9):
        counts, edges = histogram(torch.full((1, 1, 2, 2), value), 0, bins=3)
        assert counts.tolist() == [0, 4, 0]
        assert edges[0] < value < edges[-1]
