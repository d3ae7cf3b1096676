"""Run a model in eval mode and leave it, and all random generators, in the state in which they were found."""

from __future__ import annotations

import dataclasses
import operator
import random
import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fmviz.failures import is_out_of_memory, one_line
from fmviz.structures import is_tensor, tensors_in, with_tensors

PARAMETER_LIMIT = 1 << 30
"""Bytes of parameters up to which their values are backed up; beyond it a write to them is reported and stays."""

ARRAY_LIMIT = 1 << 26
"""Bytes of a numpy array up to which it is backed up: larger ones are data sets, not state."""

_DEEPEST = 16
"""Containers in attributes are walked down to this depth."""

_LONGEST = 10_000
"""Containers with more entries than this are restored themselves, but their entries are not walked."""

_SHORT = 4096
"""Values of a tensor up to which it is backed up together with others."""

_LIBRARIES = ("fmviz.", "timm.", "torch.", "torchvision.")
"""Packages whose modules in eval mode do not write to parameters, nor to attributes of `torch.nn`'s modules; tested."""


@contextmanager
def left_as_found(
    modules: Iterable[tuple[str, nn.Module]], devices: set[torch.device], *, only_modes: bool = False
) -> Iterator[list[str]]:
    """Set eval mode without gradients inside; afterwards restore the modules and the random generators.

    Restored in place, so that identities and aliases survive: modes, parameters, buffers, children and hooks; plain attributes
    that are tensors, arrays, numbers, random generators, or containers and dataclasses of these; and the global generators of
    torch, Python and numpy. Not restored: objects of other classes, globals, lazy modules that were initialised, and the values
    of parameters beyond `PARAMETER_LIMIT` and arrays beyond `ARRAY_LIMIT`.

    What another thread writes to the modules meanwhile, as a step of training does, is undone as well: `Showing.paused` and
    `Session.paused` keep such a thread and a forward apart.

    Args:
        modules: path and module, as `named_modules` yields them.
        devices: whose generators to restore; the CPU's always is.
        only_modes: restore nothing of the modules but their modes, for networks that are known not to write to anything else.

    Yields:
        A list that afterwards holds one sentence for each thing that could not be restored.
    """
    modules = list(modules)
    problems: list[str] = []
    with torch.inference_mode(False), torch.no_grad():
        generators = _global_generators(devices, problems)
        # A frozen TorchScript part has no mode.
        modes = [(module, bool(getattr(module, "training", False))) for _, module in modules]
        state = None if only_modes else _State(modules, problems)
        try:
            for module, training in modes:
                if training:
                    # One by one: `model.eval()` may be overridden.
                    module.training = False
            yield problems
        finally:
            for module, training in modes:
                _attempt(problems, "a module's mode", _set_mode, module, training)
            if state is not None:
                state.restore()
            for name, restore in generators:
                _attempt(problems, name, restore)


@contextmanager
def inputs_protected(inputs: Inputs, problems: list[str]) -> Iterator[Inputs]:
    """Yield copies of a forward's arguments. Tensors in objects that cannot be rebuilt are restored afterwards.

    Args:
        inputs: Positional and keyword arguments.
        problems: A sentence is added for each tensor that could not be restored.
    """
    copies, backups = inputs, list[_Alone]()
    try:
        copies = with_tensors(inputs, lambda tensor: tensor.detach().clone())
        given = {id(tensor) for _, tensor in tensors_in(inputs)}
        backups = [_Alone(tensor) for _, tensor in tensors_in(copies) if id(tensor) in given]
    except Exception as error:
        if is_out_of_memory(error):
            raise
        problems.append(f"The input could not be copied and was given to the network itself: {one_line(error)}.")
    try:
        yield copies
    finally:
        for backup in backups:
            _attempt(problems, "a tensor of the input", backup.put_back)


Inputs = tuple[tuple[Any, ...], dict[str, Any]]


def _attempt(problems: list[str], name: str, step: Callable[..., object], *args: object) -> None:
    """Run one step of the restoration; its failure must not keep the others from being done."""
    try:
        step(*args)
    except Exception as error:
        problems.append(f"After the forward, {name} could not be restored: {one_line(error)}.")


def _set_mode(module: nn.Module, training: bool) -> None:
    if bool(getattr(module, "training", False)) != training:
        module.training = training


@dataclass(slots=True)
class _State:
    """The state of some modules: what their attributes are bound to, what containers hold, and the values of tensors."""

    modules: list[tuple[str, nn.Module]]
    problems: list[str]
    attributes: list[tuple[str, nn.Module, type, dict[str, Any]]] = field(default_factory=list)
    objects: list[tuple[str, dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    empty: list[tuple[str, Any]] = field(default_factory=list)
    dictionaries: list[tuple[str, dict[Any, Any], dict[Any, Any]]] = field(default_factory=list)
    sequences: list[tuple[str, Any, list[Any]]] = field(default_factory=list)
    sets: list[tuple[str, set[Any], set[Any]]] = field(default_factory=list)
    steps: list[tuple[str, Callable[[], object]]] = field(default_factory=list)
    tensors: list[tuple[str, Tensor]] = field(default_factory=list)
    seen: dict[int, object] = field(default_factory=dict)
    backups: list[tuple[str, _Values]] = field(default_factory=list)
    bindings: list[tuple[str, Tensor, Tensor | None, bool, Tensor | None]] = field(default_factory=list)
    watched: list[tuple[str, Tensor, int]] = field(default_factory=list)
    of_libraries: bool = False

    def __post_init__(self) -> None:
        self.of_libraries = _of_libraries(self.modules)
        try:
            self._take_all()
            self._back_up()
        except Exception as error:
            self.problems.append(f"The state of the network could not be backed up: {one_line(error)}.")

    def _take_all(self) -> None:
        self.seen.update((id(module), module) for _, module in self.modules)
        for path, module in self.modules:
            try:
                if self.of_libraries and type(module).__module__.startswith("torch.nn.modules."):
                    self._take_building_block(path, module)
                else:
                    self._take_module(path, module)
            except Exception as error:
                self.problems.append(f"The state of {_module(path)} could not be backed up: {one_line(error)}.")

    def _take_module(self, path: str, module: nn.Module) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            self._take_script(path, module)
            return
        attributes = vars(module)
        self.attributes.append((path, module, type(module), dict(attributes)))
        for value in attributes.values():
            kind = type(value)
            if kind in _EMPTY_MOSTLY and not value:
                self.empty.append((path, value))
            elif kind not in _IMMUTABLE:
                self._take(path, value, 0)

    def _take_building_block(self, path: str, module: nn.Module) -> None:
        """Save a module of `torch.nn` in a network of libraries: these write to no attribute of it, only to buffers."""
        if module._buffers:
            self.dictionaries.append((path, module._buffers, dict(module._buffers)))
        for tensor in module._buffers.values():
            if tensor is not None:
                self._take(path, tensor, 0)
        for parameter in module._parameters.values():
            if type(parameter) is nn.Parameter and not parameter.is_inference():
                self.watched.append((path, parameter, parameter._version))

    def _take_script(self, path: str, module: torch.jit.ScriptModule) -> None:
        """Save the buffers of a TorchScript part. Its other attributes are out of reach: those it writes to are named."""
        buffers = set()
        for part in module.modules():
            for name, tensor in part.named_buffers(recurse=False):
                buffers.add(name)
                self._take(path, tensor, 0)
                self.steps.append((path, _buffer_restorer(part, name, tensor)))
        written = {
            name
            for part in module.modules()
            for pattern in _WRITTEN
            for name in pattern.findall(str(getattr(part, "code", "")))
            if name not in buffers and hasattr(part, name)
        }
        if written:
            names = ", ".join(sorted(written))
            self.problems.append(f"Attributes inside TorchScript ({names}) of {_module(path)} are not restored.")

    def _take(self, path: str, value: object, depth: int) -> None:
        """Save `value` and its contents, once."""
        kind = type(value)
        if kind in _IMMUTABLE or depth > _DEEPEST or id(value) in self.seen:
            return
        self.seen[id(value)] = value
        if isinstance(value, nn.Module):
            # In a plain list, say, where `named_modules` does not find it.
            self._take_module(path, value)
            return
        inside: Sequence[object] = ()
        if is_tensor(value):
            self.tensors.append((path, value))
        elif isinstance(value, dict | list | set | deque) and not value:
            self.empty.append((path, value))
        elif isinstance(value, dict):
            self.dictionaries.append((path, value, dict(value)))
            inside = list(value.values())
        elif isinstance(value, list | deque):
            self.sequences.append((path, value, list(value)))
            inside = list(value)
        elif isinstance(value, set):
            self.sets.append((path, value, set(value)))
        elif isinstance(value, tuple):
            inside = value
        elif dataclasses.is_dataclass(value) and hasattr(value, "__dict__") and not isinstance(value, type):
            self.objects.append((path, vars(value), dict(vars(value))))
            inside = list(vars(value).values())
        elif isinstance(value, np.ndarray):
            self._take_array(path, value)
        elif (restore := _generator_restorer(value)) is not None:
            self.steps.append((path, restore))
        for part in inside if len(inside) <= _LONGEST else ():
            if type(part) not in _IMMUTABLE:
                self._take(path, part, depth + 1)

    def _take_array(self, path: str, array: np.ndarray[Any, Any]) -> None:
        if not array.flags.writeable:
            return
        if array.nbytes > ARRAY_LIMIT:
            self.problems.append(
                f"An array of {_module(path)} is too large to be backed up: what is written to it stays."
            )
            return
        self.steps.append((path, _array_restorer(array)))

    def _back_up(self) -> None:
        """Save the tensors: to what memory each is bound, and the values in it."""
        parameters = {id(one) for _, module in self.modules for one in module.parameters(recurse=False)}
        copied = not self.of_libraries and _bytes_of(self.tensors, parameters) <= PARAMETER_LIMIT
        alike: dict[tuple[torch.device, torch.dtype, bool], list[Tensor]] = {}
        paths: dict[tuple[torch.device, torch.dtype, bool], str] = {}
        for path, tensor in self.tensors:
            try:
                if nn.parameter.is_lazy(tensor):
                    continue
                if id(tensor) in parameters and not copied and not tensor.is_inference():
                    self.watched.append((path, tensor, tensor._version))
                    continue
                plain = _is_plain(tensor)
                gradient = tensor.grad if tensor.is_leaf else None
                memory = tensor.detach() if plain and not tensor.is_meta else None
                self.bindings.append((path, tensor, memory, tensor.requires_grad, gradient))
                if tensor.is_meta:
                    continue
                if plain and tensor.numel() <= _SHORT:
                    key = (tensor.device, tensor.dtype, tensor.dim() == 0)
                    alike.setdefault(key, []).append(tensor)
                    paths.setdefault(key, path)
                else:
                    self.backups.append((path, _Alone(tensor)))
            except Exception as error:
                self.problems.append(f"A tensor of {_module(path)} could not be backed up: {one_line(error)}.")
        for key, tensors in alike.items():
            try:
                self.backups.append((paths[key], _Together(tensors)))
            except Exception as error:
                self.problems.append(f"Tensors of {_module(paths[key])} could not be backed up: {one_line(error)}.")

    def restore(self) -> None:
        """Put everything back that is another one now: bindings first, then containers, then values."""
        problems = self.problems
        initialised = {
            id(module) for _, module, kind, _ in self.attributes if type(module) is not kind
        }  # a lazy module that now has its final class
        for path, module, _, saved in self.attributes:
            if id(module) not in initialised:
                _attempt(problems, f"an attribute of {_module(path)}", _restore_attributes, vars(module), saved)
        for path, now, saved in self.objects:
            _attempt(problems, f"an object in {_module(path)}", _restore_attributes, now, saved)
        skipped = {
            id(value)
            for _, module, _, saved in self.attributes
            if id(module) in initialised
            for value in saved.values()
        }
        for path, value in self.empty:
            if value and id(value) not in skipped:
                _attempt(problems, f"a container in {_module(path)}", value.clear)
        for path, dictionary, entries in self.dictionaries:
            if id(dictionary) not in skipped and not _same_entries(dictionary, entries):
                _attempt(problems, f"a mapping in {_module(path)}", _refill_mapping, dictionary, entries)
        for path, sequence, parts in self.sequences:
            if len(sequence) != len(parts) or any(a is not b for a, b in zip(sequence, parts, strict=True)):
                _attempt(problems, f"a sequence in {_module(path)}", _refill_sequence, sequence, parts)
        for path, some, before in self.sets:
            if some != before:
                _attempt(problems, f"a set in {_module(path)}", _refill_mapping, some, before)
        for path, step in self.steps:
            _attempt(problems, f"an attribute of {_module(path)}", step)
        for path, tensor, memory, requires_grad, gradient in self.bindings:
            name = f"a tensor of {_module(path)}"
            _attempt(problems, name, _bind, tensor, memory, requires_grad, gradient)
        for path, backup in self.backups:
            _attempt(problems, f"a tensor of {_module(path)}", backup.put_back)
        problems.extend(
            f"The forward wrote to a parameter of {_module(path)}, of which no backup was made: it keeps the new values."
            for path, tensor, version in self.watched
            if tensor._version != version
        )


def _module(path: str) -> str:
    return f"layer “{path}”" if path else "the network"


def _of_libraries(modules: Iterable[tuple[str, nn.Module]]) -> bool:
    """Whether all code that runs is from libraries that are known not to write to parameters: no hooks of the user's either."""
    return all(
        not isinstance(module, torch.jit.ScriptModule)
        and type(module).__module__.startswith(_LIBRARIES)
        and "forward" not in vars(module)
        and not module._forward_hooks
        and not module._forward_pre_hooks
        for _, module in modules
    )


def _bytes_of(tensors: Iterable[tuple[str, Tensor]], chosen: set[int]) -> int:
    return sum(
        one.nbytes for _, one in tensors if id(one) in chosen and not nn.parameter.is_lazy(one) and _is_plain(one)
    )


def _restore_attributes(now: dict[str, Any], saved: dict[str, Any]) -> None:
    """Restore an object's `__dict__` entry by entry: another thread may read it meanwhile."""
    if now.keys() == saved.keys() and all(map(operator.is_, now.values(), saved.values())):
        return
    for name in now.keys() - saved.keys():
        del now[name]
    for name, value in saved.items():
        if name not in now or now[name] is not value:
            now[name] = value


def _same_entries(now: dict[Any, Any], saved: dict[Any, Any]) -> bool:
    return len(now) == len(saved) and all(
        one is other and value is before
        for (one, value), (other, before) in zip(now.items(), saved.items(), strict=True)
    )


def _refill_mapping(now: Any, saved: Any) -> None:
    now.clear()
    now.update(saved)


def _refill_sequence(now: Any, saved: list[Any]) -> None:
    now.clear()
    now.extend(saved)


def _bind(tensor: Tensor, memory: Tensor | None, requires_grad: bool, gradient: Tensor | None) -> None:
    """Bind `tensor` to the memory that it had, in the shape that it had, with its flag and gradient."""
    if memory is not None:
        same = (
            tensor.shape == memory.shape
            and tensor.dtype == memory.dtype
            and tensor.stride() == memory.stride()
            and tensor.data_ptr() == memory.data_ptr()
        )
        if not same:
            tensor.data = memory
    if tensor.is_leaf:
        if tensor.requires_grad != requires_grad:
            tensor.requires_grad_(requires_grad)
        if tensor.grad is not gradient:
            tensor.grad = gradient


# ── Values of tensors ─────────────────────────────────────────────────────────────────────────────────────────────────


class _Together:
    """The values of tensors of one dtype and device in one copy: batch norm has hundreds of short ones."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        self._held = _joined(tensors)

    def put_back(self) -> None:
        """Write the values of the tensors whose bytes changed, also where torch's version counter did not notice."""
        if _same_bytes(_joined(self._tensors), self._held):
            return
        parts = torch.split(self._held, [tensor.numel() for tensor in self._tensors])
        for tensor, part in zip(self._tensors, parts, strict=True):
            if not _same_bytes(_joined([tensor]), part):
                _write(tensor, part.view(tensor.shape))


class _Alone:
    """The values of a tensor that is too long to be joined with others, or unlike them: sparse, quantized, of another class."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor, self._held = tensor, tensor.detach().clone()
        self._version = None if tensor.is_inference() else tensor._version

    def put_back(self) -> None:
        if _is_plain(self._tensor):
            if not _same_bytes(_joined([self._tensor]), _joined([self._held])):
                _write(self._tensor, self._held)
        elif self._version is None or self._tensor._version != self._version:
            _write(self._tensor, self._held)


_Values = _Together | _Alone


def _write(tensor: Tensor, values: Tensor) -> None:
    # Leaving inference mode switches gradients on.
    with torch.inference_mode(tensor.is_inference()), torch.no_grad():
        tensor.copy_(values)


def _is_plain(tensor: Tensor) -> bool:
    kinds = (Tensor, nn.Buffer, nn.Parameter)
    return type(tensor) in kinds and tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_nested)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    if all(tensor.dim() == 0 for tensor in tensors):
        return torch.stack([tensor.detach() for tensor in tensors])
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    """Compare two (n,) tensors bit by bit, so that NaN equals itself."""
    return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


# ── Arrays and generators ─────────────────────────────────────────────────────────────────────────────────────────────


def _buffer_restorer(owner: nn.Module, name: str, tensor: Tensor) -> Callable[[], object]:
    """Bind a buffer of a TorchScript module to its tensor again, which its forward may have replaced."""

    def restore() -> None:
        if getattr(owner, name).data_ptr() != tensor.data_ptr():
            setattr(owner, name, tensor)

    return restore


_WRITTEN = (re.compile(r"^\s*\w+\.(\w+) = ", re.MULTILINE), re.compile(r"torch\.(?:append|_set_item|\w+_)\((\w+)"))
"""Attributes that TorchScript code assigns, and the variables, named after attributes, that it writes to."""


def _array_restorer(array: np.ndarray[Any, Any]) -> Callable[[], object]:
    saved = np.array(array)

    def restore() -> None:
        # NaN equals itself only by its bytes; an array with NaN is written anew, which does no harm.
        if not np.array_equal(array, saved):
            array[...] = saved

    return restore


def _generator_restorer(value: object) -> Callable[[], object] | None:
    """Save the state of a random generator; None if `value` is none."""
    if isinstance(value, torch.Generator):
        state = value.get_state()
        return lambda: value.set_state(state)
    if isinstance(value, random.Random):
        python = value.getstate()
        return lambda: value.setstate(python)
    if isinstance(value, np.random.Generator):
        bits, numbers = value.bit_generator, value.bit_generator.state
        return lambda: setattr(bits, "state", numbers)
    if isinstance(value, np.random.RandomState):
        legacy = value.get_state()
        return lambda: value.set_state(legacy)
    return None


def _global_generators(devices: set[torch.device], problems: list[str]) -> list[tuple[str, Callable[[], object]]]:
    python, legacy = random.getstate(), np.random.get_state()
    found: list[tuple[str, Callable[[], object]]] = [
        ("Python's random generator", lambda: random.setstate(python)),
        ("numpy's random generator", lambda: np.random.set_state(legacy)),
    ]
    for device in devices | {torch.device("cpu")}:
        name = f"the random generator of {device}"
        try:
            found.append((name, _device_restorer(device)))
        except Exception as error:
            problems.append(f"The state of {name} could not be read: {one_line(error)}.")
    return found


def _device_restorer(device: torch.device) -> Callable[[], object]:
    if device.type == "cpu":
        state = torch.get_rng_state()
        return lambda: torch.set_rng_state(state)
    module: Any = torch.get_device_module(device)
    if device.type == "mps":
        # There is one MPS device, and its functions take no argument.
        state = module.get_rng_state()
        return lambda: module.set_rng_state(state)
    state = module.get_rng_state(device)
    return lambda: module.set_rng_state(state, device)


_IMMUTABLE = frozenset({type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size, type})
"""Classes whose values have no state; tested first, since most attributes are of one of them."""

_EMPTY_MOSTLY = (dict, OrderedDict, set)
"""Classes of the dozen containers, for hooks and children, that every module has and that mostly are empty."""
