"""The catalog checks itself: every row of ours is what it says, and the README says the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fmviz
from fmviz.defaults import BACKBONE
from fmviz.errors import BackboneError
from fmviz.networks import article
from fmviz.networks.backbone import Backbone
from fmviz.networks.catalog import backbone, backbones
from fmviz.networks.offers import published
from fmviz.preprocess import IMAGENET

README = Path(fmviz.__file__).parents[1] / "README.md"

PUBLISHED = {
    "efficientnet_lite0": 4_652_008,
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032,
    "resnet101": 44_549_160, "resnet152": 60_192_808,
    "vgg11": 132_863_336, "vgg13": 133_047_848, "vgg16": 138_357_544, "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840, "vgg13_bn": 133_053_736, "vgg16_bn": 138_365_992, "vgg19_bn": 143_678_248,
    "inception_v1": 6_998_552, "inception_v2": 11_285_224, "inception_v3": 23_834_568,
}  # fmt: skip
"""Of each classifier, from its paper's tables or torchvision's metadata."""

STAGES = {
    "efficientnet_lite0": (24, 40, 112, 320),
    "resnet18": (64, 128, 256, 512), "resnet34": (64, 128, 256, 512),
    "resnet50": (256, 512, 1024, 2048), "resnet101": (256, 512, 1024, 2048), "resnet152": (256, 512, 1024, 2048),
    **{name: (128, 256, 512, 512) for name in PUBLISHED if name.startswith("vgg")},
    "inception_v1": (192, 480, 832, 1024), "inception_v2": (192, 320, 608, 1024), "inception_v3": (192, 288, 768, 2048),
}  # fmt: skip
"""Channels of C2–C5."""


def stages_of(name: str) -> tuple[int, ...]:
    """Of a network of ours, its pyramid, or the article's version of it."""
    body = name.removeprefix("article/").removesuffix("_fpn")
    return STAGES["resnet50" if body == "fpn" else body]


OUTPUT_3X3 = 9 * 256 * 256 + 256


def width(name: str) -> int:
    """Channels of the pyramid's levels: of the network that fmviz starts with fewer than in the paper."""
    return 64 if name.startswith("efficientnet_lite0") else 256


def laterals(name: str) -> int:
    return sum(channels * width(name) + width(name) for channels in STAGES[name])


def outputs(name: str) -> int:
    return 4 * (9 * width(name) * width(name) + width(name))


ARTICLE = {
    # Where the paper has 7 × 7 cells before the classifier, and 1 after a mean of all, the article has 4 × 4 and 2 × 2.
    "article/vgg19": PUBLISHED["vgg19"] - (49 - 16) * 512 * 4096,
    "article/inception_v1": PUBLISHED["inception_v1"] + (4 - 1) * 1024 * 1000,
    "article/resnet50": PUBLISHED["resnet50"],
    "article/fpn": PUBLISHED["resnet50"] + laterals("resnet50") + OUTPUT_3X3,
}
PARAMETERS = (
    {f"{name}_fpn": count + laterals(name) + outputs(name) for name, count in PUBLISHED.items()} | PUBLISHED | ARTICLE
)

OURS = tuple(PARAMETERS)


@cache
def on_meta(name: str) -> nn.Module:
    """Built once for all tests, none of which changes it."""
    with torch.device("meta"):
        return backbone(name).build().eval()


def run(model: nn.Module, *size: int) -> Tensor:
    """The logits, without values."""
    with torch.no_grad():
        output = model(torch.empty(1, 3, *size, device="meta"))
    logits: Tensor = output["logits"] if isinstance(output, Mapping) else output
    return logits


def tapped(row: Backbone, model: nn.Module, *size: int) -> dict[str, Tensor]:
    maps: dict[str, Tensor] = {}
    handles = [
        model.get_submodule(path).register_forward_hook(lambda _m, _i, out, tap=tap: maps.__setitem__(tap, out))
        for tap, path in row.taps.items()
    ]
    run(model, *size)
    for handle in handles:
        handle.remove()
    assert maps.keys() == row.taps.keys()
    return maps


# Names


def test_the_shelf_holds_every_network_in_its_order() -> None:
    names = backbones()
    assert names[0] == BACKBONE == "efficientnet_lite0_fpn"
    assert len(set(names)) == len(names)
    ours = [name for name in names if backbone(name).group in ("papers", "article")]
    assert set(ours) == set(OURS)
    assert tuple(ours) == names[: len(ours)]
    kinds = [2 if name.startswith("article/") else not backbone(name).pyramid for name in ours]
    assert kinds == sorted(kinds)
    assert {name.removeprefix("torchvision/") for name in names[len(ours) :]} == set(published())


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(BackboneError, match=r"no backbone “resnet-50”: did you mean .*resnet50"):
        backbone("resnet-50")
    with pytest.raises(BackboneError, match="“fmviz backbones” lists them all"):
        backbone("zzz")


def test_other_peoples_networks_are_asked_for_by_what_their_names_begin_with(tmp_path: Path) -> None:
    assert backbone("torchvision/alexnet").group == "torchvision"
    with pytest.raises(BackboneError, match=r"torchvision.*resnet_50"):
        backbone("torchvision/resnet_50")
    with pytest.raises(BackboneError, match=r"absent\.py"):
        backbone(f"own:{tmp_path / 'absent.py'}:build")


def test_rows_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        backbone("vgg11").taps["C2"] = "elsewhere"  # type: ignore[index]


# Every row


@pytest.mark.parametrize("name", OURS)
def test_a_row_is_true(name: str) -> None:
    row, model = backbone(name), on_meta(name)
    assert row.name == name
    assert row.parameters == sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]
    assert row.weights[-1] == "random"
    assert not any(getattr(module, "inplace", False) for module in model.modules())
    assert row.group == ("article" if name.startswith("article/") else "papers")
    assert row.pyramid == name.endswith("fpn")
    levels = ["M2", "M3", "M4", "M5", "P2", "P3", "P4", "P5", "P6"][: 8 if row.group == "article" else None]
    assert list(row.taps) == ["C2", "C3", "C4", "C5", *(levels if row.pyramid else [])]
    assert re.fullmatch(r"\d{4}\.\d{4,5}", row.paper)
    assert int(row.paper[:2]) + 2000 == row.year


@pytest.mark.parametrize("name", OURS)
def test_its_taps_have_the_strides_of_their_names(name: str) -> None:
    """Odd sizes, one side three times the other; 128 pixels more are 32 cells more of C2, whatever edges take away."""
    row, model = backbone(name), on_meta(name)
    if row.only_input:
        maps = tapped(row, model, 128, 128)
        assert {tap: tensor.shape[-1] for tap, tensor in maps.items()} == {tap: 128 >> int(tap[1]) for tap in maps}
    else:
        maps, larger = tapped(row, model, 97, 291), tapped(row, model, 97 + 128, 291 + 256)
        for tap, tensor in maps.items():
            grown = [after - before for before, after in zip(tensor.shape[-2:], larger[tap].shape[-2:], strict=True)]
            assert grown == [128 >> int(tap[1]), 256 >> int(tap[1])], tap
    assert tuple(maps[tap].shape[1] for tap in ("C2", "C3", "C4", "C5")) == stages_of(name)
    assert all(tensor.shape[1] == width(name) for tap, tensor in maps.items() if tap[0] != "C")


@pytest.mark.parametrize("name", OURS)
def test_it_runs_from_its_smallest_input_on_and_not_below(name: str) -> None:
    row, model = backbone(name), on_meta(name)
    least = row.minimum_input
    assert run(model, least, least).shape == (1, 1000)
    assert row.why_not((least, least)) == ""
    if least > 1 and not row.only_input:
        for size in ((least - 1, least), (least, least - 1)):
            with pytest.raises(RuntimeError):
                run(model, *size)
            assert f"needs at least {least}" in row.why_not(size)


@pytest.mark.parametrize("name", [name for name in OURS if name in published()])
def test_offers_and_facts_are_those_that_are_published(name: str) -> None:
    row, theirs = backbone(name), published()[name]
    assert [offer.file_name for offer in row.offers] == [o.file_name for o in theirs.offers if o.classes]
    assert all(offer.classes == "imagenet" and offer.top1 for offer in row.offers)
    assert row.macs
    # Theirs has the auxiliary classifier, which ours leaves out.
    assert row.parameters == theirs.parameters - (3_326_696 if name == "inception_v3" else 0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_pyramid_has_its_bodys_weights_and_feeding(name: str) -> None:
    body, pyramid = backbone(name), backbone(f"{name}_fpn")
    assert pyramid.offers[-len(body.offers) or len(pyramid.offers) :] == body.offers
    assert pyramid.preprocessing == body.preprocessing
    assert pyramid.minimum_input == body.minimum_input


def test_a_detectors_file_is_the_first_choice_for_the_pyramid_that_it_trained() -> None:
    detected = [name for name in OURS if any("COCO" in offer.name for offer in backbone(name).offers)]
    assert detected == ["resnet50_fpn"]
    first = backbone("resnet50_fpn").offers[0]
    assert first.file_name == published()["fasterrcnn_resnet50_fpn"].offers[0].file_name
    assert (first.frozen_eps, first.classes) == (0.0, "")
    # The detector normalises by itself; a body that is taken out of it has to be fed what that makes.
    assert first.preprocessing == IMAGENET.whole(800)


# The article's


@pytest.mark.parametrize("name", ARTICLE)
def test_the_articles_networks_say_how_they_differ(name: str) -> None:
    row = backbone(name)
    assert "Unlike the paper's" in row.about or "mended" in row.about
    assert row.preprocessing.crop == article.SIZE == 128
    if name != "article/fpn":
        assert row.offers == ()
        assert "takes 128 × 128 and no other, for its classifier is a linear layer" in row.why_not((224, 224))
        with pytest.raises(BackboneError, match="takes 128 × 128 and no other"):
            fmviz.layer_table(name, 224)
        assert fmviz.layer_table(name).input_size == (128, 128)


def test_the_articles_resnet_is_torchvisions_without_one_relu() -> None:
    from torchvision import models

    torch.manual_seed(5)
    ours = backbone("article/resnet50").build().eval()
    theirs = models.resnet50(weights=None).eval()
    theirs.load_state_dict(ours.state_dict())
    picture = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        found = ours(picture)
        assert not torch.allclose(found, theirs(picture), rtol=1e-2)
        theirs.relu = nn.Identity()
        assert torch.allclose(found, theirs(picture), rtol=1e-4, atol=1e-5)


def test_the_articles_inception_is_as_printed() -> None:
    model = on_meta("article/inception_v1")
    for number in (1, 2, 3, 4):
        pool = model.get_submodule(f"pool{number}")
        assert isinstance(pool, nn.MaxPool2d)
        assert (pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode) == (3, 2, 1, False)
    norms = [model.get_submodule(name) for name in ("norm1", "norm2")]
    assert [norm.size for norm in norms if isinstance(norm, nn.LocalResponseNorm)] == [64, 192]
    with torch.device("meta"):
        trained = article.ArticleInceptionV1(classes=7, auxiliary=True).train()
        output = trained(torch.empty(2, 3, 128, 128))
    assert {name: tuple(logits.shape) for name, logits in output.items()} == dict.fromkeys(
        ("logits", "auxiliary1", "auxiliary2"), (2, 7)
    )


def test_the_articles_pyramid_is_as_printed() -> None:
    """Written out by hand, with the values of ours."""
    torch.manual_seed(6)
    model = backbone("article/fpn").build().eval()
    picture = torch.randn(1, 3, 97, 131)
    with torch.no_grad():
        stages = model.body.stages(picture)  # type: ignore[operator, union-attr]
        found = model(picture)
        merged: Tensor | None = None
        for stage, lateral in zip((5, 4, 3, 2), reversed(model.fpn.inner_blocks), strict=True):  # type: ignore[union-attr, arg-type]
            side = lateral(stages[f"C{stage}"])
            if merged is not None:
                side = side + F.interpolate(merged, side.shape[-2:], mode="bilinear", align_corners=True)
            merged = side
            output = model.fpn.layer_blocks[0][0](merged)  # type: ignore[union-attr, index]
            assert torch.allclose(found[f"P{stage}"], output, atol=1e-4)
    assert found.keys() == {"logits", "P2", "P3", "P4", "P5"}


# The README


def test_the_readme_has_the_table_of_networks() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| name | paper | parameters |")) + 2
    found = {}
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        name, *facts = (cell.strip() for cell in line.strip("|").split("|"))
        found[name.strip("`")] = facts
    assert list(found) == [name for name in backbones() if name in found]
    assert found == {name: readme_facts(name) for name in (*PUBLISHED, *ARTICLE)}


def readme_facts(name: str) -> list[str]:
    """Paper, parameters, parameters with the pyramid, top-1 of the best weights."""
    row = backbone(name)
    pyramid = f"{backbone(f'{name}_fpn').parameters:,}" if name in PUBLISHED else "–"
    scores = [f"{offer.top1:.1f}" for offer in row.offers if offer.top1 and name in PUBLISHED]
    link = f"[{row.paper}](https://arxiv.org/abs/{row.paper})"
    return [link, f"{row.parameters:,}", pyramid, scores[0] if scores else "–"]
