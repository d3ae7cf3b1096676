"""Capture tells the truth, about any network, and leaves it as it was found."""

from __future__ import annotations

import contextlib
import copy
import doctest
import gc
import threading
import weakref
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fmviz.capture
import fmviz.recording
from fmviz.capture import Activation, Capture, capture_activations
from fmviz.errors import Cancelled, DeviceError, ForwardError, LayerError
from fmviz.layers import Layer
from fmviz.networks import papers
from fmviz.networks.catalog import backbone
from fmviz.recording import works_out_of_place
from fmviz.structures import tensors_in

Reference = dict[str, tuple[Tensor, Tensor]]


def reference(model: nn.Module, *args: Any) -> Reference:
    """By the layer's text: a clone made in a hook, and the bare tensor that the hook was given."""
    found: Reference = {}
    calls: dict[str, int] = {}

    def walk(name: str, output: object) -> None:
        if isinstance(output, Tensor):
            found[name] = (output.detach().clone(), output)
        elif isinstance(output, dict):
            for key, value in output.items():
                walk(f"{name}[{key}]", value)
        elif isinstance(output, list | tuple):
            for index, value in enumerate(output):
                walk(f"{name}[{index}]", value)
        elif hasattr(output, "__dict__"):
            for key, value in vars(output).items():
                walk(f"{name}[{key}]", value)

    def hook(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def called(module: nn.Module, args: Any, output: object) -> None:
            calls[path] = calls.get(path, 0) + 1
            walk((path or "(output)") + ("" if calls[path] == 1 else f":{calls[path]}"), output)

        return called

    handles = [module.register_forward_hook(hook(path)) for path, module in model.named_modules()]
    with torch.no_grad():
        model(*(arg.clone() if isinstance(arg, Tensor) else arg for arg in args))
    for handle in handles:
        handle.remove()
    return found


def same(one: Tensor, other: Tensor) -> bool:
    """Bit for bit, NaN included."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return one.contiguous().numpy().tobytes() == other.contiguous().numpy().tobytes()


def assert_true(capture: Capture, expected: Reference) -> None:
    assert [str(layer) for layer in capture] == list(expected)
    wrong = [name for name, (clone, _) in expected.items() if not same(capture[name].tensor, clone)]
    assert wrong == []


def overwritten(expected: Reference) -> int:
    """How many bare references are wrong after the forward: that a test has something to find."""
    return sum(not same(clone, bare) for clone, bare in expected.values())


class Function(nn.Module):
    """A module that is one function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


class Counted(nn.Sequential):
    """Counts its forwards."""

    forwards = 0

    def forward(self, x: Any) -> Any:
        self.forwards += 1
        return super().forward(x)


def image(size: int = 64) -> Tensor:
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))


# ── Whole networks ────────────────────────────────────────────────────────────────────────────────────────────────────


OURS = [
    "efficientnet_lite0_fpn",
    "resnet18_fpn",
    "resnet50",
    "vgg11_bn",
    "inception_v1",
    "inception_v2",
    "inception_v3",
    "article/fpn",
]


@pytest.mark.parametrize("name", OURS)
def test_our_networks(name: str) -> None:
    torch.manual_seed(0)
    model = backbone(name).build().eval()
    x = image(128)
    expected = reference(model, x)
    assert overwritten(expected) == 0
    assert works_out_of_place(model.named_modules())
    assert_true(capture_activations(model, x), expected)


@pytest.mark.parametrize("name", [row.name for row in papers.rows()])
def test_no_network_of_ours_writes_in_place(name: str) -> None:
    """On the meta device, where the version counters count as well, and all of them are quick."""
    with torch.device("meta"):
        model = backbone(name).build().eval()
        outputs: list[tuple[Tensor, int]] = []
        for module in model.modules():
            module.register_forward_hook(
                lambda module, args, output: outputs.extend((one, one._version) for _, one in tensors_in(output))
            )
        with torch.no_grad():
            model(torch.empty(1, 3, 128, 128))
    assert outputs
    assert all(tensor._version == version for tensor, version in outputs)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.register_forward_hook(lambda module, args, output: output.relu_()),
        lambda model: model.layer1[0].conv2.register_forward_pre_hook(lambda module, args: args[0].relu_() and None),
        lambda model: setattr(model, "layer2", nn.Sequential(*model.layer2, nn.ReLU(inplace=True))),
        lambda model: setattr(model.layer1[0], "relu", Function(torch.relu_)),
        lambda model: setattr(model.layer3, "forward", torch.sigmoid_),
    ],
)
def test_a_network_of_ours_that_was_changed_is_copied(change: Callable[[Any], Any]) -> None:
    model = backbone("resnet18").build().eval()
    change(model)
    assert not works_out_of_place(model.named_modules())


TORCHVISION = {
    "alexnet": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "efficientnet_v2_s": 64,
    "googlenet": 64,
    "inception_v3": 96,
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_large": 64,
    "mobilenet_v3_small": 64,
    "regnet_x_400mf": 64,
    "regnet_y_400mf": 64,
    "resnet18": 64,
    "resnet50": 64,
    "resnext50_32x4d": 64,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_0": 64,
    "squeezenet1_1": 64,
    "vgg11_bn": 64,
    "deeplabv3_mobilenet_v3_large": 64,
    "lraspp_mobilenet_v3_large": 64,
    "fasterrcnn_mobilenet_v3_large_320_fpn": 64,
}


def torchvision_model(name: str) -> nn.Module:
    from torchvision import models

    torch.manual_seed(0)
    extra: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if any(part in name for part in ("deeplab", "lraspp", "fasterrcnn")):
        extra["weights_backbone"] = None
    model: nn.Module = models.get_model(name, weights=None, **extra)
    return model.eval()


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_networks_that_work_in_place(name: str) -> None:
    model = torchvision_model(name)
    x = image(TORCHVISION[name])
    batch = list(x) if "rcnn" in name else x
    expected = reference(model, batch)
    assert overwritten(expected) > 0
    assert_true(capture_activations(model, batch), expected)
    assert_true(capture_activations(model, batch), expected)


# ── Networks made to be nasty ─────────────────────────────────────────────────────────────────────────────────────────


def in_place_on_a_view(x: Tensor) -> Tensor:
    x[:, 1:].mul_(2)
    return x


def through_data(x: Tensor) -> Tensor:
    x.data.add_(1)
    return x


def through_numpy(x: Tensor) -> Tensor:
    x.numpy()[...] *= 3
    return x


def places_changed_through_data(x: Tensor) -> Tensor:
    x.data.copy_(x.flip(-1))
    return x


def shrunk(x: Tensor) -> Tensor:
    return x.resize_(2, 5)


def squeezed_and_filled(x: Tensor) -> Tensor:
    return x.squeeze_(0).fill_(7)


def two_views(x: Tensor) -> list[Any]:
    left, right = x.chunk(2, dim=1)
    return [{"left": left, "deep": (right, [x])}, None]


def write_into_parts(parts: list[Any]) -> Tensor:
    parts[0]["left"].zero_()
    parts[0]["deep"][0].data.sub_(1)
    total: Tensor = parts[0]["deep"][1][0].sum(dim=1)
    return total


class Twice(nn.Module):
    """One ReLU in place, called three times, on what it has itself put out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x))
        x = self.relu(x.sub_(0.5))
        x += 1
        shifted: Tensor = self.relu(x - 2)
        return shifted


class QuietInParent(nn.Module):
    """Puts out its child's tensor, changed past the counter; the next layer then changes it under the counter."""

    def __init__(self) -> None:
        super().__init__()
        self.child = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.child(x)
        out.data.add_(1)
        return out


def with_hook(module: nn.Module, hook: Callable[[Any, Any, Any], Any]) -> nn.Module:
    module.register_forward_hook(hook)
    return module


class Subclass(nn.Sequential):
    """An `nn.Sequential` with code behind its last child."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x)
        out.data.add_(1)
        return out


NASTY: dict[str, nn.Module] = {
    "hook of a container": nn.Sequential(
        with_hook(nn.Sequential(nn.Conv2d(3, 4, 1)), lambda module, args, output: (output.data.add_(1), None)[1]),
        nn.ReLU(inplace=True),
    ),
    "code of a container": nn.Sequential(Subclass(nn.Conv2d(3, 4, 1)), nn.ReLU(inplace=True)),
    "view": nn.Sequential(nn.Conv2d(3, 4, 1), Function(in_place_on_a_view)),
    "data": nn.Sequential(nn.Conv2d(3, 4, 1), nn.Identity(), Function(through_data), nn.ReLU(inplace=True)),
    "numpy": nn.Sequential(nn.Conv2d(3, 4, 1), Function(through_numpy)),
    "places": nn.Sequential(nn.Conv2d(3, 4, 1), Function(places_changed_through_data)),
    "shrunk": nn.Sequential(nn.Conv2d(3, 4, 1), Function(shrunk), nn.ReLU(inplace=True)),
    "squeezed": nn.Sequential(nn.Conv2d(3, 4, 1), Function(squeezed_and_filled)),
    "parts": nn.Sequential(nn.Conv2d(3, 4, 1), Function(two_views), Function(write_into_parts)),
    "twice": Twice(),
    "input": nn.Sequential(Function(lambda x: x.add_(1)), nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True)),
    "quiet in parent": nn.Sequential(QuietInParent(), nn.ReLU(inplace=True)),
    "quiet at last": nn.Sequential(QuietInParent(), Function(through_data)),
}


@pytest.mark.parametrize("name", NASTY)
def test_nasty_modules(name: str) -> None:
    model, x = NASTY[name].eval(), image(9)
    before = x.clone()
    expected = reference(model, x)
    assert overwritten(expected) > 0
    for _ in range(2):
        assert_true(capture_activations(model, x), expected)
    assert same(x, before)


def test_memory_given_away_before_the_end_is_noticed() -> None:
    def give_away(x: Tensor) -> Tensor:
        total = x.sum(dim=1)
        x.untyped_storage().resize_(0)
        return total

    model = nn.Sequential(nn.Conv2d(3, 4, 1), Function(give_away)).eval()
    with torch.no_grad():
        expected = model[0](image(8))
    assert same(capture_activations(model, image(8))["0"].tensor, expected)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8, torch.bool, torch.complex64]
)
def test_quiet_writes_in_every_dtype(dtype: torch.dtype) -> None:
    def write(x: Tensor) -> Tensor:
        x.data[0, 0, 0, 0] = 0
        return x

    x = torch.ones(1, 2, 3, 5).to(dtype)
    capture = capture_activations(nn.Sequential(Function(torch.clone), Function(write)), x)
    assert torch.equal(capture["0"].tensor, x)
    assert capture["1"].tensor.dtype is dtype
    assert not capture["1"].tensor[0, 0, 0, 0]


@pytest.mark.parametrize(
    "arrange", [lambda x: x.to(memory_format=torch.channels_last), lambda x: x.expand(3, -1, -1, -1)]
)
def test_quiet_writes_where_memory_is_arranged_otherwise(arrange: Callable[[Tensor], Tensor]) -> None:
    def write(x: Tensor) -> Tensor:
        x.data.mul_(2) if x.is_contiguous(memory_format=torch.channels_last) else x[:1].data.mul_(2)
        return x

    model = nn.Sequential(Function(lambda x: arrange(x.clone())), Function(write))
    capture = capture_activations(model, image(40)[:1])
    assert torch.equal(capture["0"].tensor, arrange(image(40)))


def test_tensors_without_plain_bytes() -> None:
    def odd(x: Tensor) -> dict[str, Tensor]:
        return {
            "sparse": x[0, 0].to_sparse(),
            "empty": x[:0],
            "meta": torch.empty(2, 3, device="meta"),
            "scalar": x.sum(),
            "conjugate": torch.view_as_complex(x[0].unfold(-1, 2, 2).contiguous()).conj(),
        }

    capture = capture_activations(Function(odd), image(8))
    kept = {layer.item: activation.tensor for layer, activation in capture.items()}
    assert list(kept) == ["[sparse]", "[empty]", "[meta]", "[scalar]", "[conjugate]"]
    assert torch.equal(kept["[sparse]"].to_dense(), image(8)[0, 0])
    assert kept["[empty]"].shape == (0, 3, 8, 8)
    assert kept["[scalar]"].shape == ()
    assert capture.nbytes > 0


# ── Structured outputs ────────────────────────────────────────────────────────────────────────────────────────────────


class ModelOutput(OrderedDict[str, Any]):
    """As the transformers library has it."""


@dataclass
class Detections:
    boxes: Tensor
    scores: list[Tensor]
    note: str = "none"


Pair = namedtuple("Pair", ["first", "second"])


@pytest.mark.parametrize(
    ("structure", "items"),
    [
        (lambda x: x, [""]),
        (lambda x: (x, [x]), ["[0]", "[1][0]"]),
        (lambda x: {"p3": x, 4: x, "4": x, "none": None}, ["[p3]", "[4]", "['4']"]),
        (lambda x: ModelOutput(last=x, more=(x,)), ["[last]", "[more][0]"]),
        (lambda x: Detections(x, [x, x]), ["[boxes]", "[scores][0]", "[scores][1]"]),
        (lambda x: Pair(x, {"boxes": x}), ["[first]", "[second][boxes]"]),
        (lambda x: x.max(dim=1), ["[0]", "[1]"]),
        (lambda x: "no tensor", []),
    ],
)
def test_structured_outputs_are_walked(structure: Callable[[Tensor], Any], items: list[str]) -> None:
    capture = capture_activations(Function(structure), image(4))
    assert [layer.item for layer in capture] == items
    assert type(capture.output) is type(structure(image(4)))


def test_a_list_that_holds_itself_has_an_end() -> None:
    def endless(x: Tensor) -> list[Any]:
        loop: list[Any] = [x]
        loop.append(loop)
        return loop

    capture = capture_activations(Function(endless), image(4))
    assert torch.equal(capture["(output)[0]"].tensor, image(4))


def test_structured_inputs_are_copied() -> None:
    def write(batch: Detections, more: Mapping[str, Tensor]) -> Tensor:
        return batch.boxes.add_(1) + batch.scores[0].add_(1) + more["x"].add_(1)

    x, y, z = image(4), image(4), image(4)
    capture = capture_activations(Function(write), Detections(x, [y]), ModelOutput(x=z))
    assert torch.equal(capture.output, 3 * (image(4) + 1))  # type: ignore[arg-type]
    assert all(torch.equal(tensor, image(4)) for tensor in (x, y, z))


# ── What a run costs ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("inplace", [False, True])
def test_every_network_runs_once(inplace: bool) -> None:
    model = Counted(nn.Conv2d(3, 4, 3), nn.ReLU(inplace), nn.BatchNorm2d(4), nn.ReLU(inplace), nn.Dropout())
    runs: list[int] = []
    model.register_forward_hook(lambda module, args, output: runs.append(1))
    for size in (8, 12):
        capture_activations(model, image(size))
    assert len(runs) == 2
    assert model.forwards == 0  # as it was found


def test_container_and_last_child_share_memory() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.ReLU(inplace=True)).eval()
    capture = capture_activations(model, image(8))
    memory = {name: capture[name].tensor.data_ptr() for name in ("0.0", "0.1", "0", "1", "(output)")}
    assert memory["0.1"] == memory["0"]
    assert memory["1"] == memory["(output)"]
    assert len(set(memory.values())) == 3
    assert capture.nbytes == 3 * 4 * 6 * 6 * 4


def test_control_flow_that_changes() -> None:
    def sometimes(x: Tensor, quietly: bool, counted: bool) -> Tensor:
        if quietly:
            x.data.add_(1)
        return x.mul_(2) if counted else x * 2

    class Changing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.extra = nn.Conv2d(4, 4, 1)
            self.write = Function(sometimes)

        def forward(self, x: Tensor, extra: bool, counted: bool) -> Any:
            x = self.write(self.conv(x), False, counted)
            return self.write(self.extra(x), True, counted) if extra else x

    model = Changing()
    for switches in ((False, False), (False, True), (True, False), (True, True), (False, False)):
        assert_true(capture_activations(model, image(4), *switches), reference(model, image(4), *switches))


def test_only_layers_to_keep_are_copied() -> None:
    copied: list[int] = []

    class Watched(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            copied.append(func is torch.ops.aten.clone.default)
            return func(*args, **(kwargs or {}))

    with Watched():
        capture = capture_activations(Twice(), image(6), keep=lambda layer: layer.path == "relu" and layer.call > 1)
    assert [str(layer) for layer in capture] == ["relu:2", "relu:3"]
    # The input, the output, and two layers.
    assert sum(copied) == 4
    assert capture.output is not None


def test_nothing_to_keep_is_no_error() -> None:
    assert len(capture_activations(Twice(), image(6), keep=lambda layer: False)) == 0


class Workspace(nn.Module):
    """Puts out memory that it keeps for the next time."""

    def __init__(self) -> None:
        super().__init__()
        self.room = torch.zeros(1, 3, 6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return torch.mul(x, 2, out=self.room)


def test_what_a_module_keeps_is_not_what_a_capture_holds() -> None:
    model = nn.Sequential(Workspace())
    for _ in range(2):
        earlier = capture_activations(model, torch.ones(1, 3, 6, 6))
        capture_activations(model, torch.full((1, 3, 6, 6), 5.0))
        assert (earlier["0"].tensor == 2).all()


class Constant(nn.Module):
    """Puts out a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 4, 64, 64))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight


def test_a_weight_that_blocks_pass_on_is_copied_once() -> None:
    model = nn.Sequential(nn.Sequential(Constant()))
    for _ in range(2):
        capture = capture_activations(model, image(3))
        assert len(capture) == 3
        assert capture.nbytes == 4 * 64 * 64 * 4
        assert capture["0.0"].tensor.data_ptr() != model[0][0].weight.data_ptr()  # type: ignore[index,union-attr]


def test_copies_of_a_module_do_not_bring_its_hook_along() -> None:
    one = nn.Sequential(nn.Conv2d(3, 3, 1))
    model = nn.Sequential(one, nn.ReLU(), copy.copy(one))
    capture = capture_activations(model, image(3))
    assert [str(layer) for layer in capture] == ["0.0", "0", "1", "0.0:2", "2", "(output)"]
    assert torch.equal(capture["2"].tensor, capture.output)


class CopiesItself(nn.Module):
    """Has a copy of its child made in the forward do the work."""

    copies: ClassVar[list[nn.Module]] = []

    def __init__(self) -> None:
        super().__init__()
        self.child = nn.Conv2d(3, 3, 1)
        self.cannot_be_copied = threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        self.copies.append(copy.deepcopy(self.child))
        out: Tensor = self.copies[-1](x)
        return out


def test_a_deep_copy_made_in_the_forward_is_a_copy_of_that_module_alone() -> None:
    model = CopiesItself()
    capture = capture_activations(model, image(3), cancelled=threading.Event().is_set)
    assert [str(layer) for layer in capture] == ["(output)"]
    assert "the forward of the network calls a Conv2d that is not registered" in capture.omitted["Conv2d"]
    (hook,) = model.copies.pop()._forward_hooks.values()
    assert hook._own is model.child  # type: ignore[attr-defined]


class InPlace(nn.Module):
    """Takes an activation of another capture, writes to it, and puts it out."""

    def forward(self, of: Activation) -> Activation:
        return Activation(of.layer, of.kind, of.tensor.relu_())


def test_an_activation_is_an_input_and_an_output_like_any_other() -> None:
    given = Activation(Layer("there"), "Conv2d", torch.full((1, 1, 2, 2), -1.0))
    capture = capture_activations(InPlace(), given)
    assert given.tensor.min() == -1
    assert torch.equal(capture["(output)[tensor]"].tensor, torch.zeros(1, 1, 2, 2))


class Differentiated(nn.Module):
    """Puts its child's output through a transform, whose tensors have no memory that one may ask about."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        slope: Tensor = torch.func.jacfwd(lambda z: self.act(z).sum())(x)
        return slope


@pytest.mark.filterwarnings("ignore::FutureWarning:torch")
def test_a_transform_inside_is_left_out_and_the_forward_goes_on() -> None:
    model = nn.Sequential(nn.Tanh(), Differentiated())
    with torch.no_grad():
        expected = model(torch.ones(1, 1, 2, 2))
    capture = capture_activations(model, torch.ones(1, 1, 2, 2))
    assert [str(layer) for layer in capture] == ["0", "1", "(output)"]
    assert torch.equal(capture[""].tensor, expected)
    assert "1.act was left out: it ran inside torch.vmap" in capture.omitted["1.act"]


def test_a_lazy_module_is_captured() -> None:
    capture = capture_activations(nn.Sequential(nn.LazyConv2d(4, 1), nn.ReLU()), image(3))
    assert capture["0"].tensor.shape[1] == 4


# ── The model is left as it was found ─────────────────────────────────────────────────────────────────────────────────


def state_of(model: nn.Module) -> dict[str, Any]:
    modules = dict(model.named_modules())
    return {
        "modes": {path: module.training for path, module in modules.items()},
        "hooks": {path: list(module._forward_hooks) for path, module in modules.items()},
        "pre-hooks": {path: list(module._forward_pre_hooks) for path, module in modules.items()},
        "values": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "tensors": {name: id(tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())},
        "gradients": {name: tensor.requires_grad for name, tensor in model.named_parameters()},
        "grad mode": torch.is_grad_enabled(),
        "random": torch.get_rng_state(),
    }


def assert_untouched(model: nn.Module, before: dict[str, Any]) -> None:
    after = state_of(model)
    tensors = before["values"], after["values"]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    assert torch.equal(before["random"], after["random"])
    for key in set(before) - {"values", "random"}:
        assert before[key] == after[key], key


class Restless(nn.Module):
    """Does to its buffers what a forward may do: resize, fill what was empty, write past torch's counter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("resized", torch.ones(2))
        self.register_buffer("empty", None)
        self.register_buffer("quiet", torch.zeros(1))
        self.register_buffer("sparse", torch.eye(2).to_sparse())
        self.register_buffer("kept", torch.full((1,), torch.nan))

    def forward(self, x: Tensor) -> Tensor:
        self.resized.resize_(5).zero_()
        self.empty = x.mean()[None]
        self.quiet.data.add_(1)
        self.sparse.mul_(2)
        torch.rand(3)
        return x + self.quiet


def test_buffers_are_left_as_they_were_found_whatever_is_done_to_them() -> None:
    model = Restless()
    random = torch.get_rng_state()
    first, second = capture_activations(model, image(3)), capture_activations(model, image(3))
    assert torch.equal(first[""].tensor, second[""].tensor)
    assert torch.equal(random, torch.get_rng_state())
    assert model.resized.tolist() == [1, 1]
    assert model.empty is None
    assert model.quiet.tolist() == [0]
    assert torch.equal(model.sparse.to_dense(), torch.eye(2))
    assert model.kept.isnan().all()


class Counter(nn.Module):
    """Writes to its buffers in eval mode too, and puts another in the place of one."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))
        self.register_buffer("last", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.last = x.mean()[None]
        return x * self.count


def awkward_model(ending: nn.Module) -> nn.Module:
    """In training mode, apart from one module; with dropout, batch norm, buffers that change, something in place."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(4)),
        Counter(),
        Function(lambda x: F.dropout(x, training=True)),
        ending,
    )
    model.train()
    model[3][1].eval()  # type: ignore[index]
    model.register_forward_hook(lambda module, args, output: None)
    return model


def broken(x: Tensor) -> Tensor:
    torch.set_grad_enabled(True)
    raise ValueError("half way.")


@pytest.mark.parametrize(
    ("ending", "error"),
    [(nn.Identity(), None), (Function(broken), ForwardError), (nn.Linear(1, 1), ForwardError)],
)
def test_the_model_is_left_as_it_was_found(ending: nn.Module, error: type[Exception] | None) -> None:
    model = awkward_model(ending)
    before = state_of(model)
    if error is None:
        capture_activations(model, image(8))
    else:
        with pytest.raises(error):
            capture_activations(model, image(8))
    assert_untouched(model, before)


@pytest.mark.parametrize("layers", range(9))
def test_a_cancel_leaves_it_as_well(layers: int) -> None:
    model = awkward_model(nn.Identity())
    before = state_of(model)
    asked = iter([False] * layers + [True] * 100)
    with pytest.raises(Cancelled) as caught:
        capture_activations(model, image(8), cancelled=lambda: next(asked))
    assert_untouched(model, before)
    assert held_by_recorders() == []
    assert caught.value.__context__ is None


def test_a_cancel_goes_through_a_model_that_catches_everything() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            try:
                x = self.part(x)
            except Exception as error:
                raise RuntimeError("something went wrong") from error
            return x

    asked = iter([False, True])
    with pytest.raises(Cancelled):
        capture_activations(Stubborn(), image(4), cancelled=lambda: next(asked))


def test_a_cancel_is_not_forgotten_by_a_model_that_goes_on() -> None:
    class Deaf(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            with contextlib.suppress(Exception):
                x = super().forward(x)
            return x

    asked = iter([False, False, True, False, False])
    with pytest.raises(Cancelled) as caught:
        capture_activations(Deaf(nn.Identity(), nn.Identity()), image(4), cancelled=lambda: next(asked))
    assert held_by_recorders() == []
    assert caught.value.__context__ is None


def held_by_recorders() -> list[Layer]:
    """What is still in memory although the run is over, because a traceback holds it."""
    gc.collect()
    recorders = [thing for thing in gc.get_objects() if type(thing) is fmviz.recording.Recorder]
    return [layer for recorder in recorders for layer in recorder.records()]


def test_keyboard_interrupt_passes() -> None:
    def interrupted(x: Tensor) -> Tensor:
        raise KeyboardInterrupt

    model = awkward_model(Function(interrupted))
    before = state_of(model)
    with pytest.raises(KeyboardInterrupt):
        capture_activations(model, image(8))
    assert_untouched(model, before)


def test_batch_norm_and_dropout_run_as_in_eval() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).eval()
    expected = reference(model, image(8))
    assert_true(capture_activations(model.train(), image(8)), expected)


def test_a_run_sees_the_random_numbers_of_a_plain_forward() -> None:
    model = nn.Sequential(Function(lambda x: F.dropout(x, training=True)), nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
    torch.manual_seed(5)
    expected = reference(model, image(8))
    torch.manual_seed(5)
    assert_true(capture_activations(model, image(8)), expected)


def test_the_users_hooks_run_first_and_stay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    seen: list[Tensor] = []
    model[0].register_forward_hook(lambda module, args, output: output * 2)
    model[1].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    before = state_of(model)
    capture = capture_activations(model, image(4))
    assert torch.equal(capture["0"].tensor, seen[0])
    assert_untouched(model, before)


# ── Memory that is somebody else's ────────────────────────────────────────────────────────────────────────────────────


def test_inputs_may_be_changed_afterwards() -> None:
    x = image(4)
    capture = capture_activations(nn.Sequential(nn.Identity(), nn.Identity()), x)
    x.zero_()
    assert torch.equal(capture["0"].tensor, image(4))
    assert torch.equal(capture["(output)"].tensor, image(4))


def test_weights_that_are_put_out_are_copied() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self) -> Tensor:
            return self.weight

    model = Table()
    capture = capture_activations(model)
    with torch.no_grad():
        model.weight.zero_()
    assert torch.equal(capture["(output)"].tensor, torch.ones(3))
    assert not capture["(output)"].tensor.requires_grad


def test_without_gradients() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), Function(torch.enable_grad()(lambda x: x * model[0].weight.sum())))
    capture = capture_activations(model, image(4).requires_grad_())
    assert not any(activation.tensor.requires_grad for activation in capture.values())
    assert not capture.output.requires_grad  # type: ignore[attr-defined]


@pytest.mark.parametrize("inside", [True, False])
def test_inference_tensors(inside: bool) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)).eval()
    expected = reference(model, image(4))
    with torch.inference_mode():
        x = image(4)
    with torch.inference_mode(inside):
        capture = capture_activations(model, x)
    assert_true(capture, expected)


def test_a_forward_under_inference_mode() -> None:
    class Inference(Twice):
        @torch.inference_mode()
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    model = Inference()
    expected = reference(model, image(4))
    assert_true(capture_activations(model, image(4)), expected)
    assert not any(activation.tensor.is_inference() for activation in capture_activations(model, image(4)).values())


# ── Errors ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_exception_half_way() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Sequential(OrderedDict(head=nn.Linear(5, 2))), nn.ReLU()
    )
    with pytest.raises(ForwardError, match=r"layer “2\.head” \(Linear\) with RuntimeError: .*shapes") as caught:
        capture_activations(model, image(4))
    partial = caught.value.capture
    assert isinstance(partial, Capture)
    assert [str(layer) for layer in partial] == ["0", "1"]
    # The partial capture is as true as a whole one.
    with torch.no_grad():
        assert torch.equal(partial["0"].tensor, model[0](image(4)))
    assert partial.output is None


@pytest.mark.parametrize(("fed", "kind"), [("cat.png", "str"), (np.zeros((8, 8, 3), np.uint8), "ndarray")])
def test_what_is_no_tensor_is_said_to_be_none(fed: object, kind: str) -> None:
    with pytest.raises(ForwardError, match=rf"its input is a {kind} and not a tensor; `fmviz\.Session` runs"):
        capture_activations(nn.Conv2d(3, 4, 1), fed)


def test_a_forward_that_takes_something_else() -> None:
    with pytest.raises(ForwardError, match=r"the forward of the whole network \(Twice\) with TypeError"):
        capture_activations(Twice(), image(4), image(4))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
)
def test_out_of_memory(error: Exception) -> None:
    kept: list[weakref.ref[Tensor]] = []

    def full(x: Tensor) -> Tensor:
        kept.append(weakref.ref(x))
        raise error

    with pytest.raises(DeviceError, match=r"memory on cpu in layer “1” \(Function\): choose a smaller input") as caught:
        capture_activations(nn.Sequential(nn.Conv2d(3, 4, 1), Function(full)), image(4))
    # Nothing holds the activations while the user reads: what raised is not the cause, and its frames are gone.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert held_by_recorders() == []
    error.__traceback__ = None
    assert [reference() for reference in kept] == [None]


def test_memory_that_truly_gives_out() -> None:
    with pytest.raises(DeviceError, match="not enough memory on cpu"):
        capture_activations(Function(lambda x: x.new_empty(1 << 60)), image(4))


def test_a_module_that_calls_no_hooks() -> None:
    class Bare(nn.Module):
        def __call__(self, x: Tensor) -> Tensor:
            return x + 1

    with pytest.raises(ForwardError, match="No layer of this Bare could be seen"):
        capture_activations(Bare(), image(4))


def test_a_compiled_module_is_seen_whole() -> None:
    compiled: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        compiled.append(len(inputs))
        return graph.forward

    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True)).eval()
    expected = reference(plain, image(4))
    plain.compile(backend=backend)
    with torch.no_grad():
        plain(image(4))
    before = len(compiled)
    assert_true(capture_activations(plain, image(4)), expected)
    assert len(compiled) == before > 0


# ── The mapping ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_layers_are_found_by_text_and_by_value() -> None:
    capture = capture_activations(Twice(), image(4))
    assert capture["relu:2"] is capture[Layer("relu", 2)]
    assert capture["relu:1"].kind == "ReLU"
    assert "relu:3" in capture
    assert "relu:4" not in capture
    assert 3 not in capture
    assert capture.get("relu:4") is None
    assert capture.get("conv") is capture["conv"]
    assert "6 layers" not in repr(capture)
    assert "5 layers" in repr(capture)


@pytest.mark.parametrize(("wrong", "remedy"), [("relo", "relu"), ("relu:9", "relu"), ("zzzzzz", "conv")])
def test_an_unknown_layer_names_the_nearest(wrong: str, remedy: str) -> None:
    with pytest.raises(LayerError, match=f"no layer “{wrong}” .* did you mean .*{remedy}"):
        capture_activations(Twice(), image(4))[wrong]


def test_an_unknown_layer_with_parts_names_the_parts() -> None:
    capture = capture_activations(nn.Sequential(Function(lambda x: {"p3": x, "p4": x})), image(4))
    with pytest.raises(LayerError, match=r"did you mean 0\[p3\] or 0\[p4\]\?"):
        capture["0"]


def test_names_that_look_like_calls() -> None:
    model = nn.Module()
    model.forward = lambda x: model.get_submodule("a:2")(x)  # type: ignore[method-assign]
    model.add_module("a:2", nn.Identity())
    assert capture_activations(model, image(4))["a:2"].layer == Layer("a:2")


def test_a_module_under_two_names_goes_by_the_first() -> None:
    relu = nn.ReLU(inplace=True)
    model = nn.Sequential(OrderedDict(first=relu, conv=nn.Conv2d(3, 3, 1), second=relu))
    assert [str(layer) for layer in capture_activations(model, image(4))] == ["first", "conv", "first:2", "(output)"]


def test_annotations() -> None:
    capture = capture_activations(Twice(), image(4))
    named = capture.annotated(taps={"C2": "relu", "C3": "conv", "C4": "absent"}, predictions=[("cat", 0.9)])
    assert dict(named.taps) == {"C2": capture["relu:3"], "C3": capture["conv"]}
    assert named.predictions == [("cat", 0.9)]
    assert dict(named) == dict(capture)
    assert named.output is capture.output
    assert named.seconds == capture.seconds > 0
    assert (named.picture, named.input, capture.taps) == (None, None, {})


def test_the_taps_of_our_networks() -> None:
    row = backbone("efficientnet_lite0_fpn")
    capture = capture_activations(row.build(), image()).annotated(taps=row.taps)
    assert list(capture.taps) == list(row.taps)
    assert [capture.taps[tap].tensor.shape[-1] for tap in ("C2", "C3", "C4", "C5", "P2", "P5")] == [16, 8, 4, 2, 16, 2]


def test_in_another_thread() -> None:
    found: list[Capture] = []
    thread = threading.Thread(target=lambda: found.append(capture_activations(Twice(), image(4))))
    thread.start()
    thread.join()
    assert not any(activation.tensor.requires_grad for activation in found[0].values())


def test_the_examples_run() -> None:
    assert doctest.testmod(fmviz.capture).failed == 0
