"""Numbers of parameters in the layer table: of containers, of shared tensors, trainable ones, and with a detection head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fmviz.comparing import compare
from fmviz.networks.catalog import backbone, backbones
from fmviz.networks.gradient_flags import freeze, trainable
from fmviz.networks.pyramids import head_parameters, write
from fmviz.networks.weights import load
from fmviz.parameter_counts import SharedTensor, own_sum, whole_sum
from fmviz.session import Session
from fmviz.table import LayerTable, layer_table


class Tied(nn.Module):
    """Two stacks with one weight, a module under two names, and a weight that lies directly in a container."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.one = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        self.two = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
        self.two[0].weight = self.one[0].weight
        self.again = nn.Sequential(self.one[1])

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.two(self.one(x))) * self.scale


def numbers(module: nn.Module) -> tuple[int, int, int]:
    """Parameters, trainable ones and buffers, as torch counts them."""
    tensors = list(module.parameters())
    return (
        sum(one.numel() for one in tensors),
        sum(one.numel() for one in tensors if one.requires_grad),
        sum(one.numel() for one in module.buffers()),
    )


@pytest.mark.parametrize(
    "model",
    [
        Tied(),
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        nn.Sequential(nn.Conv2d(3, 4, 1).requires_grad_(False), nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))),
        backbone("resnet18").build(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_every_module_has_the_numbers_that_torch_counts(model: nn.Module) -> None:
    if isinstance(model, nn.TransformerEncoderLayer):
        model = nn.Sequential(nn.Flatten(2), model)
    table = layer_table(model, 64 if "ResNet" in type(model).__name__ else (4, 2))
    for path, module in model.named_modules():
        row = table.row(path)
        assert (row.parameters, row.trainable, row.buffers) == numbers(module), path
        own = sum(one.numel() for one in module.parameters(recurse=False))
        assert (row.own_parameters, row.frozen) == (own, row.parameters - row.trainable), path
        assert row.leaf == (not list(module.children()))
    totals = table.totals
    assert (totals.parameters, totals.trainable, totals.buffers) == numbers(model)
    assert table[0].parameters == totals.parameters == own_sum(table, totals.shared).parameters


def test_shared_tensors_count_once_in_sums_over_rows() -> None:
    table = layer_table(Tied(), 4)
    assert table.totals.shared == (
        SharedTensor(("one.0", "two.0"), parameters=9, trainable=9, buffers=0),
        *(SharedTensor(("one.1", "again.0"), parameters=3, trainable=3, buffers=0) for _ in range(2)),
        *(SharedTensor(("one.1", "again.0"), parameters=0, trainable=0, buffers=size) for size in (3, 3, 1)),
    )
    rows = [table.row(path) for path in ("one", "two", "again")]
    assert [row.parameters for row in rows] == [18, 12, 6]
    assert whole_sum(rows, table.totals.shared) == (9 + 3 + 3 + 6, 21, 7)
    assert whole_sum(rows[:1], table.totals.shared) == (18, 18, 7)
    leaves = [row for row in table if row.leaf]
    assert own_sum(leaves, table.totals.shared) == (21, 21, 7)
    assert compare(table, table).line("parameters").one == table.totals.parameters == 22
    assert "15 parameters belong to several modules" in table.to_text()


def test_a_stage_counts_no_module_twice() -> None:
    comparison = compare(layer_table("resnet18", 64), layer_table("resnet18_fpn", 64))
    parts = [line for line in comparison if line.quantity == "parameters" and line.stage]
    for name in ("one", "other"):
        total = sum(getattr(line, name) or 0 for line in parts)
        assert total == getattr(comparison.line("parameters"), name)


# ── Trainable ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def partly_frozen() -> nn.Sequential:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 2, 1)))
    model[0].requires_grad_(False)
    return model


@pytest.mark.parametrize(
    "tabulated",
    [
        lambda model: layer_table(model, 16),
        lambda model: Session(model=model).table(16),
        lambda model: layer_table(freeze(model), 16),
        lambda model: Session(model=freeze(freeze(model))).table(16),
        lambda model: layer_table(nn.Sequential(freeze(model)), 16),
    ],
    ids=["table", "session", "frozen table", "frozen twice", "part of another"],
)
def test_trainable_counts_what_the_model_says(tabulated: Any) -> None:
    model = partly_frozen()
    totals = tabulated(model).totals
    assert (totals.trainable, totals.parameters - totals.trainable) == (10, 112)


def test_flags_that_were_set_after_loading_count() -> None:
    session = Session("resnet18", weights="random")
    assert session.table(64).totals.trainable == session.backbone.parameters
    assert layer_table(session.model.layer1, 64).totals.trainable == 147_968
    session.model.fc.requires_grad_(True)
    table = session.table(64)
    assert table.totals.trainable == table.row("fc").trainable == 513_000
    assert table.row("layer1").frozen == 147_968


def test_a_picture_leaves_the_count_as_it_is() -> None:
    session = Session(model=partly_frozen())
    before = session.table(16).totals
    session.run(torch.zeros(1, 3, 16, 16))
    assert session.table(16).totals == before
    assert layer_table(session.model, 16).totals.trainable == 10


def test_a_network_is_frozen_as_before_and_its_flags_are_known() -> None:
    row = backbone("resnet18")
    model, _ = load(row, "random")
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert trainable(model) == {name for name, _ in row.build().named_parameters()}


# ── With the detection head, and without ──────────────────────────────────────────────────────────────────────────────


def head_in_words(table: LayerTable) -> str:
    return next(line for line in table.to_text().splitlines() if "detection head" in line)


def test_the_head_is_counted_apart_and_in_words() -> None:
    trained, bare = Session("efficientnet_lite0_fpn", weights="shapes").table(), layer_table("efficientnet_lite0_fpn")
    assert (trained.totals.parameters, trained.totals.head_parameters) == (4_874_995, 43_275)
    assert (bare.totals.parameters, bare.totals.head_parameters) == (4_831_720, 0)
    words = "4,874,995 parameters: 4,831,720, + 43,275 in the detection head that the weights bring."
    assert head_in_words(trained) == words
    assert (
        head_in_words(bare)
        == "4,831,720 parameters, without the 43,275 in the detection head that trained weights bring."
    )
    assert "4,831,720, + 43,275 in the detection head" in compare(trained, "vgg11").to_text()
    assert "detection head" not in layer_table("resnet18_fpn", 64).to_text()


@pytest.mark.parametrize("name", [name for name in backbones() if backbone(name).group in ("papers", "article")])
def test_the_list_says_what_the_weights_make_of_a_network(name: str) -> None:
    row = backbone(name)
    heads = {offer.name: offer.head_parameters for offer in row.offers if offer.head_parameters}
    assert heads == ({"shapes": 43_275} if name == "efficientnet_lite0_fpn" else {})
    for weights in heads:
        assert numbers(load(row, weights)[0])[0] == row.parameters + heads[weights]


def test_the_head_of_a_pyramids_file_is_read_off_its_header(tmp_path: Path) -> None:
    tensors = {"fpn.inner_blocks.0.0.weight": torch.zeros(4, 4, 1, 1), "head.output.weight": torch.zeros(11, 4, 3, 3)}
    path = write(tmp_path / "with.safetensors", {**tensors, "head.output.bias": torch.zeros(11)}, {})
    assert head_parameters(path) == 11 * 4 * 9 + 11
    del tensors["head.output.weight"]
    assert head_parameters(write(tmp_path / "without.safetensors", tensors, {})) == 0
    broken = tmp_path / "broken.safetensors"
    for content in (b"", b"\xff" * 9, (20).to_bytes(8, "little") + b'{"head.x": [1, 2]}  '):
        broken.write_bytes(content)
        assert head_parameters(broken) == 0
    assert head_parameters(tmp_path / "none.safetensors") == 0
