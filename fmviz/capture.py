"""Capture the output of every layer during one forward pass, unaffected by later in-place operations."""

from __future__ import annotations

import difflib
import inspect
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from fmviz.allocator import keep_freed_memory
from fmviz.as_found import inputs_protected, left_as_found
from fmviz.channels import shape_of, why_not_spatial
from fmviz.errors import Cancelled, DeviceError, ForwardError, LayerError
from fmviz.failures import is_out_of_memory, layer_that_ran, one_line
from fmviz.layers import ROOT, Layer
from fmviz.recording import Record, Recorder, not_compiled
from fmviz.structures import tensors_in, with_tensors
from fmviz.tokens import Elsewhere, Finder, Places, apart, as_maps, places_of

if TYPE_CHECKING:
    from fmviz.pictures import Picture
    from fmviz.preprocess import NetworkInput

__all__ = ["Activation", "Capture", "Layer", "capture_activations"]

ANOTHER_INPUT = ": try an input of another size or kind."
"""What to do where a network stopped that its user did not write."""


class Activation(msgspec.Struct, frozen=True, eq=False):
    """One tensor output by a layer.

    Attributes:
        layer: The layer that output it.
        kind: Class name of the module.
        tensor: Its value at the time of output: detached, in the network's dtype, on its device. An `nn.Sequential` may share
            it with its last child; it never shares memory with the weights, the caller's input or another capture.
        places: How values map to cells of the picture, if the tensor is not 1 × channels × height × width.
    """

    layer: Layer
    kind: str
    tensor: Tensor
    places: Places | None = None

    @property
    def maps(self) -> Tensor:
        """Return the activation as maps, shape (1, channels, height, width), without copying where possible.

        Quantized values are converted to float32.

        Raises:
            LayerError: The activation has no maps; `why_no_maps` gives the reason.
        """
        if self.why_no_maps:
            raise LayerError(f"{self.layer} has no maps: {self.why_no_maps[0].lower()}{self.why_no_maps[1:]}")
        maps = as_maps(self.tensor, self.places)
        return maps.dequantize() if maps.is_quantized else maps

    @property
    def why_no_maps(self) -> str:
        """One sentence on why the activation cannot be shown as maps; "" if it can."""
        if isinstance(self.places, Elsewhere):
            return self.places.reason
        if why := why_not_spatial(self.tensor if self.places is None else as_maps(self.tensor, self.places)):
            return why
        if not self.tensor.numel():
            return f"It is empty: its shape is {' × '.join(map(str, self.tensor.shape))}."
        return ""


class Capture(Mapping[Layer, Activation]):
    """The activations of one forward pass, in the order in which the layers ended: a module comes after its children.

    Indexed by a `Layer` or by its text, "layer2.0.relu:2"; a tensor in an attribute of an output, "body[tensors]", is found by
    "body.tensors" as well. An unknown layer raises `LayerError` with the nearest names.

    Attributes:
        output: What the forward returned, with copies of its tensors; None if the forward did not end. A container that
            cannot be built anew is the network's own, with the network's tensors.
        seconds: Duration of the forward, hooks included.
        omitted: Why outputs are not in the capture: name of the layer -> one sentence. Empty for most networks.
        problems: One sentence for each thing in the model that could not be restored after the forward.
        taps: the named maps of a backbone, "C3" -> the last call of that module. Empty for other networks.
        predictions: (class, probability), best first; empty without classes.
        input: The network input, if fmviz made it from a picture.
        picture: that picture.
    """

    def __init__(
        self,
        activations: Iterable[Activation],
        *,
        output: object = None,
        seconds: float = 0.0,
        omitted: Mapping[str, str] | None = None,
        problems: Iterable[str] = (),
        taps: Mapping[str, str] | None = None,
        predictions: Iterable[tuple[str, float]] = (),
        input: NetworkInput | None = None,
        picture: Picture | None = None,
    ) -> None:
        self._activations = {activation.layer: activation for activation in activations}
        self.output = output
        self.seconds = seconds
        self.omitted: Mapping[str, str] = MappingProxyType(dict(omitted or {}))
        self.problems = tuple(problems)
        self.taps: Mapping[str, Activation] = MappingProxyType(_Taps(self._tapped(taps or {})))
        self.predictions = list(predictions)
        self.input = input
        self.picture = picture

    def annotated(
        self,
        *,
        taps: Mapping[str, str],
        predictions: Iterable[tuple[str, float]] = (),
        input: NetworkInput | None = None,
        picture: Picture | None = None,
        tokens: Finder | None = None,
    ) -> Capture:
        """The same activations, with what only the caller of the network knows.

        Args:
            taps: name -> path of the module; those whose layers were not kept are left out.
            tokens: where the values of its layers lie. Tokens that stand for no cell of a grid become layers of their own
                beside those of modules that contain others: "encoder[class token]".
        """
        return Capture(
            self._activations.values() if tokens is None else self._placed(tokens),
            output=self.output,
            seconds=self.seconds,
            omitted=self.omitted,
            problems=self.problems,
            taps=taps,
            predictions=predictions,
            input=input,
            picture=picture,
        )

    def notes(self, most: int | None = None) -> tuple[str, ...]:
        """Return `omitted` and `problems` as sentences.

        Args:
            most: Number of sentences on omitted outputs; the last one then counts the others.
        """
        omitted = list(self.omitted.values())
        if most is not None and len(omitted) > most:
            omitted[most - 1 :] = [f"{len(omitted) - most + 1} more outputs were left out, see `Capture.omitted`."]
        return (*omitted, *self.problems)

    @property
    def nbytes(self) -> int:
        """The memory that its tensors hold; what several of them share is counted once."""
        dense, other = {}, 0
        for activation in self._activations.values():
            tensor = activation.tensor
            if tensor.layout == torch.strided and not tensor.is_nested:
                storage = tensor.untyped_storage()
                dense[storage._cdata] = storage.nbytes()
            else:
                other += tensor._nnz() * tensor.element_size() if tensor.is_sparse else 0
        return sum(dense.values()) + other

    def __getitem__(self, key: Layer | str) -> Activation:
        layer = self._find(key)
        if layer is None:
            raise LayerError(self._unknown(str(key)))
        return self._activations[layer]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, Layer | str) and self._find(key) is not None

    def get(self, key: Layer | str, default: Any = None) -> Any:
        layer = self._find(key)
        return default if layer is None else self._activations[layer]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._activations)

    def __len__(self) -> int:
        return len(self._activations)

    def __repr__(self) -> str:
        return f"<Capture of {len(self)} layers, {self.nbytes / 1e6:.1f} MB>"

    @cached_property
    def _by_text(self) -> dict[str, Layer]:
        return {str(layer): layer for layer in self._activations}

    def _placed(self, tokens: Finder) -> Iterator[Activation]:
        containers = {path.rpartition(".")[0] for path in (layer.path for layer in self._activations) if path}
        for activation in self._activations.values():
            layer, tensor = activation.layer, activation.tensor
            places = tokens(layer, shape_of(tensor)) or activation.places
            yield Activation(layer, activation.kind, tensor, places)
            # Beside every layer norm and activation function they would only make the list twice as long.
            if layer.path in containers:
                for apart_layer, token in apart(layer, tensor, places):
                    yield Activation(apart_layer, activation.kind, token)

    def _find(self, key: Layer | str) -> Layer | None:
        if isinstance(key, str):
            # A module's name may itself end in ":2" or "[0]": look for the printed name before parsing it.
            key = self._by_text.get(key) or self._attribute(key) or Layer.parse(key)
        return key if key in self._activations else None

    def _attribute(self, text: str) -> Layer | None:
        """The layer of "body.tensors", the attribute `tensors` of the object that `body` returned."""
        path, _, name = text.rpartition(".")
        return self._by_text.get(f"{path or ROOT}[{name}]") if name else None

    def _unknown(self, text: str) -> str:
        if not self._activations:
            return f"There is no layer “{text}”: the capture holds none; run again with layers to keep."
        inside = [name for name in self._by_text if name.startswith((f"{text}[", f"{text}:"))][:3]
        close = inside or difflib.get_close_matches(text, self._by_text, n=3, cutoff=0.4) or list(self._by_text)[:3]
        return f"There is no layer “{text}” in this capture: did you mean {' or '.join(close)}?"

    def _tapped(self, taps: Mapping[str, str]) -> dict[str, Activation]:
        last = {(layer.path, layer.item): activation for layer, activation in self._activations.items()}
        places = {name: Layer.parse(path) for name, path in taps.items()}
        return {
            name: last[place.path, place.item] for name, place in places.items() if (place.path, place.item) in last
        }


class _Taps(dict[str, Activation]):
    def __missing__(self, name: str) -> Activation:
        there = f"choose from {', '.join(self)}" if self else "the network has none, or none was kept"
        raise LayerError(f"There is no tap “{name}” in this capture: {there}.")


def capture_activations(
    model: nn.Module,
    *args: Any,
    keep: Callable[[Layer], bool] | None = None,
    cancelled: Callable[[], bool] | None = None,
    **kwargs: Any,
) -> Capture:
    """Run `model(*args, **kwargs)` once and capture the output of every call of every module.

    The forward runs in eval mode, without gradients and without torch.compile, on copies of the input tensors, from the present
    state of all random generators. The model and the generators are left as they were found, see `fmviz.as_found`. Outputs are
    copied in the hook, so that no later operation changes them; only fmviz's own networks, which work out of place, are
    captured by reference. With glibc, the process keeps freed memory for the next capture from then on (`malloc_trim` gives
    it back), unless its environment configures the allocator (MALLOC_TRIM_THRESHOLD_ and the like, GLIBC_TUNABLES).

    Args:
        model: Any module; hooks that it already has run first, and their results are captured.
        *args: Positional arguments of its forward. Tensors in containers that can be built anew are copied; those in other
            objects are restored after the forward.
        keep: Which layers to hold; all if None. The others cost no memory.
        cancelled: Asked before the forward and after each layer; when it returns True, `Cancelled` is raised.
        **kwargs: Keyword arguments of its forward.

    Returns:
        The capture. Its `omitted` names every output that is missing, with the reason.

    Raises:
        ForwardError: The model raised, or no layer could be seen; `capture` holds the layers up to there.
        DeviceError: Out of memory; nothing is kept.
        Cancelled: `cancelled` returned True.
        TypeError: `model` is not a module, or `keep` is not a function.

    Example:
        >>> block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
        >>> capture = capture_activations(block, torch.zeros(1, 3, 8, 8))
        >>> [str(layer) for layer in capture]
        ['0', '1', '(output)']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"a model is a torch.nn.Module and not a {type(model).__name__}")
    if keep is not None and not callable(keep):
        raise TypeError(f"keep is a function from a Layer to True or False and not {keep!r}")
    if isinstance(model, torch.jit.ScriptModule):
        raise ForwardError(
            f"No layer of this {type(model).__name__} can be seen, because TorchScript runs without the hooks of its modules: "
            "give the plain module that it was made from.",
            Capture(()),
        )
    keep_freed_memory()
    recorder = Recorder(model, keep=keep, cancelled=cancelled)
    outcome = _forward(model, recorder, args, kwargs)
    # Raised here and not where it was caught: there the traceback would keep the tensors alive.
    if outcome.out_of_memory:
        raise DeviceError(outcome.out_of_memory)
    return _finished(model, recorder, outcome, (args, kwargs))


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a forward ended: `error` is the model's exception, `out_of_memory` the sentence about missing memory."""

    output: object = None
    seconds: float = 0.0
    error: BaseException | None = None
    out_of_memory: str = ""
    problems: list[str] = field(default_factory=list)


def _forward(model: nn.Module, recorder: Recorder, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Outcome:
    """Run the forward on copies of the inputs."""
    inputs = (args, kwargs)
    devices = recorder.devices | {tensor.device for tensor in _tensors_of(inputs) if not tensor.is_meta}
    problems: list[str] = []
    state = left_as_found(recorder.modules, devices, only_modes=not recorder.in_place)
    output: object = None
    seconds = 0.0
    error: BaseException | None = None
    try:
        with (
            state as problems,
            inputs_protected(inputs, problems) as (own_args, own_kwargs),
            recorder.watching(),
            not_compiled(),
        ):
            recorder.stop_if_cancelled()
            start = time.perf_counter()
            output = model(*own_args, **own_kwargs)
            _wait_for(devices)
            seconds = time.perf_counter() - start
            output = _own_output(output, recorder, problems)
    except KeyboardInterrupt:
        raise
    # A model that calls `sys.exit` ends its forward, not the program that captures it.
    except BaseException as raised:
        if is_out_of_memory(raised):
            recorder.forget()
            return _Outcome(out_of_memory=_memory_words(layer_that_ran(model, raised), devices))
        if recorder.failure is None and not recorder.cancelled:
            error = raised
    # Out here nothing holds the tensors of a forward that was stopped.
    if recorder.failure is not None or recorder.cancelled:
        recorder.forget()
        raise recorder.failure or Cancelled
    return _Outcome(output, seconds, error, problems=problems)


def _own_output(output: object, recorder: Recorder, problems: list[str]) -> object:
    """Return the output with the captured copies of its tensors, so that the model's next forward cannot change it."""
    if not recorder.in_place:
        return with_tensors(output, Tensor.detach)
    try:
        return with_tensors(output, lambda tensor: found if (found := recorder.copy(tensor)) is not None else tensor)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        problems.append(f"The output of the network could not be copied and is the network's own: {one_line(error)}.")
        return output


def _remedy(model: nn.Module, given: tuple[tuple[Any, ...], dict[str, Any]]) -> str:
    """What to do about a forward that raised."""
    if any(tensor.is_meta for part in (model.parameters(), model.buffers()) for tensor in part):
        return ": parameters on the meta device have no values, so load weights first; the layer table needs none."
    if wanted := _other_arguments(model, given):
        return (
            f": its forward takes {wanted}, so pass all of them to `capture_activations`, or wrap it in a module whose "
            "forward takes one picture."
        )
    inputs = (*given[0], *given[1].values())
    if not inputs or _tensors_of(given):
        return ANOTHER_INPUT
    kind = type(inputs[0])
    if not issubclass(kind, str | os.PathLike | np.ndarray) and kind.__module__.partition(".")[0] != "PIL":
        # The network may be made for it.
        return ANOTHER_INPUT
    return (
        f": its input is a {kind.__name__} and not a tensor; `fmviz.Session` runs pictures, arrays and paths to files."
    )


def _other_arguments(model: nn.Module, given: tuple[tuple[Any, ...], dict[str, Any]]) -> str:
    """The arguments of the model's forward, "(x, mask)", if those that it was given do not fit; else ""."""
    try:
        signature = inspect.signature(model.forward)
    # Of a forward that is not written in Python.
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*given[0], **given[1])
    except TypeError:
        return f"({', '.join(map(str, signature.replace(return_annotation=inspect.Signature.empty).parameters))})"
    return ""


def _finished(model: nn.Module, recorder: Recorder, outcome: _Outcome, given: tuple[Any, Any]) -> Capture:
    input_size = _input_size(given)
    activations = [
        Activation(layer, record.kind, record.tensor, _places(layer, record, input_size))
        for layer, record in recorder.records().items()
    ]
    omitted = recorder.omitted
    capture = Capture(
        activations, output=outcome.output, seconds=outcome.seconds, omitted=omitted, problems=outcome.problems
    )
    if outcome.error is not None:
        called = recorder.hooks_called
        before = "the call" if called == 1 else f"the {called} calls"
        kept = f"the outputs of {before} before it are kept" if called else "no layer had run by then"
        raise ForwardError(
            f"The network stopped in {layer_that_ran(model, outcome.error)} with {one_line(outcome.error)}; "
            f"{kept}{_remedy(model, given)}",
            capture,
        ) from outcome.error
    if not recorder.hooks_called:
        raise ForwardError(
            f"No layer of this {type(model).__name__} could be seen, because it does not call the hooks of its modules: "
            "give the plain module that it was made from.",
            capture,
        )
    return capture


def _tensors_of(inputs: object) -> list[Tensor]:
    """The tensors in the inputs; none if a container of another author's class raises when it is walked."""
    try:
        return [tensor for _, tensor in tensors_in(inputs)]
    except Exception:
        return []


def _input_size(given: object) -> tuple[int, int] | None:
    """Return (height, width) of the first picture in the inputs, with or without a batch axis; None without a picture."""
    sizes = ((t.shape[-2], t.shape[-1]) for t in _tensors_of(given) if not t.is_nested and t.dim() in (3, 4))
    return next(sizes, None)


def _places(layer: Layer, record: Record, input_size: tuple[int, int] | None) -> Places | None:
    if not record.channels_last:
        return None
    shape = tuple(record.tensor.shape)
    return places_of(layer, shape, channels_last=record.channels_last, input_size=input_size, finder=None)


def _wait_for(devices: set[torch.device]) -> None:
    for device in devices:
        if device.type != "cpu":
            torch.accelerator.synchronize(device)


def _memory_words(where: str, devices: set[torch.device]) -> str:
    device = next((device for device in devices if device.type != "cpu"), torch.device("cpu"))
    return (
        f"There was not enough memory on {device} in {where}: "
        "choose a smaller input, keep fewer layers, or run on another device."
    )
