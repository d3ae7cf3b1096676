"""The files that come with fmviz are there, and are what they say."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from fmviz.assets import asset
from fmviz.pictures import read_picture

ICONS = sorted(path for path in asset("icons").glob("*.svg") if path.stem != "fmviz")
SAMPLES = sorted(path for path in asset("samples").iterdir() if path.suffix != ".md")


def test_the_class_names_are_those_of_torchvisions_weights() -> None:
    from torchvision.models import ResNet50_Weights

    names = asset("classes/imagenet.txt").read_text(encoding="utf-8").splitlines()
    assert names == ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    assert len(names) == 1000


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_can_be_read_and_has_its_licence(path: Path) -> None:
    rows = [line for line in asset("samples/LICENCES.md").read_text(encoding="utf-8").splitlines() if path.name in line]
    assert len(rows) == 1
    assert "CC0 1.0" in rows[0] or ("CC BY 2.0" in rows[0] and "https://" in rows[0])
    assert min(read_picture(path).size) >= 224


def test_every_licence_has_its_sample() -> None:
    lines = asset("samples/LICENCES.md").read_text(encoding="utf-8").splitlines()
    named = {line.split("|")[1].strip() for line in lines if line.startswith("|") and "CC" in line}
    assert named == {path.name for path in SAMPLES}


@pytest.mark.parametrize("path", ICONS, ids=lambda path: path.stem)
def test_an_icon_is_drawn_with_the_one_stroke(path: Path) -> None:
    root = ElementTree.parse(path).getroot()
    assert root.attrib["viewBox"] == "0 0 24 24"
    assert (root.attrib["stroke"], root.attrib["stroke-width"]) == ("currentColor", "1.75")
    assert (root.attrib["fill"], root.attrib["stroke-linecap"]) == ("none", "round")
    assert len(root) > 0
    assert all({"stroke", "stroke-width", "fill"}.isdisjoint(shape.attrib) for shape in root)


def test_the_icons_are_all_there() -> None:
    wanted = "open export previous next copy paste reset-layout fit smooth info warning close folder cancel play"
    assert {path.stem for path in ICONS} >= {*wanted.split(), "layers", "grid", "pyramid", "table", "picture"}
    assert ElementTree.parse(asset("icons/fmviz.svg")).getroot().attrib["viewBox"] == "0 0 256 256"
