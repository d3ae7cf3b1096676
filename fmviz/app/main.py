"""The window's process: the application, the wiring, and the one door for errors that nobody expected."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from PySide6.QtCore import (
    QT_TRANSLATE_NOOP,
    QCoreApplication,
    QLibraryInfo,
    QLocale,
    QSettings,
    QTimer,
    QTranslator,
)
from PySide6.QtGui import QGuiApplication, QIcon, QImage
from PySide6.QtWidgets import QApplication

import fmviz
from fmviz.app import theme
from fmviz.app.commands import Commands, are_weights, colour_map_labels
from fmviz.app.controller import Controller, ShownPicture
from fmviz.app.display import Display
from fmviz.app.exporting import Exporting
from fmviz.app.faults import Faults
from fmviz.app.keeping import Keeper
from fmviz.app.lighter import fill_pyside, load
from fmviz.app.link import EngineLink
from fmviz.app.loading import Loading, PlotsAhead
from fmviz.app.preferences import Preferences
from fmviz.app.presenter import Presenter
from fmviz.app.probing import Probing
from fmviz.app.returning import Returning
from fmviz.app.shelf import Shelf
from fmviz.app.sitting import Sitting
from fmviz.app.state import Store, ViewState
from fmviz.app.tabling import Tabling
from fmviz.app.teaching import Teaching
from fmviz.app.window import MainWindow
from fmviz.assets import asset
from fmviz.colours import colour_table
from fmviz.defaults import BACKBONE
from fmviz.engine.messages import Setup, TidyUp
from fmviz.errors import ExportError
from fmviz.places import state_folder

if TYPE_CHECKING:
    from fmviz.app.ending import SignalsEnd

SAMPLES = (
    (QT_TRANSLATE_NOOP("Samples", "Cat"), "samples/chelsea.png"),
    (QT_TRANSLATE_NOOP("Samples", "Coffee"), "samples/coffee.png"),
    (QT_TRANSLATE_NOOP("Samples", "Rocket"), "samples/rocket.jpg"),
    (QT_TRANSLATE_NOOP("Samples", "Flower"), "samples/flower.jpg"),
    (QT_TRANSLATE_NOOP("Samples", "Temple"), "samples/china.jpg"),
    (QT_TRANSLATE_NOOP("Samples", "Shapes of four sizes"), "samples/shapes.png"),
    (QT_TRANSLATE_NOOP("Samples", "One eye, four sizes"), "samples/eyes.png"),
)

_UNSEEN_MS = 500
"""After which a window that nobody has seen yet, as it is minimised, starts all the same."""


class App:
    """Everything that lives as long as the window.

    Args:
        settings: where preferences are kept.
        pictures: To open, instead of those of last time; the first sample where there are none.
        engine: The command that starts the engine, where it is not this Python's own.
        backbone, weights: To start with, instead of those of last time.
        bands: The bands that these pictures are opened with; those of each file where empty.
        stretch: Whether pictures of few values are stretched, those of last time too; as last time where None.
        folder: Where what is open is kept for the next window; nowhere where None.
        new: Start empty: nothing of last time is shown again, and no sample.
        live: The network is one in a running program: neither restore nor replace what other windows had open.
    """

    def __init__(
        self,
        settings: QSettings,
        pictures: Sequence[Path] = (),
        *,
        engine: Sequence[str] | None = None,
        backbone: str = "",
        weights: str = "",
        bands: tuple[int, ...] = (),
        stretch: bool | None = None,
        folder: Path | None = None,
        new: bool = False,
        live: bool = False,
    ) -> None:
        self.preferences = Preferences(settings)
        bad_settings = self.preferences.put_aside_if_bad()
        state = self.preferences.restored(ViewState())
        self._new, self._live, self._backbone, self._weights = new, live, backbone, weights
        if new:
            state = msgspec.structs.replace(state, setup=Setup(backbone=BACKBONE))
        if backbone or weights:
            # What the window was opened for is not what it is opened with the next time.
            self.preferences.keep_setup(state.setup)
            state = msgspec.structs.replace(state, setup=self._named_setup(state.setup))
        self.store = Store(state)
        self.link = EngineLink(engine)
        self.controller = Controller(self.store, self.link)
        self.exporting = Exporting(self.store, self.link)
        self.shelf = Shelf(self.store, self.link, self.controller)
        self.teaching = Teaching(self.store, self.link, self.controller, self.shelf)
        self.commands = Commands(
            self.store, self.controller, self.exporting, self.shelf, self.teaching, self.preferences
        )
        _apply_theme(self.store.state)
        self.window = MainWindow(self.commands.table(), samples())
        self.window.maps.set_colour_maps(colour_map_labels())
        self.presenter = Presenter(self.store, self.controller, self.window)
        self.tabling = Tabling(self.store, self.link, self.controller, self.preferences, self.window)
        self.probing = Probing(self.store, self.link, self.controller, self.window)
        self.keeper: Keeper | None = None
        if folder is not None:
            self.keeper = Keeper(self.store, folder, self.window, completed=self._completed)
            self.window.zoomed.connect(self.keeper.look_again)
            self.window.tabs_changed.connect(self.keeper.look_again)
        self.returning = Returning(
            self.store,
            self.controller,
            self.keeper,
            bad_settings,
            zoom=self.window.resume_zooms,
            raise_tabs=self.window.raise_tabs,
        )
        self.window.set_checked("reopen", self.preferences.reopens())
        self.commands.attach(self.window, self.presenter, self.tabling, self.returning)
        self.faults = Faults(self.store, self.window)
        self._pictures = list(pictures)
        self._bands, self._stretch = bands, stretch
        self._coloured = False
        self._started = False
        self.hears_signals = False
        self.signals: SignalsEnd | None = None
        self.loading = Loading(lambda: load("numpy"), fill_pyside)
        self.loading.finished.connect(self._colour)
        self.plots_ahead = PlotsAhead(self.window)
        self.controller.looking.maps_came.connect(self.plots_ahead.begin)
        self.plots_ahead.loaded.connect(self.window.maps.prepare_plot)
        self._follow_theme()
        self.store.changed.connect(self._save_setup)
        self.window.closing.connect(self._closing)
        # Not at once: what else is in the window is painted first.
        self.window.first_painted.connect(lambda: QTimer.singleShot(1, self._start))

    def show(self) -> None:
        """The window, as it was left; the engine starts once it is painted."""
        saved = self.preferences.layout()
        room = QGuiApplication.primaryScreen().availableSize()
        self.window.resize(min(room.width() * 19 // 20, 1680), min(room.height() * 9 // 10, 1050))
        if saved is None:
            self.window.reset_layout()
        else:
            self.window.restore_layout(*saved)
        if self._new:
            # An empty window says there what to do; the sizes of the docks are kept.
            self.window.raise_tabs(("maps",))
        self.window.show()
        self.window.layers.tree.setFocus()
        QTimer.singleShot(_UNSEEN_MS, self._start)

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        self.loading.begin()
        self._open_first_pictures()
        self._show_sample_at_once()
        self.controller.start()
        self.returning.offer()
        if folder := self.preferences.folder("export"):
            # What is left of an export of last time that was killed.
            self.link.ask(TidyUp, lambda _reply, _block: None, folder=folder)
        if self.hears_signals:
            # Loaded only now, as all that the first paint can do without.
            from fmviz.app.ending import SignalsEnd

            self.signals = SignalsEnd(self._end, self.window)

    def _completed(self, kept: Sitting) -> Sitting:
        """Return what is kept with what is not in the state."""
        looks = {"zooms": self.window.zooms(), "tabs": self.window.front_tabs()}
        return self.returning.with_awaited(msgspec.structs.replace(kept, **looks))

    def _save_setup(self, old: ViewState, new: ViewState) -> None:
        """Save the network at once when another one is shown: a window that is killed saves nothing at the end."""
        before = old.shown.setup if old.shown is not None else None
        if new.shown is None or new.shown.setup == before:
            return
        if before is not None and not self._live and new.shown.setup.backbone not in (before.backbone, self._backbone):
            # The user chose it in the window, in place of the one that the caller named.
            self.preferences.keep_setup(None)
        self.preferences.save_choices(new)

    def _named_setup(self, setup: Setup) -> Setup:
        """Return `setup` with what the caller named."""
        if self._backbone:
            return Setup(backbone=self._backbone, weights=self._weights)
        return msgspec.structs.replace(setup, weights=self._weights) if self._weights else setup

    def _open_first_pictures(self) -> None:
        """Open the pictures of the caller, or else those of last time, or else a sample."""
        pictures = any(path.suffix.lower() != ".py" and not are_weights(path) for path in self._pictures)
        reopen = self.preferences.reopens() and not self._new and not self._live
        self.returning.begin(reopen=reopen, setup=self._named_setup, pictures=not pictures)
        if self._stretch is not None:
            # The command line goes before the session of last time, whose pictures are read again as well.
            self.controller.set_stretch(self._stretch)
        if self._pictures:
            self.commands.open_paths(self._pictures, self._bands)
            # Nothing is asked in a dialog before the window was seen.
            self.commands.networks.ask_in_the_banner()
        empty = pictures or self._new or self.returning.was_empty
        if not self.store.state.sources and not empty:
            self.commands.open_paths([samples()[0][1]])

    def _show_sample_at_once(self) -> None:
        """A sample is ours and can be trusted: Qt may read it here, before there is an engine to read pictures."""
        source = self.store.state.source
        if source is not None and Path(source.path) in [path for _, path in samples()]:
            image = QImage(source.path)
            self.controller.know_picture(source, ShownPicture(image, (image.height(), image.width()), ""))

    def _colour(self) -> None:
        """What has the colours of maps: none is on the screen yet, and a first paint does not wait for it."""
        self._coloured = True
        self.window.maps.set_ramps(colour_table)
        self.presenter.push_colours()

    def _follow_theme(self) -> None:
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._theme_changed)
        self.store.changed.connect(lambda old, new: self._theme_changed() if old.appearance != new.appearance else None)
        self._theme_changed()

    def _theme_changed(self) -> None:
        state = self.store.state
        _apply_theme(state)
        self.presenter.dark = theme.is_dark(state.appearance)
        if self._coloured:
            self.presenter.push_colours()
        self.window.recolour()
        self.window.set_checked(f"appearance_{state.appearance}", True)

    def _end(self) -> None:
        """`kill` and the like."""
        try:
            self.window.close()
        finally:
            # A file dialog of the system, in a loop of its own, would keep the process.
            QCoreApplication.quit()

    def _closing(self) -> None:
        self.preferences.save_layout(*self.window.saved_layout())
        self.end_without_display()

    def end_without_display(self) -> None:
        """What can be done when there is nothing to show a window on any more."""
        self._started = True
        self.loading.end()
        self.plots_ahead.end()
        self.controller.end()
        self.preferences.save_choices(self.store.state)
        if self.keeper is not None:
            self.keeper.end(self._what_becomes_of_closed())
        self.link.stop()

    def _what_becomes_of_closed(self) -> Literal["replace", "remove", "leave"]:
        """Return what becomes of the session that the next window shows."""
        if self._live or (self._new and not self.store.state.sources):
            return "leave"
        return "replace" if self.preferences.reopens() else "remove"


def _apply_theme(state: ViewState) -> None:
    application = QApplication.instance()
    if isinstance(application, QApplication):
        application.setPalette(theme.palette(dark=theme.is_dark(state.appearance)))


def samples() -> list[tuple[str, Path]]:
    """Name and path of each sample picture."""
    return [(QCoreApplication.translate("Samples", str(name)), asset(path)) for name, path in SAMPLES]


def make_application() -> QApplication:
    """The QApplication, with its names, style and translations."""
    QCoreApplication.setApplicationName("fmviz")
    QCoreApplication.setOrganizationName("fmviz")
    QCoreApplication.setApplicationVersion(fmviz.__version__)
    QGuiApplication.setDesktopFileName("fmviz")
    # As an option and not by `setStyle`, which would make an object of Python of the style: ten milliseconds of the start.
    application = QApplication([*sys.argv[:1], "-style", "Fusion"])
    application.setWindowIcon(QIcon(str(asset("icons/fmviz.svg"))))
    translator = QTranslator(application)
    if translator.load(QLocale(), "qtbase", "_", QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)):
        application.installTranslator(translator)
    return application


def run(
    pictures: Sequence[Path],
    *,
    engine: Sequence[str] | None = None,
    backbone: str = "",
    weights: str = "",
    bands: tuple[int, ...] = (),
    stretch: bool | None = None,
    new: bool = False,
    live: bool = False,
) -> int:
    """Open the window and stay until it is closed; the exit code. The arguments are those of `App`."""
    display = Display()
    application = make_application()
    folder = None
    # Who has no home has nowhere to keep anything.
    with contextlib.suppress(ExportError):
        folder = state_folder()
    app = App(
        QSettings(),
        pictures,
        engine=engine,
        backbone=backbone,
        weights=weights,
        bands=bands,
        stretch=stretch,
        folder=folder,
        new=new,
        live=live,
    )
    display.opened(app.end_without_display)
    app.faults.listen()
    app.show()
    app.loading.finished.connect(collect_garbage_from_now_on)
    app.plots_ahead.loaded.connect(collect_garbage_from_now_on)
    app.hears_signals = True
    try:
        return application.exec()
    finally:
        if app.signals is not None:
            app.signals.stop()
        app.loading.end()
        app.faults.stop()
        display.close()


def collect_garbage_from_now_on() -> None:
    """Once something is loaded, and only of what comes after it: a pass through all that was imported stalls the window."""
    gc.freeze()
    gc.enable()
