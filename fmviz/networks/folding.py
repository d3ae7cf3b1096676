"""Compute plain weights from reparametrized ones: pruned, weight-normalized and spectrally normalized.

The results equal those that torch's own modules compute in eval mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["pruned", "weight-normalized", "spectrally normalized"]


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One weight that was computed from others.

    Attributes:
        key: Its key: "conv1.weight".
        parts: The keys that it was computed from: "conv1.weight_orig", "conv1.weight_mask".
        kind: How the file holds it.
        value: The weight.
    """

    key: str
    parts: tuple[str, ...]
    kind: Kind
    value: Tensor


_Found = Iterator[tuple[str, tuple[str, ...], Kind, Callable[[], Tensor | None]]]

MOST_FOLDS = 5000
"""Weights that are computed at most, which bounds the time that a file can take: one costs about a millisecond."""

_MOST_ROUNDS = 3
"""A weight may be reparametrized more than once, as one that is weight-normalized and pruned."""


def folds_of(tensors: Mapping[str, Tensor]) -> tuple[Fold, ...]:
    """Return the weights that `tensors` hold in a reparametrized form, in an order in which they can be applied."""
    # A view that repeats its elements is as large as its file says, whatever the file's size: it is not computed with.
    present = {key: tensor for key, tensor in tensors.items() if _is_dense(tensor)}
    found: list[Fold] = []
    for _ in range(_MOST_ROUNDS):
        before = len(found)
        for kind in (_pruned, _spectral, _weight_normed):
            for key, parts, words, compute in list(kind(present)):
                value = compute() if len(found) < MOST_FOLDS else None
                if value is not None:
                    found.append(Fold(key, parts, words, value))
                    for part in parts:
                        present.pop(part, None)
                    present[key] = value
        if len(found) == before:
            break
    return tuple(found)


def apply_folds(
    tensors: Mapping[str, Tensor], folds: tuple[Fold, ...], wanted: Mapping[str, Tensor], prefix: str
) -> tuple[dict[str, Tensor], list[Fold]]:
    """Return `tensors`, whose keys lack `prefix`, with the weights of `folds` in the place of their parts.

    A weight whose parts the network itself has is left as it is. The second value holds the folds that were applied.
    """
    given, applied = dict(tensors), []
    for fold in folds:
        key, parts = fold.key.removeprefix(prefix), [part.removeprefix(prefix) for part in fold.parts]
        if not fold.key.startswith(prefix) or any(part not in given or part in wanted for part in parts):
            continue
        for part in parts:
            del given[part]
        given[key] = fold.value
        applied.append(fold)
    return given, applied


# Pruning: torch.nn.utils.prune, torch.ao.pruning


def _pruned(present: Mapping[str, Tensor]) -> _Found:
    for mask in present:
        if mask.endswith("_mask"):
            key = mask.removesuffix("_mask")
            original = f"{key}_orig"
        elif mask.endswith(".0.mask") and (of := _parametrized(mask.removesuffix(".0.mask"))):
            key, original = of, mask.removesuffix("0.mask") + "original"
        else:
            continue
        if original not in present or key in present or not present[original].is_floating_point():
            continue
        if present[original].shape == present[mask].shape and not present[mask].is_complex():
            yield key, (original, mask), "pruned", _product(present[mask], present[original])


def _product(mask: Tensor, original: Tensor) -> Callable[[], Tensor]:
    return lambda: mask.to(original.dtype) * original if _computes(original) else mask.float() * original.float()


# Spectral normalization: torch.nn.utils.spectral_norm, torch.nn.utils.parametrizations.spectral_norm


def _spectral(present: Mapping[str, Tensor]) -> _Found:
    for left in present:
        if left.endswith("_u") and not left.endswith("._u"):
            key = left.removesuffix("_u")
            original, right = f"{key}_orig", f"{key}_v"
        elif left.endswith(".0._u") and (of := _parametrized(left.removesuffix(".0._u"))):
            key, original, right = of, left.removesuffix("0._u") + "original", left.removesuffix("u") + "v"
        else:
            continue
        if original not in present:
            continue
        if key in present:
            # Files of torch before 1.0 hold the computed weight as well.
            parts = tuple(part for part in (key, original, left, right) if part in present)
            if present[key].shape == present[original].shape:
                yield key, parts, "spectrally normalized", _known(present[key])
        elif right in present:
            parts = (original, left, right)
            yield key, parts, "spectrally normalized", _divided(present[original], present[left], present[right])


def _known(value: Tensor) -> Callable[[], Tensor]:
    return lambda: value


def _divided(original: Tensor, left: Tensor, right: Tensor) -> Callable[[], Tensor | None]:
    return lambda: _spectrally_normalized(_computable(original), _computable(left), _computable(right))


def _spectrally_normalized(weight: Tensor, left: Tensor, right: Tensor) -> Tensor | None:
    """The weight divided by its largest singular value, which `left` and `right` estimate; None where shapes disagree."""
    if weight.dim() < 2 or left.dim() != 1 or right.dim() != 1 or not weight.numel():
        return None
    if not weight.is_floating_point() or not weight.dtype == left.dtype == right.dtype:
        return None
    fitting = [
        dim
        for dim in range(weight.dim())
        if left.numel() == weight.shape[dim] and right.numel() * left.numel() == weight.numel()
    ]
    if not fitting:
        return None
    # The axis is not in the file. Of several that the sizes allow it is the one for which these are singular vectors.
    matrix = max((_as_matrix(weight, dim) for dim in fitting), key=lambda one: _alignment(one, left, right))
    return weight / torch.vdot(left, torch.mv(matrix, right))


def _as_matrix(weight: Tensor, dim: int) -> Tensor:
    if dim:
        weight = weight.permute(dim, *(other for other in range(weight.dim()) if other != dim))
    return weight.reshape(weight.shape[0], -1)  # (rows, columns)


def _alignment(matrix: Tensor, left: Tensor, right: Tensor) -> float:
    """How well `left` points where the matrix maps `right` to: 0–1."""
    mapped = torch.mv(matrix, right)
    return float(torch.vdot(left, mapped).abs() / mapped.norm().clamp_min(torch.finfo(mapped.dtype).tiny))


# Weight normalization: torch.nn.utils.weight_norm, torch.nn.utils.parametrizations.weight_norm


def _weight_normed(present: Mapping[str, Tensor]) -> _Found:
    for length in present:
        if length.endswith("_g"):
            key = length.removesuffix("_g")
            direction = f"{key}_v"
        elif length.endswith(".original0") and (of := _parametrized(length.removesuffix(".original0"))):
            key, direction = of, length.removesuffix("0") + "1"
        else:
            continue
        if direction in present and key not in present:
            yield key, (length, direction), "weight-normalized", _scaled(present[length], present[direction])


def _scaled(length: Tensor, direction: Tensor) -> Callable[[], Tensor | None]:
    return lambda: _weight_normalized(_computable(length), _computable(direction))


def _weight_normalized(length: Tensor, direction: Tensor) -> Tensor | None:
    """The direction, divided by its norm, times the length; None where their shapes do not belong together."""
    dims = [-1]  # over the whole tensor
    if length.dim():
        dims = [
            dim
            for dim in range(direction.dim())
            if list(length.shape) == [side if at == dim else 1 for at, side in enumerate(direction.shape)]
        ]
    if not dims or not direction.numel() or not direction.is_floating_point() or length.dtype != direction.dtype:
        return None
    with torch.no_grad():
        weight: Tensor = _norm(dims[0])(length, direction.contiguous())
    return weight


@cache
def _norm(dim: int) -> nn.Module:
    """torch's own parametrization over an axis, -1 for the whole tensor: its kernels round differently by axis."""
    holder = nn.Module()
    holder.weight = nn.Parameter(torch.ones([1] * max(2, dim + 1), device="cpu"), requires_grad=False)
    nn.utils.parametrizations.weight_norm(holder, "weight", dim)
    return holder.get_submodule("parametrizations.weight.0")


def _parametrized(path: str) -> str:
    """ "conv.parametrizations.weight" -> "conv.weight"; "" for any other path."""
    before, _, name = path.rpartition("parametrizations.")
    return f"{before}{name}" if name and "." not in name and (not before or before.endswith(".")) else ""


def _is_dense(tensor: Tensor) -> bool:
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _computes(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.float32, torch.float64) or tensor.is_complex()


def _computable(tensor: Tensor) -> Tensor:
    """In float32 where it is in half precision, as a network computes it that was loaded from the file."""
    return tensor if _computes(tensor) or not tensor.is_floating_point() else tensor.float()
