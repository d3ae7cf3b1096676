"""A layer table as text, CSV, Markdown, LaTeX, JSON and HTML. Formats of numbers are chosen here and nowhere before."""

from __future__ import annotations

import csv as csv_writer
import dataclasses
import html as html_writer
import io
import json as json_writer
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fmviz.layers import ROOT

if TYPE_CHECKING:
    from fmviz.receptive_field import ReceptiveField
    from fmviz.table import Call, LayerTable, Row

NUMBERS = 5
"""From this column on, columns hold numbers and stand to the right."""

NOT_COUNTED = "not counted"


def text(table: LayerTable) -> str:
    """Aligned columns under a title, the totals below a rule, and what else there is to say of the whole below these."""
    cells = [*_cells(table), _total_cells(table)]
    lines = aligned(_title(table), _headings(table), cells, numbers=NUMBERS, last_apart=True)
    return lines + "\n" + "".join(f"{line}\n" for line in notes(table))


def markdown(table: LayerTable) -> str:
    """A pipe table."""
    return pipes(_headings(table), [*_cells(table), _total_cells(table)], numbers=NUMBERS)


def latex(table: LayerTable) -> str:
    """A `tabular` with the rules of the package booktabs."""
    return tabular(_headings(table), _cells(table), numbers=NUMBERS, last=_total_cells(table))


def csv(table: LayerTable) -> str:
    """A line a module, without totals and with plain numbers; shapes as "1x64x56x56", what there is not as nothing.

    The receptive field is its height and width, with its state beside it.
    """
    out = io.StringIO()
    writer = csv_writer.writer(out, lineterminator="\n")
    writer.writerow(_PLAIN)
    for row in table:
        writer.writerow([of(row) for of in _PLAIN.values()])
    return out.getvalue()


def json(table: LayerTable) -> str:
    """All that the table holds, but for what each cell sees: of that, what is said of it as a whole."""
    facts = {
        "network": table.network,
        "input_size": table.input_size,
        "rows": [_facts(row) for row in table],
        "totals": dataclasses.asdict(table.totals),
    }
    return json_writer.dumps(facts, ensure_ascii=False, indent=2) + "\n"


def html(table: LayerTable) -> str:
    """For notebooks: a table that scrolls, with bars behind the numbers that add up. It brings its own style, and takes the
    colours of the page that it is on."""
    largest = {name: max((_BARS[name](row) for row in table if row.path), default=0) for name in _BARS}
    names = _headings(table)
    head = "".join(f"<th style='{_side(place)}'>{html_writer.escape(name)}</th>" for place, name in enumerate(names))
    body = "".join(_html_row(row, names, cells, largest) for row, cells in zip(table, _cells(table), strict=True))
    below = "<br>".join(html_writer.escape(line) for line in notes(table))
    total = "".join(
        f"<td style='{_side(place)};font-weight:600'>{html_writer.escape(cell)}</td>"
        for place, cell in enumerate(_total_cells(table))
    )
    return (
        f"<div><b>{html_writer.escape(_title(table))}</b>"
        "<div style='max-height:28em;overflow:auto'>"
        "<table style='font-variant-numeric:tabular-nums;white-space:nowrap;border-collapse:collapse'>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}<tr>{total}</tr></tbody></table></div>"
        f"<div style='opacity:.8'>{below}</div></div>"
    )


def notes(table: LayerTable) -> list[str]:
    """What there is to say of the whole beside the sums of the columns."""
    totals = table.totals
    frozen = totals.parameters - totals.trainable
    kinds = ", ".join(f"{nbytes:,} bytes in {kind}" for kind, nbytes in totals.parameter_bytes.items())
    lines = [
        *([f"Input: {totals.assumed_input}."] if totals.assumed_input else []),
        f"Parameters: {totals.trainable:,} trainable, {frozen:,} frozen; {totals.buffers:,} numbers in buffers; {kinds}.",
        f"Memory: a capture of all layers holds {totals.capture_bytes:,} bytes; "
        f"a forward without one needs {totals.peak_bytes:,} at its peak, parameters not included.",
        "A MAC is one multiplication and one addition to a sum. "
        "Other operations: element-wise, normalisation, pooling, softmax.",
    ]
    if totals.not_counted:
        lines.append(f"Not counted, since nobody knows what they cost: {', '.join(totals.not_counted)}.")
    return lines


# Tables of any cells


def aligned(
    title: str,
    headings: Sequence[str],
    cells: Sequence[Sequence[str]],
    *,
    numbers: int,
    last_apart: bool = False,
) -> str:
    """Columns of text under a title and a rule; from the column `numbers` on to the right; the last row under a rule."""
    rows = [headings, *cells]
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [_aligned(row, widths, numbers) for row in rows]
    if last_apart:
        lines.insert(-1, rule)
    return "\n".join([title, "", lines[0], rule, *lines[1:]]) + "\n"


def pipes(headings: Sequence[str], cells: Sequence[Sequence[str]], *, numbers: int) -> str:
    """A table of Markdown."""
    rules = ["---"] * numbers + ["--:"] * (len(headings) - numbers)
    rows = [headings, rules, *cells]
    return "".join("| " + " | ".join(_MARKED.sub(r"\\\g<0>", cell) for cell in row) + " |\n" for row in rows)


def tabular(
    headings: Sequence[str], cells: Sequence[Sequence[str]], *, numbers: int, last: Sequence[str] | None = None
) -> str:
    """A table of LaTeX, with the rules of booktabs; `last` under one of them."""
    lines = [
        rf"\begin{{tabular}}{{{'l' * numbers}{'r' * (len(headings) - numbers)}}}",
        r"\toprule",
        _latex_row(headings),
        r"\midrule",
        *map(_latex_row, cells),
        *((r"\midrule", _latex_row(last)) if last else ()),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _aligned(row: Sequence[str], widths: Sequence[int], numbers: int) -> str:
    cells = [
        cell.rjust(width) if column >= numbers else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


# Cells


def _title(table: LayerTable) -> str:
    return f"{table.network} at {table.input_words}"


_CELLS: dict[str, Callable[[Row], str]] = {
    "layer": lambda row: row.path or ROOT,
    "kind": lambda row: row.kind,
    "details": lambda row: row.detail,
    "input": lambda row: _shape(row.input_shape),
    "output": lambda row: _shape(row.output_shape),
    "stride": lambda row: f"{row.stride:g}" if row.stride is not None else "",
    "field": lambda row: row.receptive_field.words() if row.receptive_field is not None else "",
    "parameters": lambda row: f"{row.parameters:,}",
    "MACs": lambda row: counted(row.macs, row),
    "other": lambda row: counted(row.other_operations, row),
    "bytes": lambda row: f"{row.activation_bytes:,}",
    "calls": lambda row: f"{row.calls:,}",
}

_TIMES = ("time", "share")
"""Of a table without measured times these columns are left out."""

_BARS: dict[str, Callable[[Row], int]] = {
    "parameters": lambda row: row.parameters,
    "MACs": lambda row: row.own_macs,
    "bytes": lambda row: row.activation_bytes,
}
"""What is drawn as a bar, the longest for the largest in the table."""


def _headings(table: LayerTable) -> tuple[str, ...]:
    timed = table.totals.seconds is not None
    return tuple(_CELLS) + (_TIMES if timed else ())


def _cells(table: LayerTable) -> list[tuple[str, ...]]:
    plain = [tuple(of(row) for of in _CELLS.values()) for row in table]
    total = table.totals.seconds
    if total is None:
        return plain
    return [(*cells, *_time_cells(row.seconds, total)) for row, cells in zip(table, plain, strict=True)]


def _time_cells(seconds: float | None, total: float) -> tuple[str, str]:
    return ("–", "–") if seconds is None else (f"{seconds * 1000:.2f} ms", f"{seconds / total:.1%}")


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


def _total_cells(table: LayerTable) -> tuple[str, ...]:
    """The bytes of a module with children are those of its children, so they are not added again."""
    totals = table.totals
    least = "≥ " if totals.not_counted else ""
    numbers = {
        "layer": "total",
        "parameters": f"{totals.parameters:,}",
        "MACs": f"{least}{totals.macs:,}",
        "other": f"{least}{totals.other_operations:,}",
        "bytes": f"{totals.activation_bytes:,}",
        "calls": f"{totals.layers:,}",
    }
    if totals.seconds is not None:
        numbers |= dict(zip(_TIMES, _time_cells(totals.seconds, totals.seconds), strict=True))
    return tuple(numbers.get(name, "") for name in _headings(table))


# Plain values


def _facts(row: Row) -> dict[str, Any]:
    facts = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    facts["frozen"] = row.frozen
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
    **{name: _named(name) for name in ("parameters", "parameters_in_all", "trainable", "frozen", "buffers")},
    **{name: _named(name) for name in ("own_macs", "macs", "own_other_operations", "other_operations")},
    "not_counted": lambda row: " ".join(row.not_counted),
    **{name: _named(name) for name in ("activation_bytes", "calls", "stride")},
    "receptive_field": lambda row: _joined(row.receptive_field.size if row.receptive_field else None),
    "receptive_field_status": lambda row: row.receptive_field.status if row.receptive_field else "",
    "seconds": _named("seconds"),
}


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
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def _latex_row(row: Sequence[str]) -> str:
    return " & ".join("".join(_LATEX.get(character, character) for character in cell) for cell in row) + r" \\"


def _side(place: int) -> str:
    return f"text-align:{'right' if place >= NUMBERS else 'left'};padding:1px 8px"


def _html_row(row: Row, names: Sequence[str], cells: Sequence[str], largest: dict[str, int]) -> str:
    put = []
    for place, (name, cell) in enumerate(zip(names, cells, strict=True)):
        style = _side(place)
        if name == "layer":
            style += f";padding-left:{8 + 12 * row.depth}px"
        if row.path and name in _BARS and largest[name]:
            share = 100 * _BARS[name](row) / largest[name]
            # A grey that is seen on white and on black.
            style += f";background:linear-gradient(to left,rgba(128,128,128,.35) {share:.1f}%,transparent {share:.1f}%)"
        put.append(f"<td style='{style}'>{html_writer.escape(cell)}</td>")
    return f"<tr>{''.join(put)}</tr>"
