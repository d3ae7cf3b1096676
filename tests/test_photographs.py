"""The photographs that a trained pyramid is judged on: there, free to use, and boxed with sense."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from fmviz.assets import asset
from fmviz.pictures import read_picture

HERE = Path(__file__).parent / "photographs"
FOLDERS = {"photographs": HERE, "samples": asset("samples")}
PICTURES: list[dict[str, Any]] = json.loads((HERE / "boxes.json").read_text(encoding="utf-8"))["pictures"]
THINGS = [(picture, thing) for picture in PICTURES for thing in picture["things"]]
TRAINED_ON = {"coffee.png", "rocket.jpg", "brick.png"}


def _rows(folder: str, file: str) -> list[str]:
    lines = (FOLDERS[folder] / "LICENCES.md").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith(f"| {file} |")]


def test_there_are_enough_things_of_enough_pictures() -> None:
    assert len(THINGS) >= 30
    assert len({picture["file"] for picture in PICTURES}) == len(PICTURES) >= 9
    assert TRAINED_ON.isdisjoint(picture["file"] for picture in PICTURES)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture["file"])
def test_a_photograph_can_be_read_and_its_licence_is_the_listed_one(picture: dict[str, Any]) -> None:
    assert max(read_picture(FOLDERS[picture["folder"]] / picture["file"]).size) <= 660
    row = _rows(picture["folder"], picture["file"])[0]
    assert row.split("|")[4].strip().startswith(picture["licence"])
    assert row.split("|")[3].strip()


def test_every_photograph_is_boxed_and_listed_with_its_checksum() -> None:
    files = sorted(HERE.glob("*.jpg"))
    assert {path.name for path in files} == {p["file"] for p in PICTURES if p["folder"] == "photographs"}
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() in _rows("photographs", path.name)[1]
    assert sum(path.stat().st_size for path in files) < 1_500_000


def test_a_thing_is_named_once_in_its_picture() -> None:
    names = [(picture["file"], thing["name"]) for picture, thing in THINGS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("picture", "thing"), THINGS, ids=[f"{picture['file']}-{thing['name']}" for picture, thing in THINGS]
)
def test_a_box_lies_in_its_picture_and_is_neither_slender_nor_tiny(
    picture: dict[str, Any], thing: dict[str, Any]
) -> None:
    height, width = read_picture(FOLDERS[picture["folder"]] / picture["file"]).size
    left, top, right, bottom = thing["box"]
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert math.sqrt((right - left) * (bottom - top)) >= 40
    assert 0.5 <= (right - left) / (bottom - top) <= 2
