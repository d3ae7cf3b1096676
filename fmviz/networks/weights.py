"""Where a network's parameters come from: its package, a file, or a seed. Checked before a network sees them."""

from __future__ import annotations

import contextlib
import functools
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fmviz.assets import asset
from fmviz.errors import WeightsError
from fmviz.failures import one_line
from fmviz.networks import cache, pyramids
from fmviz.networks.backbone import RANDOM, Backbone
from fmviz.networks.checkpoints import Checkpoint, read_checkpoint
from fmviz.networks.completing import completed
from fmviz.networks.fitting import COUNT, Fit, best_fit, owned, parts_of, tensors_of, told
from fmviz.networks.gradient_flags import freeze
from fmviz.networks.network import Network, WithoutInitialisation
from fmviz.networks.offers import Offer, published
from fmviz.networks.origin import Weights
from fmviz.networks.proposing import fitting_of_ours
from fmviz.networks.tables import quoted

_SIZES_DIFFER = 1100
"""Bytes: sizes are published in thousandths of 2²⁰ bytes, rounded."""


def load(backbone: Backbone, weights: str | os.PathLike[str], *, seed: int = 0) -> tuple[nn.Module, Weights]:
    """A network with its parameters: on the CPU, in eval mode, none of them asking for gradients.

    Args:
        backbone: a row of the catalog.
        weights: a name of `backbone.weights`, or the path of a `.safetensors` or `.pth` file that holds this network's
            state dict, alone or among other things and under whatever prefix. Of a checkpoint in parts it is the index,
            a part, or their folder. A file may lack the classifier, or the pyramid, or have another one: it is then
            random. A classifier of the network's own size is taken to be trained on the classes of the weights on offer
            for it, or of ImageNet where there are a thousand.
        seed: for whatever is random, from 0; the global random generators are left as they are.

    Raises:
        WeightsError: the file is absent, broken, unsafe or made for another network.
    """
    if not 0 <= seed < 2**63:
        raise WeightsError(f"The seed {seed} is out of range: choose one from 0 to 2⁶³ − 1.")
    if weights == RANDOM:
        return _random(backbone, seed)
    if (offer := backbone.offer(os.fspath(weights))) is not None:
        return _from_file(backbone, file_of(offer), name=offer.name, seed=seed, offer=offer)
    path = Path(weights)
    if not path.exists():
        raise WeightsError(_absent(backbone, weights))
    return _from_file(backbone, path, name="", seed=seed)


@functools.cache
def class_names(of: str) -> tuple[str, ...]:
    """What the logits of a classifier trained on `of` ("imagenet", "coco", "voc") stand for, in their order."""
    return tuple(asset(f"classes/{of}.txt").read_text(encoding="utf-8").splitlines())


def best_here(backbone: Backbone) -> str:
    """The name of the best weights that are on this computer; "random" where there are none."""
    return next((offer.name for offer in backbone.offers if cache.is_here(offer)), RANDOM)


def file_of(offer: Offer) -> Path:
    """The file of an offer on this computer.

    Raises:
        WeightsError: it was not fetched yet, or its package is not installed.
    """
    path = cache.path_of(offer)
    if offer.url and not path.is_file():
        raise WeightsError(
            f"The weights {offer.name} ({offer.file_name}, {offer.nbytes / 1e6:.0f} MB) are not on this computer: "
            "fetch them, open a file, or choose random weights."
        )
    return path


def _random(backbone: Backbone, seed: int) -> tuple[nn.Module, Weights]:
    with torch.random.fork_rng(devices=()), torch.device("cpu"):
        # Not torch.manual_seed, which seeds the accelerators as well: fork_rng puts back the CPU's generator only.
        torch.default_generator.manual_seed(seed)
        network = backbone.build()
    if backbone.finish is not None:
        backbone.finish(network, None)
    untrained = ("body", "pyramid") if backbone.pyramid else ("body",)
    notes = (f"All parameters are random (seed {seed}): nobody trained them.",)
    return _frozen(network), Weights(name=RANDOM, seed=seed, untrained=untrained, notes=notes)


def _from_file(
    backbone: Backbone, path: Path, *, name: str, seed: int, offer: Offer | None = None
) -> tuple[nn.Module, Weights]:
    """`name` is the offer's, or "" for that of the file."""
    checkpoint = completed(backbone, path, read_checkpoint(path))
    network, found = _fitted(backbone, checkpoint, seed)
    if not found.fits:
        raise WeightsError(_unfit(backbone, checkpoint, found))
    parts = parts_of(backbone, network)
    state = owned(found, network)
    _fill(network, state, found.extra, checkpoint.name)
    for part in found.untrained:
        _initialise(backbone, network, parts[part], seed)
    known = offer or next((known for known in backbone.offers if _is_of(checkpoint, known)), None)
    notes = checkpoint.notes + told(found, backbone.name, seed) + _not_finite(network, state)
    if backbone.group in ("papers", "article"):
        eps, words = _frozen_eps(checkpoint, found, known)
        if eps is not None:
            _set_eps(network, eps, apart=parts)
        notes += words
    if backbone.finish is not None:
        backbone.finish(network, known)
    trained_on = "" if "pyramid" in found.untrained else pyramids.trained_on(path)
    notes += (pyramids.note(trained_on),) if trained_on else ()
    weights = Weights(
        name=name or checkpoint.name,
        checksum=checkpoint.checksum,
        seed=seed if found.untrained else None,
        classes=() if "classifier" in found.untrained else _classes(backbone, network, known),
        untrained=tuple(part for part in parts if part in found.untrained),
        untrained_paths=tuple(path for part, path in parts.items() if part in found.untrained),
        notes=notes,
        preprocessing=known.preprocessing if known else None,
        trained_on=trained_on,
    )
    return _frozen(network), weights


def _fitted(backbone: Backbone, checkpoint: Checkpoint, seed: int) -> tuple[nn.Module, Fit]:
    """The network without its values, and how those of the file fit it."""
    network = _unfilled(backbone, seed, backbone.build)
    found = best_fit(network, checkpoint.tables, parts=parts_of(backbone, network))
    if backbone.build_for is not None and (not found.fits or _has_another_pyramid(backbone, found)):
        network = _unfilled(backbone, seed, functools.partial(backbone.build_for, found.inside))
        found = best_fit(network, checkpoint.tables, parts=parts_of(backbone, network))
    return network, found


def _has_another_pyramid(backbone: Backbone, found: Fit) -> bool:
    """Whether the file's pyramid is wider or narrower than the network's, or has a head."""
    heads = any(key.startswith("head.") for key in found.left_over)
    return backbone.group == "papers" and backbone.pyramid and ("pyramid" in found.others or heads)


def _unfilled(backbone: Backbone, seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    """The network before its values: ours on the meta device, which is quickest; others on the CPU.

    Theirs hold more than their state dict: tables of positions and masks must have their values. A user's own network
    is made as its code makes it.
    """
    if backbone.group in ("papers", "article"):
        with torch.device("meta"):
            return build()
    with torch.random.fork_rng(devices=()), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        with contextlib.nullcontext() if backbone.group == "own" else WithoutInitialisation():
            return build()


def _fill(network: nn.Module, state: dict[str, Tensor], extra: Mapping[str, object], name: str) -> None:
    """Load `state`, which was found to fit, and the extra state of those modules that have one.

    Raises:
        WeightsError: A module of the user's cannot take its extra state from the file called `name`.
    """
    filled: OrderedDict[str, Any] = OrderedDict(state)
    filled.update(extra)
    # Under this version of its keys. Without a version torchvision's MNASNet takes a file for an older network's, and
    # rebuilds itself.
    filled._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    # Frozen batch norm keeps no count of batches. Without one, the network's own would stay without a value.
    for key, tensor in network.state_dict().items():
        if key.endswith(COUNT) and key not in filled and tensor.is_meta:
            filled[key] = torch.tensor(0, device="cpu")
    if not extra:
        network.load_state_dict(filled, strict=False, assign=True)
        return
    try:
        network.load_state_dict(filled, strict=False, assign=True)
    # `set_extra_state` is code of the user's.
    except Exception as error:
        raise WeightsError(
            f"The extra state in {name} was refused by the network ({one_line(error)}): save the state_dict() anew."
        ) from error


def _not_finite(network: nn.Module, state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """What to say of values that are no numbers. In a buffer that is not batch norm's, a mask, infinity means something."""
    learned = {key for key, _ in network.named_parameters(remove_duplicate=False)}
    keys = [
        key
        for key, tensor in state.items()
        if (key in learned or key.endswith(("running_mean", "running_var"))) and _has_no_numbers(tensor)
    ]
    if not keys:
        return ()
    where = f"A tensor of the file ({quoted(keys[0])}) holds"
    if len(keys) > 1:
        where = f"{len(keys)} tensors of the file (such as {quoted(keys[0])}) hold"
    return (
        f"{where} NaN or infinity, and so will the layers after it: the file may come from a training that failed.",
    )


def _has_no_numbers(tensor: Tensor) -> bool:
    # One pass and no memory: whatever is not finite makes the sum so. That of very large numbers may be so as well.
    return tensor.is_floating_point() and not bool(tensor.sum().isfinite()) and not bool(tensor.isfinite().all())


def _is_of(checkpoint: Checkpoint, offer: Offer) -> bool:
    """By its checksum, which is taken only of a file of the same size, or with that checksum in its name."""
    sized = not offer.nbytes or abs(checkpoint.checksum.nbytes - offer.nbytes) <= _SIZES_DIFFER
    likely = bool(offer.sha256) and (sized or offer.sha256 in checkpoint.name)
    return likely and checkpoint.checksum.sha256.startswith(offer.sha256)


def _frozen_eps(checkpoint: Checkpoint, found: Fit, known: Offer | None) -> tuple[float | None, tuple[str, ...]]:
    """The eps that the body's batch norm was frozen with, where it is not the network's own, and what there is to say.

    A file does not hold it. That of torchvision's first detectors was 0.0, and theirs are known by their checksums.
    """
    if known is not None and known.frozen_eps is not None:
        return known.frozen_eps, ()
    for network in published().values():
        for offer in network.offers:
            if network.kind == "detection" and _is_of(checkpoint, offer):
                eps = offer.frozen_eps
                taken = "1e-05" if eps is None else f"{eps}, as in its training"
                return eps, (
                    f"The file is torchvision's {network.name}, {offer.name}: its batch norm's eps is {taken}.",
                )
    if not found.frozen or not any("fpn." in key for key in (*found.state, *found.left_over)):
        return None, ()
    return None, (
        "Its batch norm was frozen, with an eps that the file does not tell: 1e-05 is taken. "
        "torchvision's first detectors had 0.0.",
    )


def _initialise(backbone: Backbone, network: nn.Module, path: str, seed: int) -> None:
    """Each part from the seed anew, so that a pyramid is the same whether or not the file had a classifier."""
    part = network.get_submodule(path)
    # Not to_empty, which imports sympy where it meets the meta device: half a second of the first start.
    room = {key: torch.empty(like.shape, dtype=like.dtype, device="cpu") for key, like in tensors_of(part).items()}
    part.load_state_dict(room, assign=True, strict=False)
    with torch.random.fork_rng(devices=()), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        if isinstance(network, Network):
            network.initialise(part)
            return
        own = [module for module in part.modules() if _holds_values(module)]
        if all(hasattr(module, "reset_parameters") for module in own):
            for module in own:
                module.reset_parameters()  # type: ignore[operator]
        else:
            part.load_state_dict(backbone.build().get_submodule(path).state_dict())


def _holds_values(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False)) or any(True for _ in module.buffers(recurse=False))


def _set_eps(network: nn.Module, eps: float, *, apart: Mapping[str, str]) -> None:
    """Of every batch norm, frozen or not, but of those in the parts `apart`."""
    parts = tuple(f"{path}." for path in apart.values())
    for path, module in network.named_modules():
        # torchvision's FrozenBatchNorm2d goes by its name, for importing it costs two seconds.
        is_norm = isinstance(module, nn.BatchNorm2d) or type(module).__name__ == "FrozenBatchNorm2d"
        if is_norm and not f"{path}.".startswith(parts):
            module.eps = eps


def _classes(backbone: Backbone, network: nn.Module, offer: Offer | None) -> tuple[str, ...]:
    """What the logits of a trained classifier stand for: as its offer says; a file's are taken to be the network's own."""
    if offer is not None:
        return class_names(offer.classes) if offer.classes else ()
    if backbone.offers:
        return class_names(backbone.offers[0].classes) if backbone.offers[0].classes else ()
    shapes = [tensor.shape for tensor in tensors_of(network).values() if tensor.dim()]
    return class_names("imagenet") if shapes and shapes[-1][0] == 1000 else ()


def _frozen(network: nn.Module) -> nn.Module:
    return freeze(network).eval()


def _absent(backbone: Backbone, weights: str | os.PathLike[str]) -> str:
    text = os.fspath(weights)
    if Path(text).suffix or Path(text).name != text:
        return f"There is no file {text}: choose a .safetensors or .pth file."
    offered = " or ".join(backbone.weights)
    return f"{backbone.name} has no weights called “{text}”: choose {offered}, or a .safetensors or .pth file."


def _unfit(backbone: Backbone, checkpoint: Checkpoint, found: Fit) -> str:
    if found.partitioned:
        return (
            f"{checkpoint.name} does not hold the values of {len(found.empty)} of {backbone.name}'s {found.total} tensors: "
            "they lie in the other partitions, as DeepSpeed's ZeRO-3 saves them; join these with its zero_to_fp32.py."
        )
    others = [other for other in fitting_of_ours(checkpoint) if other != backbone.name][:3]
    remedy = "choose the network that it was made for."
    if others:
        remedy = f"it fits {' and '.join(others)}."
    elif any(key in found.left_out for key in found.missing):
        remedy = "save the network's state_dict() anew, with plain float32 tensors."
    elif any("parametrizations." in key for key in found.unknown):
        remedy = "save it after torch.nn.utils.parametrize.remove_parametrizations."
    return f"{checkpoint.name} was not made for {backbone.name}: {found.reasons()}; {remedy}"
