"""The state dicts in what a file held: one alone, one beside an epoch and an optimizer, or a network's and its average.

Any dictionary that holds tensors by name and nothing else is one, whatever it lies under.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

DEEPEST = 4
"""Dictionaries within dictionaries that are looked into: more than any training program nests."""

MOST = 64
"""Dictionaries that are looked into at most."""

_AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged?|teacher)([._]|$)")
"""Names of the running average of a network over its training: what its makers test and publish."""

_NOT_NETWORKS = re.compile(r"optim|sched|scaler|rng|loss|criterion|loop|callback")
"""Names of what training programs keep beside the network."""


class ContentError(Exception):
    """What a file holds is no state dict. The text follows the file's name: "resnet.pth holds a list, not …"."""


@dataclass(frozen=True, slots=True)
class Table:
    """A state dict.

    Attributes:
        place: the names that it lies under: "state_dict"; "" where the file is nothing else.
        tensors: by key; without gradients, on the CPU.
    """

    place: str
    tensors: dict[str, Tensor]


def is_averaged(place: str) -> bool:
    """Whether what lies under this name is a running average ("model_ema", "teacher.backbone.")."""
    return _AVERAGED.search(place.casefold()) is not None


def tables_of(content: object) -> tuple[Table, ...]:
    """All state dicts in `content`: averages first, as their makers mean those for use; then by how many tensors they hold.

    Raises:
        ContentError: there is none.
    """
    if not isinstance(content, dict):
        raise ContentError(f"holds one {type(content).__name__}, not tensors by name")
    tables, refused = [], []
    for place, found in _dictionaries(content, "", DEEPEST, set()):
        try:
            tables.append(Table(place, _checked(found)))
        except ContentError as error:
            refused.append((_tensors_in(found), error))
    if not tables:
        if not refused:
            raise ContentError("holds no tensors")
        raise max(refused, key=lambda pair: pair[0])[1]
    largest = max(len(table.tensors) for table in tables)
    # A handful of statistics under a promising name is no network.
    return tuple(
        sorted(
            tables,
            key=lambda table: (2 * len(table.tensors) < largest, not is_averaged(table.place), -len(table.tensors)),
        )
    )


def quoted(key: object) -> str:
    """A name out of a file for a sentence: on one line, and no longer than a name."""
    text = key if isinstance(key, str) else repr(key)[:60]
    plain = "".join(letter if letter.isprintable() else "?" for letter in text[:80])
    return plain if len(text) <= 80 else f"{plain[:79]}…"


def _dictionaries(
    content: dict[object, object], place: str, depth: int, seen: set[int]
) -> Iterator[tuple[str, dict[object, object]]]:
    """Every dictionary in `content` that may be a state dict, each once: one that holds itself must not keep us here."""
    if id(content) in seen or len(seen) >= MOST:
        return
    seen.add(id(content))
    # Not by its own methods: an OrderedDict out of a file may have attributes of these names.
    items = list(dict.items(content))
    nested = [(key, value) for key, value in items if isinstance(value, dict)]
    if len(nested) < len(items):
        yield place, content
    for key, value in nested:
        if depth and isinstance(key, str) and not _NOT_NETWORKS.search(key.casefold()):
            yield from _dictionaries(value, f"{place}.{quoted(key)}" if place else quoted(key), depth - 1, seen)


def _tensors_in(found: dict[object, object]) -> int:
    return sum(isinstance(value, Tensor) for value in dict.values(found))


def _checked(found: dict[object, object]) -> dict[str, Tensor]:
    return {_checked_key(key): _checked_tensor(key, value) for key, value in dict.items(found)}


def _checked_key(key: object) -> str:
    if not isinstance(key, str):
        raise ContentError(f"names a tensor {quoted(key)}, which is no text")
    return key


def _checked_tensor(key: object, value: object) -> Tensor:
    if type(value) not in (Tensor, nn.Parameter):
        raise ContentError(f"holds a {type(value).__name__} as “{quoted(key)}”, where only tensors are expected")
    # Not by its own methods: a tensor out of a file may have attributes of these names.
    tensor = Tensor.detach(value)  # type: ignore[arg-type]
    if tensor.is_meta:
        raise ContentError(f"holds no values for “{quoted(key)}”: it was saved from the meta device")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        raise ContentError(f"holds “{quoted(key)}” in a sparse, nested or quantized form")
    return tensor
