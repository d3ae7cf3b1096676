"""The layer table of one operation each, against a real forward: shapes, MACs as torch counts them, receptive fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fmviz.geometry import Box
from fmviz.structures import tensors_in
from fmviz.table import layer_table

SIZE = (8, 12)


class Of(nn.Module):
    """A forward that is one function, between two modules that make rows."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.first, self.function, self.last = nn.Conv2d(4, 4, 3, padding=1), function, nn.Identity()

    def forward(self, x: Tensor) -> Any:
        return self.last(self.function(self.first(x)))


def vector(x: Tensor) -> Tensor:
    return x[0, :, 0, 0]


def matrix(x: Tensor) -> Tensor:
    return x[0, 0]


def ones(x: Tensor, *shape: int) -> Tensor:
    """Weights for `x`."""
    return torch.ones(shape, dtype=x.dtype, device=x.device)


def complex_of(x: Tensor) -> Tensor:
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())


def written(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, 1:3, 2:5] = 0.0
    return x


MOVES: dict[str, Callable[[Tensor], Any]] = {
    "unsqueeze_": lambda x: (x + 0).unsqueeze_(0),
    "unsqueeze_ last": lambda x: (x + 0).unsqueeze_(-1),
    "squeeze_": lambda x: (x[:, :1] + 0).squeeze_(1),
    "squeeze_ all": lambda x: (x[:, :1] + 0).squeeze_(),
    "transpose_": lambda x: (x + 0).transpose_(2, 3),
    "swapaxes_": lambda x: (x + 0).swapaxes_(1, 3),
    "swapdims_": lambda x: (x + 0).swapdims_(0, 1),
    "t_": lambda x: (matrix(x) + 0).t_(),
    "resize_": lambda x: (x + 0).resize_(2, 4, 8, 6),
    "as_strided_": lambda x: (x + 0).as_strided_((1, 2, 8, 12), (384, 96, 12, 1)),
    "squeeze": lambda x: x[:, :1].squeeze(),
    "unsqueeze": lambda x: x.unsqueeze(2),
    "view_as_complex": complex_of,
    "view_as_real": lambda x: torch.view_as_real(complex_of(x)),
    "real": lambda x: complex_of(x).real,
    "imag": lambda x: complex_of(x).imag,
    "conj": lambda x: complex_of(x).conj(),
    "view dtype": lambda x: x.view(torch.int32),
    "view smaller dtype": lambda x: x.view(torch.int16),
    "unsafe_split": lambda x: torch.unsafe_split(x, 3, 1),
    "unsafe_chunk": lambda x: torch.unsafe_chunk(x, 2, 2),
    "split": lambda x: x.split((1, 3), 1),
    "chunk": lambda x: x.chunk(3, 3),
    "tensor_split": lambda x: torch.tensor_split(x, 3, 3),
    "hsplit": lambda x: torch.hsplit(x, 2),
    "unbind": lambda x: x.unbind(1),
    "narrow": lambda x: x.narrow(3, 2, 5),
    "narrow_copy": lambda x: torch.narrow_copy(x, 2, 1, 3),
    "select": lambda x: x.select(1, 2),
    "rot90": lambda x: torch.rot90(x, 1, (2, 3)),
    "rot90 twice": lambda x: torch.rot90(x, 2, (2, 3)),
    "rot90 back": lambda x: torch.rot90(x, -1, (1, 2)),
    "flip": lambda x: x.flip(2, 3),
    "fliplr": torch.fliplr,
    "roll": lambda x: x.roll((1, -2), (2, 3)),
    "roll flat": lambda x: x.roll(5),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "repeat more axes": lambda x: x.repeat(2, 1, 1, 2, 1),
    "tile": lambda x: x.tile(2, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, dim=2),
    "movedim": lambda x: x.movedim(1, -1),
    "moveaxis": lambda x: torch.moveaxis(x, (0, 1), (2, 3)),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "adjoint": lambda x: x.adjoint(),
    "mT": lambda x: x.mT,
    "swapaxes": lambda x: x.swapaxes(2, 3),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    "reshape": lambda x: x.transpose(1, 2).reshape(4, -1),
    "expand": lambda x: x[:, :1].expand(-1, 5, -1, -1),
    "broadcast_to": lambda x: x.broadcast_to(3, 4, 8, 12),
    "diagonal": lambda x: x.diagonal(dim1=2, dim2=3),
    "diag_embed": lambda x: torch.diag_embed(x[:, :, 0]),
    "tril": torch.tril,
    "triu": lambda x: x.triu(1),
    "unfold tensor": lambda x: x.unfold(2, 3, 2),
    "unfold": lambda x: F.unfold(x, 3, padding=1, stride=2),
    "gather": lambda x: x.gather(1, torch.zeros(1, 2, 8, 12, dtype=torch.long, device=x.device)),
    "index_select": lambda x: x.index_select(1, torch.tensor([0, 2], device=x.device)),
    "integer index": lambda x: x[:, torch.tensor([0, 2], device=x.device)],
    "take_along_dim": lambda x: x.take_along_dim(torch.zeros(1, 4, 8, 1, dtype=torch.long, device=x.device), 3),
    "cat with nothing": lambda x: torch.cat((x, x[:, :0]), 1),
    "stack": lambda x: torch.stack((x, x), 2),
    "hstack": lambda x: torch.hstack((x, x)),
    "dstack": lambda x: torch.dstack((x, x)),
    "pad": lambda x: F.pad(x, (1, 2, 0, 3)),
    "pad reflect": lambda x: F.pad(x, (1, 2, 0, 3), mode="reflect"),
    "pad circular": lambda x: F.pad(x, (1, 2, 0, 3), mode="circular"),
    "pad negative": lambda x: F.pad(x, (-1, -2)),
    "written": written,
    "empty channels": lambda x: x[:, :0],
    "empty rows": lambda x: x[:, :, :0],
    "empty vector": lambda x: x[0, 0, 0, :0],
    "to double": lambda x: x.double(),
    "contiguous": lambda x: x.transpose(2, 3).contiguous(),
    "one_hot": lambda x: F.one_hot(torch.arange(4, device=x.device), 5),
    "new_zeros": lambda x: x.new_zeros(2, 3),
    "channels_last": lambda x: x.to(memory_format=torch.channels_last),
    "permute_copy": lambda x: torch.permute_copy(x, (0, 3, 1, 2)),
    "random": lambda x: torch.empty_like(x).uniform_() + torch.randn(4, 1, 1),
}
"""They move numbers, or make them out of nothing."""

COMPUTES: dict[str, Callable[[Tensor], Any]] = {
    "mean": lambda x: x.mean(),
    "sum": lambda x: x.sum(),
    "max": lambda x: x.max(),
    "max along": lambda x: x.max(dim=1),
    "amax": lambda x: x.amax((2, 3), keepdim=True),
    "argmax": lambda x: x.argmax(1),
    "aminmax": lambda x: torch.aminmax(x, dim=1),
    "var_mean": lambda x: torch.var_mean(x, dim=(2, 3)),
    "norm": lambda x: x.norm(dim=1),
    "median": lambda x: x.median(dim=3),
    "cumsum of one": lambda x: x.sum().cumsum(0),
    "softmax": lambda x: x.softmax(1),
    "softmax of one": lambda x: x.sum().softmax(0),
    "linear of a strided vector": lambda x: F.linear(vector(x), ones(x, 5, 4), ones(x, 5)),
    "matrix vector": lambda x: matrix(x) @ matrix(x)[0],
    "dot": lambda x: vector(x) @ vector(x),
    "outer": lambda x: torch.outer(vector(x), vector(x)),
    "addmv": lambda x: torch.addmv(matrix(x)[:, 0], matrix(x), matrix(x)[0]),
    "addbmm": lambda x: torch.addbmm(x[0, 0] @ x[0, 0].T, x[0], x[0].mT),
    "baddbmm": lambda x: torch.baddbmm(x[0] @ x[0].mT, x[0], x[0].mT),
    "matmul": lambda x: x @ x.mT,
    "einsum": lambda x: torch.einsum("bchw,bdhw->bcd", x, x),
    "tensordot": lambda x: torch.tensordot(x, x, dims=([2, 3], [2, 3])),
    "bilinear": lambda x: F.bilinear(x, x, ones(x, 3, 12, 12)),
    "attention": lambda x: F.scaled_dot_product_attention(x / 50, x / 50, x),
    "attention with mask": lambda x: F.scaled_dot_product_attention(x / 50, x / 50, x, x.new_zeros(8, 8)),
    "cdist": lambda x: torch.cdist(x, x),
    "cosine_similarity": lambda x: F.cosine_similarity(x, x.flip(1)),
    "complex product": lambda x: torch.view_as_real(complex_of(x) * torch.polar(torch.ones(6), torch.ones(6))),
    "conv1d": lambda x: F.conv1d(x[:, :, 0], ones(x, 2, 4, 3)),
    "conv3d": lambda x: F.conv3d(x.unsqueeze(1), ones(x, 2, 1, 3, 3, 3)),
    "conv2d of one picture": lambda x: F.conv2d(x[0], ones(x, 2, 4, 3, 3)),
    "conv_transpose2d": lambda x: F.conv_transpose2d(x, ones(x, 4, 2, 3, 3), stride=2),
    "conv_transpose1d": lambda x: F.conv_transpose1d(x[:, :, 0], ones(x, 4, 2, 3)),
    "conv_tbc": lambda x: torch.conv_tbc(x[0], ones(x, 3, 12, 5), ones(x, 5)),
    "max_pool1d": lambda x: F.max_pool1d(x[:, :, 0], 2),
    "max_pool3d": lambda x: F.max_pool3d(x, 2),
    "avg_pool3d": lambda x: F.avg_pool3d(x, 2),
    "adaptive_avg_pool1d": lambda x: F.adaptive_avg_pool1d(x[:, :, 0], 5),
    "adaptive_avg_pool3d": lambda x: F.adaptive_avg_pool3d(x, 3),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, 3),
    "lp_pool2d": lambda x: F.lp_pool2d(x, 2, 2),
    "interpolate linear": lambda x: F.interpolate(x[:, :, 0], scale_factor=2, mode="linear"),
    "interpolate trilinear": lambda x: F.interpolate(x[None], scale_factor=2, mode="trilinear"),
    "interpolate nearest": lambda x: F.interpolate(x, size=(5, 7)),
    "interpolate area": lambda x: F.interpolate(x, size=(5, 7), mode="area"),
    "instance_norm": lambda x: F.instance_norm(x),
    "group_norm": lambda x: F.group_norm(x, 2),
    "rms_norm": lambda x: F.rms_norm(x, (12,)),
    "local_response_norm": lambda x: F.local_response_norm(x, 3),
    "glu": lambda x: F.glu(x, 1),
    "fold": lambda x: F.fold(F.unfold(x, 3), (8, 12), 3),
    "scatter_add": lambda x: torch.zeros_like(x).scatter_add(1, torch.zeros_like(x, dtype=torch.long), x),
    "where": lambda x: torch.where(x > 0, x, -x),
    "clamp_": lambda x: (x + 0).clamp_(0, 1),
    "lerp": lambda x: torch.lerp(x, x.flip(3), 0.3),
    "topk": lambda x: x.topk(2, dim=1),
    "sort": lambda x: x.sort(dim=3),
    "fft": lambda x: torch.fft.fft2(x).abs(),
    "grid_sample": lambda x: F.grid_sample(x, torch.zeros(1, 3, 3, 2, device=x.device), align_corners=False),
    "dropout": lambda x: F.dropout(x, training=True),
    "prelu": lambda x: F.prelu(x, ones(x, 4)),
}

ALL = MOVES | COMPUTES


NOT_COUNTED_BY_TORCH = (
    *("dot", "matrix vector", "addmv", "bilinear", "linear of a strided vector", "conv_tbc", "addbmm"),
    *("attention", "attention with mask"),
)


def shapes_of(value: Any) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for _, tensor in tensors_in(value)]


@pytest.mark.parametrize("name", ALL)
def test_shapes_and_macs_are_those_of_a_real_forward(name: str) -> None:
    model = Of(ALL[name]).eval()
    x = torch.rand(1, 4, *SIZE)
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        real = model(x)
    table = layer_table(model, SIZE)
    assert [table[0].output_shape, table.row("last").output_shape] == shapes_of(real)[:1] * 2
    counted = flops.get_total_flops() // 2
    if name not in NOT_COUNTED_BY_TORCH:
        assert table.totals.macs == counted
    else:
        assert table.totals.macs >= counted


@pytest.mark.parametrize("name", MOVES)
def test_what_only_moves_numbers_costs_nothing(name: str) -> None:
    totals = layer_table(Of(MOVES[name]), SIZE).totals
    assert totals.macs == 4 * 4 * 9 * 8 * 12
    assert totals.not_counted == ()


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("dot", 4),
        ("matrix vector", 8 * 12),
        ("addmv", 8 * 12),
        ("bilinear", 4 * 8 * 3 * 12 * 12),
        ("linear of a strided vector", 20),
        ("conv_tbc", 2 * 8 * 5 * 3 * 12),
        ("attention", 2 * 4 * 8 * 8 * 12),
        ("attention with mask", 2 * 4 * 8 * 8 * 12),
    ],
)
def test_macs_that_torch_does_not_count(name: str, macs: int) -> None:
    assert layer_table(Of(ALL[name]), SIZE).totals.macs - 4 * 4 * 9 * 8 * 12 == macs


# ── Receptive fields ──────────────────────────────────────────────────────────────────────────────────────────────────


KNOWN_FIELDS = [
    name
    for name in ALL
    if name
    not in (
        *("resize_", "as_strided_", "view dtype", "view smaller dtype", "written", "one_hot", "new_zeros", "random"),
        *("empty channels", "empty rows", "empty vector", "gather", "integer index", "index_select", "take_along_dim"),
        *("fold", "scatter_add", "fft", "grid_sample", "argmax", "sort", "topk", "median", "bilinear", "cdist"),
        # What is selected by value has a smaller gradient than it can depend on.
        *("max", "max along", "amax", "aminmax", "where", "clamp_", "max_pool1d", "max_pool3d", "adaptive_max_pool2d"),
        # The sum of a softmax is constant, and has no gradient.
        *("softmax", "softmax of one"),
        # A complex number sees what both of its parts see.
        *("view_as_real", "real", "imag"),
        *("dropout", "conj", "view_as_complex", "conv_tbc"),
    )
]


@pytest.mark.parametrize("name", KNOWN_FIELDS)
def test_receptive_fields_are_those_of_the_gradient(name: str) -> None:
    torch.manual_seed(0)
    model = Of(lambda x: mapped(ALL[name](x))).double()
    nn.init.uniform_(model.first.weight, 0.5, 1)
    x = (torch.rand(1, 4, *SIZE, dtype=torch.float64) + 0.5).requires_grad_()
    output, field = model(x), layer_table(model, SIZE).row("last").receptive_field
    assert field is not None
    assert not field.unknown, field.unknown
    assert field.map_size == tuple(output.shape[2:])
    for row, column in np.ndindex(*field.map_size):
        expected = box_of_gradient(output, row, column, x)
        found = field.box(row, column)
        if found != expected:
            # Differences cancel in a gradient here and there; what it shows must lie in the box.
            assert expected is None or within(expected, found), (row, column, expected, found)
    boxes = [field.box(*cell) == box_of_gradient(output, *cell, x) for cell in np.ndindex(*field.map_size)]
    assert sum(boxes) >= 0.9 * len(boxes)


def mapped(value: Any) -> Tensor:
    """Its first tensor as a map (1, n, h, w)."""
    tensor = next(one for _, one in tensors_in(value))
    tensor = tensor.double()
    while tensor.dim() < 4:
        tensor = tensor.unsqueeze(-1) if tensor.dim() < 2 else tensor.unsqueeze(0)
    return tensor.flatten(0, -3).unsqueeze(0)


def within(inner: Box, outer: Box | None) -> bool:
    return outer is not None and (
        outer.left <= inner.left
        and outer.top <= inner.top
        and inner.right <= outer.right
        and inner.bottom <= outer.bottom
    )


def box_of_gradient(output: Tensor, row: int, column: int, x: Tensor) -> Box | None:
    (gradient,) = torch.autograd.grad(output[0, :, row, column].sum(), x, retain_graph=True, allow_unused=True)
    if gradient is None or not gradient.abs().max():
        return None
    rows, columns = (gradient[0].abs().amax(dim=0) > 1e-9 * gradient.abs().max()).nonzero(as_tuple=True)
    return Box(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)


# ── A rule that fails ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rule_that_fails_costs_one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules are many, and what they are given is anything: an error in one of them must not end the table."""
    from fmviz import operations

    def broken(op: operations.Operation) -> Any:
        raise IndexError("a rule of ours")

    monkeypatch.setitem(operations._SEES, "relu", broken)
    monkeypatch.setitem(operations._OTHER, "relu", broken)
    table = layer_table(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1)), 8)
    assert [row.not_counted for row in table] == [("aten.relu",), (), ("aten.relu",), ()]
    fields = [row.receptive_field for row in table]
    assert all(field is not None for field in fields)
    assert [field.unknown for field in fields if field] == ["aten.relu", "", "aten.relu", "aten.relu"]
    assert table.row("2").output_shape == (1, 4, 6, 6)
