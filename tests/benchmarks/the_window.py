"""The real window with the real engine, driven by keys: prints one JSON object a figure. `window.py` reads them.

    python tests/benchmarks/the_window.py

Needs a display (or QT_QPA_PLATFORM=offscreen). A switch is timed from the press of ↓ in the list of layers to the end of the
paint that shows the layer; the next key comes as fast as a keyboard repeats one that is held.
"""

from __future__ import annotations

import gc
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from PySide6.QtCore import QCoreApplication, QEvent, QEventLoop, QObject, QSettings, Qt, QTimer
from PySide6.QtGui import QKeyEvent

from fmviz.app.main import App, collect_garbage_from_now_on, make_application
from fmviz.engine.messages import Progress

_WAITING = QEventLoop.ProcessEventsFlag.WaitForMoreEvents
SWITCHES = 500
REPEAT = 1 / 30
"""Seconds from one key to the next while it is held: the usual rate of a keyboard."""
SHAPES = ((64, 112, 112), (256, 56, 56), (512, 28, 28), (2048, 7, 7), (64, 240, 320), (256, 200, 304))
"""Channels, height, width: those of resnet50 at 224, and the largest at 480 × 640 and of its pyramid at 800 × 1216."""


class Painted(QObject):
    """Notes when the grid is painted, and whether new maps had come by then."""

    def __init__(self, app: App) -> None:
        super().__init__()
        self.came = self.done = self.again = False
        app.controller.looking.maps_came.connect(self._came)
        app.window.maps.canvas.viewport().installEventFilter(self)

    def _came(self) -> None:
        self.came = True

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            self.again = True
            self.done = self.done or self.came
        return False


class Heart(QObject):
    """Beats every millisecond, and keeps the gaps between two beats in milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.gaps: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(1)

    def _beat(self) -> None:
        now = time.perf_counter()
        self.gaps.append((now - self._last) * 1000)
        self._last = now


class Bench:
    def __init__(self, application: QCoreApplication, settings: str) -> None:
        self.application = application
        self.app = App(QSettings(settings, QSettings.Format.IniFormat))
        self.painted = Painted(self.app)
        self.app.show()
        self.app.window.resize(1600, 1000)
        self.heart = Heart()
        self._alarm = QTimer(singleShot=True, timerType=Qt.TimerType.PreciseTimer)
        # Where nothing happens, what is waited for in vain is told all the same.
        self._watch = QTimer(interval=100)
        self._watch.start()
        collect_garbage_from_now_on()
        self.settle()

    @property
    def state(self):
        return self.app.store.state

    def until(self, condition: Callable[[], object], what: str, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not condition():
            # As the window's own loop does: it sleeps until there is something to do, and leaves the core to the engine.
            self.application.processEvents(_WAITING)
            if time.monotonic() > end:
                raise TimeoutError(what)

    def rest(self, until: float) -> None:
        """Let the window work off what is left, until the next key."""
        while (left := until - time.perf_counter()) > 0:
            self._alarm.start(max(1, int(1000 * left)))
            self.application.processEvents(_WAITING)

    def settle(self) -> None:
        def settled() -> bool:
            state = self.state
            shown = state.shown is not None and state.shown.setup == state.setup
            return shown and state.activity is None and bool(state.backbones) and self.painted.done

        self.until(settled, "the window shows what is wanted")

    def choose(self, backbone: str, size: int | None) -> None:
        """Another network, the whole picture with its longer side `size`, or as it was trained."""
        setup = msgspec.structs.replace(self.state.setup, backbone=backbone, weights="random")
        if size is not None:
            setup = msgspec.structs.replace(setup, mode="whole", side=size)
        else:
            setup = msgspec.structs.replace(setup, mode="crop", side=0)
        if setup != self.state.setup:
            self.painted.came = self.painted.done = False
            self.app.store.update(setup=setup)
            self.settle()

    def press(self, key: Qt.Key) -> None:
        for kind in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease):
            QCoreApplication.postEvent(
                self.app.window.layers.tree, QKeyEvent(kind, key, Qt.KeyboardModifier.NoModifier)
            )

    def switches(self, count: int) -> dict[tuple[int, ...], list[float]]:
        """Milliseconds of `count` layer switches, by the layer's shape."""
        tree = self.app.window.layers.tree
        tree.expandAll()
        times = defaultdict(list)
        done = quiet = 0
        self.press(Qt.Key.Key_Home)
        while done < count:
            before = self.state.layer
            self.painted.came = self.painted.done = False
            begun = time.perf_counter()
            self.press(Qt.Key.Key_Down)
            end = begun + 0.5
            self.until(lambda end=end: self.painted.done or time.perf_counter() > end, "a paint")
            layer = self.state.layer_info
            if self.state.layer == before or layer is None or not layer.spatial:
                # A stage's own line, a layer without maps, or the end of the list.
                quiet += 1
                if quiet > 3:
                    self.press(Qt.Key.Key_Home)
                    quiet = 0
                continue
            quiet = 0
            if self.painted.done:
                times[layer.shape[1:]].append((time.perf_counter() - begun) * 1000)
                done += 1
            self.rest(begun + REPEAT)
        return times

    def at(self, shape: tuple[int, ...], count: int) -> list[float]:
        """Milliseconds of switches to a layer of this shape, none of which is at hand: two others are looked at before."""
        every = [layer for layer in self.state.shown.layers if layer.spatial and layer.name != self.state.layer]
        layers = [layer.name for layer in every if layer.shape[1:] == shape]
        others = [layer.name for layer in every if layer.shape[1:] != shape][:2]
        found = []
        for number in range(count):
            for name in (*others, layers[number % len(layers)]):
                self.painted.came = self.painted.done = False
                begun = time.perf_counter()
                self.app.presenter.choose_layer(name)
                self.until(lambda: self.painted.done, "a paint")
                took = (time.perf_counter() - begun) * 1000
                self.rest(begun + REPEAT)
            found.append(took)
        return found

    def colours(self, shape: tuple[int, ...], count: int) -> list[float]:
        """Milliseconds from the choice of a colour map to the end of the paint that shows it."""
        self.at(shape, 1)
        found = []
        for number in range(count):
            self.painted.again = False
            begun = time.perf_counter()
            self.app.store.update(colour_map=("grey", "viridis")[number % 2])
            self.until(lambda: self.painted.again, "a paint")
            found.append((time.perf_counter() - begun) * 1000)
        return found


def pyqtgraphs(application: QCoreApplication, shape: tuple[int, int, int], count: int) -> list[float]:
    """The usual way, in one process: floats in a mosaic, an ImageItem with a colour map."""
    import pyqtgraph  # Not before the window's own time to load it.

    view = pyqtgraph.GraphicsView()
    item = pyqtgraph.ImageItem(axisOrder="row-major")
    box = pyqtgraph.ViewBox()
    view.setCentralItem(box)
    box.addItem(item)
    item.setLookupTable(pyqtgraph.colormap.get("viridis").getLookupTable())
    view.resize(1100, 900)
    view.show()
    channels, height, width = shape
    columns = int(np.ceil(np.sqrt(channels)))
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = []
    for _ in range(count):
        begun = time.perf_counter()
        mosaic = np.zeros((-(-channels // columns) * height, columns * width), np.float32)
        for place, one in enumerate(values):
            top, left = place // columns * height, place % columns * width
            mosaic[top : top + height, left : left + width] = (one - one.min()) / (one.max() - one.min())
        item.setImage(mosaic, autoLevels=False, levels=(0, 1))
        box.autoRange()
        view.viewport().repaint()
        application.processEvents()
        found.append((time.perf_counter() - begun) * 1000)
    view.close()
    return found


def tell(words: str, value: float, goal: float | None = None, unit: str = "ms", note: str = "") -> None:
    print(json.dumps({"words": words, "value": value, "goal": goal, "unit": unit, "note": note}), flush=True)


def resident(process: int, field: str = "VmRSS:") -> float:
    """MB that the process holds."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1000
    return float("nan")


def main() -> None:
    gc.disable()  # as the command fmviz does, until the window is there
    application = make_application()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        bench = Bench(application, f"{folder}/settings.ini")
        bench.choose("resnet50", None)
        times = bench.switches(SWITCHES)
        every = np.concatenate([np.array(found) for found in times.values()])
        p50, p99 = np.percentile(every, [50, 99])
        tell(f"layer switch by key, resnet50, {len(every)} switches at 1600 × 1000: p50", p50, 8)
        tell("the same: p99", p99, 16)
        export(bench, folder)
        bench.choose("resnet50_fpn", None)
        while time.monotonic() - begun < 60:
            bench.switches(20)
        gaps = np.array(bench.heart.gaps)
        tell(f"longest gap of the event loop in {time.monotonic() - begun:.0f} s", gaps.max(), 50)
        tell("the same: p99", float(np.percentile(gaps, 99)), 16.7)
        tell("memory of the window's process", resident(os.getpid()), 200, "MB")
        bench.heart.deleteLater()
        for shape in SHAPES:
            wanted = {(64, 240, 320): ("resnet50", 640), (256, 200, 304): ("resnet50_fpn", 1216)}
            bench.choose(*wanted.get(shape, ("resnet50", None)))
            shape = nearest(bench, shape)
            words = " × ".join(map(str, shape))
            ours, theirs = bench.at(shape, 60), pyqtgraphs(application, shape, 15)
            note = f"p50 {np.percentile(ours, 50):.1f}; pyqtgraph fed with floats p50 {np.percentile(theirs, 50):.1f}"
            tell(f"layer switch to {words}: p99 of 60", float(np.percentile(ours, 99)), 16, note=note)
            tell(f"colour map at {words}: p99 of 100", float(np.percentile(bench.colours(shape, 100), 99)), 5)
        bench.app.window.close()


def nearest(bench: Bench, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the sample's layer that is most like `shape`: its own aspect is another one."""
    shapes = {layer.shape[1:] for layer in bench.state.shown.layers if layer.spatial and layer.shape[1] == shape[0]}
    return min(shapes, key=lambda one: abs(np.prod(one) - np.prod(shape)))


def export(bench: Bench, folder: str) -> None:
    """All layers as PNG through the window's own export, while the heart beats."""
    ended = []
    bench.app.exporting.heard.connect(lambda reply: None if isinstance(reply, Progress) else ended.append(reply))
    bench.app.exporting.begin(
        layers=("*",), folder=f"{folder}/export", form="grid", colour_map="viridis", normalisation="map", size="map"
    )
    bench.until(lambda: ended, "the export ends")


if __name__ == "__main__":
    main()
