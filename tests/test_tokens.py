"""Tokens are put back on the grid that they came from, channels-last maps are turned, and attention is no map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fmviz.capture import Activation, Capture, capture_activations
from fmviz.errors import LayerError
from fmviz.exporting import export
from fmviz.layers import Layer
from fmviz.networks.stages import find_stages
from fmviz.pyramid import tap_maps
from fmviz.render import render, statistics
from fmviz.session import Session
from fmviz.tokens import (
    ATTENTION,
    BETWEEN,
    ChannelsLast,
    Elsewhere,
    Layouts,
    TokenGrid,
    TokenOrder,
    Windows,
    as_maps,
    lies_on,
    places_of,
)


class Tiny(nn.Module):
    """A small Vision Transformer over patches of 8 pixels, with a class token and one register."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 8, stride=8)
        self.front = nn.Parameter(torch.ones(1, 2, 6))
        self.block = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = self.block(torch.cat((self.front, tokens), dim=1))
        return self.head(tokens[:, 0])


class Turned(nn.Module):
    """Convolution, then layer norm, a linear layer and an activation with the channels last, then first again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 2, stride=2)
        self.norm = nn.LayerNorm(8)
        self.wide = nn.Linear(8, 16)
        self.act = nn.GELU()
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).permute(0, 2, 3, 1)
        x = self.act(self.wide(self.norm(x)))
        return self.last(x.permute(0, 3, 1, 2))


@pytest.fixture(scope="module")
def transformer() -> Capture:
    """A picture of 3 × 5 patches."""
    capture = capture_activations(Tiny(), torch.rand(1, 3, 24, 40))
    return capture.annotated(taps={"C3": "block"}, tokens=TokenGrid(3, 5, ("class token", "register token 1")))


# ── Where tokens lie ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_tokens_lie_row_by_row(transformer: Capture) -> None:
    block = transformer["block"]
    assert block.tensor.shape == (1, 17, 6)
    assert block.maps.shape == (1, 6, 3, 5)
    for row in range(3):
        for column in range(5):
            assert torch.equal(block.maps[0, :, row, column], block.tensor[0, 2 + row * 5 + column])


def test_maps_of_the_patch_embedding_are_the_convolutions() -> None:
    """Tokens that nothing was done to are the maps that they were made of."""
    maps = torch.rand(1, 7, 4, 3)
    tokens = torch.cat((torch.zeros(1, 1, 7), maps.flatten(2).transpose(1, 2)), dim=1)
    assert torch.equal(as_maps(tokens, TokenGrid(4, 3, ("class token",))), maps)


def test_tokens_in_another_order_are_put_into_rows() -> None:
    maps = torch.rand(1, 7, 2, 3)
    rows = maps.flatten(2).transpose(1, 2)  # (1, 6, 7)
    order = (4, 0, 5, 1, 3, 2)
    tokens = torch.empty_like(rows)
    tokens[:, list(order)] = rows
    assert torch.equal(as_maps(tokens, TokenOrder(2, 3, order)), maps)
    assert as_maps(tokens.to("meta"), TokenOrder(2, 3, order)).shape == maps.shape


def test_tokens_of_no_cell_are_layers_of_their_own(transformer: Capture) -> None:
    names = [str(layer) for layer in transformer]
    assert [name for name in names if "token" in name] == ["block[class token]", "block[register token 1]"]
    apart = transformer["block[register token 1]"]
    assert apart.why_no_maps.startswith("It is a vector")
    assert torch.equal(apart.tensor, transformer["block"].tensor[:, 1])


def test_taps_are_the_grid_and_not_what_stands_apart(transformer: Capture) -> None:
    assert str(transformer.taps["C3"].layer) == "block"
    assert tap_maps(transformer)["C3"].map_size == (3, 5)


def test_without_what_the_network_knows_tokens_are_no_maps() -> None:
    capture = capture_activations(Tiny(), torch.rand(1, 3, 24, 40))
    assert "1 × 17 × 6" in capture["block"].why_no_maps
    with pytest.raises(LayerError, match="block has no maps"):
        capture["block"].maps


def test_attention_is_no_map() -> None:
    grid = TokenGrid(3, 5, ("class token",))
    for shape in ((1, 4, 16, 16), (1, 4, 16, 8)):
        assert grid(Layer("attn"), shape) is ATTENTION
    activation = Activation(Layer("attn"), "Dropout", torch.rand(1, 4, 16, 16), ATTENTION)
    assert "attention" in activation.why_no_maps
    with pytest.raises(LayerError, match="attention"):
        activation.maps


def test_other_shapes_have_no_place() -> None:
    grid = TokenGrid(3, 5, ("class token",))
    assert grid(Layer("a"), (1, 15, 8)) == TokenGrid(3, 5)
    for shape in ((1, 14, 8), (2, 16, 8), (1, 16), (1, 8, 3, 5), ()):
        assert grid(Layer("a"), shape) is None


# ── Channels last ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(16, 24), (16, 16), (32, 32)])
def test_channels_last_is_found_and_turned(size: tuple[int, int]) -> None:
    """Also where a map has as many rows as channels: 8 × 8 × 8, and 16 × 16 × 16."""
    height, width = size[0] // 2, size[1] // 2
    capture = capture_activations(Turned(), torch.rand(1, 3, *size))
    for name, channels in (("norm", 8), ("wide", 16), ("act", 16)):
        assert isinstance(capture[name].places, ChannelsLast), name
        assert capture[name].maps.shape == (1, channels, height, width)
    for name in ("conv", "last"):
        assert capture[name].places is None
    assert torch.equal(capture["act"].maps, capture["act"].tensor.permute(0, 3, 1, 2))


def test_linear_layers_on_something_else_are_no_maps() -> None:
    """1 × windows × tokens × channels: its axes are not in the proportions of the picture."""
    shape = (1, 64, 49, 32)
    assert places_of(Layer("a"), shape, channels_last=True, input_size=(224, 224), finder=None) is BETWEEN
    assert places_of(Layer("a"), (4, 7, 7, 8), channels_last=True, input_size=(28, 28), finder=None) is None


def test_layer_norms_that_turn_the_axes_themselves() -> None:
    class LayerNorm2d(nn.LayerNorm):
        pass

    told = Layouts()
    assert not told.channels_last(LayerNorm2d(8), torch.empty(1, 8, 8, 8))
    assert not told.channels_last(LayerNorm2d(8), torch.empty(1, 8, 5, 4))
    assert told.channels_last(nn.LayerNorm(8), torch.empty(1, 8, 8, 8))
    assert told.channels_last(nn.ReLU(), torch.empty(1, 8, 8, 8))
    assert not told.channels_last(nn.Conv2d(1, 1, 1), torch.empty(1, 8, 8, 8))
    assert not told.channels_last(nn.ReLU(), torch.empty(1, 8, 8, 8))
    assert not told.channels_last(nn.Linear(3, 3), torch.empty(1, 8, 3))


def test_a_map_has_the_proportions_of_the_picture() -> None:
    assert lies_on((224, 224), (56, 56))
    assert lies_on((200, 300), (7, 10))
    assert lies_on((518, 518), (37, 37))
    assert not lies_on((224, 224), (64, 49))
    assert not lies_on((224, 448), (7, 7))


# ── Windows ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("side", [56, 28, 14, 7])
def test_windows_are_put_back_as_maxvit_does_itself(side: int) -> None:
    from torchvision.models.maxvit import SwapAxes, WindowDepartition, WindowPartition

    maps = torch.rand(1, 5, side, side)
    windows = WindowPartition()(maps, 7)
    assert torch.equal(as_maps(windows, Windows(side // 7)), maps)
    grid = WindowPartition()(maps, side // 7)
    assert torch.equal(as_maps(grid, Windows(7)), maps)
    swapped = SwapAxes(-2, -3)(grid)
    assert torch.equal(as_maps(swapped, Windows(7, swapped=True)), maps)
    assert torch.equal(as_maps(windows, Windows(side // 7)), WindowDepartition()(windows, 7, side // 7, side // 7))


def test_every_window_of_maxvit_lies_on_the_picture() -> None:
    """What goes into the windows is what came to them, in all its blocks."""
    session = Session("torchvision/maxvit_t", weights="random")
    capture = session.run(
        torch.rand(1, 3, 224, 224), keep=lambda layer: "attention" in layer.path or "MBconv" in layer.path
    )
    attention = [layer.path for layer in capture if layer.path.endswith("_attention")]
    assert len(attention) == 22
    for path in attention:
        came = path.rpartition(".")[0] + (".MBconv" if "window" in path else ".window_attention")
        for name in (f"{path}.partition_op", f"{path}.partition_swap"):
            assert torch.equal(capture[name].maps, capture[came].maps), name
        assert torch.equal(capture[f"{path}.departition_swap"].maps, capture[path].maps)
        before = torch.nn.functional.layer_norm(
            capture[came].maps.permute(0, 2, 3, 1), (capture[came].maps.shape[1],), eps=1e-5
        ).permute(0, 3, 1, 2)
        torch.testing.assert_close(capture[f"{path}.attn_layer.0"].maps, before, atol=1e-4, rtol=1e-4)


# ── Whatever draws ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_drawn_maps_are_those_of_contiguous_ones(transformer: Capture) -> None:
    maps = transformer["block"].maps
    assert np.array_equal(render(maps).pixels, render(maps.contiguous()).pixels)
    assert np.array_equal(statistics(maps).mean, statistics(maps.contiguous()).mean)


def test_tokens_are_exported_as_maps_and_as_they_are(transformer: Capture, tmp_path: Path) -> None:
    names = ("block", "block[class token]")
    records = list(export(transformer, {}, layers=names, folder=tmp_path / "png", form="maps"))
    assert sum(record.path is not None for record in records) == 7
    assert {record.note for record in records} == {""}
    assert [record.path.name for record in records if record.path and "class" in record.path.name] == [
        "block[class token].png"
    ]
    (record,) = export(transformer, {}, layers=("block",), folder=tmp_path / "npz", form="npz")
    assert record.path is not None
    with np.load(record.path) as arrays:
        assert arrays["block"].shape == (1, 17, 6)


@pytest.mark.parametrize(("name", "shape"), [("vit_b_32", (1, 768, 2, 3)), ("swin_t", (1, 96, 16, 24))])
def test_the_engine_shows_tokens_as_maps(name: str, shape: tuple[int, ...]) -> None:
    from fmviz.engine.answers import _layers

    session = Session(f"torchvision/{name}", weights="random")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    capture = session.run(pixels, preprocessing=session.preprocessing.whole(96))
    layers = {layer.name: layer for layer in _layers(capture)}
    info = layers["encoder.layers.encoder_layer_3" if name == "vit_b_32" else "features.1.0"]
    assert (info.spatial, info.shape) == (True, shape)
    assert info.stride == (32.0 if name == "vit_b_32" else 4.0)
    flat = [layer for layer in layers.values() if not layer.spatial]
    assert all(len(layer.shape) <= 2 for layer in flat)


# ── Stages ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def the_tensor(x: Tensor) -> tuple[Any, ...]:
    return (x,)


def test_stages_of_tokens() -> None:
    grid = TokenGrid(3, 5, ("class token", "register token 1"))
    assert find_stages(Tiny, the_tensor, (24, 40), finder=grid) == {"C3": "block"}
    assert find_stages(Tiny, the_tensor, (24, 40)) == {"C3": "patches"}


def test_a_stage_ends_where_its_block_does() -> None:
    """Not in the first half of the block that makes the next stage, nor in a pool to a fixed size."""

    class Down(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.before = nn.Conv2d(width, width, 1)
            self.down = nn.Conv2d(width, width, 3, stride=2, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.down(self.before(x))

    def build() -> nn.Module:
        stem = nn.Conv2d(3, 4, 4, stride=4)
        body = nn.Sequential(nn.ReLU(), Down(4), nn.Sequential(nn.ReLU(), Down(4)), Down(4))
        return nn.Sequential(stem, body, nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(256, 2))

    assert find_stages(build, the_tensor, (256, 512)) == {"C2": "1.0", "C3": "1.1", "C4": "1.2", "C5": "1"}
    assert find_stages(build, the_tensor, (256, 512), inside="1.2") == {"C4": "1.2.1"}
    assert find_stages(build, the_tensor, (256, 512), outside="1.3")["C5"] == "1"


def test_elsewhere_has_a_sentence() -> None:
    for place in (ATTENTION, BETWEEN):
        assert isinstance(place, Elsewhere)
        assert place.reason.endswith(".")
        assert place.reason[0].isupper()
