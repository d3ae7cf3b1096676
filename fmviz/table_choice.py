"""Some rows of a layer table: by words, by kind, by depth, where the size changes; and in another order. Needs no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from fmviz.table import LayerTable, Row

Shape = tuple[int, ...]
Value = float | str | None


class Choice(msgspec.Struct, frozen=True):
    """Which rows, and in which order.

    Attributes:
        words: all of them are in the path, the kind, the details or the stage, whatever the case.
        kind: the class, whatever the case.
        only_size_changes: those whose output has another height and width than their input.
        depth: no module lies in more modules than so many; None for all.
        sort: a column of `COLUMNS`, the largest first, names from A; None for the order of the tree.
        only_leaves: those with no module in them.
    """

    words: str = ""
    kind: str = ""
    only_size_changes: bool = False
    depth: int | None = None
    sort: str | None = None
    only_leaves: bool = False


COLUMNS: dict[str, Callable[[Row], Value]] = {
    "layer": lambda row: row.path,
    "kind": lambda row: row.kind,
    "input": lambda row: _elements(row.input_shape),
    "output": lambda row: _elements(row.output_shape),
    "stride": lambda row: row.stride,
    "field": lambda row: _field(row),
    "parameters": lambda row: row.parameters,
    "own": lambda row: row.own_parameters,
    "MACs": lambda row: row.macs,
    "other": lambda row: row.other_operations,
    "bytes": lambda row: row.activation_bytes,
    "calls": lambda row: row.calls,
    "time": lambda row: row.seconds,
}
"""What can be sorted by; None is not known, and comes last."""


class Described(Protocol):
    """What is asked of a row: of the table itself, or of one that came from another process."""

    @property
    def path(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def detail(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def depth(self) -> int: ...
    @property
    def input_shape(self) -> Shape | None: ...
    @property
    def output_shape(self) -> Shape | None: ...
    @property
    def leaf(self) -> bool: ...


def matches(row: Described, choice: Choice) -> bool:
    """Whether `choice` is about this row."""
    # No keyboard has the sign that sizes are written with.
    words = re.sub(r"(?<=\d)x(?=\d)", "×", choice.words.lower()).split()
    return (
        all(word in f"{row.path} {row.kind} {row.detail} {row.stage}".lower() for word in words)
        and choice.kind.lower() in ("", row.kind.lower())
        and (choice.depth is None or row.depth <= choice.depth)
        and (row.leaf or not choice.only_leaves)
        and not (choice.only_size_changes and not size_changes(row.input_shape, row.output_shape))
    )


def chosen(table: LayerTable, choice: Choice) -> list[Row]:
    """The rows that `choice` is about."""
    rows = [row for row in table if matches(row, choice)]
    if choice.sort is None:
        return rows
    of = COLUMNS[choice.sort]
    known = [row for row in rows if of(row) is not None]
    backwards = choice.sort not in ("layer", "kind")
    known.sort(key=lambda row: of(row), reverse=backwards)  # type: ignore[arg-type, return-value]
    return known + [row for row in rows if of(row) is None]


def size_changes(before: Shape | None, after: Shape | None) -> bool:
    """Whether a map of another height or width is put out than was taken, batch × channels × height × width each."""
    maps = before is not None and after is not None and len(before) == len(after) == 4
    return bool(maps and before and after and before[2:] != after[2:])


def _elements(shape: Shape | None) -> int | None:
    return None if shape is None else math.prod(shape)


def _field(row: Row) -> float | None:
    size = row.receptive_field.size if row.receptive_field else None
    return float(math.prod(size)) if size else None
