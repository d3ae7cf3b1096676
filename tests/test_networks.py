"""Our networks are torchvision's, and their papers': keys, counts, outputs, taps."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fmviz.errors import BackboneError
from fmviz.networks import resnet
from fmviz.networks.catalog import backbone, backbones
from fmviz.networks.efficientnet_lite import Conv2dSame

NAMES = backbones()
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
VGGS = tuple(f"vgg{depth}{suffix}" for suffix in ("", "_bn") for depth in (11, 13, 16, 19))
SIZES = ((224, 224), (97, 131), (64, 64))


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return backbone(name).build()


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {key: (tensor.shape, tensor.dtype) for key, tensor in state.items()}


def torchvisions(name: str) -> nn.Module:
    """With random weights, and with batch norm statistics that matter."""
    import torchvision

    with torch.device("meta"):
        model: nn.Module = getattr(torchvision.models, name)(weights=None)
    return filled(model).eval()


@torch.no_grad()
def filled(model: nn.Module) -> nn.Module:
    """A model from the meta device, with random values that keep a signal alive."""
    torch.manual_seed(1)
    model.to_empty(device="cpu")
    for key, tensor in model.state_dict().items():
        if tensor.dim() > 1:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
        elif key.endswith(("weight", "running_var")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.dim():
            tensor.normal_(0, 0.1)
    return model


def ours(name: str, state: Mapping[str, Tensor], *, strict: bool = True) -> nn.Module:
    """With the very tensors of `state`."""
    model = on_meta(name)
    model.load_state_dict(state, assign=True, strict=strict)
    return model.eval()


def relative_error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


# The catalog


def test_the_shelf_begins_with_the_pyramid_whose_body_is_trained() -> None:
    assert NAMES[0] == "efficientnet_lite0_fpn"
    assert set(NAMES) == {
        *VGGS, *RESNETS, *(f"{name}_fpn" for name in RESNETS), "efficientnet_lite0", "efficientnet_lite0_fpn",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_true(name: str) -> None:
    row, model = backbone(name), on_meta(name)
    assert row.name == name
    assert row.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert row.weights[-1] == "random"
    assert row.pyramid == name.endswith("_fpn")
    stages, pyramid = ["C2", "C3", "C4", "C5"], ["M2", "M3", "M4", "M5", "P2", "P3", "P4", "P5", "P6"]
    assert list(row.taps) == stages + (pyramid if row.pyramid else [])
    assert not any(getattr(module, "inplace", False) for module in model.modules())


@pytest.mark.parametrize("name", NAMES)
def test_taps_have_the_strides_of_their_names(name: str) -> None:
    row, model = backbone(name), on_meta(name).eval()
    maps: dict[str, Tensor] = {}
    for tap, path in row.taps.items():
        model.get_submodule(path).register_forward_hook(lambda _m, _i, out, tap=tap: maps.__setitem__(tap, out))
    model(torch.empty(1, 3, 128, 192, device="meta"))
    for tap, tensor in maps.items():
        stride = 2 ** int(tap[1])
        assert tensor.shape[-2:] == (128 // stride, 192 // stride), tap
        assert tap[0] == "C" or tensor.shape[1] == 256
    assert maps.keys() == row.taps.keys()


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn", "resnet18", "resnet50_fpn", "efficientnet_lite0_fpn"])
def test_it_runs_from_its_minimum_input_on(name: str) -> None:
    row, model = backbone(name), on_meta(name).eval()
    output = model(torch.empty(1, 3, row.minimum_input, row.minimum_input, device="meta"))
    assert (output["logits"] if row.pyramid else output).shape == (1, 1000)
    if row.minimum_input > 1:
        with pytest.raises(RuntimeError):
            model(torch.empty(1, 3, row.minimum_input - 1, row.minimum_input, device="meta"))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(BackboneError, match=r"no backbone “resnet-50”: did you mean .*resnet50"):
        backbone("resnet-50")
    with pytest.raises(BackboneError, match="choose one of efficientnet_lite0_fpn, "):
        backbone("zzz")


def test_rows_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        backbone("vgg11").taps["C2"] = "elsewhere"  # type: ignore[index]


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


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg11", "vgg16_bn"])
def test_outputs_are_torchvisions(name: str) -> None:
    theirs = torchvisions(name)
    mine = ours(name, theirs.state_dict())
    for size in SIZES:
        picture = torch.randn(1, 3, *size)
        with torch.no_grad():
            assert relative_error(mine(picture), theirs(picture)) < 1e-5


@pytest.mark.parametrize("name", ["vgg13_bn", "resnet34", "resnet50"])
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
            model(torch.ones(1, 3, 75, 64))
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
        models = [backbone(name).build() for name in ("efficientnet_lite0_fpn", "resnet18_fpn")]
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

    code = (
        "import sys, torch\n"
        "from fmviz.networks.catalog import backbone, backbones\n"
        "with torch.device('meta'):\n"
        "    models = [backbone(name).build() for name in backbones()]\n"
        "print(len(models), 'torch._dynamo' in sys.modules, 'torchvision' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(NAMES)), "False", "False"]
