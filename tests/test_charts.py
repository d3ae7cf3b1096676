"""Layers without maps as figures: heat maps of matrices with their axes, bars of vectors, maps over the picture."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from fmviz.capture import Activation, Capture
from fmviz.channels import matrix_stack
from fmviz.charts import bars, heat_maps, tick_numbers
from fmviz.colours import colour_table
from fmviz.drawing import longer_of_overlay
from fmviz.errors import ExportError, LayerError
from fmviz.exporting import Exported, export
from fmviz.figure import grid
from fmviz.layers import Layer
from fmviz.maps import LEVELS, PAPER
from fmviz.matrices import index_of, matrices_of, matrix_words
from fmviz.overlay import Overlay
from fmviz.render import render
from fmviz.selecting import chosen_layers
from fmviz.session import Session
from fmviz.sheet import TooLargeFigureError

CAT = Path(__file__).parents[1] / "assets/samples/chelsea.png"
COLOURS = colour_table("viridis", dark=False)


def captured(**tensors: Tensor) -> Capture:
    return Capture([Activation(Layer(name), "Softmax", tensor) for name, tensor in tensors.items()])


def attention(count: int = 6) -> Tensor:
    torch.manual_seed(1)
    return torch.softmax(torch.randn(count // 2, 2, 49, 49), dim=-1)


def run(capture: Capture, folder: Path, **options: Any) -> list[Exported]:
    return list(export(capture, {"network": "net"}, folder=folder, **options))


def opened(path: Path | None) -> tuple[np.ndarray, dict[str, Any]]:
    assert path is not None
    with PIL.Image.open(path) as image:
        image.load()
        return np.asarray(image), json.loads(image.text["fmviz"])


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((64, 3, 49, 49), (192, 49, 49)),
        ((49, 49), (1, 49, 49)),
        ((1, 17, 6), (1, 17, 6)),
        ((100, 1, 256), (1, 100, 256)),
        ((2, 3, 4, 5, 6), (24, 5, 6)),
        ((1, 1000), None),
        ((5, 1), None),
        ((), None),
        ((7,), None),
        ((0, 4, 4), None),
    ],
)
def test_the_last_two_axes_are_rows_and_columns(shape: tuple[int, ...], found: tuple[int, int, int] | None) -> None:
    assert matrices_of(shape) == found
    if found is not None:
        assert tuple(matrix_stack(torch.zeros(shape)).shape) == (1, *found)
    else:
        with pytest.raises(LayerError, match="no rows and columns"):
            matrix_stack(torch.zeros(shape))


def test_a_matrix_is_named_by_its_indices() -> None:
    tensor = torch.arange(64 * 3 * 2 * 2).view(64, 3, 2, 2)
    stack = matrix_stack(tensor)[0]
    for number in (0, 37, 191):
        index = index_of(tensor.shape, number)
        assert torch.equal(stack[number], tensor[index])
    assert matrix_words(tensor.shape, 37) == "[12, 1]"
    assert matrix_words((1, 49, 49), 0) == ""


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation:UserWarning")
def test_complex_sparse_and_quantized_values_are_drawn() -> None:
    values = torch.tensor([[3.0 + 4j, 0], [0, 1j]])
    assert matrix_stack(values)[0, 0].tolist() == [[5, 0], [0, 1]]
    assert torch.equal(matrix_stack(torch.eye(3).to_sparse())[0, 0], torch.eye(3))
    quantized = torch.quantize_per_tensor(torch.eye(4), 0.5, 0, torch.qint8)
    assert torch.equal(matrix_stack(quantized)[0, 0], torch.eye(4))
    with pytest.raises(LayerError, match="meta"):
        matrix_stack(torch.empty(3, 3, device="meta"))


@pytest.mark.parametrize("shape", [(12,), (3, 4)])
def test_the_caption_of_complex_values_says_magnitude(shape: tuple[int, ...]) -> None:
    waves = torch.randn(shape, dtype=torch.complex64)
    (chosen,) = chosen_layers(captured(waves=waves), "waves")
    assert chosen.shape_words.endswith("· magnitude of complex values")
    (chosen,) = chosen_layers(captured(waves=waves.real.clone()), "waves")
    assert "magnitude" not in chosen.shape_words


def test_attention_is_exported_as_heat_maps_with_axes_and_names(tmp_path: Path) -> None:
    tensor = attention()
    (record,) = run(captured(soft=tensor), tmp_path)
    pixels, facts = opened(record.path)
    matrices = facts["matrices"]
    assert matrices["names"] == ["[0, 0]", "[0, 1]", "[1, 0]", "[1, 1]", "[2, 0]", "[2, 1]"]
    width, height = matrices["size"]
    tile = pixels[matrices["top"] : matrices["top"] + height, matrices["left"] : matrices["left"] + width]
    wanted = render(matrix_stack(tensor)).pixels[0]
    factor = height // 49
    np.testing.assert_array_equal(tile, wanted.repeat(factor, axis=0).repeat(factor, axis=1))
    assert len(facts["limits"]) == 6
    figure = heat_maps(render(matrix_stack(tensor)), names=matrices["names"], title="soft\nSoftmax")
    texts = [label.text for label in figure.labels]
    assert {"soft", "Softmax", "row", "column", "[1, 1]", "0", "20", "40"} <= set(texts)
    assert any("49 rows × 49 columns" in text for text in texts)


def test_each_matrix_is_a_file_of_its_own(tmp_path: Path) -> None:
    tensor = attention()
    records = run(captured(soft=tensor), tmp_path, form="maps", channels=[5, 0])
    assert [record.path.name for record in records if record.path] == ["net_soft_0005.png", "net_soft_0000.png"]
    pixels, facts = opened(records[0].path)
    low, high = facts["limits"][0]
    values = low + pixels.astype(np.float64) / (LEVELS - 1) * (high - low)
    np.testing.assert_allclose(values, tensor[2, 1].double().numpy(), atol=0.51 / (LEVELS - 1) * (high - low))
    with pytest.raises(LayerError, match="choose from 0 to 5"):
        run(captured(soft=tensor), tmp_path, channels=[6])


def test_rounding_alone_is_a_constant_heat_map(tmp_path: Path) -> None:
    uniform = torch.softmax(torch.randn(49, 1) * 1e-9 + torch.zeros(49, 49) + torch.arange(49) * 1e-8, dim=-1)
    assert uniform.unique().numel() > 1
    (record,) = run(captured(soft=uniform), tmp_path)
    _, facts = opened(record.path)
    assert facts["constant"] == [True]
    assert facts["limits"][0][0] == facts["limits"][0][1]


def test_narrow_matrices_keep_all_their_rows(tmp_path: Path) -> None:
    for rows, columns in ((900, 4), (4, 900), (1, 2), (300, 2)):
        tensor = torch.rand(max(rows, 2), columns)
        (record,) = run(captured(boxes=tensor), tmp_path)
        _, facts = opened(record.path)
        width, height = facts["matrices"]["size"]
        assert height >= tensor.shape[0]
        assert width >= columns


def test_vectors_are_bars(tmp_path: Path) -> None:
    values = torch.tensor([[1.0, -2.0, 0.0, float("nan"), float("inf"), 4.0]])
    (record,) = run(captured(fc=values), tmp_path)
    pixels, facts = opened(record.path)
    left, top = facts["bars"]["left"], facts["bars"]["top"]
    width, height = facts["bars"]["size"]
    plot = pixels[top : top + height, left : left + width]
    heights = [int((plot[:, round((index + 0.5) * width / 6)] > PAPER + 4).sum()) / height for index in range(6)]
    assert heights == pytest.approx([1 / 6, 2 / 6, 0, 0, 0, 4 / 6], abs=0.01)
    assert facts["count"] == 6
    figure = bars(values[0].double().numpy(), count=6, title="fc", facts={})
    texts = [label.text for label in figure.labels]
    assert {"fc", "index", "0", "4", "−2"} <= set(texts)
    assert "6 values, 2 NaN or infinite" in texts


@pytest.mark.parametrize("values", [[], [0.0], [-3.0], [float("nan")], [1e300, -1e300], [5e-324]])
def test_bars_of_extreme_vectors(values: list[float]) -> None:
    figure = bars(np.array(values, np.float64), count=len(values), title="v", facts={})
    assert figure.canvas.size


def test_long_vectors_show_their_peaks(tmp_path: Path) -> None:
    values = torch.zeros(1, 4096)
    values[0, 1234] = 1.0
    (record,) = run(captured(fc=values), tmp_path)
    pixels, facts = opened(record.path)
    left, top = facts["bars"]["left"], facts["bars"]["top"]
    width, height = facts["bars"]["size"]
    plot = pixels[top : top + height // 2, left : left + width] > PAPER + 4
    assert np.flatnonzero(plot.any(axis=0)).tolist() == [1234 * width // 4096]


def test_ticks_are_round_and_within() -> None:
    assert tick_numbers(49, 10) == list(range(0, 49, 5))
    assert tick_numbers(49, 0) == [0]
    assert tick_numbers(3, 100) == [0, 1, 2]


def test_a_reduction_leaves_layers_without_maps_out(tmp_path: Path) -> None:
    (record,) = run(captured(soft=attention()), tmp_path, reduction="mean")
    assert record.path is None
    assert "soft was left out: " in record.note


# Over the picture


@pytest.mark.parametrize("form", ["maps", "grid"])
def test_maps_over_the_picture_are_blended(tmp_path: Path, form: Any) -> None:
    session = Session("efficientnet_lite0", weights="random")
    capture = session.run(CAT)
    records = list(
        export(
            capture, session.facts(capture), layers="C5", folder=tmp_path, form=form, channels=[3], over_picture=0.25
        )
    )
    pixels, facts = opened(records[0].path)
    assert capture.input is not None
    assert capture.picture is not None
    box = capture.input.geometry.input_box()
    if form == "maps":
        blended = pixels
        assert blended.shape == (round(box.height), round(box.width), 3)
    else:
        left, top = facts["tiles"]["left"], facts["tiles"]["top"]
        width, height = facts["tiles"]["size"]
        blended = pixels[top : top + height, left : left + width]
    maps = render(capture.taps["C5"].tensor, channels=[3]).pixels[0]
    for row, column in ((0, 0), (3, 3), (6, 5)):
        # The middle of a cell.
        y, x = int((row + 0.5) * blended.shape[0] / 7), int((column + 0.5) * blended.shape[1] / 7)
        over = COLOURS[maps[row, column]].astype(float)
        ground = (blended[y, x] - 0.25 * over) / 0.75
        source = capture.picture.pixels[
            int(box.top + (y + 0.5) * box.height / blended.shape[0]),
            int(box.left + (x + 0.5) * box.width / blended.shape[1]),
        ]
        assert np.abs(ground - source).max() < 40, "the picture below the map"
    assert facts["opacity"] == 0.25


def test_a_large_jpeg_is_decoded_for_the_size_that_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    with PIL.Image.open(CAT) as cat:
        cat.convert("RGB").resize((2400, 1600)).save(path, quality=95)
    session = Session("efficientnet_lite0", weights="random")
    capture = session.run(path)
    assert capture.picture is not None
    for form, size, shape in (("maps", 200, (200, 200)), ("grid", "map", (224, 224)), ("maps", "map", (1400, 1400))):
        overlay = Overlay.of(capture, 0.0, longer=longer_of_overlay(form, size))
        assert capture.picture.is_decoded is (shape == (1400, 1400))
        drawn = overlay.blended(np.zeros((7, 7), np.uint8), COLOURS, shape)
        whole = Overlay.of(session.run(path), 0.0).blended(np.zeros((7, 7), np.uint8), COLOURS, shape)
        assert overlay.size == (1400, 1400)
        assert np.abs(drawn.astype(int) - whole).mean() < 1


def test_the_overlay_needs_a_picture_and_a_share(tmp_path: Path) -> None:
    session = Session("resnet18", weights="random")
    fed = session.run(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ExportError, match="no picture to draw maps over"):
        export(fed, {}, folder=tmp_path, over_picture=0.5)
    with pytest.raises(ExportError, match="not from 0 to 1"):
        export(session.run(CAT), {}, folder=tmp_path, over_picture=1.5)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((6400, 4, 4), {}),
        ((20, 40, 40), {"size": 4096}),
        ((2, 1, 4, 8), {"size": 20_000, "form": "maps", "channels": [0]}),
        ((1, 70_000, 1, 1), {}),
    ],
)
def test_a_figure_is_measured_with_its_enlarged_tiles_and_axes(
    shape: tuple[int, ...], options: dict[str, Any], tmp_path: Path
) -> None:
    (record,) = run(captured(soft=torch.rand(shape)), tmp_path, **options)
    assert record.path is None
    found = re.fullmatch(
        r"soft was left out: its PNG would have ([\d,]+) million pixels, more .*; choose .*\.", record.note
    )
    assert found is not None
    assert int(found[1].replace(",", "")) > 179


def test_a_figure_just_below_the_limit_is_written(tmp_path: Path) -> None:
    (record,) = run(captured(soft=torch.rand(1000, 4, 4)), tmp_path)
    assert record.path is not None
    assert opened(record.path)[0].size > 20_000_000
    maps = render(matrix_stack(torch.rand(3, 4, 4)))
    pixels = heat_maps(maps, names=["a", "b", "c"], title="soft").canvas.size
    assert heat_maps(maps, names=["a", "b", "c"], title="soft", most=pixels).canvas.size == pixels
    with pytest.raises(TooLargeFigureError):
        heat_maps(maps, names=["a", "b", "c"], title="soft", most=pixels - 1)


def test_the_colour_bar_of_close_limits_tells_them_apart() -> None:
    near = torch.linspace(1000, 1000.0048, 16).reshape(4, 4)
    texts = [label.text for label in heat_maps(render(matrix_stack(near)), names=[""], title="near").labels]
    assert {"1000", "1000.0024", "1000.0048"} <= set(texts)


def test_constant_maps_are_captioned_with_their_value_and_scale() -> None:
    flat = render(torch.full((1, 3, 4, 4), 0.25))
    texts = [label.text for label in grid(flat).labels]
    assert texts.count("constant 0.25") == 3
    assert not any("one scale" in text for text in texts)
    assert any(text.endswith("constant 0.25") and "3 maps" in text for text in texts)
    whole = [label.text for label in grid(render(torch.rand(1, 3, 4, 4), normalisation="layer")).labels]
    assert any("one scale" in text for text in whole)
    matrices = [label.text for label in heat_maps(flat, names=["[0]", "[1]", "[2]"], title="flat").labels]
    assert matrices.count("constant 0.25") == 3
    assert not any("one scale" in text for text in matrices)
