"""torchvision's networks: built as their weights want them, fed as torchvision does, their stages where the strides are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fmviz.assets import asset
from fmviz.errors import BackboneError
from fmviz.networks import torchvision as ours
from fmviz.networks.backbone import Backbone
from fmviz.networks.catalog import backbone, backbones
from fmviz.networks.offers import published
from fmviz.networks.stages import find_stages
from fmviz.networks.torchvision import index, rows
from fmviz.pictures import read_picture
from fmviz.preprocess import preprocess
from fmviz.session import Session
from fmviz.table import layer_table

STRIDE = {"C2": 4, "C3": 8, "C4": 16, "C5": 32, "P2": 4, "P3": 8, "P4": 16, "P5": 32, "P6": 64}


def named(name: str) -> Backbone:
    return backbone(f"torchvision/{name}")


@pytest.fixture
def meta() -> Any:
    return torch.device("meta")


# ── The list ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_asset_is_what_the_installed_torchvision_says() -> None:
    import torchvision

    listed = json.loads(asset("torchvision.json").read_text(encoding="utf-8"))
    if listed["torchvision"] != torchvision.__version__.split("+")[0]:
        pytest.skip(f"the asset is of torchvision {listed['torchvision']}, and {torchvision.__version__} is installed")
    assert json.loads(json.dumps(index())) == listed


def test_every_network_with_weights_is_a_row() -> None:
    assert [row.name for row in rows()] == [name for name in backbones() if name.startswith("torchvision/")]
    assert {row.name.removeprefix("torchvision/") for row in rows()} == set(published())
    for row in rows():
        assert row.group == "torchvision"
        assert re.fullmatch(r"\d{4}\.\d{5}|\d{4}\.\d{4}", row.paper), row.name
        assert row.year == 2000 + int(row.paper[:2])
        assert row.family not in ("", "Others")
        assert row.offers, row.name
        assert all(offer.preprocessing is not None for offer in row.offers)


def test_papers_are_those_that_torchvision_names() -> None:
    """Its documentation of each builder links one paper, the network's."""
    from torchvision import models

    for row in rows():
        builder = models.get_model_builder(row.name.removeprefix("torchvision/"))
        linked = re.findall(r"arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5})", builder.__doc__ or "")
        assert not linked or row.paper in linked, (row.name, linked)


def test_eps_is_zero_where_torchvision_sets_it_and_nowhere_else() -> None:
    """Where its source overwrites the eps after loading: for four networks' first weights."""
    from torchvision import models

    told = set()
    for file in Path(models.detection.__file__).parent.glob("*.py"):
        found = re.findall(
            r"if weights == (\w+)_Weights\.(\w+):\s+overwrite_eps\(model, 0\.0\)", file.read_text("utf-8")
        )
        told |= {(names.lower(), weights) for names, weights in found}
    assert len(told) == 4
    offered = {(row.name, offer.name) for row in published().values() for offer in row.offers if offer.frozen_eps == 0}
    assert offered == told


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("r3d_18", "a clip of many pictures"),
        ("swin3d_b", "a clip of many pictures"),
        ("raft_large", "takes two pictures"),
        ("quantized_resnet50", "8-bit integers"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_a_reason(name: str, why: str) -> None:
    with pytest.raises(BackboneError, match=why):
        named(name)


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    with pytest.raises(BackboneError, match="did you mean torchvision/resnet"):
        named("resnet51")


def test_a_network_newer_than_the_asset_is_asked_of_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    older = {name: network for name, network in published().items() if name != "mnasnet0_5"}
    listed = named("mnasnet0_5")
    monkeypatch.setattr(ours, "published", lambda: older)
    ours._row.cache_clear()
    try:
        found = ours.backbone("mnasnet0_5")
        assert (found.parameters, found.offers, found.paper) == (listed.parameters, listed.offers, listed.paper)
    finally:
        ours._row.cache_clear()


# ── Every one, without values ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", published())
def test_every_network_builds_and_has_its_stages(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network that the stages are found in is the one whose parameters are counted: each is built once."""
    row = named(name)
    built: list[nn.Module] = []

    def finding(build: Any, *args: Any, **kwargs: Any) -> dict[str, str]:
        def once() -> nn.Module:
            built.append(build())
            return built[-1]

        return find_stages(once, *args, **kwargs)

    monkeypatch.setattr(ours, "find_stages", finding)
    taps = row.find_taps()
    (model,) = built
    assert sum(parameter.numel() for parameter in model.parameters()) == row.parameters
    assert {tap for tap in taps if tap[0] == "C"} == stages_of(name, row.family)
    assert any(tap[0] == "P" for tap in taps) == row.pyramid
    modules = dict(model.named_modules())
    assert {path.partition("[")[0] for path in taps.values()} <= set(modules)
    assert set(row.parts.values()) <= set(modules)
    assert all(f"{path}." not in f"{row.parts.get('classifier', '-')}." for path in taps.values())


def stages_of(name: str, family: str) -> set[str]:
    """Those that a network has: some keep their resolution, and transformers have one of patches."""
    if name.startswith("vit_"):
        return {"C5"} if name.endswith("32") else {"C4"}
    if name.startswith("squeezenet") or (family == "Segmentation" and "mobilenet" in name):
        return {"C2", "C3", "C4"}
    return {"C2", "C3"} if family == "Segmentation" else {"C2", "C3", "C4", "C5"}


SMALL = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_0",
    "swin_t",
    "vgg11",
    "vit_b_32",
    "vit_h_14",
    "deeplabv3_mobilenet_v3_large",
    "fasterrcnn_resnet50_fpn",
    "ssdlite320_mobilenet_v3_large",
]
"""One of each kind."""


@pytest.mark.parametrize("name", SMALL)
def test_stages_are_where_the_strides_are(name: str) -> None:
    row = named(name)
    size = (row.only_input,) * 2 if row.only_input else (max(256, row.minimum_input), max(320, row.minimum_input))
    table = layer_table(row.name, (299, 299) if name == "inception_v3" else size)
    for tap, path in row.taps.items():
        # Patches of 14 pixels, and convolutions without padding, are near to a power of two.
        stride = table.row(path).stride if "[" not in path else STRIDE[tap]
        assert stride is not None
        assert round(np.log2(stride)) == np.log2(STRIDE[tap]), (tap, stride)


def test_stages_are_the_blocks_that_people_know() -> None:
    assert named("resnet50").taps == {"C2": "layer1", "C3": "layer2", "C4": "layer3", "C5": "layer4"}
    assert named("convnext_tiny").taps["C4"] == "features.5"
    assert named("densenet121").taps["C3"] == "features.denseblock2"
    assert named("googlenet").taps == {"C2": "conv3", "C3": "inception3b", "C4": "inception4e", "C5": "inception5b"}
    assert named("swin_t").taps["C2"] == "features.1"
    assert named("regnet_y_400mf").taps["C3"] == "trunk_output.block2"
    detector = named("fasterrcnn_resnet50_fpn").taps
    assert detector["C5"] == "backbone.body.layer4"
    assert [detector[f"P{level}"] for level in (2, 5, 6)] == [
        "backbone.fpn.layer_blocks.0",
        "backbone.fpn.layer_blocks.3",
        "backbone.fpn[pool]",
    ]


# ── For real ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["mnasnet0_5", "shufflenet_v2_x0_5", "regnet_x_400mf", "squeezenet1_1", "swin_t"])
def test_it_is_torchvisions_own_forward(name: str, sample: Path) -> None:
    from torchvision import models

    session = Session(f"torchvision/{name}", weights="random")
    theirs = models.get_model(name, weights=None).eval()
    theirs.load_state_dict(session.model.state_dict())
    fed = preprocess(read_picture(sample), session.preprocessing.at(96))
    capture = session.run(fed.tensor)
    with torch.no_grad():
        assert torch.equal(capture["(output)"].tensor, theirs(fed.tensor))
    assert set(capture.taps) == set(session.backbone.taps)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "swin_v2_t", "efficientnet_b0"])
def test_pictures_are_fed_as_the_weights_want_them(name: str, sample: Path) -> None:
    """Among these are both resizings, bicubic, and sizes that round."""
    from PIL import Image
    from torchvision import models

    picture = Image.open(sample).convert("RGB")
    row = named(name)
    for offer, entry in zip(row.offers, _ordered(models.get_model_weights(name)), strict=True):
        assert offer.name == entry.name
        assert offer.preprocessing is not None
        fed = preprocess(read_picture(picture), offer.preprocessing)
        assert torch.equal(fed.tensor[0], entry.transforms()(picture))


def _ordered(weights: Any) -> list[Any]:
    return sorted(weights, key=lambda entry: entry is not weights.DEFAULT)


def test_a_vision_transformer_takes_other_sizes_as_torchvision_resizes_it() -> None:
    """Of its own size it is torchvision's; at another one it is what `interpolate_embeddings` makes of it."""
    from torchvision.models.vision_transformer import interpolate_embeddings, vit_b_32

    model = named("vit_b_32").build().eval()
    # torchvision begins with a head of zeros, which would make all outputs equal.
    nn.init.normal_(model.get_submodule("heads.head").weight)  # type: ignore[arg-type]
    for side in (224, 96):
        theirs = vit_b_32(weights=None, image_size=side).eval()
        theirs.load_state_dict(interpolate_embeddings(side, 32, dict(model.state_dict())))
        x = torch.randn(1, 3, side, side)
        with torch.no_grad():
            torch.testing.assert_close(model(x), theirs(x))
    with torch.no_grad():
        assert model(torch.randn(1, 3, 100, 70)).shape == (1, 1000)


def test_a_vision_transformer_is_built_for_the_size_of_a_files_position_embedding(meta: torch.device) -> None:
    row = named("vit_b_16")
    assert row.build_for is not None
    with meta:
        tensors = {"encoder.pos_embedding": torch.empty(1, 1 + 24 * 24, 768)}
        model = row.build_for(tensors)
        usual = row.build_for({"conv_proj.weight": torch.empty(768, 3, 16, 16)})
    assert model.get_parameter("encoder.pos_embedding").shape == (1, 577, 768)
    assert model.image_size == 384
    assert usual.get_parameter("encoder.pos_embedding").shape == (1, 197, 768)


def test_googlenets_file_has_auxiliary_classifiers_and_the_network_none(meta: torch.device) -> None:
    from torchvision.models import googlenet

    row = named("googlenet")
    assert row.build_for is not None
    assert row.finish is not None
    with meta:
        state = googlenet(weights=None, aux_logits=True, init_weights=False).state_dict()
        model = row.build_for(state)
        model.load_state_dict(state)
    row.finish(model, None)
    assert sum(parameter.numel() for parameter in model.parameters()) == row.parameters
    assert model.transform_input
    assert not any("aux" in path for path, _ in model.named_modules())


@pytest.mark.parametrize(
    "name", ["maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_fpn"]
)
def test_a_detectors_keys_are_those_of_its_file(name: str, monkeypatch: pytest.MonkeyPatch, meta: torch.device) -> None:
    """Built as torchvision builds it for weights: with batch norm frozen, which has other keys."""
    from torchvision import models

    weights = models.get_model_weights(name).DEFAULT
    stopped: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda self, *_, **__: stopped.append(self))
    monkeypatch.setattr(type(weights), "get_state_dict", lambda *_, **__: {})
    with meta:
        models.get_model(name, weights=weights)
        built = named(name).build()
    assert {key: value.shape for key, value in built.state_dict().items()} == {
        key: value.shape for key, value in stopped[-1].state_dict().items()
    }
    frozen = [module for module in stopped[-1].modules() if type(module).__name__ == "FrozenBatchNorm2d"]
    assert len(frozen) == sum(type(module).__name__ == "FrozenBatchNorm2d" for module in built.modules()) > 0


def test_a_detector_sees_the_picture_as_it_is(sample: Path) -> None:
    """Neither resized nor padded, so that its maps lie on the picture; and its body is run on normalised colours."""
    session = Session("torchvision/fasterrcnn_mobilenet_v3_large_320_fpn", weights="random")
    capture = session.run(sample, preprocessing=session.preprocessing.whole(160))
    assert capture.input is not None
    height, width = capture.input.geometry.input_size
    assert tuple(capture["backbone.body.0.0"].tensor.shape[2:]) == (-(-height // 2), -(-width // 2))
    transform: Any = session.model.transform
    mean, std = (torch.tensor(values)[:, None, None] for values in (transform.image_mean, transform.image_std))
    with torch.no_grad():
        normalised = (capture.input.tensor - mean) / std
        first = session.model.get_submodule("backbone.body.0.0")(normalised)
    torch.testing.assert_close(capture["backbone.body.0.0"].tensor, first)
    assert {"C2", "C5", "P5", "P6"} <= set(capture.taps)
    assert not capture.predictions


def test_sizes_that_a_network_cannot_take_are_refused(sample: Path) -> None:
    session = Session("torchvision/maxvit_t", weights="random")
    with pytest.raises(BackboneError, match="224 × 224 and no other, for its windows are made for that size"):
        session.run(sample, preprocessing=session.preprocessing.at(256))
    with pytest.raises(BackboneError, match="at least 300"):
        layer_table("torchvision/ssd300_vgg16", 299)


@pytest.mark.parametrize("name", ["swin_t", "swin_v2_t", "vit_b_32", "squeezenet1_0", "ssdlite320_mobilenet_v3_large"])
def test_the_smallest_input_is_one(name: str) -> None:
    row = named(name)
    model = row.build().eval()
    x = torch.rand(1, 3, row.minimum_input, row.minimum_input + 7)
    with torch.no_grad():
        model(*row.arguments(x))


# ── Live models ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_tokens_of_a_live_vision_transformer_are_maps(wrapped: bool) -> None:
    from torchvision.models import VisionTransformer

    network = VisionTransformer(image_size=64, patch_size=16, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16)
    capture = Session(model=nn.Sequential(network) if wrapped else network).run(torch.rand(1, 3, 64, 64))
    inside = "0." if wrapped else ""
    block = capture[f"{inside}encoder.layers.encoder_layer_1"]
    assert block.tensor.shape == (1, 17, 8)
    assert torch.equal(block.maps, block.tensor[:, 1:].transpose(1, 2).reshape(1, 8, 4, 4))
    assert {tap: str(found.layer) for tap, found in capture.taps.items()} == {"C4": f"{inside}encoder"}
    assert f"{inside}encoder[class token]" in capture
    assert Session(model=network).table(64).row("encoder").stride == 16


def test_the_windows_of_a_live_maxvit_are_maps() -> None:
    from torchvision.models.maxvit import MaxVit

    network = MaxVit((56, 56), 8, 7, [8], [1], 4, 0.0, num_classes=5)
    capture = Session(model=network).run(torch.rand(1, 3, 56, 56))
    windows = [name for name in map(str, capture) if "window_attention" in name and capture[name].tensor.dim() == 4]
    assert windows
    assert any(capture[name].maps.shape[2:] == (14, 14) for name in windows if not capture[name].why_no_maps)
