"""What a forward costs: against arithmetic, against what torchvision publishes, and against a capture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmviz.capture import capture_activations
from fmviz.networks.catalog import backbone
from fmviz.networks.offers import published
from fmviz.table import layer_table


class Of(nn.Module):
    """A forward that is one function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        put: Tensor = self.function(x)
        return put


SIZE = (6, 8)
A = torch.randn(1, 3, 8, 5)
FILTERS = torch.randn(4, 3, 3, 3)


@pytest.mark.parametrize(
    ("module", "macs"),
    [
        (nn.Conv2d(3, 4, 3), 4 * 4 * 6 * 3 * 9),
        (nn.Conv2d(3, 6, 3, padding=1, groups=3), 6 * 6 * 8 * 9),
        (nn.Conv2d(3, 4, (1, 3), dilation=2), 4 * 6 * 4 * 3 * 3),
        (nn.ConvTranspose2d(3, 4, 2, stride=2), 3 * 6 * 8 * 4 * 4),
        (nn.ConvTranspose2d(3, 6, 2, stride=2, groups=3), 3 * 6 * 8 * 2 * 4),
        (nn.Linear(8, 5), 3 * 6 * 8 * 5),
        (Of(lambda x: F.conv2d(x, FILTERS.to("meta"))), 4 * 4 * 6 * 3 * 9),
        (Of(lambda x: F.linear(x, torch.empty(5, 8))), 3 * 6 * 8 * 5),
        (Of(lambda x: x @ A.to("meta")), 3 * 6 * 8 * 5),
        (Of(lambda x: torch.bmm(x[0], A[0].to("meta"))), 3 * 6 * 8 * 5),
        (Of(lambda x: torch.einsum("bchw,bcwk->bchk", x, A.to("meta"))), 3 * 6 * 8 * 5),
        (Of(lambda x: torch.addmm(torch.empty(5), x[0, 0], A[0, 0].to("meta"))), 6 * 8 * 5),
        (Of(lambda x: torch.baddbmm(torch.empty(3, 6, 5), x[0], A[0].to("meta"))), 3 * 6 * 8 * 5),
        (Of(lambda x: F.scaled_dot_product_attention(x, x, x)), 2 * 3 * 6 * 6 * 8),
        (Of(lambda x: F.relu(x) + x), 0),
    ],
    ids=lambda value: value if isinstance(value, int) else type(value).__name__,
)
def test_macs(module: nn.Module, macs: int) -> None:
    table = layer_table(module, SIZE)
    assert (table[0].macs, table[0].own_macs, table.totals.macs) == (macs, macs, macs)
    assert table[0].not_counted == ()


N = 3 * 6 * 8


@pytest.mark.parametrize(
    ("module", "operations"),
    [
        (nn.ReLU(), N),
        (nn.ReLU(inplace=True), N),
        (nn.BatchNorm2d(3), 2 * N),
        (nn.LayerNorm(8), 5 * N),
        (nn.GroupNorm(3, 3), 5 * N),
        (nn.MaxPool2d(2), N),
        (nn.AvgPool2d(3, stride=1), 9 * 3 * 4 * 6),
        (nn.AdaptiveAvgPool2d(1), N),
        (nn.Softmax(dim=1), 5 * N),
        (nn.Identity(), 0),
        (nn.Flatten(), 0),
        (nn.ZeroPad2d(1), 0),
        (nn.Upsample(scale_factor=2), 0),
        (Of(lambda x: x + x), N),
        (Of(lambda x: x.permute(0, 2, 3, 1).reshape(1, -1)), 0),
        (Of(lambda x: torch.cat((x, x)).mean(dim=(2, 3))), 2 * N),
        (nn.Conv2d(3, 4, 3), 0),
    ],
    ids=lambda value: value if isinstance(value, int) else type(value).__name__,
)
def test_other_operations(module: nn.Module, operations: int) -> None:
    row = layer_table(module, SIZE)[0]
    assert (row.other_operations, row.not_counted) == (operations, ())


def test_what_is_not_known_is_named_and_summed_to_the_parents() -> None:
    class Transformed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.fft2(x).abs()

    table = layer_table(nn.Sequential(nn.Conv2d(3, 3, 1), Transformed()), SIZE)
    assert table.row("0").not_counted == ()
    assert len(table.row("1").not_counted) == 1
    assert "fft" in table.row("1").not_counted[0]
    assert table[0].not_counted == table.row("1").not_counted == table.totals.not_counted
    assert table.totals.macs == 9 * 6 * 8


def test_every_call_is_counted_and_given_to_the_innermost_module() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.twice(self.twice(x)[:, :, ::2])
            return F.conv2d(x, torch.empty(2, 3, 1, 1))

    table = layer_table(Outer(), SIZE)
    twice = table.row("twice")
    assert [call.macs for call in twice.each_call] == [9 * 48, 9 * 24]
    assert [call.output_shape for call in twice.each_call] == [(1, 3, 6, 8), (1, 3, 3, 8)]
    assert (twice.macs, table[0].own_macs, table[0].macs) == (9 * 72, 6 * 24, 9 * 72 + 6 * 24)


# ── What torchvision publishes ────────────────────────────────────────────────────────────────────────────────────────

CLASSIFIERS = sorted(name for name, of in published().items() if of.kind == "classification" and of.macs)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_macs_are_those_that_torchvision_publishes(name: str) -> None:
    of = published()[name]
    assert of.macs
    best = of.offers[0].preprocessing
    assert best is not None
    found = layer_table(f"torchvision/{name}", best.crop).totals.macs
    # They are published in thousandths of 10⁹: of 40 million half of that is more than a hundredth.
    assert found == pytest.approx(of.macs, rel=0.01, abs=5e5)


@pytest.mark.parametrize(("name", "macs"), [("vgg19", 19_632_062_464), ("resnet50", 4_089_184_256)])
def test_macs_of_ours(name: str, macs: int) -> None:
    table = layer_table(name)
    assert table.totals.macs == macs == sum(row.own_macs for row in table)


# ── Memory ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "vgg11",
        "efficientnet_lite0_fpn",
        "torchvision/googlenet",
        "torchvision/densenet121",
        "torchvision/swin_t",
        "torchvision/vit_b_16",
        "torchvision/convnext_tiny",
        "torchvision/mobilenet_v3_small",
        "torchvision/squeezenet1_1",
        "torchvision/maxvit_t",
        "article/inception_v1",
    ],
)
def test_a_capture_holds_what_the_table_says(name: str) -> None:
    row = backbone(name)
    side = row.only_input or 64
    model = row.build().eval()
    assert (
        capture_activations(model, torch.rand(1, 3, side, side)).nbytes == layer_table(name, side).totals.capture_bytes
    )


def test_the_peak_of_a_chain_is_its_largest_step() -> None:
    chain = nn.Sequential(nn.Conv2d(3, 8, 1), nn.MaxPool2d(2), nn.Conv2d(8, 1, 1))
    first = 4 * 8 * 6 * 8
    given = 4 * 3 * 6 * 8
    # The caller holds the input all along; beside it what a step takes and what it puts out, and of maxima their places.
    pooled = first // 4
    assert layer_table(chain, SIZE).totals.peak_bytes == given + first + pooled + 2 * pooled


def test_numbers_of_parameters() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1, bias=False).half())
    model[0].weight.requires_grad = False
    model[2].half()
    totals = layer_table(nn.Sequential(*model[:2]), SIZE).totals
    assert (totals.parameters, totals.trainable, totals.buffers) == (16 + 8, 4 + 8, 9)
    assert totals.parameter_bytes == {"float32": 4 * (24 + 8), "int64": 8}
    row = layer_table(nn.Sequential(*model[:2]), SIZE).row("0")
    assert (row.parameters, row.trainable, row.frozen, row.buffers) == (16, 4, 12, 0)


@pytest.mark.parametrize(
    ("name", "path", "stage"),
    [
        ("resnet50", "conv1", "C2"),
        ("resnet50", "layer1.2.conv3", "C2"),
        ("resnet50", "layer2", "C3"),
        ("resnet50", "fc", "head"),
        ("resnet50", "", ""),
        ("resnet50_fpn", "body.layer4.2", "C5"),
        ("resnet50_fpn", "body.fc", "head"),
        ("resnet50_fpn", "fpn.layer_blocks.0", "pyramid"),
        ("vgg19", "features.36", "C5"),
        ("vgg19", "classifier.0", "head"),
    ],
)
def test_stages(name: str, path: str, stage: str) -> None:
    assert layer_table(name).row(path).stage == stage
