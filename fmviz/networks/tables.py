"""The state dicts in what a file held: one alone, one beside an epoch and an optimizer, or a network's and its average.

Any dictionary that holds tensors by name is one, whatever it lies under. Entries of it that are no tensors are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from fmviz.networks.averages import flat_copy, is_averaged, named_shadow, swapped, with_statistics
from fmviz.networks.folding import Fold, folds_of

DEEPEST = 4
"""Dictionaries within dictionaries that are looked into: more than any training program nests."""

MOST = 64
"""Dictionaries that are looked into at most."""

MOST_NETWORKS = 4
"""Networks of a file whose buffers an average may be completed with."""

EXTRA_STATE = "_extra_state"
"""The last name of the key under which a module keeps what `get_extra_state` returned."""

_NOT_NETWORKS = re.compile(r"optim|sched|scaler|rng|loss|criterion|loop|callback")
"""Names of what training programs keep beside the network."""


class ContentError(Exception):
    """What a file holds is no state dict. The text follows the file's name: "resnet.pth holds a list, not …".

    Attributes:
        remedy: What to do instead.
    """

    def __init__(self, text: str, remedy: str = "save the network's state_dict(), or choose another file") -> None:
        super().__init__(text)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A tensor of a file that torch cannot read.

    Attributes:
        why: Follows the key: "is F4, which cannot be read".
    """

    why: str


@dataclass(frozen=True, slots=True)
class Table:
    """A state dict.

    Attributes:
        place: The names that it lies under: "state_dict"; "" where the file is nothing else.
        tensors: By key; without gradients, on the CPU.
        averaged: Whether it is the running average of a network.
        left_out: Entries of the dictionary that are no usable tensors, by key -> why not: "is an int", "is sparse".
        extra: The values of its `_extra_state` entries, by key.
        notes: What the user should know of it, a sentence each.
    """

    place: str
    tensors: dict[str, Tensor]
    averaged: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    _folds: list[tuple[Fold, ...]] = field(default_factory=list, compare=False, repr=False)

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The weights that it holds in a reparametrized form, computed once."""
        if not self._folds:
            self._folds.append(folds_of(self.tensors))
        return self._folds[0]


def tables_of(content: object) -> tuple[Table, ...]:
    """All state dicts in `content`: averages first, as their makers mean those for use; then by how many tensors they hold.

    Raises:
        ContentError: there is none.
    """
    tables, shadows = _found_in(content)
    return with_averages(tables, shadows)


def table_of_part(content: object) -> Table:
    """The state dict in a part of a checkpoint, as it is.

    Raises:
        ContentError: there is none.
    """
    tables, _ = _found_in(content)
    return _by_rank(tables)[0]


def _found_in(content: object) -> tuple[list[Table], list[tuple[str, list[Tensor]]]]:
    if not isinstance(content, dict):
        raise ContentError(f"holds one {type(content).__name__}, not tensors by name")
    tables: list[Table] = []
    refused: list[tuple[int, ContentError]] = []
    shadows: list[tuple[str, list[Tensor]]] = []
    for place, found, averaged in _dictionaries(content, "", DEEPEST, set()):
        try:
            tables.append(_table(place, found, averaged))
        except ContentError as error:
            refused.append((_tensors_in(found), error))
        shadows += _shadows(place, found)
    if not tables:
        if not refused:
            raise ContentError("holds no tensors")
        raise max(refused, key=lambda pair: pair[0])[1]
    return tables, shadows


def _by_rank(tables: Sequence[Table]) -> tuple[Table, ...]:
    largest = max(len(table.tensors) for table in tables)
    # A handful of statistics under a promising name is no network.
    return tuple(
        sorted(tables, key=lambda table: (2 * len(table.tensors) < largest, not table.averaged, -len(table.tensors)))
    )


def quoted(key: object) -> str:
    """A name out of a file for a sentence: on one line, and no longer than a name."""
    text = key if isinstance(key, str) else repr(key)[:60]
    plain = "".join(letter if letter.isprintable() else "?" for letter in text[:80])
    return plain if len(text) <= 80 else f"{plain[:79]}…"


def _dictionaries(
    content: dict[object, object], place: str, depth: int, seen: set[int], averaged: bool | None = None
) -> Iterator[tuple[str, dict[object, object], bool]]:
    """Every dictionary in `content` that may be a state dict, each once: one that holds itself must not keep us here.

    The last value is whether it is an average: as its writer has it, else by its name.
    """
    if id(content) in seen or len(seen) >= MOST:
        return
    seen.add(id(content))
    # Not by its own methods: an OrderedDict out of a file may have attributes of these names.
    items = list(dict.items(content))
    nested = [(key, value) for key, value in items if isinstance(value, dict)]
    if len(nested) < len(items):
        yield place, content, is_averaged(place) if averaged is None else averaged
    known = swapped(dict(items))
    for key, value in nested:
        if depth and isinstance(key, str) and not _NOT_NETWORKS.search(key.casefold()):
            within = f"{place}.{quoted(key)}" if place else quoted(key)
            yield from _dictionaries(value, within, depth - 1, seen, known.get(key, averaged))


def _tensors_in(found: dict[object, object]) -> int:
    return sum(isinstance(value, Tensor) for value in dict.values(found))


# One dictionary


def _table(place: str, found: dict[object, object], averaged: bool) -> Table:
    """The tensors of a dictionary; `ContentError` with the first reason where it has none that can be used."""
    tensors: dict[str, Tensor] = {}
    left_out: dict[str, str] = {}
    extra: dict[str, object] = {}
    first: ContentError | None = None
    for key, value in dict.items(found):
        try:
            name = _checked_key(key, value)
            if name.rpartition(".")[2] == EXTRA_STATE:
                extra[name] = value
                left_out[name] = "is no tensor"
            else:
                tensors[name] = _checked_tensor(key, value)
        except ContentError as error:
            # A dictionary next to tensors, as of an optimizer, is looked at by itself.
            first = first or error
            left_out[quoted(key) if not isinstance(key, str) else key] = _why(value)
    if not tensors:
        raise first or ContentError("holds no tensors")
    return Table(place, tensors, averaged, left_out, extra)


def _checked_key(key: object, value: object) -> str:
    if not isinstance(key, str):
        what = "a tensor" if isinstance(value, Tensor) else "an entry"
        raise ContentError(f"names {what} {quoted(key)}, which is no text")
    return key


def _checked_tensor(key: object, value: object) -> Tensor:
    if isinstance(value, Unreadable):
        raise ContentError(
            f"holds “{quoted(key)}”, which {value.why}", "convert the file to float32, or choose another one"
        )
    if type(value) not in (Tensor, nn.Parameter):
        raise ContentError(f"holds {_kind(value)} as “{quoted(key)}”, where only tensors are expected")
    # Not by its own methods: a tensor out of a file may have attributes of these names.
    tensor = Tensor.detach(value)  # type: ignore[arg-type]
    if tensor.is_meta:
        raise ContentError(f"holds no values for “{quoted(key)}”: it was saved from the meta device")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        raise ContentError(f"holds “{quoted(key)}” in a sparse, nested or quantized form")
    return tensor


def _why(value: object) -> str:
    """Why an entry is left out; follows its key."""
    if isinstance(value, Unreadable):
        return value.why
    if not isinstance(value, Tensor):
        return f"is {_kind(value)}"
    return "is without values" if value.is_meta else "is sparse, nested or quantized"


def _kind(value: object) -> str:
    """ "an int", "a str", "None" """
    name = type(value).__name__
    if value is None:
        return "None"
    return f"an {name}" if name[0].casefold() in "aeiou" else f"a {name}"


# Averages


def _shadows(place: str, found: dict[object, object]) -> list[tuple[str, list[Tensor]]]:
    """The averages in a dictionary that are lists of tensors without names."""
    listed = []
    for key, value in dict.items(found):
        if not isinstance(key, str) or not isinstance(value, list | tuple) or not is_averaged(key):
            continue
        if value and all(type(one) in (Tensor, nn.Parameter) for one in value):
            within = f"{place}.{quoted(key)}" if place else quoted(key)
            listed.append((within, [Tensor.detach(one) for one in value]))
    return listed


def with_averages(tables: Sequence[Table], shadows: Sequence[tuple[str, list[Tensor]]] = ()) -> tuple[Table, ...]:
    """The tables, with those averages that their writers keep without names, flattened, or without buffers."""
    found = [part for table in tables for part in _unflattened(table)]
    networks = sorted((table for table in found if not table.averaged), key=lambda table: -len(table.tensors))[
        :MOST_NETWORKS
    ]
    found = [_completed(table, networks) if table.averaged else table for table in found]
    for place, shadow in shadows:
        averages = [
            replace(table, place=place, tensors=named, averaged=True, _folds=[])
            for table in networks
            if (named := named_shadow(shadow, table.tensors)) is not None
        ]
        note = (
            f"The file's average, under “{place}”, has no names, and does not match the network tensor by tensor: the "
            "network itself was taken."
        )
        if not averages:
            found = [replace(table, notes=(*table.notes, note)) for table in found]
        found += averages[:1]
    return _by_rank(found)


def _unflattened(table: Table) -> list[Table]:
    """The network and its average, where one of them lies in the other's state dict under flattened names."""
    found = flat_copy(table.tensors)
    if found is None:
        return [table]
    second, keys, averaged = found
    first = {key: tensor for key, tensor in table.tensors.items() if key not in set(keys)}
    place = f"{table.place} → {quoted(keys[0])}, …" if table.place else f"{quoted(keys[0])}, …"
    return [
        replace(table, tensors=first, averaged=not averaged, _folds=[]),
        replace(table, place=place, tensors=second, averaged=averaged, _folds=[]),
    ]


def _completed(average: Table, networks: list[Table]) -> Table:
    """An average of the parameters alone with the buffers of the network."""
    for network in networks:
        whole = with_statistics(average.tensors, network.tensors)
        if whole is not None:
            note = "Its buffers, such as batch norm's statistics, are the network's: the file's average has none."
            return replace(average, tensors=whole, notes=(*average.notes, note), _folds=[])
    return average
