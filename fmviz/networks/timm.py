"""timm's networks, where timm is installed: built and fed as it says, with random weights or those of a file.

timm is imported by the functions that need it, which takes seconds; nothing here asks the network for anything.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from functools import cache, partial
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn

from fmviz.errors import BackboneError
from fmviz.layers import Layer
from fmviz.networks.backbone import Backbone, the_tensor_alone
from fmviz.networks.network import WithoutInitialisation
from fmviz.networks.stages import find_stages
from fmviz.preprocess import Interpolation, Preprocessing
from fmviz.tokens import ATTENTION, Finder, Places, TokenGrid

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
    # A map of the whole input has its proportions, what is pooled to a fixed size has not.
    side = row.only_input or max(row.preprocessing.crop, row.minimum_input)
    size = (side, side if row.only_input else 2 * side)
    outside = row.parts.get("classifier", "")
    return find_stages(row.build, the_tensor_alone, size, outside=outside, finder=_token_grid(name, size))


def _token_grid(name: str, size: tuple[int, int]) -> Finder:
    """Tokens in a row, for those networks that say how large their patches are and how many tokens are in front."""
    facts = _patches(name)
    if facts is None:
        return _attention
    (height, width), prefix = facts
    grid = TokenGrid(size[0] // height, size[1] // width, prefix)
    return lambda layer, shape: _attention(layer, shape) or grid(layer, shape)


def _attention(layer: Layer, shape: tuple[int, ...]) -> Places | None:
    """What timm's attention computes on the way, also where it relates channels to channels."""
    of_heads = len(shape) == 4 and layer.path.endswith((".attn_drop", ".softmax", ".q_norm", ".k_norm"))
    return ATTENTION if of_heads else None


@cache
def _patches(name: str) -> tuple[tuple[int, int], tuple[str, ...]] | None:
    with torch.device("meta"):
        model: Any = _build(name)
    patches = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    count = getattr(model, "num_prefix_tokens", None)
    if patches is None or count is None or getattr(model.patch_embed, "grid_size", None) is None:
        return None
    height, width = patches if isinstance(patches, tuple | list) else (patches, patches)
    return (height, width), _prefix(model, count)


def _prefix(model: Any, count: int) -> tuple[str, ...]:
    """Names of the tokens in front, in timm's order: the class token, one for distillation, registers."""
    found = []
    for attribute, words in (("cls_token", "class token"), ("dist_token", "distillation token")):
        found += [words] if isinstance(getattr(model, attribute, None), Tensor) else []
    registers = [f"register token {index + 1}" for index in range(count - len(found))]
    return (*found, *registers)[:count]
