"""The three Inceptions are their papers': parameters part by part, branches, what runs in training only."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from fmviz.networks import inception_v1, inception_v2
from fmviz.networks.catalog import backbone
from fmviz.networks.inception_v1 import InceptionV1
from fmviz.networks.network import build

V1_PARTS = {
    "conv1": 9_472, "conv2_reduce": 4_160, "conv2": 110_784,
    "inception3a": 163_696, "inception3b": 388_736,
    "inception4a": 376_176, "inception4b": 449_160, "inception4c": 510_104, "inception4d": 605_376,
    "inception4e": 868_352, "inception5a": 1_043_456, "inception5b": 1_444_080, "fc": 1_025_000,
    "auxiliary1": 3_188_840, "auxiliary2": 3_190_888,
}  # fmt: skip
V3_PARTS = {
    "Mixed_5b": 255_904, "Mixed_5c": 277_472, "Mixed_5d": 285_152,
    "Mixed_6a": 1_153_280, "Mixed_6b": 1_297_408, "Mixed_6c": 1_691_008, "Mixed_6d": 1_691_008, "Mixed_6e": 2_141_952,
    "Mixed_7a": 1_698_304, "Mixed_7b": 5_044_608, "Mixed_7c": 6_076_800,
}  # fmt: skip


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return backbone(name).build().eval()


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_v1_has_the_parameters_of_its_table() -> None:
    with torch.device("meta"):
        model = build(partial(InceptionV1, auxiliary=True))
    found = {name: count(part) for name, part in model.named_children() if count(part)}
    assert found == V1_PARTS
    assert count(model) == 13_378_280
    assert count(on_meta("inception_v1")) == 6_998_552


def test_v3_has_torchvisions_parameters() -> None:
    model = on_meta("inception_v3")
    assert {name: count(model.get_submodule(name)) for name in V3_PARTS} == V3_PARTS


def test_v2_has_the_channels_of_its_table() -> None:
    """What each module puts out, and the map that it puts it on."""
    model = on_meta("inception_v2")
    found: dict[str, tuple[int, ...]] = {}
    for spec in inception_v2.MODULES:
        model.get_submodule(f"inception{spec.name}").register_forward_hook(
            lambda _m, _i, out, name=spec.name: found.__setitem__(name, tuple(out.shape[1:]))
        )
    model(torch.empty(1, 3, 224, 224, device="meta"))
    assert found == {
        "3a": (256, 28, 28), "3b": (320, 28, 28), "3c": (576, 14, 14),
        "4a": (576, 14, 14), "4b": (576, 14, 14), "4c": (608, 14, 14), "4d": (608, 14, 14), "4e": (1056, 7, 7),
        "5a": (1024, 7, 7), "5b": (1024, 7, 7),
    }  # fmt: skip


def test_v1_pools_round_up() -> None:
    model = on_meta("inception_v1")
    sizes = {}
    for name in ("conv1", "pool1", "pool2", "pool3", "pool4", "avgpool"):
        model.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: sizes.__setitem__(name, out.shape[-1])
        )
    model(torch.empty(1, 3, 224, 224, device="meta"))
    assert list(sizes.values()) == [112, 56, 28, 14, 7, 1]


@pytest.mark.parametrize("module", [inception_v1, inception_v2])
def test_branches_lie_side_by_side_in_the_papers_order(module: object) -> None:
    spec = module.MODULES[0]  # type: ignore[attr-defined]
    block = module.InceptionModule(spec).eval()  # type: ignore[attr-defined]
    x = torch.randn(1, spec.in_channels, 9, 7)
    branches = [branch for name, branch in block.named_children() if name.startswith("branch")]
    with torch.no_grad():
        assert torch.equal(block(x), torch.cat([branch(x) for branch in branches], dim=1))
    assert len(branches) == 4
    assert block(x).shape == (1, spec.out_channels, 9, 7)


# Auxiliary classifiers


def small_and_trainable() -> InceptionV1:
    torch.manual_seed(2)
    return build(partial(InceptionV1, classes=7, auxiliary=True))


def test_auxiliary_classifiers_run_in_training_only() -> None:
    model = small_and_trainable()
    ran: list[str] = []
    for name in inception_v1.AUXILIARY:
        model.get_submodule(name).register_forward_hook(lambda _m, _i, _o, name=name: ran.append(name))
    pictures = torch.randn(2, 3, 79, 96)
    output = model.train()(pictures)
    assert ran == ["auxiliary1", "auxiliary2"]
    assert {name: tuple(logits.shape) for name, logits in output.items()} == dict.fromkeys(("logits", *ran), (2, 7))
    (0.3 * (output["auxiliary1"].sum() + output["auxiliary2"].sum())).backward()
    assert model.conv1.conv.weight.grad is not None
    assert model.inception4e.branch1x1.conv.weight.grad is None
    ran.clear()
    with torch.no_grad():
        assert model.eval()(pictures).shape == (2, 7)
    assert ran == []


def test_a_file_with_auxiliary_classifiers_fits_the_network_without_them() -> None:
    with torch.device("meta"):
        full, plain = build(partial(InceptionV1, auxiliary=True)), build(InceptionV1)
    assert plain.renamed(full.state_dict()).keys() == plain.state_dict().keys() < full.state_dict().keys()
    assert full.renamed(full.state_dict()).keys() == full.state_dict().keys()


def test_a_file_of_torchvisions_v3_fits_with_its_auxiliary_classifier() -> None:
    from torchvision import models

    with torch.device("meta"):
        theirs = models.inception_v3(weights=None, init_weights=False)
    state = theirs.state_dict()
    assert sum(tensor.numel() for key, tensor in state.items() if key.startswith("AuxLogits.")) > 3_000_000
    for name in ("inception_v3", "inception_v3_fpn"):
        model = on_meta(name)
        renamed = model.renamed(dict(state))  # type: ignore[operator]
        assert renamed.keys() <= model.state_dict().keys()
        assert all(key.startswith("fpn.") for key in model.state_dict().keys() - renamed.keys())
        assert all(tensor.shape == model.state_dict()[key].shape for key, tensor in renamed.items())


# Feeding


def test_v3_is_fed_what_torchvisions_own_model_makes_of_its_input() -> None:
    """Their model turns ImageNet's normalisation into -1 to 1 by itself; our input is normalised so at once."""
    from torchvision import models

    theirs = models.Inception3(aux_logits=False, transform_input=True, init_weights=False)
    given, ours = models.Inception_V3_Weights.DEFAULT.transforms(), backbone("inception_v3").offers[0].preprocessing
    assert ours is not None
    picture = torch.rand(1, 3, 75, 75)
    mean, std = (torch.tensor(values)[:, None, None] for values in (given.mean, given.std))
    turned = theirs._transform_input((picture - mean) / std)
    own_mean, own_std = (torch.tensor(values)[:, None, None] for values in (ours.mean, ours.std))
    assert torch.allclose(turned, (picture - own_mean) / own_std, atol=1e-5)
    assert (ours.resize, ours.crop) == (given.resize_size[0], given.crop_size[0]) == (342, 299)


@pytest.mark.parametrize("name", ["inception_v1", "inception_v2", "inception_v3"])
def test_random_weights_keep_a_signal_alive_and_nothing_is_overwritten(name: str) -> None:
    torch.manual_seed(3)
    model = backbone(name).build().eval()
    seen: list[Tensor] = []
    for module in model.modules():
        module.register_forward_hook(lambda _m, _i, out: seen.append(out))
    with torch.no_grad():
        model(torch.randn(1, 3, 97, 80))
    assert all(tensor._version == 0 for tensor in seen)
    assert all(tensor.isfinite().all() for tensor in seen)
    c5 = next(tensor for tensor in seen if tensor.shape[1] == model.stage_channels[-1] and tensor.dim() == 4)  # type: ignore[index, union-attr]
    assert 1e-3 < c5.std() < 1e3
