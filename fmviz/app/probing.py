"""The flow of the probe: what the cell under the pointer sees, which cells see a part of the picture, and what all layers say
at a place that is pinned."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QObject, QPointF, QRectF
from PySide6.QtGui import QImage

from fmviz.app import wording
from fmviz.app.blocks import Block
from fmviz.app.controller import Controller
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
        self._pointed: tuple[str, Place] | None = None
        self._seen: QRectF | None = None
        """The part of the picture whose viewers are lit."""
        self._column: tuple[int, Place, int] | None = None
        self._listen()
        store.changed.connect(self._changed)
        link.lost.connect(self._forget)
        controller.looking.value_came.connect(self._value_came)

    def _listen(self) -> None:
        window = self._window
        grid, channel, picture = window.maps.canvas, window.channel.canvas, window.input.picture
        grid.pointed.connect(self._pointed_at_cell)
        grid.clicked_at.connect(lambda cell: self._pin(self._centre(cell[1], cell[2])))
        channel.pointed.connect(lambda place: self._pointed_at(self._store.state.layer, place))
        channel.clicked_at.connect(self._pin)
        window.pyramid.pointed.connect(self._pointed_at_tap)
        picture.pointed.connect(self._pointed_at_picture)
        picture.clicked_at.connect(self._pin)
        picture.region_chosen.connect(self._light)
        window.column.layer_chosen.connect(self._choose_layer)
        window.column_shown.connect(lambda shown: self._ask_column())

    # The pointer

    def _pointed_at_cell(self, cell: tuple[int, int, int] | None) -> None:
        """A cell of the grid: of its own channel."""
        place = self._centre(cell[1], cell[2]) if cell else None
        self._pointed_at(self._store.state.layer, place, channel=cell[0] if cell else None)

    def _centre(self, row: int, column: int) -> Place | None:
        """The middle of a cell's place on the picture."""
        state, layer = self._store.state, self._store.state.layer_info
        if state.shown is None or layer is None or not layer.spatial:
            return None
        box = state.shown.geometry.cell_box(row, column, (layer.shape[2], layer.shape[3]))
        return (box.left + box.right) / 2, (box.top + box.bottom) / 2

    def _pointed_at_tap(self, pointed: tuple[str, float, float] | None) -> None:
        """A map of the pyramid, which need not be of the layer that is chosen."""
        shown = self._store.state.shown
        if pointed is None or shown is None:
            self._pointed_at("", None)
            return
        tap, x, y = pointed
        layer = next((layer for layer in shown.layers if tap in layer.taps), None)
        self._pointed_at(layer.name if layer else "", (x, y))

    def _pointed_at_picture(self, place: Place | None) -> None:
        """Not what a cell sees, but who sees this pixel."""
        self._pointed_at(self._store.state.layer, place, looking_back=True)
        pixel = QRectF(int(place[0]), int(place[1]), 1, 1) if place is not None else None
        self._light_cells(self._seen or pixel)

    def _pointed_at(
        self, name: str, place: Place | None, *, channel: int | None = None, looking_back: bool = False
    ) -> None:
        self._pointed = (name, place) if place is not None and not looking_back else None
        self._mark(place)
        self._tell_value(place, channel)
        self._show_field()

    def _tell_value(self, place: Place | None, channel: int | None) -> None:
        state, layer = self._store.state, self._store.state.layer_info
        cell = _cell(state.shown.geometry, layer, place) if place and state.shown and layer else None
        if cell is None:
            self._window.set_value("")
            return
        channel = state.channel if channel is None else channel
        self._window.set_value(wording.value_at(channel, *cell, None))
        self._controller.looking.ask_value(channel, *cell)

    def _value_came(self, place: tuple[int, int, int], value: float) -> None:
        self._window.set_value(wording.value_at(*place, value))

    def _mark(self, place: Place | None) -> None:
        """A cross there in all maps of all sizes, and a ring where a place is pinned."""
        state, window = self._store.state, self._window
        cross, pin = (QPointF(*one) if one else None for one in (place, state.pin))
        for view in (window.input.picture.view, window.channel.canvas.view, window.pyramid.view):
            view.set_cross(cross)
            view.set_pin(pin)
        marks = [(*share, held) for one, held in ((state.pin, True), (place, False)) if (share := self._share(one))]
        window.maps.canvas.set_marks(marks)

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
        name, place = self._pointed or (state.layer, state.pin)
        layer = find_layer(state.shown, name)
        field = self._field(name) if place is not None and layer is not None and layer.spatial else None
        box, words = None, ""
        if field is not None and state.shown is not None and layer is not None and place is not None:
            cell = _cell(state.shown.geometry, layer, place)
            box = self._on_picture(field, cell) if cell else None
            words = wording.field_words(field, cell) if cell else ""
        self._window.input.picture.set_field(box)
        self._window.channel.canvas.set_field(box)
        self._window.set_field_words(words)

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
        if self._seen is not None:
            self._light_cells(self._seen)

    # Who sees a part of the picture

    def _light(self, region: QRectF | None) -> None:
        """A rectangle that is drawn on the picture, or let go of."""
        self._seen = region if region is not None and region.width() > 0 and region.height() > 0 else None
        self._window.input.picture.set_frame_of_choice(self._seen)
        self._light_cells(self._seen)

    def _light_cells(self, region: QRectF | None) -> None:
        """Shade the cells of the chosen layer that see nothing of `region`."""
        state, layer = self._store.state, self._store.state.layer_info
        shade: QImage | None = None
        if region is not None and state.shown is not None and layer is not None and layer.spatial:
            field = self._field(layer.name)
            if field is not None and not field.unknown:
                shade = shade_image(field.seeing(_on_input(state.shown.geometry, region)))
        self._window.channel.canvas.set_lit(shade)
        self._window.maps.canvas.set_lit(shade)

    # The pinned place

    def _pin(self, place: Place | None) -> None:
        """Hold this place; a click on the cell that is held lets go of it."""
        state, layer = self._store.state, self._store.state.layer_info
        if place is None or self._share(place) is None:
            return
        same = False
        if state.pin is not None and state.shown is not None and layer is not None and layer.spatial:
            cells = [_cell(state.shown.geometry, layer, one) for one in (place, state.pin)]
            same = cells[0] == cells[1]
        self._store.update(pin=None if same else place)

    def _changed(self, old: ViewState, new: ViewState) -> None:
        if old.shown is not new.shown:
            self._forget()
        if old.shown_source != new.shown_source and new.pin is not None:
            # A place on one picture is none on another.
            self._store.update(pin=None)
            return
        if (old.shown, old.layer, old.pin) != (new.shown, new.layer, new.pin):
            self._mark(self._pointed[1] if self._pointed else None)
            self._show_field()
            self._light_cells(self._seen)
            self._window.column.set_current(new.layer)
        if (old.shown, old.pin, old.channel) != (new.shown, new.pin, new.channel):
            self._ask_column()

    def _forget(self, *_: object) -> None:
        self._fields.clear()
        self._asked.clear()
        self._column = None
        self._pointed = None

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
