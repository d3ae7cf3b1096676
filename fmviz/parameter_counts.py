"""Numbers of parameters and buffers per module, in which a shared tensor counts once. Needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import nn


class Counts(NamedTuple):
    """How many numbers lie in parameters, in trainable ones, and in buffers."""

    parameters: int = 0
    trainable: int = 0
    buffers: int = 0

    def plus(self, other: Counts, times: int = 1) -> Counts:
        """Return the sum with `times` the other counts."""
        return Counts(*(mine + times * theirs for mine, theirs in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class SharedTensor:
    """A parameter or buffer that several modules hold.

    Attributes:
        paths: of the modules that hold it as their own, a module under two names with both.
        parameters: how many numbers it has, where it is a parameter; else 0.
        trainable: the same, where it requires gradients.
        buffers: the same, where it is a buffer.
    """

    paths: tuple[str, ...]
    parameters: int
    trainable: int
    buffers: int

    @property
    def counts(self) -> Counts:
        return Counts(self.parameters, self.trainable, self.buffers)


@dataclass(frozen=True, slots=True)
class ModuleCounts:
    """Counts of each module by path.

    Attributes:
        own: of the tensors that the module itself holds.
        whole: with those of all modules in it.
        shared: tensors that several modules hold.
    """

    own: dict[str, Counts]
    whole: dict[str, Counts]
    shared: tuple[SharedTensor, ...]


class CountedRow(Protocol):
    """The part of a layer table's row that the sums need."""

    @property
    def path(self) -> str: ...
    @property
    def parameters(self) -> int: ...
    @property
    def trainable(self) -> int: ...
    @property
    def buffers(self) -> int: ...
    @property
    def own_parameters(self) -> int: ...
    @property
    def own_trainable(self) -> int: ...
    @property
    def own_buffers(self) -> int: ...


@dataclass(slots=True)
class _Held:
    """A tensor, and the paths of the modules that hold it as their own."""

    counts: Counts
    paths: list[str] = field(default_factory=list)


def module_counts(network: nn.Module) -> ModuleCounts:
    """Count the parameters and buffers of every module in `network`, a module under two names under both."""
    held = _held(network)
    own = {path: Counts() for path, _ in network.named_modules(remove_duplicate=False)}
    whole = dict(own)
    for one in held:
        for path in one.paths:
            own[path] = own[path].plus(one.counts)
    for path, counts in own.items():
        for place in containers(path) if any(counts) else ():
            whole[place] = whole[place].plus(counts)
    shared = [one for one in held if len(one.paths) > 1]
    for one in shared:
        holders = Counter(place for path in one.paths for place in containers(path))
        for place, times in holders.items():
            whole[place] = whole[place].plus(one.counts, 1 - times)
    return ModuleCounts(own, whole, tuple(SharedTensor(tuple(one.paths), *one.counts) for one in shared))


def _held(network: nn.Module) -> list[_Held]:
    """Each parameter and buffer once."""
    held: dict[int, _Held] = {}
    for path, module in network.named_modules(remove_duplicate=False):
        for tensor in module.parameters(recurse=False):
            size = tensor.numel()
            found = held.setdefault(id(tensor), _Held(Counts(size, size if tensor.requires_grad else 0)))
            found.paths.append(path)
        for tensor in module.buffers(recurse=False):
            held.setdefault(id(tensor), _Held(Counts(buffers=tensor.numel()))).paths.append(path)
    return list(held.values())


def containers(path: str) -> list[str]:
    """Return the paths of a module and of all modules that it lies in, the whole network first."""
    parts = path.split(".") if path else []
    return ["", *(".".join(parts[: length + 1]) for length in range(len(parts)))]


def own_sum(rows: Iterable[CountedRow], shared: Sequence[SharedTensor]) -> Counts:
    """Return the sum over the tensors that the modules of these rows hold as their own, each tensor once."""
    total, paths = Counts(), set[str]()
    for row in rows:
        paths.add(row.path)
        total = total.plus(Counts(row.own_parameters, row.own_trainable, row.own_buffers))
    for one in shared:
        holders = sum(path in paths for path in one.paths)
        total = total.plus(one.counts, min(1 - holders, 0))
    return total


def whole_sum(rows: Iterable[CountedRow], shared: Sequence[SharedTensor]) -> Counts:
    """Return the sum over these modules and all modules in them, each tensor once; no row may lie in another one."""
    total, paths = Counts(), set[str]()
    for row in rows:
        paths.add(row.path)
        total = total.plus(Counts(row.parameters, row.trainable, row.buffers))
    for one in shared if len(paths) > 1 else ():
        holders = paths.intersection(place for path in one.paths for place in containers(path))
        total = total.plus(one.counts, min(1 - len(holders), 0))
    return total
