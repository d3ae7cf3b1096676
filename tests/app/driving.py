"""A person at the real window: what they see, and what their hands do."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import PySide6
from PySide6.QtCore import QCoreApplication, QEvent, QMimeData, QPointF, QSettings, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QComboBox, QWidget

from fmviz.app.drawn_map import DrawnMap
from fmviz.app.layer_maps import ShownMaps
from fmviz.app.looking import ShownChannel, ShownMatrix, ShownTaps
from fmviz.app.main import App
from fmviz.app.state import ViewState
from fmviz.assets import asset
from fmviz.engine.messages import PictureSource
from fmviz.matrices import matrices_of

PATIENCE = 5000
"""How often `until` looks, three milliseconds apart, before it gives up."""


def until(true: Callable[[], object], what: str, *, patience: int = PATIENCE) -> None:
    """Let Qt work until `true()`; `what` is said where it never is."""
    for _ in range(patience):
        if true():
            return
        QTest.qWait(3)
    raise AssertionError(f"waited in vain: {what}")


def alive(process: int) -> bool:
    """Whether there is such a process, and not only its remains."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Desk:
    """A started window, what the engine answered last, and the hands of a person."""

    def __init__(
        self,
        settings: Path,
        pictures: Sequence[Path] = (),
        engine: Sequence[str] | None = None,
        folder: Path | None = None,
        **start: Any,
    ) -> None:
        self.settings = settings
        stored = QSettings(str(settings), QSettings.Format.IniFormat)
        self.app = App(stored, pictures, engine=engine, folder=folder, **start)
        self.engines: list[int] = []
        self.maps: ShownMaps | None = None
        self.channel: ShownChannel | None = None
        self.taps: ShownTaps | None = None
        self.vector: Any = None
        self.matrix: ShownMatrix | None = None
        self.table: Any = None
        self.value: tuple[tuple[int, int, int], float] | None = None
        looking = self.app.controller.looking
        looking.maps_came.connect(lambda maps: setattr(self, "maps", maps))
        looking.channel_came.connect(lambda channel: setattr(self, "channel", channel))
        looking.taps_came.connect(lambda taps: setattr(self, "taps", taps))
        looking.vector_came.connect(lambda vector: setattr(self, "vector", vector))
        looking.matrix_came.connect(lambda matrix: setattr(self, "matrix", matrix))
        self.app.tabling.table_came.connect(lambda table: setattr(self, "table", table))
        looking.read.connect(self._value_read)
        self.app.show()

    def _value_read(self, drawn: DrawnMap, cell: tuple[int, int], values: tuple[float, ...]) -> None:
        if drawn.kind == "map":
            self.value = (drawn.channel, *cell), values[0]

    # What is there

    @property
    def window(self) -> Any:
        return self.app.window

    @property
    def state(self) -> ViewState:
        return self.app.store.state

    @property
    def names(self) -> list[str]:
        """The pictures of the strip."""
        return [source.name for source in self.state.sources]

    def idle(self) -> bool:
        """Whether what is wanted is shown, with the maps of its layer."""
        state = self.state
        if state.shown is None or state.activity is not None or not state.backbones:
            return False
        if state.shown_source != state.source or state.shown.setup != state.setup:
            return False
        layer = state.layer_info
        if layer is None:
            return False
        if not layer.spatial and matrices_of(layer.shape) is not None:
            return self.matrix is not None and self.matrix.drawn.layer == layer.name
        if not layer.spatial:
            return self.vector is not None and self.vector[0] == layer.name
        came = self.maps is not None and self.maps.layer == layer.name
        return came and self.channel is not None and self.channel.layer == layer.name

    def settle(self) -> None:
        until(self.idle, "the window shows what is wanted")
        process = self.app.link.process_id
        if process and process not in self.engines:
            self.engines.append(process)

    def problem(self, place: str = "maps") -> str:
        """What the banner over a view says; "" where it says nothing."""
        banner = self.window.banner(place)
        return "" if banner.isHidden() else banner.text

    # Hands

    def do(self, action: str) -> None:
        """Choose a command of the menus."""
        self.window.actions_by_name[action].trigger()

    def choose(self, combo: QComboBox, data: object) -> None:
        """Pick the row with this data, as with the mouse."""
        place = combo.findData(data)
        assert place >= 0, f"{data} is not on offer"
        combo.setCurrentIndex(place)
        combo.activated.emit(place)

    @property
    def chooser(self) -> Any:
        """The list of networks."""
        return self.app.commands.networks.chooser

    def choose_backbone(self, name: str) -> None:
        """Open the list of networks, type the name, press Enter."""
        QTest.mouseClick(self.window.setup_bar.backbone, Qt.MouseButton.LeftButton)
        assert self.chooser.isVisible()
        QTest.keyClicks(self.chooser.field, name)
        QTest.keyClick(self.chooser.field, Qt.Key.Key_Return)
        assert not self.chooser.isVisible(), f"{name} is not on the list"

    def dialog(self, kind: type[QWidget]) -> Any:
        """The open dialog of this kind; None where there is none."""
        found = [widget for widget in self.window.findChildren(kind) if widget.isVisible()]
        return found[-1] if found else None

    def choose_layer(self, name: str) -> None:
        """Pick a row of the tree."""
        tree = self.window.layers.tree
        source = tree.model().sourceModel().index_of(name)
        assert source.isValid(), f"no layer {name}"
        tree.setCurrentIndex(tree.model().mapFromSource(source))
        self.settle()

    def choose_tap(self, tap: str) -> None:
        self.choose_layer(self.tapped(tap))

    def tapped(self, tap: str) -> str:
        assert self.state.shown is not None
        return next(layer.name for layer in self.state.shown.layers if tap in layer.taps)

    def drop(self, paths: Sequence[Path], *, answers: bool = True) -> None:
        """Drag files in and let go; the other program may no longer answer then."""
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
        place, copy = QPointF(300, 300), Qt.DropAction.CopyAction
        none, left = Qt.KeyboardModifier.NoModifier, Qt.MouseButton.LeftButton
        # The constructor with a QPoint is deprecated from Qt 6.12 on; before, there is no other.
        at = place if PySide6.__version_info__[:2] >= (6, 12) else place.toPoint()
        enter = QDragEnterEvent(at, copy, data, left, none)
        QApplication.sendEvent(self.window, enter)
        assert enter.isAccepted()
        dropped = data if answers else QMimeData()
        QApplication.sendEvent(self.window, QDropEvent(place, copy, dropped, left, none))

    def point(self, widget: QWidget, place: QPointF) -> None:
        """Move the pointer over a widget."""
        none = Qt.MouseButton.NoButton
        event = QMouseEvent(
            QEvent.Type.MouseMove, place, widget.mapToGlobal(place), none, none, Qt.KeyboardModifier.NoModifier
        )
        QApplication.sendEvent(widget, event)

    # Between tests, and at the end

    def afresh(self) -> None:
        """The state of the first start, without starting again."""
        cat = asset("samples/chelsea.png")
        source = PictureSource(name=cat.name, path=str(cat))
        fresh = ViewState()
        kept = ("backbones", "devices", "shown", "shown_source", "layer", "grid_view", "activity", "table_wanted")
        names = [name for name in ViewState.__struct_fields__ if name not in (*kept, "sources")]
        self.app.store.update(sources=(source,), **{name: getattr(fresh, name) for name in names})
        self.window.layers.field.clear()
        self.settle()
        self.choose_tap("C3")

    def close(self) -> None:
        """Close the window and see that nothing is left of it."""
        process = self.app.link.process_id
        self.engines += [process] if process else []
        window = self.app.window
        assert window.close()
        assert not self.app.link.running
        until(lambda: not any(alive(number) for number in self.engines), "the engines end")
        window.deleteLater()
        self.app.store.changed.disconnect()
        del self.app, window
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        gc.collect()
        QCoreApplication.processEvents()
