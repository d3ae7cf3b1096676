"""Weights files as different programs write them: averages, extra state, partitions, types, reparametrized weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from fmviz.errors import WeightsError
from fmviz.networks.averages import is_averaged
from fmviz.networks.backbone import Backbone
from fmviz.networks.catalog import backbone
from fmviz.networks.folding import MOST_FOLDS, folds_of
from fmviz.networks.proposing import propose
from fmviz.networks.weights import load
from fmviz.preprocess import IMAGENET

State = dict[str, Tensor]


class Net(nn.Module):
    """Two convolutions with batch norm and a classifier: 13 tensors, and two counts of batches."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.norm1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, bias=False)
        self.norm2 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.norm2(self.conv2(self.norm1(self.conv1(x)))).mean((2, 3)))
        return out


def row(build: Callable[[], nn.Module] = Net) -> Backbone:
    parts = MappingProxyType({"classifier": "fc"})
    return Backbone("other/net", "Net", "", 0, build, 0, IMAGENET, dict, group="torchvision", parts=parts)


def state_of(seed: int) -> State:
    torch.manual_seed(seed)
    network = Net().train()
    for _ in range(2):
        network(torch.randn(2, 3, 8, 8))
    return {key: tensor.clone() for key, tensor in network.state_dict().items()}


NETWORK, AVERAGE = state_of(1), state_of(2)


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def loaded(tmp_path: Path, content: object) -> tuple[nn.Module, tuple[str, ...]]:
    network, weights = load(row(), save(tmp_path / "file.pth", content))
    return network, weights.notes


def refusal(tmp_path: Path, content: object, name: str = "file.pth") -> str:
    with pytest.raises(WeightsError) as caught:
        load(row(), save(tmp_path / name, content))
    return str(caught.value)


def holds(network: nn.Module, state: Mapping[str, Tensor]) -> bool:
    found = network.state_dict()
    return found.keys() == state.keys() and all(torch.equal(found[key], tensor) for key, tensor in state.items())


# Averages


PARAMETERS = [key for key, _ in Net().named_parameters()]
STEPS = {"steps": torch.tensor(5)}
BUFFERS_OF_THE_NETWORK = {key: AVERAGE[key] if key in PARAMETERS else NETWORK[key] for key in NETWORK}
ADAM = {"state": {0: {"exp_avg": torch.zeros(4, 3, 3, 3)}}, "param_groups": [{"lr": 0.1}]}

WRITERS: dict[str, tuple[Any, State, str]] = {
    "mmengine": (
        {
            "meta": {"epoch": 3, "mmengine_version": "0.10"},
            "message_hub": {"log_scalars": {}},
            "state_dict": AVERAGE,
            "ema_state_dict": prefixed("module.", NETWORK) | STEPS,
            "optimizer": ADAM,
        },
        AVERAGE,
        "state_dict",
    ),
    "mmengine without a message hub": (
        {"meta": {"epoch": 3}, "state_dict": AVERAGE, "ema_state_dict": prefixed("module.", NETWORK) | STEPS},
        AVERAGE,
        "state_dict",
    ),
    "mmengine in another checkpoint": (
        {"saved": {"message_hub": {}, "state_dict": AVERAGE, "ema_state_dict": prefixed("module.", NETWORK)}, "lr": 1},
        AVERAGE,
        "saved.state_dict",
    ),
    "another program's ema_state_dict": (
        {"epoch": 3, "state_dict": NETWORK, "ema_state_dict": AVERAGE},
        AVERAGE,
        "ema_state_dict",
    ),
    "timm": (
        {"arch": "net", "epoch": 3, "state_dict": NETWORK, "state_dict_ema": AVERAGE, "optimizer": ADAM},
        AVERAGE,
        "state_dict_ema",
    ),
    "torchvision's references": (
        {"model": NETWORK, "model_ema": prefixed("module.", AVERAGE) | {"n_averaged": torch.tensor(9)}, "epoch": 3},
        AVERAGE,
        "model_ema → module.",
    ),
    "Lightning's WeightAveraging": (
        {"state_dict": AVERAGE, "current_model_state": NETWORK, "averaging_state": {"n_averaged": torch.tensor(9)}},
        AVERAGE,
        "state_dict",
    ),
    "RT-DETR": ({"model": NETWORK, "ema": {"module": AVERAGE, "updates": 7}, "last_epoch": 3}, AVERAGE, "ema.module"),
    "BasicSR": ({"params": NETWORK, "params_ema": AVERAGE}, AVERAGE, "params_ema"),
    "camel case": ({"model": NETWORK, "modelEma": AVERAGE}, AVERAGE, "modelEma"),
    "a shadow of the parameters": (
        {"model": NETWORK, "ema": {"decay": 0.99, "shadow": {key: AVERAGE[key] for key in PARAMETERS}}},
        BUFFERS_OF_THE_NETWORK,
        "ema.shadow",
    ),
    "a shadow of the wrapped parameters": (
        {"model": prefixed("module.", NETWORK), "ema": {key: AVERAGE[key] for key in PARAMETERS}},
        BUFFERS_OF_THE_NETWORK,
        "ema",
    ),
    "torch_ema": (
        {
            "model": NETWORK,
            "ema": {
                "decay": 0.99,
                "num_updates": 7,
                "shadow_params": [AVERAGE[key] for key in PARAMETERS],
                "collected_params": None,
            },
        },
        BUFFERS_OF_THE_NETWORK,
        "ema.shadow_params",
    ),
    "LitEma": (
        {
            "state_dict": prefixed("model.", NETWORK)
            | {f"model_ema.{key.replace('.', '')}": AVERAGE[key] for key in PARAMETERS}
            | {"model_ema.decay": torch.tensor(0.99), "model_ema.num_updates": torch.tensor(7)}
        },
        BUFFERS_OF_THE_NETWORK,
        "state_dict → model_ema.conv1weight, … → model.",
    ),
    "mmcv": (
        {"meta": {}, "state_dict": AVERAGE | {f"ema_{key.replace('.', '_')}": NETWORK[key] for key in PARAMETERS}},
        AVERAGE,
        "state_dict",
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_the_average_is_taken_by_writer(writer: str, tmp_path: Path) -> None:
    content, wanted, place = WRITERS[writer]
    network, notes = loaded(tmp_path, content)
    assert holds(network, wanted)
    assert f"The file holds 2 such networks: the average, under “{place}”, was taken." in notes
    words = "Its buffers, such as batch norm's statistics, are the network's"
    assert any(words in note for note in notes) is (
        wanted is BUFFERS_OF_THE_NETWORK and writer not in ("LitEma", "torch_ema")
    )


def test_an_average_without_names_that_fits_nothing_is_said(tmp_path: Path) -> None:
    content = {"model": NETWORK, "ema": {"shadow_params": [torch.zeros(3), torch.zeros(4)]}}
    network, notes = loaded(tmp_path, content)
    assert holds(network, NETWORK)
    assert [note.partition(",")[0] for note in notes] == ["The file's average"]


def test_mmengines_network_is_not_taken_for_the_average_by_catalogue_networks(tmp_path: Path) -> None:
    average = load(backbone("resnet18"), "random", seed=1)[0].state_dict()
    raw = prefixed("module.", {key: tensor + 1 for key, tensor in average.items()}) | STEPS
    content = {"meta": {"epoch": 3}, "message_hub": {}, "state_dict": dict(average), "ema_state_dict": raw}
    network, weights = load(backbone("resnet18"), save(tmp_path / "epoch_3.pth", content))
    assert holds(network, average)
    assert weights.notes == ("The file holds 2 such networks: the average, under “state_dict”, was taken.",)


# Counts and partitions


def test_misfits_never_exceed_the_tensors(tmp_path: Path) -> None:
    wrong = {key: torch.zeros(7, 7) for key in NETWORK}
    message = refusal(tmp_path, wrong)
    assert "11 of 13 have another shape or type" in message
    assert "num_batches_tracked" not in message


@pytest.mark.parametrize("count", [torch.zeros(0), torch.zeros(3), torch.tensor(1 + 2j)], ids=str)
def test_a_count_of_another_form_is_no_misfit(count: Tensor, tmp_path: Path) -> None:
    network, notes = loaded(tmp_path, NETWORK | {"norm1.num_batches_tracked": count})
    assert all(torch.equal(network.state_dict()[key], NETWORK[key]) for key in NETWORK if key[:6] != "norm1.")
    assert network.state_dict()["norm1.num_batches_tracked"].shape == ()
    assert notes == ()


def partitioned(state: State, *, statistics: bool) -> State:
    kept = ("running_mean", "running_var", "num_batches_tracked") if statistics else ()
    return {key: tensor if key.endswith(kept) and kept else torch.empty(0) for key, tensor in state.items()}


@pytest.mark.parametrize(("statistics", "count"), [(False, 13), (True, 9)])
def test_empty_tensors_are_said_to_lie_in_other_partitions(statistics: bool, count: int, tmp_path: Path) -> None:
    content = {"module": partitioned(NETWORK, statistics=statistics), "ds_version": "0.16", "optimizer": None}
    assert refusal(tmp_path, content, "zero3.pt") == (
        f"zero3.pt does not hold the values of {count} of other/net's 13 tensors: they lie in the other partitions, as "
        "DeepSpeed's ZeRO-3 saves them; join these with its zero_to_fp32.py."
    )
    with pytest.raises(
        WeightsError, match=r"zero3\.pt has \d+ tensors without values: they lie in the other partitions"
    ):
        propose(tmp_path / "zero3.pt")


def test_an_empty_classifier_is_another_classifier(tmp_path: Path) -> None:
    empty = {"fc.weight": torch.empty(0, 4), "fc.bias": torch.empty(0)}
    _, notes = loaded(tmp_path, NETWORK | empty)
    assert notes[0].startswith("The file's classifier is another one (fc.weight is 0 × 4 instead of 5 × 4)")


# What is no tensor


ENTRIES = {
    "epoch": 3,
    "lr": 0.1,
    "name": "net",
    "nothing": None,
    "flag": True,
    "meta": {"classes": ["cat", "dog"], "epoch": 3},
    "history": [1, 2, 3],
    "data": b"bytes",
    "conv1._extra_state": None,
    "norm1._extra_state": torch.zeros(3, dtype=torch.uint8),
    "_extra_state": {"scale": torch.ones(2)},
}


@pytest.mark.parametrize("key", ENTRIES)
def test_an_entry_that_is_no_tensor_is_left_out_and_said(key: str, tmp_path: Path) -> None:
    network, notes = loaded(tmp_path, NETWORK | {key: ENTRIES[key]})
    assert holds(network, NETWORK)
    [note] = notes
    assert note.startswith(f"An entry of the file ({key}) is ")
    assert note.endswith(" and was left out.")


def test_all_entries_that_are_no_tensors_are_counted(tmp_path: Path) -> None:
    network, notes = loaded(tmp_path, {"state_dict": ENTRIES | NETWORK, "epoch": 3})
    assert holds(network, NETWORK)
    assert notes == ("11 entries of the file that are no usable tensors (such as epoch) were left out.",)


@pytest.mark.parametrize(
    ("value", "why"), [(None, "None"), (1.5, "a float"), (torch.eye(4).to_sparse(), "sparse, nested or quantized")]
)
def test_a_tensor_that_the_network_needs_is_named_with_its_form(value: object, why: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, NETWORK | {"conv1.bias": value})
    assert f"1 of its 13 tensors are missing (such as conv1.bias, which is {why})" in message
    assert message.endswith("; save the network's state_dict() anew, with plain float32 tensors.")


class Remembering(Net):
    """Keeps a number in its extra state, as modules of a user's own may."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 1

    def get_extra_state(self) -> object:
        return {"scale": self.scale}

    def set_extra_state(self, state: Any) -> None:
        self.scale = state["scale"]


class RememberingTensor(Remembering):
    def get_extra_state(self) -> Tensor:
        return torch.tensor([self.scale])

    def set_extra_state(self, state: Any) -> None:
        self.scale = int(state[0])


def test_extra_state_that_is_a_tensor_is_taken_or_may_be_absent(tmp_path: Path) -> None:
    content = NETWORK | {"_extra_state": torch.tensor([7])}
    assert load(row(RememberingTensor), save(tmp_path / "file.pth", content))[0].scale == 7
    network, weights = load(row(RememberingTensor), save(tmp_path / "file.pth", NETWORK))
    assert (network.scale, weights.notes) == (1, ())
    without_head = {key: tensor for key, tensor in NETWORK.items() if not key.startswith("fc.")}
    assert load(row(RememberingTensor), save(tmp_path / "file.pth", without_head))[1].untrained == ("classifier",)


def test_a_network_gets_its_own_extra_state(tmp_path: Path) -> None:
    content = prefixed("module.", NETWORK) | {"module._extra_state": {"scale": 7}}
    network, weights = load(row(Remembering), save(tmp_path / "file.pth", content))
    assert network.scale == 7
    assert weights.notes == ()
    with pytest.raises(WeightsError, match=r"The extra state in file\.pth was refused by the network"):
        load(row(Remembering), save(tmp_path / "file.pth", content | {"module._extra_state": [7]}))


# Types


NARROW = [
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
]


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_floats_of_eight_bits_are_widened_and_said(form: str, dtype: torch.dtype, tmp_path: Path) -> None:
    state = {key: tensor.abs().to(dtype) if "conv" in key else tensor for key, tensor in NETWORK.items()}
    path = tmp_path / f"narrow.{form}"
    safetensors.torch.save_file(state, path) if form == "safetensors" else torch.save(state, path)
    network, weights = load(row(), path)
    found = network.state_dict()
    assert all(torch.equal(found[key], state[key].to(NETWORK[key].dtype)) for key in NETWORK)
    name = str(dtype).removeprefix("torch.")
    assert weights.notes == (f"3 tensors of the file are {name}, and were widened to the network's type.",)


def write_safetensors(path: Path, entries: Mapping[str, tuple[str, list[int], bytes]]) -> Path:
    header, data = {}, b""
    for key, (dtype, shape, content) in entries.items():
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    encoded = json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)
    return path


@pytest.mark.parametrize(
    ("dtype", "nbytes"), [("F4", 54), ("F6_E2M3", 81), ("F6_E3M2", 81), ("F8_E9M9", 108), ("X2", 17)]
)
def test_a_type_that_torch_cannot_convert_is_named(dtype: str, nbytes: int, tmp_path: Path) -> None:
    whole = {
        key: ("I64" if tensor.dtype == torch.int64 else "F32", list(tensor.shape), tensor.numpy().tobytes())
        for key, tensor in NETWORK.items()
    }
    path = write_safetensors(
        tmp_path / "mx.safetensors", whole | {"conv1.weight": (dtype, [4, 3, 3, 3], bytes(nbytes))}
    )
    with pytest.raises(WeightsError) as caught:
        load(row(), path)
    assert f"(such as conv1.weight, which is {dtype}, a type that torch cannot convert)" in str(caught.value)
    path = write_safetensors(path, whole | {"extra.scale": (dtype, [4, 3, 3, 3], bytes(nbytes))})
    network, weights = load(row(), path)
    assert holds(network, NETWORK)
    assert weights.notes == (
        f"An entry of the file (extra.scale) is {dtype}, a type that torch cannot convert and was left out.",
    )


def test_a_short_tensor_of_such_a_type_is_a_broken_file(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "mx.safetensors", {"w": ("F4", [4], bytes(3))})
    with pytest.raises(WeightsError, match="is broken or was cut off"):
        load(row(), path)


# Weights that are computed from others


def _run(module: nn.Module, shape: tuple[int, ...], *, train: bool = False) -> nn.Module:
    module.train(train)
    with torch.no_grad():
        # Twice: a hook of pruning runs after that of the normalization that it feeds.
        module(torch.randn(shape))
        module(torch.randn(shape))
    return module


def _of(kind: str) -> tuple[nn.Module, tuple[int, ...]]:
    made = {
        "conv": (nn.Conv2d(4, 6, 3), (2, 4, 9, 9)),
        "one": (nn.Conv2d(1, 1, 1), (2, 1, 9, 9)),
        "linear": (nn.Linear(5, 7), (2, 5)),
        "square transposed": (nn.ConvTranspose2d(6, 6, 3), (2, 6, 9, 9)),
        "transposed": (nn.ConvTranspose1d(3, 5, 2), (2, 3, 9)),
    }
    return made[kind]


KINDS = ("conv", "one", "linear", "square transposed", "transposed")
REPARAMETRIZED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight_norm": weight_norm,
    "weight_norm of the second axis": lambda module: weight_norm(module, dim=1),
    "weight_norm of the whole": lambda module: weight_norm(module, dim=None),
    "parametrized weight_norm": parametrizations.weight_norm,
    "parametrized weight_norm of the second axis": lambda module: parametrizations.weight_norm(module, dim=1),
    "parametrized weight_norm of the whole": lambda module: parametrizations.weight_norm(module, dim=None),
    "spectral_norm": spectral_norm,
    "parametrized spectral_norm": parametrizations.spectral_norm,
    "pruned": lambda module: prune.l1_unstructured(module, "weight", 0.5),
    "pruned and weight_norm": lambda module: prune.l1_unstructured(weight_norm(module), "weight_v", 0.5),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", REPARAMETRIZED)
def test_a_folded_weight_is_torchs_own_to_the_bit(way: str, kind: str) -> None:
    torch.manual_seed(3)
    module, shape = _of(kind)
    module = REPARAMETRIZED[way](module)
    if "spectral" in way:
        _run(module, shape, train=True)
    _run(module, shape)
    state = prefixed("layer.", module.state_dict())
    assert "layer.weight" not in state
    folded = {fold.key: fold.value for fold in folds_of(state)}
    assert torch.equal(folded["layer.weight"], module.weight.detach())


def _changed(way: str) -> Net:
    """A network with its convolutions reparametrized, in eval mode."""
    torch.manual_seed(4)
    network = Net()
    for module in (network.conv1, network.conv2):
        REPARAMETRIZED[way](module)
    if way == "pruned":
        prune.random_unstructured(network.conv1, "bias", 0.5)
    return network.eval()


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("way", REPARAMETRIZED)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_of_folded_weights_gives_torchs_own_output(way: str, wrapped: bool, tmp_path: Path) -> None:
    theirs = _changed(way)
    state = theirs.state_dict()
    network, notes = loaded(tmp_path, {"model": prefixed("module.", state)} if wrapped else state)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        theirs(x)  # hooks of pruning feed those of the normalization in the next forward only
        assert torch.equal(network(x), theirs(x))
    count = 3 if way == "pruned" else 2
    assert any(f"{count} tensors of the file are " in note and "conv1.weight)" in note for note in notes) or (
        way == "pruned and weight_norm"
    )


def test_weights_in_half_precision_are_folded_as_the_network_computes(tmp_path: Path) -> None:
    theirs = _changed("parametrized weight_norm")
    halved = {
        key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in theirs.state_dict().items()
    }
    theirs.load_state_dict(halved)
    network, _ = loaded(tmp_path, halved)
    assert torch.equal(network.state_dict()["conv1.weight"], theirs.conv1.weight.detach())


def test_a_network_that_is_reparametrized_itself_takes_the_file_as_it_is(tmp_path: Path) -> None:
    theirs = _changed("parametrized weight_norm")
    network, weights = load(
        row(lambda: _changed("parametrized weight_norm")), save(tmp_path / "file.pth", theirs.state_dict())
    )
    assert holds(network, theirs.state_dict())
    assert weights.notes == ()


def test_names_that_only_look_folded_are_left_alone() -> None:
    attention = {
        "proj_g": torch.rand(4, 4),
        "proj_v": torch.rand(4, 4),
        "attn_mask": torch.ones(3),
        "a_orig": torch.ones(2),
    }
    assert folds_of(attention) == ()
    assert folds_of({"weight_g": torch.rand(3, 1), "weight_v": torch.rand(4, 5)}) == ()


def test_a_view_that_repeats_its_elements_is_not_computed_with(tmp_path: Path) -> None:
    """It would take four terabytes."""
    huge = torch.ones(1).expand(2**20, 2**20)
    content = {"a.weight_orig": huge, "a.weight_mask": huge, "b.weight_g": torch.ones(2**20, 1), "b.weight_v": huge}
    assert folds_of(content) == ()
    assert "was not made for other/net" in refusal(tmp_path, content)


def test_the_number_of_folded_weights_is_bounded() -> None:
    one = torch.ones(2, 2)
    content = {f"{number}.weight_{end}": one for number in range(6000) for end in ("orig", "mask")}
    assert len(folds_of(content)) == MOST_FOLDS


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64], ids=str)
def test_what_cannot_be_folded_is_left_alone(dtype: torch.dtype) -> None:
    names = ("weight_orig", "weight_u", "weight_v", "other_g", "other_v", "third_orig", "third_mask")
    shapes = ((4, 4), (4,), (4,), (4, 1), (4, 4), (2,), (2,))
    assert folds_of({name: torch.ones(shape).to(dtype) for name, shape in zip(names, shapes, strict=True)}) == ()


def test_an_entry_next_to_wrapped_tensors_is_said(tmp_path: Path) -> None:
    network, notes = loaded(tmp_path, prefixed("module.", NETWORK) | {"epoch": 3})
    assert holds(network, NETWORK)
    assert notes == ("An entry of the file (epoch) is an int and was left out.",)


def test_a_parametrization_that_is_not_known_names_its_remedy(tmp_path: Path) -> None:
    network = Net()
    parametrizations.orthogonal(network.fc)
    parametrizations.orthogonal(network.conv1)
    message = refusal(tmp_path, network.state_dict())
    assert "such as conv1.parametrizations.weight.original" in message
    assert message.endswith("; save it after torch.nn.utils.parametrize.remove_parametrizations.")


def test_average_pooling_is_no_running_average() -> None:
    layers = (
        "avg_pool",
        "global_avg_pool",
        "average_pooling",
        "AvgPool2d",
        "backbone.avg_pool.proj",
        "pool_avg",
        "avgpool",
    )
    assert not [name for name in layers if is_averaged(name)]
    averages = (
        "avg",
        "model_avg",
        "average",
        "model_ema.avg_pool",
        "emaModel",
        "poolformer_ema",
        "avg_poolformer",
        "pool.ema",
    )
    assert [name for name in averages if is_averaged(name)] == list(averages)


@pytest.mark.parametrize("name", ["avg_pool", "global_avg_pool"])
def test_a_part_named_after_pooling_is_loaded_as_the_network(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(prefixed("encoder.", NETWORK) | prefixed(f"{name}.", AVERAGE), path)
    notes = load(row(), str(path))[1].notes
    assert any("2 such networks" in note for note in notes)
    assert not any("the average" in note for note in notes)
