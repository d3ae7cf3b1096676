"""timm's networks, where timm is installed: built and fed as it says, with random weights or those of a file.

timm is imported by the functions that need it, which takes seconds; nothing here asks the network for anything.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import nn

from fmviz.errors import BackboneError
from fmviz.layers import Layer
from fmviz.networks.backbone import Backbone, the_tensor_alone
from fmviz.networks.network import WithoutInitialisation
from fmviz.networks.stages import Feature, find_listed_stages, find_stages
from fmviz.preprocess import Interpolation, Preprocessing
from fmviz.tokens import ATTENTION, Finder, Places, TokenGrid, TokenOrder

PREFIX = "timm/"

ABOUT = (
    "timm fetches its weights from a hub in its own way, which fmviz does not do: they are random here, or come from a file "
    "that you open."
)


def installed() -> bool:
    """Whether timm can be imported; it is not imported for that."""
    return find_spec("timm") is not None


@cache
def names() -> tuple[str, ...]:
    """What timm calls its networks, without "timm/"; none where it is not installed."""
    if not installed():
        return ()
    import timm

    return tuple(timm.list_models())


def backbone(name: str) -> Backbone:
    """The network that timm calls `name`.

    Raises:
        BackboneError: timm is not installed, or has none such.
    """
    if not installed():
        raise BackboneError(f"{PREFIX}{name} needs timm, which is not installed: pip install “fmviz[timm]”.")
    return _row(name.removeprefix(PREFIX))


@cache
def _row(name: str) -> Backbone:
    from timm.data import resolve_data_config
    from timm.models import get_pretrained_cfg, model_entrypoint

    if name not in names():
        close = difflib.get_close_matches(name.lower(), names(), n=3)
        remedy = (
            f"did you mean {' or '.join(PREFIX + near for near in close)}?" if close else "the chooser lists them all."
        )
        raise BackboneError(f"timm has no network “{name}”: {remedy}")
    facts = get_pretrained_cfg(name)
    wanted = resolve_data_config(pretrained_cfg=facts.to_dict())
    side = wanted["input_size"][-1]
    return Backbone(
        name=f"{PREFIX}{name}",
        family=model_entrypoint(name).__module__.rpartition(".")[2].replace("_", " "),
        paper="",
        year=0,
        build=partial(_build, name),
        parameters=0,
        preprocessing=_preprocessing(wanted),
        find_taps=partial(_taps, name),
        minimum_input=min((facts.min_input_size or (3, 1, 1))[1:]),
        group="timm",
        about=ABOUT,
        parts=_parts(facts),
        only_input=side if facts.fixed_input_size else 0,
        token_grid=partial(_token_grid, name),
        channels=wanted["input_size"][0],
    )


def _preprocessing(wanted: Mapping[str, Any]) -> Preprocessing:
    """As timm's own transform for evaluation: it rounds the size before the crop down."""
    crop = wanted["input_size"][-1]
    interpolation: Interpolation = "bilinear" if wanted["interpolation"] == "bilinear" else "bicubic"
    return Preprocessing(
        resize=math.floor(crop / wanted["crop_pct"]),
        crop=crop,
        interpolation=interpolation,
        mean=wanted["mean"],
        std=wanted["std"],
    )


def _parts(facts: Any) -> Mapping[str, str]:
    single = isinstance(facts.classifier, str) and facts.classifier and facts.num_classes
    return MappingProxyType({"classifier": facts.classifier} if single else {})


def _build(name: str) -> nn.Module:
    import timm

    if not torch.empty(0).is_meta:
        return cast(nn.Module, timm.create_model(name, pretrained=False))
    # Some calculate with tensors while they are made. Memory that is not written to is not taken.
    with torch.device("cpu"), WithoutInitialisation():
        return cast(nn.Module, timm.create_model(name, pretrained=False).to("meta"))


def _taps(name: str) -> dict[str, str]:
    row = _row(name)
    side = row.only_input or max(row.preprocessing.crop, row.minimum_input)
    with torch.device("meta"):
        model = _build(name).eval()
    # The one size that each of them accepts for sure.
    facts = facts_of(model)
    if facts.features:
        return listed_stages(model, facts, (side, side))
    # A map of the whole input has its proportions, what is pooled to a fixed size has not.
    size = (side, side if row.only_input else 2 * side)
    outside = row.parts.get("classifier", "")
    return find_stages(lambda: model, the_tensor_alone, size, outside=outside, finder=facts.token_finder(size))


def listed_stages(model: nn.Module, facts: Facts, size: tuple[int, int]) -> dict[str, str]:
    """Return C2–C5 -> tap of a network of timm's, or of one that contains it, as its `feature_info` has them.

    Args:
        model: The network on the meta device.
        facts: Of the network of timm's.
        size: (height, width) of the input.
    """
    return find_listed_stages(model, facts.features, size, facts.token_finder(size))


def facts_within(model: nn.Module) -> Facts | None:
    """Return the facts of the one network of timm's that `model` is or contains; None if there is none, or several.

    Also of a subclass, and of what timm built for its features only. Does not import timm.
    """
    found: list[tuple[str, nn.Module]] = []
    for path, module in model.named_modules():
        if found and f"{path}.".startswith(f"{found[-1][0]}." if found[-1][0] else ""):
            continue
        if _is_from_timm(module) and _features(module):
            found.append((path, module))
    return facts_of(found[0][1], found[0][0]) if len(found) == 1 else None


def _is_from_timm(module: nn.Module) -> bool:
    # Asking a module for what it does not have is slow: it makes a sentence of it.
    if "feature_info" not in vars(module):
        return False
    return any(kind.__module__.partition(".")[0] == "timm" for kind in type(module).__mro__)


def _token_grid(name: str, size: tuple[int, int]) -> Finder:
    return _facts(name).token_finder(size)


@cache
def _facts(name: str) -> Facts:
    with torch.device("meta"):
        return facts_of(_build(name))


@dataclass(frozen=True, slots=True)
class Facts:
    """What a network of timm's tells about its features and tokens.

    Attributes:
        features: The entries of its `feature_info`.
        prefix: Names of the tokens in front of those of the grid.
        inside: "path." of the network in the one that contains it; "" if it is the whole.
        orders: If it keeps its tokens in another order than row by row: number of tokens -> order.
    """

    features: tuple[Feature, ...]
    prefix: tuple[str, ...] = ()
    inside: str = ""
    orders: Mapping[int, TokenOrder] = field(default_factory=dict)

    def token_finder(self, size: tuple[int, int]) -> Finder:
        """Return where the tokens lie for an input of `size` (height, width)."""
        grids = (grid for feature in self.features for grid in _grids(size, feature.reduction))
        reordered = tuple(f"{self.inside}{path}" for path in _REORDERED)
        return _Tokens(size, tuple(dict.fromkeys(grids)), self.prefix, self.orders, reordered)


def facts_of(model: nn.Module, path: str = "") -> Facts:
    """Return the facts of a network of timm's, on any device; no value of it is read and none of its hooks is called.

    Args:
        path: Of the network in the one that contains it.
    """
    inside = f"{path}." if path else ""
    features = tuple(replace(feature, module=f"{inside}{feature.module}") for feature in _features(model))
    network = getattr(model, "model", model)
    return Facts(features, _prefix(network), inside + ("model." if network is not model else ""), _orders(network))


def _features(model: nn.Module) -> tuple[Feature, ...]:
    """Return the entries of `feature_info` whose modules the network has."""
    info: Any = getattr(model, "feature_info", ())
    entries = getattr(info, "info", info)
    if not isinstance(entries, list | tuple):
        return ()
    paths = {path for path, _ in model.named_modules()}
    features = []
    for entry in entries:
        path = next((path for path in _paths(str(entry["module"])) if path in paths), None)
        if path is not None:
            reduction = entry["reduction"]
            reduction = min(reduction) if isinstance(reduction, tuple | list) else reduction
            features.append(Feature(path, entry["num_chs"], reduction, entry.get("hook_type") == "forward_pre"))
    return tuple(features)


def _paths(module: str) -> Iterator[str]:
    """Yield the paths at which the module of an entry may be found, the first that exists is right."""
    # HRNet lists its stages, but its features are what these modules make of the branches of the last one.
    if stage := re.fullmatch(r"stage([1-4])", module):
        yield f"incre_modules.{int(stage[1]) - 1}"
    # MViT and Twins list modules that are called otherwise.
    if block := re.fullmatch(r"block\.([0-9]+)", module):
        yield from (f"block.{block[1]}", f"stages.{block[1]}", f"blocks.{block[1]}")
    # Networks that timm built for their features only wrap the network, or flatten its first two levels. Gemma's encoder
    # lists its features for the network that contains it.
    yield from (module, f"model.{module}", f"body.{module}", f"encoder.{module}")
    yield module.replace(".", "_", 1)


def _grids(size: tuple[int, int], reduction: float) -> Iterator[tuple[int, int]]:
    """Yield the grids that an input may be cut into at this stride: what is left over is dropped, or padded."""
    for rounded in (math.floor, math.ceil):
        grid = rounded(size[0] / reduction), rounded(size[1] / reduction)
        if math.prod(grid) > 1:
            yield grid


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The finder of a network of timm's.

    Attributes:
        size: (height, width) of the input.
        grids: (height, width) of the token grids of its stages.
        prefix: Names of the tokens in front of them.
        orders: For networks that keep their tokens in another order: number of tokens -> order.
        reordered: How the paths of the modules begin that do.
    """

    size: tuple[int, int]
    grids: tuple[tuple[int, int], ...]
    prefix: tuple[str, ...] = ()
    orders: Mapping[int, TokenOrder] = field(default_factory=dict)
    reordered: tuple[str, ...] = ()

    def __call__(self, layer: Layer, shape: tuple[int, ...]) -> Places | None:
        if _attention(layer, shape):
            return ATTENTION
        if len(shape) == 3 and shape[1] in self.orders and layer.path.startswith(self.reordered):
            return self.orders[shape[1]]
        # In networks of several strides the rows of a map may be as many as the tokens of another stage.
        if len(shape) == 4 and len(self.grids) > 1 and self._is_map(shape):
            return None
        found_on = (TokenGrid(*grid, self.prefix)(layer, shape) for grid in self.grids)
        return next((places for places in found_on if places is not None), None)

    def _is_map(self, shape: tuple[int, ...]) -> bool:
        """Whether two axes beside each other are the input's sides, divided by a power of two."""
        sizes = {
            tuple(rounded(side / 2**power) for side in self.size)
            for power in range(8)
            for rounded in (math.floor, math.ceil)
        }
        return shape[1:3] in sizes or shape[2:4] in sizes


def _attention(layer: Layer, shape: tuple[int, ...]) -> bool:
    """Whether it is what timm's attention computes on the way, also where it relates channels to channels."""
    return len(shape) == 4 and layer.path.endswith((".attn_drop", ".softmax", ".q_norm", ".k_norm"))


_REORDERED = ("blocks.", "unroll")
"""The modules of Hiera that work on tokens in the order of `_orders`."""


def _orders(network: Any) -> dict[int, TokenOrder]:
    """Return the orders in which Hiera keeps its tokens, by their number: its own `reroll` restores the rows."""
    reroll: Any = getattr(network, "reroll", None)
    orders: dict[int, TokenOrder] = {}
    for block, (_, grid) in getattr(reroll, "schedule", {}).items():
        count = math.prod(grid)
        if len(grid) == 2 and count not in orders:
            height, width = grid
            rows = reroll.forward(torch.arange(count, device="cpu").view(1, count, 1), block)  # (1, h, w, 1)
            orders[count] = TokenOrder(height, width, tuple(rows.flatten().tolist()))
    return orders


def _prefix(network: Any) -> tuple[str, ...]:
    """Return the names of the tokens in front, in timm's order: the class token, one for distillation, registers."""
    tokens = [
        name
        for name, _ in network.named_parameters()
        if name.rpartition(".")[2].startswith(("cls_token", "dist_token"))
    ]
    found = []
    for attribute, words in (("cls_token", "class token"), ("dist_token", "distillation token")):
        found += [words] if any(attribute in name for name in tokens) else []
    count = getattr(network, "num_prefix_tokens", None) or len(found)
    registers = [f"register token {index + 1}" for index in range(count - len(found))]
    return (*found, *registers)[:count]
