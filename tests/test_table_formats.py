"""A layer table as text, CSV, Markdown, LaTeX, JSON and HTML."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from html.parser import HTMLParser
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fmviz.errors import FmvizError
from fmviz.networks.catalog import backbone
from fmviz.table import LayerTable, layer_table
from fmviz.table_choice import COLUMNS, Choice, chosen
from fmviz.table_formats import rows_in_form


def test_text() -> None:
    lines = layer_table("vgg19").to_text().splitlines()
    headings = "layer kind details input output stride field parameters own parameters MACs other bytes calls"
    assert lines[0] == "vgg19 at 224×224"
    assert lines[2].split() == headings.split()
    total = next(line for line in lines if line.startswith("total")).split()
    assert total[1:] == ["143,667,240", "143,667,240", "19,632,062,464", "21,006,848", "125,140,896", "48"]
    assert lines[4].startswith("(output)")
    ends = {
        line.index(number) + len(number) for line in lines for number in ("2,359,808", "143,667,240") if number in line
    }
    assert len(ends) > 0
    notes = "\n".join(lines[lines.index("") + 1 :])
    assert "143,667,240 trainable, 0 frozen" in notes
    assert "574,668,960 bytes in float32" in notes
    assert "A MAC is one multiplication and one addition" in notes


def test_json_holds_it_all() -> None:
    table = layer_table("resnet18", (64, 96))
    read = json.loads(table.to_json())
    assert (read["network"], read["input_size"]) == ("resnet18", [64, 96])
    assert read["totals"] == json.loads(json.dumps(dataclasses.asdict(table.totals)))
    assert len(read["rows"]) == len(table)
    row, truth = read["rows"][table.index(table.row("layer1"))], table.row("layer1")
    plain = [field.name for field in dataclasses.fields(truth) if field.name not in ("receptive_field", "each_call")]
    assert {name: row[name] for name in plain} == json.loads(json.dumps({name: getattr(truth, name) for name in plain}))
    assert row["receptive_field"] == {"status": "exact", "size": [43, 43], "unbounded": [43, 43], "unknown": ""}
    relu = next(row for row in read["rows"] if row["calls"] > 1)
    assert len(relu["each_call"]) == relu["calls"]


def test_csv_has_plain_numbers() -> None:
    table = layer_table("resnet18", 64)
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [row["path"] for row in rows] == [row.path for row in table]
    conv = rows[1]
    assert (conv["output_shape"], conv["parameters"], conv["stride"]) == ("1x64x32x32", "9408", "2.0")
    assert (conv["macs"], conv["receptive_field"], conv["receptive_field_status"]) == ("9633792", "7x7", "exact")
    assert rows[-1]["stride"] == ""


def test_markdown() -> None:
    lines = layer_table("resnet18", 64).to_markdown().splitlines()
    assert {line.count("|") for line in lines} == {14}
    assert lines[1] == "| --- | --- | --- | --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |"
    conv = "| conv1 | Conv2d | 7×7, stride 2, 3 → 64 | 1×3×64×64 | 1×64×32×32 | 2 | 7 × 7 | 9,408 | 9,408 | 9,633,792 | 0 |"
    assert any(line.startswith(conv) for line in lines)


def test_marks_of_a_stranger_stay_marks() -> None:
    class Odd(nn.Module):
        def extra_repr(self) -> str:
            return "a|b, <lambda>, *x*"

        def forward(self, x: Tensor) -> Tensor:
            return x

    assert r" a\|b, \<lambda>, \*x\* " in layer_table(Odd(), 4).to_markdown()
    assert "50\\%" in layer_table(nn.Sequential(Percent()), 4).to_latex()


class Percent(nn.Identity):
    def extra_repr(self) -> str:
        return "50%"


def test_latex() -> None:
    text = layer_table("efficientnet_lite0", 64).to_latex()
    assert r"3$\times$3, stride 2, same padding, 3 $\to$ 32" in text
    assert not set(text) - set(map(chr, range(128)))
    assert text.count(r"\\") == len(layer_table("efficientnet_lite0", 64)) + 2


PRESET = ["Layer", "Output", "Parameters", "MACs", "Receptive field"]


def cells_of(line: str) -> list[str]:
    """The cells of a line of a `tabular`."""
    return line.removesuffix(r" \\").split(" & ")


def test_compact_latex_has_five_columns_and_escapes_names() -> None:
    model = nn.Sequential()
    model.add_module("50%_of_it", nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
    lines = layer_table(model, 16).to_latex_compact().splitlines()
    assert lines[0] == r"\begin{tabular}{llrrr}"
    assert [lines[1], lines[3], lines[-2], lines[-1]] == [r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}"]
    assert cells_of(lines[2]) == PRESET
    conv = [r"50\%\_of\_it.0", r"8$\times$14$\times$14", "224", f"{8 * 27 * 14 * 14:,}", r"3$\times$3"]
    assert conv in list(map(cells_of, lines))
    assert {len(cells_of(line)) for line in lines if line.endswith(r"\\")} == {5}


class Sorting(nn.Module):
    """An operation whose cost nobody knows, before one that is known, and a module that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.never = nn.Conv2d(1, 1, 1), nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sort(self.conv(x), dim=-1).values


def test_what_is_not_known_is_said_and_never_0() -> None:
    table = layer_table(Sorting(), 4)
    text = table.to_text()
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert "≥ 16" in lines["(output)"]
    assert lines["total"].split()[3:5] == ["≥", "16"]
    assert "Not counted, since nobody knows what they cost: aten.sort." in text
    assert " – " in lines["never"]
    alone = layer_table(nn.Sequential(Sorted()), 4)
    assert "not counted" in alone.to_markdown()
    assert r"$\geq$" in table.to_latex()
    assert alone.row("0").macs == 0


class Sorted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sort(x).values


class Reader(HTMLParser):
    """Cells by row, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_html() -> None:
    table = layer_table("resnet18", 64)
    reader = Reader()
    reader.feed(table._repr_html_())
    assert not reader.open
    assert len(reader.rows) == len(table) + 2
    assert {len(row) for row in reader.rows} == {13}
    assert reader.rows[2][:3] == ["conv1", "Conv2d", "7×7, stride 2, 3 → 64"]

    class Odd(nn.Identity):
        def extra_repr(self) -> str:
            return "<script>&"

    assert "<script>" not in layer_table(nn.Sequential(Odd()), 4)._repr_html_()


def test_chosen_columns_come_in_their_order_in_every_form() -> None:
    table = layer_table("resnet18", 64)
    columns = ("macs", "layer", "own", "trainable")
    conv = ["9633792", "conv1", "9408", "9408"]
    csv_rows = list(csv.reader(io.StringIO(table.to_csv(columns))))
    assert csv_rows[0] == ["macs", "path", "own_parameters", "trainable"]
    assert csv_rows[2] == conv
    row = json.loads(table.to_json(columns))["rows"][1]
    assert (list(row), [str(value) for value in row.values()]) == (csv_rows[0], conv)
    words = ["9,633,792", "conv1", "9,408", "9,408"]
    markdown = table.to_markdown(columns).splitlines()
    assert markdown[1] == "| --: | --- | --: | --: |"
    assert markdown[3] == f"| {' | '.join(words)} |"
    assert " & ".join(words) in table.to_latex(columns)
    assert any(line.split() == words for line in table.to_text(columns).splitlines())
    with pytest.raises(FmvizError, match="no column “wheels”: choose from layer"):
        table.to_csv(["wheels"])


def test_a_copy_of_rows_has_no_totals_and_says_what_is_not_counted() -> None:
    table = layer_table(Sorting(), 4)
    part = table.of([table.row("never"), table.row("")])
    for form, lines in {"csv": 3, "markdown": 4, "latex": 8, "latex-compact": 8, "text": 6}.items():
        assert len(rows_in_form(part, form, ("layer", "macs")).splitlines()) == lines, form
    rows = list(csv.DictReader(io.StringIO(rows_in_form(part, "csv", ("layer", "macs")))))
    assert [(row["path"], row["macs"], row["not_counted"]) for row in rows] == [
        ("never", "0", ""),
        ("", "16", "aten.sort"),
    ]
    assert "not_counted" not in rows_in_form(table.of([table.row("never")]), "csv", ("layer", "macs"))


def test_the_last_line_of_a_part_is_said_to_be_of_the_whole() -> None:
    table = layer_table("resnet18", 64)
    part = table.of(chosen(table, Choice(kind="conv2d")))
    assert "whole network" in part.to_text()
    assert f"{len(part)} of {len(table)} modules are listed" in part.to_text()
    assert "whole network" not in table.to_text()
    assert table.of(list(reversed(table))).to_markdown().splitlines()[-1].startswith("| total |")


def test_lines_in_details_do_not_break_rows() -> None:
    class Long(nn.Identity):
        def extra_repr(self) -> str:
            return "first,\n  second"

    table = layer_table(nn.Sequential(Long()), 4)
    assert len(table.to_markdown().splitlines()) == 2 + 2 + 1
    assert "first, second" in table.to_latex()


# ── A part of the rows ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def resnet() -> LayerTable:
    return layer_table("resnet18", 64)


def test_all_rows_in_their_order(resnet: LayerTable) -> None:
    assert chosen(resnet, Choice()) == list(resnet)


def test_by_words_and_kind(resnet: LayerTable) -> None:
    found = chosen(resnet, Choice(words="layer1 conv", kind="Conv2d"))
    assert [row.path for row in found] == [f"layer1.{block}.conv{number}" for block in (0, 1) for number in (1, 2)]
    assert chosen(resnet, Choice(words="nothing of the kind")) == []
    assert chosen(resnet, Choice(words="conv 3x3")) == chosen(resnet, Choice(words="conv 3×3")) != []
    assert {row.kind for row in chosen(resnet, Choice(kind="relu"))} == {"ReLU"}


def test_only_where_the_size_changes(resnet: LayerTable) -> None:
    found = [row.path for row in chosen(resnet, Choice(only_size_changes=True, kind="Conv2d"))]
    assert found == ["conv1"] + [f"layer{n}.0.{part}" for n in (2, 3, 4) for part in ("conv1", "downsample.0")]


def test_by_depth(resnet: LayerTable) -> None:
    assert {row.depth for row in chosen(resnet, Choice(depth=1))} == {0, 1}


def test_only_leaves(resnet: LayerTable) -> None:
    found = [row.path for row in chosen(resnet, Choice(only_leaves=True))]
    model = backbone("resnet18").build()
    assert found == [path for path, module in model.named_modules() if not list(module.children())]
    assert sum(row.parameters for row in chosen(resnet, Choice(only_leaves=True))) == resnet.totals.parameters


@pytest.mark.parametrize("column", [name for name in COLUMNS if name not in ("layer", "kind")])
def test_sorted_the_largest_first(resnet: LayerTable, column: str) -> None:
    found = chosen(resnet, Choice(sort=column))
    assert sorted(found, key=resnet.index) == list(resnet)
    values = [COLUMNS[column](row) for row in found]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=True)
    # What is not known comes last.
    assert values == known + [None] * (len(values) - len(known))
