"""A capture is exactly one forward, and leaves the model and all random generators as they were found."""

from __future__ import annotations

import collections
import copy
import functools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmviz.as_found import PARAMETER_LIMIT
from fmviz.capture import capture_activations
from fmviz.errors import ForwardError
from fmviz.networks.catalog import backbone
from fmviz.table import layer_table


def image(size: int = 8) -> Tensor:
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))


def plain(model: nn.Module, *args: Any) -> Any:
    """The output of a forward of a copy of the model, from the present state of all generators, which are then restored."""
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    with torch.no_grad():
        output = copy.deepcopy(model).eval()(*args)
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])
    return output


@dataclass
class Trace:
    steps: int
    tensors: list[Tensor]


class Steps(nn.Module):
    steps = 0

    def forward(self) -> None:
        self.steps += 1


class Stateful(nn.Module):
    """A module with state of every kind in plain attributes. Its forward changes all of it, and ends with a ReLU in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.act = nn.ReLU(inplace=True)
        self.potential: Tensor | None = None
        self.steps = 0
        self.history: list[Tensor] = [torch.ones(2)]
        self.cache: dict[str, Any] = {"last": torch.zeros(3), "deep": {"sizes": [1, 2]}}
        self.seen = {1}
        self.recent = collections.deque([0], maxlen=3)
        self.counts = collections.Counter({"a": 1})
        self.nothing: list[int] = []
        self.array = np.zeros(4)
        self.alias = self.cache["last"]
        self.view = self.alias[1:]
        self.generator = torch.Generator().manual_seed(4)
        self.python = random.Random(4)
        self.numpy = np.random.default_rng(4)
        self.legacy = np.random.RandomState(4)
        self.going: int | None = 3
        self.record = Trace(0, [torch.zeros(1)])
        self.hidden = [Steps()]

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        self.history.append(x)
        self.history[0].add_(1)
        self.cache["last"].data.sub_(1)
        self.cache["deep"]["sizes"].append(3)
        self.cache["new"] = x
        self.seen.add(2)
        self.recent.append(7)
        self.counts["a"] += 1
        self.nothing.append(1)
        self.array[0] += 5
        self.arrived = True
        self.record.steps += 1
        self.record.tensors[0] += 1
        self.hidden[0]()
        del self.going
        noise = (
            torch.rand(x.shape, generator=self.generator)
            * self.python.random()
            * self.numpy.random()
            * self.legacy.rand()
        )
        y = self.conv(x) * noise + random.random() + float(np.random.rand()) + torch.rand(1)
        self.potential = y if self.potential is None else self.potential + y
        out: Tensor = self.act(self.potential.clone())
        return out


def state_of(model: Stateful) -> dict[str, Any]:
    return {
        "steps": model.steps,
        "potential": model.potential,
        "history": [tensor.tolist() for tensor in model.history],
        "cache": {
            key: value.tolist() if isinstance(value, Tensor) else copy.deepcopy(value)
            for key, value in model.cache.items()
        },
        "seen": set(model.seen),
        "recent": list(model.recent),
        "counts": dict(model.counts),
        "nothing": list(model.nothing),
        "array": model.array.tolist(),
        "view": model.view.tolist(),
        "generator": model.generator.get_state().tolist(),
        "python": model.python.getstate(),
        "numpy": str(model.numpy.bit_generator.state),
        "legacy": str(model.legacy.get_state()),
        "record": (model.record.steps, model.record.tensors[0].item()),
        "hidden": model.hidden[0].steps,
        "going": vars(model).get("going", "gone"),
        "names": set(vars(model)),
        "global": (torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())),
    }


@pytest.mark.parametrize("stops", [False, True])
def test_state_in_attributes_is_restored_in_place(stops: bool) -> None:
    model = Stateful()
    parts = [
        model.history,
        model.history[0],
        model.cache,
        model.alias,
        model.view,
        model.seen,
        model.recent,
        model.array,
    ]
    network = nn.Sequential(model, nn.Linear(1, 1) if stops else nn.Identity())
    before, expected = state_of(model), plain(model, image())
    for _ in range(2):
        if stops:
            with pytest.raises(ForwardError, match="Linear") as caught:
                capture_activations(network, image())
            capture: Any = caught.value.capture
        else:
            capture = capture_activations(network, image())
        assert torch.equal(capture["0"].tensor, expected)
        assert capture.problems == ()
        assert state_of(model) == before
    now = [model.history, model.history[0], model.cache, model.alias, model.view, model.seen, model.recent, model.array]
    assert all(one is other for one, other in zip(parts, now, strict=True))
    assert model.cache["last"] is model.alias
    assert model.view.data_ptr() == model.alias[1:].data_ptr()


def double_in_place(module: nn.Conv2d) -> None:
    module.weight.mul_(2)


def double_past_the_counter(module: nn.Conv2d) -> None:
    module.weight.data.mul_(2)


def double_by_numpy(module: nn.Conv2d) -> None:
    module.weight.detach().numpy()[...] *= 2


def other_memory(module: nn.Conv2d) -> None:
    module.weight.data = module.weight * 2


def other_parameter(module: nn.Conv2d) -> None:
    module.weight = nn.Parameter(module.weight * 2)


def frozen(module: nn.Conv2d) -> None:
    module.requires_grad_(False)
    module.weight.data *= 2


def backward(module: nn.Conv2d) -> None:
    with torch.enable_grad():
        module.weight.square().sum().backward()
    module.weight.data += module.weight.grad  # type: ignore[operator]


@pytest.mark.parametrize(
    "write",
    [double_in_place, double_past_the_counter, double_by_numpy, other_memory, other_parameter, frozen, backward],
)
def test_parameters_are_restored(write: Callable[[nn.Conv2d], None]) -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 64, 9)
            self.tied = self.conv.weight

        def forward(self, x: Tensor) -> Tensor:
            write(self.conv)
            out: Tensor = self.conv(x)
            return out

    model = Writes()
    weight, values = model.conv.weight, model.conv.weight.detach().clone()
    for _ in range(2):
        capture = capture_activations(model, image(9))
        assert torch.equal(
            capture[""].tensor, F.conv2d(image(9), values * (3 if write is backward else 2), model.conv.bias)
        )
        assert capture.problems == ()
        assert model.conv.weight is weight is model.tied
        assert torch.equal(weight, values)
        assert weight.requires_grad
        assert weight.grad is None


def test_a_write_to_parameters_that_are_too_large_to_back_up_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Writes(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            self.weight.mul_(2)
            return super().forward(x)

    assert PARAMETER_LIMIT == 1 << 30
    monkeypatch.setattr("fmviz.as_found.PARAMETER_LIMIT", 10)
    capture = capture_activations(nn.Sequential(Writes(4, 4)), torch.ones(1, 4))
    assert capture.problems == (
        "The forward wrote to a parameter of layer “0”, of which no backup was made: it keeps the new values.",
    )


def test_networks_of_libraries_do_not_write_to_parameters() -> None:
    from torchvision import models

    for name in ("resnet18", "mobilenet_v3_small", "swin_t", "convnext_tiny", "vit_b_32", "maxvit_t", "squeezenet1_1"):
        model = models.get_model(name, weights=None)
        before = {key: (value, value.detach().clone()) for key, value in model.named_parameters()}
        capture = capture_activations(model, image(224))
        assert capture.problems == ()
        assert all(dict(model.named_parameters())[key] is value for key, (value, _) in before.items())
        assert all(torch.equal(value, saved) for value, saved in before.values())


def test_modules_made_in_the_forward_are_captured_and_removed() -> None:
    class Makes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 4, 3)
            self.b: nn.Module | None = None
            self.c: nn.Module = nn.Identity()
            self.d = nn.Sequential(nn.ReLU())
            self.e = nn.ModuleList()

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            if self.b is None:
                self.b = nn.Sequential(nn.Conv2d(4, 5, 1))
            self.c = nn.Tanh()
            y = self.d(self.c(self.b(y)))
            del self.d
            self.e.append(nn.Sigmoid())
            return nn.Softmax(1)(self.e[0](self.c(y)))

    model = Makes()
    torch.manual_seed(0)
    expected = plain(model, image())
    before = [(path, id(module)) for path, module in model.named_modules()]
    for _ in range(2):
        capture = capture_activations(model, image())
        assert [str(layer) for layer in capture] == ["a", "b.0", "b", "c", "d.0", "d", "c:2", "e.0", "(output)"]
        assert torch.equal(capture[""].tensor, expected)
        assert dict(capture.omitted) == {
            "Softmax": "Softmax was left out: the forward of the network calls a Softmax that is not registered as a module of "
            "the network, so that it has no name."
        }
        assert model.b is None
        assert [(path, id(module)) for path, module in model.named_modules()] == before
        assert not any(module._forward_hooks for module in model.modules())


def test_modules_in_a_plain_list_are_named_as_omitted() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Conv2d(3, 3, 1), nn.ReLU()]

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = layer(x)
            return x

    capture = capture_activations(nn.Sequential(Hidden()), image())
    assert list(capture.omitted) == ["0.Conv2d", "0.ReLU"]
    assert "the forward of layer “0” calls a ReLU" in capture.omitted["0.ReLU"]


def test_a_failing_restoration_is_reported_and_the_rest_is_restored() -> None:
    class Locked(dict[str, int]):
        def clear(self) -> None:
            raise RuntimeError("locked")

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(1))
            self.locked = Locked(a=1)
            self.steps = 0

        def forward(self, x: Tensor) -> Tensor:
            self.count += 1
            dict.__setitem__(self.locked, "b", 2)
            self.steps += 1
            return x + 1

    model = Model()
    state = torch.get_rng_state()
    capture = capture_activations(model, image())
    assert torch.equal(capture[""].tensor, image() + 1)
    assert capture.problems == (
        "After the forward, a mapping in the network could not be restored: RuntimeError: locked.",
    )
    assert model.count.item() == model.steps == 0
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_part_is_one_layer_and_its_buffers_are_restored() -> None:
    class Count(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("n", torch.zeros(1))
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            self.n += 1
            return torch.relu_(self.conv(x))

    model = nn.Sequential(Count(), torch.jit.script(Count()), nn.ReLU(inplace=True)).train()
    expected = plain(model, image())
    capture = capture_activations(model, image())
    assert [str(layer) for layer in capture] == ["0.conv", "0", "1", "2", "(output)"]
    assert torch.equal(capture["2"].tensor, expected)
    assert list(capture.omitted) == ["1.conv"]
    assert [module.n.item() for module in (model[0], model[1])] == [0, 0]  # type: ignore[operator]
    assert all(module.training for module in model)
    with pytest.raises(ForwardError, match="TorchScript runs without the hooks of its modules: give the plain module"):
        capture_activations(torch.jit.script(nn.Conv2d(3, 4, 3)), image())


# ── Containers and objects ────────────────────────────────────────────────────────────────────────────────────────────


class Pair(tuple[Any, ...]):
    def __new__(cls, a: object, b: object) -> Pair:
        return super().__new__(cls, (a, b))


class Frozen(dict[str, Any]):
    def __setitem__(self, key: str, value: object) -> None:
        raise TypeError("frozen")


class Reversing(tuple[Any, ...]):
    def __new__(cls, parts: list[Any]) -> Reversing:
        return super().__new__(cls, parts[::-1])


class Nested:
    def __init__(self, tensors: Tensor, mask: Tensor | None = None) -> None:
        self.tensors, self.mask = tensors, mask


class Slotted:
    __slots__ = ("image_sizes", "tensor", "unset")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.image_sizes = tensor, [(3, 4)]


class Instances:
    def __init__(self, scores: Tensor) -> None:
        self._fields = {"scores": scores, "boxes": Nested(scores)}
        self.image_size = (3, 4)


@pytest.mark.parametrize(
    ("wrap", "names", "omitted"),
    [
        (lambda t: MappingProxyType({"a": t}), ["[a]"], []),
        (lambda t: Pair(t, t * 2), ["[0]", "[1]"], []),
        (lambda t: Reversing([t, t * 2]), ["[0]", "[1]"], []),
        (lambda t: Frozen(a=t), ["[a]"], []),
        (lambda t: collections.UserDict(a=[t]), ["[a][0]"], []),
        (lambda t: collections.deque([t]), ["[0]"], []),
        (lambda t: Nested(t), ["[tensors]"], []),
        (lambda t: [Nested(t, t > 0)], ["[0][tensors]", "[0][mask]"], []),
        (lambda t: Slotted(t), ["[tensor]"], []),
        (lambda t: Instances(t), ["[_fields][scores]"], ["[_fields][boxes]"]),
        (lambda t: torch.distributions.Normal(t, t.abs() + 1), ["[loc]", "[scale]"], []),
        (lambda t: (t, {t}), ["[0]"], ["[1]"]),
        (lambda t: (t, t.numpy()), ["[0]"], ["[1]"]),
        (lambda t: (part for part in [t]), [], [""]),
        (lambda t: Nested(None), [], [""]),  # type: ignore[arg-type]
        (lambda t: None, [], []),
    ],
)
def test_outputs_of_every_class_are_captured_or_named(
    wrap: Callable[[Tensor], Any], names: list[str], omitted: list[str]
) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.body = Wrap()

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            self.body(y)
            return y.mul_(0)

    class Wrap(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return wrap(x)

    model = Net().eval()
    capture = capture_activations(model, image())
    assert [layer.item for layer in capture if layer.path == "body"] == names
    assert [name.removeprefix("body") for name in capture.omitted] == omitted
    with torch.no_grad():
        expected = model.conv(image())
    for layer in capture:
        if layer.path == "body" and layer.item in ("[a]", "[tensors]", "[tensor]", "[loc]", "[a][0]", "[0][tensors]"):
            assert torch.equal(capture[layer].tensor, expected)


def test_an_attribute_of_an_output_is_found_by_its_name() -> None:
    class Body(nn.Module):
        def forward(self, x: Tensor) -> Nested:
            return Nested(x + 1)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Body()

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x).tensors.relu()  # type: ignore[no-any-return]

    capture = capture_activations(Net(), image())
    assert capture["body.tensors"] is capture["body[tensors]"]
    assert capture_activations(Body(), image())["(output).tensors"].layer.item == "[tensors]"


def test_inputs_in_containers_that_cannot_be_rebuilt_are_restored() -> None:
    class Writes(nn.Module):
        def forward(self, pair: Pair, nested: Nested) -> Tensor:
            return pair[0].add_(1) + nested.tensors.add_(1)  # type: ignore[no-any-return]

    x, y = image(), image()
    capture = capture_activations(Writes(), Pair(x, 3), Nested(y))
    assert torch.equal(capture[""].tensor, 2 * (image() + 1))
    assert torch.equal(x, image())
    assert torch.equal(y, image())


# ── Memory that modules use again ─────────────────────────────────────────────────────────────────────────────────────

GLOBAL = {"memory": torch.empty(1, 3, 8, 8)}


class Holder:
    memory = torch.empty(1, 3, 8, 8)


class InList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory = [torch.empty(1, 3, 8, 8)]

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, 1, out=self.memory[0])


class InObject(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, 1, out=Holder.memory)


class InGlobal(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, 1, out=GLOBAL["memory"])


class InArray(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory = np.empty((1, 3, 8, 8), np.float32)

    def forward(self, x: Tensor) -> Tensor:
        self.memory[...] = x.numpy() + 1
        return torch.from_numpy(self.memory)


@pytest.mark.parametrize("kind", [InList, InObject, InGlobal, InArray])
def test_memory_used_again_does_not_change_an_earlier_capture(kind: Callable[[], nn.Module]) -> None:
    model = nn.Sequential(kind())
    first = capture_activations(model, torch.zeros(1, 3, 8, 8))
    capture_activations(model, torch.full((1, 3, 8, 8), 7.0))
    assert [first[name].tensor.max().item() for name in ("0", "")] == [1, 1]
    assert first.output.max() == 1  # type: ignore[attr-defined]


def test_a_late_write_past_the_counter() -> None:
    class Clips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            if x.mean() < 0.4:
                y.data.clamp_(0, 0.05)
            return y.mean()  # type: ignore[no-any-return]

    model = Clips()
    capture_activations(model, torch.ones(1, 3, 8, 8))
    dark = torch.rand(1, 3, 8, 8) * 0.3
    with torch.no_grad():
        assert torch.equal(capture_activations(model, dark)["conv"].tensor, model.conv(dark))


# ── Faults of fmviz are not the network's ─────────────────────────────────────────────────────────────────────────────


def by_vmap(layer: nn.Module, x: Tensor) -> Tensor:
    return torch.vmap(layer)(x[None])


def by_jacrev(layer: nn.Module, x: Tensor) -> Tensor:
    return torch.func.jacrev(layer)(x)  # type: ignore[no-any-return]


def by_functional_call(layer: nn.Module, x: Tensor) -> Tensor:
    return torch.func.functional_call(layer, dict(layer.named_parameters()), (x,))  # type: ignore[no-any-return]


@pytest.mark.parametrize(("how", "captured"), [(by_vmap, False), (by_jacrev, False), (by_functional_call, True)])
def test_transforms_of_torch_func(how: Callable[[nn.Module, Tensor], Tensor], captured: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 4)
            self.last = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.last(how(self.layer, x))
            return out

    model, x = Net(), torch.rand(8)
    capture = capture_activations(model, x)
    assert torch.equal(capture[""].tensor, plain(model, x))
    assert ("layer" in capture) is captured
    assert ("layer" in capture.omitted) is not captured


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.float32, torch.bool, torch.complex128])
def test_strided_outputs(dtype: torch.dtype) -> None:
    class Even(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[..., ::2]

    x = image().to(dtype)
    assert torch.equal(capture_activations(nn.Sequential(Even()), x)["0"].tensor, x[..., ::2])


def test_an_output_that_cannot_be_copied_is_left_out_with_its_reason() -> None:
    class Wrap(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.as_subclass(Refusing)

    class Unwrap(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.as_subclass(Tensor) + 1

    capture = capture_activations(nn.Sequential(Wrap(), Unwrap()), image())
    assert "ValueError: not this one" in capture.omitted["0"]
    assert torch.equal(capture["1"].tensor, image() + 1)


def test_what_the_caller_asks_may_fail_and_is_not_the_networks_error() -> None:
    def keep(layer: object) -> bool:
        raise LookupError("in keep")

    with pytest.raises(LookupError, match="in keep"):
        capture_activations(nn.ReLU(), image(), keep=keep)
    with pytest.raises(TypeError, match="keep is a function"):
        capture_activations(nn.ReLU(), image(), keep="layer2*")  # type: ignore[arg-type]


@pytest.mark.parametrize("inside", [False, True])
def test_other_arguments_are_named(inside: bool) -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return x * mask

    with pytest.raises(ForwardError, match=r"its forward takes \(x, mask\), so pass all of them"):
        capture_activations(Two(), image())


def test_a_call_in_another_thread_is_not_a_layer_of_this_forward() -> None:
    class Waits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            other = threading.Thread(target=lambda: found.append(model[1](torch.zeros(1, 3, 8, 8))))
            other.start()
            other.join()
            return x

    found: list[Tensor] = []
    model = nn.Sequential(Waits(), nn.Conv2d(3, 4, 1))
    capture = capture_activations(model, image(), cancelled=lambda: False)
    assert [str(layer) for layer in capture] == ["0", "1", "(output)"]
    assert torch.equal(capture["1"].tensor, plain(model[1], image()))
    assert list(capture.omitted) == ["1 in another thread"]
    assert found[0].shape == (1, 4, 8, 8)


def test_a_child_with_code_behind_its_hooks_shares_no_copy() -> None:
    class Tenfold(nn.ReLU):
        def __call__(self, x: Tensor) -> Tensor:
            return super().__call__(x).mul_(10)  # type: ignore[no-any-return]

    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), Tenfold()))
    capture = capture_activations(model, image())
    assert torch.equal(capture["0"].tensor, plain(model, image()))
    assert torch.equal(capture["0.1"].tensor * 10, capture["0"].tensor)
    assert torch.equal(capture.output, capture["0"].tensor)  # type: ignore[arg-type]


class Refusing(Tensor):
    """A tensor that cannot be copied."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.clone:
            raise ValueError("not this one")
        return super().__torch_function__(func, types, args, kwargs or {})


def test_an_output_of_the_network_that_cannot_be_copied_is_a_problem_not_a_stop() -> None:
    class Wrap(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x + 1).as_subclass(Refusing)

    capture = capture_activations(Wrap(), image())
    assert "(output)" in capture.omitted
    assert capture.problems == (
        "The output of the network could not be copied and is the network's own: ValueError: not this one.",
    )
    assert type(capture.output) is Refusing


def test_parameters_and_attributes_of_any_kind_are_no_obstacle() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sparse = nn.Parameter(torch.eye(3).to_sparse(), requires_grad=False)
            self.refusing = torch.ones(3).as_subclass(Refusing)
            self.frozen = np.zeros(3)
            self.frozen.flags.writeable = False
            self.huge = np.zeros((1 << 26) // 8 + 1)
            self.lock = threading.Lock()

        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    capture = capture_activations(Odd(), image())
    assert torch.equal(capture[""].tensor, image() + 1)
    assert sorted(capture.problems) == [
        "A tensor of the network could not be backed up: ValueError: not this one.",
        "An array of the network is too large to be backed up: what is written to it stays.",
    ]


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_the_bytes_in_the_table_follow_hooks_and_torchscript() -> None:
    def with_hook(module: nn.Module) -> nn.Module:
        module.register_forward_hook(lambda module, args, output: None)
        return module

    inner = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())
    for model in (
        nn.Sequential(nn.Conv2d(3, 4, 3), torch.jit.script(inner)),
        nn.Sequential(with_hook(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))),
        nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), with_hook(nn.ReLU()))),
        with_hook(backbone("resnet18").build()),
    ):
        held = capture_activations(model, torch.rand(1, 3, 64, 64)).nbytes
        assert held == layer_table(model, 64).totals.capture_bytes


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_nested_tensors_are_captured_and_have_no_maps() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, batch_first=True)
    model = nn.TransformerEncoder(layer, 1).eval()
    mask = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    capture = capture_activations(model, torch.rand(2, 5, 16), src_key_padding_mask=mask)
    nested = [activation for activation in capture.values() if activation.tensor.is_nested]
    assert nested
    assert {activation.why_no_maps for activation in nested} == {
        "It is a nested tensor, whose parts have shapes of their own."
    }


def test_an_object_that_claims_to_be_a_tensor_is_walked_as_an_object() -> None:
    class Proxy:
        @property
        def __class__(self) -> type:  # type: ignore[override]
            return Tensor

        def __init__(self, inner: Tensor) -> None:
            self.inner = inner

    class Net(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            self[0](x)
            return self[1](x)  # type: ignore[no-any-return]

    class Wrap(nn.Module):
        def forward(self, x: Tensor) -> Proxy:
            return Proxy(x + 1)

    capture = capture_activations(Net(Wrap(), nn.ReLU()), image())
    assert [str(layer) for layer in capture] == ["0[inner]", "1", "(output)"]


class BadList(list[Tensor]):
    def __iter__(self) -> Any:
        raise RuntimeError("not walked")


class Closed:
    def __getattribute__(self, name: str) -> Any:
        if name == "__dict__":
            raise RuntimeError("closed")
        return object.__getattribute__(self, name)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (lambda x: BadList([x]), "not walked"),
        (lambda x: Closed(), "closed"),
        (lambda x: functools.reduce(lambda value, _: [value], range(33), x), "which is not walked"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_outputs_that_cannot_be_walked_are_named(output: Callable[[Tensor], Any], reason: str, last: bool) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return output(x)

    class Net(nn.Sequential):
        def forward(self, x: Tensor) -> Any:
            return [module(x) for module in self][-1]

    model = Net(nn.ReLU(), Odd()) if last else Net(Odd(), nn.ReLU())
    capture = capture_activations(model, image())
    assert torch.equal(capture["0" if last else "1"].tensor, image().relu())
    (name,) = [name for name in capture.omitted if name.startswith("1" if last else "0")]
    assert reason in capture.omitted[name]


def test_inputs_that_cannot_be_walked_are_given_as_they_are() -> None:
    class First(nn.Module):
        def forward(self, parts: list[Tensor]) -> Tensor:
            return parts[0] + 1

    capture = capture_activations(First(), BadList([image()]))
    assert torch.equal(capture[""].tensor, image() + 1)
    assert "was given to the network itself: RuntimeError: not walked" in capture.problems[0]


def test_an_error_that_cannot_describe_itself_is_named_by_its_class() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("mute")

    class Raises(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise MuteError

    with pytest.raises(
        ForwardError, match=r"layer “1” \(Raises\) with MuteError; the outputs of the call before it are kept"
    ):
        capture_activations(nn.Sequential(nn.ReLU(), Raises()), image())


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_state_inside_torchscript_is_restored_or_named() -> None:
    class State(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = 0
            self.seen = [0]
            self.register_buffer("total", torch.zeros(1))
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            self.steps += 1
            self.seen.append(1)
            self.total = self.total + 1
            return self.norm(x)  # type: ignore[no-any-return]

    model = nn.Sequential(torch.jit.script(State()), nn.Tanh()).eval()
    capture = capture_activations(model, image())
    assert capture.problems == ("Attributes inside TorchScript (seen, steps) of layer “0” are not restored.",)
    assert model[0].total.item() == 0  # type: ignore[operator,union-attr]
    frozen = nn.Sequential(nn.ReLU(), torch.jit.freeze(torch.jit.script(nn.Conv2d(3, 3, 1).eval())), nn.Tanh())
    capture = capture_activations(frozen, image())
    assert [str(layer) for layer in capture] == ["0", "1", "2", "(output)"]
    assert capture.problems == ()
