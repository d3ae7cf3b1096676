"""Which part of the picture is looked at: shared by all canvases that zoom together."""

from __future__ import annotations

from PySide6.QtCore import QObject, QPointF, QRectF, Signal

LARGEST_ZOOM = 64.0


class LinkedView(QObject):
    """A window on the picture: a zoom of 1 shows all of `region`, and `centre` is what lies in the middle.

    `region` and `centre` are in the picture's pixels, `cross` is the place pointed at, or None, and `pin` one that is held.
    """

    changed = Signal()
    crossed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.region = QRectF(0, 0, 1, 1)
        self.zoom = 1.0
        self.centre = QPointF(0.5, 0.5)
        self.cross: QPointF | None = None
        self.pin: QPointF | None = None
        self._resumed: tuple[float, QPointF] | None = None

    def set_region(self, region: QRectF) -> None:
        """Another part of the picture is the whole of it now; the zoom stays where the region does."""
        if region == self.region:
            return
        self.region = region
        resumed, self._resumed = self._resumed, None
        if resumed is None:
            self.fit()
        else:
            self._look(*resumed)

    def look(self) -> tuple[float, float, float] | None:
        """Return zoom and centre, as `resume` takes them; None where all is shown."""
        zoom, centre = self._resumed or (self.zoom, self.centre)
        return (zoom, centre.x(), centre.y()) if zoom > 1.0 else None

    def resume(self, look: tuple[float, float, float] | None) -> None:
        """Look there as soon as another region is set: the next picture's."""
        self._resumed = (look[0], QPointF(look[1], look[2])) if look is not None else None

    def _look(self, zoom: float, centre: QPointF) -> None:
        self.zoom, self.centre = min(max(zoom, 1.0), LARGEST_ZOOM), centre
        self._keep_inside()

    def fit(self) -> None:
        self.zoom, self.centre = 1.0, self.region.center()
        self.changed.emit()

    def zoom_at(self, place: QPointF, factor: float) -> None:
        """Zoom so that `place` of the picture stays where it is on the screen."""
        zoom = min(max(self.zoom * factor, 1.0), LARGEST_ZOOM)
        self.centre = place + (self.centre - place) * (self.zoom / zoom)
        self.zoom = zoom
        self._keep_inside()

    def pan(self, by: QPointF) -> None:
        """Move the window by so many pixels of the picture."""
        self.centre = self.centre + by
        self._keep_inside()

    def set_cross(self, place: QPointF | None) -> None:
        if place != self.cross:
            self.cross = place
            self.crossed.emit(place)

    def set_pin(self, place: QPointF | None) -> None:
        if place != self.pin:
            self.pin = place
            self.crossed.emit(place)

    def _keep_inside(self) -> None:
        half_x, half_y = self.region.width() / self.zoom / 2, self.region.height() / self.zoom / 2
        self.centre = QPointF(
            min(max(self.centre.x(), self.region.left() + half_x), self.region.right() - half_x),
            min(max(self.centre.y(), self.region.top() + half_y), self.region.bottom() - half_y),
        )
        self.changed.emit()
