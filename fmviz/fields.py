"""What each element of a tensor can see of the network's input, passed on from operation to operation.

Of every tensor there are two more, of its shape or of size 1 where all are alike: the rows and the columns of the input
that each element can depend on, first and last. Window by window, minima of the first and maxima of the last are all that
it takes: `gathered` does convolutions, poolings, enlarging and padding; `united` what works element by element; `mixed`
what sums along an axis; views are views of these tensors too. What is not known here is unknown from there on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache

import torch
from torch import Tensor

FAR = 1 << 30
"""The first row that something sees which sees nothing; and the negative of the last."""


@dataclass(frozen=True, slots=True)
class Line:
    """On a picture without borders: element i along `dim` sees [i · step + low, i · step + high) of the input's axis."""

    dim: int
    step: Fraction
    low: Fraction
    high: Fraction


Lines = tuple[Line | None, Line | None]
"""Of rows and of columns; None where there is no such line."""


Sides = tuple[Tensor, Tensor]
"""Bounds of rows and of columns, see `Field`."""

_SMALL = 1 << 14
"""Bounds of so many elements are united at once: a lazy union costs more than it saves."""

_MOST_PARTS = 4


class Field:
    """What the elements of a tensor of n axes see.

    The bounds are kept as a union that is formed when they are read. The product of a query and a key depends on both, so
    that its bounds are those of its row and those of its column; after softmax and the next product only two vectors are
    left of a matrix that need not be formed.

    Attributes:
        lines: what holds away from all borders.
        unknown: the operation from which on nothing is known; "" where all is.
    """

    __slots__ = ("_parts", "lines", "unknown")

    def __init__(
        self,
        rows: Tensor,
        columns: Tensor,
        lines: Lines = (None, None),
        unknown: str = "",
        others: Sequence[Sides] = (),
    ) -> None:
        self._parts: tuple[Sides, ...] = ((rows, columns), *others)
        self.lines = lines
        self.unknown = unknown

    @property
    def parts(self) -> tuple[Sides, ...]:
        """Bounds whose union the field is: each (2, …) with n more axes, which broadcast against each other."""
        return self._parts

    @property
    def rows(self) -> Tensor:
        """int32, (2, …) with n more axes, each as long as the tensor's or 1: [0] is the first row that is seen, and [1] the
        negative of the one after the last, so that the smaller always is what sees more."""
        return self._whole()[0]

    @property
    def columns(self) -> Tensor:
        """The same of columns."""
        return self._whole()[1]

    def _whole(self) -> Sides:
        if len(self._parts) > 1:
            self._parts = (_union(self._parts),)
        return self._parts[0]

    @property
    def dims(self) -> int:
        return self._parts[0][0].dim() - 1

    def changed(self, change: Callable[[Tensor], Tensor], lines: Lines = (None, None)) -> Field:
        """`change` done to all bounds. It must be one that a minimum can be taken before or after."""
        return of_parts([(change(rows), change(columns)) for rows, columns in self._parts], lines)


def _union(parts: Sequence[Sides]) -> Sides:
    (rows, columns), *others = parts
    for more_rows, more_columns in others:
        rows, columns = torch.minimum(rows, more_rows), torch.minimum(columns, more_columns)
    return rows, columns


def of_parts(parts: Sequence[Sides], lines: Lines) -> Field:
    """Of the union of `parts`, of which those are formed at once that do not grow by it."""
    kept: list[Sides] = []
    for part in parts:
        place = next((place for place, one in enumerate(kept) if not _grows(one, part)), None)
        if place is None:
            kept.append(part)
        elif part[0] is not kept[place][0] or part[1] is not kept[place][1]:
            kept[place] = _union((kept[place], part))
    if len(kept) > _MOST_PARTS:
        kept = [_union(kept)]
    return Field(*kept[0], lines, others=kept[1:])


def _grows(one: Sides, other: Sides) -> bool:
    return any(_grow(*both) for both in zip(one, other, strict=True))


def _grow(one: Tensor, other: Tensor) -> bool:
    """Whether the union of both has more elements than the larger, and many."""
    if one.shape == other.shape:
        return False
    count = math.prod(max(both) for both in zip(one.shape, other.shape, strict=True))
    return count > _SMALL and count > max(one.numel(), other.numel())


def of_input(height: int, width: int, dims: int = 4) -> Field:
    """Of the input itself, (…, channels, height, width) with `dims` axes: each pixel sees itself."""
    one = Fraction(1)
    zero = Fraction(0)
    return Field(
        _steps(height).view(2, *[1] * (dims - 2), height, 1),
        _steps(width).view(2, *[1] * (dims - 1), width),
        (Line(dims - 2, one, zero, one), Line(dims - 1, one, zero, one)),
    )


def unknown(operation: str) -> Field:
    nothing = torch.zeros(2, dtype=torch.int32)
    return Field(nothing, nothing, unknown=operation)


def _steps(length: int) -> Tensor:
    first = torch.arange(length, dtype=torch.int32)
    return torch.stack((first, -first - 1))


# Windows along an axis


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Which elements along an axis each new element is made of.

    Attributes:
        index: (new · most,) int64: their places; anywhere where there is none.
        most: how many there are for each at most.
        missing: (new, most) bool: where there is none; None where there always is one.
        blind: (new,) bool: those made of none at all; None where there is no such.
    """

    index: Tensor
    most: int
    missing: Tensor | None
    blind: Tensor | None


def table(places: Tensor, length: int) -> Table:
    """Of (new, most) int64 places along an axis of `length`; those beyond it are none."""
    missing = (places < 0) | (places >= length)
    blind = missing.all(dim=1)
    return Table(
        places.clamp(0, max(length - 1, 0)).flatten(),
        places.shape[1],
        missing if missing.any() else None,
        blind if blind.any() else None,
    )


@lru_cache(maxsize=4096)
def windows(length: int, new: int, kernel: int, stride: int, padding: int, dilation: int) -> Table | None:
    """Of a convolution or a pooling; None where every element is made of the one in its place."""
    if (kernel, stride, padding) == (1, 1, 0) and length == new:
        return None
    return table((torch.arange(new) * stride - padding)[:, None] + torch.arange(kernel) * dilation, length)


@lru_cache(maxsize=1024)
def transposed_windows(length: int, new: int, kernel: int, stride: int, padding: int, dilation: int) -> Table:
    """Of a transposed convolution: element i is added to i · stride - padding + k · dilation, for each k."""
    from_start = torch.arange(new)[:, None] + padding - torch.arange(kernel) * dilation
    return table(torch.where(from_start % stride == 0, from_start // stride, -1), length)


@lru_cache(maxsize=1024)
def adaptive_windows(length: int, new: int) -> Table | None:
    """Of an adaptive pooling: from ⌊i · length / new⌋ to ⌈(i + 1) · length / new⌉."""
    if length == new:
        return None
    step = torch.arange(new)
    first, after = step * length // new, -(-(step + 1) * length // new)
    places = first[:, None] + torch.arange(int((after - first).max()))
    return table(torch.where(places < after[:, None], places, -1), length)


@lru_cache(maxsize=1024)
def nearest(length: int, new: int, scale: float | None, *, exact: bool) -> Table | None:
    """Of enlarging by the nearest element, in float32 as torch reckons; `exact` is its mode "nearest-exact"."""
    if length == new:
        return None
    step = torch.tensor(1 / scale if scale else length / new, dtype=torch.float32)
    source = ((torch.arange(new, dtype=torch.float32) + (0.5 if exact else 0)) * step).floor().long()
    return table(source.clamp(max=length - 1)[:, None], length)


@lru_cache(maxsize=1024)
def interpolated(length: int, new: int, scale: float | None, *, align: bool, reach: int) -> Table | None:
    """Of enlarging bilinearly (`reach` 1) or bicubically (2); an element with no weight is not seen."""
    if length == new:
        return None
    step = torch.arange(new, dtype=torch.float64)
    if align:
        source = step * ((length - 1) / (new - 1) if new > 1 else 0.0)
    else:
        source = (step + 0.5) * (1 / scale if scale else length / new) - 0.5
        source = source.clamp(min=0) if reach == 1 else source
    # So near to an element the others' weights are errors of rounding.
    source = torch.where((source - source.round()).abs() < 1e-6, source.round(), source)
    first = source.floor()
    weighed = (source > first)[:, None] | (torch.arange(1 - reach, reach + 1) == 0)
    places = (first.long()[:, None] + torch.arange(1 - reach, reach + 1)).clamp(0, length - 1)
    return table(torch.where(weighed, places, -1), length)


@lru_cache(maxsize=1024)
def padded(length: int, before: int, after: int, *, mode: str) -> Table:
    """Of padding with "constant", "reflect", "replicate" or "circular"; by less than nothing it cuts."""
    places = torch.arange(-before, length + after)
    if mode == "replicate":
        places = places.clamp(0, length - 1)
    elif mode == "reflect":
        places = length - 1 - (length - 1 - places.abs()).abs()
    elif mode == "circular":
        places = places % length
    return table(places[:, None], length)


def gathered(field: Field, dim: int, of: Table | None, line: Window | None = None) -> Field:
    """`field` after each element along `dim` was made of those that the table says.

    Args:
        line: kernel, stride, padding and dilation, where the table is one of these everywhere.
    """
    if of is None:
        return field
    lines = tuple(
        (_further(one, line) if line else None) if one is not None and one.dim == dim else one for one in field.lines
    )
    return field.changed(lambda sides: _along(sides, dim, of), (lines[0], lines[1]))


Window = tuple[int, int, int, int]
"""Kernel, stride, padding and dilation along one axis."""


def _along(sides: Tensor, dim: int, of: Table) -> Tensor:
    dim += 1
    if sides.shape[dim] == 1 and of.blind is None:
        return sides
    if sides.shape[dim] == 1:
        assert of.blind is not None
        sides = sides.expand(*sides.shape[:dim], len(of.blind), *sides.shape[dim + 1 :])
        return sides.masked_fill(_in_place(of.blind, sides, dim), FAR)
    found = sides.index_select(dim, of.index)
    if of.most == 1 and of.missing is None:
        return found
    found = found.view(*found.shape[:dim], -1, of.most, *found.shape[dim + 1 :])
    if of.missing is not None:
        shape = [1] * found.dim()
        shape[dim : dim + 2] = of.missing.shape
        found = found.masked_fill(of.missing.view(shape), FAR)
    return found.amin(dim=dim + 1)


def _in_place(mask: Tensor, sides: Tensor, dim: int) -> Tensor:
    return mask.view([-1 if axis == dim else 1 for axis in range(sides.dim())])


def _further(line: Line, window: Window) -> Line:
    """low - padding · step, high + ((kernel - 1) · dilation - padding) · step, step · stride."""
    kernel, stride, padding, dilation = window
    return Line(
        line.dim,
        line.step * stride,
        line.low - padding * line.step,
        line.high + ((kernel - 1) * dilation - padding) * line.step,
    )


# Elements and axes


def united(fields: Sequence[Field], dims: int) -> Field:
    """Of what is made of one element of each, broadcast against each other to `dims` axes."""
    aligned = [_aligned(field, dims) for field in fields]
    lines = aligned[0].lines
    for other in aligned[1:]:
        lines = (_both(lines[0], other.lines[0]), _both(lines[1], other.lines[1]))
    return of_parts([part for field in aligned for part in field.parts], lines)


def _aligned(field: Field, dims: int) -> Field:
    more = dims - field.dims
    if not more:
        return field

    def with_more(sides: Tensor) -> Tensor:
        return sides.view(2, *(1,) * more, *sides.shape[1:])

    lines = tuple(Line(one.dim + more, one.step, one.low, one.high) if one else None for one in field.lines)
    return field.changed(with_more, (lines[0], lines[1]))


def _both(one: Line | None, other: Line | None) -> Line | None:
    if one is None or other is None or (one.dim, one.step) != (other.dim, other.step):
        return None
    return Line(one.dim, one.step, min(one.low, other.low), max(one.high, other.high))


def mixed(field: Field, dims: Sequence[int], *, keep: bool = True) -> Field:
    """Of what is made of all elements along `dims`, which are then of size 1, or gone."""
    axes = [dim + 1 for dim in dims]

    def over(sides: Tensor) -> Tensor:
        long = [axis for axis in axes if sides.shape[axis] > 1]
        if long:
            sides = _alike(sides.amin(dim=long, keepdim=True))
        return sides if keep else sides.squeeze(axes)

    lines = tuple(None if one is None or one.dim in dims or not keep else one for one in field.lines)
    return field.changed(over, (lines[0], lines[1]))


def _alike(sides: Tensor) -> Tensor:
    """One for all, where all see the same: after a layer of attention all see everything."""
    flat = sides.flatten(1)
    return sides[(slice(None), *[slice(1)] * (sides.dim() - 1))] if bool((flat == flat[:, :1]).all()) else sides


def in_groups(field: Field, groups: int, channels: int, new: int) -> Field:
    """After a convolution in groups: each of `new` channels is made of all of its group's."""
    if groups == 1 or all(sides.shape[2] == 1 for part in field.parts for sides in part):
        return mixed(field, (1,))

    def over(sides: Tensor) -> Tensor:
        if sides.shape[2] == 1:
            return sides
        parts: Tensor = sides.reshape(2, -1, groups, channels // groups, *sides.shape[3:]).amin(dim=3)
        return parts.repeat_interleave(new // groups, dim=2)

    return field.changed(over, field.lines)


def joined(fields: Sequence[Field | None], lengths: Sequence[int], dim: int, dims: int) -> Field:
    """Tensors of `lengths` along `dim` behind each other; what has no field sees nothing."""
    known = [field for field in fields if field is not None]
    lines = known[0].lines
    for field in known[1:]:
        lines = (_both(lines[0], field.lines[0]), _both(lines[1], field.lines[1]))
    lines_left = tuple(None if one is None or one.dim == dim else one for one in lines)

    def together(sides: list[Tensor]) -> Tensor:
        alike = all(one.shape == sides[0].shape and one.shape[dim + 1] == 1 for one in sides)
        if alike and all(torch.equal(one, sides[0]) for one in sides[1:]):
            return sides[0]
        most = [max(one.shape[axis] for one in sides) for axis in range(dims + 1)]
        parts = []
        for one, length in zip(sides, lengths, strict=True):
            most[dim + 1] = length
            parts.append(one.expand(most))
        return torch.cat(parts, dim=dim + 1)

    blind = torch.full((2, *(1,) * dims), FAR, dtype=torch.int32)
    rows = together([blind if field is None else field.rows for field in fields])
    columns = together([blind if field is None else field.columns for field in fields])
    return Field(rows, columns, (lines_left[0], lines_left[1]))


def reshaped(field: Field, old: Sequence[int], new: Sequence[int]) -> Field:
    """After `view`: axes that are merged or cut are filled up first where their elements differ."""
    groups = _groups(tuple(old), tuple(new))
    lines: list[Line | None] = [None, None]
    for place, line in enumerate(field.lines):
        for olds, news in groups:
            if line is not None and olds == (line.dim,) and len(news) == 1:
                lines[place] = Line(news[0], line.step, line.low, line.high)

    def over(sides: Tensor) -> Tensor:
        full, shape = [2], [2]
        for olds, news in groups:
            alike = all(sides.shape[axis + 1] == 1 for axis in olds)
            full += [1 if alike else old[axis] for axis in olds]
            shape += [1 if alike else new[axis] for axis in news]
        return sides.expand(full).reshape(shape)

    return field.changed(over, (lines[0], lines[1]))


@cache
def _groups(old: tuple[int, ...], new: tuple[int, ...]) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Which axes of the old shape became which of the new: the smallest runs with as many elements."""
    found, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        olds, news = [], []
        # An axis of 1 belongs to whatever it stands beside; alone it goes with nothing.
        if i < len(old) and j < len(new):
            olds, news = [i], [j]
            before, after = old[i], new[j]
            i, j = i + 1, j + 1
            while before != after:
                if before < after:
                    before, olds, i = before * old[i], [*olds, i], i + 1
                else:
                    after, news, j = after * new[j], [*news, j], j + 1
        elif i < len(old):
            olds, i = [i], i + 1
        else:
            news, j = [j], j + 1
        found.append((tuple(olds), tuple(news)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Part:
    """Where a part lies in a whole along one axis of the whole: from `start` on; `dim` of the part, None where it has none."""

    start: int
    length: int
    dim: int | None


def written(whole: Field | None, part: Field, where: Sequence[Part], shape: Sequence[int]) -> Field:
    """Of a whole of `shape` after a part of it was written; what has no field sees nothing."""
    covered = [one.length == length for one, length in zip(where, shape, strict=True)]
    dims = len(shape)
    blind = torch.full((2, *(1,) * dims), FAR, dtype=torch.int32)
    axes = [one.dim for one in where]

    def over(before: Tensor, sides: Tensor) -> Tensor:
        opened = sides.view(2, *[1 if axis is None else sides.shape[axis + 1] for axis in axes])
        if all(covered):
            return opened
        full = [
            max(before.shape[axis + 1], opened.shape[axis + 1]) if covered[axis] else shape[axis]
            for axis in range(dims)
        ]
        made = before.expand(2, *full).clone()
        place = [
            slice(None) if c else slice(one.start, one.start + one.length)
            for one, c in zip(where, covered, strict=True)
        ]
        made[(slice(None), *place)] = opened
        return made

    rows, columns = (whole.rows, whole.columns) if whole is not None else (blind, blind)
    lines: list[Line | None] = [None, None]
    for number, line in enumerate(part.lines):
        # What lies beside it sees nothing, as a convolution's padding does.
        if line is not None and whole is None and line.dim in axes and where[axes.index(line.dim)].start == 0:
            lines[number] = Line(axes.index(line.dim), line.step, line.low, line.high)
    return Field(over(rows, part.rows), over(columns, part.columns), (lines[0], lines[1]))


def permuted(field: Field, order: Sequence[int]) -> Field:
    """After the axes changed places: the new axis i is the old `order[i]`."""
    places = (0, *(dim % field.dims + 1 for dim in order))
    back = {dim % field.dims: place for place, dim in enumerate(order)}
    lines = tuple(Line(back[one.dim], one.step, one.low, one.high) if one else None for one in field.lines)
    return field.changed(lambda sides: sides.permute(places), (lines[0], lines[1]))
