"""A model is left as it was found: modes, buffers, random numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def left_as_found(modules: Collection[nn.Module], devices: set[torch.device]) -> Iterator[None]:
    """Eval mode without gradients inside; after it, modes, buffers and random generators are what they were before.

    Flags are set one by one: `model.eval()` may be overridden, and forgets which modules were set otherwise.
    """
    with torch.inference_mode(False), torch.no_grad():
        modes = [(module, module.training) for module in modules]
        buffers = _copied(modules)
        names = [(module._buffers, dict(module._buffers)) for module in modules]
        generators = [(device, _generator_state(device)) for device in devices]
        try:
            for module, _ in modes:
                _set_mode(module, training=False)
            yield
        finally:
            for module, training in modes:
                _set_mode(module, training=training)
            for device, state in generators:
                _set_generator_state(device, state)
            for now, before in names:
                if list(now) != list(before) or any(now[name] is not tensor for name, tensor in before.items()):
                    now.clear()
                    now.update(before)
            for copies in buffers:
                copies.put_back()


class _Together:
    """What some tensors hold, copied together: batch norm has hundreds of short ones."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        self._shapes = [tensor.shape for tensor in tensors]
        self._held = _in_one(tensors)

    def put_back(self) -> None:
        """Writes those that are other ones now; one that was written past torch's counter as well."""
        same_shapes = [tensor.shape for tensor in self._tensors] == self._shapes
        if same_shapes and _same_bytes(_in_one(self._tensors), self._held):
            return
        parts = torch.split(self._held, [shape.numel() for shape in self._shapes])
        for tensor, shape, part in zip(self._tensors, self._shapes, parts, strict=True):
            before = part.view(shape)
            if tensor.shape != shape:
                tensor.set_(before.clone())  # type: ignore[call-overload]
            elif not _same_bytes(_in_one([tensor]), part):
                tensor.copy_(before)


class _Alone:
    """What one tensor holds that is like no other: sparse, quantised, of a class of its own."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor, self._version, self._held = tensor, tensor._version, tensor.clone()

    def put_back(self) -> None:
        if self._tensor._version != self._version:
            self._tensor.copy_(self._held)


def _copied(modules: Iterable[nn.Module]) -> list[_Together | _Alone]:
    """What their buffers hold; what is an inference tensor may not be written to, and what is not yet there holds nothing."""
    alike: dict[tuple[torch.device, torch.dtype, bool], list[Tensor]] = {}
    alone: list[_Together | _Alone] = []
    for tensor in (tensor for module in modules for tensor in module._buffers.values() if tensor is not None):
        if tensor.is_inference():
            continue
        if type(tensor) in _PLAIN and tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_nested):
            alike.setdefault((tensor.device, tensor.dtype, tensor.dim() == 0), []).append(tensor)
        elif not nn.parameter.is_lazy(tensor):
            alone.append(_Alone(tensor))
    return [*map(_Together, alike.values()), *alone]


_PLAIN = (Tensor, nn.Buffer, nn.Parameter)


def _in_one(tensors: Sequence[Tensor]) -> Tensor:
    if all(tensor.dim() == 0 for tensor in tensors):
        return torch.stack(tuple(tensors))
    return torch.cat([tensor if tensor.dim() == 1 else tensor.reshape(-1) for tensor in tensors])


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    """Of two (n,) tensors. NaN is what it was as well; on the meta device there are no bytes."""
    return one.is_meta or torch.equal(one.view(torch.uint8), other.view(torch.uint8))


def _set_mode(module: nn.Module, *, training: bool) -> None:
    if module.training != training:
        module.training = training


def _generator_state(device: torch.device) -> Tensor:
    if device.type == "cpu":
        return torch.get_rng_state()
    module: Any = torch.get_device_module(device)
    # There is but one MPS device, and its functions take none.
    state: Tensor = module.get_rng_state() if device.type == "mps" else module.get_rng_state(device)
    return state


def _set_generator_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cpu":
        torch.set_rng_state(state)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        module: Any = torch.get_device_module(device)
        module.set_rng_state(state, device)
