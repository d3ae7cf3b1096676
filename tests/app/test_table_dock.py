"""The table of parameters in a real window: folded, grouped, filtered, at another size, measured, compared, written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driving import Desk, until
from PySide6.QtCore import QItemSelectionModel, QModelIndex, QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QFileDialog, QPushButton

from fmviz.app.views.compare_dialog import CompareDialog
from fmviz.app.views.table_columns import COLUMNS, TIMES
from fmviz.app.views.table_model import BarRole, PathRole

NUMBER = {column.name: number for number, column in enumerate(COLUMNS)}


@pytest.fixture
def table(desk: Desk) -> Iterator[Any]:
    """The dock, in front."""
    desk.do("show_table")
    until(lambda: desk.table and desk.table.backbone == desk.state.setup.backbone, "the table")
    yield desk.window.parameters
    view = desk.window.parameters
    view.field.clear()
    view.kind.setCurrentIndex(0)
    view.changes.setChecked(False)
    view.leaves.setChecked(False)
    view.grouping.setCurrentIndex(0)
    view.table.header().setSortIndicator(0, Qt.SortOrder.AscendingOrder)
    desk.do("show_maps")


def paths(view: Any, parent: QModelIndex | None = None) -> list[str]:
    """Of all lines, from top to bottom."""
    parent = parent or QModelIndex()
    model, found = view.table.model(), []
    for row in range(model.rowCount(parent)):
        index = model.index(row, 0, parent)
        found.append(index.data(PathRole) if index.data(PathRole) is not None else f"<{index.data()}>")
        found += paths(view, index)
    return found


def cell(view: Any, path: str, column: str, role: Any = Qt.ItemDataRole.DisplayRole) -> Any:
    return view.table.model().index_of(path).siblingAtColumn(NUMBER[column]).data(role)


def test_the_tree_holds_every_module_with_its_numbers(desk: Desk, table: Any) -> None:
    shown = [path for path in paths(table) if "<" not in path]
    assert list(dict.fromkeys(shown)) == [row.path for row in desk.table.rows]
    stem = next(row for row in desk.table.rows if row.path == "body.stem.conv")
    assert cell(table, stem.path, "layer") == "conv"
    assert cell(table, stem.path, "parameters") == f"{stem.parameters:,}"
    assert cell(table, stem.path, "macs") == f"{stem.macs:,}"
    assert cell(table, stem.path, "field") == "3 × 3"
    parents = {row.path.rpartition(".")[0] for row in desk.table.rows if row.path}
    largest = max(row.macs for row in desk.table.rows if row.path not in parents)
    assert cell(table, stem.path, "macs", BarRole) == pytest.approx(stem.macs / largest)
    assert cell(table, "", "macs", BarRole) is None
    assert cell(table, "body.stage2", "own") == "–"
    stage = [row for row in desk.table.rows if row.path.startswith("body.stage2.") and row.leaf]
    assert cell(table, "body.stage2", "parameters") == f"{sum(row.parameters for row in stage):,}"
    assert cell(table, "body.stage2", "parameters", BarRole) is None
    assert cell(table, "", "parameters") == "4,874,995"
    words = "4,874,995 parameters, 0 frozen (4,831,720, + 43,275 in the detection head that the weights bring)"
    assert words in table._totals.text()
    assert "MACs" in table._totals.text()


def test_groups_by_stage_have_sums(desk: Desk, table: Any) -> None:
    desk.choose(table.grouping, "stage")
    model = table.table.model()
    groups = [model.index(row, 0) for row in range(model.rowCount())]
    assert [group.data() for group in groups] == ["C2", "C3", "C4", "C5", "pyramid", "head", "several, or none"]
    text = groups[4].siblingAtColumn(NUMBER["parameters"]).data()
    assert text == "179,712"
    bars = [group.siblingAtColumn(NUMBER["parameters"]).data(BarRole) for group in groups]
    assert max(bars) == 1
    desk.choose(table.grouping, "flat")
    assert paths(table)[0] == ""


def test_words_kind_and_changes_of_size(desk: Desk, table: Any) -> None:
    QTest.keyClicks(table.field, "stage2 conv2d")
    shown = [path for path in paths(table) if "<" not in path]
    assert shown
    assert all("body.stage2" in path for path in shown)
    table.field.clear()
    table.field.setText("no such layer")
    assert table._nothing.isVisible()
    table.field.clear()
    assert not table._nothing.isVisible()
    desk.choose(table.kind, "Conv2dSame")
    QTest.mouseClick(table.changes, Qt.MouseButton.LeftButton, pos=table.changes.rect().center() * 0.1)
    table.changes.setChecked(True)
    rows = {row.path: row for row in desk.table.rows}
    shown = paths(table)
    assert shown
    assert all(rows[path].input_shape[2:] != rows[path].output_shape[2:] for path in shown)


def test_sorted_by_numbers_the_unknown_last(desk: Desk, table: Any) -> None:
    desk.choose(table.grouping, "flat")
    table.table.header().setSortIndicator(NUMBER["macs"], Qt.SortOrder.DescendingOrder)
    rows = {row.path: row for row in desk.table.rows}
    macs = [rows[path].macs for path in dict.fromkeys(paths(table)) if path in rows]
    assert macs == sorted(macs, reverse=True)
    table.table.header().setSortIndicator(NUMBER["stride"], Qt.SortOrder.AscendingOrder)
    strides = [rows[path].stride for path in dict.fromkeys(paths(table)) if path in rows]
    known = [stride for stride in strides if stride is not None]
    assert known == sorted(known)
    assert strides[len(known) :] == [None] * (len(strides) - len(known))


def test_another_size_is_typed_and_the_lines_stay(desk: Desk, table: Any) -> None:
    before = paths(table)
    table.size_field.setFocus()
    table.size_field.selectAll()
    QTest.keyClicks(table.size_field, "160x320")
    until(lambda: desk.table.size == (160, 320), "the table of another size")
    assert paths(table) == before
    assert cell(table, "body.stem.conv", "output") == "32 × 80 × 160"
    assert "at 160 × 320" in table._totals.text()
    table.size_field.selectAll()
    QTest.keyClicks(table.size_field, "9")
    until(lambda: not table._note.isHidden() or desk.table.size == (9, 9), "a word on the size, or its table")
    QTest.keyClicks(table.size_field, "nonsense")
    assert not table._note.isHidden()
    QTest.mouseClick(table.as_picture, Qt.MouseButton.LeftButton)
    until(lambda: desk.table.size == (224, 224), "the table of the picture's size")
    assert table._note.isHidden()
    assert not table.as_picture.isEnabled()


def test_the_totals_of_what_is_selected(desk: Desk, table: Any) -> None:
    model, selection = table.table.model(), table.table.selectionModel()
    flags = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
    selection.clearSelection()
    for path in ("body.stage2", "body.stage2.0", "body.stage3"):
        selection.select(model.index_of(path), flags)
    rows = {row.path: row for row in desk.table.rows}
    total = rows["body.stage2"].parameters + rows["body.stage3"].parameters
    assert f"{total:,} parameters" in table._selected.text()
    assert not table._selected.isHidden()
    desk.do("copy_table")
    lines = QGuiApplication.clipboard().text().splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == ["body.stage2", "body.stage2.0", "body.stage3"]
    selection.clearSelection()
    assert table._selected.isHidden()


# ── Copies ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def copied(desk: Desk, action: str) -> str:
    """Return the text in the clipboard after a command that copies."""
    QGuiApplication.clipboard().setText("before")
    desk.window.statusBar().clearMessage()
    desk.do(action)
    until(lambda: desk.window.statusBar().currentMessage(), "the confirmation")
    return QGuiApplication.clipboard().text()


def confirmation(desk: Desk) -> str:
    return str(desk.window.statusBar().currentMessage())


def select(view: Any, paths: list[str]) -> None:
    """As by clicks with Ctrl held."""
    selection = view.table.selectionModel()
    selection.clearSelection()
    for path in paths:
        flags = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
        selection.select(view.table.model().index_of(path), flags)


def markdown_cells(text: str) -> list[list[str]]:
    lines = [line.strip("|").split(" | ") for line in text.splitlines()]
    return [[cell.strip() for cell in line] for line in lines if not set("".join(line)) <= set("-: |")]


@pytest.fixture
def columns(desk: Desk, table: Any) -> Iterator[Any]:
    """Shows just these columns, until the test is over."""
    before = [action for action in table.columns_menu.actions() if action.isChecked()]

    def show(names: set[str]) -> None:
        for action in table.columns_menu.actions():
            action.setChecked(action.data() in names)

    yield show
    for action in table.columns_menu.actions():
        action.setChecked(action in before)


def test_a_copy_has_the_rows_the_order_and_the_columns_that_are_shown(desk: Desk, table: Any, columns: Any) -> None:
    desk.choose(table.grouping, "flat")
    table.field.setText("stage2 conv")
    table.table.header().setSortIndicator(NUMBER["macs"], Qt.SortOrder.DescendingOrder)
    columns({"output", "own", "macs"})
    rows = {row.path: row for row in desk.table.rows}
    shown = paths(table)
    assert 5 < len(shown) < len(rows)
    for action, form in (
        ("markdown", "Markdown"),
        ("csv", "CSV"),
        ("json", "JSON"),
        ("latex", "LaTeX"),
        ("text", "text"),
    ):
        text = copied(desk, f"copy_table_{action}")
        assert confirmation(desk) == f"Copied {len(shown)} rows as {form}."
        if action == "markdown":
            cells = markdown_cells(text)
            assert cells[0] == ["layer", "output", "own parameters", "MACs"]
            assert [row[0] for row in cells[1:]] == shown
            assert [row[2:] for row in cells[1:]] == [
                [f"{rows[path].own_parameters:,}", f"{rows[path].macs:,}"] for path in shown
            ]
        elif action == "csv":
            found = list(csv.DictReader(io.StringIO(text)))
            assert [row["path"] for row in found] == shown
            assert set(found[0]) == {"path", "output_shape", "own_parameters", "macs"}
        elif action == "json":
            found = json.loads(text)["rows"]
            assert [row["path"] for row in found] == shown
            assert set(found[0]) == {"path", "output_shape", "own_parameters", "macs"}
        elif action == "latex":
            assert text.count(r"\\") == len(shown) + 1
            assert r"\begin{tabular}{llrr}" in text
        else:
            assert [line.split()[0] for line in text.splitlines()[4:]] == shown
    text = copied(desk, "copy_table")
    assert confirmation(desk) == f"Copied {len(shown)} rows as text with tabs."
    assert [line.split("\t")[0] for line in text.splitlines()[1:]] == [path or "(whole network)" for path in shown]
    assert text.splitlines()[0].split("\t") == ["Layer", "Output", "Own parameters", "MACs"]


def test_a_copy_has_the_rows_that_the_user_selected(desk: Desk, table: Any) -> None:
    select(table, ["body.stage3", "body.stem.conv"])
    text = copied(desk, "copy_table_markdown")
    assert confirmation(desk) == "Copied 2 rows as Markdown."
    assert [row[0] for row in markdown_cells(text)[1:]] == ["body.stem.conv", "body.stage3"]
    select(table, ["body.stage3"])
    assert copied(desk, "copy_table_csv").count("\n") == 2
    assert confirmation(desk) == "Copied 1 row as CSV."
    table.table.setFocus()
    desk.do("copy_map")
    assert confirmation(desk) == "Copied 1 row as text with tabs."
    table.field.setText("stage3")
    assert len(copied(desk, "copy_table_csv").splitlines()) == 1 + len(table.rows_to_copy()) > 10
    table.field.clear()


@pytest.mark.parametrize("chosen", [["body.stage3", "body.stem.conv"], ["body.stage3"]])
def test_sorting_keeps_the_selected_rows(desk: Desk, table: Any, chosen: list[str]) -> None:
    select(table, chosen)
    said = table._selected.text()
    header = table.table.header()
    for column in ("macs", "parameters", "layer"):
        place = header.sectionViewportPosition(NUMBER[column]) + header.sectionSize(NUMBER[column]) // 2
        table.table.horizontalScrollBar().setValue(0)
        QTest.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place, header.height() // 2))
        assert header.sortIndicatorSection() == NUMBER[column]
        assert sorted(table.selection()) == sorted(chosen)
        assert table._selected.text() == said
        assert table._selected.isHidden() == (len(chosen) == 1)
        copied(desk, "copy_table_csv")
        assert confirmation(desk).startswith(f"Copied {len(chosen)} row")
    desk.choose(table.grouping, "flat")
    assert sorted(table.selection()) == sorted(chosen)
    desk.choose_layer("body.stem.conv")
    assert "body.stem.conv" in table.selection()


def test_totals_of_a_selection_go_with_it(desk: Desk, table: Any) -> None:
    desk.choose_layer("body.stem.conv")
    table.field.setText("stage3")
    table.table.setFocus()
    table.table.selectAll()
    count = len(table.selection())
    assert f"{count} modules" in table._selected.text()
    assert count > 10
    table.table.header().setSortIndicator(NUMBER["macs"], Qt.SortOrder.DescendingOrder)
    assert len(table.selection()) == count
    assert f"{count} modules" in table._selected.text()
    table.field.setText("stage2")
    assert table.selection() == []
    assert table._selected.isHidden()
    table.field.setText("stage3")
    table.table.selectAll()
    table.kind.setCurrentIndex(1)
    assert len(table.selection()) < 2
    assert table._selected.isHidden()


def test_the_row_of_the_chosen_layer_is_no_selection(desk: Desk, table: Any) -> None:
    desk.choose_layer("body.stem.conv")
    assert table.selection() == ["body.stem.conv"]
    copied(desk, "copy_table_csv")
    assert confirmation(desk) == f"Copied {len(desk.table.rows)} rows as CSV."


def test_folded_rows_are_not_copied_and_headings_neither(desk: Desk, table: Any) -> None:
    index = table.table.model().index_of("body.stage2")
    inside = [row.path for row in desk.table.rows if row.path.startswith("body.stage2.")]
    table.table.collapse(index)
    found = [row["path"] for row in csv.DictReader(io.StringIO(copied(desk, "copy_table_csv")))]
    assert found == [row.path for row in desk.table.rows if row.path not in inside]
    table.table.expand(table.table.model().index_of("body.stage2"))
    desk.choose(table.grouping, "stage")
    found = [row["path"] for row in csv.DictReader(io.StringIO(copied(desk, "copy_table_csv")))]
    assert sorted(found) == sorted(row.path for row in desk.table.rows)
    model = table.table.model()
    flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
    table.table.selectionModel().select(model.index(1, 0), flags)
    found = [row["path"] for row in csv.DictReader(io.StringIO(copied(desk, "copy_table_csv")))]
    assert found == [row.path for row in desk.table.rows if row.stage == "C3"]


def test_where_no_row_is_shown_nothing_is_copied(desk: Desk, table: Any) -> None:
    table.field.setText("no such layer")
    for action in ("copy_table", "copy_table_latex"):
        assert copied(desk, action) == "before"
        assert confirmation(desk) == "Nothing was copied: the table shows no layer."


def test_leaves_only_and_the_compact_table_of_a_paper(desk: Desk, table: Any) -> None:
    table.leaves.click()
    leaves = [row.path for row in desk.table.rows if row.leaf]
    assert list(dict.fromkeys(paths(table))) == leaves
    lines = copied(desk, "copy_table_latex_compact").splitlines()
    assert confirmation(desk) == f"Copied {len(leaves)} rows as compact LaTeX."
    assert lines[0] == r"\begin{tabular}{llrrr}"
    assert lines[2] == r"Layer & Output & Parameters & MACs & Receptive field \\"
    assert [line.split(" & ")[0] for line in lines if line.endswith(r"\\")][1:] == [
        path.replace("_", r"\_") for path in leaves
    ]
    table.leaves.click()
    assert "" in paths(table)


def test_measured_times_are_copied(desk: Desk, table: Any) -> None:
    came: list[Any] = []
    desk.app.tabling.times_came.connect(came.append)
    desk.do("measure")
    until(lambda: came, "the times")
    found = list(csv.DictReader(io.StringIO(copied(desk, "copy_table_csv"))))
    assert float(found[0]["seconds"]) == came[0].total
    assert float(found[0]["share"]) == 1
    cells = markdown_cells(copied(desk, "copy_table_markdown"))
    assert cells[1][cells[0].index("share")] == "100.0%"
    assert cells[1][cells[0].index("time")] == f"{came[0].total * 1000:.2f} ms"


def test_columns_of_an_older_version_are_left_out(desk: Desk, table: Any) -> None:
    before = table.columns_shown()
    table.set_columns(("layer", "macs", "parameters_in_all"))
    assert table.columns_shown() == ["layer", "macs"]
    table.set_columns(("parameters_in_all",))
    assert table.columns_shown() == ["layer", "macs"]
    table.set_columns([*before, *TIMES])
    assert table.columns_shown() == before


def test_the_list_of_networks_names_the_head_that_weights_bring(desk: Desk, table: Any) -> None:
    words = "4,831,720 parameters, + 43,275 in the detection head that the weights bring"
    assert words in desk.window.setup_bar.backbone.toolTip()
    QTest.mouseClick(desk.window.setup_bar.backbone, Qt.MouseButton.LeftButton)
    assert words in desk.chooser._about.text()
    QTest.keyClicks(desk.chooser.field, "resnet18_fpn")
    assert "14,296,616 parameters" in desk.chooser._about.text()
    assert "detection head" not in desk.chooser._about.text()
    desk.chooser.hide()
    desk.app.controller.set_setup(weights="random")
    desk.settle()
    until(lambda: desk.table.parameters == 4_831_720, "the table of random weights")
    assert "4,831,720 parameters, 0 frozen  ·" in table._totals.text()
    assert "detection head" not in desk.window.setup_bar.backbone.toolTip()


def test_columns_are_chosen_and_kept(desk: Desk, table: Any) -> None:
    shown = next(action for action in table.columns_menu.actions() if action.data() == "calls")
    shown.trigger()
    assert not table.table.isColumnHidden(NUMBER["calls"])
    assert "calls" in desk.app.preferences.columns()
    shown.trigger()
    assert table.table.isColumnHidden(NUMBER["calls"])
    assert "calls" not in desk.app.preferences.columns()


def test_repeated_calls_are_lines_of_their_own(desk: Desk, table: Any) -> None:
    desk.choose_backbone("resnet18")
    desk.settle()
    until(lambda: desk.table.backbone == "resnet18", "the table")
    relu = next(row for row in desk.table.rows if row.calls > 1)
    index = table.table.model().index_of(relu.path)
    assert not table.table.isExpanded(index)
    assert table.table.model().rowCount(index) == relu.calls
    second = table.table.model().index(1, 0, index)
    assert second.data() == "call 2"
    assert second.siblingAtColumn(NUMBER["field"]).data() == relu.each_call[1].field


def test_times_are_measured_and_forgotten_with_the_run(desk: Desk, table: Any) -> None:
    came: list[Any] = []
    desk.app.tabling.times_came.connect(came.append)
    assert table.table.isColumnHidden(NUMBER["time"])
    desk.do("measure")
    until(lambda: came, "the times")
    assert desk.state.activity is None
    assert not table.table.isColumnHidden(NUMBER["time"])
    assert cell(table, "", "share") == "100.0%"
    assert cell(table, "body.stem", "time").endswith(" ms")
    assert "median of 11 rounds" in table._totals.text()
    desk.app.controller.set_setup(side=96)
    desk.settle()
    until(lambda: desk.table.size == (96, 96), "the table of the new run")
    assert table.table.isColumnHidden(NUMBER["time"])
    assert "median" not in table._totals.text()


def test_measuring_can_be_cancelled(desk: Desk, table: Any) -> None:
    desk.do("measure")
    assert desk.state.activity is not None
    desk.do("cancel")
    until(lambda: desk.state.activity is None, "the end of measuring")
    assert not table._model.timed or table.table.isColumnHidden(NUMBER["time"]) is False
    assert desk.problem("parameters") == ""


@pytest.mark.parametrize("suffix", [".csv", ".md", ".tex", ".json", ".txt"])
def test_the_table_is_written_in_the_form_of_its_name(
    desk: Desk, table: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    out = tmp_path / f"table{suffix}"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args, **kwargs: (str(out), ""))
    desk.do("export_table")
    until(out.exists, "the file")
    text = out.read_text(encoding="utf-8")
    if suffix == ".csv":
        assert [row["path"] for row in csv.DictReader(io.StringIO(text))] == [row.path for row in desk.table.rows]
    elif suffix == ".json":
        assert json.loads(text)["totals"]["parameters"] == desk.table.parameters
    else:
        assert f"{desk.table.parameters:,}" in text


def test_a_table_that_cannot_be_written_says_why(
    desk: Desk, table: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "none" / "table.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args, **kwargs: (str(out), ""))
    desk.do("export_table")
    until(lambda: desk.problem("parameters"), "the banner")
    assert str(tmp_path / "none") in desk.problem("parameters")
    desk.do("copy_table_markdown")
    until(lambda: QGuiApplication.clipboard().text().startswith("| layer "), "the table in the clipboard")


def test_two_networks_side_by_side(desk: Desk, table: Any) -> None:
    came: list[Any] = []
    desk.app.tabling.comparison_came.connect(came.append)
    desk.do("compare")
    until(lambda: came, "the comparison")
    dialog = desk.dialog(CompareDialog)
    assert came[0].other == "vgg16"
    dialog.other.setCurrentText("resnet18")
    QTest.keyClick(dialog.other.lineEdit(), Qt.Key.Key_Return)
    until(lambda: came[-1].other == "resnet18", "the other comparison")
    whole = dialog.lines.topLevelItem(0)
    parameters = next(whole.child(row) for row in range(whole.childCount()) if whole.child(row).text(0) == "Parameters")
    assert parameters.text(2) == "11,689,512"
    assert parameters.text(3).startswith("+")
    assert "4,831,720, + 43,275 in the detection head" in dialog._note.text()
    whole_networks = [row for row in came[-1].rows if not row.stage]
    for form, rows in (("markdown", came[-1].rows), ("latex-compact", whole_networks)):
        desk.window.statusBar().clearMessage()
        dialog.copy_wanted.emit(form)
        until(lambda: confirmation(desk), "the confirmation")
        assert confirmation(desk).startswith(f"Copied {len(rows)} rows as ")
    assert r"parameters & 4,874,995 & 11,689,512 \\" in QGuiApplication.clipboard().text()
    dialog.other.setCurrentText("no such network")
    QTest.keyClick(dialog.other.lineEdit(), Qt.Key.Key_Return)
    until(lambda: "no such network" in dialog._note.text(), "the reason")
    assert dialog.lines.topLevelItemCount() == 0
    menu = next(button.menu() for button in dialog.findChildren(QPushButton) if button.menu())
    assert not menu.isVisible(), "Enter is for the name"
    dialog.close()
