"""How long each module of a network takes: hooks around every call, some rounds to warm up, and the median of the others."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fmviz.as_found import inputs_protected, left_as_found
from fmviz.devices import device_words
from fmviz.errors import DeviceError, ForwardError
from fmviz.failures import is_out_of_memory, layer_that_ran, one_line
from fmviz.recording import Recorder, not_compiled
from fmviz.structures import tensors_in

WARM_UP = 2
"""Rounds that do not count: memory is touched for the first time, and libraries choose their ways."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians over the rounds, in seconds.

    Attributes:
        seconds: by path, of all calls of a module in a forward, with the modules that it calls; "" is the whole network.
            Modules that are never called are not there.
        own: the same without the modules that it calls.
        rounds: how many counted.
        device: on which, in words.
    """

    seconds: Mapping[str, float]
    own: Mapping[str, float]
    rounds: int
    device: str

    @property
    def total(self) -> float:
        """Of the whole forward, with the hooks that measure it."""
        return self.seconds[""]

    def share(self, path: str) -> float:
        """Of the whole, from 0 to 1; 0 of a module that is never called."""
        return self.seconds.get(path, 0.0) / self.total if self.total else 0.0


def time_layers(
    model: nn.Module,
    *args: Any,
    rounds: int = 11,
    cancelled: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    **kwargs: Any,
) -> Timing:
    """Run `model(*args, **kwargs)` some times, and measure each call of each module.

    In eval mode, without gradients and without torch.compile, on the device where the model is; the model is left as it was
    found. On CUDA the device's own clock is read, which waits for nothing in between; on other accelerators every call is
    waited for, which costs them their overlap.

    Args:
        rounds: how many count, 1 or more; `WARM_UP` more go before them.
        cancelled: asked before each round and after each layer; when it says True, `Cancelled` is raised.
        progress: told after each round how many of how many are done.

    Raises:
        ForwardError: the model raised. DeviceError: out of memory. Cancelled.
    """
    recorder = Recorder(model, keep=lambda layer: False, cancelled=cancelled)
    devices = recorder.devices | {tensor.device for _, tensor in tensors_in((args, kwargs))}
    device = next((one for one in sorted(devices, key=str) if one.type != "cpu"), torch.device("cpu"))
    found: list[dict[str, tuple[float, float]]] = []
    problem: Exception | None = None
    try:
        with left_as_found(recorder.modules, devices, only_modes=not recorder.in_place), not_compiled():
            for number in range(WARM_UP + max(rounds, 1)):
                recorder.stop_if_cancelled()
                clock = _Clock(device)
                with (
                    inputs_protected((args, kwargs), []) as (own_args, own_kwargs),
                    clock.watching(model, recorder.stop_if_cancelled),
                ):
                    model(*own_args, **own_kwargs)
                found.append(clock.sums())
                progress(number + 1, WARM_UP + max(rounds, 1))
    except Exception as error:
        if recorder.cancelled:
            raise
        problem = error
    if problem is not None:
        where = layer_that_ran(model, problem)
        if is_out_of_memory(problem):
            raise DeviceError(
                f"There was not enough memory on {device} in {where}: choose a smaller input."
            ) from problem
        raise ForwardError(f"The network stopped in {where} with {one_line(problem)}: try another input.") from problem
    counted = found[WARM_UP:]
    return Timing(
        seconds={path: statistics.median(one[path][0] for one in counted) for path in counted[0]},
        own={path: statistics.median(one[path][1] for one in counted) for path in counted[0]},
        rounds=len(counted),
        device=device_words(device),
    )


@dataclass(slots=True)
class _Span:
    """One call: when it began and ended, by the clock's marks, and the place of the call that it was made in."""

    path: str
    caller: int | None
    begin: Any
    end: Any = None


class _Clock:
    """The spans of one forward."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._spans: list[_Span] = []
        self._running: list[int] = []

    @contextmanager
    def watching(self, model: nn.Module, stop_if_cancelled: Callable[[], None]) -> Iterator[None]:
        """Hooks on every module of `model`, the whole network too."""
        handles = []
        try:
            for path, module in model.named_modules():
                handles.append(module.register_forward_pre_hook(self._beginning(path), prepend=True))
                handles.append(module.register_forward_hook(self._ending(stop_if_cancelled)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _beginning(self, path: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, args: Any) -> None:
            self._spans.append(_Span(path, self._running[-1] if self._running else None, None))
            self._running.append(len(self._spans) - 1)
            self._spans[-1].begin = self._mark()

        return hook

    def _ending(self, stop_if_cancelled: Callable[[], None]) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            mark = self._mark()
            self._spans[self._running.pop()].end = mark
            stop_if_cancelled()

        return hook

    def _mark(self) -> Any:
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            return event
        if self._device.type != "cpu":
            torch.accelerator.synchronize(self._device)
        return time.perf_counter()

    def sums(self) -> dict[str, tuple[float, float]]:
        """By path: seconds of all calls of a module, with those that it calls and without."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        lengths = [_between(span.begin, span.end) for span in self._spans]
        found: dict[str, tuple[float, float]] = {}
        for place, (span, seconds) in enumerate(zip(self._spans, lengths, strict=True)):
            whole, own = found.get(span.path, (0.0, 0.0))
            found[span.path] = (whole + seconds, own + seconds)
            if span.caller is not None:
                caller = self._spans[span.caller].path
                found[caller] = (found[caller][0], found[caller][1] - lengths[place])
        return found


def _between(begin: Any, end: Any) -> float:
    return float(begin.elapsed_time(end)) / 1000 if isinstance(begin, torch.cuda.Event) else float(end - begin)
