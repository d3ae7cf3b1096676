"""Where the stages of any network are: C2–C5, found by the strides of its maps and not by their names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fmviz.layers import Layer
from fmviz.recording import not_compiled
from fmviz.shapes import ShapesOnly
from fmviz.structures import tensors_in
from fmviz.tokens import Elsewhere, Finder, Layouts, Places, as_maps, lies_on, places_of

STAGES = {4: "C2", 8: "C3", 16: "C4", 32: "C5"}
LEVELS = {4: "P2", 8: "P3", 16: "P4", 32: "P5", 64: "P6"}


def find_stages(
    build: Callable[[], nn.Module],
    arguments: Callable[[Tensor], tuple[Any, ...]],
    size: tuple[int, int],
    *,
    inside: str = "",
    outside: str = "",
    pyramid: str = "",
    finder: Finder | None = None,
) -> dict[str, str]:
    """C2–C5, and P2–P6 of a pyramid -> path of the module that puts it out, by one forward on the meta device.

    A stage is what the last layer of the main path puts out before the stride changes: the outermost module whose output it
    is. What lies in a block that begins at one stride and ends at the next is no stage. Where the stride is no power of
    two, since the patches are of 14 pixels or the convolutions pad nothing, the nearest one counts.

    A level of the pyramid that no module of its own makes is an item of what the pyramid puts out: "backbone.fpn[pool]".

    Args:
        build: the network, on the ambient device.
        arguments: what its forward is called with, from a (1, 3, h, w) tensor.
        size: (height, width) of the input. One with unlike sides tells maps of the picture from others.
        inside: only modules within the one at this path.
        outside: no modules within the one at this path, nor itself.
        pyramid: path of the feature pyramid, where there is one.
        finder: what the network knows of where its tokens lie, at this size.
    """
    outputs = _outputs(build, arguments, size, finder)
    mine = [
        output
        for output in outputs
        if (not inside or output.path.startswith(f"{inside}."))
        and not (outside and f"{output.path}.".startswith(f"{outside}."))
        # What has several outputs has no path of its own for each.
        and "[" not in output.path
    ]
    by_path = {output.path: output for output in outputs}
    found = {_stage(output.stride): output.path for output in mine if _on_the_main_path(output, by_path)}
    stages = {name: found[stride] for stride, name in STAGES.items() if stride in found}
    return stages | _levels(outputs, pyramid) if pyramid else stages


def _levels(outputs: list[_Output], pyramid: str) -> dict[str, str]:
    items = {_stage(output.stride): output.path for output in outputs if output.path.startswith(f"{pyramid}[")}
    within = (output for output in outputs if output.path.startswith(f"{pyramid}.") and "[" not in output.path)
    modules = {_stage(output.stride): output.path for output in within}
    # Its modules may make maps that it keeps to itself.
    found = {stride: modules.get(stride, path) for stride, path in items.items()}
    return {name: found[stride] for stride, name in LEVELS.items() if stride in found}


@dataclass(frozen=True, slots=True, eq=False)
class _Output:
    """A tensor that the first call of a module put out: the stride of its map, and of the one that it was given; 0 for no map.

    `path` is the module's, followed by the item where the output has several.
    """

    path: str
    stride: float
    given: float


def _outputs(
    build: Callable[[], nn.Module],
    arguments: Callable[[Tensor], tuple[Any, ...]],
    size: tuple[int, int],
    finder: Finder | None,
) -> list[_Output]:
    """What the modules put out, in the order in which they came to their ends."""
    with torch.device("meta"):
        model = build().eval()
        image = torch.empty(1, 3, *size)
    outputs: dict[str, _Output] = {}
    layouts = Layouts()
    strides: dict[int, tuple[Tensor, float]] = {}

    def hook_of(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            before = next((strides[id(t)][1] for _, t in tensors_in(given) if id(t) in strides), None)
            if before is None:
                before = next((_stride(size, t, None) for _, t in tensors_in(given)), 0.0)
            for where, tensor in tensors_in(output):
                last = layouts.channels_last(module, tensor)
                places = places_of(
                    Layer(path, 1, where), tuple(tensor.shape), channels_last=last, input_size=size, finder=finder
                )
                stride = _stride(size, tensor, places)
                # With the tensor, whose id another one might get otherwise.
                strides[id(tensor)] = (tensor, stride)
                outputs.setdefault(f"{path}{where}", _Output(f"{path}{where}", stride, before))

        return hook

    for path, module in model.named_modules():
        module.register_forward_hook(hook_of(path))
    # A detector goes on by values, of which there are none: what ran until then is what there is to see.
    with torch.no_grad(), not_compiled(), torch.device("meta"), ShapesOnly(), suppress(Exception):
        model(*arguments(image))
    outputs.pop("", None)
    return list(outputs.values())


def _stride(size: tuple[int, int], tensor: Tensor, places: Places | None) -> float:
    maps = as_maps(tensor, places)
    if maps.dim() != 4 or maps.shape[0] != 1 or isinstance(places, Elsewhere):
        return 0.0
    height, width = maps.shape[2:]
    # A map of one cell is none: it is what a global pool leaves.
    if height * width <= 1 or not lies_on(size, (height, width)):
        return 0.0
    return math.sqrt(size[0] * size[1] / (height * width))


def _stage(stride: float) -> int:
    """The power of two that is nearest; 0 where there is no map."""
    return 2 ** round(math.log2(stride)) if stride > 0 else 0


def _on_the_main_path(output: _Output, by_path: Mapping[str, _Output]) -> bool:
    """Whether no module around it begins at its stride and ends at the next; all stages may lie in one container."""
    mine = _stage(output.stride)
    steps = output.path.split(".")
    around = (by_path.get(".".join(steps[:end])) for end in range(1, len(steps)))
    return not any(other and _stage(other.given) == mine and _stage(other.stride) == 2 * mine for other in around)
