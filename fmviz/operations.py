"""What torch's operations cost, and what their outputs see of the input: the rules, one operation after the other.

Operations are those of torch's dispatcher (`aten`), which all of torch's functions come down to, whoever calls them. One
MAC is one multiplication and one addition to a sum: of convolutions and matrix products. What else there is of arithmetic
(functions of elements, normalisation, pooling, softmax, adding tensors) is counted apart, so that both conventions can be
read. A bias is where a sum begins, and costs nothing. Moving numbers costs nothing. What no rule knows is not counted.

Sources: of a convolution channels · kernel² · filters · height · width of the output (He and Sun, 1412.1710, equation 1), by
the number of groups (Krizhevsky, Sutskever and Hinton 2012); attention (Vaswani and others, 1706.03762, equation 1) is two
products, (L, E) · (E, S) and (L, S) · (S, V). Numbers of other operations are counts of what the definitions in torch's
documentation do to each element.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from fmviz import fields
from fmviz.fields import Field

FIELD = "_fmviz_field"
"""The attribute of a tensor that holds its field."""


@dataclass(slots=True)
class Operation:
    """One call of one operation.

    Attributes:
        name: without namespace, variant and the mark of working in place: "convolution", "add".
        full_name: with namespace: "aten.convolution".
        given: its arguments by name, defaults included.
        taken: the tensors among them.
        out: what it returned.
    """

    func: Any
    name: str
    full_name: str
    given: dict[str, Any]
    taken: list[Tensor]
    out: Any

    @property
    def made(self) -> Tensor:
        """The first tensor that it returned."""
        return tensors(self.out)[0]

    def field(self, name: str) -> Field:
        """Of the argument, which has one."""
        found = field_of(self.given[name])
        assert found is not None
        return found


def operation(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, before: Tensor | None = None
) -> Operation:
    """`before` is the first argument as it was, if the operation has changed its shape in place."""
    name, full_name, names, defaults = _signature(func)
    given = {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
    if before is not None:
        given[names[0]] = before
    return Operation(func, name, full_name, given, tensors((args, kwargs)), out)


@cache
def changes_shape(func: Any) -> bool:
    """Whether it changes the shape or the strides of its first argument in place, as `unsqueeze_` does."""
    return torch.Tag.inplace_view in func.tags


@cache
def selects_by_value(func: Any) -> bool:
    """Whether the shape of its result depends on values: `nonzero`, a mask as an index, non-maximum suppression."""
    return torch.Tag.dynamic_output_shape in func.tags or func._schema.name in _SELECTIONS


_SELECTIONS = ("torchvision::nms", "aten::nonzero", "aten::masked_select")


@cache
def reads_a_value(func: Any) -> bool:
    """Whether it hands a value to Python: `item`, `bool`, `equal`."""
    return torch.Tag.data_dependent_output in func.tags


@cache
def _signature(func: Any) -> tuple[str, str, tuple[str, ...], dict[str, Any]]:
    namespace, _, name = func._schema.name.partition("::")
    arguments = func._schema.arguments
    defaults = {one.name: one.default_value for one in arguments if one.has_default_value()}
    plain = name.rstrip("_") if name.endswith("_") and not name.endswith("__") else name
    return plain, f"{namespace}.{plain}", tuple(one.name for one in arguments), defaults


def field_of(value: object) -> Field | None:
    return value.__dict__.get(FIELD) if isinstance(value, Tensor) else None


def tensors(value: object) -> list[Tensor]:
    """Those in arguments or in what was returned."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list | tuple):
        return []
    found: list[Tensor] = []
    for part in value:
        if isinstance(part, Tensor):
            found.append(part)
        elif isinstance(part, list | tuple | dict):
            found += tensors(part)
    return found


# What it costs


def macs(op: Operation) -> int | None:
    """Multiplications that are added up; None where the operation has none."""
    rule = _MACS.get(op.name)
    return rule(op) if rule else None


def other(op: Operation) -> int | None:
    """What else there is of arithmetic; None where no rule knows."""
    if _base_name(op) in _FREE or is_view(op.func) or changes_shape(op.func):
        return 0
    rule = _OTHER.get(op.name)
    if rule:
        return rule(op)
    if _by_elements(op):
        return op.made.numel()
    return None


def _base_name(op: Operation) -> str:
    """Without the mark of the copying variant of a view: "permute" of `permute_copy`."""
    return op.name.removesuffix("_copy") if torch.Tag.view_copy in op.func.tags else op.name


def _of_convolution(op: Operation) -> int:
    """Each output (of a transposed one: each input) meets the weights of one filter."""
    weight = op.given["weight"]
    each = math.prod(weight.shape[1:])
    return int(each * (op.given["input"].numel() if op.given["transposed"] else op.out.numel()))


def _of_product(one: str) -> Callable[[Operation], int]:
    """Each output is a sum over the last axis of the factor named `one`."""

    def count(op: Operation) -> int:
        return int(op.made.numel() * op.given[one].shape[-1])

    return count


def _of_batches(op: Operation) -> int:
    """`addbmm`: the products of a batch are added up."""
    batch = op.given["batch1"]
    return int(op.out.numel() * batch.shape[0] * batch.shape[-1])


def _of_time_convolution(op: Operation) -> int:
    """`conv_tbc`: (time, batch, channels) with (kernel, channels, filters)."""
    return int(op.made.numel() * math.prod(op.given["weight"].shape[:2]))


def _of_trilinear(op: Operation) -> int:
    """`bilinear`: one product for each element of the outer product of both inputs and the weight."""
    opened = []
    for number in (1, 2, 3):
        factor = op.given[f"i{number}"]
        shape = list(factor.shape)
        for place in sorted(op.given[f"expand{number}"]):
            shape.insert(place, 1)
        opened.append(shape)
    return math.prod(max(sides) for sides in zip(*opened, strict=True))


def _of_attention(op: Operation) -> int:
    """Queries with keys, and the weights with values: (…, L, E), (…, S, E), (…, S, V)."""
    query, key, value = op.given["query"], op.given["key"], op.given["value"]
    return int(query.numel() * key.shape[-2] + math.prod(query.shape[:-1]) * key.shape[-2] * value.shape[-1])


_ATTENTION = (
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_attention_math",
    "_scaled_dot_product_fused_attention_overrideable",
    "scaled_dot_product_attention",
)

_MACS: dict[str, Callable[[Operation], int]] = {
    **dict.fromkeys(("convolution", "_convolution"), _of_convolution),
    "mm": _of_product("self"),
    "addmm": _of_product("mat1"),
    "bmm": _of_product("self"),
    "baddbmm": _of_product("batch1"),
    "addbmm": _of_batches,
    "mv": _of_product("self"),
    "addmv": _of_product("mat"),
    "dot": _of_product("self"),
    "vdot": _of_product("self"),
    "conv_tbc": _of_time_convolution,
    "_trilinear": _of_trilinear,
    "linear": _of_product("input"),
    "matmul": _of_product("self"),
    **dict.fromkeys(_ATTENTION, _of_attention),
}


def _each_made(times: int) -> Callable[[Operation], int]:
    def count(op: Operation) -> int:
        return times * op.made.numel()

    return count


def _each_taken(times: int = 1) -> Callable[[Operation], int]:
    def count(op: Operation) -> int:
        return times * op.taken[0].numel()

    return count


def _of_pooling(op: Operation) -> int:
    """Each output looks at its window."""
    kernel = op.given["kernel_size"]
    return int(op.made.numel() * (kernel[0] ** 2 if len(kernel) == 1 else math.prod(kernel)))


def _of_softmax(op: Operation) -> int:
    """The largest, a difference and its exponential, the sum, the quotient."""
    return 5 * op.made.numel() if op.name in ("_softmax", "softmax") else 4 * op.made.numel()


_OTHER: dict[str, Callable[[Operation], int]] = {
    # With known statistics a factor and a summand; else two sums, a square, and these.
    "native_batch_norm": lambda op: (5 if op.given["training"] else 2) * op.made.numel(),
    "_native_batch_norm_legit_no_training": _each_made(2),
    **dict.fromkeys(("_native_batch_norm_legit", "_batch_norm_with_update"), _each_made(5)),
    "native_layer_norm": _each_made(5),
    "native_group_norm": _each_made(5),
    "_fused_rms_norm": _each_made(4),
    "_softmax": _of_softmax,
    "_safe_softmax": _each_made(5),
    "_log_softmax": _of_softmax,
    **dict.fromkeys(("max_pool2d_with_indices", "avg_pool2d", "max_pool3d_with_indices", "avg_pool3d"), _of_pooling),
    **dict.fromkeys(("avg_pool1d", "max_pool1d"), _of_pooling),
    **dict.fromkeys(("_adaptive_avg_pool2d", "adaptive_max_pool2d"), _each_taken()),
    **dict.fromkeys(("_adaptive_avg_pool3d", "adaptive_max_pool3d", "adaptive_avg_pool1d"), _each_taken()),
    **dict.fromkeys(("sum", "mean", "amax", "amin", "max", "min", "prod", "argmax", "argmin"), _each_taken()),
    **dict.fromkeys(("any", "all", "cumsum", "cumprod", "logsumexp", "logcumsumexp"), _each_taken()),
    **dict.fromkeys(("cummax", "cummin", "nansum", "count_nonzero", "trace"), _each_taken()),
    "aminmax": _each_taken(2),
    # Each element of the source is added, or compared, to one of the result.
    **dict.fromkeys(("scatter_add", "scatter_reduce", "index_add", "index_reduce"), lambda op: _source(op).numel()),
    "col2im": _each_taken(),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean", "linalg_vector_norm", "norm"), _each_taken(3)),
    "glu": _each_made(2),
    # Four products and three sums; sixteen and fifteen.
    **dict.fromkeys(("upsample_bilinear2d", "grid_sampler_2d", "_upsample_bilinear2d_aa"), _each_made(7)),
    "upsample_bicubic2d": _each_made(31),
    # Two products and a sum; eight and seven.
    "upsample_linear1d": _each_made(3),
    **dict.fromkeys(("upsample_trilinear3d", "grid_sampler_3d"), _each_made(15)),
}


def _source(op: Operation) -> Tensor:
    source = op.given.get("src", op.given.get("source"))
    assert isinstance(source, Tensor)
    return source


_FREE_NAMES = """
_assert_async _assert_scalar _conj _embedding_bag_forward_only _local_scalar_dense _pack_padded_sequence _pin_memory
_reshape_copy _to_copy _unsafe_index _unsafe_index_put _unsafe_view _upsample_nearest_exact1d _upsample_nearest_exact2d
_upsample_nearest_exact3d alias arange as_strided bernoulli block_diag broadcast_tensors bucketize cat
channel_shuffle clone complex constant_pad_nd copy detach diag_embed diagonal diagonal_scatter embedding empty
empty_like empty_permuted empty_strided expand exponential eye fill flip full full_like gather geometric
im2col index index_copy index_fill index_put index_select is_same_size item lift lift_fresh linspace log_normal
logspace masked_fill masked_scatter masked_select max_unpool2d max_unpool3d meshgrid movedim multinomial
narrow native_channel_shuffle new_empty new_empty_strided new_full new_ones new_zeros nonzero normal
normal_functional ones ones_like permute pixel_shuffle pixel_unshuffle put rand rand_like randint randint_like
randn randn_like random randperm reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave
replication_pad1d replication_pad2d replication_pad3d resize resize_as resolve_conj resolve_neg roll rot90
scalar_tensor scatter searchsorted select select_backward select_scatter set slice slice_scatter split
split_with_sizes squeeze stack swapaxes sym_size t take tile transpose tril tril_indices triu triu_indices unbind
unfold uniform unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze upsample_nearest1d upsample_nearest2d
upsample_nearest3d view view_as_complex view_as_real where zero zeros zeros_like
"""

_FREE = frozenset(_FREE_NAMES.split())
"""They move numbers, or make them out of nothing."""


# What it sees


def see(op: Operation) -> Field | list[Field | None] | None:
    """The field of what it returned; of several tensors a list. None where it sees nothing of the input."""
    seen = [field for field in map(field_of, op.taken) if field is not None]
    if not seen:
        return None
    lost = next((field for field in seen if field.unknown), None)
    if lost is not None:
        return lost
    rule = _SEES.get(_base_name(op))
    if rule is not None:
        return rule(op)
    if is_view(op.func) or torch.Tag.view_copy in op.func.tags:
        return _like_views(op)
    if _by_elements(op):
        return _united(op)
    return fields.unknown(op.full_name)


@cache
def is_view(func: Any) -> bool:
    """Whether what it returns shares the memory of an argument, which it leaves as it is."""
    marks = [one.alias_info for one in func._schema.returns]
    return any(mark is not None and not mark.is_write for mark in marks)


def _by_elements(op: Operation) -> bool:
    """Whether each element of what it returns is made of the elements in its place; torch does not mark them all."""
    return torch.Tag.pointwise in op.func.tags or op.name in _BY_ELEMENTS


_BY_ELEMENTS = frozenset(
    ("hardswish", "prelu", "_prelu_kernel", "rrelu_with_noise", "log_sigmoid_forward", "native_dropout", "masked_fill")
)


def _united(op: Operation) -> Field:
    seen = [field for field in map(field_of, op.taken) if field is not None]
    return fields.united(seen, op.made.dim())


def _convolved(op: Operation) -> Field:
    given, weight = op.given, op.given["weight"]
    x, made, dims = given["input"], op.made, weight.dim() - 2
    stride, padding, dilation = (_each(given[name], dims) for name in ("stride", "padding", "dilation"))
    groups = given["groups"]
    found = fields.in_groups(op.field("input"), groups, x.shape[1], made.shape[1])
    for axis in range(dims):
        sizes = x.shape[2 + axis], made.shape[2 + axis], weight.shape[2 + axis]
        step = stride[axis], padding[axis], dilation[axis]
        if given["transposed"]:
            found = fields.gathered(found, 2 + axis, fields.transposed_windows(*sizes, *step))
        else:
            window = weight.shape[2 + axis], *step
            found = fields.gathered(found, 2 + axis, fields.windows(*sizes, *step), window)
    return found


def _pooled(op: Operation) -> Field:
    given, made = op.given, op.made
    x, found = given["self"], op.field("self")
    dims = len(given["kernel_size"]) if len(given["kernel_size"]) > 1 else min(x.dim() - 2, 2)
    kernel, padding = _each(given["kernel_size"], dims), _each(given["padding"], dims)
    stride, dilation = _each(given["stride"] or kernel, dims), _each(given.get("dilation") or (1,), dims)
    for axis in range(dims):
        dim = x.dim() - dims + axis
        step = kernel[axis], stride[axis], padding[axis], dilation[axis]
        found = fields.gathered(found, dim, fields.windows(x.shape[dim], made.shape[dim], *step), step)
    return found


def _pooled_adaptively(op: Operation) -> Field:
    x, found = op.given["self"], op.field("self")
    for dim in range(x.dim() - len(op.given["output_size"]), x.dim()):
        found = fields.gathered(found, dim, fields.adaptive_windows(x.shape[dim], op.made.shape[dim]))
    return found


def _enlarged(op: Operation) -> Field:
    given, made = op.given, op.made
    x = given.get("input", given.get("self"))
    assert x is not None
    found = field_of(x)
    assert found is not None
    named = [given.get(name) for name in ("scales_d", "scales_h", "scales_w", "scales") if name in given]
    scales = list(given.get("scale_factors") or named or [None] * (x.dim() - 2))
    for place, dim in enumerate(range(2, x.dim())):
        length, new, scale = x.shape[dim], made.shape[dim], scales[place]
        if "nearest" in op.name:
            of = fields.nearest(length, new, scale, exact="exact" in op.name)
        else:
            reach = 2 if "bicubic" in op.name else 1
            of = fields.interpolated(length, new, scale, align=given["align_corners"], reach=reach)
        found = fields.gathered(found, dim, of)
    return found


_MOST_WITH_A_BORDER = 1 << 23
"""Elements of a map, height by width, whose border sees nothing: what each of them sees is kept, 16 bytes."""


def _padded(mode: str) -> Callable[[Operation], Field]:
    def rule(op: Operation) -> Field:
        x, pad, found = op.given["self"], op.given.get("pad", op.given.get("padding")), op.field("self")
        assert pad is not None
        all_around = any(pad[:2]) and any(pad[2:4])
        if mode == "constant" and all_around and op.made.shape[-2:].numel() > _MOST_WITH_A_BORDER:
            return fields.unknown(op.full_name)
        for place in range(len(pad) // 2):
            before, after, dim = pad[2 * place], pad[2 * place + 1], x.dim() - 1 - place
            if before or after:
                of = fields.padded(x.shape[dim], before, after, mode=mode)
                # What is put beside it shifts the elements, as a convolution's own padding on this side would.
                found = fields.gathered(found, dim, of, (1, 1, before, 1))
        return found

    return rule


def _joined(op: Operation) -> Field:
    parts = list(op.given["tensors"])
    dims = op.made.dim()
    # An empty vector is nothing to `cat`, whatever the others' shapes.
    parts = [part for part in parts if part.dim() == dims]
    dim = op.given["dim"] % dims
    return fields.joined([field_of(part) for part in parts], [part.shape[dim] for part in parts], dim, dims)


def _stacked(op: Operation) -> Field:
    parts, dims = list(op.given["tensors"]), op.made.dim()
    dim = op.given["dim"] % dims
    known = [field_of(part) for part in parts]
    shapes = [(*part.shape[:dim], 1, *part.shape[dim:]) for part in parts]
    opened = [
        field and fields.reshaped(field, part.shape, shape)
        for field, part, shape in zip(known, parts, shapes, strict=True)
    ]
    return fields.joined(opened, [1] * len(parts), dim, dims)


def _product(one: str, other_one: str, added: str = "") -> Callable[[Operation], Field]:
    """(…, n, k) with (…, k, m): what row i and column j see."""

    def rule(op: Operation) -> Field:
        left, right = op.given[one], op.given[other_one]
        seen = []
        for factor, dim in ((left, left.dim() - 1), (right, max(right.dim() - 2, 0))):
            field = field_of(factor)
            if field is not None:
                seen.append(fields.mixed(field, (dim,), keep=factor.dim() > 1 and op.made.dim() > 1))
        if added and (field := field_of(op.given[added])) is not None:
            seen.append(field)
        return fields.united(seen, op.made.dim())

    return rule


def _multiplied(op: Operation) -> Field:
    """`linear`: the last axis is mixed."""
    x = op.given["input"]
    return fields.mixed(op.field("input"), (x.dim() - 1,))


def _attended(op: Operation) -> Field | list[Field | None]:
    """Every query sees all keys and values."""
    query, key, value = op.given["query"], op.given["key"], op.given["value"]
    seen = [
        fields.mixed(field, (one.dim() - 1, *((one.dim() - 2,) if one is not query else ())))
        for one in (query, key, value)
        if (field := field_of(one)) is not None
    ]
    found = fields.united(seen, op.made.dim())
    return [found] + [None] * (len(op.out) - 1) if isinstance(op.out, tuple | list) else found


def _normalised(op: Operation) -> list[Field | None]:
    """By statistics of its own over the last axes."""
    x = op.given["input"]
    last = range(x.dim() - len(op.given["normalized_shape"]), x.dim())
    found = fields.mixed(op.field("input"), tuple(last))
    return [found, *[None] * (len(op.out) - 1)]


def _normalised_in_groups(op: Operation) -> list[Field | None]:
    found, group = op.field("input"), op.given["group"]
    x = op.given["input"]
    within = fields.mixed(found, tuple(range(2, x.dim())))
    return [fields.in_groups(within, group, x.shape[1], x.shape[1]), None, None]


def _batch_normalised(op: Operation) -> list[Field | None]:
    found = op.field("input")
    if op.given.get("training"):
        x = op.given["input"]
        found = fields.mixed(found, tuple(dim for dim in range(x.dim()) if dim != 1))
    return [found, *[None] * (len(op.out) - 1)]


def _reduced(op: Operation) -> Field | list[Field | None]:
    """Over some axes, or over all."""
    x = op.given.get("self")
    assert isinstance(x, Tensor)
    dim = op.given.get("dim")
    dims = range(x.dim()) if dim is None or dim == [] else ((dim,) if isinstance(dim, int) else dim)
    axes = tuple(one % max(x.dim(), 1) for one in dims) if x.dim() else ()
    found = fields.mixed(op.field("self"), axes, keep=bool(op.given.get("keepdim")))
    return [found] * len(op.out) if isinstance(op.out, tuple | list) else found


def _along_an_axis(op: Operation) -> Field | list[Field | None]:
    """What each element says depends on all along the axis: softmax, sorting, sums so far."""
    x = op.given["self"]
    found = fields.mixed(op.field("self"), (op.given["dim"] % x.dim(),) if x.dim() else ())
    return [found] * len(op.out) if isinstance(op.out, tuple | list) else found


def _shaped(op: Operation) -> Field:
    if op.made.numel() != op.given["self"].numel():
        # `view` to a dtype of another size.
        return fields.unknown(op.full_name)
    return fields.reshaped(op.field("self"), tuple(op.given["self"].shape), tuple(op.made.shape))


def _turned(op: Operation) -> Field:
    x, given = op.given["self"], op.given
    order = list(range(x.dim()))
    if "dims" in given:
        order = [dim % x.dim() for dim in given["dims"]]
    elif x.dim() > 1:
        one, other_one = (given["dim0"] % x.dim(), given["dim1"] % x.dim()) if "dim0" in given else (0, 1)
        order[one], order[other_one] = other_one, one
    return fields.permuted(op.field("self"), order)


def _moved(op: Operation) -> Field:
    """Rolled, turned round or repeated along some axes: the same is done to what they see, where that differs."""
    x, found = op.given["self"], op.field("self")
    dims = op.given.get("dims")
    if op.name == "index_select":
        dims = (op.given["dim"],)
    touched = {dim % x.dim() for dim in dims} if dims else set(range(x.dim()))

    def over(sides: Tensor) -> Tensor:
        full = [x.shape[axis] if axis in touched else sides.shape[axis + 1] for axis in range(x.dim())]
        return torch.stack([_called_on(op, part.expand(full)) for part in sides])

    return found.changed(over)


def _moved_among_zeros(dtype: torch.dtype, last: int | None = None) -> Callable[[Operation], Field]:
    """Elements are moved, and zeros are put where there are none: `tril`, `diag_embed`, `im2col`.

    Args:
        dtype: One that the operation is implemented for on the CPU, and that holds the bounds exactly.
        last: How many of the last axes it works on; None for all.
    """

    def rule(op: Operation) -> Field:
        x, found = op.given["self"], op.field("self")
        fixed = 0 if last is None else max(x.dim() - last, 0)
        if x.shape[fixed:].numel() * max(math.prod(x.shape[:fixed]), 1) > _MOST_MOVED:
            return fields.unknown(op.full_name)

        def over(sides: Tensor) -> Tensor:
            full = [*sides.shape[1 : fixed + 1], *x.shape[fixed:]]
            # Zeros become the bound of what sees nothing.
            parts = [_called_on(op, (part.expand(full).to(dtype) - fields.FAR)) for part in sides]
            return (torch.stack(parts) + fields.FAR).to(torch.int32)

        return found.changed(over)

    return rule


_MOST_MOVED = 1 << 24
"""Elements of a tensor whose bounds are moved one by one."""


def _repeated(op: Operation) -> Field:
    times = op.given["repeats"]
    found = fields.united([op.field("self")], len(times))
    shape = (1,) * (len(times) - op.given["self"].dim()) + tuple(op.given["self"].shape)
    lines = tuple(one if one is not None and times[one.dim] == 1 else None for one in found.lines)

    def over(sides: Tensor) -> Tensor:
        # One bound stands for all elements along an axis, however often they are repeated.
        return sides.repeat(1, *(n if sides.shape[axis + 1] == shape[axis] > 1 else 1 for axis, n in enumerate(times)))

    return found.changed(over, (lines[0], lines[1]))


def _as_complex(op: Operation) -> Field:
    """(…, 2) -> (…): a number sees what both of its parts see."""
    return fields.mixed(op.field("self"), (op.given["self"].dim() - 1,), keep=False)


def _as_real(op: Operation) -> Field:
    """(…) -> (…, 2)"""
    found = op.field("self")
    return found.changed(lambda sides: sides.unsqueeze(-1), found.lines)


def _chosen(op: Operation) -> Field:
    """Which elements are taken decide values that are not known here."""
    if not op.given["index"].is_meta:
        return _moved(op)
    return fields.unknown(op.full_name)


def _like_views(op: Operation) -> Field | list[Field | None]:
    """Views of what it sees, as the operation makes one of the tensor."""
    x, found = op.given.get("self"), None
    if not isinstance(x, Tensor) or (found := field_of(x)) is None or op.name == "as_strided":
        return fields.unknown(op.full_name)
    kept = found.lines if op.name in _KEEPS_AXES and op.given.get("dim") is not None else (None, None)
    dim = op.given.get("dim")
    lines = tuple(one if one is not None and dim is not None and one.dim != dim % x.dim() else None for one in kept)

    def over(sides: Tensor) -> list[Tensor]:
        parts = [_called_on(op, part.expand(x.shape)) for part in sides]
        several = [list(part) if isinstance(part, list | tuple) else [part] for part in parts]
        return [torch.stack([_compact(first), _compact(last)]) for first, last in zip(*several, strict=True)]

    by_part = [list(zip(over(rows), over(columns), strict=True)) for rows, columns in found.parts]
    made = [fields.of_parts(parts, (lines[0], lines[1])) for parts in zip(*by_part, strict=True)]
    return list(made) if isinstance(op.out, list | tuple) else made[0]


_KEEPS_AXES = (
    *("slice", "split", "split_with_sizes", "chunk", "narrow"),
    *("unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk"),
)


def _called_on(op: Operation, sides: Tensor) -> Any:
    given = {**op.given, "self": sides}
    return op.func(**given)


def _compact(sides: Tensor) -> Tensor:
    """Axes along which one number stands for all are of size 1 again."""
    for dim, step in enumerate(sides.stride()):
        if step == 0 and sides.shape[dim] > 1:
            sides = sides.narrow(dim, 0, 1)
    return sides


def _halved(op: Operation) -> Field:
    """`glu`: one half of the elements along an axis gates the other."""
    x, found = op.given["self"], op.field("self")
    dim = op.given["dim"] % x.dim() + 1

    def over(sides: Tensor) -> Tensor:
        return sides if sides.shape[dim] == 1 else torch.minimum(*sides.chunk(2, dim=dim))

    return found.changed(over, found.lines)


def _laid_out(op: Operation) -> Field:
    """`as_strided`: the same elements in the same places, or anything else."""
    x, given = op.given["self"], op.given
    same = tuple(given["size"]) == tuple(x.shape) and given.get("storage_offset") in (None, x.storage_offset())
    steps = zip(given["stride"], x.stride(), x.shape, strict=False)
    if same and all(new == old for new, old, length in steps if length > 1):
        return op.field("self")
    return fields.unknown(op.full_name)


def _copied(op: Operation) -> Field | None:
    """`copy_`: what was there before is gone."""
    found = field_of(op.given["src"])
    return fields.united([found], op.made.dim()) if found is not None else None


def _shuffled(op: Operation) -> Field:
    """(…, c · r², h, w) -> (…, c, h · r, w · r): channels become places."""
    x, r = op.given["self"], op.given["upscale_factor"]
    *before, channels, height, width = x.shape
    apart = (*before, channels // r**2, r, r, height, width)
    count = len(before)
    order = (*range(count + 1), count + 3, count + 1, count + 4, count + 2)
    opened = fields.permuted(fields.reshaped(op.field("self"), tuple(x.shape), apart), order)
    return fields.reshaped(opened, [apart[place] for place in order], tuple(op.made.shape))


def _unshuffled(op: Operation) -> Field:
    """(…, c, h · r, w · r) -> (…, c · r², h, w): places become channels."""
    x, r = op.given["self"], op.given["downscale_factor"]
    *before, channels, height, width = x.shape
    apart = (*before, channels, height // r, r, width // r, r)
    count = len(before)
    order = (*range(count + 1), count + 2, count + 4, count + 1, count + 3)
    opened = fields.permuted(fields.reshaped(op.field("self"), tuple(x.shape), apart), order)
    return fields.reshaped(opened, [apart[place] for place in order], tuple(op.made.shape))


def _shuffled_in_groups(op: Operation) -> Field:
    """`channel_shuffle`: (g, c / g) channels become (c / g, g)."""
    x, groups, found = op.given["self"], op.given["groups"], op.field("self")

    def over(sides: Tensor) -> Tensor:
        if sides.shape[2] == 1:
            return sides
        apart = sides.reshape(2, sides.shape[1], groups, x.shape[1] // groups, *sides.shape[3:])
        return apart.transpose(2, 3).reshape(sides.shape)

    return found.changed(over, found.lines)


def _summed_over_the_batch(op: Operation) -> Field:
    """`addbmm`: the products of a batch are added up."""
    found = _product("batch1", "batch2")(replace(op, out=op.given["batch1"]))
    added = field_of(op.given["self"])
    return fields.united([fields.mixed(found, (0,), keep=False), *([added] if added else [])], 2)


def _each(values: Sequence[int], dims: int) -> list[int]:
    return list(values) * dims if len(values) == 1 else list(values)


_SEES: dict[str, Callable[[Operation], Field | list[Field | None] | None]] = {
    **dict.fromkeys(("convolution", "_convolution"), _convolved),
    "mm": _product("self", "mat2"),
    "addmm": _product("mat1", "mat2", "self"),
    "bmm": _product("self", "mat2"),
    "baddbmm": _product("batch1", "batch2", "self"),
    "mv": _product("self", "vec"),
    "addmv": _product("mat", "vec", "self"),
    "dot": _product("self", "tensor"),
    "vdot": _product("self", "other"),
    "addbmm": _summed_over_the_batch,
    "linear": _multiplied,
    **dict.fromkeys(_ATTENTION, _attended),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices"), lambda op: [_pooled(op)] * 2),
    **dict.fromkeys(("avg_pool2d", "avg_pool1d", "avg_pool3d"), _pooled),
    **dict.fromkeys(("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d"), _pooled_adaptively),
    **dict.fromkeys(("adaptive_max_pool2d", "adaptive_max_pool3d"), lambda op: [_pooled_adaptively(op)] * 2),
    **dict.fromkeys(("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"), _enlarged),
    **dict.fromkeys(("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d"), _enlarged),
    **dict.fromkeys(
        ("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"), _enlarged
    ),
    "constant_pad_nd": _padded("constant"),
    "reflection_pad2d": _padded("reflect"),
    "replication_pad2d": _padded("replicate"),
    "reflection_pad1d": _padded("reflect"),
    "replication_pad1d": _padded("replicate"),
    "reflection_pad3d": _padded("reflect"),
    "replication_pad3d": _padded("replicate"),
    "cat": _joined,
    "stack": _stacked,
    "native_layer_norm": _normalised,
    "_fused_rms_norm": _normalised,
    "native_group_norm": _normalised_in_groups,
    "native_batch_norm": _batch_normalised,
    "_native_batch_norm_legit_no_training": _batch_normalised,
    "_native_batch_norm_legit": _batch_normalised,
    **dict.fromkeys(
        ("sum", "mean", "amax", "amin", "prod", "argmax", "argmin", "any", "all", "var", "std", "logsumexp"), _reduced
    ),
    **dict.fromkeys(("var_mean", "std_mean", "linalg_vector_norm", "norm", "max", "min"), _reduced),
    **dict.fromkeys(("median", "nanmedian", "mode", "kthvalue", "aminmax", "count_nonzero", "nansum"), _reduced),
    **dict.fromkeys(("_softmax", "_safe_softmax", "_log_softmax", "sort", "topk", "cumsum", "cumprod"), _along_an_axis),
    **dict.fromkeys(("logcumsumexp", "cummax", "cummin"), _along_an_axis),
    **dict.fromkeys(("view", "_unsafe_view", "_reshape_copy", "squeeze", "unsqueeze", "flatten"), _shaped),
    **dict.fromkeys(("permute", "transpose", "t", "swapaxes", "swapdims"), _turned),
    **dict.fromkeys(("roll", "flip", "rot90"), _moved),
    **dict.fromkeys(("tril", "triu"), _moved_among_zeros(torch.int32, last=2)),
    "diag_embed": _moved_among_zeros(torch.int32),
    "im2col": _moved_among_zeros(torch.float64),
    **dict.fromkeys(("unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk"), _like_views),
    "repeat": _repeated,
    "view_as_complex": _as_complex,
    "view_as_real": _as_real,
    "pixel_unshuffle": _unshuffled,
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), _shuffled_in_groups),
    "index_select": _chosen,
    "pixel_shuffle": _shuffled,
    "glu": _halved,
    "as_strided": _laid_out,
    **dict.fromkeys(("detach", "alias", "clone", "lift_fresh", "_to_copy", "expand"), _united),
    **dict.fromkeys(("_conj", "_neg_view", "resolve_conj", "resolve_neg", "_conj_physical", "conj_physical"), _united),
    **dict.fromkeys(("complex", "polar", "angle"), _united),
    "copy": _copied,
    **dict.fromkeys(
        (
            "empty_like",
            "zeros_like",
            "ones_like",
            "full_like",
            "rand_like",
            "randn_like",
            "randint_like",
            "fill",
            "zero",
        ),
        lambda op: None,
    ),
    **dict.fromkeys(("uniform", "normal", "random", "bernoulli", "exponential"), lambda op: None),
    **dict.fromkeys(("new_empty", "new_zeros", "new_ones", "new_full", "new_empty_strided"), lambda op: None),
}
