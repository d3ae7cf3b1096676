"""The flow of the probe: what the cell under the pointer sees, which cells see a part of the picture, and what all layers say
at a place that is pinned."""

from __future__ import annotations

from functools import partial

import msgspec
import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QObject, QPointF, QRectF
from PySide6.QtGui import QImage

from fmviz.app import wording
from fmviz.app.blocks import Block
from fmviz.app.controller import Controller
from fmviz.app.drawn_map import DrawnMap
from fmviz.app.layer_maps import ShownMaps
from fmviz.app.link import EngineLink
from fmviz.app.qimage import shade_image
from fmviz.app.state import Store, ViewState, find_layer
from fmviz.app.views.column_view import ColumnShown
from fmviz.app.window import MainWindow
from fmviz.engine.messages import AnyReply, ColumnRead, FieldRead, LayerInfo, Ran, ReadColumn, ReadField
from fmviz.geometry import Box, Geometry
from fmviz.receptive_field import ReceptiveField

Place = tuple[float, float]
"""x and y in the picture's pixels."""


class Probing(QObject):
    """Hears where the pointer is, and draws there what belongs to it."""

    def __init__(self, store: Store, link: EngineLink, controller: Controller, window: MainWindow) -> None:
        super().__init__(window)
        self._store, self._link, self._controller, self._window = store, link, controller, window
        self._fields: dict[str, ReceptiveField] = {}
        self._asked: set[str] = set()
        self._pointed: tuple[DrawnMap, Place] | None = None
        """The map of a layer under the pointer, and the place on the picture."""
        self._told: tuple[DrawnMap, tuple[int, int]] | None = None
        """The map and the cell that the status line describes."""
        self._pixel: QRectF | None = None
        """The pixel of the picture under the pointer."""
        self._column: tuple[int, Place, int] | None = None
        self._grid_limits: tuple[int, str, npt.NDArray[np.float64]] | None = None
        """Run, layer and limits (n, 2) of the maps that came last."""
        self._listen()
        store.changed.connect(self._changed)
        link.lost.connect(self._forget)

    def _listen(self) -> None:
        window, looking = self._window, self._controller.looking
        grid, channel, picture = window.maps.canvas, window.channel.canvas, window.input.picture
        grid.pointed.connect(self._pointed_at_cell)
        grid.clicked_at.connect(self._clicked_cell)
        channel.pointed.connect(lambda place: self._pointed_at(channel.drawn, place))
        channel.clicked_at.connect(lambda place: self._pin(place, channel.drawn))
        window.pyramid.pointed.connect(self._pointed_at_tap)
        window.pyramid.clicked_at.connect(
            lambda clicked: self._pin(clicked[1:], window.pyramid.canvases[clicked[0]].drawn)
        )
        picture.pointed.connect(self._pointed_at_picture)
        picture.clicked_at.connect(lambda place: self._pin(place, grid.drawn))
        picture.region_chosen.connect(self._choose_region)
        window.input.network_input.pointed.connect(self._pointed_at_input)
        window.maps.matrix.pointed.connect(self._pointed_at_matrix)
        window.maps.vector.pointed.connect(self._pointed_at_bar)
        window.column.layer_chosen.connect(self._choose_layer)
        window.column_shown.connect(lambda shown: self._ask_column())
        looking.read.connect(self._value_came)
        looking.maps_came.connect(self._maps_came)
        for came in (looking.maps_came, looking.channel_came):
            came.connect(self._light_cells)

    # The pointer

    def _pointed_at_cell(self, cell: tuple[int, int, int] | None) -> None:
        """A cell of the grid, of the channel that is drawn there."""
        drawn = self._window.maps.canvas.drawn
        if cell is None or drawn is None:
            self._pointed_at(None, None)
            return
        drawn = msgspec.structs.replace(drawn, channel=cell[0], limits=self._limits(drawn, cell[0]))
        self._pointed_at(drawn, self._centre(drawn, cell[1:]), cell[1:])

    def _limits(self, drawn: DrawnMap, channel: int) -> tuple[float, float] | None:
        """Return the limits of a channel of the grid; None while maps of another layer are drawn."""
        run, layer, limits = self._grid_limits or (0, "", ())
        if (run, layer) != (drawn.run, drawn.layer) or channel >= len(limits):
            return None
        low, high = limits[channel]
        return float(low), float(high)

    def _maps_came(self, maps: ShownMaps) -> None:
        self._grid_limits = (maps.run, maps.layer, maps.limits)

    def _clicked_cell(self, cell: tuple[int, int, int]) -> None:
        drawn = self._window.maps.canvas.drawn
        if drawn is not None:
            self._pin(self._centre(drawn, cell[1:]), drawn)

    def _centre(self, drawn: DrawnMap, cell: tuple[int, int]) -> Place | None:
        """Return the middle of a cell on the picture."""
        shown = self._store.state.shown
        if shown is None or drawn.run != shown.run:
            return None
        box = shown.geometry.cell_box(*cell, drawn.map_size)
        return (box.left + box.right) / 2, (box.top + box.bottom) / 2

    def _pointed_at_tap(self, pointed: tuple[str, float, float] | None) -> None:
        """A map of the pyramid, which need not be of the layer that is chosen."""
        if pointed is None:
            self._pointed_at(None, None)
        else:
            self._pointed_at(self._window.pyramid.canvases[pointed[0]].drawn, pointed[1:])

    def _pointed_at_picture(self, place: Place | None) -> None:
        """Light the cells that see this pixel, and tell its colour."""
        self._pointed = None
        self._pixel = QRectF(int(place[0]), int(place[1]), 1, 1) if place is not None else None
        # A rectangle is what the cells are lit for: the crosshair stays at its centre.
        self._mark(place if self._store.state.region is None else None)
        drawn = self._window.input.picture.drawn
        self._tell_value(drawn, _pixel_of(drawn, place))
        self._show_field()
        self._light_cells()

    def _pointed_at_input(self, place: Place | None) -> None:
        """A pixel of the network's input: the place that it came from is marked in all views."""
        shown, drawn = self._store.state.shown, self._window.input.network_input.drawn
        current = shown is not None and drawn is not None and drawn.run == shown.run and place is not None
        self._pointed = None
        self._mark(shown.geometry.to_picture(*place) if current and shown is not None and place is not None else None)
        self._tell_value(drawn if current else None, _pixel_of(drawn, place))
        self._show_field()

    def _pointed_at_matrix(self, cell: tuple[int, int] | None) -> None:
        """A cell of a matrix, which lies nowhere on the picture."""
        shown, drawn = self._store.state.shown, self._window.maps.matrix.drawn
        self._pointed_at(None, None)
        if cell is not None and shown is not None and drawn is not None and drawn.run == shown.run:
            self._tell_value(drawn, cell)

    def _pointed_at_bar(self, bar: tuple[int, float] | None) -> None:
        """A bar of a vector, whose values are all here."""
        shown, drawn = self._store.state.shown, self._window.maps.vector.drawn
        self._pointed_at(None, None)
        if bar is not None and shown is not None and drawn is not None and drawn.run == shown.run:
            self._window.set_value(wording.readout(shown, drawn, (0, bar[0]), bar[1:]))

    def _pointed_at(self, drawn: DrawnMap | None, place: Place | None, cell: tuple[int, int] | None = None) -> None:
        """A place on the map that a view draws; maps of an earlier run have no values any more."""
        shown = self._store.state.shown
        if drawn is None or place is None or shown is None or drawn.run != shown.run:
            drawn = place = None
        self._pointed = (drawn, place) if drawn is not None and place is not None else None
        self._mark(place)
        if drawn is not None and place is not None and shown is not None:
            cell = cell or shown.geometry.cell_at(*place, drawn.map_size)
        self._tell_value(drawn, cell)
        self._show_field()

    def _tell_value(self, drawn: DrawnMap | None, cell: tuple[int, int] | None) -> None:
        self._told = (drawn, cell) if drawn is not None and cell is not None else None
        if drawn is None or cell is None:
            self._window.set_value("")
            return
        self._window.set_value(wording.readout(self._store.state.shown, drawn, cell))
        self._controller.looking.ask_value(drawn, *cell)

    def _value_came(self, drawn: DrawnMap, cell: tuple[int, int], values: tuple[float, ...]) -> None:
        if self._told == (drawn, cell):
            self._window.set_value(wording.readout(self._store.state.shown, drawn, cell, values))

    def _mark(self, place: Place | None) -> None:
        """A cross there in all maps of all sizes, and a ring where a place is pinned."""
        state, window = self._store.state, self._window
        place = place or self._centre_of_region()
        cross, pin = (QPointF(*one) if one else None for one in (place, state.pin))
        for view in (window.input.picture.view, window.channel.canvas.view, window.pyramid.view):
            view.set_cross(cross)
            view.set_pin(pin)
        on_input = state.shown.geometry.to_input(*place) if place and state.shown and self._share(place) else None
        window.input.network_input.view.set_cross(QPointF(*on_input) if on_input else None)
        marks = [(*share, held) for one, held in ((state.pin, True), (place, False)) if (share := self._share(one))]
        window.maps.canvas.set_marks(marks)

    def _centre_of_region(self) -> Place | None:
        """Return the centre of the rectangle on the picture, where its crosshair is."""
        region = self._store.state.region
        return ((region[0] + region[2]) / 2, (region[1] + region[3]) / 2) if region else None

    def _share(self, place: Place | None) -> tuple[float, float] | None:
        """Where a place is in a map, as shares of its width and height; None outside of what the network saw."""
        shown = self._store.state.shown
        if place is None or shown is None:
            return None
        x, y = shown.geometry.to_input(*place)
        height, width = shown.geometry.input_size
        return (x / width, y / height) if 0 <= x < width and 0 <= y < height else None

    # What a cell sees

    def _show_field(self) -> None:
        """Of the cell under the pointer, or of that at the pinned place."""
        state = self._store.state
        name, place, tap = state.layer, state.pin, ""
        if self._pointed is not None:
            name, place, tap = self._pointed[0].layer, self._pointed[1], self._pointed[0].tap
        layer = find_layer(state.shown, name)
        field = self._field(name) if place is not None and layer is not None and layer.spatial else None
        box, words = None, ""
        if field is not None and state.shown is not None and layer is not None and place is not None:
            cell = _cell(state.shown.geometry, layer, place)
            box = self._on_picture(field, cell) if cell else None
            words = wording.field_words(field, cell) if cell else ""
        canvas = self._window.channel.canvas
        self._window.input.picture.set_field(box)
        # The receptive field of a cell of another layer does not belong on this map.
        canvas.set_field(box if canvas.drawn is not None and canvas.drawn.layer == name else None)
        self._window.set_field_words(wording.field_of_layer(state.shown, name, tap, words))

    def _on_picture(self, field: ReceptiveField, cell: tuple[int, int]) -> QRectF | None:
        """Cut by the border, crop and resize taken into account."""
        shown = self._store.state.shown
        height, width = field.map_size
        if shown is None or not (cell[0] < height and cell[1] < width):
            return None
        seen = field.box(*cell)
        return _on_picture(shown.geometry, seen) if seen else None

    def _field(self, name: str) -> ReceptiveField | None:
        """Of a layer, if it is here; else it is asked for."""
        shown = self._store.state.shown
        if name not in self._fields and name not in self._asked and shown is not None:
            self._asked.add(name)
            self._link.ask(ReadField, partial(self._field_came, shown.run), run=shown.run, layer=name)
        return self._fields.get(name)

    def _field_came(self, run: int, reply: AnyReply, _block: Block | None) -> None:
        shown = self._store.state.shown
        if not isinstance(reply, FieldRead) or shown is None or shown.run != run:
            return
        self._fields[reply.layer] = _field_of(reply, shown)
        self._show_field()
        self._light_cells()

    # Who sees a part of the picture

    def _choose_region(self, region: QRectF | None) -> None:
        """A rectangle that is drawn on the picture, or given up."""
        if region is None:
            self._store.update(region=None)
        elif region.width() > 0 and region.height() > 0:
            self._store.update(region=(region.left(), region.top(), region.right(), region.bottom()))

    def _light_cells(self, *_: object) -> None:
        """Shade the cells of the layer that see nothing of the rectangle, or of the pixel under the pointer."""
        state, layer = self._store.state, self._store.state.layer_info
        region = QRectF(QPointF(*state.region[:2]), QPointF(*state.region[2:])) if state.region else self._pixel
        shade: QImage | None = None
        if region is not None and state.shown is not None and layer is not None and layer.spatial:
            field = self._field(layer.name)
            if field is not None and not field.unknown:
                shade = shade_image(field.seeing(_on_input(state.shown.geometry, region)))
        for canvas in (self._window.channel.canvas, self._window.maps.canvas):
            # Maps of the layer before are drawn until the new ones come.
            of_this = canvas.drawn is not None and canvas.drawn.layer == state.layer
            canvas.set_lit(shade if of_this else None)

    # The pinned place

    def _pin(self, place: Place | None, drawn: DrawnMap | None) -> None:
        """Pin this place of the map `drawn`; a click on the pinned cell of the chosen layer unpins it."""
        state = self._store.state
        if place is None or self._share(place) is None:
            return
        same = False
        if state.pin is not None and state.shown is not None and drawn is not None and drawn.layer == state.layer:
            cells = [state.shown.geometry.cell_at(*one, drawn.map_size) for one in (place, state.pin)]
            same = cells[0] == cells[1]
        self._store.update(pin=None if same else place)

    def _changed(self, old: ViewState, new: ViewState) -> None:
        if old.shown is not new.shown:
            self._forget()
            self._window.input.picture.repoint()
        if new.region is not None and _drops_region(old, new):
            self._store.update(region=None)
        if old.shown_source != new.shown_source and new.pin is not None:
            # A place on one picture is none on another.
            self._store.update(pin=None)
            return
        if old.region != new.region:
            region = self._store.state.region
            box = QRectF(QPointF(*region[:2]), QPointF(*region[2:])) if region else None
            self._window.input.picture.set_frame_of_choice(box)
        if (old.shown, old.layer, old.pin, old.region) != (new.shown, new.layer, new.pin, new.region):
            self._mark(self._pointed[1] if self._pointed else None)
            self._show_field()
            self._light_cells()
            self._window.column.set_current(new.layer)
        if (old.shown, old.pin, old.channel) != (new.shown, new.pin, new.channel):
            self._ask_column()

    def _forget(self, *_: object) -> None:
        self._fields.clear()
        self._asked.clear()
        self._column = None
        self._pointed = self._told = None
        self._window.set_value("")

    def _ask_column(self) -> None:
        """As long as a place is pinned, and somebody looks."""
        state = self._store.state
        if state.pin is None or state.shown is None or self._share(state.pin) is None:
            self._column = None
            self._window.column.set_column(None, "")
            return
        wanted = (state.shown.run, state.pin, state.channel)
        if wanted == self._column or self._window.column.visibleRegion().isEmpty():
            return
        self._column = wanted
        x, y = state.shown.geometry.to_input(*state.pin)
        heard = partial(self._column_came, wanted)
        self._link.ask(ReadColumn, heard, lane="column", run=state.shown.run, x=x, y=y, channel=state.channel)

    def _column_came(self, wanted: tuple[int, Place, int], reply: AnyReply, _block: Block | None) -> None:
        shown = self._store.state.shown
        if wanted != self._column or not isinstance(reply, ColumnRead) or shown is None:
            return
        marks = {layer.name: " ".join(layer.taps) for layer in shown.layers}
        column = ColumnShown(
            layers=reply.layers,
            marks=[marks.get(layer, "") for layer in reply.layers],
            cells=reply.cells,
            strongest=np.frombuffer(reply.strongest, "<f8"),
            channels=np.frombuffer(reply.strongest_channels, "<i4"),
            chosen=np.frombuffer(reply.chosen, "<f8"),
            channel=reply.channel,
            largest=np.frombuffer(reply.largest, "<f8"),
        )
        self._window.column.set_column(column, wording.column_words(wanted[1], reply.channel))
        self._window.column.set_current(self._store.state.layer)

    def _choose_layer(self, name: str) -> None:
        if find_layer(self._store.state.shown, name) is not None:
            self._store.update(layer=name)


def _drops_region(old: ViewState, new: ViewState) -> bool:
    """Return whether another layer, network or picture is shown, so that the rectangle has lost its meaning."""
    if new.shown is None or old.shown is None:
        return new.shown is not old.shown
    before, after = ((one.layer, one.shown_source, one.shown.setup.backbone if one.shown else "") for one in (old, new))
    return before != after


def _pixel_of(drawn: DrawnMap | None, place: Place | None) -> tuple[int, int] | None:
    """Return (row, column) of the pixel of a picture at a place in its pixels; None outside of it."""
    if drawn is None or place is None:
        return None
    row, column = int(place[1]), int(place[0])
    return (row, column) if 0 <= row < drawn.map_size[0] and 0 <= column < drawn.map_size[1] else None


def _cell(geometry: Geometry, layer: LayerInfo, place: Place) -> tuple[int, int] | None:
    return geometry.cell_at(*place, (layer.shape[2], layer.shape[3])) if layer.spatial else None


def _on_picture(geometry: Geometry, seen: Box) -> QRectF:
    """A box on the network's input, as the part of the picture that it came from."""
    left, top = geometry.to_picture(seen.left, seen.top)
    right, bottom = geometry.to_picture(seen.right, seen.bottom)
    box = Box(left, top, right, bottom).clipped(geometry.picture_size[1], geometry.picture_size[0])
    return QRectF(box.left, box.top, box.width, box.height)


def _on_input(geometry: Geometry, region: QRectF) -> Box:
    left, top = geometry.to_input(region.left(), region.top())
    right, bottom = geometry.to_input(region.right(), region.bottom())
    return Box(left, top, right, bottom)


def _field_of(reply: FieldRead, shown: Ran) -> ReceptiveField:
    height, width = reply.map_size

    def side(data: bytes, shape: tuple[int, int]) -> npt.NDArray[np.int32]:
        values = np.frombuffer(data, "<i4")
        # One for all cells along an axis, or one for each.
        for each in (shape, (height, width), (1, 1)):
            if values.size == each[0] * each[1]:
                return values.reshape(each)
        raise ValueError(f"{values.size} sides for {height} × {width} cells")

    return ReceptiveField(
        side(reply.top, (height, 1)),
        side(reply.bottom, (height, 1)),
        side(reply.left, (1, width)),
        side(reply.right, (1, width)),
        shown.geometry.input_size,
        reply.unbounded,
        reply.unknown,
        reply.map_size,
    )
