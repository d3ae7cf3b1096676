"""The context menu of a map: it acts on the map under the pointer, whatever is selected."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
from PySide6.QtCore import QObject, QPoint
from PySide6.QtGui import QImage

from fmviz.app import wording
from fmviz.app.drawn_map import DrawnMap
from fmviz.app.presenter import Presenter
from fmviz.app.state import Store
from fmviz.app.window import MainWindow

_OF_THE_VIEW = ("fit", "smooth", "over_picture")


class MapMenu(QObject):
    """Fill the window's `copy_menu` for the map under the pointer, and open it.

    Args:
        copied: Put an image on the clipboard; its second argument is the sentence for the status bar.
        export: Open the export dialog on a map; its second argument says whether over the picture.
    """

    def __init__(
        self,
        store: Store,
        presenter: Presenter,
        window: MainWindow,
        copied: Callable[[QImage, str], None],
        export: Callable[[DrawnMap, bool], None],
    ) -> None:
        super().__init__(window)
        self._store, self._presenter, self._window = store, presenter, window
        self._copied, self._export = copied, export
        grid, channel = window.maps.canvas, window.channel.canvas
        grid.menu_wanted.connect(self._open_on_grid)
        channel.menu_wanted.connect(self._open_on_channel)
        window.pyramid.menu_wanted.connect(self._open_on_tap)
        window.maps.matrix.menu_wanted.connect(self._open_on_matrix)
        for canvas in (window.input.picture, window.input.network_input):
            canvas.menu_wanted.connect(lambda place, canvas=canvas: self._open(place, canvas.drawn, canvas.picture))

    def _open_on_grid(self, place: QPoint, cell: tuple[int, int, int] | None) -> None:
        drawn = self._window.maps.canvas.drawn
        if drawn is not None and cell is not None:
            drawn = msgspec.structs.replace(drawn, channel=cell[0], limits=None)
            self._open(place, drawn, None, grid=True)
        else:
            self._open(place, None, None, grid=True)

    def _open_on_channel(self, place: QPoint) -> None:
        """Only here maps are drawn over the picture: in the grid and in the pyramid both entries mean the plain map."""
        over = self._store.state.over_picture
        self._open(place, self._window.channel.canvas.drawn, self._presenter.channel_image, over=over)

    def _open_on_tap(self, tap: str, place: QPoint) -> None:
        drawn = self._window.pyramid.canvases[tap].drawn
        self._open(place, drawn, partial(self._presenter.tap_image, tap))

    def _open_on_matrix(self, place: QPoint) -> None:
        matrix = self._window.maps.matrix
        self._open(place, matrix.drawn, matrix.image)

    def _open(
        self,
        place: QPoint,
        drawn: DrawnMap | None,
        image: Callable[[], QImage | None] | None,
        *,
        grid: bool = False,
        over: bool = False,
    ) -> None:
        """Open the menu at a global place.

        Args:
            place: In global coordinates.
            drawn: The map that is copied and exported.
            image: Makes the image of the map; the engine renders it where None.
            grid: Whether the whole grid can be copied as well.
            over: Whether the map is copied and exported over the picture.
        """
        menu = self._window.copy_menu
        menu.clear()
        if drawn is not None:
            which = self._name(drawn, over=over)
            copy = menu.addAction(self._copy_text(drawn).format(map=which))
            copy.triggered.connect(lambda: self._copy(drawn, image, which))
        if grid:
            menu.addAction(self._window.actions_by_name["copy_grid"])
        if drawn is not None and drawn.kind in ("map", "matrix") and not drawn.snapshot:
            menu.addAction(self.tr("&Export {map}…").format(map=which)).triggered.connect(
                lambda: self._export(drawn, over)
            )
        menu.addSeparator()
        for name in _OF_THE_VIEW:
            menu.addAction(self._window.actions_by_name[name])
        menu.popup(place)

    def _name(self, drawn: DrawnMap, *, over: bool) -> str:
        words = wording.map_words(self._store.state.shown, drawn)
        return self.tr("{map} over the picture").format(map=words) if over else words

    def _copy_text(self, drawn: DrawnMap) -> str:
        if drawn.kind == "picture":
            return self.tr("&Copy picture")
        if drawn.kind == "input":
            return self.tr("&Copy network input")
        return self.tr("&Copy {map}")

    def _copy(self, drawn: DrawnMap, image: Callable[[], QImage | None] | None, which: str) -> None:
        told = self.tr("Copied: {map}.").format(map=which)
        if image is None:
            self._presenter.fetch_image(drawn, lambda made: self._copied(made, told))
        elif (made := image()) is not None:
            self._copied(made, told)
