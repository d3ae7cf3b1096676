"""What every layer of any network put out in one forward, as it was when the layer put it out.

A hook that keeps a reference to an output sees it change when a later operation works in place. So everything that a
forward leaves behind is checked after it: what was overwritten is remembered for this model, and the forward is run
again with copies of that, and only of that. The next runs of the same model take the copies at once, and are checked too.
"""

from __future__ import annotations

import difflib
import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from fmviz.allocator import keep_freed_memory
from fmviz.as_found import left_as_found
from fmviz.channels import why_not_spatial
from fmviz.errors import Cancelled, DeviceError, ForwardError, LayerError
from fmviz.failures import is_out_of_memory, layer_that_ran, one_line
from fmviz.layers import Layer
from fmviz.recording import Knowledge, Record, Recorder, not_compiled
from fmviz.structures import tensors_in, with_tensors
from fmviz.tokens import Elsewhere, Finder, Places, apart, as_maps, places_of

if TYPE_CHECKING:
    from fmviz.pictures import Picture
    from fmviz.preprocess import NetworkInput

__all__ = ["Activation", "Capture", "Layer", "capture_activations"]

ANOTHER_INPUT = ": try an input of another size or kind."
"""What to do where a network stopped that its user did not write."""

PATIENCE = 3
"""Runs that may each find something overwritten that the run before had not known; after these, all is copied."""


class Activation(msgspec.Struct, frozen=True, eq=False):
    """A tensor that a layer put out.

    Attributes:
        layer: which.
        kind: class name of the module.
        tensor: as it was when the layer put it out: its shape, the network's dtype and device, detached. Layers that pass
            a tensor on may share it; it shares no memory with the network's weights or the caller's input.
        places: where its values lie on the picture, where they are not 1 × channels × height × width, or nowhere on it.
    """

    layer: Layer
    kind: str
    tensor: Tensor
    places: Places | None = None

    @property
    def maps(self) -> Tensor:
        """`tensor` as maps, 1 × channels × height × width: a view of it where it can be. Ask `why_no_maps` first.

        All that draws takes the maps from here; `LayerError` with the reason where there are none.
        """
        if self.why_no_maps:
            raise LayerError(f"{self.layer} has no maps: {self.why_no_maps[0].lower()}{self.why_no_maps[1:]}")
        return as_maps(self.tensor, self.places)

    @property
    def why_no_maps(self) -> str:
        """A sentence on why it cannot be drawn as maps; "" where it can."""
        if isinstance(self.places, Elsewhere):
            return self.places.reason
        return why_not_spatial(as_maps(self.tensor, self.places))


class Capture(Mapping[Layer, Activation]):
    """All that one forward left behind, in the order in which it ran: a module comes after its children.

    Indexed by a `Layer` or by its text, "layer2.0.relu:2"; `LayerError` with the nearest names where there is none such.

    Attributes:
        output: what the forward returned, its tensors detached; None where it did not come to its end.
        seconds: how long the forward took, hooks included; without the runs that had to be made again.
        taps: the named maps of a backbone, "C3" -> the last call of that module. Empty for other networks.
        predictions: (class, probability), best first; empty without classes.
        input: what the network was fed, where fmviz made it from a picture.
        picture: that picture.
    """

    def __init__(
        self,
        activations: Iterable[Activation],
        *,
        output: object = None,
        seconds: float = 0.0,
        taps: Mapping[str, str] | None = None,
        predictions: Iterable[tuple[str, float]] = (),
        input: NetworkInput | None = None,
        picture: Picture | None = None,
    ) -> None:
        self._activations = {activation.layer: activation for activation in activations}
        self.output = output
        self.seconds = seconds
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
            taps=taps,
            predictions=predictions,
            input=input,
            picture=picture,
        )

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
            places = tokens(layer, tuple(tensor.shape)) or activation.places
            yield Activation(layer, activation.kind, tensor, places)
            # Beside every layer norm and activation function they would only make the list twice as long.
            if layer.path in containers:
                for apart_layer, token in apart(layer, tensor, places):
                    yield Activation(apart_layer, activation.kind, token)

    def _find(self, key: Layer | str) -> Layer | None:
        if isinstance(key, str):
            # A module's name may itself end in ":2" or "[0]", so what was printed goes before what it parses to.
            key = self._by_text.get(key) or Layer.parse(key)
        return key if key in self._activations else None

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
    """Run `model(*args, **kwargs)` and keep what every call of every module puts out.

    The forward runs in eval mode, without gradients and without torch.compile. It gets copies of the input tensors, and
    leaves the model as it was found: modes, hooks, buffers. It may run more than once, most of all the first time that a
    model is seen; each run starts from the same random numbers, and the generators are afterwards where they were before.
    With glibc, the process keeps what is freed for the next capture from then on (`malloc_trim` gives it back), unless its
    environment says how the allocator is to work (MALLOC_TRIM_THRESHOLD_ and the like, GLIBC_TUNABLES).

    Args:
        model: any module; hooks that it has already run first, and what they make of an output is what is captured.
        args, kwargs: what its forward takes. Tensors in tuples, lists, mappings and dataclasses are copied as well.
        keep: which layers to hold; all where None. The others cost no memory.
        cancelled: asked before the forward and after each layer; when it says True, `Cancelled` is raised.

    Raises:
        ForwardError: the model raised, or no layer could be seen; `capture` holds what had run by then.
        DeviceError: out of memory; nothing is kept.
        Cancelled: asked for by `cancelled`.

    Example:
        >>> block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
        >>> capture = capture_activations(block, torch.zeros(1, 3, 8, 8))
        >>> [str(layer) for layer in capture]
        ['0', '1', '(output)']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"a model is a torch.nn.Module and not a {type(model).__name__}")
    keep_freed_memory()
    knowledge = _KNOWLEDGE.setdefault(model, Knowledge())
    failures = 0
    while True:
        recorder = Recorder(model, knowledge, copy_all=failures >= PATIENCE, keep=keep, cancelled=cancelled)
        outcome = _forward(model, recorder, args, kwargs)
        if outcome.out_of_memory:
            # Raised here and not where it was caught: there the traceback would keep the tensors alive.
            raise DeviceError(outcome.out_of_memory)
        if recorder.learn():
            return _finished(model, recorder, outcome, (args, kwargs))
        failures += 1


_KNOWLEDGE: weakref.WeakKeyDictionary[nn.Module, Knowledge] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a forward ended: `error` is what the model raised, `out_of_memory` the sentence that says so."""

    output: object = None
    seconds: float = 0.0
    error: BaseException | None = None
    out_of_memory: str = ""


def _forward(model: nn.Module, recorder: Recorder, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Outcome:
    """One forward on copies of the inputs, so that it can be made again from the same beginning."""
    devices = recorder.devices | {tensor.device for _, tensor in tensors_in((args, kwargs)) if not tensor.is_meta}
    try:
        with left_as_found([module for _, module in recorder.modules], devices), recorder.watching(), not_compiled():
            own_args, own_kwargs = with_tensors((args, kwargs), lambda tensor: tensor.detach().clone())
            recorder.stop_if_cancelled()
            start = time.perf_counter()
            output = model(*own_args, **own_kwargs)
            _wait_for(devices)
            seconds = time.perf_counter() - start
    except KeyboardInterrupt:
        raise
    # A model that calls `sys.exit` ends its forward, not the program that looks at it.
    except BaseException as error:
        if is_out_of_memory(error):
            recorder.forget()
            return _Outcome(out_of_memory=_memory_words(layer_that_ran(model, error), devices))
        if not recorder.cancelled:
            return _Outcome(error=error)
    # Out here nothing hangs on to the tensors of what was broken off.
    if recorder.cancelled:
        recorder.forget()
        raise Cancelled
    return _Outcome(with_tensors(output, Tensor.detach), seconds)


def _remedy(given: tuple[tuple[Any, ...], dict[str, Any]]) -> str:
    """What to do about a forward that raised."""
    inputs = (*given[0], *given[1].values())
    if not inputs or next(iter(tensors_in(given)), None) is not None:
        return ANOTHER_INPUT
    kind = type(inputs[0])
    if not issubclass(kind, str | os.PathLike | np.ndarray) and kind.__module__.partition(".")[0] != "PIL":
        # What the network is made for, maybe.
        return ANOTHER_INPUT
    return (
        f": its input is a {kind.__name__} and not a tensor; `fmviz.Session` runs pictures, arrays and paths to files."
    )


def _finished(model: nn.Module, recorder: Recorder, outcome: _Outcome, given: tuple[Any, Any]) -> Capture:
    input_size = _input_size(given)
    activations = [
        Activation(layer, record.kind, record.tensor, _places(layer, record, input_size))
        for layer, record in recorder.records().items()
    ]
    capture = Capture(activations, output=outcome.output, seconds=outcome.seconds)
    if outcome.error is not None:
        called = recorder.hooks_called
        before = "call" if called == 1 else f"{called} calls"
        kept = f"what the {before} before it put out is kept" if called else "no layer had put out anything by then"
        raise ForwardError(
            f"The network stopped in {layer_that_ran(model, outcome.error)} with {one_line(outcome.error)}; "
            f"{kept}{_remedy(given)}",
            capture,
        ) from outcome.error
    if not recorder.hooks_called:
        raise ForwardError(
            f"No layer of this {type(model).__name__} could be seen, because it does not call the hooks of its modules: "
            "give the plain module that it was made from.",
            capture,
        )
    return capture


def _input_size(given: object) -> tuple[int, int] | None:
    """(height, width) of the first picture that a network was given, in a batch of one or without one; None for no picture."""
    sizes = ((t.shape[-2], t.shape[-1]) for _, t in tensors_in(given) if t.dim() in (3, 4))
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
