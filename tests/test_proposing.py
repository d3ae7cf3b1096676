"""Which networks are proposed for a file that was dropped without a word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fmviz.errors import WeightsError
from fmviz.networks.catalog import backbone
from fmviz.networks.own import live
from fmviz.networks.proposing import Proposal, propose
from fmviz.networks.weights import load

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def resnet18() -> State:
    return dict(load(backbone("resnet18"), "random")[0].state_dict())


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def test_the_network_that_a_file_was_made_for_comes_first(resnet18: State, tmp_path: Path) -> None:
    wrapped = {"state_dict": {f"module.{key}": tensor for key, tensor in resnet18.items()}, "epoch": 3}
    for content in (resnet18, wrapped):
        first, second, *others = propose(save(tmp_path / "file.pth", content))
        assert first == Proposal("resnet18", matched=102, total=102, missing=0, left_over=0, fits=True, note="")
        assert (second.backbone, second.matched, second.missing, second.left_over) == ("resnet18_fpn", 102, 16, 0)
        assert second.note == "The file has no pyramid: the network's is random (seed 0)."
        assert [one.backbone for one in others] == ["resnet34", "resnet34_fpn"]
        assert not any(one.fits for one in others)
        assert others[0].note.startswith("It cannot be loaded: 80 of its 182 tensors are missing")


@pytest.mark.parametrize(
    "name", ["efficientnet_lite0", "efficientnet_lite0_fpn", "vgg11_bn", "inception_v2", "article/vgg19"]
)
def test_each_of_ours_is_known_by_its_own_file(name: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        like = backbone(name).build().state_dict()
    # Values are not looked at: one element for all of a tensor.
    state = {key: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) for key, tensor in like.items()}
    first = propose(save(tmp_path / "file.pth", state))[0]
    assert (first.backbone, first.missing, first.left_over, first.fits) == (name, 0, 0, True)


def test_what_is_missing_and_what_is_left_over_is_told(resnet18: State, tmp_path: Path) -> None:
    content = resnet18 | {"fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10), "projector": torch.zeros(3)}
    first = next(one for one in propose(save(tmp_path / "file.pth", content)) if one.backbone == "resnet18")
    assert (first.matched, first.total, first.missing, first.left_over, first.fits) == (100, 102, 2, 3, True)
    assert "The file's classifier is another one (fc.weight is 10 × 512 instead of 1000 × 512)" in first.note
    assert first.note.endswith("A tensor of the file (projector) has no place in resnet18 and was left out.")


def test_all_that_is_proposed_as_fitting_can_be_loaded(resnet18: State, tmp_path: Path) -> None:
    path = save(tmp_path / "file.pth", {f"backbone.body.{key}": tensor for key, tensor in resnet18.items()})
    proposals = propose(path)
    assert len(proposals) <= 5
    for one in proposals:
        if one.fits:
            _, weights = load(backbone(one.backbone), path)
            assert " ".join(weights.notes) == one.note
        else:
            with pytest.raises(WeightsError, match="was not made for"):
                load(backbone(one.backbone), path)
    assert {one.fits for one in proposals} == {True, False}


def test_torchvisions_are_asked_where_none_of_ours_agrees(tmp_path: Path) -> None:
    from torchvision import models

    path = save(tmp_path / "file.pth", models.squeezenet1_1(weights=None).state_dict())
    first = propose(path)[0]
    assert first.backbone == "torchvision/squeezenet1_1"
    assert (first.missing, first.left_over, first.fits, first.note) == (0, 0, True, "")


def test_torchvisions_are_not_asked_where_one_of_ours_agrees(resnet18: State, tmp_path: Path) -> None:
    """Importing it takes two seconds."""
    path = save(tmp_path / "file.pth", resnet18)
    code = (
        "import sys; from fmviz.networks.proposing import propose\n"
        "print(propose(sys.argv[1])[0].backbone, 'torchvision' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert ran.stdout.split() == ["resnet18", "False"]


OWN = """
import sys
import torch
from torch import nn
from fmviz.networks import own
from fmviz.networks.proposing import propose

model = nn.Sequential(nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7), nn.Flatten(), nn.Linear(63, 2))
torch.save({f"module.{key}": tensor for key, tensor in model.state_dict().items()}, sys.argv[1])
print(*(one.backbone for one in propose(sys.argv[1], also=[(own.live(model, name="mine"), model)])))
print("torchvision" in sys.modules)
"""


def test_a_file_of_a_network_that_is_open_is_known_and_torchvisions_are_not_asked(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", OWN, str(tmp_path / "own.pth")], capture_output=True, text=True, check=True, timeout=120
    )
    assert ran.stdout.splitlines() == ["mine", "False"]


def test_an_open_network_goes_first_where_others_fit_as_well_and_is_left_as_it_is(
    resnet18: State, tmp_path: Path
) -> None:
    model, _ = load(backbone("resnet18"), "random", seed=1)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    other = nn.Linear(2, 2)
    path = save(tmp_path / "file.pth", resnet18)
    first, second, *_ = propose(path, also=[(live(other, name="other"), other), (live(model, name="mine"), model)])
    assert first == Proposal("mine", matched=102, total=102, missing=0, left_over=0, fits=True, note="")
    assert second.backbone == "resnet18"
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    # One that fits less well does not.
    headless = nn.Sequential(*model.children())
    assert propose(path, also=[(live(headless, name="headless"), headless)])[0].backbone == "resnet18"


def test_an_open_network_without_parameters_is_not_proposed(resnet18: State, tmp_path: Path) -> None:
    empty = nn.Sequential(nn.ReLU())
    found = propose(save(tmp_path / "file.pth", resnet18), also=[(live(empty, name="empty"), empty)])
    assert "empty" not in [one.backbone for one in found]


def test_for_other_tensors_nothing_is_proposed(tmp_path: Path) -> None:
    assert propose(save(tmp_path / "file.pth", {"embedding.weight": torch.zeros(9, 4)})) == ()


def test_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.pth"
    path.write_bytes(b"<html>")
    with pytest.raises(WeightsError, match=r"page\.pth is a web page"):
        propose(path)
