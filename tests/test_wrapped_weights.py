"""Weights in files of other shapes: under other names and prefixes, beside other things, with other heads, of detectors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import fmviz
from fmviz.errors import WeightsError
from fmviz.networks import weights as weights_module
from fmviz.networks.backbone import Backbone
from fmviz.networks.catalog import backbone
from fmviz.networks.network import WithoutInitialisation
from fmviz.networks.offers import Offer, Published
from fmviz.networks.weights import class_names, load
from fmviz.preprocess import IMAGENET

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def resnet18() -> State:
    """Random values, our keys, which are torchvision's."""
    return dict(load(backbone("resnet18"), "random", seed=5)[0].state_dict())


@pytest.fixture(scope="module")
def averaged(resnet18: State) -> State:
    """Another network of the same shape, so that it shows which was taken."""
    return {key: tensor * 2 for key, tensor in resnet18.items()}


@pytest.fixture(scope="module")
def detector() -> State:
    """torchvision's body and pyramid with the heads of a detector, batch norm frozen."""
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.ops import FrozenBatchNorm2d

    torch.manual_seed(6)
    inside = resnet_fpn_backbone(backbone_name="resnet18", weights=None, norm_layer=FrozenBatchNorm2d)
    heads = {"rpn.head.conv.0.0.weight": torch.rand(4, 4, 3, 3), "roi_heads.box_head.fc6.weight": torch.rand(4, 4)}
    return {**prefixed("backbone.", inside.state_dict()), **heads}


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def holds(model: nn.Module, state: Mapping[str, Tensor], *, prefix: str = "") -> bool:
    found = model.state_dict()
    return all(torch.equal(found[prefix + key], tensor) for key, tensor in state.items())


class Tiny(nn.Module):
    """A network that is not ours: it has a table of its own making, and a head with a parameter that nothing resets."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("table", torch.arange(4.0), persistent=False)
        self.register_buffer("mask", torch.tensor([True, False]))
        self.head = nn.Linear(4, 7)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(self.conv(x)).mean((2, 3)) + self.table)
        return out


class Scaled(Tiny):
    """Its head cannot be reset, and is made anew."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(Scale(), nn.Linear(4, 7))  # type: ignore[assignment]


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((4,), 3.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def row(build: Any, **more: Any) -> Backbone:
    parts = MappingProxyType({"classifier": "head"})
    facts = ("other/tiny", "Tiny", "", 0, build, 0, IMAGENET, dict)
    return Backbone(*facts, group="torchvision", parts=parts, **more)


# Under other names


PLACES = (
    "state_dict",
    "model",
    "model_state_dict",
    "ema",
    "model_ema",
    "ema_state_dict",
    "net",
    "network",
    "weights",
    "params",
    "teacher",
    "student",
    "anything",
)
PREFIXES = (
    "module.",
    "_orig_mod.",
    "backbone.",
    "body.",
    "model.",
    "encoder.",
    "net.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "model.module.backbone.body.",
    "student.encoder.0.",
)


@pytest.mark.parametrize("place", PLACES)
def test_a_state_dict_is_found_whatever_it_lies_under(place: str, tmp_path: Path) -> None:
    state = Tiny().state_dict()
    content = {"epoch": 3, place: state, "optimizer": {"state": {}, "lr": 0.1}, "best": torch.tensor(0.7)}
    model, weights = load(row(Tiny), save(tmp_path / "file.pth", content))
    assert holds(model, state)
    assert (weights.notes, weights.seed) == ((), None)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("place", ["", "state_dict"])
def test_prefixes_are_taken_off_in_any_order(prefix: str, place: str, tmp_path: Path) -> None:
    state = Tiny().state_dict()
    content = prefixed(prefix, state)
    model, weights = load(row(Tiny), save(tmp_path / "file.pth", {place: content} if place else content))
    assert holds(model, state)
    assert weights.notes == ()


@pytest.mark.parametrize("prefix", ["module._orig_mod.", "model.module.backbone.body."])
def test_ours_are_found_so_as_well_and_so_are_their_pyramids_bodies(
    prefix: str, resnet18: State, tmp_path: Path
) -> None:
    path = tmp_path / "file.safetensors"
    safetensors.torch.save_file(prefixed(prefix, resnet18), path)
    model, weights = load(backbone("resnet18"), path)
    assert holds(model, resnet18)
    assert (weights.classes, weights.notes) == (class_names("imagenet"), ())
    inside, _ = load(backbone("resnet18_fpn"), path)
    assert holds(inside, resnet18, prefix="body.")


def test_what_is_nested_deep_is_found(resnet18: State, tmp_path: Path) -> None:
    content = {"checkpoint": {"trainer": {"model": prefixed("module.", resnet18)}}}
    assert holds(load(backbone("resnet18"), save(tmp_path / "file.pth", content))[0], resnet18)


@pytest.mark.parametrize("place", ["model_ema", "state_dict_ema", "ema", "teacher", "swa_model", "averaged"])
def test_of_a_network_and_its_average_the_average_is_taken_and_said(place: str, tmp_path: Path) -> None:
    state, average = Tiny().state_dict(), Tiny().state_dict()
    for content in ({"model": state, place: average}, {place: average, "model": state}):
        model, weights = load(row(Tiny), save(tmp_path / "file.pth", content))
        assert holds(model, average)
        assert weights.notes == (f"The file holds 2 such networks: the average, under “{place}”, was taken.",)


def test_an_average_in_the_same_state_dict_is_taken_and_said(resnet18: State, averaged: State, tmp_path: Path) -> None:
    content = {**prefixed("student.", resnet18), **prefixed("teacher.", averaged)}
    model, weights = load(backbone("resnet18"), save(tmp_path / "file.pth", content))
    assert holds(model, averaged)
    assert weights.notes == (
        "122 tensors of the file (such as student.conv1.weight) have no place in resnet18: left out.",
        "The file holds 2 such networks: the average, under “teacher.”, was taken.",
    )


def test_an_average_of_something_else_is_no_reason(resnet18: State, tmp_path: Path) -> None:
    content = {"model": resnet18, "ema": {"conv1.weight": torch.zeros(64, 3, 7, 7)}}
    assert holds(load(backbone("resnet18"), save(tmp_path / "file.pth", content))[0], resnet18)


def test_a_session_takes_such_a_file_and_runs(resnet18: State, tmp_path: Path) -> None:
    half = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in resnet18.items()}
    path = save(tmp_path / "file.ckpt", {"state_dict": prefixed("model.module.", half), "hyper_parameters": {"lr": 1}})
    session = fmviz.Session("resnet18", weights=path)
    assert session.weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    capture = session.run(torch.rand(1, 3, 64, 64))
    assert tuple(capture.taps["C5"].tensor.shape) == (1, 512, 2, 2)
    assert capture.taps["C5"].tensor.dtype == torch.float32
    assert len(capture.predictions) == 5


# Other heads


HEADS = {
    "ten classes": (
        {"fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)},
        "fc.weight is 10 × 512 instead of",
    ),
    "two layers": ({"fc.0.weight": torch.zeros(9, 512), "fc.2.weight": torch.zeros(3, 9)}, "it has no fc.weight"),
    "half a head": ({"fc.weight": torch.zeros(1000, 512)}, "it has no fc.bias"),
}


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("name", ["resnet18", "resnet18_fpn"])
def test_another_head_is_left_out_and_said(kind: str, name: str, resnet18: State, tmp_path: Path) -> None:
    head, words = HEADS[kind]
    body = {key: tensor for key, tensor in resnet18.items() if not key.startswith("fc.")}
    model, weights = load(backbone(name), save(tmp_path / "file.pth", body | head), seed=4)
    prefix = "body." if name.endswith("_fpn") else ""
    assert holds(model, body, prefix=prefix)
    [note] = [note for note in weights.notes if "classifier" in note]
    assert note.startswith(f"The file's classifier is another one ({words.replace('fc.', f'{prefix}fc.')}")
    assert note.endswith(f"and was left out: {name}'s is random (seed 4).")
    assert (weights.classes, weights.seed) == ((), 4)
    random, _ = load(backbone(name), save(tmp_path / "headless.pth", body), seed=4)
    assert holds(model, random.state_dict())


def test_what_lies_beside_the_network_is_left_out_and_said(resnet18: State, tmp_path: Path) -> None:
    content = resnet18 | {"projector.weight": torch.zeros(3), "temperature": torch.zeros(())}
    model, weights = load(backbone("resnet18"), save(tmp_path / "file.pth", content))
    assert holds(model, resnet18)
    assert weights.notes == ("2 tensors of the file (such as projector.weight) have no place in resnet18: left out.",)


@pytest.mark.parametrize("key", ["layer1.2.conv1.weight", "layer1.0.se.weight", "bn1.extra"])
def test_what_lies_within_the_network_is_no_fit(key: str, resnet18: State, tmp_path: Path) -> None:
    path = save(tmp_path / "file.pth", prefixed("module.", resnet18 | {key: torch.zeros(3)}))
    with pytest.raises(WeightsError, match=f"1 in the file are unknown to it \\(such as {key}\\)"):
        load(backbone("resnet18"), path)


def test_a_refused_file_is_refused_as_a_whole(resnet18: State, tmp_path: Path) -> None:
    path = save(tmp_path / "file.pth", {key: tensor for key, tensor in resnet18.items() if "layer4.1" not in key})
    with pytest.raises(WeightsError, match=r"10 of its 102 tensors are missing \(such as layer4\.1\.conv1\.weight\)"):
        load(backbone("resnet18"), path)


# Detectors


UNKNOWN_EPS = (
    "Its batch norm was frozen, with an eps that the file does not tell: 1e-05 is taken. "
    "torchvision's first detectors had 0.0."
)


def eps_of(model: nn.Module) -> set[float]:
    return {module.eps for module in model.modules() if isinstance(module, nn.BatchNorm2d)}


@pytest.mark.parametrize("version", [1, 2])
def test_a_detectors_body_and_pyramid_are_taken(version: int, detector: State, tmp_path: Path) -> None:
    """Files of the first version have `inner_blocks.0.weight` for `inner_blocks.0.0.weight`."""
    given = detector
    if version == 1:
        given = {
            key.replace(".0.weight", ".weight").replace(".0.bias", ".bias") if ".fpn." in key else key: tensor
            for key, tensor in detector.items()
        }
        assert "backbone.fpn.layer_blocks.3.bias" in given
    model, weights = load(backbone("resnet18_fpn"), save(tmp_path / "file.pth", {"model": given}), seed=3)
    inside = {key.removeprefix("backbone."): tensor for key, tensor in detector.items() if key.startswith("backbone.")}
    assert holds(model, inside)
    assert not any(tensor.is_meta for tensor in model.state_dict().values())
    assert (weights.untrained, weights.classes, weights.seed) == (("classifier",), (), 3)
    assert weights.notes == (
        "The file has no classifier: the network's is random (seed 3).",
        "2 tensors of the file (such as rpn.head.conv.0.0.weight) have no place in resnet18_fpn: left out.",
        UNKNOWN_EPS,
    )
    assert eps_of(model) == {1e-5}


def test_a_detectors_body_is_taken_without_its_pyramid(detector: State, tmp_path: Path) -> None:
    model, weights = load(backbone("resnet18"), save(tmp_path / "file.pth", detector))
    body = {key.removeprefix("backbone.body."): tensor for key, tensor in detector.items() if ".body." in key}
    assert holds(model, body)
    assert weights.notes[1] == (
        "18 tensors of the file (such as backbone.fpn.inner_blocks.0.0.weight) have no place in resnet18: left out."
    )
    assert weights.notes[2] == UNKNOWN_EPS


def known_as(path: Path, *, eps: float | None) -> dict[str, Published]:
    """A list of torchvision's that knows the file at `path` by its checksum."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    offer = Offer(name="COCO_V1", url="https://example.org/file.pth", sha256=sha256, frozen_eps=eps)
    return {"arcnn": Published("arcnn", "detection", "faster_rcnn", 1, 1, 1, (offer,))}


@pytest.mark.parametrize(("eps", "wanted"), [(0.0, "0.0, as in its training"), (None, "1e-05")])
def test_a_published_detector_is_known_by_its_checksum(
    eps: float | None, wanted: str, detector: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "renamed.pth", detector)
    monkeypatch.setattr(weights_module, "published", lambda: known_as(path, eps=eps))
    model, weights = load(backbone("resnet18_fpn"), path)
    assert eps_of(model) == {1e-5 if eps is None else eps}
    assert weights.notes[-1] == f"The file is torchvision's arcnn, COCO_V1: its batch norm's eps is {wanted}."


def test_an_offers_own_eps_is_set(detector: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    save(folder / "detector.pth", detector)
    offer = Offer(name="COCO_V1", url="https://example.org/detector.pth", file_name="detector.pth", frozen_eps=0.0)
    model, weights = load(replace(backbone("resnet18_fpn"), offers=(offer,)), "coco_v1")
    assert eps_of(model) == {0.0}
    assert (weights.name, weights.untrained) == ("COCO_V1", ("classifier",))
    assert UNKNOWN_EPS not in weights.notes


def test_its_levels_are_those_of_torchvisions_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With eps 0.0: at 1e-5 small variances, as trained ones are in places, give other maps."""
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.ops import FrozenBatchNorm2d

    torch.manual_seed(7)
    theirs = resnet_fpn_backbone(backbone_name="resnet18", weights=None, norm_layer=FrozenBatchNorm2d).eval()
    for module in theirs.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0
            module.running_var.uniform_(1e-5, 1e-4)
            module.weight.mul_(module.running_var.sqrt())
    path = save(tmp_path / "file.pth", prefixed("backbone.", theirs.state_dict()))
    monkeypatch.setattr(weights_module, "published", lambda: known_as(path, eps=0.0))
    x = torch.rand(1, 3, 70, 100)
    ours, _ = load(backbone("resnet18_fpn"), path)
    with torch.no_grad():
        wanted, found = theirs(x), ours(x)
    for level, key in zip(("P2", "P3", "P4", "P5", "P6"), wanted, strict=True):
        torch.testing.assert_close(found[level], wanted[key], rtol=1e-4, atol=1e-4)


OTHER_PYRAMIDS = {
    "fewer levels": (
        {"inner_blocks.0.0.weight": torch.zeros(256, 128, 1, 1)},
        "fpn.inner_blocks.0.0.weight is 256 × 128 × 1 × 1 instead of 256 × 64 × 1 × 1",
    ),
    "batch norm": (
        {"inner_blocks.0.1.running_mean": torch.zeros(256)},
        "it has fpn.inner_blocks.0.1.running_mean besides",
    ),
    "more levels": ({"extra_blocks.p6.weight": torch.zeros(256)}, "it has fpn.extra_blocks.p6.weight besides"),
}


@pytest.mark.parametrize("kind", OTHER_PYRAMIDS)
def test_another_pyramid_is_left_out_and_said(kind: str, detector: State, tmp_path: Path) -> None:
    changed, words = OTHER_PYRAMIDS[kind]
    given = detector | prefixed("backbone.fpn.", changed)
    model, weights = load(backbone("resnet18_fpn"), save(tmp_path / "file.pth", given), seed=2)
    body = {key.removeprefix("backbone."): tensor for key, tensor in detector.items() if ".body." in key}
    assert holds(model, body)
    assert weights.untrained == ("classifier", "pyramid")
    assert f"The file's pyramid is another one ({words}) and was left out: resnet18_fpn's is random (seed 2)." in (
        weights.notes
    )
    bodys, _ = load(backbone("resnet18_fpn"), save(tmp_path / "body.pth", body), seed=2)
    assert holds(model, bodys.state_dict())


def test_a_pyramid_with_more_than_the_network_shares_is_left_out_and_said(tmp_path: Path) -> None:
    """The article's has one 3×3 for all levels: of the four in a file three would be lost."""
    theirs, _ = load(backbone("resnet50_fpn"), "random", seed=2)
    model, weights = load(backbone("article/fpn"), save(tmp_path / "file.pth", theirs.state_dict()), seed=3)
    assert weights.untrained == ("pyramid",)
    assert weights.notes[0].startswith(
        "The file's pyramid is another one (fpn.layer_blocks.1.0.weight is another tensor than fpn.layer_blocks.0.0.weight"
    )
    again, weights = load(backbone("article/fpn"), save(tmp_path / "own.pth", model.state_dict()))
    assert holds(again, model.state_dict())
    assert (weights.untrained, weights.notes) == ((), ())


# Other people's networks


@pytest.mark.parametrize("make", [Tiny, Scaled])
def test_a_network_that_is_not_ours_is_loaded(make: type[Tiny], tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = make().eval()
    path = save(tmp_path / "file.pth", {"model": prefixed("module.", theirs.state_dict())})
    model, weights = load(row(make), path)
    x = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(model(x), theirs(x))
    assert (weights.classes, weights.notes, weights.untrained) == ((), (), ())
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("make", [Tiny, Scaled])
def test_its_absent_head_is_random_by_the_seed(make: type[Tiny], tmp_path: Path) -> None:
    state = {key: tensor for key, tensor in make().state_dict().items() if not key.startswith("head.")}
    path = save(tmp_path / "file.pth", state)
    before = torch.get_rng_state()
    first, weights = load(row(make), path, seed=1)
    again, _ = load(row(make), path, seed=1)
    other, _ = load(row(make), path, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert holds(first, again.state_dict())
    assert not holds(first, other.state_dict())
    assert weights.notes == ("The file has no classifier: the network's is random (seed 1).",)
    if make is Scaled:
        assert torch.equal(first.state_dict()["head.0.scale"], torch.full((4,), 3.0))


def test_initialisation_that_draws_until_it_fits_comes_to_an_end() -> None:
    """`trunc_normal_` does: over memory full of other numbers it would draw for ever where nothing is drawn."""
    tensor = torch.full((64,), 1e9)
    with WithoutInitialisation():
        nn.init.trunc_normal_(tensor, std=0.01, a=-2, b=2)
    assert float(tensor.abs().max()) <= 2


def test_its_classes_and_feeding_are_the_offers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    path = save(folder / "tiny.pth", Tiny().state_dict())
    fed = replace(IMAGENET, resize=99)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()[:10]
    offer = Offer("V1", "https://example.org/tiny.pth", "tiny.pth", sha256, preprocessing=fed, classes="voc")
    finished: list[Offer | None] = []
    other = row(Tiny, offers=(offer,), finish=lambda _, of: finished.append(of))
    _, weights = load(other, "v1")
    assert (weights.name, weights.classes, weights.preprocessing) == ("V1", class_names("voc"), fed)
    # The same file by its path is known by its checksum.
    _, weights = load(other, path)
    assert (weights.name, weights.classes, weights.preprocessing) == ("tiny.pth", class_names("voc"), fed)
    _, weights = load(other, "random")
    assert finished == [offer, offer, None]
    assert weights.classes == ()


def test_the_network_may_depend_on_the_file(tmp_path: Path) -> None:
    """As a Vision Transformer's position embedding tells the size that it was trained for."""

    def build_for(tensors: Mapping[str, Tensor]) -> nn.Module:
        return nn.Sequential(nn.Linear(tensors["0.weight"].shape[1], 2))

    path = save(tmp_path / "file.pth", prefixed("module.", {"0.weight": torch.rand(2, 5), "0.bias": torch.rand(2)}))
    small = replace(row(lambda: nn.Sequential(nn.Linear(3, 2)), build_for=build_for), parts={})
    model, _ = load(small, path)
    assert tuple(model.state_dict()["0.weight"].shape) == (2, 5)


def test_old_keys_that_torchvision_knows_are_known(tmp_path: Path) -> None:
    """Its modules rename them as they load: a Vision Transformer's `linear_1`, a detector's pyramid."""
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.models.vision_transformer import MLPBlock

    def make() -> nn.Module:
        return nn.ModuleDict(
            {"mlp": MLPBlock(4, 8, 0.0), "backbone": resnet_fpn_backbone(backbone_name="resnet18", weights=None)}
        )

    state = make().state_dict()
    old = {
        key.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2.")
        if "mlp" in key
        else key.replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        if ".fpn." in key
        else key: tensor
        for key, tensor in state.items()
    }
    assert {"mlp.linear_2.bias", "backbone.fpn.inner_blocks.3.weight"} <= set(old)
    model, weights = load(replace(row(make), parts={}), save(tmp_path / "file.pth", old))
    assert holds(model, state)
    assert weights.notes == ()
