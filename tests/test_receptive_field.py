"""The receptive field of every cell: against gradients, on networks drawn at random, and against what papers print."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmviz.geometry import Box
from fmviz.layers import Layer
from fmviz.networks.resnet import ResNet
from fmviz.table import LayerTable, layer_table

Step = Callable[[Tensor], Tensor]

# ── Networks drawn at random, in which nothing cancels ────────────────────────────────────────────────────────────────


class Drawn(nn.Module):
    """Some steps one after the other; each is a module whose output is a map."""

    def __init__(self, steps: list[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x


class Plain(nn.Module):
    """A function as a module, so that the table has a row of it."""

    def __init__(self, function: Step, words: str) -> None:
        super().__init__()
        self.function, self.words = function, words

    def extra_repr(self) -> str:
        return self.words

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Branches(nn.Module):
    """Two ways from the same map, brought to the same size and joined or added."""

    def __init__(self, one: nn.Module, other: nn.Module, *, add: bool, mode: str) -> None:
        super().__init__()
        self.one, self.other, self.add, self.mode = one, other, add, mode

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.one(x), self.other(x)
        align = True if self.mode == "bilinear" else None
        other = F.interpolate(other, size=one.shape[-2:], mode=self.mode, align_corners=align)
        return one + other if self.add else torch.cat((one, other), dim=1)


class Draw:
    """Draws modules that take and put out `channels` channels, or as many as they leave in `self.channels`."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.channels = 2

    def number(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high + 1))

    def positive(self, module: nn.Module) -> nn.Module:
        """Weights between 0.5 and 1.5: sums of what is seen are never 0."""
        for parameter in module.parameters():
            values = (
                self.random.uniform(0.5, 1.5, parameter.shape) if parameter.dim() > 1 else np.zeros(parameter.shape)
            )
            parameter.data = torch.from_numpy(values)
        return module

    def convolution(self) -> nn.Module:
        kernel = (self.number(1, 4), self.number(1, 4))
        padding = (self.number(0, 3), self.number(0, 3))
        stride, dilation = (self.number(1, 3), self.number(1, 2)), (self.number(1, 2), self.number(1, 3))
        groups = int(self.random.choice([1, self.channels]))
        new = self.channels * self.number(1, 2) if groups > 1 else self.number(1, 4)
        of = nn.Conv2d(self.channels, new, kernel, stride, padding, dilation, groups)
        self.channels = new
        return self.positive(of)

    def transposed(self) -> nn.Module:
        kernel, stride = self.number(1, 4), self.number(1, 3)
        of = nn.ConvTranspose2d(self.channels, self.channels, kernel, stride, padding=self.number(0, kernel - 1))
        return self.positive(of)

    def pooling(self) -> nn.Module:
        """Of means, through which gradients reach the whole window; the windows are those of maxima."""
        kernel = self.number(2, 4)
        return nn.AvgPool2d(
            kernel,
            self.number(1, 3),
            self.number(0, kernel // 2),
            ceil_mode=bool(self.number(0, 1)),
            count_include_pad=False,
        )

    def padding(self) -> nn.Module:
        sides = [self.number(0, 2) for _ in range(4)]
        mode = str(self.random.choice(["constant", "reflect", "replicate"]))
        return Plain(lambda x: F.pad(x, sides, mode=mode), f"pad {sides} {mode}")

    def enlarging(self) -> nn.Module:
        mode = str(self.random.choice(["nearest", "nearest-exact", "bilinear", "bilinear aligned", "by factor"]))
        size = (self.number(3, 30), self.number(3, 30))
        if mode == "by factor":
            return Plain(lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"), mode)
        align = {"bilinear": False, "bilinear aligned": True}.get(mode)
        name = mode.removesuffix(" aligned")
        return Plain(lambda x: F.interpolate(x, size=size, mode=name, align_corners=align), f"{mode} {size}")

    def shuffling(self) -> nn.Module:
        kind = self.number(0, 5)
        if kind == 0:
            self.channels *= 2
            double = self.convolution_of(1, self.channels // 2, self.channels)
            shuffle = Plain(lambda x: x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2), "channels shuffled")
            half = Plain(lambda x: x.chunk(2, dim=1)[1], "half of the channels")
            self.channels //= 2
            return nn.Sequential(double, shuffle, half)
        if kind == 1:
            return Plain(lambda x: x.roll((1, -2), (2, 3)), "rolled")
        if kind == 2:
            return Plain(lambda x: x.flip(3), "turned round")
        if kind == 3:
            linear = self.positive(nn.Linear(self.channels, self.channels))
            return Last(linear)
        if kind == 4:
            return Plain(lambda x: x.flatten(2).transpose(1, 2).transpose(1, 2).view(x.shape), "tokens and back")
        if self.number(0, 1):
            return Plain(lambda x: x + x.mean(dim=(2, 3), keepdim=True), "with its means")
        return Plain(lambda x: x + x[:, :, :1, :1], "with the first cell")

    def convolution_of(self, kernel: int, channels: int, new: int) -> nn.Module:
        return self.positive(nn.Conv2d(channels, new, kernel))

    def branches(self) -> nn.Module:
        add, begin = bool(self.number(0, 1)), self.channels
        one = self.steps(2)
        after, self.channels = self.channels, begin
        other = self.steps(2)
        mode = str(self.random.choice(["nearest", "bilinear"]))
        if add:
            other = nn.Sequential(other, self.convolution_of(1, self.channels, after))
            self.channels = after
        else:
            self.channels += after
        return Branches(one, other, add=add, mode=mode)

    def steps(self, count: int) -> nn.Module:
        makers = [self.convolution, self.convolution, self.pooling, self.padding, self.enlarging, self.shuffling]
        makers += [self.transposed] if count < 3 else [self.branches, self.branches]
        return nn.Sequential(*(makers[self.number(0, len(makers) - 1)]() for _ in range(count)))


class Last(nn.Module):
    """A linear layer on the channels, which are put last for it."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        put: Tensor = self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return put


def outputs_of(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """The maps of every module, by path; those that lie on the picture with their channels second."""
    found: dict[str, Tensor] = {}

    def hook(path: str) -> Any:
        def called(module: nn.Module, args: Any, output: Tensor) -> None:
            if not path.endswith(".linear"):
                found[path] = output

        return called

    handles = [module.register_forward_hook(hook(path)) for path, module in model.named_modules()]
    model(x)
    for handle in handles:
        handle.remove()
    return found


def box_of_gradient(output: Tensor, row: int, column: int, x: Tensor) -> Box | None:
    (gradient,) = torch.autograd.grad(output[0, :, row, column].sum(), x, retain_graph=True, allow_unused=True)
    if gradient is None:
        return None
    # Where an element is hit exactly, the next one's weight is 0 but for rounding.
    seen = gradient[0].abs().amax(dim=0) > 1e-9 * gradient.abs().max()
    rows, columns = seen.nonzero(as_tuple=True)
    if not len(rows):
        return None
    return Box(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)


@pytest.mark.parametrize("seed", range(50))
def test_the_boxes_are_those_of_the_gradient(seed: int) -> None:
    draw = Draw(seed)
    size = (draw.number(17, 30), draw.number(17, 30))
    for _ in range(20):
        model = Drawn([draw.convolution(), draw.steps(4), draw.steps(3)]).double().eval()
        x = torch.ones(1, 2, *size, dtype=torch.float64, requires_grad=True)
        try:
            outputs = outputs_of(model, x)
            break
        except RuntimeError:  # a map became too small for the next window
            draw.channels = 2
    table, compared = layer_table(model, size), 0
    for path, output in outputs.items():
        field = table.field(Layer(path))
        assert field is not None, path
        assert not field.unknown, path
        assert field.map_size == tuple(output.shape[2:])
        height, width = output.shape[2:]
        cells = {(0, 0), (height - 1, width - 1), (height // 2, width // 2), (0, width - 1)}
        cells |= {(draw.number(0, height - 1), draw.number(0, width - 1)) for _ in range(3)}
        for row, column in cells:
            expected = box_of_gradient(output, row, column, x)
            assert field.box(row, column) == expected, (path, row, column, model)
            compared += 1
    assert compared > 20


# ── What the papers print ─────────────────────────────────────────────────────────────────────────────────────────────


def sizes(table: LayerTable, *paths: str) -> list[int]:
    found = [table.row(path).receptive_field for path in paths]
    fields = [field.size for field in found if field is not None]
    assert all(size is not None and size[0] == size[1] for size in fields)
    return [size[0] for size in fields if size is not None]


@pytest.mark.parametrize(
    ("name", "pools"),
    [
        ("vgg11", [4, 10, 30, 70, 150]),
        ("vgg13", [6, 16, 36, 76, 156]),
        ("vgg16", [6, 16, 44, 100, 212]),
        ("vgg19", [6, 16, 52, 124, 268]),
    ],
)
def test_vgg(name: str, pools: list[int]) -> None:
    table = layer_table(name)
    assert sizes(table, *(row.path for row in table if row.kind == "MaxPool2d")) == pools


def test_resnet() -> None:
    stages = ("layer1", "layer2", "layer3", "layer4")
    assert sizes(layer_table("resnet50"), *stages) == [35, 91, 267, 427]
    of_the_paper = layer_table(ResNet(50, stride_on="1x1"), 224)
    assert sizes(of_the_paper, "layer4") == [483]
    last = layer_table("resnet50").row("layer4").receptive_field
    assert last is not None
    assert (last.largest, last.box(3, 3)) == ((224, 224), Box(0, 0, 224, 224))
    assert last.box(0, 0) == Box(0, 0, 214, 214)


def test_normalisation_across_channels_sees_what_its_input_sees() -> None:
    """`nn.LocalResponseNorm` is an average pooling over the channels."""
    table = layer_table("inception_v1")
    assert sizes(table, "pool1", "norm1") == [11, 11]
    assert all(row.receptive_field is None or row.receptive_field.status != "unknown" for row in table)


def test_inception_v2() -> None:
    table = layer_table("inception_v2")
    modules = [row.path for row in table if row.depth == 1 and row.path.startswith("inception")]
    assert sizes(table, *modules) == [59, 91, 123, 187, 251, 315, 379, 443, 571, 699]


def test_a_pyramid_sees_through_its_top() -> None:
    table = layer_table("resnet50_fpn", 512)
    level = table.row("fpn.layer_blocks.0").receptive_field
    stage = table.row("body.layer1").receptive_field
    assert level is not None
    assert stage is not None
    assert level.map_size == stage.map_size == (128, 128)
    assert level.largest > stage.largest
    assert level.status == "exact"


# ── What is not known is not guessed ──────────────────────────────────────────────────────────────────────────────────


def test_an_unknown_operation_is_named_and_nothing_after_it_is_known() -> None:
    class Sampling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            grid = torch.zeros(1, 4, 4, 2)
            moved: Tensor = self.last(F.grid_sample(x, grid, align_corners=False))
            return moved

    table = layer_table(Sampling(), 8)
    before, after = table.row("first").receptive_field, table.row("last").receptive_field
    assert before is not None
    assert (before.status, before.size) == ("exact", (3, 3))
    assert after is not None
    assert (after.status, after.size, after.box(0, 0)) == ("unknown", None, None)
    assert "grid_sampler" in after.unknown
    assert "grid_sampler" in after.words()
    assert not after.seeing(Box(0, 0, 8, 8)).any()


class Written(nn.Module):
    """Puts maps into a larger tensor, in place, as detectors do with pictures of several sizes."""

    def __init__(self, write: Any) -> None:
        super().__init__()
        self.first, self.write = nn.Conv2d(3, 3, 3), write

    def forward(self, x: Tensor) -> Tensor:
        put: Tensor = self.write(self.first(x))
        return put


def into_a_corner(x: Tensor) -> Tensor:
    whole = x.new_zeros(1, 3, 9, 10)
    whole[0, :, : x.shape[2], : x.shape[3]].copy_(x[0])
    return whole


def into_the_middle(x: Tensor) -> Tensor:
    whole = torch.nn.functional.pad(x, (1, 1, 2, 2))
    whole[:, :2, 2:-2, 1:-1] += x[:, 1:].flip(3)
    return whole


def one_row(x: Tensor) -> Tensor:
    whole = x.clone()
    whole[:, :, 1] = x.amax(dim=2)
    return whole


@pytest.mark.parametrize("write", [into_a_corner, into_the_middle, one_row])
def test_what_is_written_into_a_part_is_in_the_whole(write: Any) -> None:
    model = Written(write).double()
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    x = torch.arange(1.0, 1 + 3 * 8 * 8, dtype=torch.float64).view(1, 3, 8, 8).requires_grad_()
    output, field = model(x), layer_table(model, 8).row("").receptive_field
    assert field is not None
    assert not field.unknown
    assert field.map_size == tuple(output.shape[2:])
    for row, column in np.ndindex(*field.map_size):
        if write is one_row and row == 1:
            # Of maxima a gradient sees but one.
            assert field.box(row, column) == Box(column, 0, column + 3, 8)
        else:
            assert field.box(row, column) == box_of_gradient(output, row, column, x), (row, column)


def test_what_is_written_in_steps_is_not_followed() -> None:
    def every_other_row(x: Tensor) -> Tensor:
        whole = x.clone()
        whole[:, :, ::2] = x[:, :, :3]
        return whole

    field = layer_table(Written(every_other_row), 8).row("").receptive_field
    assert field is not None
    assert field.status == "unknown"


ACTIVATIONS = [
    nn.Hardswish(),
    nn.Hardsigmoid(),
    nn.PReLU(),
    nn.RReLU(),
    nn.LogSigmoid(),
    nn.Dropout(),
    nn.GELU(),
    nn.SiLU(),
    nn.Mish(),
    nn.Softplus(),
    nn.Threshold(0.1, 0.0),
    nn.ELU(inplace=True),
    nn.GLU(dim=1),
    nn.Softsign(),
    nn.Tanhshrink(),
    nn.ReLU6(inplace=True),
]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda module: type(module).__name__)
def test_functions_of_elements_pass_it_on_and_are_counted(activation: nn.Module) -> None:
    row = layer_table(nn.Sequential(nn.Conv2d(3, 4, 3), activation), 8).row("1")
    assert row.receptive_field is not None
    assert (row.receptive_field.size, row.not_counted) == ((3, 3), ())


NETWORKS = [
    "mobilenet_v3_small",
    "convnext_tiny",
    "swin_t",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "deeplabv3_mobilenet_v3_large",
]


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_unknown_in_networks_of_torchvisions(name: str) -> None:
    table = layer_table(f"torchvision/{name}", 64)
    assert {row.receptive_field.unknown for row in table if row.receptive_field is not None} <= {"", "aten.topk"}
    assert set(table.totals.not_counted) <= {"what comes after boxes are chosen", "aten.topk"}


def test_a_global_mean_sees_the_whole_picture_and_a_constant_nothing() -> None:
    class Both(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"mean": x.mean(dim=(2, 3)), "constant": torch.zeros(1, 1, 4, 4)}

    table = layer_table(Both(), (6, 9))
    mean = table.field(Layer("", item="[mean]"))
    assert mean is not None
    assert (mean.status, mean.map_size) == ("whole picture", (1, 1))
    assert mean.box(0, 0) == Box(0, 0, 9, 6)
    assert table.field(Layer("", item="[constant]")) is None


def test_a_cell_in_the_padding_sees_nothing() -> None:
    field = layer_table(nn.Conv2d(3, 1, 1, padding=2), 4).row("").receptive_field
    assert field is not None
    assert field.box(0, 0) is None
    assert field.box(1, 4) is None
    assert field.box(2, 2) == Box(0, 0, 1, 1)
    assert not field.seeing(Box(0, 0, 4, 4))[:2].any()


# ── What is asked of it ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_cells_that_see_a_box_are_those_whose_boxes_touch_it() -> None:
    field = layer_table("resnet18", (70, 101)).row("layer2").receptive_field
    assert field is not None
    box = Box(40, 10, 41, 12)
    expected = np.zeros(field.map_size, bool)
    for row, column in np.ndindex(field.map_size):
        seen = field.box(row, column)
        assert seen is not None
        meet = seen.left < box.right and seen.right > box.left and seen.top < box.bottom and seen.bottom > box.top
        expected[row, column] = meet
    assert (field.seeing(box) == expected).all()
    assert expected.any()
    assert not expected.all()


def test_a_cell_that_is_not_there() -> None:
    field = layer_table("resnet18", 64).row("layer2").receptive_field
    assert field is not None
    with pytest.raises(IndexError, match="8 × 8"):
        field.box(8, 0)


@pytest.mark.parametrize(("name", "size"), [("torchvision/vit_b_32", 64), ("torchvision/swin_t", 64)])
def test_tokens_have_fields_on_their_grid(name: str, size: int) -> None:
    table = layer_table(name, size)
    first = next(row for row in table if row.kind == "Conv2d").receptive_field
    assert first is not None
    patch = 32 if "vit" in name else 4
    assert (first.size, first.box(1, 1)) == ((patch, patch), Box(patch, patch, 2 * patch, 2 * patch))
    last = [row for row in table if row.kind == "LayerNorm"][-1].receptive_field
    assert last is not None
    assert last.status == "whole picture"


def test_windows_see_their_window_alone() -> None:
    """Of a Swin the first block's attention is within windows of 7 × 7 patches of 4 × 4 pixels."""
    table = layer_table("torchvision/swin_t", 224)
    field = table.row("features.1.0").receptive_field
    assert field is not None
    assert (field.map_size, field.status) == ((56, 56), "exact")
    assert field.box(8, 20) == Box(56, 28, 84, 56)
