"""A layer table as text, CSV, Markdown, LaTeX and JSON. Formats of numbers are chosen here and nowhere before."""

from __future__ import annotations

import csv as csv_writer
import dataclasses
import io
import json as json_writer
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fmviz.layers import ROOT

if TYPE_CHECKING:
    from fmviz.table import LayerTable, Row

HEADINGS = ("layer", "kind", "details", "input", "output", "stride", "parameters", "bytes", "calls")
NUMBERS = 5
"""From this column on, columns hold numbers and stand to the right."""


def text(table: LayerTable) -> str:
    """Aligned columns under a title, and the totals below a rule."""
    rows = [HEADINGS, *_cells(table), _total_cells(table)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [_aligned(row, widths) for row in rows]
    return "\n".join([_title(table), "", lines[0], rule, *lines[1:-1], rule, lines[-1]]) + "\n"


def markdown(table: LayerTable) -> str:
    """A pipe table."""
    rules = ["---"] * NUMBERS + ["--:"] * (len(HEADINGS) - NUMBERS)
    rows = [HEADINGS, rules, *_cells(table), _total_cells(table)]
    return "".join("| " + " | ".join(_MARKED.sub(r"\\\g<0>", cell) for cell in row) + " |\n" for row in rows)


def latex(table: LayerTable) -> str:
    """A `tabular` with the rules of the package booktabs."""
    columns = "l" * NUMBERS + "r" * (len(HEADINGS) - NUMBERS)
    body = [_latex_row(row) for row in _cells(table)]
    lines = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _latex_row(HEADINGS),
        r"\midrule",
        *body,
        r"\midrule",
        _latex_row(_total_cells(table)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def csv(table: LayerTable) -> str:
    """The fields of `Row`, a line a module, without totals; shapes as "1x64x56x56", what there is not as nothing."""
    out = io.StringIO()
    writer = csv_writer.writer(out, lineterminator="\n")
    if table:
        writer.writerow(dataclasses.asdict(table[0]))
    for row in table:
        values = dataclasses.asdict(row).values()
        writer.writerow(["x".join(map(str, value)) if isinstance(value, tuple) else value for value in values])
    return out.getvalue()


def json(table: LayerTable) -> str:
    """All that the table holds."""
    facts = {
        "network": table.network,
        "input_size": table.input_size,
        "rows": [dataclasses.asdict(row) for row in table],
        "totals": dataclasses.asdict(table.totals),
    }
    return json_writer.dumps(facts, ensure_ascii=False, indent=2) + "\n"


def _title(table: LayerTable) -> str:
    height, width = table.input_size
    return f"{table.network} at {height}×{width}"


def _cells(table: LayerTable) -> list[tuple[str, ...]]:
    return [_row_cells(row) for row in table]


def _row_cells(row: Row) -> tuple[str, ...]:
    return (
        row.path or ROOT,
        row.kind,
        row.detail,
        _shape(row.input_shape),
        _shape(row.output_shape),
        f"{row.stride:g}" if row.stride is not None else "",
        f"{row.parameters:,}",
        f"{row.activation_bytes:,}",
        f"{row.calls:,}",
    )


def _shape(shape: tuple[int, ...] | None) -> str:
    """ "–" where a module was never called, nothing where its tensor is a single number."""
    return "–" if shape is None else "×".join(map(str, shape))


def _total_cells(table: LayerTable) -> tuple[str, ...]:
    """The bytes of a module with children are those of its children, so they are not added again."""
    totals = table.totals
    buffers = f"and {totals.buffers:,} numbers in buffers"
    numbers = (f"{totals.parameters:,}", f"{totals.activation_bytes:,}", f"{totals.layers:,}")
    return ("total", "", buffers, "", "", "", *numbers)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if column >= NUMBERS else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


_MARKED = re.compile(r"[\\|<*`]")
"""What Markdown would take for its own; an underscore inside a word it leaves alone."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "×": r"$\times$",
    "→": r"$\to$",
    "ε": r"$\varepsilon$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "–": "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def _latex_row(row: Sequence[str]) -> str:
    return " & ".join("".join(_LATEX.get(character, character) for character in cell) for cell in row) + r" \\"
