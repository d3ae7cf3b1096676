"""The input of a layer table: inferred channels, given shapes and examples; and remedies that fit the cause of a failure."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fmviz.cli import main
from fmviz.errors import BackboneError
from fmviz.table import layer_table


class Of(nn.Module):
    """A forward that is one function of itself and its input."""

    def __init__(self, function: Callable[[Any, Tensor], Any], **modules: Any) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


class HeadFirst(nn.Module):
    """Registers its last layer first."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.stem = nn.Conv2d(64, 1, 1), nn.Conv2d(3, 64, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(self.stem(x))
        return made


def with_coordinates(net: Any, x: Tensor) -> Tensor:
    made: Tensor = net.a(torch.cat((x, x.new_zeros(x.shape[0], 2, *x.shape[2:])), 1))
    return made


def checked_before_any_layer(net: Any, x: Tensor) -> Tensor:
    if x.shape[1] != net.a.in_channels:
        raise ValueError("Make sure that the channel dimension matches the configuration.")
    made: Tensor = net.a(x)
    return made


GENERATOR = nn.Sequential(
    nn.ConvTranspose2d(100, 64, 4, bias=False), nn.BatchNorm2d(64), nn.ConvTranspose2d(64, 3, 4, 2, 1)
)


@pytest.mark.parametrize(
    ("network", "channels"),
    [
        (GENERATOR, 100),
        (HeadFirst(), 3),
        (nn.Sequential(nn.BatchNorm2d(10), nn.Conv2d(10, 4, 1)), 10),
        (nn.Sequential(nn.GroupNorm(2, 6), nn.Conv2d(6, 4, 1)), 6),
        (nn.Sequential(nn.InstanceNorm2d(5, affine=True), nn.ReLU()), 5),
        (nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 4, 1)), 1),
        (nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 2, 1)), 6),
        (nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 8, 1)), 3),
        (nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(16, 8, 1)), 1),
        (nn.Sequential(nn.Flatten(), nn.Linear(2 * 16 * 16, 10)), 2),
        (nn.Sequential(nn.ReLU(), nn.Sigmoid()), 3),
        (nn.Sequential(nn.ConvTranspose2d(7, 4, 2)), 7),
        (Of(with_coordinates, a=nn.Conv2d(6, 4, 1)), 4),
        (Of(checked_before_any_layer, a=nn.Conv2d(9, 4, 1)), 9),
        (Of(lambda net, x: net.a(x[:, :3]) + net.b(x[:, 3:]), a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(4, 4, 1)), 7),
        (Of(lambda net, x: F.conv2d(x, net.w), w=nn.Parameter(torch.ones(4, 7, 3, 3))), 7),
        (Of(lambda net, x: net.a(F.unfold(x, 4, stride=4).mT), a=nn.Linear(16, 8)), 1),
        (Of(lambda net, x: net.a(x.repeat(1, 3, 1, 1)), a=nn.Conv2d(3, 8, 1)), 1),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else type(value).__name__,
)
def test_channels_are_those_of_the_first_executed_layer(network: nn.Module, channels: int) -> None:
    network.eval()
    table = layer_table(network, 16)
    assert table[0].input_shape == (1, channels, 16, 16)
    assert table.totals.assumed_input.startswith(f"1×{channels}×16×16 float32")
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        network(torch.zeros(1, channels, 16, 16))
    assert table.totals.macs == flops.get_total_flops() // 2


def test_a_generator_has_the_macs_of_its_own_channels() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(100, 64, 4, bias=False), nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False))
    totals = layer_table(model, 1).totals
    assert totals.macs == 100 * 64 * 16 + 64 * 16 * 3 * 16
    assert totals.assumed_input == "1×100×1×1 float32, channels of layer “0” (ConvTranspose2d)"


@pytest.mark.parametrize("name", ["timm/csatv2", "timm/tresnet_m"])
def test_channels_of_the_catalogue_are_known(name: str) -> None:
    pytest.importorskip("timm")
    table = layer_table(name)
    assert table.totals.assumed_input == "1×3×224×224 float32"
    assert table[0].output_shape == (1, 1000)


def test_a_probe_does_not_change_the_network_that_is_measured() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.runs, self.a, self.b = 0, nn.Conv2d(5, 4, 1), nn.Conv2d(5, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            self.runs += 1
            made: Tensor = self.a(x) if self.runs == 1 else self.b(x)
            return made

    model = Counting()
    assert layer_table(model, 8)[0].output_shape == (1, 4, 8, 8)
    assert model.runs == 0


# ── Shapes and examples ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (nn.Conv1d(2, 8, 5), (2, 100)),
        (nn.Conv3d(3, 4, 3), (3, 6, 10, 12)),
        (nn.Linear(8, 5), (8,)),
        (nn.LSTM(8, 5, batch_first=True), (7, 8)),
        (nn.Conv2d(3, 4, 3), (3, 9, 14)),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (7, 8)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_input_shape_of_any_rank(network: nn.Module, shape: tuple[int, ...]) -> None:
    table = layer_table(network.eval(), input_shape=shape)
    with torch.no_grad():
        made = network(torch.zeros(1, *shape))
    made = made[0] if isinstance(made, tuple) else made
    assert table[0].output_shape == tuple(made.shape)
    assert table.input_size == (shape[1:] if len(shape) == 3 else None)
    assert table.totals.assumed_input == f"{'×'.join(map(str, (1, *shape)))} float32"
    assert table.totals.assumed_input in table.to_text()
    assert "×".join(map(str, shape)) in repr(table) or len(shape) == 3
    for form in (table.to_csv, table.to_json, table.to_markdown, table.to_latex, table._repr_html_):
        assert form()


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.e = nn.Conv2d(3, 4, 3, padding=1), nn.Embedding(10, 4)

    def forward(self, image: Tensor, ids: Tensor, *, scale: float) -> Tensor:
        made: Tensor = self.c(image) * scale + self.e(ids).mean(1)[:, :, None, None]
        return made


IMAGE, IDS = torch.zeros(2, 3, 8, 12), torch.zeros(2, 5, dtype=torch.long)


@pytest.mark.parametrize(
    "example",
    [
        ((IMAGE, IDS), {"scale": 2.0}),
        {"image": IMAGE, "ids": IDS, "scale": 2.0},
        ((), {"image": IMAGE, "ids": IDS, "scale": 1}),
    ],
)
def test_an_example_of_several_inputs(example: Any) -> None:
    table = layer_table(Two(), example_input=example)
    assert table[0].output_shape == (2, 4, 8, 12)
    assert table.row("e").input_shape == (2, 5)
    assert table.totals.macs == 2 * 3 * 4 * 9 * 8 * 12
    field = table[0].receptive_field
    assert field is not None
    assert (field.size, table.input_size, table.row("c").stride) == ((3, 3), (8, 12), 1)


@pytest.mark.parametrize(
    ("network", "example", "output"),
    [
        (nn.Sequential(nn.Embedding(100, 8), nn.Linear(8, 3)), torch.zeros(1, 16, dtype=torch.long), (1, 16, 3)),
        (nn.Bilinear(4, 5, 6), (torch.zeros(7, 4), torch.zeros(7, 5)), (7, 6)),
        (nn.Conv2d(3, 4, 3).double(), torch.zeros(1, 3, 8, 8).double(), (1, 4, 6, 6)),
        (
            Of(lambda net, x: [net.a(one[None]) for one in x], a=nn.Conv2d(3, 4, 3)),
            [torch.zeros(3, 8, 8)],
            (1, 4, 6, 6),
        ),
        (
            Of(lambda net, x: net.a(x["image"]), a=nn.Conv2d(3, 4, 3)),
            ({"image": torch.zeros(1, 3, 8, 8)},),
            (1, 4, 6, 6),
        ),
        (nn.GRU(4, 6), (torch.zeros(9, 2, 4), torch.zeros(1, 2, 6)), (9, 2, 6)),
    ],
    ids=range(6),
)
def test_an_example_of_any_kind(network: nn.Module, example: Any, output: tuple[int, ...]) -> None:
    assert layer_table(network, example_input=example)[0].output_shape == output


def test_an_example_is_not_touched() -> None:
    example = torch.rand(1, 3, 8, 8)
    before = example.clone()
    layer_table(nn.Sequential(nn.ReLU(inplace=True)), example_input=example)
    assert torch.equal(example, before)
    assert vars(example) == {}


def test_two_descriptions_of_one_input_are_refused() -> None:
    for two in ({"input_shape": (3, 8, 8)}, {"example_input": torch.zeros(1, 3, 8, 8)}):
        with pytest.raises(TypeError, match="both describe the input"):
            layer_table(nn.Conv2d(3, 4, 3), 8, **two)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no name of one"):
        layer_table(nn.Conv2d(3, 4, 3), example_input={1: torch.zeros(1, 3, 8, 8)})
    for odd in ("3,8,8", (3, 8.0), ()):
        with pytest.raises(TypeError, match="an input shape is"):
            layer_table(nn.Conv2d(3, 4, 3), input_shape=odd)  # type: ignore[arg-type]


# ── Recurrent networks ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2}, {"bidirectional": True, "num_layers": 2}, {"bias": False}, {"proj_size": 3}]
)
def test_recurrent_layers_are_counted_exactly(kind: Any, options: Mapping[str, Any]) -> None:
    if "proj_size" in options and kind is not nn.LSTM:
        return
    gates = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}[kind]
    given, hidden, steps = 6, 5, 7
    made = options.get("proj_size", hidden)
    ways = 2 if options.get("bidirectional") else 1
    expected, width = 0, given
    for _ in range(options.get("num_layers", 1)):
        expected += ways * steps * (gates * hidden * (width + made) + (hidden * made if made != hidden else 0))
        width = ways * made
    table = layer_table(kind(given, hidden, batch_first=True, **options), input_shape=(steps, given))
    assert (table.totals.macs, table.totals.not_counted) == (expected, ())
    assert table[0].output_shape == (1, steps, ways * made)
    assert "≥" not in table.to_text()


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.RNNCell, 1)])
def test_recurrent_cells_are_counted_exactly(kind: Any, gates: int) -> None:
    totals = layer_table(kind(6, 5), input_shape=(6,)).totals
    assert (totals.macs, totals.not_counted) == (gates * 5 * (6 + 5), ())


def test_an_lstm_on_a_map_is_counted_exactly() -> None:
    model = Of(lambda net, x: net.r(x.flatten(2).transpose(1, 2))[0], r=nn.LSTM(3, 5, batch_first=True))
    totals = layer_table(model, 8).totals
    assert (totals.macs, totals.not_counted) == (64 * 4 * 5 * (3 + 5), ())


# ── Layers made in the forward, and TorchScript ───────────────────────────────────────────────────────────────────────


class Making(nn.Module):
    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.a, self.b, self.make = nn.Conv2d(3, 4, 3), None, make

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        if self.b is None:
            self.b = self.make()
        made: Tensor = self.b(x)
        return made


def test_layers_made_in_the_forward_have_rows() -> None:
    table = layer_table(Making(lambda: nn.Conv2d(4, 5, 1)), 8)
    assert table.totals.parameters == 137
    assert [(row.path, row.parameters, row.macs, row.output_shape) for row in table[1:]] == [
        ("a", 112, 3 * 4 * 9 * 36, (1, 4, 6, 6)),
        ("b", 25, 4 * 5 * 36, (1, 5, 6, 6)),
    ]
    assert table.totals.not_counted == ()
    nested = layer_table(Making(lambda: nn.Sequential(nn.Conv2d(4, 5, 1), nn.ReLU())), 8)
    assert [row.path for row in nested] == ["", "a", "b", "b.0", "b.1"]
    assert [row.calls for row in nested] == [1, 1, 1, 1, 1]


def test_a_layer_that_is_not_kept_is_charged_to_its_caller() -> None:
    model = Of(lambda net, x: nn.Conv2d(3, 4, 3, device=x.device)(x))
    assert layer_table(model, 8)[0].own_macs == 3 * 4 * 9 * 36


def test_a_layer_that_is_removed_in_the_forward_keeps_the_table() -> None:
    def once(net: Any, x: Tensor) -> Tensor:
        made: Tensor = net.a(x)
        del net.a
        return made

    table = layer_table(Of(once, a=nn.Conv2d(3, 4, 3)), 8)
    assert table.totals.macs == 3 * 4 * 9 * 36


def test_parts_in_torchscript_are_one_layer_each() -> None:
    part = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = torch.jit.script(part), torch.jit.trace(part, torch.zeros(1, 3, 8, 8))
    for script in parts:
        table = layer_table(nn.Sequential(script, nn.Conv2d(4, 2, 1)), 8)
        assert [row.path for row in table] == ["", "0", "1"]
        row = table.row("0")
        assert (row.kind, row.parameters, row.output_shape) == ("Sequential", 4 * 28 + 8, (1, 4, 6, 6))
        assert (row.macs, table.totals.parameters) == (3 * 4 * 9 * 36, 120 + 10)
        assert row.receptive_field is not None
        assert row.receptive_field.size == (3, 3)


# ── What is said where it cannot be measured ──────────────────────────────────────────────────────────────────────────


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        made: Tensor = self.c(x) * mask
        return made


class ByKeyword(Masked):
    def forward(self, *, pixel_values: Tensor) -> Tensor:  # type: ignore[override]
        made: Tensor = self.c(pixel_values)
        return made


def chosen_by_value(net: Any, x: Tensor) -> Tensor:
    made: Tensor = net.c(x) if x.mean().item() > 0 else net.c(-x)
    return made


def head_by_value(net: Any, x: Tensor) -> Tensor:
    x = net.c(x)
    return net.d(x) if bool(x.max() > 0) else x  # type: ignore[no-any-return]


def by_numpy(net: Any, x: Tensor) -> Tensor:
    made: Tensor = net.c(torch.from_numpy(x.numpy()))
    return made


CONV = {"c": nn.Conv2d(3, 4, 3)}


@pytest.mark.parametrize(
    ("network", "size", "words"),
    [
        (Masked(), 64, r"takes 2 arguments, x and mask, .*: give example_input=\(x, mask\)\.$"),
        (
            ByKeyword(),
            64,
            r'takes 1 argument by keyword, pixel_values, .*: give example_input=\{"pixel_values": …\}\.$',
        ),
        (Of(chosen_by_value, **CONV), 64, r"needs values, .*: run a picture through the network instead"),
        (Of(head_by_value, **CONV, d=nn.Conv2d(4, 4, 1)), 64, r"needs values, .*: run a picture"),
        (Of(by_numpy, **CONV), 64, r"needs values, .*: run a picture"),
        (nn.Conv1d(3, 4, 3), 64, r"takes an input of 2 or 3 axes .*: give input_shape=\(3, length\)\.$"),
        (nn.Conv3d(3, 4, 3), 64, r"takes an input of 5 axes .*: give input_shape=\(3, depth, height, width\)\.$"),
        (nn.Conv3d(1, 4, 3), 64, r"give input_shape=\(1, depth, height, width\)\.$"),
        (nn.LSTM(8, 5), 64, r"give input_shape=\(length, 8\)\.$"),
        (
            nn.Sequential(nn.Embedding(9, 8)),
            64,
            r"takes whole numbers, such as token ids: give them as example_input\.$",
        ),
        (nn.Sequential(nn.Conv2d(3, 4, 9)), 4, r"; choose a larger size, such as 16 × 16\.$"),
        (
            nn.Sequential(nn.Conv2d(1, 6, 5), nn.Flatten(), nn.Linear(6 * 24 * 24, 10)),
            64,
            r"; choose another size, such as 28 × 28\.$",
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), 64, r"; choose another size, such as 28 × 28\.$"),
        (nn.ModuleList([nn.Conv2d(3, 4, 3)]), 64, r"has no forward of its own: give the module that calls it"),
        (Of(lambda net, x: {}["a"]), 64, r"KeyError: 'a'; if it takes another input"),
        (Of(lambda net, x: exit(3)), 64, r"SystemExit: 3; if it takes another input"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(5)), 8, r"“1” \(BatchNorm2d\) .*; if it takes another input"),
    ],
    ids=range(17),
)
def test_the_remedy_fits_the_cause(network: nn.Module, size: int, words: str) -> None:
    with pytest.raises(BackboneError, match=words) as caught:
        layer_table(network, size)
    assert "\n" not in str(caught.value)
    if "larger" not in words:
        assert "larger size" not in str(caught.value)


def test_a_remedy_works() -> None:
    """The size that a message advises is one at which a table is made."""
    assert layer_table(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), 28).totals.macs == 7840
    with pytest.raises(BackboneError, match=r"choose a larger input_shape, such as \(3, 16\)"):
        layer_table(nn.Conv1d(3, 4, 9), input_shape=(3, 4))


def test_channels_that_do_not_fit_are_said_to_be_the_cause() -> None:
    with pytest.raises(BackboneError, match=r"“conv1” \(Conv2d\) takes 3 channels and got 1 × 4 × 64 × 64"):
        layer_table("resnet18", 64, channels=4)


def boxes_above_a_threshold(net: Any, x: Tensor) -> Tensor:
    found = net.head(net.c(x)).flatten(2)[0].T
    return found[found[:, 4] > 0.5]  # type: ignore[no-any-return]


def boxes_one_by_one(net: Any, x: Tensor) -> list[Tensor]:
    found = net.head(net.c(x)).flatten(2)[0].T
    return [one for one in found[:3] if one[4] > 0.5]


@pytest.mark.parametrize("choose", [boxes_above_a_threshold, boxes_one_by_one])
def test_a_detector_of_ones_own_is_measured_up_to_its_boxes(choose: Any) -> None:
    table = layer_table(Of(choose, c=nn.Conv2d(3, 4, 3), head=nn.Conv2d(4, 5, 1)), 32)
    assert table.row("head").output_shape == (1, 5, 30, 30)
    assert (table[0].calls, table.totals.macs) == (0, 30 * 30 * (3 * 4 * 9 + 4 * 5))
    assert table.totals.not_counted[-1].startswith("what comes after values are needed")


def test_a_live_detector_of_torchvision_is_measured_in_any_mode() -> None:
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    model = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None)
    tables = [layer_table(model.train(mode), 64) for mode in (True, False)]
    assert tables[0].totals == tables[1].totals
    assert tables[0].row("rpn.head").calls
    assert "what comes after boxes are chosen" in tables[0].totals.not_counted


# ── Attention on large inputs ─────────────────────────────────────────────────────────────────────────────────────────


def test_attention_forms_no_matrix_of_receptive_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query and a key see their own cells; the bounds of their product are kept as two vectors."""
    from fmviz import fields

    largest = 0
    union = fields._union

    def watched(parts: Any) -> Any:
        nonlocal largest
        made = union(parts)
        largest = max(largest, *(sides.numel() for sides in made))
        return made

    def attend(net: Any, x: Tensor) -> Tensor:
        tokens = net.c(x).flatten(2).mT
        bias = net.bias(tokens)[:, :, :1]
        made: Tensor = F.scaled_dot_product_attention(tokens, tokens, tokens, bias.expand(-1, -1, tokens.shape[1]))
        return made

    monkeypatch.setattr(fields, "_union", watched)
    table = layer_table(Of(attend, c=nn.Conv2d(3, 8, 4, 4), bias=nn.Linear(8, 8)), 256)
    assert table[0].receptive_field is not None
    assert table[0].receptive_field.status == "whole picture"
    assert largest < 64**4 / 16


# ── The command line ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def module(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FMVIZ_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\nfrom torch import nn\n"
        "def build():\n    with torch.device('meta'):\n        return nn.Sequential(nn.Conv2d(3, 4, 3))\n"
        "def line():\n    return nn.Sequential(nn.Conv1d(2, 4, 3))\n"
        "def any_channels():\n    return nn.Sequential(nn.ReLU())\n"
    )
    return str(file)


def test_the_command_line_takes_channels_and_shapes(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "--model", module, "--trust", "--size", "16"]) == 0
    assert "112 trainable" in capsys.readouterr().out
    assert main(["table", "--model", f"{module}:line", "--input-shape", "2,100"]) == 0
    assert "Input: 1×2×100 float32." in capsys.readouterr().out
    assert main(["table", "--model", f"{module}:any_channels", "--channels", "5", "--size", "16"]) == 0
    assert "Input: 1×5×16×16 float32." in capsys.readouterr().out
    assert main(["table", "--model", f"{module}:line"]) == 1
    assert "give --input-shape 2,LENGTH" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--channels", "0"],
        ["--channels", "x"],
        ["--input-shape", "3,a"],
        ["--input-shape", "3,8,8", "--size", "8"],
        ["--input-shape", "3,8,8", "--channels", "3"],
        ["--channels", "3", "--time"],
    ],
)
def test_wrong_options_are_usage_errors(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: Any = main(["table", "resnet18", *options])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert "fmviz table: " in capsys.readouterr().err


def test_the_commands_remedies_are_its_own_options(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FMVIZ_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\n"
        "class Two(nn.Module):\n"
        "    def forward(self, x, y):\n"
        "        return x + y\n"
        "def line():\n"
        "    return nn.Sequential(nn.Conv1d(3, 4, 3))\n"
    )
    for name, remedy in (
        ("line", "give --input-shape 3,LENGTH."),
        ("Two", "call fmviz.layer_table(…, example_input=(x, y)) in"),
    ):
        assert main(["table", "--model", f"{path}:{name}", "--trust"]) == 1
        assert remedy in capsys.readouterr().err
