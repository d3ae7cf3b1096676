"""Why a layer table could not be measured, with the remedy that fits the cause."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Iterator

from torch import nn

from fmviz.channel_inference import Misfit, Want, first_misfit, runs
from fmviz.failures import is_out_of_memory, one_line
from fmviz.table_input import Shape, TableInput

_SIDES = (32, 28, 64, 96, 128, 224, 227, 256, 299, 384, 448, 512, 1024)
"""Sides of pictures that networks are often made for, tried where a network fails at another."""

_SEARCH_SECONDS = 4.0
"""A search for a size that works stops after this time: the message is needed sooner than the best advice."""

_OTHER_INPUTS = "if it takes another input than one picture, give that as input_shape or example_input"

_VALUES = re.compile(r"(?<![a-z])meta(?![a-z])|data.(in)?dependent|no data|fake impl", re.IGNORECASE)

_VALUE_ERRORS = ("DataDependentOutputException", "DynamicOutputShapeException", "GuardOnDataDependentSymNode")


def needs_values(error: BaseException) -> bool:
    """Whether a forward on the meta device raised it because there are no values."""
    return type(error).__name__ in _VALUE_ERRORS or bool(_VALUES.search(str(error)))


def signature_fault(name: str, network: nn.Module, given: TableInput, *, example: bool) -> str:
    """A sentence if `forward` cannot be called with these arguments; "" if it can, or if nobody knows.

    Args:
        example: Whether the caller chose the arguments.
    """
    if getattr(type(network), "forward", None) is nn.Module.forward and "forward" not in vars(network):
        return f"{name} has no forward of its own: give the module that calls it, or put its layers into a Sequential."
    try:
        signature = inspect.signature(network.forward)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*given.positional(), **given.kwargs)
    except TypeError as error:
        return _takes(
            name, signature, f"and example_input does not fit ({error})" if example else "and not one picture alone"
        )
    return ""


def _takes(name: str, signature: inspect.Signature, why: str) -> str:
    needed = [one for one in signature.parameters.values() if one.default is one.empty and one.kind not in _ANY_NUMBER]
    positional = [one.name for one in needed if one.kind is not inspect.Parameter.KEYWORD_ONLY]
    keywords = [one.name for one in needed if one.kind is inspect.Parameter.KEYWORD_ONLY]
    if not needed:
        return f"{name} takes no arguments, or only optional ones by their names, {why}: give them as example_input."
    words = " and ".join(filter(None, (", ".join((positional + keywords)[:-1]), (positional + keywords)[-1])))
    count = f"{len(needed)} argument{'s' if len(needed) > 1 else ''}"
    by_name = ", ".join(f'"{one}": …' for one in keywords)
    in_order = f"({', '.join(positional)}{',' if len(positional) == 1 else ''})"
    form = f"{{{by_name}}}" if not positional else f"({in_order}, {{{by_name}}})" if keywords else in_order
    only = " by keyword" if not positional else ""
    return f"{name} takes {count}{only}, {words}, {why}: give example_input={form}."


_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def misfit_sentence(name: str, misfit: Misfit, given: TableInput) -> str:
    """Say what the layer takes, and in which form to give it."""
    want, got = misfit.want, " × ".join(map(str, misfit.shape))
    start = f"{name} could not be measured with an input of {given.shapes}, since {misfit.layer}"
    if want.integers:
        return f"{start} takes whole numbers, such as token ids: give them as example_input."
    if misfit.of_channels:
        what = f"{want.number} channels" if want.axis != -1 else f"{want.number} values on the last axis"
        remedy = "channels or input_shape" if want.axis != -1 else "input_shape"
        return f"{start} takes {what} and got {got}: give the shape of the input as {remedy}."
    axes = " or ".join(map(str, want.ranks))
    return f"{start} takes an input of {axes} axes and got {got}: give input_shape={_form(want)}."


def _form(want: Want) -> str:
    """The shape that it takes, without the batch axis."""
    if want.ranks == (1, 2):
        return f"({want.number},)"
    if want.axis == -1:
        return f"(length, {want.number})"
    return f"({want.number}, {', '.join(_AXES[min(max(want.ranks) - 2, 3)])})"


_AXES = ((), ("length",), ("height", "width"), ("depth", "height", "width"))


def failure_sentence(
    name: str,
    fresh: Callable[[], nn.Module],
    given: TableInput,
    error: BaseException,
    where: str,
    resized: Callable[[Shape], TableInput] | None,
    shape: Shape,
) -> str:
    """Say why a forward raised, and what to do.

    Args:
        fresh: Makes the network anew, on the meta device.
        where: The layer that ran, in words.
        resized: Makes an input of another shape; None if the caller chose all of it.
        shape: The input's shape, without the batch axis.
    """
    at = f"at {given.size[0]} × {given.size[1]} pixels" if given.size else f"with an input of {given.shapes}"
    start = f"{name} could not be measured {at}, since {where}"
    if is_out_of_memory(error):
        return f"{start} stopped with {one_line(error)}; choose a smaller size."
    if needs_values(error):
        return (
            f"{start} needs values, which a layer table does without ({one_line(error)}): run a picture through the "
            "network instead, and read the shapes off its layers."
        )
    misfit = _misfit(fresh, given)
    if misfit is not None and not isinstance(error, TypeError):
        remedy = _size_remedy(fresh, resized, shape) if misfit.of_channels and resized else ""
        return f"{start} stopped with {one_line(error)}; {remedy}." if remedy else misfit_sentence(name, misfit, given)
    return f"{start} stopped with {one_line(error)}; {_remedy(fresh, error, resized, shape)}."


def _misfit(fresh: Callable[[], nn.Module], given: TableInput) -> Misfit | None:
    try:
        return first_misfit(fresh(), given)
    except (Exception, SystemExit):
        return None


def _remedy(
    fresh: Callable[[], nn.Module], error: BaseException, resized: Callable[[Shape], TableInput] | None, shape: Shape
) -> str:
    if isinstance(error, TypeError | AttributeError | NameError | ImportError):
        return _OTHER_INPUTS
    return (_size_remedy(fresh, resized, shape) if resized else "") or (
        _OTHER_INPUTS if resized else "give another example_input"
    )


def _size_remedy(fresh: Callable[[], nn.Module], resized: Callable[[Shape], TableInput] | None, shape: Shape) -> str:
    """Advise a size at which a forward runs; "" if none of those tried does, for then the size is not the cause."""
    if resized is None or len(shape) < 2:
        return ""
    until = time.monotonic() + _SEARCH_SECONDS
    for kind, sides in _other_sides(shape[1:]):
        if runs(fresh(), resized((shape[0], *sides))):
            if len(sides) == 2:
                return f"choose {kind} size, such as {sides[0]} × {sides[1]}"
            return f"choose {kind} input_shape, such as {(shape[0], *sides)}"
        if time.monotonic() > until:
            break
    return ""


def _other_sides(sides: Shape) -> Iterator[tuple[str, Shape]]:
    for factor in (2, 4, 8, 16, 32):
        if max(sides) * factor <= 1 << 11:
            yield "a larger", tuple(side * factor for side in sides)
    for side in _SIDES:
        if side not in sides:
            yield ("a larger" if side > max(sides) else "another"), (side,) * len(sides)
