"""How the engine answers what is asked of the layer table beside the table itself: as text, compared, and timed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fmviz.comparing import compare
from fmviz.engine.messages import Compare, Compared, ComparedRow, FormatTable, LayersTimed, TableFormatted, TimeLayers
from fmviz.engine.shelf import Tell
from fmviz.engine.shown import Ask, Shown
from fmviz.preprocess import Preprocessing
from fmviz.table import LayerTable
from fmviz.table_command import in_form

Tables = Callable[[str, tuple[int, int]], LayerTable]
"""The table of any network at any size."""


def formatted(request: FormatTable, tables: Tables) -> TableFormatted:
    table = tables(request.backbone, request.size)
    what = compare(table, tables(request.other, request.size)) if request.other else table
    return TableFormatted(id=request.id, text=in_form(what, request.form))


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
