"""Weights: the package's, a seed's, a file's; and every file that must be refused, in words."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import io
import json
import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from fmviz.assets import asset
from fmviz.errors import WeightsError
from fmviz.networks.catalog import backbone, backbones
from fmviz.networks.checkpoints import read_tensors
from fmviz.networks.origin import Weights
from fmviz.networks.weights import class_names, load
from fmviz.pictures import read_picture
from fmviz.preprocess import preprocess

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def resnet18() -> State:
    """torchvision's keys, random values."""
    import torchvision

    torch.manual_seed(5)
    return dict(torchvision.models.resnet18(weights=None).state_dict())


@pytest.fixture(scope="module")
def lite0() -> tuple[nn.Module, Weights]:
    return load(backbone("efficientnet_lite0"), "imagenet")


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def refusal(name: str, path: Path) -> str:
    """The one sentence with which a file is refused. It names the file, and its folder never."""
    with pytest.raises(WeightsError) as caught:
        load(backbone(name), path)
    message = str(caught.value)
    assert path.name in message
    assert str(path.parent) not in message
    assert message.endswith(".")
    assert "\n" not in message
    return message


def holds(model: nn.Module, state: Mapping[str, Tensor], *, prefix: str = "") -> bool:
    found = model.state_dict()
    return all(torch.equal(found[prefix + key], tensor) for key, tensor in state.items())


# The package


CATS = {"tiger cat": 0.386, "Egyptian cat": 0.356, "tabby": 0.169}


def best(lite0: tuple[nn.Module, Weights], fed: Tensor, count: int) -> dict[str, float]:
    """The likeliest classes with their probabilities, best first."""
    model, weights = lite0
    with torch.no_grad():
        values, indices = model(fed).softmax(1)[0].topk(count)
    return {weights.classes[i]: p for i, p in zip(indices.tolist(), values.tolist(), strict=True)}


@pytest.mark.parametrize(("name", "wanted"), [("chelsea.png", CATS), ("coffee.png", {"espresso": 0.951})])
def test_the_packaged_network_knows_the_samples(
    lite0: tuple[nn.Module, Weights], name: str, wanted: dict[str, float]
) -> None:
    fed = preprocess(read_picture(asset(f"samples/{name}")), backbone("efficientnet_lite0").preprocessing)
    found = best(lite0, fed.tensor, len(wanted))
    assert list(found) == list(wanted)
    assert found == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize(
    ("name", "wanted"), [("chelsea.png", CATS), ("coffee.png", {"espresso": 0.951}), ("flower.jpg", {"daisy": 0.364})]
)
def test_its_probabilities_are_those_that_others_saw(
    lite0: tuple[nn.Module, Weights], name: str, wanted: dict[str, float]
) -> None:
    """To the last digit, where the longer side is rounded to the nearest pixel, and not down as torchvision does."""
    image = Image.fromarray(read_picture(asset(f"samples/{name}")).pixels)
    width, height = (round(side * 256 / min(image.size)) for side in image.size)
    left, top = (width - 224) // 2, (height - 224) // 2
    cropped = image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224))
    values = torch.from_numpy(np.array(cropped)).permute(2, 0, 1)[None]
    assert best(lite0, (values - 127.0) / 128.0, len(wanted)) == pytest.approx(wanted, abs=0.0006)


def test_the_packaged_weights_say_what_they_are(lite0: tuple[nn.Module, Weights]) -> None:
    model, weights = lite0
    assert weights == Weights(name="imagenet", classes=class_names("imagenet"))
    # The file's name carries the first eight digits.
    assert weights.sha256 == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_first_start_has_a_trained_body_and_an_untrained_pyramid(lite0: tuple[nn.Module, Weights]) -> None:
    model, weights = load(backbone("efficientnet_lite0_fpn"), "imagenet", seed=7)
    assert holds(model, lite0[0].state_dict(), prefix="body.")
    assert (weights.name, weights.seed, weights.untrained) == ("imagenet", 7, ("pyramid",))
    assert weights.untrained_paths == ("fpn",)
    assert weights.notes == ("The file has no pyramid: the network's is random (seed 7).",)
    assert weights.classes == class_names("imagenet")


def test_only_what_is_on_offer_is_a_name() -> None:
    with pytest.raises(
        WeightsError, match=r"resnet18 has no weights called “imagenet”: choose IMAGENET1K_V1 or random"
    ):
        load(backbone("resnet18"), "imagenet")
    with pytest.raises(WeightsError, match=r"There is no file nowhere/best\.pth: choose"):
        load(backbone("resnet18"), "nowhere/best.pth")


# Random


@pytest.mark.parametrize("name", ["resnet18", "resnet18_fpn", "efficientnet_lite0_fpn"])
def test_random_is_the_same_for_the_same_seed(name: str) -> None:
    first, weights = load(backbone(name), "random", seed=3)
    second, _ = load(backbone(name), "random", seed=3)
    other, _ = load(backbone(name), "random", seed=4)
    assert holds(first, second.state_dict())
    assert not holds(first, other.state_dict())
    assert weights.untrained == (("body", "pyramid") if name.endswith("fpn") else ("body",))
    assert weights.untrained_paths == ()
    assert (weights.name, weights.sha256, weights.seed, weights.classes) == ("random", "", 3, ())
    assert not first.training
    assert not any(parameter.requires_grad for parameter in first.parameters())


@pytest.mark.parametrize("name", ["random", "imagenet"])
def test_the_callers_generator_and_device_do_not_matter_and_stay(name: str) -> None:
    wanted = load(backbone("efficientnet_lite0_fpn"), name)[0].state_dict()
    torch.manual_seed(11)
    before = torch.get_rng_state()
    with torch.device("meta"):
        model, _ = load(backbone("efficientnet_lite0_fpn"), name)
    assert torch.equal(torch.get_rng_state(), before)
    assert holds(model, wanted)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(WeightsError, match="seed"):
        load(backbone("resnet18"), "random", seed=seed)


# Files that fit


def as_safetensors(path: Path, state: State) -> Path:
    safetensors.torch.save_file(state, path)
    return path


FORMS: dict[str, Callable[[Path, State], Path]] = {
    "weights.pth": save,
    "weights.pth.tar": save,
    "weights.ckpt": lambda path, state: save(path, {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}}),
    "weights.bin": lambda path, state: save(path, {"model": {f"module.{k}": v for k, v in state.items()}}),
    "compiled.pt": lambda path, state: save(path, {f"module._orig_mod.{k}": v for k, v in state.items()}),
    "weights.safetensors": as_safetensors,
    "misnamed.pth": as_safetensors,
    "misnamed.safetensors": save,
    "без суффикса": save,
}


@pytest.mark.parametrize("name", FORMS)
def test_a_file_is_read_by_what_is_in_it(name: str, resnet18: State, tmp_path: Path) -> None:
    path = FORMS[name](tmp_path / name, resnet18)
    model, weights = load(backbone("resnet18"), path)
    assert holds(model, resnet18)
    assert weights == Weights(name=name, classes=class_names("imagenet"))
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load(backbone("resnet18"), str(path))[1] == weights


def test_the_checksum_of_a_file_that_was_written_anew_since_is_not_told(resnet18: State, tmp_path: Path) -> None:
    path = tmp_path / "plain.pth"
    torch.save(resnet18, path)
    (_, early), (_, late) = load(backbone("resnet18"), path), load(backbone("resnet18"), path)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert early.sha256 == expected
    torch.save({**resnet18, "more": torch.zeros(1)}, path)
    assert early.sha256 == expected
    assert late.sha256 == ""
    path.unlink()
    assert late.sha256 == ""


def test_the_old_format_of_torch_is_read(resnet18: State, tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(resnet18, path, _use_new_zipfile_serialization=False)
    assert holds(load(backbone("resnet18"), path)[0], resnet18)


def test_what_is_loaded_does_not_change_with_the_file(resnet18: State, tmp_path: Path) -> None:
    """A training program that writes its best.pth anew would change a mapped network, or end the process."""
    for path in (save(tmp_path / "best.pth", resnet18), as_safetensors(tmp_path / "best.safetensors", resnet18)):
        model, _ = load(backbone("resnet18"), path)
        with path.open("r+b") as file:
            file.write(b"\0" * path.stat().st_size)
            file.truncate(100)
        assert holds(model, resnet18)


def tensors_of_all_kinds() -> State:
    shared = torch.arange(24.0)
    large = torch.arange(6_000_000, dtype=torch.int32).reshape(2000, 3000)
    return {
        "large": large,
        "large.transposed": large.t(),
        "shared.a": shared[:12].reshape(3, 4),
        "shared.b": shared[4:20:2],
        "empty": torch.zeros(0, 3),
        "also_empty": torch.zeros(2, 0),
        "scalar": torch.tensor(7),
        "bool": torch.tensor([True, False, True]),
        "complex": torch.tensor([1 + 2j, -3j]),
        "half": torch.linspace(-1, 1, 9).half(),
        "bfloat16": torch.linspace(-1, 1, 9).bfloat16(),
        "float8": torch.linspace(-1, 1, 9).to(torch.float8_e4m3fn),
        "uint16": torch.tensor([1, 65535], dtype=torch.uint16),
    }


def same_bits(one: Tensor, other: Tensor) -> bool:
    kind = one.dtype, one.shape
    return kind == (other.dtype, other.shape) and torch.equal(
        one.contiguous().view(-1).view(torch.uint8), other.contiguous().view(-1).view(torch.uint8)
    )


@pytest.mark.parametrize("form", ["zip", "old", "safetensors"])
def test_tensors_of_all_kinds_are_read_to_the_bit(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tensors_of_all_kinds()
    if form == "safetensors":
        state = {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in state.items()}
        path = as_safetensors(tmp_path / "all.safetensors", state)
    else:
        path = tmp_path / "all.pth"
        if form == "old":  # torch itself writes these so that it cannot read them
            del state["float8"], state["uint16"]
        torch.save(state, path, _use_new_zipfile_serialization=form != "old")
    found = read_tensors(path)
    assert found.keys() == state.keys()
    assert [key for key, tensor in state.items() if not same_bits(found[key], tensor)] == []
    if form != "safetensors":
        assert found["large"].data_ptr() == found["large.transposed"].data_ptr()


@pytest.mark.parametrize("side", [2**63 - 1, 2**63, 2**64, 10**30])
def test_an_empty_tensor_with_a_side_beyond_all_numbers_is_refused_or_empty(side: int, tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [side, 0, side], "data_offsets": [0, 0]}}).encode()
    path = tmp_path / "empty.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with contextlib.suppress(WeightsError):
        assert read_tensors(path)["a"].numel() == 0


@pytest.mark.parametrize("order", ["big", "little"])
def test_the_order_of_bytes_is_the_files(order: str, tmp_path: Path) -> None:
    path = tmp_path / "ordered.pth"
    weight = torch.arange(1000.0)
    torch.save({"weight": weight}, path)
    with zipfile.ZipFile(path) as archive:
        content = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, order.encode() if name.endswith("/byteorder") else data)
    expected = weight if order == sys.byteorder else torch.from_numpy(weight.numpy().byteswap())
    assert same_bits(read_tensors(path)["weight"], expected)


def test_safetensors_are_turned_where_the_machine_has_the_other_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"real": torch.arange(5.0), "complex": torch.tensor([1 + 2j]), "byte": torch.arange(3, dtype=torch.uint8)}
    path = as_safetensors(tmp_path / "ordered.safetensors", state)
    monkeypatch.setattr("fmviz.networks.checkpoints.sys.byteorder", "big")
    found = read_tensors(path)
    monkeypatch.undo()
    for key, tensor in state.items():
        assert same_bits(found[key], torch.from_numpy(tensor.numpy().byteswap())), key


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(dtype: torch.dtype, resnet18: State, tmp_path: Path) -> None:
    other = {k: v.to(dtype) if v.is_floating_point() else v for k, v in resnet18.items()}
    model, _ = load(backbone("resnet18"), save(tmp_path / "half.pth", other))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert holds(model, {k: v.float() for k, v in other.items() if v.is_floating_point()})


def test_counts_that_were_halved_with_all_the_rest_are_counts(resnet18: State, tmp_path: Path) -> None:
    halved = {key: tensor.half() for key, tensor in resnet18.items()}
    model, _ = load(backbone("resnet18"), save(tmp_path / "half.pth", halved))
    assert model.state_dict()["bn1.num_batches_tracked"].dtype == torch.int64
    assert holds(model, {key: tensor.float() for key, tensor in halved.items() if "num_batches" not in key})


def test_channels_last_and_gradients_leave_no_trace(resnet18: State, tmp_path: Path) -> None:
    other = {k: v.to(memory_format=torch.channels_last) if v.dim() == 4 else v for k, v in resnet18.items()}
    other["fc.weight"] = nn.Parameter(other["fc.weight"].clone())
    model, _ = load(backbone("resnet18"), save(tmp_path / "last.pth", other))
    assert all(p.is_contiguous() and not p.requires_grad for p in model.parameters())
    assert holds(model, resnet18)


def test_a_file_may_lack_the_classifier(resnet18: State, tmp_path: Path) -> None:
    headless = {k: v for k, v in resnet18.items() if not k.startswith("fc.")}
    path = save(tmp_path / "headless.pth", headless)
    model, weights = load(backbone("resnet18"), path, seed=2)
    again, _ = load(backbone("resnet18"), path, seed=2)
    assert holds(model, headless)
    assert holds(model, again.state_dict())
    assert not any(tensor.isnan().any() or tensor.is_meta for tensor in model.state_dict().values())
    assert (weights.classes, weights.untrained, weights.seed) == ((), ("classifier",), 2)
    assert weights.untrained_paths == ("fc",)
    assert weights.notes == ("The file has no classifier: the network's is random (seed 2).",)


def test_a_classifiers_file_serves_a_pyramids_body(resnet18: State, tmp_path: Path) -> None:
    path = save(tmp_path / "resnet18.pth", resnet18)
    model, weights = load(backbone("resnet18_fpn"), path, seed=2)
    assert holds(model, resnet18, prefix="body.")
    assert (weights.classes, weights.untrained, weights.seed) == (class_names("imagenet"), ("pyramid",), 2)
    with torch.no_grad():
        output = model(torch.randn(1, 3, 64, 64))
    assert all(output[level].isfinite().all() for level in ("P2", "P3", "P4", "P5", "P6"))


@pytest.fixture(scope="module")
def detection_backbone() -> State:
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    torch.manual_seed(6)
    return dict(resnet_fpn_backbone(backbone_name="resnet18", weights=None).state_dict())


def test_torchvisions_pyramid_is_loaded_as_it_is(detection_backbone: State, tmp_path: Path) -> None:
    path = save(tmp_path / "fpn.pth", detection_backbone)
    with torch.device("meta"):
        model, weights = load(backbone("resnet18_fpn"), path, seed=2)
    assert holds(model, detection_backbone)
    assert not any(tensor.is_meta for tensor in model.state_dict().values())
    assert (weights.untrained, weights.classes, weights.seed) == (("classifier",), (), 2)
    assert weights.untrained_paths == ("body.fc",)
    assert weights.notes[0] == "The file has no classifier: the network's is random (seed 2)."


def test_the_first_versions_keys_of_a_pyramid_are_known(detection_backbone: State, tmp_path: Path) -> None:
    old = {re.sub(r"^(fpn\..*_blocks\.\d)\.0\.", r"\1.", key): tensor for key, tensor in detection_backbone.items()}
    assert "fpn.inner_blocks.3.weight" in old
    model, weights = load(backbone("resnet18_fpn"), save(tmp_path / "old.pth", old))
    assert holds(model, detection_backbone)
    assert weights.untrained == ("classifier",)


@pytest.mark.parametrize("name", ["efficientnet_lite0_fpn", "resnet18_fpn"])
def test_what_we_save_we_read(name: str, tmp_path: Path) -> None:
    model, _ = load(backbone(name), "random", seed=9)
    loaded, weights = load(backbone(name), as_safetensors(tmp_path / "own.safetensors", model.state_dict()))
    assert holds(loaded, model.state_dict())
    assert (weights.untrained, weights.seed, weights.notes) == ((), None, ())


def test_a_classifier_and_a_pyramid_that_are_not_in_the_file_are_both_untrained(
    resnet18: State, tmp_path: Path
) -> None:
    other = {k: v for k, v in resnet18.items() if not k.startswith("fc.")} | {"fc.weight": torch.zeros(10, 512)}
    _, weights = load(backbone("resnet18_fpn"), save(tmp_path / "other.pth", other))
    assert weights.untrained == ("classifier", "pyramid")
    assert weights.untrained_paths == ("body.fc", "fpn")


# Values that are none


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["layer1.0.conv1.weight", "bn1.running_var"])
def test_values_that_are_not_finite_are_said(resnet18: State, tmp_path: Path, value: float, key: str) -> None:
    broken = resnet18[key].clone()
    broken.view(-1)[3] = value
    model, weights = load(backbone("resnet18"), save(tmp_path / "broken.pth", resnet18 | {key: broken}))
    torch.testing.assert_close(model.state_dict()[key], broken, rtol=0, atol=0, equal_nan=True)
    (note,) = weights.notes
    assert note.startswith(f"A tensor of the file ({key}) holds NaN or infinity")


def test_all_tensors_that_are_not_finite_are_counted(resnet18: State, tmp_path: Path) -> None:
    broken = {key: torch.full_like(tensor, torch.nan) for key, tensor in resnet18.items() if "conv" in key}
    _, weights = load(backbone("resnet18"), save(tmp_path / "broken.pth", resnet18 | broken))
    (note,) = weights.notes
    assert note.startswith(f"{len(broken)} tensors of the file (such as conv1.weight) hold NaN or infinity")


def test_large_values_are_values(resnet18: State, tmp_path: Path) -> None:
    """Whose sum is infinite."""
    large = torch.full_like(resnet18["conv1.weight"], 3e38)
    _, weights = load(backbone("resnet18"), save(tmp_path / "large.pth", resnet18 | {"conv1.weight": large}))
    assert weights.notes == ()


# Files of other networks


def test_a_file_of_another_network_is_refused_with_the_one_that_it_fits(resnet18: State, tmp_path: Path) -> None:
    path = save(tmp_path / "eighteen.pth", resnet18)
    message = refusal("resnet34", path)
    assert "was not made for resnet34: 80 of its 182 tensors are missing (such as layer1.2.conv1.weight)" in message
    assert message.endswith("; it fits resnet18 and resnet18_fpn.")


def test_tensors_that_the_network_does_not_have_are_no_fit(resnet18: State, tmp_path: Path) -> None:
    """All of a ResNet-50 is in a ResNet-101, with the same shapes."""
    path = save(tmp_path / "more.pth", resnet18 | {"layer4.2.conv1.weight": torch.zeros(1)})
    assert "1 in the file are unknown to it (such as layer4.2.conv1.weight)" in refusal("resnet18", path)


def test_another_shape_or_type_is_named(resnet18: State, tmp_path: Path) -> None:
    four = resnet18 | {"conv1.weight": torch.zeros(64, 4, 7, 7)}
    message = refusal("resnet18", save(tmp_path / "four.pth", four))
    assert "1 of 102 have another shape or type (conv1.weight is 64 × 4 × 7 × 7 instead of 64 × 3 × 7 × 7)" in message
    assert message.endswith("choose the network that it was made for.")
    whole = resnet18 | {"bn1.bias": torch.zeros(64, dtype=torch.int32)}
    assert "bn1.bias is int32 instead of float32" in refusal("resnet18", save(tmp_path / "whole.pth", whole))


def test_a_pyramid_alone_is_no_network(detection_backbone: State, tmp_path: Path) -> None:
    only = {key: tensor for key, tensor in detection_backbone.items() if key.startswith("fpn.")}
    assert "tensors are missing" in refusal("resnet18_fpn", save(tmp_path / "fpn.pth", only))


# Files that are no weights


class Opener:
    """A pickle that would write a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("fmviz-was-here", "w")


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old format"])
def test_code_in_a_file_is_named_and_never_run(
    new: bool, resnet18: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    torch.save(resnet18 | {"evil": Opener()}, path, _use_new_zipfile_serialization=new)
    message = refusal("resnet18", path)
    assert "was not loaded, for it could run code: it asks for " in message
    assert re.search(r"(_?io|builtins)\.open", message)
    assert not (tmp_path / "fmviz-was-here").exists()


def test_a_whole_pickled_network_is_refused_with_its_classes(tmp_path: Path) -> None:
    message = refusal("resnet18", save(tmp_path / "whole.pth", nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))))
    assert "it asks for torch.nn.modules.batchnorm.BatchNorm2d, torch.nn.modules.container.Sequential, " in message
    assert "state_dict()" in message


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "program.pt"
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(1)}, buffer)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("program/data.pkl", "program/constants.pkl", "program/code/__torch__.py"):
            archive.writestr(name, b"")
    assert "TorchScript" in refusal("resnet18", path)


def plain_pickle(content: object) -> bytes:
    return pickle.dumps(content, protocol=4)


def zipped(name: str, *, packed: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        archive.writestr(name, b"\0" * 1000)
    return buffer.getvalue()


NO_WEIGHTS = {
    "empty": (b"", "is empty"),
    "a web page": (b"<!DOCTYPE html><html>Sign in</html>", "is a web page"),
    "a web page with a mark": (b"\xef\xbb\xbf \n<html>", "is a web page"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS"),
    "text": (b"hello, world, this is no weights file", "is no weights file"),
    "one byte": (b"\x80", "broken"),
    "zeros": (b"\0" * 100, "is no weights file"),
    "a plain pickle": (plain_pickle({"a": [1, 2]}), "broken"),
    "another zip": (zipped("word/document.xml"), "is a zip file without weights"),
    "a packed zip": (zipped("archive/data.pkl", packed=True), "was packed again"),
    "an empty archive": (zipped("archive/data.pkl"), "broken"),
    "half a zip": (zipped("archive/data.pkl")[:-40], "broken or was cut off"),
    "garbage after a header": ((20).to_bytes(8, "little") + b"{not json at all!!!}", "broken or was cut off"),
    "a header longer than the file": ((5000).to_bytes(8, "little") + b'{"a":', "broken or was cut off"),
}


@pytest.mark.parametrize("kind", NO_WEIGHTS)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_what_is_no_weights_file_is_refused_in_words(kind: str, suffix: str, tmp_path: Path) -> None:
    content, words = NO_WEIGHTS[kind]
    path = tmp_path / f"file.{suffix}"
    path.write_bytes(content)
    assert words in refusal("resnet18", path)


@pytest.mark.parametrize("share", [0.3, 0.99])
@pytest.mark.parametrize("form", ["zip", "old", "safetensors"])
def test_a_file_that_was_cut_off_is_refused(form: str, share: float, resnet18: State, tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    if form == "safetensors":
        safetensors.torch.save_file(resnet18, path)
    else:
        torch.save(resnet18, path, _use_new_zipfile_serialization=form == "zip")
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share))
    assert "broken or was cut off" in refusal("resnet18", path)


def sparse() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.eye(2).to_sparse()


def recursive() -> dict[str, Any]:
    content: dict[str, Any] = {}
    content["model"] = content
    return content


NO_STATE = {
    "a list": ([torch.zeros(1)], "holds one list, not tensors by name"),
    "a tensor": (torch.zeros(1), "holds one Tensor"),
    "nothing": ({}, "holds no tensors"),
    "nothing within": ({"state_dict": {}}, "holds no tensors"),
    "numbers": (collections.OrderedDict(epoch=3, name="resnet"), "holds an int as “epoch”"),
    "keys that are numbers": ({1: torch.zeros(1)}, "names a tensor 1, which is no text"),
    "itself": (recursive(), "holds no tensors"),
    "a sparse tensor": ({"w": sparse()}, "sparse, nested or quantized"),
    "a meta tensor": ({"w": torch.empty(3, device="meta")}, "saved from the meta device"),
}


@pytest.mark.parametrize("kind", NO_STATE)
def test_what_is_no_state_dict_is_refused_in_words(kind: str, tmp_path: Path) -> None:
    content, words = NO_STATE[kind]
    assert words in refusal("resnet18", save(tmp_path / "file.pth", content))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "weights.pth"
    folder.mkdir()
    assert "is a folder" in refusal("resnet18", folder)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), form=st.sampled_from(["zip", "old", "safetensors"]))
def test_no_broken_file_raises_anything_else(data: st.DataObject, form: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    state = {"a": torch.arange(4.0), "b.c": torch.zeros(2, 2, dtype=torch.float16)}
    if form == "safetensors":
        buffer.write(safetensors.torch.save(state))
    else:
        torch.save(state, buffer, _use_new_zipfile_serialization=form == "zip")
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "mutant"
    path.write_bytes(bytes(content))
    with contextlib.suppress(WeightsError):
        tensors = read_tensors(path)
        assert all(isinstance(tensor, Tensor) for tensor in tensors.values())


# Names


def test_there_are_a_thousand_classes() -> None:
    classes = class_names("imagenet")
    assert len(classes) == 1000
    assert classes[967] == "espresso"


def test_every_name_on_offer_leads_to_its_offer_and_random_is_always_there() -> None:
    for name in backbones():
        row = backbone(name)
        assert row.weights[-1] == "random"
        assert [row.offer(weights.lower()) for weights in row.weights[:-1]] == list(row.offers)
