"""Where the stages of any network are: C2–C5, found by the strides of its maps and not by their names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fmviz.layers import Layer
from fmviz.networks.backbone import the_tensor_alone
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
    in_part: bool = True,
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
        in_part: Whether to use what ran if the forward raises, as that of a detector does, which goes on by values.
    """
    with torch.device("meta"):
        model = build().eval()
    outputs = _outputs(model, arguments, size, finder, in_part=in_part)
    mine = [
        output
        for output in outputs
        if (not inside or output.path.startswith(f"{inside}."))
        and not (outside and f"{output.path}.".startswith(f"{outside}."))
        # What has several outputs has no path of its own for each.
        and "[" not in output.path
    ]
    by_path = {output.path: output for output in outputs}
    found = {nearest_stage(output.stride): output.path for output in mine if _on_the_main_path(output, by_path)}
    stages = {name: found[stride] for stride, name in STAGES.items() if stride in found}
    return stages | _levels(outputs, pyramid) if pyramid else stages


def _levels(outputs: list[_Output], pyramid: str) -> dict[str, str]:
    items = {nearest_stage(output.stride): output.path for output in outputs if output.path.startswith(f"{pyramid}[")}
    within = (output for output in outputs if output.path.startswith(f"{pyramid}.") and "[" not in output.path)
    modules = {nearest_stage(output.stride): output.path for output in within}
    # Its modules may make maps that it keeps to itself.
    found = {stride: modules.get(stride, path) for stride, path in items.items()}
    return {name: found[stride] for stride, name in LEVELS.items() if stride in found}


@dataclass(frozen=True, slots=True)
class Feature:
    """An entry of a network's own list of features, such as timm's `feature_info`.

    Attributes:
        module: Path of the module whose output, or input, it is.
        channels: Its number of channels.
        reduction: Its stride.
        before: Whether it is the module's input.
    """

    module: str
    channels: int
    reduction: float
    before: bool = False


def find_listed_stages(
    model: nn.Module,
    features: Sequence[Feature],
    size: tuple[int, int],
    finder: Finder | None = None,
) -> dict[str, str]:
    """Return C2–C5 -> tap, the last of `features` at each stride, checked by one forward on the meta device.

    A feature counts only where its module outputs maps of its channels and stride. Of several outputs the one that agrees
    is taken ("stage4[2]"). Of a module that is never called, as a `ModuleList` is, the last of its children that was called
    is asked. A feature that is a module's input is the output that was passed to it. If the forward raises, for want of
    values, the features that it had computed by then are found.

    Args:
        model: The network, on the meta device; it is set to eval mode.
        features: In the order in which the network computes them.
        size: (height, width) of the input.
        finder: Token layouts at this size.
    """
    outputs = _outputs(model.eval(), the_tensor_alone, size, finder, in_part=True)
    last = {nearest_stage(feature.reduction): feature for feature in features}
    taps = {name: _tap(outputs, last[stride], size) for stride, name in STAGES.items() if stride in last}
    return {name: tap for name, tap in taps.items() if tap}


def _tap(outputs: Sequence[_Output], feature: Feature, size: tuple[int, int]) -> str:
    """Return the path of the output that holds `feature`; "" if there is none."""
    if feature.before:
        source = next((output.source for output in outputs if output.module == feature.module), "")
        candidates = [output for output in outputs if output.path == source]
    else:
        candidates = [output for output in outputs if output.module == feature.module]
        candidates = candidates or _of_last_child(outputs, feature.module)
    return next((output.path for output in candidates if _agrees(output, feature, size)), "")


def _agrees(output: _Output, feature: Feature, size: tuple[int, int]) -> bool:
    """Return whether an output has the channels and the stride of `feature`; unpadded convolutions miss it by some cells."""
    if not output.shape or output.shape[0] != feature.channels or 0 in output.shape:
        return False
    strides = {nearest_stage(whole / part) for whole, part in zip(size, output.shape[1:], strict=True)}
    return strides == {nearest_stage(feature.reduction)}


def _of_last_child(outputs: Sequence[_Output], path: str) -> list[_Output]:
    """Return the outputs of the child at `path` that was called last; children of a `ModuleList` have numbers as names."""
    children = [output for output in outputs if output.module.rpartition(".")[0] == path]
    return [output for output in children if output.module == children[-1].module]


@dataclass(frozen=True, slots=True, eq=False)
class _Output:
    """A tensor that the first call of a module put out: the stride of its map, and of the one that it was given; 0 for no map.

    Attributes:
        path: The module's, followed by the item where the output has several.
        module: The module's path.
        shape: (channels, height, width) of its maps; () if it has none.
        source: Path of the output that the module was given; "" where it was made in between.
    """

    path: str
    module: str
    shape: tuple[int, ...]
    stride: float
    given: float
    source: str


class _Recorder:
    """The hooks of one forward on the meta device."""

    def __init__(self, size: tuple[int, int], finder: Finder | None) -> None:
        self.size = size
        self.finder = finder
        self.outputs: dict[str, _Output] = {}
        self._layouts = Layouts()
        # With the tensor, whose id another one might get otherwise.
        self._made: dict[int, tuple[Tensor, float, str]] = {}

    def hook(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, given, output: self._note(path, module, given, output)

    def _note(self, path: str, module: nn.Module, given: Any, output: Any) -> None:
        before, source = self._given(given)
        for where, tensor in tensors_in(output):
            last = self._layouts.channels_last(module, tensor)
            places = places_of(
                Layer(path, 1, where), tuple(tensor.shape), channels_last=last, input_size=self.size, finder=self.finder
            )
            maps = as_maps(tensor, places)
            stride = _stride(self.size, maps, places)
            full = f"{path}{where}"
            self._made[id(tensor)] = (tensor, stride, full)
            shape = () if maps.dim() != 4 or isinstance(places, Elsewhere) else tuple(maps.shape[1:])
            self.outputs.setdefault(full, _Output(full, path, shape, stride, before, source))

    def _given(self, given: Any) -> tuple[float, str]:
        """Stride and path of the first tensor of a module's arguments that another module put out."""
        tensors = [tensor for _, tensor in tensors_in(given)]
        known = next((self._made[id(tensor)][1:] for tensor in tensors if id(tensor) in self._made), None)
        return known or (next((_stride(self.size, tensor, None) for tensor in tensors), 0.0), "")


def _outputs(
    model: nn.Module,
    arguments: Callable[[Tensor], tuple[Any, ...]],
    size: tuple[int, int],
    finder: Finder | None,
    *,
    in_part: bool = False,
) -> list[_Output]:
    """What the modules put out, in the order in which they came to their ends.

    Args:
        in_part: Whether to return what ran if the forward raises.
    """
    recorder = _Recorder(size, finder)
    handles = [module.register_forward_hook(recorder.hook(path)) for path, module in model.named_modules()]
    image = torch.empty(1, 3, *size, device="meta")
    try:
        with torch.no_grad(), not_compiled(), torch.device("meta"), ShapesOnly(), suppress(*[Exception] * in_part):
            model(*arguments(image))
    finally:
        for handle in handles:
            handle.remove()
    return [output for output in recorder.outputs.values() if output.module]


def _stride(size: tuple[int, int], maps: Tensor, places: Places | None) -> float:
    if maps.dim() != 4 or maps.shape[0] != 1 or isinstance(places, Elsewhere):
        return 0.0
    height, width = maps.shape[2:]
    # A map of one cell is none: it is what a global pool leaves.
    if height * width <= 1 or not lies_on(size, (height, width)):
        return 0.0
    return math.sqrt(size[0] * size[1] / (height * width))


def nearest_stage(stride: float) -> int:
    """Return the power of two that is nearest; 0 where there is no map."""
    return 2 ** round(math.log2(stride)) if stride > 0 else 0


def _on_the_main_path(output: _Output, by_path: Mapping[str, _Output]) -> bool:
    """Whether no module around it begins at its stride and ends at the next; all stages may lie in one container."""
    mine = nearest_stage(output.stride)
    steps = output.path.split(".")
    around = (by_path.get(".".join(steps[:end])) for end in range(1, len(steps)))
    return not any(
        other and nearest_stage(other.given) == mine and nearest_stage(other.stride) == 2 * mine for other in around
    )
