"""Every module of a network in one pass on the meta device: shapes and sizes, without weights and without a picture.

On the meta device tensors have shapes and no values, so that a pass takes milliseconds and no memory.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast, overload

import torch
from torch import Tensor, nn

from fmviz import table_formats
from fmviz.describing import describe
from fmviz.errors import BackboneError, LayerError
from fmviz.failures import layer_that_ran, one_line
from fmviz.geometry import stride_of
from fmviz.layers import Layer
from fmviz.networks.backbone import Backbone
from fmviz.networks.catalog import backbone
from fmviz.recording import not_compiled
from fmviz.structures import tensors_in
from fmviz.tokens import Elsewhere, Layouts, Places, as_maps, places_of
from fmviz.without_values import ShapesOnly, without_values

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A module.

    Attributes:
        path: as `named_modules` has it; "" is the whole network.
        kind: its class name.
        detail: its hyper-parameters in words, "3×3, stride 2, 64 → 128".
        depth: how many modules it lies in; 0 for the whole network.
        input_shape, output_shape: of the first tensor of its first call, batch included; None where it is never called, or
            where there is no tensor.
        parameters: its own.
        parameters_in_all: with those of the modules in it, shared ones counted once.
        activation_bytes: of all that its calls put out.
        calls: how often it is called in a forward.
        stride: pixels of the input from one cell of its map to the next, see `stride_of`; None where its output is no map.
    """

    path: str
    kind: str
    detail: str
    depth: int
    input_shape: Shape | None
    output_shape: Shape | None
    parameters: int
    parameters_in_all: int
    activation_bytes: int
    calls: int
    stride: float | None


@dataclass(frozen=True, slots=True)
class Totals:
    """The network as a whole.

    Attributes:
        parameters, buffers: how many numbers, shared ones counted once.
        activation_bytes: of all that modules without children put out.
        layers: calls of all modules in a forward: as many as a capture holds, where each puts out one tensor.
    """

    parameters: int
    buffers: int
    activation_bytes: int
    layers: int


class LayerTable(Sequence[Row]):
    """The rows of a network, in the order of its module tree: a module comes before those in it.

    Attributes:
        network: its name, or its class.
        input_size: (height, width) that it was measured at.
        totals: sums.
    """

    def __init__(self, rows: Sequence[Row], *, network: str, input_size: tuple[int, int], totals: Totals) -> None:
        self._rows = tuple(rows)
        self._by_path = {row.path: row for row in self._rows}
        self.network = network
        self.input_size = input_size
        self.totals = totals

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        height, width = self.input_size
        return f"<LayerTable of {self.network} at {height}×{width}, {len(self)} modules>"

    def row(self, path: str) -> Row:
        """The module at `path`; `LayerError` with the nearest names where there is none."""
        if path not in self._by_path:
            close = difflib.get_close_matches(path, self._by_path, n=3)
            remedy = f"did you mean {' or '.join(close)}?" if close else "the table lists them all."
            raise LayerError(f"There is no module “{path}” in {self.network}: {remedy}")
        return self._by_path[path]

    def to_text(self) -> str:
        """Aligned columns, with the totals in the last line."""
        return table_formats.text(self)

    def to_csv(self) -> str:
        """A line a module, with plain numbers; shapes as "1x64x56x56"."""
        return table_formats.csv(self)

    def to_markdown(self) -> str:
        return table_formats.markdown(self)

    def to_latex(self) -> str:
        """A `tabular` for the package booktabs."""
        return table_formats.latex(self)

    def to_json(self) -> str:
        """`{"network", "input_size", "rows": […], "totals"}`, with the fields of `Row` and `Totals`."""
        return table_formats.json(self)


def layer_table(network: str | nn.Module, size: int | tuple[int, int] | None = None) -> LayerTable:
    """Measure a network at an input of one picture of `size`.

    Args:
        network: the name of a backbone, or any module that takes one (1, channels, h, w) tensor. It is not touched: a
            copy without memory is run, and without the hooks that it has.
        size: (height, width) in pixels; one number for both. None is the only size that the network takes, else 224 or
            the least that it needs.

    A detector is measured up to where it chooses boxes, and its heads with it, for without values there is nothing to
    choose: what comes after that has no shapes and no calls.

    Raises:
        BackboneError: no such backbone, or it cannot run at this size, or not on the meta device.

    Example:
        >>> table = layer_table("vgg19")
        >>> table.row("features.0").output_shape, table.totals.parameters
        ((1, 64, 224, 224), 143667240)
    """
    name = network if isinstance(network, str) else type(network).__name__
    row = backbone(network) if isinstance(network, str) else None
    height, width = _checked(size or (row and (row.only_input or max(224, row.minimum_input))) or 224, name)
    twin = _built(row, (height, width)) if row else without_values(cast(nn.Module, network), name)
    twin.train(False)
    image = torch.empty(1, _channels(twin), height, width, dtype=_dtype(twin), device="meta")
    measured = _measured(twin, image, name, row)
    rows = [_row(path, module, measured[path], (height, width)) for path, module in twin.named_modules()]
    leaves = [path for path, module in twin.named_modules() if not any(True for _ in module.children())]
    totals = Totals(
        parameters=_count(twin.parameters()),
        buffers=_count(twin.buffers()),
        activation_bytes=sum(measured[path].nbytes for path in leaves),
        layers=sum(one.calls for one in measured.values()),
    )
    return LayerTable(rows, network=name, input_size=(height, width), totals=totals)


@dataclass(slots=True)
class _Measured:
    """What the hooks saw of one module."""

    input_shape: Shape | None = None
    output_shape: Shape | None = None
    map_size: tuple[int, int] | None = None
    nbytes: int = 0
    calls: int = 0


def _measured(twin: nn.Module, image: Tensor, name: str, row: Backbone | None) -> dict[str, _Measured]:
    """One forward of `twin`, which is ours alone; by path."""
    found = {path: _Measured() for path, _ in twin.named_modules()}
    height, width = image.shape[-2:]
    finder = row.token_grid((height, width)) if row and row.token_grid else None
    find = partial(places_of, input_size=(height, width), finder=finder)
    layouts = Layouts()
    for path, module in twin.named_modules():
        module.register_forward_hook(_measuring(path, found[path], layouts, find), with_kwargs=True)
    try:
        # What a forward makes of its own, positions say, is to be on the meta device as well.
        with torch.inference_mode(False), torch.no_grad(), not_compiled(), torch.device("meta"), ShapesOnly():
            twin(*(row.arguments(image) if row else (image,)))
    except Exception as error:
        # Whatever else may be wrong with it would be wrong with a picture as well.
        if row and row.by_values and "meta" in str(error):
            return found
        raise BackboneError(
            f"{name} could not be measured at {height} × {width} pixels, since {layer_that_ran(twin, error)} stopped "
            f"with {one_line(error)}; try a larger size."
        ) from error
    return found


def _measuring(
    path: str, measured: _Measured, layouts: Layouts, find: Callable[..., Places | None]
) -> Callable[[nn.Module, Any, Any, Any], None]:
    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        measured.calls += 1
        put_out = [tensor for _, tensor in tensors_in(output)]
        last = [layouts.channels_last(module, tensor) for tensor in put_out]
        if measured.calls == 1:
            measured.input_shape = _first_shape((args, kwargs))
        if measured.calls == 1 and put_out:
            measured.output_shape = tuple(put_out[0].shape)
            places = find(Layer(path), measured.output_shape, channels_last=last[0])
            measured.map_size = _map_size(as_maps(put_out[0], places), places)
        measured.nbytes += sum(tensor.numel() * tensor.element_size() for tensor in put_out)

    return hook


def _map_size(maps: Tensor, places: Places | None) -> tuple[int, int] | None:
    on_the_picture = maps.dim() == 4 and maps.shape[0] == 1 and not isinstance(places, Elsewhere)
    return (maps.shape[2], maps.shape[3]) if on_the_picture else None


def _first_shape(value: object) -> Shape | None:
    return next((tuple(tensor.shape) for _, tensor in tensors_in(value)), None)


def _row(path: str, module: nn.Module, measured: _Measured, input_size: tuple[int, int]) -> Row:
    return Row(
        path=path,
        kind=type(module).__name__,
        detail=describe(module),
        depth=path.count(".") + 1 if path else 0,
        input_shape=measured.input_shape,
        output_shape=measured.output_shape,
        parameters=_count(module.parameters(recurse=False)),
        parameters_in_all=_count(module.parameters()),
        activation_bytes=measured.nbytes,
        calls=measured.calls,
        stride=stride_of(input_size, measured.map_size) if measured.map_size else None,
    )


def _count(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _channels(network: nn.Module) -> int:
    return next((module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d)), 3)


def _dtype(network: nn.Module) -> torch.dtype:
    """Of its first parameter that is no integer: what a network in half precision takes."""
    return next((one.dtype for one in network.parameters() if one.is_floating_point()), torch.float32)


def _checked(size: int | tuple[int, int], name: str) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise BackboneError(f"{name} cannot run on an input of {height} × {width} pixels: choose a size of 1 or more.")
    return height, width


def _built(row: Backbone, size: tuple[int, int]) -> nn.Module:
    if why := row.why_not(size):
        raise BackboneError(why)
    if row.group == "own":
        # A user's own code need not run on the meta device, and its weights may be read by it.
        return without_values(row.build(), row.name)
    with torch.device("meta"):
        return row.build()
