"""Record the output of every module during one forward, through forward hooks."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
import torch
from torch import Tensor, nn

from fmviz.errors import Cancelled
from fmviz.failures import is_out_of_memory, one_line
from fmviz.layers import ROOT, Layer
from fmviz.structures import is_tensor, leaves
from fmviz.tokens import Layouts

T = TypeVar("T")

_PROVEN = ("fmviz.", "torch.nn.modules.")
"""Packages whose modules write to no output of another module, unless they have an `inplace` flag that is set; tested."""


class Record(msgspec.Struct, frozen=True):
    """The output of one layer. `channels_last`: see `fmviz.tokens.Layouts`."""

    kind: str
    tensor: Tensor
    channels_last: bool


def works_out_of_place(modules: Iterable[tuple[str, nn.Module]]) -> bool:
    """Whether no module overwrites the output of another one, so that references to outputs stay true.

    True only for fmviz's own networks, as they are made: no changed `forward`, no hooks of somebody else, no child of
    another package. Every other network is taken to write in place.
    """
    found = list(modules)
    return (
        bool(found)
        and type(found[0][1]).__module__.startswith("fmviz.")
        and not _global_hooks()
        and all(
            type(module).__module__.startswith(_PROVEN)
            and "forward" not in vars(module)
            and not vars(module).get("inplace")
            and not module._forward_hooks
            and not module._forward_pre_hooks
            for _, module in found
        )
    )


@dataclass(frozen=True, slots=True)
class CopyRule:
    """Which outputs of a network are copied by a capture.

    Attributes:
        in_place: whether outputs are copied; else references to them stay true.
        hooked: paths of the modules with forward hooks of the user, whose copies are not shared.
    """

    in_place: bool
    hooked: frozenset[str]

    @classmethod
    def of(cls, modules: Iterable[tuple[str, nn.Module]]) -> CopyRule:
        found = list(modules)
        every = _global_hooks()
        hooked = frozenset(path for path, module in found if every or module._forward_hooks)
        return cls(not works_out_of_place(found), hooked)

    def identities(self, modules: Iterable[tuple[str, nn.Module]]) -> frozenset[int]:
        """Return the identities of the hooked modules."""
        return frozenset(id(module) for path, module in modules if path in self.hooked)


def _global_hooks() -> bool:
    registry = nn.modules.module
    return bool(registry._global_forward_hooks or registry._global_forward_pre_hooks)


class SharedCopies(Generic[T]):
    """The copies that the output of a module may share with the module that ended before it.

    `nn.Sequential` returns the output of its last child, and no code runs in between: it needs no second copy. Nor does a
    tensor that stands in one output twice. After any other code the tensor may have been written to.

    Args:
        hooked: identities of the modules with forward hooks of the user, which are such code.
    """

    def __init__(self, hooked: frozenset[int]) -> None:
        self._hooked = hooked
        self._ended: nn.Module | None = None
        self._copies: dict[int, tuple[weakref.ref[Tensor], T]] = {}

    def end(self, module: nn.Module) -> None:
        """Note that a call of `module` ended; copies of the module before are forgotten unless it hands them on."""
        if self._copies and (self._ended is None or not self._hands_on(module, self._ended)):
            self._copies = {}
        self._ended = module

    def _hands_on(self, module: nn.Module, child: nn.Module) -> bool:
        if not isinstance(module, nn.Sequential):
            return False
        hooked = id(module) in self._hooked or id(child) in self._hooked
        return not hooked and _returns_output_of(module, child)

    def get(self, tensor: Tensor) -> T | None:
        """Return the copy of `tensor` that may be shared, if there is one."""
        found = self._copies.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def put(self, tensor: Tensor, copy: T) -> None:
        """Keep `copy` for the rest of this output, and for a container that returns it."""
        self._copies[id(tensor)] = (weakref.ref(tensor), copy)

    def clear(self) -> None:
        """Let go of all copies."""
        self._copies = {}


def _returns_output_of(module: nn.Module, child: nn.Module) -> bool:
    """Whether `module` returns what its last child, `child`, returned, and only fmviz's hooks run in between."""
    kind: Any = type(module)
    return (
        # TorchScript's classes have no `forward` to ask for.
        isinstance(module, nn.Sequential)
        and kind.forward is nn.Sequential.forward
        and kind.__call__ is nn.Module.__call__
        and kind.__iter__ is nn.Sequential.__iter__
        and type(child).__call__ is nn.Module.__call__
        and "forward" not in vars(module)
        and next(reversed(module._modules.values()), None) is child
    )


class Recorder:
    """The hooks of one forward.

    Outputs are copied in the hook; of networks that work out of place, references are kept. A failure in a hook leaves the
    layer out and lets the forward go on.

    Attributes:
        modules: path and module, as `named_modules` yields them, without modules inside TorchScript.
        in_place: whether outputs are copied.
        hooks_called: number of calls of modules seen.
        omitted: why outputs are not in the capture, by the name of the layer.
        cancelled: whether the forward was stopped by `ask`; a model that catches every exception does not hide it.
        failure: an exception raised by the caller's `keep` or `cancelled`.
        ask: whether to stop; None if nobody may want that.
        devices: devices of the model's parameters and buffers; always with the CPU.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        keep: Callable[[Layer], bool] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self.hooks_called = 0
        self.cancelled = False
        self.failure: Exception | None = None
        self.omitted: dict[str, str] = {}
        self.ask = cancelled
        self._model = model
        self._keep = keep
        self.modules = tuple(self._seen(model))
        rule = CopyRule.of(self.modules)
        self.in_place = rule.in_place
        self.devices = {torch.device("cpu")} | {
            tensor.device
            for _, module in self.modules
            for tensors in (module._parameters, module._buffers)
            for _, tensor in tensors.items()
            if tensor is not None and not tensor.is_meta
        }
        self._noted: list[tuple[Layer, nn.Module, Tensor]] = []
        self._copies = SharedCopies[Tensor](rule.identities(self.modules))
        self._calls: dict[str, int] = {}
        self._known = {id(module): module for _, module in self.modules}
        self._undo: list[Callable[[], object]] = []
        self._thread = threading.get_ident()

    def _seen(self, model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        """All modules that can be hooked. Those inside TorchScript run without Python, and call no hooks."""
        inside: set[nn.Module] = set()
        for path, module in model.named_modules():
            if module in inside:
                self.omitted[path] = f"{path} was left out: it is inside TorchScript, which calls no hooks."
                continue
            yield path, module
            if isinstance(module, torch.jit.ScriptModule):
                inside.update(module.modules())

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hook every module, after the hooks that are there already, so that outputs are seen as the next module gets them."""
        try:
            scripted = {id(module): path for path, module in self.modules if isinstance(module, torch.jit.ScriptModule)}
            for path, module in self.modules:
                if id(module) not in scripted:
                    self._hook(path, module)
            if scripted:
                # They take no hooks themselves, but call those of all modules.
                self._undo.append(nn.modules.module.register_module_forward_hook(self._ended_in(scripted)).remove)
            if self.in_place:
                handle = nn.modules.module.register_module_forward_pre_hook(self._begin)
                self._undo.append(handle.remove)
            yield
        finally:
            for remove in self._undo:
                remove()
            self._undo.clear()

    def _hook(self, path: str, module: nn.Module) -> None:
        self._undo.append(module.register_forward_hook(_Hook(self, path, module)).remove)

    def _ended_in(self, scripted: dict[int, str]) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            path = scripted.get(id(module))
            if path is not None and self.is_mine(path):
                self.stop_if_cancelled()
                self.ended(path, module, output)

        return hook

    def _begin(self, module: nn.Module, args: Any) -> None:
        """Hook a module that the forward itself made, just before it runs."""
        if id(module) in self._known or threading.get_ident() != self._thread:
            return
        try:
            self._known[id(module)] = module
            path = next((path for path, one in self._model.named_modules() if one is module), None)
            if path is not None:
                self._hook(path, module)
            else:
                self._omit_unregistered(module)
        except Exception as error:
            self.omitted[type(module).__name__] = f"A {type(module).__name__} was left out: {one_line(error)}."

    def _omit_unregistered(self, module: nn.Module) -> None:
        kind, caller = type(module).__name__, self._running()
        name = f"{caller}.{kind}" if caller else kind
        where = f"layer “{caller}”" if caller else "the network"
        self.omitted[name] = (
            f"{name} was left out: the forward of {where} calls a {kind} that is not registered as a module of "
            "the network, so that it has no name."
        )

    def _running(self) -> str:
        """Return the path of the module whose forward is running, found from the calling frames."""
        paths = {id(module): path for path, module in self.modules}
        frame = sys._getframe(2)
        while frame is not None:
            owner = frame.f_locals.get("self")
            if isinstance(owner, nn.Module) and id(owner) in paths and frame.f_code.co_name not in _CALLS:
                return paths[id(owner)]
            frame = frame.f_back  # type: ignore[assignment]
        return ""

    def records(self) -> dict[Layer, Record]:
        """Return the outputs by layer, in the order in which they were produced."""
        layouts = Layouts()
        return {
            layer: Record(type(module).__name__, tensor, layouts.channels_last(module, tensor))
            for layer, module, tensor in self._noted
        }

    def is_mine(self, path: str) -> bool:
        """Whether the running thread is the one of this forward; a call in another one may be of another forward."""
        if threading.get_ident() == self._thread:
            return True
        name = f"{path or ROOT} in another thread"
        self.omitted.setdefault(name, f"{name} was left out: that call may be of another forward of this model.")
        return False

    def forget(self) -> None:
        """Let go of every tensor, also if a traceback holds this recorder."""
        self._noted.clear()
        self._copies.clear()

    def stop_if_cancelled(self) -> None:
        """Raise `Cancelled` if `ask` says so."""
        if self.ask is not None and self._asked(self.ask):
            self.cancelled = True
            raise Cancelled

    def _asked(self, question: Callable[..., bool], *args: Layer) -> bool:
        """Call a function of the caller's; its exceptions are not the network's errors."""
        try:
            return question(*args)
        except Exception as error:
            self.failure = error
            raise

    def ended(self, path: str, module: nn.Module, output: object) -> None:
        """Keep the output of a call of `module`. Raises only when memory runs out or a function of the caller's raised."""
        self.hooks_called += 1
        self._calls[path] = call = self._calls.get(path, 0) + 1
        layer = Layer(path, call)
        try:
            self._copies.end(module)
            if is_tensor(output):
                self._note(layer, module, output)
            else:
                self._note_parts(layer, module, output)
        except Exception as error:
            if error is self.failure or is_out_of_memory(error):
                raise
            self._omit(layer, f"its output, a {type(output).__name__}, could not be copied: {one_line(error)}")

    def _note_parts(self, layer: Layer, module: nn.Module, output: object) -> None:
        """Keep the tensors in an output that is not a tensor, and name everything else."""
        found = list(leaves(output))
        for where, leaf in found:
            part = Layer(layer.path, layer.call, where)
            if not is_tensor(leaf):
                self._omit(part, f"it is a {type(leaf).__name__}, which is not walked for tensors")
                continue
            try:
                self._note(part, module, leaf)
            except Exception as error:
                if error is self.failure or is_out_of_memory(error):
                    raise
                self._omit(part, f"it could not be copied: {one_line(error)}")
        if not found and _may_hold_tensors(output):
            self._omit(layer, f"no tensor was found in its output, a {type(output).__name__}")

    def _note(self, layer: Layer, module: nn.Module, tensor: Tensor) -> None:
        if self._keep is not None and not self._asked(self._keep, layer):
            return
        mine = self.copy(tensor) if self.in_place else tensor.detach()
        if mine is None:
            self._omit(
                layer, "it ran inside torch.vmap or another transform of torch.func, where tensors have no values"
            )
            return
        self._noted.append((layer, module, mine))

    def copy(self, tensor: Tensor) -> Tensor | None:
        """Return a detached copy of `tensor`; None inside a transform of torch.func, whose tensors do not outlive it."""
        twin = self._copies.get(tensor)
        if twin is None:
            if torch.func.debug_unwrap(tensor) is not tensor:
                return None
            twin = _cloned(tensor)
            self._copies.put(tensor, twin)
        return twin

    def _omit(self, layer: Layer, reason: str) -> None:
        self.omitted.setdefault(str(layer), f"{layer} was left out: {reason}.")


_CALLS = ("_wrapped_call_impl", "_call_impl", "inner", "_begin", "_omit_unregistered")
"""Functions between a module's forward and the hook of the module that it calls; their `self` is the called module."""


def _may_hold_tensors(output: object) -> bool:
    """Whether an output without tensors is worth a note: an empty container is, None and plain values are not."""
    return output is not None and hasattr(output, "__dict__") and not isinstance(output, type)


def _cloned(tensor: Tensor) -> Tensor:
    if tensor.is_inference():
        with torch.inference_mode(False):
            return tensor.clone()
    return tensor.detach().clone()


class _Hook:
    """Passes the output of one module to the recorder."""

    __slots__ = ("_own", "_path", "_recorder")

    def __init__(self, recorder: Recorder, path: str, own: nn.Module) -> None:
        self._recorder = recorder
        self._own = own
        self._path = path

    def __copy__(self) -> _Hook:
        """A copy of a module, made in the forward, must not bring a copy of all that is recorded."""
        return self

    def __deepcopy__(self, memo: object) -> _Hook:
        return self

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        recorder = self._recorder
        # A copy of the module, made by `copy`, brings the hook along: it has another name, or none.
        if module is not self._own or not recorder.is_mine(self._path):
            return
        if recorder.ask is not None:
            recorder.stop_if_cancelled()
        recorder.ended(self._path, module, output)


def not_compiled() -> AbstractContextManager[object]:
    """Run compiled modules as plain ones inside, since they do not call hooks that were added later."""
    # Nothing can be compiled unless the compiler was imported, which takes a second.
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
