"""timm's networks, where timm is installed: fed as timm feeds them, tokens on their grid, and no word over the network."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from fmviz.errors import BackboneError
from fmviz.networks import timm as ours
from fmviz.networks.catalog import backbone, backbones
from fmviz.preprocess import preprocess
from fmviz.session import Session
from fmviz.table import layer_table


@pytest.fixture(scope="module")
def timm() -> Any:
    return pytest.importorskip("timm", reason="timm is an extra, and is not installed")


def test_without_timm_a_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "find_spec", lambda name: None)
    ours.names.cache_clear()
    try:
        assert not ours.installed()
        assert ours.names() == ()
        with pytest.raises(BackboneError, match=r"pip install “fmviz\[timm\]”"):
            backbone("timm/resnet18")
    finally:
        ours.names.cache_clear()


def test_looking_for_timm_does_not_import_it(python: list[str]) -> None:
    code = "import sys; from fmviz.networks import timm; timm.installed(); assert 'timm' not in sys.modules"
    subprocess.run([*python, "-W", "error", "-c", code], check=True, timeout=120)


def test_its_hundreds_are_not_among_the_catalogs(timm: Any) -> None:
    assert ours.names() == tuple(timm.list_models())
    assert not any(name.startswith("timm/") for name in backbones())
    with pytest.raises(BackboneError, match="did you mean timm/resnet18"):
        backbone("timm/resnet18x")


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "vit_tiny_patch16_224"])
def test_pictures_are_fed_as_timm_feeds_them(timm: Any, name: str, sample: Path) -> None:
    from PIL import Image
    from timm.data import create_transform, resolve_data_config
    from timm.models import get_pretrained_cfg

    from fmviz.pictures import read_picture

    picture = Image.open(sample).convert("RGB")
    wanted = resolve_data_config(pretrained_cfg=get_pretrained_cfg(name).to_dict())
    row = backbone(f"timm/{name}")
    fed = preprocess(read_picture(picture), row.preprocessing)
    torch.testing.assert_close(fed.tensor[0], create_transform(**wanted, is_training=False)(picture), atol=1e-6, rtol=0)
    assert row.weights == ("random",)
    assert row.parts == {"classifier": {"resnet18": "fc", "convnext_atto": "head.fc"}.get(name, "head")}


def test_stages_and_table(timm: Any) -> None:
    assert backbone("timm/resnet18").taps == {"C2": "layer1", "C3": "layer2", "C4": "layer3", "C5": "layer4"}
    assert backbone("timm/convnext_atto").taps["C4"] == "stages.2"
    table = layer_table("timm/resnet18", 64)
    assert table.totals.parameters == 11_689_512
    assert table.row("layer2").stride == 8


def test_class_and_register_tokens_are_apart(timm: Any) -> None:
    session = Session("timm/deit_tiny_distilled_patch16_224")
    capture = session.run(torch.rand(1, 3, 224, 224))
    block = capture["blocks.3"]
    assert block.tensor.shape == (1, 198, 192)
    assert torch.equal(block.maps, block.tensor[:, 2:].transpose(1, 2).reshape(1, 192, 14, 14))
    assert torch.equal(capture["blocks.3[class token]"].tensor, block.tensor[:, 0])
    assert torch.equal(capture["blocks.3[distillation token]"].tensor, block.tensor[:, 1])
    assert list(capture.taps) == ["C4"]
    by_heads = [one for one in capture.values() if one.tensor.dim() == 4 and one.tensor.shape[1] == 3]
    assert by_heads
    assert all("attention" in one.why_no_maps for one in by_heads)
    with pytest.raises(BackboneError, match="224 × 224 and no other"):
        session.run(torch.rand(1, 3, 256, 256))


def test_registers_are_counted(timm: Any) -> None:
    assert ours._patches("vit_small_patch14_reg4_dinov2") == (
        (14, 14),
        ("class token", "register token 1", "register token 2", "register token 3", "register token 4"),
    )


def test_channels_last_maps_of_swin_are_maps(timm: Any) -> None:
    session = Session("timm/swin_tiny_patch4_window7_224")
    capture = session.run(torch.rand(1, 3, 224, 224))
    assert {tap: tuple(found.maps.shape) for tap, found in capture.taps.items()} == {
        "C2": (1, 96, 56, 56),
        "C3": (1, 192, 28, 28),
        "C4": (1, 384, 14, 14),
        "C5": (1, 768, 7, 7),
    }
    assert not any(activation.kind == "Softmax" and not activation.why_no_maps for activation in capture.values())
