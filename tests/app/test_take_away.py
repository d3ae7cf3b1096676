"""What a person takes away: files, copies, numbers; and what the window remembers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from driving import Desk, until
from PySide6.QtCore import QPointF
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLabel
from safetensors.numpy import save_file

from fmviz.app.views.export_dialog import ExportDialog
from fmviz.app.views.table_model import PathRole
from fmviz.engine.messages import RenderMaps


def dialog_on(desk: Desk, folder: Path, *, what: str, form: str = "grid") -> ExportDialog:
    """The export dialog, filled in."""
    desk.do("export")
    dialog = desk.app.commands.dialog
    assert dialog is not None
    dialog.what.setCurrentIndex(dialog.what.findData(what))
    dialog.form.setCurrentIndex(dialog.form.findData(form))
    dialog.folder.setText(str(folder))
    return dialog


def exported(dialog: ExportDialog) -> str:
    """Press the button; what the dialog says in the end."""
    dialog._button.click()
    assert dialog.running
    until(lambda: not dialog.running, "the export ends")
    return dialog.message


@pytest.mark.parametrize(("what", "count"), [("map", 1), ("layer", 1), ("pyramid", 1)])
def test_pngs_through_the_dialog(desk: Desk, tmp_path: Path, what: str, count: int) -> None:
    message = exported(dialog_on(desk, tmp_path, what=what))
    assert tmp_path.as_uri() in message
    files = sorted(tmp_path.glob("*.png"))
    assert len(files) == count
    with PIL.Image.open(files[0]) as image:
        assert image.mode == "P"
        facts = json.loads(image.text["fmviz"])
    assert facts["network"] == "efficientnet_lite0_fpn"
    assert facts["picture"]["name"] == "chelsea.png"
    assert str(tmp_path) not in json.dumps(facts)


def test_layers_by_pattern_and_what_has_no_such_name(desk: Desk, tmp_path: Path) -> None:
    dialog = dialog_on(desk, tmp_path, what="layers", form="npz")
    dialog.patterns.setText("C2 C3")
    exported(dialog)
    with np.load(next(tmp_path.glob("*.npz"))) as values:
        assert {array.shape for array in values.values() if array.ndim == 4} == {(1, 24, 56, 56), (1, 40, 28, 28)}
    dialog.patterns.setText("nonsense*")
    assert "nonsense*" in exported(dialog)


def test_an_export_that_is_cancelled_leaves_whole_files(desk: Desk, tmp_path: Path) -> None:
    dialog = dialog_on(desk, tmp_path, what="layers", form="maps")
    dialog.patterns.setText("*")
    dialog._button.click()
    until(lambda: list(tmp_path.glob("*.png")), "the first files")
    dialog._button.click()
    until(lambda: not dialog.running, "the export ends")
    for path in tmp_path.iterdir():
        with PIL.Image.open(path) as image:
            image.load()


def test_an_export_whose_engine_dies_says_so_and_may_be_begun_again(desk: Desk, tmp_path: Path) -> None:
    dialog = dialog_on(desk, tmp_path, what="layers", form="maps")
    dialog.patterns.setText("*")
    dialog._button.click()
    until(lambda: list(tmp_path.glob("*.png")), "the first files")
    desk.app.link.kill()
    until(lambda: not dialog.running, "the export ends")
    assert "export again" in dialog.message
    until(lambda: desk.state.activity is None and desk.app.link.running, "what was shown is made again")
    desk.settle()
    dialog.patterns.setText("C2")
    assert tmp_path.as_uri() in exported(dialog)
    desk.app.controller.problems.dismiss("maps")
    desk.app.controller._short_lives = 0


def test_the_value_under_the_pointer_is_the_float_of_the_file(desk: Desk, tmp_path: Path) -> None:
    exported(dialog_on(desk, tmp_path, what="layer", form="npz"))
    with np.load(next(tmp_path.glob("*.npz"))) as values:
        truth = next(array for array in values.values() if array.ndim == 4)
    desk.value = None
    canvas = desk.window.maps.canvas
    desk.point(canvas.viewport(), QPointF(30, 40))
    until(lambda: desk.value, "the value under the pointer")
    assert desk.value is not None
    (channel, row, column), value = desk.value
    assert value == float(truth[0, channel, row, column])


def test_copies_of_the_map_the_grid_and_the_table(desk: Desk) -> None:
    clipboard = QGuiApplication.clipboard()
    desk.do("copy_map")
    assert clipboard.image().width() >= 224
    small = clipboard.image().size()
    desk.do("copy_grid")
    assert clipboard.image().size() != small
    desk.do("show_table")
    until(lambda: desk.table, "the table")
    desk.do("copy_table")
    lines = clipboard.text().splitlines()
    assert lines[0].split("\t")[0] == "Layer"
    assert len(lines) == len(desk.table.rows) + 1
    desk.do("show_maps")


def test_a_row_of_the_table_chooses_the_layer_and_the_other_way_round(desk: Desk) -> None:
    desk.do("show_table")
    until(lambda: desk.table, "the table")
    view = desk.window.parameters
    view.table.setCurrentIndex(view.table.model().index_of("body.stage5"))
    desk.settle()
    assert desk.state.layer == "body.stage5"
    desk.choose_tap("C2")
    assert view.table.currentIndex().data(PathRole) == "body.stage2"
    desk.do("show_maps")


def test_a_colour_map_asks_the_engine_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    ask = desk.app.link.ask

    def counted(request: type, *args: object, **fields: object) -> int:
        asked.append(request)
        return ask(request, *args, **fields)  # type: ignore[arg-type]

    monkeypatch.setattr(desk.app.link, "ask", counted)
    before = desk.window.maps.canvas.grab().toImage()
    desk.choose(desk.window.maps._colours, "magma")
    assert desk.window.maps.canvas.grab().toImage() != before
    assert asked == []
    desk.choose(desk.window.maps._normalisation, "symmetric")
    assert RenderMaps in asked
    desk.settle()


def test_the_pyramid_of_one_channel_on_one_scale_a_row(desk: Desk) -> None:
    assert desk.taps is not None
    desk.choose(desk.window.pyramid._what, "channel")
    desk.choose(desk.window.pyramid._scale, "row")
    until(lambda: desk.taps and len({info.limits for info, _ in list(desk.taps.maps.values())}) == 3, "three scales")
    assert set(desk.taps.maps) == {f"{row}{level}" for row in "CMP" for level in "2345"} | {"P6"}


def test_untrained_is_said_where_it_is_so(desk: Desk) -> None:
    until(lambda: desk.window.input.picture._boxes, "what the levels find is framed")
    desk.choose(desk.window.setup_bar.weights, "imagenet")
    desk.settle()
    assert not desk.window.input.picture._boxes
    until(lambda: desk.window.pyramid.train.isVisibleTo(desk.window.pyramid), "training it is offered")
    assert "untrained" not in desk.window.maps._facts.text()
    assert "Untrained" in desk.window.pyramid._note.text()
    desk.choose_tap("P3")
    assert "untrained pyramid" in desk.window.maps._facts.text()


def test_a_weights_file_is_dropped_and_one_that_does_not_fit_changes_nothing(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"nothing.weight": np.zeros(3, np.float32)}, path)
    shown = desk.state.shown
    desk.drop([path])
    until(desk.problem, "the banner says what is wrong")
    assert "other.safetensors" in desk.problem()
    assert desk.state.shown is shown
    assert desk.state.setup.weights == ""
    assert desk.window.maps.has_maps


def test_choices_and_layout_survive_a_restart(open_desk, tmp_path: Path) -> None:
    settings = tmp_path / "fmviz.ini"
    first = open_desk(settings=settings)
    first.settle()
    first.choose(first.window.maps._colours, "grey")
    first.do("appearance_dark")
    first.choose(first.window.setup_bar.mode, "whole")
    first.settle()
    first.window.docks["channel"].hide()
    dark = first.window.palette().window().color().lightness()
    first.close()
    again = open_desk(settings=settings)
    again.settle()
    assert again.state.colour_map == "grey"
    assert again.state.appearance == "dark"
    assert again.state.setup.mode == "whole"
    assert again.window.docks["channel"].isHidden()
    assert again.window.palette().window().color().lightness() == dark < 128
    again.do("reset_layout")
    assert not again.window.docks["channel"].isHidden()
    again.do("appearance_light")
    until(lambda: again.window.palette().window().color().lightness() > 128, "a light window")
    ticked = [
        name for name in ("system", "light", "dark") if again.window.actions_by_name[f"appearance_{name}"].isChecked()
    ]
    assert ticked == ["light"]
    again.do("appearance_system")
    again.close()


def test_an_engine_that_cannot_be_started_is_told_once_and_the_picture_kept(open_desk) -> None:
    desk = open_desk(engine=["/nonexistent/engine"])
    until(desk.problem, "the banner")
    assert "/nonexistent/engine" in desk.problem()
    assert desk.names == ["chelsea.png"]
    assert not desk.app.link.running
    words = [label.text() for label in desk.window.maps.samples.findChildren(QLabel) if label.isVisible()]
    assert words[0] == "Nothing has been run on chelsea.png yet"
    assert desk.window.setup_bar.weights.currentText() == "…", "which weights there are is not known"
    desk.close()
