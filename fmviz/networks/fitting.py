"""Whether the tensors of a file are those of a network: asked, and answered in words, before any of them is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fmviz.networks.network import Network

NESTED = ("state_dict", "model_state_dict", "model")
"""Keys under which training programs keep the network's tensors beside other things."""

WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every key."""

COUNT = ".num_batches_tracked"
"""Frozen batch norm does not keep it, and in eval mode nothing depends on it: a file may lack it."""

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class ContentError(Exception):
    """What a file holds is no state dict. The text follows the file's name: "resnet.pth holds a list, not …"."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The comparison of a file's tensors with a network's.

    Attributes:
        state: what to load: the network's own keys; float32, contiguous. Only whole where `fits`.
        absent: parts ("classifier", "pyramid") of which the file has nothing.
        total: how many tensors the network has, batch norm's counts of batches left out.
        missing: keys of the network that are not in the file, those of absent parts left out.
        unknown: keys of the file that the network does not have.
        misfits: of tensors with another shape or type: "fc.weight is 10 × 512 instead of 1000 × 512".
    """

    state: dict[str, Tensor]
    absent: tuple[str, ...]
    total: int
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    misfits: tuple[str, ...]

    @property
    def fits(self) -> bool:
        return not (self.missing or self.unknown or self.misfits)

    def reasons(self) -> str:
        """Why not: numbers, and an example of each."""
        reasons = []
        if self.missing:
            reasons.append(f"{len(self.missing)} of its {self.total} tensors are missing (such as {self.missing[0]})")
        if self.misfits:
            reasons.append(f"{len(self.misfits)} of {self.total} have another shape or type ({self.misfits[0]})")
        if self.unknown:
            reasons.append(f"{len(self.unknown)} in the file are unknown to it (such as {self.unknown[0]})")
        return ", ".join(reasons)


def state_dict_of(content: object) -> dict[str, Tensor]:
    """The tensors by key in whatever a file held: a state dict, or one beside an epoch, an optimizer and the like.

    Raises:
        ContentError: there are none, or not tensors only.
    """
    # Three levels are more than any program nests; a dictionary that holds itself must not keep us here.
    for _ in range(3):
        nested = [key for key in NESTED if isinstance(content, dict) and isinstance(content.get(key), dict)]
        if isinstance(content, dict) and nested:
            content = content[nested[0]]
    if not isinstance(content, dict):
        raise ContentError(f"holds one {type(content).__name__}, not tensors by name")
    if not content:
        raise ContentError("holds no tensors")
    state = {_checked_key(key): _checked_tensor(key, value) for key, value in content.items()}
    return _unwrapped(state)


def fit(network: nn.Module, tensors: Mapping[str, Tensor], *, parts: Mapping[str, str]) -> Fit:
    """How `tensors` fit `network`, which may be on the meta device and is left as it is.

    Args:
        network: ours, or any other.
        tensors: by its keys; for a network of ours also by those that others gave it.
        parts: what may be absent as a whole: "classifier" -> its path in the network.
    """
    given = network.renamed(dict(tensors)) if isinstance(network, Network) else dict(tensors)
    wanted: dict[str, Tensor] = network.state_dict()
    absent = tuple(part for part, path in parts.items() if not any(key.startswith(f"{path}.") for key in given))
    optional = tuple(f"{parts[part]}." for part in absent)
    counts = {key: torch.tensor(0, device="cpu") for key in wanted if key.endswith(COUNT) and key not in given}
    common = {key: tensor for key, tensor in given.items() if key in wanted}
    misfits = tuple(words for key, tensor in common.items() if (words := _misfit(key, tensor, wanted[key])))
    return Fit(
        state={key: _owned(tensor, wanted[key]) for key, tensor in (common | counts).items()} if not misfits else {},
        absent=absent,
        total=sum(not key.endswith(COUNT) for key in wanted),
        missing=tuple(k for k in wanted if k not in given and k not in counts and not k.startswith(optional)),
        unknown=tuple(key for key in given if key not in wanted),
        misfits=misfits,
    )


def _checked_key(key: object) -> str:
    if not isinstance(key, str):
        raise ContentError(f"names a tensor {key!r:.40}, which is no text")
    return key


def _checked_tensor(key: object, value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise ContentError(f"holds a {type(value).__name__} as “{key}”, where only tensors are expected")
    if value.is_meta:
        raise ContentError(f"holds no values for “{key}”: it was saved from the meta device")
    if value.layout != torch.strided or value.is_quantized or value.is_nested:
        raise ContentError(f"holds “{key}” in a sparse, nested or quantized form")
    return value.detach()


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the wrappers' prefixes, in whatever order they lie around each other."""
    while prefix := next((w for w in WRAPPERS if all(key.startswith(w) for key in state)), ""):
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


def _misfit(key: str, given: Tensor, wanted: Tensor) -> str:
    """What is wrong with a tensor; "" where nothing is."""
    if given.shape != wanted.shape:
        return f"{key} is {_shape(given)} instead of {_shape(wanted)}"
    if given.dtype not in (FLOATS if wanted.is_floating_point() else INTEGERS):
        return f"{key} is {_dtype(given)} instead of {_dtype(wanted)}"
    return ""


def _owned(given: Tensor, wanted: Tensor) -> Tensor:
    """Half and double precision become the network's float32, channels-last and the like contiguous."""
    return given.to(wanted.dtype).contiguous()


def _shape(tensor: Tensor) -> str:
    return " × ".join(map(str, tensor.shape)) or "a single number"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
