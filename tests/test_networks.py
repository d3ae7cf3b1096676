"""Our networks are torchvision's, and their papers': keys, counts, outputs, initial values. The catalog: test_catalog.py."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fmviz.networks import resnet
from fmviz.networks.catalog import backbone
from fmviz.networks.efficientnet_lite import Conv2dSame
from fmviz.networks.fpn import FeaturePyramid, TopDownMerge, parameters
from fmviz.networks.network import build
from fmviz.networks.resnet import ResNet

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
VGGS = tuple(f"vgg{depth}{suffix}" for suffix in ("", "_bn") for depth in (11, 13, 16, 19))
SIZES = ((160, 160), (97, 131), (75, 225))


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return backbone(name).build()


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {key: (tensor.shape, tensor.dtype) for key, tensor in state.items()}


def torchvisions(name: str) -> nn.Module:
    """With random weights, and with batch norm statistics that matter."""
    import torchvision

    extra = {"init_weights": False} if name == "inception_v3" else {}
    with torch.device("meta"):
        model: nn.Module = getattr(torchvision.models, name)(weights=None, **extra)
    return filled(model).eval()


@torch.no_grad()
def filled(model: nn.Module) -> nn.Module:
    """A model from the meta device, with random values that keep a signal alive."""
    torch.manual_seed(1)
    model.to_empty(device="cpu")
    for key, tensor in model.state_dict().items():
        if tensor.dim() > 1:
            # A hundred million numbers take a second to draw: the first ones are repeated, in step with no row.
            drawn = torch.randn(min(tensor.numel(), 1_000_003)) * (2 / tensor[0].numel()) ** 0.5
            tensor.copy_(drawn.repeat(-(-tensor.numel() // drawn.numel()))[: tensor.numel()].view_as(tensor))
        elif key.endswith(("weight", "running_var")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.dim():
            tensor.normal_(0, 0.1)
    return model


def ours(name: str, state: Mapping[str, Tensor], *, strict: bool = True) -> nn.Module:
    """With the very tensors of `state`, under our own names for them."""
    model = on_meta(name)
    state = model.renamed(dict(state))  # type: ignore[operator]
    model.load_state_dict(state, assign=True, strict=strict)
    return model.eval()


def relative_error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


def test_stages_of_the_resnets_have_the_papers_parameters() -> None:
    counts = {
        18: (147_968, 525_568, 2_099_712, 8_393_728),
        34: (221_952, 1_116_416, 6_822_400, 13_114_368),
        50: (215_808, 1_219_584, 7_098_368, 14_964_736),
        101: (215_808, 1_219_584, 26_090_496, 14_964_736),
        152: (215_808, 2_339_840, 40_613_888, 14_964_736),
    }
    assert counts.keys() == resnet.BLOCKS.keys()
    for depth, stages in counts.items():
        model = on_meta(f"resnet{depth}")
        layers = (model.get_submodule(f"layer{number}") for number in (1, 2, 3, 4))
        assert tuple(sum(p.numel() for p in layer.parameters()) for layer in layers) == stages


def test_a_pyramid_over_resnet50_adds_the_papers_parameters() -> None:
    assert backbone("resnet50_fpn").parameters - backbone("resnet50").parameters == 3_344_384


# Against torchvision


@pytest.mark.parametrize("name", VGGS + RESNETS)
def test_keys_and_shapes_are_torchvisions(name: str) -> None:
    import torchvision

    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)(weights=None)
    assert list(shapes(on_meta(name).state_dict()).items()) == list(shapes(theirs.state_dict()).items())


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg11", "vgg11_bn", "inception_v3"])
def test_outputs_are_torchvisions(name: str) -> None:
    theirs = torchvisions(name)
    mine = ours(name, theirs.state_dict())
    for size in SIZES:
        picture = torch.randn(1, 3, *size)
        with torch.no_grad():
            assert relative_error(mine(picture), theirs(picture)) < 1e-5


@pytest.mark.parametrize("name", ["vgg13_bn", "resnet34", "resnet50", "inception_v3"])
def test_taps_are_torchvisions_maps(name: str) -> None:
    """The same paths in their network give the same maps, in the same order."""
    theirs = torchvisions(name)
    mine = ours(name, theirs.state_dict())
    found: dict[str, list[Tensor]] = {}
    for model in (theirs, mine):
        for tap, path in backbone(name).taps.items():
            model.get_submodule(path).register_forward_hook(
                lambda _m, _i, out, tap=tap: found.setdefault(tap, []).append(out)
            )
        with torch.no_grad():
            model(torch.ones(1, 3, 75, 80))
    assert list(found) == ["C2", "C3", "C4", "C5"]
    assert all(relative_error(mine_, theirs_) < 1e-5 for theirs_, mine_ in found.values())


@pytest.mark.parametrize("name", RESNETS)
def test_keys_of_a_pyramid_are_torchvisions(name: str) -> None:
    theirs = shapes(torchvisions_pyramid(name).state_dict())
    mine = shapes(on_meta(f"{name}_fpn").state_dict())
    assert theirs.items() <= mine.items()
    rest = mine.keys() - theirs.keys()
    assert all(key.endswith("num_batches_tracked") or key.startswith("body.fc.") for key in rest)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_pyramids_are_torchvisions(name: str) -> None:
    theirs = filled(torchvisions_pyramid(name)).eval()
    mine = ours(f"{name}_fpn", theirs.state_dict(), strict=False)
    for size in ((64, 64), (97, 131), (200, 300)):
        picture = torch.randn(1, 3, *size)
        with torch.no_grad():
            levels = mine.fpn(mine.body.stages(picture))  # type: ignore[operator, union-attr]
            wanted = theirs(picture)
        for level, other in zip(("P2", "P3", "P4", "P5", "P6"), ("0", "1", "2", "3", "pool"), strict=True):
            assert levels[level].shape == wanted[other].shape
            assert relative_error(levels[level], wanted[other]) < 1e-5


def torchvisions_pyramid(name: str) -> Any:
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    with torch.device("meta"):
        return resnet_fpn_backbone(backbone_name=name, weights=None)


def test_a_pyramid_takes_a_vggs_own_maps() -> None:
    """Stage by stage its blocks give what they give as one."""
    vgg = on_meta("vgg11_bn").eval()
    filled(vgg.features)  # type: ignore[arg-type]
    picture = torch.randn(1, 3, 97, 131)
    found: dict[str, Tensor] = {}
    for tap, path in backbone("vgg11_bn").taps.items():
        vgg.get_submodule(path).register_forward_hook(lambda _m, _i, out, tap=tap: found.__setitem__(tap, out))
    with torch.no_grad():
        vgg.features(picture)  # type: ignore[operator]
        as_one = dict(found)
        stages = vgg.stages(picture)  # type: ignore[operator]
    assert stages.keys() == as_one.keys() == {"C2", "C3", "C4", "C5"}
    assert all(torch.equal(stages[tap], as_one[tap]) for tap in stages)


def test_levels_of_an_odd_picture() -> None:
    with torch.no_grad():
        output = on_meta("resnet18_fpn").eval()(torch.empty(1, 3, 200, 300, device="meta"))
    sizes = [tuple(output[level].shape[-2:]) for level in ("P2", "P3", "P4", "P5", "P6")]
    assert sizes == [(50, 75), (25, 38), (13, 19), (7, 10), (4, 5)]


def test_a_pyramid_keeps_its_bodys_classifier() -> None:
    model = backbone("resnet18_fpn").build().eval()
    picture = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(picture)["logits"], model.body(picture))  # type: ignore[operator]


# Options


def test_a_stride_on_the_first_convolution_is_the_papers() -> None:
    """torchvision's network, its strides moved by hand."""
    theirs = torchvisions("resnet50")
    for stage in ("layer2.0", "layer3.0", "layer4.0"):
        theirs.get_submodule(f"{stage}.conv1").stride = (2, 2)
        theirs.get_submodule(f"{stage}.conv2").stride = (1, 1)
    with torch.device("meta"):
        mine = build(partial(ResNet, 50, stride_on="1x1"))
    mine.load_state_dict(theirs.state_dict(), assign=True)
    other = ours("resnet50", theirs.state_dict())
    picture = torch.randn(1, 3, 97, 131)
    with torch.no_grad():
        wanted = theirs(picture)
        assert relative_error(mine.eval()(picture), wanted) < 1e-5
        assert relative_error(other(picture), wanted) > 1e-2


def stages_of(*channels: int) -> dict[str, Tensor]:
    """Maps as an odd picture has them, 200 × 300."""
    sizes = ((50, 75), (25, 38), (13, 19), (7, 10))
    return {f"C{i}": torch.randn(1, c, *size) for i, (c, size) in enumerate(zip(channels, sizes, strict=True), start=2)}


def test_a_shared_output_is_one_convolution_for_all_levels() -> None:
    fpn = FeaturePyramid((4, 8, 16, 32), width=8, shared_output=True)
    stages = stages_of(4, 8, 16, 32)
    merged: dict[str, Tensor] = {"P5": fpn.inner_blocks[3](stages["C5"])}
    for level in ("4", "3", "2"):
        fpn.top_down[f"M{level}"].register_forward_hook(lambda _m, _i, out, to=f"P{level}": merged.__setitem__(to, out))
    found = fpn(stages)
    one = fpn.layer_blocks[0][0]  # type: ignore[index]
    assert all(torch.equal(found[level], one(merged[level])) for level in ("P2", "P3", "P4", "P5"))
    counted = sum(parameter.numel() for parameter in fpn.parameters())
    assert counted == parameters((4, 8, 16, 32), width=8, shared_output=True)
    assert parameters((4, 8, 16, 32), width=8) - counted == 3 * (9 * 8 * 8 + 8)


def test_bilinear_enlarging_keeps_the_corners_and_differs_between_them() -> None:
    lateral, coarser = torch.zeros(1, 2, 13, 19), torch.randn(1, 2, 7, 10)
    enlarged = TopDownMerge(upsampling="bilinear")(lateral, coarser)
    for row in (0, -1):
        for column in (0, -1):
            assert torch.allclose(enlarged[..., row, column], coarser[..., row, column])
    assert torch.allclose(enlarged[..., 6, 9], coarser[..., 3, 4:6].mean(-1), atol=1e-6)
    assert not torch.allclose(enlarged, TopDownMerge()(lateral, coarser), atol=0.1)


# EfficientNet


@settings(deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    kernel=st.sampled_from((1, 3, 5)),
    stride=st.sampled_from((1, 2)),
)
def test_same_padding_is_tensorflows(height: int, width: int, kernel: int, stride: int) -> None:
    convolution = Conv2dSame(1, 1, kernel, stride=stride, bias=False)
    picture = torch.randn(1, 1, height, width)
    pads = []
    for length in (width, height):
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        pads += [total // 2, total - total // 2]
    with torch.no_grad():
        found = convolution(picture)
        wanted = F.conv2d(F.pad(picture, pads), convolution.weight, stride=stride)
    assert found.shape[-2:] == (-(-height // stride), -(-width // stride))
    assert torch.allclose(found, wanted, atol=1e-6)


# Initialisation


def test_random_values_have_torchvisions_distribution() -> None:
    import torchvision

    torch.manual_seed(3)
    mine = backbone("resnet18").build().state_dict()
    theirs = torchvision.models.resnet18(weights=None).state_dict()
    for key in mine:
        drawn, wanted = mine[key].double(), theirs[key].double()
        if wanted.numel() > 2000:
            assert drawn.std().item() == pytest.approx(wanted.std().item(), rel=0.05), key
            assert abs(drawn.mean() - wanted.mean()).item() < 0.1 * wanted.std().item(), key
            assert drawn.abs().max().item() == pytest.approx(wanted.abs().max().item(), rel=0.5), key
        elif not key.startswith("fc."):
            assert torch.equal(drawn, wanted), key


def test_no_parameter_is_left_without_a_value() -> None:
    """`torch.empty` filled with NaN shows what an initialisation forgets."""
    torch.use_deterministic_algorithms(True)
    try:
        models = [
            backbone(name).build()
            for name in ("efficientnet_lite0_fpn", "resnet18_fpn", "inception_v1_fpn", "inception_v2")
        ]
    finally:
        torch.use_deterministic_algorithms(False)
    for model in models:
        assert not any(tensor.isnan().any() for tensor in model.state_dict().values())


def test_a_signal_lives_through_random_weights() -> None:
    torch.manual_seed(4)
    model = backbone("efficientnet_lite0").build().eval()
    with torch.no_grad():
        c5 = model.stages(torch.randn(1, 3, 64, 64))["C5"]  # type: ignore[operator]
    assert 1e-3 < c5.std() < 1e3


def test_building_on_meta_imports_no_compiler() -> None:
    """torch._dynamo takes a second; only a fresh process can tell."""
    import subprocess

    names = (
        "efficientnet_lite0_fpn",
        "resnet18",
        "vgg11",
        "inception_v1",
        "inception_v2",
        "inception_v3",
        "article/fpn",
    )
    code = (
        "import sys, torch\n"
        "from fmviz.networks.catalog import backbone\n"
        "with torch.device('meta'):\n"
        f"    models = [backbone(name).build() for name in {names}]\n"
        "print(len(models), 'torch._dynamo' in sys.modules, 'torchvision' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(names)), "False", "False"]
