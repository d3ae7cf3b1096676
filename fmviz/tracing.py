"""One forward on the meta device, every operation of it counted, charged to the module that called it, and followed.

A mode of torch's dispatcher sees all that is computed, by modules and by functions alike. Modules tell when they begin and
end, so that what is computed in between is theirs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fmviz import fields, operations
from fmviz.fields import Field, Part
from fmviz.operations import FIELD, Operation, field_of, tensors
from fmviz.recording import SharedCopies, not_compiled, works_out_of_place
from fmviz.shapes import Light, shape_only
from fmviz.structures import tensors_in

MEMORY = "_fmviz_memory"
"""The attribute of a tensor that holds its memory."""


@dataclass(slots=True)
class Cost:
    """Of one call of one module, without what the modules in it cost.

    Attributes:
        macs: multiplications that are added up.
        other: what else there is of arithmetic.
        not_counted: operations whose cost nobody knows, in the order in which they were met.
    """

    macs: int = 0
    other: int = 0
    not_counted: dict[str, None] = field(default_factory=dict)

    def add(self, other: Cost) -> None:
        self.macs += other.macs
        self.other += other.other
        self.not_counted |= other.not_counted


@dataclass(slots=True)
class Memory:
    """What is in memory while a forward runs, in bytes; parameters are not.

    Attributes:
        alive: now.
        peak: at most so far.
        kept: what a capture of all layers holds so far.
    """

    alive: int = 0
    peak: int = 0
    kept: int = 0


class _Block:
    """The memory of a tensor and of all its views: it is alive while one of them is.

    `kept` says whether a capture holds it as it is now.
    """

    __slots__ = ("book", "kept", "nbytes")

    def __init__(self, book: Memory, nbytes: int) -> None:
        self.book, self.nbytes, self.kept = book, nbytes, False
        book.alive += nbytes
        book.peak = max(book.peak, book.alive)

    def __del__(self) -> None:
        self.book.alive -= self.nbytes


Heard = Callable[[str, nn.Module, Any, Any, Cost], None]
"""Told of each call of each module: its path, itself, its arguments, what it put out, and what that cost."""


class Tracer(Light):  # type: ignore[no-untyped-call]
    """Entered around a forward. `costs` holds those of the modules that have begun and not yet ended.

    Args:
        in_place: whether a capture copies every output, see `fmviz.recording.works_out_of_place`.
    """

    def __init__(self, *, in_place: bool = False) -> None:
        super().__init__()
        self.memory = Memory()
        self._copied = SharedCopies[bool]() if in_place else None
        self.costs = [Cost()]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = shape_only(func, args, kwargs)
        if out is None:
            out = func(*args, **kwargs)
        op = operations.operation(func, args, kwargs, out)
        self._count(op)
        _follow(op)
        self._remember(op)
        return out

    def _count(self, op: Operation) -> None:
        cost = self.costs[-1]
        products = operations.macs(op)
        if products is not None:
            cost.macs += products
            return
        others = operations.other(op)
        if others is None:
            cost.not_counted[op.full_name] = None
        else:
            cost.other += others

    def _remember(self, op: Operation) -> None:
        given = op.taken
        view = operations.is_view(op.func)
        shared = next(filter(None, map(_block, given)), None) if view else None
        for tensor in tensors(op.out):
            if any(tensor is one for one in given):
                continue
            if shared is not None:
                setattr(tensor, MEMORY, shared)
            # Else a view is one of a parameter.
            elif not view:
                setattr(tensor, MEMORY, _Block(self.memory, tensor.numel() * tensor.element_size()))

    def keep(self, module: nn.Module, output: object) -> None:
        """Count the bytes that a capture holds of the output of `module`: copies, or memory that several layers share."""
        if self._copied is not None:
            self._copied.end(module)
        for _, tensor in tensors_in(output):
            if self._copied is not None:
                if self._copied.get(tensor) is None:
                    self._copied.put(tensor, True)
                    self.memory.kept += tensor.numel() * tensor.element_size()
                continue
            block = _block(tensor)
            if block is not None and not block.kept:
                self.memory.kept += block.nbytes
                block.kept = True


def _block(tensor: Tensor) -> _Block | None:
    return tensor.__dict__.get(MEMORY)


def _follow(op: Operation) -> None:
    """What was returned sees what the rules say."""
    found = operations.see(op)
    several = found if isinstance(found, list) else None
    for place, tensor in enumerate(tensors(op.out)):
        one = several[place] if several is not None and place < len(several) else None if several else found
        assert not isinstance(one, list)
        _set_field(tensor, one)
    if op.func._schema.is_mutable:
        _into_views(op)


def _set_field(tensor: Tensor, found: Field | None) -> None:
    if found is not None:
        setattr(tensor, FIELD, found)
    else:
        tensor.__dict__.pop(FIELD, None)


def _into_views(op: Operation) -> None:
    """What is written into a part of a tensor is in the whole as well."""
    for tensor in tensors(op.out):
        base, part = tensor._base, field_of(tensor)
        if base is None or (part is None and field_of(base) is None):
            continue
        where = _where(tensor, base)
        if part is None or part.unknown or where is None:
            setattr(base, FIELD, fields.unknown(f"{op.full_name}_ into a part"))
        else:
            setattr(base, FIELD, fields.written(field_of(base), part, where, tuple(base.shape)))


def _where(part: Tensor, whole: Tensor) -> list[Part] | None:
    """Which part of `whole` the view `part` is, if it was cut out of it along the axes, in steps of one; else None."""
    offset = int(part.storage_offset()) - int(whole.storage_offset())
    steps = whole.stride()
    starts = [0] * whole.dim()
    for dim in sorted(range(whole.dim()), key=lambda dim: -steps[dim]):
        if whole.shape[dim] > 1 and steps[dim] > 0:
            starts[dim], offset = divmod(offset, steps[dim])
    found, at = [], 0
    for dim in range(whole.dim()):
        same = at < part.dim() and (part.stride()[at] == steps[dim] or part.shape[at] == 1)
        if same and part.shape[at] <= whole.shape[dim]:
            found.append(Part(starts[dim], part.shape[at], at))
            at += 1
        else:
            found.append(Part(starts[dim], 1, None))
    return found if at == part.dim() and not offset else None


@contextlib.contextmanager
def tracing(network: nn.Module, image: Tensor, heard: Heard) -> Iterator[Tracer]:
    """While it is entered, `network` is followed from `image`, (1, channels, h, w) on the meta device.

    Its modules get hooks, which are gone afterwards.
    """
    tracer = Tracer(in_place=not works_out_of_place(network.named_modules()))
    setattr(image, FIELD, fields.of_input(*image.shape[-2:]))
    setattr(image, MEMORY, _Block(tracer.memory, image.numel() * image.element_size()))
    handles = []
    try:
        for path, module in network.named_modules():
            handles.append(module.register_forward_pre_hook(_beginning(tracer)))
            handles.append(module.register_forward_hook(_ending(tracer, path, heard), with_kwargs=True))
        # What a forward makes of its own, positions say, is to be on the meta device as well.
        with torch.inference_mode(False), torch.no_grad(), not_compiled(), torch.device("meta"), tracer:
            yield tracer
    finally:
        for handle in handles:
            handle.remove()


def _beginning(tracer: Tracer) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any) -> None:
        tracer.costs.append(Cost())

    return hook


def _ending(tracer: Tracer, path: str, heard: Heard) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        cost = tracer.costs.pop()
        tracer.keep(module, output)
        heard(path, module, (args, kwargs), output, cost)

    return hook
