"""Files are written whole or not at all, under names that every system takes."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

import fmviz.writing
from fmviz.arrays import write_npz, write_npz_lazily, write_safetensors
from fmviz.errors import Cancelled, ExportError
from fmviz.figure import Figure, Label, colour_table
from fmviz.maps import INK, LEVELS, PAPER
from fmviz.naming import distinct_names, safe_name
from fmviz.writing import KEY, figure_png_bytes, make_folder, write_map_png, write_png, write_whole

RESERVED = ("con", "prn", "aux", "nul", "com1", "com9", "lpt1", "com²", "conin$", "conout$")


def test_torch_is_not_needed_to_write_pictures():
    code = "import sys, fmviz.exporting; print(sorted({'torch', 'PySide6'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


# Names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("layer2.0.relu:2", "layer2.0.relu_2"),
        ("head[0]", "head[0]"),
        ("a/b\\c", "a_b_c"),
        ("(output)", "(output)"),
        ("CON", "CON_"),
        ("nul.relu", "nul_.relu"),
        ("com1", "com1_"),
        ("console", "console"),
        ("name. ", "name"),
        (".hidden", "_hidden"),
        ("-rf", "_rf"),
        ("..", "_"),
        ("", "_"),
        ("猫", "猫"),
        ("a\nb\u200e", "a_b"),
    ],
)
def test_safe_names(text, name):
    assert safe_name(text) == name


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.text(max_size=300), st.sampled_from(RESERVED).map(str.upper), st.text("./\\ :con", max_size=12)))
def test_any_text_makes_a_name_for_every_system(text):
    name = safe_name(text)
    assert 0 < len(name) <= 108
    assert len(name.encode("utf-8", "surrogatepass")) <= 200
    assert not set(name) & set('<>:"/\\|?*')
    assert name.isprintable()
    assert name[-1] not in " ."
    assert name[0] not in ".-"
    assert name.split(".")[0].rstrip().lower() not in RESERVED
    assert safe_name(text) == name


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(st.text("aAbB:/_", max_size=4), st.text("x", min_size=105, max_size=125)), max_size=12))
def test_distinct_names_are_distinct_also_without_case(texts):
    names = distinct_names(texts)
    assert len(names) == len(texts)
    assert len({name.casefold() for name in names}) == len(names)
    assert all(0 < len(name) <= 108 for name in names)
    assert distinct_names(texts) == names


def test_the_first_keeps_its_name():
    first, second, third = distinct_names(["conv:2", "Conv_2", "conv_3"])
    assert (first, third) == ("conv_2", "conv_3")
    assert second.startswith("Conv_2-")


# Whole or not at all


def test_a_file_is_replaced_when_the_new_one_is_complete(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"

    assert write_whole(path, write) == path
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "disk is full; make room"),
        (errno.EDQUOT, "disk is full"),
        (errno.EACCES, "permission is denied.*choose another folder"),
        (errno.EROFS, "that disk can only be read"),
        (errno.EIO, "Input/output error; choose another folder"),
    ],
)
@pytest.mark.parametrize("where", ["writing", "moving", "opening"])
def test_nothing_is_left_of_a_file_that_fails(tmp_path, monkeypatch, code, words, where):
    path = tmp_path / "layer1.png"
    path.write_bytes(b"old")

    def fail(*_arguments):
        raise OSError(code, os.strerror(code))

    def write(file):
        file.write(b"half")
        if where == "writing":
            fail()

    if where == "moving":
        monkeypatch.setattr(fmviz.writing.os, "replace", fail)
    if where == "opening":
        monkeypatch.setattr(fmviz.writing.os, "open", fail)
    with pytest.raises(ExportError, match=rf"^layer1\.png could not be written: .*{words}.*\.$"):
        write_whole(path, write)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["layer1.png"]


@pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt, ValueError])
def test_nor_of_one_that_is_interrupted(tmp_path, error):
    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises(error):
        write_whole(tmp_path / "a.png", write)
    assert os.listdir(tmp_path) == []


def test_places_where_no_file_can_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(ExportError, match=r"taken\.png could not be written: a folder has this name"):
        write_whole(tmp_path / "taken.png", lambda file: file.write(b"x"))
    with pytest.raises(ExportError, match="is not a folder"):
        write_whole(tmp_path / "file" / "a.png", lambda file: file.write(b"x"))
    with pytest.raises(ExportError, match="is not there"):
        write_whole(tmp_path / "missing" / "a.png", lambda file: file.write(b"x"))
    with pytest.raises(ExportError, match="not a folder but a file: choose another"):
        make_folder(tmp_path / "file")
    with pytest.raises(ExportError, match="not a folder"):
        make_folder(tmp_path / "file" / "below")
    assert make_folder(tmp_path / "new" / "deep").is_dir()
    assert sorted(os.listdir(tmp_path)) == ["file", "new", "taken.png"]


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps permissions otherwise")
def test_a_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "usual").write_bytes(b"")
    path = write_whole(tmp_path / "ours", lambda file: file.write(b"x"))
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


# Pictures


def read(path: Path) -> tuple[np.ndarray, np.ndarray, dict]:
    with PIL.Image.open(path) as image:
        image.load()
        assert image.mode == "P"
        palette = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
        return np.asarray(image), palette, json.loads(image.text[KEY])


def test_a_map_comes_back(tmp_path):
    pixels = np.arange(LEVELS, dtype=np.uint8).reshape(12, 20)
    colours = colour_table("magma", dark=False)
    path = write_map_png(tmp_path / "a.png", pixels[:, ::-1], colours, {"layer": "conv1", "limits": [[0.1, None]]})
    indices, palette, facts = read(path)
    np.testing.assert_array_equal(indices, pixels[:, ::-1])
    np.testing.assert_array_equal(palette, colours)
    assert facts == {"layer": "conv1", "limits": [[0.1, None]]}
    indices, _, _ = read(write_map_png(path, pixels, colours, {}, (24, 40)))
    np.testing.assert_array_equal(indices, pixels.repeat(2, axis=0).repeat(2, axis=1))


def test_a_figure_comes_back_with_its_letters_in_the_ramp(tmp_path):
    figure = Figure(np.full((40, 90), PAPER, np.uint8), (Label("Label", 5, 5, 16, "left", 80),), {"tiles": 3})
    colours = colour_table("viridis")
    indices, palette, facts = read(write_png(tmp_path / "a.png", figure, colours, {"picture": {"name": "猫.png"}}))
    assert indices.min() == PAPER
    assert indices.max() == INK
    np.testing.assert_array_equal(palette, colours)
    assert facts == {"tiles": 3, "picture": {"name": "猫.png"}}
    with PIL.Image.open(io.BytesIO(figure_png_bytes(figure, colours))) as image:
        np.testing.assert_array_equal(np.asarray(image), indices)


def test_long_facts_come_back(tmp_path):
    facts = {"limits": [[index / 7, index * 1.7] for index in range(2048)]}
    path = write_map_png(tmp_path / "a.png", np.zeros((7, 7), np.uint8), colour_table("grey"), facts)
    assert read(path)[2] == facts
    assert path.stat().st_size < 60_000


def test_nothing_but_json_is_a_fact(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_map_png(tmp_path / "a.png", np.zeros((2, 2), np.uint8), colour_table("grey"), {"limits": float("nan")})
    assert os.listdir(tmp_path) == []


# Values


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {
        name: (rng.standard_normal((2, 3, 4)) * 50).astype(name)
        for name in ("float64", "float32", "float16", "int64", "int8", "uint8", "bool", "complex64")
    }
    return {
        **made,
        "file": np.arange(3),
        "layer2.0.relu:2": np.float32(7) * np.ones(()),
        "empty": np.empty((1, 0, 4), np.float32),
        "turned": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    }


def test_npz(tmp_path):
    path = write_npz(tmp_path / "a.npz", arrays(), {"network": "vgg11"})
    with np.load(path, allow_pickle=False) as file:
        assert set(file.files) == {KEY, *arrays()}
        assert json.loads(str(file[KEY])) == {"network": "vgg11"}
        for name, array in arrays().items():
            assert file[name].dtype == array.dtype
            np.testing.assert_array_equal(file[name], array)


def test_safetensors(tmp_path):
    path = write_safetensors(tmp_path / "a.safetensors", arrays(), {"network": "vgg11"})
    with safetensors.safe_open(path, framework="numpy") as file:
        assert json.loads(file.metadata()[KEY]) == {"network": "vgg11"}
    loaded = load_file(path)
    assert set(loaded) == set(arrays())
    for name, array in arrays().items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_values_that_cannot_be_written(tmp_path):
    with pytest.raises(ExportError, match=r"“fmviz”.*safetensors"):
        write_npz(tmp_path / "a.npz", {"fmviz": np.zeros(2)}, {})
    with pytest.raises(ExportError, match="export it as npz"):
        write_safetensors(tmp_path / "a.safetensors", {"x": np.zeros(2, np.complex128)}, {})

    def interrupted():
        raise Cancelled
        yield

    with pytest.raises(Cancelled):
        write_npz_lazily(tmp_path / "a.npz", interrupted(), {})
    assert os.listdir(tmp_path) == []
