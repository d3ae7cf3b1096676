"""The command line, in this process: exit codes, one line for each failure, and the files that it promises."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from tiffs import BLACK_IS_ZERO, tiff

import fmviz
import fmviz.writing
from fmviz import cli
from fmviz.assets import asset
from fmviz.batch import export_pictures
from fmviz.cli import COMMANDS, main
from fmviz.errors import ExportError
from fmviz.networks.catalog import backbones
from fmviz.preprocess import IMAGENET
from fmviz.session import Session
from fmviz.table_choice import COLUMNS
from fmviz.table_command import FORMATS, SORTED_BY

CAT = str(asset("samples/chelsea.png"))
CUP = str(asset("samples/coffee.png"))
ROOT = Path(__file__).parents[1]
NOTE = "fmviz: efficientnet_lite0_fpn, weights shapes: The pyramid is trained on drawn shapes, not on COCO."


def export(*arguments: str) -> int:
    """`fmviz export` of pictures so small that it takes a moment."""
    sized = () if {"--crop", "--whole"} & set(arguments) else ("--whole", "48")
    return main(["export", *arguments, *sized, "--device", "cpu"])


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def facts(path: Path) -> dict:
    with PIL.Image.open(path) as image:
        image.load()
        return json.loads(image.text["fmviz"])


@pytest.fixture
def broken(tmp_path) -> str:
    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    return str(path)


# Export


def test_a_picture_leaves_a_grid_of_each_named_map(tmp_path, capsys):
    assert export(CAT, "-o", str(tmp_path / "out")) == 0
    written = names(tmp_path / "out")
    taps = [f"{row}{level}" for row in "CMP" for level in range(2, 6)] + ["P6"]
    assert len(written) == len(taps)
    assert all(any(re.search(rf"_{tap}\b|_{tap}\+|\+{tap}\b", name) for name in written) for tap in taps)
    printed = capsys.readouterr()
    assert printed.out == f"{CAT}: 13 files in {tmp_path / 'out'}\n"
    assert printed.err == f"{NOTE}\n"
    (tmp_path / "out" / written[0]).unlink()
    assert export(CAT, "-o", str(tmp_path / "out")) == 0
    assert capsys.readouterr().out == f"{CAT}: 13 files in {tmp_path / 'out'}, 12 in place of older ones\n"


def test_several_pictures_get_a_folder_each_and_a_broken_one_stops_none(tmp_path, capsys, broken):
    folder = tmp_path / "out"
    assert export(CAT, broken, CUP, str(tmp_path / "none.png"), "-o", str(folder), "--layers", "P3") == 1
    assert [name.split("/")[0] for name in names(folder)] == ["chelsea", "coffee"]
    printed = capsys.readouterr()
    assert [line.split(": ")[0] for line in printed.out.splitlines()] == [CAT, CUP]
    note, first, second = printed.err.splitlines()
    assert note == NOTE
    assert first.startswith(f"fmviz: {broken}: broken.png ")
    assert second.startswith(f"fmviz: {tmp_path / 'none.png'}: none.png does not exist")


def test_a_folder_stands_for_the_pictures_in_it(tmp_path, capsys):
    for folder in ("some", "none"):
        (tmp_path / folder).mkdir()
    for name in ("c10.png", "c9.png"):
        shutil.copy(CAT, tmp_path / "some" / name)
    assert export(str(tmp_path / "some"), str(tmp_path / "none"), "-o", str(tmp_path / "out"), "--layers", "P3") == 1
    printed = capsys.readouterr()
    assert [Path(line.split(": ")[0]).name for line in printed.out.splitlines()] == ["c9.png", "c10.png"]
    assert f"fmviz: {tmp_path / 'none'} is a folder without pictures: " in printed.err


def test_many_layers_that_are_left_out_are_one_line(tmp_path, capsys):
    backbone = ("--backbone", "vgg11", "--crop", "32", "--size", "16384", "--layers")
    assert export(CAT, "-o", str(tmp_path / "out"), *backbone, "features.[0-7]") == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert len(said) == 1
    assert "features.0 was left out: its PNG would have" in said[0]
    assert "So were 7 more, for such reasons: features.1, " in said[0]
    assert export(CAT, "-o", str(tmp_path / "out"), *backbone, "features.0", "features.3") == 0
    assert capsys.readouterr().err.count("was left out: ") == 2


def test_pictures_of_one_name_do_not_overwrite_each_other(tmp_path):
    for folder, source in (("a", CAT), ("b", CUP)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").write_bytes(Path(source).read_bytes())
    pictures = [str(tmp_path / folder / "x.png") for folder in "ab"]
    assert export(*pictures, "-o", str(tmp_path / "out"), "--layers", "P3") == 0
    assert len(names(tmp_path / "out")) == 2


def test_the_form_maps_is_a_file_a_channel(tmp_path):
    assert export(CAT, "-o", str(tmp_path), "--layers", "body.stem", "--as", "maps") == 0
    assert len(names(tmp_path)) == 32


def test_the_forms_of_raw_values_hold_the_values(tmp_path):
    from safetensors.numpy import load_file

    for form in ("npz", "safetensors"):
        assert export(CAT, "-o", str(tmp_path), "--layers", "P3", "--as", form) == 0
    (packed,), (safe,) = (list(tmp_path.glob(f"*.{form}")) for form in ("npz", "safetensors"))
    session = Session("efficientnet_lite0_fpn")
    expected = session.run(CAT, preprocessing=session.preprocessing.whole(48)).taps["P3"].tensor.numpy()
    with np.load(packed, allow_pickle=False) as arrays:
        assert any(np.array_equal(arrays[name], expected) for name in arrays.files)
    assert any(np.array_equal(array, expected) for array in load_file(safe).values())


def test_patterns_choose_layers(tmp_path):
    assert export(CAT, "-o", str(tmp_path), "--layers", "body.stage1.*.depthwise*", "P[34]") == 0
    written = names(tmp_path)
    assert len([name for name in written if "_P" in name]) == 2
    assert len(written) > 2


def test_a_pattern_that_matches_nothing_is_named(tmp_path, capsys):
    assert export(CAT, "-o", str(tmp_path / "out"), "--layers", "layer9.*") == 1
    _, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fmviz: {CAT}: No layer is called “layer9.*”")
    assert not (tmp_path / "out").exists()


def test_a_network_without_a_pyramid_leaves_its_stages(tmp_path):
    assert export(CAT, "-o", str(tmp_path), "--backbone", "vgg11", "--whole", "48") == 0
    assert len(names(tmp_path)) == 4
    assert facts(next(tmp_path.iterdir()))["untrained"] == ["body"]


def test_a_layer_without_maps_is_written_as_bars(tmp_path, capsys):
    assert export(CAT, "-o", str(tmp_path), "--layers", "body.fc", "P3", "--backbone", "resnet18_fpn") == 0
    printed = capsys.readouterr()
    assert "2 files in" in printed.out
    (note,) = printed.err.splitlines()
    assert note.startswith("fmviz: resnet18_fpn, weights random: All parameters are random (seed 0)")
    bars = facts(next(tmp_path.glob("*body.fc*.png")))
    assert (bars["layer"], bars["count"]) == ("body.fc", 1000)


@pytest.mark.parametrize(("form", "layer"), [("grid", "C5"), ("maps", "C5")])
def test_maps_are_written_over_the_picture(tmp_path, capsys, form, layer):
    options = ("--layers", layer, "--as", form, "--backbone", "efficientnet_lite0", "--size", "96")
    assert export("--over-picture", CAT, "-o", str(tmp_path), *options, "--opacity", "0.25") == 0
    path = min(tmp_path.glob("*.png"))
    assert facts(path)["opacity"] == 0.25
    with PIL.Image.open(path) as image:
        assert image.mode == "RGB"
    with pytest.raises(SystemExit):
        export(CAT, "-o", str(tmp_path), *options, "--over-picture", "--opacity", "2")
    assert "is not an opacity from 0 to 1" in capsys.readouterr().err
    assert export(CAT, "-o", str(tmp_path), *options, "--opacity", "0.25") == 2
    assert "--opacity needs --over-picture" in capsys.readouterr().err
    assert export(CAT, "-o", str(tmp_path / "usual"), *options, "--over-picture") == 0
    assert facts(next((tmp_path / "usual").glob("*.png")))["opacity"] == 0.6


def test_random_weights_that_were_asked_for_are_not_remarked_upon(tmp_path, capsys):
    assert export(CAT, "-o", str(tmp_path), "--layers", "P3", "--weights", "random") == 0
    assert capsys.readouterr().err == ""


def test_what_a_file_of_weights_lacks_or_has_besides_is_said_once(tmp_path, capsys):
    import torch

    state = dict(Session("resnet18", weights="random").model.state_dict())
    del state["fc.weight"], state["fc.bias"]
    torch.save(state | {"projector": torch.zeros(3), "bn1.weight": torch.full((64,), torch.nan)}, tmp_path / "own.pth")
    options = ["--layers", "C2", "--backbone", "resnet18", "--weights", str(tmp_path / "own.pth")]
    assert export(CAT, CUP, "-o", str(tmp_path / "out"), *options) == 0
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("fmviz: resnet18, weights own.pth: ") for line in lines)
    assert ["no classifier" in lines[0], "projector" in lines[1], "NaN" in lines[2]] == [True] * 3
    assert len(lines) == 3
    (cup,) = (tmp_path / "out" / "coffee").iterdir()
    assert facts(cup)["untrained"] == ["classifier"]


def test_the_library_logs_what_it_says_of_weights(tmp_path, caplog):
    sized = Session("efficientnet_lite0").preprocessing.whole(48)
    fmviz.export(CAT, tmp_path, layers=["P3"], preprocessing=sized)
    assert [f"fmviz: {record.message}" for record in caplog.records] == [NOTE]
    fmviz.export(CAT, tmp_path, layers=["P3"], preprocessing=sized, weights="random")
    assert len(caplog.records) == 1


def test_what_is_chosen_stands_in_the_file(tmp_path):
    options = ["--scale", "symmetric", "--colours", "coolwarm", "--seed", "5", "--weights", "random", "--crop", "64"]
    assert export(CAT, "-o", str(tmp_path), "--layers", "P3", "--as", "maps", "--size", "32", *options) == 0
    path = next(tmp_path.iterdir())
    about = facts(path)
    assert (about["normalisation"], about["colour_map"]) == ("symmetric", "coolwarm")
    assert about["weights"] == {"name": "random", "sha256": "", "seed": 5}
    assert about["input_size"] == [64, 64]
    with PIL.Image.open(path) as image:
        assert image.size == (32, 32)


@pytest.mark.parametrize(("size", "expected"), [("map", (6, 4)), ("picture", (451, 300)), ("24", (24, 16))])
def test_maps_are_as_large_as_asked(tmp_path, size, expected):
    assert export(CAT, "-o", str(tmp_path), "--layers", "P3", "--as", "maps", "--size", size) == 0
    with PIL.Image.open(next(tmp_path.iterdir())) as image:
        assert image.size == expected


def test_a_folder_that_is_a_file_is_an_error_of_each_picture(tmp_path, capsys):
    (tmp_path / "out").write_text("in the way")
    assert export(CAT, CUP, "-o", str(tmp_path / "out"), "--layers", "P3") == 1
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert (tmp_path / "out").read_text() == "in the way"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to_is_named(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert export(CAT, "-o", str(tmp_path / "out"), "--layers", "P3") == 1
    assert "out" in capsys.readouterr().err


def test_a_disk_that_refuses_is_named(tmp_path, capsys, monkeypatch):
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert export(CAT, "-o", str(tmp_path / "out"), "--layers", "P3") == 1
    _, line = capsys.readouterr().err.splitlines()
    assert "out" in line


def test_a_picture_past_the_memory_budget_does_not_take_the_others_with_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fmviz.memory.free_bytes", lambda device: 1_000_000)
    assert export(CAT, CUP, "-o", str(tmp_path / "out"), "--whole", "4000") == 1
    _, *lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("choose a smaller size" in line for line in lines)


def test_progress_hears_of_every_file(tmp_path):
    session = Session("efficientnet_lite0_fpn")
    heard: list[str] = []
    (done,) = export_pictures(
        session,
        [CAT],
        tmp_path,
        progress=heard.append,
        layers=["P?"],
        form="grid",
        colour_map="grey",
        normalisation="map",
        size="map",
    )
    assert heard == [path.name for path in done.files]
    assert len(heard) == 5


def test_on_a_terminal_files_are_counted_there_and_nothing_else_is_spoilt(tmp_path, capsys, monkeypatch, broken):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert export(CAT, broken, "-o", str(tmp_path / "out"), "--layers", "P3") == 1
    assert "file" in terminal.getvalue()
    assert re.search(rf"(^|[\r\n])fmviz: {re.escape(broken)}: .*\n", terminal.getvalue())
    assert capsys.readouterr().out == f"{CAT}: 1 file in {tmp_path / 'out' / 'chelsea'}\n"


def test_the_library_exports_the_same_and_reports_what_failed(tmp_path, broken):
    whole = Session("efficientnet_lite0").preprocessing.whole(48)
    good, bad = fmviz.export([CAT, broken], tmp_path / "a", layers=["P3"], preprocessing=whole)
    assert good.error is None
    assert isinstance(bad.error, fmviz.PictureError)
    assert bad.files == ()
    (alone,) = fmviz.export(CAT, tmp_path / "b", layers="P3", preprocessing=whole)
    assert alone.files[0].read_bytes() == good.files[0].read_bytes()
    assert export(CAT, "-o", str(tmp_path / "c"), "--layers", "P3") == 0
    assert (tmp_path / "c" / alone.files[0].name).read_bytes() == alone.files[0].read_bytes()


# Wrong usage, and what is not there


@pytest.mark.parametrize(
    "arguments",
    [
        ["export"],
        ["export", CAT],
        ["export", "-o", "out"],
        ["export", CAT, "-o", "out", "--as", "gif"],
        ["export", CAT, "-o", "out", "--size", "large"],
        ["export", CAT, "-o", "out", "--crop", "0"],
        ["export", CAT, "-o", "out", "--crop", "64", "--whole", "64"],
        ["export", CAT, "-o", "out", "--scale", "percent"],
        ["export", CAT, "-o", "out", "--seed", "one"],
        ["table"],
        ["table", "vgg11", "--format", "html"],
        ["table", "vgg11", "--size", "-4"],
        ["table", "vgg11", "--size", "3x4x5"],
        ["table", "vgg11", "--depth", "deep"],
        ["table", "vgg11", "--sort", "beauty"],
        ["backbones", "--all"],
        ["engine", "--port", "80"],
        ["--nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_two_and_says_what_is_right(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: fmviz" in capsys.readouterr().err


def test_an_unknown_colour_map_is_wrong_usage_and_those_there_are_are_named(tmp_path, capsys):
    assert export(CAT, "-o", str(tmp_path / "out"), "--colours", "virdis") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "viridis" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--backbone", "resnet5O_fpn"], "did you mean resnet50_fpn"),
        (["--weights", "imagnet"], "imagenet or random"),
        (["--weights", "none.pth"], "There is no file none.pth"),
        (["--seed", "-1", "--weights", "random"], "seed"),
        (["--device", "cuda:99"], "choose one of cpu"),
    ],
    ids=["backbone", "weights", "file", "seed", "device"],
)
def test_what_is_not_there_is_one_line_and_exit_code_one(tmp_path, capsys, options, words):
    assert main(["export", CAT, "-o", str(tmp_path / "out"), "--whole", "48", *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fmviz: ")
    assert words in line


@pytest.fixture
def filling_up(monkeypatch) -> None:
    """A disk that has room for the first layers of a network only."""
    replace = os.replace

    def full(source: object, target: Path) -> None:
        if re.search(r"_([CMP][4-6]|[MP]\d)", os.path.basename(target)):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(fmviz.writing.os, "replace", full)


def test_a_full_disk_is_said_once_and_ends_it(tmp_path, capsys, filling_up):
    assert export(CAT, CUP, CAT, "-o", str(tmp_path / "out"), "--weights", "random") == 1
    told = capsys.readouterr()
    first, second = told.err.splitlines()
    assert first.startswith(f"fmviz: {CAT}: chelsea")
    assert first.endswith("could not be written: the disk is full; make room on it or choose another folder.")
    assert second == "fmviz: 2 more pictures were not begun."
    assert told.out.startswith(f"{CAT}: 2 files in ")
    assert len(names(tmp_path / "out")) == 2


def test_in_the_library_each_picture_has_its_record_where_the_disk_is_full(tmp_path, filling_up):
    done = fmviz.export([CUP, CAT, CUP], tmp_path, backbone="resnet18", weights="random")
    assert [record.picture for record in done] == [CUP, CAT, CUP]
    assert [len(record.files) for record in done] == [2, 0, 0]
    assert all(isinstance(record.error, ExportError) and record.error.whole_disk for record in done)


def test_an_export_that_is_terminated_leaves_whole_files_only(tmp_path):
    folder = tmp_path / "out"
    ran = subprocess.Popen(
        [sys.executable, "-m", "fmviz", "export", CAT, CUP, "-o", str(folder), "--as", "maps", "--layers", "*"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while ran.poll() is None and not any(folder.rglob("*.png")):
        time.sleep(0.01)
    ran.terminate()
    _, told = ran.communicate(timeout=60)
    assert (ran.returncode, told.splitlines()[-1]) == (1, "fmviz: interrupted.")
    for name in names(folder):
        facts(folder / name)


def test_an_interrupt_is_said_and_is_a_failure(capsys, monkeypatch):
    def interrupted(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "backbones", (COMMANDS["backbones"][0], interrupted))
    assert main(["backbones"]) == 1
    assert capsys.readouterr().err == "fmviz: interrupted.\n"


# Table, backbones, help


@pytest.mark.parametrize("form", FORMATS)
def test_a_table_in_each_form(capsys, form):
    assert main(["table", "vgg11", "--size", "64", "--format", form]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("\n")
    assert not printed.endswith("\n\n")
    assert "features.0" in printed.replace("\\_", "_")
    if form == "json":
        assert "132863336" in json.dumps(json.loads(printed))
    elif form == "csv":
        rows = list(csv.reader(io.StringIO(printed)))
        assert len({len(row) for row in rows}) == 1
    elif form == "markdown":
        assert all(line.startswith("|") for line in printed.splitlines()[:3])
    elif form in ("latex", "latex-compact"):
        assert r"\begin{tabular}" in printed or r"\begin{longtable}" in printed
    else:
        assert "132,863,336" in printed


def test_a_part_of_a_table_sorted(capsys):
    assert (
        main(["table", "resnet18", "--size", "64x96", "--kind", "conv2d", "--sort", "MACs", "--filter", "layer4"]) == 0
    )
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if " Conv2d " in line]
    assert printed.startswith("resnet18 at 64×96")
    assert [row.split()[0] for row in rows[:3]] == ["layer4.0.conv2", "layer4.1.conv1", "layer4.1.conv2"]
    assert len(rows) == 5
    assert "11,689,512" in printed  # the totals stay those of the whole


def test_the_leaves_of_a_table_in_a_paper(capsys):
    assert main(["table", "resnet18", "--size", "64", "--leaves", "--sort", "own", "--format", "latex-compact"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == r"\begin{tabular}{llrrr}"
    assert lines[2] == r"Layer & Output & Parameters & MACs & Receptive field \\"
    rows = [line.split(" & ")[0] for line in lines if line.endswith(r"\\")]
    assert rows[1] == "layer4.0.conv2"
    assert rows[-1] == "whole network"
    assert not {"(output)", "layer1", "layer1.0"} & set(rows)
    assert main(["table", "vgg11", "--compare", "resnet18", "--size", "64", "--format", "latex-compact"]) == 0
    printed = capsys.readouterr().out
    assert r"quantity & vgg11 & resnet18 \\" in printed
    assert r"parameters & 132,863,336 & 11,689,512 \\" in printed


def test_columns_to_sort_by_are_those_of_the_table():
    assert set(SORTED_BY) == set(COLUMNS)


def test_two_networks_compared_into_a_file(tmp_path, capsys):
    out = tmp_path / "compared.csv"
    assert main(["table", "vgg11", "--compare", "resnet18", "--size", "64", "--format", "csv", "-o", str(out)]) == 0
    assert capsys.readouterr().out == ""
    rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    parameters = next(row for row in rows if (row["stage"], row["quantity"]) == ("", "parameters"))
    assert (parameters["vgg11"], parameters["resnet18"]) == ("132863336", "11689512")
    assert main(["table", "vgg11", "--compare", "resnet19"]) == 1
    assert "did you mean" in capsys.readouterr().err
    assert main(["table", "vgg11", "--size", "64", "-o", str(tmp_path / "none" / "table.txt")]) == 1
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_a_table_with_times(capsys):
    assert main(["table", "resnet18", "--size", "64", "--time", "--sort", "time", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds, reverse=True)
    assert rows[0]["path"] == ""
    assert main(["table", "resnet18", "--sort", "time"]) == 1
    assert "--time" in capsys.readouterr().err


def test_a_table_of_an_unknown_network_or_of_too_small_an_input(capsys):
    assert main(["table", "vgg12"]) == 1
    assert "did you mean" in capsys.readouterr().err
    assert main(["table", "vgg11", "--size", "16"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fmviz: ")


def test_all_backbones_are_listed(capsys):
    assert main(["backbones"]) == 0
    *lines, legend, timms, left_out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(backbones())
    assert all(line == "" or line.endswith(":") for line in lines if not line.startswith("  "))
    assert all(sign in legend for sign in "●↓○")
    assert "25,557,032" in next(line for line in lines if line.startswith("  resnet50 "))
    default = next(line for line in lines if line.startswith("  efficientnet_lite0_fpn "))
    assert "4,831,720 " in default
    assert "● shapes (+ 43,275 parameters in its detection head)" in default
    assert timms.startswith("timm/…: ")
    assert all(words in left_out for words in ("torchvision's", "video", "optical flow", "8-bit"))


def listed(capsys) -> list[str]:
    return [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]


def test_words_choose_among_the_backbones(capsys):
    assert main(["backbones", "ResNet", "2015"]) == 0
    found = listed(capsys)
    assert {"resnet18", "resnet152", "article/resnet50", "torchvision/resnet50"} <= set(found)
    assert not any(name == "resnet18_fpn" or "vgg" in name for name in found)
    assert main(["backbones", "1409.1556", "article"]) == 0
    assert listed(capsys) == ["article/vgg19"]
    assert main(["backbones", "resnet", "1066"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "“resnet 1066”" in printed.err


def test_timms_are_listed_by_name_where_it_is_installed(capsys):
    names = pytest.importorskip("fmviz.networks.timm").names()
    if not names:
        pytest.skip("timm is not installed")
    assert main(["backbones", "timm", "convnext"]) == 0
    *lines, count = capsys.readouterr().out.splitlines()
    wanted = [f"timm/{name}" for name in names if "convnext" in name]
    assert " ".join(lines).split() == wanted
    assert count.startswith(f"{len(wanted):,} of timm's {len(names):,} networks")
    assert main(["backbones", "timm/convnext_tiny"]) == 0
    assert "timm/convnext_tiny" in capsys.readouterr().out.split()
    assert main(["backbones", "timm", "nosuchnetwork"]) == 1
    assert "“nosuchnetwork”" in capsys.readouterr().err
    assert main(["backbones", "vgg11"]) == 0
    assert "“fmviz backbones timm vgg11” lists" in capsys.readouterr().out


def test_where_timm_is_not_installed_it_is_said_how_to(capsys, monkeypatch):
    monkeypatch.setattr("fmviz.networks.timm.installed", lambda: False)
    assert main(["backbones", "vgg11"]) == 0
    assert "pip install “fmviz[timm]”" in capsys.readouterr().out
    assert main(["backbones", "timm"]) == 1
    assert "pip install “fmviz[timm]”" in capsys.readouterr().err


def test_the_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"fmviz {fmviz.__version__}\n"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_names_each_option_and_says_what_it_is_for(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"] if command else ["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: fmviz {command}".rstrip() in text
    if not command:
        assert all(f"\n  {name} " in text for name in COMMANDS)
    parser = COMMANDS[command][0]() if command else cli._window_parser()
    for action in parser._actions:
        # A subcommand is a choice of an action that has itself no words.
        assert action.help or action.choices, action.dest


def test_each_command_is_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"fmviz {name}" not in text] == []


# Bands, and data of few values


@pytest.fixture
def eight_bands(tmp_path) -> str:
    """Eight bands of 12-bit data in 16 bits, planes apart."""
    values = np.random.default_rng(0).integers(0, 4096, (60, 80, 8), dtype=np.uint16)
    values[0, 0], values[0, 1] = 0, 4095
    path = tmp_path / "eight.tif"
    path.write_bytes(tiff(values, BLACK_IS_ZERO, planar=True, extra=[0] * 7))
    return str(path)


def test_bands_and_stretch_are_said_and_recorded(tmp_path, capsys, eight_bands):
    out = tmp_path / "out"
    assert export(eight_bands, "-o", str(out), "--layers", "P3", "--bands", "4,3,2") == 0
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (
        f"fmviz: {eight_bands}: bands 4, 3, 2 of 8 as red, green, blue; values from 0 to 4095 stretched to 0–255"
    )
    picture = facts(next(out.iterdir()))["picture"]
    assert (picture["bands"], picture["stretched_from"]) == ([4, 3, 2], [0, 4095])
    assert export(eight_bands, "-o", str(tmp_path / "plain"), "--layers", "P3", "--no-stretch") == 0
    assert capsys.readouterr().err.splitlines()[-1].endswith(": bands 1, 2, 3 of 8 as red, green, blue")
    plain = facts(next((tmp_path / "plain").iterdir()))["picture"]
    assert (plain["stretch"], "stretched_from" in plain, plain["bands"]) == (False, False, [1, 2, 3])


def test_in_the_library_bands_and_stretch_are_arguments(tmp_path, eight_bands):
    for number, options in enumerate(({}, {"bands": (4, 3, 2)}, {"bands": (5,), "stretch": False})):
        (done,) = fmviz.export(
            eight_bands, tmp_path / str(number), layers="C3", preprocessing=IMAGENET.whole(48), **options
        )
        assert done.error is None
        read = fmviz.read_picture(eight_bands, **options)
        session = Session(preprocessing=IMAGENET.whole(48), **options)
        capture = session.run(eight_bands)
        assert np.array_equal(capture.picture.pixels, read.pixels)
        assert facts(done.files[0])["picture"] == json.loads(json.dumps(session.facts(capture)["picture"]))


@pytest.mark.parametrize("bands", ["", "1,2", "a", "1,2,3,4", "0,1,2", "-1", "1;2;3", "1.5", "4,,2"])
def test_band_numbers_that_cannot_be_are_wrong_usage(tmp_path, capsys, bands):
    for command in (["export", CAT, "-o", str(tmp_path)], [CAT]):
        with pytest.raises(SystemExit) as ended:
            main([*command, f"--bands={bands}"])
        assert ended.value.code == 2
        assert "is not one or three band numbers from 1, with commas between: 4,3,2" in capsys.readouterr().err


def test_a_band_that_a_picture_lacks_is_a_sentence_and_the_others_are_done(tmp_path, capsys, eight_bands):
    assert export(CAT, eight_bands, "-o", str(tmp_path / "out"), "--layers", "P3", "--bands", "4,3,2") == 1
    assert f"fmviz: {CAT}: chelsea.png has 3 bands: choose one or three of the numbers from 1 to 3." in (
        capsys.readouterr().err
    )
    assert len(names(tmp_path / "out")) == 1


# The window and the engine are started, not run


def test_without_a_command_the_window_opens_on_the_pictures(monkeypatch):
    opened = []
    window = type(sys)("fmviz.app.main")
    window.run = lambda pictures, **options: opened.append((pictures, *options.values())) or 0
    monkeypatch.setitem(sys.modules, "fmviz.app.main", window)
    assert main(["a.png", "b.png"]) == 0
    assert main(["--engine", 'ssh box "fmviz engine"']) == 0
    assert main(["--backbone", "vgg16", "a.png"]) == 0
    assert main(["--engine", "box", "--model", "theirs.py:net"]) == 0
    assert main(["--backbone", "vgg16", "--weights", "mine.pth"]) == 0
    assert main(["--weights", "random"]) == 0
    assert main(["a.tif", "--bands", "4,3,2", "--no-stretch"]) == 0
    assert main(["--new"]) == 0
    assert main(["--stretch"]) == 0
    assert opened == [
        ([Path("a.png"), Path("b.png")], None, "", "", (), None, False, False),
        ([], ["ssh", "box", "fmviz engine"], "", "", (), None, False, False),
        ([Path("a.png")], None, "vgg16", "", (), None, False, False),
        ([], ["box"], "own:theirs.py:net", "", (), None, False, False),
        ([], None, "vgg16", "mine.pth", (), None, False, False),
        ([], None, "", "random", (), None, False, False),
        ([Path("a.tif")], None, "", "", (4, 3, 2), False, False, False),
        ([], None, "", "", (), None, True, False),
        ([], None, "", "", (), True, False, False),
    ]


@pytest.mark.parametrize("names", [(), ("mine.py",), ("weights.pth",), ("mine.py", "model.safetensors.index.json")])
def test_bands_of_no_picture_are_one_sentence(names, monkeypatch, capsys):
    window = type(sys)("fmviz.app.main")
    window.run = lambda pictures, **options: pytest.fail("a window was opened")
    monkeypatch.setitem(sys.modules, "fmviz.app.main", window)
    assert main([*names, "--bands", "4,3,2"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fmviz: --bands needs pictures")


def test_where_qt_is_missing_it_is_said_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "fmviz.app.main", None)
    assert main([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "PySide6-Essentials" in line


def test_the_engine_serves_the_standard_streams(monkeypatch):
    served = []
    monkeypatch.setattr("fmviz.engine.serve.serve_standard_streams", lambda: served.append(True))
    assert main(["engine"]) == 0
    assert served == [True]


# What it is printed to


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "fmviz", *arguments], stderr=subprocess.PIPE, check=False, timeout=120, **options
    )


def test_signs_that_the_outputs_encoding_lacks_are_escaped():
    ran = run("table", "vgg11", stdout=subprocess.PIPE, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert rb"3\xd73" in ran.stdout


def test_a_reader_who_has_seen_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    ran = run("table", "vgg11", stdout=writing)
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_name_that_is_no_text_is_exported_all_the_same(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(path, "wb") as file:
        file.write(Path(CAT).read_bytes())
    arguments = ["export", os.fsdecode(path), "-o", str(tmp_path / "out"), "--whole", "48", "--layers", "P3"]
    ran = run(*arguments, stdout=subprocess.PIPE)
    assert (ran.returncode, ran.stderr.decode().splitlines()) == (0, [NOTE])
    assert len(names(tmp_path / "out")) == 1


def test_a_mistyped_command_is_wrong_usage_and_opens_no_window(capsys):
    assert main(["exprot"]) == 2
    assert "exprot" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_behind_the_output_is_one_sentence() -> None:
    with open("/dev/full", "w") as full:
        told = subprocess.run(
            [sys.executable, "-m", "fmviz", "backbones"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert told.returncode == 1
    assert told.stderr == "fmviz: the disk is full that the output goes to: make room on it, or send it elsewhere.\n"
