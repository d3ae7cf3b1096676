"""What each command of the window does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QMimeData, QObject, Qt
from PySide6.QtGui import QGuiApplication, QImage, QKeySequence

import fmviz
from fmviz.app import wording
from fmviz.app.controller import Controller
from fmviz.app.drawn_map import DrawnMap
from fmviz.app.exporting import Exporting
from fmviz.app.map_menu import MapMenu
from fmviz.app.network_commands import NetworkCommands
from fmviz.app.preferences import Preferences
from fmviz.app.shelf import Shelf
from fmviz.app.state import Store
from fmviz.app.teaching import Teaching
from fmviz.colours import COLOUR_MAPS, colour_map
from fmviz.engine.messages import Dropped, Exported, Failed, PictureSource, Progress
from fmviz.networks.shards import WEIGHTS_SUFFIXES, holds_checkpoint, is_index
from fmviz.picture_options import PictureOptions

if TYPE_CHECKING:
    from fmviz.app.presenter import Presenter
    from fmviz.app.returning import Returning
    from fmviz.app.tabling import Tabling
    from fmviz.app.views.export_dialog import ExportChoice, ExportDialog
    from fmviz.app.window import MainWindow


TO_SCALE = {"shapes.png": 512, "eyes.png": 512}
"""Samples whose things are 20 to 160 pixels large, and their longer side: at another size the pyramid would see others."""
_OF_A_FOLDER, _OF_A_FOLDER_FAR = 500, 20
"""Pictures that are opened where folders of them are; and where they have to travel."""


class Commands(QObject):
    """Dialogs, clipboard and the rest that a menu entry sets off. `attach` gives it the window, which needs `table` first."""

    def __init__(
        self,
        store: Store,
        controller: Controller,
        exporting: Exporting,
        shelf: Shelf,
        teaching: Teaching,
        preferences: Preferences,
    ) -> None:
        super().__init__()
        self._store = store
        self._controller = controller
        self._exporting = exporting
        self._shelf = shelf
        self._teaching = teaching
        self._preferences = preferences
        self._dialog: ExportDialog | None = None
        self._exported_map: DrawnMap | None = None
        """The map that “This map” of the dialog is."""
        self._window: MainWindow
        self._presenter: Presenter
        self._tabling: Tabling
        self._returning: Returning
        exporting.heard.connect(self._exported)

    def attach(self, window: MainWindow, presenter: Presenter, tabling: Tabling, returning: Returning) -> None:
        self._window, self._presenter, self._tabling = window, presenter, tabling
        self._returning = returning
        self._menu = MapMenu(self._store, presenter, window, self._copied, self.export)
        window.dropped.connect(self.take_drop)
        window.sample_chosen.connect(self.open_sample)
        self.networks = NetworkCommands(
            self._store, self._controller, self._shelf, self._teaching, self._preferences, window
        )

    def table(self) -> dict[str, Callable[[], object]]:
        """What each action calls, by its name."""
        controller = self._controller
        return {
            "open": self.open,
            "previous": lambda: controller.step_picture(-1),
            "next": lambda: controller.step_picture(1),
            "bands": self.choose_bands,
            "stretch": lambda: controller.set_stretch(not self._store.state.stretch),
            "close_picture": lambda: controller.close_picture(self._store.state.current),
            "export": self.export,
            "restore_session": self.restore_session,
            "copy_report": self.copy_report,
            "reopen": lambda: self._preferences.save_reopens(reopens=not self._preferences.reopens()),
            "quit": lambda: self._window.close(),
            "copy_map": self.copy,
            "copy_grid": self.copy_grid,
            "copy_table": lambda: self._window.parameters.copy(),
            "copy_table_text": lambda: self._tabling.copy_as("text"),
            "copy_table_csv": lambda: self._tabling.copy_as("csv"),
            "copy_table_markdown": lambda: self._tabling.copy_as("markdown"),
            "copy_table_latex": lambda: self._tabling.copy_as("latex"),
            "copy_table_latex_compact": lambda: self._tabling.copy_as("latex-compact"),
            "copy_table_json": lambda: self._tabling.copy_as("json"),
            "export_table": lambda: self._tabling.export(),
            "compare": lambda: self._tabling.compare(),
            "measure": lambda: self._tabling.measure(),
            "paste": self.paste,
            "fit": self.fit,
            "smooth": lambda: self._store.update(smooth=not self._store.state.smooth),
            "over_picture": lambda: self._store.update(over_picture=not self._store.state.over_picture),
            "boxes": lambda: self._store.update(boxes=not self._store.state.boxes),
            "show_maps": lambda: self._window.raise_dock("maps"),
            "show_pyramid": lambda: self._window.raise_dock("pyramid"),
            "show_table": lambda: self._window.raise_dock("parameters"),
            "show_column": lambda: self._window.raise_dock("column"),
            "unpin": lambda: self._store.update(pin=None, region=None),
            "draw_region": self.draw_region,
            "appearance_system": lambda: self._store.update(appearance="system"),
            "appearance_light": lambda: self._store.update(appearance="light"),
            "appearance_dark": lambda: self._store.update(appearance="dark"),
            "reset_layout": lambda: self._window.reset_layout(),
            "filter": self.filter,
            "next_layer": lambda: self._presenter.step_layer(1),
            "previous_layer": lambda: self._presenter.step_layer(-1),
            "next_stage": lambda: self._presenter.step_stage(1),
            "previous_stage": lambda: self._presenter.step_stage(-1),
            "choose_network": lambda: self.networks.choose(),
            "open_model": lambda: self.networks.open_model(),
            "show_weights": lambda: self.networks.show_weights(),
            "open_weights": lambda: self.networks.open_weights(),
            "train_pyramid": lambda: self.networks.train_pyramid(),
            "trust_model": lambda: self.networks.trust_model(),
            "random_weights": lambda: controller.mend(weights="random"),
            "default_size": lambda: controller.mend(mode="crop", side=0),
            "cancel": self.cancel,
            "retry": controller.retry,
            "restart_engine": controller.restart,
            "smaller_size": self.smaller_size,
            "use_cpu": lambda: controller.mend(device="cpu"),
            "shortcuts": self.shortcuts,
            "about": self.about,
        }

    def cancel(self) -> None:
        """Cancel the running measurement or run; else clear the pinned cell and the rectangle."""
        if self._store.state.activity is None:
            self._store.update(pin=None, region=None)
        elif not self._tabling.cancel():
            self._controller.cancel()

    def draw_region(self) -> None:
        """Let the next drag on the picture draw the rectangle whose cells are lit."""
        self._window.raise_dock("input")
        self._window.input.picture.expect_rectangle()
        self._window.statusBar().showMessage(
            self.tr("Drag on the picture: the cells of the layer that see the rectangle are lit. Esc or U clears it."),
            8000,
        )

    def restore_session(self) -> None:
        if not self._returning.restore():
            self._window.statusBar().showMessage(
                self.tr("There is nothing to restore: fmviz was closed in order."), 4000
            )

    def copy_report(self) -> None:
        QGuiApplication.clipboard().setText(self._returning.report())
        self._window.statusBar().showMessage(
            self.tr("Report copied: versions, and the last crash where there was one."), 4000
        )

    # Pictures in

    def open(self) -> None:
        """Ask for pictures."""
        # The decoders of pictures work in the engine: the window's start need not wait for them.
        from PySide6.QtWidgets import QFileDialog

        from fmviz.pictures import SUFFIXES

        patterns = " ".join(f"*{suffix}" for suffix in SUFFIXES)
        names, _ = QFileDialog.getOpenFileNames(
            self._window,
            self.tr("Open pictures"),
            self._preferences.folder("open"),
            self.tr("Pictures ({patterns});;All files (*)").format(patterns=patterns),
        )
        if names:
            self._preferences.save_folder("open", str(Path(names[0]).parent))
            self.open_paths([Path(name) for name in names])

    def open_sample(self, path: str) -> None:
        """A sample picture; one that is drawn to scale is shown as a whole and at its own size."""
        self._controller.open_paths([Path(path)])
        if Path(path).name in TO_SCALE:
            self._controller.set_setup(mode="whole", side=TO_SCALE[Path(path).name])

    def choose_bands(self) -> None:
        """Open the dialog that chooses the bands of the picture on the screen."""
        from fmviz.app.views.bands_dialog import BandsDialog

        source = self._store.state.source
        picture = self._controller.picture(source)
        if source is None or picture is None or picture.bands < 2:
            told = self.tr("This picture has one band: there are none to choose from.")
            if picture is None:
                told = self.tr("Open a picture first: there are no bands to choose from yet.")
            self._window.statusBar().showMessage(told, 4000)
            return
        dialog = BandsDialog(source.name, picture.bands, source.options.bands, self._window)
        dialog.chosen.connect(lambda bands: self._controller.set_bands(source, bands))
        dialog.open()

    def open_paths(self, paths: list[Path], bands: tuple[int, ...] = ()) -> None:
        """Files of any kind: pictures become a strip, as do those in a folder; of weights and of code the first is taken.

        A folder with a checkpoint is opened as weights, as are the index and the parts of one.
        """
        paths = self._with_those_in_folders(paths)
        weights = [path for path in paths if are_weights(path)]
        models = [path for path in paths if path.suffix.lower() == ".py"]
        self._controller.open_paths([path for path in paths if path not in weights and path not in models], bands)
        if models:
            self.networks.take_model(models[0].absolute())
        if weights:
            self._shelf.open_weights(str(weights[0].absolute()))

    def _with_those_in_folders(self, paths: list[Path]) -> list[Path]:
        """In the place of a folder, the pictures in it; of all folders together no more than can be held."""
        # Where the engine is on another computer, each is read here.
        left = _OF_A_FOLDER if not self._controller.link.remote else _OF_A_FOLDER_FAR
        every: list[Path] = []
        for path in paths:
            # What is not allowed, or too long for a name, raises nothing here.
            if os.path.isdir(path) and not are_weights(path):
                found = self._pictures_in(path, left, alone=len(paths) == 1)
                left -= len(found)
                every += found
            else:
                every.append(path)
        return every

    def _pictures_in(self, folder: Path, most: int, *, alone: bool) -> list[Path]:
        """The first pictures in this folder, by name; where there are none, and it came alone, a banner says so."""
        from fmviz.pictures import in_folder

        name = folder.name or str(folder)
        try:
            found = in_folder(folder)
        except OSError as error:
            found = []
            told = self.tr("The folder {name} cannot be read ({reason}): choose another one.")
            told = told.format(name=name, reason=error.strerror)
        else:
            told = self.tr(
                "There is no picture in the folder {name}: choose one that holds PNG, JPEG or other pictures."
            ).format(name=name)
        if len(found) > most:
            told = self.tr("The folder {name} holds {count} pictures: the first {most} were opened.")
            if not most:
                told = self.tr(
                    "The folder {name} was left out, for those before it hold as many pictures as can be opened."
                )
            told = told.format(name=name, count=len(found), most=most)
        if not found and alone:
            self._controller.problems.tell("window", told)
        elif not found or len(found) > most:
            # A banner would go with the run of the others.
            self._window.statusBar().showMessage(told, 15_000)
        return found[:most]

    def paste(self) -> None:
        """The picture, or the files, on the clipboard."""
        data = QGuiApplication.clipboard().mimeData()
        if data is None or not self.take(data):
            self._window.statusBar().showMessage(self.tr("There is no picture on the clipboard."), 4000)

    def take_drop(self, data: QMimeData) -> None:
        """What was let go over the window."""
        if not self.take(data):
            self._window.statusBar().showMessage(self.tr("No picture came with that. Drop it once more."), 4000)

    def take(self, data: QMimeData) -> bool:
        """Pictures out of a drop or the clipboard: files where there are files, else the image itself."""
        paths = [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
        if paths:
            self.open_paths(paths)
            return True
        image = QImage(data.imageData()) if data.hasImage() else QImage()
        if image.isNull():
            return False
        stored = QByteArray()
        buffer = QBuffer(stored)
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        image.save(buffer, "PNG")  # type: ignore[call-overload]
        name = self.tr("pasted picture")
        options = PictureOptions(stretch=self._store.state.stretch)
        self._controller.open_pictures([PictureSource(name=name, data=bytes(stored.data()), options=options)])
        return True

    # Pictures out

    def copy(self) -> None:
        """What has the keyboard: selected words, the rows of the table, or else the map."""
        from PySide6.QtWidgets import QLabel

        focused = self._window.focusWidget()
        if isinstance(focused, QLabel) and focused.hasSelectedText():
            QGuiApplication.clipboard().setText(focused.selectedText())
        elif self._window.parameters.table.hasFocus():
            self._window.parameters.copy()
        else:
            self.copy_map()

    def copy_map(self) -> None:
        """Copy what the selection shows: the map of the Channel dock, over the picture where it is there, or a matrix."""
        vector_or_matrix = self._window.maps.values_image()
        image = vector_or_matrix if vector_or_matrix is not None else self._presenter.channel_image()
        if image is not None:
            self._copied(image, self.tr("Map copied."))

    def copy_grid(self) -> None:
        image = self._window.maps.canvas.grid_image()
        if image is not None:
            self._copied(image, self.tr("Grid copied."))

    def _copied(self, image: QImage, told: str) -> None:
        QGuiApplication.clipboard().setImage(image)
        self._window.statusBar().showMessage(told, 3000)

    def export(self, drawn: DrawnMap | None = None, over_picture: bool | None = None) -> None:
        """Open the export dialog.

        Args:
            drawn: The map under the pointer; None for the current selection.
            over_picture: Whether maps over the picture are chosen at first; as in the Channel dock where None.
        """
        from PySide6.QtCore import QDir

        state = self._store.state
        if state.shown is None:
            self._window.statusBar().showMessage(self.tr("Open a picture first: there is nothing to export yet."), 4000)
            return
        if self._dialog is None:
            from fmviz.app.views.export_dialog import ExportDialog

            self._dialog = ExportDialog(colour_map_labels(), self._window)
            self._dialog.export_wanted.connect(self._export)
            self._dialog.cancel_wanted.connect(self._exporting.cancel)
        maps = self._window.maps
        self._exported_map = drawn or maps.shown_matrix() or self._window.channel.canvas.drawn
        if self._exported_map is not None and self._exported_map.run != state.shown.run:
            self._exported_map = None
        if over_picture is None:
            # A vector or a matrix lies nowhere on the picture.
            over_picture = state.over_picture and state.layer_info is not None and state.layer_info.spatial
        self._dialog.set_choices(
            layer=drawn.layer if drawn is not None else state.layer,
            which=wording.map_words(state.shown, self._exported_map) if self._exported_map is not None else "",
            this_map=drawn is not None,
            over_picture=over_picture,
            colour_map=state.colour_map,
            normalisation=state.normalisation,
            folder=self._preferences.folder("export") or os.path.join(QDir.homePath(), "fmviz"),
            pyramid=any(layer.taps for layer in state.shown.layers),
        )
        self._dialog.show()
        self._dialog.raise_()
        self._dialog.activateWindow()

    def _export(self, choice: ExportChoice) -> None:
        state = self._store.state
        self._preferences.save_folder("export", choice.folder)
        fields: dict[str, Any] = {}
        patterns, normalisation = choice.patterns, choice.normalisation
        drawn = self._exported_map
        if choice.what == "map" and drawn is not None:
            patterns = (drawn.layer,)
            fields["reduce" if drawn.reduction else "channels"] = drawn.reduction or (drawn.channel,)
            if drawn.normalisation == "fixed":
                # A level on the range of its row.
                normalisation, fields["limits"] = "fixed", drawn.limits
        if choice.over_picture:
            fields["over_picture"] = state.opacity
        if choice.what == "pyramid":
            fields.update(
                pyramid=True,
                channel=state.pyramid.channel,
                reduction=state.pyramid.reduction,
                scale=state.pyramid.scale,
            )
        self._exporting.begin(
            layers=patterns,
            folder=choice.folder,
            form=choice.form,
            colour_map=choice.colour_map,
            normalisation=normalisation,
            size=choice.size,
            **fields,
        )

    def _exported(self, reply: object) -> None:
        if self._dialog is None:
            return
        match reply:
            case Progress(name=name, fraction=fraction):
                self._dialog.show_progress(name, fraction or 0.0)
            case Exported():
                self._dialog.show_done(reply.folder, reply.files, reply.skipped, reply.replaced)
            case Failed(message=message):
                self._dialog.show_failed(message)
            case Dropped():
                self._dialog.show_failed(self.tr("Cancelled: the files that were finished are in the folder."))

    # The rest

    def fit(self) -> None:
        """Everything as large as its place allows."""
        self._window.maps.canvas.fit()
        for view in (self._window.channel.canvas.view, self._window.pyramid.view, self._window.input.picture.view):
            view.fit()

    def filter(self) -> None:
        self._window.raise_dock("layers")
        self._window.layers.field.setFocus()
        self._window.layers.field.selectAll()

    def smaller_size(self) -> None:
        """Half the side that was too large."""
        setup = self._controller.failed_setup()
        row = next((row for row in self._store.state.networks if row.name == setup.backbone), None)
        side = setup.side or (row.wants(setup.weights)[1] if row else 224)
        self._controller.mend(side=max(side // 2, row.minimum_input if row else 32))

    def shortcuts(self) -> None:
        """All keys, in one table."""
        from PySide6.QtWidgets import QMessageBox

        rows = [
            (action.text().replace("&", ""), ", ".join(keys.toString(_NATIVE) for keys in action.shortcuts()))
            for action in self._window.actions_by_name.values()
            if action.shortcuts()
        ]
        rows += [
            (self.tr("Walk channels in the grid, layers in the tree"), self.tr("arrow keys")),
            (self.tr("Next and previous stage"), "PgDown, PgUp"),
            (self.tr("Zoom at the pointer; pan; fit"), self.tr("wheel; drag; double click")),
            (self.tr("Zoom"), "+, −"),
            (self.tr("See the picture in the map's place"), self.tr("Space, held")),
        ]
        body = "".join(f"<tr><td style='padding-right:24px'>{text}</td><td>{keys}</td></tr>" for text, keys in rows)
        box = QMessageBox(QMessageBox.Icon.NoIcon, self.tr("Keys"), f"<table>{body}</table>", parent=self._window)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setModal(False)
        box.show()

    def about(self) -> None:
        from PySide6.QtWidgets import QMessageBox

        box = QMessageBox(QMessageBox.Icon.NoIcon, self.tr("About fmviz"), about_text(self.tr), parent=self._window)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setIconPixmap(self._window.windowIcon().pixmap(96, 96))
        box.setModal(False)
        box.show()

    @property
    def dialog(self) -> ExportDialog | None:
        return self._dialog


def are_weights(path: Path) -> bool:
    """Whether a file or folder is opened as weights: by its name, and a folder by those in it."""
    from fmviz.pictures import SUFFIXES

    if os.path.isdir(path):
        return holds_checkpoint(path, unless=SUFFIXES)
    return path.suffix.lower() in WEIGHTS_SUFFIXES or is_index(path)


_NATIVE = QKeySequence.SequenceFormat.NativeText


def about_text(tr: Callable[[str], str]) -> str:
    """Version, licence, and whose the samples are."""
    what = tr("See what every layer of a convolutional network makes of your picture.")
    samples = tr(
        "Sample pictures: chelsea, coffee and rocket are CC0; china by danielbuechele and flower by vultilion, CC BY 2.0."
    )
    return f"<h3>fmviz {fmviz.__version__}</h3><p>{what}</p><p>{samples}</p><p>MIT licence</p>"


def colour_map_labels() -> list[tuple[str, str]]:
    """Name and label of each colour map."""
    return [(name, colour_map(name).label) for name in COLOUR_MAPS]
