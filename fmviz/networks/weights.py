"""Where a network's parameters come from: its package, a file, or a seed. Checked before a network sees them.

The only module that calls `torch.load`, and always with `weights_only=True`: nothing in a file is ever run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from fmviz.assets import asset
from fmviz.errors import WeightsError
from fmviz.networks import cache, catalog
from fmviz.networks.backbone import RANDOM, Backbone
from fmviz.networks.fitting import ContentError, Fit, fit, state_dict_of
from fmviz.networks.network import Network, WithoutInitialisation
from fmviz.networks.offers import Offer
from fmviz.preprocess import Preprocessing

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
"""For file dialogs. What a file is, is told by its content."""

LARGEST_HEADER = 100_000_000
"""Bytes of a safetensors header at most: its specification's own limit."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Where the parameters of a network came from.

    Attributes:
        name: "imagenet", "random", or the file's name without its folder.
        sha256: of the file; "" where all is random.
        seed: of whatever is random; None where nothing is.
        classes: what each logit stands for; () where the classifier is not trained on known classes.
        untrained: the parts that nobody trained: (), ("pyramid",), ("body",) or ("body", "pyramid").
        notes: what the user should know, a sentence each.
        preprocessing: what they want to be fed; None is what their network wants.
    """

    name: str
    sha256: str = ""
    seed: int | None = None
    classes: tuple[str, ...] = ()
    untrained: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None


def load(backbone: Backbone, weights: str | os.PathLike[str], *, seed: int = 0) -> tuple[nn.Module, Weights]:
    """A network with its parameters: on the CPU, in eval mode, none of them asking for gradients.

    Args:
        backbone: a row of the catalog.
        weights: a name of `backbone.weights`, or the path of a `.safetensors` or `.pth` file with this network's state
            dict or torchvision's. A file may lack the classifier, or the pyramid, as a whole: it is then random. A
            classifier of 1000 classes is taken to be ImageNet's.
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
    return _from_file(backbone, path, name=path.name, seed=seed)


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
    _finish(backbone, network, None)
    untrained = ("body", "pyramid") if backbone.pyramid else ("body",)
    notes = (f"All parameters are random (seed {seed}): nobody trained them.",)
    return _frozen(network), Weights(name=RANDOM, seed=seed, untrained=untrained, notes=notes)


def _from_file(
    backbone: Backbone, path: Path, *, name: str, seed: int, offer: Offer | None = None
) -> tuple[nn.Module, Weights]:
    tensors, sha256 = read_tensors(path)
    network = _unfilled(backbone, seed, tensors)
    parts = parts_of(backbone, network)
    found = fit(network, tensors, parts=parts)
    if not found.fits:
        raise WeightsError(_unfit(backbone, path.name, found, tensors))
    _fill(network, found.state)
    for part in found.absent:
        _initialise(backbone, network, parts[part], seed)
    if offer is not None and offer.frozen_eps is not None:
        _set_eps(network, offer.frozen_eps, apart=parts)
    _finish(backbone, network, offer)
    weights = Weights(
        name=name,
        sha256=sha256,
        seed=seed if found.absent else None,
        classes=() if "classifier" in found.absent else _classes(backbone, network, offer),
        untrained=("pyramid",) if "pyramid" in found.absent else (),
        notes=tuple(f"The file has no {part}: the network's is random (seed {seed})." for part in found.absent),
        preprocessing=offer.preprocessing if offer else None,
    )
    return _frozen(network), weights


def parts_of(backbone: Backbone, network: nn.Module) -> Mapping[str, str]:
    """What a weights file of this network may lack as a whole -> its path."""
    return network.parts if isinstance(network, Network) else backbone.parts


def _unfilled(backbone: Backbone, seed: int, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The network before its values: ours on the meta device, which is quickest; others on the CPU.

    Theirs hold more than their state dict: tables of positions and masks must have their values. A user's own network
    is made as its code makes it.
    """
    if backbone.group in ("papers", "article"):
        with torch.device("meta"):
            return backbone.build()
    with torch.random.fork_rng(devices=()), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        with contextlib.nullcontext() if backbone.group == "own" else WithoutInitialisation():
            return backbone.build_for(tensors) if backbone.build_for else backbone.build()


def _fill(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Puts `state` in, which was found to fit."""
    filled = OrderedDict(state)
    # Under this version of its keys. Without a version torchvision's MNASNet takes a file for an older network's, and
    # rebuilds itself.
    filled._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    network.load_state_dict(filled, strict=False, assign=True)


def _initialise(backbone: Backbone, network: nn.Module, path: str, seed: int) -> None:
    """Each part from the seed anew, so that a pyramid is the same whether or not the file had a classifier."""
    part = network.get_submodule(path)
    # Not to_empty, which imports sympy where it meets the meta device: half a second of the first start.
    room = {key: torch.empty(like.shape, dtype=like.dtype, device="cpu") for key, like in part.state_dict().items()}
    part.load_state_dict(room, assign=True)
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
    shapes = [tensor.shape for tensor in network.state_dict().values() if tensor.dim()]
    return class_names("imagenet") if shapes and shapes[-1][0] == 1000 else ()


def _finish(backbone: Backbone, network: nn.Module, offer: Offer | None) -> None:
    if backbone.finish is not None:
        backbone.finish(network, offer)


def _frozen(network: nn.Module) -> nn.Module:
    return network.requires_grad_(False).eval()


def _absent(backbone: Backbone, weights: str | os.PathLike[str]) -> str:
    text = os.fspath(weights)
    if Path(text).suffix or Path(text).name != text:
        return f"There is no file {text}: choose a .safetensors or .pth file."
    offered = " or ".join(backbone.weights)
    return f"{backbone.name} has no weights called “{text}”: choose {offered}, or a .safetensors or .pth file."


def _unfit(backbone: Backbone, name: str, found: Fit, tensors: dict[str, Tensor]) -> str:
    others = [other for other in catalog.backbones() if other != backbone.name and _fits(other, tensors)]
    remedy = f"it fits {' and '.join(others)}." if others else "choose the network that it was made for."
    return f"{name} was not made for {backbone.name}: {found.reasons()}; {remedy}"


def _fits(name: str, tensors: dict[str, Tensor]) -> bool:
    backbone = catalog.backbone(name)
    with torch.device("meta"):
        network = backbone.build()
    return fit(network, tensors, parts=parts_of(backbone, network)).fits


# Files


def read_tensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors in a file by their keys, on the CPU, and the file's SHA-256 in hex.

    They are read into memory, not mapped: a mapped file that a training program writes anew takes the process with it.

    Raises:
        WeightsError: in one sentence.
    """
    name = path.name
    try:
        if path.is_dir():
            raise WeightsError(f"{name} is a folder: choose a .safetensors or .pth file.")
        with path.open("rb") as file:
            head = file.read(64)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        content = _content(path, head)
    except OSError as error:
        raise WeightsError(
            f"{name} cannot be opened ({error.strerror or error}): choose a file that you may read."
        ) from error
    try:
        return state_dict_of(content), sha256
    except ContentError as error:
        raise WeightsError(f"{name} {error}: save the network's state_dict(), or choose another file.") from error


def _content(path: Path, head: bytes) -> object:
    """What the file holds, read in the way that its first bytes call for."""
    name = path.name
    if not head:
        raise WeightsError(f"{name} is empty: download or copy it again.")
    if head.startswith(b"PK\x03\x04"):
        return _zip_content(path)
    if head.startswith(b"\x80"):
        return _torch_content(path)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LARGEST_HEADER:
        return _safetensors_content(path)
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{name} is Git LFS's pointer to a file, not the file: fetch it with git lfs pull.")
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        raise WeightsError(f"{name} is a web page, not weights: download the file itself.")
    raise WeightsError(f"{name} is no weights file, or is broken: choose a .safetensors or .pth file.")


def _safetensors_content(path: Path) -> dict[str, Tensor]:
    try:
        return {key: tensor.clone() for key, tensor in safetensors.torch.load_file(path).items()}
    except safetensors.SafetensorError as error:
        raise WeightsError(_broken(path.name)) from error


def _zip_content(path: Path) -> object:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise WeightsError(_broken(path.name)) from error
    leaves = {entry.filename.rpartition("/")[2] for entry in entries}
    if "constants.pkl" in leaves:
        raise WeightsError(
            f"{path.name} is a TorchScript program, not weights: save the state_dict() of the network it was made from."
        )
    if "data.pkl" not in leaves:
        raise WeightsError(f"{path.name} is a zip file without weights in it: choose a .safetensors or .pth file.")
    # torch writes its entries as they are. A packed one may unfold to more than the memory there is.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WeightsError(f"{path.name} was packed again after torch saved it: save it anew with torch.save.")
    return _torch_content(path)


def _torch_content(path: Path) -> object:
    try:
        # Not by its path: torch would go by the suffix, and take a zip file called .safetensors for the other kind.
        # Its warnings are about the form of the file; where that matters, the file is refused with a sentence.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except pickle.UnpicklingError as error:
        if wanted := _unsafe_names(path, str(error)):
            raise WeightsError(_unsafe(path.name, wanted)) from error
        raise WeightsError(_broken(path.name)) from error
    # A file made of anything can make the unpickler raise anything; all of it means the same.
    except Exception as error:
        raise WeightsError(_broken(path.name)) from error


def _unsafe_names(path: Path, message: str) -> list[str]:
    """The classes and functions that a pickle asks for and may not have."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    # It reads the newer format only, and a broken file in whatever way it likes.
    except Exception:
        return re.findall(r"GLOBAL (\S+) was not an allowed global", message)


def _unsafe(name: str, wanted: list[str]) -> str:
    more = f" and {len(wanted) - 3} more" if len(wanted) > 3 else ""
    return (
        f"{name} was not loaded, for it could run code: it asks for {', '.join(wanted[:3])}{more}; "
        "save the network's state_dict() alone, best as .safetensors."
    )


def _broken(name: str) -> str:
    return f"{name} is broken or was cut off: download or copy it again."
