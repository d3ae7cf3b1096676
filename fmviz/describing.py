"""A module's hyper-parameters in words, as the papers' tables have them: "3×3, stride 2, 64 → 128"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.pooling import (
    _AdaptiveAvgPoolNd,
    _AdaptiveMaxPoolNd,
    _AvgPoolNd,
    _MaxPoolNd,
)

from fmviz.networks.efficientnet_lite import Conv2dSame


def describe(module: nn.Module) -> str:
    """What sets `module` apart from others of its class, in a line; "" where nothing does."""
    for kinds, words in _WORDS:
        if isinstance(module, kinds):
            return ", ".join(part for part in words(module) if part)
    return " ".join(module.extra_repr().split())


def _convolution(module: _ConvNd) -> list[str]:
    transposed = isinstance(module, _ConvTransposeNd)
    return [
        _times(module.kernel_size),
        _unless(1, module.stride, "stride"),
        _unless(1, module.dilation, "dilation"),
        _padding(module),
        _groups(module),
        "transposed" if transposed else "",
        f"{module.in_channels} → {module.out_channels}",
    ]


def _padding(module: _ConvNd) -> str:
    """Said only where it is not the one that keeps the size at stride 1; a subclass may pad in a way of its own."""
    if isinstance(module, Conv2dSame):
        # Its attribute says 0. A 1×1 convolution is padded by neither.
        return "" if set(module.kernel_size) == {1} else "same padding"
    if type(module).__module__ != nn.Conv2d.__module__ or isinstance(module, _ConvTransposeNd):
        return ""
    if isinstance(module.padding, str):
        return "" if module.padding == "same" else f"padding {module.padding}"
    usual = tuple(d * (k - 1) // 2 for d, k in zip(module.dilation, module.kernel_size, strict=True))
    return "" if module.padding == usual else _unless(-1, module.padding, "padding")


def _groups(module: _ConvNd) -> str:
    if module.groups == 1:
        return ""
    return "depthwise" if module.groups == module.in_channels else f"{module.groups} groups"


def _pool(module: Any) -> list[str]:
    stride = module.kernel_size if module.stride is None else module.stride
    return [
        _times(module.kernel_size, _axes(module)),
        _unless(-1, stride, "stride"),
        _unless(0, module.padding, "padding"),
        _unless(1, getattr(module, "dilation", 1), "dilation"),
        "ceil" if module.ceil_mode else "",
    ]


def _adaptive_pool(module: Any) -> list[str]:
    size = module.output_size
    # None leaves an axis as it is.
    words = ("any" if n is None else str(n) for n in ((size,) * _axes(module) if isinstance(size, int) else size))
    return [f"to {'×'.join(words)}"]


def _norm(module: Any) -> list[str]:
    return [
        f"{module.num_features}",
        "" if module.eps == 1e-5 else f"eps {module.eps:g}",
        "" if module.affine else "not affine",
        "" if module.track_running_stats else "no running statistics",
    ]


def _group_norm(module: nn.GroupNorm) -> list[str]:
    return [f"{module.num_channels} channels", f"{module.num_groups} groups"]


def _layer_norm(module: nn.LayerNorm) -> list[str]:
    return ["×".join(map(str, module.normalized_shape))]


def _response_norm(module: nn.LocalResponseNorm) -> list[str]:
    return [f"size {module.size}", f"α {module.alpha:g}", f"β {module.beta:g}", f"k {module.k:g}"]


def _upsample(module: nn.Upsample) -> list[str]:
    if module.size is not None:
        place = f"to {_times(module.size)}"
    else:
        factor = module.scale_factor
        place = "×".join(f"{float(n):g}" for n in factor) if isinstance(factor, tuple) else f"×{float(factor or 1):g}"
    return [place, module.mode, "aligned corners" if module.align_corners else ""]


def _rectifier(module: Any) -> list[str]:
    return ["in place" if getattr(module, "inplace", False) else ""]


_WORDS: tuple[tuple[Any, Callable[[Any], list[str]]], ...] = (
    (_ConvNd, _convolution),
    ((_MaxPoolNd, _AvgPoolNd), _pool),
    ((_AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd), _adaptive_pool),
    (_BatchNorm, _norm),
    (nn.GroupNorm, _group_norm),
    (nn.LayerNorm, _layer_norm),
    (nn.LocalResponseNorm, _response_norm),
    (nn.Linear, lambda module: [f"{module.in_features} → {module.out_features}"]),
    (_DropoutNd, lambda module: [f"p {module.p:g}", *_rectifier(module)]),
    (nn.Upsample, _upsample),
    (nn.LeakyReLU, lambda module: [f"slope {module.negative_slope:g}", *_rectifier(module)]),
    (nn.ReLU6, lambda module: ["0 to 6", *_rectifier(module)]),
    (nn.Hardtanh, lambda module: [f"{module.min_val:g} to {module.max_val:g}", *_rectifier(module)]),
    ((nn.ReLU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid), _rectifier),
    (nn.Softmax, lambda module: [f"over axis {module.dim}"]),
    (nn.Flatten, lambda module: [f"from axis {module.start_dim}"]),
)
"""First match wins: a ReLU6 is a Hardtanh."""


def _axes(module: nn.Module) -> int:
    """How many axes a pool works on: the 2 of MaxPool2d, also where a subclass has another name."""
    names = [kind.__name__ for kind in type(module).__mro__]
    return next(int(name[-2]) for name in names if name.endswith(("1d", "2d", "3d")))


def _times(value: int | tuple[int, ...], axes: int = 2) -> str:
    """ "3×3" of (3, 3), and of a 3 that stands for two axes."""
    return "×".join(map(str, (value,) * axes if isinstance(value, int) else value))


def _unless(usual: int, value: int | tuple[int, ...], word: str) -> str:
    """ "stride 2" where it is not `usual`; one number where all axes have the same."""
    values = {value} if isinstance(value, int) else set(value)
    if values == {usual}:
        return ""
    return f"{word} {values.pop()}" if len(values) == 1 else f"{word} {_times(value)}"
