"""Captures onto the disk: which files there are, what is in them, and that what is in them is true."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors import safe_open
from torch import nn

import fmviz.writing
from fmviz.capture import Activation, Capture, Layer, capture_activations
from fmviz.errors import Cancelled, ExportError, FmvizError, LayerError
from fmviz.exporting import Exported, export, export_pyramid
from fmviz.figure import colour_table
from fmviz.maps import INFINITE, LEVELS, NAN

FACTS: dict[str, Any] = {
    "fmviz": "0.1.0",
    "network": "tiny_fpn",
    "weights": {"name": "random", "sha256": "", "seed": 3},
    "untrained": ["pyramid"],
    "torch": "2.14",
    "device": "cpu",
    "picture": {"name": "Katze auf Dach.jpeg", "sha256": "ab" * 32},
    "preprocessing": {"mode": "crop", "crop": 32},
    "input_size": [32, 48],
}
START = "Katze auf Dach_tiny_fpn_"


@pytest.fixture
def capture() -> Capture:
    torch.manual_seed(5)
    spoilt = torch.randn(1, 3, 4, 6)
    spoilt[0, 0, 0, 0], spoilt[0, 1, 2, 2] = torch.nan, torch.inf
    tensors = {
        Layer("stem"): ("Conv2d", torch.randn(1, 5, 16, 24)),
        Layer("stem", call=2): ("Conv2d", torch.randn(1, 5, 16, 24) + 3),
        Layer("Stem"): ("ReLU", torch.randn(1, 2, 4, 6).relu()),
        Layer("half"): ("Conv2d", torch.randn(1, 2, 4, 6).bfloat16()),
        Layer("spoilt"): ("Conv2d", spoilt),
        Layer("lateral"): ("Conv2d", torch.randn(1, 4, 8, 12)),
        Layer("fpn", item="[p3]"): ("FPN", torch.randn(1, 4, 8, 12)),
        Layer("fpn", item="[p4]"): ("FPN", torch.randn(1, 4, 4, 6)),
        Layer("fc"): ("Linear", torch.randn(1, 10)),
        Layer("none"): ("Conv2d", torch.randn(1, 0, 4, 6)),
    }
    activations = [Activation(layer, kind, tensor) for layer, (kind, tensor) in tensors.items()]
    return Capture(activations, taps={"C3": "lateral", "P3": "fpn[p3]", "P4": "fpn[p4]"})


def run(capture: Capture, folder: Path, *layers: str, **options: Any) -> list[Exported]:
    return list(export(capture, FACTS, layers=layers or ("*",), folder=folder, **options))


def read(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    with PIL.Image.open(path) as image:
        image.load()
        assert image.mode == "P"
        assert "exif" not in image.info
        assert set(image.text) == {"fmviz"}
        palette = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
        return np.asarray(image), palette, json.loads(image.text["fmviz"])


def undone(indices: np.ndarray, limits: list[float]) -> np.ndarray:
    low, high = limits
    return low + indices.astype(np.float64) / (LEVELS - 1) * (high - low)


# Maps


@pytest.mark.parametrize("normalisation", ["map", "layer", "symmetric"])
def test_the_limits_in_a_map_undo_its_pixels(capture, tmp_path, normalisation):
    records = run(capture, tmp_path, "stem:2", form="maps", normalisation=normalisation, colour_map="magma")
    assert [record.path.name for record in records] == [f"{START}stem_2_{channel:04d}.png" for channel in range(5)]
    for channel, record in enumerate(records):
        indices, palette, facts = read(record.path)
        np.testing.assert_array_equal(palette, colour_table("magma", dark=False))
        true = capture["stem:2"].tensor[0, channel].double().numpy()
        [limits] = facts["limits"]
        np.testing.assert_allclose(undone(indices, limits), true, atol=0.501 / (LEVELS - 1) * (limits[1] - limits[0]))
        assert facts["channels"] == [channel]
        assert (facts["layer"], facts["kind"], facts["shape"]) == ("stem:2", "Conv2d", [1, 5, 16, 24])
        assert (facts["normalisation"], facts["colour_map"], facts["step"]) == (normalisation, "magma", 1)
        assert FACTS.items() <= facts.items()


@pytest.mark.parametrize(
    ("size", "shape"), [("map", (16, 24)), ("picture", (32, 48)), (240, (160, 240)), (12, (8, 12))]
)
def test_sizes_of_maps(capture, tmp_path, size, shape):
    [record] = run(capture, tmp_path, "stem", form="maps", channels=[2], size=size)
    indices, _, facts = read(record.path)
    assert indices.shape == shape
    assert facts["size"] == list(shape)
    own, _, _ = read(run(capture, tmp_path / "own", "stem", form="maps", channels=[2])[0].path)
    if shape[0] >= 16:
        factor = shape[0] // 16
        np.testing.assert_array_equal(indices, own.repeat(factor, axis=0).repeat(factor, axis=1))
    else:
        np.testing.assert_array_equal(indices, own[1::2, 1::2])


def test_chosen_channels_and_reductions(capture, tmp_path):
    records = run(capture, tmp_path, "stem", form="maps", channels=[4, 0])
    assert [record.path.name[-8:] for record in records] == ["0004.png", "0000.png"]
    [record] = run(capture, tmp_path, "stem", form="maps", reduction="l2")
    assert record.path.name == f"{START}stem_l2.png"
    indices, _, facts = read(record.path)
    assert (facts["reduction"], facts["channels"]) == ("l2", [])
    true = capture["stem"].tensor[0].double().norm(dim=0).numpy()
    np.testing.assert_allclose(undone(indices, facts["limits"][0]), true, atol=np.ptp(true) / (LEVELS - 1))
    fixed = run(capture, tmp_path, "stem", form="maps", channels=[0], normalisation="fixed", limits=(-9, 9))
    assert read(fixed[0].path)[2]["limits"] == [[-9.0, 9.0]]


def test_what_is_not_finite_is_marked_and_counted(capture, tmp_path):
    first, second, third = run(capture, tmp_path, "spoilt", form="maps")
    indices, _, facts = read(first.path)
    assert indices[0, 0] == NAN
    assert (facts["nan_pixels"], facts["infinite_pixels"]) == (1, 0)
    indices, _, facts = read(second.path)
    assert indices[2, 2] == INFINITE
    assert facts["infinite_pixels"] == 1
    assert read(third.path)[2]["nan_pixels"] == 0


# Grids


def test_a_grid_holds_all_maps_and_what_it_takes_to_read_them(capture, tmp_path):
    [record] = run(capture, tmp_path, "stem")
    assert record == Exported(tmp_path / f"{START}stem.png", 1, 1)
    indices, palette, facts = read(record.path)
    np.testing.assert_array_equal(palette, colour_table("viridis", dark=False))
    tiles = facts["tiles"]
    for channel in range(5):
        row, column = divmod(channel, tiles["columns"])
        top, left = tiles["top"] + row * tiles["pitch"][1], tiles["left"] + column * tiles["pitch"][0]
        tile = indices[top : top + tiles["size"][1], left : left + tiles["size"][0]]
        factor = tiles["size"][1] // 16
        assert factor == 4
        limits = facts["limits"][channel]
        true = capture["stem"].tensor[0, channel].double().numpy()
        assert limits == [true.min(), true.max()]
        np.testing.assert_allclose(
            undone(tile[::factor, ::factor], limits), true, atol=(limits[1] - limits[0]) / (LEVELS - 1)
        )
    assert facts["tap"] is None
    assert FACTS.items() <= facts.items()


def test_grids_at_other_sizes_and_on_dark_paper(capture, tmp_path):
    [record] = run(capture, tmp_path, "stem", size="picture", dark=True)
    _, palette, facts = read(record.path)
    assert facts["tiles"]["size"] == [48, 32]
    np.testing.assert_array_equal(palette, colour_table("viridis", dark=True))
    [record] = run(capture, tmp_path, "stem", size=50)
    assert read(record.path)[2]["tiles"]["size"] == [48, 32]
    [record] = run(capture, tmp_path, "stem", size="picture", picture_size=(64, 96))
    assert read(record.path)[2]["tiles"]["size"] == [96, 64]
    with pytest.raises(ExportError, match="choose a size in pixels"):
        export(capture, {}, layers=["stem"], folder=tmp_path, size="picture")


def test_what_would_be_too_large_is_left_out_and_said(capture, tmp_path):
    [record] = run(capture, tmp_path, "stem", size="picture", picture_size=(8000, 8000))
    assert record.path is None
    assert "stem was left out: its PNG would have 320 million pixels" in record.note
    assert os.listdir(tmp_path) == []


# Which layers, and their names


def test_all_layers_in_their_order_with_distinct_names(capture, tmp_path):
    records = run(capture, tmp_path)
    assert [record.done for record in records] == list(range(1, 11))
    assert {record.total for record in records} == {10}
    names = [record.path.name.removeprefix(START) for record in records if record.path]
    assert names[:2] == ["stem.png", "stem_2.png"]
    assert names[2].startswith("Stem-")
    assert sorted(names[3:]) == ["C3.png", "P3.png", "P4.png", "fc.png", "half.png", "spoilt.png"]
    assert len({name.casefold() for name in os.listdir(tmp_path)}) == 9
    (note,) = [record.note for record in records if not record.path]
    assert note == "none was left out: it is empty: its shape is 1 × 0 × 4 × 6."


def test_a_layer_has_the_same_name_in_every_export(capture, tmp_path):
    whole = [record.path for record in run(capture, tmp_path)]
    [alone] = run(capture, tmp_path, "Stem")
    assert alone.path in whole
    assert len(os.listdir(tmp_path)) == 9


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["P?"], ["P3", "P4"]),
        (["stem*"], ["stem", "stem_2"]),
        (["fpn[p3]"], ["P3"]),
        (["P4", "C3", "fpn*"], ["C3", "P3", "P4"]),
        (["[CP]3"], ["C3", "P3"]),
        (["stem:2"], ["stem_2"]),
    ],
)
def test_patterns(capture, tmp_path, patterns, names):
    records = run(capture, tmp_path, *patterns)
    assert [record.path.stem.removeprefix(START) for record in records] == names


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("layer9.*", "“layer9.*”.*: "),
        ("latteral", "did you mean lateral"),
        ("p3", "did you mean P3"),
        ("STEM", "did you mean"),
        ("zzz", "choose from stem, "),
    ],
)
def test_a_pattern_without_a_match_is_named_before_anything_is_written(capture, tmp_path, pattern, words):
    with pytest.raises(LayerError, match=words):
        export(capture, FACTS, layers=["stem", pattern], folder=tmp_path / "new")
    assert os.listdir(tmp_path) == []


def test_other_mistakes_are_found_before_anything_is_written(capture, tmp_path):
    with pytest.raises(LayerError, match=r"stem has no channel 5: choose from 0 to 4\."):
        export(capture, FACTS, layers=["stem"], folder=tmp_path / "new", channels=[0, 5])
    with pytest.raises(FmvizError, match="colour map"):
        export(capture, FACTS, layers=["stem"], folder=tmp_path / "new", colour_map="jet")
    with pytest.raises(LayerError, match="No layer was chosen"):
        export(capture, FACTS, layers=[], folder=tmp_path / "new")
    assert os.listdir(tmp_path) == []


# Values


@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_values_are_written_as_they_are(capture, tmp_path, form):
    [record] = run(capture, tmp_path, form=form)
    assert record == Exported(tmp_path / f"{START}stem-none.{form}", 1, 1)
    found: dict[str, torch.Tensor] = {}
    if form == "npz":
        with np.load(record.path, allow_pickle=False) as file:
            facts = json.loads(str(file["fmviz"]))
            found = {name: torch.from_numpy(file[name]) for name in file.files if name != "fmviz"}
    else:
        with safe_open(record.path, framework="pt") as file:
            facts = json.loads(file.metadata()["fmviz"])
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    assert list(found) == [str(layer) for layer in capture] or form == "safetensors"
    assert set(found) == {str(layer) for layer in capture}
    for layer, activation in capture.items():
        wanted = activation.tensor
        if form == "npz" and str(layer) == "half":
            wanted = wanted.float()
        assert found[str(layer)].dtype == wanted.dtype
        assert torch.equal(found[str(layer)].nan_to_num(), wanted.nan_to_num())
    assert facts["converted"] == ({"half": "bfloat16 as float32"} if form == "npz" else {})
    assert facts["layers"]["fpn[p3]"]["tap"] == "P3"
    assert facts["layers"]["fc"] == {"layer": "fc", "tap": None, "kind": "Linear", "shape": [1, 10], "dtype": "float32"}
    assert FACTS.items() <= facts.items()


def test_types_that_files_do_not_know(tmp_path):
    odd = {
        "complex": torch.complex(torch.ones(2), torch.zeros(2)).conj(),
        "wide": torch.zeros(2, dtype=torch.complex128),
        "eight": torch.ones(2).to(torch.float8_e4m3fn),
        "sparse": torch.eye(3).to_sparse(),
        "turned": torch.arange(6.0).view(2, 3).T,
    }
    capture = Capture([Activation(Layer(name), "Odd", tensor) for name, tensor in odd.items()])
    for form in ("npz", "safetensors"):
        run(capture, tmp_path, form=form)
    with np.load(tmp_path / f"{START}complex-turned.npz") as file:
        np.testing.assert_array_equal(file["sparse"], np.eye(3))
        np.testing.assert_array_equal(file["turned"], [[0, 3], [1, 4], [2, 5]])
        assert json.loads(str(file["fmviz"]))["converted"] == {
            "wide": "complex128 as complex64",
            "eight": "float8_e4m3fn as float32",
        }
    with safe_open(tmp_path / f"{START}complex-turned.safetensors", framework="np") as file:
        np.testing.assert_array_equal(file.get_tensor("eight"), [1, 1])


# What goes wrong


@pytest.mark.parametrize("form", ["grid", "maps", "npz", "safetensors"])
def test_a_full_disk_leaves_what_was_whole(capture, tmp_path, monkeypatch, form):
    replace, calls = os.replace, []

    def full(source, target):
        calls.append(target)
        if len(calls) > (3 if form in ("grid", "maps") else 0):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(fmviz.writing.os, "replace", full)
    with pytest.raises(ExportError, match=r"^Katze.* could not be written: the disk is full; make room on it"):
        run(capture, tmp_path, "stem*", "spoilt", "lateral", "P?", form=form)
    assert all(name.endswith(".png") for name in os.listdir(tmp_path))
    for name in os.listdir(tmp_path):
        read(tmp_path / name)


@pytest.mark.parametrize("form", ["grid", "maps"])
def test_a_cancelled_export_leaves_whole_files_only(capture, tmp_path, form):
    asked = iter([False] * 4 + [True] * 100)
    with pytest.raises(Cancelled):
        run(capture, tmp_path, form=form, cancelled=lambda: next(asked))
    written = os.listdir(tmp_path)
    assert len(written) <= 4
    for name in written:
        read(tmp_path / name)


@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_a_cancelled_file_of_values_is_no_file(capture, tmp_path, form):
    asked = iter([False] * 3 + [True] * 100)
    with pytest.raises(Cancelled):
        run(capture, tmp_path, form=form, cancelled=lambda: next(asked))
    assert os.listdir(tmp_path) == []


def test_an_export_that_is_not_walked_to_its_end_leaves_whole_files_only(capture, tmp_path):
    records = export(capture, FACTS, layers=["stem*", "spoilt"], folder=tmp_path, form="maps")
    assert next(records).done == 1
    records.close()
    for name in os.listdir(tmp_path):
        read(tmp_path / name)


def test_a_folder_that_is_a_file(capture, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ExportError, match="not a folder but a file"):
        run(capture, tmp_path / "file", "stem")


def test_again_replaces(capture, tmp_path):
    [first] = run(capture, tmp_path, "stem")
    [second] = run(capture, tmp_path, "stem", colour_map="grey")
    assert first.path == second.path
    np.testing.assert_array_equal(read(second.path)[1], colour_table("grey", dark=False))
    assert len(os.listdir(tmp_path)) == 1


# The pyramid


@pytest.mark.parametrize("scale", ["map", "row"])
def test_the_pyramid(capture, tmp_path, scale):
    path = export_pyramid(capture, FACTS, folder=tmp_path, colour_map="inferno", scale=scale)
    assert path.name == f"{START}pyramid_l2.png"
    _, palette, facts = read(path)
    np.testing.assert_array_equal(palette, colour_table("inferno", dark=False))
    assert facts["layers"] == {"C3": "lateral", "P3": "fpn[p3]", "P4": "fpn[p4]"}
    assert (facts["scale"], facts["reduction"], facts["channel"]) == (scale, "l2", None)
    assert [cell["caption"].split("\n")[0] for cell in facts["cells"]] == [
        "C3 · 4 × 8 × 12",
        "P3 · 4 × 8 × 12",
        "P4 · 4 × 4 × 6",
    ]
    third, fourth = facts["cells"][1]["limits"], facts["cells"][2]["limits"]
    assert (third == fourth) is (scale == "row")
    assert FACTS.items() <= facts.items()


def test_one_channel_of_the_pyramid(capture, tmp_path):
    path = export_pyramid(capture, FACTS, folder=tmp_path, reduction=None, channel=3)
    assert path.name == f"{START}pyramid_0003.png"
    facts = read(path)[2]
    assert (facts["channel"], facts["reduction"]) == (3, None)
    true = capture.taps["P4"].tensor[0, 3]
    assert facts["cells"][2]["limits"] == [[true.min().item(), true.max().item()]]
    with pytest.raises(LayerError, match="channel"):
        export_pyramid(capture, FACTS, folder=tmp_path, reduction=None, channel=99)


def test_a_real_capture_by_the_front_door(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 36, 2))
    captured = capture_activations(model, torch.randn(1, 3, 8, 8))
    records = list(export(captured, {}, folder=tmp_path))
    assert [record.path.name if record.path else record.note.split()[0] for record in records] == [
        "0.png",
        "1.png",
        "2.png",
        "3.png",
        "(output).png",
    ]
    true = captured["0"].tensor
    assert true.min() < 0, "not what the ReLU made of it"
    assert min(low for low, _ in read(tmp_path / "0.png")[2]["limits"]) == true.min().item()
