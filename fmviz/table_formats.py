"""A layer table as text, CSV, Markdown, LaTeX, JSON and HTML. Formats of numbers are chosen here and nowhere before."""

from __future__ import annotations

import csv as csv_writer
import dataclasses
import html as html_writer
import io
import json as json_writer
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fmviz.errors import FmvizError
from fmviz.layers import ROOT

if TYPE_CHECKING:
    from fmviz.parameter_counts import SharedTensor
    from fmviz.receptive_field import ReceptiveField
    from fmviz.table import Call, LayerTable, Row, Totals

WORDS = ("layer", "kind", "detail", "input", "output")
"""Columns of text, which are aligned to the left; all others hold numbers and are aligned to the right."""

TIMES = ("time", "share")
"""Columns that a table without measured times does not have."""

COMPACT = ("layer", "output", "parameters", "macs", "field")
"""The columns of the compact LaTeX table, which fits one column of a paper."""

NOT_COUNTED = "not counted"

Columns = Sequence[str] | None
"""Names of `COLUMNS` in the order of the output; None for all."""


def text(table: LayerTable, columns: Columns = None, *, totals: bool = True) -> str:
    """Format as aligned columns under a title, with the totals below a rule, and notes on the whole network below these.

    `totals=False` leaves out the totals and the notes.
    """
    names = _names(table, columns)
    cells = [*_cells(table, names), *([_total_cells(table, names)] if totals else ())]
    lines = aligned(_title(table), _headings(names), cells, numbers=_numbers(names), last_apart=totals)
    return lines + ("\n" + "".join(f"{line}\n" for line in notes(table)) if totals else "")


def markdown(table: LayerTable, columns: Columns = None, *, totals: bool = True) -> str:
    """Format as a pipe table, with the totals as its last row."""
    names = _names(table, columns)
    cells = [*_cells(table, names), *([_total_cells(table, names)] if totals else ())]
    return pipes(_headings(names), cells, numbers=_numbers(names))


def latex(table: LayerTable, columns: Columns = None, *, totals: bool = True) -> str:
    """Format as a `tabular` with the rules of the package booktabs, with the totals below a rule."""
    names = _names(table, columns)
    last = _total_cells(table, names) if totals else None
    return tabular(_headings(names), _cells(table, names), numbers=_numbers(names), last=last)


def latex_compact(table: LayerTable, *, totals: bool = True) -> str:
    """Format as a `tabular` for one column of a paper: layer, output without the batch, parameters, MACs, receptive field."""
    headings = [_COMPACT_HEADINGS.get(name, COLUMNS[name].capitalize()) for name in COMPACT]
    cells = [[_compact_cell(name, row) for name in COMPACT] for row in table]
    last = _total_cells(table, COMPACT) if totals else None
    return tabular(headings, cells, numbers=_numbers(COMPACT), last=last)


def csv(table: LayerTable, columns: Columns = None) -> str:
    """Format as a line per module, without totals and with plain numbers; shapes as "1x64x56x56", unknown values empty.

    Without `columns` all facts of a row are written, the receptive field as its size and its status. With `columns` each of
    them is one field, and `not_counted` is added where a cost is known in part only.
    """
    out = io.StringIO()
    writer = csv_writer.writer(out, lineterminator="\n")
    fields = list(_PLAIN) if columns is None else _fields(table, columns)
    total = table.totals.seconds
    writer.writerow(fields)
    for row in table:
        writer.writerow([_share(row, total) if name == "share" else _PLAIN[name](row) for name in fields])
    return out.getvalue()


def json(table: LayerTable, columns: Columns = None) -> str:
    """Format all facts of the table except the receptive field of each cell; with `columns`, of the rows these facts only."""
    rows = [_facts(row) for row in table]
    if columns is not None:
        total, fields = table.totals.seconds, _fields(table, columns)
        for row, facts in zip(table, rows, strict=True):
            facts["share"] = _share(row, total)
        rows = [{name: facts[name] for name in fields} for facts in rows]
    facts = {
        "network": table.network,
        "input_size": table.input_size,
        "rows": rows,
        "totals": dataclasses.asdict(table.totals),
    }
    return json_writer.dumps(facts, ensure_ascii=False, indent=2) + "\n"


def html(table: LayerTable) -> str:
    """Format for notebooks: a table that scrolls, with bars behind the numbers that add up.

    It brings its style, and takes the colours of the page that it is on.
    """
    largest = {name: max((_BARS[name](row) for row in table if row.path), default=0) for name in _BARS}
    names = _names(table, None)
    headings = zip(names, _headings(names), strict=True)
    head = "".join(f"<th style='{_side(name)}'>{html_writer.escape(heading)}</th>" for name, heading in headings)
    body = "".join(
        _html_row(row, names, cells, largest) for row, cells in zip(table, _cells(table, names), strict=True)
    )
    below = "<br>".join(html_writer.escape(line) for line in notes(table))
    total = "".join(
        f"<td style='{_side(name)};font-weight:600'>{html_writer.escape(cell)}</td>"
        for name, cell in zip(names, _total_cells(table, names), strict=True)
    )
    return (
        f"<div><b>{html_writer.escape(_title(table))}</b>"
        "<div style='max-height:28em;overflow:auto'>"
        "<table style='font-variant-numeric:tabular-nums;white-space:nowrap;border-collapse:collapse'>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}<tr>{total}</tr></tbody></table></div>"
        f"<div style='opacity:.8'>{below}</div></div>"
    )


def rows_in_form(table: LayerTable, form: str, columns: Columns = None) -> str:
    """Format the rows of a table without its totals; `form` is one of `fmviz.table_command.FORMATS`."""
    match form:
        case "text":
            return text(table, columns, totals=False)
        case "csv":
            return csv(table, columns)
        case "markdown":
            return markdown(table, columns, totals=False)
        case "latex":
            return latex(table, columns, totals=False)
        case "latex-compact":
            return latex_compact(table, totals=False)
        case "json":
            return json(table, columns)
    raise ValueError(f"{form!r} is no form of a table")


def notes(table: LayerTable) -> list[str]:
    """Return sentences on the whole network, in addition to the sums of the columns."""
    totals = table.totals
    frozen = totals.parameters - totals.trainable
    kinds = ", ".join(f"{nbytes:,} bytes in {kind}" for kind, nbytes in totals.parameter_bytes.items())
    lines = [
        *([f"Input: {totals.assumed_input}."] if totals.assumed_input else []),
        f"Parameters: {totals.trainable:,} trainable, {frozen:,} frozen; {totals.buffers:,} numbers in buffers; {kinds}.",
        *_head_note(totals),
        *_shared_note(totals.shared),
        f"Memory: a capture of all layers holds {totals.capture_bytes:,} bytes; "
        f"a forward without one needs {totals.peak_bytes:,} at its peak, parameters not included.",
        "A MAC is one multiplication and one addition to a sum. "
        "Other operations: element-wise, normalisation, pooling, softmax.",
    ]
    if totals.not_counted:
        lines.append(f"Not counted, since nobody knows what they cost: {', '.join(totals.not_counted)}.")
    if len(table) < table.modules:
        lines.append(f"{len(table):,} of {table.modules:,} modules are listed; the totals are of the whole network.")
    return lines


def parameters_words(network: int, head: int) -> str:
    """Say what a number of parameters counts: "4,831,720, + 43,275 in the detection head that the weights bring"."""
    return f"{network:,}, + {head:,} in the detection head that the weights bring" if head else f"{network:,}"


def _head_note(totals: Totals) -> list[str]:
    number, head, offered = totals.parameters, totals.head_parameters, totals.offered_head
    if head:
        return [f"{number:,} parameters: {parameters_words(number - head, head)}."]
    if offered:
        return [f"{number:,} parameters, without the {offered:,} in the detection head that trained weights bring."]
    return []


def _shared_note(shared: Sequence[SharedTensor]) -> list[str]:
    number = sum(one.parameters for one in shared)
    return [f"{number:,} parameters belong to several modules and count once in each sum."] if number else []


# Tables of any cells


def aligned(
    title: str,
    headings: Sequence[str],
    cells: Sequence[Sequence[str]],
    *,
    numbers: Collection[int],
    last_apart: bool = False,
) -> str:
    """Format columns of text under a title and a rule; those in `numbers` to the right; the last row under a rule."""
    rows = [headings, *cells]
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [_aligned(row, widths, numbers) for row in rows]
    if last_apart:
        lines.insert(-1, rule)
    return "\n".join([title, "", lines[0], rule, *lines[1:]]) + "\n"


def pipes(headings: Sequence[str], cells: Sequence[Sequence[str]], *, numbers: Collection[int]) -> str:
    """Format a table of Markdown, with the columns in `numbers` to the right."""
    rules = ["--:" if column in numbers else "---" for column in range(len(headings))]
    rows = [headings, rules, *cells]
    return "".join("| " + " | ".join(_MARKED.sub(r"\\\g<0>", cell) for cell in row) + " |\n" for row in rows)


def tabular(
    headings: Sequence[str],
    cells: Sequence[Sequence[str]],
    *,
    numbers: Collection[int],
    last: Sequence[str] | None = None,
) -> str:
    """Format a table of LaTeX with the rules of booktabs, `last` under one of them; the columns in `numbers` to the right."""
    sides = "".join("r" if column in numbers else "l" for column in range(len(headings)))
    lines = [
        rf"\begin{{tabular}}{{{sides}}}",
        r"\toprule",
        _latex_row(headings),
        r"\midrule",
        *map(_latex_row, cells),
        *((r"\midrule", _latex_row(last)) if last else ()),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _aligned(row: Sequence[str], widths: Sequence[int], numbers: Collection[int]) -> str:
    cells = [
        cell.rjust(width) if column in numbers else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


# Cells


def _title(table: LayerTable) -> str:
    return f"{table.network} at {table.input_words}"


COLUMNS: dict[str, str] = {
    "layer": "layer",
    "kind": "kind",
    "detail": "details",
    "input": "input",
    "output": "output",
    "stride": "stride",
    "field": "field",
    "parameters": "parameters",
    "own": "own parameters",
    "trainable": "trainable",
    "frozen": "frozen",
    "buffers": "buffers",
    "macs": "MACs",
    "other": "other",
    "bytes": "bytes",
    "calls": "calls",
    "time": "time",
    "share": "share",
}
"""The columns that can be chosen, by name, with their headings."""

_LEFT_OUT = ("trainable", "frozen", "buffers")
"""Columns that are shown only where they are asked for: the notes have their totals."""

_CELLS: dict[str, Callable[[Row], str]] = {
    "layer": lambda row: row.path or ROOT,
    "kind": lambda row: row.kind,
    "detail": lambda row: " ".join(row.detail.split()),
    "input": lambda row: _shape(row.input_shape),
    "output": lambda row: _shape(row.output_shape),
    "stride": lambda row: f"{row.stride:g}" if row.stride is not None else "",
    "field": lambda row: row.receptive_field.words() if row.receptive_field is not None else "",
    "parameters": lambda row: f"{row.parameters:,}",
    "own": lambda row: f"{row.own_parameters:,}",
    "trainable": lambda row: f"{row.trainable:,}",
    "frozen": lambda row: f"{row.frozen:,}",
    "buffers": lambda row: f"{row.buffers:,}",
    "macs": lambda row: counted(row.macs, row),
    "other": lambda row: counted(row.other_operations, row),
    "bytes": lambda row: f"{row.activation_bytes:,}",
    "calls": lambda row: f"{row.calls:,}",
}

_COMPACT_HEADINGS = {"macs": "MACs", "field": "Receptive field"}

_BARS: dict[str, Callable[[Row], int]] = {
    "parameters": lambda row: row.own_parameters,
    "own": lambda row: row.own_parameters,
    "macs": lambda row: row.own_macs,
    "bytes": lambda row: row.activation_bytes,
}
"""Columns with bars, and the numbers that give their lengths: never a sum over other rows."""


def _names(table: LayerTable, columns: Columns) -> tuple[str, ...]:
    if columns is None:
        timed = table.totals.seconds is not None
        return tuple(name for name in COLUMNS if name not in _LEFT_OUT and (timed or name not in TIMES))
    for name in columns:
        if name not in COLUMNS:
            raise FmvizError(f"There is no column “{name}”: choose from {', '.join(COLUMNS)}.")
    return tuple(columns)


def _headings(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(COLUMNS[name] for name in names)


def _numbers(names: Sequence[str]) -> frozenset[int]:
    return frozenset(place for place, name in enumerate(names) if name not in WORDS)


def _cells(table: LayerTable, names: Sequence[str]) -> list[tuple[str, ...]]:
    total = table.totals.seconds
    return [
        tuple(_time_cell(name, row.seconds, total) if name in TIMES else _CELLS[name](row) for name in names)
        for row in table
    ]


def _compact_cell(name: str, row: Row) -> str:
    if name == "output" and row.output_shape is not None and len(row.output_shape) > 1 and row.output_shape[0] == 1:
        return _shape(row.output_shape[1:])
    return _CELLS[name](row).replace(" × ", "×")


def _time_cell(name: str, seconds: float | None, total: float | None) -> str:
    if seconds is None or not total:
        return "–"
    return f"{seconds * 1000:.2f} ms" if name == "time" else f"{seconds / total:.1%}"


def _share(row: Row, total: float | None) -> float | None:
    return row.seconds / total if row.seconds is not None and total else None


def counted(number: int, row: Row) -> str:
    """A cost in words: "–" of what is never called, "not counted" of what nobody knows, "≥ 1,234" of what is known in part."""
    if not row.calls:
        return "–"
    if not row.not_counted:
        return f"{number:,}"
    return f"≥ {number:,}" if number else NOT_COUNTED


def _shape(shape: tuple[int, ...] | None) -> str:
    """ "–" where a module was never called, nothing where its tensor is a single number."""
    return "–" if shape is None else "×".join(map(str, shape))


def _total_cells(table: LayerTable, names: Sequence[str]) -> tuple[str, ...]:
    """The cells of the last row, which is of the whole network, whichever rows are listed.

    The bytes of a module with children are those of its children, so they are not added again.
    """
    totals = table.totals
    least = "≥ " if totals.not_counted else ""
    numbers = {
        "parameters": f"{totals.parameters:,}",
        "own": f"{totals.parameters:,}",
        "trainable": f"{totals.trainable:,}",
        "frozen": f"{totals.parameters - totals.trainable:,}",
        "buffers": f"{totals.buffers:,}",
        "macs": f"{least}{totals.macs:,}",
        "other": f"{least}{totals.other_operations:,}",
        "bytes": f"{totals.activation_bytes:,}",
        "calls": f"{totals.layers:,}",
        **{name: _time_cell(name, totals.seconds, totals.seconds) for name in TIMES},
    }
    cells = [numbers.get(name, "") for name in names]
    if names and not cells[0]:
        cells[0] = "total" if len(table) == table.modules else "whole network"
    return tuple(cells)


# Plain values


def _facts(row: Row) -> dict[str, Any]:
    facts = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    facts["frozen"], facts["parameters_in_all"] = row.frozen, row.parameters_in_all
    facts["receptive_field"] = _field_facts(row.receptive_field)
    facts["each_call"] = [_call_facts(call) for call in row.each_call] if row.calls > 1 else []
    return facts


def _call_facts(call: Call) -> dict[str, Any]:
    facts = {field.name: getattr(call, field.name) for field in dataclasses.fields(call)}
    facts["receptive_field"] = _field_facts(call.receptive_field)
    return facts


def _field_facts(field: ReceptiveField | None) -> dict[str, Any] | None:
    if field is None:
        return None
    return {"status": field.status, "size": field.size, "unbounded": field.unbounded, "unknown": field.unknown}


def _joined(values: Iterable[object] | None) -> str:
    return "" if values is None else "x".join(map(str, values))


def _named(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row, name)


_PLAIN: dict[str, Callable[[Row], Any]] = {
    **{name: _named(name) for name in ("path", "kind", "detail", "depth", "stage")},
    "input_shape": lambda row: _joined(row.input_shape),
    "output_shape": lambda row: _joined(row.output_shape),
    **{name: _named(name) for name in ("parameters", "parameters_in_all", "own_parameters")},
    **{name: _named(name) for name in ("trainable", "frozen", "buffers")},
    **{name: _named(name) for name in ("own_macs", "macs", "own_other_operations", "other_operations")},
    "not_counted": lambda row: " ".join(row.not_counted),
    **{name: _named(name) for name in ("activation_bytes", "calls", "stride")},
    "receptive_field": lambda row: _joined(row.receptive_field.size if row.receptive_field else None),
    "receptive_field_status": lambda row: row.receptive_field.status if row.receptive_field else "",
    "seconds": _named("seconds"),
}

_FIELDS = {
    "layer": "path",
    "input": "input_shape",
    "output": "output_shape",
    "field": "receptive_field",
    "own": "own_parameters",
    "other": "other_operations",
    "bytes": "activation_bytes",
    "time": "seconds",
}
"""Fields of CSV and JSON, by the columns whose names differ from theirs."""


def _fields(table: LayerTable, columns: Sequence[str]) -> list[str]:
    """The fields for these columns; with `not_counted`, where a number would be taken for the whole cost."""
    fields = [_FIELDS.get(name, name) for name in _names(table, columns)]
    partly = {"macs", "other"}.intersection(columns) and any(row.not_counted for row in table)
    return [*fields, "not_counted"] if partly else fields


# Markup

_MARKED = re.compile(r"[\\|<*`]")
"""What Markdown would take for its own; an underscore inside a word it leaves alone."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "×": r"$\times$",
    "→": r"$\to$",
    "≥": r"$\geq$",
    "ε": r"$\varepsilon$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "–": "--",
    "−": "$-$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def _latex_row(row: Sequence[str]) -> str:
    return " & ".join("".join(_LATEX.get(character, character) for character in cell) for cell in row) + r" \\"


def _side(name: str) -> str:
    return f"text-align:{'left' if name in WORDS else 'right'};padding:1px 8px"


def _html_row(row: Row, names: Sequence[str], cells: Sequence[str], largest: dict[str, int]) -> str:
    put = []
    for name, cell in zip(names, cells, strict=True):
        style = _side(name)
        if name == "layer":
            style += f";padding-left:{8 + 12 * row.depth}px"
        if row.path and name in _BARS and largest[name]:
            share = 100 * _BARS[name](row) / largest[name]
            # A grey that is seen on white and on black.
            style += f";background:linear-gradient(to left,rgba(128,128,128,.35) {share:.1f}%,transparent {share:.1f}%)"
        put.append(f"<td style='{style}'>{html_writer.escape(cell)}</td>")
    return f"<tr>{''.join(put)}</tr>"
