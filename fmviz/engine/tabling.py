"""How the engine answers what is asked of the layer table beside the table itself: as text, compared, and timed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from fmviz.comparing import compare
from fmviz.engine.messages import Compare, Compared, ComparedRow, FormatTable, LayersTimed, TableFormatted, TimeLayers
from fmviz.engine.shelf import Tell
from fmviz.engine.shown import Ask, Shown
from fmviz.preprocess import Preprocessing
from fmviz.table import LayerTable
from fmviz.table_command import in_form
from fmviz.table_formats import rows_in_form

Tables = Callable[[str, tuple[int, int]], LayerTable]
"""The table of any network at any size."""


def formatted(request: FormatTable, tables: Tables) -> TableFormatted:
    table = tables(request.backbone, request.size)
    if request.other:
        text = in_form(compare(table, tables(request.other, request.size)), request.form)
    elif request.paths is None:
        text = in_form(table, request.form)
    else:
        text = rows_in_form(_part(table, request.paths, request), request.form, request.columns)
    return TableFormatted(id=request.id, text=text)


def _part(table: LayerTable, paths: Sequence[str], request: FormatTable) -> LayerTable:
    """The rows of these modules, with their measured times where there are any."""
    rows = [table.row(path) for path in paths]
    if request.seconds:
        measured = np.frombuffer(request.seconds, "<f8").tolist()
        known = [None if math.isnan(seconds) else seconds for seconds in measured]
        rows = [replace(row, seconds=seconds) for row, seconds in zip(rows, known, strict=True)]
    part = table.of(rows)
    part.totals = replace(table.totals, seconds=request.total_seconds)
    return part


def compared(request: Compare, tables: Tables) -> Compared:
    lines = compare(tables(request.backbone, request.size), tables(request.other, request.size))
    return Compared(
        id=request.id,
        backbone=request.backbone,
        other=request.other,
        size=request.size,
        rows=tuple(
            ComparedRow(stage=line.stage, quantity=line.quantity, one=line.one, other=line.other) for line in lines
        ),
        notes=tuple(lines.notes()),
    )


def timed(
    request: TimeLayers, shown: Shown, preprocessing: Preprocessing, cancelled: Ask, progress: Tell
) -> LayersTimed:
    """On the picture of the run, in the loop of the engine: what ran beside it would be measured with it."""
    name = shown.session.backbone.name
    progress("timing", name, 0.0)
    timing = shown.session.time_layers(
        shown.picture,
        rounds=request.rounds,
        preprocessing=preprocessing,
        cancelled=cancelled,
        progress=lambda done, of: progress("timing", name, done / of),
    )
    return LayersTimed(
        id=request.id,
        run=request.run,
        paths=tuple(timing.seconds),
        seconds=np.array(list(timing.seconds.values()), "<f8").tobytes(),
        total=timing.total,
        rounds=timing.rounds,
        device=timing.device,
    )
