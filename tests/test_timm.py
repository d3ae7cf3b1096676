"""timm's networks, where timm is installed: fed as timm feeds them, tokens on their grid, and no word over the network."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fmviz import own_model, trust
from fmviz.capture import capture_activations
from fmviz.errors import BackboneError
from fmviz.networks import timm as ours
from fmviz.networks.backbone import Backbone
from fmviz.networks.catalog import backbone, backbones
from fmviz.networks.network import WithoutInitialisation
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
    assert ours._facts("vit_small_patch14_reg4_dinov2").prefix == (
        "class token",
        "register token 1",
        "register token 2",
        "register token 3",
        "register token 4",
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


# ── Stages, beside those of timm's networks for features only ─────────────────────────────────────────────────────────


def names_in(text: str) -> tuple[str, ...]:
    return tuple(text.split())


SMALL = names_in("""
beit_base_patch16_224 halonet_h1 lambda_resnet26t test_byobnet mobileone_s0 cait_xxs24_224 coat_tiny coat_lite_tiny
convit_tiny convmixer_768_32 convmixer_1024_20_ks9_p14 test_convnext cpubone_nano crossvit_tiny_240 csatv2
cs3darknet_s darknet17 cspnext_tiny davit_tiny deit_tiny_distilled_patch16_224 densenet121 dla34 dla60_res2next dpn68
edgenext_xx_small efficientformer_l1 efficientformerv2_s0 test_efficientnet efficientvim_m1 efficientvit_b0
efficientvit_l1 efficientvit_m0 eva02_tiny_patch14_224 vit_pe_core_tiny_patch16_384 fasternet_t0 fastvit_t8
focalnet_tiny_srf gcvit_xxtiny ghostnet_050 ghostnetv3_050 hardcorenas_a hgnetv2_b0 hiera_tiny_224 sam2_hiera_tiny
hrnet_w18_small iformer_t inception_next_atto inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small levit_128
levit_384_s8 levit_conv_128 lowformer_b0 test_mambaout test_maxvit test_coatnet coatnet_nano_cc_224 poolformer_s12
caformer_s18 gmlp_ti16_224 mixer_s32_224 mobilenetv3_small_050 lcnet_050 mobilevit_xxs mobilevitv2_050 mvitv2_tiny
mvitv2_small_cls naflexvit_base_patch16_gap nasnetalarge nest_tiny nextvit_small test_nfnet nf_regnet_b0 pit_ti_224
pit_ti_distilled_224 pnasnet5large pvt_v2_b0 qwen3_vit_88m_enc qwen3_vit_88m qwen3_vit_88m_merge rdnet_tiny
regnetx_002 repghostnet_050 repvit_m0_9 res2net50_14w_8s resnest14d test_resnet resnetv2_50d rexnet_100 rexnetr_100
selecsls42 legacy_seresnet18 sequencer2d_s shvit_s1 skresnet18 starnet_s050 swiftformer_xs
swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_ns_224 tiny_vit_5m_224 tnt_s_legacy_patch16_224
tnt_s_patch16_224 tresnet_m twins_svt_small twins_pcpvt_small vgg11 visformer_tiny test_vit test_vit4
vit_tiny_r_s16_p8_224 vit_small_resnet26d_224 test_vit_relpos samvit_base_patch16_224 vitamin_small_224 volo_d1_224
ese_vovnet19b_slim legacy_xception xception41 xcit_nano_12_p8_224 xcit_nano_12_p16_224
""")
"""The smallest network of each family of timm; several of families whose networks differ in layout."""

LARGE = ("deepseek_vit_412m_enc", "gemma4_vit_167m_enc", "mobilenetv5_300m_enc")
"""The smallest networks of families without small ones: their features are compared by shape, without values."""

DEFAULT = names_in("""
coat_lite_tiny crossvit_tiny_240 efficientformerv2_s0 gcvit_xxtiny hiera_tiny_224 hrnet_w18_small inception_v3
levit_128 mvitv2_tiny test_convnext test_efficientnet test_resnet test_vit twins_svt_small
""")
"""Compared without `--long` too."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "compared" in metafunc.fixturenames:
        metafunc.parametrize("compared", SMALL if metafunc.config.getoption("--long") else DEFAULT)


def test_stages_hold_the_values_of_timms_features(timm: Any, compared: str) -> None:
    """The same weights in the plain network and in timm's network for features only, on the same input."""
    if compared not in ours.names():
        pytest.skip(f"timm {timm.__version__} has no {compared}")
    row = backbone(f"timm/{compared}")
    size = (size_of(row),) * 2
    network, features = with_random_values(row.build()), features_only(timm, compared)
    take_values(features, network)
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = by_stage(features, features(image))
    assert row.token_grid is not None
    capture = capture_activations(network, image).annotated(taps=row.taps, tokens=row.token_grid(size))
    assert set(capture.taps) == set(wanted)
    for stage, feature in wanted.items():
        assert feature.isfinite().all()
        torch.testing.assert_close(capture.taps[stage].maps, feature, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LARGE)
def test_stages_of_large_networks_have_the_shapes_of_timms_features(timm: Any, name: str, long: bool) -> None:
    if not long or name not in ours.names():
        pytest.skip("a network of hundreds of millions of parameters, for --long")
    assert_same_shapes(timm, name)


def test_features_of_an_encoder_are_found_in_the_network_around_it(timm: Any, long: bool) -> None:
    """Without values timm's network for features only stops, and the whole network does not."""
    if not long or "gemma4_vit_167m" not in ours.names():
        pytest.skip("a network of hundreds of millions of parameters, for --long")
    assert dict(backbone("timm/gemma4_vit_167m").taps) == {"C4": "encoder.blocks.15"}


def test_stages_of_families_that_are_not_listed_here(timm: Any, long: bool) -> None:
    """Those of other versions of timm."""
    if not long:
        pytest.skip("for --long: every family is built once")
    for family in sorted(
        set(timm.list_modules()) - {family_of(name) for name in (*SMALL, *LARGE) if name in ours.names()}
    ):
        assert_same_shapes(timm, timm.list_models(module=family)[0])


def assert_same_shapes(timm: Any, name: str) -> None:
    row = backbone(f"timm/{name}")
    size = (size_of(row),) * 2
    features = features_only(timm, name).to("meta")
    with torch.no_grad(), torch.device("meta"):
        wanted = by_stage(features, features(torch.empty(1, 3, *size)))
    table = layer_table(f"timm/{name}", size[0])
    assert set(row.taps) == set(wanted)
    for stage, path in row.taps.items():
        module, _, _ = path.partition("[")
        assert table.row(module).stride == pytest.approx(size[0] / wanted[stage].shape[-1], rel=0.05), stage


def family_of(name: str) -> str:
    from timm.models import model_entrypoint

    return str(model_entrypoint(name).__module__.rpartition(".")[2])


def size_of(row: Backbone) -> int:
    return row.only_input or max(row.preprocessing.crop, row.minimum_input)


def features_only(timm: Any, name: str) -> Any:
    with WithoutInitialisation():
        listed = timm.create_model(name, features_only=True).feature_info.info
        # TResNet's first has no module.
        indices = tuple(index for index, feature in enumerate(listed) if feature["module"])
        return timm.create_model(name, features_only=True, out_indices=indices).eval()


def by_stage(network: Any, features: Any) -> dict[str, torch.Tensor]:
    """The last feature at each stride of C2–C5; of patches of 14 pixels, the stage that is nearest."""
    features = list(features.values()) if isinstance(features, dict) else features
    if getattr(network, "output_fmt", "NCHW") == "NHWC":
        features = [feature.permute(0, 3, 1, 2) for feature in features]
    nearest = [2 ** round(math.log2(reduction)) for reduction in network.feature_info.reduction()]
    names = {4: "C2", 8: "C3", 16: "C4", 32: "C5"}
    return {names[one]: feature for one, feature in zip(nearest, features, strict=True) if one in names}


def with_random_values(network: nn.Module) -> nn.Module:
    """Values that make every layer's output different: as networks are initialised, some blocks only pass their input on."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter[0].numel() ** -0.5)
            else:
                parameter.copy_(torch.rand(parameter.shape, generator=generator) * 0.6 + 0.7)
    return network.eval()


def take_values(features: nn.Module, network: nn.Module) -> None:
    """Copy parameters and buffers; timm's networks for features only wrap the network, or flatten its first two levels."""
    values = network.state_dict()
    flattened = {path.replace(".", "_"): path for path, _ in network.named_modules() if path.count(".") == 1}
    with torch.no_grad():
        for key, tensor in features.state_dict().items():
            first, _, rest = key.partition(".")
            plain = f"{flattened.get(first, first)}.{rest}" if key not in values else key
            tensor.copy_(values[plain if plain in values else rest])


def test_stages_where_tables_and_branches_were_taken_for_them(timm: Any) -> None:
    assert dict(backbone("timm/gcvit_xtiny").taps) == {f"C{i + 2}": f"stages.{i}" for i in range(4)}
    assert dict(backbone("timm/inception_v4").taps) == {
        "C2": "features.3",
        "C3": "features.9",
        "C4": "features.17",
        "C5": "features.21",
    }
    assert dict(backbone("timm/coat_tiny").taps) == {
        "C2": "serial_blocks1.1",
        "C3": "parallel_blocks.5[1]",
        "C4": "parallel_blocks.5[2]",
        "C5": "parallel_blocks.5[3]",
    }
    assert dict(backbone("timm/naflexvit_base_patch16_gap").taps) == {"C4": "blocks.11"}


def test_the_order_of_hieras_tokens_is_undone(timm: Any) -> None:
    """An input that is bright in one corner gives maps that differ there, at every stage."""
    session = Session("timm/hiera_tiny_224")
    dark = torch.zeros(1, 3, 224, 224)
    bright = dark.clone()
    bright[..., :32, 192:] = 4
    captures = [session.run(image) for image in (dark, bright)]
    for stage in ("C2", "C3"):
        change = torch.subtract(*(capture.taps[stage].maps for capture in captures)).abs().sum(dim=(0, 1))
        # That of the corner itself, and of those beside it, into which the convolution reaches.
        cells = 2 * change.shape[0] // 7
        assert change[:cells, -cells:].sum() > 0.99 * change.sum() > 0, stage


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "levit_128", "hrnet_w18_small"])
def test_a_live_network_of_timms_has_the_taps_of_the_one_by_name(timm: Any, name: str) -> None:
    image = torch.rand(1, 3, 224, 224)
    network = timm.create_model(name)
    live = Session(model=network).run(image)
    assert {tap: str(found.layer) for tap, found in live.taps.items()} == dict(backbone(f"timm/{name}").taps)
    shapes = {tap: found.maps.shape for tap, found in live.taps.items()}
    wrapped = Session(model=nn.Sequential(nn.Identity(), network)).run(image)
    assert {tap: found.maps.shape for tap, found in wrapped.taps.items()} == shapes
    assert {str(found.layer) for found in wrapped.taps.values()} == {f"1.{found.layer}" for found in live.taps.values()}


@pytest.mark.parametrize("name", ["vgg11", "test_vit", "test_efficientnet", "pit_ti_224"])
def test_a_live_network_for_features_only_has_taps(timm: Any, name: str) -> None:
    side = size_of(backbone(f"timm/{name}"))
    network = timm.create_model(name, features_only=True)
    capture = Session(model=network).run(torch.rand(1, 3, side, side))
    with torch.no_grad():
        channels = dict(zip(network.feature_info.reduction(), network.feature_info.channels(), strict=True))
    names = {4: "C2", 8: "C3", 16: "C4", 32: "C5"}
    wanted = {names[one]: count for one, count in channels.items() if one in names}
    assert {tap: found.maps.shape[1] for tap, found in capture.taps.items()} == wanted


def test_a_file_that_builds_a_network_of_timms_has_its_taps_and_strides(
    timm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FMVIZ_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "mine.py"
    path.write_text("import timm\n\ndef build():\n    return timm.create_model('levit_128')\n")
    own = f"own:{path}:build"
    trust.trust(path, own_model.read(path)[1])
    capture = Session(own).run(torch.rand(1, 3, 224, 224))
    assert {tap: str(found.layer) for tap, found in capture.taps.items()} == {"C4": "stages.0", "C5": "stages.1"}
    table = layer_table(own, 224)
    assert (table.row("stages.0").stride, table.row("stages.1").stride) == (16, 32)
