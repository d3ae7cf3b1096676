"""Networks and forwards that have shapes and no values, on torch's meta device."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fmviz.errors import BackboneError
from fmviz.failures import one_line
from fmviz.structures import tensors_in


def without_values(network: nn.Module, name: str) -> nn.Module:
    """A copy of `network` whose tensors are on the meta device, without hooks; no value of a tensor is read or copied."""
    if isinstance(network, torch.jit.ScriptModule):
        raise BackboneError(
            f"{name} is compiled to TorchScript, which shows no layers: give the module it was made from."
        )
    # deepcopy takes what it finds in here, by the original's id, for a copy that is made already.
    memo: dict[int, Any] = {}
    try:
        for value in (value for module in network.modules() for value in vars(module).values()):
            for _, tensor in tensors_in(value):
                memo.setdefault(id(tensor), _meta_twin(tensor))
        for module in network.modules():
            for attribute in _HOOKS:
                # A hook is the user's, and may belong to anything: it is neither copied nor called.
                memo[id(vars(module)[attribute])] = OrderedDict()
        return copy.deepcopy(network, memo)
    except Exception as error:
        raise BackboneError(
            f"{name} cannot be copied without its values to be measured ({one_line(error)}): run a picture through it, "
            "and read the shapes off the layers."
        ) from error


_HOOKS = tuple(name for name, value in vars(nn.Module()).items() if "hook" in name and isinstance(value, OrderedDict))


def _meta_twin(tensor: Tensor) -> Tensor:
    twin = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(twin, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin


class ShapesOnly(TorchFunctionMode):
    """While it is entered, the commonest functions of convolutional networks are answered here on the meta device.

    torch's own answers import its compiler and sympy the first time, which takes two seconds, for shapes that a line of
    arithmetic gives. Whatever is not plain is left to torch, the errors too. In this thread only.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        answer = _ANSWERS.get(func)
        if answer is not None and args and isinstance(args[0], Tensor) and args[0].is_meta:
            found = answer(*args, **kwargs)
            if found is not None:
                return found
        return func(*args, **kwargs)


def _same_shape(x: Tensor, *args: Any, **kwargs: Any) -> Tensor | None:
    return x.new_empty(x.shape) if x.is_floating_point() else None


def _batch_norm(x: Tensor, mean: Tensor | None, *args: Any, **kwargs: Any) -> Tensor | None:
    fits = mean is not None and x.dim() > 1 and x.shape[1] == len(mean)
    return x.new_empty(x.shape) if fits else None


def _layer_norm(x: Tensor, normalized_shape: Any, *args: Any, **kwargs: Any) -> Tensor | None:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    fits = x.is_floating_point() and bool(shape) and tuple(x.shape[-len(shape) :]) == shape
    return x.new_empty(x.shape) if fits else None


def _sum(x: Tensor, other: Any, **kwargs: Any) -> Tensor | None:
    plain = isinstance(other, Tensor) and other.is_meta and not kwargs
    if not plain or x.shape != other.shape or x.dtype != other.dtype:
        return None
    return x.new_empty(x.shape)


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor | None:
    """⌊(n + 2·padding - dilation·(kernel - 1) - 1) / stride⌋ + 1 on each axis, as torch's documentation has it."""
    if isinstance(padding, str) or x.dim() != 4 or x.dtype != weight.dtype or x.shape[1] != weight.shape[1] * groups:
        return None
    steps = zip(x.shape[2:], weight.shape[2:], _pair(stride), _pair(padding), _pair(dilation), strict=True)
    sides = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in steps]
    return x.new_empty((x.shape[0], weight.shape[0], *sides)) if min(sides) > 0 else None


def _max_pool(
    x: Tensor,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | None:
    """As a convolution's; rounded up in `ceil_mode`, but no window begins past the input and its first padding."""
    kernel, first = _pair(kernel_size), _pair(padding)
    plain = x.dim() == 4 and not return_indices and all(2 * p <= k for k, p in zip(kernel, first, strict=True))
    if not plain:
        return None
    sides = []
    for n, k, s, p, d in zip(x.shape[2:], kernel, _pair(stride or kernel), first, _pair(dilation), strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        side = (-(-room // s) if ceil_mode else room // s) + 1
        sides.append(side - 1 if ceil_mode and (side - 1) * s >= n + p else side)
    return x.new_empty((*x.shape[:2], *sides)) if min(sides) > 0 else None


def _adaptive_pool(x: Tensor, output_size: int | tuple[int | None, ...]) -> Tensor | None:
    wanted = _pair(output_size)
    if x.dim() != 4 or None in wanted or not x.numel():
        return None
    return x.new_empty((*x.shape[:2], *wanted))


def _resized(x: Tensor, size: Any = None, scale_factor: Any = None, **kwargs: Any) -> Tensor | None:
    if size is None or scale_factor is not None or x.dim() != 4 or min(_pair(size)) < 1:
        return None
    return x.new_empty((*x.shape[:2], *_pair(size)))


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    fits = x.dim() > 0 and x.dtype == weight.dtype and x.shape[-1] == weight.shape[1]
    return x.new_empty((*x.shape[:-1], weight.shape[0])) if fits else None


def _pair(value: Any) -> tuple[Any, ...]:
    """One number stands for both axes, and so does a tuple of one."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * 2 if len(values) == 1 else values


_ANSWERS: dict[Any, Callable[..., Tensor | None]] = {
    **dict.fromkeys(
        (F.relu, F.relu6, F.hardtanh, F.hardsigmoid, F.hardswish, F.silu, F.gelu, F.leaky_relu), _same_shape
    ),
    **dict.fromkeys((Tensor.add, Tensor.__add__, torch.add), _sum),
    F.batch_norm: _batch_norm,
    F.conv2d: _convolution,
    F.adaptive_avg_pool2d: _adaptive_pool,
    F.interpolate: _resized,
    F.layer_norm: _layer_norm,
    F.linear: _linear,
    F.max_pool2d: _max_pool,
}
