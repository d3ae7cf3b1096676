"""The main window: docks, menus and layout, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path

from PySide6.QtCore import QByteArray, QCoreApplication, QEvent, QMimeData, QObject, QSize, Qt, QTimer, QUrl, Signal
from PySide6.QtGui import (
    QActionGroup,
    QCloseEvent,
    QColor,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
    QIcon,
    QPaintEvent,
    QPalette,
    QShowEvent,
)
from PySide6.QtWidgets import (
    QDockWidget,
    QLabel,
    QMainWindow,
    QMenu,
    QProgressBar,
    QSizePolicy,
    QTabBar,
    QTabWidget,
    QToolBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from fmviz.app import actions, icons
from fmviz.app.focus import TextKeys, ViewFocus
from fmviz.app.preferences import LAYOUT
from fmviz.app.sitting import Zooms
from fmviz.app.state import Place
from fmviz.app.theme import numbers_font
from fmviz.app.views.banner import Banner
from fmviz.app.views.channel_view import ChannelView
from fmviz.app.views.column_view import ColumnView
from fmviz.app.views.input_view import InputView
from fmviz.app.views.layers_view import LayersView
from fmviz.app.views.maps_view import MapsView
from fmviz.app.views.parameters_view import ParametersView
from fmviz.app.views.pyramid_view import PyramidView
from fmviz.app.views.samples_view import SamplesView
from fmviz.app.views.setup_bar import SetupBar
from fmviz.app.views.steady_row import SteadyRow
from fmviz.app.views.strip_view import StripView
from fmviz.assets import asset

TOOLBAR_ACTIONS = ("open", "previous", "next")
_SOON_MS = 50


class MainWindow(QMainWindow):
    """Seven docks, a toolbar with the setup, a status line.

    Args:
        does: what each action of `fmviz.app.actions` calls.
        samples: name and path of each sample picture.
    """

    dropped = Signal(object)
    """A `QMimeData` with pictures or files was dropped somewhere on the window."""
    sample_chosen = Signal(object)
    maps_shown = Signal(object)
    """Whether the dock of the maps is in front."""
    table_shown = Signal(object)
    """Whether the layer table can be seen."""
    column_shown = Signal(object)
    """Whether the column of values can be seen."""
    zoomed = Signal()
    """A view was zoomed or moved."""
    tabs_changed = Signal()
    """Another dock may be in front of those in the same place."""
    closing = Signal()
    first_painted = Signal()
    """The window is on the screen; what is in it follows in the same turn."""

    def __init__(self, does: Mapping[str, Callable[[], object]], samples: Sequence[tuple[str, Path]]) -> None:
        super().__init__()
        self.setObjectName("main")
        self.setWindowTitle("fmviz")
        self.setWindowIcon(QIcon(str(asset("icons/fmviz.svg"))))
        self.setAcceptDrops(True)
        self.setDockNestingEnabled(True)
        self.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, QTabWidget.TabPosition.North)
        self._fresh = True
        self._painted = False
        self._icons_drawn = 0
        self._dragged: list[QUrl] = []
        self.actions_by_name = actions.made(self, does)
        self._icons_in = self._ink()
        actions.set_icons(self.actions_by_name, self._icons_in, (*TOOLBAR_ACTIONS, "export"))
        self.addActions(list(self.actions_by_name.values()))
        self._window_banner = Banner(self, wide=True)
        self.banner_of_hidden_maps = Banner(self, wide=True)
        """What the maps' banner says, where another dock is in front of it: it concerns the whole window."""
        self.strip = StripView(self)
        self.layers = LayersView(self)
        self.maps = MapsView(SamplesView(samples, self), self)
        self.channel = ChannelView(self)
        self.column = ColumnView(self)
        self.pyramid = PyramidView(self)
        self.parameters = ParametersView(self)
        self.input = InputView(self)
        self.setup_bar = SetupBar(self)
        self.docks = self._make_docks()
        self.view_focus = self._make_view_focus()
        self.setup_bar.done.connect(self.view_focus.give_back)
        self._fill_menus(samples)
        self._make_toolbars()
        self._make_status_bar()
        for view in (self.channel.canvas.view, self.pyramid.view, self.input.picture.view):
            view.changed.connect(self.zoomed)
        canvas = self.maps.canvas
        canvas.view_changed.connect(lambda _: self.zoomed.emit())
        for bar in (canvas.horizontalScrollBar(), canvas.verticalScrollBar()):
            bar.valueChanged.connect(self.zoomed)

    # Docks

    def _make_docks(self) -> dict[str, QDockWidget]:
        docks = {}
        rows: tuple[tuple[str, str, QWidget], ...] = (
            ("layers", self.tr("Layers"), self.layers),
            ("maps", self.tr("Maps"), self.maps),
            ("pyramid", self.tr("Pyramid"), self.pyramid),
            ("parameters", self.tr("Parameters"), self.parameters),
            ("input", self.tr("Input"), self.input),
            ("channel", self.tr("Channel"), self.channel),
            ("column", self.tr("Column"), self.column),
        )
        for name, title, widget in rows:
            dock = QDockWidget(title, self)
            dock.setObjectName(f"dock-{name}")
            # What changes in it is painted without the dock and the window behind.
            widget.setAutoFillBackground(True)
            dock.setWidget(widget)
            # A floating dock is a window of its own, which a drop would otherwise fall through.
            dock.setAcceptDrops(True)
            dock.installEventFilter(self)
            # Qt draws them anew then.
            dock.topLevelChanged.connect(lambda _, dock=dock: icons.draw_buttons(dock, self._icons_in))
            dock.visibilityChanged.connect(lambda _: self.tabs_changed.emit())
            docks[name] = dock
        docks["maps"].visibilityChanged.connect(self.maps_shown.emit)
        docks["parameters"].visibilityChanged.connect(self.table_shown.emit)
        docks["column"].visibilityChanged.connect(self.column_shown.emit)
        return docks

    def _make_view_focus(self) -> ViewFocus:
        canvases = (self.channel.canvas, *self.pyramid.canvases.values(), self.input.picture, self.input.network_input)
        maps = (self.maps.canvas, self.maps.matrix.canvas)
        return ViewFocus((self.layers.tree, *maps, self.parameters.table, *canvases), self)

    def reset_layout(self) -> None:
        """Layers on the left; maps, pyramid, parameters as tabs in the middle; input above channel and column on the right."""
        docks = self.docks
        for dock in docks.values():
            dock.setFloating(False)
            self.removeDockWidget(dock)
        across, down = Qt.Orientation.Horizontal, Qt.Orientation.Vertical
        # Laid out after each step: what is tabbed before that leaves tab bars behind, in the middle of other docks.
        self._lay_out()
        for dock in docks.values():
            dock.show()
        self.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, docks["layers"])
        self._lay_out()
        for place, name, orientation in (
            ("layers", "maps", across),
            ("maps", "input", across),
            ("input", "channel", down),
        ):
            self.splitDockWidget(docks[place], docks[name], orientation)
            self._lay_out()
        for place, name in (("maps", "pyramid"), ("pyramid", "parameters"), ("channel", "column")):
            self.tab_docks(docks[place], docks[name])
            self._lay_out()
        docks["maps"].raise_()
        docks["channel"].raise_()
        self._share_out()
        if self._icons_drawn:
            self._draw_dock_buttons()
        # Whatever had the keyboard was taken away for a moment.
        self.layers.tree.setFocus()

    def tab_docks(self, first: QDockWidget, second: QDockWidget) -> None:
        """Put `second` into a tab next to `first`, as `tabifyDockWidget` does, with one tab bar for both.

        If the window has a tab bar already, Qt activates the layout before it creates another one, and the layout creates
        one for the same docks. Qt then keeps the second of them; the first stays on the window until the program ends.
        A disabled layout is not activated.
        """
        layout = self.layout()
        assert layout is not None
        layout.setEnabled(False)
        try:
            self.tabifyDockWidget(first, second)
        finally:
            layout.setEnabled(True)

    def _lay_out(self) -> None:
        layout = self.layout()
        assert layout is not None
        layout.activate()

    def _share_out(self) -> None:
        """Widths and heights of the docks, for the size that the window has."""
        docks, width = self.docks, self.width()
        left, right = max(290, min(width // 5, 400)), max(280, min(width // 4, 600))
        self.resizeDocks(
            [docks["layers"], docks["maps"], docks["input"]],
            [left, width - left - right, right],
            Qt.Orientation.Horizontal,
        )
        height = self.height()
        self.resizeDocks(
            [docks["input"], docks["channel"]], [height * 2 // 5, height * 3 // 5], Qt.Orientation.Vertical
        )

    def raise_dock(self, name: str) -> None:
        """Show this dock, in front of those that it shares a place with."""
        self.docks[name].show()
        self.docks[name].raise_()

    # Menus and bars

    def _fill_menus(self, samples: Sequence[tuple[str, Path]]) -> None:
        menus: dict[str, QMenu] = {}
        for name, text in actions.MENUS:
            menus[name] = self.menuBar().addMenu(QCoreApplication.translate("Actions", str(text)))
        breaks = {
            "bands",
            "export",
            "copy_table",
            "quit",
            "paste",
            "show_maps",
            "appearance_system",
            "show_column",
            "draw_region",
            "reset_layout",
            "next_layer",
            "open_weights",
            "train_pyramid",
            "compare",
            "cancel",
            "about",
        }
        for row in actions.ACTIONS:
            if row.name in breaks:
                menus[row.menu].addSeparator()
            menus[row.menu].addAction(self.actions_by_name[row.name])
            if row.name == "open":
                self.samples_menu = menus["file"].addMenu(self.tr("Open &sample"))
        for name, path in samples:
            self.samples_menu.addAction(name).triggered.connect(
                lambda _checked=False, path=path: self.sample_chosen.emit(str(path))
            )
        shown = menus["view"].addMenu(self.tr("Doc&ks"))
        for dock in self.docks.values():
            shown.addAction(dock.toggleViewAction())
        group = QActionGroup(self)
        for name in ("appearance_system", "appearance_light", "appearance_dark"):
            group.addAction(self.actions_by_name[name])
        copies = [self.actions_by_name[row.name] for row in actions.ACTIONS if row.name.startswith("copy_table")]
        commands = [self.actions_by_name[name] for name in ("measure", "compare", "export_table")]
        self.parameters.add_commands(copies, commands)
        self.copy_menu = QMenu(self)
        """The context menu of a map, filled for the map under the pointer by `MapMenu`."""

    def _make_toolbars(self) -> None:
        bar = QToolBar(self.tr("Main"), self)
        bar.setObjectName("toolbar-main")
        bar.setIconSize(QSize(20, 20))
        bar.setMovable(False)
        self.actions_by_name["open"].setIconText(self.tr("Open"))
        self.actions_by_name["export"].setIconText(self.tr("Export"))
        for name in TOOLBAR_ACTIONS:
            bar.addAction(self.actions_by_name[name])
        button = bar.widgetForAction(self.actions_by_name["open"])
        if isinstance(button, QToolButton):
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setMenu(self.samples_menu)
            button.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
        bar.addSeparator()
        bar.addWidget(self.setup_bar)
        spacer = QWidget(bar)
        spacer.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        bar.addWidget(spacer)
        bar.addAction(self.actions_by_name["export"])
        export = bar.widgetForAction(self.actions_by_name["export"])
        if isinstance(export, QToolButton):
            export.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.addToolBar(bar)
        self.addToolBarBreak()
        below = QToolBar(self.tr("Pictures"), self)
        below.setObjectName("toolbar-pictures")
        below.setMovable(False)
        holder = QWidget(below)
        layout = QVBoxLayout(holder)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._window_banner)
        layout.addWidget(self.banner_of_hidden_maps)
        layout.addWidget(self.strip)
        holder.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        below.addWidget(holder)
        self.addToolBar(below)
        self._below = below
        below.hide()
        for toolbar in (bar, below):
            toolbar.toggleViewAction().setVisible(False)

    def _make_status_bar(self) -> None:
        status = self.statusBar()
        self._value, self._run, self._doing = QLabel(self), QLabel(self), QLabel(self)
        self._field = QLabel(self)
        for label in (self._value, self._field, self._run):
            label.setFont(numbers_font())
        self._progress = QProgressBar(self)
        self._progress.setFixedWidth(140)
        self._progress.setFixedHeight(10)
        self._progress.setTextVisible(False)
        self._stop = QToolButton(self)
        self._stop.setDefaultAction(self.actions_by_name["cancel"])
        self._stop.setAutoRaise(True)
        left, right = SteadyRow(status), SteadyRow(status, grows=True)
        left.add(self._value)
        left.add(self._field, 1)
        for widget in (self._doing, self._progress, self._stop, self._run):
            right.add(widget)
        status.addWidget(left, 1)
        # A message takes the place of what is at the left; what can be cancelled stays.
        status.addPermanentWidget(right)
        self.set_activity("", None)

    # Setters

    def banner(self, place: Place) -> Banner:
        """The banner over the view that a problem concerns."""
        return {
            "window": self._window_banner,
            "maps": self.maps.banner,
            "pyramid": self.pyramid.banner,
            "parameters": self.parameters.banner,
            "channel": self.channel.banner,
            "input": self.input.banner,
        }[place]

    def fit_upper_bar(self) -> None:
        """Hide the bar of the strip and the wide banners while none has anything to show."""
        inside = (self.strip, self._window_banner, self.banner_of_hidden_maps)
        self._below.setVisible(not all(widget.isHidden() for widget in inside))

    def set_value(self, text: str) -> None:
        """The value under the pointer."""
        self._value.setText(text)

    def set_field_words(self, text: str) -> None:
        """What the cell that is pointed at can see."""
        self._field.setText(text)

    def set_run_words(self, text: str) -> None:
        """How long the run took, and what it holds."""
        self._run.setText(text)

    def set_activity(self, text: str, fraction: float | None) -> None:
        """What the engine is doing; "" hides it."""
        for widget in (self._doing, self._progress, self._stop):
            widget.setVisible(bool(text))
        self._doing.setText(text)
        self._progress.setRange(0, 0 if fraction is None else 1000)
        self._progress.setValue(round((fraction or 0) * 1000))

    def set_can_cancel(self, *, possible: bool, pinned: bool) -> None:
        """Whether there is something to give up, and whether a place is pinned."""
        self.actions_by_name["cancel"].setEnabled(possible)
        self.actions_by_name["unpin"].setEnabled(pinned)

    def set_remedies_at_hand(self, names: Container[str]) -> None:
        """Which of the remedies that mend nothing by themselves there is something for."""
        for name in ("trust_model", "use_cpu", "restore_session"):
            self.actions_by_name[name].setEnabled(name in names)

    def set_can_choose_bands(self, possible: bool) -> None:
        """Whether the picture on the screen has more bands than one."""
        self.actions_by_name["bands"].setEnabled(possible)

    def set_can_step(self, *, back: bool, forward: bool) -> None:
        """Whether there is a picture before and after this one."""
        self.actions_by_name["previous"].setEnabled(back)
        self.actions_by_name["next"].setEnabled(forward)

    def set_checked(self, name: str, checked: bool) -> None:
        """Tick a command that can be on or off. It is not carried out: only what a person does triggers an action."""
        self.actions_by_name[name].setChecked(checked)

    def recolour(self) -> None:
        """After the palette changed."""
        if self._ink() != self._icons_in:
            self._icons_in = self._ink()
            actions.set_icons(self.actions_by_name, self._icons_in)
            self._draw_dock_buttons()

    def _draw_dock_buttons(self) -> None:
        for dock in self.docks.values():
            icons.draw_buttons(dock, self._icons_in)

    def _ink(self) -> QColor:
        # The window's own palette follows a little later.
        return QGuiApplication.palette().color(QPalette.ColorRole.ButtonText)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._fresh:
            # Docks take the sizes that they are given only once they are on the screen.
            self._fresh = False
            QTimer.singleShot(0, self._share_out)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._painted:
            self._painted = True
            self.first_painted.emit()
            # Not in the turn in which the engine is started: each would wait for the other.
            QTimer.singleShot(_SOON_MS, self._complete)

    def _complete(self) -> None:
        """What nobody can see or type before the first paint: one thing a turn, so that the window answers in between."""
        waiting = [row.name for row in actions.ACTIONS if row.icon]
        if self._icons_drawn < len(waiting):
            actions.set_icons(self.actions_by_name, self._icons_in, (waiting[self._icons_drawn],))
            self._icons_drawn += 1
            QTimer.singleShot(1, self._complete)
        else:
            self._draw_dock_buttons()
            actions.KeysFirst(self.actions_by_name["export"], self)
            TextKeys(self).left.connect(self.view_focus.give_back)

    # Layout that survives

    def zooms(self) -> Zooms:
        """Return where the views look that can be zoomed."""
        return Zooms(
            grid=self.maps.canvas.look(),
            channel=self.channel.canvas.view.look(),
            pyramid=self.pyramid.view.look(),
            picture=self.input.picture.view.look(),
        )

    def resume_zooms(self, zooms: Zooms) -> None:
        """Make the views look there, as soon as they have something to show."""
        self.maps.canvas.resume(zooms.grid)
        self.channel.canvas.view.resume(zooms.channel)
        self.pyramid.view.resume(zooms.pyramid)
        self.input.picture.view.resume(zooms.picture)

    def front_tabs(self) -> tuple[str, ...]:
        """Return the names of the docks that are in front of other docks in the same place.

        Read from the tab bars: a minimised window shows no dock, and its tabs stay as they are.
        """
        bars = self.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly)
        front = {bar.tabText(bar.currentIndex()) for bar in bars if bar.count() > 1 and bar.currentIndex() >= 0}
        return tuple(
            name
            for name, dock in self.docks.items()
            if dock.windowTitle() in front and self.tabifiedDockWidgets(dock) and not dock.isHidden()
        )

    def raise_tabs(self, names: Sequence[str]) -> None:
        """Bring these docks to the front; unknown names are ignored."""
        for name in names:
            if name in self.docks:
                self.raise_dock(name)

    def saved_layout(self) -> tuple[QByteArray, QByteArray]:
        return self.saveGeometry(), self.saveState(LAYOUT)

    def restore_layout(self, geometry: QByteArray, state: QByteArray) -> None:
        """As it was; what is unreadable leaves the layout as it is."""
        self.restoreGeometry(geometry)
        nowhere = Qt.DockWidgetArea.NoDockWidgetArea
        known = self.restoreState(state, LAYOUT)
        self._fresh = not known or any(self.dockWidgetArea(dock) == nowhere for dock in self.docks.values())
        if self._fresh:
            self.reset_layout()
        self.fit_upper_bar()

    # Events

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        data = event.mimeData()
        if _is_of_use(data):
            # Asked of the other program anew when it is let go, which may then be too busy to answer.
            self._dragged = data.urls()
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        data = event.mimeData()
        if not _is_of_use(data):
            data = QMimeData()
            data.setUrls(self._dragged)
        self.dropped.emit(data)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(watched, QDockWidget):
            if isinstance(event, QDropEvent) and event.type() == QEvent.Type.Drop:
                self.dropEvent(event)
                return True
            if isinstance(event, QDragEnterEvent):
                self.dragEnterEvent(event)
                return True
        return super().eventFilter(watched, event)

    def closeEvent(self, event: QCloseEvent) -> None:
        self.closing.emit()
        super().closeEvent(event)


def _is_of_use(data: QMimeData) -> bool:
    return data.hasImage() or any(url.isLocalFile() for url in data.urls())
