"""One forward with hooks on every module: what each call put out, and what of that was overwritten later.

A reference is cheap and a copy is not, so a reference is kept wherever it stays true. Torch counts the writes to a
tensor's memory in a counter that all of its views share; writes through `.data` or numpy go past the counter, so the
first time a layer is seen its bytes are summed up as well.
"""

from __future__ import annotations

import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from fmviz.checksums import checksum
from fmviz.errors import Cancelled
from fmviz.layers import Layer
from fmviz.structures import tensors_in
from fmviz.tokens import Layouts


@dataclass(slots=True)
class Knowledge:
    """What earlier runs of a model have taught.

    Attributes:
        overwritten: whether a layer's memory is written to after it was put out, for each whose bytes have been compared
            once. What was True stays so.
        quiet: whether anything was written past the counter, so that an equal count proves nothing for this model.
    """

    overwritten: dict[Layer, bool] = field(default_factory=dict)
    quiet: bool = False


class Noted(msgspec.Struct, frozen=True):
    """A tensor as the hook of a module saw it: shared with the network, and then watched, or `owned`."""

    layer: Layer
    module: nn.Module
    tensor: Tensor
    version: int
    owned: bool = False
    checksum: Tensor | None = None

    def overwritten(self) -> str:
        """ "" as long as the tensor is what it was; otherwise "counted" or "quiet"."""
        if self.owned:
            return ""
        if self.tensor._version != self.version or not _has_its_memory(self.tensor):
            return "counted"
        if self.checksum is not None and not torch.equal(self.checksum, _required_checksum(self.tensor)):
            return "quiet"
        return ""


class Record(msgspec.Struct, frozen=True):
    """What a layer put out; see `fmviz.tokens.Layouts`."""

    kind: str
    tensor: Tensor
    channels_last: bool


class Recorder:
    """The hooks of one forward.

    Attributes:
        modules: path and module, as `named_modules` has them.
        hooks_called: how many calls of modules were seen.
        cancelled: whether the forward was broken off; a model that catches every exception does not hide it.
        ask: whether to break off, where anybody may want that.
        devices: where the model's parameters and buffers are; the CPU always, for its random numbers.
    """

    def __init__(
        self,
        model: nn.Module,
        knowledge: Knowledge,
        *,
        copy_all: bool,
        keep: Callable[[Layer], bool] | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self.hooks_called = 0
        self.cancelled = False
        # Walking a large model takes as long as hooking it, so it is done once a run.
        self.modules = tuple(model.named_modules())
        self._knowledge = knowledge
        self._overwritten = knowledge.overwritten
        self._copy_all = copy_all
        self._keep = keep
        self._plain = keep is None and not copy_all
        self.ask = cancelled
        self._noted: list[Noted] = []
        own = _own_tensors(self.modules)
        self._own_before = set(map(_storage, own))
        self.devices = {torch.device("cpu")} | {tensor.device for tensor in own if not tensor.is_meta}
        self._last_copy: tuple[weakref.ref[Tensor], int, Tensor] | None = None
        self._last_sum: tuple[weakref.ref[Tensor], int, Tensor] | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hooks on every module, after those that are there already, so that they see what the next module gets."""
        undo: list[Callable[[], object]] = []
        try:
            for path, module in self.modules:
                undo.append(_add_hook(module, _Hook(self, path, module)))
            yield
        finally:
            for remove in undo:
                remove()

    def learn(self) -> bool:
        """Compare each shared tensor with what it was; True where all are true. Teaches the model's knowledge."""
        stale = {noted.layer: how for noted in self._noted if (how := noted.overwritten())}
        known = self._overwritten
        known.update((noted.layer, False) for noted in self._noted if noted.checksum is not None)
        known.update(dict.fromkeys(stale, True))
        self._knowledge.quiet |= "quiet" in stale.values()
        return not stale

    def records(self) -> dict[Layer, Record]:
        """By layer, in the order in which they were put out. Nothing of them is the model's own."""
        layouts, found = Layouts(), {}
        of_the_model, copies = self._of_the_model(), dict[object, Tensor]()
        for noted in self._noted:
            module = noted.module
            mine = tensor = noted.tensor
            where = None if noted.owned else _storage(tensor)
            # A weight that is put out would change with the next weights file, and what a module keeps with the next run.
            if where in of_the_model:
                # A block puts out what its last child does: they share one copy.
                key = (where, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
                known = copies.get(key)
                if known is None:
                    known = copies[key] = tensor.clone()
                mine = known
            found[noted.layer] = Record(type(module).__name__, mine, layouts.channels_last(module, tensor))
        return found

    def _of_the_model(self) -> set[object]:
        """The memory of its parameters and buffers, before the forward and after it, and of what else its modules keep."""
        kept = [
            value
            for _, module in self.modules
            # In this way most modules are done with at once.
            if not _NO_TENSORS.issuperset(map(type, vars(module).values()))
            for value in vars(module).values()
            if isinstance(value, Tensor)
        ]
        return self._own_before.union(map(_storage, _own_tensors(self.modules)), map(_storage, kept)) - {None}

    def forget(self) -> None:
        """Let go of every tensor, also where a traceback holds the recorder itself."""
        self._noted.clear()
        self._last_copy = self._last_sum = None

    def stop_if_cancelled(self) -> None:
        if self.ask is not None and self.ask():
            self.cancelled = True
            raise Cancelled

    def note(self, layer: Layer, module: nn.Module, tensor: Tensor) -> None:
        """What a hook saw, in the way that is right for this layer: by reference, or as a copy."""
        overwritten = self._overwritten.get(layer)
        if overwritten is False and self._plain and not tensor.is_inference():
            self._noted.append(Noted(layer, module, tensor.detach(), tensor._version))
            return
        if self._keep is not None and not self._keep(layer):
            return
        # Without a counter nothing tells whether it is written to.
        if overwritten or self._copy_all or tensor.is_inference():
            self._noted.append(Noted(layer, module, self._copy(tensor), 0, owned=True))
            return
        found = None
        if overwritten is None:
            # What has no memory to ask about (a transform's tensor) is the model's error here, and not ours afterwards.
            _has_its_memory(tensor)
            found = self._checksum(tensor)
        self._noted.append(Noted(layer, module, tensor.detach(), tensor._version, checksum=found))

    def _copy(self, tensor: Tensor) -> Tensor:
        """A block often puts out the very tensor of its last child: they share one copy while nothing is written."""
        if tensor.is_inference():
            with torch.inference_mode(False):
                return tensor.clone()
        if self._last_copy is not None and not self._copy_all and not self._knowledge.quiet:
            source, version, twin = self._last_copy
            if source() is tensor and version == tensor._version:
                return twin
        twin = tensor.detach().clone()
        self._last_copy = (weakref.ref(tensor), tensor._version, twin)
        return twin

    def _checksum(self, tensor: Tensor) -> Tensor | None:
        """A tensor that two layers in a row put out, other bytes under the same count, was written to quietly."""
        found = checksum(tensor)
        if found is not None:
            if self._last_sum is not None:
                source, version, before = self._last_sum
                if source() is tensor and version == tensor._version and not torch.equal(found, before):
                    self._knowledge.quiet = True
            self._last_sum = (weakref.ref(tensor), tensor._version, found)
        return found


class _Hook:
    """What one module puts out goes to the recorder.

    It runs once for every call of every module, beside layers that take a few microseconds themselves: what can be found
    out afterwards is left for then. An object like this is one for the garbage collector to walk, a closure a dozen.
    """

    __slots__ = ("_calls", "_first", "_own", "_recorder")

    def __init__(self, recorder: Recorder, path: str, own: nn.Module) -> None:
        self._recorder = recorder
        self._own = own
        self._first = Layer(path)
        self._calls = 0

    def __copy__(self) -> _Hook:
        """A copy of a module, made in the forward, must not bring a copy of all that is recorded."""
        return self

    def __deepcopy__(self, memo: object) -> _Hook:
        return self

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        # A copy of the module, made by `copy`, brings the hook along: it has another name, or none.
        if module is not self._own:
            return
        recorder = self._recorder
        if recorder.ask is not None:
            recorder.stop_if_cancelled()
        recorder.hooks_called += 1
        self._calls = calls = self._calls + 1
        layer = self._first
        if isinstance(output, Tensor):
            recorder.note(layer if calls == 1 else Layer(layer.path, calls), module, output)
        else:
            for where, tensor in tensors_in(output):
                recorder.note(Layer(layer.path, calls, where), module, tensor)


def _add_hook(module: nn.Module, hook: Callable[[nn.Module, Any, Any], None]) -> Callable[[], object]:
    """Register `hook`, which runs after those that are there; call the result to remove it."""
    hooks = vars(module).get("_forward_hooks")
    if not isinstance(hooks, dict):
        return module.register_forward_hook(hook).remove
    # What a handle does beside this takes ten times longer, and there are hundreds of them in a run of some ten milliseconds.
    key: Any = hook
    hooks[key] = hook
    return lambda: hooks.pop(key, None)


def not_compiled() -> AbstractContextManager[object]:
    """Compiled modules run as plain ones inside, since they do not call hooks that were added later."""
    # Nothing can be compiled as long as nobody has imported the compiler, which takes a second.
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


_NO_TENSORS = frozenset({type(None), bool, int, float, str, tuple, list, dict, OrderedDict, set})
"""What the attributes of most modules are."""


def _own_tensors(modules: Iterable[tuple[str, nn.Module]]) -> list[Tensor]:
    """Parameters and buffers."""
    return [
        tensor
        for _, module in modules
        for tensors in (module._parameters, module._buffers)
        for tensor in tensors.values()
        if tensor is not None
    ]


def _required_checksum(tensor: Tensor) -> Tensor:
    found = checksum(tensor)
    assert found is not None
    return found


def _storage(tensor: Tensor) -> object:
    """What tells whose memory it is; None where nothing does. Asked of all weights in each run."""
    try:
        return tensor.untyped_storage().data_ptr() or None
    # What is sparse, wraps others or is not yet initialised has no memory of its own.
    except (RuntimeError, ValueError):
        return None


def _has_its_memory(tensor: Tensor) -> bool:
    """Whether the memory behind it still holds all of it: a model may give memory away before the forward is over."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_nested or not tensor.numel():
        return True
    there = tensor.untyped_storage().nbytes()
    if tensor.is_contiguous():
        return bool((tensor.storage_offset() + tensor.numel()) * tensor.element_size() <= there)
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    end = tensor.storage_offset() + 1 + sum((size - 1) * step for size, step in steps)
    return bool(end * tensor.element_size() <= there)
