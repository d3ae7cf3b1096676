"""The flow of the layer table: asked for, renewed while a size is typed, measured, compared, copied and written."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QApplication

from fmviz.app import wording
from fmviz.app.blocks import Block
from fmviz.app.controller import Controller
from fmviz.app.link import EngineLink
from fmviz.app.preferences import Preferences
from fmviz.app.state import Activity, Store, ViewState
from fmviz.app.views.network_list import shown_name
from fmviz.app.views.table_model import selected
from fmviz.app.wanted import TableWanted, table_wanted
from fmviz.engine.messages import (
    AnyReply,
    Compare,
    Compared,
    Failed,
    FormatTable,
    LayersTimed,
    Progress,
    TableForm,
    TableFormatted,
    Tabulate,
    Tabulated,
    TimeLayers,
)
from fmviz.errors import ExportError

if TYPE_CHECKING:
    from fmviz.app.views.compare_dialog import CompareDialog
    from fmviz.app.window import MainWindow

SUFFIXES: dict[str, TableForm] = {
    ".csv": "csv",
    ".md": "markdown",
    ".tex": "latex",
    ".json": "json",
    ".txt": "text",
}
"""A table is written in the form that its file's name asks for."""

USUAL = {"vgg16": "resnet50"}
"""What a network is compared with first; others with the first of these, which is the lesson of the papers."""


class Tabling(QObject):
    """One table, one measurement and one comparison at a time."""

    table_came = Signal(object)
    times_came = Signal(object)
    comparison_came = Signal(object)

    def __init__(
        self, store: Store, link: EngineLink, controller: Controller, preferences: Preferences, window: MainWindow
    ) -> None:
        super().__init__(window)
        self._store, self._link, self._controller = store, link, controller
        self._preferences = preferences
        self._window = window
        self._wanted: TableWanted | None = None
        self._table: Tabulated | None = None
        self._timed: LayersTimed | None = None
        self._seconds: dict[str, float] = {}
        self._timing = 0
        self._dialog: CompareDialog | None = None
        self._compared: Compared | None = None
        view = window.parameters
        view.set_columns(preferences.columns())
        view.columns_chosen.connect(preferences.save_columns)
        view.size_chosen.connect(self._size_chosen)
        view.selection_changed.connect(self._selection_changed)
        view.copied.connect(lambda count: self._confirm(count, self.tr("text with tabs")))
        store.changed.connect(self._changed)
        link.lost.connect(self._lost)
        self._ask()

    def _changed(self, old: ViewState, new: ViewState) -> None:
        if old.shown is not new.shown:
            if old.shown is None or new.shown is None or old.shown.setup.backbone != new.shown.setup.backbone:
                self._store.update(table_size=None)
            self._forget_times()
        if (old.shown, old.table_wanted, old.table_size) != (new.shown, new.table_wanted, new.table_size):
            self._ask()

    # The table

    def _ask(self) -> None:
        state = self._store.state
        wanted = table_wanted(state)
        if wanted is None:
            return
        self._window.parameters.set_size(wanted.size, own=state.table_size is not None)
        if wanted == self._wanted:
            return
        self._wanted = wanted
        if self._link.gone:
            self._controller.problems.tell("parameters", self._link.gone)
            return
        self._window.parameters.set_waiting(waiting=True)
        heard = partial(self._tabulated, wanted)
        self._link.ask(Tabulate, heard, lane="table", backbone=wanted.backbone, size=wanted.size)

    def _tabulated(self, wanted: TableWanted, reply: AnyReply, _block: Block | None) -> None:
        if wanted != self._wanted:
            return
        if isinstance(reply, Tabulated):
            self._table = reply
            self._show()
            self.table_came.emit(reply)
        elif isinstance(reply, Failed):
            self._wanted = None
            if self._store.state.table_size is not None:
                # Whoever types 1024 has typed 1 and 10 before: no more than a line under the field.
                self._window.parameters.set_note(reply.message)
            else:
                self._window.parameters.set_waiting(waiting=False)
                self._controller.problems.tell("parameters", reply.message, details=reply.details)

    def _show(self) -> None:
        if self._table is None:
            return
        view = self._window.parameters
        view.set_table(self._table, wording.totals_words(self._table, self._timed))
        self._selection_changed(view.selection())

    def _size_chosen(self, size: tuple[int, int] | None) -> None:
        self._window.parameters.set_note("")
        shown = self._store.state.shown
        same = shown is not None and size == shown.geometry.input_size
        self._store.update(table_size=None if same else size)
        # What failed is asked for again when it is typed again.
        self._ask()

    def _selection_changed(self, paths: list[str]) -> None:
        words = ""
        if len(paths) > 1 and self._table is not None:
            words = wording.selected_words(selected(paths, self._table))
        self._window.parameters.set_selected(words)

    def _lost(self, _errors: str, _started: bool) -> None:
        self._wanted = None
        self._timing = 0
        self._window.parameters.set_waiting(waiting=False)
        if self._dialog is not None:
            self._dialog.set_note("")

    # Times

    def measure(self) -> None:
        """How long each layer takes, on the picture and the device that are shown."""
        shown = self._store.state.shown
        if shown is None or self._timing or not self._link.running:
            return
        self._window.raise_dock("parameters")
        self._timing = self._link.ask(TimeLayers, self._time_heard, lane="time", run=shown.run)
        self._store.update(activity=Activity(self._timing, self.tr("Measuring the layers")))

    def _time_heard(self, reply: AnyReply, _block: Block | None) -> None:
        if isinstance(reply, Progress):
            self._store.update(activity=Activity(reply.id, wording.doing(reply), reply.fraction))
            return
        self._timing = 0
        activity = self._store.state.activity
        if activity is not None and activity.request == reply.id:
            self._store.update(activity=None)
        shown = self._store.state.shown
        if isinstance(reply, LayersTimed) and shown is not None and reply.run == shown.run:
            self._timed = reply
            seconds = np.frombuffer(reply.seconds, "<f8").tolist()
            self._seconds = dict(zip(reply.paths, seconds, strict=True))
            self._window.parameters.set_times(self._seconds)
            self._show()
            self.times_came.emit(reply)
        elif isinstance(reply, Failed):
            self._controller.problems.tell("parameters", reply.message, details=reply.details)

    def cancel(self) -> bool:
        """Stop measuring; whether it was under way."""
        if self._timing:
            self._link.cancel(self._timing)
        return bool(self._timing)

    def _forget_times(self) -> None:
        if self._timed is not None:
            self._timed, self._seconds = None, {}
            self._window.parameters.set_times({})
            self._show()

    # As text

    def copy_as(self, form: TableForm) -> None:
        """Copy the rows that are shown or selected, in the order and with the columns that are shown."""
        view, table = self._window.parameters, self._table
        paths = view.rows_to_copy()
        if table is None or not paths:
            self._confirm(0, "")
            return
        if not self._link.running:
            words = self.tr("Nothing was copied: the engine is not running. “Copy table” works without it.")
            self._window.statusBar().showMessage(words, 6000)
            return
        seconds = [self._seconds.get(path, math.nan) for path in paths] if self._timed else []
        self._link.ask(
            FormatTable,
            partial(self._formatted, partial(self._copy, len(paths), form)),
            backbone=table.backbone,
            size=table.size,
            form=form,
            paths=tuple(paths),
            columns=tuple(view.columns_shown()),
            seconds=np.array(seconds, "<f8").tobytes(),
            total_seconds=self._timed.total if self._timed else None,
        )

    def _copy(self, count: int, form: TableForm, text: str) -> None:
        QApplication.clipboard().setText(text)
        self._confirm(count, wording.form_words(form))

    def _confirm(self, count: int, form: str) -> None:
        if count == 0:
            words = self.tr("Nothing was copied: the table shows no layer.")
        elif count == 1:
            words = self.tr("Copied 1 row as {form}.").format(form=form)
        else:
            words = self.tr("Copied {count} rows as {form}.").format(count=f"{count:,}", form=form)
        self._window.statusBar().showMessage(words, 6000)

    def export(self) -> None:
        """The whole table into a file, in the form that its name asks for."""
        state = self._store.state
        if state.shown is not None:
            self._export(shown_name(state.shown.setup.backbone), self._as_text)

    def _export(self, name: str, as_text: Callable[[TableForm, Callable[[str], None]], None]) -> None:
        from PySide6.QtWidgets import QFileDialog

        folder = self._preferences.folder("export")
        kinds = {
            "CSV (*.csv)": ".csv",
            "Markdown (*.md)": ".md",
            "LaTeX (*.tex)": ".tex",
            self.tr("Compact LaTeX (*.tex)"): ".tex",
            "JSON (*.json)": ".json",
            self.tr("Text (*.txt)"): ".txt",
        }
        start = str(Path(folder) / f"{name.replace('/', '-')}.csv")
        chosen, kind = QFileDialog.getSaveFileName(self._window, self.tr("Export the table"), start, ";;".join(kinds))
        if not chosen:
            return
        path = Path(chosen)
        if path.suffix.lower() not in SUFFIXES:
            path = path.with_name(path.name + kinds.get(kind, ".csv"))
        self._preferences.save_folder("export", str(path.parent))
        form = SUFFIXES[path.suffix.lower()]
        compact = form == "latex" and kind == self.tr("Compact LaTeX (*.tex)")
        as_text("latex-compact" if compact else form, partial(self._write, path))

    def _write(self, path: Path, text: str) -> None:
        from fmviz.writing import write_whole

        try:
            write_whole(path, lambda file: file.write(text.encode()))
        except ExportError as error:
            self._controller.problems.tell("parameters", str(error))
        else:
            self._window.statusBar().showMessage(self.tr("Written: {path}").format(path=path), 6000)

    def _as_text(self, form: TableForm, take: Callable[[str], None]) -> None:
        wanted = self._wanted
        if wanted is None:
            return
        heard = partial(self._formatted, take)
        self._link.ask(FormatTable, heard, backbone=wanted.backbone, size=wanted.size, form=form)

    def _formatted(self, take: Callable[[str], None], reply: AnyReply, _block: Block | None) -> None:
        if isinstance(reply, TableFormatted):
            take(reply.text)
        elif isinstance(reply, Failed):
            self._controller.problems.tell("parameters", reply.message, details=reply.details)

    # Compared

    def compare(self) -> None:
        """Open the page that shows this network beside another."""
        state = self._store.state
        if state.shown is None or not self._link.running:
            return
        if self._dialog is None:
            from fmviz.app.views.compare_dialog import CompareDialog

            self._dialog = CompareDialog(self._window)
            self._dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
            self._dialog.other_chosen.connect(self._compare_with)
            self._dialog.copy_wanted.connect(self._copy_comparison)
            self._dialog.export_wanted.connect(self._export_comparison)
        one = state.shown.setup.backbone
        before = self._compared.other if self._compared is not None else ""
        other = before if before and before != one else USUAL.get(one, next(iter(USUAL)))
        names = [row.name for row in state.networks if row.name != one]
        self._dialog.set_networks(one, other, names)
        self._dialog.show()
        self._dialog.raise_()
        self._dialog.activateWindow()
        self._compare_with(other)

    def _compare_with(self, other: str) -> None:
        state = self._store.state
        if state.shown is None or self._dialog is None or not other:
            return
        self._dialog.set_note(self.tr("Comparing …"))
        size = state.table_size or state.shown.geometry.input_size
        one = state.shown.setup.backbone
        self._link.ask(Compare, self._compare_heard, lane="compare", backbone=one, other=other, size=size)

    def _compare_heard(self, reply: AnyReply, _block: Block | None) -> None:
        if self._dialog is None:
            return
        if isinstance(reply, Compared):
            self._compared = reply
            self._dialog.set_comparison(reply)
            self.comparison_came.emit(reply)
        elif isinstance(reply, Failed):
            self._compared = None
            self._dialog.set_nothing()
            self._dialog.set_note(reply.message)

    def _compared_as_text(self, form: TableForm, take: Callable[[str], None]) -> None:
        found = self._compared
        if found is not None:
            heard = partial(self._formatted, take)
            self._link.ask(FormatTable, heard, backbone=found.backbone, other=found.other, size=found.size, form=form)

    def _copy_comparison(self, form: TableForm) -> None:
        found = self._compared
        if found is not None:
            rows = [row for row in found.rows if form != "latex-compact" or not row.stage]
            self._compared_as_text(form, partial(self._copy, len(rows), form))

    def _export_comparison(self) -> None:
        found = self._compared
        if found is not None:
            self._export(f"{found.backbone} {found.other}", self._compared_as_text)
