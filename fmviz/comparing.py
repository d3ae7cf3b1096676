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
from fmviz.table import LayerTable, Row, layer_table

WHOLE = ""
"""The stage of lines that are about the whole network."""

STAGES = ("C1", "C2", "C3", "C4", "C5", "pyramid", "head")
"""In the order in which they are shown."""


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
        return table_formats.aligned(_title(self), _headings(self), _rows(self), numbers=2)

    def to_csv(self) -> str:
        """A line a quantity, with plain numbers."""
        out = io.StringIO()
        writer = csv_writer.writer(out, lineterminator="\n")
        writer.writerow(("stage", "quantity", self.one.network, self.other.network, "difference", "ratio"))
        for line in self:
            writer.writerow((line.stage, line.quantity, line.one, line.other, line.difference, line.ratio))
        return out.getvalue()

    def to_markdown(self) -> str:
        return table_formats.pipes(_headings(self), _rows(self), numbers=2)

    def to_latex(self) -> str:
        """A `tabular` for the package booktabs."""
        return table_formats.tabular(_headings(self), _rows(self), numbers=2)

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
    return _QUANTITIES[name](list(table), _leaves(table))


def _of_stage(table: LayerTable, stage: str, name: str) -> float | None:
    rows = [row for row in table if row.stage == stage]
    return _QUANTITIES[name](rows, [row for row in _leaves(table) if row.stage == stage]) if rows else None


def _leaves(table: LayerTable) -> list[Row]:
    """Modules that no others are in."""
    parents = {row.path.rpartition(".")[0] for row in table if row.path}
    return [row for row in table if row.path not in parents]


def _field(rows: Sequence[Row], leaves: Sequence[Row]) -> float | None:
    """The longer side of the largest, which that of the last layer with a map is."""
    fields = [row.receptive_field for row in rows if row.stride is not None and row.receptive_field is not None]
    sizes = [field.size for field in fields]
    return max((max(size) for size in sizes if size is not None), default=None)


def _stride(rows: Sequence[Row], leaves: Sequence[Row]) -> float | None:
    strides = [row.stride for row in leaves if row.stride is not None]
    return strides[-1] if strides else None


_QUANTITIES: dict[str, Callable[[Sequence[Row], Sequence[Row]], float | None]] = {
    "layers": lambda rows, leaves: sum(1 for row in leaves if row.calls),
    "parameters": lambda rows, leaves: sum(row.parameters for row in rows),
    "MACs": lambda rows, leaves: sum(row.own_macs for row in rows),
    "other operations": lambda rows, leaves: sum(row.own_other_operations for row in rows),
    "activation bytes": lambda rows, leaves: sum(row.activation_bytes for row in leaves),
    "stride": _stride,
    "receptive field": _field,
}
QUANTITIES = tuple(_QUANTITIES)
"""What is compared, of all modules of a stage and of those that no others are in."""


def _title(comparison: Comparison) -> str:
    return f"{comparison.one.network} and {comparison.other.network} at {comparison.one.input_words}"


def _headings(comparison: Comparison) -> tuple[str, ...]:
    return ("stage", "quantity", comparison.one.network, comparison.other.network, "difference", "ratio")


def _rows(comparison: Comparison) -> list[tuple[str, ...]]:
    return [
        (
            line.stage or "all",
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
