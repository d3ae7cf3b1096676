"""Tensors inside tuples, lists, mappings, dataclasses and msgspec's structs: found, each with its place, and changed."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from torch import Tensor

from fmviz.layers import item

DEEPEST = 32
"""Structured outputs are walked so far down; a list that holds itself would have no end."""


def tensors_in(value: object, where: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Each tensor in tuples, lists, mappings and dataclasses, with its place: ("[1][boxes]", tensor)."""
    if isinstance(value, Tensor):
        yield where, value
    elif depth < DEEPEST:
        used: set[str] = set()
        for key, part in _parts(value):
            step = item(key)
            # A mapping may hold both 1 and "1".
            step = item(repr(key)) if step in used else step
            used.add(step)
            yield from tensors_in(part, where + step, depth + 1)


def _parts(value: object) -> Iterator[tuple[object, object]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from zip(value._fields, value, strict=True)
    elif isinstance(value, tuple | list):
        yield from enumerate(value)
    elif isinstance(value, msgspec.Struct):
        yield from ((name, getattr(value, name)) for name in value.__struct_fields__)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for part in dataclasses.fields(value):
            yield part.name, getattr(value, part.name, None)


def with_tensors(value: Any, change: Callable[[Tensor], Tensor], depth: int = 0) -> Any:
    """`value` with `change` done to each tensor that `tensors_in` finds; containers are new, `value` is left alone."""
    if isinstance(value, Tensor):
        return change(value)
    if depth == DEEPEST or next(tensors_in(value), None) is None:
        return value

    def changed(part: Any) -> Any:
        return with_tensors(part, change, depth + 1)

    if isinstance(value, tuple):
        parts = [changed(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **{str(name): changed(part) for name, part in _parts(value)})
    twin = copy.copy(value)
    if isinstance(value, list):
        twin[:] = [changed(part) for part in value]
    elif isinstance(value, Mapping):
        for key, part in value.items():
            twin[key] = changed(part)
    else:
        for part in dataclasses.fields(value):
            object.__setattr__(twin, part.name, changed(getattr(value, part.name, None)))
    return twin
