"""How the engine answers what is asked of one place: what a layer's cells see, and what all layers say there."""

from __future__ import annotations

import numpy as np

from fmviz.capture import Capture
from fmviz.column import column, largest
from fmviz.engine.messages import ColumnRead, FieldRead, ReadColumn, ReadField
from fmviz.engine.shown import Shown
from fmviz.errors import BackboneError
from fmviz.receptive_field import INDEPENDENT, WITHOUT_VALUES, ReceptiveField, Sides
from fmviz.table import LayerTable


def field_of(request: ReadField, shown: Shown, capture: Capture) -> FieldRead:
    """From the layer table of the network at this input, which is made once a run."""
    assert capture.input is not None
    size = capture.input.geometry.input_size
    if shown.table is None:
        shown.table = _table(shown, size)
    layer = capture[request.layer].layer
    found = shown.table.field(layer) if isinstance(shown.table, LayerTable) else None
    if found is None:
        why = WITHOUT_VALUES if shown.table == WITHOUT_VALUES else INDEPENDENT
        found = ReceptiveField.unknown_from(why, size)
    return FieldRead(
        id=request.id,
        run=request.run,
        layer=request.layer,
        map_size=found.map_size,
        top=_bytes(found.top, found.map_size, axis=1),
        bottom=_bytes(found.bottom, found.map_size, axis=1),
        left=_bytes(found.left, found.map_size, axis=0),
        right=_bytes(found.right, found.map_size, axis=0),
        unbounded=found.unbounded,
        unknown=found.unknown,
    )


def column_at(request: ReadColumn, shown: Shown, capture: Capture) -> ColumnRead:
    if shown.largest is None:
        shown.largest = largest(capture)
    found = column(capture, request.x, request.y)
    strongest = [at.strongest for at in found]
    chosen = [float(at.values[request.channel]) if 0 <= request.channel < len(at.values) else np.nan for at in found]
    return ColumnRead(
        id=request.id,
        run=request.run,
        x=request.x,
        y=request.y,
        channel=request.channel,
        layers=tuple(str(at.layer) for at in found),
        cells=tuple(at.cell for at in found),
        strongest=_floats([float(at.values[channel]) for at, channel in zip(found, strongest, strict=True)]),
        strongest_channels=np.array(strongest, "<i4").tobytes(),
        chosen=_floats(chosen),
        largest=_floats([shown.largest[at.layer] for at in found]),
    )


def _table(shown: Shown, size: tuple[int, int]) -> LayerTable | str:
    try:
        return shown.session.table(size)
    except BackboneError:
        return WITHOUT_VALUES


def _bytes(sides: Sides, cells: tuple[int, int], *, axis: int) -> bytes:
    """One number for all cells along `axis` where they are alike there, else one for each cell."""
    wanted = (cells[0], 1) if axis == 1 else (1, cells[1])
    whole = np.broadcast_to(sides, wanted if sides.shape[axis] == 1 else cells)
    return np.ascontiguousarray(whole, "<i4").tobytes()


def _floats(values: list[float]) -> bytes:
    return np.array(values, "<f8").tobytes()
