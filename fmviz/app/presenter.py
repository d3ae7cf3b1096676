"""Puts the state and the engine's answers into the views, and what the views heard into the store."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QObject, QRectF, QSize, Qt
from PySide6.QtGui import QImage, QPainter

from fmviz.app import wording
from fmviz.app.blocks import SharedPixels
from fmviz.app.controller import Controller
from fmviz.app.drawn_map import DrawnMap
from fmviz.app.layer_maps import ShownMaps
from fmviz.app.looking import ShownChannel, ShownMatrix, ShownTaps
from fmviz.app.qimage import colour_list, coloured_image, rgb_image
from fmviz.app.state import Place, Store, ViewState, find_layer
from fmviz.app.theme import LEVEL_COLOURS, accent
from fmviz.app.wanted import ChannelWanted, remedies_of_pyramid, snapshot_wanted
from fmviz.app.window import MainWindow
from fmviz.colours import colour_table
from fmviz.engine.messages import ThingInfo
from fmviz.geometry import Box
from fmviz.matrices import matrices_of


class Presenter(QObject):
    """One method a view; each looks at the state and at what came last, and sets the view."""

    def __init__(self, store: Store, controller: Controller, window: MainWindow) -> None:
        super().__init__(window)
        self.store = store
        self.controller = controller
        self.window = window
        self.dark = False
        self._maps: ShownMaps | None = None
        self._maps_in_front = True
        self._channel: ShownChannel | None = None
        self._taps: ShownTaps | None = None
        self._things: tuple[ThingInfo, ...] = ()
        self._order_of: tuple[ShownMaps, str] | None = None
        self._listen_to_answers()
        self._listen_to_views()
        store.changed.connect(self._changed)
        self._push_all()

    # Answers

    def _listen_to_answers(self) -> None:
        looking = self.controller.looking
        looking.maps_asked.connect(self.window.maps.canvas.expect_new)
        looking.maps_came.connect(self._maps_came)
        looking.vector_came.connect(self._vector_came)
        looking.matrix_came.connect(self._matrix_came)
        looking.channel_came.connect(self._channel_came)
        looking.description_came.connect(self._description_came)
        looking.taps_came.connect(self._taps_came)
        looking.things_came.connect(self._things_came)
        looking.input_came.connect(self._input_came)
        self.controller.picture_ready.connect(self._push_picture)

    def _maps_came(self, maps: ShownMaps) -> None:
        self._maps = maps
        self._show_maps()

    def _show_maps(self) -> None:
        maps, state = self._maps, self.store.state
        if maps is None:
            return
        order = wording.channel_order(state.order, maps.statistics)
        notes = wording.channel_notes(maps.statistics)
        self.window.maps.show_maps(maps.pixels, maps.drawn(), order, notes)
        self._push_heading()
        self._push_scale()

    def _vector_came(self, vector: tuple[str, npt.NDArray[np.float64], int, str]) -> None:
        name, values, count, reason = vector
        self._maps = self._channel = None
        self.window.channel.show_none(of_vector=True)
        reason = " ".join(part for part in (reason, wording.bars_note(values, count)) if part)
        run = self.store.state.shown.run if self.store.state.shown else 0
        drawn = DrawnMap(run=run, layer=name, map_size=(1, len(values)), kind="vector")
        self.window.maps.show_vector(values, reason, drawn)
        self._push_heading()

    def _matrix_came(self, matrix: ShownMatrix) -> None:
        layer = find_layer(self.store.state.shown, matrix.drawn.layer)
        found = matrices_of(layer.shape) if layer is not None else None
        if layer is None or found is None or layer.spatial:
            return
        self._maps = self._channel = None
        self.window.channel.show_none(of_vector=True)
        self.window.maps.show_matrix(matrix.pixels.array[0], matrix.drawn, layer.shape, found[0], matrix.reason)
        low, high = matrix.drawn.limits or (0.0, 0.0)
        words = wording.scale_words(self.store.state.shown, matrix.drawn)
        self.window.maps.set_scale(self._table(), low, high, words)
        self._push_heading()

    def _channel_came(self, channel: ShownChannel) -> None:
        self._channel = channel
        self._show_channel()
        self._push_channel_number()
        self.window.channel.set_heading(wording.map_words(self.store.state.shown, channel.drawn))

    def _description_came(
        self,
        description: tuple[ChannelWanted, npt.NDArray[np.float64], npt.NDArray[np.float64], tuple[float, ...]],
    ) -> None:
        wanted, counts, edges, statistics = description
        drawn = DrawnMap(run=wanted.run, layer=wanted.layer, map_size=(0, 0), channel=wanted.channel)
        subject = wording.map_words(self.store.state.shown, drawn)
        self.window.channel.set_description(subject, counts, edges, statistics)

    def _show_channel(self) -> None:
        state, channel = self.store.state, self._channel
        if channel is None or state.shown is None:
            return
        image = coloured_image(channel.pixels.array[0], self._colours())
        self.window.channel.canvas.view.set_region(self._seen())
        self.window.channel.canvas.set_map(image, self._seen(), channel.drawn)

    def _taps_came(self, taps: ShownTaps) -> None:
        self._taps = taps
        self._show_taps()

    def _show_taps(self) -> None:
        state, taps = self.store.state, self._taps
        if taps is None or state.shown is None:
            return
        images = self._tap_images(taps)
        maps = {
            name: (images[name], wording.tap_caption(info, taps.drawn(name)), taps.drawn(name))
            for name, (info, _) in taps.maps.items()
        }
        self.window.pyramid.set_maps(maps, self._seen(), note=self._pyramid_note())

    def _tap_images(self, taps: ShownTaps) -> dict[str, QImage]:
        colours = self._colours()
        return {name: coloured_image(pixels, colours) for name, (_, pixels) in taps.maps.items()}

    def _pyramid_note(self) -> str:
        state = self.store.state
        if state.shown is None:
            return ""
        if snapshot_wanted(state) and state.learning is not None:
            return state.learning.text
        return " ".join(part for part in (wording.pyramid_note(state.shown), wording.found(self._things)) if part)

    def _things_came(self, things: tuple[ThingInfo, ...]) -> None:
        shown = self.store.state.shown
        self._things = things if shown is not None else ()
        boxes: dict[str, list[QRectF]] = {}
        for thing in self._things:
            assert shown is not None
            left, top = shown.geometry.to_picture(*thing.box[:2])
            right, bottom = shown.geometry.to_picture(*thing.box[2:])
            boxes.setdefault(thing.level, []).append(QRectF(left, top, right - left, bottom - top))
        self.window.input.picture.set_boxes([(box, LEVEL_COLOURS[tap]) for tap in boxes for box in boxes[tap]])
        self.window.pyramid.set_boxes(boxes, LEVEL_COLOURS)
        self.window.pyramid.set_note(self._pyramid_note())

    def _input_came(self, pixels: SharedPixels) -> None:
        image = rgb_image(pixels.array)
        box = QRectF(0, 0, image.width(), image.height())
        canvas = self.window.input.network_input
        canvas.view.set_region(box)
        canvas.set_picture(image, box)
        run = self.store.state.shown.run if self.store.state.shown else 0
        canvas.set_drawn(DrawnMap(run=run, layer="", map_size=(image.height(), image.width()), kind="input"))

    # State

    def _changed(self, old: ViewState, new: ViewState) -> None:
        def differs(*names: str) -> bool:
            return any(getattr(old, name) != getattr(new, name) for name in names)

        if differs("shown", "shown_source"):
            self._push_run()
        if differs("sources", "current", "shown_source"):
            self._push_strip()
        if differs("sources", "current", "shown_source", "shown"):
            self._push_picture()
        if differs("shown", "layer"):
            self._push_layer()
        if differs("shown", "layer", "channel"):
            self._push_channel()
        if differs("normalisation", "colour_map", "order", "smooth", "shown"):
            self._push_choices()
        if differs("order"):
            self._show_maps()
        if differs("colour_map", "appearance"):
            self.push_colours()
        if differs("over_picture", "opacity", "peek", "shown"):
            self._push_overlay()
        if differs("learning"):
            self.window.pyramid.set_note(self._pyramid_note())
        if differs("pyramid", "shown", "boxes", "backbones", "learning"):
            self._push_pyramid_choice()
        if differs("setup", "backbones", "devices", "shown", "fetching"):
            self.window.setup_bar.set_choices(new.setup, new.networks, new.devices, new.fetching)
        if differs("activity", "shown", "sources", "problems", "layer", "pin", "region"):
            self._push_activity()
        if differs("problems"):
            self._push_problems()
        if differs("problems", "setup"):
            self._push_remedies()

    def _push_all(self) -> None:
        state = self.store.state
        self.window.setup_bar.set_choices(state.setup, state.networks, state.devices, state.fetching)
        self._push_choices()
        self._push_remedies()
        self._push_overlay()
        self._push_pyramid_choice()
        self._push_strip()
        self._push_activity()
        self.window.setWindowTitle(wording.window_title(state))
        self.window.pyramid.show_empty(
            self.tr("The pyramid of a picture is shown here: C2–C5, and P2–P6 where there is one.")
        )

    def _push_run(self) -> None:
        state = self.store.state
        run = state.shown
        # What another network found, or in another picture, is not on this one.
        self._things_came(())
        self.window.setWindowTitle(wording.window_title(state))
        self.window.layers.set_layers(run.layers if run else ())
        if run is None:
            self._maps = self._channel = self._taps = None
            self.window.set_run_words("")
            self.window.input.predictions.set_predictions((), "")
            self.window.input.set_notes("")
            self.window.input.network_input.set_picture(None, QRectF())
            self.window.input.network_input.set_drawn(None)
            self.window.channel.show_none()
            self.window.pyramid.show_empty("")
            return
        self.window.set_run_words(wording.run_words(run))
        self.window.input.predictions.set_predictions(wording.predictions(run), wording.no_predictions(run))
        self.window.input.set_notes(wording.run_notes(run))
        if not any(layer.taps for layer in run.layers):
            self._taps = None
            self.window.pyramid.show_empty(self.tr("This network has no named stages C2–C5."))

    def _push_strip(self) -> None:
        state = self.store.state
        self.window.set_checked("stretch", state.stretch)
        self.window.strip.set_pictures([source.name for source in state.sources], state.current)
        self.window.fit_upper_bar()
        self.window.set_can_step(back=state.current > 0, forward=state.current + 1 < len(state.sources))
        self.window.setWindowTitle(wording.window_title(state))

    def _push_picture(self) -> None:
        """The picture that the maps come from; before there are any, the one that is wanted."""
        state = self.store.state
        picture = self.controller.picture(state.shown_source or state.source)
        image: QImage | None = picture.image if picture else None
        box = QRectF(0, 0, picture.size[1], picture.size[0]) if picture else QRectF(0, 0, 1, 1)
        canvas = self.window.input.picture
        canvas.view.set_region(box)
        canvas.set_picture(image, box)
        canvas.set_frame(self._seen() if state.shown and picture else None)
        self.window.set_can_choose_bands(picture is not None and picture.bands > 1)
        run = state.shown.run if state.shown else 0
        drawn = DrawnMap(run=run, layer="", map_size=picture.size, kind="picture") if picture else None
        canvas.set_drawn(drawn)
        # Where there is no map yet, the picture alone would be drawn as if it were one.
        below = image if state.shown else None
        self.window.channel.canvas.set_picture(below, box)
        self.window.pyramid.set_picture(below, box)
        self.window.input.set_about(
            wording.picture_words(picture.size, picture.note) if picture else "",
            wording.picture_words(state.shown.geometry.input_size, "") if state.shown else "",
            state.shown.preprocessing if state.shown else "",
        )

    def _push_layer(self) -> None:
        state = self.store.state
        layer = state.layer_info
        self.window.layers.set_current(state.layer)
        self.window.pyramid.set_current_tap(layer.taps if layer else ())
        self._push_current_row()
        # Otherwise it comes with the maps: it names what is drawn, and not what is on its way.
        if layer is None or state.shown is None:
            self.window.maps.set_heading("", "")

    def _push_heading(self) -> None:
        state, layer = self.store.state, self.store.state.layer_info
        # Where the maps of another layer are still drawn, it is that one's.
        named = self._maps is None or (layer is not None and self._maps.layer == layer.name)
        if layer is not None and state.shown is not None and named:
            statistics = self._maps.statistics if self._maps else None
            self.window.maps.set_heading(
                wording.layer_title(layer), wording.layer_facts(state.shown, layer, statistics)
            )

    def _push_current_row(self) -> None:
        layer = self.store.state.layer_info
        if layer is not None:
            self.window.parameters.set_current(layer.path)

    def _push_channel(self) -> None:
        state = self.store.state
        self.window.maps.canvas.set_current(state.channel)
        if self._channel is None or self._channel.layer == state.layer:
            self._push_channel_number()
        self._push_scale()

    def _push_channel_number(self) -> None:
        state = self.store.state
        layer = state.layer_info
        self.window.channel.set_channel(state.channel, layer.shape[1] if layer and layer.spatial else 0)

    def _push_choices(self) -> None:
        state = self.store.state
        self.window.maps.set_choices(state.normalisation, state.colour_map, state.order, smooth=state.smooth)
        self.window.channel.canvas.set_smooth(state.smooth)
        self.window.pyramid.set_smooth(state.smooth)
        self.window.set_checked("smooth", state.smooth)

    def push_colours(self) -> None:
        """The colour table, after the colour map or light and dark changed: no pixel is asked for."""
        colour = accent(dark=self.dark)
        self.window.maps.set_colours(self._table(), colour)
        for canvas in (self.window.channel.canvas, self.window.input.picture, self.window.input.network_input):
            canvas.set_accent(colour)
        self.window.pyramid.set_accent(colour)
        self._show_channel()
        if self._taps is not None and self.store.state.shown is not None:
            self.window.pyramid.set_images(self._tap_images(self._taps), self._seen())
        self._push_scale()

    def _push_scale(self) -> None:
        maps, state = self._maps, self.store.state
        if maps is None or maps.layer != state.layer or state.channel >= len(maps.limits):
            return
        low, high = maps.limits[state.channel]
        words = wording.scale_words(state.shown, maps.drawn(state.channel))
        self.window.maps.set_scale(self._table(), float(low), float(high), words)

    def _push_overlay(self) -> None:
        state = self.store.state
        self.window.channel.set_over_picture(state.over_picture, state.opacity)
        self.window.channel.canvas.set_peek(state.peek)
        self.window.pyramid.set_peek(state.peek)
        self.window.set_checked("over_picture", state.over_picture)

    def _push_pyramid_choice(self) -> None:
        state = self.store.state
        tapped = [layer for layer in state.shown.layers if layer.taps] if state.shown else []
        pyramid = [layer for layer in tapped if any(tap[0] == "P" for tap in layer.taps)] or tapped
        possible = state.shown is not None and any(layer.item == "[scores.P2]" for layer in state.shown.layers)
        self.window.pyramid.set_remedies(**remedies_of_pyramid(state))
        self.window.pyramid.set_boxes_wanted(state.boxes, possible=possible)
        self.window.set_checked("boxes", state.boxes)
        self.window.pyramid.set_choice(state.pyramid, min((layer.shape[1] for layer in pyramid), default=1))

    def _push_activity(self) -> None:
        state = self.store.state
        activity = state.activity
        self.window.set_activity(activity.text if activity else "", activity.fraction if activity else None)
        marked = state.pin is not None or state.region is not None
        self.window.set_can_cancel(possible=activity is not None or marked, pinned=marked)
        if state.shown is not None:
            return
        self._maps = None
        if activity is not None:
            self.window.maps.show_waiting(activity.text + " …", activity.fraction)
        elif state.source is not None and not state.problems and not state.backbones:
            self.window.maps.show_waiting(self.tr("Starting the engine …"), None)
        else:
            self.window.maps.show_samples(state.source.name if state.source is not None else "")

    def _push_remedies(self) -> None:
        state = self.store.state
        told = {name for problem in state.problems for name in problem.remedies}
        if state.setup.device != "cpu":
            told.add("use_cpu")
        self.window.set_remedies_at_hand(told)

    def _push_problems(self) -> None:
        for place in ("window", "maps", "pyramid", "parameters", "channel", "input"):
            self._push_problem(place)
        self.window.fit_upper_bar()

    def _push_problem(self, place: Place) -> None:
        problem = self.store.state.problem(place)
        banners = [self.window.banner(place)]
        if place == "maps":
            banners.append(self.window.banner_of_hidden_maps)
        for banner in banners:
            if problem is None or (banner is self.window.banner_of_hidden_maps and self._maps_in_front):
                banner.hide()
            else:
                banner.tell(
                    problem.message, [self.window.actions_by_name[name] for name in problem.remedies], problem.details
                )

    def _maps_shown(self, in_front: bool) -> None:
        self._maps_in_front = in_front
        self._push_problem("maps")
        self.window.fit_upper_bar()

    def _seen(self) -> QRectF:
        """The part of the picture that the network saw."""
        shown = self.store.state.shown
        return _rect(shown.geometry.input_box()) if shown else QRectF(0, 0, 1, 1)

    def _table(self) -> npt.NDArray[np.uint8]:
        return colour_table(self.store.state.colour_map, dark=self.dark)

    def _colours(self) -> list[int]:
        return colour_list(self._table())

    # What the views heard

    def _listen_to_views(self) -> None:
        window, update, controller = self.window, self.store.update, self.controller
        window.layers.layer_chosen.connect(self.choose_layer)
        window.layers.beside.connect(controller.looking.set_beside)
        window.layers.stage_step.connect(self.step_stage)
        window.parameters.layer_chosen.connect(self._choose_path)
        window.maps.normalisation_chosen.connect(lambda value: update(normalisation=value))
        window.maps.colour_map_chosen.connect(lambda value: update(colour_map=value))
        window.maps.order_chosen.connect(lambda value: update(order=value))
        window.maps.smooth_chosen.connect(lambda value: update(smooth=value))
        window.maps.matrix.number_chosen.connect(lambda value: update(matrix=value))
        window.maps.cancel_wanted.connect(controller.cancel)
        canvas = window.maps.canvas
        canvas.channel_chosen.connect(self.choose_channel)
        canvas.view_changed.connect(lambda value: update(grid_view=value))
        canvas.stage_step.connect(self.step_stage)
        canvas.peeked.connect(lambda value: update(peek=value))
        window.channel.channel_chosen.connect(self.choose_channel)
        window.channel.over_picture_chosen.connect(lambda value: update(over_picture=value))
        window.channel.opacity_chosen.connect(lambda value: update(opacity=value))
        for map_canvas in (window.channel.canvas, *window.pyramid.canvases.values()):
            map_canvas.peeked.connect(lambda value: update(peek=value))
        window.pyramid.boxes_chosen.connect(lambda value: update(boxes=value))
        window.pyramid.choice_made.connect(lambda value: update(pyramid=value))
        window.pyramid.tap_chosen.connect(self._choose_tap)
        window.strip.picture_chosen.connect(lambda value: update(current=value))
        window.strip.picture_closed.connect(controller.close_picture)
        window.setup_bar.changed.connect(lambda changes: controller.set_setup(**changes))
        window.maps.samples.sample_chosen.connect(window.sample_chosen)
        for place in ("window", "maps", "pyramid", "parameters", "channel", "input"):
            window.banner(place).closed.connect(lambda place=place: controller.problems.dismiss(place))
        window.banner_of_hidden_maps.closed.connect(lambda: controller.problems.dismiss("maps"))
        window.maps_shown.connect(self._maps_shown)
        window.table_shown.connect(lambda value: update(table_wanted=value))

    def choose_layer(self, name: str) -> None:
        """Show this layer, and of its channels the one that is chosen, as far as it has so many."""
        state = self.store.state
        layer = next((layer for layer in state.shown.layers if layer.name == name), None) if state.shown else None
        if layer is None:
            return
        channels = layer.shape[1] if layer.spatial else 1
        self.store.update(layer=name, channel=min(state.channel, max(channels - 1, 0)))

    def choose_channel(self, channel: int) -> None:
        """This one, or the last that the layer has: what it is chosen from may still be another layer's."""
        layer = self.store.state.layer_info
        count = layer.shape[1] if layer is not None and layer.spatial else 1
        self.store.update(channel=max(0, min(channel, count - 1)))

    def step_layer(self, step: int) -> None:
        """The next layer of the forward, or the one before."""
        state = self.store.state
        names = [layer.name for layer in state.shown.layers] if state.shown else []
        if state.layer in names and 0 <= names.index(state.layer) + step < len(names):
            self.choose_layer(names[names.index(state.layer) + step])

    def step_stage(self, step: int) -> None:
        """The next layer with a name of its own (C2 … P6), or the one before."""
        state = self.store.state
        layers = state.shown.layers if state.shown else ()
        here = next((place for place, layer in enumerate(layers) if layer.name == state.layer), 0)
        tapped = [place for place, layer in enumerate(layers) if layer.taps]
        further = [place for place in tapped if (place > here if step > 0 else place < here)]
        if further:
            self.choose_layer(layers[further[0 if step > 0 else -1]].name)

    def _choose_path(self, path: str) -> None:
        shown = self.store.state.shown
        found = [layer.name for layer in shown.layers if layer.path == path] if shown else []
        if found:
            self.choose_layer(found[0])

    def _choose_tap(self, tap: str) -> None:
        shown = self.store.state.shown
        for layer in shown.layers if shown else ():
            if tap in layer.taps:
                self.choose_layer(layer.name)

    # Copies

    def channel_image(self) -> QImage | None:
        """Return the map of the Channel dock as the dock shows it: alone, or over the picture."""
        if self._channel is None:
            return None
        image = coloured_image(self._channel.pixels.array[0], self._colours())
        over = self._over_picture(image) if self.store.state.over_picture else None
        return over or _legible(image)

    def tap_image(self, tap: str) -> QImage | None:
        """Return the map of a level of the pyramid."""
        if self._taps is None or tap not in self._taps.maps:
            return None
        return _legible(coloured_image(self._taps.maps[tap][1], self._colours()))

    def fetch_image(self, drawn: DrawnMap, done: Callable[[QImage], None]) -> None:
        """Make the image of a map of the grid: of the pixels drawn there if they are all, else the engine renders it."""
        maps = self._maps
        if maps is not None and maps.drawn().run == drawn.run and maps.layer == drawn.layer:
            pixels = maps.pixels.array
            if pixels.shape[1:] == maps.map_size:
                done(_legible(coloured_image(pixels[drawn.channel], self._colours())))
                return
        self.controller.looking.ask_map(drawn, lambda pixels: done(_legible(coloured_image(pixels, self._colours()))))

    def _over_picture(self, image: QImage) -> QImage | None:
        """Return a map over the part of the picture that the network saw; None without a picture."""
        state = self.store.state
        picture = self.controller.picture(state.shown_source)
        seen = self._seen()
        if picture is None or state.shown is None or seen.isEmpty():
            return None
        # The window may hold the picture smaller than it is.
        share = picture.image.width() / picture.size[1]
        scale = share * max(1, -(-_LEGIBLE // max(1, round(max(seen.width(), seen.height()) * share))))
        size = QSize(max(1, round(seen.width() * scale)), max(1, round(seen.height() * scale)))
        over = QImage(size, QImage.Format.Format_RGB32)
        with QPainter(over) as painter:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, True)
            whole = QRectF(0, 0, picture.size[1] * scale, picture.size[0] * scale)
            painter.drawImage(whole.translated(-seen.left() * scale, -seen.top() * scale), picture.image)
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, state.smooth)
            painter.setOpacity(state.opacity)
            painter.drawImage(QRectF(0, 0, size.width(), size.height()), image)
        return over


_LEGIBLE = 224
"""Longer side, in pixels, that a copied map has at least."""


def _legible(image: QImage) -> QImage:
    """Return a map enlarged by a whole number until it is legible, with crisp cells."""
    factor = max(1, -(-_LEGIBLE // max(image.width(), image.height(), 1)))
    return image.scaled(image.size() * factor, Qt.AspectRatioMode.KeepAspectRatio)


def _rect(box: Box) -> QRectF:
    return QRectF(box.left, box.top, box.width, box.height)
