"""One forward on the meta device, every operation of it counted, charged to the module that called it, and followed.

A mode of torch's dispatcher sees all that is computed, by modules and by functions alike. Modules tell when they begin and
end, so that what is computed in between is theirs.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from fmviz import fields, operations
from fmviz.fields import Field, Part
from fmviz.operations import FIELD, Operation, field_of, tensors
from fmviz.recording import CopyRule, SharedCopies, not_compiled
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


Heard = Callable[[nn.Module, Any, Any, Cost], bool]
"""Called after each call of each module with the module, its arguments, its output and its cost. False leaves the cost to the
module that made the call."""


class Tracer(Light):  # type: ignore[no-untyped-call]
    """Entered around a forward.

    Attributes:
        costs: those of the modules that have begun and not yet ended.
        running: the operation that is being computed; after a forward that raised, the one that failed. None between two.

    Args:
        shared: which copies a capture shares; None if it keeps references.
    """

    def __init__(self, shared: SharedCopies[bool] | None = None) -> None:
        super().__init__()
        self.running: Any = None
        self.memory = Memory()
        self._copied = shared
        self.costs = [Cost()]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.running = func
        before = _as_it_was(args[0]) if operations.changes_shape(func) else None
        out = _plain_answer(func, args, kwargs)
        if out is None:
            out = func(*args, **kwargs)
        op = operations.operation(func, args, kwargs, out, before)
        self._count(op)
        # TorchScript leaves the device of the forward in force here; what the rules compute with is on the CPU.
        with torch.device("cpu") if torch.empty(0).is_meta else contextlib.nullcontext():
            _follow(op)
        self._remember(op)
        self.running = None
        return out

    def _count(self, op: Operation) -> None:
        """A rule that fails costs its operation's figure, never the forward."""
        cost = self.costs[-1]
        try:
            products = operations.macs(op)
            others = operations.other(op) if products is None else None
        except Exception:
            products = others = None
        if products is not None:
            cost.macs += products
        elif others is not None:
            cost.other += others
        else:
            cost.not_counted[op.full_name] = None

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


def _plain_answer(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`shape_only`; torch is asked instead where that fails, and says what is wrong if it is the call."""
    try:
        return shape_only(func, args, kwargs)
    except Exception:
        return None


def _as_it_was(tensor: Tensor) -> Tensor:
    """A tensor of the same shape, strides and field, for the rules of operations that change these in place."""
    twin = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    _set_field(twin, field_of(tensor))
    return twin


def _follow(op: Operation) -> None:
    """What was returned sees what the rules say; of what a rule fails at, nothing is known."""
    made = tensors(op.out)
    try:
        found = operations.see(op)
    except Exception:
        found = fields.unknown(op.full_name)
    several = found if isinstance(found, list) else None
    for place, tensor in enumerate(made):
        one = several[place] if several is not None and place < len(several) else None if several else found
        assert not isinstance(one, list)
        _set_field(tensor, _fitting(one, tensor, op))
    if op.func._schema.is_mutable and not operations.changes_shape(op.func):
        try:
            _into_views(op)
        except Exception:
            for tensor in made:
                if tensor._base is not None:
                    setattr(tensor._base, FIELD, fields.unknown(f"{op.full_name}_ into a part"))


def _fitting(found: Field | None, tensor: Tensor, op: Operation) -> Field | None:
    """`found`, if it can be one of `tensor`. What has no elements sees nothing."""
    if found is None or not tensor.numel():
        return None
    if found.unknown:
        return found
    shape = tensor.shape
    for part in found.parts:
        for sides in part:
            if sides.dim() != len(shape) + 1 or any(
                one not in (1, side) for one, side in zip(sides.shape[1:], shape, strict=True)
            ):
                return fields.unknown(op.full_name)
    return found


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
def tracing(
    network: nn.Module, given: Sequence[Tensor], pictures: Sequence[Tensor], heard: Heard, rule: CopyRule
) -> Iterator[Tracer]:
    """While it is entered, `network` is followed from the tensors among its arguments, which are on the meta device.

    Its modules get hooks, which are gone afterwards; also those that are made and registered in the forward.

    Args:
        given: The tensors among its arguments.
        pictures: The tensors among the arguments whose rows and columns receptive fields refer to.
        rule: Which outputs a capture copies, for its memory.
    """
    shared = SharedCopies[bool](rule.identities(network.named_modules())) if rule.in_place else None
    tracer = Tracer(shared)
    for tensor in pictures:
        setattr(tensor, FIELD, fields.of_input(tensor.shape[-2], tensor.shape[-1], tensor.dim()))
    for tensor in given:
        setattr(tensor, MEMORY, _Block(tracer.memory, tensor.numel() * tensor.element_size()))
    hooks = _Hooks(tracer, heard)
    try:
        hooks.add(network)
        # What a forward makes of its own, positions say, is to be on the meta device as well.
        with torch.inference_mode(False), torch.no_grad(), not_compiled(), torch.device("meta"), tracer:
            yield tracer
    finally:
        hooks.remove()


class _Hooks:
    """Hooks on all modules of one forward, those included that this thread registers in it."""

    def __init__(self, tracer: Tracer, heard: Heard) -> None:
        self._tracer, self._heard = tracer, heard
        self._thread = threading.get_ident()
        # The modules themselves: the identity of one that is gone may be another's.
        self._hooked: dict[int, nn.Module] = {}
        self._handles: list[Any] = [register_module_module_registration_hook(self._registered)]

    def add(self, network: nn.Module) -> None:
        for module in network.modules():
            if id(module) in self._hooked:
                continue
            self._hooked[id(module)] = module
            self._handles.append(module.register_forward_pre_hook(self._beginning))
            self._handles.append(module.register_forward_hook(self._ending, with_kwargs=True))

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _registered(self, parent: nn.Module, name: str, module: nn.Module | None) -> None:
        # Other threads may build networks of their own meanwhile.
        if module is not None and threading.get_ident() == self._thread:
            self.add(module)

    def _beginning(self, module: nn.Module, args: Any) -> None:
        self._tracer.costs.append(Cost())

    def _ending(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        cost = self._tracer.costs.pop()
        self._tracer.keep(module, output)
        if not self._heard(module, (args, kwargs), output, cost):
            self._tracer.costs[-1].add(cost)
