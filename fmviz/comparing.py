"""Two networks side by side: what each stage of them has, costs and sees, and the differences."""

from __future__ import annotations

import csv as csv_writer
import io
import json as json_writer
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from torch import nn

from fmviz import table_formats
from fmviz.errors import FmvizError
from fmviz.parameter_counts import SharedTensor, own_sum
from fmviz.table import LayerTable, Row, layer_table
from fmviz.table_formats import parameters_words

WHOLE = ""
"""The stage of lines that are about the whole network."""

STAGES = ("C1", "C2", "C3", "C4", "C5", "pyramid", "head")
"""In the order in which they are shown."""

_ALL = "all"
_NUMBERS = range(2, 6)


@dataclass(frozen=True, slots=True)
class Line:
    """One quantity of both networks.

    Attributes:
        stage: `WHOLE`, or one of `STAGES`.
        quantity: one of `QUANTITIES`.
        one, other: numbers; None where a network has no such stage, or nobody knows.
    """

    stage: str
    quantity: str
    one: float | None
    other: float | None

    @property
    def difference(self) -> float | None:
        """How much more the other has."""
        return self.other - self.one if self.one is not None and self.other is not None else None

    @property
    def ratio(self) -> float | None:
        """How many times as much the other has."""
        return self.other / self.one if self.one and self.other is not None else None


class Comparison(Sequence[Line]):
    """The lines: of the whole first, then stage by stage.

    Attributes:
        one, other: the tables that are compared.
    """

    def __init__(self, one: LayerTable, other: LayerTable, lines: Sequence[Line]) -> None:
        self.one, self.other = one, other
        self._lines = tuple(lines)

    def __getitem__(self, index: int) -> Line:  # type: ignore[override]
        return self._lines[index]

    def __len__(self) -> int:
        return len(self._lines)

    def __repr__(self) -> str:
        return f"<Comparison of {self.one.network} and {self.other.network}>"

    def line(self, quantity: str, stage: str = WHOLE) -> Line:
        """The line of a quantity, in any case; `FmvizError` where there is none."""
        for line in self._lines:
            if line.stage == stage and line.quantity.casefold() == quantity.casefold():
                return line
        stages = ", ".join(sorted({line.stage for line in self._lines} - {WHOLE}))
        raise FmvizError(
            f"There is no {quantity} of {stage or 'the whole'}: choose from {', '.join(QUANTITIES)}"
            f"{f'; of the whole, or of {stages}' if stages else ''}."
        )

    def to_text(self) -> str:
        """Aligned columns."""
        lines = table_formats.aligned(_title(self), _headings(self), _rows(self), numbers=_NUMBERS)
        return lines + "".join(f"\n{note}\n" for note in self.notes())

    def to_csv(self) -> str:
        """A line a quantity, with plain numbers."""
        out = io.StringIO()
        writer = csv_writer.writer(out, lineterminator="\n")
        writer.writerow(("stage", "quantity", self.one.network, self.other.network, "difference", "ratio"))
        for line in self:
            writer.writerow((line.stage, line.quantity, line.one, line.other, line.difference, line.ratio))
        return out.getvalue()

    def to_markdown(self) -> str:
        return table_formats.pipes(_headings(self), _rows(self), numbers=_NUMBERS)

    def to_latex(self) -> str:
        """A `tabular` for the package booktabs."""
        return table_formats.tabular(_headings(self), _rows(self), numbers=_NUMBERS)

    def to_latex_compact(self) -> str:
        """A `tabular` for one column of a paper: the lines of the whole networks, without difference and ratio."""
        rows = [row[1:4] for row in _rows(self) if row[0] == _ALL]
        return table_formats.tabular(_headings(self)[1:4], rows, numbers=(1, 2))

    def notes(self) -> list[str]:
        """Return a sentence per network whose parameters include a detection head that its weights brought."""
        counts = [
            (table.network, table.totals.parameters, table.totals.head_parameters) for table in (self.one, self.other)
        ]
        return [
            f"Parameters of {name}: {parameters_words(total - head, head)}." for name, total, head in counts if head
        ]

    def to_json(self) -> str:
        facts = {
            "one": self.one.network,
            "other": self.other.network,
            "input_size": self.one.input_size,
            "lines": [{**asdict(line), "difference": line.difference, "ratio": line.ratio} for line in self],
        }
        return json_writer.dumps(facts, ensure_ascii=False, indent=2) + "\n"


def compare(one: LayerTable | str | nn.Module, other: LayerTable | str | nn.Module) -> Comparison:
    """What the two have in all, and in each stage that either of them has.

    Args:
        one, other: tables; or what `layer_table` makes one of, at the size that it takes where none is given.

    Layers are counted that have no modules in them. The stride of a stage is that of its last map, and its receptive
    field the longer side of what its cells see, without borders where that is known.

    Example:
        >>> from fmviz.table import layer_table
        >>> line = compare(layer_table("vgg16"), layer_table("resnet50")).line("parameters")
        >>> line.one, line.other, round(line.ratio, 3)
        (138357544, 25557032, 0.185)
    """
    one = one if isinstance(one, LayerTable) else layer_table(one)
    other = other if isinstance(other, LayerTable) else layer_table(other)
    lines = [Line(WHOLE, name, _of_whole(one, name), _of_whole(other, name)) for name in QUANTITIES]
    for stage in STAGES:
        if any(row.stage == stage for table in (one, other) for row in table):
            lines += [
                Line(stage, name, _of_stage(one, stage, name), _of_stage(other, stage, name)) for name in QUANTITIES
            ]
    return Comparison(one, other, lines)


def _of_whole(table: LayerTable, name: str) -> float | None:
    return _QUANTITIES[name](_Part(list(table), table.totals.shared))


def _of_stage(table: LayerTable, stage: str, name: str) -> float | None:
    rows = [row for row in table if row.stage == stage]
    return _QUANTITIES[name](_Part(rows, table.totals.shared)) if rows else None


@dataclass(frozen=True, slots=True)
class _Part:
    """A network or one stage of it: its rows, and the tensors of the network that several modules hold."""

    rows: Sequence[Row]
    shared: Sequence[SharedTensor]

    @property
    def leaves(self) -> list[Row]:
        return [row for row in self.rows if row.leaf]


def _field(part: _Part) -> float | None:
    """The longer side of the largest, which that of the last layer with a map is."""
    fields = [row.receptive_field for row in part.rows if row.stride is not None and row.receptive_field is not None]
    sizes = [field.size for field in fields]
    return max((max(size) for size in sizes if size is not None), default=None)


def _stride(part: _Part) -> float | None:
    strides = [row.stride for row in part.leaves if row.stride is not None]
    return strides[-1] if strides else None


_QUANTITIES: dict[str, Callable[[_Part], float | None]] = {
    "layers": lambda part: sum(1 for row in part.leaves if row.calls),
    "parameters": lambda part: own_sum(part.rows, part.shared).parameters,
    "MACs": lambda part: sum(row.own_macs for row in part.rows),
    "other operations": lambda part: sum(row.own_other_operations for row in part.rows),
    "activation bytes": lambda part: sum(row.activation_bytes for row in part.leaves),
    "stride": _stride,
    "receptive field": _field,
}
QUANTITIES = tuple(_QUANTITIES)
"""The quantities of a comparison: sums over the modules of a part, in which nothing counts twice."""


def _title(comparison: Comparison) -> str:
    return f"{comparison.one.network} and {comparison.other.network} at {comparison.one.input_words}"


def _headings(comparison: Comparison) -> tuple[str, ...]:
    return ("stage", "quantity", comparison.one.network, comparison.other.network, "difference", "ratio")


def _rows(comparison: Comparison) -> list[tuple[str, ...]]:
    return [
        (
            line.stage or _ALL,
            line.quantity,
            _number(line.one),
            _number(line.other),
            _number(line.difference, signed=True),
            f"{line.ratio:.3g}×" if line.ratio is not None else "–",
        )
        for line in comparison
    ]


def _number(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "–"
    sign = "+" if signed and value > 0 else ""
    return f"{sign}{value:,.0f}" if value == int(value) else f"{sign}{value:,.1f}"
