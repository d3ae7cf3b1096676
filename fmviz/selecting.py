"""Which layers of a capture a person means by names and patterns, and what their files are called."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from fmviz.errors import LayerError
from fmviz.naming import distinct_names

if TYPE_CHECKING:
    from torch import Tensor

    from fmviz.capture import Activation, Capture

_LONGEST_PICTURE_NAME = 40


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A layer that is to be drawn or written.

    Attributes:
        name: of the layer, with its call and item: "layer2.0.relu:2".
        tap: the names it is known by in a pyramid, "P3"; "" for most.
        kind: class of the module.
        tensor: as captured.
        maps: the same as 1 × channels × height × width; `tensor` where it cannot be drawn as maps.
        why_no_maps: one sentence where it cannot be drawn as maps; "" where it can.
    """

    name: str
    tap: str
    kind: str
    tensor: Tensor
    maps: Tensor
    why_no_maps: str

    @property
    def has_values(self) -> bool:
        """Whether it has no maps, but values that can be drawn as matrices or as bars."""
        tensor = self.tensor
        return bool(self.why_no_maps) and not tensor.is_nested and not tensor.is_meta and tensor.numel() > 0

    @property
    def title(self) -> str:
        return f"{self.tap} · {self.name}" if self.tap else self.name

    @property
    def shape_words(self) -> str:
        """Kind and shape: "Conv2d · 512 × 28 × 28"; and that complex numbers are drawn by their magnitude."""
        if self.tensor.is_nested:
            return f"{self.kind} · nested"
        shape = self.maps.shape[1:] if not self.why_no_maps else self.tensor.shape
        words = f"{self.kind} · {' × '.join(f'{length:,}' for length in shape) or 'scalar'}"
        return f"{words} · magnitude of complex values" if self.tensor.is_complex() else words

    @property
    def facts(self) -> dict[str, Any]:
        """JSON values about it."""
        return {
            "layer": self.name,
            "tap": self.tap or None,
            "kind": self.kind,
            "shape": [] if self.tensor.is_nested else list(self.tensor.shape),
            "dtype": str(self.tensor.dtype).removeprefix("torch."),
        }


def chosen_layers(capture: Capture, patterns: str | Sequence[str]) -> list[Chosen]:
    """The layers that any of `patterns` names, in the order in which they ran.

    A pattern is the exact name of a layer ("fpn[p3]") or a tap ("P3"), or has `*`, `?` and `[…]` in it, which match
    capital and small letters as they are.

    Raises:
        LayerError: there are no patterns, or one matches nothing.
    """
    taps = _taps(capture)
    names = [str(layer) for layer in capture]
    wanted: set[str] = set()
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        if pattern in capture.omitted and pattern not in names:
            raise LayerError(capture.omitted[pattern])
        wanted |= _matching(pattern, names, taps)
    if not wanted:
        raise LayerError("No layer was chosen: name at least one, or “*” for all.")
    return [
        _chosen(name, taps.get(name, ()), activation)
        for name, activation in zip(names, capture.values(), strict=True)
        if name in wanted
    ]


def _chosen(name: str, taps: Sequence[str], activation: Activation) -> Chosen:
    tensor, why = activation.tensor, activation.why_no_maps
    maps = tensor if why else activation.maps
    return Chosen(name, "+".join(taps), activation.kind, tensor, maps, f"{why[0].lower()}{why[1:]}" if why else "")


def _matching(pattern: str, names: Sequence[str], taps: Mapping[str, Sequence[str]]) -> set[str]:
    known = {name: name for name in names} | {tap: name for name, of_name in taps.items() for tap in of_name}
    if pattern in known:
        # A layer's own name may hold brackets.
        return {known[pattern]}
    found = {name for text, name in known.items() if fnmatch.fnmatchcase(text, pattern)}
    if not found:
        raise LayerError(f"No layer is called “{pattern}”, nor matches it: {_hint(pattern, list(known))}.")
    return found


_FEW = 4


def _hint(pattern: str, known: Sequence[str]) -> str:
    by_small = {text.lower(): text for text in known}
    close = difflib.get_close_matches(pattern.lower().strip("*?"), by_small, n=3, cutoff=0.5)
    if close:
        return f"did you mean {', '.join(by_small[text] for text in close)}"
    if not known:
        return "this run kept no layers"
    more = ", …" if len(known) > _FEW else ""
    return f"choose from {', '.join(known[:_FEW])}{more}"


def file_stems(capture: Capture, facts: Mapping[str, Any], *, ending: str = "") -> dict[str, str]:
    """Layer name -> the name of its file without suffix: picture, network, and the tap or the layer.

    They are made distinct among all layers, chosen or not, so that a layer's file has the same name in every export.
    With `ending`, the only key is "" and its name ends so.
    """
    picture = PurePath(str(facts.get("picture", {}).get("name", ""))).stem[:_LONGEST_PICTURE_NAME]
    start = "".join(f"{part}_" for part in (picture, str(facts.get("network", ""))) if part)
    if ending:
        return {"": distinct_names([start + ending])[0]}
    taps = _taps(capture)
    names = [str(layer) for layer in capture]
    stems = distinct_names([start + ("+".join(taps[name]) if name in taps else name) for name in names])
    return dict(zip(names, stems, strict=True))


def _taps(capture: Capture) -> dict[str, list[str]]:
    """Layer name -> its taps."""
    found: dict[str, list[str]] = {}
    for tap, activation in capture.taps.items():
        found.setdefault(str(activation.layer), []).append(tap)
    return found
