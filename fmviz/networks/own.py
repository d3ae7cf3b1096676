"""The user's own networks: a file of Python with a function that makes one, "path/to/mine.py:build".

Code is code: it is run only where the user trusts this file as it is, see `fmviz.own_model`. What is run are the very bytes
whose checksum was trusted, not what the file may hold a moment later. The files that it imports are its own affair.

A file may say more, by names of its own:

    preprocessing = fmviz.Preprocessing(mode="whole", longer_side=512)    # or a function from a PIL image to a tensor
    classes = ["cat", "dog"]                                              # what its logits stand for
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import ModuleType

from torch import nn
from torch.nn.parameter import is_lazy

from fmviz.errors import BackboneError
from fmviz.networks.backbone import RANDOM, Backbone, the_tensor_alone
from fmviz.networks.code import Code, a_kind
from fmviz.networks.origin import Weights
from fmviz.own_model import check, read, split
from fmviz.preprocess import IMAGENET, Preprocessing, PreprocessingFunction
from fmviz.tokens import Finder

LIVE = "live model"
"""The name of the weights of a model that was there already."""

AS_BUILT = "as built"
"""The name of the weights that a file of code itself gave its network: it may have drawn them, or read them somewhere."""


@dataclass(frozen=True, eq=False, kw_only=True)
class OwnBackbone(Backbone):
    """A network of the user's.

    Attributes:
        file: where its code lies; None where it is a live model.
        sha256: of that code, in hex.
        classes: what its logits stand for; () where it does not say.
    """

    file: Path | None = None
    sha256: str = ""
    classes: tuple[str, ...] = ()


def backbone(reference: str | os.PathLike[str]) -> OwnBackbone:
    """The network that `reference` ("mine.py:build", with or without "own:") names; the file is run.

    Raises:
        TrustError: the user has not said that they trust this file as it is; nothing of it was run.
        BackboneError: it cannot be read, is no Python, raises, or has no such function; with file and line.
    """
    path, function = split(reference)
    source, sha256 = read(path)
    check(path, sha256)
    code = Code(path, function, source, sha256=sha256)
    file = code.run()
    preprocessing = _preprocessing(path, file)
    name = f"own/{path.name}:{function}"

    def build() -> nn.Module:
        return _with_shapes(code.build(), name)

    return OwnBackbone(
        name=name,
        family="Your own",
        paper="",
        year=0,
        build=build,
        parameters=0,
        preprocessing=preprocessing,
        find_taps=lambda: find_taps(build(), name, _crop(preprocessing)),
        group="own",
        token_grid=_layout_of_built(build),
        about=f"The network that {function} in {path} makes.",
        file=path,
        sha256=sha256,
        classes=_classes(path, file),
    )


def live(
    model: nn.Module,
    *,
    name: str | None = None,
    preprocessing: Preprocessing | None = None,
) -> OwnBackbone:
    """The row of a module that is there already; it is named after its class where `name` is None."""
    name = name or type(model).__name__
    held = weakref.ref(model)
    return OwnBackbone(
        name=name,
        family="Live model",
        paper="",
        year=0,
        build=lambda: _held(held, name),
        parameters=sum(parameter.numel() for parameter in _with_shapes(model, name).parameters()),
        preprocessing=preprocessing or IMAGENET,
        find_taps=lambda: find_taps(_held(held, name), name, _crop(preprocessing or IMAGENET)),
        group="own",
        token_grid=token_layout(model),
        about=f"A {type(model).__name__} that lives in the program which shows it.",
    )


def find_taps(model: nn.Module, name: str, size: tuple[int, int]) -> Mapping[str, str]:
    """C2–C5 by their strides, at an input of `size` or about that; none where a network, which may be anything, cannot run
    without values. Those of a network of timm's are the ones that it lists itself."""
    from fmviz.networks import timm
    from fmviz.networks.stages import find_stages
    from fmviz.without_values import without_values

    facts = timm.facts_within(model)
    if facts and (taps := _tried(lambda: timm.listed_stages(without_values(model, name), facts, size))):
        return taps
    layout = token_layout(model)
    # Unlike sides tell the picture's maps from others; but a network may take this one size only.
    both = ((size[0], size[1] + 32), size)
    for sides, in_part in (*((sides, False) for sides in both), *((sides, True) for sides in both)):
        find = partial(find_stages, lambda: without_values(model, name), the_tensor_alone, sides)
        taps = _tried(partial(find, finder=layout(sides) if layout else None, in_part=in_part))
        if taps is not None:
            return taps
    return {}


def _tried(find: Callable[[], Mapping[str, str]]) -> Mapping[str, str] | None:
    """What `find` returns; None where it raises."""
    try:
        return find()
    except KeyboardInterrupt:
        raise
    # Somebody else's code: what it does without values is its own affair, and its pictures run all the same.
    except BaseException:
        return None


def token_layout(model: nn.Module) -> Callable[[tuple[int, int]], Finder] | None:
    """Return the token layout, by the input's size, of the network of timm's or torchvision's that `model` is or contains.

    None if it contains none. The result does not hold the model.
    """
    from fmviz.networks import timm, torchvision

    facts = timm.facts_within(model)
    return facts.token_finder if facts else torchvision.token_layout(model)


def _layout_of_built(build: Callable[[], nn.Module]) -> Callable[[tuple[int, int]], Finder]:
    """Return the token layout of the network that `build` makes, which is built once, when it is first asked for."""
    found = cache(lambda: token_layout(build()))

    def finder(size: tuple[int, int]) -> Finder:
        layout = found()
        return layout(size) if layout else lambda layer, shape: None

    return finder


def _with_shapes(model: nn.Module, name: str) -> nn.Module:
    """`model`; `BackboneError` where it waits for its first input to learn the shapes of its parameters."""
    if any(is_lazy(tensor) for part in (model.parameters(), model.buffers()) for tensor in part):
        raise BackboneError(
            f"{name} has parameters without a shape, which its first input gives them: run it once on such an input before."
        )
    return model


def own_weights(row: OwnBackbone, weights: Weights, seed: int) -> Weights:
    """What is said of the parameters of `row`, of which nobody but its code knows where they come from."""
    if weights.name != RANDOM or row.file is None:
        # Where a part of a file's network stayed random, that is its classifier.
        return replace(weights, classes=row.classes if weights.seed is None else ())
    note = f"The parameters are as {row.file.name} makes them; what is random in them comes from the seed {seed}."
    return replace(weights, name=AS_BUILT, classes=row.classes, untrained=(), notes=(note,))


def _crop(preprocessing: Preprocessing) -> tuple[int, int]:
    return preprocessing.crop, preprocessing.crop


def _held(held: weakref.ref[nn.Module], name: str) -> nn.Module:
    model = held()
    if model is None:
        raise BackboneError(f"{name} is there no longer: show the model again.")
    return model


def _preprocessing(path: Path, file: ModuleType) -> Preprocessing:
    found = getattr(file, "preprocessing", IMAGENET)
    if isinstance(found, Preprocessing):
        return found
    if callable(found) and not isinstance(found, type):
        return PreprocessingFunction(function=found)
    raise BackboneError(
        f"preprocessing in {path.name} is {a_kind(found)}: make it a fmviz.Preprocessing, or a function from a PIL image to a "
        "tensor."
    )


def _classes(path: Path, file: ModuleType) -> tuple[str, ...]:
    found = getattr(file, "classes", ())
    # A function or a module of that name is the file's own business.
    if callable(found) or isinstance(found, ModuleType):
        return ()
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        raise BackboneError(f"classes in {path.name} is {a_kind(found)}: make it a list of names.")
    return tuple(found)
