"""Every module of a network in one pass on the meta device: shapes, sizes, costs and fields, without weights or a picture.

On the meta device tensors have shapes and no values, so that a pass takes milliseconds and no memory. What is computed in
it is counted operation by operation (`fmviz.operations`), so that functions count as modules do.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast, overload

import torch
from torch import Tensor, nn

from fmviz import fields, table_formats
from fmviz.channel_inference import USUAL, Inferred, infer_channels
from fmviz.describing import describe
from fmviz.errors import BackboneError, LayerError
from fmviz.failures import layer_that_ran
from fmviz.field_of_maps import Maps, receptive_field
from fmviz.geometry import stride_of
from fmviz.layers import Layer
from fmviz.networks.backbone import Backbone
from fmviz.networks.catalog import backbone
from fmviz.networks.fpn import PyramidHead, PyramidNetwork
from fmviz.networks.gradient_flags import trainable
from fmviz.operations import field_of, selects_by_value
from fmviz.parameter_counts import ModuleCounts, SharedTensor, module_counts
from fmviz.receptive_field import ReceptiveField
from fmviz.recording import CopyRule
from fmviz.structures import tensors_in
from fmviz.table_failures import failure_sentence, misfit_sentence, needs_values, signature_fault
from fmviz.table_input import TableInput, checked_channels, checked_shape, checked_size, of_example, of_shape
from fmviz.tokens import Finder, Layouts, places_of
from fmviz.tracing import Cost, Memory, Tracer, tracing
from fmviz.without_values import without_values

if TYPE_CHECKING:
    from fmviz.timing import Timing

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module.

    Attributes:
        input_shape, output_shape: of the first tensor that it takes and puts out, batch included; None where there is none.
        macs, other_operations: of this call, see `Row`.
        activation_bytes: of all that it puts out.
        receptive_field: of the first tensor that it puts out; None where there is none, or where it sees nothing.
    """

    input_shape: Shape | None
    output_shape: Shape | None
    macs: int
    other_operations: int
    activation_bytes: int
    receptive_field: ReceptiveField | None


@dataclass(frozen=True, slots=True)
class Row:
    """A module.

    Attributes:
        path: as `named_modules` has it; "" is the whole network.
        kind: its class name.
        detail: its hyper-parameters in words, "3×3, stride 2, 64 → 128".
        depth: how many modules it lies in; 0 for the whole network.
        stage: "C2" to "C5" for what runs after the stage before and up to the end of this one, "pyramid", or "head" for what
            runs after the last; "" for what spans several, and where the network has no named stages.
        input_shape, output_shape: of the first tensor of its first call, batch included; None where it is never called, or
            where there is no tensor.
        leaf: whether there is no module in it.
        own_parameters: numbers in the parameters that the module itself holds.
        parameters: with those of the modules in it, shared ones counted once.
        own_trainable, trainable: of these, those that require gradients as the network has it; the others are frozen.
        own_buffers, buffers: numbers in buffers, counted as parameters are.
        own_macs: multiply-accumulate operations of its calls that are made in no module within it.
        macs: with those of the modules in it: of a convolution each output times the weights of one filter (of a
            transposed one each input), of a product of matrices each output times the length of its sum.
        own_other_operations: additions, functions of elements, normalisation, pooling and softmax that are made in no module
            within it; see `fmviz.operations` for what each is taken for.
        other_operations: with those of the modules in it.
        not_counted: operations in it, or in the modules in it, whose cost nobody knows: "aten.sort".
        activation_bytes: of all that its calls put out.
        calls: how often it is called in a forward.
        stride: pixels of the input from one cell of its map to the next, see `stride_of`; None where its output is no map.
        receptive_field: what the cells of its first call's first tensor see; None where there is none.
        each_call: the calls one by one.
        seconds: how long its calls take in a forward, with the modules in it; None where that was not measured.
    """

    path: str
    kind: str
    detail: str
    depth: int
    stage: str
    input_shape: Shape | None
    output_shape: Shape | None
    leaf: bool
    own_parameters: int
    parameters: int
    own_trainable: int
    trainable: int
    own_buffers: int
    buffers: int
    own_macs: int
    macs: int
    own_other_operations: int
    other_operations: int
    not_counted: tuple[str, ...]
    activation_bytes: int
    calls: int
    stride: float | None
    receptive_field: ReceptiveField | None
    each_call: tuple[Call, ...] = ()
    seconds: float | None = None

    @property
    def frozen(self) -> int:
        """Parameters that do not require gradients, with those of the modules in it."""
        return self.parameters - self.trainable

    @property
    def parameters_in_all(self) -> int:
        """The same as `parameters`, under its former name."""
        return self.parameters


@dataclass(frozen=True, slots=True)
class Totals:
    """The network as a whole.

    Attributes:
        parameters, trainable, buffers: how many numbers, shared ones counted once.
        parameter_bytes: of parameters and buffers by dtype: {"float32": 102228128}.
        macs, other_operations, not_counted: of a forward, see `Row`.
        activation_bytes: of all that modules without children put out.
        capture_bytes: bytes that a capture of all layers holds; memory that several layers share is counted once.
        peak_bytes: the most that is in memory at once in a forward without a capture, the input with it and the parameters
            not, as far as torch frees what nobody holds any more.
        layers: calls of all modules in a forward: as many as a capture holds, where each puts out one tensor.
        head_parameters: of the parameters, those in the detection head of a pyramid, which a network has only where
            trained weights bring one.
        offered_head: parameters of the detection head that weights on offer would bring; 0 where they have none, or where
            the network has one.
        shared: tensors that several modules hold.
        seconds: of a forward; None where that was not measured.
        assumed_input: shapes and dtypes of the input that all this was measured with, and where the number of channels comes
            from if it was inferred: "1×1×28×28 float32, channels of layer “conv” (Conv2d)".
    """

    parameters: int
    trainable: int
    buffers: int
    parameter_bytes: dict[str, int]
    macs: int
    other_operations: int
    not_counted: tuple[str, ...]
    activation_bytes: int
    capture_bytes: int
    peak_bytes: int
    layers: int
    head_parameters: int = 0
    offered_head: int = 0
    shared: tuple[SharedTensor, ...] = ()
    seconds: float | None = None
    assumed_input: str = ""


class LayerTable(Sequence[Row]):
    """The rows of a network, in the order of its module tree: a module comes before those in it.

    Attributes:
        network: its name, or its class.
        input_size: (height, width) that it was measured at; None if its input is no picture.
        totals: sums.
        modules: how many the network has, where only some of them are rows.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        *,
        network: str,
        input_size: tuple[int, int] | None,
        totals: Totals,
        seen: Mapping[Layer, ReceptiveField] | None = None,
        shapes: Mapping[Layer, Shape] | None = None,
        modules: int | None = None,
    ) -> None:
        self._rows = tuple(rows)
        self._by_path = {row.path: row for row in self._rows}
        self._seen = dict(seen or {})
        self._shapes = dict(shapes or {})
        self.network = network
        self.input_size = input_size
        self.totals = totals
        self.modules = len(self._rows) if modules is None else modules

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<LayerTable of {self.network} at {self.input_words}, {len(self)} modules>"

    @property
    def input_words(self) -> str:
        """ "224×224" for a picture, else the shapes of the input: "1×3×100 float32"."""
        return "×".join(map(str, self.input_size)) if self.input_size else self.totals.assumed_input

    def row(self, path: str) -> Row:
        """Return the row of the module at `path`.

        Args:
            path: As `named_modules` has it; or a layer of a capture, "blocks.2[1]", for the row of its module with the shape,
                stride and receptive field of that output.

        Raises:
            LayerError: There is no such module or output; the message names the nearest.
        """
        layer = Layer.parse(path)
        if path not in self._by_path and layer in self._shapes and layer.path in self._by_path:
            shape = self._shapes[layer]
            stride = stride_of(self.input_size, shape[2:]) if self.input_size and len(shape) == 4 else None
            row = self._by_path[layer.path]
            return replace(row, output_shape=shape, stride=stride, receptive_field=self._seen.get(layer))
        if path not in self._by_path:
            close = difflib.get_close_matches(path, self._by_path, n=3)
            remedy = f"did you mean {' or '.join(close)}?" if close else "the table lists them all."
            raise LayerError(f"There is no module “{path}” in {self.network}: {remedy}")
        return self._by_path[path]

    def of(self, rows: Sequence[Row]) -> LayerTable:
        """The same network with some of the rows, or with others in their place; the totals stay those of the whole."""
        return LayerTable(
            rows,
            network=self.network,
            input_size=self.input_size,
            totals=self.totals,
            seen=self._seen,
            shapes=self._shapes,
            modules=self.modules,
        )

    def timed(self, timing: Timing) -> LayerTable:
        """The same with how long each module takes (`fmviz.timing.time_layers`)."""
        table = self.of([replace(row, seconds=timing.seconds.get(row.path)) for row in self])
        table.totals = replace(self.totals, seconds=timing.total)
        return table

    def field(self, layer: Layer) -> ReceptiveField | None:
        """What the cells of a layer of a capture see, any call and any item of what it put out; None where nobody knows of
        such a layer, or where it sees nothing."""
        return self._seen.get(layer)

    def to_text(self, columns: Sequence[str] | None = None) -> str:
        """Aligned columns, with the totals in the last line; `columns` are names of `fmviz.table_formats.COLUMNS`."""
        return table_formats.text(self, columns)

    def to_csv(self, columns: Sequence[str] | None = None) -> str:
        """A line a module, with plain numbers; shapes as "1x64x56x56", receptive fields as "35x35"."""
        return table_formats.csv(self, columns)

    def to_markdown(self, columns: Sequence[str] | None = None) -> str:
        return table_formats.markdown(self, columns)

    def to_latex(self, columns: Sequence[str] | None = None) -> str:
        """A `tabular` for the package booktabs."""
        return table_formats.latex(self, columns)

    def to_latex_compact(self) -> str:
        """A `tabular` for one column of a paper: layer, output, parameters, MACs, receptive field."""
        return table_formats.latex_compact(self)

    def to_json(self, columns: Sequence[str] | None = None) -> str:
        """`{"network", "input_size", "rows": […], "totals"}`, with the fields of `Row` and `Totals`."""
        return table_formats.json(self, columns)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return table_formats.html(self)


def layer_table(
    network: str | nn.Module,
    size: int | tuple[int, int] | None = None,
    *,
    input_shape: Sequence[int] | None = None,
    channels: int | None = None,
    example_input: Any = None,
) -> LayerTable:
    """Measure a network in one forward without values.

    Without `input_shape`, `channels` and `example_input` the input is one picture of `size`. Its channels are those that the
    catalogue knows; of other networks those that the first executed layer with parameters takes, else 3.
    `table.totals.assumed_input` states the input.

    Args:
        network: the name of a backbone, or any module. It is not touched: a copy without memory is run, and without the
            hooks that it has.
        size: (height, width) in pixels; one number for both. None is the only size that the network takes, else 224 or
            the least that it needs.
        input_shape: shape of the input without the batch axis: (channels, height, width) for a picture, (channels, length)
            for a network of one-dimensional convolutions.
        channels: of the picture.
        example_input: any input: a tensor, or another single argument; a tuple of positional arguments; a mapping of keyword
            arguments; or a pair of both, `((x, y), {"mask": m})`. Shapes and dtypes count, values are not read. Receptive
            fields refer to the batches of pictures (N, C, H, W) in it.

    A detector is measured up to where it chooses boxes, and its heads with it, for without values there is nothing to
    choose: what comes after that has no shapes and no calls. So is every network of one's own that selects by values, or that
    needs values when all of its layers have run.

    Raises:
        BackboneError: no such backbone, or it cannot run on this input, or not without values.
        TypeError: the network is neither a name nor a module, or the input is described in two ways.

    Example:
        >>> table = layer_table("vgg19")
        >>> table.row("features.0").output_shape, table.totals.parameters
        ((1, 64, 224, 224), 143667240)
        >>> layer_table(nn.Conv1d(2, 8, 5), input_shape=(2, 100))[0].output_shape
        (1, 8, 96)
    """
    wanted = _Wanted(size, input_shape, channels, example_input)
    if isinstance(network, str):
        row = backbone(network)
        return _measured(row.name, None, row, wanted)
    if not isinstance(network, nn.Module):
        raise TypeError(f"a network is the name of a backbone or a torch.nn.Module and not a {type(network).__name__}")
    return _measured(type(network).__name__, network, None, wanted)


def tabulated(
    name: str, network: nn.Module | None, row: Backbone | None, size: int | tuple[int, int] | None
) -> LayerTable:
    """`layer_table` of a network that may be live, and of which its row may be known; see there."""
    return _measured(name, network, row, _Wanted(size))


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """The input that the caller asks for, see `layer_table`."""

    size: int | tuple[int, int] | None = None
    input_shape: Sequence[int] | None = None
    channels: int | None = None
    example_input: Any = None

    def __post_init__(self) -> None:
        given = [name for name in ("size", "input_shape", "example_input") if getattr(self, name) is not None]
        given += ["channels"] if self.channels is not None and given != ["size"] else []
        if len(given) > 1:
            raise TypeError(f"{' and '.join(given)} both describe the input: give one of them")

    def infers(self, row: Backbone | None) -> bool:
        """Whether the number of channels is to be found out."""
        known = row is not None and row.group != "own"
        return not known and self.channels is None and self.input_shape is None and self.example_input is None


def _measured(name: str, network: nn.Module | None, row: Backbone | None, wanted: _Wanted) -> LayerTable:
    def fresh() -> nn.Module:
        return _twin(name, network, row)

    twin = fresh()
    # The copy has none of the hooks of the network itself.
    make = _Pictures(fresh, row, _dtype(twin), CopyRule.of((twin if network is None else network).named_modules()))
    given, resized = _input(name, make, wanted)
    if fault := signature_fault(name, twin, given, example=wanted.example_input is not None):
        raise BackboneError(fault)
    shape = tuple(given.tensors[0].shape[1:]) if resized else ()
    if wanted.infers(row):
        inferred = make.inferred((shape[1], shape[2]))
        given = inferred.given
        if inferred.misfit is not None and not inferred.misfit.of_channels:
            raise BackboneError(misfit_sentence(name, inferred.misfit, given))
    run = _Run(twin, row, given, make.rule)
    try:
        memory = run.measure()
    except (Exception, SystemExit) as error:
        retried = _with_other_channels(name, make, given) if wanted.infers(row) else None
        if retried is not None:
            return retried
        where = layer_that_ran(twin, error)
        raise BackboneError(failure_sentence(name, fresh, given, error, where, resized, shape)) from error
    return _table(name, run, memory)


def _with_other_channels(name: str, make: _Pictures, given: TableInput) -> LayerTable | None:
    """The table with channels that all layers take, where those of the first layer do not do; None if there is none."""
    assert given.size is not None
    inferred = make.inferred(given.size, whole=True)
    if inferred.misfit is not None or inferred.given.shapes == given.shapes:
        return None
    run = _Run(make.fresh(), make.row, inferred.given, make.rule)
    try:
        return _table(name, run, run.measure())
    except Exception:
        return None


def _table(name: str, run: _Run, memory: Memory) -> LayerTable:
    twin = run.twin
    rows = list(run.rows())
    leaves = [path for path, module in twin.named_modules() if not any(True for _ in module.children())]
    totals = Totals(
        parameters=_count(twin.parameters()),
        trainable=_count(one for one in twin.parameters() if one.requires_grad),
        buffers=_count(twin.buffers()),
        parameter_bytes=_bytes_by_kind(twin),
        macs=rows[0].macs + run.outside.macs,
        other_operations=rows[0].other_operations + run.outside.other,
        not_counted=tuple(dict.fromkeys((*rows[0].not_counted, *run.outside.not_counted))),
        activation_bytes=sum(one.nbytes for path in leaves for one in run.calls[path]),
        capture_bytes=memory.kept,
        peak_bytes=memory.peak,
        layers=sum(len(calls) for calls in run.calls.values()),
        head_parameters=(head := _head_parameters(twin)),
        offered_head=max((offer.head_parameters for offer in run.row.offers), default=0) if run.row and not head else 0,
        shared=run.counts.shared,
        assumed_input=run.given.words,
    )
    return LayerTable(rows, network=name, input_size=run.given.size, totals=totals, seen=run.seen, shapes=run.shapes)


def _twin(name: str, network: nn.Module | None, row: Backbone | None) -> nn.Module:
    """The network on the meta device, in eval mode."""
    twin = _built(row) if network is None and row else without_values(cast(nn.Module, network), name)
    if network is not None:
        _set_trainable(twin, trainable(network))
    return twin.train(False)


@dataclass(frozen=True, slots=True, eq=False)
class _Pictures:
    """Makes inputs of one tensor for a network.

    Attributes:
        fresh: Makes the network anew, on the meta device.
        row: What the catalogue knows of it.
        dtype: Of its parameters.
        rule: Which outputs a capture of it copies.
    """

    fresh: Callable[[], nn.Module]
    row: Backbone | None
    dtype: torch.dtype
    rule: CopyRule

    def of_shape(self, shape: Shape, note: str = "") -> TableInput:
        return of_shape(shape, self.dtype, self.row.arguments if self.row else None, note)

    def inferred(self, size: tuple[int, int], *, whole: bool = False) -> Inferred:
        """A picture of `size`, of channels that the network takes."""
        return infer_channels(self.fresh, lambda number, note: self.of_shape((number, *size), note), whole=whole)


def _input(name: str, make: _Pictures, wanted: _Wanted) -> tuple[TableInput, Callable[[Shape], TableInput] | None]:
    """An input of the right form, and how to make it in another shape; None for an example, which is as it is."""
    if wanted.example_input is not None:
        return of_example(wanted.example_input), None
    row = make.row
    if wanted.input_shape is not None:
        shape = checked_shape(wanted.input_shape, name)
        _check_size(row, shape)
        return make.of_shape(shape), make.of_shape
    size = checked_size(_size(row, wanted.size), name)
    _check_size(row, (USUAL, *size))
    if wanted.infers(row):
        return make.of_shape((USUAL, *size)), lambda shape: make.inferred((shape[1], shape[2])).given
    channels = row.channels if row and wanted.channels is None else checked_channels(wanted.channels)
    return make.of_shape((channels, *size)), make.of_shape


def _check_size(row: Backbone | None, shape: Shape) -> None:
    if row and len(shape) == 3 and (why := row.why_not((shape[1], shape[2]))):
        raise BackboneError(why)


def _size(row: Backbone | None, size: int | tuple[int, int] | None) -> int | tuple[int, int]:
    # None only: 0 is a size, though none that works.
    if size is not None:
        return size
    if row is None:
        return 224
    return row.only_input or (row.preprocessing.crop if row.group == "own" else max(224, row.minimum_input))


@dataclass(frozen=True, slots=True)
class _Put:
    """A tensor that a call of a module put out; `field` is what its elements see."""

    item: str
    shape: Shape
    nbytes: int
    channels_last: bool
    field: fields.Field | None


@dataclass(frozen=True, slots=True)
class _Call:
    """What was seen of one call of one module."""

    input_shape: Shape | None
    put: list[_Put]
    cost: Cost

    @property
    def output_shape(self) -> Shape | None:
        return self.put[0].shape if self.put else None

    @property
    def nbytes(self) -> int:
        return sum(one.nbytes for one in self.put)


class _Run:
    """One forward of `twin`, which is ours alone, and what its modules told in it.

    Attributes:
        calls: of each module by path.
        counts: of parameters and buffers by path, those included of modules that the forward made.
        ended: paths of modules, in the order in which their calls came to their ends.
        outside: what was computed in no module: nothing, but for what a forward could not finish.
        seen: by layer.
    """

    def __init__(self, twin: nn.Module, row: Backbone | None, given: TableInput, rule: CopyRule) -> None:
        self.twin, self.row, self.given, self.rule = twin, row, given, rule
        self.size = given.size
        self.calls: dict[str, list[_Call]] = {path: [] for path, _ in twin.named_modules()}
        self.ended: list[str] = []
        self._paths = {id(module): path for path, module in twin.named_modules()}
        self.outside = Cost()
        self.seen: dict[Layer, ReceptiveField] = {}
        self._map_sizes: dict[Layer, tuple[int, int]] = {}
        self._layouts = Layouts()

    @property
    def shapes(self) -> dict[Layer, Shape]:
        """The shape of each tensor that each call output."""
        return {
            Layer(path, number, put.item): put.shape
            for path, calls in self.calls.items()
            for number, call in enumerate(calls, start=1)
            for put in call.put
        }

    @cached_property
    def counts(self) -> ModuleCounts:
        return module_counts(self.twin)

    def measure(self) -> Memory:
        given = self.given
        with tracing(self.twin, given.tensors, given.pictures, self._heard, self.rule) as tracer:
            try:
                given.run(self.twin)
            except Exception as error:
                if not (needs_values(error) and self._is_measured_so_far(tracer)):
                    raise
                self.outside.not_counted[self._rest(tracer)] = None
        for cost in tracer.costs:
            self.outside.add(cost)
        for path, _ in self.twin.named_modules():
            self.calls.setdefault(path, [])
        self._place()
        return tracer.memory

    def _is_measured_so_far(self, tracer: Tracer) -> bool:
        """Whether a forward that needs values shows enough of the network: detectors choose boxes by values, after most of
        their layers; where the way through the layers depends on values, a table of the first few would mislead."""
        if (self.row and self.row.by_values) or _is_a_detector(self.twin):
            return True
        layers = [path for path, module in self.twin.named_modules() if module._parameters]
        called = [path for path in layers if self.calls[path]]
        chosen = tracer.running is not None and selects_by_value(tracer.running)
        return bool(called) and (chosen or len(called) == len(layers))

    def _rest(self, tracer: Tracer) -> str:
        if (self.row and self.row.by_values) or _is_a_detector(self.twin):
            return "what comes after boxes are chosen"
        return f"what comes after values are needed{f' by {tracer.running}' if tracer.running is not None else ''}"

    def _path(self, module: nn.Module) -> str | None:
        """None of a module that is not in the network, or not yet."""
        if id(module) not in self._paths:
            self._paths |= {id(one): path for path, one in self.twin.named_modules()}
        return self._paths.get(id(module))

    def _heard(self, module: nn.Module, given: Any, output: Any, cost: Cost) -> bool:
        """Kept short, and no tensor is: this is in the midst of the forward, and what it computes would count."""
        path = self._path(module)
        if path is None:
            return False
        self.ended.append(path)
        self.calls.setdefault(path, []).append(_Call(_first_shape(given), self._put(module, output), cost))
        return True

    def _put(self, module: nn.Module, output: Any) -> list[_Put]:
        return [
            _Put(
                item,
                tuple(tensor.shape),
                tensor.numel() * tensor.element_size(),
                self._layouts.channels_last(module, tensor),
                field_of(tensor),
            )
            for item, tensor in tensors_in(output)
        ]

    def _place(self) -> None:
        """Where all that was put out lies on the picture, and what it sees of it."""
        row = self.row
        finder = row.token_grid(self.size) if row and row.token_grid and self.size else None
        # Layers that pass a tensor on share what it sees.
        shared: dict[tuple[int, Shape, object], ReceptiveField] = {}
        for path, calls in self.calls.items():
            for number, call in enumerate(calls, start=1):
                for put in call.put:
                    layer = Layer(path, number, put.item)
                    try:
                        self._place_one(layer, put, finder, shared)
                    except Exception:
                        # A shape or a field that no rule foresees costs this layer its place, not the table.
                        if put.field is not None and self.size:
                            self.seen[layer] = ReceptiveField.unknown_from("its shape", self.size)

    def _place_one(
        self, layer: Layer, put: _Put, finder: Finder | None, shared: dict[tuple[int, Shape, object], ReceptiveField]
    ) -> None:
        places = places_of(layer, put.shape, channels_last=put.channels_last, input_size=self.size, finder=finder)
        maps = Maps(put.shape, places)
        if self.size is None:
            return
        if maps.cells and put.shape[0] == self.given.batch:
            self._map_sizes[layer] = maps.cells
        if put.field is None:
            return
        key = (id(put.field), put.shape, places)
        if key not in shared:
            shared[key] = receptive_field(put.field, maps, self.size)
        self.seen[layer] = shared[key]

    def _first(self, path: str, number: int) -> Layer | None:
        """What the call `number` of a module put out first; None where that is nothing."""
        put = self.calls[path][number - 1].put if len(self.calls[path]) >= number else []
        return Layer(path, number, put[0].item) if put else None

    def rows(self) -> Iterable[Row]:
        """In the order of the tree."""
        sums = self._sums()
        stages = _stages(self.calls, self.ended, self.row.taps if self.row else {})
        for path, module in self.twin.named_modules():
            calls, total = self.calls[path], sums[path]
            first, layer = calls[0] if calls else None, self._first(path, 1)
            own, whole = self.counts.own[path], self.counts.whole[path]
            yield Row(
                path=path,
                kind=type(module).__name__,
                detail=_detail(module),
                depth=path.count(".") + 1 if path else 0,
                stage=stages.get(path, ""),
                input_shape=first.input_shape if first else None,
                output_shape=first.output_shape if first else None,
                leaf=not any(True for _ in module.children()),
                own_parameters=own.parameters,
                parameters=whole.parameters,
                own_trainable=own.trainable,
                trainable=whole.trainable,
                own_buffers=own.buffers,
                buffers=whole.buffers,
                own_macs=sum(call.cost.macs for call in calls),
                macs=total.macs,
                own_other_operations=sum(call.cost.other for call in calls),
                other_operations=total.other,
                not_counted=tuple(total.not_counted),
                activation_bytes=sum(call.nbytes for call in calls),
                calls=len(calls),
                stride=self._stride(layer),
                receptive_field=self.seen.get(layer) if layer else None,
                each_call=tuple(self._call(path, number) for number in range(1, len(calls) + 1)),
            )

    def _stride(self, layer: Layer | None) -> float | None:
        cells = self._map_sizes.get(layer) if layer else None
        return stride_of(self.size, cells) if cells and self.size else None

    def _sums(self) -> dict[str, Cost]:
        """By path, with all within."""
        sums = {path: Cost() for path in self.calls}
        for path, calls in self.calls.items():
            for place in ("", *_within(path)):
                for call in calls:
                    sums[place].add(call.cost)
        return sums

    def _call(self, path: str, number: int) -> Call:
        call, layer = self.calls[path][number - 1], self._first(path, number)
        seen = self.seen.get(layer) if layer else None
        return Call(call.input_shape, call.output_shape, call.cost.macs, call.cost.other, call.nbytes, seen)


def _stages(calls: Mapping[str, list[_Call]], ended: Sequence[str], taps: Mapping[str, str]) -> dict[str, str]:
    """Of each module by path, see `Row.stage`."""
    ends = {path.partition("[")[0]: name for name, path in taps.items() if name.startswith("C")}
    order = [name for name in ("C1", "C2", "C3", "C4", "C5", "C6") if name in ends.values()]
    if not order:
        return {}
    pyramid = _common([path.partition("[")[0] for name, path in taps.items() if name[0] in "MP"])
    following = dict(zip(order, [*order[1:], "head"], strict=True))
    at, found = order[0], dict[str, set[str]]()
    leaves = {path for path in calls if path} - {path.rpartition(".")[0] for path in calls}
    for path in ended:
        if path in leaves:
            stage = "pyramid" if pyramid and f"{path}.".startswith(f"{pyramid}.") else at
            for place in _within(path):
                found.setdefault(place, set()).add(stage)
        if path in ends:
            at = following[ends[path]]
    return {path: next(iter(stages)) for path, stages in found.items() if len(stages) == 1}


def _within(path: str) -> list[str]:
    """Itself, and all that it lies in but the whole network."""
    parts = path.split(".") if path else []
    return [".".join(parts[: length + 1]) for length in range(len(parts))]


def _common(paths: Sequence[str]) -> str:
    """The innermost module that all these lie in; "" for none but the whole network, or of no paths."""
    split = [path.split(".") for path in paths]
    same = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        same.append(parts[0])
    return ".".join(same)


def _first_shape(value: object) -> Shape | None:
    return next((tuple(tensor.shape) for _, tensor in tensors_in(value)), None)


def _set_trainable(network: nn.Module, names: frozenset[str]) -> None:
    """Let the parameters of these names, and no others, require gradients."""
    for name, parameter in network.named_parameters():
        if parameter.requires_grad != (name in names):
            parameter.requires_grad_(name in names)


def _head_parameters(network: nn.Module) -> int:
    head = getattr(network, "head", None) if isinstance(network, PyramidNetwork) else None
    return _count(head.parameters()) if isinstance(head, PyramidHead) else 0


def _count(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _bytes_by_kind(network: nn.Module) -> dict[str, int]:
    found: dict[str, int] = {}
    for tensor in (*network.parameters(), *network.buffers()):
        kind = str(tensor.dtype).removeprefix("torch.")
        found[kind] = found.get(kind, 0) + tensor.numel() * tensor.element_size()
    return found


def _detail(module: nn.Module) -> str:
    """`describe`; "" if the module's own code for that raises."""
    try:
        return describe(module)
    except Exception:
        return ""


def _is_a_detector(network: nn.Module) -> bool:
    """Whether torchvision's code for detectors is at work in it, which chooses boxes by their scores."""
    kinds = (kind for module in network.modules() for kind in type(module).__mro__)
    return any(kind.__module__.startswith("torchvision.models.detection.") for kind in kinds)


def _dtype(network: nn.Module) -> torch.dtype:
    """Of its first parameter that is no integer: what a network in half precision takes."""
    return next((one.dtype for one in network.parameters() if one.is_floating_point()), torch.float32)


def _built(row: Backbone) -> nn.Module:
    if row.group == "own":
        # A user's own code need not run on the meta device, and its weights may be read by it.
        return without_values(row.build(), row.name)
    with torch.device("meta"):
        return row.build()
