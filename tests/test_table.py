"""The layer table: shapes and sizes of every module, without weights, and of nothing that a forward would contradict."""

from __future__ import annotations

import doctest
import math
import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import fmviz.table
from fmviz.capture import capture_activations
from fmviz.describing import describe
from fmviz.errors import BackboneError, LayerError
from fmviz.geometry import stride_of
from fmviz.networks.catalog import backbone, backbones
from fmviz.structures import tensors_in
from fmviz.table import LayerTable, layer_table


class Branched(nn.Module):
    """Dictionaries, a module called twice, one never called, shared weights, a buffer, a tensor that is neither."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.again = nn.Conv2d(4, 4, 1)
        self.unused = nn.Linear(4, 2)
        self.twin = nn.Conv2d(4, 4, 1)
        self.twin.weight = self.again.weight
        self.register_buffer("scale", torch.ones(4, 1, 1))
        self.offset = torch.zeros(4, 1, 1)

    def forward(self, x: Tensor) -> dict[str, Any]:
        x = self.conv(x)
        x = self.again(self.again(x)) * self.scale + self.offset
        return {"maps": x, "more": [self.twin(x)], "position": torch.arange(3) + x.sum()}


def shapes_seen(model: nn.Module, x: Tensor) -> dict[str, tuple[tuple[int, ...] | None, int, int]]:
    """By path, from a true forward: shape of the first output, calls, bytes of all outputs."""
    seen: dict[str, tuple[tuple[int, ...] | None, int, int]] = {path: (None, 0, 0) for path, _ in model.named_modules()}

    def hook(path: str) -> Any:
        def called(module: nn.Module, args: Any, output: Any) -> None:
            shape, calls, nbytes = seen[path]
            tensors = [tensor for _, tensor in tensors_in(output)]
            first = tuple(tensors[0].shape) if tensors else None
            total = nbytes + sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            seen[path] = (shape if calls else first, calls + 1, total)

        return called

    handles = [module.register_forward_hook(hook(path)) for path, module in model.named_modules()]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return seen


def measured(table: LayerTable) -> dict[str, tuple[tuple[int, ...] | None, int, int]]:
    return {row.path: (row.output_shape, row.calls, row.activation_bytes) for row in table}


# ── Against the truth ─────────────────────────────────────────────────────────────────────────────────────────────────


OURS = [name for name in backbones() if backbone(name).group in ("papers", "article")]


@pytest.mark.parametrize("name", OURS)
def test_every_network_of_ours(name: str) -> None:
    table = layer_table(name)
    assert table.totals.parameters == backbone(name).parameters == table[0].parameters
    assert table[0].path == ""
    assert sum(row.own_parameters for row in table) == table.totals.parameters
    # Not every network pads all its convolutions: the factorised Inception's strides are near to these.
    strides = {tap: table.row(path).stride or 0.0 for tap, path in backbone(name).taps.items()}
    assert {tap: round(math.log2(stride)) for tap, stride in strides.items()} == {tap: int(tap[1]) for tap in strides}


@pytest.mark.parametrize("name", ["efficientnet_lite0_fpn", "resnet18_fpn", "vgg11_bn"])
@pytest.mark.parametrize("size", [(64, 64), (75, 97)])
def test_a_forward_agrees(name: str, size: tuple[int, int]) -> None:
    model = backbone(name).build().eval()
    assert measured(layer_table(name, size)) == shapes_seen(model, torch.zeros(1, 3, *size))


@pytest.mark.parametrize(
    "name",
    [
        "googlenet",
        "densenet121",
        "mobilenet_v3_small",
        "regnet_y_400mf",
        "shufflenet_v2_x0_5",
        "squeezenet1_0",
        "swin_t",
    ],
)
def test_a_forward_of_torchvisions_agrees(name: str) -> None:
    from torchvision import models

    extra = {"init_weights": False} if name == "googlenet" else {}
    model = models.get_model(name, weights=None, **extra).eval()
    assert measured(layer_table(model, 64)) == shapes_seen(model, torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("name", ["fasterrcnn_mobilenet_v3_large_320_fpn", "ssd300_vgg16", "fcos_resnet50_fpn"])
def test_a_detector_is_measured_up_to_where_it_chooses_boxes(name: str) -> None:
    """Its body, its pyramid and its heads, as a forward has them; no more, and no less."""
    row = backbone(f"torchvision/{name}")
    size = (row.minimum_input, row.minimum_input + 20) if row.minimum_input > 1 else (64, 96)
    table = measured(layer_table(row.name, size))
    model = row.build().eval()
    seen: dict[str, Any] = {}

    def hook(path: str) -> Any:
        def called(module: nn.Module, args: Any, output: Any) -> None:
            seen.setdefault(path, next((tuple(tensor.shape) for _, tensor in tensors_in(output)), None))

        return called

    for path, module in model.named_modules():
        module.register_forward_hook(hook(path))
    with torch.no_grad():
        model(*row.arguments(torch.rand(1, 3, *size)))
    ran = {path for path, (_, calls, _) in table.items() if calls}
    assert {path: table[path][0] for path in ran} == {path: seen[path] for path in ran}
    missing = set(seen) - ran
    after = ("roi_heads", "rpn.anchor_generator", "anchor_generator")
    assert all(path.startswith(after) or path in ("", "rpn") for path in missing), missing


def test_the_stride_of_token_maps() -> None:
    table = layer_table("torchvision/vit_b_32", (224, 320))
    assert (table.row("encoder").output_shape, table.row("encoder").stride) == ((1, 71, 768), 32)
    table = layer_table("torchvision/swin_t", (224, 320))
    assert (table.row("features.1").output_shape, table.row("features.1").stride) == ((1, 56, 80, 96), 4)


def test_a_module_of_ones_own() -> None:
    model = Branched().eval()
    table = layer_table(model, (9, 16))
    assert measured(table) == shapes_seen(model, torch.zeros(1, 1, 9, 16))
    assert table.row("conv").input_shape == (1, 1, 9, 16)
    assert table.row("conv").output_shape == (1, 4, 5, 8)
    assert table.row("again").calls == 2
    unused = table.row("unused")
    assert (unused.kind, unused.detail, unused.depth, unused.parameters, unused.calls) == ("Linear", "4 → 2", 1, 10, 0)
    assert (unused.input_shape, unused.output_shape, unused.receptive_field, unused.each_call) == (None, None, None, ())
    assert (table.row("twin").parameters, table.row("again").parameters) == (20, 20)
    assert table.totals.parameters == 40 + 20 + 4 + 10
    assert (table.totals.buffers, table.totals.layers) == (4, 5)
    assert table.totals.activation_bytes == 4 * (4 * 5 * 8) * 4
    assert [row.path for row in table] == [path for path, _ in model.named_modules()]
    assert [row.depth for row in table] == [0, 1, 1, 1, 1]


def test_shapes_are_those_of_the_first_call_and_bytes_those_of_all() -> None:
    relu = nn.ReLU()
    table = layer_table(nn.Sequential(nn.Conv2d(3, 4, 1), relu, nn.Conv2d(4, 8, 1), relu, nn.MaxPool2d(2)), 6)
    row = table.row("1")
    assert (row.input_shape, row.output_shape, row.calls) == ((1, 4, 6, 6), (1, 4, 6, 6), 2)
    assert row.activation_bytes == (4 + 8) * 6 * 6 * 4


@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 3),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.integers(1, 2),
    st.sampled_from([1, 2, 4]),
)
@settings(deadline=None, max_examples=60)
def test_convolutions_of_all_kinds(
    size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: tuple[int, int], dilation: int, groups: int
) -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups))
    try:
        with torch.no_grad():
            expected = tuple(model(torch.zeros(1, 4, *size)).shape)
    except RuntimeError:
        with pytest.raises(BackboneError, match="could not be measured"):
            layer_table(model, size)
    else:
        assert layer_table(model, size).row("0").output_shape == expected


@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from([None, 1, 2, 3]),
    st.integers(0, 2),
    st.integers(1, 2),
    st.booleans(),
)
@settings(deadline=None, max_examples=100)
def test_pools_of_all_kinds(
    size: tuple[int, int], kernel: tuple[int, int], stride: int | None, padding: int, dilation: int, ceil: bool
) -> None:
    model = nn.Sequential(nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil))
    try:
        expected = tuple(model(torch.zeros(1, 3, *size)).shape)
    except RuntimeError:
        with pytest.raises(BackboneError, match="could not be measured"):
            layer_table(model, size)
    else:
        assert layer_table(model, size).row("0").output_shape == expected


@pytest.mark.parametrize(
    "part",
    [
        nn.AdaptiveAvgPool2d((None, 3)),
        nn.AdaptiveAvgPool2d(2),
        nn.Upsample(size=(7, 5)),
        nn.Upsample(scale_factor=1.5, mode="bilinear"),
        nn.ReLU(inplace=True),
        nn.Sequential(nn.Flatten(), nn.Linear(4 * 6 * 8, 5)),
        nn.Conv2d(4, 2, 3, padding="same"),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.InstanceNorm2d(4),
        nn.AvgPool2d(3, stride=2, ceil_mode=True),
    ],
    ids=lambda part: type(part).__name__,
)
def test_parts_agree_with_a_forward(part: nn.Module) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), part).eval()
    assert measured(layer_table(model, (6, 8))) == shapes_seen(model, torch.zeros(1, 3, 6, 8))


# ── The network is not touched ────────────────────────────────────────────────────────────────────────────────────────


def test_the_module_is_not_touched() -> None:
    called: list[str] = []
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    model[0].register_forward_hook(lambda module, args, output: called.append("hook"))
    model[1].register_forward_pre_hook(lambda module, args: called.append("pre-hook"))
    before = {name: (id(tensor), tensor.clone()) for name, tensor in model.state_dict(keep_vars=True).items()}
    layer_table(model, 8)
    after = dict(model.state_dict(keep_vars=True))
    assert all(
        id(after[name]) == identity and torch.equal(after[name], value) for name, (identity, value) in before.items()
    )
    assert all(module.training for module in model.modules())
    assert [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model] == [1, 1, 0]
    assert called == []


def test_a_copy_that_would_not_fit_into_memory_is_not_made() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 1 << 20, 1), nn.Conv2d(1 << 20, 1 << 22, 1))
    assert layer_table(model, 4).totals.parameters == (3 + 1) * (1 << 20) + ((1 << 20) + 1) * (1 << 22)


@pytest.mark.parametrize(("dtype", "size"), [(torch.float16, 2), (torch.float64, 8)])
def test_a_network_of_another_precision(dtype: torch.dtype, size: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).to(dtype)
    assert [row.activation_bytes for row in layer_table(model, 8)] == [4 * 6 * 6 * size] * 4


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize(
    "norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm]
)
def test_weights_that_are_computed(norm: Any) -> None:
    assert layer_table(nn.Sequential(norm(nn.Conv2d(3, 4, 3))), 8).row("0").output_shape == (1, 4, 6, 6)


def test_torchscript_is_told_from_a_module() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3)))
    with pytest.raises(BackboneError, match="TorchScript"):
        layer_table(script, 8)


def test_a_compiled_module() -> None:
    compiled: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        compiled.append(len(inputs))
        return graph.forward

    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    model = nn.Sequential(torch.compile(plain, backend=backend))
    with torch.no_grad():
        model(torch.zeros(1, 3, 8, 8))
    before = len(compiled)
    assert layer_table(model, 8).row("0._orig_mod.1").output_shape == (1, 4, 6, 6)
    assert len(compiled) == before > 0


def test_a_table_needs_neither_the_compiler_nor_sympy() -> None:
    code = (
        "import sys; from fmviz.table import layer_table; "
        "tables = [layer_table(name) for name in ('efficientnet_lite0_fpn', 'resnet18_fpn', 'vgg11_bn')]; "
        "sys.exit(' '.join(sorted({'torch._dynamo', 'sympy', 'torchvision'} & set(sys.modules))) or 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_capture_weighs_what_the_table_says() -> None:
    model = backbone("vgg11").build().eval()
    table = layer_table("vgg11", 64)
    capture = capture_activations(model, torch.zeros(1, 3, 64, 64), keep=lambda layer: layer.path != "")
    leaves = {row.path for row in table if not any(other.path.startswith(f"{row.path}.") for other in table)} - {""}
    held = sum(one.tensor.nbytes for layer, one in capture.items() if layer.path in leaves)
    assert held == table.totals.activation_bytes


# ── Errors ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("network", "size", "words"),
    [
        ("resnet51", 224, "There is no backbone “resnet51”"),
        ("vgg19", 31, "vgg19 cannot run on an input of 31 × 31 pixels: it needs at least 32"),
        ("resnet18", (0, 9), "resnet18 cannot run on an input of 0 × 9 pixels"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3)),
            2,
            r"Sequential could not be measured at 2 × 2 .* “0” \(Conv2d\) .* larger size",
        ),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(5)), 8, r"“1” \(BatchNorm2d\)"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(9, 2)), 8, r"“1” \(Linear\)"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(5, 2, 1)), 8, r"“1” \(Conv2d\)"),
        (nn.Sequential(nn.LazyLinear(3)), 8, "Sequential cannot be copied without its values"),
    ],
)
def test_what_cannot_be_measured_is_told(network: str | nn.Module, size: Any, words: str) -> None:
    with pytest.raises(BackboneError, match=words):
        layer_table(network, size)


def test_what_depends_on_values_is_told() -> None:
    class Picky(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(BackboneError, match="forward of the whole network"):
        layer_table(Picky(), 8)


def test_an_unknown_row_names_the_nearest() -> None:
    with pytest.raises(LayerError, match=r"no module “layer1\.0\.cnv1” in resnet18: did you mean layer1\.0\.conv1"):
        layer_table("resnet18", 64).row("layer1.0.cnv1")


def test_a_size_that_would_take_for_ever_is_refused() -> None:
    with pytest.raises(BackboneError, match="choose a size of 1,000,000 or less"):
        layer_table("resnet18", 99_999_999)


# ── Strides ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("input_size", "map_size", "stride"),
    [
        ((224, 224), (112, 112), 2),
        ((200, 300), (7, 10), 32),
        ((225, 225), (112, 112), 2),
        ((224, 224), (224, 224), 1),
        ((224, 224), (448, 448), 0.5),
        ((299, 299), (35, 35), 8.5),
        ((320, 320), (7, 7), 45.7),
        ((320, 200), (7, 7), 45.7),
        ((640, 40), (20, 2), 32),
        ((33, 33), (2, 2), 32),
        ((224, 224), (1, 1), None),
        ((224, 224), (56, 9), None),
        ((8, 1600), (1, 50), 32),
        ((224, 224), (1, 32), None),
        ((224, 224), (0, 7), None),
    ],
)
def test_strides(input_size: tuple[int, int], map_size: tuple[int, int], stride: float | None) -> None:
    assert stride_of(input_size, map_size) == stride


@given(st.integers(32, 2000), st.integers(32, 2000), st.integers(0, 4))
@settings(deadline=None)
def test_a_power_of_two_is_found(height: int, width: int, exponent: int) -> None:
    size = (-(-height >> exponent), -(-width >> exponent))
    found = stride_of((height, width), (-(-height // 2**exponent), -(-width // 2**exponent)))
    assert found is not None
    assert found == 2**exponent, size


# ── Words ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Conv2d(64, 128, 3, stride=2, padding=1), "3×3, stride 2, 64 → 128"),
        (nn.Conv2d(3, 4, 3), "3×3, padding 0, 3 → 4"),
        (nn.Conv2d(8, 8, 5, padding=2, groups=8), "5×5, depthwise, 8 → 8"),
        (nn.Conv2d(8, 8, (1, 7), padding=(0, 3), groups=2), "1×7, 2 groups, 8 → 8"),
        (nn.Conv2d(3, 4, 3, padding=2, dilation=2), "3×3, dilation 2, 3 → 4"),
        (nn.Conv2d(3, 4, 3, stride=(1, 2), padding="valid"), "3×3, stride 1×2, padding valid, 3 → 4"),
        (nn.Conv1d(3, 4, 5, padding=2), "5, 3 → 4"),
        (nn.ConvTranspose2d(4, 2, 2, stride=2), "2×2, stride 2, transposed, 4 → 2"),
        (nn.Linear(512, 1000), "512 → 1000"),
        (nn.BatchNorm2d(64), "64"),
        (nn.BatchNorm2d(64, eps=1e-3, affine=False), "64, eps 0.001, not affine"),
        (nn.GroupNorm(2, 8), "8 channels, 2 groups"),
        (nn.LayerNorm((4, 5)), "4×5"),
        (nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), "3×3, stride 2, padding 1, ceil"),
        (nn.AvgPool2d(2), "2×2, stride 2"),
        (nn.MaxPool1d(2), "2, stride 2"),
        (nn.AdaptiveAvgPool2d(1), "to 1×1"),
        (nn.AdaptiveMaxPool2d((None, 4)), "to any×4"),
        (nn.LocalResponseNorm(5), "size 5, α 0.0001, β 0.75, k 1"),
        (nn.Dropout(0.4), "p 0.4"),
        (nn.ReLU(), ""),
        (nn.ReLU(inplace=True), "in place"),
        (nn.ReLU6(), "0 to 6"),
        (nn.Hardtanh(), "-1 to 1"),
        (nn.LeakyReLU(0.1), "slope 0.1"),
        (nn.Upsample(scale_factor=2), "×2, nearest"),
        (nn.Upsample(size=(4, 5), mode="bilinear", align_corners=True), "to 4×5, bilinear, aligned corners"),
        (nn.Softmax(dim=1), "over axis 1"),
        (nn.Flatten(), "from axis 1"),
        (nn.PixelShuffle(2), "upscale_factor=2"),
        (nn.Sequential(nn.ReLU()), ""),
    ],
    ids=repr,
)
def test_hyper_parameters_in_words(module: nn.Module, words: str) -> None:
    assert describe(module) == words


def test_a_convolution_that_pads_in_its_own_way_is_not_said_to_have_no_padding() -> None:
    details = {row.detail for row in layer_table("efficientnet_lite0", 64) if row.kind == "Conv2dSame"}
    assert "3×3, stride 2, same padding, 3 → 32" in details
    assert "5×5, stride 2, same padding, depthwise, 144 → 144" in details
    assert "1×1, 32 → 16" in details
    assert not any("padding 0" in detail for detail in details)


# ── As Python has it ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_table_is_a_sequence() -> None:
    table = layer_table("resnet18", 64)
    assert table[1] == table.row("conv1") == next(iter(table[1:]))
    assert list(table) == [table[index] for index in range(len(table))]
    assert repr(table) == "<LayerTable of resnet18 at 64×64, 68 modules>"


def test_the_examples_run() -> None:
    assert doctest.testmod(fmviz.table).failed == 0


@pytest.mark.parametrize("network", [None, 3, nn.Conv2d])
def test_what_is_no_network_is_said_to_be_none(network: object) -> None:
    with pytest.raises(TypeError, match=r"^a network is the name of a backbone or a torch\.nn\.Module and not a "):
        layer_table(network)  # type: ignore[arg-type]


def test_at_any_size_a_table_takes_little_memory() -> None:
    """What each element sees beside a border of zeros is kept for each of them: beyond some, nothing is said of it."""
    whole = layer_table("efficientnet_lite0", 20_000)[0]
    assert whole.receptive_field is not None
    assert whole.receptive_field.unknown == "aten.constant_pad_nd"
    at_1000 = layer_table("efficientnet_lite0", 1000)[0].receptive_field
    assert at_1000 is not None
    assert not at_1000.unknown


def test_where_memory_ran_out_a_smaller_size_is_advised() -> None:
    class Greedy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(BackboneError, match="choose a smaller size"):
        layer_table(Greedy(), 8)
