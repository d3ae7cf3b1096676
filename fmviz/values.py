"""Captured tensors as arrays for a file, each brought to the host when its turn comes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fmviz.arrays import KINDS, Array, write_npz_lazily, write_safetensors_lazily
from fmviz.drawing import Failed
from fmviz.errors import Cancelled
from fmviz.failures import is_out_of_memory, one_line
from fmviz.selecting import Chosen


def arrays_of(
    chosen: Sequence[Chosen], form: str, cancelled: Callable[[], bool]
) -> tuple[list[Array], dict[str, str], list[str]]:
    """Return the layers' values for a file.

    Fetching an array raises `Cancelled` once `cancelled()` returns True.

    Returns:
        The arrays; the types that had to be converted, layer -> "bfloat16 as float32"; and a sentence for each layer without
        values, which is a `Failed` if its conversion raised.
    """
    arrays: list[Array] = []
    converted: dict[str, str] = {}
    without: list[str] = []
    for layer in chosen:
        tensor = layer.tensor.detach()
        if tensor.is_meta or tensor.is_nested:
            why = (
                "it is on the meta device and has no values"
                if tensor.is_meta
                else "it is a nested tensor, not an array"
            )
            without.append(f"{layer.name} was left out: {why}.")
            continue
        stored = _stored_type(tensor, form)
        if stored != tensor.dtype:
            converted[layer.name] = f"{_name(tensor.dtype)} as {_name(stored)}"
        if why := _obstacle(tensor, stored):
            without.append(Failed(f"{layer.name} could not be exported: {why}."))
            continue
        kind = "BF16" if stored == torch.bfloat16 else KINDS.get(_name(stored), "")
        arrays.append(Array(layer.name, kind, tuple(tensor.shape), _fetch(tensor, stored, cancelled)))
    return arrays, converted, without


def _obstacle(tensor: Tensor, stored: torch.dtype) -> str:
    """Why a tensor of an unusual class or dtype cannot be converted, tried before the file is begun; "" if it can."""
    if type(tensor) is Tensor and tensor.dtype == stored:
        return ""
    try:
        _fetch(tensor, stored, lambda: False)()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return one_line(error)
    return ""


def write_values(path: Path | os.PathLike[str], arrays: Sequence[Array], facts: Mapping[str, Any], form: str) -> Path:
    """Writes the arrays in a form; the path. `ExportError` where it cannot be done, and nothing is left of it."""
    return (write_npz_lazily if form == "npz" else write_safetensors_lazily)(path, arrays, facts)


def _stored_type(tensor: Tensor, form: str) -> torch.dtype:
    """The tensor's own type where the form has it, else the next wider one."""
    if tensor.dtype == torch.bfloat16:
        return torch.float32 if form == "npz" else torch.bfloat16
    if tensor.is_complex():
        return torch.complex64
    return tensor.dtype if _name(tensor.dtype) in KINDS else torch.float32


def _fetch(tensor: Tensor, stored: torch.dtype, cancelled: Callable[[], bool]) -> Callable[[], npt.NDArray[Any]]:
    def fetch() -> npt.NDArray[Any]:
        if cancelled():
            raise Cancelled
        plain = tensor.dequantize() if tensor.is_quantized else tensor
        dense = plain if plain.layout == torch.strided else plain.to_dense()
        host = dense.to(stored).cpu().resolve_conj().resolve_neg().contiguous()
        if stored == torch.bfloat16:
            bits: npt.NDArray[Any] = host.view(torch.int16).numpy().view(np.uint16)
            return bits
        return host.numpy()

    return fetch


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
