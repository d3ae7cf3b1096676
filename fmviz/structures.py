"""Find and replace tensors in tuples, lists, mappings, dataclasses and objects of other classes."""

from __future__ import annotations

import copy
import dataclasses
import enum
import numbers
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, TypeGuard

import msgspec
import torch
from torch import Tensor, nn

from fmviz.failures import is_out_of_memory
from fmviz.layers import item

DEEPEST = 32
"""Containers are walked down to this depth."""

_WITHOUT_TENSORS = (
    str,
    bytes,
    numbers.Number,
    enum.Enum,
    torch.dtype,
    torch.device,
    torch.layout,
    torch.memory_format,
    type,
    FunctionType,
    BuiltinFunctionType,
    MethodType,
    ModuleType,
)
"""Values that hold no tensor, and whose absence from a capture needs no explanation."""


def leaves(value: object) -> Iterator[tuple[str, object]]:
    """Yield everything in `value` that is not walked further, with its place: ("[1][boxes]", tensor).

    Walked are tuples, lists, deques, mappings, dataclasses and msgspec structs down to `DEEPEST`, and the attributes of objects
    of other classes, one object deep. A container that contains itself is walked once. Values that cannot hold a tensor (None,
    numbers, strings, types, functions) are left out.
    """
    return _leaves(value, "", (), inside_object=False)


def _leaves(value: object, where: str, outer: tuple[int, ...], *, inside_object: bool) -> Iterator[tuple[str, object]]:
    if is_tensor(value):
        yield where, value
        return
    if value is None or isinstance(value, _WITHOUT_TENSORS) or id(value) in outer:
        return
    if len(outer) >= DEEPEST:
        yield where, value
        return
    parts = _parts(value)
    if parts is None and not inside_object:
        parts, inside_object = _attributes(value), True
    if parts is None:
        yield where, value
        return
    used: set[str] = set()
    outer = (*outer, id(value))
    for key, part in parts:
        step = item(key)
        # A mapping may hold both 1 and "1".
        step = item(repr(key)) if step in used else step
        used.add(step)
        yield from _leaves(part, where + step, outer, inside_object=inside_object)


def tensors_in(value: object) -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor in `value` with its place: ("[1][boxes]", tensor). See `leaves` for the containers that are walked."""
    for where, leaf in leaves(value):
        if is_tensor(leaf):
            yield where, leaf


def is_tensor(value: object) -> TypeGuard[Tensor]:
    """Whether `value` is a tensor by its type. A proxy may claim to be one by `__class__`, and crash torch."""
    return issubclass(type(value), Tensor)


def _parts(value: object) -> list[tuple[object, object]] | None:
    """Return the keys and values of a container, or None if `value` is none."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, tuple | list | deque):
        return list(enumerate(value))
    if isinstance(value, msgspec.Struct):
        return [(name, getattr(value, name)) for name in value.__struct_fields__]
    if dataclasses.is_dataclass(value):
        return [(part.name, getattr(value, part.name, None)) for part in dataclasses.fields(value)]
    return None


def _attributes(value: object) -> list[tuple[object, object]] | None:
    """Return the attributes that an object stores, without calling its properties; None if it stores none or is a module."""
    if isinstance(value, nn.Module):
        return None
    slots = [
        name
        for kind in type(value).__mro__
        for name in _names(vars(kind).get("__slots__", ()))
        if name not in ("__dict__", "__weakref__")
    ]
    # A slot's name may be mangled, and then is not found by it: `getattr` with a default leaves it out.
    found: dict[object, object] = {name: getattr(value, name, None) for name in slots}
    found |= getattr(value, "__dict__", {})
    return list(found.items()) or None


def _names(slots: object) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)  # type: ignore[arg-type]


def with_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return `value` with every tensor in its containers replaced by `change(tensor)`; `value` itself is left alone.

    Only containers that can be built anew are: tuples, lists, deques, dictionaries, named tuples, dataclasses, msgspec structs,
    and subclasses of these that keep the constructor. Others, and objects of other classes, are returned as they are, with the
    tensors that they hold.
    """
    return _changed(value, change, ())


def _changed(value: Any, change: Callable[[Tensor], Tensor], outer: tuple[int, ...]) -> Any:
    if is_tensor(value):
        return change(value)
    if id(value) in outer or len(outer) >= DEEPEST or next(tensors_in(value), None) is None:
        return value
    outer = (*outer, id(value))
    try:
        return _rebuilt(value, lambda part: _changed(part, change, outer))
    # A container of another author's class may refuse to be built anew with any exception.
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return value


def _rebuilt(value: Any, changed: Callable[[Any], Any]) -> Any:
    kind: Any = type(value)
    twin: Any
    if isinstance(value, tuple):
        if hasattr(value, "_fields") and hasattr(value, "_replace"):
            return value._replace(**{name: changed(part) for name, part in zip(value._fields, value, strict=True)})
        if kind.__new__ is tuple.__new__ or kind.__module__ == "torch.return_types":
            return kind([changed(part) for part in value])
        return value
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(
            value, **{name: changed(getattr(value, name)) for name in kind.__struct_fields__}
        )
    if isinstance(value, list | deque):
        if kind.__init__ not in (list.__init__, deque.__init__) or kind.__setitem__ not in _SET_ITEM:
            return value
        twin = copy.copy(value)
        for place, part in enumerate(value):
            twin[place] = changed(part)
        return twin
    if isinstance(value, Mapping):
        twin = copy.copy(value)
        if twin is value:
            return value
        for key, part in value.items():
            twin[key] = changed(part)
        return twin
    if dataclasses.is_dataclass(value):
        twin = copy.copy(value)
        for part in dataclasses.fields(value):
            object.__setattr__(twin, part.name, changed(getattr(value, part.name, None)))
        return twin
    return value


_SET_ITEM = (list.__setitem__, deque.__setitem__)
