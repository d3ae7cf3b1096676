"""The shapes of what the commonest operations of convolutional networks put out, by a line of arithmetic each.

On the meta device torch gives these as well, but its own answers import its compiler and sympy the first time, which
takes two seconds. Whatever is not plain is left to torch, the errors too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


class Light(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Base of the modes that are entered here: torch's compiler, which takes two seconds to import, is not asked about them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class ShapesOnly(Light):  # type: ignore[no-untyped-call]
    """While it is entered, tensors on the meta device get their shapes from `shape_only` where it knows them."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        found = shape_only(func, args, kwargs)
        return func(*args, **kwargs) if found is None else found


def shape_only(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `func` puts out, on the meta device; None where torch has to say it."""
    answer = _ANSWERS.get(func)
    if answer is None or not args or not isinstance(args[0], Tensor) or not args[0].is_meta:
        return None
    return answer(*args, **kwargs)


def _same(x: Tensor, *args: Any, **kwargs: Any) -> Tensor | None:
    return x.new_empty(x.shape) if x.is_floating_point() else None


def _in_place(x: Tensor, *args: Any, **kwargs: Any) -> Tensor | None:
    return x if x.is_floating_point() else None


def _element_by_element(x: Tensor, other: Any, **kwargs: Any) -> Tensor | None:
    """Of two tensors of a kind, broadcast against each other, or of a tensor and a number."""
    if not isinstance(other, Tensor):
        return x.new_empty(x.shape) if x.is_floating_point() and isinstance(other, int | float) else None
    if x.dtype != other.dtype or not other.is_meta or not x.is_floating_point() or x.dim() != other.dim():
        return None
    sides = [a if b == 1 else b if a in (1, b) else -1 for a, b in zip(x.shape, other.shape, strict=True)]
    return x.new_empty(sides) if -1 not in sides else None


def _added_in_place(x: Tensor, other: Any, **kwargs: Any) -> Tensor | None:
    return x if _element_by_element(x, other) is not None and (_shape(other) in ((), _shape(x))) else None


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _batch_norm(x: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, *rest: Any) -> Any:
    if training or mean is None or x.dim() < 2 or x.shape[1] != len(mean):
        return None
    return x.new_empty(x.shape), x.new_empty(0), x.new_empty(0)


def _layer_norm(x: Tensor, shape: Sequence[int], *rest: Any) -> Any:
    if not x.is_floating_point() or tuple(x.shape[-len(shape) :]) != tuple(shape):
        return None
    apart = [*x.shape[: -len(shape)], *[1] * len(shape)]
    return x.new_empty(x.shape), x.new_empty(apart), x.new_empty(apart)


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor | None:
    """⌊(n + 2·padding - dilation·(kernel - 1) - 1) / stride⌋ + 1 on each axis, as torch's documentation has it."""
    plain = not transposed and x.dim() == 4 and x.dtype == weight.dtype and x.shape[1] == weight.shape[1] * groups
    if not plain or min(len(stride), len(padding), len(dilation)) != 2:
        return None
    steps = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    sides = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in steps]
    return x.new_empty((x.shape[0], weight.shape[0], *sides)) if min(sides) > 0 else None


def _max_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> Any:
    """As a convolution's; rounded up in `ceil_mode`, but no window begins past the input and its first padding."""
    kernel, first = _pair(kernel), _pair(padding)
    if x.dim() != 4 or any(2 * p > k for k, p in zip(kernel, first, strict=True)):
        return None
    sides = []
    for n, k, s, p, d in zip(x.shape[2:], kernel, _pair(stride or kernel), first, _pair(dilation), strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        side = (-(-room // s) if ceil_mode else room // s) + 1
        sides.append(side - 1 if ceil_mode and (side - 1) * s >= n + p else side)
    if min(sides) < 1:
        return None
    shape = (*x.shape[:2], *sides)
    return x.new_empty(shape), x.new_empty(shape, dtype=torch.int64)


def _adaptive_pool(x: Tensor, output_size: Sequence[int]) -> Tensor | None:
    return x.new_empty((*x.shape[:2], *output_size)) if x.dim() == 4 and x.numel() else None


def _mean(x: Tensor, dims: Sequence[int] | None, keepdim: bool = False, **kwargs: Any) -> Tensor | None:
    if not dims or kwargs or not x.is_floating_point():
        return None
    gone = {dim % x.dim() for dim in dims}
    if len(gone) != len(dims):
        return None
    sides = [1 if place in gone else side for place, side in enumerate(x.shape) if keepdim or place not in gone]
    return x.new_empty(sides)


def _enlarged(x: Tensor, size: Sequence[int] | None, *rest: Any) -> Tensor | None:
    return x.new_empty((*x.shape[:2], *size)) if size is not None and x.dim() == 4 and min(size) > 0 else None


def _padded(x: Tensor, pad: Sequence[int], value: Any = 0) -> Tensor | None:
    sides = list(x.shape)
    if len(pad) > 2 * len(sides):
        return None
    for place in range(len(pad) // 2):
        sides[-1 - place] += pad[2 * place] + pad[2 * place + 1]
    return x.new_empty(sides) if min(sides) > 0 else None


def _product(x: Tensor, other: Tensor) -> Tensor | None:
    fits = x.dim() == other.dim() == 2 and x.shape[1] == other.shape[0] and x.dtype == other.dtype
    return x.new_empty((x.shape[0], other.shape[1])) if fits else None


def _product_added(bias: Tensor, x: Tensor, other: Tensor, **kwargs: Any) -> Tensor | None:
    made = _product(x, other)
    return (
        made
        if made is not None and bias.dtype == x.dtype and _shape(bias) in (_shape(made)[1:], _shape(made))
        else None
    )


def _joined(parts: Any, dim: int = 0) -> Tensor | None:
    first = parts[0]
    sides = list(first.shape)
    if any(part.dtype != first.dtype or part.dim() != first.dim() or not part.is_meta for part in parts) or not sides:
        return None
    dim %= len(sides)
    for part in parts[1:]:
        if any(a != b for place, (a, b) in enumerate(zip(part.shape, sides, strict=True)) if place != dim):
            return None
        sides[dim] += part.shape[dim]
    made: Tensor = first.new_empty(sides)
    return made


def _pair(values: Sequence[int]) -> tuple[int, ...]:
    """One number stands for both axes."""
    return tuple(values) * 2 if len(values) == 1 else tuple(values)


_ANSWERS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(
        (
            aten.relu.default,
            aten.hardtanh.default,
            aten.hardsigmoid.default,
            aten.hardswish.default,
            aten.silu.default,
            aten.gelu.default,
            aten.leaky_relu.default,
            aten.sigmoid.default,
            aten.tanh.default,
        ),
        _same,
    ),
    **dict.fromkeys(
        (
            aten.relu_.default,
            aten.hardtanh_.default,
            aten.hardsigmoid_.default,
            aten.hardswish_.default,
            aten.silu_.default,
            aten.leaky_relu_.default,
        ),
        _in_place,
    ),
    **dict.fromkeys((aten.add.Tensor, aten.mul.Tensor, aten.sub.Tensor, aten.div.Tensor), _element_by_element),
    **dict.fromkeys((aten.add_.Tensor, aten.mul_.Tensor), _added_in_place),
    aten.native_batch_norm.default: _batch_norm,
    aten.native_layer_norm.default: _layer_norm,
    aten.convolution.default: _convolution,
    aten.max_pool2d_with_indices.default: _max_pool,
    aten._adaptive_avg_pool2d.default: _adaptive_pool,
    aten.mean.dim: _mean,
    aten.upsample_nearest2d.default: _enlarged,
    aten.constant_pad_nd.default: _padded,
    aten.mm.default: _product,
    aten.addmm.default: _product_added,
}
